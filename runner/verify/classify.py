"""Level 3: from all evidence to one outcome with one stable code. Pure: one table, read from the top.

The first row whose condition holds is the verdict, and the order is the policy: a requested stop; an end that
was not seen; causes outside the task; what the run did wrong, whatever it claims; its claim; the checks of
that claim. Otherwise it is success.
"""

from __future__ import annotations

from runner.model import Outcome
from runner.value import Value
from runner.verify import reasons, signs
from runner.verify.evidence import CODES, Evidence, Fate, Next, Retry, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.model import Reason

    Condition = Callable[[Evidence], bool]


class Row(Value):
    """One line of the table."""

    name: str
    when: Condition
    outcome: Outcome
    code: str
    next: Next
    why: Callable[[Evidence], Reason]


def classify(evidence: Evidence) -> Verdict:
    """The verdict: that of the first row that fits. Every evidence has one.

    An end that is written down already may be given as the runtime's conclusion: it keeps its class.
    """
    row = next(row for row in ROWS if row.when(evidence))
    reason = row.why(evidence)
    code = reason.code if row.name in _CATCHING and reason.code in CODES else row.code
    return Verdict(row.name, code, row.outcome, reason, row.next)


def _wished(*codes: str) -> Condition:
    return lambda e: e.wish is not None and (not codes or e.wish.code in codes)


def _engine(code: str) -> Condition:
    return lambda e: (e.reason if e.wish is None else e.wish).code == code


def _ended(outcome: Outcome, *codes: str) -> Condition:
    return lambda e: e.outcome is outcome and (not codes or e.reason.code in codes)


def _failed(*codes: str) -> Condition:
    return lambda e: e.outcome in (Outcome.FAILED, Outcome.REJECTED) and e.reason.code in codes


def _found(*codes: str) -> Condition:
    return lambda e: e.concluded and e.objection(*codes) is not None


def _no_claim(code: str) -> Condition:
    """A contract without a claim; a result that was not even searched for is missing."""

    def condition(e: Evidence) -> bool:
        found = "result_missing" if e.problem is None else e.problem.code
        return e.concluded and e.contract and e.claim is None and found == code

    return condition


def _said(status: str) -> Condition:
    return lambda e: e.concluded and e.claim is not None and e.claim.status == status


def _unfinished(e: Evidence) -> bool:
    return e.concluded and e.claim is not None and e.claim.status != "completed"


def _wants_scope(e: Evidence) -> bool:
    """Work that is reported complete needs no wider scope, whatever its issues say."""
    return _unfinished(e) and e.claim is not None and bool(e.claim.scope_expansion)


def _unverified(e: Evidence) -> bool:
    passed = all(check.passed for check in e.checks) and len(e.checks) >= e.checks_declared
    return e.concluded and not passed


def _rate_limited(e: Evidence) -> bool:
    limited = _any(_wished("auth_or_quota"), _failed("auth_or_quota"))(e)
    return limited and signs.is_limited(_wish(e).message, e.status)


def _provider(e: Evidence) -> bool:
    return _failed("cli_failure")(e) and signs.is_providers(e.reason.message, e.status)


def _any(*conditions: Condition) -> Condition:
    return lambda e: any(condition(e) for condition in conditions)


_TASK = Next(Fate.ROLL_BACK, True, Retry.YES)
_PART = Next(Fate.KEEP, True, Retry.YES)
_FULL = Next(Fate.ROLL_BACK, True, Retry.FRESH)
_SPENT = Next(Fate.ROLL_BACK, True, Retry.NO)
_LEFT = Next(Fate.KEEP, True, Retry.NO)
_LATER = Next(Fate.ROLL_BACK, False, Retry.AFTER_BACKOFF)
_PARK = Next(Fate.ROLL_BACK, False, Retry.NO)
_PERSON = Next(Fate.KEEP, False, Retry.NO)
"""A person has to check or decide first, and needs the changes for it."""

_O = Outcome
_BOUNDS = ("scope_violation", "check_changed", "head_moved", "refs_moved")
_own, _wish = reasons.own, reasons.wish
_of_bounds = reasons.from_finding("scope_violation", *_BOUNDS)
_of_git = reasons.from_finding("policy_violation", "policy_violation")
_of_drift = reasons.from_finding("config_drift", "config_drift")
_of_nothing = reasons.from_finding("empty_diff", "empty_diff")
_of_any = reasons.from_finding("verify_failed")
_of_scope = reasons.from_claim("scope_expansion", "the agent asks for a wider scope")
_of_blocked = reasons.from_claim("blocked", "the agent reports that it is blocked")
_of_failed = reasons.from_claim("task_failed", "the agent says that it failed")
_of_partial = reasons.from_claim("partial", "the agent says that only a part is done")

# `_failed(...)` beside a condition on the claim: the runtime may have concluded the same from its own signs.
_NO_RESULT = _any(_no_claim("result_missing"), _failed("result_missing"))
_BAD_RESULT = _any(_no_claim("result_invalid"), _failed("result_invalid"))
_DRIFTED = _any(_found("config_drift"), _failed("config_drift"))
_STALLED = _ended(Outcome.TIMED_OUT, "stalled", "no_first_event")
_MACHINE = _failed("flag_refused", "misconfigured", "disk_full")
_NOT_ITS = _any(_found("policy_violation"), _failed("policy_violation"))
_OUTSIDE = _any(_found(*_BOUNDS), _failed("scope_violation"))
_NARROW = _any(_wants_scope, _failed("scope_expansion"))
_BLOCKED = _any(_said("blocked"), _failed("blocked"))
_SAID_FAILED = _any(_said("failed"), _failed("task_failed"))
_PARTIAL = _any(_unfinished, _failed("partial"))
_REFUTED = _any(_unverified, _failed("verify_failed"))
_REPEATED = _any(lambda e: _unverified(e) and e.repeated is not None, _failed("no_progress"))
_NOTHING = _any(_found("empty_diff"), _failed("empty_diff"))

