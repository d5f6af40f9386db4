"""Redacts the values given to the child, and texts with the shape or the name of a secret. Pure.

`Redactor` cleans text and bytes, whole or in pieces; `redact.seal` cleans a file in place. Standard library
only, for the supervisor and the operating commands.

Every secret becomes `[redacted]`, which has no quote and no backslash, so a JSON line stays valid and
redacting twice changes nothing. Only a secret number, where JSON allows a number, becomes `null`.
`redact.exact` tells values from look-alikes, `redact.shapes` shapes, and `redact.pairs` names.
"""

from __future__ import annotations

from runner.redact.exact import MOST_CUTS, Spellings, find_cut, find_edges, find_exact, secrets_of, widest
from runner.redact.pairs import find_pairs
from runner.redact.shapes import AHEAD, BEHIND, MARK, REACH, find_shapes, whole_escapes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Spans = Iterator[tuple[int, int, bytes]]
    Finder = Callable[[bytes, int, int], Spans]


class Redactor:
    """Knows the values that must not be seen. May be kept and used again and again.

    Values shorter than eight characters, or as common as `production`, are not looked for:
    replacing them everywhere would garble the text and protect nothing.
    """

    __slots__ = ("_secrets", "_spelt", "_values", "_widest")

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = tuple(values)
        self._spelt: Spellings | None = None
        self._secrets = secrets_of(self._values)
        self._widest = widest(self._secrets)

    def redact_text(self, text: str) -> str:
        """The text without secrets, also cut ones. For display, `clean_terminal` first: colours split."""
        data = text.encode("utf-8", "surrogatepass")
        is_short = self._secrets and len(data) <= 1 << 16  # a longer one is none that we cut
        clean = Stream(self._in_short, 0).finish(data) if is_short else self.redact_bytes(data)
        return text if clean is data else clean.decode("utf-8", "surrogatepass")

    def redact_name(self, name: str) -> str:
        """The name of a file without whole secrets: nobody cuts one, and its words may end a value."""
        return self.redact_bytes(name.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def redact_bytes(self, data: bytes) -> bytes:
        """The bytes without secrets; the same object if there are none. They need not be UTF-8."""
        return self.stream().finish(data)

    def finds_value(self, data: bytes) -> bool:
        """Whether one of the values is in the data, in any spelling; not what only looks like one."""
        return next(self._exact(data, 0, len(data)), None) is not None

    def stream(self) -> Stream:
        """For data that comes in pieces: a secret across their borders is found all the same."""
        if not self._secrets:
            return Stream(None, 0)
        self._spelt = spelt = self._spelt or Spellings(self._values)
        left = [MOST_CUTS]

        def find(buf: bytes, start: int, stop: int) -> Spans:
            yield from self._exact(buf, start, stop)
            yield from find_cut(spelt, left, buf, start, stop)

        return Stream(find, self._widest + 8 * REACH)

    def _exact(self, buf: bytes, start: int, stop: int) -> Spans:
        return find_exact(self._secrets, buf, start, stop)

    def _in_short(self, buf: bytes, start: int, stop: int) -> Spans:
        self._spelt = self._spelt or Spellings(self._values)
        yield from self._exact(buf, start, stop)
        yield from find_edges(self._spelt, buf)


class Stream:
    """Redacts piece by piece, in memory bounded by the pieces and not by their sum.

    It holds back the last 32 KiB or so until it knows that no secret continues there.
    """

    __slots__ = ("_passes",)

    def __init__(self, exact: Finder | None, ahead: int) -> None:
        # Exact values go first, so that the rules for names and shapes see a text that is stable.
        self._passes = [_Pass(_find_known, AHEAD)]
        if exact is not None:
            self._passes.insert(0, _Pass(exact, ahead))

    @property
    def count(self) -> int:
        """How many secrets were replaced so far."""
        return sum(each.count for each in self._passes)

    def feed(self, data: bytes) -> bytes:
        """Takes the next piece; returns what is certain so far, which may be nothing."""
        for each in self._passes:
            data = each.feed(data, last=False)
        return data

    def finish(self, data: bytes = b"") -> bytes:
        """Takes the last piece; gives all the rest."""
        for each in self._passes:
            data = each.feed(data, last=True)
        return data


def _find_known(buf: bytes, start: int, stop: int) -> Spans:
    for first, last in find_shapes(buf, start, stop):
        yield (*whole_escapes(buf, first, last), MARK)
    for first, last in find_pairs(buf, buf.lower(), start, stop):
        yield (*whole_escapes(buf, first, last), MARK)


class _Pass:
    """One set of finders over a sliding window.

    A finder is asked only for what begins in the part whose surroundings are all there, and spans
    are written only where none that comes later can begin before them.
    """

    __slots__ = ("_ahead", "_buf", "_find", "_seen", "_waiting", "_written", "count")

    def __init__(self, find: Finder, ahead: int) -> None:
        self._find = find
        self._ahead = ahead
        self._buf = b""
        self._seen = 0  # finders have answered for what begins before this
        self._written = 0  # and up to here it has been given out
        self._waiting: list[tuple[int, int, bytes]] = []
        self.count = 0

    def feed(self, data: bytes, *, last: bool) -> bytes:
        buf = self._buf + data if self._buf else data
        stop = len(buf) if last else len(buf) - self._ahead
        if stop <= self._seen and not last:
            self._buf = buf
            return b""
        spans = sorted([*self._waiting, *self._find(buf, self._seen, stop)])
        edge = stop if last else max(0, stop - REACH)
        self._waiting = [span for span in spans if span[0] >= edge]
        clean = self._replaced(buf, [span for span in spans if span[0] < edge], edge)
        self._forget(buf, stop, max(0, edge - BEHIND))
        return clean

    def _replaced(self, buf: bytes, spans: list[tuple[int, int, bytes]], edge: int) -> bytes:
        pieces: list[bytes] = []
        pos = self._written
        for start, end, instead in spans:
            if start < pos:  # overlaps the one before, whose marker stands for both
                pos = max(pos, end)
            elif buf[start:end] != instead:
                pieces += (buf[pos:start], instead)
                pos = end
                self.count += 1
        if pos < edge:
            pieces.append(buf[pos:edge])
            pos = edge
        self._written = pos
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _forget(self, buf: bytes, stop: int, cut: int) -> None:
        self._buf = buf[cut:]
        self._seen = stop - cut
        self._written -= cut
        self._waiting = [(start - cut, end - cut, text) for start, end, text in self._waiting]
