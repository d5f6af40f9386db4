"""A hook of the user, with the real Codex: what it forbids has no event in Codex's own stream."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.codex import asked
from support.repo import Repo, Run


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    yield
    repo.end_all()


def forbids(repo: Repo, event: str, matcher: str) -> None:
    """Makes a hook that says no, and trusts it as a person does with `/hooks`."""
    hook = repo.home / "no.sh"
    hook.write_text("#!/bin/sh\ncat > /dev/null\necho not today >&2\nexit 2\n")
    hook.chmod(0o755)
    home = repo.home / ".codex"
    handlers = [{"matcher": matcher, "hooks": [{"type": "command", "command": str(hook)}]}]
    (home / "hooks.json").write_text(json.dumps({"hooks": {event: handlers}}))
    (found,) = asked(repo.env, repo.root, "hooks/list", cwds=[str(repo.root)])["data"]
    (one,) = found["hooks"]
    (home / "config.toml").write_text(
        f'[hooks.state."{one["key"]}"]\ntrusted_hash = "{one["currentHash"]}"\n'
    )


def starts(repo: Repo, *, more: str = "") -> Run:
    patch = "*** Begin Patch\n*** Add File: patched\n+x\n*** End Patch\n"
    turns = f'[[turns]]\nshell = "touch made"\n[[turns]]\npatch = {json.dumps([patch])}\n'
    repo.script(f'{turns}[[turns]]\nmessage = "done"\n')
    keys = 'prompt = "Do it."\nsandbox = "workspace-write"\nrehearse = "play.toml"'
    repo.config(f"{more}\n[tasks.work]\n{keys}\n")
    run = repo.start()
    run.wait()
    return run


def test_a_call_that_a_hook_forbids_is_told(repo: Repo) -> None:
    forbids(repo, "PreToolUse", "Bash|apply_patch")
    run = starts(repo)
    assert run.status()["status"] == "succeeded"
    messages = [event["message"] for event in run.events("refused")]
    assert [message.partition(". Command: ")[0] for message in messages] == [
        "Command blocked by PreToolUse hook: not today"
    ] * 2
    assert messages[0].endswith("touch made")
    assert not (repo.root / "made").exists() and not (repo.root / "patched").exists()


def test_a_prompt_that_a_hook_refuses_is_no_success_and_an_isolated_run_has_no_such_hook(repo: Repo) -> None:
    forbids(repo, "UserPromptSubmit", "")
    run = starts(repo)
    reason = run.status()["reason"]
    assert (run.status()["status"], reason["code"]) == ("failed", "misconfigured")
    assert "/hooks" in reason["hint"] and "isolated = true" in reason["hint"]
    run = starts(repo, more="[runtimes.codex]\nisolated = true\n")
    assert run.status()["status"] == "succeeded" and (repo.root / "made").exists()
