"""Nobody holds the lock: the whole table of what is done then."""

from __future__ import annotations

from itertools import product

import pytest

from runner.model import Outcome, Phase
from runner.supervise.takeover import Action, decide, unseen_end

CASES = list(product(Phase, *[(True, False)] * 4))


def decided(phase: Phase, same_boot: bool, known: bool, alive: bool, output: bool) -> Action:
    return decide(phase, same_boot=same_boot, process_known=known, process_alive=alive, output_seen=output)


def expected(phase: Phase, same_boot: bool, known: bool, alive: bool, output: bool) -> Action:
    """The table as docs and design have it, written a second time and in another order."""
    if phase == "done":
        return Action.NOTHING
    if phase == "waiting":
        return Action.WAIT
    if same_boot and known and alive:
        return {"stopping": Action.KEEP_STOPPING}.get(phase, Action.WATCH)
    if same_boot and known:
        return Action.CONCLUDE
    return Action.NEVER_STARTED if same_boot and not output else Action.LOSE


def test_every_row_of_the_table() -> None:
    assert {case: decided(*case) for case in CASES} == {case: expected(*case) for case in CASES}


def test_a_living_process_is_never_given_up_and_a_dead_one_never_watched() -> None:
    for case in CASES:
        phase, same_boot, known, alive, _ = case
        if decided(*case) in (Action.WATCH, Action.KEEP_STOPPING):
            assert same_boot and known and alive
        elif same_boot and known and alive:
            assert phase in (Phase.DONE, Phase.WAITING)


def test_only_what_left_no_trace_has_never_started() -> None:
    never = [case for case in CASES if decided(*case) is Action.NEVER_STARTED]
    assert never
    assert all(same_boot and not known and not output for _, same_boot, known, _, output in never)


def test_every_action_has_a_row() -> None:
    assert {decided(*case) for case in CASES} == set(Action)


@pytest.mark.parametrize(
    ("action", "known", "outcome", "code", "words"),
    [
        (Action.NEVER_STARTED, False, Outcome.FAILED, "never_started", "before the agent existed"),
        (Action.LOSE, True, Outcome.LOST, "lost", "restarted while it was `paused`"),
        (Action.LOSE, False, Outcome.LOST, "lost", "whose fate was not seen"),
    ],
)
def test_an_end_that_nobody_saw_is_called_what_it_is(
    action: Action, known: bool, outcome: Outcome, code: str, words: str
) -> None:
    found, reason = unseen_end(action, Phase.PAUSED, process_known=known)
    assert (found, reason.code) == (outcome, code)
    assert words in reason.message and reason.hint
