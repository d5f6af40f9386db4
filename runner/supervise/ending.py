"""The end of a run or attempt: the evidence becomes an outcome, then the files are sealed. Edge: disk.

The order matters. The true exit status is written first, so that no later crash can lose it. Then the attempt
is judged, and another one begins or the terminal manifest is written. Last, when nobody waits any more, the
files are sealed.
"""

from __future__ import annotations

import contextlib
import os
import time

from runner import runtimes
from runner.disk import programs
from runner.disk.files import no_hole, read_text, replace_json, withdraw
from runner.model import Outcome, Phase, Reason
from runner.processes.proc import is_here
from runner.state import temp
from runner.state.events import EndTold, complain, read_events
from runner.state.lifecycle import Event
from runner.state.manifest import Manifest, advance, exited
from runner.state.spent import tokens
from runner.state.watched import rewritten
from runner.supervise import attempts, news, tree_helper, turns
from runner.supervise.judging import judge, own_signs, survivors_of
from runner.supervise.progress import MOST_REFUSALS
from runner.text.words import and_more
from runner.verify.evidence import Fate, Retry
from runner.verify.record import Record, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.git_change import PutBack
    from runner.model import Json
    from runner.state.manifest import Survivor
    from runner.supervise.attempts import NextAttempt
    from runner.supervise.owner import Owner
    from runner.verify.judgement import Judgement
    from runner.verify.record import RolledBack

_DISK_FULL_TRIES = 60
_MOST_TOLD = 20
_LONGEST_LINE = 64 * 1024


def lose(owner: Owner, end: tuple[Outcome, Reason]) -> None:
    """Writes an end that was not seen."""
    outcome, reason = end
    owner.progress.finish()
    _close_questions(owner)
    has_begun = owner.manifest.phase not in (Phase.QUEUED, Phase.STARTING)
    event = Event.LOST if outcome is Outcome.LOST or has_begun else Event.START_FAILED
    if event is Event.START_FAILED:
        tree_helper.withdraw(owner.run, owner.env)
    seen = owner.observed().replace(questions_open=0)
    _end(owner, advance(seen, event, outcome=outcome, reason=reason))


def record_exit(owner: Owner) -> None:
    """Writes the true exit down, before anything else is done."""
    code = None if owner.status is None else os.waitstatus_to_exitcode(owner.status)
    exit_code = code if code is not None and code >= 0 else None
    signal = -code if code is not None and code < 0 else None
    owner.limits.resume()
    ended = exited(owner.manifest, exit_code, signal)
    owner.write(ended.replace(paused_seconds=round(owner.limits.paused_s, 3)))
    owner.log.note(Event.EXITED, exit_code=exit_code, signal=signal)


def conclude(owner: Owner, *, is_alone: bool = False) -> NextAttempt | None:
    """What follows the attempt whose process has ended; None is the end of the run, which is written then, or
    the run waits for a message: then that is to be called again when something is there.

    `is_alone`: it had ended before this owner came. An owner before us may have judged it already, and others
    may have worked in the tree since.
    """
    owner.reap()
    owner.take_lease()  # the child had it for as long as it lived
    wish = owner.manifest.reason  # only a stop that was asked for has written one by now
    if owner.manifest.phase not in (Phase.VERIFYING, Phase.WAITING):
        wish = wish or _ended_with(owner)
        record_exit(owner)
    survivors = _survivors(owner)
    owner.take_lease()  # and so had what the child left behind
    owner.progress.finish()
    owner.session.end(owner.progress.thread_id, owner.env)
    owner.manifest = owner.observed().with_left(survivors, owner.proof())
    end = _told(owner)
    if end is None:
        signs = own_signs(owner)
        _tell_refused(owner)
        wish = None if survivors else wish or _overspent(owner)
        if not (wish or survivors) and turns.is_conversation(owner) and owner.is_to_end:
            wish = owner.asked("between two turns")
        turns.tell(owner, signs, wish)
        if not (wish or survivors or owner.is_to_end):
            following = _next_turn(owner, signs[1])
            waits = owner.manifest.phase is Phase.WAITING and not owner.queue.leaves
            if following is not None or waits:
                return following
        turns.is_over(owner)
        closing = attempts.closing_turn(owner.invocation, owner.manifest)
        if signs[0] is Outcome.SUCCEEDED and wish is None and closing is not None and _is_as_it_was(owner):
            return closing
        judgement = _judged_before(owner) if is_alone else None
        if judgement is None:
            judgement = judge(owner, signs, wish)
            _write_result(owner, judgement, None)  # before the tree is touched: see _judged_before
        known = owner.cleaner().record(attempts.judged(judgement.observed, judgement.checks))
        owner.manifest = owner.manifest.with_last_attempt(**known)
        following = _following(owner, judgement, is_alone=is_alone)
        if following is not None:
            return following
        end = _settle(owner, judgement, is_alone=is_alone)
    _show_result(owner)
    close(owner, Event.ENDED, end, wish)
    return None


