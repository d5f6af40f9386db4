"""What a person types at the real Claude Code and Codex: answered by the hook, at the price of no request."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from support.clis import add
from support.hosts import Codex, Host, own, patch, says, shell
from support.repo import Repo
from support.waiting import wait_until

from runner.hosts import mode

Hosts = Callable[..., Any]

BOTH = pytest.mark.parametrize("name", ["claude", "codex"])
SESSION = "6d4f1236-9c41-4d47-b725-5f58968a0c06"


def prepared(repo: Repo, host: Host, trusted: str = "") -> Callable[..., Any]:
    """A task that may write, and the plugin. How a person types there."""
    repo.config(
        f'[runtimes.codex]\ncommand = "{Codex.program}"\n[tasks.build]\nsandbox = "workspace-write"\n'
        f'prompt = "Do it."\nrehearse = true\n[host]\nmay_edit = ["docs/**"]\n'
    )
    Host.install(host)
    if isinstance(host, Codex):
        host.trust_hooks(trusted)
    sign = "/" if host.name == "claude" else "$"
    return lambda text, *more: host.ask(f"{sign}runner:{text}", *more)


@BOTH
def test_looking_costs_no_request(repo: Repo, hosts: Hosts, name: str) -> None:
    host = hosts(name, says("never said"))
    types = prepared(repo, host)
    repo.start(task="build").wait()
    played = types("status build")
    assert host.model.requests() == []
    if name == "claude":  # `codex exec` says nothing of it, its terminal does
        assert "succeeded" in json.dumps(played.events)


@BOTH
def test_what_cannot_be_turned_on_says_why_and_costs_no_request(repo: Repo, hosts: Hosts, name: str) -> None:
    host = hosts(name, says("never said"))
    types = prepared(repo, host)
    played = types("delegate nothing-like-that")
    assert host.model.requests() == []
    if name == "claude":
        assert "nothing-like-that" in json.dumps(played.events)
    assert mode.every(repo.env) == []


def test_codex_delegates_nothing_while_the_hook_that_denies_is_not_trusted(repo: Repo, hosts: Hosts) -> None:
    codex = hosts("codex", says("never said"))
    types = prepared(repo, codex, trusted="user_prompt_submit")
    in_shell = repo.cli("mode", "on", "build", "--host", "codex", "--session", "s", "--json")
    assert (in_shell.status, in_shell.error["code"]) == (8, "not_ready")
    assert "hook.trust: the host passes over the hooks: trusted, untrusted" in in_shell.error["problems"][0]
    assert types("delegate build").status == 0
    assert mode.every(repo.env) == [] and codex.model.requests() == []
    codex.trust_hooks()
    assert repo.cli("mode", "on", "build", "--host", "codex", "--session", "s").status == 0


@BOTH
def test_what_a_skill_answers_goes_to_the_model(repo: Repo, hosts: Hosts, name: str) -> None:
    host = hosts(name, says("planned"))
    types = prepared(repo, host)
    assert "planned" in json.dumps(types("plan").events)


@BOTH
def test_delegation_is_on_from_the_command_to_its_end(repo: Repo, hosts: Hosts, name: str) -> None:
    turns = [patch(add("a.txt")), patch(add("docs/b.txt")), shell("git status --short"), says("first")]
    host = hosts(name, *turns, patch(add("c.txt")), says("second"))
    types = prepared(repo, host)
    more = ["--session-id", SESSION] if name == "claude" else []
    played = types("delegate build", *more)
    outputs = host.model.outputs()
    assert "first" in json.dumps(played.events)
    assert not (repo.root / "a.txt").exists() and (repo.root / "docs" / "b.txt").exists()
    assert "Edits by you and your subagents are denied, but for: docs/**" in outputs
    assert "Instead" in outputs and "docs/" in outputs
    requests = len(host.model.requests())
    if name == "claude":
        assert mode.every(repo.env) == []  # it has ended with the session
        again = ["--resume", SESSION]
        assert host.ask("go on", *again).status == 0
    else:
        thread = str(played.events[0]["thread_id"])
        assert [one.session for one in mode.every(repo.env)] == [thread]
        types("stop", "resume", thread)
        assert len(host.model.requests()) == requests
        assert mode.every(repo.env) == []
        assert host.ask("go on", "resume", thread).status == 0
    assert (repo.root / "c.txt").exists()


@BOTH
def test_no_word_of_a_model_ends_the_mode(repo: Repo, hosts: Hosts, name: str) -> None:
    """Not to a subagent, not by a skill, not by a command."""
    sub = "$runner:stop and more" if name == "codex" else "/runner:stop"
    mark = "gpt-5.6-luna" if name == "codex" else sub
    called = own("Agent", description="d", prompt=sub)
    tries = [own("Skill", skill="runner:stop")]
    if name == "codex":
        called = own("spawn_agent", message=sub, task_name="sub", model=mark, fork_turns="none")
        tries = [own("wait_agent", timeout_ms=60_000)]
    more = [shell("runner mode off", f"runner mode off --host {name}"), patch(add("a.txt"))]
    part = [patch(add("b.txt")), says("sub done")]
    host = hosts(name, called, *tries, *more, says("done"), parts={mark: part})
    types = prepared(repo, host)
    assert types("delegate build").status == 0
    assert not (repo.root / "a.txt").exists() and not (repo.root / "b.txt").exists()
    assert "Delegation is on" in host.model.outputs()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")
@BOTH
def test_a_person_sees_the_answer_and_that_the_mode_is_on(repo: Repo, hosts: Hosts, name: str) -> None:
    host = hosts(name, patch(add("a.txt")), says("the model has answered"))
    sign = "/" if name == "claude" else "$"
    prepared(repo, host)
    repo.start(task="build").wait()
    screen = host.screen()
    screen.ready()
    screen.type(f"{sign}runner:status build")
    screen.shows("the agent finished its turn")
    assert host.model.requests() == []
    screen.type(f"{sign}runner:delegate build")
    screen.shows("Delegation is on: codex makes the changes, in task build.")
    screen.shows("the model has answered")
    (found,) = mode.every(repo.env)
    assert found.host == name and not (repo.root / "a.txt").exists()
    requests = len(host.model.requests())
    screen.type(f"{sign}runner:stop")

    def is_off() -> bool:
        screen.press("Enter")  # Codex takes an Enter that comes too soon for one to complete the name
        return mode.every(repo.env) == []

    wait_until(is_off, 60, "the end of the mode")
    assert len(host.model.requests()) == requests
