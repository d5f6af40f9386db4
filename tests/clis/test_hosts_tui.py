"""The hosts as tests play them: what they tell their hooks of, and what a person sees in a terminal."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.clis import add
from support.hosts import Claude, Codex, Host, own, patch, says, shell
from support.repo import Repo
from support.waiting import wait_until

Hosts = Callable[..., Any]

BOTH = pytest.mark.parametrize("name", ["claude", "codex"])
KEEPS = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read().strip() + '\\n')"


def told(repo: Repo, host: Claude | Codex, *events: str) -> Callable[[], list[dict[str, Any]]]:
    """Has the host tell a hook of these events; what it has told."""
    log = repo.note("hook.jsonl")
    words = [sys.executable, "-I", "-c", KEEPS, str(log)]
    host.hooks({event: [{"hooks": [{"type": "command", "command": shlex.join(words)}]}] for event in events})
    return lambda: list(map(json.loads, log.read_text().splitlines())) if log.exists() else []


@BOTH
def test_a_hook_is_told_of_each_call_also_of_a_subagent(repo: Repo, hosts: Hosts, name: str) -> None:
    last: list[Any] = [says("all done")]
    mark, called = "THE-PART-OF-A-SUBAGENT", own("Agent", description="d", prompt="THE-PART-OF-A-SUBAGENT")
    if name == "codex":
        mark = "gpt-5.6-luna"
        called = own("spawn_agent", message="go", task_name="sub", model=mark, fork_turns="none")
        last.insert(0, own("wait_agent", timeout_ms=60_000))
    part = [patch(add("c.txt")), says("sub done")]
    host = hosts(name, patch(add("a.txt")), shell("echo hi > b.txt"), called, *last, parts={mark: part})
    calls = told(repo, host, "PreToolUse")
    assert host.ask().status == 0
    assert {path.name for path in repo.root.glob("*.txt")} == {"a.txt", "b.txt", "c.txt"}
    by_agent = [(call["tool_name"], "agent_id" in call) for call in calls()]
    edits = "Write" if name == "claude" else "apply_patch"
    assert by_agent[:2] == [(edits, False), ("Bash", False)] and (edits, True) in by_agent
    assert len({call["session_id"] for call in calls()}) == 1


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")
@BOTH
def test_what_a_person_types_is_answered_on_the_screen(repo: Repo, hosts: Hosts, name: str) -> None:
    host: Host = hosts(name, says("all done"))
    assert isinstance(host, Claude | Codex)
    prompts = told(repo, host, "UserPromptSubmit")
    screen = host.screen()
    screen.ready()
    screen.type("hello there")
    screen.shows("all done")
    assert [event["prompt"] for event in wait_until(prompts, what="the hook")] == ["hello there"]
