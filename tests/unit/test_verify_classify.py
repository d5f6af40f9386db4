"""The table from evidence to verdict: every row, the order of them, and what holds for any evidence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model import Outcome, Reason
from runner.runtimes.base import REASON_CODES
from runner.verify.checks import Check
from runner.verify.claim import Claim, NoClaim
from runner.verify.classify import ROWS, classify
from runner.verify.evidence import CODES, Evidence, Fate, Retry, Verdict
from runner.verify.inspect import FINDINGS, Finding, Severity
from runner.verify.taxonomy import FailureCode, failure_codes

DONE = Evidence(Outcome.SUCCEEDED, Reason("completed", "the agent finished its turn"))
GOOD = Check(("true",), 0, False, 0.1, "")
BAD = Check(("pytest", "-q"), 1, False, 2.0, "E   assert 1 == 2\nFAILED tests/t.py::t")


def claimed(status: str, *issues: str, **more: object) -> Evidence:
    claim = Claim(status, ("a.py",), issues, "What I did.", "ran it")
    return DONE.replace(contract=True, claim=claim, **more)


def failed(code: str, message: str = "it failed", outcome: Outcome = Outcome.FAILED) -> Evidence:
    return Evidence(outcome, Reason(code, message, "a hint", "a detail"))


def wished(code: str) -> Evidence:
    return DONE.replace(wish=Reason(code, f"{code} it was"))


def found(code: str, evidence: Evidence = DONE) -> Evidence:
    return evidence.replace(findings=(Finding(code, Severity.ERROR, "seen", ("x.py",)),))


F, R = Outcome.FAILED, Outcome.REJECTED
LIMITED = DONE.replace(wish=Reason("auth_or_quota", "lost its model 9 times in a row: 429 Too Many Requests"))
KEEP, BACK = Fate.KEEP, Fate.ROLL_BACK

CASES: list[tuple[str, Evidence, Outcome, str, str]] = [
    # row, evidence, outcome, class, code of the reason
    ("cancelled", wished("cancelled"), Outcome.CANCELLED, "cancelled", "cancelled"),
    ("timeout", wished("timeout"), Outcome.TIMED_OUT, "timeout", "timeout"),
    ("stalled", wished("stalled"), Outcome.TIMED_OUT, "stalled", "stalled"),
    ("stalled", wished("no_first_event"), Outcome.TIMED_OUT, "stalled", "no_first_event"),
    ("over_budget", wished("budget_exceeded"), F, "budget_exceeded", "budget_exceeded"),
    ("drifted", wished("config_drift"), F, "config_drift", "config_drift"),
    ("unanswered", wished("question_expired"), F, "blocked", "question_expired"),
    ("unreachable", wished("cli_failure"), F, "cli_failure", "cli_failure"),
    ("job_cancelled", wished("engine_cancelled"), Outcome.CANCELLED, "cancelled", "engine_cancelled"),
    ("job_preempted", wished("engine_preempted"), F, "cli_failure", "engine_preempted"),
    ("job_timeout", wished("engine_time_limit"), Outcome.TIMED_OUT, "timeout", "engine_time_limit"),
    ("shut_out", wished("auth_or_quota"), F, "auth_or_quota", "auth_or_quota"),
    ("stopped", wished("something_new"), F, "cli_failure", "something_new"),
    ("lost", failed("lost", outcome=Outcome.LOST), Outcome.LOST, "lost", "lost"),
    ("lost", failed("supervisor_failed", outcome=Outcome.LOST), Outcome.LOST, "lost", "supervisor_failed"),
    (
        "was_cancelled",
        failed("cancelled", outcome=Outcome.CANCELLED),
        Outcome.CANCELLED,
        "cancelled",
        "cancelled",
    ),
    ("was_stalled", failed("stalled", outcome=Outcome.TIMED_OUT), Outcome.TIMED_OUT, "stalled", "stalled"),
    ("own_timeout", failed("timeout", outcome=Outcome.TIMED_OUT), Outcome.TIMED_OUT, "timeout", "timeout"),
    ("survivors", failed("survivors"), F, "cli_failure", "survivors"),
    (
        "rate_limited",
        failed("auth_or_quota", "last status: 429 Too Many Requests"),
        F,
        *["auth_or_quota"] * 2,
    ),
    ("no_access", failed("auth_or_quota", "status 429: insufficient_quota"), F, *["auth_or_quota"] * 2),
    ("no_access", failed("auth_or_quota", "401 Unauthorized"), F, *["auth_or_quota"] * 2),
    ("provider", failed("cli_failure", "unexpected status 503 Service Unavailable"), F, *["cli_failure"] * 2),
    ("provider", failed("cli_failure", "unexpected status 409 Conflict"), F, *["cli_failure"] * 2),
    ("provider", failed("cli_failure", "Selected model is at capacity."), F, *["cli_failure"] * 2),
    ("full", failed("context_full"), F, "cli_failure", "context_full"),
    ("refused", failed("request_refused"), F, "cli_failure", "request_refused"),
    ("machine", failed("misconfigured"), F, "cli_failure", "misconfigured"),
    ("machine", failed("flag_refused"), F, "cli_failure", "flag_refused"),
    ("machine", failed("disk_full"), F, "cli_failure", "disk_full"),
    ("was_unanswered", failed("question_expired"), F, "blocked", "question_expired"),
    ("was_over_budget", failed("budget_exceeded"), F, "budget_exceeded", "budget_exceeded"),
    ("drift_found", found("config_drift"), F, "config_drift", "config_drift"),
    ("not_the_owner", found("policy_violation"), R, "policy_violation", "policy_violation"),
    ("not_the_owner", failed("policy_violation"), R, "policy_violation", "policy_violation"),
    ("out_of_scope", found("scope_violation"), R, "scope_violation", "scope_violation"),
    ("out_of_scope", found("refs_moved", claimed("partial")), R, "scope_violation", "scope_violation"),
    ("no_result", DONE.replace(contract=True), F, "result_missing", "result_missing"),
    ("no_result", failed("result_missing"), F, "result_missing", "result_missing"),
    (
        "bad_result",
        DONE.replace(contract=True, problem=NoClaim("result_invalid", "x")),
        F,
        *["result_invalid"] * 2,
    ),
    ("narrow_scope", claimed("partial", "Scope expansion: setup.py"), F, *["scope_expansion"] * 2),
    ("blocked", claimed("blocked", "no network"), F, "blocked", "blocked"),
    ("blocked", failed("blocked"), F, "blocked", "blocked"),
    ("task_failed", claimed("failed", "it does not compile"), F, "task_failed", "task_failed"),
    ("partial", claimed("partial"), F, "partial", "partial"),
    ("refuted", claimed("completed", checks=(GOOD, BAD)), R, "verify_failed", "verify_failed"),
    ("no_progress", DONE.replace(checks=(BAD,), repeated=1), R, "verify_failed", "no_progress"),
    ("completed", DONE.replace(repeated=1), Outcome.SUCCEEDED, *["completed"] * 2),
    ("refuted", DONE.replace(checks=(BAD,)), R, "verify_failed", "verify_failed"),
    ("refuted", DONE.replace(checks_declared=1), R, "verify_failed", "verify_failed"),
    ("nothing_done", found("empty_diff", claimed("completed")), R, "empty_diff", "empty_diff"),
    ("objection", found("claim_contradicted"), R, "verify_failed", "verify_failed"),
    ("was_rejected", failed("anything", outcome=R), R, "verify_failed", "anything"),
    ("cli_failure", failed("killed"), F, "cli_failure", "killed"),
    ("completed", DONE, Outcome.SUCCEEDED, "completed", "completed"),
    (
        "completed",
        claimed("completed", checks=(GOOD,), checks_declared=1),
        Outcome.SUCCEEDED,
        *["completed"] * 2,
    ),
]


@pytest.mark.parametrize(("row", "evidence", "outcome", "code", "reason"), CASES)
def test_an_evidence_has_its_row(
    row: str, evidence: Evidence, outcome: Outcome, code: str, reason: str
) -> None:
    verdict = classify(evidence)
    assert (verdict.row, verdict.outcome, verdict.code, verdict.reason.code) == (row, outcome, code, reason)


def test_every_row_and_every_class_was_shown() -> None:
    assert {case[0] for case in CASES} == {row.name for row in ROWS}
    assert {row.code for row in ROWS} == set(CODES)
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_a_verdict_that_is_read_again_stays_what_it_was() -> None:
    for row, evidence, *_ in CASES:
        if row == "stopped":
            continue  # a wish of a later version: its code alone does not tell that it was one
        first = classify(evidence)
        again = classify(Evidence(first.outcome, first.reason))
        assert (again.code, again.outcome, again.reason) == (first.code, first.outcome, first.reason)
        assert again.next == first.next


@pytest.mark.parametrize(
    ("code", "message", "status", "row"),
    [
        ("auth_or_quota", "no", 429, "rate_limited"),
        ("auth_or_quota", "rate limit", 401, "no_access"),
        ("auth_or_quota", "rate limit", 402, "no_access"),
        ("auth_or_quota", "rate limit", None, "rate_limited"),
        ("auth_or_quota", "you exceeded your current quota", 429, "no_access"),
        ("cli_failure", "no", 529, "provider"),
        ("cli_failure", "no", 503, "provider"),
        ("cli_failure", "no", 408, "provider"),
        ("cli_failure", "status 503", 400, "cli_failure"),
        ("cli_failure", "status 503", None, "provider"),
    ],
)
def test_a_status_says_before_any_wording_what_the_provider_did(
    code: str, message: str, status: int | None, row: str
) -> None:
    assert classify(failed(code, message).replace(status=status)).row == row


def test_the_codes_of_runtimes_are_never_renamed() -> None:
    for code in REASON_CODES:
        for outcome in (F, Outcome.LOST, Outcome.TIMED_OUT):
            evidence = failed(code, outcome=outcome)
            assert classify(evidence).reason == evidence.reason


def test_without_a_contract_the_checks_alone_decide_as_before() -> None:
    assert classify(DONE.replace(checks=(GOOD,))).reason == DONE.reason
    reason = classify(DONE.replace(checks=(BAD,))).reason
    assert reason.message == "`pytest -q` exited with 1" and reason.detail == BAD.tail


def test_what_an_agent_says_of_an_attempt_that_failed_does_not_count() -> None:
    evidence = claimed("completed").replace(outcome=F, reason=Reason("cli_failure", "crashed"))
    assert classify(evidence).code == "cli_failure"


def test_a_reason_quotes_the_agent_in_one_line() -> None:
    reason = classify(claimed("failed", "line one\nline two " + "x" * 500)).reason
    assert reason.message.startswith("the agent says that it failed: line one line two")
    assert "\n" not in reason.message and len(reason.message) < 400


@pytest.mark.parametrize(
    ("evidence", "fate", "counts", "retry"),
    [
        (claimed("partial"), KEEP, True, Retry.YES),
        (claimed("failed"), BACK, True, Retry.YES),
        (claimed("blocked"), KEEP, False, Retry.NO),
        (DONE.replace(checks=(BAD,)), BACK, True, Retry.YES),
        (DONE.replace(checks=(BAD,), repeated=2), BACK, True, Retry.NO),
        (found("scope_violation"), BACK, True, Retry.YES),
        (failed("auth_or_quota", "status: 429"), BACK, False, Retry.AFTER_BACKOFF),
        (failed("auth_or_quota", "not logged in"), BACK, False, Retry.NO),
        (LIMITED, BACK, False, Retry.AFTER_BACKOFF),
        (failed("request_refused"), BACK, False, Retry.NO),
        (failed("context_full"), BACK, True, Retry.FRESH),
        (failed("survivors"), KEEP, False, Retry.NO),
        (failed("lost", outcome=Outcome.LOST), KEEP, False, Retry.NO),
        (failed("killed"), BACK, False, Retry.AFTER_BACKOFF),
        (wished("cancelled"), BACK, False, Retry.NO),
        (wished("stalled"), BACK, False, Retry.AFTER_BACKOFF),
        (wished("timeout"), BACK, True, Retry.NO),
        (wished("budget_exceeded"), BACK, True, Retry.NO),
        (DONE, KEEP, False, Retry.NO),
    ],
)
def test_what_follows_is_told(evidence: Evidence, fate: Fate, counts: bool, retry: Retry) -> None:
    follows = classify(evidence).next
    assert (follows.changes, follows.counts, follows.retry) == (fate, counts, retry)


# -- any evidence ----------------------------------------------------------------------------------

TEXT = st.text(max_size=20)
WORDS = st.sampled_from(
    [*CODES, *REASON_CODES, "survivors", "disk_full", "no_first_event", "question_expired"]
)
REASONS = st.builds(Reason, WORDS | TEXT, TEXT | st.sampled_from(["status 503", "429", "401"]))
STATUSES = st.sampled_from(["completed", "partial", "failed", "blocked", "else"])
CLAIMS = st.builds(Claim, STATUSES, st.just(()), st.tuples(TEXT), TEXT, TEXT)
CHECKS = st.builds(Check, st.just(("x",)), st.none() | st.integers(-9, 3), st.booleans(), st.just(1.0), TEXT)
FOUND = st.builds(
    Finding, st.sampled_from([*FINDINGS]) | TEXT, st.sampled_from(tuple(Severity)), TEXT, st.tuples(TEXT)
)
EVIDENCE = st.builds(
    Evidence,
    outcome=st.sampled_from(tuple(Outcome)),
    reason=REASONS,
    wish=st.none() | REASONS,
    contract=st.booleans(),
    claim=st.none() | CLAIMS,
    problem=st.none() | st.builds(NoClaim, st.sampled_from(["result_missing", "result_invalid"]), TEXT),
    checks=st.lists(CHECKS, max_size=3).map(tuple),
    checks_declared=st.integers(0, 3),
    findings=st.lists(FOUND, max_size=3).map(tuple),
)


@given(EVIDENCE)
def test_any_evidence_has_one_verdict_and_it_is_the_first_row_that_fits(evidence: Evidence) -> None:
    verdict = classify(evidence)
    assert verdict.row == next(row.name for row in ROWS if row.when(evidence))
    assert verdict.code in CODES and isinstance(verdict.outcome, Outcome)
    assert verdict == classify(evidence)
    assert set(failure_codes(evidence, verdict)) <= set(FailureCode)


@given(EVIDENCE.filter(lambda evidence: evidence.wish is not None))
def test_a_stop_that_was_asked_for_wins_over_everything(evidence: Evidence) -> None:
    verdict = classify(evidence)
    assert verdict.reason == evidence.wish
    assert verdict.outcome is not Outcome.SUCCEEDED


@given(EVIDENCE)
def test_a_success_has_no_failing_check_no_error_and_no_lesser_claim(evidence: Evidence) -> None:
    if classify(evidence).outcome is not Outcome.SUCCEEDED:
        return
    assert evidence.outcome is Outcome.SUCCEEDED and evidence.wish is None
    assert all(check.passed for check in evidence.checks)
    assert len(evidence.checks) >= evidence.checks_declared
    assert all(finding.severity is not Severity.ERROR for finding in evidence.findings)
    assert evidence.claim is None or evidence.claim.status == "completed"
    assert evidence.claim is not None or not evidence.contract


@given(EVIDENCE)
def test_only_a_success_and_work_that_somebody_needs_is_kept(evidence: Evidence) -> None:
    verdict = classify(evidence)
    if verdict.outcome is Outcome.SUCCEEDED:
        assert verdict.next.changes is Fate.KEEP and not verdict.next.counts
    if verdict.next.changes is Fate.ROLL_BACK:
        assert verdict.outcome is not Outcome.SUCCEEDED


# -- the twelve codes ------------------------------------------------------------------------------


def codes(evidence: Evidence, *earlier: Check) -> set[str]:
    return {str(code) for code in failure_codes(evidence, classify(evidence), earlier)}


def failing(tail: str, exit_code: int | None = 1) -> Evidence:
    duration_s = 0.0 if exit_code is None else 1.0
    return claimed("completed", checks=(Check(("x",), exit_code, False, duration_s, tail),))


IS_CUT = Check(("x",), None, False, 1.0, "")
"""Ended with its run, while it ran."""


@pytest.mark.parametrize(
    ("evidence", "shown"),
    [
        (DONE, set()),
        (wished("cancelled"), set()),
        (wished("cancelled").replace(checks=(IS_CUT,)), set()),
        (wished("timeout"), {"TRIAL_INCOMPLETE"}),
        (claimed("partial"), {"TRIAL_INCOMPLETE"}),
        (claimed("failed"), set()),
        (failed("auth_or_quota", "401 Unauthorized"), {"API_FAILURE"}),
        (failed("cli_failure", "status 502"), {"API_FAILURE"}),
        (failed("cli_failure", "odd"), set()),
        (failed("killed"), {"EXECUTION_ERROR_EXTERNAL"}),
        (failed("disk_full"), {"EXECUTION_ERROR_EXTERNAL"}),
        (found("scope_violation"), {"WRONG_FILE"}),
        (found("empty_diff"), {"MISSED_REQUIREMENT"}),
        (DONE.replace(contract=True), {"MISSED_REQUIREMENT"}),
        (wished("question_expired"), {"KNOWLEDGE_GAP"}),
        (found("claim_contradicted", failing("1 failed")), {"UNVERIFIED_ASSUMPTION"}),
        (failing("  File 'a.py', line 3\nSyntaxError: invalid syntax\n"), {"SYNTAX_ERROR"}),
        (failing("E   ImportError: cannot import name 'a'"), {"INTEGRATION_ERROR"}),
        (failing("ModuleNotFoundError: No module named 'shop'"), {"INTEGRATION_ERROR"}),
        (failing("/usr/bin/python3: No module named pytest\n"), {"EXECUTION_ERROR_EXTERNAL"}),
        (failing("E       assert 3 == 4"), {"WRONG_LOGIC"}),
        (failing("--- FAIL: TestAdd (0.00s)"), {"WRONG_LOGIC"}),
        (failing("SyntaxError: x\nE    assert 1"), {"SYNTAX_ERROR"}),
        (failing("bash: pytest: command not found", 127), {"EXECUTION_ERROR_EXTERNAL"}),
        (failing("nope: no such command", None), {"EXECUTION_ERROR_EXTERNAL"}),
        (failing("OSError: [Errno 28] No space left on device"), {"EXECUTION_ERROR_EXTERNAL"}),
        (failing("something went wrong"), set()),
    ],
)
def test_a_code_is_given_only_where_the_evidence_shows_it(evidence: Evidence, shown: set[str]) -> None:
    assert codes(evidence) == shown


def test_what_passed_before_and_fails_now_is_a_regression() -> None:
    passed = BAD.replace(exit_code=0)
    assert codes(DONE.replace(checks=(BAD,)), passed) == {"REGRESSION", "WRONG_LOGIC"}
    assert codes(DONE.replace(checks=(BAD,)), BAD) == {"WRONG_LOGIC"}
    assert codes(failing("", 127), GOOD.replace(argv=("x",))) == {"EXECUTION_ERROR_EXTERNAL"}


# -- what the page says ----------------------------------------------------------------------------


def page_rows(title: str) -> list[list[str]]:
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    section = page.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_shows_the_table_as_it_is() -> None:
    words = {Retry.YES: "yes", Retry.NO: "no", Retry.AFTER_BACKOFF: "after a while", Retry.FRESH: "afresh"}
    fates = {Fate.KEEP: "kept", Fate.ROLL_BACK: "rolled back"}
    shown = [
        [
            f"`{row.name}`",
            f"`{row.outcome}`",
            f"`{row.code}`",
            fates[row.next.changes],
            "yes" if row.next.counts else "no",
            words[row.next.retry],
        ]
        for row in ROWS
    ]
    assert [[cells[0], *cells[2:]] for cells in page_rows("The table")] == shown


def test_the_page_names_every_finding_and_every_failure_code() -> None:
    assert [re.sub("`", "", row[0]) for row in page_rows("Findings")] == [*FINDINGS]
    assert [re.sub("`", "", row[0]) for row in page_rows("Kinds of failure")] == [*FailureCode]


def test_a_verdict_can_be_written_down() -> None:
    verdict: Verdict = classify(DONE)
    assert verdict.to_json()["next"] == {"changes": "keep", "counts": False, "retry": "no"}
