"""The progress of a plan or a pipeline: its steps, their runs, and the breaker. Pure.

The steps of a plan are its batches. Those of a pipeline come up as it goes on: a stage has none before what
it needs has passed. The conductor writes the ledger before and after every step; its supervisor, `status` and
a run that resumes it read it.
"""

from __future__ import annotations

from runner.model import Lineage, Reason
from runner.value import Count, Misfit, StrEnum, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any, Self

    from runner.model import Json


class StepKind(StrEnum):
    """What a step is."""

    BATCH = "batch"
    TASK = "task"
    REVIEW = "review"
    """A task of a stage again, which looks at repairs."""
    REPAIR = "repair"
    """Of one finding."""
    COMPARE = "compare"
    SYNTHESIS = "synthesis"
    GATE = "gate"
    """The conductor looks whether the stage has passed; no run."""
    PERSON = "person"
    """Somebody writes a document, or signs; no run."""


APPROVAL = "approval"
"""What a step is called in which a person signs no document."""
CHANGED = Reason("document_changed", "it has changed since it was approved")
"""Why a person is asked once more."""


class Status(StrEnum):
    """Of a step."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PARKED = "parked"
    """Stopped without a fault of the batch: it is tried again when the plan is resumed."""
    DONE = "done"
    """A person says that all of it is done."""
    REPLACED = "replaced"
    """Steps after it decide instead."""


_OVER = (Status.SUCCEEDED, Status.DONE, Status.REPLACED)
_STOPPED = (Status.FAILED, Status.PARKED)
_FINDERS = (StepKind.TASK, StepKind.REVIEW, StepKind.COMPARE, StepKind.SYNTHESIS)
_OF_RESULTS = frozenset(
    (
        *("findings_left", "no_progress", "too_many_findings"),
        *("lost", "foreign_run", "invocation_broken", "manifest_broken"),
    )
)
"""Why a gate is not passed that would say the same again as long as no run has said something else."""


class Step(Value):
    """One step and its result: a batch, or what `kind` says it is."""

    n: Count
    units: tuple[str, ...]
    """Of a batch; () of all else."""
    after: tuple[Count, ...] = ()
    """The batches that it waits for."""
    local: tuple[str, ...] = ()
    """The units that it waits for and that are not delegated."""
    wave: Count = 1
    status: Status = Status.WAITING
    run: Lineage | None = None
    """The latest try."""
    tries: Count = 0
    why: Reason | None = None
    """Of the latest try, where it did not succeed."""
    commit: str | None = None
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """What tries that did not succeed have left in the work tree."""
    first: Lineage | None = None
    """The first of these tries."""
    before: tuple[Lineage, ...] = ()
    """Of what may find something, the runs that it was before: what they found is not forgotten."""
    outside: tuple[str, ...] = ()
    """What it changed although its units do not name it."""
    stage: str | None = None
    """Of a pipeline."""
    kind: StepKind = StepKind.BATCH
    task: str | None = None
    """What its run is of; None: the task that the run of the ledger is of, or it has no run."""
    title: str = ""
    part: Count = 0  # which batch of the plan of its stage it is
    turn: Count = 1
    """How often its stage was reviewed, with this time."""
    is_reader: bool = False
    """Whether nothing forbids that it runs beside others."""
    is_last: bool = False
    """Whether its stage has passed once it is over."""
    about: tuple[Json, ...] = ()
    """The findings that it is about."""
    asked: str | None = None
    """The entry of the task's ledger by which a person was asked."""
    digest: str | None = None
    """Of the document that a person has approved."""

    @property
    def called(self) -> str:
        """For people: the batch, or the place in its stage."""
        title = f"{self.title}, round {self.turn}" if self.kind is StepKind.REVIEW else self.title
        return f"{self.stage}: {title}" if self.stage else f"batch {self.n}"

    @property
    def script(self) -> str:
        """The name of its script in the folder of a rehearsal."""
        if self.stage is None:
            return f"batch-{self.n}"
        turn = f".{self.turn}" if self.turn > 1 and self.is_reader else ""
        title = f"batch-{self.part}" if self.kind is StepKind.BATCH else self.title.replace(" ", "-")
        return f"{self.stage}.{title}{turn}"

    @property
    def document(self) -> str | None:
        """What a person is asked to write, or to read and sign: its path."""
        return self.title if self.kind is StepKind.PERSON and self.title != APPROVAL else None

    @property
    def has_run(self) -> bool:
        """Whether a run is made for it."""
        return self.kind not in (StepKind.GATE, StepKind.PERSON)

    @property
    def reads_documents(self) -> bool:
        """Whether its run is told of those of the stages before it."""
        return self.has_run and self.kind is not StepKind.SYNTHESIS


