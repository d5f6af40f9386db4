"""Follows the program's own record of a session: its tokens while it works, and its settings. Edge: disk.

The event stream has tokens only at the end of a turn, and never the settings; the record has both at once. It
is in the program's own folder, so it is read but never waited for: a run can do without.
"""

from __future__ import annotations

import os
import stat
import time

from runner.runtimes.base import ObservedSettings
from runner.state.spent import tokens
from runner.supervise.line_reader import LineReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, BinaryIO

    from runner.model import Context, Usage
    from runner.runtimes.base import Runtime

_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 30.0
"""Between two searches: a run without a record must not cost a search four times a second."""
_MOST_CONTEXTS = 32


class Session(LineReader):
    """The content of the record of one session so far.

    `since`: a time before this run's program was started, as `state.manifest.timestamp` writes it. The record
    of a resumed session begins with the turns of other runs: their settings are not this run's, and their
    tokens are `before`.
    """

    longest_line = 1024 * 1024

    def __init__(
        self, runtime: Runtime, since: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__("")
        self._runtime = runtime
        self._since = since
        self._clock = clock
        self._file: tuple[int, int] | None = None
        self._next_search = 0.0
        self._wait_s = _FIRST_WAIT_S
        self.is_behind = False
        """There is more than the last look had time for."""
        self.usage: Usage | None = None
        """Of the whole thread."""
        self.has_start = False
        """Whether all is read that was there when the record was found: what follows is of this run."""
        self.before: Usage | None = None
        """The part of it that was spent before `since`."""
        self.context: Context | None = None
        """Of this run's last request."""
        self.contexts: tuple[ObservedSettings, ...] = ()
        """Each different one of this run's turns, in the order of their first appearance."""

    @property
    def path(self) -> str | None:
        """Where the record is; None until it is found."""
        return self._path or None

    def look(self, thread_id: str | None, env: Mapping[str, str]) -> bool:
        """Finds the record if need be and takes in what is new; whether it has grown.

        `env` is that of the program: it says where its home is.
        """
        if not self._path:
            self._search(thread_id, env)
        if not self._path:
            return False
        grown = self.grown()
        if grown or self.is_behind or not self._is_same():
            self.is_behind = self.read()
            self.has_start = not self.is_behind
        return grown

    def end(self, thread_id: str | None, env: Mapping[str, str]) -> None:
        """Takes in the rest, when the program has ended."""
        self._next_search = 0.0
        self.look(thread_id, env)
        if self._path:
            self.finish()
            self.has_start = True

    def _search(self, thread_id: str | None, env: Mapping[str, str]) -> None:
        if thread_id is None or self._clock() < self._next_search:
            return
        for folder in self._runtime.session_folders(env, thread_id):
            try:
                names = os.listdir(folder)
            except OSError:
                continue
            for name in names:
                if name.endswith(f"{thread_id}.jsonl") and _is_plain(f"{folder}/{name}"):
                    self._path = f"{folder}/{name}"
                    return
        self._next_search = self._clock() + self._wait_s
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)

    def _is_same(self) -> bool:
        """False also where the file is shorter now. One that has gone is looked for again."""
        try:
            found = os.lstat(self._path)
        except OSError:
            self._path, self._file = "", None  # a new one may get the number of the old one
            return True
        return (found.st_dev, found.st_ino) == self._file and found.st_size >= self._offset

    def _opened(self, file: BinaryIO) -> None:
        """Another file in its place, or a shorter one, is read from the start: nothing is counted twice."""
        found = os.fstat(file.fileno())
        if (found.st_dev, found.st_ino) != self._file or found.st_size < self._offset:
            self._file = (found.st_dev, found.st_ino)
            self._offset, self.size = 0, found.st_size
            self._rest.clear()
            self._skipping = False
            self.has_start = False

    def _record(self, record: dict[str, Any]) -> None:
        note = self._runtime.session_record(record)
        if note is None:
            return
        is_ours = self._since is None or note.at is None or self.has_start or note.at >= self._since
        if note.usage is not None:
            self.usage = _more(self.usage, note.usage)
            if not is_ours:
                self.before = _more(self.before, note.usage)
        if note.context is not None and is_ours:
            self.context = note.context.after(self.context)
        if note.observed is not None and is_ours:
            self.take(note.observed)

    def take(self, observed: ObservedSettings) -> None:
        """A turn of this run works with these, as the record says or the stream."""
        if observed not in self.contexts and len(self.contexts) < _MOST_CONTEXTS:
            self.contexts = (*self.contexts, observed)


def _more(known: Usage | None, told: Usage) -> Usage:
    """Totals of a thread never shrink; what has been spent is not forgotten."""
    return told if tokens(told) >= tokens(known) else known or told


def _is_plain(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
