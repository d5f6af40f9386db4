"""Reads TOML tables of unknown shape, with all their problems. Pure.

A reader takes a value, its path and the problems so far. It returns what it has read, or notes a problem and
returns None, and reading continues: all problems of a file are reported at once.

Plan files and rehearsal scripts use it. Settings use pydantic models, whose import costs more than reading
ten thousand units.
"""

from __future__ import annotations

from runner.text.problems import found, near, one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from runner.text.positions import Path

    Found = list[tuple[Path, str]]
    Reader = Callable[[Any, Path, Found], Any]

_HINTS = 20
"""So many problems say what was perhaps meant: to look for it among all names takes its time."""


def table(readers: Mapping[str, Reader], required: Mapping[str, str] | None = None) -> Reader:
    """A table with these keys and no others, as a dict of what it has; None where anything in it is wrong.
    `required` has for each required key the message if it is missing.
    """
    known = tuple(readers)
    needed = required or {}

    def read(value: Any, path: Path, problems: Found) -> Any:
        if not isinstance(value, dict):
            return wrong(value, "a table", path, problems)
        values, before = {}, len(problems)
        for key, item in value.items():
            reader = readers.get(key)
            if reader is None:
                hint = near(key, known) if len(problems) < _HINTS else ""
                message = f"unknown key{hint or '; known here: ' + ', '.join(known)}"
                complain(message, (*path, key), problems)
            else:
                values[key] = reader(item, (*path, key), problems)
        for key, message in needed.items():
            if key not in value:
                complain(message, path, problems)
        return values if len(problems) == before else None

    return read


def array(reader: Reader, wanted: str = 'an array, e.g. ["..."]', least: int = 0) -> Reader:
    """A list of what `reader` reads, as a tuple."""

    def read(value: Any, path: Path, problems: Found) -> Any:
        if not isinstance(value, list) or len(value) < least:
            return wrong(value, wanted, path, problems)
        return tuple([reader(item, (*path, at), problems) for at, item in enumerate(value)])

    return read


def one_or_more(reader: Reader) -> Reader:
    """What `reader` reads, or a list of it that is not empty; a tuple of either."""
    several = array(reader, "one or more", least=1)

    def read(value: Any, path: Path, problems: Found) -> Any:
        return several(value, path, problems) if isinstance(value, list) else (reader(value, path, problems),)

    return read


def checked(function: Callable[[Any], Any], reader: Reader | None = None) -> Reader:
    """What `function` makes of a value, or of what `reader` reads; its ValueError says what is expected."""

    def read(value: Any, path: Path, problems: Found) -> Any:
        if reader is not None and (value := reader(value, path, problems)) is None:
            return None
        try:
            return function(value)
        except ValueError as error:
            return complain(f"found {found(value)}; {error}", path, problems)

    return read


def string(value: Any, path: Path, problems: Found) -> Any:
    """Any text."""
    return value if isinstance(value, str) else wrong(value, "a text in quotes", path, problems)


def text(value: Any, path: Path, problems: Found) -> Any:
    """A text that says something."""
    if isinstance(value, str) and value.strip():
        return value
    return wrong(value, "a text that is not empty", path, problems)


def flag(value: Any, path: Path, problems: Found) -> Any:
    return value if isinstance(value, bool) else wrong(value, "true or false", path, problems)


def whole(least: int, most: int | None = None) -> Reader:
    """A whole number; `true` is one for Python, not for people."""
    wanted = f"a whole number, {least} or more" if most is None else f"a whole number from {least} to {most}"

    def read(value: Any, path: Path, problems: Found) -> Any:
        if type(value) is int and value >= least and (most is None or value <= most):
            return value
        return wrong(value, wanted, path, problems)

    return read


def choice(names: Collection[str]) -> Reader:
    """One of these words."""

    def read(value: Any, path: Path, problems: Found) -> Any:
        if isinstance(value, str) and value in names:
            return value
        hint = near(value, names) if isinstance(value, str) and len(problems) < _HINTS else ""
        return wrong(value, f"one of {one_of(names)}{hint}", path, problems)

    return read


def format_version(value: Any) -> int:
    """`schema_version` of any file of ours."""
    # True equals 1 for Python, not for people.
    if value != 1 or isinstance(value, bool):
        raise ValueError("this version of runner reads format 1 only")
    return 1


def wrong(value: Any, wanted: str, path: Path, problems: Found) -> Any:
    """None, which no reader gives otherwise."""
    return complain(f"found {found(value)}; expected {wanted}", path, problems)


def complain(message: str, path: Path, problems: Found) -> Any:
    """None, as `wrong`."""
    problems.append((path, message))
    return None
