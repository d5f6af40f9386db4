"""A conversation with the agent of a run: what is sent, what is told of each turn, and what is refused."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kay_install import install_kay
from support.conversation import converse, knows_results
from support.doubles import THREAD
from support.repo import Repo, Run
from support.waiting import wait_until
from support.waves import prepares

from runner.errors import ExitStatus
from runner.state.manifest import parse_timestamp


@pytest.fixture(autouse=True)
def no_run_goes_on(nothing_left: None, repo: Repo) -> Iterator[None]:
    """Also where a test has failed, which is not to wait for that."""
    yield
    repo.end_all()


def test_a_message_is_heard_at_once_where_another_reads_what_wakes_the_run(repo: Repo) -> None:
    """A sandboxed agent can open a FIFO for reading, in a tree that is read-only for it."""
    talk = converse(repo)
    talk.waits()
    wake = talk.run.folder / "control" / "wake"

    def deafen() -> None:
        talk.waits()
        wake.unlink()
        os.mkfifo(wake)  # what is written to it reaches nobody

    deafen()
    assert talk.sent("two")["state"] == "begun"
    assert talk.turn(2)["message"] == "heard two"
    deafen()
    assert talk.run.ask("pause").status == ExitStatus.CONFLICT
    since = time.monotonic()
    assert talk.run.ask("cancel").status == 0
    assert time.monotonic() - since < 10


def test_of_a_turn_whose_record_is_gone_it_is_said_that_it_has_ended(repo: Repo) -> None:
    """So it is where a disk was full, or an agent without a sandbox was there."""
    talk = converse(repo)
    talk.waits()
    for leave in (lambda path: path.unlink(), lambda path: path.write_text('{"status": "completed"}')):
        leave(talk.run.folder / "turns" / "turn-1.json")
        told = repo.cli("await", talk.run.id)
        assert (told.status, told.stdout) == (1, "")
        assert "turn 1 has ended, and its record cannot be read: the run is waiting" in told.stderr


def test_a_conversation_is_judged_once_over_all_its_turns(repo: Repo) -> None:
    check = """verify = [["bash", "-c", "echo checked >> $HOME/checks"]]"""
    talk = converse(repo, check)
    assert talk.turn(1)["message"] == "heard Begin."
    first = json.loads(talk.signal.read_bytes())
    assert (first["turn"], first["status"], first["messages"]) == (1, "completed", [])
    assert talk.sent("CHILD two")["state"] == "begun"
    assert talk.turn()["message"] == "heard CHILD two"
    assert not talk.run.tree(), "what a turn has left behind has ended with it"
    talk.sent("GATE three")
    repo.begun()
    assert not talk.signal.exists(), "no turn has ended that goes on"
    assert [one.json()["state"] for one in talk.send_all("four")] == ["queued"]
    repo.open_gate()
    assert [talk.turn(n)["message"] for n in (1, 3, 4)] == ["heard Begin.", "heard GATE three", "heard four"]
    talk.sent("FAIL five")
    failed = talk.turn(5)
    assert (failed["status"], failed["run_status"], failed["exit"]) == ("failed", "waiting", 1)
    assert failed["reason"]["message"] == "the service said no"
    talk.sent("six")
    assert talk.turn(6)["status"] == "completed"
    assert not repo.note("checks").exists()
    ended = talk.end()
    assert (ended["status"], ended["turns"], len(ended["attempts"])) == ("succeeded", 6, 6)
    assert repo.note("checks").read_text() == "checked\n"
    assert talk.texts() == ["CHILD two", "GATE three", "four", "FAIL five", "FAIL five\n\nsix"], (
        "what was not answered is said again: its session may not have it"
    )
    assert [path.name for path in sorted((talk.run.folder / "turns").iterdir())] == [
        f"turn-{n}.json" for n in range(1, 7)
    ]
    told = [row for row in repo.json("events")["events"] if row["event"] == "turn"]
    assert [row["turn"] for row in told] == [1, 2, 3, 4, 5, 6]


def test_what_cannot_be_a_message_is_refused_and_changes_nothing(repo: Repo) -> None:
    talk = converse(repo)
    talk.waits()
    for words, options, status in (
        (("",), {}, 2),
        ((" \n",), {}, 2),
        (("-x",), {}, 2),
        (("-",), {"stdin": b"a\0b"}, 2),
        (("-",), {"stdin": b"a\xff"}, 2),
        (("-",), {"stdin": b"x" * 2_000_000}, 2),
        (("x", "--key", ""), {}, 2),
        (("x", "--key", "k" * 201), {}, 2),
        (("x", "--turn", "1"), {}, 2),
    ):
        refused = talk.send(*words, **options)
        assert refused.status == status, (words, refused.stdout, refused.stderr)
    assert not [*(talk.run.folder / "messages").iterdir()]
    for verb in ("pause", "resume"):
        assert talk.run.ask(verb).status == 9, verb
    assert talk.run.ask("await", "--turn", "2", "--timeout", "100ms").status == 75
    assert talk.run.ask("await", "--turn", "0").status == 2
    assert repo.cli("reap").status == 0
    assert repo.cli("clean", "--older-than", "0").status == 0
    assert talk.run.status()["phase"] == "waiting"
    assert talk.sent("--", "-x")["state"] == "begun"
    assert talk.turn()["message"] == "heard -x"
    assert talk.sent(" /quit\n")["phase"] in ("waiting", "verifying", "done")
    assert (talk.run.wait()["status"], talk.texts()) == ("succeeded", ["-x"])
    assert talk.run.ask("await", "--turn", "1").json()["message"] == "heard Begin."
    assert (talk.run.ask("await", "--turn", "9").status, talk.run.ask("await").status) == (4, 0)


def test_a_key_is_one_message_however_often_it_is_sent(repo: Repo) -> None:
    talk = converse(repo)
    talk.waits()
    first = talk.sent("two", "--key", "k")
    again = talk.sent("two", "--key", "k")
    other = talk.send("another text", "--key", "k")
    assert (other.status, "another text" in other.json()["error"]["message"]) == (9, True)
    assert (again["message"], again["turn"], again["is_repeated"]) == (first["message"], 2, True)
    secret = f"use ghp_{'16C7e42F292c6912E7710c838347Ae178B4a'}"
    talk.sent(secret, "--key", "s")
    assert talk.end()["turns"] == 3
    assert talk.texts() == ["two", secret]
    for key, text, turn in (("k", "two", 2), ("s", secret, 3)):  # that of the ended run is redacted by now
        heard = talk.sent(text, "--key", key)
        assert (heard["state"], heard["turn"], heard["is_repeated"]) == ("begun", turn, True)
    other = talk.send("another text", "--key", "k")
    assert (other.status, "another text" in other.json()["error"]["message"]) == (9, True)
    with ThreadPoolExecutor(6) as pool:
        begun = list(pool.map(lambda n: talk.sent(f"three {n}", "--key", "after"), range(6)))
    (name,) = {one["run_id"] for one in begun}
    assert name != talk.run.id
    assert [one["is_repeated"] for one in begun].count(False) == 1
    assert len(repo.runs()) == 2


def test_a_run_that_has_ended_gets_a_follow_up_and_a_paused_one_waits(repo: Repo) -> None:
    talk = converse(repo, prompt="GATE Begin.", opens=False)
    repo.begun()
    talk.run.told("pause")
    assert talk.send("--now", "at once").status == 9
    assert talk.sent("later")["state"] == "queued"
    assert talk.run.told("resume")["status"] == "running"
    repo.open_gate()
    assert talk.run.wait()["turns"] == 2
    answer = talk.sent("three", "--wait")
    assert answer["message"] == "heard three"
    assert answer["run_id"] != talk.run.id
    assert Run(repo, answer["run_id"]).wait()["continues"]["run_id"] == talk.run.id
    assert talk.texts() == ["later", "three"]
    assert "resume 01a1f828-a6fe-7db1-be08-71550d19d0b3" in repo.note("words").read_text().splitlines()[-1]


def test_a_runtime_that_resumes_nothing_hears_one_text_only(repo: Repo) -> None:
    install_kay(repo.bin)
    repo.env["OPENCODE_GO_API_KEY"] = "key-opencode-0123456789"
    (repo.home / ".kay" / "stand-in.toml").write_text("hang = true\n")
    keys = 'prompt = "x"\nruntime = "kay"\nmodel = "opencode-go/glm-5"\nsandbox = "read-only"\n'
    named = 'provider = "ocg"\nenv = ["OPENCODE_GO_API_KEY"]\n'
    repo.config(f"[runtimes.kay]\n{named}[tasks.work]\n{keys}")
    assert repo.cli("start", "--task", "work", "--open").status != 0
    run = repo.start()
    refused = run.ask("send", "more")
    assert (refused.status, "resumes no session" in refused.error["message"]) == (9, True)
    assert not (run.folder / "messages").exists()


def test_a_run_whose_supervisor_is_of_before_an_upgrade_takes_no_message(repo: Repo) -> None:
    talk = converse(repo, prompt="SILENT Begin.", opens=False)
    repo.begun()

    def seen() -> dict[str, Any] | bool:
        """Once its supervisor has looked at it, which has nothing more to write then."""
        manifest = talk.run.on_disk()
        return manifest["updated_at"] > manifest["started_at"] and manifest

    manifest = wait_until(seen)
    del manifest["turns"]
    for words in ((), ("--now",), ("--wait",), ("--key", "k")):
        (talk.run.folder / "manifest.json").write_text(json.dumps(manifest))
        refused = talk.send("two", *words)
        assert (refused.status, "older runner" in refused.error["message"]) == (9, True)
    assert not (talk.run.folder / "messages").exists()
    talk.run.kill_supervisor()
    assert talk.sent("three")["state"] == "queued", "who has taken it over hears them"
    repo.open_gate()
    assert talk.run.wait()["turns"] == 2


def test_a_turn_is_interrupted_for_what_is_to_be_heard_at_once(repo: Repo) -> None:
    talk = converse(repo, prompt="GATE Begin.")
    repo.begun()
    answer = talk.sent("--now", "DEAF GATE two")
    assert (answer["state"], answer["turn"]) == ("interrupted", 2)
    first = talk.turn(1)
    assert (first["status"], first["reason"]["code"]) == ("interrupted", "interrupted")
    wait_until(lambda: "DEAF" in (talk.run.on_disk()["last_message"] or ""), what="the second turn")
    talk.send("queued")
    answers = [talk.sent("--now", "three"), talk.sent("--now", "four")]
    assert {one["state"] for one in answers} <= {"interrupted", "queued", "begun"}
    talk.turn()
    texts = talk.texts()
    assert texts[0] == "DEAF GATE two"
    assert [line for text in texts[1:] for line in text.split("\n\n")] in (
        ["three", "four", "queued"],
        ["three", "queued", "four"],
        ["three", "three", "four", "queued"],
    )
    assert talk.end()["status"] == "succeeded"
    words = repo.note("words").read_text().splitlines()
    assert all(line.count("resume") == 1 for line in words[1:]), "what was answered is in its session"


def test_what_came_before_the_turn_had_begun_is_not_lost_with_it(repo: Repo) -> None:
    talk = converse(repo, prompt="SILENT Begin.")
    repo.begun()
    assert talk.sent("--now", "two")["state"] == "interrupted"
    repo.open_gate()
    assert talk.turn()["message"] == "heard two"
    (again,) = talk.texts()
    assert "SILENT Begin." in again and again.endswith("two")
    assert talk.end()["status"] == "succeeded"


def test_the_limits_of_a_run_are_those_of_its_work(repo: Repo) -> None:
    """What waits is not at work; what is never closed closes itself; what was spent counts for all."""
    spent = converse(repo, "limits = { tokens = 30 }")
    spent.waits()
    spent.sent("two")
    spent.waits()
    sent = spent.send("three")
    ended = spent.run.wait()
    assert (ended["status"], ended["reason"]["code"]) == ("failed", "budget_exceeded"), sent
    record = json.loads((spent.run.folder / "turns/turn-3.json").read_bytes())
    assert (record["status"], record["reason"]["code"]) == ("failed", "budget_exceeded")
    talk = converse(repo, 'timeout = "2s"', 'open_timeout = "2500ms"')
    closed = talk.run.wait()
    assert (closed["status"], closed["turns"]) == ("succeeded", 1)
    assert 2.4 < closed["waiting_seconds"] < 20
    (told,) = talk.run.events("closed")
    assert told["waited_s"] == closed["waiting_seconds"]


def test_a_session_that_was_begun_anew_is_named(repo: Repo) -> None:
    talk = converse(repo)
    talk.waits()
    repo.note("thread").write_text("01a1f828-a6fe-7db1-be08-000000000000")
    talk.sent("two")
    turn = talk.turn()
    assert (turn["status"], turn["reason"]["code"]) == ("failed", "thread_changed")
    assert talk.waits()["turns"] == 2
    assert talk.end()["turns"] == 2


@pytest.mark.parametrize("workspace", ["in-place", "worktree"])
def test_each_turn_works_where_the_first_did_and_the_change_of_all_is_judged(
    repo: Repo, workspace: str
) -> None:
    """What an early turn did beyond the scope is not forgotten by a later one."""
    lines = (f'workspace = "{workspace}"', 'scope = ["src/**"]')
    looks = "RUN (pwd; umask) >> $HOME/places"
    talk = converse(repo, *lines, prompt=f"{looks}; echo 1 >> src/app.py", writes=True)
    talk.waits()
    for text in (f"{looks}; echo 2 >> src/app.py", "nothing more"):
        talk.sent(text)
        files = talk.turn()["files"]
    assert files == ["src/app.py"]
    places = repo.note("places").read_text().split()
    assert places[:2] == places[2:]
    assert talk.end()["status"] == "succeeded"
    if workspace == "worktree":
        assert not (repo.root / "src/app.py").read_text().endswith("1\n2\n")
        repo.json("accept", talk.run.id)
    assert (repo.root / "src/app.py").read_text().endswith("1\n2\n")
    repo.git("checkout", "-q", ".")
    beyond = converse(repo, *lines, prompt="RUN echo x > README.new", writes=True)
    beyond.waits()
    beyond.sent("RUN echo 3 >> src/app.py")
    beyond.turn()
    ended = beyond.end()
    assert (ended["status"], ended["reason"]["code"]) == ("rejected", "scope_violation")
    assert not (repo.root / "README.new").exists()


@pytest.mark.parametrize("contract", ["closing-turn", "final"])
def test_the_result_is_asked_for_once_at_the_end(repo: Repo, contract: str) -> None:
    result = {"status": "completed", "files_modified": [], "issues": [], "summary": "s"}
    result["verification_summary"] = "none"
    text = json.dumps(json.dumps(result))[1:-1]
    answer = f'''{{"type":"item.completed","item":{{"id":"i","type":"agent_message","text":"{text}"}}}}'''
    talk = converse(repo, f'output_contract = "{contract}"')
    talk.waits()
    repo.note("answer").write_text(answer + "\n")
    path = repo.bin / "codex"
    path.write_text(
        path.read_text().replace('echo \'{"type":"item.c', 'cat $HOME/answer # \'{"type":"item.c')
    )
    talk.sent("two")
    talk.turn()
    ended = talk.end()
    assert (ended["status"], ended["turns"]) == ("succeeded", 2), ended["reason"]
    how = [one["how"] for one in ended["attempts"]]
    assert how == ["first", "resume", *(["closing"] if contract == "closing-turn" else [])]
    assert len(list((talk.run.folder / "turns").iterdir())) == 2


def test_what_fails_at_the_end_is_tried_again_as_often_as_without_turns(repo: Repo) -> None:
    recovery = '[recovery]\nladder = ["resume", "fresh"]\n'
    talk = converse(repo, "retries = 2", """verify = [["bash", "-c", "false"]]""", more=recovery)
    talk.waits()
    talk.sent("two of all texts")
    talk.turn()
    ended = talk.end()
    assert [one["how"] for one in ended["attempts"]] == ["first", "resume", "resume", "fresh"]
    again, anew = talk.texts()[1:]
    assert "two of all texts" not in again, "its session has it"
    assert "Begin." in anew and "two of all texts" in anew
    repo.json("retry", talk.run.id, "--fresh")
    wait_until(lambda: len(talk.heard()) == 5, what="the retry")
    assert "Begin." in talk.heard()[-1] and "two of all texts" in talk.heard()[-1]
    assert (ended["status"], ended["reason"]["code"]) == ("rejected", "verify_failed")
    assert len(ended["attempts"]) == 4


def test_what_many_send_at_once_is_heard_in_the_order_of_its_numbers(repo: Repo) -> None:
    talk = converse(repo, prompt="GATE Begin.")
    answers = [one.json() for one in talk.send_all(*(f"text {n}" for n in range(10)))]
    assert {one["state"] for one in answers} == {"queued"}
    assert {one["turn"] for one in answers} == {*range(2, 12)}
    repo.open_gate()
    assert talk.turn(11)["status"] == "completed"
    names = sorted(path.name for path in (talk.run.folder / "messages").iterdir())
    sent = [json.loads((talk.run.folder / "messages" / name).read_bytes())["text"] for name in names]
    assert talk.texts() == sent
    assert talk.end()["turns"] == 11


def test_a_secret_in_a_message_is_in_no_record_of_it(repo: Repo) -> None:
    secret = "hunter2-correct-horse-battery"
    env = {"SERVICE_WORD": secret}
    talk = converse(repo, more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n', env=env)
    talk.waits()
    talk.sent(f"say {secret}")
    turn = talk.turn()
    assert secret in talk.texts()[0]
    assert turn["message"] == "heard say [redacted]"
    for path in (talk.signal, talk.run.folder / "turns/turn-2.json"):
        assert secret not in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
    talk.end()
    wait_until(lambda: talk.run.events("sealed"), what="the seal")
    left = [str(path) for path in talk.run.folder.rglob("*") if path.is_file() and secret in path.read_text()]
    assert left == []
    assert secret not in json.dumps(repo.json("events"))


def test_all_who_await_a_turn_hear_of_it(repo: Repo) -> None:
    talk = converse(repo, prompt="GATE Begin.")
    repo.begun()
    with ThreadPoolExecutor(8) as pool:
        hearing = [pool.submit(talk.turn, number) for number in (None, 1, None, 1, None, 1, None)]
        later = pool.submit(talk.turn, 2)
        queued = talk.sent("two")
        repo.open_gate()
        assert queued["turn"] == 2
        assert {one.result()["message"] for one in hearing} <= {"heard GATE Begin.", "heard two"}
        assert later.result()["message"] == "heard two"
    assert talk.turn(1)["turn"] == 1
    assert talk.run.on_disk()["last_message"] == "heard two"


def test_of_many_texts_to_a_run_that_has_ended_one_begins_a_run_in_its_session(repo: Repo) -> None:
    """Two processes in one session would lose a turn, and not say so."""
    talk = converse(repo)
    talk.waits()
    talk.end()
    answers = talk.send_all(*(f"GATE {n}" for n in range(4)))
    (begun,) = [one.json() for one in answers if one.status == 0]
    assert (begun["state"], begun["message"]) == ("follow_up", None), "it is the prompt of that run"
    refused = [(one.status, one.json()["error"]["code"]) for one in answers if one.status]
    assert refused == [(9, "session_busy")] * 3
    again = talk.send("once more")
    assert (again.status, begun["run_id"] in again.json()["error"]["message"]) == (9, True)
    assert talk.run.ask("retry", "--message", "again").json()["error"]["code"] == "session_busy"
    repo.open_gate()


def test_a_tool_that_works_is_ended_with_the_turn_that_is_interrupted(repo: Repo) -> None:
    """Whatever the sender lets others do with its files, nobody else reads what is sent."""
    talk = converse(repo, prompt="RUN touch $HOME/begun; sleep 300 & sleep 300")
    repo.begun()
    words = ("send", talk.run.id, "--now", "two", "--json")
    with repo.process(*words, prefix=("sh", "-c", 'umask 0; exec "$@"', "sh")) as process:
        out, _ = process.communicate(timeout=60)
    assert json.loads(out)["state"] == "interrupted"
    assert talk.turn(1)["status"] == "interrupted"
    assert talk.turn(2)["status"] == "completed"
    assert talk.run.tree() == []
    modes = {path.stat().st_mode & 0o077 for path in (talk.run.folder / "messages").rglob("*")}
    assert modes == {(talk.run.folder / "messages").stat().st_mode & 0o077} == {0}


def test_a_limit_of_time_counts_the_turns_and_not_what_is_between_them(repo: Repo) -> None:
    talk = converse(repo, 'timeout = "2s"')
    assert talk.run.ask("await", "--turn", "2", "--timeout", "2500ms").status == 75
    talk.sent("GATE two")
    done = talk.run.ask("await", "--turn", "2", "--timeout", "30s")
    ended = talk.run.wait()
    assert (done.status, done.json()["reason"]["code"]) == (ExitStatus.TIMED_OUT, "timeout")
    assert (ended["status"], ended["turns"]) == ("timed_out", 2)
    begun, over = (parse_timestamp(ended["attempts"][1][name]) for name in ("started_at", "ended_at"))
    assert over - begun > 1.0
    assert ended["waiting_seconds"] > 2.0


def test_the_runs_of_a_plan_get_no_messages(repo: Repo) -> None:
    """What comes of them belongs to the ledger of the plan."""
    prepares(repo, [""])
    knows_results(
        repo, f'cat > /dev/null\n{THREAD}touch "$HOME/begun"\nuntil [ -e "$HOME/gate" ]; do sleep 0.05; done'
    )
    assert repo.cli("consent", "--task", "work", "--yes").status == 0
    plan = repo.json("start", "--plan", "plan.toml", "--task", "work", "--force-delegate")["run_id"]
    repo.begun()
    runs = repo.runs()
    assert plan in [run.id for run in runs] and len(runs) == 2
    for run in runs:
        for verb, words in (("send", ("text",)), ("send", ("text", "--now")), ("end", ())):
            refused = run.ask(verb, *words)
            assert (refused.status, refused.error["code"]) == (9, "conflict"), (verb, refused.stdout)
            assert "of a plan" in refused.error["message"]
        assert not (run.folder / "messages").exists()
    assert repo.cli("cancel", plan).status == 0


def test_who_waits_with_its_start_gets_the_verdict_of_an_open_run_as_of_any_other(repo: Repo) -> None:
    talk = converse(repo, 'verify = [["false"]]', 'open_timeout = "1s"')
    talk.waits()
    talk.end()
    done = repo.cli("start", "work", "--wait", "--json")
    assert (done.status, done.json()["status"], done.json()["turns"]) == (6, "rejected", 1)
