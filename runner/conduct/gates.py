"""What lets a stage of a pipeline pass: commands, findings, a document, a person. Edges: disk, processes."""

from __future__ import annotations

import contextlib

from runner.conduct import plan_record
from runner.conduct.compared import ComparedRuns
from runner.conduct.verify_together import Verifying, verify
from runner.conduct.work import redactor
from runner.disk.files import replace_bytes
from runner.errors import RunnerError
from runner.ledger.entry import EntryType
from runner.model import Reason
from runner.state.authentic import own_invocation, refuse_foreign
from runner.state.plan_ledger import APPROVAL, CHANGED, PlanLedger, Status, Step, StepKind
from runner.state.store import RunDir
from runner.text.terminal import plain
from runner.text.words import count, few, one_line
from runner.usecases import approval
from runner.usecases import ledger as ledgers
from runner.usecases.findings import (
    about,
    asked_after,
    found_before,
    is_done_beside,
    lines_moved,
    said_again,
    unobserved,
    unrepaired,
)
from runner.verify import record
from runner.verify.inspect import Allowed, own_checks
from runner.verify.review import PLACES, SEVERITIES, ReviewFinding, followed, gravest_first, once, unsaid
from runner.workspace.git import Git

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runner.conduct.plan_record import PipelineAssignment
    from runner.conduct.stage_plan import StagePlans
    from runner.conduct.work import Work
    from runner.plan.pipeline import Gate, Stage

_MOST_REPAIRS = 20
"""Of one round: more findings than that are for a person to look at."""
_MOST_TOLD = 20
_SEEN = ("--cached", "--others", "--exclude-standard", "--error-unmatch", "--")
_NO_REVIEWS = (StepKind.BATCH, StepKind.REPAIR)
_REVIEWS = (StepKind.TASK, StepKind.REVIEW)
_REJECTED = "not_approved"
_NOT_NEEDED = Reason("not_needed", "nothing that needs it can begin any more")
_SUCCEEDED = (Status.SUCCEEDED, Status.DONE)
_STOPPED = (Status.FAILED, Status.PARKED)


