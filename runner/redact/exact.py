"""The secret values that the child got, in every spelling in which they may come out. Pure.

Known spellings: literal; inside JSON, up to three strings deep, with characters escaped that need it;
percent-encoded, once or twice; base64 in both alphabets, whatever stands before the value (`user:value`);
hex in small or capital letters, also as `%2f` or `\\x2f`; as `shlex` quotes it. Each also where colours,
control characters, line ends or invisible marks split it. And what in a value is a secret by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product

from runner.lightjson import dumps
from runner.redact.noise import IN_JSON, IN_URL, find_decoded, find_split, squeezed
from runner.redact.shapes import BEHIND, MARK, REACH, backslashes_before, compiled, whole_escapes

SHORTEST = 8
# Replacing these everywhere would garble the logs and protect nothing.
_COMMON = frozenset(
    b"true false none null production development staging testing localhost disabled enabled"
    b" undefined default changeme password redacted [redacted] unlimited anonymous".split()
)
_DIGITS = b"0123456789+-.eE"
# What can stand between the strings of a JSON text, cut off anywhere.
_BETWEEN = (
    rb"(?:rue|ue|e|alse|lse|se|ull|ll|l)?(?:[\s,:\[\]{}0-9+\-.eE]|true|false|null)*"
    rb"(?:t|tr|tru|f|fa|fal|fals|n|nu|nul)?"
)
_JOINTS = rb"[,:\[\]{}\r\n]"
_SHORT_ESCAPES = {"\n": b"n", "\r": b"r", "\t": b"t", "\b": b"b", "\f": b"f", '"': b'"', "/": b"/"}
_SLASH = rb"(?:\\|%(?:25)?5[cC])"
_NULL = b"null"
_USERINFO = r"(?<=[A-Za-z0-9+.-])://([^/?#\s]+)@"  # not the whole scheme: long words take long
_NAMED = (
    r"(?i)(?:pass(?:word|wd|phrase)?|pwd|secret|token|key|sig(?:nature)?)[\"']?\s*[=:]\s*"
    r"(?:\"((?:\\.|[^\"\\])+)\"|'([^']+)'|([^\s\"'&;,}]+))"
)
_SHORTEST_LINE = 24
_QUOTE = "'\"'\"'"  # as `shlex` has it
_LEAST, _LEAST_INSIDE, _MANY = 8, 16, 64
_GRAM, _NEAR, _LONGEST_CUT = 4, 24, 2048
MOST_CUTS = 4096
"""So many cuts beside what may be of a value are looked at in one stream: an agent may write any number."""
_NAME = rb"[a-z_-]{1,40}"  # a word of ours, as `succeeded`: no text that was cut
_CUT = rb"\.{3,}|\xe2\x80\xa6|\xef\xbf\xbd|\[runner: [0-9]+ bytes were cut out here\]"
# What is left of an escape that is cut in two, and of a pair of them.
_HALF_BEFORE = rb"(?:[0-9a-fA-F]{1,2}|u?[0-9a-fA-F]{1,4}|[bfnrt\"\\/])?(?:\xed[\xb0-\xbf].)?"
_HALF_BEHIND = rb"(?s)(?:%[0-9a-fA-F]?|(?:\xed[\xa0-\xaf].)?\\(?:u[0-9a-fA-F]{0,3})?|\xed[\xa0-\xaf].)\Z"
_LONGEST_HALF = 9


class Secret:
    """One value: how to find it, and how long its longest spelling is."""

    __slots__ = ("is_number", "needle", "pattern", "widest")

    def __init__(self, pattern: bytes, widest: int, needle: bytes, is_number: bool = False) -> None:
        self.pattern = pattern
        self.widest = widest
        self.needle = needle
        self.is_number = is_number


def secrets_of(values: Iterable[str]) -> list[Secret]:
    """What to look for. Values that are too short, too common or without any letter fall out.

    Too short is less than eight characters, too common a short list of words and repetitions of one
    character. Digits alone count; digits with JSON punctuation (a list, an address) do not.
    """
    found: list[Secret] = []
    for value in _findable(values):
        raw = _encoded(value)
        found.append(_plain(value, is_number=not raw.strip(_DIGITS)))
        if found[-1].is_number and b"+" in raw:  # in a URL it is no number
            spelt = re.escape(raw).replace(rb"\+", rb"%(?:25)?2[bB]")
            found.append(Secret(spelt, 5 * len(raw), b""))
        if "'" in value:
            found.append(_plain(value.replace("'", _QUOTE), is_number=False))
        found += [_in_base64(raw, shift) for shift in (0, 1, 2)]
        found += [_in_hex(raw.hex()), _in_hex(raw.hex().upper())]
        short = squeezed(raw)
        if short != raw and len(short) >= SHORTEST:
            found.append(_plain(short.decode("utf-8", "surrogateescape"), is_number=False))
    return found


class Spellings:
    """The values as they may be cut: in most spellings. `find_edges` asks it for pieces of them.

    An agent may write as many cuts as it likes, so what one costs does not grow with the values.
    """

    __slots__ = ("_grams", "_heads", "_longest", "_places", "_tails", "_text", "reach")

    def __init__(self, values: Iterable[str]) -> None:
        found = _spelt_ways(values)
        self._text = b"\0%b\0" % b"\0".join(found)
        self._longest = max(map(len, found), default=0)
        self._heads: dict[bytes, list[bytes]] = {}  # by the first bytes
        self._tails: dict[bytes, list[bytes]] = {}  # by the last ones
        for one in found:
            self._heads.setdefault(one[:_LEAST], []).append(one)
            self._tails.setdefault(one[-_LEAST:], []).append(one)
        self._places: dict[bytes, list[int]] = {}  # of what is so far apart that each piece has one of them
        for at in range(0, len(self._text), _LEAST_INSIDE - _LEAST + 1):
            self._places.setdefault(self._text[at : at + _LEAST], []).append(at)
        grams = (self._text[at : at + _GRAM] for at in range(len(self._text) - _GRAM + 1))
        self._grams = {gram for gram in grams if b"\0" not in gram}
        self.reach = min(2 * self._longest, _LONGEST_CUT) + REACH // 4

    def may_touch(self, part: bytes) -> bool:
        """Whether a few bytes beside a cut may be of a value. It is fast, and misses what is escaped."""
        return any(part[at : at + _GRAM] in self._grams for at in range(len(part) - _GRAM + 1))

    def begins(self, part: bytes, half: bytes = b"") -> int:
        """How many bytes at its begin are the end of a value: at least `_LEAST`, or none. Behind `half` an
        escape, that of the character before it, or of one that needs one.
        """
        if len(part) >= _LEAST_INSIDE and self._is_piece(part, half):
            return len(part)
        for size in range(min(len(part), self._longest), _LEAST - 1, -1):
            ends = self._tails.get(part[size - _LEAST : size])
            for one in ends or ():
                if one.endswith(part[:size]) and _may_follow(half, one[-size - 1 : -size]):
                    return size
        return 0

    def ends(self, part: bytes) -> int:
        """How many bytes at its end are the begin of a value."""
        for at in range(max(0, len(part) - self._longest), len(part) - _LEAST + 1):
            begins = self._heads.get(part[at : at + _LEAST])
            if begins and any(one.startswith(part[at:]) for one in begins):
                return len(part) - at
        return 0

    def _is_piece(self, part: bytes, half: bytes) -> bool:
        for at in range(_LEAST_INSIDE - _LEAST + 1):
            places = self._places.get(part[at : at + _LEAST], ())
            is_many = len(places) > _MANY  # it repeats itself
            for begin in [self._text.find(part)] if is_many else [place - at for place in places]:
                if self._text.startswith(part, begin) and _may_follow(half, self._text[begin - 1 : begin]):
                    return True
            if is_many:
                return False
        return False


def _spelt_ways(values: Iterable[str]) -> set[bytes]:
    import binascii

    found: set[bytes] = set()
    for value in _findable(values):
        raw = _encoded(value)
        found.add(raw.replace(b"+", b" "))
        for digits in (raw.hex(":").encode(), raw.hex(":").upper().encode()):
            found |= {digits, digits.replace(b":", b"")}
            found.add(b"\\x" + digits.replace(b":", b"\\x"))
        for shift in (0, 1, 2):
            text = binascii.b2a_base64(bytes(shift) + raw, newline=False).rstrip(b"=")[(0, 2, 3)[shift] :]
            found |= {text, text.replace(b"+", b"-").replace(b"/", b"_")}
        for inner, is_ascii in product((value, value.replace("'", _QUOTE)), (True, False)):
            for _ in range(4):
                found.add(_encoded(inner))
                inner = dumps(inner, ensure_ascii=is_ascii)[1:-1]
    return found


def _may_follow(half: bytes, before: bytes) -> bool:
    """Whether what is left of an escape, if anything, may be of the byte that stands there in the value."""
    if not half or before in (b"", b"\0"):
        return not half
    return not before.isalnum() or (rb"\u00%02x" % before[0]).endswith(half)


def find_edges(spelt: Spellings, buf: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Spans of what cuts have left of values, at both ends of each part between the marks of cuts; also where
    line ends, colours and such split it, or its characters are escaped: who escapes which differs.
    """
    if _fits(_NAME, buf):
        return

    def decoded(view: bytes, *_: int) -> Iterator[tuple[int, int]]:
        return _edges(spelt, view, are_halves=True)

    def of_form(view: bytes, *_: int) -> Iterator[tuple[int, int]]:
        return _edges(spelt, view.replace(b"+", b" "), are_halves=True)

    def every(view: bytes) -> Iterator[tuple[int, int]]:
        yield from _edges(spelt, view)
        if b"\\" in view:  # in which a `%` may be one of the value
            yield from find_decoded(decoded, view, IN_JSON)
        yield from find_decoded(of_form, view, IN_URL)

    def words(view: bytes, *_: int) -> Iterator[tuple[int, int]]:  # as in `find_exact`
        yield from (span for span in every(view) if view[slice(*span)].strip(_DIGITS))

    for first, last in dict.fromkeys((*every(buf), *find_split(words, buf, 0, len(buf)))):
        yield from _spans(buf, first, last, not buf[first:last].strip(_DIGITS))


