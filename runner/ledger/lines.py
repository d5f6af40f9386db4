"""The lines of the file of a ledger: forwards, backwards, or the one with a number. Edge: disk, reading."""

from __future__ import annotations

import os

from runner.ledger.chain import seq_of
from runner.ledger.entry import LONGEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from runner.ledger.entry import NewEntry

_PIECE = 1 << 16


def forwards(file: BinaryIO) -> Iterator[bytes]:
    """The whole lines; a longer one than ours are is given as far as it was read."""
    while (line := file.readline(LONGEST)) and (line.endswith(b"\n") or len(line) == LONGEST):
        yield line


def backwards(file: BinaryIO, end: int) -> Iterator[bytes]:
    """The lines up to `end`, the last one first."""
    kept, at = b"", end
    while at > 0:
        size = min(_PIECE, at)
        at -= size
        file.seek(at)
        pieces = (file.read(size) + kept).splitlines(keepends=True)
        kept = pieces.pop(0) if at else b""
        yield from reversed(pieces)


def numbered(file: BinaryIO, end: int, seq: int) -> bytes | None:
    """The line of the entry with that number, found by halves; None where it is not among ours."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        file.seek(max(0, middle - 1))
        if middle:
            file.readline()  # the rest of the line before: the next one begins at `middle` or behind it
        if (at := file.tell()) >= high:
            high = middle
            continue
        line = file.readline()
        found = seq_of(line)
        if found is None or found == seq:
            return None if found is None else line
        low, high = (at + len(line), high) if found < seq else (low, middle)
    return None


def behind(file: BinaryIO, end: int, seq: int) -> Iterator[bytes]:
    """The lines up to `end` that come after that of the entry with this number; without one, all."""
    if numbered(file, end, seq) is None:
        file.seek(0)
    at = file.tell()
    for line in forwards(file):
        if (at := at + len(line)) > end:
            return
        yield line


def untold(fd: int, end: int, drafts: Sequence[NewEntry]) -> list[NewEntry]:
    """Those whose keys no entry up to there has; all of these are known to be ours."""
    start = os.path.commonprefix([one.key or "" for one in drafts])  # noqa: RUF071 - these are no paths
    mark, keys, kept, at = b'"key":"' + start.encode(), set[bytes](), b"", 0
    while at < end and (piece := os.pread(fd, _PIECE, at)):
        whole, _, kept = (kept + piece).rpartition(b"\n")
        keys.update(part.partition(b'"')[0] for part in whole.split(mark)[1:])
        at += len(piece)
    return [one for one in drafts if one.key is None or one.key[len(start) :].encode() not in keys]
