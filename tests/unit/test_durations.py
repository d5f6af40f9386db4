"""Durations: what people write and what we count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.text.durations import LONGEST, format_duration, parse_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2h", 7200),
        ("15m", 900),
        ("90s", 90),
        ("1h30m", 5400),
        ("7d", 604_800),
        ("1w", 604_800),
        ("1.5h", 5400),
        ("250ms", 0.25),
        (" 5s ", 5),
        ("90", 90),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_common_notations_are_seconds(written, seconds):
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        0,
        -1,
        True,
        False,
        float("nan"),
        float("inf"),
        -float("inf"),
        "0",
        "0s",
        "-5s",
        "",
        "h",
        "2 h",
        "30m1h",
        "1h1h",
        "1.h",
        ".5h",
        "1..5h",
        "2hours",
        "1e3",
        "inf",
        "nan",
        "٣s",
        "²s",
        "9999999d",
        None,
        [],
    ],
)
def test_anything_else_is_refused_with_what_would_be_right(written):
    with pytest.raises(ValueError, match='expected a duration above zero such as "90s"'):
        parse_duration(written)


@given(st.integers(min_value=1, max_value=round(LONGEST * 1000)))
def test_formatted_durations_read_back_exactly_to_the_millisecond(milliseconds):
    text = format_duration(milliseconds / 1000)

    assert round(parse_duration(text) * 1000) == milliseconds


@given(st.text(alphabet="0123456789.wdhms -", max_size=12))
def test_no_text_is_accepted_that_is_not_a_finite_time_above_zero(text):
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 < seconds <= LONGEST
