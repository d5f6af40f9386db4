"""Which limit of a run is exceeded. Pure, but for the look at how full a disk is."""

from __future__ import annotations

import os

from runner.model import Limits, Reason

_FULL_BYTES = 64 * 1024


def exceeded(
    limits: Limits, *, elapsed_s: float, begun_s: float, idle_s: float, output_bytes: int
) -> Reason | None:
    """The reason to stop a run, or None. None of the times counts what was paused.

    `elapsed_s` is that of the run, `begun_s` and `output_bytes` those of its present attempt.
    """
    if limits.timeout_s is not None and elapsed_s > limits.timeout_s:
        return Reason("timeout", f"ran longer than its limit of {limits.timeout_s:g} s")
    if limits.start_timeout_s is not None and begun_s > limits.start_timeout_s and output_bytes == 0:
        return Reason("no_first_event", f"no event within {limits.start_timeout_s:g} s")
    if limits.idle_timeout_s is not None and idle_s > limits.idle_timeout_s:
        return Reason("stalled", f"no sign of life for {limits.idle_timeout_s:g} s")
    return None


def is_full(path: str) -> bool:
    """Whether the disk of that folder has next to no room left."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize < _FULL_BYTES
