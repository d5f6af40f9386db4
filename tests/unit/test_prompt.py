"""Task -> prompt text."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.find import shipped, wording
from runner.errors import ConfigInvalid, PromptInvalid
from runner.invocation import RESULT_FORMS
from runner.model import MAX_PROMPT_CHARS
from runner.resolve.prompt import MAX_MAP_CHARS, FileText, Parts, compose
from runner.verify.review import FIELDS
from runner.verify.status_block import KEYS, STATUSES

sendable = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(
    str.strip
)
texts = st.lists(sendable, max_size=3).map(tuple)
parts = st.builds(
    Parts,
    files=texts,
    patterns=texts,
    approach=st.none() | sendable,
    execution_note=st.none() | sendable,
    scope=texts,
    constraints=texts,
    testing=texts,
    verify=st.lists(st.lists(sendable, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple),
    output_contract=st.none() | st.sampled_from(("status-block", *RESULT_FORMS)),
    map=st.none() | st.builds(FileText, sendable, st.none() | sendable),
    pasted=st.lists(st.builds(FileText, sendable, sendable), max_size=2).map(tuple),
    blocks=st.dictionaries(sendable.map(lambda name: f"block {name}"), sendable, max_size=3),
    handoff=st.none() | sendable,
    delegation=st.none() | sendable,
)
FULL = Parts(
    files=("a.py", "b/*.py"),
    patterns=("c.py",),
    approach="First a.\n",
    execution_note="Test first.",
    scope=("src/**", "tests/*"),
    constraints=("No new package.", "Two\nlines."),
    testing=("nothing at all",),
    verify=(("pytest", "-q", "tests/a b"), ("true",)),
    output_contract="final",
    map=FileText("MAP.md", "a.py does a.\n"),
    pasted=(FileText("a.py", "a = 1\n"), FileText("d.py", "")),
    blocks={"style": "Short.\n", "scope-fence": "Only this."},
    handoff="The agent of task `make` has handed work to you.",
    delegation="The server is connected.",
)
ORDER = (
    *("Handoff", "Files", "Patterns", "Approach", "Execution note", "Constraints", "Testing", "Verify"),
    *("Output contract", "Map", "Pasted", "style", "scope-fence", "Delegation"),
)


def section(prompt: str, name: str) -> str:
    return prompt.partition(f"## {name}\n")[2].partition("\n\n## ")[0]


def copied(value: Parts) -> Parts:
    """The same again, with a dict of its own."""
    fields: dict[str, Any] = {name: getattr(value, name) for name in Parts._fields}
    for name, field in fields.items():
        if isinstance(field, dict):
            fields[name] = dict(field)
    return Parts(**fields)


# -- which sections there are ----------------------------------------------------------------------


@given(sendable)
def test_a_prompt_alone_is_sent_unchanged(text: str) -> None:
    assert compose(text, Parts()) == text


def test_files_and_blocks_follow_in_named_sections() -> None:
    blocks = {"scope": "Only this.\n", "style": "Short."}
    prompt = compose("Do it.\n\n", Parts(files=("a.py", "b/*.py"), blocks=blocks))
    assert prompt == ("Do it.\n\n## Files\n- a.py\n- b/*.py\n\n## scope\nOnly this.\n\n## style\nShort.\n")


def test_the_sections_stand_in_their_order_behind_the_task() -> None:
    prompt = compose("Do it.", FULL)
    assert prompt.startswith("Do it.\n\n## Handoff\n")
    assert [line[3:] for line in prompt.splitlines() if line.startswith("## ")] == list(ORDER)


@pytest.mark.parametrize("left_out", Parts._fields)
def test_what_is_empty_has_no_section_and_changes_none_of_the_others(left_out: str) -> None:
    prompt = compose("Do it.", FULL.replace(**{left_out: getattr(Parts, left_out)}))
    named = [line[3:] for line in prompt.splitlines() if line.startswith("## ")]
    gone = {"scope": [], "constraints": [], "blocks": ["style", "scope-fence"]}
    missing = gone.get(left_out, [left_out.replace("_", " ").capitalize()])
    assert named == [name for name in ORDER if name not in missing]
    whole = compose("Do it.", FULL)
    for name in named:
        if name != "Constraints":
            assert section(prompt, name).rstrip() == section(whole, name).rstrip()


@given(sendable, parts)
def test_the_same_task_gives_the_same_bytes(text: str, told: Parts) -> None:
    assert compose(text, told).encode() == compose(text, copied(told)).encode()


@given(sendable, parts)
def test_the_own_text_comes_first(text: str, told: Parts) -> None:
    assert compose(text, told).startswith(text.rstrip())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Delegation", Parts(delegation="x")),
        ("Verify", Parts(verify=(("true",),))),
        ("Files", Parts(files=("a",))),
    ],
)
def test_a_block_cannot_pass_for_a_section_of_ours(name: str, told: Parts) -> None:
    with pytest.raises(ConfigInvalid, match=f"`{name}` has the name of a built-in section"):
        compose("Do it.", told.replace(blocks={name: "Mine."}))
    assert f"## {name}\nMine." in compose("Do it.", Parts(blocks={name: "Mine."}))


# -- what stands in them ---------------------------------------------------------------------------


def test_a_scope_is_a_fence_before_the_constraints() -> None:
    fence, commit, *others = section(compose("Do it.", FULL), "Constraints").splitlines()
    assert fence.startswith("- Change only files that match `src/**`, `tests/*`")
    assert commit.startswith("- Do not commit, and move no branch or tag")
    assert others == ["- No new package.", "- Two", "  lines."]


@given(st.lists(st.lists(sendable, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple))
def test_the_checks_are_one_command_line(verify: tuple[tuple[str, ...], ...]) -> None:
    line = " && ".join(shlex.join(command) for command in verify)
    assert f"\n    {line}\n" in compose("Do it.", Parts(verify=verify))


@pytest.mark.parametrize("contract", ["final", "closing-turn"])
def test_the_contract_names_the_fields_of_the_result_and_forbids_a_false_completed(contract: str) -> None:
    text = " ".join(section(compose("Do it.", Parts(output_contract=contract)), "Output contract").split())
    for field in FIELDS["result"]:
        assert f"- `{field}`: " in text
    for status in ("completed", "partial", "failed"):
        assert f"`{status}`" in text
    assert "Do not report completed unless verification passed" in text


def test_the_status_block_is_asked_for_in_the_words_that_are_read() -> None:
    text = section(compose("Do it.", Parts(output_contract="status-block")), "Output contract")
    asked = [line.strip().partition(":")[0] for line in text.splitlines() if line.startswith("    ")]
    assert asked[0] == "STATUS" and asked[-1] == "PATTERNS_DISCOVERED"
    assert set(asked) | {"BLOCKER"} == set(KEYS)
    assert all(f"`{word}`" in text for word in STATUSES)
    assert "Do not report SUCCESS unless verification passed" in " ".join(text.split())
    # What makes Kay see to it: all three in one prompt.
    assert all(word in text.lower() for word in ("final message", "status:", "begin"))


def test_a_map_is_put_in_as_it_is() -> None:
    text = section(compose("Do it.", FULL), "Map")
    assert "`MAP.md`" in text and "\n```\na.py does a.\n```" in text


def test_the_fence_around_a_map_is_longer_than_any_within() -> None:
    text = section(compose("Do it.", Parts(map=FileText("MAP.md", "```\ncode\n```\n````"))), "Map")
    assert text.rstrip().endswith("````\n`````") and "\n`````\n```\ncode" in text


@pytest.mark.parametrize("text", [None, "x" * (MAX_MAP_CHARS + 1)], ids=["not read", "too long"])
def test_a_map_that_is_too_long_or_not_read_is_named_only(text: str | None) -> None:
    told = section(compose("Do it.", Parts(map=FileText("MAP.md", text))), "Map")
    assert told.startswith("`MAP.md` describes this repository.") and "xx" not in told


# -- what no agent takes ---------------------------------------------------------------------------


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
        compose(text, Parts())


def test_exactly_the_limit_is_sent() -> None:
    assert len(compose("x" * MAX_PROMPT_CHARS, Parts())) == MAX_PROMPT_CHARS


def test_the_limit_counts_the_whole_prompt() -> None:
    with pytest.raises(PromptInvalid, match="at most"):
        compose("x" * MAX_PROMPT_CHARS, Parts(files=("a",)))


@pytest.mark.parametrize("bad", ["\0", "\ud800"], ids=["nul", "half a character"])
def test_a_bad_character_in_any_part_is_refused_as_well(bad: str) -> None:
    for told in (
        *(Parts(files=(f"a{bad}",)), Parts(blocks={"scope": bad}), Parts(verify=(("a", bad),))),
        *(Parts(map=FileText("a", bad)), Parts(approach=f"a{bad}"), Parts(constraints=(bad,))),
    ):
        with pytest.raises(PromptInvalid):
            compose("Do it.", told)


@pytest.mark.parametrize("name", [path.stem for path in Path(shipped("wordings")).iterdir()])
def test_every_text_that_is_shipped_is_whole(name: str) -> None:
    assert wording(name).strip() and "{{" not in wording(name)