class Gates:
    """Of one run of a pipeline."""

    def __init__(self, work: Work, run: RunDir, given: PipelineAssignment, plans: StagePlans) -> None:
        self._work, self._config, self._run, self._given, self._plans = work, work.config, run, given, plans
        self.compared = ComparedRuns(work.config, run, given)
        self._asked: dict[int, tuple[str | None, str]] = {}
        """Step -> the digest of the document when a person was asked last, and the entry."""

    def closing(self, stage: Stage, n: int, after: tuple[int, ...], turn: int = 1) -> list[Step]:
        """The last steps of a stage, of which the first has this number."""
        made = []
        if stage.person is None or stage.gate.commands:
            is_last = not stage.gate.approve or stage.person is not None
            told = Step(
                n, (), after, stage=stage.name, kind=StepKind.GATE, title=_words(stage.gate), turn=turn
            )
            made.append(told.replace(is_last=is_last))
        if stage.gate.approve and stage.person is None:
            person = Step(n + len(made), (), (n,), stage=stage.name, kind=StepKind.PERSON, title=APPROVAL)
            made.append(person.replace(is_last=True))
        return made

    def looked(self, ledger: PlanLedger, step: Step, env: Mapping[str, str], *, is_quiet: bool) -> PlanLedger:
        """As `Work.looked`."""
        stage = self._given.pipeline.stage(step.stage or "")
        try:
            if step.kind is StepKind.PERSON:
                return self._person(ledger, stage, step)
            if stage.plan is not None and not ledger.plan_is_read(stage.name):
                return self._plan(ledger, stage, step)
            if stage.gate.commands and not is_quiet:
                return ledger  # they write where runs read
            return self._gate(ledger, stage, step, env)
        except RunnerError as error:
            if error.retryable or error.code == "handle_not_found":  # a person was faster: look again
                return ledger
            first = [] if error.message.startswith(error.problems[:1]) else [error.message]
            why = "; ".join(map(one_line, (*first, *error.problems[:10])))
            return ledger.not_passed(step.n, Reason(error.code, why))

    # -- people --------------------------------------------------------------------------------------

    def asked_again(self, ledger: PlanLedger) -> PlanLedger:
        """Whoever has approved a document that is not the same now is asked once more, as long as something
        that needs it has still to begin. A plan that was read is what was approved.
        """
        for step in [one for one in ledger.steps if one.document is not None]:
            stage = self._given.pipeline.stage(step.stage or "")
            if stage.plan is not None and (step.is_last or ledger.plan_is_read(stage.name)):
                continue
            is_known = step.status in _SUCCEEDED and step.digest is not None
            if is_known and self._digest(step.title) != step.digest:
                mine = {one.status for one in ledger.of_stage(stage.name)}
                is_ahead = stage.name not in ledger.passed and mine.isdisjoint(_STOPPED)
                if is_ahead or self._is_read_yet(ledger, step):
                    ledger = ledger.open_again(step.n)
            elif step.status is Status.WAITING and step.why == CHANGED:
                others = [one.name for one in self._given.pipeline.stages]
                is_needed = any(stage.name in self._given.pipeline.before(name) for name in others)
                is_settled = not self._is_read_yet(ledger, step) and not _is_at_work(ledger, step)
                if is_needed and is_settled:  # nothing that needs it can begin, or come up
                    ledger = ledger.not_passed(step.n, CHANGED)
        return ledger

    def _is_read_yet(self, ledger: PlanLedger, document: Step) -> bool:
        """Whether a run that is told of it has still to begin, and can."""
        resting, pipeline = ledger.on_top_of([document.n]), self._given.pipeline
        if any(
            step.n in resting
            and step.reads_documents
            and step.status is Status.WAITING
            and not ledger.blocking(step)
            for step in ledger.steps
        ):
            return True
        stopped = {step.stage for step in ledger.steps if step.status in _STOPPED}
        return any(
            document.stage in (before := pipeline.before(one.name))
            and stopped.isdisjoint((one.name, *before))
            for one in pipeline.stages
            if one.runs and one.name not in ledger.passed and not _is_known(ledger, one)
        )

    def _person(self, ledger: PlanLedger, stage: Stage, step: Step) -> PlanLedger:
        is_plan = stage.plan is not None and not step.is_last
        is_first = step.asked is None and step.why in (None, _NOT_NEEDED)
        if is_first and not (is_plan or self._is_needed(ledger, stage)):
            return ledger.not_passed(step.n, _NOT_NEEDED)
        place = self._given.place(stage) if is_plan or stage.person is not None else None
        digest = None if place is None else self._digest(place)
        is_to_sign = is_plan or stage.gate.approve
        if not is_to_sign:  # `inbox` shows what is still to be written
            return ledger if digest is None else ledger.passes(step.n, digest)
        if step.n not in self._asked or self._asked[step.n][0] != digest:
            prompt = _asks(stage, place)
            told = step.asked if step.why is not None and step.why.code == _REJECTED else None
            self._asked[step.n] = (digest, approval.ask(self._run, stage.name, prompt, place, told))
        entry = self._asked[step.n][1]
        if entry != step.asked:
            ledger = ledger.asking(step.n, entry)
        said = approval.decision(self._run, entry)
        if said is None:
            if not approval.is_open(self._run, stage.name, entry):  # a person has set the ledger aside
                del self._asked[step.n]
            return ledger
        if said.digest != digest or (said.approved and place is not None and digest is None):
            del self._asked[step.n]  # that was another document: the next look asks anew
            return ledger
        if said.approved:
            return ledger.passes(step.n, digest)
        note = f": {one_line(said.note)}" if said.note else ""
        why = Reason(_REJECTED, f"{said.signer} has rejected it{note}")
        return ledger.not_passed(step.n, why)

    def _is_needed(self, ledger: PlanLedger, stage: Stage) -> bool:
        """Whether a stage that needs it can still begin. What none needs is wanted for itself."""
        stopped, pipeline = (
            {one.stage for one in ledger.steps if one.status in _STOPPED},
            self._given.pipeline,
        )
        needing = [(one.name, *pipeline.before(one.name)) for one in pipeline.stages]
        needing = [names for names in needing if stage.name in names[1:]]
        return not needing or any(map(stopped.isdisjoint, needing))

    def _digest(self, place: str) -> str | None:
        """Of the document as it is; None where there is none that could be approved."""
        found = approval.legible(self._config.root, place)
        return None if found is None else found.digest

    # -- a plan --------------------------------------------------------------------------------------

    def _plan(self, ledger: PlanLedger, stage: Stage, step: Step) -> PlanLedger:
        """Its batches come up, and the gate behind them."""
        person = next(one for one in ledger.of_stage(stage.name) if one.kind is StepKind.PERSON)
        first = len(ledger.steps) + 1
        steps = [*self._plans.batches(stage, person.digest, first, (step.n,))]
        last = tuple(one.n for one in steps)
        return ledger.passes(step.n).grown((*steps, *self.closing(stage, first + len(steps), last)))

    # -- gates ---------------------------------------------------------------------------------------

    def _gate(self, ledger: PlanLedger, stage: Stage, step: Step, env: Mapping[str, str]) -> PlanLedger:
        reviews = self._findings(ledger, stage)
        if reviews is None:
            why = Reason("lost", "the results of its reviews are gone")
            return ledger.not_passed(step.n, why)
        moved, unknown, stop = lines_moved(self._run, ledger), self._unknown(ledger, stage), None
        said = said_again(ledger, stage.name, reviews, moved, unknown)
        # What an earlier round has left, a person may have repaired since.
        now = [
            one.replace(step=by.called)
            for by, one in said.lost
            if by.turn == step.turn
            and by.n not in unknown
            and not is_done_beside(ledger, by, one, said.still)
        ]
        if stage.repair is not None and (grave := _as_grave(said.found, stage.repair.severity, now)):
            stop = self._no_more(ledger, stage, step, grave)
            if stop is None:
                return self._another_round(ledger, stage, step, grave)
        if (gravest := stage.gate.no_findings) is not None and (grave := _as_grave(said.found, gravest, now)):
            return ledger.not_passed(step.n, stop or _left(grave))
        place = None if stage.person is None else self._given.place(stage)
        before = place and self._digest(place)
        if stage.gate.commands and (failed := self._failed(stage, step, ledger, env)) is not None:
            return ledger.not_passed(step.n, Reason("verify_failed", failed))
        if place and self._digest(place) != before:  # or it would be asked for again, and they run again
            return ledger.not_passed(step.n, Reason(CHANGED.code, f"{place} changed while its gate ran"))
        idle = [one for _, one in said.lost]
        earlier = unsaid(self._earlier(ledger, stage, moved), [*said.free, *idle], moved)
        if later := once((*said.found, *idle, *earlier)):
            _track(self._run, stage.name, later)
        unseen = [one for by, one in said.lost if by.n not in unknown]
        unseen += _as_grave(earlier, gravest) if gravest is not None else ()
        doubts = _unseen(unseen), _unseen([one for by, one in said.lost if by.n in unknown], is_known=False)
        told = [one for one in (*doubts, self._rewritten(ledger, stage)) if one is not None]
        doubt = Reason(told[0].code, "; ".join(one.message for one in told)) if told else None
        return ledger.passes(step.n, why=doubt)

    def _failed(self, stage: Stage, step: Step, ledger: PlanLedger, env: Mapping[str, str]) -> str | None:
        """What its commands say, each of which is run as the checks of a run are. That takes its time, so
        whoever looks meanwhile sees them at work.
        """
        hides = redactor(self._config, env)
        plan_record.keep(self._run, ledger.began(step.n, None), hides.redact_text)
        self._work.say(f"{step.called}: {Status.RUNNING}")
        names = {*own_invocation(self._run).env_names}
        for one in ledger.steps:
            if one.run is not None and not one.is_reader:
                run = RunDir.of(self._run.repo, one.run)
                names &= {*own_invocation(run).env_names}
        tasks = self._config.tasks
        timeout_s = max(tasks[name].verify_timeout_s for name in stage.runs or tasks)
        commands = [Verifying(argv, None, tuple(names), timeout_s) for argv in stage.gate.commands]
        return verify(self._run, self._config.root, commands, env, hides, f"gate-{stage.name}")

    def _rewritten(self, ledger: PlanLedger, stage: Stage) -> Reason | None:
        """What runs have changed of what its commands execute or read, as far as one sees; and what repairs
        have changed of what the gates before it do.
        """
        root, changed = self._config.root, set[str]()
        for gate in (one for one in self._given.pipeline.stages if one.name in (*ledger.passed, stage.name)):
            own = own_checks(Allowed(writes=True, checks=gate.gate.commands, cwd=root), root)
            steps = ledger.steps if gate is stage else ledger.of_stage(stage.name)
            changed |= {
                path for step in steps for path in step.changed if gate.gate.commands and own.read(path)
            }
        if not changed:
            return None
        return Reason(
            "check_changed", f"commands of gates execute or read what was changed: {few(sorted(changed))}"
        )

    def _unknown(self, ledger: PlanLedger, stage: Stage) -> set[int]:
        """The repairs of which nobody knows whether they have changed what they were asked for: git was not
        there, or does not see the file, as one that it ignores.
        """
        found, git = unobserved(self._run, ledger), Git(self._config.root)
        for step, one in unrepaired(ledger, stage.name):
            if step.n in found or step.status is Status.REPLACED:
                continue
            is_here, words = one.place in ("found", "no_line"), ("ls-files", *_SEEN, f":(literal){one.file}")
            if one.place == "outside" or (is_here and git.ask(*words)[0] != 0):
                found.add(step.n)
        return found

    def _findings(self, ledger: PlanLedger, stage: Stage) -> list[Sequence[ReviewFinding]] | None:
        """Of the newest run of each task of the stage; None where one of them cannot be read."""
        found: list[Sequence[ReviewFinding]] = []
        for step in ledger.of_stage(stage.name):
            if step.run is None or step.kind in _NO_REVIEWS or ledger.is_outdone(step):
                continue
            run = RunDir.of(self._run.repo, step.run)
            refuse_foreign(run)
            kept = record.load(run.result)
            if kept is None or (kept.claim is None and stage.gate.no_findings is not None):
                return None
            found += [] if kept.claim is None else [self.compared.findings(step, kept.claim)]
        return found

    def _earlier(self, ledger: PlanLedger, stage: Stage, moved: Mapping[str, int]) -> list[ReviewFinding]:
        """What reviews have found that others stand for now, and no repair was asked for, each once."""
        steps = ledger.of_stage(stage.name)
        found: list[ReviewFinding] = []
        for step in steps:
            mine = found_before(self._run, step)
            if step.run is not None and step.kind in _REVIEWS and ledger.is_outdone(step):
                kept = record.load(RunDir.of(self._run.repo, step.run).result)
                mine = followed(mine, () if kept is None or kept.claim is None else kept.claim.findings)
            found += unsaid(mine, asked_after(ledger, step), moved)
        return once(found)

    def _no_more(
        self, ledger: PlanLedger, stage: Stage, step: Step, grave: Sequence[ReviewFinding]
    ) -> Reason | None:
        """Why there is no other round of repairs."""
        assert stage.repair is not None
        rounds = stage.repair.max_rounds
        idle = {one.identity for _, one in unrepaired(ledger, stage.name)}
        mine = [one for one in ledger.of_stage(stage.name) if one.kind is StepKind.REPAIR]
        before = {one.identity for one in _about(one for one in mine if one.turn == step.turn)} - idle
        if before and before <= {one.identity for one in grave}:
            return Reason("no_progress", f"repaired, and still there: {_named(grave)}")
        if len({one.turn for one in mine}) >= rounds:
            return _left(grave, f" after {count(rounds, 'round')}")
        if len(grave) > _MOST_REPAIRS:
            text = f"{len(grave)} findings are to be repaired; at most {_MOST_REPAIRS} are at once"
            return Reason("too_many_findings", text)
        return None

    def _another_round(
        self, ledger: PlanLedger, stage: Stage, step: Step, grave: Sequence[ReviewFinding]
    ) -> PlanLedger:
        """With a run for each finding that is to be repaired, and the reviews after them."""
        assert stage.repair is not None
        turn, n = step.turn + 1, len(ledger.steps) + 1
        made: list[Step] = []
        for k, finding in enumerate(grave):
            told = Step(n + k, (), (step.n,), stage=stage.name, kind=StepKind.REPAIR, turn=turn)
            title = f"repair {step.turn}-{k + 1}"
            made.append(told.replace(task=stage.repair.task, title=title, about=(finding.to_json(),)))
        after, about = tuple(one.n for one in made), tuple(one.about[0] for one in made)
        for task in stage.tasks:
            told = Step(n + len(made), (), after, stage=stage.name, kind=StepKind.REVIEW, turn=turn)
            made.append(told.replace(task=task, title=task, is_reader=True, about=about))
        reviews = tuple(one.n for one in made[len(grave) :])
        closing = self.closing(stage, n + len(made), reviews, turn)
        gone = [one for one in ledger.of_stage(stage.name) if one.kind is StepKind.PERSON and one.is_last]
        ledger = ledger.replaced(step.n, _left(grave))
        for one in gone:
            ledger = ledger.replaced(one.n, None)
        return ledger.grown((*made, *closing))


