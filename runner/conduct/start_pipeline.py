"""USE CASES on pipelines: what is carried out, begun or resumed. `start_plan` begins it. Edges: disk, git."""

from __future__ import annotations

from runner.conduct import batch_task, commits, merge_back
from runner.conduct.plan_record import PipelineAssignment, pipeline_file
from runner.conduct.refusals import refuse_open, refuse_tree
from runner.conduct.stages import work_of
from runner.conduct.start_plan import (
    PlanChanged,
    PlanRequest,
    PreparedPlan,
    begin_anew,
    begun,
    newer,
    settings,
)
from runner.config import policy
from runner.errors import ConfigInvalid, Conflict, UsageError
from runner.model import is_name
from runner.resolve.choose import choose, find_pipeline, near_match
from runner.resolve.delegation import readable
from runner.state.lineage import lineage_of
from runner.state.plan_ledger import Breaker, PlanLedger
from runner.state.store import RunDir
from runner.text.terminal import is_blank
from runner.text.words import few
from runner.usecases import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from runner.model import Config, Sandbox
    from runner.plan.pipeline import Pipeline
    from runner.resolve.choose import Choice

_LONGEST = 64 * 1024
"""Characters of one input: it stands in the prompt of every run."""


class PipelineChanged(PlanChanged):
    code = "pipeline_changed"
    default_hint = "restore [pipelines] in delegate.toml, or start without --resume"


class InputMissing(UsageError):
    code = "input_missing"
    default_hint = "--set NAME=TEXT, or --set NAME=@FILE"


class PipelineRequest(PlanRequest):
    """A pipeline and what is given to it, as they were asked for. `file` and `task_id` are its name."""

    given: Mapping[str, str] = {}
    start: str | None = None
    """The stage to begin with."""

    def name(self, root: str) -> str:
        return pipeline_file(self.task_id)


def prepare(folder: str, asked: PipelineRequest, env: Mapping[str, str]) -> PreparedPlan:
    """A pipeline that is to be begun. PipelineNotFound, InputMissing, ConfigInvalid, PolicyRefused, or
    Conflict where the work tree does not allow what `[delegate]` wants.
    """
    config = settings(folder, asked.options, env)
    pipeline = find_pipeline(config, asked.task_id)
    _refuse_input(pipeline, asked.given)
    skipped = _before(pipeline, asked.start)
    given = PipelineAssignment(
        pipeline=pipeline,
        input={name: asked.given[name] for name in pipeline.input},
        options=asked.options,
        on_failure="rollback" if merge_back.is_clean(config) else None,
    )
    ledger = PlanLedger(
        file=given.name,
        title=pipeline.title or pipeline.name,
        steps=(),
        breaker=Breaker(config.delegate.max_failures),
        stages=tuple(stage.name for stage in pipeline.stages),
        skipped=skipped,
    )
    return _allowed(asked, config, given, ledger, env)


def prepare_again(folder: str, asked: PipelineRequest, env: Mapping[str, str]) -> PreparedPlan:
    """A pipeline to resume, from where its last run ended. Conflict where there is none, it still runs,
    nothing is left of it, its breaker is open, or it is not what it was.
    """
    config = settings(folder, asked.options, env)
    pipeline = find_pipeline(config, asked.task_id)
    if asked.start is not None:
        raise UsageError("--from cannot be combined with --resume", hint="leave --resume out to begin there")
    run, given, ledger = begun(config.root, asked, PipelineAssignment)
    if changed := _difference(given.pipeline, pipeline):
        raise PipelineChanged("the pipeline has changed since it began", problems=changed)
    if other := [name for name, text in asked.given.items() if given.input.get(name) != text]:
        hint = "leave --set out, or start without --resume"
        raise PipelineChanged(f"it was begun with another {few(other)}", hint=hint)
    if ledger.is_complete and ledger.breaker.parked is None:
        raise Conflict(f"nothing of pipeline `{pipeline.name}` is left", hint=begin_anew(run))
    refuse_open(ledger, asked.reset)
    options = newer(asked.options, given.options)
    if options != asked.options:
        asked, config = asked.replace(options=options), settings(folder, options, env)
    limit = config.delegate.max_failures
    again = ledger.again(lineage_of(run), reset=asked.reset, limit=limit)
    unsettled = commits.unsettled(config.root, ledger)
    return _allowed(asked, config, given.replace(options=options), again, env, unsettled)


