"""Reads tables of unknown shape: what is wrong is noted with its place, and it goes on. Pure."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Problems:
    """What was found wrong so far, in the order of the file."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, place: str, wrong: str) -> None:
        self.lines.append(f"{place}: {wrong}")


class Table(NamedTuple):
    """One table of the file, and the place that its problems are named by."""

    values: Mapping[str, object]
    place: str
    problems: Problems

    def where(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def wrong(self, key: str, text: str) -> None:
        self.problems.add(self.where(key), text)

    def only(self, known: Iterable[str]) -> None:
        """Notes every key that is not one of these."""
        names = sorted(known)
        for key in self.values:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(names)}"
                self.wrong(key, f"unknown key; {hint}")

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is None or isinstance(value, str):
            return value
        self.wrong(key, f"must be a text, is {described(value)}")
        return None

    def required_text(self, key: str) -> str:
        text = self.text(key)
        if not text and (key not in self.values or text == ""):
            self.wrong(key, "is missing; must be a text")
        return text or ""

    def integer(self, key: str, default: int, *, least: int = 0, most: int | None = None) -> int:
        value = self.values.get(key, default)
        greatest = math.inf if most is None else most
        # `true` is an int for Python, not for the writer of a script.
        if type(value) is int and least <= value <= greatest:
            return value
        limits = f"from {least} to {most}" if most is not None else f"of at least {least}"
        right = str(least) if least == most else f"an integer {limits}"
        self.wrong(key, f"must be {right}, is {described(value)}")
        return default

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if isinstance(value, bool):
            return value
        self.wrong(key, f"must be true or false, is {described(value)}")
        return False

    def table(self, key: str) -> Table | None:
        """The table under this key; None when there is none or it is no table."""
        value = self.values.get(key)
        return None if value is None else self.as_table(value, key)

    def as_table(self, value: object, key: str) -> Table | None:
        if isinstance(value, dict):
            return Table(value, self.where(key), self.problems)
        self.wrong(key, f"must be a table, is {described(value)}")
        return None

    def one_or_more(self, key: str) -> list[object]:
        """The values under this key: a lone value counts as a list of one."""
        if key not in self.values:
            return []
        value = self.values[key]
        if value == []:
            self.wrong(key, "must not be an empty list")
        return value if isinstance(value, list) else [value]


def described(value: object) -> str:
    """The value as the writer of the file would recognise it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    shown = repr(value) if not isinstance(value, str) else f'"{value}"'
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