def _show_result(owner: Owner) -> None:
    if os.path.exists(owner.run.result):
        artifacts = {**owner.manifest.artifacts, "result": os.path.basename(owner.run.result)}
        owner.manifest = owner.manifest.replace(artifacts=artifacts)


def _ended_with(owner: Owner) -> Reason | None:
    """Why an engine has ended its job, and the agent with it: both get the same signal."""
    if not owner.is_placed:
        return None
    if owner.status != 0:
        owner.tie.linger()
    return owner.asked("as its agent ended") if owner.is_to_end else None


def _next_turn(owner: Owner, reason: Reason) -> NextAttempt | None:
    """The turn that a message begins, after one that ended for `reason`. None without one: then the run is
    judged, unless it waits.
    """
    given = owner.manifest.messages_given
    while owner.invocation.resume_argv is not None and not owner.queue.leaves:
        following = turns.following(owner)
        if following is not None:
            if _may_begin(owner) and _is_as_it_was(owner):
                return following
            owner.queue.close(given, actor=turns.SUPERVISOR, leaves=True)
        elif turns.stays_open(owner, reason):
            if turns.waits(owner):
                return None
        elif owner.queue.close(given, actor=turns.SUPERVISOR):
            break
    return None


def heard(owner: Owner) -> NextAttempt | None:
    """The turn of a run that has waited since `conclude`, where nothing of that has changed; None where
    `conclude` is to say what follows.
    """
    if owner.manifest.phase is not Phase.WAITING or owner.is_to_end or owner.queue.leaves:
        return None
    following = turns.following(owner)
    is_as_before = following is not None and _lacking(owner) is None and other_program(owner) is None
    return following if is_as_before else None


def _lacking(owner: Owner) -> str | None:
    """Why another attempt may not begin."""
    if missing := owner.cleaner().missing:
        return f"the value of {' and '.join(missing)}, which its process had, is not known"
    if owner.shares_tree and not owner.take_lease():
        return "another run may now write in the work tree"
    if owner.manifest.process is not None and not is_here(owner.manifest.process):
        return "the machine or its container was restarted"
    return None


def _may_begin(owner: Owner) -> bool:
    """Whether another attempt may begin; the reason against it is told."""
    if (why := _lacking(owner)) is not None:
        owner.log.note("not_retried", message=why)
    return why is None


def close(owner: Owner, event: Event, end: tuple[Outcome, Reason], wish: Reason | None) -> None:
    """The end of the run, whose runtime has no process any more. `wish`: why we stopped it, if we did."""
    outcome, reason = end
    _close_questions(owner)
    manifest = owner.manifest.replace(children=owner.children.found(), questions_open=0)
    owner.tree.spare(owner.is_notice)
    owner.tree.sweep(min(2.0, owner.invocation.limits.grace_s))
    if manifest.proof is not None:  # checks may have left something behind since
        manifest = manifest.with_left(manifest.survivors or (), owner.proof())
    owner.children.end(owner.env, wish)
    _end(owner, advance(manifest, event, outcome=outcome, reason=owner.redacted(reason)))
    owner.children.end(owner.env, wish)  # a child that has begun since may have seen us between two turns