def _own(config: Config, given: PipelineAssignment) -> Choice:
    """What the run of the pipeline itself is shown with: all that any of its tasks may, as none of its runs
    may more than what starts it.
    """
    work = work_of(config, RunDir(config.root, given.pipeline.name, ""), given)
    chosen = work.choices()
    if not chosen:  # people alone
        raise ConfigInvalid(f"pipeline `{given.pipeline.name}` starts no run")
    widest = max(chosen, key=lambda one: (one.sandbox.level.rank, one.sandbox.network))
    delegates = any(one.task.delegation for one in chosen)
    task = widest.task.replace(id=given.pipeline.name, prompt=None, prompt_file=None, delegation=delegates)
    tasks = {**config.tasks, task.id: task}
    own = choose(config.replace(tasks=tasks), batch_task.request_of(given.options, task.id))
    return own.replace(config=config, sandbox=_widest([one.sandbox for one in chosen], own.sandbox))


def _widest(sandboxes: Sequence[Sandbox], own: Sandbox) -> Sandbox:
    """`own`, with what any of them may write, read and reach."""
    nets = [one.hosts for one in sandboxes if one.network]
    return own.replace(
        network=bool(nets),
        hosts=tuple(sorted({host for one in nets for host in one})) if all(nets) else (),
        writable=tuple(sorted({path for one in sandboxes for path in one.writable})),
        deny_read=tuple(
            path for path in own.deny_read if not any(readable(one, (path,)) for one in sandboxes)
        ),
    )


def _refuse_input(pipeline: Pipeline, given: Mapping[str, str]) -> None:
    for name in given.keys() - {*pipeline.input}:
        text = f"pipeline `{pipeline.name}` has no input `{name[:80]}`"
        raise UsageError(text, hint=near_match(name, pipeline.input, "input"))
    if lacking := [name for name in pipeline.input if is_blank(given.get(name, ""))]:
        raise InputMissing(f"pipeline `{pipeline.name}` needs {few(lacking)}")
    if long := [name for name, text in given.items() if len(text) > _LONGEST]:
        raise UsageError(f"{few(long)} has more than {_LONGEST:,} characters", hint="name a file in the text")
    if odd := [name for name, text in given.items() if "\0" in text]:
        raise UsageError(f"{few(odd)} has a NUL character")
    places = [place for stage in pipeline.stages for place in (stage.plan, stage.person) if place]
    for name, text in given.items():
        if any(f"{{{name}}}" in place for place in places) and not is_name(text):
            hint = "letters, digits, `.`, `_` and `-`, not at the beginning"
            raise UsageError(f"`{name}` is a part of a path and cannot be `{text[:80]}`", hint=hint)


def _before(pipeline: Pipeline, start: str | None) -> tuple[str, ...]:
    """The stages that count as passed where it begins with that one."""
    if start is None:
        return ()
    names = [stage.name for stage in pipeline.stages]
    if start not in names:
        raise UsageError(
            f"pipeline `{pipeline.name}` has no stage `{start[:80]}`", hint=f"known: {few(names)}"
        )
    return pipeline.before(start)


def _allowed(
    asked: PipelineRequest,
    config: Config,
    given: PipelineAssignment,
    ledger: PlanLedger,
    env: Mapping[str, str],
    unsettled: Collection[str] = (),
) -> PreparedPlan:
    """What would be carried out, if policy, work tree and tasks allow it; else PolicyRefused, CheckMissing,
    ConfigInvalid or Conflict.
    """
    prepared, stages = PreparedPlan(asked, _own(config, given), given, ledger, None), given.pipeline.stages
    gates = [argv for stage in stages for argv in stage.gate.commands]
    policy.refuse(policy.check_breaches(config.policy, gates, "command of a gate"))
    for stage in stages:
        start.refuse_absent(stage.gate.commands, env, config.root, f"the gate of stage `{stage.name}`")
    alone = {name for stage in stages if stage.plan is None for name in stage.runs}
    runs = [(one.task, one.sandbox) for one in prepared.choices if one.task.id in alone]
    if bare := policy.unverified(config, runs):
        raise ConfigInvalid(
            f"the pipeline commits what its runs change, but no command verifies {few(bare)}",
            hint="give `verify` to these tasks, or set commit = false in [delegate]",
        )
    again = None if ledger.resumed_from is None else ledger
    what, may_be_apart = "the pipeline commits what its runs change", prepared.work.may_be_apart
    refuse_tree(config, what, unsettled, again, may_be_apart=may_be_apart)
    return prepared


def _difference(then: Pipeline, now: Pipeline) -> tuple[str, ...]:
    """What is other now, a line each."""
    lines = [f"{name} changed" for name in ("title", "input") if getattr(then, name) != getattr(now, name)]
    before, after = ({stage.name: stage for stage in one.stages} for one in (then, now))
    lines += [f"stage {name}: added" for name in after if name not in before]
    lines += [f"stage {name}: removed" for name in before if name not in after]
    for name in before.keys() & after.keys():
        old, new = before[name].to_json(), after[name].to_json()
        if other := [key for key in old if old[key] != new[key]]:
            lines.append(f"stage {name}: {', '.join(other)} changed")
    if not lines and then != now:
        lines.append("the stages are in another order")
    return tuple(sorted(lines))
