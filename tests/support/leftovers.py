"""The last word of every test: nothing that it started may be alive."""

from __future__ import annotations

from pathlib import Path

from support.processes import kill, of_folder
from support.waiting import wait_until

__all__ = ["assert_nothing_left"]

_WITHIN_S = 15.0
"""A supervisor that seals its files after the end of the run may still be there for a moment."""


def assert_nothing_left(folder: Path) -> None:
    """Fails if a process that belongs to `folder` outlives the test, and ends exactly those."""
    try:
        wait_until(lambda: not of_folder(folder), _WITHIN_S)
    except AssertionError:
        left = of_folder(folder)
        for process in left:
            kill(process)
        names = "\n".join(f"  {p.pid} {p.state} {' '.join(p.words)[:300]}" for p in left)
        assert not left, f"alive after the test:\n{names}"
