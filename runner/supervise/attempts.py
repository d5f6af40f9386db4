"""Whether an unsuccessful run is tried again, how, and with what prompt. Pure.

`retries` counts failures of the task; after a failure of the model's service a run waits instead, up to
`api_retries` times. Without `retries` there is no further attempt. A new prompt always has the evidence of
the attempt before: the same prompt is never sent twice.
"""

from __future__ import annotations

from runner.invocation import THREAD, price_word
from runner.runtimes.base import THREAD_GONE, is_thread_id
from runner.state.manifest import CLOSING, Attempt, Manifest, counted
from runner.state.store import thread_of
from runner.value import Value
from runner.verify.evidence import Retry
from runner.verify.signs import told_wait_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.invocation import Invocation
    from runner.verify.checks import Check
    from runner.verify.inspect import Observed
    from runner.verify.judgement import Judgement

CLOSING_REQUEST = """\
Do nothing more and change nothing. Report now what you did, as one JSON object and nothing else: no text
around it, no code fence. Its fields are those of the output contract in your task: status, files_modified,
issues, summary, verification_summary.
"""


class NextAttempt(Value):
    """The attempt that is to begin. `code` is the class of the end that it follows."""

    how: str
    """`resume`, `fresh` or `closing`."""
    argv: tuple[str, ...]
    prompt: str
    wait_s: float
    code: str
    counts: bool
    """Whether that end was a failure of the task itself."""
    messages: tuple[str, ...] = ()
    """Of a turn that somebody has sent messages for: their ids."""
    actor: str = ""
    """Who has sent the first of them."""


def next_turn(
    invocation: Invocation,
    manifest: Manifest,
    prompt: str,
    messages: tuple[str, ...],
    *,
    code: str,
    actor: str,
    is_new: bool,
) -> NextAttempt:
    """The turn with these messages, in the session as it is, or in a new one."""
    if is_new or invocation.resume_argv is None or not is_thread_id(manifest.thread_id):
        how, words = "fresh", invocation.fresh_argv or invocation.argv
    else:
        how, words = "resume", invocation.resume_argv
    argv = _filled(words, invocation, manifest)
    return NextAttempt(how, argv, prompt, 0.0, code, counts=False, messages=messages, actor=actor)


def closing_turn(invocation: Invocation, manifest: Manifest) -> NextAttempt | None:
    """The turn that asks for the result, where the contract wants one and the work itself ended well."""
    thread = manifest.thread_id
    if invocation.closing_argv is None or not is_thread_id(thread) or manifest.attempts[-1].how == CLOSING:
        return None
    argv = _filled(invocation.closing_argv, invocation, manifest)
    return NextAttempt(CLOSING, argv, CLOSING_REQUEST, 0.0, "completed", counts=False)


def retry_mode(invocation: Invocation, manifest: Manifest, judgement: Judgement) -> tuple[str, float] | None:
    """How and after how many seconds the next attempt begins; None where there is none."""
    recovery, verdict = invocation.recovery, judgement.verdict
    if not recovery.retries or verdict.next.retry is Retry.NO:
        return None
    # A closing turn counts as well: where one was judged, it bears the failure of the work before it.
    failed = sum(one.counts for one in _since_message(manifest)[:-1]) + verdict.next.counts
    if verdict.next.retry is Retry.AFTER_BACKOFF:
        waited = sum(
            one.reason is not None and not one.counts and one.how != CLOSING for one in former(manifest)
        )
        if waited >= recovery.api_retries:
            return None
        if verdict.reason.hint == THREAD_GONE:
            return "fresh", 0.0
        told_s = told_wait_s(verdict.reason.message) or 0.0
        if told_s > recovery.backoff_max_s:
            return None
        wait_s = max(told_s, min(recovery.backoff_s * 2**waited, recovery.backoff_max_s))
        return _how(invocation, manifest, "resume"), wait_s
    if failed > recovery.retries:
        return None
    if verdict.next.retry is Retry.FRESH:
        return "fresh", 0.0
    rung = recovery.ladder[min(failed, len(recovery.ladder)) - 1]
    return _how(invocation, manifest, rung), 0.0


def next_attempt(
    invocation: Invocation,
    manifest: Manifest,
    judgement: Judgement,
    how: tuple[str, float],
    original: str,
    *,
    rolled_back: bool,
) -> NextAttempt:
    """The attempt that follows this judgement, with what it has shown in its prompt."""
    from runner.verify import recovery
    from runner.verify.inspect import allowed_by

    verdict, (way, wait_s) = judgement.verdict, how
    before = former(manifest)
    seen = recovery.Attempted(
        attempt=manifest.attempt,
        reason=verdict.reason,
        checks=judgement.checks,
        findings=judgement.findings,
        changed=judgement.changed,
        diff=judgement.diff,
        rolled_back=rolled_back,
        same_as_before=bool(before) and before[-1].reason == verdict.code,
    )
    limits = recovery.constraints(allowed_by(invocation), judgement.observed, judgement.findings)
    if way == "resume":
        assert invocation.resume_argv is not None and manifest.thread_id is not None
        argv = _filled(invocation.resume_argv, invocation, manifest)
        prompt = recovery.follow_up(judgement.codes, seen, limits)
    else:
        argv = _filled(invocation.fresh_argv or invocation.argv, invocation, manifest)
        files = (*judgement.changed[:20],)
        prompt = recovery.recovery_prompt(original, judgement.codes, seen, files, limits)
    return NextAttempt(way, argv, prompt, wait_s, verdict.code, verdict.next.counts)


def former(manifest: Manifest) -> list[Attempt]:
    """The attempts before the present one that were judged. The turns of a conversation are not."""
    return [one for one in _since_message(manifest) if one.how != CLOSING][:-1]


def _since_message(manifest: Manifest) -> tuple[Attempt, ...]:
    return manifest.attempts[max((n for n, one in enumerate(manifest.attempts) if one.messages), default=0) :]


def judged(observed: Observed | None, checks: Sequence[Check]) -> dict[str, str | None]:
    """What an attempt is known by: fields of `Attempt`."""
    failed = next((f"{check.command} {check.how}" for check in checks if not check.passed), None)
    return {"tree": None if observed is None else observed.tree, "failed_check": failed}


def repeated(manifest: Manifest, observed: Observed | None, checks: Sequence[Check]) -> int | None:
    """The attempt before it that has left the same change, and the same failing check."""
    now = judged(observed, checks)
    if None in now.values():
        return None
    same = (one.n for one in former(manifest) if (one.tree, one.failed_check) == (*now.values(),))
    return next(same, None)


def _how(invocation: Invocation, manifest: Manifest, wanted: str) -> str:
    can_resume = invocation.resume_argv is not None and is_thread_id(manifest.thread_id)
    return "resume" if wanted == "resume" and can_resume else "fresh"


def _filled(argv: tuple[str, ...], invocation: Invocation, manifest: Manifest) -> tuple[str, ...]:
    """The words of the next attempt: its session, another id for a new one, and what is left of the price."""
    known = {thread_of(invocation.run_id, 1): thread_of(invocation.run_id, manifest.attempt + 1)}
    if manifest.thread_id is not None:
        known[THREAD] = manifest.thread_id
    if (limit := invocation.limits.price) is not None:
        known[price_word(limit)] = price_word(limit - (counted(manifest.attempts) or 0.0))
    return tuple(known.get(word, word) for word in argv)
