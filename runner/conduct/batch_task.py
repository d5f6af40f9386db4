"""Turns a batch of a plan into a task: the settings of the template plus those of its units.

The template is a task of delegate.toml. The result is a config in which the template is this batch, so the
run is resolved, started and judged like any run. `batch_prompt` has the texts. Edge: disk, reading (the
template's own prompt).
"""

from __future__ import annotations

import os

from runner.conduct import batch_prompt
from runner.conduct.batch_prompt import Order
from runner.errors import ConfigInvalid, PromptInvalid
from runner.executors import LOCAL
from runner.invocation import Request
from runner.model import Config, Level, Model, Task
from runner.plan.checks import joined
from runner.plan.units import EFFORTS
from runner.resolve.choose import choose, find_task
from runner.state.plan_ledger import Step
from runner.text.globs import covers
from runner.text.problems import dotted
from runner.text.words import few
from runner.usecases import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from runner.conduct.plan_record import Assignment, Options
    from runner.plan.decision import Decision
    from runner.plan.units import Plan, Unit
    from runner.resolve.choose import Choice
    from runner.state.plan_ledger import PlanLedger

_NO_MODEL = "(the runtime's own)"
"""Names a model that is only an effort; no name that delegate.toml can give."""
_ORIGIN = "the plan"


def check_template(config: Config, request: Request, units: Iterable[Unit]) -> None:
    """Checks the template before any batch: everything `choose` refuses, and ConfigInvalid where a unit
    writes files in a read-only sandbox or, with `files = "strict"`, outside the scope.
    """
    units = tuple(units)
    choice = choose(config, request)
    task = choice.task
    if task.open or request.open:
        raise ConfigInvalid(
            f"task `{task.id}` stays open, and nobody sends messages to the batches of a plan",
            hint="leave `open` out of the template of a plan",
        )
    with_checks = task.replace(verify=(*task.verify, *(one for unit in units for one in unit.verify)))
    choose(config.replace(tasks={**config.tasks, task.id: with_checks}), request)
    writers = [(unit, written((unit,))) for unit in units]
    named = [unit.id for unit, paths in writers if paths]
    if choice.sandbox.level is Level.READ_ONLY and named:
        raise ConfigInvalid(
            f"task `{request.task_id}` may not write files, but the plan has units that do: {few(named)}",
            hint='set sandbox = "workspace-write" in the task, or pass --sandbox workspace-write',
        )
    scope = choice.task.scope
    if not scope or config.delegate.files != "strict":
        return
    beyond = [f"{unit.id}: {path}" for unit, paths in writers for path in paths if not covers(scope, path)]
    if beyond:
        raise ConfigInvalid(
            f"the plan has units that write outside the scope of task `{request.task_id}`",
            hint='widen `scope` of the task, or set files = "warn" in [delegate]',
            problems=beyond,
        )


def batch_config(
    config: Config, task_id: str, order: Order, *, own_text: str | None = None, model: str | None = None
) -> Config:
    """The config in which task `task_id` is this batch.

    `own_text` is the template's prompt where it is not in `prompt`: the text of its `prompt_file` or of
    --prompt. The run must then be started without a prompt of its own. `model` is the run's --model, as the
    effort belongs to a model.

    - The scope of a `strict` order is what its units create and modify; `check_template` ensures that this is
      within the template's. If no unit names a file that it writes, the template's scope holds. A unit that
      names none beside others that do may change only what these name.
    - The output contract is `final` unless delegate.toml or a layer above it says otherwise.
    - The effort of the template's model is a floor. An unknown word stays, as it cannot be compared;
      `default` is a word of plans only and is never passed on.
    """
    task = find_task(config, task_id)
    text = own_text if own_text is not None else task.prompt
    if text is None and task.prompt_file is not None:
        raise PromptInvalid(f"the text of {task.prompt_file} could not be read for task `{task_id}`")
    changes = _changes(config, task, order, text or "")
    name = model or task.model
    models, effort_only = _models(config, name, order.effort)
    if effort_only:
        changes["model"] = _NO_MODEL
    return config.replace(
        tasks={**config.tasks, task_id: task.replace(prompt_file=None, **changes)},
        models=models,
        origins=origins_of(config, task, changes, _ORIGIN),
    )


def is_apart(config: Config, task_id: str) -> bool:
    """Whether every batch gets a work tree of its own: where they may run side by side, or on other machines,
    they have to.
    """
    task = config.tasks[task_id]
    is_placed = task.executor not in (None, LOCAL)
    return config.delegate.max_parallel > 1 or task.workspace == "worktree" or is_placed


def units_of(assignment: Assignment, ledger: PlanLedger, step: Step) -> tuple[Unit, ...]:
    """The units of the batch that are not done yet."""
    return tuple(unit for unit in assignment.units(step.n) if unit.id not in ledger.done)


def config_of(config: Config, task_id: str, assignment: Assignment, ledger: PlanLedger, step: Step) -> Config:
    """The settings in which the task is this batch."""
    task = config.tasks[task_id]
    has_text = task.prompt is not None or task.prompt_file is not None
    order = order_of(config, task_id, assignment, ledger, step)
    own_text = start.own_text(config, task) if has_text else None
    return batch_config(config, task_id, order, own_text=own_text, model=assignment.model(step.n))


def order_of(config: Config, task_id: str, assignment: Assignment, ledger: PlanLedger, step: Step) -> Order:
    """The batch as it is to be carried out now."""
    units = units_of(assignment, ledger, step)
    done = [other for other in ledger.steps if other.n < step.n and other.changed]
    return Order(
        n=step.n,
        batches=len(ledger.steps),
        title=assignment.plan.title,
        units=units,
        verify=joined(command for unit in units for command in unit.verify),
        effort=assignment.parts[step.n - 1].effort,
        strict=config.delegate.files == "strict",
        earlier=tuple((", ".join(other.units), other.changed) for other in done),
        kept=step.kept,
        on_failure=assignment.on_failure,
        worktree=is_apart(config, task_id),
    )


