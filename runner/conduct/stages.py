"""The stages of a pipeline as steps: which come up when, and the task that each of them is. Edge: disk.

What a gate and a person decide is in `gates`; the texts are in `stage_prompt`.
"""

from __future__ import annotations

import os

from runner.conduct import batch_task, commits, stage_prompt
from runner.conduct.gates import Gates
from runner.conduct.plan_record import PipelineAssignment
from runner.conduct.stage_plan import THE_PLAN, StagePlans
from runner.conduct.work import PlanWork, Work
from runner.invocation import Request
from runner.model import Level
from runner.resolve.choose import choose, find_task
from runner.state.plan_ledger import APPROVAL, Status, Step, StepKind
from runner.state.store import RunDir
from runner.usecases import start
from runner.verify import record
from runner.verify.review import ReviewFinding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from runner.conduct.outcome import BatchEnd
    from runner.conduct.plan_record import Assignment
    from runner.model import Config, Task
    from runner.plan.pipeline import Stage
    from runner.plan.units import Unit
    from runner.resolve.choose import Choice
    from runner.state.manifest import Manifest
    from runner.state.plan_ledger import PlanLedger

_ORIGIN = "the pipeline"
_OVER = (Status.SUCCEEDED, Status.DONE)


class PipelineWork(Work):
    """The stages of one pipeline. `run` is that of its conductor."""

    def __init__(self, config: Config, run: RunDir, given: PipelineAssignment) -> None:
        super().__init__(config, run.task_id)
        self._run, self._given, self._pipeline = run, given, given.pipeline
        self._plans = StagePlans(config, run, given)
        self._gates = Gates(self, run, given, self._plans)
        names = [name for stage in self._pipeline.stages for name in stage.runs]
        self._chosen = {name: choose(config, batch_task.request_of(given.options, name)) for name in names}

    def choices(self) -> tuple[Choice, ...]:
        return tuple(self._chosen.values())

    @property
    def may_be_apart(self) -> bool:
        return any(batch_task.is_apart(self.config, name) for name in self._chosen if self._writes(name))

    def _writes(self, name: str) -> bool:
        return self._chosen[name].sandbox.level is not Level.READ_ONLY

    # -- what comes up -------------------------------------------------------------------------------

    def grown(self, ledger: PlanLedger) -> PlanLedger:
        if not ledger.breaker.lets_through:
            return ledger
        ledger = self._gates.asked_again(ledger)
        for stage in self._pipeline.stages:
            passed, needed = {*ledger.passed}, self._pipeline.before(stage.name)
            is_next = stage.name not in passed and not ledger.of_stage(stage.name)
            if is_next and passed.issuperset(needed):  # what a person approved far above can be open again
                ledger = ledger.grown(self._opening(ledger, stage, needed))
        return ledger

    def _opening(self, ledger: PlanLedger, stage: Stage, needed: Sequence[str]) -> Iterator[Step]:
        """The first steps of a stage; they wait for the last ones of those before it."""
        first = len(ledger.steps) + 1
        after = tuple(step.n for step in ledger.steps if step.is_last and step.stage in needed)
        made: list[Step] = []
        last: tuple[int, ...] = ()

        def step(kind: StepKind, title: str, behind: tuple[int, ...], **more: Any) -> Step:
            made.append(Step(first + len(made), (), behind, stage=stage.name, kind=kind, title=title, **more))
            return made[-1]

        if (compare := stage.compare) is not None:
            a = step(StepKind.COMPARE, "a", after, task=compare.a, is_reader=not self._writes(compare.a))
            behind = (a.n,) if compare.pattern == "adversarial" else after
            b = step(StepKind.COMPARE, "b", behind, task=compare.b, is_reader=not self._writes(compare.b))
            last = (a.n, b.n)
            for title in ("advocacy", "synthesis")[2 - compare.passes :]:
                last = (step(StepKind.SYNTHESIS, title, last, task=compare.task, is_reader=True).n,)
        elif stage.plan is not None:
            person = step(StepKind.PERSON, self._given.place(stage) or "", after)
            step(StepKind.GATE, THE_PLAN, (person.n,))
            return iter(made)  # the rest is known once that was read
        elif stage.person is not None:
            person = step(StepKind.PERSON, self._given.place(stage) or APPROVAL, after)
            made[0] = person.replace(is_last=not stage.gate.commands)
            last = (person.n,)
        else:
            tasks = [
                step(StepKind.TASK, task, after, task=task, is_reader=not self._writes(task))
                for task in stage.tasks
            ]
            last = tuple(one.n for one in tasks)
        made += self._gates.closing(stage, first + len(made), last)
        return iter(made)

    def ahead(self, ledger: PlanLedger) -> Iterator[Step]:
        """As if every stage passed. The template of a plan that is not read yet stands for its batches, and
        one repair for all that may follow.
        """
        ahead = ledger
        while True:
            ahead, before = self.grown(ahead), ahead
            new = [step for step in ahead.steps if step.status not in (*_OVER, Status.REPLACED)]
            if ahead is before and not new:
                return
            for step in new:
                ahead = ahead.passes(step.n)
                stage = self._pipeline.stage(step.stage or "")
                made, is_unread = [step], stage.plan is not None and not ahead.plan_is_read(stage.name)
                if is_unread and step.kind is StepKind.GATE:
                    batches = step.replace(kind=StepKind.TASK, task=stage.task)
                    made = [batches.replace(title=f"batches of {stage.task}")]
                    made += self._gates.closing(stage, step.n, ())
                    ahead = ahead.replace(skipped=(*ahead.skipped, stage.name))
                yield from self._worth_telling(stage, made)

    def _worth_telling(self, stage: Stage, steps: Sequence[Step]) -> Iterator[Step]:
        """Without a gate that waits for its runs alone; with the repairs that one can ask for."""
        gate, repair = stage.gate, stage.repair
        for step in steps:
            if step.kind is not StepKind.GATE or gate.commands or gate.no_findings:
                yield step
            if step.kind is StepKind.GATE and repair is not None:
                one = ReviewFinding(repair.severity, "FILE", None, "TITLE", "DETAIL", "EVIDENCE")
                told = step.replace(kind=StepKind.REPAIR, task=repair.task, title="repair")
                yield told.replace(about=(one.to_json(),))

    def checks(self) -> tuple[tuple[str, ...], ...]:
        gates = [argv for stage in self._pipeline.stages for argv in stage.gate.commands]
        return (*(argv for name in self._chosen for argv in self.config.tasks[name].verify), *gates)

    # -- what a step is ------------------------------------------------------------------------------

    def config_of(self, ledger: PlanLedger, step: Step) -> Config:
        assert step.stage is not None
        stage, name = self._pipeline.stage(step.stage), self.task_of(step)
        if step.kind is StepKind.BATCH:
            made = self._plans.config_of(ledger, step)
            return self._with(made, name, {"prompt": self._prompt(ledger, stage, step, made.tasks[name])})
        task = find_task(self.config, name)
        text = start.own_text(self.config, task)
        changes: dict[str, Any] = {
            "title": f"{self._pipeline.name} / {step.called}",
            "prompt": self._prompt(ledger, stage, step, task.replace(prompt=text)),
            "workspace": "worktree" if self.is_apart(step) else "in-place",
            "open": False,
        }
        if not step.is_reader:
            changes["on_failure"] = task.on_failure or self._given.on_failure
        if step.kind is StepKind.REPAIR:
            commands = [
                argv
                for one in self._pipeline.stages
                if one.name in ledger.passed
                for argv in one.gate.commands
            ]
            changes["verify"] = tuple(dict.fromkeys((*task.verify, *commands)))
            changes["on_failure"] = "rollback"  # the pipeline goes on in this tree
        if (contract := self._contract(stage, step)) is not None:
            changes["output_contract"] = contract
        return self._with(self.config, name, changes)

    def _with(self, config: Config, name: str, changes: Mapping[str, Any]) -> Config:
        made = config.tasks[name].replace(prompt_file=None, **changes)
        origins = batch_task.origins_of(config, config.tasks[name], changes, _ORIGIN)
        return config.replace(tasks={**config.tasks, name: made}, origins=origins)

    def _contract(self, stage: Stage, step: Step) -> str | None:
        """What its answer has to be for what comes after it; None: what the task says."""
        if step.kind is StepKind.SYNTHESIS:
            return step.title  # `synthesis` or `advocacy`
        compared = stage.compare is not None and step.kind is StepKind.COMPARE
        reviews = compared and not (
            stage.compare and stage.compare.pattern == "adversarial" and step.title == "a"
        )
        is_review = step.kind in (StepKind.TASK, StepKind.REVIEW) and stage.gate.no_findings is not None
        return "findings" if reviews or is_review else None

    def _prompt(self, ledger: PlanLedger, stage: Stage, step: Step, task: Task) -> str:
        own = task.prompt or ""
        if step.kind is StepKind.SYNTHESIS:
            section = "" if self.is_a_look else self._gates.compared.prompt(ledger, stage, step)
            return stage_prompt.prompt(own, section)
        more = ""
        if step.kind is StepKind.REPAIR:
            more = stage_prompt.repair(step.about[0])
        elif step.kind is StepKind.REVIEW:
            more = stage_prompt.again(step.about)
        before = stage_prompt.earlier([*self._results(ledger, stage, step)])
        return stage_prompt.prompt(own, stage_prompt.given(self._given.input), before, more)

    def _results(self, ledger: PlanLedger, stage: Stage, step: Step) -> Iterator[stage_prompt.Told]:
        """Of the stages that it needs, also by way of others; and what an adversary looks at. Two opinions
        are not told what others have found, or one would be a copy.
        """
        stages = [self._pipeline.stage(name) for name in self._pipeline.before(stage.name)]
        is_opinion = step.kind is StepKind.COMPARE
        known = [one.name for one in stages if not (is_opinion and (one.gate.no_findings or one.compare))]
        for one in ledger.steps:
            is_made = (
                stage.name == one.stage and step.title == "b" and one.title == "a" and one.n in step.after
            )
            if (one.stage in known or is_made) and one.status in _OVER:
                yield from self._told(one)

    def _told(self, step: Step) -> Iterator[stage_prompt.Told]:
        if step.kind is StepKind.COMPARE and step.is_reader:
            return  # the synthesis has it
        if step.kind is StepKind.PERSON and step.digest is not None:
            path, is_signed = os.path.join(self.config.root, step.title), step.asked is not None
            how = "approved by a person" if is_signed else "nobody has approved it"
            yield stage_prompt.Told(f"{step.stage}: {step.title}", how, "", path)
        elif step.run is not None:
            run = RunDir.of(self._run.repo, step.run)
            found = record.load(run.result)
            said = "" if found is None or found.claim is None else found.claim.summary
            path = self._gates.compared.written(step) or run.last_message
            yield stage_prompt.Told(step.called, str(step.status), said or _beginning(run), path)

    def request_of(self, step: Step) -> Request:
        options, is_batch = self._given.options, step.kind is StepKind.BATCH
        of_task = batch_task.request_of(options, self.task_of(step))
        script = os.path.join(options.rehearsal_script or "", f"{step.script}.toml")
        is_played = options.rehearsal_script is not None and os.path.isfile(script)
        asked = self._plans.request_of(step) if is_batch else of_task
        return asked.replace(rehearsal_script=script if is_played else None)

    def named_by(self, step: Step) -> tuple[Unit, ...]:
        return self._plans.units_of(step) if step.kind is StepKind.BATCH else ()

    def message(self, ledger: PlanLedger, step: Step, manifest: Manifest) -> str:
        units, title = self.units_of(ledger, step), self._pipeline.title or self._pipeline.name
        if units:
            batches = [one for one in ledger.of_stage(step.stage or "") if one.kind is StepKind.BATCH]
            return commits.message(self.config, title, step.part, len(batches), units, manifest)
        delegate = self.config.delegate.replace(commit_message="{title}")
        named = f"{title}: {step.called}"
        return commits.message(
            self.config.replace(delegate=delegate), named, step.n, len(ledger.steps), (), manifest
        )

    # -- what came of it -----------------------------------------------------------------------------

    def looked(self, ledger: PlanLedger, step: Step, env: Mapping[str, str], *, is_quiet: bool) -> PlanLedger:
        return self._gates.looked(ledger, step, env, is_quiet=is_quiet)

    def judged(self, ledger: PlanLedger, step: Step, run: RunDir, end: BatchEnd) -> BatchEnd:
        return self._gates.compared.judged(ledger, step, run, end)


def _beginning(run: RunDir) -> str:
    from runner.disk.files import read_text

    try:
        return (read_text(run.last_message, 1 << 20) or "")[:1000]
    except (OSError, ValueError):
        return ""


def work_of(config: Config, run: RunDir, given: Assignment | PipelineAssignment) -> Work:
    """Here the next kind of work is added. As `choose` for what its tasks are run with."""
    if isinstance(given, PipelineAssignment):
        return PipelineWork(config, run, given)
    return PlanWork(config, run.task_id, given)
