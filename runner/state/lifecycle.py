"""The one table of a run's life. Pure.

`next_phase` refuses a transition that is not in the table. docs/architecture.md shows the table.
"""

from __future__ import annotations

from runner.errors import IllegalTransition
from runner.model import Outcome, Phase
from runner.value import StrEnum


class Event(StrEnum):
    """What can happen to a run; past participles, also the `type` in events.jsonl."""

    LAUNCHED = "launched"
    STARTED = "started"
    START_FAILED = "start_failed"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOP_REQUESTED = "stop_requested"
    INTERRUPTED = "interrupted"
    EXITED = "exited"
    KEPT_OPEN = "kept_open"
    CONTINUED = "continued"
    CLOSED = "closed"
    RETRIED = "retried"
    ENDED = "ended"
    LOST = "lost"


TRANSITIONS: dict[tuple[Phase, Event], Phase] = {
    (Phase.QUEUED, Event.LAUNCHED): Phase.STARTING,
    (Phase.QUEUED, Event.START_FAILED): Phase.DONE,
    (Phase.QUEUED, Event.STOP_REQUESTED): Phase.STOPPING,
    (Phase.QUEUED, Event.LOST): Phase.DONE,
    (Phase.STARTING, Event.STARTED): Phase.RUNNING,
    (Phase.STARTING, Event.START_FAILED): Phase.DONE,
    (Phase.STARTING, Event.STOP_REQUESTED): Phase.STOPPING,
    (Phase.STARTING, Event.LOST): Phase.DONE,
    (Phase.RUNNING, Event.PAUSED): Phase.PAUSED,
    (Phase.RUNNING, Event.STOP_REQUESTED): Phase.STOPPING,
    (Phase.RUNNING, Event.INTERRUPTED): Phase.STOPPING,
    (Phase.RUNNING, Event.EXITED): Phase.VERIFYING,
    (Phase.RUNNING, Event.LOST): Phase.DONE,
    (Phase.PAUSED, Event.RESUMED): Phase.RUNNING,
    (Phase.PAUSED, Event.STOP_REQUESTED): Phase.STOPPING,
    (Phase.PAUSED, Event.EXITED): Phase.VERIFYING,
    (Phase.PAUSED, Event.LOST): Phase.DONE,
    (Phase.STOPPING, Event.STOP_REQUESTED): Phase.STOPPING,
    (Phase.STOPPING, Event.EXITED): Phase.VERIFYING,
    (Phase.STOPPING, Event.LOST): Phase.DONE,
    (Phase.WAITING, Event.CONTINUED): Phase.STARTING,
    (Phase.WAITING, Event.CLOSED): Phase.VERIFYING,
    (Phase.WAITING, Event.STOP_REQUESTED): Phase.VERIFYING,
    (Phase.WAITING, Event.LOST): Phase.DONE,
    (Phase.VERIFYING, Event.KEPT_OPEN): Phase.WAITING,
    (Phase.VERIFYING, Event.CONTINUED): Phase.STARTING,
    (Phase.VERIFYING, Event.RETRIED): Phase.STARTING,
    (Phase.VERIFYING, Event.STOP_REQUESTED): Phase.VERIFYING,
    (Phase.VERIFYING, Event.ENDED): Phase.DONE,
    (Phase.VERIFYING, Event.LOST): Phase.DONE,
}

FINAL_EVENTS = frozenset({Event.START_FAILED, Event.ENDED, Event.LOST})
"""The events that need an outcome: exactly those that lead to `done`."""


def next_phase(phase: Phase, event: Event) -> Phase:
    """The phase after `event`; IllegalTransition where the table has none. `done` never changes."""
    try:
        return TRANSITIONS[phase, event]
    except KeyError:
        raise IllegalTransition(f"a run that is `{phase}` cannot be `{event}`") from None


def status(phase: Phase, outcome: Outcome | None) -> str:
    """The one word shown to people: the outcome once there is one, else the phase."""
    return str(phase if outcome is None else outcome)
