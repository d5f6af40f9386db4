"""Tokens spent: by one usage, by a run, by all runs below it. Edge: disk, reading."""

from __future__ import annotations

from itertools import islice

from runner.errors import RunnerError
from runner.model import Usage
from runner.state import lineage
from runner.state.store import RunDir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.state.manifest import Attempt

_MOST_RUNS = 256


def tokens(usage: Usage | None) -> int:
    """What counts for a budget (`Usage.total`); 0 where nothing is known."""
    return 0 if usage is None else usage.total or 0


def larger(one: Usage | None, other: Usage | None) -> Usage | None:
    """Of two counts of the same thread the later one: totals only grow."""
    return one if tokens(one) >= tokens(other) and one is not None else other


def of_attempts(attempts: Sequence[Attempt]) -> Usage | None:
    """What a run has spent: of each thread the largest count, without what was spent in it before the run.

    An attempt whose program names no thread has one of its own.
    """
    threads: dict[str | int, Usage | None] = {}
    before: dict[str | int, Usage | None] = {}
    for one in attempts:
        key = one.thread_id or one.n
        threads[key] = larger(one.usage, threads.get(key))
        before[key] = larger(one.usage_before, before.get(key))
    known = [(usage, before[key]) for key, usage in threads.items() if usage is not None]
    return Usage(**{name: _sum(name, known) for name in Usage._fields}) if known else None


def in_thread(told: Usage, former: Sequence[Attempt], thread_id: object) -> Usage:
    """Of the whole thread, where a program counts from the beginning of its process: with what the attempts
    before it have spent in the thread.
    """
    same = [one for one in former if thread_id is not None and one.thread_id == thread_id]
    parts = [(one, None) for one in (told, of_attempts(same)) if one is not None]
    return Usage(**{name: _sum(name, parts) for name in Usage._fields})


def costed(attempts: Sequence[Attempt], before: float) -> tuple[Attempt, ...]:
    """With what those have cost that were interrupted before they told: the last one's program knows what its
    session had cost `before` it. The last of them has it all.
    """
    *former, last = attempts
    same = [one for one in former if one.thread_id == last.thread_id]
    silent = [one.n for one in same if one.cost is None]
    left = round(before - sum(one.cost or 0.0 for one in same), 9)
    if not silent or left <= 0:
        return tuple(attempts)
    costs = dict.fromkeys(silent, 0.0) | {silent[-1]: left}
    return tuple(one.replace(cost=costs.get(one.n, one.cost)) for one in attempts)


def tree_tokens(run: RunDir, own: int | None = None, *, at_most: int = _MOST_RUNS) -> int:
    """What the run and its descendants have spent, as far as their manifests tell.

    `own` is what its owner knows of the run itself, whose manifest is a second behind. Reads at most two
    manifests for each run, of `at_most` runs.
    """
    counts = [_tokens_of(run) if own is None else own]
    counts += map(_tokens_of, islice(lineage.descendants(run), at_most - 1))
    return sum(counts)


def _sum(name: str, threads: Sequence[tuple[Usage, Usage | None]]) -> int | None:
    values = [
        max(0, value - ((before and getattr(before, name)) or 0))
        for usage, before in threads
        if (value := getattr(usage, name)) is not None
    ]
    return sum(values) if values else None


def _tokens_of(run: RunDir) -> int:
    """0 where nothing tells (yet, or because its folder is gone)."""
    try:
        return tokens(run.read_manifest().usage)
    except RunnerError:
        return 0
