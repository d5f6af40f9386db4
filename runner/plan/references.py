"""Rules between the units of a plan: unique ids, dependencies without a cycle. Pure."""

from __future__ import annotations

from runner.plan.graph import cycles
from runner.text.problems import found, near

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.plan.units import Plan
    from runner.text.positions import Path

_COMPARED = 20_000
"""So many ids are looked at to tell what was perhaps meant: it takes its time."""
_SHOWN = 20
"""So many units of a cycle are named."""


def references(plan: Plan) -> list[tuple[Path, str]]:
    """Everything that is wrong, each with the path of its key."""
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
