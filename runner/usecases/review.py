"""USE CASES on the result of a run: its report and its changes. Edges: disk, git.

Code that calls git is imported only by `diff`.
"""

from __future__ import annotations

import contextlib
import os

from runner.disk.files import no_follow
from runner.errors import Conflict, InvocationBroken, RunnerError
from runner.model import Level
from runner.state.authentic import Why, own_ledger, refuse_foreign, why_foreign
from runner.state.events import read_events
from runner.state.fingerprints import WITHHELD
from runner.state.lineage import children
from runner.state.plan_ledger import Status, StepKind
from runner.state.store import RunDir, is_run_id
from runner.text.words import count
from runner.usecases import ledger_part
from runner.usecases.accept import judged, own_tree
from runner.usecases.fate import of_change
from runner.usecases.findings import (
    asked_after,
    found_before,
    kept,
    lines_moved,
    repaired,
    said_again,
    unobserved,
    unrepaired,
)
from runner.usecases.logs import redactor, refusals, shown_checks, unknown_secrets
from runner.usecases.look import Shown, look, show
from runner.usecases.takers import continued
from runner.value import Value
from runner.verify import record as records
from runner.verify import report as reports
from runner.verify.checks import Check
from runner.verify.inspect import Allowed, allowed_by
from runner.verify.record import Record
from runner.verify.report import ReportedFiles
from runner.verify.review import ReviewFinding, unsaid
from runner.workspace.undecided import standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runner.model import Json
    from runner.state.manifest import Manifest
    from runner.state.plan_ledger import PlanLedger, Step
    from runner.verify.report import Report
    from runner.workspace.changes import LinesChanged
    from runner.workspace.worktree import Worktree

HAS_SECRET = "this patch has the value of a secret in it: patches are exact and never redacted"


class Reviewed(Value):
    """A report, and notes for its reader, one sentence each. `change`: the note on where its change is."""

    report: Report
    notes: tuple[str, ...]
    manifest: Manifest
    """That the report is of."""
    change: tuple[str, ...] = ()
    unrun: tuple[tuple[str, ...], ...] = ()
    """The checks that were declared and not run."""
    steps: tuple[tuple[str, Reviewed], ...] = ()
    """Of a plan: its steps that no later one stands for, by name."""
    missing: tuple[str, ...] = ()
    """And what of it nobody knows the results of."""


