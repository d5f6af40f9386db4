"""The real Claude Code and Codex behind the hook: what their models may do while a run does the work."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.clis import add
from support.hosts import Claude, Codex, own, patch, says, shell
from support.repo import Repo

import runner.hosts.__main__
from runner.hosts import guard, mode
from runner.hosts.mode import Mode

Hosts = Callable[..., Any]
Real = Claude | Codex

BOTH = pytest.mark.parametrize("name", ["claude", "codex"])
SESSION = "6d4f1236-9c41-4d47-b725-5f58968a0c06"
PROGRAM = [sys.executable, "-I", "-S", str(Path(runner.hosts.__main__.__file__))]
MARK = {"claude": "THE-PART-OF-A-SUBAGENT", "codex": "gpt-5.6-luna"}


def hooked(host: Real, program: Sequence[str] = PROGRAM) -> None:
    """The hook before each call, as the plugin has it."""
    words = [*program, host.name]
    hook: dict[str, Any] = {"type": "command", "command": "/bin/sh", "timeout": 5, "onFailure": "block"}
    hook["args"] = ["-c", guard.CLAUDE, "sh", *words]
    if host.name == "codex":
        command = f"/bin/sh -c '{guard.CODEX}' sh {shlex.join(words)}"
        hook = {"type": "command", "command": command, "timeout": 5}
    host.hooks({"PreToolUse": [{"hooks": [hook]}]})


def begun(host: Real) -> list[str]:
    """A session of the host that has said something; the words that go on with it."""
    if host.name == "claude":
        assert host.ask("hello", "--session-id", SESSION).status == 0
        return ["--resume", SESSION]
    started = host.ask("hello").events[0]
    return ["resume", str(started["thread_id"])]


def turned_on(repo: Repo, host: Real, session: str, **more: Any) -> None:
    fields = {"target": "kay", "task": "build", "runtime": "kay", "level": "strict", "since": "now"}
    fields |= {"may_edit": ("docs/**",), "schema_version": 1, "repo": str(repo.root), "host": host.name}
    mode.write(Mode(**{**fields, "session": session, **more}), repo.env)


def edits(name: str) -> tuple[list[Any], dict[str, list[Any]]]:
    """What a model and its subagent do: edits, one in docs, a command that writes, one that looks."""
    called, last = own("Agent", description="d", prompt=MARK[name]), [says("all done")]
    if name == "codex":
        more = {"task_name": "sub", "model": MARK[name], "fork_turns": "none"}
        called = own("spawn_agent", message="go", **more)
        last = [own("wait_agent", timeout_ms=60_000), *last]
    first = [patch(add("a.txt")), patch(add("docs/b.txt")), shell("echo x > c.txt"), shell("ls docs")]
    return [*first, called, *last], {MARK[name]: [patch(add("d.txt")), says("sub done")]}


def made(repo: Repo) -> set[str]:
    return {str(path.relative_to(repo.root)) for path in repo.root.rglob("*.txt")}


@BOTH
def test_an_edit_is_denied_with_the_one_command_to_use_also_to_a_subagent(
    repo: Repo, hosts: Hosts, name: str
) -> None:
    turns, parts = edits(name)
    host = hosts(name, says("hello"), *turns, parts=parts)
    hooked(host)
    words = begun(host)
    turned_on(repo, host, words[1])
    assert host.ask("go", *words).status == 0
    assert made(repo) == {"docs/b.txt"}
    outputs = host.model.outputs()
    if name == "claude":
        assert "run runner start build --prompt 'WHAT" in outputs
    else:
        assert "call delegate_spawn of server runner with task_id=build" in outputs
    assert "Level strict allows" in outputs and "b.txt" in outputs
    sub = [one for one in host.model.requests() if MARK[name] in json.dumps(one["body"])]
    assert any("Delegation is on" in json.dumps(one["body"]) for one in sub[-2:])


@BOTH
def test_without_a_mode_nothing_is_changed(repo: Repo, hosts: Hosts, name: str) -> None:
    turns, parts = edits(name)
    host = hosts(name, says("hello"), *turns, parts=parts)
    hooked(host)
    words = begun(host)
    turned_on(repo, host, "another-session")
    assert host.ask("go", *words).status == 0
    assert made(repo) == {"a.txt", "docs/b.txt", "c.txt", "d.txt"}
    assert "Delegation" not in host.model.outputs() and "runner:" not in host.model.outputs()


@BOTH
def test_a_hook_whose_program_is_gone_denies_while_a_mode_is_on_and_not_while_none_is(
    repo: Repo, hosts: Hosts, name: str
) -> None:
    host = hosts(name, patch(add("a.txt")), says("hello"), patch(add("b.txt")), shell("ls"), says("done"))
    hooked(host, ["/nonexistent/python", "-I", "/nonexistent/__main__.py"])
    words = begun(host)
    assert made(repo) == {"a.txt"}
    turned_on(repo, host, words[1])
    assert host.ask("go", *words).status == 0
    assert made(repo) == {"a.txt"}
    assert host.model.outputs().count("delegation is on, and its hook failed") >= 2


@BOTH
def test_a_run_that_the_host_has_started_may_edit(repo: Repo, hosts: Hosts, name: str) -> None:
    host = hosts(name, says("hello"))
    hooked(host)
    words = begun(host)
    turned_on(repo, host, words[1])
    repo.script(f"[[turns]]\npatch = {json.dumps([add('a.txt')])}\n[[turns]]\nmessage = 'done'\n")
    keys = 'prompt = "Do it."\nsandbox = "workspace-write"\nrehearse = "play.toml"\nworkspace = "in-place"'
    table = f'[runtimes.{name}]\ncommand = "{host.program}"\n[tasks.work]\nruntime = "{name}"\n{keys}\n'
    repo.config(table)
    repo.env["PATH"] = host.env["PATH"]
    variable = "CLAUDE_CODE_SESSION_ID" if name == "claude" else "CODEX_SESSION_ID"
    repo.env[variable] = words[1]
    run = repo.start()
    try:
        assert run.wait()["status"] == "succeeded"
    finally:
        repo.end_all()
    assert (repo.root / "a.txt").exists() and run.events("refused") == []
