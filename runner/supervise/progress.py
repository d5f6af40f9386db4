"""Follows the program's output while it is written: bytes, session, tokens, last message. Edge: disk,
reading.

The child writes the file itself; this reads behind it in bounded pieces, so a gigabyte of output costs no
memory and our death loses no byte. `timeline.tsv` records when the file reached which size, so `logs` knows
the time of a line although no process stands between the child and its file.
"""

from __future__ import annotations

import os
import time

from runner.disk.files import no_follow
from runner.model import Context, Usage
from runner.runtimes.base import ANSWERS, Activity, Kind, Runtime
from runner.runtimes.reading import reader_of
from runner.state.spent import larger
from runner.supervise.line_reader import LineReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


MOST_REFUSALS = 50


class Progress(LineReader):
    """The content of the event stream so far. `runtime` None: only sizes are followed.

    `listener` gets every activity too, in order. What is before `start` belongs to an earlier attempt.
    """

    def __init__(
        self,
        path: str,
        runtime: Runtime | None,
        listener: Callable[[Activity], None] | None = None,
        start: int = 0,
    ) -> None:
        super().__init__(path, start)
        self.start = start
        self._read_line = None if runtime is None else reader_of(runtime)
        self._listener = listener
        self.any_event = False
        self.thread_id: str | None = None
        self.usage: Usage | None = None
        self.cost: float | None = None
        self.cost_before: float | None = None
        self.context: Context | None = None
        self.last_message: str | None = None
        self.last_activity: str | None = None
        self.turn: Kind | None = None
        self.failure: str | None = None
        self.last_error: str | None = None
        self.status: int | None = None
        """The HTTP status of the last error, until the model answers again."""
        self.has_begun = False
        """Whether the program says that it works on its prompt."""
        self.is_answered = False
        """Whether the model has said or done anything."""
        self.tool_calls = 0
        """How many have ended."""
        self.refused: list[str] = []
        """What the program says that it did not let its agent do: the first of it."""

    def _record(self, record: dict[str, Any]) -> None:
        self.any_event = True
        if self._read_line is not None:
            for activity in self._read_line(record):
                self._note(activity)
                if self._listener is not None:
                    self._listener(activity)

    def _note(self, activity: Activity) -> None:
        kind = activity.kind
        if kind is Kind.THREAD:
            self.thread_id = activity.text
        elif kind is Kind.MESSAGE:
            self.last_message = activity.text
        elif kind in (Kind.TURN_COMPLETED, Kind.TURN_FAILED):
            self.turn = kind
            if kind is Kind.TURN_FAILED:
                self.failure = activity.text
        elif kind is Kind.TURN_STARTED:
            self.turn = None
            self.failure = None
            self.has_begun = True
        elif kind is Kind.ERROR:
            self.last_error = activity.text
        elif kind is Kind.TOOL_CALL:
            self.tool_calls += 1
        elif kind is Kind.REFUSED and len(self.refused) < MOST_REFUSALS:
            self.refused.append(activity.text)
        # What nobody knows may be an answer: a turn without one is a failure.
        is_answer = kind in (*ANSWERS, Kind.OTHER, Kind.PROGRESS) and kind is not Kind.TURN_COMPLETED
        self.is_answered = self.is_answered or is_answer
        self.has_begun = self.has_begun or is_answer
        if activity.status is not None or kind in ANSWERS:
            self.status = activity.status
        if activity.usage is not None:
            self.usage = larger(activity.usage, self.usage)  # totals only grow
        if activity.cost is not None:
            self.cost = max(activity.cost, self.cost or 0.0)
            self.cost_before = activity.cost_before
        if activity.context is not None:
            self.context = activity.context.after(self.context)
        if activity.text and kind not in (Kind.THREAD, Kind.USAGE, Kind.TURN_STARTED):
            self.last_activity = f"{kind.replace('_', ' ')}: {_as_typed(activity.text)[:200]}"


class Timeline:
    """Appends `<milliseconds since the epoch>\\t<size>` whenever the output has grown."""

    def __init__(self, path: str) -> None:
        self._path = path

    def note(self, size: int) -> None:
        """A disk that refuses costs the times of some lines, nothing else."""
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            fd = os.open(self._path, flags, 0o600)
        except OSError:
            return
        try:
            os.write(fd, f"{int(time.time() * 1000)}\t{size}\n".encode())
        except OSError:
            pass
        finally:
            os.close(fd)


def tail(path: str, limit: int = 4096, start: int = 0) -> str:
    """The end of a file as text, at most `limit` bytes and none before `start`; empty where there is none."""
    try:
        with open(path, "rb", opener=no_follow) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - limit))
            return file.read(limit).decode(errors="replace")
    except OSError:
        return ""


def _as_typed(text: str) -> str:
    """Without the shell that a program puts around a command, where that is plain; `shlex` is too large for a
    supervisor.
    """
    for shell in ("/bin/bash -lc ", "/bin/bash -c ", "bash -lc ", "bash -c ", "/bin/sh -c ", "sh -c "):
        inner = text.removeprefix(shell)
        if inner != text:
            quote = inner[:1]
            is_one = quote in ("'", '"') and inner.find(quote, 1) == len(inner) - 1 > 0 and "\\" not in inner
            return inner[1:-1] if is_one else inner
    return text
