"""USE CASE: the economics of plans, measured in this repository's own manifests. Edge: disk, reading."""

from __future__ import annotations

from runner.errors import Conflict, RunnerError, RunNotFound
from runner.model import Outcome
from runner.plan.calibrate import Calibration, Sample, fit
from runner.state import index
from runner.state.authentic import own_ledger, why_foreign
from runner.state.manifest import parse_timestamp
from runner.state.plan_ledger import Status
from runner.state.store import RunDir
from runner.usecases import find
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.model import Economics, Lineage
    from runner.state.manifest import Manifest
    from runner.state.plan_ledger import PlanLedger

_LARGEST_COUNT = 10**15


class Measured(Value):
    """What the batches of all plans have used. `left_out`: why others do not count -> how many of them."""

    samples: tuple[Sample, ...]
    left_out: dict[str, int]


class Calibrated(Value):
    """A fit, and what was left out of it."""

    fitted: Calibration
    left_out: dict[str, int]


def calibrate(root: str, before: Economics) -> Calibrated:
    """Conflict where there is too little to fit to."""
    found = measured(root)
    try:
        return Calibrated(fit(found.samples, before), found.left_out)
    except Conflict as error:
        told = left_out_text(found.left_out)
        raise Conflict(error.message + (f" (left out: {told})" if told else ""), hint=error.hint) from None


def measured(root: str) -> Measured:
    """Every successful batch, once: a resumed plan names again what was done before."""
    found: list[Sample] = []
    left_out: dict[str, int] = {}
    seen: set[str] = set()
    for plan in _ledgers(root):
        for step in plan.steps:
            if step.status is not Status.SUCCEEDED or step.run is None or not step.units:
                continue
            if step.run.run_id in seen:
                continue
            seen.add(step.run.run_id)
            sample = _sample(root, step.run, len(step.units))
            if isinstance(sample, str):
                left_out[sample] = left_out.get(sample, 0) + 1
            else:
                found.append(sample)
    return Measured(tuple(found), dict(sorted(left_out.items())))


def left_out_text(left_out: dict[str, int]) -> str:
    """`2 gone, 1 rehearsal`, or nothing."""
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in left_out.items())


def _ledgers(root: str) -> Iterator[PlanLedger]:
    """Of every run of ours that carries out a plan. What cannot be read as one says nothing."""
    for task, run_id in sorted(index.folders(root)):
        try:
            yield own_ledger(RunDir(root, task, run_id))
        except RunnerError:
            continue


def _sample(root: str, run: Lineage, units: int) -> Sample | str:
    """What the run has used, or why it does not count."""
    try:
        found = find.by_manifest_path(root, run.manifest_path)
        manifest = found.read_manifest()
    except RunNotFound:
        return "gone"
    except RunnerError:
        return "unreadable"
    if why_foreign(found) is not None:
        return "foreign"
    if manifest.rehearsal:
        return "rehearsal"
    if manifest.outcome is not Outcome.SUCCEEDED:
        return "not_succeeded"
    tokens = _tokens(manifest)
    return "without_tokens" if tokens is None else Sample(units, tokens, _seconds(manifest))


def _tokens(manifest: Manifest) -> int | None:
    """Input that was not cached, and output; None where one of them is not known, or cannot be."""
    used = manifest.usage
    given, cached, written = map(_count, (used.input_tokens, used.cached_input_tokens, used.output_tokens))
    if given is None or cached is None or written is None or given < cached:
        return None
    return given - cached + written


def _count(value: int | None) -> int | None:
    return value if value is not None and 0 <= value <= _LARGEST_COUNT else None


def _seconds(manifest: Manifest) -> float | None:
    """How long it ran, without its pauses; None where that is not known."""
    if manifest.started_at is None or manifest.ended_at is None:
        return None
    took = parse_timestamp(manifest.ended_at) - parse_timestamp(manifest.started_at) - manifest.paused_seconds
    took -= manifest.suspended_seconds
    return took if 0 <= took < _LARGEST_COUNT else None
