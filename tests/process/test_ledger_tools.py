"""The tools of the ledger, over real servers of several runs: who may say what, and that nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from support.delegation import Server, call, family, greeting, served
from support.repo import RUNNER, Repo, Run
from support.waiting import wait_until

from runner.ledger.file import Ledger

HANDOFF = {"reason": "It fits.", "ask": "Do it."}
PERSON = {"text": "from a person"}


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    """Whatever a test has started is over after it."""
    yield
    repo.end_all()


def ledger(repo: Repo, task: str = "work") -> Ledger:
    return Ledger(str(repo.root), task)


def texts(answer: dict[str, Any]) -> list[str]:
    return [entry["payload"]["text"] for entry in answer["entries"] if "text" in entry["payload"]]


def note(server: Server, text: str, **more: Any) -> str:
    name: str = server.call("append_note", text=text, **more)["id"]
    return name


# -- who speaks, and where -------------------------------------------------------------------------


def test_a_run_speaks_as_its_task_in_its_own_ledger_and_an_owner_names_the_task(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    with served(repo, run=run) as server, served(repo) as owner:
        note(server, "mine")
        for forged in ({"actor": "human"}, {"task_id": "child"}, {"run_id": "x"}, {"manifest_path": "x"}):
            assert server.code("append_note", text="forged", **forged) == "bad_arguments"
        assert owner.code("append_note", text="whose?") == "bad_arguments"
        assert owner.code("append_note", text="x", task_id="work\n") == "task_not_found"
        note(owner, "from outside", task_id="work")
        seen = server.call("read_context")
        said = [(one["actor"], one["run_id"]) for one in seen["entries"] if one["type"] == "note"]
        assert said == [("work", run.id), ("owner", None)]
        who = server.call("session_info")
        assert (who["actor"], who["run_id"], who["ledger"]) == ("work", run.id, ledger(repo).path)
        assert [one["run_id"] for one in who["live_runs"]] == [run.id]
        assert owner.call("session_info", task_id="work")["actor"] == "owner"
    assert not ledger(repo, "child").exists


def test_no_tool_signs_rejects_or_says_who_writes_git(repo: Repo) -> None:
    family(repo)
    with served(repo) as owner:
        assert not [name for name in owner.tools() if any(w in name for w in ("sign", "reject", "coord"))]
        proposed = owner.call("propose_final", task_id="work", summary="Done.", evidence="The tests.")
        assert proposed["next_speaker"]["actor"] == "human"
        assert owner.call("task_state", task_id="work")["finality"]["status"] == "awaiting_human"


def test_the_tools_of_other_modes_and_of_a_run_without_the_word_are_not_there(repo: Repo) -> None:
    family(repo)
    run = repo.start("--set", 'delegation.tools=["status"]')
    with served(repo, run=run) as server:
        assert server.code("append_note", text="x") == "unknown_tool"
    assert "ledger.jsonl" not in run.file("prompt.md")


# -- turns -----------------------------------------------------------------------------------------


def test_a_lane_is_handed_on_by_whom_it_waits_for_and_by_nobody_else(repo: Repo) -> None:
    family(repo)
    work, child = repo.start(), repo.start(task="child")
    with served(repo, run=work) as server, served(repo) as owner:
        first = server.call("handoff", to="owner", context_refs=["delegate.toml:1"], **HANDOFF)
        assert first["next_speaker"] == {"actor": "owner", "run_id": None}
        assert server.code("handoff_to_codex", **HANDOFF) == "not_your_turn"
        assert server.code("handoff", to="child", context_refs=["../x"], **HANDOFF) == "entry_invalid"
        assert server.code("reply", text="x", handles_handoff_id=["e-9999"]) == "handle_not_found"
        note(server, "notes are free")
        seen = owner.call("read_context", task_id="work")
        assert [one["id"] for one in seen["open_handoffs"]] == [first["id"]]
        assert seen["open_handoffs"][0]["payload"]["context_refs"] == ["delegate.toml:1"]
        server.call("handoff", to="owner", lane="docs", **HANDOFF)
        assert owner.code("reply", task_id="work", text="Done.") == "entry_invalid"
        replied = owner.call("reply", task_id="work", text="Done.", lane="main")
        delivered = replied["delivery"]
        assert (delivered["state"], delivered["run"]["run_id"]) == ("delivered", work.id)
        assert (replied["handles"], replied["next_speaker"]["actor"]) == ([first["id"]], "owner")
        replied = owner.call("reply", task_id="work", text="Done.")
        assert replied["next_speaker"]["run_id"] == work.id
    assert {one.actor for one in ledger(repo, child.task).entries()} <= {"runner"}


def test_evidence_is_recorded_with_its_kind_and_status_or_not_at_all(repo: Repo) -> None:
    family(repo)
    report = {"kind": "test_report", "title": "tests", "summary": "All pass.", "evidence": ["4 passed"]}
    with served(repo, run=repo.start()) as server:
        assert server.code("record_artifact", status="green", **report) == "bad_arguments"
        assert server.code("record_artifact", status="passed", **{**report, "kind": "x"}) == "bad_arguments"
        name = server.call("record_artifact", status="passed", **report)["id"]
        whole = server.call("read_context", id=name)["entry"]
        assert whole["payload"] == {**report, "status": "passed"}


def test_a_handoff_waits_for_its_reply_and_for_no_longer_than_a_host_does(repo: Repo) -> None:
    family(repo)
    with served(repo, run=repo.start()) as server, served(repo) as owner:
        waiting = server.soon("handoff", to="owner", wait_for_reply=True, **HANDOFF)
        wait_until(lambda: owner.call("task_state", task_id="work")["lanes"], 20, "the handoff")
        note(owner, "I look at it", task_id="work")
        assert not waiting.done()
        owner.call("reply", task_id="work", text="Looked at.")
        answer = waiting.result(timeout=10)
        assert answer["is_answered"] is True
        assert texts(answer)[-2:] == ["I look at it", "Looked at."]
        assert server.call("wait_for_messages", timeout_s=0)["entries"] == []


@pytest.mark.parametrize("is_signed", [False, True], ids=["withdrawn", "signed"])
def test_a_handoff_that_was_withdrawn_or_ended_by_a_signature_is_not_answered(
    repo: Repo, is_signed: bool
) -> None:
    family(repo)
    with served(repo, run=repo.start()) as server, served(repo) as owner:
        waiting = server.soon("handoff", to="owner", wait_for_reply=True, **HANDOFF)
        wait_until(lambda: owner.call("task_state", task_id="work")["lanes"], 20, "the handoff")
        if is_signed:
            proposed = server.call("propose_final", summary="Done.", evidence="The tests.")["id"]
            repo.cli("ledger", "sign", "work", "--proposal", proposed)
        else:
            open_one = server.call("read_context")["open_handoffs"][0]["id"]
            server.call("handoff", to="owner", supersedes=open_one, **HANDOFF)
        answer = waiting.result(timeout=10)
    assert answer["is_answered"] is False
    assert [one["type"] for one in answer["entries"]] == ["finality_signed"] * is_signed


def test_a_handoff_starts_the_run_that_takes_it_within_the_caps_of_its_maker(repo: Repo) -> None:
    family(repo, more='tasks = ["child"]\n')
    settings = repo.root / "delegate.toml"
    for name in ("child", "grandchild"):
        begins = f"[tasks.{name}]\n"
        settings.write_text(settings.read_text().replace(begins, f'{begins}start = "on_handoff"\n'))
    run = repo.start()
    with served(repo, run=run) as server:
        refused = server.call("handoff", to="grandchild", lane="other", **HANDOFF)["delivery"]
        assert (refused["state"], refused["why"]["code"]) == ("recorded", "task_not_spawnable")
        answer = server.call("handoff", to="child", **HANDOFF)
        assert answer["delivery"]["state"] == "started"
        child = Run(repo, answer["delivery"]["run"]["run_id"], "child")
        assert child.on_disk()["parent"]["run_id"] == run.id
        assert ledger(repo).path in child.file("prompt.md")
        with served(repo, run=child) as other:
            assert other.call("session_info")["active_handoff"]["taken_by"] == child.id
            other.call("reply", text="Done.")
        heard = server.call("wait_for_messages", timeout_s=20)
        assert texts(heard) == ["Done."]
        lanes = {one["lane"]: one for one in server.call("task_state")["lanes"]}
        assert (lanes["main"]["status"], lanes["main"]["run_id"]) == ("handled", run.id)
        assert lanes["other"]["status"] == "open"


def test_a_task_of_the_settings_that_a_caller_was_started_with_can_be_handed_to(repo: Repo) -> None:
    family(repo)
    settings = (repo.root / "delegate.toml").read_text()
    other = repo.root / "other.toml"
    other.write_text(settings.replace("[tasks.child]", "[tasks.elsewhere]"))
    with served(repo, run=repo.start("--config", other)) as server:
        assert server.call("send", to="elsewhere", text="x")["to"] == "elsewhere"
        assert server.code("send", to="nowhere", text="x") == "task_not_found"
    with served(repo, "--config", other) as owner:
        assert owner.call("handoff", task_id="elsewhere", to="elsewhere", **HANDOFF)["to"] == "elsewhere"


# -- waiting ---------------------------------------------------------------------------------------


def test_a_wait_returns_empty_in_time_early_on_an_entry_and_holds_up_no_other_call(repo: Repo) -> None:
    family(repo)
    with served(repo, run=repo.start()) as server, served(repo) as owner:
        server.call("wait_for_messages", timeout_s=1)
        begun = monotonic()
        empty = server.call("wait_for_messages", timeout_s=1)
        assert (empty["timed_out"], empty["entries"]) == (True, []) and monotonic() - begun < 10
        waiting = server.soon("wait_for_messages", timeout_s=40)
        note(server, "what I say myself ends no wait of mine")
        assert not waiting.done()
        note(owner, "hello", task_id="work")
        assert texts(waiting.result(timeout=10)) == ["hello"]


def test_nothing_is_lost_or_told_twice_between_waits_while_two_servers_write(repo: Repo) -> None:
    family(repo)
    heard: list[str] = []
    written = [f"{who} {number}" for who in ("a", "b") for number in range(30)]
    reader = repo.start()
    with served(repo, run=reader) as server, served(repo) as a, served(repo) as b, ThreadPoolExecutor() as at:
        server.call("read_context")
        for other, name in ((a, "a"), (b, "b")):
            at.submit(lambda o=other, n=name: [note(o, f"{n} {k}", task_id="work") for k in range(30)])

        def all_heard() -> bool:
            heard.extend(texts(server.call("wait_for_messages", timeout_s=5)))
            return len(heard) >= len(written)

        wait_until(all_heard, 60, "all entries")
    assert sorted(heard) == sorted(written)
    assert ledger(repo).look(all_of_it=True).is_whole


def test_what_a_call_found_that_was_given_up_is_found_by_the_next_one(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    words = (RUNNER, "delegate-server", "--repo", repo.root, "--manifest", run.folder / "manifest.json")
    with (
        served(repo) as owner,
        subprocess.Popen(
            [*map(str, words)], cwd=repo.root, env=repo.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        given_up = {"method": "notifications/cancelled", "params": {"requestId": 2}}
        waits = call(2, "wait_for_messages", {"timeout_s": 40}), call(3, "task_state", {})
        process.stdin.write(greeting(*waits, given_up, call(4, "task_state", {})))
        process.stdin.flush()
        seen = {}
        while 4 not in seen:
            answer = json.loads(process.stdout.readline())
            seen[answer.get("id")] = answer
        note(owner, "after that", task_id="work")
        process.stdin.write(greeting(call(5, "wait_for_messages", {"timeout_s": 40})).splitlines(True)[-1])
        process.stdin.flush()
        while 5 not in seen:
            answer = json.loads(process.stdout.readline())
            seen[answer.get("id")] = answer
        process.stdin.close()
        process.wait(timeout=10)
    assert texts(seen[5]["result"]["structuredContent"]) == ["after that"]


def test_a_server_that_is_started_again_gives_what_came_since_its_run_began(repo: Repo) -> None:
    family(repo)
    with served(repo) as owner:
        note(owner, "before", task_id="work")
        run = repo.start()
        with served(repo, run=run) as server:
            note(owner, "meanwhile", task_id="work")
            os.kill(server.process.pid, signal.SIGKILL)
        note(owner, "after", task_id="work")
        with served(repo, run=run) as server:
            assert texts(server.call("wait_for_messages", timeout_s=10)) == ["meanwhile", "after"]


def test_of_a_ledger_that_began_anew_all_is_given_however_far_it_has_grown(repo: Repo) -> None:
    family(repo)
    with served(repo) as owner:
        for number in range(3):
            repo.cli("ledger", "note", "work", f"old {number}")
        owner.call("read_context", task_id="work")
        with open(ledger(repo).path, "a", encoding="utf-8") as file:
            file.write("x\n")
        repo.cli("ledger", "verify", "work", "--set-aside")
        news = [f"new {number}" for number in range(4)]
        for text in news:
            repo.cli("ledger", "note", "work", text)
        heard = owner.call("wait_for_messages", task_id="work", timeout_s=0)
        assert heard["entries"][0]["seq"] == 1 and texts(heard) == news
        assert owner.call("wait_for_messages", task_id="work", timeout_s=0)["entries"] == []


# -- how much is shown -----------------------------------------------------------------------------


def test_an_answer_stays_small_and_says_what_it_leaves_out(repo: Repo) -> None:
    family(repo)
    with served(repo, run=repo.start()) as server, served(repo) as owner:
        names = [note(owner, f"{number} {'x' * 20_000}", task_id="work") for number in range(30)]
        owner.call("handoff", task_id="work", to="work", reason="r", ask="y" * 60_000)
        seen = server.call("read_context")
        assert len(json.dumps(seen)) < 32_000
        assert seen["open_handoffs"][0]["cut"] == ["ask"]
        assert seen["older_left_out"] and all(one["cut"] == ["text"] for one in seen["entries"][:-1])
        whole = server.call("read_context", id=names[0])["entry"]
        assert whole["payload"]["text"] == f"0 {'x' * 20_000}"
        found: list[str] = []
        page = {"more": True, "next_since_seq": 0}
        while page["more"]:
            page = server.call("wait_for_messages", timeout_s=0, since_seq=page["next_since_seq"])
            assert len(json.dumps(page)) < 32_000
            found += [one["id"] for one in page["entries"] if one["type"] == "note"]
        assert found == names


# -- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ledger_broken", "foreign_ledger"])
def test_of_a_ledger_that_is_not_believed_nothing_is_told(repo: Repo, code: str) -> None:
    family(repo)
    run = repo.start()
    with served(repo, run=run) as server:
        note(server, "one word")
        note(server, "two word")
        path = ledger(repo).path
        if code == "foreign_ledger":
            os.chmod(path, 0o666)
        else:
            Path(path).write_bytes(Path(path).read_bytes().replace(b"one word", b"one w0rd"))
        for tool, arguments in (
            ("read_context", {}),
            ("read_context", {"id": "e-0001"}),
            ("task_state", {}),
            ("session_info", {}),
            ("wait_for_messages", {"timeout_s": 1}),
            ("append_note", {"text": "x"}),
            ("handoff", {"to": "child", **HANDOFF}),
        ):
            answer = server.answer(tool, arguments)
            assert answer["error"]["code"] == code, tool
            assert "word" not in json.dumps(answer)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_wait_of_no_number_of_seconds_is_refused(repo: Repo, number: float) -> None:
    family(repo)
    with served(repo, run=repo.start()) as server:
        answer = server.answer("wait_for_messages", {"timeout_s": number})
    assert answer["error"]["code"] == "bad_arguments"


def test_a_server_killed_while_it_appends_leaves_every_note_that_it_has_confirmed(repo: Repo) -> None:
    family(repo)
    run, confirmed = repo.start(), set()
    for number in range(4):
        with served(repo, run=run) as server:
            calls = [server.soon("append_note", text=f"{number} {one}") for one in range(25)]
            wait_until(lambda calls=calls, number=number: calls[number * 6].done(), 20, "some answers")
            os.kill(server.process.pid, signal.SIGKILL)
            confirmed |= {one.result()["id"] for one in calls if one.done() and not one.exception()}
    with served(repo, run=run) as server:
        note(server, "and on")
    found = ledger(repo).look(all_of_it=True)
    assert found.is_whole and confirmed <= {entry.id for entry in ledger(repo).entries()}


def test_secrets_and_control_sequences_do_not_reach_the_ledger(repo: Repo) -> None:
    family(repo)
    with served(repo, run=repo.start()) as server:
        note(server, "token ghp_0123456789abcdefghijABCDEFGHIJ012345 \x1b[2J\x07 end")
    text = Path(ledger(repo).path).read_text(encoding="utf-8")
    assert "ghp_0123456789" not in text and "\\u001b" not in text and " end" in text


def test_the_prompt_names_the_ledger_by_its_literal_path(repo: Repo) -> None:
    family(repo)
    run: Run = repo.start()
    assert f"The ledger {ledger(repo).path} is shared" in run.file("prompt.md")
