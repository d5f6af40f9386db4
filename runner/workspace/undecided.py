"""Whether a run's own work tree still waits for a decision. Edge: disk, standard library only."""

from __future__ import annotations

import os

from runner.disk.files import read
from runner.value import FilePath, Value, json_value

RECORD = "worktree.json"


class _Stood(Value):
    """What of a `Worktree` is asked here."""

    path: FilePath


def standing(folder: str) -> str | None:
    """The path of the existing work tree of this folder's run; None if there is none, or no more.

    If its record is unreadable, the path of the record: there may be a work tree.
    """
    record = f"{folder}/{RECORD}"
    try:
        stood = _Stood.from_json(json_value(read(record)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return record
    return stood.path if os.path.lexists(stood.path) else None
