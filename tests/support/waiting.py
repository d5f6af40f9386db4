"""Waiting for a condition, never for a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["wait_until"]

T = TypeVar("T")
_POLL_S = 0.01


def wait_until(condition: Callable[[], T], within: float = 30.0, what: str = "the condition") -> T:
    """The first true value of `condition`; AssertionError when none came in time."""
    deadline, never = time.monotonic() + within, threading.Event()
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within:g} s")
        never.wait(_POLL_S)
    return value
