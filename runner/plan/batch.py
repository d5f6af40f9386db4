"""Turns a plan into batches and a decision: the same plan and rules always give the same. Pure.

The steps: which units stay local, which have to stay together, their order, how they fill batches, and
whether delegating pays (docs/plans.md).
"""

from __future__ import annotations

from runner.plan import economics, effort
from runner.plan.checks import joined
from runner.plan.decision import ANYWAY, Batch, Decision, Estimate, Local, Warn
from runner.plan.graph import ordered, strong
from runner.plan.notes import Grouped, glue_files, warnings
from runner.plan.overlap import shared
from runner.plan.pack import Group, pack
from runner.plan.units import Rules, leads_outside
from runner.text.words import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from runner.plan.pack import Packed
    from runner.plan.units import Plan, Unit


def decide(plan: Plan, rules: Rules | None = None) -> Decision:
    """What to delegate of `plan`, in which batches, and whether it pays; PlanInvalid where units that have to
    stay together are more than `rules` allow.
    """
    rules = Rules() if rules is None else rules
    finished = {unit.id for unit in plan.units if unit.done}
    units = [_without(unit, finished) for unit in plan.units if not unit.done] if finished else plan.units
    done = tuple(Local(unit.id, "done") for unit in plan.units if unit.done)
    if not units:
        return Decision("skip", "all units are done", Estimate(0, 0, 0, True, 0), (), done, (), ())
    if not rules.forced and all(unit.trivial for unit in units):
        return _skip(units, done)
    number = {unit.id: at for at, unit in enumerate(units)}
    before = [[number[name] for name in dict.fromkeys(unit.depends_on)] for unit in units]
    grouped = _groups(units, before, _stay(units, rules), rules)
    ranks = {name: at for at, name in enumerate(dict.fromkeys(unit.model for unit in units))}
    order = ordered(
        _turned(group.before for group in grouped.groups),
        [(group.phase, ranks[units[min(group.units)].model], min(group.units)) for group in grouped.groups],
    )
    packed = pack(grouped.groups, order, rules, units, grouped.glue)
    batches = _batches(units, before, grouped, packed, rules)
    local = (*done, *(Local(units[at].id, grouped.stay[at]) for at in sorted(grouped.stay)))
    verdict = _verdict(batches, rules)
    decision, reason = _judged(verdict, rules)
    found = (*warnings(units, grouped, packed, rules), *_tied(units, grouped.stay))
    return Decision(decision, reason, verdict, batches, local, found, glue_files(grouped, packed))


def _without(unit: Unit, finished: Collection[str]) -> Unit:
    """The unit as one that waits for none of these."""
    return unit.replace(depends_on=tuple(name for name in unit.depends_on if name not in finished))


def _skip(units: Sequence[Unit], done: tuple[Local, ...]) -> Decision:
    count = "the only unit is" if len(units) == 1 else f"all {len(units)} units are"
    reason = f"{count} trivial: delegating them costs more than doing them; {ANYWAY}"
    local = (*done, *(Local(unit.id, "trivial") for unit in units))
    return Decision("skip", reason, Estimate(0, 0, 0, True, 0), (), local, (), ())


def _stay(units: Sequence[Unit], rules: Rules) -> dict[int, str]:
    """Unit -> why it is not delegated."""
    found = {}
    for at, unit in enumerate(units):
        files = unit.files
        if any(map(leads_outside, (*files.create, *files.modify, *files.read))):
            found[at] = "outside_repo"
        elif unit.trivial and rules.trivial == "local":
            found[at] = "trivial"
    return found


