"""Reads a file of JSON lines while another process writes it. Edge: disk, reading.

It reads only what is new, in bounded pieces, and only whole lines; a line that is too long is skipped.
"""

from __future__ import annotations

import os
import time

from runner.disk.files import no_follow
from runner.lightjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

_PIECE = 256 * 1024
_LOOK_S = 0.1
_FINISH_S = 5.0


class LineReader:
    """Gives each line that is a JSON object to `_record`."""

    longest_line = 8 * 1024 * 1024

    def __init__(self, path: str, start: int = 0) -> None:
        self._path = path
        self._offset = start
        self._rest = bytearray()
        self._skipping = False
        self.size = start
        self.lines_unread = 0
        """Lines that were no JSON, or longer than is looked into."""

    def _record(self, record: dict[str, Any]) -> None:
        """One line; for subclasses."""

    def _opened(self, file: BinaryIO) -> None:
        """Before anything is read of the opened file; for subclasses."""

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

        For this long at most: a child may write faster than we can read. True if there is more.
        """
        until = time.monotonic() + for_s
        try:
            file = open(self._path, "rb", opener=no_follow)  # noqa: SIM115 - closed below, None of it on failure
        except OSError:
            return False
        with file:
            self._opened(file)
            file.seek(self._offset)
            while piece := file.read(_PIECE):
                self._offset += len(piece)
                self._take(piece)
                if time.monotonic() > until:
                    return True
        return False

    def finish(self) -> None:
        """Takes in the rest, including a last line without its newline.

        Of a program that always wrote faster than we read, only its last lines are taken.
        """
        self.grown()
        if self.read(_FINISH_S):
            self._offset = max(self._offset, self.size - self.longest_line)
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
            if len(self._rest) > self.longest_line:
                self._rest.clear()
                self._skipping = True

    def _line(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            record = loads(line) if line.lstrip().startswith(b"{") else None
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            self._record(record)
        else:
            self.lines_unread += 1
