"""The delegation server on stdio, driven by the official client: every tool, every bad call, every death."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from support import processes
from support.delegation import Server, call, family, greeting, path_of, served
from support.processes import kill
from support.repo import Repo, Run
from support.waiting import wait_until

from runner.resolve import delegation
from runner.state import questions
from runner.state.store import RunDir

QUESTIONS = {"delegate.question.enqueue", "delegate.question.poll", "delegate.question.answer"}
TURNS = {"delegate.send", "delegate.await"}
LEDGER = {*delegation.TOOLS["ledger"]}
EVERY = (
    {"delegate.status", "delegate.pause", "delegate.cancel", "delegate.spawn"} | TURNS | QUESTIONS | LEDGER
)
NEVER = ".runs/work/cli/20260101T000000000Z-00000000/manifest.json"


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    """Whatever a test has started is over after it."""
    yield
    repo.end_all()


def spawned(repo: Repo, server: Server, task: str = "child", **arguments: str) -> Run:
    """A run that was started through the tool."""
    answer = server.call("delegate.spawn", task_id=task, **arguments)
    return Run(repo, answer["run_id"], answer["task_id"])


def asked(run: Run, server: Server, parent: Run, prompt: str = "Which?", **arguments: Any) -> str:
    """The id of a question that this run's server has put."""
    answer = server.call(
        "delegate.question.enqueue", parent_manifest_path=path_of(parent), prompt=prompt, **arguments
    )
    question: str = answer["question_id"]
    assert (run.folder / "questions" / f"{question}.json").exists()
    return question


def starting_now(repo: Repo) -> list[processes.Seen]:
    return [process for process in processes.of_folder(repo.base) if "start" in process.words]


# -- what is offered -------------------------------------------------------------------------------


def test_each_mode_offers_its_tools_and_says_which_of_them_only_look(repo: Repo) -> None:
    family(repo)
    modes = {"full": EVERY, "status": {"delegate.status"}, "question": {"delegate.status", *QUESTIONS}}
    modes["ledger"] = {"delegate.status", *LEDGER}
    for mode, expected in modes.items():
        with served(repo, "--mode", mode) as server:
            tools = server.tools()
            assert set(tools) == expected
            assert server.code("delegate.nothing") == "unknown_tool"
            for name in EVERY - expected:
                assert server.code(name) == "unknown_tool"
    with served(repo) as server:
        tools = server.tools()
    hints = {name: tool.annotations.read_only_hint for name, tool in tools.items()}
    looks = {"delegate.status", "delegate.await", "delegate.question.poll", "wait_for_messages"}
    looks |= {"read_context", "task_state", "session_info"}
    assert {name for name, hint in hints.items() if hint} == looks
    assert tools["delegate.cancel"].annotations.destructive_hint is True
    assert all(tool.input_schema["additionalProperties"] is False for tool in tools.values())


def test_a_run_is_offered_what_its_delegation_has_and_never_more_than_the_mode(repo: Repo) -> None:
    family(repo)
    run = repo.start("--set", 'delegation.tools=["status","question","cancel"]')
    with served(repo, run=run) as server:
        assert set(server.tools()) == {"delegate.status", "delegate.cancel", *QUESTIONS}
        assert server.code("delegate.spawn", task_id="child") == "unknown_tool"
    with served(repo, "--mode", "status", run=run) as server:
        assert set(server.tools()) == {"delegate.status"}


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["--manifest", NEVER], 4, "run_not_found"),
        (["--manifest", "/dev/zero"], 4, "run_not_found"),
        (["--manifest", "../../x/manifest.json"], 4, "run_not_found"),
        (["--repo", "/nowhere"], 2, "usage"),
        (["--mode", "all"], 2, "usage"),
    ],
)
def test_a_server_that_cannot_be_says_why_and_ends(
    repo: Repo, words: list[str], status: int, code: str
) -> None:
    family(repo)
    done = repo.cli("delegate-server", *words, "--format", "json", stdin="")
    assert (done.status, done.error["code"]) == (status, code)


def test_a_run_without_delegation_has_no_server(repo: Repo) -> None:
    family(repo)
    run = repo.start(task="plain")
    done = repo.cli("delegate-server", "--manifest", path_of(run), "--format", "json", stdin="")
    assert (done.status, done.error["code"]) == (4, "run_not_found")


