"""The command of an attempt that follows another one."""

from __future__ import annotations

from support.values import a_manifest, an_identity, an_invocation

from runner.invocation import THREAD, price_word
from runner.state.manifest import Attempt
from runner.supervise.attempts import closing_turn


def test_a_later_attempt_may_cost_what_is_left_and_is_told_its_session() -> None:
    invocation = an_invocation(closing_argv=("claude", "--max-budget-usd", "2.0000", "--resume", THREAD))
    invocation = invocation.replace(limits=invocation.limits.replace(price=2.0))
    for costs, left in (((0.5, 0.25), "1.2500"), ((0.5, None), "1.5000"), ((2.0,), "0.0001")):
        attempts = tuple(Attempt(n, an_identity(), cost=cost) for n, cost in enumerate(costs, 1))
        following = closing_turn(invocation, a_manifest(attempts=attempts, thread_id="a-1"))
        assert following is not None
        assert following.argv == ("claude", "--max-budget-usd", left, "--resume", "a-1")


def test_no_limit_of_a_price_becomes_nothing() -> None:
    assert [price_word(limit) for limit in (1e9, 2.5, 0.00001, -1.0)] == [
        "1000000000.0000",
        "2.5000",
        "0.0001",
        "0.0001",
    ]
