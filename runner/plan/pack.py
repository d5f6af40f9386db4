"""Groups of units into batches: next fit along their order, large groups cut where it hurts least. Pure."""

from __future__ import annotations

from itertools import pairwise

from runner.errors import PlanInvalid
from runner.text.words import few
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.plan.units import Rules, Unit


class Group(Value):
    """Units (by number, in the order of their dependencies) that stay together. `before` are the groups that
    have to be done first; a `local` group is not delegated, and gets no batch.
    """

    units: tuple[int, ...]
    before: tuple[int, ...]
    phase: int
    local: bool


class Packed(Value):
    """`batches` are lists of units; those of `chained` follow each other. `after[group]` is the last batch
    that has to be done before a local group, `large` are the groups that fit in no ordinary batch.
    """

    batches: list[list[int]]
    chained: set[int]
    after: dict[int, int]
    large: list[int]


def pack(
    groups: Sequence[Group],
    order: Sequence[int],
    rules: Rules,
    units: Sequence[Unit],
    glue: Sequence[Mapping[str, Sequence[int]]],
) -> Packed:
    """The batches of `groups` taken in this order; PlanInvalid where the rules refuse a group. `glue` has,
    for each group, the files that several of its units write, and these units. A batch has one model: a group
    with several is cut where the model changes.
    """
    models = [unit.model for unit in units]
    total = sum(len(group.units) for group in groups if not group.local)
    filling = _Filling(rules, cap_of(total, rules), total, models)
    for number in order:
        group = groups[number]
        if group.local:
            filling.last[number] = max((filling.last[other] for other in group.before), default=0)
            continue
        need = max((filling.first_after(other, groups[other].local) for other in group.before), default=1)
        parts = _of_one_model(group.units, models)
        if len(parts) == 1 and len(group.units) <= filling.cap:
            filling.add(number, group, need)
        else:
            cut = [_large(part, rules, filling.cap, units, glue[number]) for part in parts]
            filling.add_large(number, [one for some in cut for one in some])
    filling.close_tail()
    after = {number: filling.last[number] for number in order if groups[number].local}
    return Packed(filling.batches, filling.chained, after, filling.large)


def cap_of(total: int, rules: Rules) -> int:
    """How many units a batch has at most; with `balance`, such that all have about the same."""
    if not rules.balance or not total:
        return rules.soft_cap
    batches = -(-total // rules.soft_cap)
    return -(-total // batches)


class _Filling:
    """Batches while they are filled. Numbers of batches count from 1."""

    def __init__(self, rules: Rules, cap: int, total: int, models: Sequence[str | None]) -> None:
        self.rules, self.cap, self.total, self.models = rules, cap, total, models
        self.batches: list[list[int]] = []
        self.chained: set[int] = set()
        self.large: list[int] = []
        self.last: dict[int, int] = {}
        self.phase = 0
        self.open: list[int] = []
        """The batches that may still grow: at most the last one."""
        self.needs: list[int] = []

    def first_after(self, group: int, local: bool) -> int:
        """The first batch that may contain a unit that waits for this group: the same one, unless a person
        has to do a unit in between.
        """
        return self.last[group] + local

    def add(self, number: int, group: Group, need: int) -> None:
        fits = bool(self.open) and len(self.batches[-1]) + len(group.units) <= self.cap
        fits = fits and self.model(-1) == self.models[group.units[0]]
        # A phase ends a batch that is at least half full, once there is more than one batch at all.
        ends = (
            self.total > self.cap
            and group.phase != self.phase
            and fits
            and 2 * len(self.batches[-1]) >= self.cap
        )
        if not fits or ends or need > len(self.batches):
            self.batches.append([])
            self.needs.append(1)
            self.open = [len(self.batches)]
        self.batches[-1] += group.units
        self.needs[-1] = max(self.needs[-1], need)
        self.last[number] = len(self.batches)
        self.phase = group.phase

    def add_large(self, number: int, parts: list[tuple[int, ...]]) -> None:
        for part in parts:
            self.batches.append([*part])
            self.needs.append(len(self.batches))  # nothing moves it
            if len(parts) > 1:
                self.chained.add(len(self.batches))
        self.open = []
        self.large.append(number)
        self.last[number] = len(self.batches)

    def model(self, at: int) -> str | None:
        return self.models[self.batches[at][0]]

    def close_tail(self) -> None:
        """A last batch of one unit goes into the one before it, which saves a batch."""
        tail, before = len(self.batches), len(self.batches) - 1
        if self.cap < 2 or before < 1 or len(self.batches[-1]) > 1 or tail in self.chained:
            return
        if before in self.chained or len(self.batches[-2]) > self.cap or self.needs[-1] > before:
            return
        if self.model(-1) != self.model(-2):
            return
        (unit,) = self.batches.pop()
        self.batches[-1].append(unit)
        self.last = {group: min(number, before) for group, number in self.last.items()}


def _of_one_model(group: tuple[int, ...], models: Sequence[str | None]) -> list[tuple[int, ...]]:
    """The group, cut where the next unit names another model."""
    cuts = [at for at in range(1, len(group)) if models[group[at]] != models[group[at - 1]]]
    return [group[start:end] for start, end in pairwise((0, *cuts, len(group)))]


def _large(
    group: tuple[int, ...], rules: Rules, cap: int, units: Sequence[Unit], glue: Mapping[str, Sequence[int]]
) -> list[tuple[int, ...]]:
    """The parts of a group, cut where it is larger than the cap."""
    size = len(group)
    if size <= cap:
        return [group]
    if rules.oversize == "error":
        names = few([units[at].id for at in group], 20)
        files = few(sorted(glue), 20)
        why = f"they share {files}" if glue else "they depend on each other"
        raise PlanInvalid(
            f"{size} units have to stay together and a batch has at most {cap}: {names}",
            hint=f"{why}; cut them differently, name a hub file, or let them be kept or chained",
        )
    if rules.oversize == "keep" or size <= max(rules.hard_cap, cap):
        return [group]
    inside = {*group}
    within = ([at for at in who if at in inside] for who in glue.values())
    crossing = _crossing(group, [who for who in within if who])
    return [group[start:end] for start, end in _cuts(crossing, cap)]


def _crossing(units: Sequence[int], glue: Sequence[Sequence[int]]) -> list[int]:
    """For each place before a unit: how many files are written on both sides of it."""
    place = {unit: at for at, unit in enumerate(units)}
    steps = [0] * (len(units) + 1)
    for who in glue:
        at = [place[unit] for unit in who]
        steps[min(at) + 1] += 1
        steps[max(at) + 1] -= 1
    found, now = [], 0
    for step in steps:
        now += step
        found.append(now)
    return found


def _cuts(crossing: Sequence[int], cap: int) -> list[tuple[int, int]]:
    """As few parts of at most `cap` as there can be, with as few files across their cuts as there can be; of
    equal ways the one with the longer parts first.
    """
    size = len(crossing) - 1
    best: list[tuple[int, int, int]] = [(0, 0, 0)] * (size + 1)
    for start in range(size - 1, -1, -1):
        ways = [
            (best[end][0] + 1, best[end][1] + (crossing[end] if end < size else 0), -end)
            for end in range(start + 1, min(start + cap, size) + 1)
        ]
        best[start] = min(ways)
    parts, start = [], 0
    while start < size:
        parts.append((start, -best[start][2]))
        start = parts[-1][1]
    return parts
