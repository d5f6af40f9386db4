"""How a run ends: what was seen becomes an outcome, then the files are sealed. Edge: disk.

The order matters. The true exit status is written first, so that no later crash can lose it; then our checks
run; then the terminal manifest; and only then, with nobody waiting any more, the files are sealed.
"""

from __future__ import annotations

import errno
import os
import time

from runner import runtimes
from runner.executors.processes import command_line
from runner.model import Invocation, Outcome, Phase, Reason
from runner.runtimes.base import End
from runner.state.events import EventLog, complain, read
from runner.state.files import read_text, replace_bytes
from runner.state.lifecycle import Event
from runner.state.manifest import Manifest, Survivor, advance, timestamp
from runner.state.store import RunDir
from runner.supervise.progress import Progress, tail
from runner.verify import judge, run_check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.executors.tree import Tree
    from runner.redact import Redactor
    from runner.supervise.family import Family

_MESSAGE_KEPT = 16 * 1024
_DISK_FULL_TRIES = 60
_FULL_BYTES = 64 * 1024

_STOPPED: Mapping[str, Outcome] = {
    "cancelled": Outcome.CANCELLED,
    "timeout": Outcome.TIMED_OUT,
    "stalled": Outcome.TIMED_OUT,
    "no_first_event": Outcome.TIMED_OUT,
    "question_expired": Outcome.FAILED,
}
"""The wish behind a stop decides the outcome, whatever the child did of itself meanwhile."""


