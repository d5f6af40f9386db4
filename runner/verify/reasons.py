"""The reasons of a verdict in words, from the evidence. Pure."""

from __future__ import annotations

from runner.model import Reason
from runner.verify.checks import judge
from runner.verify.claim import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.verify.evidence import Evidence

_LAST = "see its last message: `runner logs RUN --stream last`"
_HINTS = {
    "scope_violation": "widen `scope` if the change is wanted, or start again with a clearer task",
    "policy_violation": "`runner report RUN` has each with its old and new value",
    "empty_diff": "see its last message: `runner logs RUN --stream last`",
    "config_drift": "declare what the runtime really uses, or remove what overrides it",
    "result_missing": "`runner logs RUN --stream last` shows what the agent said instead",
    "result_invalid": "`runner logs RUN --stream last` shows what the agent said",
    "task_failed": _LAST,
    "partial": "the partial work is kept: finish it by hand or with another attempt",
    "blocked": _LAST,
    "scope_expansion": "widen `scope` if that is right, then start another attempt",
}


def own(e: Evidence) -> Reason:
    """What the runtime concluded."""
    return e.reason


def wish(e: Evidence) -> Reason:
    """Why we stopped it."""
    return e.reason if e.wish is None else e.wish


def from_finding(code: str, *findings: str) -> Callable[[Evidence], Reason]:
    """The first finding of these codes that forbids a success."""

    def reason(e: Evidence) -> Reason:
        found = e.objection(*findings)
        if not e.concluded or found is None:
            return e.reason
        return Reason(code, found.message, _HINTS.get(code), "\n".join(found.evidence) or None)

    return reason


def from_problem(e: Evidence) -> Reason:
    """Why there is no claim."""
    if not e.concluded:
        return e.reason
    if e.problem is None:
        return Reason("result_missing", "no result of the agent was found", _HINTS["result_missing"])
    return Reason(e.problem.code, e.problem.message, _HINTS.get(e.problem.code))


def from_claim(code: str, says: str) -> Callable[[Evidence], Reason]:
    """What the agent says, the beginning of it in the message and all its issues as the detail."""

    def reason(e: Evidence) -> Reason:
        if not e.concluded or e.claim is None:
            return e.reason
        told = e.claim.scope_expansion if code == "scope_expansion" else e.claim.issues
        text = shown(told[0] if told else e.claim.summary, 300)
        detail = "\n".join(told)[:4000]
        return Reason(code, f"{says}: {text}" if text else says, _HINTS[code], detail or None)

    return reason


def from_repetition(e: Evidence) -> Reason:
    """The check that failed again, on what had not changed."""
    if not e.concluded:
        return e.reason
    failed = from_checks(e)
    text = f"{failed.message}, with the same change as attempt {e.repeated}"
    return Reason("no_progress", text, "change the prompt, the check or the model", failed.detail)


def from_checks(e: Evidence) -> Reason:
    """The check that did not pass, or was not even run."""
    if not e.concluded:
        return e.reason
    if (verdict := judge(e.checks)) is not None:
        return verdict[1]
    text = f"only {len(e.checks)} of {e.checks_declared} verify commands were run"
    return Reason("verify_failed", text, "start it again; the events show how far it came")
