"""USE CASES on plans and pipelines: start one as a run, resume it, show what it would do. Edges: disk, git.

The run's program is the conductor (`runner.conduct`). All preconditions are checked before that run
exists: a refused plan leaves nothing on disk.
"""

from __future__ import annotations

import os

from runner import runtimes
from runner.conduct import commits, merge_back
from runner.conduct import plan_record as assignments
from runner.conduct.batch_task import request_of, steps_of
from runner.conduct.conductor_run import invocation
from runner.conduct.difference import difference
from runner.conduct.plan_record import Assignment, Options
from runner.conduct.refusals import (
    BreakerOpen,
    PlanRuns,
    refuse_open,
    refuse_running,
    refuse_surroundings,
    refuse_unverified,
)
from runner.conduct.stages import work_of
from runner.config import load as load_config
from runner.disk import editable
from runner.disk.programs import placed
from runner.errors import Conflict, ManifestBroken, PlanInvalid, PolicyRefused, RunNotFound, UsageError
from runner.invocation import Invocation
from runner.plan import load
from runner.plan.batch import decide
from runner.plan.decision import ANYWAY
from runner.plan.overview import as_text
from runner.plan.units import rules_of
from runner.resolve.choose import choose, find_task
from runner.runtimes import PLAN
from runner.state.authentic import refuse_foreign
from runner.state.lineage import lineage_of
from runner.state.plan_ledger import Breaker, PlanLedger, Step
from runner.state.store import RunDir, lock_task, runs_of
from runner.text.words import count, few
from runner.usecases import frozen, look, start
from runner.usecases.host_session import started_in, waking
from runner.usecases.protection import noticing
from runner.usecases.workplace import Workplace
from runner.value import Value
from runner.workspace import commit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, TypeVar

    from runner.conduct.plan_record import PipelineAssignment
    from runner.conduct.work import Work
    from runner.model import Config, Identity
    from runner.plan.decision import Decision
    from runner.plan.units import Plan
    from runner.resolve.choose import Choice
    from runner.state.manifest import Manifest

    Given = TypeVar("Given", Assignment, PipelineAssignment)

MOST_BATCHES = 1000
"""A manifest lists all of them, and is replaced at every event."""
_WORTHY = ("delegate", "break_even")


class NotDelegated(PolicyRefused):
    code = "not_delegated"
    default_hint = ANYWAY


class PlanChanged(Conflict):
    code = "plan_changed"
    default_hint = (
        "restore the plan file, or start without --resume; --done names a unit that you have done yourself"
    )


class PlanUnclear(PlanInvalid):
    code = "plan_unclear"
    default_hint = (
        "write these lines as docs/plans.md says; or look at what `runner plan FILE` makes of the plan, and "
        "accept it with --as-read"
    )


class PlanRequest(Value):
    """A plan and the task that its batches are made of, as they were asked for."""

    file: str
    task_id: str
    options: Options = Options()
    forced: bool = False
    timeout_s: float | None = None
    """Of the whole plan."""
    as_read: bool = False
    """Carries out what was read, whatever was not understood."""
    reset: bool = False
    """Continues although batches have failed in a row."""
    done: tuple[str, ...] = ()
    """Units that a person has done since."""
    tied_to: Identity | None = None
    """The process with which its run is to end."""

    def name(self, root: str) -> str:
        """As its ledger and its manifest call it: the path in the repository, or the absolute one. That of a
        link is its own: what kind of file it is goes by it.
        """
        folder, name = os.path.split(os.path.abspath(self.file))
        path, top = os.path.join(os.path.realpath(folder), name), os.path.realpath(root).rstrip("/")
        return os.path.relpath(path, top) if path.startswith(f"{top}/") else path


