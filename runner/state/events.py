"""events.jsonl: what happened to a run, append-only, `seq` without gaps. Edge: disk.

Only the holder of the run's lock appends, each event in one write. A torn last line (full disk, power
failure) is closed with a newline by the next writer and skipped by readers.
"""

from __future__ import annotations

import errno
import os
import sys

from runner.disk.files import no_follow, no_hole
from runner.lightjson import loads
from runner.model import SCHEMA_VERSION, Outcome, Reason
from runner.state.manifest import timestamp
from runner.value import Seconds, Timestamp, Value, json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class EndTold(Value):
    """What an `ended` says."""

    outcome: Outcome
    reason: Reason


class Gap(Value):
    """What a `suspended` says. `paused`: the run was, and that has its time."""

    at: Timestamp
    seconds: Seconds
    paused: bool = False


class EventLog:
    """The writer's end: knows the next `seq`. `clean` redacts what an event of a kind says."""

    def __init__(
        self, path: str, clean: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda kind, fields: fields
    ) -> None:
        self._path, self._clean = path, clean
        self._seq = 0
        self._torn = False
        if os.path.exists(path):
            for event in read_events(path):
                seq = event.get("seq")
                self._seq = max(self._seq, seq if isinstance(seq, int) else 0)
            self._torn = _is_torn(path)

    def append(self, kind: str, *, actor: str = "supervisor", **fields: Any) -> None:
        """Writes one event; OSError if the disk refuses (the `seq` is then not used up)."""
        event = {
            "schema_version": SCHEMA_VERSION,
            "seq": self._seq + 1,
            "at": timestamp(),
            "type": kind,
            **self._clean(kind, {"actor": actor, **fields}),
        }
        line = json_bytes(event, compact=True) + b"\n"
        if self._torn:
            line = b"\n" + line
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self._path, flags, 0o600)
        try:
            written = os.write(fd, line)
        finally:
            os.close(fd)
        self._torn = written < len(line)
        if written < len(line) - 1:  # an event without its newline is still one
            raise OSError(errno.ENOSPC, "the event was cut short", self._path)
        self._seq += 1

    def note(self, kind: str, **fields: Any) -> None:
        """As `append`, where what happened is more than the record of it: a refusal is only said."""
        try:
            self.append(kind, **fields)
        except OSError as error:
            complain(f"event {kind} not written: {error}")


def complain(text: str) -> None:
    """To stderr: a supervisor's is a file on the same disk, so a full one refuses that as well."""
    try:
        print(text, file=sys.stderr)
    except OSError:
        pass


def read_events(path: str) -> Iterator[dict[str, Any]]:
    """The events that can be read, in order; a torn or foreign line is passed over."""
    try:
        with open(path, "rb", opener=no_hole) as file:
            for line in file:
                try:
                    event = loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(event, dict):
                    yield event
    except OSError:
        return


def _is_torn(path: str) -> bool:
    try:
        with open(path, "rb", opener=no_follow) as file:
            file.seek(0, os.SEEK_END)
            if file.tell() == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:
        return False
