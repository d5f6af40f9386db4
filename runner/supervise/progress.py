"""Follows the program's output while it is written: bytes, thread, tokens, last words. Edge: disk, reading.

The child writes the file itself; this reads behind it in bounded pieces, so a gigabyte of output costs no
memory and our death costs no byte. `timeline.tsv` notes when the file had grown to which size, which is how
`logs` can say when a line came without anybody standing between the child and its file.
"""

from __future__ import annotations

import json
import os
import time

from runner.model import Usage
from runner.runtimes.base import Activity, Kind, Runtime
from runner.state.files import no_follow

_PIECE = 256 * 1024
_LONGEST_LINE = 8 * 1024 * 1024
_LOOK_S = 0.1
_FINISH_S = 5.0
_TEXT_KEPT = 64 * 1024


class Progress:
    """What the event stream has told so far. `runtime` None: only sizes are followed."""

    def __init__(self, path: str, runtime: Runtime | None) -> None:
        self._path = path
        self._runtime = runtime
        self._offset = 0
        self._rest = bytearray()
        self._skipping = False
        self.size = 0
        self.lines_unread = 0
        """Lines that were no JSON, or longer than is looked into."""
        self.any_event = False
        self.thread_id: str | None = None
        self.usage: Usage | None = None
        self.last_message: str | None = None
        self.last_activity: str | None = None
        self.turn: Kind | None = None
        self.failure: str | None = None
        self.last_error: str | None = None
        self.tool_calls = 0
        """How many have ended."""

    def grown(self) -> bool:
        """Whether the file is larger than at the last call: one stat(2), no read."""
        try:
            size = os.stat(self._path).st_size
        except OSError:
            return False
        grown = size > self.size
        self.size = size
        return grown

    def read(self, for_s: float = _LOOK_S) -> bool:
        """Takes in what was written since the last call, up to the last whole line.

        For so long at most: a child may write faster than anybody can read. True if there is more.
        """
        until = time.monotonic() + for_s
        try:
            file = open(self._path, "rb", opener=no_follow)  # noqa: SIM115 - closed below, None of it on failure
        except OSError:
            return False
        with file:
            file.seek(self._offset)
            while piece := file.read(_PIECE):
                self._offset += len(piece)
                self._take(piece)
                if time.monotonic() > until:
                    return True
        return False

    def finish(self) -> None:
        """Takes in the rest, including a last line without its newline.

        Whoever wrote faster than we read for all of its life is asked for its last words only.
        """
        self.grown()
        if self.read(_FINISH_S):
            self._offset = max(self._offset, self.size - _LONGEST_LINE)
            self._rest.clear()
            self._skipping = True
            while self.read(_FINISH_S):
                pass
        if self._rest:
            self._line(bytes(self._rest))
            self._rest.clear()
        elif self._skipping:
            self._skipping = False
            self.lines_unread += 1

    def _take(self, piece: bytes) -> None:
        *lines, rest = piece.split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
                self.lines_unread += 1
            elif self._rest:
                self._rest += line
                self._line(bytes(self._rest))
            else:
                self._line(line)
            self._rest.clear()
        if not self._skipping:
            self._rest += rest
            if len(self._rest) > _LONGEST_LINE:
                self._rest.clear()
                self._skipping = True

    def _line(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            record = json.loads(line) if line.lstrip().startswith(b"{") else None
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            self.lines_unread += 1
            return
        self.any_event = True
        if self._runtime is not None:
            for activity in self._runtime.parse(record):
                self._note(activity)

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
        elif kind is Kind.ERROR:
            self.last_error = activity.text
        elif kind is Kind.TOOL_CALL:
            self.tool_calls += 1
        if activity.usage is not None:
            self.usage = activity.usage
        if activity.text and kind not in (Kind.THREAD, Kind.USAGE, Kind.TURN_STARTED):
            self.last_activity = f"{kind.replace('_', ' ')}: {activity.text[:200]}"


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


def tail(path: str, limit: int = 4096) -> str:
    """The end of a file as text, at most `limit` bytes; empty where there is none."""
    try:
        with open(path, "rb", opener=no_follow) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            return file.read(limit).decode(errors="replace")
    except OSError:
        return ""
