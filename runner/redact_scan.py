"""What the finders of secrets share: the marker, limits, and reading of quotes and escapes. Pure.

Everything works on bytes and looks only `BEHIND` bytes back and `AHEAD` bytes on from the place that a
finder was called for, so a file read in pieces gives the same answer as the same file read whole.
"""

from __future__ import annotations

import functools
import re

MARK = b"[redacted]"
LONGEST = 32 * 1024
"""A value longer than this is no credential: it stays, and the look ahead stays bounded."""
REACH = 512
"""How far a span may begin before the place it was found at, or end beyond what matched."""
BEHIND = 4096 + REACH
AHEAD = LONGEST + 2 * REACH

STRUCTURE = b",:}]) \t\r\n"
"""What may follow the quote that closes a JSON string; the end of the data may too."""

_MOST_BACKSLASHES = 4096
_ESCAPE = rb"\\u[0-9a-fA-F]{4}"
_RUN = rb"(?:[^\s\"'`\\,;&<>(){}\[\]|\x00-\x1f\x7f]+|\\+(?:/|u00(?:2[bBfF]|3[dD])))*"
_LINE_STOP = rb"[\r\n\"'`\\]"
_STOPS = {
    b'"': rb"[\r\n\"]",
    b"'": rb"[\r\n\"']",
    b"`": rb"[\r\n\"`]",
}


@functools.cache
def compiled(source: bytes) -> re.Pattern[bytes]:
    """The pattern, compiled when it is first needed: importing must cost nothing."""
    return re.compile(source)


def backslashes_before(buf: bytes, at: int, start: int = 0) -> int:
    """How many backslashes stand directly before `at`, none of them before `start`."""
    first = max(start, at - _MOST_BACKSLASHES)
    pos = at
    while pos > first and buf[pos - 1] == 0x5C:
        pos -= 1
    return at - pos


def whole_escapes(buf: bytes, start: int, end: int) -> tuple[int, int]:
    """The span grown so that it cuts no JSON escape such as `\\n` or `\\u0041` in two."""
    opened = _escape_around(buf, start)
    closed = _escape_around(buf, end)
    return (opened[0] if opened else start, closed[1] if closed else end)


def _escape_around(buf: bytes, at: int) -> tuple[int, int] | None:
    """The escape that has `at` strictly inside it."""
    for back in range(1, 6):
        slash = at - back
        if slash < 0:
            return None
        if buf[slash] != 0x5C:
            continue
        if backslashes_before(buf, slash) % 2:
            continue
        if compiled(_ESCAPE).match(buf, slash):
            return slash, slash + 6
        if back == 1 and at < len(buf) and buf[at : at + 1] in b'"\\/bfnrtu':
            return slash, at + 1
        return None
    return None


def opens_nothing(buf: bytes, start: int) -> bool:
    """Whether the quote before `start` must be taken for one that closes a JSON string.

    A quote that closes is followed by punctuation, a space or the end; a value hardly ever begins so.
    """
    return buf[start : start + 1] in STRUCTURE


def quoted_end(buf: bytes, start: int, opener: bytes) -> int:
    """Where the string ends whose text begins at `start`, behind `opener` (backslashes and a quote).

    -1 if it is longer than any secret. The opener says how deep the JSON is nested: a quote with as many
    backslashes closes, one with twice as many and one more is part of the value, and any other belongs
    to a string around this one, which closes this one too. A line's end closes whatever is open.
    """
    level = len(opener)
    quote = opener[-1:]
    stop = compiled(_STOPS[quote])
    limit = start + LONGEST
    pos = start
    while True:
        found = stop.search(buf, pos, limit)
        if found is None:
            return len(buf) if limit >= len(buf) else -1
        at = found.start()
        if buf[at : at + 1] in b"\r\n":
            return at
        slashes = backslashes_before(buf, at, start)
        if buf[at : at + 1] == quote:
            if (slashes + 1) % level:
                return at - slashes
            if (slashes + 1) % (2 * level):
                return at - level + 1
        elif buf[at + 1 : at + 2] in STRUCTURE + b"\\":
            return at - slashes
        pos = at + 1


def line_end(buf: bytes, start: int) -> int:
    """Where a header's value ends that began at `start` without a quote of its own; -1 if too long.

    It goes on over quotes inside the value, and stops at a quote that looks like the end of a string
    around the header, at an escaped line break and at the end of the line.
    """
    limit = start + LONGEST
    pos = start
    while True:
        found = compiled(_LINE_STOP).search(buf, pos, limit)
        if found is None:
            return len(buf) if limit >= len(buf) else -1
        at = found.start()
        if buf[at : at + 1] in b"\r\n":
            return at
        past = at
        while past < limit and buf[past : past + 1] == b"\\":
            past += 1
        after = buf[past : past + 1]
        if after in b"\"'`":
            if buf[past + 1 : past + 2] in STRUCTURE + b"\\":
                return at
        elif after in b"nr":
            return at
        pos = past + 1


class Run:
    """Ends of bare values, remembered, so that names nested in one long value cost no second reading."""

    __slots__ = ("_from", "_to")

    def __init__(self) -> None:
        self._from = self._to = 0

    def end(self, buf: bytes, start: int, longest: int) -> int:
        """Where the unquoted value ends that begins at `start`; -1 if it is longer than `longest`."""
        known = self._to if self._from <= start <= self._to else start
        if known == start:
            self._from = start
        match = compiled(_RUN).match(buf, known, max(known, start + longest))
        self._to = known if match is None else match.end()
        return -1 if self._to - start >= longest else self._to