class PreparedPlan(Value):
    """What would be carried out; nothing has been touched for it."""

    asked: PlanRequest
    choice: Choice
    """Of the run itself, whose program is the conductor."""
    assignment: Assignment | PipelineAssignment
    ledger: PlanLedger
    decision: Decision | None
    """None for a resumed plan, which was decided before."""
    unclear: tuple[str, ...] = ()
    """Lines of the file that may have been meant otherwise."""

    @property
    def config(self) -> Config:
        return self.choice.config

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What its runs are run with, each once."""
        return self.work.choices()

    @property
    def work(self) -> Work:
        """For a look at what would be done: no run is there yet, or the one that it goes on with."""
        before = self.ledger.resumed_from
        run = RunDir(self.config.root, self.asked.task_id, "" if before is None else before.run_id)
        work = work_of(self.config, run, self.assignment)
        work.is_a_look = True
        return work

    @property
    def title(self) -> str:
        return self.ledger.title or self.assignment.name


# -- what would be done --------------------------------------------------------------------------------


def prepare(folder: str, asked: PlanRequest, env: Mapping[str, str]) -> PreparedPlan:
    """A plan that is to be begun. PlanInvalid, ConfigInvalid, PolicyRefused, TaskNotFound, or Conflict where
    the work tree does not allow what `[delegate]` wants.
    """
    config = settings(folder, asked.options, env)
    choice = choose(config, request_of(asked.options, asked.task_id))
    text = load.text_of(asked.file)
    reading = load.examined(text, asked.file, config.models)
    plan = reading.plan
    decision = decide(
        _with_one_model(plan, asked.options), rules_of(config.delegate, config.economics, forced=asked.forced)
    )
    decision = decision.replace(warnings=(*reading.warnings, *decision.warnings))
    if len(decision.batches) > MOST_BATCHES:
        raise PlanInvalid(
            f"the plan has {len(decision.batches):,} batches; at most {MOST_BATCHES:,} can be run",
            hint="raise soft_cap in [delegate], or split the plan",
        )
    refuse_surroundings(config, asked.task_id, asked.options, plan.units)
    parts = assignments.parts_of(plan, decision)
    refuse_unverified(choice, plan, parts)
    is_clean = merge_back.is_clean(config)
    name = asked.name(config.root)
    given = Assignment(
        name=name,
        text=text,
        plan=plan,
        parts=parts,
        options=asked.options,
        on_failure=choice.task.on_failure or ("rollback" if is_clean else None),
        checks=(),
    )
    ledger = PlanLedger(
        file=name,
        title=plan.title,
        steps=tuple(steps_of(plan, decision)),
        breaker=Breaker(config.delegate.max_failures),
        local=tuple(local.unit for local in decision.local),
        done=tuple(unit.id for unit in plan.units if unit.done),
    )
    return PreparedPlan(asked, choice, given, ledger, decision, reading.unclear)


def prepare_again(folder: str, asked: PlanRequest, env: Mapping[str, str]) -> PreparedPlan:
    """A plan to resume, from where its last run ended. Conflict where there is none, it still runs, nothing
    is left of it, its breaker is open, or the plan file has changed.
    """
    config = settings(folder, asked.options, env)
    find_task(config, asked.task_id)
    text = load.text_of(asked.file)
    reading = load.examined(text, asked.file, config.models)
    plan = reading.plan
    run, given, ledger = begun(config.root, asked, Assignment)
    changed = difference(given.name, given.text, text, given.plan, _ticked(plan, given.plan, ledger))
    if changed:
        raise PlanChanged("the plan file has changed since the plan began", problems=changed)
    unknown = [unit for unit in asked.done if all(unit != known.id for known in plan.units)]
    if unknown:
        raise UsageError(f"the plan has no unit {', '.join(unknown)}", hint="--done takes the id of a unit")
    if ledger.is_complete and ledger.breaker.parked is None:
        raise Conflict(f"nothing of {asked.file} is left to delegate", hint=begin_anew(run))
    refuse_open(ledger, asked.reset)
    options = newer(asked.options, given.options)
    if options != asked.options:
        asked, config = asked.replace(options=options), settings(folder, options, env)
    choice = choose(config, request_of(options, asked.task_id))
    limit = config.delegate.max_failures
    again = ledger.again(lineage_of(run), done=asked.done, reset=asked.reset, limit=limit)
    unsettled = commits.unsettled(config.root, ledger)
    refuse_surroundings(config, asked.task_id, options, plan.units, unsettled, ledger)
    unclear = reading.unclear if text != given.text else ()
    return PreparedPlan(asked, choice, given.replace(options=options), again, None, unclear)


def begun(root: str, asked: PlanRequest, kind: type[Given]) -> tuple[RunDir, Given, PlanLedger]:
    """The run that is to be gone on with. ForeignRun, PlanRuns, BreakerOpen, or Conflict without one."""
    hint = "start it without --resume"
    if (found := last(root, asked)) is None:
        raise Conflict(f"no run of `{asked.task_id}` has started {asked.name(root)}", hint=hint)
    run, manifest = found
    refuse_foreign(run)
    refuse_running(manifest)
    given, ledger = loaded(run, manifest, asked)
    if not isinstance(given, kind):
        raise Conflict(f"run `{run.run_id}` carries out something else", hint=hint)
    return run, given, ledger


def refuse_unworthy(prepared: PreparedPlan) -> None:
    """NotDelegated where the decision is not to delegate and no option overrides it."""
    decision, forced = prepared.decision, prepared.asked.forced
    if decision is None or (decision.batches and (forced or decision.decision in _WORTHY)):
        return
    hint = None if decision.batches or not forced else "`runner plan FILE` says why no unit is delegated"
    raise NotDelegated(f"{decision.decision}: {decision.reason.removesuffix(f'; {ANYWAY}')}", hint=hint)


def refuse_unclear(prepared: PreparedPlan) -> None:
    """PlanUnclear where lines of the plan may have been meant otherwise and nobody accepted the reading."""
    if prepared.unclear and not prepared.asked.as_read:
        what = count(len(prepared.unclear), "line of the plan is", "lines of the plan are")
        raise PlanUnclear(f"{what} not clear, so nothing was started", problems=prepared.unclear)


def refuse_begun(prepared: PreparedPlan) -> None:
    """What `start` would refuse because of the plan's last run, reported before any question."""
    _refuse_another(prepared, last(prepared.config.root, prepared.asked))