def request_for(assignment: Assignment, task_id: str, n: int) -> Request:
    """What is asked for batch `n`, without its parent, its id and its base."""
    return request_of(assignment.options, task_id, n).replace(model=assignment.model(n))


def choices_of(config: Config, assignment: Assignment, task_id: str) -> tuple[Choice, ...]:
    """What the models of its batches mean. As `choose`."""
    asked = request_of(assignment.options, task_id)
    return tuple(choose(config, asked.replace(model=name)) for name in assignment.models)


def request_of(options: Options, task_id: str, n: int | None = None) -> Request:
    """What is asked for any batch, or for batch `n` where its units name no model."""
    script = options.rehearsal_script
    if script is not None and n is not None and os.path.isdir(script):
        script = os.path.join(script, f"batch-{n}.toml")
    return Request(
        task_id=task_id,
        model=options.model,
        sandbox=options.sandbox,
        rehearse=options.rehearse,
        rehearsal_script=script,
        allow_danger=options.allow_danger,
        map=options.map,
    )


def written(units: Iterable[Unit]) -> tuple[str, ...]:
    """The paths and globs that the units create or modify, each once."""
    return _once(path for unit in units for path in (*unit.files.create, *unit.files.modify))


def _changes(config: Config, task: Task, order: Order, own_text: str) -> dict[str, Any]:
    """The fields in which the batch's task differs, or may differ, from the template."""
    named = written(order.units) if order.strict else ()
    fields: dict[str, Any] = {
        "title": batch_prompt.title(order),
        "prompt": batch_prompt.prompt(order, own_text),
        "files": _once((*task.files, *(path for unit in order.units for path in _files(unit)))),
        "patterns": _once((*task.patterns, *(path for unit in order.units for path in unit.patterns))),
        "approach": batch_prompt.approach(order, task.approach),
        "execution_note": batch_prompt.execution_note(order, task.execution_note),
        "testing": _once((*task.testing, *batch_prompt.testing(order))),
        "verify": tuple(dict.fromkeys((*task.verify, *order.verify))),
        "scope": named or task.scope,
        "output_contract": task.output_contract if _asks_itself(config, task.id) else "final",
        "on_failure": order.on_failure or task.on_failure,
        "workspace": "worktree" if order.worktree else task.workspace,
        "expects_change": task.expects_change and not all(map(_only_reads, order.units)),
    }
    # A run without terms does not get this from the common sections.
    told = fields["scope"] or fields["output_contract"] or fields["workspace"] == "worktree"
    ours = batch_prompt.constraints(free=not told)
    return fields | {"constraints": _once((*task.constraints, *ours))}


def _files(unit: Unit) -> tuple[str, ...]:
    return (*unit.files.create, *unit.files.modify, *unit.files.read)


def _only_reads(unit: Unit) -> bool:
    """Whether it names files and none that it writes: it asks for no change, so none is missed."""
    return bool(unit.files.read) and not (unit.files.create or unit.files.modify)


def _once(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def _asks_itself(config: Config, task_id: str) -> bool:
    """Whether any layer sets the output contract, even to false."""
    keys = (dotted(("tasks", task_id, "output_contract")), "defaults.output_contract")
    return any(key in config.origins for key in keys)


def _models(config: Config, name: str | None, wanted: str | None) -> tuple[Mapping[str, Model], bool]:
    """The models, with the one that will be used thinking hard enough, and whether it is only an effort."""
    if name is None:
        effort = _effort(None, wanted)
        if effort is None:
            return config.models, False
        return {**config.models, _NO_MODEL: Model(None, None, reasoning_effort=effort)}, True
    model = config.models.get(name) or Model(None, name)
    effort = _effort(model.reasoning_effort, wanted)
    if effort == model.reasoning_effort:
        return config.models, False
    return {**config.models, name: model.replace(reasoning_effort=effort)}, False


def _effort(own: str | None, wanted: str | None) -> str | None:
    own, wanted = (None if effort == "default" else effort for effort in (own, wanted))
    if own is None or wanted is None:
        return own or wanted
    return max(own, wanted, key=EFFORTS.index) if own in EFFORTS else own


def origins_of(config: Config, task: Task, changes: Mapping[str, Any], origin: str) -> dict[str, str]:
    """Where the values come from, once these changes are made."""
    changed = {name for name, value in changes.items() if value != getattr(task, name)}
    origins = {**config.origins} | {dotted(("tasks", task.id, name)): origin for name in sorted(changed)}
    origins.pop(dotted(("tasks", task.id, "prompt_file")), None)
    return origins


def steps_of(plan: Plan, decision: Decision) -> Iterator[Step]:
    """The batches as the ledger has them at first."""
    units = {unit.id: unit for unit in plan.units}
    local = {one.unit for one in decision.local}
    for batch in decision.batches:
        waits = _local_before([units[name] for name in batch.units], units, local)
        yield Step(batch.n, batch.units, batch.after, waits, batch.wave)


def _local_before(inside: Sequence[Unit], units: Mapping[str, Unit], local: set[str]) -> tuple[str, ...]:
    """The units not delegated that these wait for, also over others that are not delegated."""
    queue = [name for unit in inside for name in unit.depends_on if name in local]
    found: dict[str, None] = {}
    while queue:
        name = queue.pop()
        if name not in found:
            found[name] = None
            queue += [other for other in units[name].depends_on if other in local]
    return tuple(name for name in units if name in found)
