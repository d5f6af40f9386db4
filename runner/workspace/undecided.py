"""Whether a run's own work tree still waits for a decision. Edge: disk, standard library only."""

from __future__ import annotations

import os

from runner.workspace.files import read_json

RECORD = "worktree.json"


def standing(folder: str) -> str | None:
    """The path of the existing work tree of this folder's run; None if there is none, or no more.

    If its record is unreadable, the path of the record: there may be a work tree.
    """
    record = f"{folder}/{RECORD}"
    try:
        data = read_json(record)
        path = None if data is None else str(data["path"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return record
    return path if path is not None and os.path.lexists(path) else None
