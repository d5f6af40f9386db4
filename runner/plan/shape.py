"""The tables of a plan file become units, or problems. Pure.

Written out and not with the models of the settings: those cost more to import than ten thousand units cost to
check. `schemas/plan.schema.json` says the same; a test holds both against each other.
"""

from __future__ import annotations

from runner.config.values import NAME_PATTERN, commands, legal_name
from runner.plan.units import EFFORTS, Files, Plan, Unit, leads_outside, normal_path
from runner.text.globs import matches
from runner.text.problems import found, near, one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runner.text.positions import Path

    Found = list[tuple[Path, str]]
    Reader = Callable[[Any, Path, Found], Any]

__all__ = ["NAME_PATTERN", "plan_of"]

_TOP = ("schema_version", "title", "units")
_KINDS = ("create", "modify", "read")
_LONGEST = 4096
"""Characters of a path; the system takes no longer one either."""
_HINTS = 20
"""So many problems say what was perhaps meant: to look for it among all names takes its time."""
_EVERYTHING = ("\x01", "\x01/\x02/\x03")
"""Names that nobody has: only what covers everything covers them."""


def plan_of(data: dict[str, Any]) -> tuple[Plan | None, Found]:
    """The plan, or None and everything that is wrong with it."""
    problems: Found = []
    for key in data:
        if key not in _TOP:
            _complain(problems, (key,), _unknown(key, _TOP, problems))
    if "schema_version" not in data:
        _complain(problems, (), "`schema_version = 1` is missing")
    elif data["schema_version"] != 1 or isinstance(data["schema_version"], bool):
        version = found(data["schema_version"])
        _complain(
            problems, ("schema_version",), f"found {version}; this version of runner reads format 1 only"
        )
    title = _text(data["title"], ("title",), problems) if "title" in data else None
    units = data.get("units")
    if not isinstance(units, list) or not units:
        what = "is missing" if units is None else f"found {found(units)}"
        _complain(
            problems,
            ("units",) if units is not None else (),
            f"`[[units]]` {what}; a plan has at least one unit",
        )
        units = []
    made = tuple([_unit(unit, ("units", at), problems) for at, unit in enumerate(units)])
    return (None if problems else Plan(made, title)), problems


def _unit(data: Any, path: Path, problems: Found) -> Any:
    if not isinstance(data, dict):
        return _complain(problems, path, f"found {found(data)}; expected a table")
    values = dict(_DEFAULTS)
    for key, value in data.items():
        reader = _READERS.get(key)
        if reader is None:
            _complain(problems, (*path, key), _unknown(key, tuple(_READERS), problems))
        else:
            values[key] = reader(value, (*path, key), problems)
    for key in ("id", "goal"):
        if key not in data:
            _complain(problems, path, f"`{key}` is missing; every unit needs one")
            values[key] = None
    return Unit.of([values[name] for name in Unit._fields])


def _complain(problems: Found, path: Path, message: str) -> Any:
    """None, which no reader gives otherwise."""
    problems.append((path, message))
    return None


def _unknown(key: str, known: tuple[str, ...], problems: Found) -> str:
    hint = near(key, known) if len(problems) < _HINTS else ""
    return f"unknown key{hint or '; known here: ' + ', '.join(known)}"


def _id(value: Any, path: Path, problems: Found) -> Any:
    if not isinstance(value, str):
        return _complain(problems, path, f"found {found(value)}; expected a text in quotes")
    try:
        return legal_name(value)
    except ValueError as error:
        return _complain(problems, path, f"found {found(value)}; {error}")


def _text(value: Any, path: Path, problems: Found) -> Any:
    if isinstance(value, str) and value.strip():
        return value
    return _complain(problems, path, f"found {found(value)}; expected a text that is not empty")


def _texts(value: Any, path: Path, problems: Found) -> Any:
    return _each(value, path, problems, _text)


def _ids(value: Any, path: Path, problems: Found) -> Any:
    return _each(value, path, problems, _id)


def _each(value: Any, path: Path, problems: Found, reader: Reader) -> Any:
    if not isinstance(value, list):
        return _complain(problems, path, f'found {found(value)}; expected an array, e.g. ["..."]')
    return tuple([reader(item, (*path, at), problems) for at, item in enumerate(value)])


def _bool(value: Any, path: Path, problems: Found) -> Any:
    if isinstance(value, bool):
        return value
    return _complain(problems, path, f"found {found(value)}; expected true or false")


def _phase(value: Any, path: Path, problems: Found) -> Any:
    number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6
    if number or (isinstance(value, str) and value.strip()):
        return value
    return _complain(problems, path, f"found {found(value)}; expected a whole number from 0 on, or a name")


def _effort(value: Any, path: Path, problems: Found) -> Any:
    if value in EFFORTS:
        return value
    hint = near(value, EFFORTS) if isinstance(value, str) else ""
    return _complain(problems, path, f"found {found(value)}; expected one of {one_of(EFFORTS)}{hint}")


def _verify(value: Any, path: Path, problems: Found) -> Any:
    try:
        return tuple(tuple(command) for command in commands(value))
    except ValueError as error:
        return _complain(problems, path, f"found {found(value)}; {error}")


def _files(value: Any, path: Path, problems: Found) -> Any:
    if isinstance(value, list):
        return Files((), _paths(value, path, problems, True), ())
    if not isinstance(value, dict):
        wanted = "expected an array of paths, or a table of `create`, `modify` and `read`"
        return _complain(problems, path, f"found {found(value)}; {wanted}")
    lists: dict[str, Any] = {}
    for kind, paths in value.items():
        if kind in _KINDS:
            lists[kind] = _paths(paths, (*path, kind), problems, kind != "read")
        else:
            _complain(problems, (*path, kind), _unknown(kind, _KINDS, problems))
    return Files.of([lists.get(kind, ()) for kind in _KINDS])


def _paths(value: Any, path: Path, problems: Found, written: bool) -> Any:
    if not isinstance(value, list):
        return _complain(
            problems, path, f'found {found(value)}; expected an array of paths, e.g. ["src/a.py"]'
        )
    kept: dict[str, None] = {}
    for at, item in enumerate(value):
        if not isinstance(item, str) or not item.strip() or not _is_path(item):
            wanted = f"a path or glob relative to the repository, of at most {_LONGEST} characters"
            _complain(problems, (*path, at), f"found {found(item)}; expected {wanted}")
        elif written and _is_everything(item):
            _complain(
                problems,
                (*path, at),
                f"found {found(item)}, which is every file: then no unit could be told from another; "
                "expected the files or folders that this unit writes",
            )
        else:
            kept[normal_path(item)] = None
    return tuple(kept)


def _is_path(item: str) -> bool:
    return "\n" not in item and "\0" not in item and item[0] != "!" and len(item) <= _LONGEST


def _is_everything(path: str) -> bool:
    if path[0] not in "*?./[" or leads_outside(path):
        return False
    return normal_path(path) == "" or all(matches(path, name) for name in _EVERYTHING)


_READERS: dict[str, Reader] = {
    "id": _id,
    "goal": _text,
    "files": _files,
    "depends_on": _ids,
    "trivial": _bool,
    "tests": _texts,
    "verify": _verify,
    "patterns": _texts,
    "approach": _text,
    "execution_note": _text,
    "phase": _phase,
    "risk": _texts,
    "effort": _effort,
}
_DEFAULTS = {name: getattr(Unit, name, None) for name in Unit._fields}