def fail(owner: Owner, error: Exception) -> None:
    """Our own failure to judge must not leave a run without an end; the unknown is recorded as unknown."""
    if not owner.manifest.is_done:
        _leave_messages(owner)
        text = f"its end could not be judged: {type(error).__name__}: {error}"
        hint = "see supervisor.log in the run's folder"
        reason = owner.redacted(Reason("supervisor_failed", text, hint))
        owner.write(advance(owner.manifest, Event.LOST, outcome=Outcome.LOST, reason=reason))
        owner.log.note(Event.ENDED, outcome=Outcome.LOST, reason=reason.to_json())
        news.ended(owner.run, owner.manifest, owner.notify)
        owner.start_notices(is_last=True)
        owner.witness.end(owner.manifest, owner.found)


def seal(owner: Owner) -> None:
    """Tells of the end, redacts the files in place, and removes the temporary files of the run where it had
    its own.

    The FIFO goes last: if a finished run still has it, this has to be done again.
    """
    withdraw(owner.run.reserve)  # a full disk may need just that
    is_told = not os.path.exists(owner.run.wake_fifo) or _tell_end(owner)
    owner.start_notices(is_last=True)
    is_settled = owner.cleaner().seal(owner.run, owner.log) and is_told
    if owner.invocation.temp is not None:
        temp.remove(owner.invocation.temp)
    if owner.cgroup is not None:
        owner.cgroup.remove()
    if is_settled:
        withdraw(owner.run.wake_fifo)


def _tell_end(owner: Owner) -> bool:
    """Whether nothing of it is still to be told."""
    is_witnessed = owner.witness.end(owner.manifest, owner.found)
    return news.ended(owner.run, owner.manifest, owner.notify) and is_witnessed


# -- from the exit to the verdict ------------------------------------------------------------------


def _overspent(owner: Owner) -> Reason | None:
    """The budget that the attempt has spent without being stopped for it."""
    reason = owner.limits.overspent((tokens(owner.usage()), owner.cost()))
    if reason is not None:
        owner.log.note("limit", code=reason.code, message=reason.message)
    return reason


def _survivors(owner: Owner) -> tuple[Survivor, ...]:
    """Ends what the child left behind, looks again, and says what is still there. The scripted model of a
    rehearsal lives on: another attempt may ask it.
    """
    owner.tree.spare(owner.is_companion)
    left = owner.tree.members()
    if left:
        names = [f"{process.command} ({process.pid})" for process in left]
        owner.log.note("swept", processes=names)
    return survivors_of(owner.tree.sweep(min(2.0, owner.invocation.limits.grace_s)))


def _tell_refused(owner: Owner) -> None:
    """What the program did not let its agent do in this attempt, as its stream says or its stderr."""
    run, last = owner.run, owner.manifest.attempts[-1]
    told = [*owner.progress.refused]
    runtime = runtimes.get(owner.invocation.runtime)
    with contextlib.suppress(OSError), open(run.stderr, "rb", opener=no_hole) as file:
        file.seek(last.stderr_from)
        while len(told) < MOST_REFUSALS and (line := file.readline(_LONGEST_LINE)):
            if (refusal := runtime.refusal(line.decode(errors="replace").rstrip("\r\n"))) is not None:
                told.append(refusal.text)
    if not told:  # as a rule: what follows would be time of a cancel
        return
    if any(e.get("type") == "refused" and e.get("attempt") == last.n for e in read_events(run.events)):
        return  # by an owner before us
    for text in told:
        owner.log.note("refused", attempt=last.n, message=text)


def _close_questions(owner: Owner) -> None:
    run, manifest = owner.run, owner.manifest
    tell = news.question
    owner.children.close_questions(lambda one: tell(run, manifest, owner.cleaner(), one, owner.notify))


