"""The difference between a plan as it was started and its file now. Pure.

A plan runs as it was read at its start. Comments and layout may change meanwhile; any other change is shown
when the plan is resumed.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from runner.plan.units import Plan, Unit
from runner.text.terminal import clean_terminal

_MOST_NAMED = 100
"""Lines that say what changed in meaning."""
_MOST_SHOWN = 60
"""Lines of the comparison of the texts."""
_WIDEST = 400
"""Characters of one line."""
_LONGEST = 20_000
"""Lines of two texts together that are compared: it takes more than linear time."""


def difference(name: str, then: str, now: str, then_plan: Plan, now_plan: Plan) -> tuple[str, ...]:
    """() where both plans mean the same; else lines to show: what changed in meaning, then the texts of the
    file `name` compared. They are safe to print on a terminal.
    """
    if then_plan == now_plan:
        return ()
    meaning = _bounded(_meaning(then_plan, now_plan), _MOST_NAMED)
    return tuple(_line(text) for text in (*meaning, *_texts(name, then, now)))


def _meaning(then: Plan, now: Plan) -> list[str]:
    """One line for each unit that is not what it was, in the order of the plan now; removed ones last."""
    before, after = ({unit.id: unit for unit in plan.units} for plan in (then, now))
    moved = _moved([name for name in before if name in after], after)
    lines = ["the title of the plan changed"] if then.title != now.title else []
    for name, unit in after.items():
        if name not in before:
            lines.append(f"{name}: added")
            continue
        changed = _changed(before[name], unit)
        told = [f"{_listed(changed)} changed"] if changed else []
        told += ["moved"] if name in moved else []
        if told:
            lines.append(f"{name}: {', '.join(told)}")
    return [*lines, *(f"{name}: removed" for name in before if name not in after)]


def _changed(then: Unit, now: Unit) -> list[str]:
    return [name for name in Unit._fields if getattr(then, name) != getattr(now, name)]


def _moved(then: Sequence[str], now: Iterable[str]) -> set[str]:
    """As few units as must have moved: all but the most that stand in the same order in both."""
    place = {name: at for at, name in enumerate(then)}
    common = [name for name in now if name in place]
    ends: list[int] = []  # the lowest place that an ordered row of each length can end with
    last: list[str] = []
    behind: dict[str, str | None] = {}
    for name in common:
        at = bisect_left(ends, place[name])
        behind[name] = last[at - 1] if at else None
        ends[at : at + 1] = [place[name]]
        last[at : at + 1] = [name]
    still, unmoved = set(), last[-1] if last else None
    while unmoved is not None:
        still.add(unmoved)
        unmoved = behind[unmoved]
    return {name for name in common if name not in still}


def _texts(name: str, then: str, now: str) -> list[str]:
    one, other = then.splitlines(), now.splitlines()
    if len(one) + len(other) > _LONGEST:
        return [f"{name} is too long to be compared here line by line"]
    found = difflib.unified_diff(one, other, f"{name} (as it was begun)", f"{name} (now)", lineterm="")
    return _bounded(list(found), _MOST_SHOWN)


def _bounded(lines: list[str], most: int) -> list[str]:
    rest = len(lines) - most
    if rest <= 1:  # a line that says so takes as much room as the one that it is about
        return lines
    return [*lines[:most], f"... and {rest} more lines"]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _line(text: str) -> str:
    line = " ".join(clean_terminal(text[:_WIDEST]).split("\n"))
    return line if len(text) <= _WIDEST else f"{line}..."