def _groups(
    units: Sequence[Unit], before: Sequence[Sequence[int]], stay: dict[int, str], rules: Rules
) -> Grouped:
    """Units that write the same files, or wait for each other once these are together."""
    together = shared(units, stay, rules.hub_files)
    edges = _turned(before)
    rank = _ranks(edges)
    merged: list[list[int]] = [[] for _ in units]
    for at, root in enumerate(together.root):
        merged[root] += [together.root[other] for other in edges[at] if together.root[other] != root]
    part = strong(merged)
    members: dict[int, list[int]] = {}
    for at, root in enumerate(together.root):
        members.setdefault(part[root], []).append(at)
    place = {lowest: number for number, lowest in enumerate(members)}
    of = [place[part[root]] for root in together.root]
    phases = _phases(units)
    groups = []
    for number, inside in enumerate(members.values()):
        local = not stay.keys().isdisjoint(inside)
        if local:  # a person has to do one of them between the others, so it cannot be one run
            stay.update({at: "tied_to_local" for at in inside if at not in stay})
        if len(inside) > 1:
            waits = {of[other]: None for at in inside for other in before[at]}
            waits.pop(number, None)
            inside.sort(key=rank.__getitem__)
        else:
            waits = dict.fromkeys([of[other] for other in before[inside[0]]])
        groups.append(Group.of((tuple(inside), tuple(waits), min([phases[at] for at in inside]), local)))
    glue: list[dict[str, list[int]]] = [{} for _ in groups]
    for path, who in together.several.items():
        glue[of[who[0]]][path] = who
    return Grouped(groups, of, glue, stay, together)


def _batches(
    units: Sequence[Unit], before: Sequence[Sequence[int]], grouped: Grouped, packed: Packed, rules: Rules
) -> tuple[Batch, ...]:
    batch_of = {at: n for n, inside in enumerate(packed.batches, 1) for at in inside}
    waves = _Waves(rules.widest_wave)
    contested = _contested(units, grouped)
    found: list[Batch] = []
    for n, inside in enumerate(packed.batches, 1):
        whole = [units[at] for at in inside]
        waits = {other for at in inside for other in before[at]}
        after = {batch_of[other] for other in waits if other in batch_of} - {n}
        behind = max(
            (packed.after[grouped.group_of[other]] for other in waits if other not in batch_of), default=0
        )
        if n in packed.chained and n - 1 in packed.chained and _same_group(grouped, packed, n):
            after.add(n - 1)
        writes = {path for unit in whole for path in (*unit.files.create, *unit.files.modify)}
        reads = {path for unit in whole for path in unit.files.read}
        chained = n in packed.chained
        wave = waves.add([*after], behind, reads, contested & writes, chained)
        found.append(
            Batch(
                n=n,
                units=tuple(unit.id for unit in whole),
                files=tuple(sorted(writes)),
                effort=effort.of_batch(whole, rules.effort_floor),
                verify=joined(command for unit in whole for command in unit.verify),
                chained=chained,
                wave=wave,
                est_tokens=economics.batch_tokens(len(whole), rules.economics),
                est_seconds=economics.batch_seconds(n, len(whole), len(packed.batches)),
                after=tuple(sorted(after | ({behind} if behind else set()))),
                model=whole[0].model,
            )
        )
    return tuple(found)


class _Waves:
    """Takes the batches in their order and gives each its wave, from 1.

    Batches of one wave may run side by side: they do not depend on each other, and none writes a plain path
    that another one reads or writes; such batches are in different waves, in their order. A chained batch has
    its own wave.
    """

    def __init__(self, at_most: int) -> None:
        self.at_most = at_most
        self.of: list[int] = [0]
        """The wave of each batch; batches count from 1."""
        self._top: list[int] = [0]
        self._written: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._count: dict[int, int] = {}
        self._next: dict[int, int] = {}

    def add(
        self, after: Sequence[int], behind: int, reads: Collection[str], writes: Collection[str], alone: bool
    ) -> int:
        """The wave of the next batch. It waits for the batches `after`, and for all up to `behind`."""
        least = max([self._top[behind], *(self.of[other] for other in after)])
        for path in writes:
            least = max(least, self._written.get(path, 0), self._read.get(path, 0))
        for path in reads:
            least = max(least, self._written.get(path, 0))
        wave = self._top[-1] + 1 if alone else self._free(least + 1)
        self._count[wave] = self.at_most if alone else self._count.get(wave, 0) + 1
        if self._count[wave] >= self.at_most:
            self._next[wave] = wave + 1
        for path in writes:
            self._written[path] = max(wave, self._written.get(path, 0))
        for path in reads:
            self._read[path] = max(wave, self._read.get(path, 0))
        self.of.append(wave)
        self._top.append(max(wave, self._top[-1]))
        return wave

    def _free(self, wave: int) -> int:
        """The first wave from there on that is not full; full ones are passed over faster each time."""
        way = []
        while wave in self._next:
            way.append(wave)
            wave = self._next[wave]
        for passed in way:
            self._next[passed] = wave
        return wave