REGISTER = ("delegate-server", "--register", "claude", "--yes", "--format", "json")


@pytest.mark.parametrize(("exit_code", "status"), [(0, 0), (3, 1)])
def test_registering_passes_on_what_the_host_says_and_answers_by_itself(
    repo: Repo, exit_code: int, status: int
) -> None:
    host = repo.bin / "claude"
    host.write_text(f'#!/bin/sh\ncat\necho "added in $PWD"\necho "a warning" >&2\nexit {exit_code}\n')
    host.chmod(0o755)
    done = repo.cli(*REGISTER, stdin="not for the host")
    assert done.status == status
    assert done.json()["registered"] == (exit_code == 0)
    assert done.json()["command"][:3] == ["claude", "mcp", "add"]
    assert f"added in {repo.root}\na warning\n" in done.stderr
    assert "not for the host" not in done.stderr


def test_registering_with_a_host_that_is_not_installed_is_refused(repo: Repo) -> None:
    done = repo.cli(*REGISTER)
    assert (done.status, done.error["code"]) == (8, "runtime_missing")
    assert "no `claude` on PATH" in done.error["message"]


def test_a_call_with_half_a_surrogate_pair_is_answered_and_the_connection_lives_on(repo: Repo) -> None:
    family(repo)
    half = {"name": "delegate.spawn", "arguments": {"task_id": "child", "prompt": "\ud83d"}}
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "tools/call", "params": half},
        {"id": "two", "method": "tools/list", "params": {"cursor": "\udc00"}},
        {"method": "notifications/progress", "params": half},
        {"id": "\ud800", "method": "tools/call", "params": half},
    ]
    lines = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
    done = repo.cli("delegate-server", "--repo", repo.root, stdin=lines)
    answers = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    assert list(answers) == [1, "two"]
    assert answers[1]["result"]["isError"] is True
    assert answers[1]["result"]["structuredContent"]["error"]["code"] == "bad_arguments"
    assert answers["two"]["error"]["code"] == -32700


# -- every tool, and who may use it ----------------------------------------------------------------


def test_the_owner_uses_every_tool_but_asks_nobody(repo: Repo) -> None:
    family(repo)
    with served(repo) as owner:
        run = spawned(repo, owner, "work", prompt="Something else.")
        assert run.file("prompt.md").startswith("Something else.")
        path = path_of(run)
        assert run.on_disk()["parent"] is None
        child = spawned(repo, owner, parent_manifest_path=path)
        assert child.on_disk()["parent"]["run_id"] == run.id
        seen = owner.call("delegate.status", manifest_path=path)
        assert (seen["status"], [one["run_id"] for one in seen["children"]]) == ("running", [child.id])
        assert owner.call("delegate.pause", manifest_path=path, paused=True)["status"] == "paused"
        assert child.on_disk()["phase"] == "paused"
        assert owner.call("delegate.pause", manifest_path=path, paused=False)["status"] == "running"
        with served(repo, run=run) as server:
            question = asked(run, server, run)
            owner.call("delegate.question.answer", manifest_path=path, question_id=question, answer="Blue.")
            poll = {"parent_manifest_path": path, "question_id": question}
            assert server.call("delegate.question.poll", **poll)["answer"] == "Blue."
        for tool in ("enqueue", "poll"):
            more = {"prompt": "x"} if tool == "enqueue" else {"question_id": "q-0001"}
            assert owner.code(f"delegate.question.{tool}", parent_manifest_path=path, **more) == "no_caller"
        ended = owner.call("delegate.cancel", manifest_path=path, reason="enough")
        assert (ended["status"], ended["survivors"]) == ("cancelled", [])
        assert child.on_disk()["status"] == "cancelled"
        assert "enough" in run.on_disk()["reason"]["message"]