def _told(owner: Owner) -> tuple[Outcome, Reason] | None:
    """The end that an earlier owner put into the events but died before writing into the manifest."""
    for event in read_events(owner.run.events):
        if event.get("type") == Event.ENDED:
            try:
                told = EndTold.from_json(event)
            except ValueError:
                continue
            return told.outcome, told.reason
    return None


def _judged_before(owner: Owner) -> Judgement | None:
    """The verdict of an owner before us, who may have changed the tree by it already."""
    found = load(owner.run.result)
    return None if found is None or found.attempt != owner.manifest.attempt else found.judgement


def _write_result(
    owner: Owner, judgement: Judgement, rolled: RolledBack | None, put_back: PutBack | None = None
) -> None:
    owner.found = Record.from_judgement(
        judgement,
        owner.manifest.attempt,
        owner.manifest.conformance,
        declared_checks=len(owner.invocation.verify),
        rolled_back=rolled,
        put_back=put_back,
    )
    try:
        replace_json(owner.run.result, owner.cleaner().record(owner.found.to_json()))
    except OSError as error:
        complain(f"result not written: {error}")


# -- from the verdict to the next attempt, or to the end -------------------------------------------


def _following(owner: Owner, judgement: Judgement, *, is_alone: bool) -> NextAttempt | None:
    """The attempt that follows, if one does; a fresh one begins in the tree as it was."""
    run, invocation, manifest = owner.run, owner.invocation, owner.manifest
    mode = attempts.retry_mode(invocation, manifest, judgement)
    if mode is None or owner.is_to_end or not _may_begin(owner):
        return None
    is_back = False
    following = judgement.verdict.next
    # Of a session that was full the work is of use to the next one, which it would fill as well.
    if mode[0] == "fresh" and following.changes is Fate.ROLL_BACK and following.retry is not Retry.FRESH:
        rolled = _rolled_back(owner, judgement, is_alone=is_alone)
        is_back = rolled is not None and not rolled.amiss
        if rolled is not None and rolled.refused is None:
            tree_helper.set_aside(run, manifest.attempt, owner.env)
    elif not _is_as_it_was(owner):
        return None
    original = read_text(run.prompt if invocation.fresh_argv is None else run.task) or ""
    original = owner.queue.with_given(original, manifest.messages_given)
    return attempts.next_attempt(invocation, manifest, judgement, mode, original, rolled_back=is_back)


def other_program(owner: Owner) -> str | None:
    """What another attempt would run outside of a sandbox, or obey, and an agent may have put there."""
    then = owner.invocation
    if then.program_stamp and programs.stamp(then.program, owner.env) != then.program_stamp:
        return then.program
    if changed := rewritten(then.cwd, then.started):
        return changed[0]
    obeyed = runtimes.get(then.runtime).obeyed(os.path.realpath(then.cwd), owner.env)
    return next(filter(os.path.lexists, obeyed), None)


def _is_as_it_was(owner: Owner) -> bool:
    """False, and told, where nothing is started again: what the attempt has shown is its verdict then."""
    other = other_program(owner)
    if other is not None:
        owner.log.note("not_retried", message=f"{other} is not what it was at the start")
    return other is None


def _settle(owner: Owner, judgement: Judgement, *, is_alone: bool) -> tuple[Outcome, Reason]:
    """The end that the verdict says: the change is taken back if it is to be, which the result then tells."""
    verdict, reason = judgement.verdict, judgement.verdict.reason
    put = _put_back(owner, judgement, is_alone=is_alone)
    if put is not None:
        reason = reason.replace(detail=_of_git(reason.detail or "", put))
    rolled = _rolled_back(owner, judgement, is_alone=is_alone)
    if rolled is not None and rolled.amiss:
        amiss = ", ".join(rolled.amiss[:5])
        reason = reason.replace(message=f"{reason.message}; not all was rolled back: {amiss}")
    before = len(attempts.former(owner.manifest))
    if verdict.outcome is not Outcome.SUCCEEDED and before > 0:
        owner.log.note("escalated", attempts=before + 1, code=verdict.code)
        text = f"{reason.message} (after {before + 1} attempts)"
        reason = reason.replace(message=text, hint=reason.hint or "`runner report RUN` has the evidence")
    if rolled is not None or put is not None:
        _write_result(owner, judgement, rolled, put)
    return verdict.outcome, reason