def _is_at_work(ledger: PlanLedger, document: Step) -> bool:
    """Whether something on top of it may still ask for more runs: a run, or a gate that is looked at next."""
    over = {one.n for one in ledger.steps if one.status in (*_SUCCEEDED, Status.REPLACED)}
    return any(
        one.status is Status.RUNNING
        or (one.kind is StepKind.GATE and one.status is Status.WAITING and over.issuperset(one.after))
        for one in map(ledger.step, ledger.on_top_of([document.n]))
    )


def _is_known(ledger: PlanLedger, stage: Stage) -> bool:
    """Whether its first runs are."""
    return bool(ledger.of_stage(stage.name)) and (stage.plan is None or ledger.plan_is_read(stage.name))


def _words(gate: Gate) -> str:
    """What it looks at, for people."""
    parts = [plain(" ".join(argv)) for argv in gate.commands]
    parts += [f"no {gate.no_findings} findings"] if gate.no_findings else []
    return one_line(f"gate: {' and '.join(parts)}" if parts else "gate", 120)


def _asks(stage: Stage, place: str | None) -> str:
    what = "approve what the stage has come to" if place is None else f"read and approve {place}"
    return f"{stage.prompt}\n({what})" if stage.prompt else what


def _as_grave(
    findings: Sequence[ReviewFinding], severity: str, more: Sequence[ReviewFinding] = ()
) -> list[ReviewFinding]:
    """Each once at its place, whoever has found it; and what there is `more`, which is another one there."""
    least = SEVERITIES.index(severity)
    return [*once(one for one in findings if one.rank <= least), *(one for one in more if one.rank <= least)]