def dry_run(prepared: PreparedPlan, env: Mapping[str, str]) -> Iterator[tuple[Step, Invocation | None]]:
    """What each step that is left would execute, as far as it is known before those ahead of it have run;
    None for a gate or a person.
    """
    work = prepared.work
    for step in work.ahead(prepared.ledger):
        if not step.has_run:
            yield step, None
            continue
        config = work.config_of(prepared.ledger, step)
        yield step, start.resolve(config, work.request_of(step), env)


# -- beginning -----------------------------------------------------------------------------------------


def notes(prepared: PreparedPlan, env: Mapping[str, str]) -> Iterator[str]:
    """What a person should know before the first batch, a sentence each."""
    config, work = prepared.config, prepared.work
    if led := editable.first_lead(work.checks(), env, config.root, is_apart=work.may_be_apart):
        yield f"{led}; {editable.REPAIR}"
    if behind := [prepared.ledger.step(n).called for n in commits.left_behind(config, prepared.ledger)]:
        yield f"what is checked out has neither commit nor files of what counts as done: {few(behind)}"
    if prepared.config.delegate.commit is not False and not commit.has_name(prepared.config.root):
        yield "git knows no name for the commits, so they will be by `runner`: set user.name and user.email"


def begin(prepared: PreparedPlan, env: Mapping[str, str]) -> Manifest:
    """Starts or resumes it as a run of its own; returns once the conductor exists. PlanRuns where another run
    of the same plan has not ended, BreakerOpen where its breaker is open.
    """
    asked, root = prepared.asked, prepared.config.root
    for _ in dry_run(prepared, env):  # an impossible batch is reported now and not in the middle
        pass
    with lock_task(root, asked.task_id):  # two that look at once would both begin
        before = _refuse_another(prepared, last(root, asked))
        prepared = _counted_on(prepared, before)
        title = f"{'pipeline' if prepared.ledger.stages else 'plan'}: {prepared.title}"
        resolved = invocation(
            prepared.choice, env, title=title, prompt=_told(prepared), timeout_s=asked.timeout_s
        )
        notify, chosen = waking(placed(prepared.config.notify, env), env, root), prepared.choices
        for one in chosen:
            notify = noticing(notify, root, root, one.sandbox, runtimes.get(one.runtime), env)
        secrets = {name for one in chosen for name in one.settings.env}
        resolved = resolved.replace(tied_to=asked.tied_to, notify=notify, **started_in(env, root))
        resolved = resolved.replace(secret_names=tuple(sorted({*resolved.secret_names, *secrets})))
        return start.start_plan(resolved, env, _Desk(prepared))


def _refuse_another(
    prepared: PreparedPlan, found: tuple[RunDir, Manifest] | None
) -> tuple[Assignment | PipelineAssignment, PlanLedger] | None:
    """What the newest run of the plan has against another one; what it carried out, if that can be read."""
    if found is None:
        return None
    run, manifest = found
    refuse_running(manifest)
    resumed = prepared.ledger.resumed_from
    if resumed is not None and resumed.run_id != run.run_id:
        raise PlanRuns(f"run `{run.run_id}` has continued the plan meanwhile")
    try:
        given, ledger = loaded(run, manifest, prepared.asked)
    except BreakerOpen:
        raise
    except Conflict:  # it cannot be resumed, so it must be possible to start over
        return None
    is_same = given.identity == prepared.assignment.identity  # what says something else is another plan
    if resumed is None and is_same:
        refuse_open(ledger, prepared.asked.reset)
    return given, ledger