class Breaker(Value):
    """Stops a plan whose batches fail in a row, until a person resets it."""

    limit: Count
    failures: Count = 0
    """In a row, over all runs of the plan."""
    is_open: bool = False
    parked: Reason | None = None
    """What stopped the plan without being a failure of a batch."""

    @property
    def lets_through(self) -> bool:
        return not self.is_open and self.parked is None


class PlanLedger(Value):
    """The whole; every change is a new one."""

    file: str
    """The plan, or `pipeline NAME`."""
    title: str | None
    steps: tuple[Step, ...]
    breaker: Breaker
    local: tuple[str, ...] = ()
    """Units that are not delegated."""
    done: tuple[str, ...] = ()  # as a person says
    base: str | None = None
    """The commit that the plan began with."""
    tip: str | None = None
    """The base with the work of all batches so far; a commit that no ref may name."""
    resumed_from: Lineage | None = None
    together: tuple[Count, ...] = ()
    """Batches whose changes are in one work tree now but were not seen to pass there."""
    stages: tuple[str, ...] = ()
    """All of a pipeline, in the order in which they are shown."""
    skipped: tuple[str, ...] = ()
    """Those that count as passed because a person said where to begin."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The batches are in their order, and each waits only for such as are before it."""
        made = super().from_json(data)
        for n, step in enumerate(made.steps, 1):
            if step.n != n:
                raise Misfit("the batches are not in their order")
            if not all(0 < other < n for other in step.after):
                raise Misfit(f"batch {n} waits for one that is not before it")
            if step.stage is not None and step.stage not in made.stages:
                raise Misfit(f"step {n} is of no stage")
        for n in made.together:
            if not 0 < n <= len(made.steps):
                raise Misfit(f"there is no batch {n}")
        return made

    # -- questions -----------------------------------------------------------------------------------

    def step(self, n: int) -> Step:
        return self.steps[n - 1]

    @property
    def is_complete(self) -> bool:
        """Whether every step is done and nothing is left to be verified; units that are not delegated do not
        count.
        """
        is_over = all(step.status in _OVER for step in self.steps)
        return not self.together and is_over and len(self.passed) == len(self.stages)

    @property
    def passed(self) -> tuple[str, ...]:
        """The stages that have passed."""
        over = {step.stage for step in self.steps if step.is_last and step.status in _OVER}
        return tuple(stage for stage in self.stages if stage in over or stage in self.skipped)

    def called(self, numbers: Collection[int]) -> str:
        """These steps, for people."""
        if self.stages:
            return ", ".join(self.step(n).called for n in numbers)
        return f"batch{'es' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"

    def of_stage(self, stage: str) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.stage == stage)

    def is_outdone(self, step: Step) -> bool:
        """Whether a later review or synthesis of its stage stands for what this one has found."""
        later = [one for one in self.of_stage(step.stage or "") if one.n > step.n and one.status in _OVER]
        if step.kind in (StepKind.COMPARE, StepKind.SYNTHESIS):
            return any(one.title == "synthesis" for one in later)  # an advocacy only argues
        return any(one.kind is StepKind.REVIEW and one.task == step.task for one in later)

    def plan_is_read(self, stage: str) -> bool:
        """Whether the batches of a stage are known."""
        return any(step.kind is StepKind.BATCH for step in self.of_stage(stage))

    def runnable(self) -> tuple[Step, ...]:
        """The batches that may begin now, in their order; none once the breaker has stopped the plan. What
        reads a document waits for it, also where that is open again far above.
        """
        if not self.breaker.lets_through:
            return ()
        over = {step.n for step in self.steps if step.status in _OVER}
        held = self.on_top_of([one.n for one in self.steps if not one.has_run and one.n not in over])
        ready = (one for one in self.steps if one.status is Status.WAITING and over.issuperset(one.after))
        free = (one for one in ready if one.n not in held or not one.reads_documents)
        return tuple(one for one in free if not self.missing(one))

    def on_top_of(self, numbers: Collection[int]) -> set[int]:
        """What waits for these steps, also by way of others, whether that is over or not."""
        found = {*numbers}
        for step in self.steps if found else ():
            found.update([] if found.isdisjoint(step.after) else [step.n])
        return found.difference(numbers)

    def missing(self, step: Step) -> tuple[str, ...]:
        """The units that it waits for, are not delegated and not done yet."""
        return tuple(unit for unit in step.local if unit not in self.done)

    def blocking(self, step: Step) -> tuple[int, ...]:
        """The batches in its way: they stopped, or wait for one that did. Documents also from far above."""
        stopped: set[int] = set()
        for other in self.steps:
            if other.status in _STOPPED or (
                other.status is Status.WAITING and (stopped.intersection(other.after) or self.missing(other))
            ):
                stopped.add(other.n)
        looked = [one.n for one in self.steps if not one.has_run and one.status in _STOPPED]
        far = [n for n in looked if step.reads_documents and step.n in self.on_top_of([n])]
        return tuple(n for n in step.after if n in stopped) or (*far,)

    @property
    def left(self) -> tuple[str, ...]:
        """The units that are to be delegated and are not done, or the stages that have not passed."""
        if self.stages:
            return tuple(stage for stage in self.stages if stage not in self.passed)
        return tuple(
            unit
            for step in self.steps
            if step.status not in _OVER
            for unit in step.units
            if unit not in self.done
        )

    # -- changes -------------------------------------------------------------------------------------

    def began(self, n: int, run: Lineage | None) -> PlanLedger:
        """The batch is about to become this run; None: it is a gate, whose commands are."""
        step = self.step(n)
        before = (*step.before, step.run) if step.kind in _FINDERS and step.run is not None else step.before
        began = step.replace(status=Status.RUNNING, run=run, tries=step.tries + 1, why=None, before=before)
        return self._with(began)

    def succeeded(
        self, n: int, *, changed: Iterable[str], outside: Iterable[str] = (), commit: str | None = None
    ) -> PlanLedger:
        step = self.step(n).replace(
            status=Status.SUCCEEDED,
            why=None,
            changed=tuple(sorted({*changed})),
            kept=(),
            first=None,
            outside=tuple(outside),
            commit=commit,
        )
        return self._with(step).replace(breaker=self.breaker.replace(failures=0))

    def failed(self, n: int, why: Reason, *, kept: Iterable[str] = ()) -> PlanLedger:
        """Counts; the last of so many in a row opens the breaker."""
        failures = self.breaker.failures + 1
        breaker = self.breaker.replace(
            failures=failures, is_open=self.breaker.is_open or failures >= self.breaker.limit
        )
        return self._with(self._stopped(n, Status.FAILED, why, kept)).replace(breaker=breaker)

    def not_passed(self, n: int, why: Reason) -> PlanLedger:
        """What a step without a run waits for does not come. No run has failed, so it counts for nothing."""
        return self._with(self._stopped(n, Status.FAILED, why, ()))

    def parked(self, n: int, why: Reason, *, kept: Iterable[str] = ()) -> PlanLedger:
        """Counts for nothing, and stops the plan."""
        breaker = self.breaker.replace(parked=self.breaker.parked or why)
        return self._with(self._stopped(n, Status.PARKED, why, kept)).replace(breaker=breaker)

    def passes(self, n: int, digest: str | None = None, why: Reason | None = None) -> PlanLedger:
        """A step without a run has what it waits for; `why` is what a person should know of it."""
        passed = self._with(self.step(n).replace(status=Status.SUCCEEDED, why=why, digest=digest))
        return passed.replace(breaker=self.breaker.replace(failures=0))

    def open_again(self, n: int) -> PlanLedger:
        """What a person has approved is not the same now; what was looked at after that is to be again."""
        opened = self._with(self.step(n).replace(status=Status.WAITING, asked=None, digest=None, why=CHANGED))
        for step in self.of_stage(self.step(n).stage or ""):
            if step.kind is StepKind.GATE and n in step.after and step.status is Status.SUCCEEDED:
                opened = opened._with(step.replace(status=Status.WAITING, why=None))
        return opened

    def replaced(self, n: int, why: Reason | None, steps: Iterable[Step] = ()) -> PlanLedger:
        """Others decide instead; `steps` are those, where they are new. That it has failed is forgiven."""
        step = self.step(n).replace(status=Status.REPLACED, why=why, is_last=False)
        return self._with(step).grown(steps)

    def grown(self, steps: Iterable[Step]) -> PlanLedger:
        return self.replace(steps=(*self.steps, *steps))

    def asking(self, n: int, entry: str) -> PlanLedger:
        """A person was asked."""
        step = self.step(n)
        return self._with(step.replace(asked=entry, why=CHANGED if step.why == CHANGED else None))

    def refused(self, n: int, why: Reason) -> PlanLedger:
        """It never became a run, which stops the plan."""
        step = self.step(n)
        ledger = self._with(step.replace(run=None, tries=step.tries - 1))
        return ledger.parked(n, why)

    def stops(self, why: Reason) -> PlanLedger:
        """Nothing more begins; no batch is to blame, and what is done stays done."""
        return self.replace(breaker=self.breaker.replace(parked=self.breaker.parked or why))

    def waits(self, n: int, *, kept: Iterable[str] = ()) -> PlanLedger:
        """Its run came to nothing that counts, so it is to be tried again, unless a person did all of it."""
        is_done = _is_done(self.step(n), self.done)
        return self._with(self._stopped(n, Status.DONE if is_done else Status.WAITING, None, kept))

    def again(
        self,
        resumed_from: Lineage,
        *,
        done: Collection[str] = (),
        reset: bool = False,
        limit: int | None = None,
    ) -> PlanLedger:
        """For a run that resumes the plan. What did not succeed may be tried again, and what a gate did not
        let pass is read anew; an open breaker stays open unless a person resets it.
        """
        known = (*self.done, *(unit for unit in done if unit not in self.done))
        stale = {step.stage: step.turn + 1 for step in self.steps if _is_stale(step)}
        steps = tuple(
            _anew(step, stale[step.stage])
            if step.stage in stale and (_is_stale(step) or (step.is_reader and self._counts(step)))
            else _again(step, known)
            for step in self.steps
        )
        breaker = self.breaker.replace(parked=None, limit=limit or self.breaker.limit)
        if reset:
            breaker = breaker.replace(failures=0, is_open=False)
        return self.replace(steps=steps, breaker=breaker, done=known, resumed_from=resumed_from)

    def _counts(self, step: Step) -> bool:
        """Whether its gate reads what it says, or what is made of that."""
        return step.kind in (StepKind.COMPARE, StepKind.SYNTHESIS) or not self.is_outdone(step)

    def _stopped(self, n: int, status: Status, why: Reason | None, kept: Iterable[str]) -> Step:
        step = self.step(n)
        left = tuple(sorted({*step.kept, *kept}))
        first = step.first if step.kept else step.run
        return step.replace(status=status, why=why, kept=left, first=first if left else None)

    def _with(self, step: Step) -> PlanLedger:
        steps = (*self.steps[: step.n - 1], step, *self.steps[step.n :])
        return self.replace(steps=steps)

    # -- what a manifest shows -----------------------------------------------------------------------

    def shown(self, *, is_over: bool = False) -> dict[str, Any]:
        """For `manifest.plan`. If the conductor `is_over`, nobody follows what runs or heeds a decision."""
        return {
            "file": self.file,
            "title": self.title,
            "batches": [self._shown(step, is_over) for step in self.steps],
            "breaker": {
                "limit": self.breaker.limit,
                "failures": self.breaker.failures,
                "open": self.breaker.is_open,
                "parked": _told(self.breaker.parked),
            },
            "left": list(self.left),
            "local": [unit for unit in self.local if unit not in self.done],
            "resumed_from": None if self.resumed_from is None else self.resumed_from.manifest_path,
            "stages": [{"name": name, "status": self._of(name, is_over)} for name in self.stages],
        }

    def _of(self, stage: str, is_over: bool) -> str:
        """Where a stage is."""
        mine = [step.status for step in self.of_stage(stage)]
        if stage in self.passed:
            return "skipped" if stage in self.skipped and not mine else "passed"
        stopped = [status for status in mine if status in _STOPPED]
        at_work = "interrupted" if is_over else "running"
        return "waiting" if not mine else str(stopped[0]) if stopped else at_work

    def _shown(self, step: Step, is_over: bool) -> dict[str, Any]:
        status: str = step.status
        if step.status is Status.RUNNING and is_over:
            status = "interrupted"
        elif step.status is Status.WAITING and (self.blocking(step) or self.missing(step)):
            status = "blocked"
        elif step.status is Status.WAITING and step.asked is not None:
            status = "interrupted" if is_over else "asked"
        return {
            "n": step.n,
            "units": list(step.units),
            "status": status,
            "waits_for": [*self.blocking(step), *self.missing(step)] if status == "blocked" else [],
            "run_id": None if step.run is None else step.run.run_id,
            "manifest_path": None if step.run is None else step.run.manifest_path,
            "tries": step.tries,
            "reason": _told(step.why),
            "commit": step.commit,
            "outside": list(step.outside),
            "stage": step.stage,
            "kind": str(step.kind),
            "title": step.title,
            "task_id": step.task,
        }


