"""USE CASE: what the finished runs of a repository came to and cost, in groups. Edge: disk, reading."""

from __future__ import annotations

from runner.errors import RunnerError
from runner.executors import LOCAL
from runner.model import Outcome, Usage
from runner.state.authentic import FOREIGN, why_foreign
from runner.state.committed import is_committed
from runner.state.manifest import between, parse_timestamp
from runner.state.store import RUNS, RunDir
from runner.usecases import look
from runner.value import StrEnum, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeVar

    from runner.state.manifest import Manifest

    _N = TypeVar("_N", int, float)

_NONE = Usage(0, 0, 0, 0)


class By(StrEnum):
    """What makes runs one group."""

    TASK = "task"
    MODEL = "model"
    DAY = "day"
    EXECUTOR = "executor"


class Totals(Value):
    """What some runs came to together. A sum is of the runs of which that is known; None is known of none."""

    key: str | None
    """The task, the model, the day (UTC) or the executor; None of the runs of a program's own default model,
    and of all.
    """
    runs: int
    succeeded: int
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    tokens_unknown: int
    """Runs of which no tokens are known."""
    cost: float | None
    cost_unknown: int
    """Runs without a price, or of which the tokens are not known."""
    p50_s: float | None
    p95_s: float | None


class Stats(Value):
    """The groups, all of them together, and how many runs were left out."""

    groups: tuple[Totals, ...]
    total: Totals
    rehearsals: int
    plans: int
    """Runs that carried a plan out; its batches count."""
    unreadable: int
    foreign: int
    """Runs whose records were not made here: nobody knows whether what they say was spent."""


def stats(root: str, *, by: By, task: str | None = None, since: float | None = None) -> Stats:
    """Of the runs that are done, and began after `since` (seconds since the epoch)."""
    left = {"rehearsals": 0, "plans": 0, "unreadable": 0, "foreign": 0}
    is_named = is_committed(root, f"{root}/{RUNS}")
    counted: list[Manifest] = []
    for row in look.runs(root, task=None, everything=True):
        if row.ended_at is None or (task is not None and row.task_id != task):
            continue
        if since is not None and (row.created_at is None or parse_timestamp(row.created_at) < since):
            continue
        if row.rehearsal or row.plan:
            left["rehearsals" if row.rehearsal else "plans"] += 1
            continue
        run = RunDir(root, row.task_id, row.run_id)
        if row.status == FOREIGN or why_foreign(run, is_named=is_named) is not None:
            left["foreign"] += 1
            continue
        try:
            counted.append(run.read_manifest())
        except RunnerError:
            left["unreadable"] += 1
    groups: dict[str | None, list[Manifest]] = {}
    for manifest in counted:
        groups.setdefault(_key(manifest, by), []).append(manifest)
    ordered = sorted(groups.items(), key=lambda pair: pair[0] or "")
    return Stats(tuple(totals(key, some) for key, some in ordered), totals(None, counted), **left)


def _key(manifest: Manifest, by: By) -> str | None:
    if by is By.TASK:
        return manifest.task_id
    if by is By.EXECUTOR:
        return LOCAL if manifest.engine is None else manifest.engine.executor
    return manifest.model if by is By.MODEL else manifest.created_at[:10]


def totals(key: str | None, runs: Sequence[Manifest]) -> Totals:
    """Of these runs together."""
    times = sorted(_durations(runs))
    costs = [0.0 if _had_no_turn(one) else one.cost for one in runs]
    usages = [_NONE if _had_no_turn(one) else one.usage for one in runs]
    return Totals(
        key=key,
        runs=len(runs),
        succeeded=sum(one.outcome is Outcome.SUCCEEDED for one in runs),
        input_tokens=_sum(usage.input_tokens for usage in usages),
        cached_input_tokens=_sum(usage.cached_input_tokens for usage in usages),
        output_tokens=_sum(usage.output_tokens for usage in usages),
        tokens_unknown=sum(usage.total is None for usage in usages),
        cost=_sum(costs),
        cost_unknown=sum(cost is None for cost in costs),
        p50_s=_percentile(times, 50),
        p95_s=_percentile(times, 95),
    )


def _durations(runs: Iterable[Manifest]) -> Iterator[float]:
    for one in runs:
        if one.started_at is not None and (took := between(one.started_at, one.ended_at)) is not None:
            yield took


def _had_no_turn(run: Manifest) -> bool:
    """Whether its agent never began, and so spent nothing."""
    return run.started_at is None and run.outcome is not Outcome.LOST


def _sum(values: Iterable[_N | None]) -> _N | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The nearest rank: a duration that there was."""
    if not ordered:
        return None
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 3)
