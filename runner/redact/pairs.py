"""Secrets known by their name: `API_KEY=...`, `"password": "..."`, `Authorization: ...`. Pure.

A name alone proves little: source code, schemas and usage counters are full of tokens that are not secrets.
So the value must look random, or like a password where the name promises one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.redact.shapes import (
    LONGEST,
    MARK,
    REACH,
    backslashes_before,
    compiled,
    has_digit,
    hits,
    is_placeholder,
)

_LONGEST_BARE = 4096
_STRUCTURE = b",:}]) \t\r\n"  # may follow the quote that closes a JSON string
_RUN = rb"(?:[^\s\"'`\\,;&<>(){}\[\]|\x00-\x1f\x7f]+|\\+(?:/|u00(?:2[bBfF]|3[dD])))*"
_LINE_STOP = rb"\\*(?P<quote>[\"'`])|[\r\n]|\\+(?:[nr]|(?P<other>.))"
_STOPS = {b'"': rb"[\r\n\"]", b"'": rb"[\r\n\"']", b"`": rb"[\r\n\"`]"}
# The ends of names, found by a rare letter; whether a password of words has to be reckoned with.
_ENDS = rb"(?![a-z0-9_-])"
_KEYS = [
    kind + joint + b"key"
    for kind in (b"api", b"secret", b"access", b"account")
    for joint in (b"", b"_", b"-")
]
_NAMES = (
    (rb"ken(?<=token)(?<!publickeytoken)" + _ENDS, False),
    (rb"secret" + _ENDS, True),
    (rb"pass(?:word|wd|phrase)" + _ENDS, True),
    (b"key(?:" + b"|".join(b"(?<=%b)" % name for name in _KEYS) + b")" + _ENDS, False),
)
# an opening quote, perhaps three, perhaps with a letter of Python's before it
_OPEN = rb"(?:[bfru]{1,2}(?=[\"']))?(?P<open>\\*[\"'`])?(?:(?<=\")\"\"(?!\")|(?<=')''(?!'))?"
# `name=`, `name: `, `"name": `, `config["name"] = `, `name: str = "`, {"name": "NAME", "value": `
_PAIR = (
    rb"(?P<close>\\*[\"'`])?\]?\??[ \t]*"
    rb"(?P<sep>,[ \t]*(?P=close)value(?P=close)[ \t]*:|"
    rb":[ \t]*[a-z_][a-z0-9_.|\[\] ,]{0,60}=(?=[ \t]*[\"'])|:=|=>|={1,3}|:(?!:))"
    rb"[ \t]*"
) + _OPEN
# arn:aws:secretsmanager:...:secret:NAME and "AWS::ApiGateway::ApiKey": the name of a kind of thing
_KIND_BEFORE = rb"(?:\barn:[^\s\"']{0,80}|::[a-z]{0,40})\Z"
_GOES_ON = (b"(", b"[")
_ARGUMENT = (b",", b")")
_HEADER = (
    rb"(?P<close>\\*[\"'`])?\]?[ \t]*"
    rb"(?P<sep>,[ \t]*(?P=close)value(?P=close)[ \t]*:|,|=>|={1,2}|:)[ \t]*\[?[ \t]*"
) + _OPEN
_SCHEME = rb"(bearer|basic|token|negotiate|ntlm|api-?key|bot|key)[ \t]+"
_COOKIE = rb"[!#$%&*+.^_|~0-9A-Za-z-]{1,128}="
_FLAG = rb"[ \t]+(?P<open>\\*[\"'])?(?!-)"
_FLAG_BEFORE = rb"--[a-z0-9_-]{0,40}\Z"
_LISTED_BEFORE = rb"(?:name|key)\\*\"[ \t]*:[ \t]*\\*\"[a-z0-9_.-]{0,64}\Z"

_WORDS = frozenset(
    b"true false none null nil undefined string str number boolean bool integer int float object"
    b" array any unknown never void bytes text varchar required optional missing invalid expired"
    b" revoked empty hidden enabled disabled default unset changed incorrect wrong yes no password"
    b" passwd passphrase secret secrets token tokens apikey api_key basic bearer plain plaintext"
    b" masked redacted removed deleted generated random public private secretstr username"
    b" email input current-password new-password example placeholder opaque base64 sha256 sha512"
    b" bcrypt".split()
)
_NO_SECRET = (
    rb"(?:~|\.{1,2})?(?:/[\w.@+-]{1,32}){2,}/?|"  # a path
    rb"v?[0-9]+(?:\.[0-9]+)+[\w.+-]{0,16}|"  # a version, an address
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt0-9:.Zz+-]*|"  # a time
    rb"(?:[Uu]?[Ii]nt|[Ff]loat|Big[A-Z]|[Bb]ase|[Ss]ha|[Uu]tf)-?[0-9]+[A-Za-z]*|"  # a type
    rb"WORD(?:[?!]?(?:\.|->|::)WORD)+|"  # an attribute
    rb"[A-Z0-9_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)[A-Z0-9_]*"  # the name of a variable
).replace(b"WORD", rb"[A-Za-z_$]+(?:[0-9]{1,2}[A-Za-z_$]*)?")
_SOFT_NAME = rb"[A-Za-z]+(?:[_.-][A-Za-z]+)*[_.-]?[0-9]{0,2}"
_TELLING = rb"pass|pwd|secret|token|key|cred"
_REFERENCE = rb"(?i:(?=\w*?(?:%b))\w+)" % _TELLING
_LABEL = rb"(?i:(?:[a-z]+[_-])*(?:password|passwd|passphrase|secret|token|key)s?(?:[_-][a-z]+)*)"
_LETTER = rb"[A-Za-z\x80-\xff]"
_SPECIAL = rb"[!@#$%^&*~?+]."


def may_be_of_secret(name: str) -> bool:
    """Whether what is called so may be a secret whatever it looks like, as in a file of settings."""
    telling = rb"(?i:%b|auth|header|cookie)" % _TELLING
    return compiled(telling).search(name.encode(errors="replace")) is not None


def find_pairs(buf: bytes, low: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Spans of the secret values whose name is found in [start, stop). `low` is `buf.lower()`."""
    bare = _Bare()
    for name, hard in _NAMES:
        for hit in hits(low, name, start, stop):
            span = _pair(buf, low, hit.end(), hard, bare) or _flag(buf, low, hit.end(), bare)
            if span:
                yield span
    for hit in hits(low, b"authorization", start, stop):
        span = _authorization(buf, low, hit.end(), bare)
        if span:
            yield span
    for hit in hits(low, b"kie(?<=cookie)", start, stop):
        yield from _cookies(buf, low, hit.end(), bare)


