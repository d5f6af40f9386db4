"""USE CASES on what the reviews of a pipeline have found so far, and what became of it. Edge: disk."""

from __future__ import annotations

import contextlib

from runner.disk.files import read
from runner.errors import Conflict, RunnerError
from runner.state.authentic import refuse_forged
from runner.state.plan_ledger import Status, Step, StepKind
from runner.state.store import RunDir
from runner.usecases.takers import continued
from runner.value import Value, json_value
from runner.verify import record as records
from runner.verify.review import SEVERITIES, KeptFindings, ReviewFinding, followed, matched, once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from runner.state.plan_ledger import PlanLedger

_LARGEST = 16 << 20


class SaidAgain(Value):
    """What the newest reviews of a stage say of what its repairs were asked for."""

    found: tuple[ReviewFinding, ...]
    """All that they say, with the repair that was asked for it before."""
    free: tuple[ReviewFinding, ...]
    """What of it may be something that no repair has touched."""
    still: tuple[Step, ...]
    """The repairs whose findings they say again."""
    lost: tuple[tuple[Step, ReviewFinding], ...]
    """What was left as it was, as far as one knows, and is not said again, with the repair that left it."""


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
    """The findings that repairs of its stage were asked for after it, however grave they were then. One that
    was asked for again is one.
    """
    repairs = [one for one in plan.of_stage(step.stage or "") if one.kind is StepKind.REPAIR]
    turns = {one.called: one.turn for one in repairs}
    asked = [one for repair in repairs if repair.turn > step.turn for one in about(repair)]
    first = [one for one in asked if turns.get(one.step or "", 0) <= step.turn]
    return [one.replace(severity=SEVERITIES[0]) for one in first]


def unrepaired(plan: PlanLedger, stage: str) -> list[tuple[Step, ReviewFinding]]:
    """What repairs of a stage have left as it was, as far as one knows, each with the newest that was asked
    for it: it was rejected, or has changed nothing.
    """
    repairs = _over(plan, stage)
    again = {one.step for step in repairs for one in about(step)}
    idle = [step for step in repairs if step.called not in again and not _has_changed(step)]
    return [(step, one) for step in idle for one in about(step)]


def said_again(
    plan: PlanLedger,
    stage: str,
    reviews: Sequence[Sequence[ReviewFinding]],
    moved: Mapping[str, int],
    unknown: Collection[int] = (),
) -> SaidAgain:
    """What reviews have found, against all that repairs were asked for. Each says a finding once. Where the
    newest round has changed something, or where that is `unknown`, what it was asked for comes first, however
    grave it is now; the rest is for what was left as it was: a finding is rather kept twice than lost.
    """
    repairs, idle = _over(plan, stage), unrepaired(plan, stage)
    turn = max((step.turn for step in repairs), default=0)
    touched = [step for step in repairs if step.turn == turn and (_has_changed(step) or step.n in unknown)]
    left = [step for step, _ in idle if step not in touched]
    new, older = ([step for step in left if (step.turn == turn) is is_new] for is_new in (True, False))
    found, free, still = list[ReviewFinding](), list[ReviewFinding](), list[Step]()
    for review in reviews:
        known: dict[int, Step] = {}
        for group, severity in ((touched, None), (touched, SEVERITIES[-1]), (new, None), (older, None)):
            pairs = [(step, one) for step in group if step not in known.values() for one in about(step)]
            asked = [one.replace(severity=severity or one.severity) for _, one in pairs]
            open_ = [k for k in range(len(review)) if k not in known]
            for n, k in matched(asked, [review[k] for k in open_], moved).items():
                known[open_[k]] = pairs[n][0]
        still += known.values()
        free += [one for k, one in enumerate(review) if known.get(k) not in touched]
        found += [one.replace(step=known[k].called) if k in known else one for k, one in enumerate(review)]
    lost = tuple((step, one) for step, one in idle if step not in still)
    return SaidAgain(tuple(found), tuple(free), tuple(still), lost)


def unobserved(run: RunDir, plan: PlanLedger) -> set[int]:
    """The repairs of which nobody knows what they have changed, as outside of git."""
    found = set[int]()
    for step in plan.steps:
        if step.kind is StepKind.REPAIR and step.run is not None and step.status is Status.SUCCEEDED:
            kept = records.load(RunDir.of(run.repo, step.run).result)
            if kept is not None and kept.observed is None:
                found.add(step.n)
    return found


def _over(plan: PlanLedger, stage: str) -> list[Step]:
    over = (Status.SUCCEEDED, Status.DONE, Status.REPLACED)
    return [step for step in plan.of_stage(stage) if step.kind is StepKind.REPAIR and step.status in over]


def _has_changed(repair: Step) -> bool:
    return bool(repair.changed) and repair.status is not Status.REPLACED


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


def is_done_beside(
    plan: PlanLedger, repair: Step, finding: ReviewFinding, still: Collection[Step] = ()
) -> bool:
    """Whether a repair of the same round, of a finding near this one, has changed its file: two reviews may
    have found one thing, so that nothing was left to do for the other. Those whose findings are `still` there
    have done nothing for it.
    """
    mine = _by_round(plan, repair, finding)
    return repair.status is not Status.REPLACED and any(
        finding.file in step.changed
        and one.file == finding.file
        and all(
            _are_near(mine[turn], its) for turn, its in _by_round(plan, step, one).items() if turn in mine
        )
        for step in _over(plan, repair.stage or "")
        if step.turn == repair.turn and step.status is not Status.REPLACED and step not in still
        for one in about(step)
    )


def _by_round(plan: PlanLedger, repair: Step, finding: ReviewFinding) -> dict[int, ReviewFinding]:
    """A finding as it was asked for, by round: what was kept from one to the next has the line of then."""
    asked = {step.called: (step.turn, one) for step in _over(plan, repair.stage or "") for one in about(step)}
    found = {(turn := repair.turn): finding}
    while (before := asked.get(finding.step or "")) is not None and before[0] < turn:
        turn, finding = before
        found[turn] = finding
    return found


def _are_near(one: ReviewFinding, other: ReviewFinding) -> bool:
    return one.line == other.line or bool(one.line and other.line and one.is_near(other))


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
