"""How long a rehearsal lives: as long as the run of its manifest. Edge: disk, reading; processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

from runner.disk import files
from runner.model import Identity
from runner.processes.proc import is_alive

Json: TypeAlias = dict[str, Any]

NAMED_WITHIN_S = 60.0
"""A run that has named no process by then is given up."""
GONE_FOR_S = 5.0
"""A process may be dead for this long: its supervisor first has to write what comes next."""
_BETWEEN_ATTEMPTS = ("verifying", "waiting", "starting")


class Lifetime:
    """Asked about once a second whether the run is over."""

    def __init__(self, manifest: Path, now: float) -> None:
        self._manifest = manifest
        self._last_sign_of_life = now

    def is_over(self, now: float) -> bool:
        """Whether the run is done, gone, or without a live process for too long."""
        try:
            # The agent can put a FIFO, or a link to /dev/zero, where it is.
            manifest = json.loads(files.read(str(self._manifest)))
        except (FileNotFoundError, NotADirectoryError):
            return True
        except (OSError, ValueError):
            manifest = {}
        if not isinstance(manifest, dict):
            manifest = {}
        if manifest.get("phase") == "done":
            return True
        process = manifest.get("process")
        if process is not None and (_lives(process) or _next_attempt_may_come(manifest)):
            self._last_sign_of_life = now
        silence = now - self._last_sign_of_life
        return silence >= (NAMED_WITHIN_S if process is None else GONE_FOR_S)


def _next_attempt_may_come(manifest: Json) -> bool:
    """Between two attempts no process of the run lives, but its supervisor does."""
    return manifest.get("phase") in _BETWEEN_ATTEMPTS and _lives(manifest.get("supervisor"))


def _lives(process: object) -> bool:
    """Whether exactly this process is there, not a zombie and not another with the same pid."""
    if not isinstance(process, dict):
        return False
    try:
        return is_alive(Identity.from_json(process))
    except (LookupError, TypeError, ValueError, OSError):
        return False
