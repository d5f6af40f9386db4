"""The secrets inside a value: the password of a URL or of a connection string, the lines of a key. Pure.

Programs print these alone. Each is looked for as a value of its own, unless it is too short for that.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_USERINFO = r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#\s]+)@"
_NAMED = (
    r"(?i)(?:pass(?:word|wd|phrase)?|pwd|secret|token|key|sig(?:nature)?)[\"']?\s*[=:]\s*"
    r"(?:\"((?:\\.|[^\"\\])+)\"|'([^']+)'|([^\s\"'&;,}]+))"
)
_SHORTEST_LINE = 24


def inner(value: str) -> Iterator[str]:
    """What in the value is a secret by itself, as it stands there and decoded."""
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
