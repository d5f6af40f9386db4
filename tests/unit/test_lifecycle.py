"""The one table of a run's life."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.values import a_manifest

from runner.errors import IllegalTransition
from runner.model import Outcome, Phase, Reason
from runner.state.lifecycle import FINAL_EVENTS, TRANSITIONS, Event, next_phase, status
from runner.state.manifest import advance


def test_what_the_table_does_not_have_is_refused_by_both_names() -> None:
    for phase, event in {*product(Phase, Event)} - TRANSITIONS.keys():
        with pytest.raises(IllegalTransition, match=f"`{phase}` cannot be `{event}`"):
            next_phase(phase, event)


def test_nothing_leaves_done() -> None:
    assert not [event for phase, event in TRANSITIONS if phase is Phase.DONE]


def test_exactly_the_final_events_lead_to_done() -> None:
    leading = {event for (_, event), phase in TRANSITIONS.items() if phase is Phase.DONE}
    elsewhere = {event for (_, event), phase in TRANSITIONS.items() if phase is not Phase.DONE}
    assert leading == FINAL_EVENTS
    assert not elsewhere & FINAL_EVENTS


def test_every_phase_is_reached_and_every_other_one_can_still_be_lost() -> None:
    assert {*TRANSITIONS.values(), Phase.QUEUED} == set(Phase)
    assert {phase for phase, event in TRANSITIONS if event is Event.LOST} == set(Phase) - {Phase.DONE}


def test_every_event_has_a_place_in_the_table() -> None:
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_the_status_is_the_outcome_once_there_is_one() -> None:
    assert status(Phase.RUNNING, None) == "running"
    assert status(Phase.DONE, Outcome.REJECTED) == "rejected"


def test_a_run_may_be_stopped_from_every_phase_that_has_a_process() -> None:
    stoppable = {phase for phase, event in TRANSITIONS if event is Event.STOP_REQUESTED}
    assert stoppable >= {Phase.RUNNING, Phase.PAUSED, Phase.STOPPING, Phase.VERIFYING}


class Life(RuleBasedStateMachine):
    """Any events in any order, also those that the table forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.manifest = a_manifest()
        self.final: Event | None = None

    @rule(event=st.sampled_from(tuple(Event)), outcome=st.sampled_from(tuple(Outcome)))
    def happens(self, event: Event, outcome: Outcome) -> None:
        before = self.manifest
        final: dict[str, Any] = {}
        if event in FINAL_EVENTS:
            final = {"outcome": outcome, "reason": Reason("x", "x")}
        try:
            self.manifest = advance(before, event, **final)
        except IllegalTransition:
            assert (before.phase, event) not in TRANSITIONS
        else:
            assert not before.is_done
            self.final = event if self.manifest.is_done else None

    @precondition(lambda self: self.manifest.is_done)
    @rule(event=st.sampled_from(tuple(Event)))
    def done_never_changes(self, event: Event) -> None:
        final = {"outcome": Outcome.SUCCEEDED} if event in FINAL_EVENTS else {}
        with pytest.raises(IllegalTransition):
            advance(self.manifest, event, **final)

    @invariant()
    def done_outcome_reason_and_end_go_together(self) -> None:
        manifest = self.manifest
        assert manifest.is_done == (manifest.outcome is not None) == (manifest.ended_at is not None)
        assert manifest.is_done == (self.final in FINAL_EVENTS)
        assert (manifest.paused_at is not None) == (manifest.phase is Phase.PAUSED)
        assert manifest.status == (manifest.outcome or manifest.phase)


test_a_terminal_state_never_changes_and_only_final_events_lead_there = Life.TestCase
