"""What the words of a service say about asking it again."""

from __future__ import annotations

import pytest

from runner.verify.signs import told_wait_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit reached for gpt. Please try again in 1.5s.", 1.5),
        ("please try again in 120ms", 0.12),
        ("Try again in 35 seconds.", 35),
        ("try again in 6m0s", 360),
        ("try again in 1h2m3.5s. Visit https://x", 3723.5),
        ("Retry after 2 minutes, 5 seconds", 125),
        ("Try again in 1 day", 86_400),
        ("try again in 2 weeks", None),
        ("You have hit your usage limit. Try again at Mar 17th, 2030 5:46 PM.", None),
        ("try again later", None),
        ("", None),
    ],
)
def test_a_told_wait_is_read_in_seconds(text: str, seconds: float | None) -> None:
    assert told_wait_s(text) == (None if seconds is None else pytest.approx(seconds))
