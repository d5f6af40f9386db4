"""The result of a plan, in words. Pure."""

from __future__ import annotations

from runner.runtimes.plan import BATCHES_LEFT, BREAKER_OPEN
from runner.state.plan_ledger import Status, way_on
from runner.text.words import count, one_line
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.plan_ledger import PlanLedger, Step

_STOPPED = (Status.FAILED, Status.PARKED)
_OF_PEOPLE = {"findings_left", "no_progress", "too_many_findings"}
_DONE = (Status.SUCCEEDED, Status.DONE, Status.REPLACED)


class Ended(Value):
    """The end of a plan's run: a line, a way on, and the whole text."""

    code: str
    message: str
    hint: str | None
    text: str


def ended(ledger: PlanLedger, task_id: str) -> Ended:
    """As the ledger says it."""
    code, message = _end(ledger)
    if ledger.stages:
        skipped = f", {len(ledger.skipped)} skipped" if ledger.skipped else ""
        passed = len(ledger.passed) - len(ledger.skipped)
        lines = [f"{passed} of {count(len(ledger.stages), 'stage')} passed{skipped}: {message}"]
    else:
        done = [step for step in ledger.steps if step.status in _DONE]
        lines = [f"{len(done)} of {count(len(ledger.steps), 'batch', 'batches')} done: {message}"]
    for step in ledger.steps:
        if step.status not in _DONE:
            units = f" ({', '.join(step.units)})" if step.units and not step.stage else ""
            lines.append(f"- {step.called}{units}: {_why(ledger, step)}")
    local = [unit for unit in ledger.local if unit not in ledger.done]
    if local:
        lines.append(f"not delegated, left to you: {', '.join(local)}")
    return Ended(code, one_line(message), _hint(ledger, task_id, code), "\n".join(lines))


def _hint(ledger: PlanLedger, task_id: str, code: str) -> str | None:
    if code == "completed":
        return None
    command = way_on(ledger.file, task_id, resets=code == BREAKER_OPEN)
    if code == BREAKER_OPEN:
        return f"check what failed; then `{command}` continues"
    why = {step.why.code for step in ledger.steps if step.why and step.status in _STOPPED}
    if code == BATCHES_LEFT and why <= _OF_PEOPLE and why:
        return f"repair it yourself; then `{command}` looks again"
    if code == BATCHES_LEFT and why == {"plan_invalid"}:
        return f"mend the plan; then `{command}` asks you about it"
    if code == BATCHES_LEFT:
        more = "" if ledger.stages else "; --done UNIT skips a unit that you have done yourself"
        return f"`{command}` tries the rest{more}"
    return f"correct that; then `{command}` continues"


def _end(ledger: PlanLedger) -> tuple[str, str]:
    breaker = ledger.breaker
    if breaker.is_open:
        left = ", ".join(ledger.left)
        return BREAKER_OPEN, f"{in_a_row(ledger)}; left: {left}"
    if breaker.parked is not None:
        where = [one for one in ledger.steps if one.stage and one.why == breaker.parked and one.task]
        names = [f"{one.called}{'' if one.task == one.title else f' ({one.task})'}: " for one in where[:1]]
        return breaker.parked.code, "".join([*names, breaker.parked.message])
    if ledger.is_complete:
        return "completed", "nothing is left"
    stopped = [step for step in ledger.steps if step.stage and step.why and step.status in _STOPPED]
    why = "".join(f"{one.called}: {one.why.message}; " for one in stopped[:1] if one.why)
    return BATCHES_LEFT, f"{why}left: {', '.join(ledger.left)}"


def in_a_row(ledger: PlanLedger) -> str:
    """How often it has failed."""
    one, several = ("a step", "steps") if ledger.stages else ("a batch", "batches")
    failures = ledger.breaker.failures
    return f"{one} has failed" if failures == 1 else f"{failures} {several} in a row have failed"


def _why(ledger: PlanLedger, step: Step) -> str:
    if blocking := ledger.blocking(step):
        return f"waits for {ledger.called(blocking)}"
    if missing := ledger.missing(step):
        return f"waits for {', '.join(missing)}, not delegated"
    if step.why is not None:
        run = "" if step.run is None else f" (run {step.run.run_id})"
        return f"{step.status}, {step.why.code}: {step.why.message}{run}"
    return "not started" if step.status is Status.WAITING else str(step.status)
