"""What stands around a run of the real Codex: its shell, the repository, the settings of its user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.repo import Repo, Run

LOOKS = '[[turns]]\nshell = "command -v checker || echo lost"\n[[turns]]\nmessage = "{last_output}"\n'


def plays(repo: Repo, *words: str) -> Run:
    return repo.start("--rehearse", str(repo.script(LOOKS)), *words)


def checker(repo: Repo) -> Path:
    path = repo.bin / "checker"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    (repo.home / ".profile").write_text("PATH=/usr/bin:/bin\n")
    return path


def test_the_agent_finds_the_program_that_its_prompt_tells_it_to_use(repo: Repo) -> None:
    path = checker(repo)
    repo.task('verify = ["checker"]')
    assert (plays(repo).wait()["last_message"] or "").strip() == str(path)
    asked = plays(repo, "--set", "runtimes.codex.config.allow_login_shell=true").wait()
    assert (asked["last_message"] or "").strip() == "lost", "else nothing would have to be passed"


@pytest.mark.parametrize("link", [".agents", ".codex"])
def test_a_link_with_which_no_command_can_run_is_found_by_doctor(repo: Repo, link: str) -> None:
    repo.config('[tasks.work]\nprompt = "x"\nsandbox = "workspace-write"\nrehearse = true\n')

    def sandbox() -> dict[str, str]:
        checks = json.loads(repo.cli("doctor", "--format", "json").stdout)["checks"]
        return next(check for check in checks if check["name"] == "codex.sandbox")

    if sandbox()["verdict"] != "ok":
        pytest.skip("this machine does not allow the sandbox of Codex")
    (repo.root / "elsewhere").mkdir()
    (repo.root / link).symlink_to("elsewhere")
    assert (sandbox()["verdict"], link in sandbox()["message"]) == ("fail", True)
    (repo.root / "elsewhere" / "file").touch()
    repo.commit()
    (repo.root / link).unlink()
    assert sandbox()["verdict"] == "ok"
    apart = 'prompt = "x"\nsandbox = "workspace-write"\nworkspace = "worktree"\nrehearse = true\n'
    repo.config(f"[tasks.work]\n{apart}")
    assert (sandbox()["verdict"], link in sandbox()["message"]) == ("fail", True), "it is committed"


def test_an_isolated_run_starts_no_server_of_the_user(repo: Repo) -> None:
    note = repo.home / "server-started"
    own = repo.home / ".codex" / "config.toml"
    own.write_text(
        f'[mcp_servers.mine]\ncommand = "/bin/sh"\nargs = ["-c", "touch {note}; cat"]\nrequired = true\n'
    )
    repo.task()
    assert "MCP servers: mine" in repo.cli("resolve", "--task", "work").stdout
    assert repo.json("resolve", "--task", "work")["yours"] == {
        "mcp_servers": ["mine"],
        "hooks": [],
        "plugins": [],
    }
    apart = repo.json("resolve", "--task", "work", "--set", "runtimes.codex.isolated=true")
    assert not any(apart["yours"].values())
    assert plays(repo, "--set", "runtimes.codex.isolated=true").wait()["status"] == "succeeded"
    assert not note.exists()
    plays(repo).wait()
    assert note.exists(), "else nothing would have to be kept out"