def test_a_run_uses_every_tool_on_its_child_and_answers_it(repo: Repo) -> None:
    family(repo)
    parent = repo.start()
    with served(repo, run=parent) as above:
        child = spawned(repo, above, prompt="Ask me.")
        with served(repo, run=child) as below:
            question = asked(child, below, parent)
            poll = {"parent_manifest_path": path_of(parent), "question_id": question}
            assert below.call("delegate.question.poll", **poll)["status"] == "open"
            waiting = below.soon("delegate.question.poll", **poll, wait_s=20)
            seen = above.call("delegate.status", manifest_path=path_of(child))
            assert [(one["id"], one["prompt"]) for one in seen["questions"]] == [(question, "Which?")]
            reply = {"manifest_path": path_of(child), "question_id": question, "answer": "This."}
            assert above.call("delegate.question.answer", **reply)["status"] == "answered"
            assert waiting.result(timeout=10)["answer"] == "This."
            assert above.code("delegate.question.answer", **reply) == "question_closed"
        assert above.call("delegate.pause", manifest_path=path_of(child), paused=True)["status"] == "paused"
        assert all(process.is_stopped for process in child.tree())
        assert above.call("delegate.pause", manifest_path=path_of(child), paused=False)["status"] == "running"
        repo.note("gate-child").touch()
        ended = above.call("delegate.status", manifest_path=path_of(child), wait_s=20)
        assert (ended["status"], ended["last_message"]) == ("succeeded", "done")
        assert above.call("delegate.cancel", manifest_path=path_of(child))["status"] == "succeeded"


def test_a_run_touches_nobody_but_itself_and_what_it_started(repo: Repo) -> None:
    family(repo)
    parent = repo.start()
    with served(repo, run=parent) as above:
        child, sibling = spawned(repo, above), spawned(repo, above)
        question = "q-0001"
        with served(repo, run=sibling) as other:
            asked(sibling, other, parent)
        with served(repo, run=child) as below:
            asked(child, below, parent)
            reply = {"question_id": question, "answer": "mine"}
            for stranger in (parent, sibling):
                path = path_of(stranger)
                assert below.code("delegate.status", manifest_path=path) == "not_yours"
                assert below.code("delegate.cancel", manifest_path=path) == "not_yours"
                assert below.code("delegate.pause", manifest_path=path, paused=True) == "not_yours"
                assert below.code("delegate.question.answer", manifest_path=path, **reply) == "not_yours"
                spawn = {"task_id": "child", "parent_manifest_path": path}
                assert below.code("delegate.spawn", **spawn) == "not_yours"
            own = path_of(child)
            assert below.code("delegate.question.answer", manifest_path=own, **reply) == "not_yours"
            for whom in (child, sibling):
                ask = {"parent_manifest_path": path_of(whom), "prompt": "x"}
                assert below.code("delegate.question.enqueue", **ask) == "not_yours"
                poll = {"parent_manifest_path": path_of(whom), "question_id": question}
                assert below.code("delegate.question.poll", **poll) == "not_yours"
            assert below.call("delegate.status", manifest_path=own)["status"] == "running"
        assert {run.on_disk()["status"] for run in (parent, child, sibling)} == {"running"}


# -- bad calls -------------------------------------------------------------------------------------


