"""What CI systems read of a run: notices, summary, JUnit, code quality, variables."""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from support.hostile import HOSTILE
from support.imports import ROOT

from runner.ci import gitlab, summary
from runner.ci.junit import document
from runner.ci.notice import LEVELS, Notice, of_run
from runner.ci.outputs import outputs, values
from runner.ci.sarif import of_reports
from runner.conformance import Agreement, Conformance, Conformity
from runner.model import Price, Usage
from runner.state.manifest import Manifest
from runner.value import json_bytes
from runner.verify.checks import Check
from runner.verify.claim import Claim
from runner.verify.inspect import Allowed, Finding, Severity
from runner.verify.record import Record
from runner.verify.report import ReasonGiven, Report, ReportedFiles, report
from runner.verify.report_text import as_markdown
from runner.verify.review import ReviewFinding

DATA = ROOT / "tests" / "data"
SAMPLE = json.loads((DATA / "manifest-v1.json").read_text(encoding="utf-8"))
JENKINS = xmlschema.XMLSchema(str(DATA / "published" / "junit-10.xsd"))
SARIF = Draft4Validator(json.loads((DATA / "published" / "sarif-2.1.0-rtm.5.json").read_text("utf-8")))
PASSED = Check(("pytest", "-q"), 0, False, 1.23456, "3 passed\n")
FAILED = Check(("sh", "-c", "exit 3"), 3, False, 0.5, "::error::x\n]]>\0\ufffe\x1b[31m")
LATE = Check(("sleep", "9"), None, True, 9.0, "")
CRITICAL = ReviewFinding("critical", "src/a b,%.py", 7, "SQL", "by hand", "x", place="found")


def a_report(*findings: ReviewFinding, **changes: Any) -> Report:
    claim = Claim("completed", (), (), "Looked.", "", findings=findings)
    made = report(
        SAMPLE | {"outcome": "succeeded"}, Allowed(writes=True), Record.unjudged().replace(claim=claim)
    )
    return made.replace(**changes)


def cases(*suites: tuple[str, Report, Any]) -> dict[tuple[str, str], tuple[str, str]]:
    """(suite, case) -> what became of it, and its output; the document is valid."""
    data = document(suites)
    JENKINS.validate(BytesIO(data))
    return {
        (suite.attrib["name"], case.attrib["name"]): (
            next((part.tag for part in case if part.tag != "system-out"), "passed"),
            case.findtext("system-out") or "",
        )
        for suite in ElementTree.fromstring(data).iter("testsuite")
        for case in suite.iter("testcase")
    }


# -- notices ---------------------------------------------------------------------------------------


def test_of_a_run_that_succeeded_there_is_nothing_to_look_at() -> None:
    assert of_run(a_report(checks=(PASSED,))) == []


def test_what_did_not_forbid_the_success_of_a_plan_is_no_error() -> None:
    made = of_run(a_report(CRITICAL, checks=(FAILED,)))
    assert [(one.rule, one.level) for one in made] == [("check_failed", "warning"), ("critical", "error")]


def test_the_end_comes_first_then_checks_scope_findings_and_reviews() -> None:
    made = of_run(
        a_report(
            CRITICAL,
            outcome="rejected",
            reason=ReasonGiven("scope_violation", "1 file"),
            checks=(PASSED, FAILED),
            files=ReportedFiles((), ("x\ny",), ("x\ny",)),
            findings=(
                Finding("scope_violation", Severity.ERROR, "1 file", ("x\ny",)),
                Finding("changed_dirty", Severity.INFO, "1 file was changed", ("z",)),
            ),
        )
    )
    assert [(one.rule, one.level, one.file) for one in made] == [
        ("rejected", "error", ""),
        ("check_failed", "error", ""),
        ("scope_violation", "error", "x\ny"),
        ("changed_dirty", "note", ""),
        ("critical", "error", "src/a b,%.py"),
    ]
    assert made[0].detail.startswith("scope_violation: 1 file\nrun ")


def test_a_run_that_is_not_done_is_unfinished_and_a_drift_is_told_before_it_is_judged() -> None:
    drift = Conformance(model=Conformity("a", "b", Agreement.DRIFT))
    made = of_run(a_report(outcome=None, reason=None, conformance=drift))
    assert [(one.rule, one.level, one.detail) for one in made] == [
        ("unfinished", "warning", f"run {SAMPLE['run_id']}"),
        ("config_drift", "warning", "model"),
    ]
    found = (Finding("config_drift", Severity.ERROR, "other model"),)
    judged = a_report(outcome="failed", conformance=drift, findings=found)
    assert [(one.rule, one.level) for one in of_run(judged)[1:]] == [("config_drift", "error")]


