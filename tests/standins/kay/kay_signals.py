"""What ends a turn from outside: SIGINT, SIGTERM, and the wall clock of --max-seconds.

Each becomes an exception, at most one for a turn. Source of the facts: the documented contract of
Kay 0.9.17 and 0.9.46.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["Interrupted", "Listener", "Terminated", "TimeBudgetSpent", "die_of"]


class TimeBudgetSpent(BaseException):
    """The wall clock of --max-seconds ran out."""


class Interrupted(BaseException):
    """SIGINT: the turn ends, the program goes on to its normal end."""


class Terminated(BaseException):
    """SIGTERM: a clean shutdown, then the signal once more."""


_ENDINGS: dict[int, type[BaseException]] = {
    signal.SIGINT: Interrupted,
    signal.SIGTERM: Terminated,
    signal.SIGALRM: TimeBudgetSpent,
}


class Listener:
    """Turns the first signal into its exception."""

    def __init__(self, *, deaf_to: frozenset[int]) -> None:
        self._deaf_to = deaf_to
        self._held = False
        self._first: int | None = None

    def listen(self, seconds: float | None) -> None:
        """From now on signals raise; so does the end of this many seconds."""
        for number in _ENDINGS:
            signal.signal(number, self._handle)
        if seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))

    def forget(self) -> None:
        """From now on nothing keeps the program from writing its end."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A signal in this block raises at its end: a started process is never forgotten."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._first is not None:
            raise _ENDINGS[self._first]

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number in self._deaf_to or self._first is not None:
            return
        self._first = number
        if not self._held:
            raise _ENDINGS[number]


def die_of(number: int) -> NoReturn:
    """Ends this process by the signal, without a flush: a full pipe must not stop it."""
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise SystemExit(128 + number)  # only when the signal is blocked
