"""The findings of a review in a report, and as SARIF."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.imports import ROOT

from runner.ci.sarif import of_report
from runner.verify.claim import Claim
from runner.verify.inspect import Allowed
from runner.verify.plan_report import of_plan
from runner.verify.record import Record
from runner.verify.report import Report, report
from runner.verify.report_text import as_markdown, as_text
from runner.verify.review import SEVERITIES, ReviewFinding

SAMPLE = json.loads((ROOT / "tests" / "data" / "manifest-v1.json").read_text(encoding="utf-8"))
SCHEMA = json.loads((ROOT / "schemas" / "report.schema.json").read_text(encoding="utf-8"))
MINOR = ReviewFinding("minor", "a b/ü%.py", 7, "a word", "why", "code", place="found")
GRAVE = ReviewFinding("critical", "src/db.py", 42, "SQL `x`\n# title", "why", "code", place="no_line")


def a_report(*found: ReviewFinding, **changes: Any) -> Report:
    claim = Claim("completed", (), (), "Looked.", "", findings=found)
    record = Record.unjudged().replace(claim=claim)
    made = report(SAMPLE | {"outcome": "succeeded"}, Allowed(writes=False), record)
    return made.replace(**changes)


def results(*found: ReviewFinding) -> list[dict[str, Any]]:
    (run,) = of_report(a_report(*found))["runs"]
    told: list[dict[str, Any]] = run["results"]
    return told


def place_of(result: dict[str, Any]) -> dict[str, Any]:
    (location,) = result["locations"]
    place: dict[str, Any] = location["physicalLocation"]
    return place


def test_a_report_lists_the_findings_of_a_review_the_gravest_first() -> None:
    made = a_report(MINOR, GRAVE)
    data = json.loads(json.dumps(made.to_json()))
    Draft202012Validator(SCHEMA).validate(data)
    assert [one["severity"] for one in data["review_findings"]] == ["critical", "minor"]
    text = as_text(made)
    assert "review findings\n  critical: src/db.py:42: SQL `x` # title (no such line)\n  minor: " in text
    assert "- critical: `src/db.py:42`: ``SQL `x` # title`` (no such line)" in as_markdown(made)


def test_a_report_without_a_result_does_not_say_that_nothing_was_found() -> None:
    nothing = report(SAMPLE, Allowed(writes=False), Record.unjudged())
    assert nothing.review_findings is None and a_report().review_findings == ()
    Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(nothing.to_json())))
    assert "review findings" not in as_text(a_report())


def test_the_report_of_a_plan_says_which_step_has_found_it() -> None:
    own = report(SAMPLE, Allowed(writes=False), Record.unjudged())
    steps = [("batch 1", a_report(MINOR)), ("batch 2", a_report(GRAVE)), ("batch 3", own)]
    made = of_plan(own, steps, ())
    assert [(one.step, one.severity) for one in made.review_findings or ()] == [
        *(("batch 2", "critical"), ("batch 1", "minor"))
    ]
    assert "  batch 2: critical: src/db.py:42" in as_text(made)
    assert of_plan(own, [("batch 1", own)], ()).review_findings is None


def test_sarif_has_a_level_for_each_severity_and_a_line_only_where_it_is() -> None:
    grave, minor = results(MINOR, GRAVE)
    assert (grave["ruleId"], grave["level"], minor["level"]) == ("critical", "error", "note")
    assert place_of(grave) == {"artifactLocation": {"uri": "src/db.py", "uriBaseId": "%SRCROOT%"}}
    assert place_of(minor)["region"] == {"startLine": 7}
    assert place_of(minor)["artifactLocation"]["uri"] == "a%20b/%C3%BC%25.py"
    (run,) = of_report(a_report(MINOR, outcome="failed"))["runs"]
    assert run["invocations"] == [{"executionSuccessful": False}]


def test_sarif_names_no_place_outside_of_the_tree() -> None:
    others = (MINOR.replace(file="../x", place="outside"), MINOR.replace(file="/etc/x", place="outside"))
    assert not any("locations" in one for one in results(*others, MINOR.replace(file="", place="none")))


def test_a_fingerprint_stays_when_lines_move_and_is_of_one_finding() -> None:
    def prints(*some: ReviewFinding) -> list[str]:
        return [one["partialFingerprints"]["reviewFinding/v1"] for one in results(*some)]

    assert prints(MINOR) == prints(MINOR.replace(line=99, evidence="moved", place="no_line"))
    assert len({*prints(MINOR, MINOR, MINOR.replace(title="other"), MINOR.replace(file="b"))}) == 4


FOUND = st.builds(
    ReviewFinding,
    st.sampled_from(SEVERITIES),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.none() | st.integers(1, 10**9),
    *(st.text(),) * 3,
    place=st.sampled_from((None, "found", "no_file", "no_line", "outside", "none")),
)


@given(st.lists(FOUND, max_size=4))
def test_whatever_was_found_sarif_is_as_the_standard_wants_it(some: list[ReviewFinding]) -> None:
    """3.19, 3.27, 3.28, 3.29 and 3.30 of the standard: what it demands of what is there."""
    told = of_report(a_report(*some))
    assert told["version"] == "2.1.0" and told["$schema"].endswith("sarif-2.1.0.json")
    (run,) = told["runs"]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert run["tool"]["driver"]["name"] and len(run["results"]) == len(some)
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"] and result["message"]["text"] is not None
        assert result["level"] in ("error", "warning", "note")
        for location in result.get("locations", ()):
            uri = location["physicalLocation"]["artifactLocation"]["uri"]
            assert re.fullmatch(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+", uri) and unquote(uri)[0] != "/"
            region = location["physicalLocation"].get("region", {"startLine": 1})
            assert region["startLine"] >= 1
    keys = [json.dumps(result["partialFingerprints"]) for result in run["results"]]
    assert len({*keys}) == len(keys)