# -- the summary -----------------------------------------------------------------------------------


def test_a_summary_that_fits_is_the_markdown_of_each_run() -> None:
    one = as_markdown(a_report())
    assert summary.joined([("r1", one), ("r2", one)]) == f"{one}\n{one}"


@given(
    st.lists(st.text(st.characters(exclude_characters="\r"), max_size=60), max_size=30),
    st.integers(0, 1500),
    st.integers(1, 3),
)
def test_a_summary_that_does_not_fit_ends_whole_and_says_what_is_missing(
    texts: list[str], left: int, runs: int
) -> None:
    failed = FAILED.replace(tail="\n".join(texts) + "\n```\n````text\n")
    text = as_markdown(a_report(outcome="rejected", checks=(failed, failed)))
    made = summary.joined([(f"run-{n}", text) for n in range(runs)], summary.MOST - 500 - left)
    assert len(made.encode(errors="replace")) <= 500 + left
    whole = "\n".join([text] * runs)
    if made == whole:
        return
    assert is_closed(made) and whole.startswith(made.rpartition("\n\n")[0].rpartition("\n\n")[0])
    assert not made or re.search(r"\n\n[0-9]+ more lines?: `runner report run-", made)


def is_closed(text: str) -> bool:
    fence = ""
    for line in text.split("\n"):
        if not fence and re.fullmatch("`{3,}text", line):
            fence = line.removesuffix("text")
        elif line == fence:
            fence = ""
    return not fence


# -- JUnit -----------------------------------------------------------------------------------------


def test_each_check_is_a_case_with_the_end_of_its_output_and_one_that_was_not_run_is_skipped() -> None:
    made = cases(("work", a_report(outcome="rejected", checks=(PASSED, FAILED)), (("make", "it's"),)))
    assert made["work", "outcome"][0] == "failure"
    assert made["work", "pytest -q"] == ("passed", "3 passed\n")
    assert made["work", "sh -c 'exit 3'"] == ("failure", "::error::x\n]]>\ufffd")
    assert made["work", "make 'it'\"'\"'s'"] == ("skipped", "")
    assert cases(("work", a_report(checks=(LATE,)), ()))["work", "sleep 9"][0] == "error"


def test_what_runner_saw_is_four_cases_and_only_what_forbids_a_success_fails_one() -> None:
    files = ReportedFiles((), ("a", "b"), ("b",))
    findings = (
        Finding("scope_violation", Severity.ERROR, "1 file", ("b",)),
        Finding("changed_not_claimed", Severity.WARNING, "2 files that the agent does not name", ("a", "b")),
        Finding("head_moved", Severity.ERROR, "HEAD moved"),
    )
    made = cases(("work", a_report(files=files, findings=findings), ()))
    told = {name: became for (_, name), (became, _) in made.items()}
    assert told == {
        **{"outcome": "passed", "scope": "failure", "contract": "passed", "change": "failure"},
        "conformance": "skipped",
    }
    assert made["work", "contract"][1] == "warning: 2 files that the agent does not name\n  a\n  b"


def test_a_result_that_was_asked_for_and_is_not_there_fails_the_contract() -> None:
    nothing = report(SAMPLE | {"outcome": "rejected"}, Allowed(writes=True), Record.unjudged())
    missing = nothing.replace(reason=ReasonGiven("result_missing", "the agent gave no result"))
    assert cases(("work", missing, ()))["work", "contract"][0] == "failure"
    assert cases(("work", nothing, ()))["work", "contract"][0] == "skipped"


@pytest.mark.parametrize(
    ("outcome", "became"), [("rejected", "failure"), ("timed_out", "error"), (None, "error")]
)
def test_a_run_without_checks_that_did_not_succeed_is_not_all_green(outcome: str | None, became: str) -> None:
    assert cases(("work", a_report(outcome=outcome), ()))["work", "outcome"][0] == became


def test_a_plan_has_a_suite_of_its_end_and_one_for_each_step() -> None:
    own, step = a_report(outcome="failed", checks=(FAILED,)), a_report(checks=(PASSED,))
    made = cases(("build", own, None), ("build batch 1", step, ()), ("build batch 2", None, None))
    assert [name for suite, name in made if suite == "build"] == ["outcome"]
    assert [made[key] for key in made if key[0] == "build batch 2"] == [made["build batch 2", "outcome"]]
    assert made["build batch 2", "outcome"][0] == "error"
    assert made["build batch 1", "pytest -q"][0] == "passed"