class Ending:
    """Turns what is known about a run whose process has ended into its terminal manifest."""

    def __init__(
        self,
        run: RunDir,
        invocation: Invocation,
        log: EventLog,
        progress: Progress,
        family: Family,
    ) -> None:
        self._run = run
        self._invocation = invocation
        self._log = log
        self._progress = progress
        self._family = family

    def lose(self, manifest: Manifest, verdict: tuple[Outcome, Reason]) -> None:
        """Writes an end that nobody saw."""
        outcome, reason = verdict
        self._progress.finish()
        self._family.close_questions()
        event = Event.LOST if outcome is Outcome.LOST else Event.START_FAILED
        seen = self.observed(manifest, os.environ).replace(questions_open=0)
        self._end(advance(seen, event, outcome=outcome, reason=reason), os.environ)

    def conclude(
        self,
        manifest: Manifest,
        tree: Tree,
        status: int | None,
        env: Mapping[str, str],
    ) -> None:
        """From the exit of the process to the end of the run."""
        wish = manifest.reason  # only a stop that was asked for has written one by now
        if manifest.phase is not Phase.VERIFYING:
            manifest = self._exited(manifest, status)
        survivors = self._survivors(tree)
        self._family.close_questions()
        self._progress.finish()
        seen = self.observed(manifest, env)
        manifest = seen.replace(survivors=survivors, children=self._family.children(), questions_open=0)
        if (told := self._told()) is not None:
            outcome, reason = told
        elif survivors:
            names = ", ".join(f"{s.command} ({s.pid})" for s in survivors)
            outcome, reason = Outcome.FAILED, Reason("survivors", f"could not be ended: {names}")
        elif wish is not None:
            outcome, reason = _STOPPED[wish.code], wish
        else:
            outcome, reason = self._judge(manifest, env)
            if outcome is Outcome.SUCCEEDED and self._invocation.verify:
                outcome, reason = self._verify(tree, env, outcome, reason)
        reason = self.redacted(reason, env)
        self._family.end(env, wish)
        self._end(advance(manifest, Event.ENDED, outcome=outcome, reason=reason), env)

    def fail(self, manifest: Manifest, error: Exception) -> None:
        """Our own failure to conclude must not leave a run without an end; what is unknown is said so."""
        if not manifest.is_done:
            text = f"its end could not be concluded: {type(error).__name__}: {error}"
            hint = "the whole report is in supervisor.log in the run's folder"
            reason = Reason("supervisor_failed", text, hint)
            self._persist(advance(manifest, Event.LOST, outcome=Outcome.LOST, reason=reason))
            self._log.note(Event.ENDED, outcome=Outcome.LOST, reason=reason.to_json())

    def _survivors(self, tree: Tree) -> tuple[Survivor, ...]:
        """Ends what the child left behind, looks again, and says what is still there."""
        left = [process for process in tree.members() if not self._is_companion(process.pid)]
        if left:
            names = [f"{process.command} ({process.pid})" for process in left]
            self._log.note("swept", processes=names)
        alive = tree.sweep(min(2.0, self._invocation.limits.grace_s))
        return tuple(Survivor(p.pid, p.start_time, p.command) for p in alive)

    def _is_companion(self, pid: int) -> bool:
        rehearsal = self._invocation.rehearsal
        if rehearsal is None:
            return False
        begin = command_line(pid)[: len(rehearsal.argv)]
        return begin == list(rehearsal.argv)

    def _exited(self, manifest: Manifest, status: int | None) -> Manifest:
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
        """The manifest with what the stream has told so far, redacted and fit for a terminal."""
        from runner.redact import clean_terminal

        seen, redactor = self._progress, self._redactor(env)
        changes: dict[str, object] = {"updated_at": timestamp()}
        if seen.thread_id is not None:
            changes["thread_id"] = clean_terminal(seen.thread_id)
        if seen.usage is not None:
            changes["usage"] = seen.usage
        if seen.last_message is not None:
            changes["last_message"] = _shortened(redactor.redact_text(clean_terminal(seen.last_message)))
        if seen.last_activity is not None:
            changes["last_activity"] = redactor.redact_text(clean_terminal(seen.last_activity))
        return manifest.replace(**changes)

    def _judge(self, manifest: Manifest, env: Mapping[str, str]) -> tuple[Outcome, Reason]:
        runtime = runtimes.get(self._invocation.runtime)
        seen = self._progress
        end = End(
            exit_code=manifest.exit_code,
            signal=manifest.signal,
            turn=seen.turn,
            failure=seen.failure or seen.last_error,
            last_message=self._last_message(),
            any_event=seen.any_event,
            stderr_tail=tail(self._run.stderr),
        )
        outcome, reason = runtime.conclude(end)
        rehearsal = self._invocation.rehearsal
        if rehearsal is not None and rehearsal.script is not None:
            from runner.rehearsal.playback import note

            unheard = note(rehearsal.script, self._run.rehearsal_log)
            if unheard is not None:
                reason = reason.replace(message=f"{reason.message}; {unheard}")
        if outcome is not Outcome.SUCCEEDED and _is_full(self._run.path):
            text = f"the disk of the run's folder is full ({reason.code}: {reason.message})"
            return outcome, Reason("disk_full", text, "free some space and start again", reason.detail)
        return outcome, reason

    def _last_message(self) -> str | None:
        """The last message of the stream, written to its file; else what the program itself wrote there.

        The stream comes first: its file was opened by us before the child ran, the other one lies open to it.
        """
        path, text = self._run.last_message, self._progress.last_message
        if text is None:
            return read_text(path)
        try:
            replace_bytes(path, text.encode(errors="replace"))
        except OSError as error:
            complain(f"last message not written: {error}")
        return text

    def _verify(
        self, tree: Tree, env: Mapping[str, str], outcome: Outcome, reason: Reason
    ) -> tuple[Outcome, Reason]:
        checks = []
        for n, argv in enumerate(self._invocation.verify, 1):
            check = run_check(
                argv,
                cwd=self._invocation.cwd,
                env=env,
                log=f"{self._run.path}/verify-{n}.log",
                timeout_s=self._invocation.verify_timeout_s,
                sweep=lambda: tree.sweep(1.0),
                cancelled=self._is_cancelled,
            )
            checks.append(check)
            self._log.note("checked", **self._plain(check.to_json(), env))
            if self._is_cancelled():
                return Outcome.CANCELLED, Reason("cancelled", "cancelled while it was verified")
            if not check.passed:
                break
        return judge(checks) or (outcome, reason)

    def _is_cancelled(self) -> bool:
        return any(intent.get("kind") == "cancel" for _, intent in self._run.intents())

    def _told(self) -> tuple[Outcome, Reason] | None:
        """The end that an owner before us has told the events, and did not live to write down."""
        for event in read(self._run.events):
            if event.get("type") == Event.ENDED:
                try:
                    return Outcome(event["outcome"]), Reason(**event["reason"])
                except (KeyError, TypeError, ValueError):
                    continue
        return None

    def _end(self, manifest: Manifest, env: Mapping[str, str]) -> None:
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

    def seal(self, env: Mapping[str, str]) -> None:
        """Redacts the files in place. They were 0600 in a 0700 folder all the time.

        The FIFO goes last: where it is left of a run that is done, somebody has to do this again.
        """
        self._redact_files(env)
        for path in (self._run.reserve, self._run.wake_fifo):
            try:
                os.unlink(path)
            except OSError:
                pass

    def _redact_files(self, env: Mapping[str, str]) -> None:
        from runner.redact import seal

        redactor = self._redactor(env)
        count = 0
        names = sorted(name for name in os.listdir(self._run.path) if name.endswith(_SEALED))
        for name in (*names, *self._questions()):
            path = f"{self._run.path}/{name}"
            try:
                os.chmod(path, 0o600, follow_symlinks=False)
            except (OSError, NotImplementedError):
                pass
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            try:
                count += seal(path, redactor)
            except OSError as error:
                self._log.note("seal_failed", file=name, message=str(error.strerror))
        self._log.note("sealed", redactions=count)

    def _questions(self) -> list[str]:
        folder = os.path.basename(self._run.questions)
        try:
            return [f"{folder}/{name}" for name in sorted(os.listdir(self._run.questions))]
        except OSError:
            return []

    def _redactor(self, env: Mapping[str, str]) -> Redactor:
        from runner.redact import Redactor

        names = self._invocation.secret_names
        return Redactor(value for name in names if (value := env.get(name)))

    def redacted(self, reason: Reason, env: Mapping[str, str]) -> Reason:
        return Reason(**self._plain(reason.to_json(), env))

    def _plain(self, data: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
        from runner.redact import clean_terminal

        redactor = self._redactor(env)
        return {
            name: redactor.redact_text(clean_terminal(value)) if isinstance(value, str) else value
            for name, value in data.items()
        }

    def _persist(self, manifest: Manifest) -> bool:
        try:
            self._run.write_manifest(manifest)
        except OSError as error:
            complain(f"manifest not written: {error}")
            if error.errno == errno.ENOENT:
                raise
            return False
        return True


_SEALED = (".jsonl", ".log", ".md")


def _is_full(path: str) -> bool:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize < _FULL_BYTES


def _shortened(text: str) -> str:
    """The whole text stays in last-message.md."""
    return text if len(text) <= _MESSAGE_KEPT else text[:_MESSAGE_KEPT] + " [...]"
