"""Whether a run's own work tree still waits for a decision. Edge: disk, standard library only."""

from __future__ import annotations

import os

from runner.disk import home
from runner.disk.files import read
from runner.errors import Unwritable
from runner.value import FilePath, Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD = "worktree.json"


class _Stood(Value):
    """What of a `Worktree` is asked here."""

    path: FilePath


def of_runs(env: Mapping[str, str]) -> frozenset[str]:
    """The ids of all runs, of whatever repository, whose own work trees stand, done or not."""
    found: set[str] = set()
    try:
        top = os.path.join(home.state(env), "worktrees")
        for folder in os.listdir(top):
            found.update(os.listdir(os.path.join(top, folder)))
    except (OSError, Unwritable):
        pass
    return frozenset(found)


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
