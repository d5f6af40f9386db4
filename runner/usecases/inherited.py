"""What the user's own settings of an agent CLI bring into each run: names alone, no values. Edge: disk.

Servers, hooks and plugins run outside of the sandbox, and nothing in a repository names them.
"""

from __future__ import annotations

import json
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
    """Kind -> names; none at all where the runs are isolated."""
    found = {} if settings.isolated else runtimes.get(settings.name).inherited(env, _table_in)
    return {kind: found.get(kind, ()) for kind in _KINDS}


def _table_in(path: str) -> Mapping[str, Any]:
    """Empty where there is none; where it is broken, the program itself says so."""
    try:
        text = Path(path).read_text(encoding="utf-8") if Path(path).is_file() else "{}"
        value: object = tomllib.loads(text) if path.endswith(".toml") else json.loads(text)
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
