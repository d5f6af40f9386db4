"""From a batch of the ledger to what its run is started with. Edge: disk, reading (the task's own prompt)."""

from __future__ import annotations

import os

from runner.conduct.batch_task import Order, brief
from runner.model import Request
from runner.plan.checks import joined
from runner.usecases import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.conduct.plan_record import Assignment, Options
    from runner.model import Config
    from runner.plan.units import Unit
    from runner.state.ledger import Ledger, Step


def is_apart(config: Config, task_id: str) -> bool:
    """Whether every batch gets a work tree of its own: where they may run side by side, they have to."""
    return config.delegate.max_parallel > 1 or config.tasks[task_id].workspace == "worktree"


def units_of(assignment: Assignment, ledger: Ledger, step: Step) -> tuple[Unit, ...]:
    """Those of the batch that nobody has done yet."""
    return tuple(unit for unit in assignment.units(step.n) if unit.id not in ledger.done)


def config_of(config: Config, task_id: str, assignment: Assignment, ledger: Ledger, step: Step) -> Config:
    """The settings in which the task is this batch."""
    task, options = config.tasks[task_id], assignment.options
    has_text = task.prompt is not None or task.prompt_file is not None
    order = order_of(config, task_id, assignment, ledger, step)
    own_text = start.own_text(config, task) if has_text else None
    return brief(config, task_id, order, own_text=own_text, model=options.model)


def order_of(config: Config, task_id: str, assignment: Assignment, ledger: Ledger, step: Step) -> Order:
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


def request_of(options: Options, task_id: str, n: int | None = None) -> Request:
    """What is asked for batch `n`, without its parent, its id and its base; None is any of them."""
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
        config_file=options.config_file,
    )
