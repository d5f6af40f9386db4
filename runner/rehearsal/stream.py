"""Server-sent events, piece by piece. Pure.

A message may be a short text repeated very often, so its JSON is made from pieces of bounded size and is
never in memory as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from runner.rehearsal.request import Json
from runner.rehearsal.turns import Turn

HOLE = "\0"
"""Stands in an event for the pieces of a message."""
_HOLE = json.dumps(HOLE).encode()
_PIECE_CHARS = 32_768


def event(data: Json) -> bytes:
    """The event with this data, named by its type if it has one."""
    name = f"event: {data['type']}\n" if "type" in data else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


def deltas(data: bytes, turn: Turn) -> Iterator[bytes]:
    """The event once for each piece of the message; one without a hole as it is."""
    for piece in _pieces(turn) if _HOLE in data else [""]:
        yield from _with(data, [piece])


def filled(data: bytes, turn: Turn) -> Iterator[bytes]:
    """The event, or other JSON, with the whole message in the place of its hole, if it has one."""
    return _with(data, [] if turn.message is None else _pieces(turn))


def _with(data: bytes, pieces: Iterable[str]) -> Iterator[bytes]:
    before, hole, after = data.partition(_HOLE)
    yield before + hole[:1]
    for piece in pieces:
        yield piece.encode()
    yield hole[-1:] + after


def _pieces(turn: Turn) -> Iterator[str]:
    """The message as JSON without its quotes: escaping is the same for each repetition."""
    escaped = json.dumps(turn.message)[1:-1]
    at_once = max(1, _PIECE_CHARS // max(1, len(escaped)))
    for done in range(0, turn.repeat, at_once):
        yield escaped * min(at_once, turn.repeat - done)
