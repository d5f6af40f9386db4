"""The real Claude Code and Gemini CLI take our server into their own settings."""

from __future__ import annotations

import json

import pytest
from support.clis import AGENTS, CLIS
from support.repo import Repo


@pytest.mark.parametrize("agent", AGENTS)
def test_the_server_is_registered_with_each_word_of_its_command(repo: Repo, agent: str) -> None:
    (repo.bin / agent).symlink_to(CLIS / agent)
    done = repo.cli("delegate-server", "--register", agent, "--yes", "--mode", "status", "--format", "json")
    assert done.status == 0, done.stderr
    assert done.json()["command"][0] == agent
    if agent == "claude":
        own = json.loads((repo.home / ".claude.json").read_text())["projects"][str(repo.root)]
    else:
        own = json.loads((repo.home / ".gemini" / "settings.json").read_text())
    server = own["mcpServers"]["delegation"]
    assert server["args"] == ["delegate-server", "--repo", str(repo.root), "--mode", "status"]
    assert server["command"] in done.json()["command"]
    assert not (repo.root / ".gemini").exists()