def _pair(buf: bytes, low: bytes, at: int, hard: bool, bare: _Bare) -> tuple[int, int] | None:
    """The value of the name that ends at `at`, if there is one and it is a secret."""
    match = compiled(_PAIR).match(low, at, at + REACH)
    if match is None:
        return None
    close, opener = match["close"], match["open"]
    if match["sep"][:1] == b"," and not _is_listed(low, at):
        return None
    begin = match.end()
    if opener and close != opener and _opens_nothing(buf, begin):
        return None
    if (close or not opener) and compiled(_KIND_BEFORE).search(low, max(0, at - 96), at):
        return None
    shouted = buf[at - 3 : at].isupper()
    if opener:
        end = _quoted_end(buf, begin, opener)
        if opener[-1:] != b'"' and buf[end : end + 1] in b"\r\n":
            end = bare.run_end(buf, begin, _LONGEST_BARE)  # an apostrophe, and no quote
        value = buf[begin:end] if end > begin else b""
        return (begin, end) if _is_quoted_secret(value, hard, shouted) else None
    end = bare.run_end(buf, begin, _LONGEST_BARE)
    after = buf[end : end + 1]
    if end <= begin or after in _GOES_ON or (close and _is_number(buf[begin:end])):
        return None
    # `name=value` is a setting, unless it is an argument in source code
    tight = match.span("sep") == (at, begin) and after not in _ARGUMENT
    return (begin, end) if _is_bare_secret(buf[begin:end], hard, tight, shouted) else None


