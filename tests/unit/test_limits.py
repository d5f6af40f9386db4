"""Limits that are spent little by little: one warning, then the end."""

from __future__ import annotations

import pytest

from runner.supervise.limits import RUN, TREE, Budget, Clock


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
    assert "`tree_tokens`" in reason.hint


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