def _put_back(owner: Owner, judgement: Judgement, *, is_alone: bool) -> PutBack | None:
    """Before the files are rolled back, which is refused where HEAD has moved."""
    if not any(one.code == "policy_violation" and one.severity == "error" for one in judgement.findings):
        return None
    run, may_write = owner.run, owner.take_lease() or not owner.shares_tree
    plans = tree_helper.is_wanted(run, owner.invocation.terms, judgement)
    return tree_helper.put_back(
        run, owner.env, owner.log, may_write=may_write, is_alone=is_alone, plans=plans
    )


def _of_git(detail: str, put: PutBack) -> str:
    """A line for each thing: its old and new value, and what became of it."""
    became = dict.fromkeys(put.put, "put back")
    for one in put.left:  # only a name of a setting may have such a colon itself
        name, _, why = one.rpartition(": ") if one.startswith("config") else one.partition(": ")
        became[name] = f"left: {why}"
    lines = [(line, became.pop(line.partition(": ")[0], None)) for line in detail.splitlines()]
    told = [line if what is None else f"{line}; {what}" for line, what in lines]
    told += [f"{name}: {what}" for name, what in became.items()]
    return "\n".join(and_more(told, _MOST_TOLD) + [f"kept as {name}" for name in put.kept[:_MOST_TOLD]])


def _rolled_back(owner: Owner, judgement: Judgement, *, is_alone: bool) -> RolledBack | None:
    """The result of the rollback; None where the tree stays as it is, or was never recorded."""
    if not tree_helper.is_wanted(owner.run, owner.invocation.terms, judgement):
        return None
    may_write = owner.take_lease()
    return tree_helper.take_back(owner.run, owner.env, owner.log, may_write=may_write, is_alone=is_alone)


def _with_way_on(reason: Reason, plan: Json, task: str) -> Reason:
    """How a plan is resumed whose conductor could not tell that."""
    hint = reason.hint or ""
    if "--resume" in hint or not plan["left"]:
        return reason
    from runner.state.plan_ledger import way_on  # no other end needs it

    way = f"`{way_on(plan['file'], task)}` goes on with it"
    said = hint.replace("start it again", way)
    return reason.replace(hint=said if way in said else "; ".join(filter(None, (hint, way))))


def _leave_messages(owner: Owner) -> None:
    """What was sent and not given to the agent is told, and nothing is sent to the run any more."""
    given = owner.manifest.messages_given
    if owner.invocation.resume_argv is None:
        return
    owner.queue.close(given, actor=turns.SUPERVISOR, leaves=True)
    if left := owner.queue.pending(given):
        owner.log.note("undelivered", messages=[one.id for one in left])


# -- the end ---------------------------------------------------------------------------------------


def _end(owner: Owner, manifest: Manifest) -> None:
    owner.leave_lease()
    _leave_messages(owner)
    owner.limits.go_on()
    waited_s = round(owner.limits.waited_s, 3)
    manifest = manifest.replace(messages_queued=0, waiting_seconds=waited_s, waiting_uptime=None)
    reason = manifest.reason
    assert reason is not None
    if (plan := owner.plan(is_over=True)) is not None:
        plan = owner.cleaner().record(plan)
        reason = _with_way_on(reason, plan, manifest.task_id)
        manifest = manifest.replace(plan=plan, reason=reason)
    if _told(owner) is None:
        owner.log.note(
            Event.ENDED,
            at=manifest.ended_at,  # one time for both: a manifest may have to be made again from the events
            outcome=manifest.outcome,
            reason=reason.to_json(),
            lines_unread=owner.progress.lines_unread,
        )
    owner.witness.end(manifest, owner.found)
    for n in range(_DISK_FULL_TRIES):
        if owner.write(manifest):
            break
        time.sleep(min(5.0, 0.1 * 2**n))
    seal(owner)
