"""How wide a text is on a terminal, and where its lines end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.text.cells import TAB, cells, wrapped

TEXTS = st.text(alphabet="ab  \t\n-日한é\u0301👩⚠", max_size=120)


@pytest.mark.parametrize(
    ("text", "width"),
    [
        *(
            ("", 0),
            ("word", 4),
            ("a\tb", 6),
            ("é", 1),
            ("e\u0301", 1),
            ("日本語", 6),
            ("ｱ", 1),
            ("\uff21", 2),
        ),
        *(("한글", 4), ("\u1112\u1161\u11ab", 2), ("🙂", 2), ("⚠", 1), ("⚠\ufe0f", 2), ("→…─", 3)),
    ],
)
def test_a_text_is_as_wide_as_a_terminal_shows_it(text: str, width: int) -> None:
    assert cells(text) == width


@given(TEXTS, st.integers(8, 80))
def test_no_line_is_wider_than_the_room_and_nothing_is_lost(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert max(map(cells, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(TEXTS)
def test_a_text_that_fits_keeps_its_lines_and_blanks(text: str) -> None:
    assert wrapped(text, 1000) == text.replace("\t", TAB).split("\n")


def test_lines_end_at_blanks_and_only_a_longer_word_is_broken() -> None:
    assert wrapped("one two three", 8) == ["one two", "three"]
    assert wrapped("  an indent stays", 11) == ["  an indent", "stays"]
    assert wrapped("see https://a.example/b", 10) == ["see", "https://a.", "example/b"]
    assert wrapped("日本語のテキスト", 7) == ["日本語", "のテキ", "スト"]
    assert wrapped("e\u0301" * 7, 3) == ["e\u0301" * 3, "e\u0301" * 3, "e\u0301"]
    assert wrapped(" " * 90 + "deep", 9) == ["", "deep"]
    assert wrapped("see https://a.example/b now", 10, whole_words=True) == [
        "see",
        "https://a.example/b",
        "now",
    ]
    assert wrapped("so: `runner a b`, or (`c d`).  e f", 8, whole_words=True) == [
        "so:",
        "`runner a b`,",
        "or",
        "(`c d`).",
        "e f",
    ]
    assert wrapped("  one ` two three", 8, whole_words=True) == ["  one `", "two", "three"]
    assert wrapped("ab👩\u200d👩cd", 5) == ["ab", "👩\u200d👩c", "d"]
