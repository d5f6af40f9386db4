"""A line on stderr now and then while a command waits where there is no terminal.

CI systems end a job that says nothing for long (CircleCI and Travis after ten minutes), and whoever reads a
log wants to know that the run lives.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

from runner.cli import pen
from runner.cli.render import going

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.state.manifest import Manifest
    from runner.state.store import RunDir

EVERY_S = 60.0


class Heartbeat:
    """To be called with each look at a run; `at_once` where nothing was said of the run yet."""

    def __init__(self, *, at_once: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock() - (EVERY_S if at_once else 0.0)
        self._told: dict[str, float] = {}

    def __call__(self, run: RunDir, manifest: Manifest) -> None:
        now = self._clock()
        if manifest.is_done or now - self._told.get(run.path, self._since) < EVERY_S:
            return
        self._told[run.path] = now
        elapsed, tokens, last = going(manifest)
        words = ", ".join(filter(None, (f"{manifest.status} {elapsed}", tokens, last)))
        with contextlib.suppress(OSError):  # whoever has closed the log misses nothing else
            pen.tell(f"{run.run_id} {words}")


def heartbeat(*, at_once: bool) -> Heartbeat | None:
    """None on a terminal, which shows more. Only in a CI job a line comes `at_once`: a script that waits for
    a moment is to be as silent as before.
    """
    if sys.stderr.isatty():
        return None
    return Heartbeat(at_once=at_once and os.environ.get("CI") == "true")
