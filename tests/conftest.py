"""Every test has a home of its own, and the real one cannot be touched."""

from __future__ import annotations

import os
import pwd
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

_OURS = (".codex", ".kay", ".claude", ".gemini", ".config", ".cache", ".local/state", ".local/share")
_REAL_HOMES = {os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir), os.path.expanduser("~")}
_FORBIDDEN = tuple(f"{home}/{folder}/" for home in _REAL_HOMES for folder in _OURS)
_ALLOWED = tuple(
    f"{os.path.realpath(path)}/" for path in (Path(__file__).parents[1], sys.prefix, sys.base_prefix)
)
_EVENTS = frozenset({"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.scandir"})
_SETTINGS = ("RUNNER_", "CODEX_", "KAY_", "CLAUDE", "ANTHROPIC_", "GEMINI_", "MCP_RUNNER_", "XDG_")


def _refuse_the_real_home(event: str, arguments: tuple[object, ...]) -> None:
    if event in _EVENTS and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.fsdecode(arguments[0]) + "/"
        if path.startswith(_FORBIDDEN) and not path.startswith(_ALLOWED):
            raise AssertionError(f"a test touched the real home: {event} {path}")


settings.register_profile("ours", deadline=None)  # what an example takes depends on who else is at work
settings.load_profile("ours")
sys.addaudithook(_refuse_the_real_home)
# In the background of a script both would be ignored by all that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` ignores it


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HOME and XDG_* in a folder of this test; no setting of the developer reaches it."""
    home = tmp_path_factory.mktemp("home")
    for name in [*os.environ]:
        if name.startswith(_SETTINGS) or name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    for name, folder in (
        ("CONFIG", ".config"),
        ("CACHE", ".cache"),
        ("STATE", ".local/state"),
        ("DATA", ".local/share"),
    ):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / folder))
    return home
