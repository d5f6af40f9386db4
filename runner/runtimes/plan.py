"""The conductor as a program like any other: what its lines mean and how it ended. Pure.

Only `start --plan` starts it (`runner.conduct.start_plan`); it is not searched for and has no settings.
"""

from __future__ import annotations

from runner.errors import ConfigInvalid
from runner.model import Outcome, Reason
from runner.runtimes import endings
from runner.runtimes.base import Activity, End, Kind, Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Json
    from runner.runtimes.base import CommandRequest, Reader

PROGRESS, ENDED = "progress", "ended"
"""The kinds of its lines: `{"type", "text"}`, and at the end `{"type", "code", "message", "hint", "text"}`.
The message is one line.
"""

BREAKER_OPEN = "breaker_open"
BATCHES_LEFT = "batches_left"


class ConductorRuntime(Runtime):
    """See `base.Runtime`."""

    name = "plan"
    title = "the conductor"
    install_hint = "it is part of runner"
    # No `resumes`: another run resumes a plan. Not `confines`: it runs the checks of batches itself.

    def identify(self, version_output: str) -> str | None:
        return None

    def command(self, request: CommandRequest) -> tuple[str, ...]:
        raise ConfigInvalid("no task can be run by the conductor", hint="`runner start --plan FILE --task T`")

    def reader(self) -> Reader:
        return _parse

    def conclude(self, end: End) -> tuple[Outcome, Reason]:
        if ending := endings.killed(end):
            return ending
        if end.turn is Kind.TURN_COMPLETED and end.exit_code in (0, None):
            return Outcome.SUCCEEDED, Reason("completed", "all of it is done")
        if end.turn is Kind.TURN_FAILED and end.failure:
            said, _, hint = end.failure.partition("\n")
            code, _, message = said.partition(": ")
            return Outcome.FAILED, Reason(code, message, hint or None)
        if end.exit_code is None:
            return endings.lost()
        return endings.failed(
            "cli_failure", f"the conductor ended with status {end.exit_code}", "start it again", end
        )


def _parse(record: Json) -> tuple[Activity, ...]:
    text = record.get("text")
    shown = text if isinstance(text, str) else ""
    if record.get("type") == PROGRESS:
        return (Activity(Kind.PROGRESS, shown),)
    if record.get("type") != ENDED:
        return ()
    if record.get("code") == "completed":
        return (Activity(Kind.MESSAGE, shown), Activity(Kind.TURN_COMPLETED))
    why = f"{record.get('code')}: {record.get('message')}\n{record.get('hint') or ''}"
    return (Activity(Kind.MESSAGE, shown), Activity(Kind.TURN_FAILED, why))


RUNTIME: Runtime = ConductorRuntime()
