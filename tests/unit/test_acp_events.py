"""The lines of the bridge to an ACP agent that no recorded stream has."""

from __future__ import annotations

import pytest

from runner.model import Context, Usage
from runner.runtimes.acp_events import AcpStream


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"outputTokens": 5}, Usage(None, None, 5)),
        ({"inputTokens": 7, "cachedReadTokens": 2}, Usage(7, 2)),
        ({"totalTokens": 9, "outputTokens": 4}, Usage(5, None, 4)),
        ({"inputTokens": -7, "outputTokens": 10**30, "cachedReadTokens": 2**53}, Usage()),
        ({"inputTokens": float("nan"), "outputTokens": "3", "totalTokens": True}, Usage()),
    ],
)
def test_tokens_that_an_agent_does_not_tell_are_unknown(told: dict[str, object], expected: Usage) -> None:
    (end,) = AcpStream().read({"type": "ended", "answer": {"stopReason": "end_turn", "usage": told}})
    assert end.usage == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"size": 1_000_000, "used": 53}, [Context(1_000_000, 53)]),
        ({"size": 10**30, "used": 53}, [Context(None, 53)]),
        ({"size": -1, "used": "53"}, []),
        ({}, []),
    ],
)
def test_an_agent_tells_how_full_its_window_is(told: dict[str, object], expected: list[Context]) -> None:
    update = {"type": "update", "update": {"sessionUpdate": "usage_update", **told}}
    assert [one.context for one in AcpStream().read(update)] == expected