def _flag(buf: bytes, low: bytes, at: int, bare: _Bare) -> tuple[int, int] | None:
    """The value of an option on a command line: `--api-key VALUE`."""
    match = compiled(_FLAG).match(low, at, at + REACH)
    if match is None or not compiled(_FLAG_BEFORE).search(low, max(0, at - 48), at):
        return None
    begin = match.end()
    if match["open"] and _opens_nothing(buf, begin):
        return None
    end = bare.run_end(buf, begin, _LONGEST_BARE)
    return (begin, end) if end > begin and _looks_drawn(buf[begin:end], 8) else None


def _is_listed(low: bytes, at: int) -> bool:
    return compiled(_LISTED_BEFORE).search(low, max(0, at - 96), at) is not None


def _is_number(value: bytes) -> bool:
    return compiled(rb"[0-9+\-.eE]+").fullmatch(value) is not None


# -- is it one? --------------------------------------------------------------------------------


def _rules_out(value: bytes) -> bool:
    """Whether this is no secret whatever its name: a blank, a type, a path, a marker of ours."""
    return (
        MARK in value
        or is_placeholder(value)
        or value.strip(b"!?*;:.").lower() in _WORDS
        or compiled(_NO_SECRET).fullmatch(value) is not None
    )


def _looks_drawn(value: bytes, least: int) -> bool:
    """Whether letters and digits are mixed in it, which words and numbers alone do not do."""
    return (
        len(value) >= least
        and has_digit(value)
        and compiled(_LETTER).search(value) is not None
        and not _rules_out(value)
    )


def _is_quoted_secret(value: bytes, hard: bool, shouted: bool) -> bool:
    """For a string: where a password may be, few things are ruled out; else it must look drawn."""
    if len(value) < 4 or _rules_out(value):
        return False
    if compiled(rb"\s").search(value):
        return any(_looks_drawn(word, 8) for word in value.split())
    if value.isdigit():
        return hard or len(value) >= 16
    if hard:
        return (len(value) >= 6 or has_digit(value)) and not compiled(_LABEL).fullmatch(value)
    if has_digit(value):
        return _looks_drawn(value, 8) and not compiled(_SOFT_NAME).fullmatch(value)
    return len(value) >= (20 if shouted else 32) and value.isalnum()


def _is_bare_secret(value: bytes, hard: bool, tight: bool, shouted: bool) -> bool:
    """For a value without quotes, which may be a name in source code or a word in a sentence."""
    value = value.rstrip(b".:")
    if len(value) < 6 or _rules_out(value):
        return False
    if value.isdigit():
        return hard or len(value) >= 16
    if has_digit(value):
        named = not hard and compiled(_SOFT_NAME).fullmatch(value)
        return _looks_drawn(value, 6 if hard else 8) and not named
    if tight and shouted:
        return len(value) >= 8
    if not hard or compiled(_REFERENCE).fullmatch(value):
        return False
    return tight or compiled(_SPECIAL).search(value) is not None


# -- headers -----------------------------------------------------------------------------------


def _header(buf: bytes, low: bytes, at: int, bare: _Bare) -> tuple[int, int, bytes, bool] | None:
    """Where a header's value begins and ends, its quote, and whether it may be no header at all."""
    match = compiled(_HEADER).match(low, at, at + REACH)
    if match is None:
        return None
    close, opener, begin = match["close"], match["open"], match.end()
    listed = match["sep"] == b","
    if listed and (not close or close != opener):
        return None
    if match["sep"][1:] and match["sep"][:1] == b"," and not _is_listed(low, at):
        return None
    if not opener:
        if close:
            return None
        # without quotes or colon it is source code, unless a scheme follows
        return begin, bare.line_end(buf, begin), b"", listed or match["sep"] != b":"
    if close != opener and _opens_nothing(buf, begin):
        return None
    return begin, _quoted_end(buf, begin, opener), opener, listed