def way_on(file: str, task: str, *, resets: bool = False) -> str:
    """The command by which a person resumes it."""
    from shlex import quote  # a conductor tells nobody before its end

    path = quote(f"./{file}" if file.startswith("-") else file)
    named = f"--pipeline {task}" if file == f"pipeline {task}" else f"--plan {path} --task {task}"
    return f"runner start {named} --resume{' --reset-breaker' * resets}"


def _told(why: Reason | None) -> dict[str, str] | None:
    return None if why is None else {"code": why.code, "message": why.message}


def _again(step: Step, done: Collection[str]) -> Step:
    if step.status in _OVER or step.status is Status.RUNNING:  # of what ran, its run is asked first
        return step
    if _is_done(step, done):
        return step.replace(status=Status.DONE, why=None)
    return step.replace(status=Status.WAITING)


def _is_stale(step: Step) -> bool:
    """Whether it is a gate that only other results let pass."""
    is_failed = step.kind is StepKind.GATE and step.status is Status.FAILED
    return is_failed and step.why is not None and step.why.code in _OF_RESULTS


def _anew(step: Step, turn: int) -> Step:
    """To be carried out as if it never was."""
    is_judged = step.kind is StepKind.COMPARE  # by the synthesis, or the gate would not have failed
    before = step.before if step.run is None or is_judged else (*step.before, step.run)
    return step.replace(status=Status.WAITING, run=None, why=None, turn=turn, before=before)


def _is_done(step: Step, done: Collection[str]) -> bool:
    """Whether a person did all of it."""
    return bool(step.units) and all(unit in done for unit in step.units)
