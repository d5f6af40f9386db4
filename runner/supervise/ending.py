"""The end of a run or attempt: the evidence becomes an outcome, then the files are sealed. Edge: disk.

The order matters. The true exit status is written first, so that no later crash can lose it. Then the attempt
is judged, and another one begins or the terminal manifest is written. Last, when nobody waits any more, the
files are sealed.
"""

from __future__ import annotations

import errno
import os
import time

from runner import runtimes
from runner.disk.files import read_text, replace_bytes, replace_json
from runner.invocation import Invocation
from runner.model import Conformance, Outcome, Phase, Reason
from runner.processes.proc import command_line
from runner.runtimes.base import End
from runner.state.events import EventLog, complain, read_events
from runner.state.lifecycle import Event
from runner.state.manifest import CLOSING, Manifest, Survivor, advance, timestamp
from runner.state.store import RunDir
from runner.supervise import attempts, planned, tree_helper
from runner.supervise.attempts import NextAttempt
from runner.supervise.judging import Judge
from runner.supervise.limits import LimitMonitor, is_full
from runner.supervise.progress import Progress, tail
from runner.supervise.sealing import Cleaner
from runner.verify.evidence import Fate
from runner.verify.record import Record, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.processes.proc import Process
    from runner.processes.tree import Tree
    from runner.supervise.children import Children
    from runner.verify.judgement import Judgement
    from runner.verify.record import RolledBack

_MESSAGE_KEPT = 16 * 1024
_DISK_FULL_TRIES = 60


