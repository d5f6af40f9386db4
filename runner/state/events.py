"""events.jsonl: what happened to a run, append-only, `seq` without gaps. Edge: disk.

Only the holder of the run's lock appends, each event in one write. A torn last line (the disk was full, the
machine went down) is closed with a newline by the next writer and counted by readers, never hidden.
"""

from __future__ import annotations

import json
import os

from runner.model import SCHEMA_VERSION
from runner.state.manifest import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class EventLog:
    """The writer's end: knows the next `seq`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seq = 0
        self._torn = False
        if os.path.exists(path):
            for event in read(path):
                self._seq = max(self._seq, int(event.get("seq", 0)))
            self._torn = _is_torn(path)

    def append(self, kind: str, *, actor: str = "supervisor", **fields: Any) -> None:
        """Writes one event; OSError if the disk refuses (the `seq` is then not used up)."""
        event = {
            "schema_version": SCHEMA_VERSION,
            "seq": self._seq + 1,
            "at": timestamp(),
            "type": kind,
            "actor": actor,
            **fields,
        }
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if self._torn:
            line = b"\n" + line
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._torn = True
            written = os.write(fd, line)
            if written != len(line):
                raise OSError(28, "the event was cut short", self._path)
        finally:
            os.close(fd)
        self._torn = False
        self._seq += 1


def read(path: str) -> Iterator[dict[str, Any]]:
    """The events that can be read, in order; a torn or foreign line is passed over."""
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict):
                    yield event
    except FileNotFoundError:
        return


def _is_torn(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