ROWS: tuple[Row, ...] = (
    # name, condition, outcome, class, what follows, reason
    Row("cancelled", _wished("cancelled"), _O.CANCELLED, "cancelled", _PARK, _wish),
    Row("job_cancelled", _engine("engine_cancelled"), _O.CANCELLED, "cancelled", _PERSON, _wish),
    Row("job_preempted", _engine("engine_preempted"), _O.FAILED, "cli_failure", _PERSON, _wish),
    Row("job_timeout", _engine("engine_time_limit"), _O.TIMED_OUT, "timeout", _LEFT, _wish),
    Row("timeout", _wished("timeout"), _O.TIMED_OUT, "timeout", _SPENT, _wish),
    Row("stalled", _wished("stalled", "no_first_event"), _O.TIMED_OUT, "stalled", _LATER, _wish),
    Row("over_budget", _wished("budget_exceeded"), _O.FAILED, "budget_exceeded", _SPENT, _wish),
    Row("drifted", _wished("config_drift"), _O.FAILED, "config_drift", _PARK, _wish),
    Row("unanswered", _wished("question_expired"), _O.FAILED, "blocked", _PERSON, _wish),
    Row("unreachable", _wished("cli_failure"), _O.FAILED, "cli_failure", _LATER, _wish),
    Row("rate_limited", _rate_limited, _O.FAILED, "auth_or_quota", _LATER, _wish),
    Row("shut_out", _wished("auth_or_quota"), _O.FAILED, "auth_or_quota", _PARK, _wish),
    Row("stopped", _wished(), _O.FAILED, "cli_failure", _PARK, _wish),
    Row("lost", _ended(_O.LOST), _O.LOST, "lost", _PERSON, _own),
    Row("was_cancelled", _ended(_O.CANCELLED), _O.CANCELLED, "cancelled", _PARK, _own),
    Row("was_stalled", _STALLED, _O.TIMED_OUT, "stalled", _LATER, _own),
    Row("own_timeout", _ended(_O.TIMED_OUT), _O.TIMED_OUT, "timeout", _SPENT, _own),
    Row("survivors", _failed("survivors"), _O.FAILED, "cli_failure", _PERSON, _own),
    Row("no_access", _failed("auth_or_quota"), _O.FAILED, "auth_or_quota", _PARK, _own),
    Row("provider", _provider, _O.FAILED, "cli_failure", _LATER, _own),
    Row("full", _failed("context_full"), _O.FAILED, "cli_failure", _FULL, _own),
    Row("refused", _failed("request_refused"), _O.FAILED, "cli_failure", _PARK, _own),
    Row("machine", _MACHINE, _O.FAILED, "cli_failure", _PARK, _own),
    Row("was_unanswered", _failed("question_expired"), _O.FAILED, "blocked", _PERSON, _own),
    Row("was_over_budget", _failed("budget_exceeded"), _O.FAILED, "budget_exceeded", _SPENT, _own),
    Row("drift_found", _DRIFTED, _O.FAILED, "config_drift", _PARK, _of_drift),
    Row("not_the_owner", _NOT_ITS, _O.REJECTED, "policy_violation", _SPENT, _of_git),
    Row("out_of_scope", _OUTSIDE, _O.REJECTED, "scope_violation", _TASK, _of_bounds),
    Row("no_result", _NO_RESULT, _O.FAILED, "result_missing", _TASK, reasons.from_problem),
    Row("bad_result", _BAD_RESULT, _O.FAILED, "result_invalid", _TASK, reasons.from_problem),
    Row("narrow_scope", _NARROW, _O.FAILED, "scope_expansion", _PERSON, _of_scope),
    Row("blocked", _BLOCKED, _O.FAILED, "blocked", _PERSON, _of_blocked),
    Row("task_failed", _SAID_FAILED, _O.FAILED, "task_failed", _TASK, _of_failed),
    Row("partial", _PARTIAL, _O.FAILED, "partial", _PART, _of_partial),
    Row("no_progress", _REPEATED, _O.REJECTED, "verify_failed", _SPENT, reasons.from_repetition),
    Row("refuted", _REFUTED, _O.REJECTED, "verify_failed", _TASK, reasons.from_checks),
    Row("nothing_done", _NOTHING, _O.REJECTED, "empty_diff", _TASK, _of_nothing),
    Row("objection", _found(), _O.REJECTED, "verify_failed", _TASK, _of_any),
    Row("was_rejected", _ended(_O.REJECTED), _O.REJECTED, "verify_failed", _TASK, _own),
    Row("cli_failure", _ended(_O.FAILED), _O.FAILED, "cli_failure", _LATER, _own),
    Row("completed", lambda e: True, _O.SUCCEEDED, "completed", Next(Fate.KEEP, False, Retry.NO), _own),
)
_CATCHING = ("was_rejected", "cli_failure")