class Ending:
    """Turns what is known about an attempt whose process has ended into the next one, or into the end."""

    def __init__(
        self,
        run: RunDir,
        invocation: Invocation,
        log: EventLog,
        progress: Progress,
        children: Children,
        limits: LimitMonitor,
        lease_fd: int | None,
    ) -> None:
        self.lease_fd = lease_fd
        self._run = run
        self._invocation = invocation
        self._log = log
        self._progress = progress
        self._children = children
        self._limits = limits

    def lose(self, manifest: Manifest, verdict: tuple[Outcome, Reason]) -> None:
        """Writes an end that nobody saw."""
        outcome, reason = verdict
        self._progress.finish()
        self._children.close_questions()
        event = Event.LOST if outcome is Outcome.LOST else Event.START_FAILED
        seen = self.observed(manifest, os.environ).replace(questions_open=0)
        self._end(advance(seen, event, outcome=outcome, reason=reason), os.environ)

    def conclude(
        self,
        manifest: Manifest,
        tree: Tree,
        status: int | None,
        env: Mapping[str, str],
        *,
        is_alone: bool = False,
    ) -> NextAttempt | None:
        """From the exit of the process to the end of the run, or to the attempt that is to follow.

        `is_alone`: an owner before us may have judged it already, and others may have worked there since.
        """
        self._is_alone = is_alone
        wish = manifest.reason  # only a stop that was asked for has written one by now
        if manifest.phase is not Phase.VERIFYING:
            manifest = self.exited(manifest, status)
        survivors = self._survivors(tree)
        self._progress.finish()
        self._limits.session.end(self._progress.thread_id, env)
        manifest = self.observed(manifest, env).replace(survivors=survivors)
        told = self._told()
        if told is None:
            end = self._concluded(manifest, survivors)
            wish = None if survivors else wish
            closing = attempts.closing(self._invocation, manifest)
            if end[0] is Outcome.SUCCEEDED and wish is None and closing is not None:
                return closing
            judgement = self._judged_before(manifest) or self._judge(manifest, end, wish, tree, env)
            plan = self._plan(manifest, judgement, env)
            if plan is not None:
                return plan
            told = self._settle(manifest, judgement, env)
        if os.path.exists(self._run.result):
            name = os.path.basename(self._run.result)
            manifest = manifest.replace(artifacts={**manifest.artifacts, "result": name})
        self.close(manifest, Event.ENDED, told, wish, tree, env)
        return None

    def close(
        self,
        manifest: Manifest,
        event: Event,
        end: tuple[Outcome, Reason],
        wish: Reason | None,
        tree: Tree,
        env: Mapping[str, str],
    ) -> None:
        """The end of the run, whose runtime has no process any more."""
        outcome, reason = end
        self._children.close_questions()
        manifest = manifest.replace(children=self._children.found(), questions_open=0)
        tree.spare(lambda process: False)
        tree.sweep(min(2.0, self._invocation.limits.grace_s))
        self._children.end(env, wish)
        self._end(advance(manifest, event, outcome=outcome, reason=self.redacted(reason, env)), env)

    def fail(self, manifest: Manifest, error: Exception) -> None:
        """Our own failure to conclude must not leave a run without an end; what is unknown is said so."""
        if not manifest.is_done:
            text = f"its end could not be judged: {type(error).__name__}: {error}"
            hint = "see supervisor.log in the run's folder"
            reason = Reason("supervisor_failed", text, hint)
            self._persist(advance(manifest, Event.LOST, outcome=Outcome.LOST, reason=reason))
            self._log.note(Event.ENDED, outcome=Outcome.LOST, reason=reason.to_json())

    # -- what is left, what was seen ---------------------------------------------------------------

    def _survivors(self, tree: Tree) -> tuple[Survivor, ...]:
        """Ends what the child left behind, looks again, and says what is still there. The scripted model of a
        rehearsal lives on: another attempt may ask it.
        """
        tree.spare(self.is_companion)
        left = tree.members()
        if left:
            names = [f"{process.command} ({process.pid})" for process in left]
            self._log.note("swept", processes=names)
        alive = tree.sweep(min(2.0, self._invocation.limits.grace_s))
        return tuple(Survivor(p.pid, p.start_time, p.command) for p in alive)

    def is_companion(self, process: Process) -> bool:
        """Whether it is the scripted model of a rehearsal."""
        rehearsal = self._invocation.rehearsal
        if rehearsal is None:
            return False
        begin = command_line(process.pid)[: len(rehearsal.argv)]
        return begin == list(rehearsal.argv)

    def exited(self, manifest: Manifest, status: int | None) -> Manifest:
        """The manifest with the true exit, which is on disk before anything else is done."""
        code = None if status is None else os.waitstatus_to_exitcode(status)
        exit_code = code if code is not None and code >= 0 else None
        signal = -code if code is not None and code < 0 else None
        *former, last = manifest.attempts
        seen = {"ended_at": timestamp(), "exit_code": exit_code, "signal": signal}
        manifest = advance(
            manifest,
            Event.EXITED,
            exit_code=exit_code,
            signal=signal,
            attempts=(*former, last.replace(**seen)),
        )
        self._persist(manifest)
        self._log.note(Event.EXITED, exit_code=exit_code, signal=signal)
        return manifest

    def observed(self, manifest: Manifest, env: Mapping[str, str]) -> Manifest:
        """The manifest with what the stream and the program's own record have told so far, redacted."""
        seen, cleaner = self._progress, self._cleaner(env)
        changes: dict[str, object] = {"updated_at": timestamp()}
        if seen.thread_id is not None:
            changes["thread_id"] = cleaner.text(seen.thread_id)
        usage = self._limits.usage(manifest, seen)
        if usage is not None:
            changes["usage"] = usage
        if manifest.attempts:
            *former, last = manifest.attempts
            own = self._limits.newest(seen)
            last = last.replace(thread_id=changes.get("thread_id", last.thread_id), usage=own or last.usage)
            changes["attempts"] = (*former, last)
            if seen.last_message is not None and last.how != CLOSING:
                changes["last_message"] = _shortened(cleaner.text(seen.last_message))
        if self._limits.session.contexts:
            told = self._limits.conformance().to_json()
            changes["conformance"] = Conformance.from_json(cleaner.record(told))
        if seen.last_activity is not None:
            changes["last_activity"] = cleaner.text(seen.last_activity)
        if (plan := planned.shown(self._run, self._invocation)) is not None:
            changes["plan"] = cleaner.record(plan)
        return manifest.replace(**changes)

    # -- judging -----------------------------------------------------------------------------------

    def _concluded(self, manifest: Manifest, survivors: tuple[Survivor, ...]) -> tuple[Outcome, Reason]:
        """What the program's own signs say."""
        if survivors:
            names = ", ".join(f"{s.command} ({s.pid})" for s in survivors)
            return Outcome.FAILED, Reason("survivors", f"could not be ended: {names}")
        seen = self._progress
        end = End(
            exit_code=manifest.exit_code,
            signal=manifest.signal,
            turn=seen.turn,
            failure=seen.failure or seen.last_error,
            last_message=self._last_message(manifest),
            any_event=seen.any_event,
            stderr_tail=tail(self._run.stderr, start=manifest.attempts[-1].stderr_from),
        )
        outcome, reason = runtimes.get(self._invocation.runtime).conclude(end)
        rehearsal = self._invocation.rehearsal
        if rehearsal is not None and rehearsal.script is not None:
            from runner.rehearsal.script import unplayed

            unheard = unplayed(rehearsal.script, self._run.rehearsal_log)
            if unheard is not None:
                reason = reason.replace(message=f"{reason.message}; {unheard}")
        if outcome is not Outcome.SUCCEEDED and is_full(self._run.path):
            text = f"the disk of the run's folder is full ({reason.code}: {reason.message})"
            return outcome, Reason("disk_full", text, "free some space and start again", reason.detail)
        return outcome, reason

    def _last_message(self, manifest: Manifest) -> str | None:
        """The last message of the stream, written to its file; else what the program itself wrote there.

        The stream comes first: its file was opened by us before the child ran, the other one lies open to it.
        """
        path, text = self._run.last_message, self._progress.last_message
        if manifest.attempts[-1].how == CLOSING:
            return text  # the last words on the work stay where they are
        if text is None:
            return read_text(path)
        try:
            replace_bytes(path, text.encode(errors="replace"))
        except OSError as error:
            complain(f"last message not written: {error}")
        return text

    def _judge(
        self,
        manifest: Manifest,
        end: tuple[Outcome, Reason],
        wish: Reason | None,
        tree: Tree,
        env: Mapping[str, str],
    ) -> Judgement:
        judge = Judge(self._run, self._invocation, self._log, self._cleaner(env).record, self.is_cancelled)
        message = self._progress.last_message
        if message is None:
            message = read_text(self._run.last_message)
        judgement = judge.judge(manifest, end, message, wish, self._limits.conformance(), tree, env)
        self._write_result(manifest, judgement, None, env)  # before the tree is touched: see _judged_before
        return judgement

    def _judged_before(self, manifest: Manifest) -> Judgement | None:
        """The verdict of an owner before us, who may have changed the tree by it already."""
        if not self._is_alone:
            return None
        found = load(self._run.result)
        return None if found is None or found.attempt != manifest.attempt else found.judgement

    def _plan(self, manifest: Manifest, judgement: Judgement, env: Mapping[str, str]) -> NextAttempt | None:
        """The attempt that follows, if one does; a fresh one begins in the tree as it was."""
        how = attempts.again(self._invocation, manifest, judgement)
        if how is None or self.is_cancelled():
            return None
        is_back = False
        if how[0] == "fresh" and judgement.verdict.next.changes is Fate.ROLL_BACK:
            rolled = self._rolled_back(manifest, judgement, env)
            is_back = rolled is not None and not rolled.amiss
            if rolled is not None and rolled.refused is None:
                tree_helper.set_aside(self._run, manifest.attempt, env)
        original = read_text(self._run.prompt) or ""
        return attempts.plan(self._invocation, manifest, judgement, how, original, rolled_back=is_back)

    def _settle(
        self, manifest: Manifest, judgement: Judgement, env: Mapping[str, str]
    ) -> tuple[Outcome, Reason]:
        """The end that the verdict says: the change is taken back if it is to be, and the result written."""
        verdict, reason = judgement.verdict, judgement.verdict.reason
        rolled = None
        if verdict.outcome is not Outcome.SUCCEEDED and verdict.next.changes is Fate.ROLL_BACK:
            rolled = self._rolled_back(manifest, judgement, env)
            if rolled is not None and rolled.amiss:
                reason = reason.replace(
                    message=f"{reason.message}; not all was rolled back: {', '.join(rolled.amiss[:5])}"
                )
        if verdict.outcome is not Outcome.SUCCEEDED and len(attempts.former(manifest)) > 0:
            self._log.note("escalated", attempts=manifest.attempt, code=verdict.code)
            text = f"{reason.message} (after {len(attempts.former(manifest)) + 1} attempts)"
            reason = reason.replace(message=text, hint=reason.hint or "`runner report RUN` has the evidence")
        self._write_result(manifest, judgement, rolled, env)
        return verdict.outcome, reason

    def _write_result(
        self, manifest: Manifest, judgement: Judgement, rolled: RolledBack | None, env: Mapping[str, str]
    ) -> None:
        declared = len(self._invocation.verify)
        result = Record.from_judgement(
            judgement, manifest.attempt, manifest.conformance, declared_checks=declared, rolled_back=rolled
        )
        try:
            replace_json(self._run.result, self._cleaner(env).record(result.to_json()))
        except OSError as error:
            complain(f"result not written: {error}")

    def _rolled_back(
        self, manifest: Manifest, judgement: Judgement, env: Mapping[str, str]
    ) -> RolledBack | None:
        """What became of the tree; None where it is to stay as it is, or was never recorded."""
        if not tree_helper.is_wanted(self._run, self._invocation.terms, judgement):
            return None
        if self.lease_fd is None:
            self.lease_fd = tree_helper.hold(manifest)
        may_write = self.lease_fd is not None
        return tree_helper.take_back(self._run, env, self._log, may_write=may_write, is_alone=self._is_alone)

    def is_cancelled(self) -> bool:
        """Whether somebody wants it so while nothing of the runtime runs."""
        return any(intent.get("kind") == "cancel" for _, intent in self._run.intents())

    def _told(self) -> tuple[Outcome, Reason] | None:
        """The end that an owner before us has told the events, and did not live to write down."""
        for event in read_events(self._run.events):
            if event.get("type") == Event.ENDED:
                try:
                    return Outcome(event["outcome"]), Reason(**event["reason"])
                except (KeyError, TypeError, ValueError):
                    continue
        return None

    # -- the end -----------------------------------------------------------------------------------

    def _end(self, manifest: Manifest, env: Mapping[str, str]) -> None:
        self._leave_tree()
        if (plan := planned.shown(self._run, self._invocation, is_over=True)) is not None:
            manifest = manifest.replace(plan=self._cleaner(env).record(plan))
        assert manifest.reason is not None
        if self._told() is None:
            self._log.note(
                Event.ENDED,
                outcome=manifest.outcome,
                reason=manifest.reason.to_json(),
                lines_unread=self._progress.lines_unread,
            )
        for n in range(_DISK_FULL_TRIES):
            if self._persist(manifest):
                break
            time.sleep(min(5.0, 0.1 * 2**n))
        self.seal(env)

    def _leave_tree(self) -> None:
        """Who waits for the end of this run may want to write there at once."""
        if self.lease_fd is not None:
            os.close(self.lease_fd)
            self.lease_fd = None

    def seal(self, env: Mapping[str, str]) -> None:
        """Redacts the files in place.

        The FIFO goes last: where it is left of a run that is done, somebody has to do this again.
        """
        self._cleaner(env).seal(self._run, self._log)
        for path in (self._run.reserve, self._run.wake_fifo):
            try:
                os.unlink(path)
            except OSError:
                pass

    def _cleaner(self, env: Mapping[str, str]) -> Cleaner:
        return Cleaner(self._invocation.secret_names, env)

    def redacted(self, reason: Reason, env: Mapping[str, str]) -> Reason:
        return Reason(**self._cleaner(env).record(reason.to_json()))

    def _persist(self, manifest: Manifest) -> bool:
        try:
            self._run.write_manifest(manifest)
        except OSError as error:
            complain(f"manifest not written: {error}")
            if error.errno == errno.ENOENT:
                raise
            return False
        return True


def _shortened(text: str) -> str:
    """The whole text stays in last-message.md."""
    return text if len(text) <= _MESSAGE_KEPT else text[:_MESSAGE_KEPT] + " [...]"
