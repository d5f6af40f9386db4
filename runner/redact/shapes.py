"""Secrets known by their shape: tokens of known services, keys, passwords in URLs. Pure.

Each shape has an anchor, a few letters that are fast to find; its pattern runs only from there.

All finders work on bytes and look only `BEHIND` bytes back and `AHEAD` bytes ahead of a suspected secret, so
a file read in pieces gives the same answer as one read whole.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator

MARK = b"[redacted]"
LONGEST = 32 * 1024
"""A value longer than this is no credential: it stays, and the look ahead stays bounded."""
REACH = 512
"""How far a span may begin before the place it was found at, or end beyond what matched."""
BEHIND = 4096 + REACH
AHEAD = LONGEST + 2 * REACH

_MOST_BACKSLASHES = 4096
_ESCAPE = rb"\\u[0-9a-fA-F]{4}"
_ESCAPED_MARK = rb"\[redacted\]"
_NOT_MARK = b"(?!%b)" % _ESCAPED_MARK
_WORD = rb"A-Za-z0-9_-"
_MOST = 512
# An escape of JSON or of a URL, or a colour, whose last letter is no part of what follows.
_ENDINGS = rb"(?<=\\[nrtbf])|(?<=\\u00[0-9a-fA-F]{2})|(?<=%[0-9a-fA-F]{2})" + b"".join(
    [rb"|(?<=\[[0-9;]{%d}m)" % width for width in range(11)]
)


def _left(no: bytes) -> bytes:
    """Where a token may begin: behind none of `no`, or behind an ending of something else."""
    return b"(?:(?<![%b])|%b)(?<!%b)" % (no, _ENDINGS, _ESCAPED_MARK)


_LEFT = _left(rb"A-Za-z0-9")


def _shape(head: bytes, kind: bytes, least: int) -> bytes:
    """A pattern for a token: `head`, then at least `least` characters of `kind`, and then none."""
    return _LEFT + head + b"[%b]{%d,%d}+(?![%b])" % (kind, least, _MOST, kind) + _NOT_MARK


_JWT = rb"eyJW{8,}\.(?:eyJW*|W{4,}\.W+)(?:\.W+){0,3}".replace(b"W", b"[%b]" % _WORD)
_MODEL_KEY_FAMILIES = (b"ant-", b"proj-", b"svcacct-", b"admin-", b"or-v1-")


def _is_model_key(token: bytes) -> bool:
    """Tells `sk-` keys from words such as `sk-learn-contrib`: a part of them looks drawn by lot."""
    body = token[3:]
    for family in _MODEL_KEY_FAMILIES:
        if body.startswith(family):
            rest = body[len(family) :]
            if len(rest) >= (8 if has_digit(rest) else 24):
                return True
    return any(
        len(part) >= 16
        or (len(part) >= 10 and has_digit(part))
        or (len(part) >= 8 and has_digit(part) and not part.isdigit())
        for part in re.split(rb"[-_]", body)
    )


def _is_slack_token(token: bytes) -> bool:
    return has_digit(token) or len(token) >= 24


def has_digit(value: bytes) -> bool:
    """Whether an ASCII digit is in it."""
    return compiled(rb"[0-9]").search(value) is not None


# An anchor, chosen for speed (a rare first letter, the rest checked ahead), how far before it the
# token begins, the token, and what else must be true of it.
_TOKENS: tuple[tuple[bytes, int, bytes, Callable[[bytes], bool] | None], ...] = (
    (b"k-(?=[%b]{8})" % _WORD, 1, _shape(b"sk-", _WORD, 8), _is_model_key),
    (rb"k_(?=live_|test_)", 1, _shape(b"[sr]k_(?:live|test)_", b"A-Za-z0-9", 16), None),
    (rb"g(?=h[pousr]_)", 0, _shape(b"gh[pousr]_", b"A-Za-z0-9_", 16), None),
    (rb"github_pat_", 0, _shape(b"github_pat_", b"A-Za-z0-9_", 16), None),
    (rb"xox(?=[abeprs]-)", 0, _shape(b"xox[abeprs]-", b"A-Za-z0-9-", 8), _is_slack_token),
    (rb"A(?=[KS]IA)", 0, _LEFT + b"A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])" + _NOT_MARK, None),
    (rb"m_(?=[A-Za-z0-9]{30})", 2, _shape(b"npm_", b"A-Za-z0-9", 30), None),
    (rb"glpat-", 0, _shape(b"glpat-", b"A-Za-z0-9_.-", 16), None),
    (rb"AIza", 0, _shape(b"AIza", _WORD, 30), None),
    # These two may be long. As no word character may stand before them, no long run is read twice.
    (rb"yJ(?=[%b]{8})" % _WORD, 1, _left(_WORD) + _JWT, None),
    (rb"ya29\.", 0, _left(b"A-Za-z0-9_.-") + rb"ya29\.[A-Za-z0-9_.-]{16,}", None),
)

_SCHEME = rb"[A-Za-z0-9+.-]:\\*/\\*/\Z"
_USERINFO = rb"(?:[^\s/?#@:\"'`\\<>\[\]]|\[redacted\])*:((?:[^\s/?#\"'`\\<>\[\]]|\[redacted\])+)"
_LONGEST_USERINFO = REACH - 32
_GAP = rb"(?:[ \t\r\n>|#*]|-(?!-)|\\+[nrt])"
_BASE64 = rb"(?:[A-Za-z0-9+/=]|\\+/)"
_HEADER = rb"[A-Z][A-Za-z-]{2,20}: [^\r\n\\\"'`]{1,120}"
_KIND = rb"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_PEM = (
    (
        rb"-----BEGIN KIND((?:GAP+(?:HEADER|(?:[0-9]{1,5}[:|-]?GAP*)?B64{24,}))*"
        rb"(?:(?:GAP+B64{1,23}){0,4}GAP*-----END KIND)?)"
    )
    .replace(b"GAP", _GAP)
    .replace(b"B64", _BASE64)
    .replace(b"HEADER", _HEADER)
    .replace(b"KIND", _KIND)
)
# What stands for a value and is none: a variable, a template, a blank to be filled in.
_PLACEHOLDER = (
    rb"\$[A-Za-z_({]|\{|<[^>]*>|%(?:[sdr]\b|\(|[A-Z_]+%)|\*+[A-Za-z_.]*\Z|\.\.\.|\xe2\x80\xa6|-+\Z|"
    rb"[xX]{3,}(?![A-Za-z0-9])|env[:.]|file:|process\.env|os\.environ|secrets?[./:]|vault:|op://|"
    rb"https?://|arn:|\[[^\]]*\]\Z"
)
_TEMPLATES = (b"${", b"{{", b"$(")


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


def is_placeholder(value: bytes) -> bool:
    """Whether it only says where a value belongs: `${TOKEN}`, `<your key>`, `%(name)s`, `****`."""
    return compiled(_PLACEHOLDER).match(value) is not None or any(
        template in value for template in _TEMPLATES
    )


def hits(buf: bytes, anchor: bytes, start: int, stop: int) -> Iterator[re.Match[bytes]]:
    """Matches of `anchor` that begin in [start, stop)."""
    for match in compiled(anchor).finditer(buf, start, stop + REACH):
        if match.start() >= stop:
            return
        yield match


def find_shapes(buf: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Spans of the secrets whose anchor begins in [start, stop)."""
    for anchor, back, shape, check in _TOKENS:
        for hit in hits(buf, anchor, start, stop):
            at = hit.start() - back
            match = compiled(shape).match(buf, at, at + LONGEST) if at >= 0 else None
            if match and match.end() - at < LONGEST and (check is None or check(match[0])):
                yield match.span()
    yield from _urls(buf, start, stop)
    for hit in hits(buf, rb"-----BEGIN (?=[A-Z0-9 ]{0,40}PRIVATE KEY)", start, stop):
        match = compiled(_PEM).match(buf, hit.start(), hit.start() + LONGEST)
        if match and match[1]:
            yield match.span()


def _urls(buf: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Passwords in URLs, looked for from the `@` back: there are far more `://` without one."""
    at = buf.find(b"@", start, stop)
    while at >= 0:
        slash = buf.rfind(b"/", max(0, at - _LONGEST_USERINFO), at)
        if slash > 0 and compiled(_SCHEME).search(buf, max(0, slash - 16), slash + 1):
            match = compiled(_USERINFO).fullmatch(buf, slash + 1, at)
            if (
                match
                and match[1] != MARK
                and not is_placeholder(match[1])
                and not compiled(b"sha[0-9]{3}:").match(buf, at + 1)  # a digest of an image
            ):
                yield match.span(1)
        at = buf.find(b"@", at + 1, stop)
