"""Where each key stands in a TOML text. Pure.

tomlkit knows positions only while it parses (github.com/python-poetry/tomlkit/issues/55), so this walks the
accepted text once more. The walk never judges: where it does not understand the text it stops, with fewer
positions.
"""

from __future__ import annotations

import bisect
import re

from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^\s,\]}#]+")
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|(.))")
_SIMPLE = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


class Positions(Value):
    """`at`: path -> (line, column), both from 1, of the key (or of an array's item). `repeated`:
    keys set twice.
    """

    at: dict[Path, tuple[int, int]]
    repeated: tuple[Path, ...]
    repeated_at: tuple[tuple[int, int], ...]


def positions(text: str) -> Positions:
    """The index of `text`, as far as it could be walked."""
    scan = _Scan(text)
    try:
        scan.document()
    except (_Stop, RecursionError, ValueError, OverflowError):
        scan.pos = len(text)
    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(offset: int) -> tuple[int, int]:
        line = bisect.bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    return Positions(
        at={path: place(offset) for path, offset in scan.offsets.items()},
        repeated=tuple(path for path, _ in scan.repeated),
        repeated_at=tuple(place(offset) for _, offset in scan.repeated),
    )


def split_key(text: str) -> tuple[str, ...] | None:
    """The parts of a dotted key (`tasks."a.b".model`), or None when it is not one."""
    scan = _Scan(text)
    try:
        parts = scan.key()
    except (_Stop, ValueError, OverflowError):
        return None
    return tuple(part for part, _ in parts) if scan.pos == len(text) else None


class _Stop(Exception):
    """The text is not what a walk expects."""


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.offsets: dict[Path, int] = {}
        self.repeated: list[tuple[Path, int]] = []
        self.arrays: dict[Path, int] = {}
        self.values: set[Path] = set()

    def document(self) -> None:
        prefix: Path = ()
        while self.blank():
            if self.text[self.pos] == "[":
                prefix = self.header()
            else:
                self.pair(prefix)

    def blank(self) -> bool:
        """Skips what means nothing; False at the end."""
        self.pos = _end(_BLANK.match(self.text, self.pos))
        return self.pos < len(self.text)

    def header(self) -> Path:
        many = self.text.startswith("[[", self.pos)
        self.pos += 2 if many else 1
        self.spaces()
        path: Path = ()
        parts = self.key()
        for n, (part, offset) in enumerate(parts):
            path = (*path, part)
            self.note(path, offset)
            if n == len(parts) - 1 and many:
                self.arrays[path] = self.arrays.get(path, -1) + 1
            elif n == len(parts) - 1:
                self.set_value(("[]", *path), path, offset)
            if path in self.arrays:
                path = (*path, self.arrays[path])
                self.note(path, offset)
        self.expect("]]" if many else "]")
        return path

    def pair(self, prefix: Path) -> None:
        path = prefix
        for part, offset in self.key():
            path = (*path, part)
            self.note(path, offset)
        self.set_value(path, path, offset)
        self.spaces()
        self.expect("=")
        self.value(path)

    def key(self) -> list[tuple[str, int]]:
        parts = []
        while True:
            self.spaces()
            parts.append((self.part(), self.started))
            self.spaces()
            if not self.text.startswith(".", self.pos):
                return parts
            self.pos += 1

    def part(self) -> str:
        self.started = self.pos
        quote = self.text[self.pos : self.pos + 1]
        pattern = {'"': _STRINGS[2], "'": _STRINGS[3]}.get(quote, _BARE)
        match = pattern.match(self.text, self.pos)
        self.pos = _end(match)
        raw = self.text[self.started : self.pos]
        if quote == '"':
            return _ESCAPE.sub(_unescape, raw[1:-1])
        return raw[1:-1] if quote == "'" else raw

    def value(self, path: Path) -> None:
        self.spaces()
        char = self.text[self.pos : self.pos + 1]
        if char == "[":
            self.array(path)
        elif char == "{":
            self.table(path)
        elif char in ('"', "'"):
            matches = (pattern.match(self.text, self.pos) for pattern in _STRINGS)
            self.pos = _end(next((match for match in matches if match), None))
        else:
            self.pos = _end(_SCALAR.match(self.text, self.pos))
            # A date may have a space before its time: 1979-05-27 07:32:00
            self.pos += len(_match(r"[ ]\d\d:[\d:.Z+-]+", self.text, self.pos))

    def array(self, path: Path) -> None:
        self.pos += 1
        index = 0
        while self.blank() and self.text[self.pos] != "]":
            self.note((*path, index), self.pos)
            self.value((*path, index))
            index += 1
            self.comma()
        self.expect("]")

    def table(self, path: Path) -> None:
        self.pos += 1
        while self.blank() and self.text[self.pos] != "}":
            self.pair(path)
            self.comma()
        self.expect("}")

    def comma(self) -> None:
        if self.blank() and self.text[self.pos] == ",":
            self.pos += 1
        elif self.pos >= len(self.text) or self.text[self.pos] not in "]}":
            raise _Stop

    def spaces(self) -> None:
        self.pos += len(_match(r"[ \t]*", self.text, self.pos))

    def expect(self, mark: str) -> None:
        self.spaces()
        if not self.text.startswith(mark, self.pos):
            raise _Stop
        self.pos += len(mark)

    def note(self, path: Path, offset: int) -> None:
        self.offsets.setdefault(path, offset)

    def set_value(self, mark: Path, path: Path, offset: int) -> None:
        if mark in self.values:
            self.repeated.append((path, offset))
        self.values.add(mark)


def _match(pattern: str, text: str, pos: int) -> str:
    match = re.compile(pattern).match(text, pos)
    return match.group() if match else ""


def _end(match: re.Match[str] | None) -> int:
    if match is None:
        raise _Stop
    return match.end()


def _unescape(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    return chr(int(digits, 16)) if digits else _SIMPLE.get(match[4], match[4])
