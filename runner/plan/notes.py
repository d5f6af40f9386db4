"""Warnings about a plan and its batches. Pure."""

from __future__ import annotations

from runner.plan.decision import Warn
from runner.plan.graph import Sets
from runner.plan.overlap import Shared, join
from runner.text.words import count, few
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.plan.pack import Group, Packed
    from runner.plan.units import Rules, Unit

_HUB_FROM = 0.4
"""A file that this many of all units write may be an unnamed hub."""
_CANDIDATES = 5
"""So many files of a group are tried: each costs a look at the whole plan."""


class Grouped(Value):
    """`group_of[unit]` is its group, `glue[group]` the files that several of its units write, `stay` says why
    a unit is not delegated.
    """

    groups: list[Group]
    group_of: list[int]
    glue: list[dict[str, list[int]]]
    stay: dict[int, str]
    together: Shared


def warnings(units: Sequence[Unit], grouped: Grouped, packed: Packed, rules: Rules) -> Iterator[Warn]:
    """In a fixed order: what is missing in the plan, then what its batches contain."""
    yield from _lacking(units)
    for at, why in sorted(grouped.stay.items()):
        if why == "outside_repo":
            message = f"{units[at].id} names files outside the repository, so it is not delegated"
            yield Warn("outside_repo", message, (units[at].id,))
    for path, who in grouped.together.hubs.items():
        message = (
            f"{path} is a hub file: it does not keep units together, and batches that write it never run "
        )
        yield Warn("hub_file", f"{message}side by side", tuple(units[at].id for at in who))
    coarse = grouped.together.coarse
    if coarse:
        first = {grouped.together.first[glob]: None for glob in coarse}
        what = f"{few(coarse, 1)} {'counts' if len(coarse) == 1 else 'count'}"
        message = f"{what} as the whole folder: there are too many globs to compare them one by one"
        yield Warn("coarse_glob", message, tuple(units[at].id for at in sorted(first)))
    for number in packed.large:
        yield from _oversize(units, grouped, number, rules)


def glue_files(grouped: Grouped, packed: Packed) -> tuple[str, ...]:
    """The files that keep the groups together that fit in no ordinary batch."""
    return tuple(sorted(path for number in packed.large for path in grouped.glue[number]))


def _lacking(units: Sequence[Unit]) -> Iterator[Warn]:
    for code, what, have in (
        ("no_files", "files, so what they share is unknown", [_has_files(unit) for unit in units]),
        ("no_tests", "test scenarios", [bool(unit.tests) for unit in units]),
        ("no_verify", "verify commands", [bool(unit.verify) for unit in units]),
    ):
        # Trivial units need no tests of their own.
        names = tuple(
            unit.id
            for unit, has in zip(units, have, strict=True)
            if not (has or (unit.trivial and code != "no_files"))
        )
        if names:
            yield Warn(code, f"{count(len(names), 'unit names', 'units name')} no {what}", names)


def _has_files(unit: Unit) -> bool:
    return bool(unit.files.create or unit.files.modify or unit.files.read)


def _oversize(units: Sequence[Unit], grouped: Grouped, number: int, rules: Rules) -> Iterator[Warn]:
    inside = grouped.groups[number].units
    names = tuple(units[at].id for at in inside)
    glue = grouped.glue[number]
    why = f"share {few(sorted(glue))}" if glue else "belong together"
    differ = len({units[at].model for at in inside}) > 1
    chained = differ or (rules.oversize == "chain" and len(inside) > max(rules.hard_cap, rules.soft_cap))
    form = "batches in a row, each committed before the next" if chained else "one batch"
    code, more = ("models", " and name different models") if differ else ("oversize", "")
    yield Warn(code, f"{len(inside)} units {why}{more}, so they are {form}", names)
    for path in sorted(glue, key=lambda path: (-len(glue[path]), path))[:_CANDIDATES]:
        who = glue[path]
        if len(who) >= _HUB_FROM * len(units) and _holds(path, inside, grouped):
            message = f"{path} alone keeps units together; as a hub file it would not"
            yield Warn("hub_candidate", message, tuple(units[at].id for at in who))


def _holds(path: str, inside: Sequence[int], grouped: Grouped) -> bool:
    """Whether the group's units would write in more than one part without this file."""
    place = {at: n for n, at in enumerate(inside)}
    together = grouped.together
    first = {other: place[at] for other, at in together.first.items() if other != path and at in place}
    several = {other: [place[at] for at in who] for other, who in together.several.items() if other in first}
    sets = Sets(len(inside))
    join(sets, first, several)
    return len({sets.find(n) for n in range(len(inside))}) > 1