ANY = st.text(st.characters(), max_size=30) | st.just(HOSTILE)


@given(ANY, ANY, ANY)
def test_whatever_was_printed_the_document_is_valid(name: str, tail: str, message: str) -> None:
    check = Check((name,), 1, False, 1e-5, tail)
    finding = Finding("head_moved", Severity.ERROR, message, (tail,))
    cases((name, a_report(checks=(check, check), findings=(finding,) * 200), ((tail,),)))


def test_a_check_that_is_declared_twice_is_two_cases() -> None:
    found = cases(("work", a_report(checks=(PASSED, PASSED.replace(exit_code=1))), (("scope",), PASSED.argv)))
    names = ["outcome", "pytest -q", "pytest -q (2)", "scope", "pytest -q (3)", "scope (2)"]
    assert [name for _, name in found][:6] == names
    became = [found["work", name][0] for name in names[1:5]]
    assert became == ["passed", "failure", "skipped", "skipped"]


# -- SARIF and code quality ------------------------------------------------------------------------


def test_sarif_of_several_runs_is_as_its_schema_wants_it_and_is_cut_with_a_word() -> None:
    many = [CRITICAL.replace(title=f"{n}", file=f"a{n}") for n in range(6000)]
    nowhere = CRITICAL.replace(file="")
    told, rest = of_reports(
        [(one, ()) for one in (a_report(CRITICAL, outcome="failed"), a_report(*many), a_report(nowhere))]
    )
    made = json.loads(json_bytes(told))
    assert rest == 1, "a code host refuses all of it for one without a file"
    SARIF.validate(made)
    one, cut, none = made["runs"]
    assert (len(one["results"]), len(cut["results"]), none["results"]) == (1, 5000, [])
    (told,) = cut["invocations"][0]["toolExecutionNotifications"]
    assert told["message"]["text"] == "1000 more results left out"
    assert not one["invocations"][0]["executionSuccessful"]


def test_code_quality_has_what_names_a_file_with_a_fingerprint_that_stays() -> None:
    (one,) = gitlab.code_quality(of_run(a_report(CRITICAL, outcome="failed")))
    assert one | {"fingerprint": ""} == {
        **{
            "description": "SQL by hand x",
            "check_name": "critical",
            "fingerprint": "",
            "severity": "critical",
        },
        "location": {"path": "src/a b,%.py", "lines": {"begin": 7}},
    }
    (moved,) = gitlab.code_quality(of_run(a_report(CRITICAL.replace(line=9, place="no_line"))))
    assert moved["fingerprint"] == one["fingerprint"] and moved["location"]["lines"] == {"begin": 1}


@given(st.lists(st.builds(Notice, st.just("x"), st.sampled_from(LEVELS), ANY, ANY, ANY), max_size=5))
def test_whatever_a_notice_has_an_entry_can_be_read(notices: list[Notice]) -> None:
    made = json.loads(json_bytes(gitlab.code_quality(notices)).decode())
    assert len({one["fingerprint"] for one in made}) == len(made) == sum(bool(one.file) for one in notices)
    assert {one["severity"] for one in made} <= {"critical", "major", "minor"}
    assert all("\n" not in one["description"] for one in made)
    assert {one["location"]["path"] for one in made} == {one.file for one in notices if one.file}


def test_names_of_files_are_exact_in_documents_and_seen_whole_by_people() -> None:
    names = ("src/vis\u200bible.py", "\x1b[31mansi", "caf\udce9")
    one = a_report(CRITICAL.replace(file=names[0]), files=ReportedFiles((), names, names))
    made = json.loads(json_bytes(gitlab.code_quality(of_run(one))))
    assert [entry["location"]["path"] for entry in made] == [names[0], *names]
    text = as_markdown(one, ["rolled back (`1 file`)"])
    assert "\n\n``rolled back (`1 file`)``\n\n### Files changed" in text, "before what is there no more"
    assert r"`src/vis\u200bible.py` (outside the scope)" in text and r"`\u001b[31mansi`" in text
    assert r"`caf\udce9`" in text and r"`src/vis\u200bible.py:7`: `SQL`" in text
    (result,) = of_reports([(one, ())])[0]["runs"][0]["results"]
    assert "vis%E2%80%8Bible" in result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]


