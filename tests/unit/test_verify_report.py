"""The report of a run: its public shape, and texts that nothing foreign can break."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.imports import ROOT

from runner.conformance import Agreement, Conformance, Conformity
from runner.model import Outcome
from runner.redact.redactor import Redactor
from runner.text.terminal import clean_terminal
from runner.verify.checks import Check
from runner.verify.claim import Claim
from runner.verify.inspect import Allowed, Observed, Severity, findings
from runner.verify.record import Record
from runner.verify.report import Report, report
from runner.verify.report_text import as_markdown, as_text
from runner.verify.taxonomy import FailureCode

SAMPLE = json.loads((ROOT / "tests" / "data" / "manifest-v1.json").read_text(encoding="utf-8"))
SCHEMA = json.loads((ROOT / "schemas" / "report.schema.json").read_text(encoding="utf-8"))
ALLOWED = Allowed(writes=True, contract=True, scope=("src/**",))
CLAIM = Claim("completed", ("src/a.py",), ("Assumption: port 80", "slow"), "Did it.", "pytest: all pass")
SEEN = Observed(("src/a.py", "setup.py"))
CHECKS = (
    Check(("ruff", "check"), 0, False, 0.2, "fine"),
    Check(("pytest", "-q"), 1, False, 1.5, "E   assert 1 == 2\n1 failed\n"),
)


def a_report(claim: Claim | None = CLAIM, observed: Observed | None = SEEN, **more: Any) -> Report:
    checks = more.pop("checks", CHECKS)
    manifest = SAMPLE | {
        "outcome": "rejected",
        "reason": {"code": "verify_failed", "message": "`pytest -q` no"},
    }
    found = Record.unjudged(1, checks, 2, more.pop("conformance", None)).replace(
        claim=claim,
        observed=observed,
        findings=findings(ALLOWED, claim, observed, checks, root=SAMPLE["repo"]),
        failure_codes=(FailureCode.WRONG_LOGIC, FailureCode.WRONG_FILE),
    )
    return report(manifest | more.pop("manifest", {}), more.pop("allowed", ALLOWED), found, **more)


def plain(made: Report) -> dict[str, Any]:
    """As a script gets it."""
    data: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    Draft202012Validator(SCHEMA).validate(data)
    return data


def test_a_report_has_the_shape_of_the_contract() -> None:
    data = plain(a_report())
    assert list(data) == [
        *("run_id", "task_id", "outcome", "reason", "failure_codes", "summary", "files", "claims", "checks"),
        *("findings", "assumptions", "conformance", "usage", "attempts", "residual_risk", "refused"),
        *("failed_before", "ledger", "review_findings", "repaired", "gates"),
    ]
    assert list(data["reason"]) == ["code", "message"]
    assert data["files"] == {
        "claimed": ["src/a.py"],
        "observed": ["src/a.py", "setup.py"],
        "outside_scope": ["setup.py"],
        "lines": None,
    }
    assert list(data["claims"]) == ["status", "issues", "verification_summary"]
    assert list(data["checks"][0]) == ["argv", "exit_code", "timed_out", "duration_s", "tail"]
    assert list(data["findings"][0]) == ["code", "severity", "message", "evidence"]
    assert list(data["conformance"]) == ["model", "sandbox", "approval", "effort", "thread"]
    assert list(data["conformance"]["model"]) == ["declared", "observed", "verdict"]
    assert data["usage"] == SAMPLE["usage"] and data["attempts"] == SAMPLE["attempts"]


def test_the_schema_says_what_every_key_means_and_knows_every_code() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    properties = SCHEMA["properties"]
    assert list(properties) == SCHEMA["required"] == list(Report._fields)
    assert properties["outcome"]["enum"] == [*Outcome, None]
    assert properties["failure_codes"]["items"]["enum"] == [*FailureCode]
    assert properties["findings"]["items"]["properties"]["severity"]["enum"] == [*Severity]
    assert all(node["description"] for node in properties.values())


@pytest.mark.parametrize("key", SCHEMA["required"])
def test_no_key_of_a_report_may_lack_or_be_of_another_kind(key: str) -> None:
    data, validator = plain(a_report()), Draft202012Validator(SCHEMA)
    assert not validator.is_valid({k: v for k, v in data.items() if k != key})
    assert not validator.is_valid(data | {key: 1.5})
    assert not validator.is_valid(data | {"surprise": 1})


def test_what_is_not_known_is_null() -> None:
    data = plain(a_report(None, None, checks=(), manifest={"last_message": "It is done."}))
    assert data["files"] == {"claimed": None, "observed": None, "outside_scope": None, "lines": None}
    assert data["claims"] == {"status": None, "issues": [], "verification_summary": None}
    assert data["summary"] == "It is done.", "what the agent said last is all that it said"
    assert plain(a_report(None, None, manifest={"last_message": None}))["summary"] is None


def test_a_run_that_is_not_done_has_a_report_without_an_end() -> None:
    data = plain(a_report(manifest={"outcome": None, "reason": None}))
    assert data["outcome"] is None and data["reason"] is None
    assert as_text(a_report(manifest={"outcome": None, "reason": None})).startswith("not done")


def test_only_assumptions_that_the_agent_names_are_listed() -> None:
    assert a_report().assumptions == ("port 80",)
    assert a_report(None).assumptions == ()


def test_a_setting_that_nobody_observed_is_unverified() -> None:
    conformance = a_report().conformance
    assert conformance.model == Conformity("gpt-5.4-mini", None, "unverified")
    assert conformance.sandbox.declared == "workspace-write"
    seen = Conformity("a", "b", Agreement.DRIFT)
    made = a_report(conformance=Conformance(model=seen))
    assert plain(made)["conformance"]["model"] == seen.to_json()
    assert made.conformance.effort.verdict == "unverified"


def test_residual_risk_says_what_nothing_covers() -> None:
    bare = Allowed(writes=True)
    claimed = report(SAMPLE, bare, Record.unjudged().replace(claim=CLAIM))
    risks = " ".join(claimed.residual_risk + a_report(checks=()).residual_risk)
    for part in (
        "no verify command is declared",
        "nothing confirmed what the agent says",
        "the changes are not known",
        "no scope is declared",
        "2 of 2 verify commands were not run",
        "files outside the scope",
        "does not list all the files",
        "settings that could not be verified: model, sandbox, approval, effort",
        "1 assumption",
    ):
        assert part in risks, part
    seen = Conformance(*[Conformity("x", "x", Agreement.OK)] * 4)
    whole = Observed(("src/a.py",))
    found = Record.unjudged(1, CHECKS[:1], 1, seen).replace(claim=CLAIM.replace(issues=()), observed=whole)
    covered = report(SAMPLE, ALLOWED, found)
    assert covered.residual_risk == ()
    assert "none known" in as_text(covered)


def test_secrets_leave_no_part_of_a_report() -> None:
    word = "hunter2-correct-horse-battery"
    claim = Claim("completed", (f"src/{word}",), (word, f"Assumption: {word}"), word, word)
    check = Check(("echo", word), 1, False, 0.1, word)
    made = a_report(claim, Observed((f"src/{word}",)), checks=(check,), redact=Redactor([word]).redact_text)
    assert word not in json.dumps(plain(made)) + as_text(made) + as_markdown(made)
    assert "[redacted]" in as_text(made)


def test_names_that_differ_in_their_blanks_never_look_the_same() -> None:
    names = ("a b", "a  b", " a b", "a b ", "a   b")
    made = a_report(None, Observed(names))
    assert plain(made)["files"]["observed"] == [*names], "programs get them as they are"
    for text in (as_text(made), as_markdown(made)):
        seen = [line.split() for line in text.splitlines() if "b" in line and "a" in line[:12]]
        assert len({*map(tuple, seen)}) >= len(names) and r"a \u0020\u0020b" in text


def test_the_texts_show_what_matters() -> None:
    for text in (as_text(a_report()), as_markdown(a_report())):
        for part in (
            "rejected",
            "verify_failed",
            "setup.py",
            "(outside the scope)",
            "exited with 1",
            "1 failed",
        ):
            assert part in text
        assert "port 80" in text and "WRONG_LOGIC" in text and "Did it." in text


HOSTILE = (
    "\x1b[2J\x1b]0;title\x07\r\nrejected\n# Heading\n```\n</details><script>x</script> ![i](http://x/y.png) "
    "@everyone `a` ``b`` | cell\n\n- [ ] item\u202e\u2028end"
)


def hostile_reports() -> list[Report]:
    claim = Claim("completed", (HOSTILE, "src/a"), (HOSTILE,), HOSTILE, HOSTILE, (HOSTILE,))
    check = Check(("sh", HOSTILE), 1, False, 0.1, HOSTILE * 3)
    return [
        a_report(claim, Observed((HOSTILE,)), checks=(check,)),
        a_report(None, None, manifest={"last_message": HOSTILE, "task_id": HOSTILE}),
    ]


def test_hostile_text_moves_no_cursor_and_never_begins_at_the_margin() -> None:
    for made in hostile_reports():
        plain(made)
        text = as_text(made)
        assert clean_terminal(text) == text
        titles = [line for line in text.splitlines()[1:] if line and not line.startswith(" ")]
        assert not any("Heading" in line or "rejected" in line for line in titles)


def outside_code(markdown: str) -> str:
    """What is left of Markdown without its fences and code spans (CommonMark 4.5 and 6.1)."""
    left, fence = [], ""
    for line in markdown.split("\n"):
        run = re.match("`{3,}", line)
        if fence:
            fence = "" if re.fullmatch(f"`{{{len(fence)},}}", line.strip()) else fence
        elif run:
            fence = run[0]
        else:
            left.append(re.sub(r"(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)", "", line))
    assert not fence, "a fence is left open"
    return "\n".join(left)


def test_hostile_text_stays_inside_the_code_of_markdown() -> None:
    for made in hostile_reports():
        left = outside_code(as_markdown(made))
        for part in ("script", "everyone", "![", "Heading", "`", "cell", "\x1b"):
            assert part not in left


@given(st.text(st.characters(exclude_categories=()), max_size=60) | st.text("`\n a", max_size=30))
def test_no_text_leaves_the_code_of_markdown(text: str) -> None:
    claim = Claim("completed", (f"x{text}",), (text,), text, text)
    made = a_report(claim, checks=(Check(("sh", text), 1, False, 0.1, text),))
    left = outside_code(as_markdown(made))
    assert "`" not in left
    assert clean_terminal(as_text(made)) == as_text(made)