class Patch(Value):
    """The change of a run as `git apply` takes it. `kept` is the file that it stands in; None: it was made
    just now from the tree.
    """

    data: bytes
    files: tuple[LinesChanged, ...]
    kept: str | None
    notes: tuple[str, ...]

    @property
    def text(self) -> str | None:
        """None where it is not UTF-8: the contents of a file that is not."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None


def report(run: RunDir) -> Reviewed:
    """What is known of a run, done or not; of a plan, with its batches. A result that cannot be read is a
    note and no error.
    """
    reviewed = _alone(run)
    if reviewed.manifest.plan is None:
        return reviewed
    notes, hider = [*reviewed.notes], redactor(run, reviewed.manifest)
    try:
        plan = own_ledger(run) if why_foreign(run) is None else run.read_ledger()  # what it says is shown
    except (RunnerError, ValueError) as error:
        notes.append(f"the results of its runs are not known: {os.path.basename(run.ledger)}: {error}")
        return reviewed.replace(notes=tuple(notes), missing=("its steps",))
    steps: list[tuple[str, Reviewed]] = []
    missing: list[str] = []
    made = _with_batches(reviewed.report, run, plan, notes, steps, missing)
    names, ways = ("gates", "repaired", "review_findings"), (hider.redact_text, hider.redact_name)
    made = made.replace(**{name: reports.redacted(getattr(made, name), *ways) for name in names})
    return Reviewed(made, tuple(notes), reviewed.manifest, steps=tuple(steps), missing=tuple(missing))


def refuse_unproven(run: RunDir) -> None:
    """As `refuse_foreign`; of a plan also for its ledger, and for the runs of its steps that are there."""
    refuse_foreign(run)
    if run.read_manifest().plan is None or not os.path.lexists(run.ledger):
        return
    for step in own_ledger(run).steps:
        for one in (step.run, *step.before):
            if one is not None and is_run_id(one.run_id):
                its = RunDir.of(run.repo, one)
                if os.path.lexists(its.path):
                    refuse_foreign(its)


def _alone(run: RunDir) -> Reviewed:
    shown = show(run)
    manifest = shown.manifest
    notes: list[str] = []
    found = _result(run, manifest, notes)
    allowed, declared = _allowed(run, manifest, notes)
    hider = redactor(run, manifest)
    redact = hider.redact_text
    known = found or Record.unjudged(manifest.attempt, _checks(run), declared, manifest.conformance)
    refused = refusals(run, manifest)
    if refused and unknown_secrets(run, manifest):
        refused = (WITHHELD,) * len(refused)
    told = ledger_part.part(run) if shown.foreign is None else None
    made = reports.report(manifest.to_json(), allowed, known, redact, refused, told, hider.redact_name)
    made = made.replace(residual_risk=(*map(redact, _foreign(shown)), *made.residual_risk))
    change = () if shown.foreign is not None else _where(run, manifest)
    if shown.foreign is None:
        notes += _to_do(run, found)
    unrun = reports.redacted(shown_checks(run, manifest, allowed.checks)[len(known.checks) :], redact)
    return Reviewed(made, tuple(map(redact, notes)), manifest, tuple(map(redact, change)), unrun)


def _foreign(shown: Shown) -> list[str]:
    """What a reader has to know before all else; that nothing says what the run was is a note already."""
    found = shown.foreign
    if found is None or found.why is Why.UNKNOWN:
        return []
    return [f"this run is foreign, so nothing of this report is sure: {found.message}"]


def _with_batches(
    own: Report,
    run: RunDir,
    plan: PlanLedger,
    notes: list[str],
    steps: list[tuple[str, Reviewed]],
    missing: list[str],
) -> Report:
    """The report of a plan, from those of its batches' latest runs: these become `steps` or are `missing`."""
    from runner.verify.plan_report import of_plan

    found, moved = [], lines_moved(run, plan)
    lost = [one.replace(step=step.called) for name in plan.stages for step, one in unrepaired(plan, name)]
    reviews: dict[str, list[Sequence[ReviewFinding]]] = {}
    for step in plan.steps:
        name = step.called
        asked = asked_after(plan, step)
        lost += [one.replace(step=name) for one in unsaid(_before(run, step), asked, moved)]
        if without := sum(not os.path.exists(RunDir.of(run.repo, one).result) for one in step.before):
            notes.append(f"{name}: what {count(without, 'earlier run')} of it had found is gone")
        if step.run is None or not is_run_id(step.run.run_id):
            continue
        try:
            reviewed = _alone(RunDir.of(run.repo, step.run))
            manifest, told = reviewed.manifest, reviewed.report
            if plan.is_outdone(step):
                more = () if step.kind is StepKind.COMPARE else told.review_findings or ()
                lost += [one.replace(step=name) for one in unsaid(more, asked, moved)]
                told = told.replace(review_findings=None)
            elif step.kind is StepKind.SYNTHESIS:  # in the words of the analyses, once it was accepted
                is_kept = step.title == "synthesis" and step.status in (Status.SUCCEEDED, Status.DONE)
                said = _redacted(kept(run, step.stage), run, manifest) if is_kept else None
                told = told.replace(review_findings=said)
        except RunnerError as error:
            notes.append(f"{name} is not in this report: {error.message}")
            missing.append(name)
            continue
        if step.is_reader:  # what is not looked at there is no change that nobody knows
            told = told.replace(files=ReportedFiles((), (), ()))
        found.append((name, told))
        reviews.setdefault(step.stage or "", []).append(told.review_findings or ())
        if step.status not in (Status.DONE, Status.REPLACED):
            steps.append((name, reviewed))
        notes += [f"{name}: {note}" for note in (*reviewed.change, *reviewed.notes)]
    still = [one for _, told in found for one in told.review_findings or ()]
    own = own.replace(review_findings=tuple(unsaid(lost, _free(run, plan, reviews, moved), moved)))
    own = own.replace(gates=tuple(_gates(run, plan, own.outcome is not None)))
    unfound = repaired(plan, missing, [*lost, *still], moved)
    return of_plan(own, found, plan.left, missing, _spent(run, plan, notes)).replace(repaired=unfound)


def _free(
    run: RunDir,
    plan: PlanLedger,
    reviews: Mapping[str, Sequence[Sequence[ReviewFinding]]],
    moved: Mapping[str, int],
) -> list[ReviewFinding]:
    """Of what the newest reviews of each stage say, all that may be something that no repair has touched."""
    unknown, found = unobserved(run, plan), list[ReviewFinding]()
    for stage, said in reviews.items():
        found += said_again(plan, stage, said, moved, unknown).free
    return found


