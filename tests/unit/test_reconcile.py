"""Nobody holds the lock: the whole table of what is done then."""

from __future__ import annotations

from itertools import product

import pytest

from runner.model import Phase
from runner.supervise.reconcile import Action, decide

CASES = list(product(Phase, (True, False), (True, False), (True, False)))


def expected(phase: Phase, same_boot: bool, known: bool, alive: bool) -> Action:
    """The table as docs and design have it, written a second time and in another order."""
    if phase == "done":
        return Action.NOTHING
    if same_boot and known and alive:
        return {"stopping": Action.KEEP_STOPPING}.get(phase, Action.WATCH)
    if same_boot and known:
        return Action.CONCLUDE
    return Action.NEVER_STARTED if same_boot else Action.LOSE


@pytest.mark.parametrize(("phase", "same_boot", "known", "alive"), CASES)
def test_every_row_of_the_table(phase: Phase, same_boot: bool, known: bool, alive: bool) -> None:
    action = decide(phase, same_boot=same_boot, process_known=known, process_alive=alive)
    assert action is expected(phase, same_boot, known, alive)


def test_a_living_process_is_never_given_up_and_a_dead_one_never_watched() -> None:
    for phase, same_boot, known, alive in CASES:
        action = decide(phase, same_boot=same_boot, process_known=known, process_alive=alive)
        if action in (Action.WATCH, Action.KEEP_STOPPING):
            assert same_boot and known and alive
        elif same_boot and known and alive:
            assert phase is Phase.DONE


def test_every_action_has_a_row() -> None:
    found = {decide(p, same_boot=b, process_known=k, process_alive=a) for p, b, k, a in CASES}
    assert found == set(Action)
