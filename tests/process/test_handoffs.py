"""A handoff starts work: with real runs, of a double of codex that says what it has heard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support import processes
from support.doubles import FINISHED, THREAD, said
from support.handing import hand_off, ledger_of
from support.repo import Repo, Run
from support.trusting import withdraw_trust
from support.waiting import wait_until

HEARD = f"""\
name=$(cut -d/ -f2 <<< "${{RUNNER_MANIFEST##*/.runs}}")
{{ cat; printf '\\036'; }} >> "$HOME/heard-$name"
{THREAD}
until [ -e "$HOME/gate-$name" ] || [ -e "$HOME/gate" ]; do sleep 0.05; done
{said("done")}{FINISHED}"""
TASKS = """\
[defaults]
sandbox = "read-only"
grace = "300ms"
[delegation]
max_children = %d
[tasks.make]
prompt = "Make it."
delegation = true
[tasks.look]
prompt = "Look."
start = "on_handoff"
[tasks.other]
prompt = "Other."
start = "on_handoff"
[tasks.hand]
prompt = "By hand."
"""


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    """Whatever a test has started is over after it."""
    yield
    repo.end_all()


@pytest.fixture
def desk(repo: Repo) -> Repo:
    return working(repo)


def working(repo: Repo, more: str = "", max_children: int = 4) -> Repo:
    """Tasks whose agents work until their gate is open."""
    repo.codex(HEARD)
    return repo.config(TASKS % max_children + more)


def begun(repo: Repo, answer: dict[str, Any]) -> Run:
    assert answer["state"] == "started", answer
    return Run(repo, answer["run"]["run_id"], answer["run"]["task_id"])


def heard(repo: Repo, task: str) -> list[str]:
    """The prompts of its agents, once there is one."""
    path = repo.note(f"heard-{task}")
    wait_until(lambda: path.exists() and path.read_text().endswith("\x1e"), what="a prompt")
    return path.read_text().split("\x1e")[:-1]


def manifest_of(run: Run) -> str:
    return str(run.folder / "manifest.json")


def ledger_in(run: Run) -> Any:
    """As its invocation has it."""
    return json.loads(run.file("invocation.json"))["ledger"]


def sleeps(repo: Repo) -> bool:
    return any({"sleep", "300"} <= {*one.words} for one in processes.of_folder(repo.base))


def kinds(repo: Repo) -> list[str]:
    told = ("run_started", "run_ended", "artifact")
    return [entry["type"] for entry in ledger_of(repo) if entry["type"] not in told]


def test_a_handoff_of_a_person_starts_a_run_that_is_told_of_it(desk: Repo) -> None:
    answer = hand_off(desk, "look")
    run = begun(desk, answer)
    prompt = heard(desk, "look")[0]
    assert prompt.startswith(
        "Look.\n\n## Handoff\nA person has handed work to you in the ledger of task `make`"
    )
    for line in ("> It is built.", "> Look at it.", "> - `delegate.toml`"):
        assert line in prompt.splitlines()
    assert f": {desk.root}/.runs/make/ledger.jsonl" in prompt
    handoff, taken = ledger_of(desk)[:2]
    assert (handoff["type"], taken["type"]) == ("handoff", "handoff_taken")
    assert (taken["run_id"], taken["actor"], taken["handles"]) == (run.id, "look", [answer["id"]])
    assert ledger_in(run) == {"task_id": "make", "handoff": answer["id"], "hash": handoff["hash"]}
    assert run.on_disk()["parent"] is None


def test_a_run_that_hands_off_and_ends_leaves_the_other_at_work(desk: Repo) -> None:
    maker = desk.start(task="make")
    run = begun(desk, hand_off(desk, "look", "--as", manifest_of(maker)))
    assert run.on_disk()["parent"]["run_id"] == maker.id
    assert f"run that handed it over: {manifest_of(maker)}" in heard(desk, "look")[0]
    child = Run(desk, desk.json("start", "--task", "hand", "--parent", manifest_of(maker))["run_id"], "hand")
    desk.note("gate-make").touch()
    assert maker.wait()["outcome"] == "succeeded"
    assert child.wait()["outcome"] == "cancelled", "it works for its parent alone"
    desk.note("gate-look").touch()
    assert run.wait()["outcome"] == "succeeded"


def test_a_person_who_cancels_the_maker_cancels_what_it_has_handed_over(desk: Repo) -> None:
    maker = desk.start(task="make")
    run = begun(desk, hand_off(desk, "look", "--as", manifest_of(maker)))
    desk.json("cancel", maker.id)
    assert run.wait()["outcome"] == "cancelled"


def test_of_starts_at_once_one_takes_the_handoff_and_the_others_leave_nothing(desk: Repo) -> None:
    hand_off(desk, "hand")
    with ThreadPoolExecutor(4) as pool:
        words = ("start", "--task", "hand", "--ledger", "make", "--json")
        done = list(pool.map(lambda _: desk.cli(*words), range(4)))
    assert sorted(one.status for one in done) == [0, 9, 9, 9]
    assert {one.error["code"] for one in done if one.status} == {"handoff_taken"}
    assert len(desk.runs()) == 1 and kinds(desk) == ["handoff", "handoff_taken"]


def test_a_maker_that_is_killed_before_the_start_leaves_a_handoff_that_is_taken_by_hand(desk: Repo) -> None:
    assert hand_off(desk, "look", "--killed") == {}
    assert desk.no_runs() and kinds(desk) == ["handoff"]
    shown = desk.json("resolve", "--task", "look", "--ledger", "make")
    assert "## Handoff\nA person has handed work to you" in shown["prompt"]
    run = desk.start("--ledger", "make", task="look")
    assert "> Look at it." in heard(desk, "look")[0].splitlines()
    assert ledger_of(desk)[1]["run_id"] == run.id


def test_a_start_that_is_killed_after_it_has_taken_the_handoff_leaves_it_to_the_next_one(repo: Repo) -> None:
    working(repo, '[tasks.slow]\nprompt = "x"\nverify = [["sh", "-c", "[ -e $HOME/gate ] || sleep 300"]]\n')
    hand_off(repo, "slow")
    with repo.process("start", "--task", "slow", "--ledger", "make", "--baseline") as starter:
        wait_until(lambda: kinds(repo)[1:] == ["handoff_taken"] and sleeps(repo), what="a check that runs")
        starter.kill()
        for owner in processes.of_folder(repo.base):
            processes.kill(owner)
    first = repo.runs()[0]
    assert first.on_disk()["phase"] == "queued"
    repo.open_gate()
    second = repo.start("--ledger", "make", task="slow")
    assert first.status()["phase"] == "done", "the start has looked what became of it"
    assert [one["run_id"] for one in ledger_of(repo) if one["type"] == "handoff_taken"] == [
        first.id,
        second.id,
    ]


def test_a_run_that_works_and_hears_no_messages_keeps_another_from_being_started(desk: Repo) -> None:
    run = desk.start("--ledger", "make", task="look")
    answer = hand_off(desk, "look")
    assert (answer["state"], answer["run"], answer["why"]["code"]) == ("recorded", None, "run_not_open")
    assert run.id in answer["why"]["message"]
    assert "`runner start --task look --ledger make` takes it" in answer["why"]["hint"]
    assert len(desk.runs()) == 1
    desk.open_gate()
    run.wait()
    assert desk.start("--ledger", "make", task="look").wait()["outcome"] == "succeeded"
    assert kinds(desk) == ["handoff", "handoff_taken"]


def test_of_handoffs_at_once_to_one_task_one_starts_a_run(desk: Repo) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: hand_off(desk, "look", "--lane", f"lane-{n}"), range(4)))
    assert sorted(one["state"] for one in found) == ["recorded", "recorded", "recorded", "started"]
    assert {one["why"]["code"] for one in found if one["why"]} == {"run_not_open"}
    assert len(desk.runs()) == 1


def test_a_maker_that_is_killed_before_the_message_leaves_it_to_whoever_looks(desk: Repo) -> None:
    run = desk.start("--ledger", "make", "--open", task="look")
    desk.note("gate-look").touch()
    wait_until(lambda: run.on_disk()["phase"] == "waiting", what="a run that waits")
    assert hand_off(desk, "look", "--killed-over-message") == {}
    assert kinds(desk) == ["handoff", "handoff_taken"] and len(heard(desk, "look")) == 1
    refused = desk.cli("start", "--task", "look", "--ledger", "make", "--json")
    assert refused.error["code"] == "handoff_taken", "one run has it, and no second one gets it"
    for _ in range(2):
        desk.json("ledger", "show", "make")
    wait_until(lambda: len(heard(desk, "look")) == 2, what="its second turn")
    assert heard(desk, "look")[1].startswith("A person has handed work to you")
    desk.json("end", run.id)
    assert run.wait()["turns"] == len(heard(desk, "look")) == 2


def test_a_run_that_waits_for_messages_gets_it_as_one(desk: Repo) -> None:
    run = desk.start("--ledger", "make", "--open", task="look")
    desk.note("gate-look").touch()
    wait_until(lambda: run.on_disk()["phase"] == "waiting", what="a run that waits")
    answer = hand_off(desk, "look")
    assert (answer["state"], answer["run"]["run_id"], answer["message"]) == ("delivered", run.id, "m-0001")
    wait_until(lambda: len(heard(desk, "look")) == 2, what="its second turn")
    assert heard(desk, "look")[1].startswith("A person has handed work to you")
    assert [entry["run_id"] for entry in ledger_of(desk) if entry["type"] == "handoff_taken"] == [run.id]


def test_an_answer_begins_the_next_turn_of_a_run_that_waits_for_one(desk: Repo) -> None:
    maker = desk.start("--open", task="make")
    desk.note("gate-make").touch()
    wait_until(lambda: maker.on_disk()["phase"] == "waiting", what="a run that waits")
    asked = hand_off(desk, "hand", "--as", manifest_of(maker))["id"]
    words = ("ledger", "reply", "make", "It fails for café.", "--handles", asked, "--json")
    delivery = desk.cli(*words).json()["delivery"]
    assert (delivery["state"], delivery["run"]["run_id"], delivery["message"]) == (
        "delivered",
        maker.id,
        "m-0001",
    )
    wait_until(lambda: len(heard(desk, "make")) == 2, what="its second turn")
    assert heard(desk, "make")[1].startswith(f"A person has answered {asked} in the ledger of task `make`")
    assert "> It fails for café." in heard(desk, "make")[1].splitlines()
    assert "handoff_taken" not in kinds(desk)


def test_a_handoff_to_a_runtime_goes_back_to_the_task_that_had_asked(desk: Repo) -> None:
    maker = desk.start("--open", task="make")
    desk.note("gate-make").touch()
    wait_until(lambda: maker.on_disk()["phase"] == "waiting", what="a run that waits")
    run = begun(desk, hand_off(desk, "look", "--as", manifest_of(maker)))
    answer = hand_off(desk, "codex", "--as", manifest_of(run))
    assert (answer["state"], answer["run"]["run_id"]) == ("delivered", maker.id)
    wait_until(lambda: len(heard(desk, "make")) == 2, what="its second turn")
    assert heard(desk, "make")[1].startswith("The agent of task `look` has handed work to you")
    assert [entry["to"] for entry in ledger_of(desk) if entry["type"] == "handoff"] == ["look", "codex"]


def test_a_handoff_starts_no_task_that_does_not_say_so(desk: Repo) -> None:
    answer = hand_off(desk, "hand")
    assert (answer["state"], answer["why"]["code"]) == ("recorded", "starts_by_hand")
    assert desk.no_runs() and kinds(desk) == ["handoff"]


def test_a_run_starts_no_task_and_no_more_runs_than_it_may(repo: Repo) -> None:
    working(repo, max_children=1)
    path = repo.root / "delegate.toml"
    path.write_text(path.read_text().replace("max_children", 'tasks = ["look"]\nmax_children'))
    maker = repo.start(task="make")
    answer = hand_off(repo, "other", "--as", manifest_of(maker))
    assert (answer["state"], answer["why"]["code"]) == ("recorded", "task_not_spawnable")
    assert not (repo.runs_folder / "other").exists()
    repo.json("start", "--task", "look", "--parent", manifest_of(maker))
    answer = hand_off(repo, "look", "--as", manifest_of(maker), "--lane", "second")
    assert (answer["state"], answer["why"]["code"]) == ("recorded", "max_children")


def test_a_run_that_reads_only_starts_none_that_writes_by_a_handoff(repo: Repo) -> None:
    writer = '[tasks.write]\nprompt = "x"\nstart = "on_handoff"\nsandbox = "workspace-write"\n'
    working(repo, writer)
    maker = repo.start(task="make")
    answer = hand_off(repo, "write", "--as", manifest_of(maker))
    assert (answer["state"], answer["why"]["code"]) == ("recorded", "wider_than_parent")
    assert not (repo.runs_folder / "write").exists()


def test_what_a_run_has_written_into_the_settings_does_not_make_its_handoff_start(desk: Repo) -> None:
    maker = desk.start(task="make")
    path = desk.root / "delegate.toml"
    path.write_text(path.read_text().replace('"By hand."', '"By hand."\nstart = "on_handoff"'))
    answer = hand_off(desk, "hand", "--as", manifest_of(maker))
    assert (answer["state"], answer["why"]["code"]) == ("recorded", "starts_by_hand")


def test_a_start_that_is_refused_gives_the_handoff_back(repo: Repo) -> None:
    working(repo, '[tasks.bad]\nprompt = "x"\nverify = [["false"]]\n')
    hand_off(repo, "bad")
    done = repo.cli("start", "--task", "bad", "--ledger", "make", "--baseline", "--json")
    assert done.error["code"] == "baseline_failed"
    assert [entry["type"] for entry in ledger_of(repo)] == ["handoff", "handoff_taken", "run_ended"]
    repo.start("--ledger", "make", task="bad")
    assert kinds(repo) == ["handoff", "handoff_taken", "handoff_taken"]


def test_a_retry_and_a_follow_up_run_keep_the_ledger(desk: Repo) -> None:
    desk.open_gate()
    run = begun(desk, hand_off(desk, "look"))
    assert run.wait()["outcome"] == "succeeded"
    again = desk.json("retry", run.id, "--message", "Look again.")["run_id"]
    assert ledger_in(Run(desk, again, "look")) == ledger_in(run), "it takes the handoff again"
    assert Run(desk, again, "look").wait()["outcome"] == "succeeded"
    assert "> Look at it." in heard(desk, "look")[1].splitlines()
    told = [entry["run_id"] for entry in ledger_of(desk) if entry["type"] in ("run_started", "run_ended")]
    assert told == [run.id, run.id, again, again], "and both are told of where it was handed over"
    follows = desk.json("send", again, "And now?")["run_id"]
    told = ledger_in(Run(desk, follows, "look"))
    assert told == {"task_id": "make", "handoff": None, "hash": None}, "its agent hears the message alone"


def test_settings_that_nobody_has_trusted_start_nothing_by_a_handoff(repo: Repo) -> None:
    working(repo, '[tasks.bad]\nprompt = "x"\nverify = [["true"]]\nstart = "on_handoff"\n')
    withdraw_trust(repo.root, repo.env)
    answer = hand_off(repo, "bad")
    assert (answer["state"], answer["why"]["code"]) == ("recorded", "not_trusted")
    assert not (repo.runs_folder / "bad").exists()
    assert repo.no_runs() and kinds(repo) == ["handoff"]


def test_a_foreign_ledger_starts_nothing(desk: Repo) -> None:
    hand_off(desk, "look", "--killed")
    path = desk.runs_folder / "make" / "ledger.jsonl"
    path.write_text(path.read_text().replace('"mac":"', '"mac":"0', 1).replace("0", "1", 1))
    (path.parent / ".ledger.head").unlink()
    done = desk.cli("start", "--task", "look", "--ledger", "make", "--json")
    assert done.status == 9 and done.error["code"] in ("foreign_ledger", "ledger_broken")
    assert desk.no_runs()
