"""The table "Who may import whom" of docs/architecture.md: the only one there is, read as it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass

from support.imports import ROOT

__all__ = ["Room", "room_of", "rooms"]

_EVERYBODY = "every other room"
_HEAD = "| room | may import | and from outside |"


@dataclass(frozen=True)
class Room:
    """One row. `own` and `may` hold rooms and single modules, `foreign` packages and who uses them.

    `may` is `own` and, unless the row says `nothing`, what every room may import.
    """

    own: frozenset[str]
    may: frozenset[str]
    foreign: dict[str, frozenset[str]]


def rooms() -> dict[str, Room]:
    """The rows by name."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert text.count(_HEAD) == 1, f"docs/architecture.md has no table {_HEAD}"
    everybody: frozenset[str] = frozenset()
    found = {}
    for line in text.partition(_HEAD)[2].partition("\n\n")[0].splitlines()[2:]:
        first, second, third = (cell.strip() for cell in line.strip("|").split("|"))
        own = frozenset(_names(second))
        if first == _EVERYBODY:
            everybody = own
            continue
        (name,) = _names(first)
        assert own or second.startswith("nothing"), f"a row that says neither names nor `nothing`: {line}"
        closed = name in everybody or (not own and second != "nothing else")
        foreign = {}
        for part in filter(None, third.split(";")):
            package, *places = _names(part)
            foreign[package] = frozenset(f"{name}.{place}" for place in places)
        found[name] = Room(own, own if closed else own | everybody, foreign)
    return found


def room_of(module: str) -> str:
    """The row a module belongs to: `runner.cli.app` -> `cli`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _names(cell: str) -> list[str]:
    return re.findall(r"`([\w.]+)`", cell)
