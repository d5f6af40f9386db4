"""Findings of a review: how they are read, and whether the place of each is there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runner.config.find import wording
from runner.invocation import RESULT_FORMS
from runner.rehearsal.script import default
from runner.value import json_value
from runner.verify.claim import MOST_FINDINGS, Claim, NoClaim, read_claim
from runner.verify.inspect import Severity, of_places
from runner.verify.places import of_project, placed, text_of
from runner.verify.record import Record
from runner.verify.review import FIELDS, SEVERITIES, ReviewFinding

ROOT = Path(__file__).parents[2]
ONE: dict[str, Any] = {
    "severity": "critical",
    "file": "src/db.py",
    "line": 3,
    "title": "SQL from a request",
    "detail": "It is put together as text.",
    "evidence": 'f"select {name}"',
}
REVIEW = {"status": "completed", "summary": "Looked at all.", "findings": [ONE]}
SYNTHESIS: dict[str, Any] = {
    "off_topic": [{"analysis": "Beta", "reason": "It is a poem."}],
    "differences": [{"alpha": "a", "beta": "b", "findings": ["A1"]}],
    "steelman": [{"finding": "A1", "argument": "x", "file": "a.py", "line": None}],
    "rebuttals": [{"finding": "A1", "file": "a.py", "line": 1, "quote": "q", "reasoning": "r"}],
    "findings": [{**ONE, "sources": ["A1", "B2"]}],
    "summary": "Both differ.",
}
GOOD = {"findings": REVIEW, "synthesis": SYNTHESIS}


def read(value: object, form: str = "findings") -> Claim | NoClaim:
    return read_claim(json.dumps(value), form)


def accepted(found: Claim | NoClaim) -> Claim:
    assert isinstance(found, Claim), found
    return found


def refused(value: object, form: str = "findings") -> str:
    found = read(value, form)
    assert isinstance(found, NoClaim) and found.code == "result_invalid", found
    return found.message


def finding(**changes: Any) -> ReviewFinding:
    return ReviewFinding(**(ONE | changes))


# -- reading -------------------------------------------------------------------------------------------


def test_the_findings_of_a_review_are_its_claim() -> None:
    claim = accepted(read(REVIEW))
    assert claim.findings == (finding(),)
    assert (claim.status, claim.summary, claim.files_modified) == ("completed", "Looked at all.", ())
    assert accepted(read({**REVIEW, "findings": []})).findings == ()


def test_a_synthesis_is_read_with_its_sources() -> None:
    claim = accepted(read(SYNTHESIS, "synthesis"))
    said = claim.synthesis
    assert said is not None and claim.findings[0].sources == ("A1", "B2")
    assert said.rebuttals[0].quote == "q" and said.differences[0].findings == ("A1",)
    assert said.steelman[0].line is None and said.off_topic[0].analysis == "Beta"


@pytest.mark.parametrize(("form", "value"), GOOD.items())
def test_what_was_claimed_comes_back_from_the_record(form: str, value: dict[str, Any]) -> None:
    record = Record.unjudged().replace(claim=accepted(read(value, form)))
    assert Record.from_json(json_value(json.dumps(record.to_json()))) == record


def test_a_claim_of_an_older_runner_has_no_findings() -> None:
    old = {"status": "partial", "files_modified": [], "issues": [], "summary": "", "verification_summary": ""}
    assert Claim.from_json(old).findings == () and Claim.from_json(old).synthesis is None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"severity": "grave"}, "findings[0].severity"),
        ({"line": "3"}, "findings[0].line"),
        ({"line": True}, "findings[0].line"),
        ({"line": 1 << 64}, "findings[0].line"),
        ({"title": None}, "findings[0].title"),
        ({"place": "found"}, "findings[0]"),
        ({"sources": []}, "findings[0]"),
        ({"file": "a\0b"}, "not a valid file name"),
    ],
)
def test_a_finding_that_is_none_is_refused_with_its_place(change: dict[str, Any], place: str) -> None:
    assert place in refused({**REVIEW, "findings": [ONE | change]})


def test_what_lacks_and_what_is_no_array_is_refused() -> None:
    assert "findings[1]" in refused({**REVIEW, "findings": [ONE, {}]})
    assert "findings" in refused({**REVIEW, "findings": {}})
    assert "`findings` is missing" in refused({"status": "completed", "summary": ""})
    deep = json.dumps({**REVIEW, "findings": [ONE | {"detail": None}]}).replace("null", "[" * 600 + "]" * 600)
    assert isinstance(read_claim(deep, "findings"), NoClaim)
    assert "status" in refused({**REVIEW, "status": "done"})
    assert "differences[0].findings" in refused(
        {**SYNTHESIS, "differences": [{"alpha": "", "beta": "", "findings": "A1"}]}, "synthesis"
    )


def test_more_findings_than_anybody_reads_are_no_review() -> None:
    small = {**ONE, "detail": "", "evidence": ""}
    assert len(accepted(read({**REVIEW, "findings": [small] * MOST_FINDINGS})).findings) == MOST_FINDINGS
    assert "1,001 findings" in refused({**REVIEW, "findings": [small] * (MOST_FINDINGS + 1)})
    assert "larger than" in refused({**REVIEW, "findings": [ONE] * 10_000})


def test_a_long_text_is_cut_and_says_so_and_a_quote_stays_whole() -> None:
    claim = accepted(read({**REVIEW, "findings": [ONE | {"title": "t" * 300, "detail": "d" * 5000}]}))
    assert claim.findings[0].title == "t" * 197 + "..." and len(claim.findings[0].detail) == 4000
    long = {**SYNTHESIS["rebuttals"][0], "quote": "q" * 9000}
    said = accepted(read({**SYNTHESIS, "rebuttals": [long]}, "synthesis")).synthesis
    assert said is not None and len(said.rebuttals[0].quote) == 9000


def test_texts_cannot_move_a_cursor_and_half_characters_break_nothing() -> None:
    bad = ONE | {"title": "\x1b[2Jhi\x07", "evidence": "\ud800", "file": "a\udc80"}
    one = accepted(read({**REVIEW, "findings": [bad]})).findings[0]
    assert (one.title, one.evidence, one.file) == ("hi", "\ufffd", "a?")


# -- the forms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", GOOD)
def test_the_shipped_schema_asks_for_what_is_read(form: str) -> None:
    schema = json.loads((ROOT / "schemas" / f"{form}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(GOOD[form])
    for name, part in schema["properties"].items():
        keys = part.get("items", {}).get("required")
        assert keys is None or tuple(keys) == FIELDS[form][name]
    assert schema["required"] == list(FIELDS[form]) and schema["additionalProperties"] is False
    severity = schema["properties"]["findings"]["items"]["properties"]["severity"]
    assert tuple(severity["enum"]) == SEVERITIES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 62), 1 << 62) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)
ROWS = st.fixed_dictionaries({key: st.just(value) | JSON for key, value in ONE.items()})
NEARLY = st.fixed_dictionaries(
    {"status": st.just("completed") | JSON, "summary": st.text(), "findings": st.lists(ROWS | JSON) | JSON}
)


@given(NEARLY | JSON)
def test_what_the_schema_allows_is_read_and_nothing_else(value: object) -> None:
    schema = json.loads((ROOT / "schemas" / "findings.schema.json").read_text(encoding="utf-8"))
    found = read(value)
    if isinstance(found, Claim) or "not a valid file name" not in found.message:
        assert isinstance(found, Claim) == Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize("contract", [one for one in RESULT_FORMS if one != "closing-turn"])
def test_a_rehearsal_without_a_script_answers_in_the_form_that_is_asked_for(contract: str) -> None:
    (turn,) = default("hello", contract).turns
    assert isinstance(read_claim(turn.message, RESULT_FORMS[contract]), Claim)


@pytest.mark.parametrize("contract", [*RESULT_FORMS])
def test_the_wording_names_every_field(contract: str) -> None:
    fields = FIELDS.get(RESULT_FORMS[contract], {})
    for name, keys in fields.items():
        keys = () if contract == "advocacy" and name in ("findings", "rebuttals") else keys
        assert all(word in wording(contract) for word in (name, *keys))


# -- places --------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "a tree"
    (made / "src").mkdir(parents=True)
    (made / "src" / "db.py").write_text("one\ntwo\nthree")
    (made / "empty").write_text("")
    (tmp_path / "secret").write_text("outside\n")
    (made / "out").symlink_to(tmp_path / "secret")
    (made / "away").symlink_to(tmp_path)
    (made / "in").symlink_to("src/db.py")
    (made / "loop").symlink_to("loop")
    os.mkfifo(made / "fifo")
    (made / "device").symlink_to("/dev/zero")
    with (made / "hole").open("wb") as file:
        file.truncate(1 << 40)
    return made


@pytest.mark.parametrize(
    ("file", "line", "place"),
    [
        *(("src/db.py", line, "found") for line in (None, 1, 3)),
        *(("src/db.py", line, "no_line") for line in (4, 0, -1, 1 << 40)),
        ("empty", 1, "no_line"),
        ("in", 3, "found"),
        ("src", None, "found"),
        ("src", 1, "no_file"),
        *((file, 1, "no_file") for file in ("nowhere", "fifo", "src/db.py/x", "loop", "x" * 5000)),
        *((file, 1, "outside") for file in ("out", "away/secret", "../secret", "/etc/passwd", "device", ".")),
        ("hole", 1, None),
        ("", None, "none"),
        ("", 7, "none"),
    ],
)
def test_a_place_is_what_is_there(tree: Path, file: str, line: int | None, place: str | None) -> None:
    assert placed([finding(file=file, line=line)], str(tree))[0].place == place


def test_a_file_is_named_as_it_is_seen_from_the_tree(tree: Path) -> None:
    names = ("./src//db.py", f"{tree}/src/db.py", "src/../src/db.py")
    assert {one.file for one in placed([finding(file=name) for name in names], str(tree))} == {"src/db.py"}
    assert placed([finding(file="../secret")], str(tree))[0].file == "../secret"


def test_only_the_text_of_a_file_of_the_tree_is_read(tree: Path) -> None:
    assert text_of(str(tree), "src/db.py") == "one\ntwo\nthree"
    others = ("out", "fifo", "device", "hole", "src", "", "a\0b", "../secret", "nowhere")
    assert [text_of(str(tree), name) for name in others] == [None] * len(others)


def test_a_finding_of_ours_names_what_points_at_nothing(tree: Path) -> None:
    some = placed([finding(), finding(line=9), finding(file="x"), finding(file="")], str(tree))
    (ours,) = of_places(some)
    assert (
        ours.severity is Severity.WARNING
        and ours.message == "of 4 review findings, the place of 2 is not there"
    )
    assert ours.evidence == ("src/db.py:9 (no such line)", "x:3 (no such file)")
    assert of_places(some[:1]) == of_places(()) == ()


@pytest.mark.parametrize("folder", [".runs", ".git", ".RUNS", "sub/.Git"])
def test_what_runner_and_git_keep_in_the_tree_is_no_code_of_the_project(tree: Path, folder: str) -> None:
    (tree / folder).mkdir(parents=True)
    (tree / folder / "alpha.md").write_text("said\n")
    (tree / "link.md").symlink_to(f"{folder}/alpha.md")
    assert of_project(str(tree), f"src/../{folder}/alpha.md") is None
    assert of_project(str(tree), "link.md") is None and of_project(str(tree), "out") is None
    assert of_project(str(tree), "in") == "src/db.py"