def find_cut(
    spelt: Spellings, left: list[int], buf: bytes, start: int, stop: int
) -> Iterator[tuple[int, int, bytes]]:
    """As `find_edges`, only beside the marks of cuts, for a long text: of what begins in [start, stop).
    `left` has how many such places may still be looked at.
    """
    for cut in compiled(_CUT).finditer(buf, max(0, start - spelt.reach), min(len(buf), stop + spelt.reach)):
        first, last = cut.span()
        near = (buf[max(0, first - _NEAR) : first], buf[last : last + _NEAR])
        if not any(map(spelt.may_touch, near)) or not left[0]:
            continue
        left[0] -= 1
        begin, end = max(0, first - spelt.reach), last + spelt.reach
        for one, other, instead in find_edges(spelt, buf[begin:end]):
            is_whole = (one or not begin) and (begin + other < end)  # where we cut, nothing was cut
            if is_whole and start <= begin + one < stop:
                yield begin + one, begin + other, instead


def _edges(spelt: Spellings, buf: bytes, *, are_halves: bool = False) -> Iterator[tuple[int, int]]:
    left = 0
    for cut, following in (*(cut.span() for cut in compiled(_CUT).finditer(buf)), (len(buf), 0)):
        part = buf[left:cut].lstrip(b" \t\r\n]")
        left = cut - len(part)
        part = part.rstrip(b" \t\r\n[")
        end = left + len(part)
        if are_halves and (half := compiled(_HALF_BEHIND).search(part, max(0, len(part) - _LONGEST_HALF))):
            part = part[: half.start()]
        most = len(part) - _LEAST + 1
        is_line_end = part[:1] in (b"n", b"r")  # of an escape in base64, perhaps
        for at in range(min(most, _LONGEST_HALF if are_halves else 1 + is_line_end)):
            head = _fits(_HALF_BEFORE, part[:at]) and spelt.begins(part[at:], part[:at].lower())
            if head := head or (at == is_line_end and spelt.begins(part[at:])):
                yield left, end if at + head == len(part) else left + at + head
                break
        if tail := spelt.ends(part):
            yield left + len(part) - tail, end
        left = following


