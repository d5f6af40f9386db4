"""Task -> prompt text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import PromptInvalid
from runner.model import MAX_PROMPT_CHARS
from runner.plan.prompt import compose

sendable = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(
    str.strip
)


@given(sendable)
def test_a_prompt_alone_is_sent_unchanged(text: str) -> None:
    assert compose(text, files=(), blocks={}) == text


def test_files_and_blocks_follow_in_named_sections() -> None:
    prompt = compose(
        "Do it.\n\n", files=("a.py", "b/*.py"), blocks={"scope": "Only this.\n", "style": "Short."}
    )
    assert prompt == ("Do it.\n\n## Files\n- a.py\n- b/*.py\n\n## scope\nOnly this.\n\n## style\nShort.\n")


@given(sendable, st.lists(sendable, max_size=3), st.dictionaries(sendable, sendable, max_size=3))
def test_the_same_task_gives_the_same_bytes(text: str, files: list[str], blocks: dict[str, str]) -> None:
    assert compose(text, files=files, blocks=blocks) == compose(text, files=tuple(files), blocks=dict(blocks))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n\t", "is empty"),
        ("a\0b", "NUL"),
        ("ab\ud800", r"not valid UTF-8 \(character 3\)"),
        ("x" * (MAX_PROMPT_CHARS + 1), "1,048,577 characters, at most 1,048,576"),
    ],
    ids=["nothing", "blank", "nul", "half a character", "too long"],
)
def test_what_no_agent_takes_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(PromptInvalid, match=words):
        compose(text, files=(), blocks={})


def test_exactly_the_limit_is_sent() -> None:
    assert len(compose("x" * MAX_PROMPT_CHARS, files=(), blocks={})) == MAX_PROMPT_CHARS


def test_the_limit_counts_the_whole_prompt() -> None:
    with pytest.raises(PromptInvalid, match="at most"):
        compose("x" * MAX_PROMPT_CHARS, files=("a",), blocks={})


@pytest.mark.parametrize("bad", ["\0", "\ud800"], ids=["nul", "half a character"])
def test_a_bad_character_in_a_block_or_a_file_is_refused_as_well(bad: str) -> None:
    for files, blocks in (((f"a{bad}",), {}), ((), {"scope": bad})):
        with pytest.raises(PromptInvalid):
            compose("Do it.", files=files, blocks=blocks)
