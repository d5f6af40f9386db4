"""Nobody holds the lock: what the evidence supports. A pure table.

Whoever takes a free lock looks at three facts (the phase on disk, whether the boot is the same, whether the
recorded process lives) and gets one action. There is no row that guesses.
"""

from __future__ import annotations

from enum import StrEnum

from runner.model import Outcome, Phase, Reason


class Action(StrEnum):
    """What the new owner of a run has to do."""

    NOTHING = "nothing"
    WATCH = "watch"
    """The process lives: go on supervising it."""
    KEEP_STOPPING = "keep_stopping"
    """A stop was wished for and the process lives: finish the stop."""
    CONCLUDE = "conclude"
    """The process has ended: write the end that the event stream supports."""
    LOSE = "lose"
    """Another boot, or a child that nobody wrote down: whatever ran is gone and nobody saw how."""
    NEVER_STARTED = "never_started"
    """The starter died before any process existed."""


def decide(
    phase: Phase,
    *,
    same_boot: bool,
    process_known: bool,
    process_alive: bool,
    output_seen: bool = False,
) -> Action:
    """The action for a run whose owner is gone. `output_seen`: the files of a child's output were made."""
    if phase is Phase.DONE:
        return Action.NOTHING
    if not same_boot:
        return Action.LOSE
    if not process_known:
        return Action.LOSE if output_seen else Action.NEVER_STARTED
    if not process_alive:
        return Action.CONCLUDE
    return Action.KEEP_STOPPING if phase is Phase.STOPPING else Action.WATCH


def verdict(action: Action, phase: Phase, *, process_known: bool) -> tuple[Outcome, Reason]:
    """The end of a run that nobody saw end: what LOSE and NEVER_STARTED are called."""
    if action is Action.NEVER_STARTED:
        text = "whoever started it ended before the child existed"
        return Outcome.FAILED, Reason("never_started", text, "start it again")
    text = f"the machine was restarted while it was `{phase}`"
    if not process_known:
        text = "whoever started it ended in the middle of it, and nobody saw what became of the child"
    return Outcome.LOST, Reason("lost", text, "look at its output, then start it again")
