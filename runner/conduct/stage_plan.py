"""The plans of the stages of a pipeline: each is read once, when a person has approved it. Edge: disk.

An agent of an earlier stage may have written the plan, and its commands run outside of every sandbox.
"""

from __future__ import annotations

import contextlib
import os
from shlex import join

from runner.conduct import batch_task, plan_record
from runner.conduct.plan_record import Assignment
from runner.conduct.refusals import refuse_surroundings, refuse_unverified
from runner.disk.digest import sha256
from runner.errors import Conflict, PlanInvalid, RunnerError
from runner.plan import load
from runner.plan.batch import decide
from runner.plan.units import rules_of
from runner.resolve.choose import choose
from runner.state.authentic import write_record
from runner.state.plan_ledger import Breaker, PlanLedger, StepKind
from runner.usecases.frozen import thawed
from runner.usecases.takers import heeding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from runner.conduct.plan_record import PipelineAssignment
    from runner.invocation import Request
    from runner.ledger.entry import LedgerEntry
    from runner.model import Config
    from runner.plan.decision import Decision
    from runner.plan.pipeline import Stage
    from runner.plan.units import Plan, Unit
    from runner.state.plan_ledger import Step
    from runner.state.store import RunDir

THE_PLAN = "the plan"
"""What the step is called at which a plan is read."""
_MOST_BATCHES = 1000
_LONGEST = 60
"""Characters of the units in the title of a batch."""


def executed(repo: str, asked: LedgerEntry, text: str) -> tuple[str, ...]:
    """What runner executes, outside of every sandbox, of the plan that a person is asked about, and that has
    this `text`; () of another document. PlanInvalid for one that nobody could carry out.
    """
    place, heeds = asked.text("file"), heeding(repo, asked.actor, asked.run_id)
    if heeds is None or not place:
        return ()
    steps = heeds[1].of_stage(asked.text("approval"))
    if all((one.kind, one.title) != (StepKind.GATE, THE_PLAN) for one in steps):
        return ()
    plan = _clear(place, os.path.join(repo, place), text.removeprefix("\ufeff"), _models(heeds[0]))
    return tuple(dict.fromkeys(join(argv) for unit in plan.units for argv in unit.verify))


def _models(run: RunDir) -> Collection[str] | None:
    """What the units of its plans may name; None where nobody can say."""
    with contextlib.suppress(RunnerError):
        return thawed(run, {}).models
    return None


def _clear(place: str, path: str, text: str, models: Collection[str] | None) -> Plan:
    reading = load.examined(text, path, models)
    if reading.unclear:
        raise PlanInvalid(f"{place} is not clear", problems=reading.unclear)
    return reading.plan


class StagePlans:
    """Those of one run of a pipeline."""

    def __init__(self, config: Config, run: RunDir, given: PipelineAssignment) -> None:
        self._config, self._run, self._given = config, run, given
        self._read: dict[str, Assignment] = {}

    def path(self, stage: str) -> str:
        """Where the plan of the stage is kept as it was read."""
        return f"{self._run.path}/plan-{stage}.json"

    def of(self, stage: str) -> Assignment:
        """Conflict where it cannot be read."""
        if stage not in self._read:
            try:
                self._read[stage] = plan_record.load_stage(self.path(stage))
            except (OSError, ValueError, PlanInvalid) as error:
                raise Conflict(f"the plan of stage {stage} cannot be read: {error}") from error
        return self._read[stage]

    def batches(self, stage: Stage, digest: str | None, first: int, after: tuple[int, ...]) -> Iterator[Step]:
        """The steps of the plan of a stage, which is read and kept; the first has the number `first`.

        PlanInvalid, Conflict or ConfigInvalid for one that cannot be carried out whole. `digest` is that of
        the file as it may be carried out.
        """
        made, decision = self._readable(stage, digest)
        write_record(self.path(stage.name), made.to_json())
        self._read[stage.name] = made
        for step in batch_task.steps_of(made.plan, decision):
            units = ", ".join(step.units)
            yield step.replace(
                n=first + step.n - 1,
                after=(*after, *(first + n - 1 for n in step.after)),
                local=(),
                stage=stage.name,
                task=stage.task,
                title=f"batch {step.n} ({units})" if len(units) <= _LONGEST else f"batch {step.n}",
                part=step.n,
            )

    def _readable(self, stage: Stage, digest: str | None) -> tuple[Assignment, Decision]:
        place, config, task_id = self._given.place(stage) or "", self._config, stage.task or ""
        path = os.path.join(config.root, place)
        text = load.text_of(path)
        if digest not in [sha256(f"{mark}{text}".encode()).hexdigest() for mark in ("", "\ufeff")]:
            raise Conflict(f"{place} is not what was approved", hint="a person approves it again")
        plan, options = _clear(place, path, text, config.models), self._given.options
        decision = decide(plan, rules_of(config.delegate, config.economics, forced=True))
        done = {unit.id for unit in plan.units if unit.done}
        if left := [f"{one.unit}: {one.reason}" for one in decision.local if one.unit not in done]:
            raise PlanInvalid(f"units of {place} cannot be delegated", problems=left)
        if not 0 < (number := len(decision.batches)) <= _MOST_BATCHES:
            raise PlanInvalid(f"{place} has {number:,} batches: 1 to {_MOST_BATCHES:,} can be run")
        parts = plan_record.parts_of(plan, decision)
        asked = options.replace(rehearsal_script=None)
        refuse_surroundings(config, task_id, asked, plan.units, is_begun=True)
        refuse_unverified(choose(config, batch_task.request_of(asked, task_id)), plan, parts)
        on_failure = config.tasks[task_id].on_failure or self._given.on_failure
        return Assignment(place, text, parts, asked, on_failure, (), plan), decision

    # -- of a batch ----------------------------------------------------------------------------------

    def config_of(self, ledger: PlanLedger, step: Step) -> Config:
        view = self._view(ledger, step)
        return batch_task.config_of(self._config, step.task or "", self._of(step), view, view.step(step.part))

    def request_of(self, step: Step) -> Request:
        return batch_task.request_for(self._of(step), step.task or "", step.part)

    def units_of(self, step: Step) -> tuple[Unit, ...]:
        return self._of(step).units(step.part)

    def _of(self, step: Step) -> Assignment:
        return self.of(step.stage or "")

    def _view(self, ledger: PlanLedger, step: Step) -> PlanLedger:
        """The ledger as if the plan of the stage were all that there is."""
        steps = [one.replace(n=one.part, after=()) for one in ledger.of_stage(step.stage or "") if one.part]
        return PlanLedger(ledger.file, None, tuple(steps), Breaker(ledger.breaker.limit))