def _about(repairs: Iterable[Step]) -> list[ReviewFinding]:
    return [finding for one in repairs for finding in about(one)]


def _unseen(idle: Sequence[ReviewFinding], *, is_known: bool = True) -> Reason | None:
    if not idle:
        return None
    so = "and no run has repaired it" if is_known else "and whether a run has repaired it is not known"
    code = "not_repaired" if is_known else "not_observed"
    return Reason(code, f"no review finds it as grave any more, {so}: {_named(idle)}")


def _named(findings: Sequence[ReviewFinding]) -> str:
    return few([one_line(f"{one.where or 'no file'}: {one.title}", 120) for one in findings])


def _left(findings: Sequence[ReviewFinding], when: str = "") -> Reason:
    number = count(len(findings), "finding")
    return Reason("findings_left", f"{number} left{when}: {_named(findings)}")


def _gone(one: ReviewFinding) -> str:
    return PLACES.get(one.place or "", "")


def _track(run: RunDir, stage: str, findings: Sequence[ReviewFinding]) -> None:
    """What a gate lets pass, in a file for later work and in an entry. What the ledger refuses is no reason
    to stop: the file has it.
    """
    path = f"{run.path}/findings-{stage}.md"
    lines = [f"# Findings of stage {stage} that were let pass", ""]
    findings = gravest_first(findings)
    for one in findings:
        box = f"- [ ] **{one.severity}** {one_line(one.where or 'no single file')}{_gone(one)}: "
        lines += [f"{box}{one_line(one.title)}", f"      {one_line(one.detail, 2000)}"]
    replace_bytes(path, ("\n".join(lines) + "\n").encode(errors="replace"))
    with contextlib.suppress(RunnerError):
        told = [
            f"{one.severity}: {one_line(one.where, 200)}{_gone(one)}: {one_line(one.title, 200)}"
            for one in findings[:_MOST_TOLD]
        ]
        payload = {
            "kind": "escalation_suggestion",
            "title": f"stage {stage}: {count(len(findings), 'finding')} for later",
            "summary": f"all of them: {path}",
            "status": "unknown",
            "evidence": told,
        }
        ledgers.append(ledgers.ledger_of(run), ledgers.of_run(run), EntryType.ARTIFACT, payload)
