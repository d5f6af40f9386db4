"""Markers at the start of a final message: what they ask for, and that nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.ledger.entry import (
    ARTIFACT_KINDS,
    MAX_TEXT,
    RUNNER,
    STATUSES,
    EntryType,
    NewEntry,
    checked,
)
from runner.verify.markers import FORMS, QUESTIONS, read_marker

SPEAKER = NewEntry(EntryType.NOTE, "build", {}, run_id="r", runtime="codex", key="r:turn-1")
SPELLINGS = ("RUNNER", "CONTEXTRELAY")
ARTIFACT = """\
[IMPORTANT] RUNNER_ARTIFACT:
kind: patch_summary
title: Add slugify helper + tests
summary: New pure slugify(text) + tests; full suite green.
status: passed
evidence:
- src/utils/slugify.ts
- bun test src - N pass, 0 fail
"""


def read(message: str) -> NewEntry:
    found = read_marker(message, SPEAKER)
    assert found is not None
    return found


def said(message: str, kind: EntryType) -> dict[str, Any]:
    found = read(message)
    assert (found.type, found.actor) == (kind, "build"), found.payload
    return dict(found.payload)


def refused(message: str) -> str:
    found = read(message)
    assert (found.type, found.actor, found.run_id) == (EntryType.MARKER_ERROR, RUNNER, "r")
    assert found == checked(found)
    assert found.key == SPEAKER.key
    return str(found.payload["message"])


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_artifact_is_what_the_tutorial_shows(spelling: str) -> None:
    assert said(ARTIFACT.replace("RUNNER", spelling), EntryType.ARTIFACT) == {
        "kind": "patch_summary",
        "title": "Add slugify helper + tests",
        "summary": "New pure slugify(text) + tests; full suite green.",
        "status": "passed",
        "evidence": ["src/utils/slugify.ts", "bun test src - N pass, 0 fail"],
    }


def test_what_is_said_is_said_by_the_run() -> None:
    found = read("[IMPORTANT] RUNNER_NOTE: hello")
    assert found == SPEAKER.replace(type=EntryType.NOTE, payload={"text": "hello"})


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    ("name", "body", "to", "payload"),
    [
        ("HANDOFF_TO_CLAUDE", " review it", "claude", {"ask": "review it", "reason": "no reason was given"}),
        ("HANDOFF_TO_CODEX", "fix\n\nboth", "codex", {"ask": "fix\n\nboth", "reason": "no reason was given"}),
        (
            "HANDOFF",
            "\nto: human\nreason: done\nask: |\n  look at a\n  and b\ncontext_refs:\n- a\n* b.py\nlane: d",
            "human",
            {"reason": "done", "ask": "look at a\n  and b", "context_refs": ["a", "b.py"], "lane": "d"},
        ),
        (
            "HANDOFF",
            " go on\nto: tests\nreason: mine is done",
            "tests",
            {"ask": "go on", "reason": "mine is done"},
        ),
    ],
)
def test_a_handoff_names_who_speaks_next(
    spelling: str, name: str, body: str, to: str, payload: dict[str, Any]
) -> None:
    message = f"[IMPORTANT] {spelling}_{name}:{body}"
    assert said(message, EntryType.HANDOFF) == payload
    assert read(message).to == to


def test_a_proposal_has_its_evidence_as_a_text() -> None:
    message = (
        "[IMPORTANT] RUNNER_PROPOSE_FINAL:\nsummary: all\n\nof it\nevidence:\n- tests\nremaining_risk: none"
    )
    assert said(message, EntryType.FINALITY_PROPOSED) == {
        "summary": "all\n\nof it",
        "evidence": "- tests",
        "remaining_risk": "none",
    }


def test_the_last_field_ends_where_the_rest_of_the_message_begins() -> None:
    after = "\n\nThis is for whoever reads it.\nstatus: whatever"
    message = "[IMPORTANT] RUNNER_PROPOSE_FINAL:\nsummary: s\nevidence: e\nremaining_risk: none"
    assert said(message + after, EntryType.FINALITY_PROPOSED)["remaining_risk"] == "none"
    assert said(f"{ARTIFACT}\nAll of it is said.\n- not this", EntryType.ARTIFACT)["evidence"][-1].endswith(
        "fail"
    )
    assert said(f"{ARTIFACT}  in all", EntryType.ARTIFACT)["evidence"][-1].endswith("0 fail in all")


@pytest.mark.parametrize("kind", ARTIFACT_KINDS)
@pytest.mark.parametrize("status", STATUSES)
def test_every_kind_and_status_is_known(kind: str, status: str) -> None:
    message = f"[IMPORTANT] RUNNER_ARTIFACT:\nkind: {kind}\ntitle: t\nsummary: s\nstatus: {status}"
    assert said(message, EntryType.ARTIFACT)["kind"] == kind


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("rest", ["", ": the open handoff", ":"])
def test_a_marker_that_only_asks_is_recorded_nowhere(name: str, spelling: str, rest: str) -> None:
    assert read_marker(f"[IMPORTANT] {spelling}_{name}{rest}", SPEAKER) is None


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (ARTIFACT.replace("patch_summary", "patch"), "`kind`: found 'patch'; expected one of patch_summary"),
        (ARTIFACT.replace("passed", "green"), "`status`: found 'green'; expected one of passed"),
        (ARTIFACT.replace("title: Add slugify helper + tests\n", ""), "`title`: it is missing"),
        (ARTIFACT.replace("status: passed\n", ""), "`status`"),
        (ARTIFACT.replace("ARTIFACT:", "ARTIFACT: patch"), "a text stands before its fields"),
        (ARTIFACT.replace("status:", "kind: test_report\nstatus:"), "`kind` stands there twice"),
        (ARTIFACT.replace("status:", "more\nstatus:").replace("summary:", "title2:"), "more than one line"),
        (ARTIFACT.replace("ARTIFACT", "ARTEFACT"), "no marker `ARTEFACT`"),
        (ARTIFACT.replace("ARTIFACT", "ARTEFACT"), "did you mean ARTIFACT?"),
        ("[IMPORTANT] RUNNER_SIGN: it", "no marker `SIGN`"),
        ("[IMPORTANT] CONTEXTRELAY_NOTE", "no colon"),
        ("[IMPORTANT] CONTEXTRELAY_NOTE \n the text", "no colon"),
        ("[IMPORTANT] RUNNER_NOTE:", "`text`: it is missing"),
        ("[IMPORTANT] RUNNER_NOTE: \n\n ", "`text`: it is missing"),
        ("[IMPORTANT] RUNNER_HANDOFF: do it", "receiver"),
        ("[IMPORTANT] RUNNER_HANDOFF_TO_CODEX: x\nto: human", "it is for codex, and `to` names another one"),
        ("[IMPORTANT] RUNNER_HANDOFF:\nto: a/b\nask: do it", "is no receiver"),
        ("[IMPORTANT] RUNNER_HANDOFF_TO_CODEX:\nreason: it is yours", "`ask`: it is missing"),
        ("[IMPORTANT] RUNNER_HANDOFF_TO_CODEX: x\nlane: a b", "no name of a lane"),
        ("[IMPORTANT] RUNNER_PROPOSE_FINAL: all is done", "`evidence`: it is missing"),
        (f"[IMPORTANT] RUNNER_NOTE: {'x' * MAX_TEXT}y", "at most"),
        (f"[IMPORTANT] RUNNER_NOTE: {'x' * (1 << 20)}", "at most"),
        ("[IMPORTANT] RUNNER_ARTIFACT:\n" + "evidence:\n- x\n" * (1 << 16), "twice"),
        (f"[IMPORTANT] RUNNER_{'X' * (1 << 20)}: y", "no marker `XXX"),
        (ARTIFACT + "- x\n" * 200, "`evidence`: found"),
    ],
    ids=lambda value: value[:40],
)
def test_a_marker_that_is_wrong_is_told(message: str, says: str) -> None:
    assert says in refused(message)


def test_a_wrong_marker_is_quoted_from_its_beginning() -> None:
    message = f"[IMPORTANT] RUNNER_SIGN: {'x' * 100_000}"
    quoted = str(read(message).payload["marker"])
    assert quoted.startswith("[IMPORTANT] RUNNER_SIGN: xxx")
    assert quoted.endswith("...")
    assert len(quoted) == 2000


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Done.",
        f"I record it now.\n{ARTIFACT}",
        f"```\n{ARTIFACT}```",
        f"~~~text\n{ARTIFACT}~~~",
        f"> {ARTIFACT}",
        f"- {ARTIFACT}",
        f'"{ARTIFACT}"',
        f"`{ARTIFACT}`",
        f"**{ARTIFACT}",
        f"    {ARTIFACT}",
        f"\n\n\t{ARTIFACT}",
        f"<b>{ARTIFACT}",
        "[IMPORTANT]",
        "[IMPORTANT] RUNNER_",
        "[IMPORTANT] RUNNER_: x",
        "[IMPORTANT] RUNNER_MANIFEST is not set, so nothing was recorded",
        "[IMPORTANT] RUNNER_NOTEs are of no use: I have none",
        "[IMPORTANT] NOTE: x",
        "[IMPORTANT] DONE: all of it",
        "[HUMAN] RUNNER_NOTE: x",
        "[important] RUNNER_NOTE: x",
        "[IMPORTANT] runner_note: x",
        "[IMPORTANT] _RUNNER_NOTE: x",
        "[ IMPORTANT] RUNNER_NOTE: x",
        "IMPORTANT RUNNER_NOTE: x",
        f"{' ' * (1 << 20)}\n{ARTIFACT}",
    ],
    ids=lambda value: value[:40],
)
def test_a_text_that_does_not_begin_with_a_marker_has_none(message: str) -> None:
    assert read_marker(message, SPEAKER) is None


def test_no_message_has_no_marker() -> None:
    assert read_marker(None, SPEAKER) is None


@pytest.mark.parametrize(
    "spaced",
    [
        "\ufeff[IMPORTANT] RUNNER_NOTE: a\nb",
        "\n \n[IMPORTANT] RUNNER_NOTE: a\nb",
        "  [IMPORTANT]\tRUNNER_NOTE :a\nb\n\n",
        "[IMPORTANT]RUNNER_NOTE:a\r\nb\r\n",
        "\r\n[IMPORTANT]   RUNNER_NOTE:   a\rb",
        "\x1b[1m[IMPORTANT]\x1b[0m RUNNER_NOTE: a\u2028b",
    ],
)
def test_blanks_line_ends_and_marks_of_a_file_are_nothing(spaced: str) -> None:
    assert said(spaced, EntryType.NOTE) == {"text": "a\nb"}


def test_fields_with_carriage_returns_and_capitals_are_the_same() -> None:
    strange = ARTIFACT.replace("\n", "\r\n").replace("kind:", "Kind :").replace("evidence:", "EVIDENCE:  ")
    assert read(strange).payload == read(ARTIFACT).payload


def test_half_a_character_is_shown_as_one_that_is_missing() -> None:
    assert said("[IMPORTANT] RUNNER_NOTE: a\ud800b", EntryType.NOTE) == {"text": "a\ufffdb"}


def test_only_the_first_of_several_markers_counts() -> None:
    assert (
        said(f"{ARTIFACT}\n[IMPORTANT] RUNNER_NOTE: x\nkind: y", EntryType.ARTIFACT)["kind"]
        == "patch_summary"
    )
    assert said(f"[IMPORTANT] RUNNER_NOTE: a\n  {ARTIFACT}", EntryType.NOTE) == {"text": "a"}
    assert read_marker(f"[IMPORTANT] RUNNER_TASK_STATE:\n{ARTIFACT}", SPEAKER) is None


@pytest.mark.parametrize("inner", ["```\nreason: quoted\n```", "```py\nreason: quoted\n```", "~~~"])
def test_a_fence_ends_with_one_that_is_as_long_and_says_nothing(inner: str) -> None:
    fenced = f"````md\n{inner}\nreason: quoted\n````"
    found = said(f"[IMPORTANT] RUNNER_HANDOFF_TO_CODEX: do\n{fenced}\nreason: mine", EntryType.HANDOFF)
    assert (found["ask"], found["reason"]) == (f"do\n{fenced}", "mine")


def test_what_is_fenced_inside_of_a_marker_is_text() -> None:
    fenced = f"```\n{ARTIFACT}```"
    assert (
        said(f"[IMPORTANT] RUNNER_NOTE: as in\n{fenced}\nso", EntryType.NOTE)["text"]
        == f"as in\n{fenced}\nso"
    )
    shown = "```\nstatus: failed\n```"
    message = ARTIFACT.replace("status: passed", f"{shown}\nstatus: passed")
    assert said(message, EntryType.ARTIFACT)["status"] == "passed"
    assert said(message, EntryType.ARTIFACT)["summary"].endswith(shown)


_LINES = st.text(
    st.characters(exclude_characters="\n\r\x0b\x0c\x85\u2028\u2029", exclude_categories=["C"]), min_size=1
)
_WORDS = _LINES.map(str.strip).filter(
    lambda line: line and line[:2] not in ("- ", "* ") and line not in "-*|>"
)


@given(
    st.sampled_from(ARTIFACT_KINDS),
    st.sampled_from(STATUSES),
    _WORDS,
    _WORDS,
    st.lists(_WORDS, max_size=5),
    st.permutations(("kind", "title", "summary", "status", "evidence")),
    st.sampled_from(SPELLINGS),
)
def test_an_artifact_comes_back_as_it_was_written(
    kind: str, status: str, title: str, summary: str, evidence: list[str], order: list[str], spelling: str
) -> None:
    lines = {
        name: f"{name}: {value}" for name, value in (("kind", kind), ("title", title), ("status", status))
    }
    lines["summary"] = f"summary: {summary}"
    lines["evidence"] = "\n".join(("evidence:", *(f"- {one}" for one in evidence)))
    message = f"[IMPORTANT] {spelling}_ARTIFACT:\n" + "\n".join(lines[name] for name in order)
    wanted = {"kind": kind, "status": status, "title": title, "summary": summary}
    assert said(message, EntryType.ARTIFACT) == wanted | ({"evidence": evidence} if evidence else {})


_PIECES = st.sampled_from(
    [
        *(
            "[IMPORTANT] ",
            "RUNNER_",
            "CONTEXTRELAY_",
            *FORMS,
            *QUESTIONS,
            ":",
            "\n",
            "\n\n",
            "```",
            "- ",
            "> ",
        ),
        *(
            "kind: test_report\n",
            "title: t\n",
            "summary: s\n",
            "status: passed\n",
            "evidence:\n- e\n",
            "to: a\n",
        ),
        *("ask: b\n", "reason: c\n", "context_refs: d\n", "lane: e\n", "\ufeff", "\r\n", "\t", " ", "\ud800"),
    ]
)


@given(st.lists(st.one_of(_PIECES, st.text()), max_size=30).map("".join))
@example("[IMPORTANT] RUNNER_ARTIFACT:\n```\nkind: x")
@example("[IMPORTANT] RUNNER_NOTE:\x00")
def test_any_message_gives_an_entry_or_none(message: str) -> None:
    found = read_marker(message, SPEAKER)
    if found is not None:
        assert checked(found) == found
        assert found.type in {EntryType.MARKER_ERROR, *(form.type for form in FORMS.values())}
        assert (found.run_id, found.key) == ("r", SPEAKER.key)


@given(st.text(min_size=1), st.lists(_PIECES, max_size=10).map("".join))
def test_behind_any_other_text_nothing_is_a_marker(before: str, rest: str) -> None:
    if before.isprintable() and before.strip() and not before.lstrip().startswith("["):
        assert read_marker(f"{before}{rest}", SPEAKER) is None
        assert read_marker(f"{before}\n{ARTIFACT}", SPEAKER) is None
