"""Turns a plan in Markdown into the tables of a TOML plan. Pure.

A unit begins with a heading or a list item that starts with `Unit 1:`, `U1.` or the like (`### U1. Name`,
`- [ ] **Unit 1: Name**`); its id is `U1`. Below it stand the fields, each as `**Name:** text` with its items:
Goal, Requirements, Dependencies, Files, Approach, Execution note, Patterns to follow, Test scenarios,
Verification. A heading that starts with `Phase` is the phase of the units below it. All else is prose.
"""

from __future__ import annotations

import re

from runner.text.problems import found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.text.positions import Path

    Problems = list[tuple[Any, str]]
    Places = dict[Path, tuple[int, int]]

_UNIT = re.compile(
    r"^(?:#{2,6}\s+|[-*]\s+)(?:\[[ xX]\]\s+)?(?:\*\*)?(?:Unit\s+|U)(\d{1,9})\s*[:.)\u2013\u2014-](?!\d)(.*)$"
)
_HEADING = re.compile(r"^(#{1,6})\s+(\S.*)$")
_FIELD = re.compile(r"^(?:[-*]\s+)?\*\*([A-Z][A-Za-z ]{2,30}?)(?::\*\*|\*\*:)\s*(.*)$")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+(?:\[[ xX]\]\s+)?(.*)$")
_CODE = re.compile(r"`([^`]+)`")
_KIND = re.compile(r"^(create|modify|read|test|tests|delete)\s*:\s*(.*)$", re.IGNORECASE)
_REFERENCE = re.compile(
    r"\b(?:units?\s+|U)\d{1,9}(?:\s*(?:,|and|&|[-\u2013])\s*(?:units?\s+|U)?\d{1,9})*", re.IGNORECASE
)
_NUMBER = re.compile(r"([-\u2013]?)\s*(?:units?\s+|U)?(\d{1,9})", re.IGNORECASE)
_NOTHING = re.compile(r"^(?:none|n/a|-|\u2014)?[.\s]*$", re.IGNORECASE)
_WIDEST_RANGE = 1000


def parse(text: str) -> tuple[dict[str, Any], Places, Problems]:
    """The tables, where each key stands, and what could not be read."""
    reader = _Reader()
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced:
            reader.line(number, line)
    reader.end()
    return reader.data, reader.places, reader.problems


class _Reader:
    def __init__(self) -> None:
        self.units: list[dict[str, Any]] = []
        self.data: dict[str, Any] = {"schema_version": 1, "units": self.units}
        self.places: Places = {(): (1, 1)}
        self.problems: Problems = []
        self.phase: str | None = None
        self.field = ""
        self.body: list[tuple[int, str]] = []
        self.inside = False

    def line(self, number: int, line: str) -> None:
        unit, heading, field = _UNIT.match(line), _HEADING.match(line), _FIELD.match(line)
        if unit:
            self.end()
            self.begin(number, int(unit[1]), unit[2])
        elif heading:
            self.end()
            self.inside = self.inside and len(heading[1]) > 3
            if len(heading[1]) == 1 and "title" not in self.data:
                self.data["title"] = heading[2].rstrip("# \t")
            elif heading[2].lower().startswith("phase"):
                self.phase = heading[2].rstrip("# \t")
        elif field and self.inside:
            self.end()
            self.field, self.body = field[1].strip().lower(), [(number, field[2])]
        elif self.field:
            self.body.append((number, line))

    def begin(self, number: int, unit: int, name: str) -> None:
        made: dict[str, Any] = {"id": f"U{unit}"}
        if name.strip("* "):
            made["goal"] = name.strip("* ")
        if self.phase is not None:
            made["phase"] = self.phase
        self.places[("units", len(self.units))] = (number, 1)
        self.units.append(made)
        self.inside = True

    def end(self) -> None:
        """The field that was read so far goes into its unit."""
        field, body = self.field, [(number, line) for number, line in self.body if line.strip()]
        self.field, self.body = "", []
        if not field or not body:
            return
        items = _items(body)
        unit, path = self.units[-1], ("units", len(self.units) - 1)
        key = _KEYS.get(field)
        if key is None or not items:
            return
        self.places[(*path, key)] = (body[0][0], 1)
        if key == "files":
            self.files(unit, (*path, key), items)
        elif key == "depends_on":
            unit[key] = self.dependencies(items)
            self.places |= {(*path, key, at): (items[0][0], 1) for at in range(len(unit[key]))}
        elif key == "verify":
            _verification(unit, [text for _, text in items])
        elif key in ("tests", "patterns"):
            unit[key] = [*unit.get(key, ()), *(text for _, text in items)]
        else:
            unit[key] = "\n".join(text for _, text in items)

    def files(self, unit: dict[str, Any], path: Path, items: list[tuple[int, str]]) -> None:
        files: dict[str, list[str]] = unit.setdefault("files", {})
        for number, text in items:
            kind, what = "modify", text
            if said := _KIND.match(text):
                kind, what = said[1].lower(), said[2]
            kind = kind if kind in ("create", "read") else "modify"
            names = _CODE.findall(what) or [word for word in [what.split(" ")[0].rstrip(",;")] if word]
            if not names or (" " in what.strip() and not _CODE.search(what)):
                self.problems.append(
                    (("at", number, 1), f"found {found(text)}; expected a path in backticks")
                )
            for name in names:
                listed = files.setdefault(kind, [])
                self.places[(*path, kind, len(listed))] = (number, 1)
                listed.append(name)

    def dependencies(self, items: list[tuple[int, str]]) -> list[str]:
        names: dict[str, None] = {}
        for number, text in items:
            numbers = [one for said in _REFERENCE.finditer(text) for one in _numbers(said[0])]
            if not numbers and not _NOTHING.match(text):
                message = f"found {found(text)}; expected units (`Unit 1, Unit 2`) or `None`; anything else "
                message += "belongs in the approach"
                self.problems.append((("at", number, 1), message))
            names |= {f"U{one}": None for one in numbers}
        return list(names)


def _items(body: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The items of a list, or its paragraph as one; a further line belongs to what stands before it."""
    items: list[tuple[int, str]] = []
    for number, line in body:
        item = _ITEM.match(line)
        if item or not items:
            items.append((number, item[1].strip() if item else line.strip()))
        else:
            items[-1] = (items[-1][0], f"{items[-1][1]} {line.strip()}")
    return [(number, text) for number, text in items if text]


def _numbers(text: str) -> list[int]:
    """Those of `Unit 1, 2 and U4-6`."""
    numbers: list[int] = []
    for dash, digits in _NUMBER.findall(text):
        last = int(digits)
        if dash and numbers:
            numbers += range(numbers[-1] + 1, min(last, numbers[-1] + _WIDEST_RANGE) + 1)
        else:
            numbers.append(last)
    return numbers


def _verification(unit: dict[str, Any], texts: list[str]) -> None:
    """What is code alone is a command; a sentence says what has to be true, as a test scenario does."""
    for text in texts:
        code = _CODE.fullmatch(text.rstrip(".").strip())
        unit.setdefault("verify" if code else "tests", []).append(code[1] if code else text)


_KEYS = {
    "goal": "goal",
    "dependencies": "depends_on",
    "files": "files",
    "approach": "approach",
    "execution note": "execution_note",
    "patterns to follow": "patterns",
    "test scenarios": "tests",
    "verification": "verify",
}
"""Requirements are not here: they say why, and nothing is decided by them."""