def bad_calls(path: str, repo: Repo) -> list[tuple[str, dict[str, Any], str]]:
    link = repo.runs_folder / "linked"
    link.symlink_to(repo.runs_folder / "work")
    linked = path.replace("/work/", "/linked/")
    status, ask, poll, reply = (
        "delegate.status",
        *(f"delegate.question.{n}" for n in ("enqueue", "poll", "answer")),
    )
    q = {"question_id": "q-0001"}
    return [
        *((status, {"manifest_path": bad}, "run_not_found") for bad in (
            "", ".", "/", "/dev/zero", "/etc/passwd", "../../manifest.json", linked, NEVER,
            f"{path}/../manifest.json", f".runs/work/cli/../../{path}", f"/elsewhere/{path}", "\0",
            f"{path}\0", "~/x/manifest.json", ".runs/work/cli/manifest.json", "\x1b[31m",
        )),
        (status, {"manifest_path": "x" * 1_000_000}, "bad_arguments"),
        (status, {}, "bad_arguments"),
        (status, {"manifest_path": None}, "bad_arguments"),
        (status, {"manifest_path": [path]}, "bad_arguments"),
        (status, {"manifest_path": path, "wait_s": "10"}, "bad_arguments"),
        (status, {"manifest_path": path, "wait_s": 49}, "bad_arguments"),
        (status, {"manifest_path": path, "wait_s": -1}, "bad_arguments"),
        (status, {"manifest_path": path, "more": 1}, "bad_arguments"),
        (status, {f"k{n}": n for n in range(5000)}, "bad_arguments"),
        ("delegate.pause", {"manifest_path": path}, "bad_arguments"),
        ("delegate.pause", {"manifest_path": path, "paused": "yes"}, "bad_arguments"),
        ("delegate.cancel", {"manifest_path": NEVER}, "run_not_found"),
        ("delegate.cancel", {"manifest_path": path, "reason": 1}, "bad_arguments"),
        ("delegate.cancel", {"manifest_path": path, "reason": "x" * 2001}, "bad_arguments"),
        ("delegate.spawn", {}, "bad_arguments"),
        ("delegate.spawn", {"task_id": "nothing"}, "task_not_found"),
        *(("delegate.spawn", {"task_id": bad}, "bad_arguments") for bad in (
            "", "--help", "-", "../x", "a/b", "a\0b", "x" * 65, 7,
        )),
        ("delegate.spawn", {"task_id": "child\n"}, "task_not_found"),
        ("delegate.spawn", {"task_id": "child", "prompt": ""}, "prompt_invalid"),
        ("delegate.spawn", {"task_id": "child", "prompt": "a\0b"}, "prompt_invalid"),
        ("delegate.spawn", {"task_id": "child", "prompt": "x" * 1_100_000}, "prompt_invalid"),
        ("delegate.spawn", {"task_id": "child", "prompt": "x" * 2_100_000}, "bad_arguments"),
        ("delegate.spawn", {"task_id": "child", "parent_manifest_path": NEVER}, "run_not_found"),
        (ask, {"parent_manifest_path": path}, "bad_arguments"),
        (ask, {"parent_manifest_path": path, "prompt": " "}, "usage"),
        (ask, {"parent_manifest_path": path, "prompt": "x" * 65_537}, "bad_arguments"),
        (ask, {"parent_manifest_path": path, "prompt": "x", "expires_in_s": 0}, "bad_arguments"),
        (ask, {"parent_manifest_path": path, "prompt": "x", "expires_in_s": 1e300}, "usage"),
        (ask, {"parent_manifest_path": path, "prompt": "x", "on_expiry": "explode"}, "bad_arguments"),
        (ask, {"parent_manifest_path": NEVER, "prompt": "x"}, "run_not_found"),
        (poll, {"parent_manifest_path": path, "question_id": "q-9999"}, "question_not_found"),
        (poll, {"parent_manifest_path": path, "question_id": "../manifest"}, "bad_arguments"),
        (poll, {"parent_manifest_path": path, "question_id": "q-0001\n"}, "question_not_found"),
        (reply, {"manifest_path": path, "answer": "x", **q}, "not_yours"),
        (reply, {"manifest_path": NEVER, "answer": "x", **q}, "run_not_found"),
        (reply, {"manifest_path": path, "answer": 5, **q}, "bad_arguments"),
        ("delegate.\0", {}, "unknown_tool"),
        ("x" * 1_000_000, {}, "unknown_tool"),
        ("", {}, "unknown_tool"),
    ]  # fmt: skip


