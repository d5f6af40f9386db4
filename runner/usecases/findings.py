"""USE CASES on what the reviews of a pipeline have found so far, and what became of it. Edge: disk."""

from __future__ import annotations

import contextlib

from runner.disk.files import read
from runner.errors import Conflict, RunnerError
from runner.state.authentic import refuse_forged
from runner.state.plan_ledger import Status, StepKind
from runner.state.store import RunDir
from runner.usecases.takers import continued
from runner.value import json_value
from runner.verify import record as records
from runner.verify.review import SEVERITIES, KeptFindings, ReviewFinding, followed, once, unsaid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from runner.state.plan_ledger import PlanLedger, Step

_LARGEST = 16 << 20


def found_before(run: RunDir, step: Step) -> Sequence[ReviewFinding]:
    """What a review had found before it was run anew, or a synthesis had kept."""
    found: Sequence[ReviewFinding] = ()
    if step.before and step.kind is StepKind.SYNTHESIS and step.title == "synthesis":
        is_over = step.status in (Status.SUCCEEDED, Status.DONE)
        for conductor in reversed([*continued(run)][is_over:]):
            with contextlib.suppress(RunnerError, ValueError):
                found = followed(found, kept(conductor, step.stage))
    for one in step.before if step.kind is not StepKind.SYNTHESIS else ():
        said = records.load(RunDir.of(run.repo, one).result)
        found = followed(found, said.claim.findings if said is not None and said.claim else ())
    return found


def kept(run: RunDir, stage: str | None) -> tuple[ReviewFinding, ...]:
    """What the synthesis of a stage has kept. Conflict or ForeignRun where that cannot be used."""
    path = f"{run.path}/kept-{stage}.json"
    try:
        data = read(path, _LARGEST)
    except OSError as error:
        raise Conflict(f"{path} cannot be read: {error.strerror}") from error
    refuse_forged(path, data)
    return KeptFindings.from_json(json_value(data)).findings


def asked_after(plan: PlanLedger, step: Step) -> list[ReviewFinding]:
    """The findings that repairs of its stage were asked for after it, however grave they were then."""
    repairs = [one for one in plan.of_stage(step.stage or "") if one.kind is StepKind.REPAIR]
    later = [one for one in repairs if one.turn > step.turn]
    return [one.replace(severity=SEVERITIES[0]) for repair in later for one in about(repair)]


def unrepaired(
    plan: PlanLedger, stage: str, moved: Mapping[str, int] | None = None
) -> list[tuple[Step, ReviewFinding]]:
    """What repairs of a stage have left as it was, each with the newest that was asked for it: it was
    rejected, or has changed nothing.
    """
    over = (Status.SUCCEEDED, Status.DONE, Status.REPLACED)
    repairs = [step for step in plan.of_stage(stage) if step.kind is StepKind.REPAIR and step.status in over]
    newest = {one.identity: step.turn for step in repairs for one in about(step)}
    asked = [(step, one) for step in repairs for one in about(step)]
    again = [one.replace(severity=SEVERITIES[0]) for step, one in asked if newest[one.identity] == step.turn]
    found = []
    for turn in sorted({step.turn for step in repairs}):
        # Where more of that name were asked for than later, one of them was not asked for again.
        of_turn = (one for by, one in asked if newest[one.identity] > by.turn == turn)
        lost = unsaid(of_turn, again, moved)
        found += [
            (step, one)
            for step, one in asked
            if step.turn == turn and (newest[one.identity] == turn or one in lost)
            if step.status is Status.REPLACED or not step.changed
        ]
    return found


def repaired(
    plan: PlanLedger, missing: Collection[str], told: Sequence[ReviewFinding], moved: Mapping[str, int]
) -> tuple[ReviewFinding, ...]:
    """What repairs that have changed something were asked for and is not `told` any more, however grave. All
    reviews after them are over, and known: those whose runs are gone are `missing`.
    """
    over, found = (Status.SUCCEEDED, Status.DONE), list[ReviewFinding]()
    for step in plan.steps:
        if step.kind is StepKind.REPAIR and step.status in over and step.changed:
            later = [one for one in plan.of_stage(step.stage or "") if one.turn >= step.turn]
            reviews = [one for one in later if one.kind is StepKind.REVIEW]
            if all(one.status in over and one.called not in missing for one in reviews):
                found += [one.replace(step=step.called) for one in about(step)]
    return tuple(
        one
        for one in once(found)
        if not any(one.identity == it.identity and one.is_near(it, moved.get(one.file, 0)) for it in told)
    )


def is_done_beside(plan: PlanLedger, repair: Step, finding: ReviewFinding) -> bool:
    """Whether a repair of the same round, of a finding near this one, has changed its file: two reviews may
    have found one thing, so that nothing was left to do for the other.
    """
    return repair.status is not Status.REPLACED and any(
        finding.file in step.changed and one.file == finding.file
        for step in plan.of_stage(repair.stage or "")
        if step.kind is StepKind.REPAIR and step.turn == repair.turn and step.status is not Status.REPLACED
        for one in about(step)
        if one.line == finding.line or (one.line and finding.line and one.is_near(finding))
    )


def lines_moved(run: RunDir, plan: PlanLedger) -> dict[str, int]:
    """File -> how many of its lines repairs have changed, as far as that is known: else a finding is rather
    kept twice than lost.
    """
    found: dict[str, int] = {}
    for step in plan.steps:
        if step.kind is StepKind.REPAIR and step.changed and step.run is not None:
            kept = records.load(RunDir.of(run.repo, step.run).result)
            seen = None if kept is None else kept.observed
            if seen is None:
                continue
            is_one = seen.lines_each is None and len(seen.changed) == 1
            each = (sum(seen.lines or ()),) if is_one else seen.lines_each or ()
            for path, lines in zip(seen.changed, each, strict=False):
                found[path] = found.get(path, 0) + lines
    return found


def about(step: Step) -> list[ReviewFinding]:
    """The findings that a step is about."""
    return [ReviewFinding.from_json(finding) for finding in step.about]
