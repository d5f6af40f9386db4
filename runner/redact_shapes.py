"""Secrets that are known by their shape: tokens of well-known services, keys, passwords in URLs. Pure.

Each shape is anchored by a literal that `bytes.find` looks for; only from there does a pattern run.
"""

from __future__ import annotations

import re

from runner.redact_scan import LONGEST, MARK, compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NOT_MARK = rb"(?!\[redacted\])"
_WORD = rb"A-Za-z0-9_-"
_MOST = 512
# A token begins where no letter or digit stands before it, or behind an escape (of JSON, of a URL) or a
# colour that ends in one.
_LEFT = (
    rb"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=\\u00[0-9a-fA-F]{2})|(?<=%[0-9a-fA-F]{2})|"
    + rb"|".join(rb"(?<=\[[0-9;]{%d}m)" % width for width in range(11))
    + rb")(?<!\[redacted\])"
)


def _shape(head: bytes, kind: bytes, least: int, left: bytes = _LEFT) -> bytes:
    """A pattern for a token: `head`, then at least `least` characters of `kind`, and then none."""
    return left + head + b"[%b]{%d,%d}(?![%b])" % (kind, least, _MOST, kind) + _NOT_MARK


_MODEL_KEY_FAMILIES = (b"ant-", b"proj-", b"svcacct-", b"admin-", b"or-v1-")


def _is_model_key(token: bytes) -> bool:
    """Tells `sk-` keys from words such as `sk-learn-contrib`: some part of them looks drawn by lot."""
    body = token[3:]
    for family in _MODEL_KEY_FAMILIES:
        if body.startswith(family):
            rest = body[len(family) :]
            return len(rest) >= 16 or (len(rest) >= 8 and has_digit(rest))
    return any(
        len(part) >= 16
        or (len(part) >= 10 and has_digit(part))
        or (len(part) >= 8 and has_digit(part) and not part.isdigit())
        for part in re.split(rb"[-_]", body)
    )


def has_digit(value: bytes) -> bool:
    """Whether an ASCII digit is in it."""
    return compiled(rb"[0-9]").search(value) is not None


# anchor, how far before the anchor the token begins, the token, and what else must be true of it
_TOKENS: tuple[tuple[bytes, int, bytes, Callable[[bytes], bool] | None], ...] = (
    (b"sk-", 0, _shape(rb"sk-", _WORD, 8), _is_model_key),
    (b"k_live_", 1, _shape(rb"[sr]k_live_", rb"A-Za-z0-9", 16), None),
    (b"k_test_", 1, _shape(rb"[sr]k_test_", rb"A-Za-z0-9", 16), None),
    (b"github_pat_", 0, _shape(rb"github_pat_", rb"A-Za-z0-9_", 16), None),
    (b"xox", 0, _shape(rb"xox[abeoprs]-", rb"A-Za-z0-9-", 8), has_digit),
    (b"AKIA", 0, _LEFT + rb"AKIA[A-Z0-9]{16}(?![A-Za-z0-9])" + _NOT_MARK, None),
    (b"ASIA", 0, _LEFT + rb"ASIA[A-Z0-9]{16}(?![A-Za-z0-9])" + _NOT_MARK, None),
    (b"npm_", 0, _shape(rb"npm_", rb"A-Za-z0-9", 30), None),
    (b"glpat-", 0, _shape(rb"glpat-", rb"A-Za-z0-9_.-", 16), None),
    (b"AIza", 0, _shape(rb"AIza", _WORD, 30), None),
)
_GITHUB = _shape(rb"gh[pousr]_", rb"A-Za-z0-9_", 16)
# These may be long, so a word character before them rules them out: no long run is read twice.
_GOOGLE = rb"(?<![A-Za-z0-9_.-])ya29\.[A-Za-z0-9_.-]{16,}"
_JWT = (
    rb"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrtbf])|(?<=\\u00[0-9a-fA-F]{2})|(?<=%[0-9a-fA-F]{2}))"
    rb"(?<!\[redacted\])eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]{4,}){2,4}"
)
_URL = (
    rb"(?<=[A-Za-z0-9+.-])"
    rb":(?:\\*/){2}(?:[^\s/?#@:\"'`\\<>\[\]]|\[redacted\])*:"
    rb"((?:[^\s/?#\"'`\\<>\[\]]|\[redacted\])+)@"
)
_GAP = rb"(?:[ \t\r\n>|#*]|-(?!-)|\\+[nrt])"
_BASE64 = rb"(?:[A-Za-z0-9+/=]|\\+/)"
_PEM = (
    (
        rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        rb"((?:GAP+(?:[A-Z][A-Za-z-]{2,20}: [^\r\n\\\"'`]{1,120}|(?:[0-9]{1,5}[:|-]?GAP*)?B64{24,}))*"
        rb"(?:(?:GAP+B64{1,23}){0,4}GAP*-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?)"
    )
    .replace(b"GAP", _GAP)
    .replace(b"B64", _BASE64)
)
# What stands for a value and is none: a variable, a template, a blank to be filled in.
_PLACEHOLDER = (
    rb"\$[A-Za-z_({]|\{|<|%[A-Za-z_(]|%$|\*|\.\.\.|\xe2\x80\xa6|-+$|[xX]{3,}(?![A-Za-z0-9])|"
    rb"env[:.]|file:|process\.env|os\.environ|secrets?[./:]|vault:|op://|https?://|&"
)


def is_placeholder(value: bytes) -> bool:
    """Whether it only says where a value belongs: `${TOKEN}`, `<your key>`, `%(password)s`, `****`."""
    return (
        compiled(_PLACEHOLDER).match(value) is not None
        or b"${" in value
        or b"{{" in value
        or b"$(" in value
    )


def hits(buf: bytes, anchor: bytes, start: int, stop: int) -> Iterator[int]:
    """Where `anchor` begins in [start, stop)."""
    at = buf.find(anchor, start, stop + len(anchor) - 1)
    while at >= 0:
        yield at
        at = buf.find(anchor, at + 1, stop + len(anchor) - 1)


def find_shapes(buf: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Spans of the secrets whose anchor begins in [start, stop)."""
    for anchor, back, shape, check in _TOKENS:
        for at in hits(buf, anchor, start, stop):
            match = compiled(shape).match(buf, at - back) if at >= back else None
            if match and (check is None or check(match[0])):
                yield match.span()
    for hit in compiled(rb"gh[pousr]_").finditer(buf, start, stop + 3):
        match = compiled(_GITHUB).match(buf, hit.start()) if hit.start() < stop else None
        if match:
            yield match.span()
    yield from _long_tokens(buf, start, stop)
    yield from _urls(buf, start, stop)
    yield from _private_keys(buf, start, stop)


def _long_tokens(buf: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    for anchor, shape in ((b"eyJ", _JWT), (b"ya29.", _GOOGLE)):
        for at in hits(buf, anchor, start, stop):
            match = compiled(shape).match(buf, at, at + LONGEST)
            if match and match.end() - at < LONGEST:
                yield match.span()


def _urls(buf: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    for anchor in (b"://", rb":\/\/"):
        for at in hits(buf, anchor, start, stop):
            match = compiled(_URL).match(buf, at, at + LONGEST)
            if match and match[1] != MARK and not is_placeholder(match[1]):
                yield match.span(1)


def _private_keys(buf: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    for at in hits(buf, b"-----BEGIN ", start, stop):
        match = compiled(_PEM).match(buf, at, at + LONGEST)
        if match and match[1]:
            yield match.span()
