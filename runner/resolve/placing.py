"""Where a run is to live: which executor, and for how long it asks the engine. Pure.

Most runs live on the machine that starts them; none of them needs this module.
"""

from __future__ import annotations

from runner.errors import ConfigInvalid
from runner.executors import LOCAL
from runner.model import Level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.invocation import Invocation
    from runner.model import ExecutorSettings, Limits
    from runner.resolve.choose import Choice

_MARGIN_S = 60.0
"""For what runner itself does before and behind an agent."""


def refuse_shared(choice: Choice) -> None:
    """ConfigInvalid for a run that could write in the repository's tree from another machine: no lease on it
    holds there.
    """
    task = choice.task
    if choice.executor is None or choice.sandbox.level is Level.READ_ONLY or task.workspace == "worktree":
        return
    raise ConfigInvalid(
        f"task `{task.id}` may write and works in the repository itself, where executor "
        f"`{choice.executor.name}` could not keep two runs apart",
        hint=f'workspace = "worktree" in its task gives it a tree of its own, and '
        f"`--executor {LOCAL}` runs it here",
    )


def placed(choice: Choice, limits: Limits, parent: Invocation | None) -> ExecutorSettings | None:
    """The executor of a choice with the time that the run is to get there: what settings say, or all that it
    may take. None where it may take any time, and where it lives here.
    """
    executor = choice.executor
    if executor is None or executor.time_s is not None or limits.timeout_s is None:
        return executor
    if parent is not None and parent.executor is not None:
        return executor  # it has begun, with its job
    task, tries = choice.task, choice.task.retries + 1
    checks = len(task.verify) * task.verify_timeout_s * (tries + (choice.request.baseline is not None))
    prepares = len(task.prepare) * task.prepare_timeout_s
    waits = task.open_timeout_s if task.open or choice.request.open else 0.0
    whole = limits.timeout_s + 2 * limits.grace_s + _MARGIN_S + checks + prepares + waits
    return executor.replace(time_s=-(-whole // 60) * 60)
