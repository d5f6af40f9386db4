"""What the user's own settings of an agent CLI bring into each run: names alone, no values. Edge: disk.

Servers, hooks and plugins run outside of the sandbox, and nothing in a repository names them.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

from runner import runtimes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.model import RuntimeSettings

_KINDS = ("mcp_servers", "hooks", "plugins")


def inherited(settings: RuntimeSettings, env: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Kind -> names; none of what is switched off, and none at all where the runs are isolated."""
    path = runtimes.get(settings.name).own_config(env)
    if path is None or settings.isolated:
        return dict.fromkeys(_KINDS, ())
    own = _read(path, tomllib.loads)
    hooks = (
        own.get("hooks"),
        _read(os.path.join(os.path.dirname(path), "hooks.json"), json.loads).get("hooks"),
    )
    found = {
        "mcp_servers": _enabled(own.get("mcp_servers")),
        "hooks": sorted({name for table in hooks for name, value in _table(table).items() if _groups(value)}),
        "plugins": _enabled(own.get("plugins")),
    }
    return {kind: tuple(names) for kind, names in found.items()}


def _enabled(tables: object) -> list[str]:
    return sorted(name for name, one in _table(tables).items() if _table(one).get("enabled") is not False)


def _groups(value: object) -> bool:
    """Whether it is what hooks of an event are: `hooks.state` is none."""
    return isinstance(value, list) and bool(value)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _read(path: str, loads: Any) -> Mapping[str, Any]:
    """Empty where there is none; where it is broken, the program itself says so."""
    try:
        return _table(loads(Path(path).read_text(encoding="utf-8")) if os.path.isfile(path) else {})
    except (OSError, ValueError, RecursionError):
        return {}