def _contested(units: Sequence[Unit], grouped: Grouped) -> set[str]:
    """The paths that more than one unit touches; only these can keep two batches apart."""
    found = {path for unit in units for path in unit.files.read}
    return found.union(grouped.together.several, grouped.together.hubs)


def _same_group(grouped: Grouped, packed: Packed, n: int) -> bool:
    return grouped.group_of[packed.batches[n - 1][0]] == grouped.group_of[packed.batches[n - 2][0]]


def _verdict(batches: Sequence[Batch], rules: Rules) -> Estimate:
    count = sum(len(batch.units) for batch in batches)
    net = economics.net_tokens(count, len(batches), rules.economics)
    noise = economics.within_noise(count, net) if count else True
    return Estimate(count, len(batches), net, noise, economics.delegated_seconds(count))


def _judged(verdict: Estimate, rules: Rules) -> tuple[str, str]:
    """The decision and its sentence."""
    if not verdict.units:
        return "skip", "no unit can be delegated"
    net = verdict.net_tokens
    cost = f"about {abs(net):,} tokens {'more' if net > 0 else 'less'} than" if net else "as many tokens as"
    cost += " doing them directly"
    cost += ", which is within noise" if verdict.within_noise else ""
    told = f"{count(verdict.units, 'unit')} in {count(verdict.batches, 'batch', 'batches')} "
    told += f"{'costs' if verdict.units == 1 else 'cost'} {cost}"
    if rules.forced:
        return "delegate", f"asked for: {told}"
    decision = economics.verdict(verdict.units, net)
    if decision == "not_worth":
        few = f"fewer than {economics.WORTH_FROM} units: " * (verdict.units < economics.WORTH_FROM)
        return decision, f"{few}{told}; {ANYWAY}"
    if decision == "break_even":
        return decision, f"about break-even: {told}; {ANYWAY}"
    return decision, told


def _tied(units: Sequence[Unit], stay: Mapping[int, str]) -> tuple[Warn, ...]:
    names = tuple(units[at].id for at in sorted(stay) if stay[at] == "tied_to_local")
    why = "units share files around a unit that is not delegated, so they are not delegated either"
    return (Warn("tied_to_local", why, names),) if names else ()


def _phases(units: Sequence[Unit]) -> list[int]:
    """The rank of each unit's phase: none is first, then numbers by their size, then names by their place."""
    names = dict.fromkeys(unit.phase for unit in units)
    numbers = sorted(name for name in names if isinstance(name, int))
    texts = [name for name in names if isinstance(name, str)]
    rank = {name: at for at, name in enumerate((None, *numbers, *texts))}
    return [rank[unit.phase] for unit in units]


def _turned(before: Iterable[Sequence[int]]) -> list[list[int]]:
    """What comes after each, from what comes before each."""
    all_before = list(before)
    after: list[list[int]] = [[] for _ in all_before]
    for at, others in enumerate(all_before):
        for other in others:
            after[other].append(at)
    return after


def _ranks(edges: Sequence[Sequence[int]]) -> list[int]:
    """The place of each unit in an order that all dependencies agree with."""
    found = [0] * len(edges)
    for place, at in enumerate(ordered(edges, range(len(edges)))):
        found[at] = place
    return found
