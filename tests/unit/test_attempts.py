"""The command of an attempt that follows another one."""

from __future__ import annotations

import pytest
from support.values import a_manifest, an_identity, an_invocation

from runner.invocation import THREAD, price_word
from runner.state.manifest import Attempt
from runner.supervise.attempts import closing_turn, former


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


@pytest.mark.parametrize(
    ("attempts", "judged"),
    [
        ("first", ()),
        ("first closing", ()),
        ("first resume", (1,)),
        ("first closing resume closing", (1,)),
        ("first closing resume closing fresh", (1, 3)),
        ("first turn turn closing", ()),
        ("first turn closing resume", (2,)),
    ],
)
def test_the_attempts_before_are_those_that_were_judged(attempts: str, judged: tuple[int, ...]) -> None:
    """Neither what asks for the result of one, nor a turn that another one followed."""
    made = tuple(
        Attempt(
            n,
            an_identity(),
            how="resume" if how == "turn" else how,
            messages=("m-0001",) if how == "turn" else (),
        )
        for n, how in enumerate(attempts.split(), 1)
    )
    assert tuple(one.n for one in former(a_manifest(attempts=made))) == judged
