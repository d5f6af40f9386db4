"""Words of a sentence: the nearest name, the first of many, text on one line, how many of what."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from support.imports import ROOT

from runner.text.words import and_more, count, ending, few, nearest, numbered, one_line, shortened


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("stauts", ("start", "status", "stop"), ["status"]),
        ("STATUS", ("start", "status"), ["status"]),
        ("effort", ("reasoning_effort", "model"), ["reasoning_effort"]),
        ("auth", ("fix-auth", "lint"), ["fix-auth"]),
        ("nothing like it", ("start", "status"), []),
        ("status", (), []),
        (7, ("7a", "b"), ["7a"]),
    ],
)
def test_the_nearest_name_is_near_by_letters_or_by_a_word(
    word: object, known: tuple[str, ...], meant: list[str]
) -> None:
    assert nearest(word, known) == meant


def test_several_names_come_with_the_best_first() -> None:
    assert nearest("build", ("lint", "build-all", "builds"), 2) == ["builds", "build-all"]


def test_a_name_is_found_in_bounded_time_among_very_many_and_for_a_very_long_word() -> None:
    begin = time.process_time()
    nearest("x" * 1_000_000, [f"{n:06d}-{'x' * 20}" for n in range(20_000)])
    assert time.process_time() - begin < 5


def test_names_are_listed_up_to_a_bound() -> None:
    assert few(["U1", "U2"], 2) == "U1, U2"
    assert few(["U1", "U2", "U3", "U4"], 2) == "U1, U2 and 2 more"
    assert few([]) == ""


def test_lines_are_listed_up_to_a_bound() -> None:
    assert and_more(("a", "b"), 2) == ["a", "b"]
    assert and_more(("a", "b", "c"), 2) == ["a", "b", "and 1 more"]


def test_a_line_has_no_breaks_no_control_sequences_and_a_bound() -> None:
    assert one_line("  one\n\ttwo \x1b[31mthree\x1b[0m ") == "one two three"
    assert one_line("0123456789", 10) == "0123456789"
    assert one_line("01234567890", 10) == "0123456..."
    assert shortened("01234567890", 10) == "0123456..."


@pytest.mark.parametrize(
    ("text", "most", "end"),
    [
        ("one\ntwo", 7, "one\ntwo"),
        ("one\ntwo\nthree four", 12, "three four"),
        ("one\ntwo\nthree four", 10, "three four"),
        ("one\ntwo\nthree four five", 13, "four five"),
        ("0123456789 x", 8, "456789 x"),
        ("one\n", 0, ""),
    ],
)
def test_the_end_of_a_text_begins_with_a_line_or_at_least_with_a_word(text: str, most: int, end: str) -> None:
    assert ending(text, most) == end


def test_how_many_has_its_plural() -> None:
    assert [count(n, "unit") for n in (0, 1, 2)] == ["0 units", "1 unit", "2 units"]
    assert [count(n, "batch", "batches") for n in (1, 2)] == ["1 batch", "2 batches"]


def test_comparing_names_is_loaded_only_when_a_name_is_looked_for() -> None:
    load = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runner.text.words; "
    code = load + "print('difflib' in sys.modules)"
    shown = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60)
    assert shown.stdout == "False\n", shown.stderr


def test_equal_names_have_numbers_and_no_two_are_the_same() -> None:
    assert numbered(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]
    assert numbered(["a", "a (2)", "a", "a (2)"]) == ["a", "a (2)", "a (3)", "a (2) (2)"]
    assert len({*numbered(["same"] * 50_000)}) == 50_000
