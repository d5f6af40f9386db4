"""What the agent wrote as its result: whatever it is, a claim or a problem comes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.imports import ROOT

from runner.verify.claim import MAX_RESULT_BYTES, Claim, NoClaim, read_claim
from runner.verify.review import FIELDS as FORMS
from runner.verify.status_block import read_status_block

SCHEMA = json.loads((ROOT / "schemas" / "result.schema.json").read_text(encoding="utf-8"))
GOOD = {
    "status": "completed",
    "files_modified": ["src/a.py"],
    "issues": [],
    "summary": "Added a.",
    "verification_summary": "pytest -q: 3 passed",
}


def result(**changes: Any) -> str:
    return json.dumps(GOOD | changes)


def refused(found: Claim | NoClaim, code: str) -> str:
    assert isinstance(found, NoClaim), found
    assert found.code == code
    return found.message


def accepted(found: Claim | NoClaim) -> Claim:
    assert isinstance(found, Claim), found
    return found


def test_a_result_is_a_claim() -> None:
    claim = accepted(read_claim(result()))
    assert claim == Claim("completed", ("src/a.py",), (), "Added a.", "pytest -q: 3 passed")


@pytest.mark.parametrize("text", [None, "", " \n\t", "```json\n```", "\ufeff"])
def test_no_text_is_a_missing_result(text: str | None) -> None:
    refused(read_claim(text), "result_missing")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (result()[:-20], "ends in the middle"),
        ('{"status": ', "ends in the middle"),
        ("All done, it works.", "not JSON: Expecting value at line 1 column 1"),
        (f"Here it is:\n```json\n{result()}\n```", "not JSON"),
        (f"```json\n{result()}\n```\nand more", "not JSON"),
        (result() + result(), "Extra data"),
        ("[]", "expected an object"),
        ("null", "expected an object"),
        (result(extra=1), "`extra` is not asked for"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "summary"}), "`summary` is missing"),
        ('{"status": "failed"}', "are missing"),
        (result(status="blocked"), "expected one of completed, partial, failed"),
        (result(status=None), "`status`"),
        (result(files_modified="src/a.py"), "`files_modified`: found"),
        (result(files_modified=[1]), "`files_modified[0]`: found 1; expected a text"),
        (result(issues=[["x"]]), "`issues[0]`: found"),
        (result(summary=True), "`summary`: found true; expected a text"),
        (result(files_modified=["a\0b"]), "which is not a valid file name"),
        (result(files_modified=[""]), "which is not a valid file name"),
        (result()[:-1] + ', "status": "failed"}', "`status` more than once"),
        (result()[:-1] + ', "x": NaN}', "NaN is no JSON"),
        ("[" * 200_000, "nested too deeply"),
        (result(summary=None).replace("null", "[" * 600 + "]" * 600), "nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        (result(summary=1).replace("1}", "9" * 5000 + "}"), "not"),
        (f'"{"x" * MAX_RESULT_BYTES}"', "larger than"),
    ],
    ids=lambda value: value[:30],
)
def test_a_result_that_is_not_as_asked_is_refused_with_the_place(text: str, says: str) -> None:
    message = refused(read_claim(text), "result_invalid")
    assert says in message and len(message) < 300 and "\n" not in message


def test_one_fenced_block_and_nothing_else_is_what_is_in_it() -> None:
    for begin, end in (("```json\n", "\n```"), ("```\n", "\n```"), ("\n````JSON\n", "\n````\n")):
        assert accepted(read_claim(begin + result() + end)).status == "completed"


def test_texts_of_a_claim_cannot_move_a_cursor_and_half_characters_cannot_break_an_encoder() -> None:
    text = result(summary="\x1b]0;title\x07\x1b[2Jhi\0\ud800", issues=["a\rb"], files_modified=["x\udc80"])
    claim = accepted(read_claim(text))
    assert claim.summary == "hi\ufffd" and claim.issues == ("a\nb",)
    json.dumps(claim.to_json(), ensure_ascii=False).encode()


def test_only_what_the_agent_calls_an_assumption_is_one() -> None:
    claim = accepted(
        read_claim(result(issues=["Assumption: port 80", "slow", "ASSUMED: utf-8", "assumption:"]))
    )
    assert claim.assumptions == ("port 80", "utf-8")


def test_a_wish_for_a_wider_scope_is_an_issue_that_says_so() -> None:
    claim = accepted(read_claim(result(issues=["Scope expansion: setup.py - needs the new name"])))
    assert claim.scope_expansion == ("setup.py - needs the new name",)


def test_the_schema_is_the_shipped_one_and_wants_every_field() -> None:
    assert SCHEMA["required"] == list(SCHEMA["properties"]) == list(GOOD) == list(FORMS["result"])
    assert SCHEMA["additionalProperties"] is False
    Draft202012Validator.check_schema(SCHEMA)


# -- whatever it is -----------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
VALIDATOR = Draft202012Validator(SCHEMA)
FIELDS = st.fixed_dictionaries(
    {name: st.just(value) | JSON | st.lists(st.text() | st.none()) for name, value in GOOD.items()},
    optional={"more": JSON},
)


@given(value=JSON | FIELDS)
def test_a_result_is_a_claim_if_the_schema_allows_it(value: object) -> None:
    """What no file can be named is refused besides."""
    text = json.dumps(value)
    claim = read_claim(text)
    if isinstance(claim, Claim):
        assert VALIDATOR.is_valid(json.loads(text))
    elif "not a valid file name" not in claim.message:
        assert not VALIDATOR.is_valid(json.loads(text)) or "NaN" in text or "Infinity" in text


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
NEARLY = st.fixed_dictionaries({key: st.just(value) | JSON for key, value in GOOD.items()})


@given(ANY_TEXT | JSON.map(json.dumps) | NEARLY.map(json.dumps))
@example("\ud800")
def test_the_reader_never_fails(text: str) -> None:
    for found in (read_claim(text), read_status_block(text)):
        assert isinstance(found, Claim | NoClaim)
        assert isinstance(found, Claim) or found.code in ("result_missing", "result_invalid")


@given(NEARLY)
def test_what_is_accepted_is_valid(value: dict[str, Any]) -> None:
    if isinstance(read_claim(json.dumps(value)), Claim):
        assert Draft202012Validator(SCHEMA).is_valid(value)


def test_a_byte_order_mark_is_no_part_of_the_result() -> None:
    assert read_claim(f"\ufeff{result()}") == read_claim(result())


@given(st.text(max_size=300))
def test_no_text_makes_the_reader_fail(text: str) -> None:
    assert isinstance(read_claim(text), Claim | NoClaim)


# -- STATUS block ----------------------------------------------------------------------------------

BLOCK = """I changed two files.