def loaded(
    run: RunDir, manifest: Manifest, asked: PlanRequest
) -> tuple[Assignment | PipelineAssignment, PlanLedger]:
    """As `assignments.load`. That its files are broken closes no breaker: the manifest knows of it too."""
    try:
        return assignments.load(run)
    except Conflict:
        if manifest.has_open_breaker and not asked.reset:
            raise BreakerOpen(f"the breaker is open: run `{run.run_id}`") from None
        raise


def _counted_on(
    prepared: PreparedPlan, before: tuple[Assignment | PipelineAssignment, PlanLedger] | None
) -> PreparedPlan:
    """To its breaker, the same plan started over is the same plan."""
    ledger = prepared.ledger
    if ledger.resumed_from is not None or before is None or prepared.asked.reset:
        return prepared
    given, then = before
    if given.identity != prepared.assignment.identity:
        return prepared
    breaker = ledger.breaker.replace(failures=then.breaker.failures)
    return prepared.replace(ledger=ledger.replace(breaker=breaker))


class _Desk(Workplace):
    """Where the conductor works: the repository itself, of which it writes nothing without a lease."""

    def __init__(self, prepared: PreparedPlan) -> None:
        super().__init__(prepared.config.root)
        self._prepared = prepared

    def manifest_fields(self, run: RunDir) -> dict[str, Any]:
        names = {"plan": os.path.basename(run.plan), "ledger": os.path.basename(run.ledger)}
        return {
            "plan": self._prepared.ledger.shown(),
            "rehearsal": self._prepared.choice.rehearses,
            "artifacts": {**run.artifacts, **names},
        }

    def prepare(self, run: RunDir) -> None:
        config = self._prepared.config
        tasks = [config.tasks[one.task.id] for one in self._prepared.choices]
        texts = {task.id: start.own_text(config, task) for task in tasks if task.prompt_file}
        frozen.freeze(run, config, texts)
        if (before := self._prepared.ledger.resumed_from) is not None:
            assignments.take_over(run, RunDir.of(run.repo, before), self._prepared.ledger)
        assignments.write(run, self._prepared.assignment, self._prepared.ledger)


def last(root: str, asked: PlanRequest) -> tuple[RunDir, Manifest] | None:
    """The newest run of this task that has carried out this plan, and the truth about it. One that is foreign
    and not done does nothing any more, and one whose starter was killed before its ledger has done nothing.
    """
    name = asked.name(root)
    for run in runs_of(root, asked.task_id):
        try:
            manifest = run.read_manifest()
            if manifest.runtime.name != PLAN:
                continue
            file = (manifest.plan or {}).get("file") or assignments.file_of(run)
        except (RunNotFound, ManifestBroken):  # it can be made again, where this is the one
            file = assignments.file_of(run)
        if file != name or (shown := look.show(run)).is_told_apart:
            continue
        if not (shown.manifest.never_started and not os.path.lexists(run.ledger)):
            return run, shown.manifest
    return None


def _told(prepared: PreparedPlan) -> str:
    """For people who look into the run's folder: the conductor reads `plan.json`."""
    if prepared.decision is not None:
        return as_text(prepared.decision)
    verb = "begins" if prepared.ledger.resumed_from is None else "continues"
    return f"{verb} {prepared.assignment.name}; left: {', '.join(prepared.ledger.left)}\n"


# -- its preconditions ---------------------------------------------------------------------------------


def settings(folder: str, options: Options, env: Mapping[str, str]) -> Config:
    return load_config(folder, config_file=options.config_file, env=env, sets=options.sets)


def _with_one_model(plan: Plan, options: Options) -> Plan:
    """What is decided about: where `--model` stands for all models, nothing is cut because of them."""
    if options.model is None:
        return plan
    return plan.replace(units=tuple(unit.replace(model=None) for unit in plan.units))


def _ticked(plan: Plan, then: Plan, ledger: PlanLedger) -> Plan:
    """The plan without the ticks that say what the ledger knows: a box is ticked as work goes on."""
    open_ones = {*ledger.left, *ledger.local} - {*ledger.done}
    before = {unit.id: unit.done for unit in then.units if unit.id not in open_ones}
    return plan.replace(units=tuple(u.replace(done=before.get(u.id, u.done)) for u in plan.units))


def begin_anew(run: RunDir) -> str:
    return f"`runner status {run.run_id}` shows how it ended; without --resume the plan starts over"


def newer(now: Options, then: Options) -> Options:
    """The options of now, and for those that are not given, the options of then."""
    given = {name: getattr(now, name) for name in Options._fields}
    return then.replace(**{name: value for name, value in given.items() if value != getattr(Options, name)})
