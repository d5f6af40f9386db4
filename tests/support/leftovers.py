"""The last word of every test: nothing that it started may be alive."""

from __future__ import annotations

import time
from pathlib import Path

from support.processes import kill, of_folder
from support.waiting import wait_until

__all__ = ["assert_nothing_left"]

_WITHIN_S = 30.0
"""A supervisor that seals its files after the end of the run may still be there for a moment."""


def assert_nothing_left(folder: Path) -> None:
    """Fails if a process that belongs to `folder` outlives the test, and ends exactly those.

    To look at every process there is costs too much for doing it again and again while these end.
    """
    deadline = time.monotonic() + _WITHIN_S
    while left := of_folder(folder):
        try:
            wait_until(
                lambda seen=left: not any(one.is_still_there() for one in seen), deadline - time.monotonic()
            )
        except AssertionError:
            for process in left:
                kill(process)
            names = "\n".join(f"  {p.pid} {p.state} {' '.join(p.words)[:300]}" for p in left)
            raise AssertionError(f"alive after the test:\n{names}") from None