STATUS: SUCCESS
FILES_CHANGED: [src/a.py, src/b.py]
ASSUMPTIONS: [the port is 80]
PATTERNS_DISCOVERED: [tests live beside the code]
TESTS_RUN: pytest -q (3 passed)
"""


def test_a_status_block_is_a_claim() -> None:
    claim = accepted(read_status_block(BLOCK))
    assert claim.status == "completed" and claim.files_modified == ("src/a.py", "src/b.py")
    assert claim.assumptions == ("the port is 80",) and claim.verification_summary == "pytest -q (3 passed)"
    assert claim.summary == "I changed two files." and claim.issues == ()


@pytest.mark.parametrize(
    ("word", "status"),
    [("SUCCESS", "completed"), ("PARTIAL", "partial"), ("FAILED", "failed"), ("blocked", "blocked")],
)
def test_each_word_of_a_status_has_its_status(word: str, status: str) -> None:
    assert accepted(read_status_block(f"STATUS: {word}")).status == status


def test_the_last_block_wins() -> None:
    claim = accepted(read_status_block(f"The form was:\n{BLOCK}\nMine:\nSTATUS: FAILED\nNOTES: no compiler"))
    assert (claim.status, claim.files_modified, claim.summary) == ("failed", (), "no compiler")


@pytest.mark.parametrize(
    "block",
    [
        "**STATUS:** SUCCESS\n**FILES_CHANGED:** `a.py`, `b.py`",
        "```\nSTATUS: SUCCESS\nFILES_CHANGED:\n- a.py\n- b.py\n```",
        'STATUS: SUCCESS\nFILES_CHANGED: ["a.py", "b.py"]',
        "> STATUS: SUCCESS.\n> FILES_CHANGED: a.py, b.py",
        "STATUS: SUCCESS\nFILES_CHANGED: [\n  a.py,\n  b.py,\n]\nNOTES: fine",
    ],
)
def test_a_block_may_be_dressed_in_markdown(block: str) -> None:
    assert accepted(read_status_block(block)).files_modified == ("a.py", "b.py")


def test_a_blocker_is_an_issue() -> None:
    claim = accepted(read_status_block("STATUS: BLOCKED\nBLOCKER: no network\nFILES_CHANGED: [none]"))
    assert (claim.issues, claim.files_modified) == (("no network",), ())
    spent = "STATUS: BLOCKED kay exec time budget exceeded (--max-seconds=3); partial work may remain"
    assert accepted(read_status_block(spent)).issues[0].startswith("kay exec time budget exceeded")


@pytest.mark.parametrize(
    "text",
    [
        "STATUS: SUCCESS | PARTIAL | FAILED",
        "STATUS: [SUCCESS|BLOCKED]",
        "STATUS: <word>",
        "STATUS: DONE",
        "STATUS:",
        "All is well.",
        f"{BLOCK}\nSTATUS: SUCCESS | FAILED",
        "the STATUS: SUCCESS of it",
    ],
)
def test_what_is_no_filled_in_block_is_refused(text: str) -> None:
    refused(read_status_block(text), "result_invalid")


@pytest.mark.parametrize("text", [None, "", "\n \n"])
def test_without_a_last_message_the_result_is_missing(text: str | None) -> None:
    refused(read_status_block(text), "result_missing")


def test_a_message_without_end_is_read_at_its_end() -> None:
    assert accepted(read_status_block("\n" * 3_000_000 + BLOCK)).status == "completed"
