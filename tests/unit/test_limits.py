"""Limits that are spent little by little: one warning, then the end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.values import a_manifest, an_identity, an_invocation

from runner.model import Limits
from runner.processes.proc import Absence, boottime
from runner.state.events import EventLog
from runner.state.manifest import Attempt
from runner.state.store import RunDir, new_run_id
from runner.supervise.limits import PRICE, RUN, TREE, Budget, Clock, LimitMonitor


def test_a_budget_warns_once_when_most_of_it_is_spent() -> None:
    budget = Budget(RUN, 1000, 0.8)
    assert budget.warning(799) is None
    warned = budget.warning(812)
    assert warned is not None
    assert (warned.code, warned.used, warned.limit) == ("tokens", 812, 1000)
    assert warned.message == "it spent 812 tokens, 81% of the limit of 1000"
    assert budget.warning(990) is None


def test_a_budget_is_exceeded_when_nothing_of_it_is_left() -> None:
    budget = Budget(RUN, 1000, 0.8)
    assert budget.exceeded(999) is None
    for used in (1000, 5000):
        reason = budget.exceeded(used)
        assert reason is not None and reason.code == "budget_exceeded"
        assert str(used) in reason.message


def test_the_budget_of_a_tree_names_its_own_key() -> None:
    reason = Budget(TREE, 10, 0.8).exceeded(11)
    assert reason is not None and reason.hint is not None
    assert "the runs that it has started" in reason.message
    assert "`tree_tokens`" in reason.hint and "`max_tokens` of the policy" in reason.hint


def test_a_price_is_told_as_one() -> None:
    budget = Budget(PRICE, 0.5, 0.8)
    warned = budget.warning(0.4)
    assert warned is not None and warned.message == "its price is 0.4000, 80% of the limit of 0.5"
    assert budget.exceeded(0.4999) is None
    reason = budget.exceeded(0.64)
    assert reason is not None and reason.code == "budget_exceeded"
    assert (reason.message, "`price`" in str(reason.hint)) == ("its price is 0.6400, the limit is 0.5", True)


def test_without_a_limit_nothing_is_spent() -> None:
    budget, clock = Budget(RUN, None, 0.8), Clock(None, 0.8)
    assert (budget.warning(10**9), budget.exceeded(10**9), clock.warning(10**9)) == (None, None, None)


def test_who_takes_over_does_not_warn_again() -> None:
    assert Budget(RUN, 10, 0.5, is_warned=True).warning(9) is None
    assert Clock(10, 0.5, is_warned=True).warning(9) is None


def test_the_clock_warns_once_before_the_end() -> None:
    clock = Clock(100.0, 0.8)
    assert clock.warning(79.9) is None
    warned = clock.warning(85.04)
    assert warned is not None
    assert (warned.code, warned.message) == ("timeout", "ran for 85 s of at most 100 s, 15 s are left")
    assert clock.warning(90.0) is None


@pytest.mark.parametrize("elapsed_s", [100.5, 1e9])
def test_after_the_end_the_clock_does_not_warn_any_more(elapsed_s: float) -> None:
    assert Clock(100.0, 0.8).warning(elapsed_s) is None


def test_a_sleep_that_was_far_longer_than_asked_is_a_gap() -> None:
    now = 100.0
    absence = Absence(clock=lambda: now)
    now += 1.0 + 2.9
    assert absence.missed_s(1.0) == 0.0, "a busy machine"
    now += 1.0 + 3600.0
    assert absence.missed_s(1.0) == pytest.approx(3600.0)
    now += 50.0
    absence.mark()
    now += 1.0
    assert absence.missed_s(1.0) == 0.0, "its own work is none"


class Aged:
    """The monitor of a run whose agent was started so long ago."""

    def __init__(self, tmp_path: Path, seconds: float, **changes: Any) -> None:
        run = RunDir(str(tmp_path), "hello", new_run_id())
        os.close(run.create())
        began = int((boottime() - seconds) * os.sysconf("SC_CLK_TCK"))
        identity = an_identity(start_time=began)
        self.manifest = a_manifest(run, process=identity, attempts=(Attempt(1, identity),), **changes)
        limits = Limits(timeout_s=60.0, idle_timeout_s=30.0, start_timeout_s=20.0, grace_s=1.0)
        self.monitor = LimitMonitor(run, an_invocation(limits=limits), EventLog(run.events), self.manifest)

    def breach(self, output_bytes: int = 0) -> str | None:
        reason = self.monitor.breach(self.manifest, (0, None), output_bytes, None)
        return None if reason is None else reason.code


def test_time_that_nobody_had_counts_for_no_limit(tmp_path: Path) -> None:
    aged = Aged(tmp_path, 70.0)
    assert aged.breach(1) == "timeout"
    assert aged.monitor.suspend(65.0)
    assert aged.breach() is None
    assert aged.monitor.quiet_s < 0
    assert Aged(tmp_path, 70.0, suspended_seconds=65.0).breach() is None, "nor under another owner"


def test_a_paused_run_has_no_gaps_besides(tmp_path: Path) -> None:
    aged = Aged(tmp_path, 70.0)
    aged.monitor.pause(15.0)
    assert not aged.monitor.suspend(1000.0)
    aged.monitor.resume()
    assert 15.0 <= aged.monitor.paused_s < 60.0
    assert aged.monitor.suspended_s == 0.0


def test_pauses_of_an_earlier_attempt_give_a_later_one_no_more_time_to_begin(tmp_path: Path) -> None:
    aged = Aged(tmp_path, 25.0, paused_seconds=10.0)
    assert aged.breach() is None
    aged.monitor.begin_again()
    assert aged.breach() == "no_first_event"