def _findable(values: Iterable[str]) -> list[str]:
    whole = {value.strip() for value in values if is_findable(value)}
    parts = {part.strip() for value in whole for part in _inner(value)}
    return sorted(whole | {part for part in parts if is_findable(part)}, key=len, reverse=True)


def is_findable(value: str) -> bool:
    """Whether a value is looked for at all."""
    value = value.strip()
    raw = _encoded(value)
    if len(value) < SHORTEST or len(set(value)) < 2 or raw.lower() in _COMMON:
        return False
    bare = raw.replace(b'"', b"")
    return MARK not in raw and not (_fits(_BETWEEN, bare) and compiled(_JOINTS).search(bare))


def widest(secrets: Iterable[Secret]) -> int:
    """How many bytes the longest spelling of any of them may take."""
    return max((secret.widest for secret in secrets), default=0)


def find_exact(
    secrets: Iterable[Secret], buf: bytes, start: int, stop: int
) -> Iterator[tuple[int, int, bytes]]:
    """Spans of every occurrence that begins in [start, stop), and what to put in their place."""
    for secret in secrets:
        for first, last in _matches(secret, buf, start, stop):
            yield from _spans(buf, first, last, secret.is_number)
    words = [secret for secret in secrets if not secret.is_number]  # numbers in a column are no number

    def whole(view: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
        for secret in words:
            yield from _matches(secret, view, start, stop)

    for first, last in find_split(whole, buf, start, stop) if words else ():
        yield from _spans(buf, first, last, is_number=False)


def _matches(secret: Secret, buf: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    if secret.needle and buf.find(secret.needle, start) < 0:
        return
    pattern = compiled(secret.pattern)
    match = pattern.search(buf, start)
    while match and match.start() < stop:
        first, last = match.span()
        # what is left of a text may run into a marker and look like a value: markers stay whole
        if buf.find(MARK, max(0, first - len(MARK) + 1), last + len(MARK) - 1) < 0:
            yield first, last
        match = pattern.search(buf, first + 1)


def _spans(buf: bytes, start: int, end: int, is_number: bool) -> Iterator[tuple[int, int, bytes]]:
    if start == end or buf.find(MARK, max(0, start - len(MARK) + 1), end + len(MARK) - 1) >= 0:
        return
    if is_number:
        number = _json_number(buf, start, end)
        if number:
            yield (*number, _NULL)
            return
    for first, last in _inside_strings(buf, start, end):
        yield (*whole_escapes(buf, first, last), MARK)


def _json_number(buf: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The whole number around the span, where a JSON text may have one and no `[redacted]`."""
    most = REACH - 8
    ahead = buf[end : end + most]
    behind = buf[max(0, start - most) : start]
    start -= len(behind) - len(behind.rstrip(_DIGITS))
    end += len(ahead) - len(ahead.lstrip(_DIGITS))
    before = buf[max(0, start - BEHIND + REACH) : start].rstrip(b" \t")[-1:]
    after = buf[end : end + REACH].lstrip(b" \t")[:1]
    return (start, end) if before in b":,[\r\n" and after in b",]}\r\n" else None


def _inside_strings(buf: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """The span, or those parts of it that may go without harm to a JSON text it is spread over.

    A value with quotes in it, itself JSON perhaps, may stand there as an object, not as a string.
    """
    quotes = [
        found.start()
        for found in compiled(b'"').finditer(buf, start, end)
        if backslashes_before(buf, found.start()) % 2 == 0
    ]
    if not quotes:
        return [(start, end)]
    parts: list[tuple[int, int]] = []
    left = start
    for right in [*quotes, end]:
        part = buf[left:right]
        outside = _fits(_BETWEEN, part) and (not part.strip() or compiled(_JOINTS).search(part))
        if not outside:
            parts.append((left, right))
        left = right + 1
    return parts


def _plain(value: str, *, is_number: bool) -> Secret:
    """The value as it is, JSON-escaped or percent-encoded, or a mixture of these."""
    if is_number:
        raw = value.encode()
        return Secret(re.escape(raw), len(raw) + 2 * REACH, raw, is_number=True)
    pieces: list[bytes] = []
    width = 0
    slashes = 0
    for char in value:
        if char == "\\":
            slashes += 1
            continue
        piece, size = _spelt(char, slashes)
        pieces.append(piece)
        width += size
        slashes = 0
    if slashes:
        ways = [_SLASH + b"{%d}" % (slashes * times) for times in (8, 4, 2, 1)]
        pieces.append(b"(?:%b)" % b"|".join(ways))
        width += 40 * slashes
    return Secret(b"".join(pieces), width, _needle(value))


def _spelt(char: str, slashes: int) -> tuple[bytes, int]:
    """A pattern for `char` behind that many backslashes, and the most bytes it can match.

    Escaping doubles backslashes at each of three levels, and a short escape adds up to seven. They
    are one counted repeat, so there is only one way to match them and never a second try.
    """
    if char.isascii() and char.isalnum() and not slashes:
        return char.encode(), 1
    raw = _encoded(char)
    units = char.encode("utf-16-be", "surrogatepass").hex()
    codes = [units[at : at + 4] for at in range(0, len(units), 4)]
    unicode = (_SLASH + b"{1,4}").join(b"u" + _any_case(code) for code in codes)
    percent = b"".join(b"%(?:25)?" + _any_case(f"{byte:02x}") for byte in raw)
    ways = [_SLASH + b"{%d,%d}" % (slashes + 1, 8 * slashes + 4) + unicode]
    letter = _SHORT_ESCAPES.get(char)
    if letter:
        encoded = b"" if letter.isalpha() else b"|%(?:25)?" + _any_case(letter.hex())
        ways.append(_SLASH + b"{%d,%d}(?:%b%b)" % (slashes + 1, 8 * slashes + 7, letter, encoded))
    if char == "\n":
        ways.append(b"%b{%d,%d}r%b{1,4}n" % (_SLASH, slashes + 1, 8 * slashes + 4, _SLASH))
    plain = {"\n": rb"\r?\n", " ": rb" |\+"}.get(char, re.escape(raw))
    before = _SLASH + b"{%d,%d}" % (slashes, 8 * slashes)
    ways.append((before if slashes else b"") + b"(?:%b|%b)" % (plain, percent))
    return b"(?:%b)" % b"|".join(ways), 40 * slashes + 5 * len(raw) + 40 * len(codes)


def _in_hex(digits: str) -> Secret:
    """The value as pairs of digits, with what programs put before or between them."""
    pairs = [digits[at : at + 2].encode() for at in range(0, len(digits), 2)]
    between = rb"(?:[%:]|\\{1,8}x)?"
    return Secret(between.join(pairs), 12 * len(pairs), pairs[0])


def _in_base64(raw: bytes, shift: int) -> Secret:
    """The value in base64, `shift` bytes behind the begin of a group: the first letters also depend on what
    stands before it, and the last ones on what follows it, often a line's end.
    """
    import binascii  # a shared library: only if there is a value to hide

    raw = bytes(shift) + raw
    whole = len(raw) // 3 * 3
    text = binascii.b2a_base64(raw[:whole], newline=False).decode()[(0, 2, 3)[shift] :]
    either = {"+": b"|-", "/": b"|_"}
    pieces: list[bytes] = []
    width = 8
    for char in text:
        piece, size = _spelt(char, 0)
        pieces.append(b"(?:%b%b)" % (piece, either[char]) if char in either else piece)
        width += size
    if whole < len(raw):
        pieces.append(rb"(?:[A-Za-z0-9+_-]|\\{0,4}/){0,4}={0,2}")
        width += 24
    return Secret(b"".join(pieces), width, _needle(text))


def _needle(value: str) -> bytes:
    """The longest part that every spelling has: letters and digits are never escaped."""
    return max(re.findall("[A-Za-z0-9]+", value), key=len, default="").encode()


def _any_case(digits: str) -> bytes:
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits).encode()


def _fits(pattern: bytes, value: bytes) -> bool:
    return compiled(pattern).fullmatch(value) is not None


def _encoded(value: str) -> bytes:
    """The bytes of the value. Environment values may hold bytes that are no UTF-8: as they were."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def _inner(value: str) -> Iterator[str]:
    """What in the value is a secret by itself, as it stands there and decoded: the password of a URL or of a
    connection string, the lines of a key. Programs print these alone.
    """
    for found in re.finditer(_USERINFO, value):
        user, colon, password = found[1].partition(":")
        yield from _decoded(password if colon else user)
    for found in re.finditer(_NAMED, value):
        yield from _decoded(next(part for part in found.groups() if part))
    if "\n" in value:
        yield from (line.strip() for line in value.split("\n") if len(line.strip()) >= _SHORTEST_LINE)


def _decoded(text: str) -> Iterator[str]:
    yield text
    if "%" in text:
        raw = re.sub(
            rb"%([0-9A-Fa-f]{2})", lambda two: bytes([int(two[1], 16)]), text.encode(errors="replace")
        )
        yield raw.decode(errors="surrogateescape")