def _authorization(buf: bytes, low: bytes, at: int, bare: _Bare) -> tuple[int, int] | None:
    """The credentials behind the scheme; where the scheme is unknown, a value that holds some."""
    header = _header(buf, low, at, bare)
    if header is None:
        return None
    begin, end, opener, listed = header
    scheme = compiled(_SCHEME).match(low, begin, max(begin, end))
    if scheme:
        begin = scheme.end()
        end = end if opener else min(end, bare.run_end(buf, begin, LONGEST))
        value = buf[begin:end] if end > begin else b""
        word = scheme[1] != b"basic" and compiled(rb"[a-z-]{1,19}").fullmatch(value)
        return None if len(value) < 4 or _rules_out(value) or word else (begin, end)
    value = buf[begin : min(end, begin + REACH)] if end > begin else b""
    if listed or MARK in value or is_placeholder(value):
        return None
    telling = b"=" in value or any(_looks_drawn(word, 8) for word in value.split(None, 2)[:2])
    return (begin, end) if telling else None


def _cookies(buf: bytes, low: bytes, at: int, bare: _Bare) -> Iterator[tuple[int, int]]:
    """Everything that a cookie header says, and the further strings of a list of such headers."""
    header = _header(buf, low, at, bare)
    if header is None:
        return
    begin, end, opener, _ = header
    while compiled(_COOKIE).match(buf, begin, max(begin, end)):
        yield begin, end
        more = compiled(b"%b,[ \t]*%b" % (re.escape(opener), re.escape(opener))).match(buf, end)
        if not opener or more is None:
            return
        begin = more.end()
        end = _quoted_end(buf, begin, opener, at + LONGEST)


# -- where a value ends -------------------------------------------------------------------------


def _opens_nothing(buf: bytes, start: int) -> bool:
    """Whether the quote before `start` must be taken for one that closes a JSON string.

    One that closes is followed by punctuation, a space or the end; a value hardly ever begins so.
    """
    return buf[start : start + 1] in _STRUCTURE


def _quoted_end(buf: bytes, start: int, opener: bytes, limit: int = 0) -> int:
    """Where the string ends whose text begins at `start`, behind `opener` (backslashes and quote).

    -1 if it is longer than any secret, or continues at `limit`. The opener says how deep the JSON is
    nested: a quote with as many backslashes closes; one with twice as many and one more is part of
    the value; any other ends a string around this one, and so this one. A line's end closes all.
    """
    level = len(opener)
    quote = opener[-1:]
    stop = compiled(_STOPS[quote])
    limit = limit or start + LONGEST
    pos = start
    while True:
        found = stop.search(buf, pos, max(pos, limit))
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
        elif buf[at + 1 : at + 2] in _STRUCTURE + b"\\":
            return at - slashes
        pos = at + 1


class _Bare:
    """Ends of values that have no quotes of their own, remembered from one name to the next.

    Names may be nested in one long value, each with the same end: it is looked for only once.
    """

    __slots__ = ("_line", "_run")

    def __init__(self) -> None:
        self._run = self._line = (0, 0)  # from where to where the text is known to continue

    def run_end(self, buf: bytes, start: int, longest: int) -> int:
        """Where the value without spaces ends that begins at `start`; -1 if beyond `longest`."""
        known = self._run[1] if self._run[0] <= start <= self._run[1] else start
        match = compiled(_RUN).match(buf, known, max(known, start + longest))
        end = match.end() if match else known
        self._run = (min(start, self._run[0]) if known > start else start, end)
        return -1 if end - start >= longest else end

    def line_end(self, buf: bytes, start: int) -> int:
        """Where the value of the header ends that begins at `start`; -1 if that is too far off.

        It continues over quotes inside the value, and stops at a quote that looks like the end of a string
        around the header, at an escaped line break and at the end of the line.
        """
        limit = start + LONGEST
        pos = self._line[1] if self._line[0] <= start <= self._line[1] else start
        since = self._line[0] if pos > start else start
        found = compiled(_LINE_STOP).search(buf, pos, max(pos, limit))
        while found and not _ends_line(buf, found):
            pos = found.end()
            found = compiled(_LINE_STOP).search(buf, pos, max(pos, limit))
        end = found.start() if found else min(limit, len(buf))
        self._line = (since, max(pos, end))
        return end if found or limit >= len(buf) else -1


def _ends_line(buf: bytes, stop: re.Match[bytes]) -> bool:
    if stop["quote"]:
        return buf[stop.end() : stop.end() + 1] in _STRUCTURE + b"\\"
    return not stop["other"]
