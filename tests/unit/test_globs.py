"""Which paths a scope covers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.text.globs import covers, matches, problem, reaches


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("src/a.py", "src/a.py", True),
        ("src/a.py", "src/b.py", False),
        ("src/a.py", "other/src/a.py", False),
        ("src", "src/deep/down/a.py", True),
        ("src/", "src/a.py", True),
        ("src", "src2/a.py", False),
        ("./src//a.py", "src/a.py", True),
        (".", "anything/at/all", True),
        ("*", "a.py", True),
        ("*", "src/a.py", False),
        ("*.py", "a.py", True),
        ("*.py", "src/a.py", False),
        ("src/*", "src/a.py", True),
        ("src/*", "src/deep/a.py", False),
        ("src/*/", "src/deep/er/a.py", True),
        ("src/*/", "src/a.py", True),
        ("src/*/gen", "src/x/gen/a.py", True),
        ("**", "a/b/c", True),
        ("**/*.py", "a.py", True),
        ("**/*.py", "a/b/c.py", True),
        ("**/*.py", "a/b/c.txt", False),
        ("src/**", "src/a/b.py", True),
        ("src/**", "srcs/a.py", False),
        ("src/**/test_*.py", "src/test_a.py", True),
        ("src/**/test_*.py", "src/x/y/test_a.py", True),
        ("src/**/test_*.py", "src/x/y/a_test.py", False),
        ("a/**/b/**/c", "a/x/b/y/z/c", True),
        ("a/**/b/**/c", "a/b/c", True),
        ("a/**/b/**/c", "a/c/b", False),
        ("a**b", "axxb", True),
        ("a**b", "a/b", False),
        ("?.py", "a.py", True),
        ("?.py", "ab.py", False),
        ("[ab].py", "a.py", True),
        ("[!ab].py", "a.py", False),
        ("[!ab].py", "c.py", True),
        ("[a-c]x", "bx", True),
        ("[]]", "]", True),
        ("[", "[", True),
        ("[!]", "[!]", True),
        (r"\*.py", "*.py", True),
        (r"\*.py", "a.py", False),
        (r"\!x", "!x", True),
        ("*", ".hidden", True),
        ("*", "-rf", True),
        ("*.py", "two\nlines.py", True),
        ("a b/*", "a b/c d", True),
        ("SRC/*", "src/a", False),
        ("*é*", "caféteria", True),
        ("src/a.py", "src", False),
    ],
)
def test_a_pattern_covers_what_its_grammar_says(pattern: str, path: str, covered: bool) -> None:
    assert matches(pattern, path) is covered


@pytest.mark.parametrize("pattern", ["", "/", "/etc/*", "../x", "a/../b", "!a", "a\0b"])
def test_what_is_no_pattern_is_named_and_covers_nothing(pattern: str) -> None:
    assert problem(pattern)
    assert not matches(pattern, pattern) and not matches(pattern, "a")


def test_one_pattern_of_many_is_enough_and_none_covers_nothing() -> None:
    assert covers(("docs/**", "*.md"), "README.md")
    assert not covers((), "README.md")


SEGMENT = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=8)
PATHS = st.lists(SEGMENT.filter(lambda name: name not in (".", "..")), min_size=1, max_size=5).map("/".join)


@given(PATHS)
def test_a_path_with_its_wildcards_escaped_covers_itself(path: str) -> None:
    escaped = "".join(f"\\{char}" if char in "*?[\\!" else char for char in path)
    assert matches(escaped, path) and matches("**", path)
    assert matches(escaped, f"{path}/below")


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_texts_have_an_answer(pattern: str, path: str) -> None:
    assert matches(pattern, path) in (True, False)


def test_no_pattern_is_slow() -> None:
    begun = time.monotonic()
    matches("*a" * 300 + "b", "a" * 4000)
    matches("/".join(["**"] * 300 + ["b"]), "/".join(["a"] * 1000))
    assert time.monotonic() - begun < 3


_SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", "*", "**", "a*", "?"]), min_size=1, max_size=4)
_NAMES = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=2, max_size=5)


@given(_SEGMENTS, _NAMES)
def test_a_pattern_reaches_every_folder_above_what_it_covers(pattern: list[str], path: list[str]) -> None:
    if matches("/".join(pattern), "/".join(path)):
        assert all(reaches(["/".join(pattern)], "/".join(path[:at])) for at in range(1, len(path)))


@pytest.mark.parametrize(
    ("pattern", "folder", "is_reached"),
    [
        ("src/*.py", "src", True),
        ("src/*.py", "src/deep", False),
        ("src/*.py", "other", False),
        ("src/a/*.py", "src", True),
        ("src", "src/deep/er", True),
        ("**/x.py", "any/where", True),
        ("a/**/b", "b/c", False),
        ("*", "src", False),
    ],
)
def test_a_folder_is_reached_where_something_in_it_can_be_covered(
    pattern: str, folder: str, is_reached: bool
) -> None:
    assert reaches(["z", pattern], folder) == is_reached