def test_a_finding_without_words_is_told_as_what_is_known_of_it() -> None:
    (one,) = of_run(a_report(CRITICAL.replace(title="\u200b ", detail="", evidence="")))
    assert (one.title, one.file, one.line) == ("critical finding", CRITICAL.file, CRITICAL.line)


def test_code_quality_of_too_many_has_the_gravest_of_all_runs() -> None:
    minor = CRITICAL.replace(severity="minor")
    many = [minor.replace(title=f"{n}", file=f"{n}") for n in range(6000)]
    notices = [*of_run(a_report(*many)), *of_run(a_report(minor, CRITICAL))]
    made = gitlab.code_quality(notices)
    assert len(made) == 5000 and made[0]["severity"] == "critical"
    assert made[1]["location"]["path"] == "0"


def test_of_five_thousand_findings_no_form_is_too_large() -> None:
    many = [CRITICAL.replace(title=f"{n}", file=f"{n}") for n in range(6000)]
    assert len(gitlab.code_quality(of_run(a_report(*many)))) == 5000
    assert len(summary.joined([("r", as_markdown(a_report(*many)))])) < 100_000


# -- variables -------------------------------------------------------------------------------------

NAMES = (
    "run_id status outcome reason exit_code tokens_in tokens_cached tokens_out cost_usd session_id manifest"
)
NAMES += " report patch junit sarif changed_files"


def a_manifest(**changes: Any) -> Manifest:
    return Manifest.from_json(SAMPLE).replace(**changes)


def parsed(text: str) -> dict[str, str]:
    """As the service reads it: actions/runner, src/Runner.Worker/FileCommandManager.cs."""
    lines, told = iter(text.split("\n")), {}
    for line in lines:
        if line:
            name, _, delimiter = line.partition("<<")
            assert delimiter and "=" not in name
            value = []
            for one in lines:
                if one == delimiter:
                    break
                value.append(one)
            told[name] = "\n".join(value)
    return told


def test_the_names_are_always_the_same_and_what_is_not_known_is_empty() -> None:
    nothing = report(SAMPLE | {"outcome": None, "reason": None}, Allowed(writes=False), Record.unjudged())
    told = values(nothing.replace(usage={}), a_manifest(), {"junit": "j.xml"})
    assert " ".join(told) == NAMES
    unknown = ("outcome", "reason", "tokens_in", "cost_usd", "report", "patch", "sarif", "changed_files")
    assert [told[name] for name in unknown] == [""] * len(unknown) and told["junit"] == "j.xml"


def test_a_price_in_a_currency_that_nobody_named_is_no_dollars() -> None:
    attempt = a_manifest().attempts[0].replace(cost=0.5)
    manifest = a_manifest(attempts=(attempt,), rehearsal=False)
    assert values(a_report(), manifest, {})["cost_usd"] == "0.5"
    priced = manifest.replace(price=Price(1, 1, 1), usage=Usage(1, 1, 1, 1))
    assert values(a_report(), priced, {})["cost_usd"] == ""


def test_a_session_whose_name_is_no_text_can_be_written() -> None:
    told = values(a_report(), a_manifest(thread_id="s\ud800\udce9"), {})
    assert outputs(told, "x").encode(errors="surrogateescape") and told["session_id"] == "s\ufffd\ufffd"


def test_files_are_one_array_whatever_their_names_are() -> None:
    names = ("a,b", "%", "line\nbreak", "caf\udce9", "ü")
    told = values(a_report(files=ReportedFiles((), names, ())), a_manifest(), {})
    assert json.loads(told["changed_files"]) == [*names] and told["changed_files"].isascii()
    many = tuple(f"{n:0100}" for n in range(1000))
    assert values(a_report(files=ReportedFiles((), many, ())), a_manifest(), {})["changed_files"] == ""


@given(
    st.dictionaries(st.sampled_from(NAMES.split()), ANY.map(lambda text: text.replace("\r", "")), min_size=1)
)
def test_no_value_sets_another_name(told: dict[str, str]) -> None:
    made = parsed(outputs(told, "0123456789abcdef"))
    assert made == {name.replace("_", "-"): value for name, value in told.items()}
    lines = gitlab.dotenv(told).split("\n")
    assert [line.partition("=")[0] for line in lines] == [*told, ""]


def test_what_is_too_large_for_dotenv_is_left_empty() -> None:
    told = {"a": "x", "b": "two\nlines", "c": "y" * 6000, "d": "z"}
    assert gitlab.dotenv(told) == "a=x\nb=\nc=\nd=z\n"
