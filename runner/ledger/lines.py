"""The lines of the file of a ledger: forwards, or backwards. Edge: disk, reading."""

from __future__ import annotations

from runner.ledger.entry import LONGEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

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
