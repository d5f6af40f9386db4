"""Reads a TOML text into its table, and locates what is wrong with it. Pure.

The standard library's reader takes a large file in a twentieth of the time of the one that the settings use.
Positions are searched only when there is a problem.
"""

from __future__ import annotations

import re
import tomllib

from runner.text.positions import positions
from runner.text.problems import Problem, dotted
from runner.text.words import lower_first

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from runner.text.positions import Path

    Place = Callable[[Path], tuple[int, int]]

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def parse(text: str) -> tuple[dict[str, Any], Place, list[tuple[Any, str]]]:
    """The table, where each of its keys stands, and what makes it no TOML: the path of that is a place."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError, OverflowError) as error:
        said = _AT.search(str(error))
        what = _AT.sub("", str(error)) or "nested too deeply"
        line, column = (int(said[1]), int(said[2])) if said and said[1] else _end(text)
        message = f"not valid TOML: {lower_first(what)}"
        return {}, lambda _: (line, column), [(("at", line, column), message)]
    known: dict[Path, tuple[int, int]] = {}

    def place(path: Path) -> tuple[int, int]:
        if not known:
            known.update(positions(text).at or {(): (1, 1)})
        return nearest_place(known, path)

    return data, place, []


def located(source: str, found: Iterable[tuple[Any, str]], place: Place) -> list[Problem]:
    """The problems in the order of the file, each once; a path `("at", line, column)` is a place itself."""
    problems = {
        Problem(source, path[1], path[2], "", message)
        if path[:1] == ("at",)
        else Problem(source, *place(path), dotted(path)[:200], message)
        for path, message in found
    }
    return sorted(problems, key=lambda one: (one.line or 0, one.column or 0, str(one)))


def nearest_place(known: Mapping[Path, tuple[int, int]], path: Path) -> tuple[int, int]:
    """The place of a key, or of the nearest table around it."""
    while path and path not in known:
        path = path[:-1]
    return known.get(path, (1, 1))


def _end(text: str) -> tuple[int, int]:
    return text.count("\n") + 1, len(text.rpartition("\n")[2]) + 1
