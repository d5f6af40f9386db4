"""The kind of a failure: one of the twelve codes of the sidekick workflow, if the evidence shows it. Pure.

A code helps the next attempt and changes no verdict. `MISUNDERSTOOD_TASK` is never derived: our evidence
cannot tell a misunderstanding from a mistake; a person who retries a run can say so. No code is a guess, and
often there is none.
"""

from __future__ import annotations

from runner.model import Outcome
from runner.value import StrEnum
from runner.verify import signs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.verify.checks import Check
    from runner.verify.evidence import Evidence, Verdict


class FailureCode(StrEnum):
    """The twelve. After one of the last three nothing that is there is to be accepted."""

    MISSED_REQUIREMENT = "MISSED_REQUIREMENT"
    INTEGRATION_ERROR = "INTEGRATION_ERROR"
    REGRESSION = "REGRESSION"
    WRONG_LOGIC = "WRONG_LOGIC"
    SYNTAX_ERROR = "SYNTAX_ERROR"
    WRONG_FILE = "WRONG_FILE"
    UNVERIFIED_ASSUMPTION = "UNVERIFIED_ASSUMPTION"
    KNOWLEDGE_GAP = "KNOWLEDGE_GAP"
    MISUNDERSTOOD_TASK = "MISUNDERSTOOD_TASK"
    TRIAL_INCOMPLETE = "TRIAL_INCOMPLETE"
    API_FAILURE = "API_FAILURE"
    EXECUTION_ERROR_EXTERNAL = "EXECUTION_ERROR_EXTERNAL"


_ROWS = {
    FailureCode.TRIAL_INCOMPLETE: (
        *("timeout", "own_timeout", "stalled", "was_stalled", "over_budget", "was_over_budget"),
        *("lost", "partial", "full", "job_timeout"),
    ),
    FailureCode.KNOWLEDGE_GAP: ("unanswered", "was_unanswered"),
    FailureCode.API_FAILURE: ("unreachable", "shut_out", "rate_limited", "no_access", "provider", "refused"),
    FailureCode.EXECUTION_ERROR_EXTERNAL: (
        *("machine", "drifted", "drift_found", "survivors", "job_preempted"),
    ),
    FailureCode.MISSED_REQUIREMENT: ("no_result", "bad_result", "nothing_done"),
}
_BY_ROW = {row: code for code, rows in _ROWS.items() for row in rows}
"""Where the row alone shows it."""

_BY_FINDING = {
    "scope_violation": FailureCode.WRONG_FILE,
    "claimed_outside": FailureCode.WRONG_FILE,
    "head_moved": FailureCode.MISSED_REQUIREMENT,
    "refs_moved": FailureCode.MISSED_REQUIREMENT,
    "policy_violation": FailureCode.MISSED_REQUIREMENT,
    "claimed_missing": FailureCode.UNVERIFIED_ASSUMPTION,
    "claim_contradicted": FailureCode.UNVERIFIED_ASSUMPTION,
}
"""Where a finding shows it: what was forbidden, or what the agent asserts and did not look at."""

_BY_SIGN = (
    (signs.SYNTAX, FailureCode.SYNTAX_ERROR),
    (signs.INTEGRATION, FailureCode.INTEGRATION_ERROR),
    (signs.LOGIC, FailureCode.WRONG_LOGIC),
)


def failure_codes(
    evidence: Evidence, verdict: Verdict, earlier: Sequence[Check] = ()
) -> tuple[FailureCode, ...]:
    """The codes that the evidence shows, in the order above; none for a success or a cancelled run.

    `earlier` are checks from before this attempt, or of another one: what passed there and fails now is a
    regression.
    """
    if verdict.outcome in (Outcome.SUCCEEDED, Outcome.CANCELLED):
        return ()
    found = {_BY_ROW[verdict.row]} if verdict.row in _BY_ROW else set()
    severe = (finding for finding in evidence.findings if finding.code in _BY_FINDING)
    found |= {_BY_FINDING[finding.code] for finding in severe if finding.severity != "info"}
    passed = {check.argv for check in earlier if check.passed}
    for check in evidence.checks:
        if not check.passed:
            found |= _of_check(check)
            if check.argv in passed and FailureCode.EXECUTION_ERROR_EXTERNAL not in found:
                found.add(FailureCode.REGRESSION)
    if verdict.row == "cli_failure":
        found |= _of_program(verdict)
    return tuple(code for code in FailureCode if code in found)


def _of_check(check: Check) -> set[FailureCode]:
    """A failing check that could not do its work says nothing about the code."""
    if check.is_cut:
        return set()
    unrunnable = check.exit_code is None and not check.timed_out
    if unrunnable or check.exit_code in (126, 127) or signs.shows(signs.MACHINE, check.tail):
        return {FailureCode.EXECUTION_ERROR_EXTERNAL}
    shown = (code for pattern, code in _BY_SIGN if signs.shows(pattern, check.tail))
    # Code that cannot be read or put together fails every assertion behind it: the first cause is named.
    first = next(shown, None)
    return set() if first is None else {first}


def _of_program(verdict: Verdict) -> set[FailureCode]:
    """Of an agent CLI that failed: killed from outside, or for want of something on the machine."""
    reason = verdict.reason
    if reason.code in ("killed", "never_started") or signs.shows(
        signs.MACHINE, reason.message, reason.detail
    ):
        return {FailureCode.EXECUTION_ERROR_EXTERNAL}
    return set()
