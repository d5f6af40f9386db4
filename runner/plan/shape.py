"""The tables of a plan file become units, or problems: unique ids, dependencies without a cycle. Pure.

`schemas/plan.schema.json` says the same; a test holds both against each other.
"""

from __future__ import annotations

from runner.config.values import command, commands, legal_name
from runner.plan.graph import cycles
from runner.plan.units import EFFORTS, Files, Plan, Unit, leads_outside, normal_path
from runner.text.globs import matches
from runner.text.problems import found, near
from runner.text.tables import (
    array,
    checked,
    choice,
    complain,
    flag,
    format_version,
    string,
    table,
    text,
    wrong,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from runner.text.positions import Path
    from runner.text.tables import Found, Reader

_LONGEST = 4096
"""Characters of a path; the system takes no longer one either."""
_COMPARED = 20_000
"""So many ids are looked at to tell what was perhaps meant: it takes its time."""
_SHOWN = 20
"""So many units of a cycle are named."""
_EVERYTHING = ("\x01", "\x01/\x02/\x03")
"""Names that no file has: only a pattern that covers everything covers them."""


def plan_of(data: dict[str, Any]) -> tuple[Plan | None, Found]:
    """The plan, or None and everything that is wrong with it."""
    problems: Found = []
    read = _PLAN(data, (), problems)
    return (None if read is None else Plan(read["units"], read.get("title"))), problems


def _unit(value: Any, path: Path, problems: Found) -> Any:
    read = _KEYS(value, path, problems)
    return None if read is None else Unit.of([read.get(name, _DEFAULTS[name]) for name in Unit._fields])


def _phase(value: Any, path: Path, problems: Found) -> Any:
    number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6
    if number or (isinstance(value, str) and value.strip()):
        return value
    return wrong(value, "a whole number from 0 on, or a name", path, problems)


def _files(value: Any, path: Path, problems: Found) -> Any:
    if isinstance(value, list):
        return Files((), _paths(written=True)(value, path, problems), ())
    if not isinstance(value, dict):
        wanted = "an array of paths, or a table of `create`, `modify` and `read`"
        return wrong(value, wanted, path, problems)
    read = _KINDS(value, path, problems)
    return None if read is None else Files(**read)


def _paths(*, written: bool) -> Reader:
    def path_of(item: Any, path: Path, problems: Found) -> Any:
        if not isinstance(item, str) or not item.strip() or not _is_path(item):
            wanted = f"a path or glob relative to the repository, of at most {_LONGEST} characters"
            return wrong(item, wanted, path, problems)
        if written and _is_everything(item):
            message = (
                f"found {found(item)}, which covers every file, so units could not be told apart; "
                "expected the files or folders that this unit writes"
            )
            return complain(message, path, problems)
        return normal_path(item)

    return checked(_once, array(path_of, 'an array of paths, e.g. ["src/a.py"]'))


def _once(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths))


def _is_path(item: str) -> bool:
    return "\n" not in item and "\0" not in item and item[0] != "!" and len(item) <= _LONGEST


def _is_everything(path: str) -> bool:
    if path[0] not in "*?./[" or leads_outside(path):
        return False
    return normal_path(path) == "" or all(matches(path, name) for name in _EVERYTHING)


def _commands(value: Any, path: Path, problems: Found) -> Any:
    items = checked(commands)(value, path, problems)
    return None if items is None else _each_command(items, path, problems)


_each_command = array(checked(lambda value: tuple(command(value))))
_NAME = checked(legal_name, string)
_KINDS = table({kind: _paths(written=kind != "read") for kind in Files._fields})
_KEYS = table(
    {
        "id": _NAME,
        "goal": text,
        "files": _files,
        "depends_on": array(_NAME),
        "trivial": flag,
        "tests": array(text),
        "verify": _commands,
        "patterns": array(text),
        "approach": text,
        "execution_note": text,
        "phase": _phase,
        "risk": array(text),
        "effort": choice(EFFORTS),
        "model": _NAME,
        "done": flag,
    },
    required={key: f"`{key}` is missing; every unit needs one" for key in ("id", "goal")},
)
_PLAN = table(
    {
        "schema_version": checked(format_version),
        "title": text,
        "units": array(_unit, "at least one unit ([[units]])", least=1),
    },
    required={
        "schema_version": "`schema_version = 1` is missing",
        "units": "`[[units]]` is missing; a plan needs at least one unit",
    },
)
_DEFAULTS = {name: getattr(Unit, name, None) for name in Unit._fields}


def references(plan: Plan, models: Collection[str] | None = None) -> list[tuple[Path, str]]:
    """Everything that is wrong, each with the path of its key. `models` are known; None: it is not looked."""
    problems: list[tuple[Path, str]] = []
    number: dict[str, int] = {}
    for at, unit in enumerate(plan.units):
        if unit.id in number:
            message = f"found {found(unit.id)}, which is the id of unit {number[unit.id] + 1} already"
            problems.append((("units", at, "id"), message))
        number.setdefault(unit.id, at)
    for at, unit in enumerate(plan.units):
        for place, name in enumerate(unit.depends_on):
            if name not in number:
                hint = near(name, number) if (len(problems) + 1) * len(number) <= _COMPARED else ""
                message = f"found {found(name)}; no unit has this id{hint}"
                problems.append((("units", at, "depends_on", place), message))
        if models is not None and unit.model is not None and unit.model not in models:
            message = f"found {found(unit.model)}; [models] has no model of this name"
            problems.append((("units", at, "model"), f"{message}{near(unit.model, models)}"))
    return problems or _cycles(plan, number)


def _cycles(plan: Plan, number: dict[str, int]) -> list[tuple[Path, str]]:
    edges = [[number[name] for name in unit.depends_on] for unit in plan.units]
    problems: list[tuple[Path, str]] = []
    for way in cycles(edges):
        names = [plan.units[at].id for at in (*way, way[0])]
        if len(names) > _SHOWN:
            names[_SHOWN - 2 : -1] = ["..."]
        what = "depends on itself" + (f": {' -> '.join(names)}" if len(way) > 1 else "")
        problems.append((("units", way[0], "depends_on"), f"{plan.units[way[0]].id} {what}"))
    return problems