def _spent(run: RunDir, plan: PlanLedger, notes: list[str]) -> Sequence[Json]:
    """By the tries before the latest ones."""
    latest = {step.run.run_id for step in plan.steps if step.run is not None}
    earlier = [manifest.usage.to_json() for name, manifest in _tries(run).items() if name not in latest]
    if (gone := sum(step.tries for step in plan.steps) - len(latest) - len(earlier)) > 0:
        runs = count(gone, "earlier try is gone, with its", "earlier tries are gone, with their")
        notes.append(f"{runs} tokens")
    return earlier


def _redacted(found: Sequence[ReviewFinding], run: RunDir, manifest: Manifest) -> tuple[ReviewFinding, ...]:
    hider = redactor(run, manifest)
    return tuple(reports.redacted(one, hider.redact_text, hider.redact_name) for one in found)


def _before(run: RunDir, step: Step) -> Sequence[ReviewFinding]:
    """As `found_before`, for people."""
    if not step.before:
        return ()
    try:
        last = RunDir.of(run.repo, step.before[-1])
        return _redacted(found_before(run, step), last, last.read_manifest())
    except RunnerError:
        return ()


def _gates(run: RunDir, plan: PlanLedger, is_over: bool) -> Iterator[str]:
    """What has become of what is no run, in the words of `status`, and who has signed it."""
    from runner.usecases.approval import decision

    for step, shown in zip(plan.steps, plan.shown(is_over=is_over)["batches"], strict=True):
        if not step.has_run and step.status is not Status.REPLACED:
            why, signed = f" ({step.why.message})" if step.why else "", None
            with contextlib.suppress(RunnerError):  # nobody believes that ledger
                signed = decision(run, step.asked) if step.asked and step.status is Status.SUCCEEDED else None
                signed = signed if signed and signed.digest == step.digest else None
            by = f", approved by {signed.signer}" if signed and signed.approved else ""
            yield f"{step.called}: {shown['status']}{by}{why}"


def runs_of_plan(run: RunDir) -> list[Manifest]:
    """Those of its batches that are still there, with those of the runs of the plan that it continues."""
    try:
        run.read_ledger()
    except ValueError:
        return []
    return [*_tries(run).values()]


def _tries(run: RunDir) -> dict[str, Manifest]:
    """Run id -> manifest of all runs of batches, also under the runs of the plan that this one continues."""
    found: dict[str, Manifest] = {}
    for one in continued(run):
        for child in children(one):
            with contextlib.suppress(RunnerError):
                found[child.run_id] = child.read_manifest()
    return found


def _result(run: RunDir, manifest: Manifest, notes: list[str]) -> Record | None:
    """What was found at its end. It speaks of one attempt, and of none that came after that."""
    name = os.path.basename(run.result)
    try:
        found = records.read(run.result)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        notes.append(f"{name} cannot be used, so this is from the manifest alone: {why}")
        return None
    if not manifest.is_done:
        return None
    if found.attempt != manifest.attempt:
        notes.append(
            f"{name} is of attempt {found.attempt}, the run is at {manifest.attempt}: it is left out"
        )
        return None
    return found


def _allowed(run: RunDir, manifest: Manifest, notes: list[str]) -> tuple[Allowed, int]:
    """What it was allowed, and how many checks were declared."""
    try:
        invocation = run.read_invocation()
    except InvocationBroken as error:
        notes.append(f"the terms of the run are not known: {error.message}")
        return Allowed(writes=manifest.sandbox.level is not Level.READ_ONLY), 0
    return allowed_by(invocation), len(invocation.verify)


def _checks(run: RunDir) -> tuple[Check, ...]:
    """The checks of the last attempt so far, from their events."""
    found: list[Check] = []
    for event in read_events(run.events):
        if event.get("type") == "started":
            found = []
        elif event.get("type") == "checked":
            with contextlib.suppress(ValueError):
                found.append(Check.from_json(event))
    return tuple(found)


def _where(run: RunDir, manifest: Manifest) -> tuple[str, ...]:
    change = of_change(run, manifest)
    if change is None or (manifest.outcome == "succeeded" and standing(run.path) is None):
        return ()
    return (f"its changes: {change}",)


