"""The real Codex with the delegation server, in each of the ways in which it shows tools to a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.delegation import path_of
from support.repo import Repo, Run
from support.waiting import wait_until

MODELS = {"direct": "rehearsal", "tool search": "gpt-5.5", "code mode": "gpt-6.1-sol"}
WAYS = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
CAPTURES = r"""
[captures]
manifest = '- manifest_path=(\S+)'
parent = '- parent_manifest_path=(\S+) for `delegate.question'
"""
CHILD = r"""child = '\\?"manifest_path\\?": ?\\?"(\.runs/child[^"\\]+)'
"""


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    """Whatever a test has started is over after it."""
    yield
    repo.end_all()


def call(tool: str, more: str = "", **arguments: Any) -> str:
    """A turn of a script that calls a tool."""
    pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in arguments.items())
    server = f'server = "delegation", name = "delegate.{tool}"'
    return f"[[turns]]\n{more}tool = {{ {server}, arguments = {{ {pairs} }} }}\n"


def ledger(tool: str, arguments: str = "") -> str:
    """A turn that calls a tool of the ledger, which has no prefix."""
    return f'[[turns]]\ntool = {{ server = "delegation", name = "{tool}", arguments = {{ {arguments} }} }}\n'


def tasks(repo: Repo, model: str, delegation: str = "", **scripts: str) -> Repo:
    """A delegate.toml with one rehearsed task per script."""
    text = f'[defaults]\ngrace = "2s"\n[delegation]\n{delegation}\n'
    for name, script in scripts.items():
        repo.script(script, f"{name}.toml")
        text += f'[tasks.{name}]\nprompt = "Do it."\ndelegation = true\nrehearse = "{name}.toml"\n'
        text += f'model = "{model}"\n'
    return repo.config(text)


def tool_calls(run: Run) -> list[dict[str, Any]]:
    """Every finished call of a tool, as Codex told it."""
    lines = [json.loads(line) for line in run.file("stdout.jsonl").splitlines()]
    items = [line["item"] for line in lines if line["type"] == "item.completed"]
    return [item for item in items if item["type"] == "mcp_tool_call"]


def result(item: dict[str, Any]) -> dict[str, Any]:
    """What the server said, as the model got it."""
    said: dict[str, Any] = json.loads(item["result"]["content"][0]["text"])
    return said


def of_task(repo: Repo, task: str) -> Run:
    return next(run for run in repo.runs() if run.task == task)


@WAYS
def test_a_parent_spawns_a_child_that_asks_and_is_answered_and_both_end_well(repo: Repo, model: str) -> None:
    parent = (
        CAPTURES
        + CHILD
        + call("status", manifest_path="{manifest}")
        + call("spawn", task_id="child", parent_manifest_path="{manifest}")
        + call("status", manifest_path="{child}", wait_s=6)
        + call("question.answer", manifest_path="{child}", question_id="q-0001", answer="Blue.")
        + call("status", manifest_path="{child}", wait_s=30)
        + '[[turns]]\nmessage = "Child says: {last_output}"\n'
    )
    child = (
        CAPTURES
        + call("question.enqueue", parent_manifest_path="{parent}", prompt="Which colour?")
        + call("question.poll", parent_manifest_path="{parent}", question_id="q-0001", wait_s=40)
        + '[[turns]]\nmessage = "It is {last_output}"\n'
    )
    run = tasks(repo, model, work=parent, child=child).start()
    ended = run.wait(within=60)
    below = of_task(repo, "child")
    assert (ended["status"], below.on_disk()["status"]) == ("succeeded", "succeeded")
    calls = tool_calls(run)
    assert [item["status"] for item in calls] == ["completed"] * 5
    own, spawned, _, answered, last = map(result, calls)
    assert (own["run_id"], own["status"]) == (run.id, "running")
    assert spawned["run_id"] == below.id
    assert answered["status"] == "answered"
    assert last["status"] == "succeeded"
    assert "Blue." in below.on_disk()["last_message"]
    assert below.on_disk()["parent"]["run_id"] == run.id
    assert [one["run_id"] for one in ended["children"]] == [below.id]


@WAYS
def test_a_parent_talks_with_a_child_that_stays_open_and_ends_it(repo: Repo, model: str) -> None:
    turn = '[[turns]]\nmessage = "{task} says %s."\n'
    parent = (
        CAPTURES
        + CHILD
        + call("spawn", task_id="child", open=True)
        + call("await", manifest_path="{child}", wait_s=40)
        + call("send", manifest_path="{child}", text="And then?", key="1")
        + call("await", manifest_path="{child}", turn=2, wait_s=40)
        + call("send", manifest_path="{child}", text="/quit")
        + call("status", manifest_path="{child}", wait_s=40)
        + turn % "it is over"
    )
    run = tasks(repo, model, work=parent, child=turn % "one" + turn % "two").start()
    ended, below = run.wait(within=90), of_task(repo, "child")
    assert (ended["status"], ended["last_message"]) == ("succeeded", "work says it is over.")
    spawned, first, sent, second, _, last = map(result, tool_calls(run))
    assert (spawned["run_id"], last["status"], last["turns"]) == (below.id, "succeeded", 2)
    assert (first["message"], second["message"]) == ("child says one.", "child says two.")
    assert (sent["turn"], sent["state"]) == (2, "begun")
    assert first["thread_id"] == second["thread_id"] is not None
    assert [one["actor"] for one in below.events("continued")] == [f"run {run.id}"]


@WAYS
def test_an_agent_writes_and_reads_the_ledger_of_its_task(repo: Repo, model: str) -> None:
    report = 'kind = "test_report", title = "tests", summary = "Green.", status = "passed"'
    script = (
        ledger("append_note", 'text = "The goal."')
        + ledger("record_artifact", f'{report}, evidence = ["4 passed"]')
        + ledger("handoff", 'to = "human", reason = "It is done.", ask = "Look.", context_refs = ["a.py"]')
        + ledger("handoff_to_codex", 'reason = "No.", ask = "Mine."')
        + ledger("read_context", "limit = 5")
        + '[[turns]]\nmessage = "Read: {last_output}"\n'
    )
    run = tasks(repo, model, work=script).start()
    assert run.wait(within=60)["status"] == "succeeded"
    note, artifact, handed, refused, context = map(result, tool_calls(run))
    assert handed["next_speaker"] == {"actor": "human", "run_id": None}
    assert refused["error"]["code"] == "not_your_turn"
    assert [one["id"] for one in context["open_handoffs"]] == [handed["id"]]
    own = [one for one in context["entries"] if one["actor"] == "work"]
    assert [one["id"] for one in own] == [note["id"], artifact["id"], handed["id"]]
    assert own[1]["payload"]["evidence"] == ["4 passed"]


@WAYS
def test_a_run_cancels_itself_and_gets_the_answer_first(repo: Repo, model: str) -> None:
    script = (
        CAPTURES + call("cancel", manifest_path="{manifest}", reason="enough") + "[[turns]]\nhang = true\n"
    )
    run = tasks(repo, model, work=script).start()
    ended = run.wait(within=60)
    (item,) = tool_calls(run)
    assert (item["tool"], item["status"]) == ("delegate.cancel", "completed")
    assert result(item)["accepted"] is True
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])
    assert "enough" in ended["reason"]["message"]
    assert run.tree() == []


@WAYS
def test_a_run_pauses_itself_and_goes_on_when_its_owner_says_so(repo: Repo, model: str) -> None:
    script = (
        CAPTURES
        + call("pause", manifest_path="{manifest}", paused=True)
        + '[[turns]]\ndelay = "2s"\nmessage = "Here again."\n'
    )
    run = tasks(repo, model, work=script).start()
    wait_until(lambda: run.on_disk()["phase"] == "paused", 30, "the pause")
    (item,) = tool_calls(run)
    assert result(item)["accepted"] is True
    assert all(process.is_stopped for process in run.tree())
    assert run.told("resume")["status"] == "running"
    ended = run.wait(within=60)
    assert (ended["status"], ended["last_message"]) == ("succeeded", "Here again.")


def test_a_sibling_is_refused_and_what_is_not_there_is_no_broken_connection(repo: Repo) -> None:
    other = "manifest = '- manifest_path=(\\S+)'\nother = 'the run (\\S+) too'\n"
    script = (
        "[captures]\n"
        + other
        + call("cancel", manifest_path="{other}")
        + call("status", manifest_path="/dev/zero")
        + call("status", manifest_path="{manifest}")
        + '[[turns]]\nmessage = "done"\n'
    )
    tasks(repo, "rehearsal", other="[[turns]]\nhang = true\n", work=script)
    sibling = repo.start(task="other")
    run = repo.start("--prompt", f"End the run {path_of(sibling)} too")
    assert run.wait(within=60)["status"] == "succeeded"
    refused, missing, own = tool_calls(run)
    assert result(refused)["error"]["code"] == "not_yours"
    assert result(missing)["error"]["code"] == "run_not_found"
    assert result(own)["status"] == "running"
    assert sibling.status()["status"] == "running"


def test_without_delegation_there_is_no_server_and_no_word_of_it(repo: Repo) -> None:
    repo.task("rehearse = true", "delegation = false")
    resolved = repo.json("resolve", "--task", "work")
    assert not any("mcp_servers" in word for word in resolved["argv"])
    assert "deleg" not in resolved["prompt"].lower()
    run = repo.start()
    assert run.wait()["status"] == "succeeded"
    assert "delegate" not in run.file("rehearsal.jsonl")


REGISTERED = 'server = "registered"'


def test_a_registered_server_that_is_not_registered_is_told_before_anything_starts(repo: Repo) -> None:
    tasks(repo, "rehearsal", REGISTERED, work='[[turns]]\nmessage = "done"\n')
    for verb in ("start", "resolve"):
        done = repo.cli(verb, "--task", "work", "--format", "json")
        assert (done.status, done.error["code"]) == (2, "config_invalid")
        assert "--register codex" in done.error["hint"]
    assert repo.no_runs()


def test_a_registered_server_acts_for_its_run_and_not_as_the_owner(repo: Repo) -> None:
    other = "manifest = '- manifest_path=(\\S+)'\nother = 'the run (\\S+) too'\n"
    script = (
        "[captures]\n"
        + other
        + call("status", manifest_path="{manifest}")
        + call("cancel", manifest_path="{other}")
        + call("spawn", task_id="child")
        + '[[turns]]\nmessage = "done"\n'
    )
    delegation = f'{REGISTERED}\non_parent_end = "leave"'
    child = '[[turns]]\nmessage = "child"\n'
    tasks(repo, "rehearsal", delegation, work=script, child=child, other="[[turns]]\nhang = true\n")
    done = repo.cli("delegate-server", "--register", "codex", "--yes")
    assert done.status == 0, done.stderr
    assert "[mcp_servers.delegation]" in (repo.home / ".codex" / "config.toml").read_text()
    argv = repo.json("resolve", "--task", "work")["argv"]
    assert argv[argv.index("mcp_servers.delegation.enabled=true") - 1] == "-c"
    sibling = repo.start(task="other")
    run = repo.start("--prompt", f"End the run {path_of(sibling)} too")
    assert run.wait(within=60)["status"] == "succeeded"
    own, refused, spawned = map(result, tool_calls(run))
    assert own["run_id"] == run.id
    assert refused["error"]["code"] == "not_yours"
    below = of_task(repo, "child")
    assert spawned["run_id"] == below.id
    assert below.on_disk()["parent"]["run_id"] == run.id, "it has a parent: it was not the owner's"
    assert below.wait(within=60)["status"] == "succeeded"
    assert sibling.status()["status"] == "running"


def test_a_registered_server_gives_a_run_without_delegation_nothing(repo: Repo) -> None:
    """Codex starts what is registered in every session: also in one that may not delegate."""
    script = call("spawn", task_id="plain") + '[[turns]]\nmessage = "done"\n'
    repo.script(script)
    repo.config('[tasks.plain]\nprompt = "Do it."\nrehearse = "play.toml"\nmodel = "rehearsal"\n')
    assert repo.cli("delegate-server", "--register", "codex", "--yes").status == 0
    run = repo.start(task="plain")
    run.wait(within=60)
    assert tool_calls(run) == []
    assert repo.runs() == [run]
