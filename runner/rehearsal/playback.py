"""How much of a script was played: a run can succeed after half of it. Edge: disk, reading."""

from __future__ import annotations

import json
from pathlib import Path

from runner.rehearsal import script


def note(script_path: str, log_path: str) -> str | None:
    """`1 of 3 turns of the script were played`, or None when all were, or it is unknown."""
    try:
        total = sum(turn.times for turn in script.load(Path(script_path)).turns)
        lines = Path(log_path).read_text(encoding="utf-8").splitlines()
        played = max((json.loads(line).get("turn") or 0 for line in lines), default=0)
    except (OSError, ValueError, AttributeError, script.ScriptError):
        return None
    return None if played >= total else f"{played} of {total} turns of the script were played"