def _to_do(run: RunDir, found: Record | None) -> Iterator[str]:
    if found is not None and found.rolled_back is not None:
        rolled = found.rolled_back
        if rolled.refused is not None:
            yield f"the rollback was refused: {rolled.refused}"
        for text in (*rolled.left, *rolled.unequal):
            yield f"not as it was before: {text}"
        if rolled.kept:
            files = count(len(rolled.kept), "file was", "files were")
            yield f"{files} edited meanwhile and kept in {run.path}/kept"


def diff(run: RunDir, *, as_judged: bool = False) -> Patch:
    """The change of a run so far, or what was kept of it; `as_judged`: what the verdict speaks of, where
    there is one. Conflict where nothing was recorded before it.
    """
    from runner.workspace import changes, rollback

    manifest = look(run)
    refuse_foreign(run)
    if manifest.plan is not None:
        raise Conflict(
            f"run `{run.run_id}` is the run of a plan or pipeline: each of its runs has its own changes",
            hint="`runner status RUN` names their runs, and `runner diff` shows each",
        )
    tree = own_tree(run)
    notes: list[str] = []
    kept = rollback.discarded(run.path) if tree is None else _kept_patch(tree)
    if as_judged and tree is None and judged(run) is not None:
        kept = None  # that has what came later, too
    if kept is None:
        data = _change_now(run, manifest, tree, notes, as_judged=as_judged)
    else:
        what = "its changes were rolled back" if tree is None else "its work tree is gone"
        notes.append(f"{what}; this patch was kept: {kept}")
        data = _read(kept)
    if redactor(run, manifest).finds_value(data):
        notes.append(HAS_SECRET)
    return Patch(data, changes.lines_of(data), kept, tuple(notes))


def kept_patch(run: RunDir) -> str | None:
    """The file that its change is kept in; None without one."""
    from runner.workspace import rollback

    try:
        tree = own_tree(run)
        path = rollback.discarded(run.path) if tree is None else tree.patch
    except (RunnerError, OSError):
        return None
    return path if path is not None and os.path.isfile(path) else None


def left_by(run: RunDir) -> tuple[str, ...]:
    """The files that differ from the start of a run in place; () where that is not known."""
    from runner.workspace import snapshot
    from runner.workspace.changes import changed

    try:
        taken = None if own_tree(run) is not None else snapshot.load(run.path)
        return () if taken is None else changed(taken).names
    except (RunnerError, OSError):
        return ()


def _kept_patch(tree: Worktree) -> str | None:
    """The patch in the run's folder, once the tree is gone or going."""
    if tree.is_there() and not tree.removal_began:
        return None
    if os.path.lexists(tree.patch):
        return tree.patch
    raise Conflict(
        f"the work tree {tree.path} is gone, and no patch of it was kept",
        hint="it was removed by hand; `runner report RUN` shows what is known",
    )


def _change_now(
    run: RunDir, manifest: Manifest, tree: Worktree | None, notes: list[str], *, as_judged: bool
) -> bytes:
    from runner.workspace import changes, snapshot
    from runner.workspace.earlier import load_earlier

    taken = snapshot.load(run.path)
    if taken is None and manifest.sandbox.level is Level.READ_ONLY:
        raise Conflict(
            f"run `{run.run_id}` was read-only: its files were not recorded, so there is no change to show",
            hint="`runner report RUN` has what its agent answered",
        )
    if taken is None:
        raise Conflict(
            f"nothing was recorded before run `{run.run_id}`, so its changes are not known",
            hint="runs outside git are not recorded",
        )
    if (earlier := load_earlier(run.path)) is not None:
        first = os.path.basename(earlier.base)
        notes.append(
            f"earlier tries have worked in this tree: `runner diff {first}` shows all since the first"
        )
    try:
        seen = judged(run) if tree is not None or as_judged else None
        if manifest.is_done and tree is None and seen is None:
            notes.append(f"all changes since the run began; it ended {manifest.ended_at}")
        if seen is not None and tree is not None and (later := changes.between(taken, seen)):
            files = count(later, "file was", "files were")
            notes.append(f"{files} changed in its work tree after it was judged: not shown, nor accepted")
        return changes.diff(taken, seen)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Conflict(f"the snapshot of run `{run.run_id}` is not whole: {error}") from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", opener=no_follow) as file:
            return file.read()
    except OSError as error:
        raise Conflict(f"{path} cannot be read: {error.strerror}") from error
