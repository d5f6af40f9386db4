"""How long an engine is asked to let a run live. Pure."""

from __future__ import annotations

from runner.state.placement import WARNED_S
from runner.text.durations import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.invocation import Request
    from runner.model import ExecutorSettings, Task

_EARLY_S = 60.0
"""How much earlier than it was asked to an engine may warn."""
_MARGIN_S = 60.0 + _EARLY_S
"""For what runner itself does before and behind an agent, and for a warning that comes early."""


def timed(executor: ExecutorSettings, task: Task, request: Request) -> ExecutorSettings:
    """The executor with the time that the run gets there, in whole minutes: what settings say, or all that
    the task may take. None where that has no limit: then it is the engine's own.
    """
    timeout_s = task.timeout_s if request.timeout_s is None else request.timeout_s
    whole = executor.time_s
    if whole is None and timeout_s is not None:
        tries = 1 + task.retries + (request.baseline is not None)
        checks = len(task.verify) * task.verify_timeout_s * tries
        prepares = len(task.prepare) * task.prepare_timeout_s
        waits = task.open_timeout_s if task.open or request.open else 0.0
        whole = timeout_s + 2 * task.grace_s + _MARGIN_S + checks + prepares + waits
    return executor if whole is None else executor.replace(time_s=_minutes(whole))


def too_short(time_s: float, grace_s: float) -> str | None:
    """Why no run gets anything done in that time; None where one may."""
    whole, warned = _minutes(time_s), grace_s + WARNED_S + _EARLY_S
    if whole > warned:
        return None
    told = format_duration(warned)
    return (
        f"gives a run {format_duration(whole)}, and has to give more than {told}: so early it may be warned"
    )


def _minutes(seconds: float) -> float:
    return -(-seconds // 60) * 60
