"""The heartbeat of a run on another machine: a file in its folder that the node touches. Edge: disk.

Its age is that by the clock of the file system: node and reader may have clocks of their own.
"""

from __future__ import annotations

import os
import stat
import time

EVERY_S = 15.0
"""How often the node touches it."""
GONE_S = 2 * EVERY_S
"""Who has not touched it for so long is not taken to be alive, where the engine says that the job ended."""
SILENT_S = 60.0
"""After so long without it, whoever looks is told."""

_NAME = "heartbeat"
_AHEAD_S = 5.0
"""How far a file system may be ahead of itself: machines that share it keep its attributes for a while."""
_CLOCK_FOR_S = 60.0

_clocks: dict[int, tuple[float, float]] = {}
"""Device -> when it was asked (monotonic), and how far it is ahead of that clock."""


def beat(run_path: str) -> float:
    """Touches it; when that was, by the clock of its file system. OSError where that cannot be, and for what
    is no plain file.
    """
    fd = os.open(f"{run_path}/{_NAME}", os.O_WRONLY | os.O_CREAT | _PLAIN, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{run_path}/{_NAME} is no plain file")
        os.utime(fd)
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)


def age(run_path: str) -> float | None:
    """Seconds since the last touch; None where there was none that can be believed: an agent may write there,
    too, and a time to come is none.
    """
    try:
        # To open it asks the server of a network file system for its newest attributes; to stat it does not.
        fd = os.open(f"{run_path}/{_NAME}", os.O_RDONLY | _PLAIN)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    if not stat.S_ISREG(found.st_mode):
        return None
    since = _now(run_path, found.st_dev) - found.st_mtime
    return None if since < -_AHEAD_S else max(0.0, since)


def _now(run_path: str, device: int) -> float:
    """The time by the clock of that file system; by our own where nothing can be written there."""
    asked, ahead = _clocks.get(device, (-_CLOCK_FOR_S, 0.0))
    if time.monotonic() - asked >= _CLOCK_FOR_S:
        asked = time.monotonic()
        ahead = _written(f"{run_path}/.{_NAME}.{os.urandom(6).hex()}.tmp") - asked
        _clocks[device] = asked, ahead
    return time.monotonic() + ahead


def _written(path: str) -> float:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN, 0o600)
    except OSError:
        return time.time()
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)
        os.unlink(path)


_PLAIN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
