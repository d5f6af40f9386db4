"""Waiting for a condition, never for a time."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

__all__ = ["ends_within", "wait_until"]

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


@contextlib.contextmanager
def ends_within(seconds: int, what: str = "it") -> Iterator[None]:
    """AssertionError in the midst of what has no end by then: what hangs would hold up all other tests."""

    def give_up(*_: object) -> None:
        raise AssertionError(f"{what} did not end within {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
