"""What turns the hooks of Claude Code off, by the files that say so; each row was seen with 2.1.332."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.hosts.ways import WAYS
from runner.usecases.plugin_doctor import turned_off

NO_HOOKS, HOOKS = {"disableAllHooks": True}, {"disableAllHooks": False}
MANAGED_ONLY = {"allowManagedHooksOnly": True}
NO_PLUGIN = {"enabledPlugins": {"runner@runner": False}}
USER, LOCAL, BASE = (
    "home/.claude/settings.json",
    ".claude/settings.local.json",
    "etc/claude-code/managed-settings",
)
MORE = f"{BASE}.d/10.json"


def told(at: Path, said: dict[str, object], folder: str = "repo/sub") -> list[str]:
    """The messages, with these settings in these files."""
    (at / "repo/.git").mkdir(parents=True)
    (at / "repo/.git/HEAD").write_text("ref: refs/heads/main\n")
    (at / "tree").mkdir()
    (at / "tree/.git").write_text(f"gitdir: {at}/repo/.git/worktrees/tree\n")
    for name, settings in said.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(settings if isinstance(settings, str) else json.dumps(settings))
    env = {"HOME": f"{at}/home"}
    return [one.message for one in turned_off(WAYS["claude"], f"{at}/{folder}", env, f"{at}/etc")]


@pytest.mark.parametrize(
    "said",
    [
        {USER: NO_HOOKS},
        {"repo/sub/.claude/settings.json": NO_HOOKS},
        {f"repo/sub/{LOCAL}": NO_HOOKS},
        {f"repo/{LOCAL}": NO_HOOKS},
        {f"repo/{LOCAL}": NO_HOOKS, f"repo/sub/{LOCAL}": HOOKS},
        {f"{BASE}.json": NO_HOOKS},
        {f"{BASE}.json": MANAGED_ONLY},
        {f"{BASE}.json": NO_PLUGIN},
        {MORE: NO_HOOKS},
        {MORE: MANAGED_ONLY},
        {f"{BASE}.json": HOOKS, MORE: NO_HOOKS},
    ],
)
def test_what_turns_all_hooks_off_is_told_with_its_file(tmp_path: Path, said: dict[str, object]) -> None:
    (message,) = told(tmp_path, said)
    (file,) = (name for name, settings in said.items() if settings is not HOOKS)
    assert message.startswith("turned off: ")
    assert message.endswith(f" in {tmp_path}/{file}")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {f"home/{LOCAL}": NO_HOOKS},
        {"repo/.claude/settings.json": NO_HOOKS},
        {USER: MANAGED_ONLY},
        {USER: NO_PLUGIN},  # Claude Code tells of it in its own list
        {USER: NO_HOOKS, "repo/sub/.claude/settings.json": HOOKS},
        {USER: NO_HOOKS, f"{BASE}.json": HOOKS},
        {f"{BASE}.json": NO_HOOKS, MORE: HOOKS},
        {f"{BASE}.d/.hidden.json": NO_HOOKS},
        {USER: {"disableAllHooks": "yes"}, f"repo/{LOCAL}": {"disableAllHooks": 1}},
        {USER: "[1]", f"repo/{LOCAL}": "{", f"{BASE}.json": {"enabledPlugins": [1]}},
    ],
)
def test_what_turns_none_off_raises_no_alarm(tmp_path: Path, said: dict[str, object]) -> None:
    assert told(tmp_path, said) == []


def test_in_a_work_tree_the_local_settings_of_the_first_one_count(tmp_path: Path) -> None:
    assert len(told(tmp_path, {f"repo/{LOCAL}": NO_HOOKS}, "tree")) == 1
