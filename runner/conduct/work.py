"""What the steps of a ledger are made of: here the batches of a plan. A pipeline has its own (`stages`)."""

from __future__ import annotations

from runner.conduct import batch_task, commits, merge_back
from runner.redact.redactor import Redactor
from runner.state.plan_ledger import Status, StepKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runner.conduct.outcome import BatchEnd
    from runner.conduct.plan_record import Assignment
    from runner.invocation import Request
    from runner.model import Config
    from runner.plan.units import Unit
    from runner.resolve.choose import Choice
    from runner.state.manifest import Manifest
    from runner.state.plan_ledger import PlanLedger, Step
    from runner.state.store import RunDir


def redactor(config: Config, env: Mapping[str, str]) -> Redactor:
    """Of the secrets that its runtimes are given: what the conductor keeps or prints may quote anything."""
    names = {name for runtime in config.runtimes.values() for name in runtime.env}
    return Redactor(env[name] for name in sorted(names) if name in env)


class Work:
    """Of one run of a conductor, with the settings that it was begun with."""

    def __init__(self, config: Config, task_id: str) -> None:
        self.config, self.task_id = config, task_id
        self.is_a_look = False
        """Whether nothing is carried out: what would have to be written first is left out."""
        self.say: Callable[[str], object] = str
        """As that of the conductor, for what takes its time and is no run; nobody follows a look."""

    def choices(self) -> tuple[Choice, ...]:
        """What its runs are run with, each once. As `choose`."""
        raise NotImplementedError

    def config_of(self, ledger: PlanLedger, step: Step) -> Config:
        """The settings in which the task of the step is this step."""
        raise NotImplementedError

    def request_of(self, step: Step) -> Request:
        """What is asked for it, without its parent, its id and its base."""
        raise NotImplementedError

    def units_of(self, ledger: PlanLedger, step: Step) -> tuple[Unit, ...]:
        """The units of a batch that are not done yet."""
        return self.named_by(step)

    def named_by(self, step: Step) -> tuple[Unit, ...]:
        """All units of a batch."""
        raise NotImplementedError

    def message(self, ledger: PlanLedger, step: Step, manifest: Manifest) -> str:
        """Of its commit."""
        raise NotImplementedError

    def task_of(self, step: Step) -> str:
        return step.task or self.task_id

    def is_apart(self, step: Step) -> bool:
        """Whether its run gets a work tree of its own, whose change is merged back."""
        return not step.is_reader and batch_task.is_apart(self.config, self.task_of(step))

    @property
    def may_be_apart(self) -> bool:
        return batch_task.is_apart(self.config, self.task_id)

    def ahead(self, ledger: PlanLedger) -> Iterator[Step]:
        """The steps that are left, as far as they are known before anything ran."""
        return (step for step in ledger.steps if step.status in (Status.WAITING, Status.RUNNING))

    def checks(self) -> tuple[tuple[str, ...], ...]:
        """The commands that verify its runs."""
        raise NotImplementedError

    def grown(self, ledger: PlanLedger) -> PlanLedger:
        """With the steps that have come up."""
        return ledger

    def looked(self, ledger: PlanLedger, step: Step, env: Mapping[str, str], *, is_quiet: bool) -> PlanLedger:
        """After a look at a step that has no run: a gate, or what waits for a person. It is the same where it
        goes on waiting, as commands do while it `is_quiet` not: while runs are at work in the tree.
        """
        return ledger

    def judged(self, ledger: PlanLedger, step: Step, run: RunDir, end: BatchEnd) -> BatchEnd:
        """The end of its run, after a look at what only this work can judge."""
        return end

    def outside(self, step: Step, changed: Sequence[str]) -> tuple[str, ...]:
        """What of it no unit names; () of all but batches."""
        return merge_back.outside(self.named_by(step), changed) if step.kind is StepKind.BATCH else ()


class PlanWork(Work):
    """The batches of a plan, made of the task that its run is of."""

    def __init__(self, config: Config, task_id: str, assignment: Assignment) -> None:
        super().__init__(config, task_id)
        self._assignment = assignment

    def choices(self) -> tuple[Choice, ...]:
        return batch_task.choices_of(self.config, self._assignment, self.task_id)

    def checks(self) -> tuple[tuple[str, ...], ...]:
        units = self._assignment.plan.units
        return (*self.config.tasks[self.task_id].verify, *(argv for unit in units for argv in unit.verify))

    def config_of(self, ledger: PlanLedger, step: Step) -> Config:
        return batch_task.config_of(self.config, self.task_id, self._assignment, ledger, step)

    def request_of(self, step: Step) -> Request:
        return batch_task.request_for(self._assignment, self.task_id, step.n)

    def units_of(self, ledger: PlanLedger, step: Step) -> tuple[Unit, ...]:
        return batch_task.units_of(self._assignment, ledger, step)

    def named_by(self, step: Step) -> tuple[Unit, ...]:
        return self._assignment.units(step.n)

    def message(self, ledger: PlanLedger, step: Step, manifest: Manifest) -> str:
        units, title = self.units_of(ledger, step), self._assignment.plan.title
        return commits.message(self.config, title, step.n, len(ledger.steps), units, manifest)