def test_a_bad_call_has_a_stable_code_and_the_connection_lives_on(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    with served(repo, run=run) as server:
        for tool, arguments, code in bad_calls(path_of(run), repo):
            begun = monotonic()
            answer = server.answer(tool, arguments)
            shown = f"{tool[:40]} {str(arguments)[:80]}"
            assert not answer["ok"], f"{shown} was not refused"
            assert answer["error"]["code"] == code, f"{shown}: {answer}"
            assert len(answer["error"]["message"]) < 2000, shown
            assert "bug" not in str(answer["error"]["hint"]), f"{shown}: {answer}"
            assert monotonic() - begun < 10, shown
        (repo.runs_folder / "linked").unlink()
        assert server.call("delegate.status", manifest_path=path_of(run))["status"] == "running"
        assert repo.runs() == [run]


def say(server: subprocess.Popen[bytes], *lines: str | dict[str, Any]) -> None:
    """Lines as they are, after the greeting of the protocol."""
    assert server.stdin is not None
    server.stdin.write(greeting(*lines))
    server.stdin.flush()


def answers(server: subprocess.Popen[bytes], until: int) -> dict[int, dict[str, Any]]:
    """Every line on stdout up to the answer with this id: each is one of the protocol."""
    assert server.stdout is not None
    found: dict[int, dict[str, Any]] = {}
    while until not in found:
        message = json.loads(server.stdout.readline())
        assert message["jsonrpc"] == "2.0"
        found[message["id"]] = message
    return found


def test_what_is_no_call_at_all_does_not_end_the_connection(repo: Repo) -> None:
    """Lines that no client sends: the answer is an error of the protocol or none, and stdout stays clean."""
    family(repo)
    run = repo.start()
    good = {"manifest_path": path_of(run)}
    with repo.process("delegate-server", "--manifest", path_of(run)) as server:
        say(
            server,
            *("garbage", "{", "[1,2]", "null", '{"jsonrpc":"2.0"}'),
            call(2, "delegate.status", [1]),
            {"id": 3, "method": "no/such", "params": {}},
            call(4, "delegate.status", good),
        )
        seen = answers(server, until=4)
        assert seen[4]["result"]["structuredContent"]["status"] == "running"
        assert "error" in seen[2]
        assert "error" in seen[3]
        out, err = server.communicate(timeout=10)
        assert (server.returncode, out, err) == (0, b"", b"")


@pytest.mark.parametrize("waiting", ["no call", "a poll", "a status that waits"])
def test_the_end_of_stdin_ends_the_server(repo: Repo, waiting: str) -> None:
    family(repo)
    run = repo.start()
    child = repo.start("--parent", path_of(run), task="child")
    ask = {"parent_manifest_path": path_of(run), "prompt": "Which?"}
    poll = {"parent_manifest_path": path_of(run), "question_id": "q-0001", "wait_s": 40}
    calls = {
        "a poll": call(3, "delegate.question.poll", poll),
        "a status that waits": call(3, "delegate.status", {"manifest_path": path_of(child), "wait_s": 40}),
    }
    with repo.process("delegate-server", "--manifest", path_of(run)) as server:
        say(server, call(2, "delegate.question.enqueue", ask))
        answers(server, until=2)
        if waiting != "no call":
            assert server.stdin is not None
            server.stdin.write(f"{json.dumps({'jsonrpc': '2.0', **calls[waiting]})}\n".encode())
            server.stdin.flush()
        begun = monotonic()
        server.communicate(timeout=30)
        assert monotonic() - begun < 5
        assert server.returncode == 0
    assert run.question("q-0001")["prompt"] == "Which?"


@pytest.mark.parametrize("waiting", [False, True], ids=["no call", "a status that waits"])
def test_a_client_that_died_ends_the_server_though_its_stdin_is_still_open(repo: Repo, waiting: bool) -> None:
    family(repo)
    run = repo.start()
    child = repo.start("--parent", path_of(run), task="child")
    with repo.process("delegate-server", "--manifest", path_of(run)) as server:
        say(server, call(2, "delegate.status", {"manifest_path": path_of(child)}))
        answers(server, until=2)
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stderr is not None
        if waiting:
            late = call(3, "delegate.status", {"manifest_path": path_of(child), "wait_s": 40})
            server.stdin.write(f"{json.dumps({'jsonrpc': '2.0', **late})}\n".encode())
            server.stdin.flush()
        server.stdout.close()
        assert server.wait(timeout=20) == 0
        assert server.stderr.read() == b""


# -- itself ----------------------------------------------------------------------------------------


def test_a_run_that_cancels_itself_twice_has_two_answers_and_then_its_end(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    with served(repo, run=run) as server:
        for _ in range(2):
            answer = server.call("delegate.cancel", manifest_path=path_of(run), reason="had enough")
            assert (answer["accepted"], answer["status"]) == (True, "running")
        ended = run.wait()
        assert ended["status"] == "cancelled"
        assert "had enough" in ended["reason"]["message"]
        assert server.call("delegate.status", manifest_path=path_of(run))["status"] == "cancelled"
        again = server.call("delegate.cancel", manifest_path=path_of(run))
        assert (again["accepted"], again["status"]) == (False, "cancelled")
        pause = server.call("delegate.pause", manifest_path=path_of(run), paused=True)
        assert (pause["accepted"], pause["status"]) == (False, "cancelled")
    assert not list((run.folder / "control").glob("intent-*"))


def test_a_run_that_pauses_itself_is_resumed_by_others_only(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    with served(repo, run=run) as server:
        path = path_of(run)
        answer = server.call("delegate.pause", manifest_path=path, paused=False)
        assert (answer["accepted"], answer["status"]) == (False, "running")
        assert server.call("delegate.pause", manifest_path=path, paused=True)["accepted"] is True
        wait_until(lambda: run.on_disk()["phase"] == "paused", what="the pause")
        assert run.told("resume")["status"] == "running"
        assert [event["actor"] for event in run.events("paused")] == [f"run {run.id}"]


# -- questions whose time is over ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_expiry", "status"), [("continue", "running"), ("pause", "paused"), ("fail", "failed")]
)
def test_without_an_answer_in_time_the_asker_gets_what_it_said(
    repo: Repo, on_expiry: str, status: str
) -> None:
    family(repo)
    run = repo.start()
    with served(repo, run=run) as server:
        question = asked(run, server, run, expires_in_s=0.3, on_expiry=on_expiry)
        poll = {"parent_manifest_path": path_of(run), "question_id": question}
        answer = server.call("delegate.question.poll", **poll, wait_s=10)
        assert (answer["status"], answer["answer"]) == ("expired", None)
        wait_until(lambda: run.on_disk()["status"] == status, what=status)
        if status == "failed":
            ended = run.on_disk()
            assert (ended["reason"]["code"], ended["survivors"]) == ("question_expired", [])
            assert question in ended["reason"]["message"]
        else:
            assert all(process.is_stopped is (status == "paused") for process in run.tree())
    late = repo.cli("answer", run.id, question, "too late", "--format", "json")
    assert (late.status, late.error["code"]) == (9, "question_closed")


def test_a_question_to_a_parent_that_is_over_is_refused_and_an_old_answer_is_still_there(repo: Repo) -> None:
    family(repo, on_parent_end="leave")
    parent = repo.start()
    with served(repo, run=parent) as above:
        child = spawned(repo, above)
        with served(repo, run=child) as below:
            answered, open_still = asked(child, below, parent), asked(child, below, parent)
            reply = {"manifest_path": path_of(child), "question_id": answered, "answer": "Blue."}
            above.call("delegate.question.answer", **reply)
            assert parent.told("cancel", "--only")["status"] == "cancelled"
            path = path_of(parent)
            ask = {"parent_manifest_path": path, "prompt": "Hello?"}
            assert below.code("delegate.question.enqueue", **ask) == "parent_over"
            poll = "delegate.question.poll"
            assert below.call(poll, parent_manifest_path=path, question_id=answered)["answer"] == "Blue."
            assert below.code(poll, parent_manifest_path=path, question_id=open_still) == "parent_over"
            assert child.status()["status"] == "running"


def test_half_a_character_in_an_answer_ends_no_server(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    with served(repo, run=run) as server:
        question = asked(run, server, run)
        questions.answer(RunDir(str(repo.root), run.task, run.id), question, "caf\udce9", by="user")
        poll = {"parent_manifest_path": path_of(run), "question_id": question}
        for _ in range(2):
            assert server.call("delegate.question.poll", **poll)["answer"] == "caf?"
        (told,) = server.call("delegate.status", manifest_path=path_of(run))["questions"]
        assert told["answer"] == "caf\ufffd"


def test_a_parent_killed_with_its_supervisor_is_over_for_the_child_that_asks(repo: Repo) -> None:
    """Nobody has written its end down: who asks it looks."""
    family(repo, on_parent_end="leave")
    parent = repo.start()
    child = repo.start("--parent", path_of(parent), task="child")
    with served(repo, run=child) as below:
        root = parent.child()
        parent.kill_supervisor()
        kill(root)
        wait_until(lambda: not root.is_still_there())
        ask = {"parent_manifest_path": path_of(parent), "prompt": "Hello?"}
        assert below.code("delegate.question.enqueue", **ask) == "parent_over"


# -- many at once ----------------------------------------------------------------------------------


def test_fifty_spawns_at_once_start_as_many_as_may_run(repo: Repo) -> None:
    family(repo)
    parent = repo.start()
    with served(repo, run=parent) as server:
        calls = [server.soon("delegate.spawn", task_id="child") for _ in range(50)]
        answers = [call.result(timeout=60) for call in calls]
        codes = Counter("ok" if one["ok"] else one["error"]["code"] for one in answers)
        assert codes == {"ok": 4, "max_children": 46}
        assert all(one["ok"] or one["error"]["retryable"] for one in answers)
        children = [run for run in repo.runs() if run.task == "child"]
        assert sorted(run.id for run in children) == sorted(one["run_id"] for one in answers if one["ok"])
        seen = server.call("delegate.status", manifest_path=path_of(parent))
        assert [one["status"] for one in seen["children"]] == ["running"] * 4
        server.call("delegate.cancel", manifest_path=path_of(children[0]))
        assert spawned(repo, server).on_disk()["status"] == "running", "there is room again"


def test_one_answer_and_one_expiry_at_the_same_instant_have_one_winner(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    with served(repo, run=run) as server, served(repo) as owner:
        path = path_of(run)
        ids = [asked(run, server, run, expires_in_s=0.2 + n / 10) for n in range(10)]
        for question in ids:
            due = wait_until(lambda q=question: run.question(q)["expires_at"])
            reply = {"manifest_path": path, "question_id": question, "answer": "now"}
            answer = owner.answer("delegate.question.answer", reply)
            poll = {"parent_manifest_path": path, "question_id": question, "wait_s": 10}
            seen = server.call("delegate.question.poll", **poll)
            assert (seen["status"] == "answered") is answer["ok"], (due, seen, answer)
            assert (seen["answer"] == "now") is answer["ok"]
    states = Counter((event["id"], event["status"]) for event in run.events("question"))
    assert set(states.values()) == {1}, "every change is told once"


# -- deaths ----------------------------------------------------------------------------------------


def test_killed_in_the_middle_of_a_poll_the_question_survives_for_the_next_server(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    with contextlib.suppress(Exception), served(repo, run=run) as server:
        question = asked(run, server, run)
        poll = {"parent_manifest_path": path_of(run), "question_id": question}
        waiting = server.soon("delegate.question.poll", **poll, wait_s=40)
        kill(server.process)
        wait_until(waiting.done)
    assert not server.process.is_still_there()
    assert repo.cli("answer", run.id, question, "Still here.").status == 0
    with served(repo, run=run) as server:
        assert server.call("delegate.question.poll", **poll)["answer"] == "Still here."
        assert server.call("delegate.status", manifest_path=path_of(run))["status"] == "running"


def test_killed_in_the_middle_of_a_spawn_there_is_a_whole_run_or_none(repo: Repo) -> None:
    family(repo)
    parent = repo.start()
    long = "x" * 900_000
    before: set[str] = set()
    for n in range(4):
        with contextlib.suppress(Exception), served(repo, run=parent) as server:
            starting = server.soon("delegate.spawn", task_id="child", prompt=long)
            wait_until(lambda server=server: list(processes.below(server.process.pid)), what="the start")
            if n % 2:
                enough = len(before) + 2
                wait_until(lambda e=enough, s=starting: len(repo.runs()) >= e or s.done(), what="a folder")
            kill(server.process)
            wait_until(starting.done)
        wait_until(lambda: not starting_now(repo), what="the end of the start")
        children = [run for run in repo.runs() if run.task == "child"]
        for child in (run for run in children if run.id not in before):
            before.add(child.id)
            assert child.file("prompt.md").startswith(long), "a prompt that was cut off"
            assert child.status()["status"] == "running"
            assert child.child().is_still_there()
            assert child.told("cancel")["survivors"] == []
        listed = [one["run_id"] for one in parent.status()["children"]]
        assert set(listed) <= {child.id for child in children}


def test_a_call_of_a_server_whose_run_was_removed_is_refused(repo: Repo) -> None:
    family(repo)
    run = repo.start()
    path = path_of(run)
    with served(repo, run=run) as server:
        repo.open_gate()
        assert run.wait()["status"] == "succeeded"
        wait_until(lambda: not run.everything(), what="the supervisor's end")
        assert repo.cli("clean", "--older-than", "0").status == 0
        assert server.code("delegate.status", manifest_path=path) == "run_not_found"
        assert server.code("delegate.cancel", manifest_path=path) == "run_not_found"
        assert server.code("delegate.spawn", task_id="child") == "run_not_found"
        ask = {"parent_manifest_path": path, "prompt": "x"}
        assert server.code("delegate.question.enqueue", **ask) == "run_not_found"
        assert server.tools()
    assert repo.no_runs()
