"""The values of a plan: its units, and the rules that put them into batches. Pure."""

from __future__ import annotations

import re

from runner.model import Delegate, Economics
from runner.value import Value

EFFORTS = ("minimal", "low", "default", "medium", "high", "xhigh")
"""Least first. `default` is the runtime's own and stands between `low` and `medium`: beside a unit that needs
no more than `low` it wins, so that a batch never works with less than one of its units asked for.
"""
IN_FILE = re.compile(r"(?:[:#]L?\d+(?:-L?\d+)?(?:,\s*\d+(?:-\d+)?)*|::[\w:\[\]-]+)$")
"""Where a path goes on to name lines or a test: `a.py:12-40`, `a.py#L7`, `a.py::test_x`."""
SIDE_BY_SIDE = 4
"""So many batches are shown in one wave where nothing runs side by side yet: what may, and not what will."""


class Files(Value):
    """Globs or paths relative to the root of the repository. A path covers all below it, as in a `scope`.

    `create` and `modify` are written; what is only in `read` may be shared without being kept together.
    """

    create: tuple[str, ...] = ()
    modify: tuple[str, ...] = ()
    read: tuple[str, ...] = ()


class Unit(Value):
    """One piece of work. `effort` is None where the plan leaves it to us; `phase` is a number or a name."""

    id: str
    goal: str
    files: Files = Files()
    depends_on: tuple[str, ...] = ()
    trivial: bool = False
    tests: tuple[str, ...] = ()
    verify: tuple[tuple[str, ...], ...] = ()
    patterns: tuple[str, ...] = ()
    approach: str | None = None
    execution_note: str | None = None
    phase: int | str | None = None
    risk: tuple[str, ...] = ()
    effort: str | None = None
    model: str | None = None
    """A name of [models], with which its runtime goes; None is that of the task."""
    done: bool = False
    """It is not delegated, and what depends on it need not wait."""


class Plan(Value):
    """Units in the order of the file. Ids are unique, `depends_on` names other units and has no cycle."""

    units: tuple[Unit, ...]
    title: str | None = None


class Rules(Delegate):
    """What puts a plan into batches: the settings, and what was asked for with them.

    `soft_cap` units make a batch; a group that shares files may have `hard_cap` in one before `oversize`
    decides: `chain` cuts it into batches in a row, `keep` leaves it whole, `error` refuses any group above
    `soft_cap`.
    """

    forced: bool = False
    """Delegates also what is not worth it."""
    economics: Economics = Economics()

    @property
    def widest_wave(self) -> int:
        """So many batches are shown in one wave at most."""
        return self.max_parallel if self.max_parallel > 1 else SIDE_BY_SIDE


def rules_of(delegate: Delegate, economics: Economics, *, forced: bool) -> Rules:
    """The rules that these settings mean."""
    return Rules(**vars(delegate), economics=economics, forced=forced)


def doubt(path: str) -> str | None:
    """Why this is probably no path, in words that follow it; None where nothing speaks against it."""
    if (":" in path or "#" in path) and IN_FILE.search(path):
        return "ends like a place in a file, not like its name"
    if "{" in path and "," in path:
        return "has braces with a comma, which no glob here has"
    if path.lower() in ("none", "n/a", "tbd", "todo"):
        return "is no name of a file"
    return None


def leads_outside(path: str) -> bool:
    """Whether a path is absolute, in a home folder, or leaves the repository with `..`."""
    return path[:1] in ("/", "~") or (".." in path and ".." in path.split("/"))


def normal_path(path: str) -> str:
    """The one way to write a path: without `.`, doubled and closing slashes; what leads outside stays."""
    if leads_outside(path) or not ("./" in path or "//" in path or path.endswith(("/", "/."))):
        return path
    return "/".join(part for part in path.split("/") if part not in ("", "."))
