"""What the user's own settings of an agent CLI bring into a run is known by its names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.model import RuntimeSettings
from runner.usecases.inherited import inherited

CODEX = RuntimeSettings("codex", "codex")
NOTHING: dict[str, tuple[str, ...]] = {"mcp_servers": (), "hooks": (), "plugins": ()}
OWN = """
model = "m"
[mcp_servers.mine]
command = "server"
env = { KEY = "a-secret-of-somebody" }
[mcp_servers.off]
url = "http://127.0.0.1:1/"
enabled = false
[[hooks.PreToolUse]]
matcher = "Bash"
[hooks.state."a:b"]
trusted_hash = "x"
[plugins."some@place"]
enabled = true
"""


CLAUDE = RuntimeSettings("claude", "claude")
OF_CLAUDE = {
    "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "a-secret"}]}], "SessionEnd": []},
    "enabledPlugins": {"some@place": True, "off@place": False},
    "mcpServers": {"mine": {"command": "server"}},
}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return dict.fromkeys(("CODEX_HOME", "KAY_HOME", "CLAUDE_CONFIG_DIR"), str(tmp_path))


def test_servers_hooks_and_plugins_are_named_without_a_value(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(OWN)
    (tmp_path / "hooks.json").write_text(json.dumps({"hooks": {"Stop": [{"hooks": []}], "SessionEnd": []}}))
    assert inherited(CODEX, env) == {
        "mcp_servers": ("mine",),
        "hooks": ("PreToolUse", "Stop"),
        "plugins": ("some@place",),
    }
    assert inherited(CODEX.replace(isolated=True), env) == NOTHING
    assert inherited(RuntimeSettings("kay", "kay"), env) == inherited(CODEX, env)
    assert inherited(RuntimeSettings("kay", "kay"), {"KAY_HOME": str(tmp_path / "none")}) == NOTHING


def test_each_program_says_what_its_own_settings_bring(env: dict[str, str], tmp_path: Path) -> None:
    """A run of Claude Code has none of its servers, and Gemini CLI has another home in each run."""
    (tmp_path / "settings.json").write_text(json.dumps(OF_CLAUDE))
    (tmp_path / ".gemini").mkdir()
    (tmp_path / ".gemini" / "settings.json").write_text(json.dumps(OF_CLAUDE))
    assert inherited(CLAUDE, env) == {**NOTHING, "hooks": ("Stop",), "plugins": ("some@place",)}
    assert inherited(CLAUDE.replace(isolated=True), env) == NOTHING
    assert inherited(RuntimeSettings("gemini", "gemini"), {"HOME": str(tmp_path)}) == NOTHING


@pytest.mark.parametrize(
    "text", ["", "not toml", "mcp_servers = 5\nhooks = [1]\nplugins = 'x'", "hooks.Stop = 1"]
)
def test_settings_that_are_broken_or_of_other_types_name_nothing(
    env: dict[str, str], tmp_path: Path, text: str
) -> None:
    (tmp_path / "config.toml").write_text(text)
    (tmp_path / "hooks.json").write_text("[[")
    (tmp_path / "settings.json").write_text('{"hooks": [1], "enabledPlugins": "all"}' if text else "[[")
    assert inherited(CODEX, env) == NOTHING
    assert inherited(CLAUDE, env) == NOTHING
