"""The lines of the bridge to an ACP agent that no recorded stream has."""

from __future__ import annotations

import pytest

from runner.model import Usage
from runner.runtimes.acp_events import AcpStream


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"outputTokens": 5}, Usage(None, None, 5)),
        ({"inputTokens": 7, "cachedReadTokens": 2}, Usage(7, 2)),
        ({"totalTokens": 9, "outputTokens": 4}, Usage(5, None, 4)),
        ({"inputTokens": float("nan"), "outputTokens": "3", "totalTokens": True}, Usage()),
    ],
)
def test_tokens_that_an_agent_does_not_tell_are_unknown(told: dict[str, object], expected: Usage) -> None:
    (end,) = AcpStream().read({"type": "ended", "answer": {"stopReason": "end_turn", "usage": told}})
    assert end.usage == expected
