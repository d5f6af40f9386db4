"""The supervisor: holds a run's lock, watches its process to the end, acts on intents, enforces the limits.

It does not relay data: the child writes its own files. It sleeps in poll(2) on the child's pidfd and the wake
FIFO, and checks the size of two files four times a second, once a second when all is quiet.
Edges: disk and processes.
"""

from __future__ import annotations

import os
import select
import time

from runner import runtimes
from runner.disk.files import withdraw
from runner.errors import ManifestBroken, RunNotFound
from runner.model import Identity, Outcome, Phase, Reason
from runner.processes import spawn
from runner.processes.proc import age, boottime, environment, find_process, identify, open_pidfd
from runner.processes.tree import Tree
from runner.state.events import EventLog, complain
from runner.state.lifecycle import Event
from runner.state.manifest import Manifest, advance, parse_timestamp
from runner.state.store import RunDir, actor_of, is_due
from runner.supervise import takeover, tree_helper
from runner.supervise.begin import report_looked
from runner.supervise.children import Children
from runner.supervise.ending import Ending
from runner.supervise.limits import LimitMonitor
from runner.supervise.progress import Progress, Timeline
from runner.supervise.recover import cancelled
from runner.supervise.renewal import begin_again
from runner.supervise.takeover import Action, verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.model import Json
    from runner.state.questions import Question
    from runner.supervise.attempts import NextAttempt

TICK_S = 0.25
_QUIET_TICK_S = 1.0
_LIVELY_S = 5.0
_REFRESH_S = 1.0
_FREEZE_S = 10.0


class Supervisor:
    """The owner of one run; everything that changes its manifest happens here or in its Ending."""

    def __init__(self, run: RunDir, lease_fd: int | None = None) -> None:
        self.run = run
        self.lease_fd = lease_fd
        """The right to write in the run's work tree, where it shares one."""
        self.invocation = run.read_invocation()
        self.log = EventLog(run.events)
        self.manifest, self._is_rebuilt = takeover.read(run, self.invocation, self.log)
        self._runtime = runtimes.get(self.invocation.runtime)
        self.limits = LimitMonitor(run, self.invocation, self.log, self._runtime, self.manifest)
        self.progress = self._new_progress()
        self._errors = Progress(run.stderr, None)
        self._timeline = Timeline(run.timeline)
        self._status: int | None = None
        """Wait status of the child, once we as its parent have seen it."""
        self._is_parent = identify(os.getpid()) == self.manifest.supervisor
        self._paused_since: float | None = None
        self._obeying: str | None = None
        self._noticed: dict[str, int] = {}
        """How many tool calls had ended when an intent was first seen."""
        self._child_env: Mapping[str, str] = {}
        self._paused_s = self.manifest.paused_seconds
        self.children = Children(run, self.invocation, self.log)
        self._last_life = time.monotonic()
        self._last_refresh = 0.0
        self._is_behind = False
        self._shown: tuple[object, ...] = ()

    def own(self, ready_fd: int | None) -> None:
        """From taking over (at once after the start, or later) to the end of the run."""
        action, self.manifest = takeover.look(self.run, self.invocation, self.manifest)
        ending = self.ending()
        if action is Action.NOTHING:
            if self._is_rebuilt:
                self.progress.finish()
                self._write(ending.observed(self.manifest, self.environment()))
            report_looked(ready_fd)
            if os.path.exists(self.run.wake_fifo):
                ending.seal(self.environment())  # its owner ended in the middle of it
            return
        if action in (Action.LOSE, Action.NEVER_STARTED):
            if self.manifest.process is None and (me := identify(os.getpid())) is not None:
                # What was started and never written down carries our marker.
                Tree(self.run.run_id, me, reap=self._reap).sweep(1.0)
            process_known = self.manifest.process is not None
            ending.lose(self.manifest, verdict(action, self.manifest.phase, process_known=process_known))
            report_looked(ready_fd)
            return
        assert self.manifest.process is not None
        self.tree = self._new_tree(self.manifest.process)
        spawn.become_subreaper()
        self._take_over()
        is_alone = action is Action.CONCLUDE  # nobody watched the tree since its child had ended
        if is_alone and self.manifest.phase is not Phase.VERIFYING:
            self._reap()
            self.manifest = self.ending().exited(self.manifest, self._status)
        assert self.manifest.process is not None
        if not is_alone or self.invocation.verify:
            report_looked(ready_fd)  # checks may take long, and whoever looked sees them going on
            ready_fd = None
        if not is_alone:
            if action is Action.KEEP_STOPPING:
                self._stop(self.invocation.limits.grace_s)
            self._watch(self.manifest.process)
        try:
            while (plan := self.conclude(is_alone=is_alone)) is not None:
                is_alone = False
                report_looked(ready_fd)
                ready_fd = None
                if not begin_again(self, plan):
                    return
                self._watch(self.manifest.process)
        except Exception as error:
            self.ending().fail(self.run.read_manifest(), error)
            raise
        finally:
            report_looked(ready_fd)

    def conclude(self, *, is_alone: bool = False) -> NextAttempt | None:
        """What follows the attempt whose process has ended; None is the end, which is written then.

        `is_alone`: it had ended before this owner came, and the tree was nobody's since.
        """
        self._reap()
        if self.lease_fd is None:
            self.lease_fd = tree_helper.hold(self.manifest)  # the child had it for as long as it lived
        env = self.environment()
        ending = self.ending()
        following = ending.conclude(self.manifest, self.tree, self._status, env, is_alone=is_alone)
        # What the child left behind had the lease too, and has been ended by now.
        self.lease_fd = ending.lease_fd
        if following is not None and self.lease_fd is None:
            self.lease_fd = tree_helper.hold(self.manifest)
        return following

    def attend(self, manifest: Manifest) -> None:
        """The process of another attempt is there, as `manifest` says: from now on it is the run's."""
        assert manifest.process is not None
        self._write(manifest)
        self._status = None
        self._last_life = time.monotonic()
        self.limits.begin_again(thread=manifest.attempts[-1].how == "fresh")
        self.progress = self._new_progress()
        self.tree = self._new_tree(manifest.process)

    def finish(self, event: Event, outcome: Outcome, reason: Reason) -> None:
        """The end between two attempts."""
        env = self.environment()
        self.ending().close(self.manifest, event, (outcome, reason), reason, self.tree, env)

    def _new_progress(self) -> Progress:
        start = self.manifest.attempts[-1].stdout_from if self.manifest.attempts else 0
        return Progress(self.run.stdout, self._runtime, lambda one: self.limits.signals.note(one), start)

    def _new_tree(self, process: Identity) -> Tree:
        return Tree(self.run.run_id, process, reap=self._reap, is_whole=self._is_parent)

    def ending(self) -> Ending:
        """With what is known by now."""
        return Ending(
            self.run, self.invocation, self.log, self.progress, self.children, self.limits, self.lease_fd
        )

    def environment(self) -> Mapping[str, str]:
        """That of the child, for redaction and checks.

        Who started it has the same. Who took over has that of whoever looked at the run last, with names that
        the child never got and without values that it has: the child's own counts, as long as it lives.
        """
        process = self.manifest.process
        child = {} if process is None or find_process(process) is None else environment(process.pid)
        self._child_env = child or self._child_env
        if self._is_parent:
            return os.environ
        names = self.invocation.env_names
        ours = {name: os.environ[name] for name in names if name in os.environ}
        return {**ours, **self.invocation.env_set, **self._child_env}

    # -- taking over ---------------------------------------------------------------------------

    def _take_over(self) -> None:
        me = identify(os.getpid())
        former = self.manifest.supervisor
        self.children.begin(is_new=self._is_parent)
        if self._is_parent:
            return
        self.environment()
        if self.manifest.paused_at is not None:
            since = max(0.0, time.time() - parse_timestamp(self.manifest.paused_at))
            self._paused_since = boottime() - since
        self._write(self.manifest.replace(supervisor=me))
        self.log.note("adopted", former=None if former is None else former.to_json())
        self.lease_fd = tree_helper.hold(self.manifest)
        self.progress.grown()
        self._is_behind = self.progress.read()

    # -- watching ------------------------------------------------------------------------------

    def _watch(self, process: Identity) -> None:
        """Until the child has ended. A pidfd tells, never the end of its output."""
        found = find_process(process)
        pidfd = None if found is None else open_pidfd(found)
        if pidfd is None:
            self._reap()
            return
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        wake = self.run.open_wake()
        if wake is not None:
            poll.register(wake, select.POLLIN)
        while True:
            quiet_s = time.monotonic() - self._last_life
            tick_s = TICK_S if quiet_s < _LIVELY_S else _QUIET_TICK_S
            ready = dict(poll.poll(0 if self._is_behind else tick_s * 1000))
            if pidfd in ready:
                break
            if wake is not None and wake in ready:
                _drain(wake)
            self._obey()
            self._observe()
            self._enforce()
            # While there is time: the end needs them at once.
            import runner.redact.redactor
            import runner.redact.seal  # noqa: F401
        if self.progress.grown():
            self._timeline.note(self.progress.size)
        for fd in (pidfd, wake):
            if fd is not None:
                os.close(fd)
        self._reap()

    def _reap(self) -> None:
        """Collects every ended child of ours; remembers how the run's own process ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.manifest.process is not None and pid == self.manifest.process.pid:
                self._status = status

    def _observe(self) -> None:
        now = time.monotonic()
        out, err = self.progress.grown(), self._errors.grown()
        if out:
            self._timeline.note(self.progress.size)
        if out or err or self.manifest.phase is Phase.PAUSED:
            self._last_life = now
        if out or self._is_behind:
            self._is_behind = self.progress.read()
        seen, session = self.progress, self.limits.session
        if session.look(seen.thread_id, self._child_env or self.environment()):
            self._last_life = now
        children, asked = self.children.found(), self.children.questions(self._expired)
        self.manifest = self.manifest.replace(children=children, questions_open=asked)
        told = (seen.thread_id, seen.usage, seen.last_message, seen.last_activity)
        shown = (*told, session.usage, session.contexts, children, asked)
        if shown != self._shown and now - self._last_refresh > _REFRESH_S:
            self._shown, self._last_refresh = shown, now
            self._write(self.ending().observed(self.manifest, self.environment()))
        elif not os.path.isdir(self.run.path):
            self.tree.stop(self.invocation.limits.grace_s, lambda: False)
            raise FileNotFoundError(self.run.path)

    def _enforce(self) -> None:
        if self.manifest.phase is not Phase.RUNNING:
            return
        reason = self.limits.breach(
            self.manifest,
            self.progress,
            elapsed_s=age(self.manifest.attempts[0].process) - self._paused_s,
            begun_s=age(self.manifest.process) - self._paused_s,
            idle_s=time.monotonic() - self._last_life,
        )
        if reason is not None:
            self.log.note("limit", code=reason.code, message=reason.message)
            self._request_stop(reason, self.invocation.limits.grace_s)

    # -- obeying -------------------------------------------------------------------------------

    def _obey(self) -> None:
        obeyed = {"pause": self._pause, "resume": self._resume, "cancel": self._cancel}
        for path, intent in self.run.intents():
            if not self._is_due(path, intent):
                continue
            kind, self._obeying = str(intent.get("kind")), path
            if kind == "rewrite":
                self._rewrite()
            elif kind in obeyed:
                obeyed[kind](intent)
            self._obeying = None
            withdraw(path)

    def _hand_on(self, kind: str, intent: Json) -> None:
        """The same wish for every child run, unless it is for this one only."""
        if not intent.get("only"):
            given = {name: intent[name] for name in ("grace_s", "reason") if name in intent}
            self.children.tell(kind, self.environment(), **given)

    def _expired(self, question: Question) -> None:
        """A question's time is over: what its asker has said is to be done then."""
        why = f"question {question.id} was not answered in time"
        if question.on_expiry == "pause":
            self._pause({"actor": why, "only": True})
        elif question.on_expiry == "fail":
            self.log.note("limit", code="question_expired", message=why)
            self._request_stop(Reason("question_expired", why), self.invocation.limits.grace_s)

    def _pause(self, intent: Json) -> None:
        if self.manifest.phase is not Phase.RUNNING:
            return
        running = self.tree.freeze(_FREEZE_S)
        assert self.manifest.process is not None
        root = find_process(self.manifest.process)
        if root is None or not root.is_alive:
            return  # it ended meanwhile; the loop sees that next
        if running:
            self.tree.thaw(_FREEZE_S)
            names = [f"{process.command} ({process.pid})" for process in running]
            self.log.note("pause_failed", actor=actor_of(intent), still_running=names)
            return
        self._paused_since = boottime()
        self.children.stand_alone(bool(intent.get("only")))
        self._write(advance(self.manifest, Event.PAUSED))
        self.log.note(Event.PAUSED, actor=actor_of(intent))
        self._hand_on("pause", intent)

    def _resume(self, intent: Json) -> None:
        if self.manifest.phase is not Phase.PAUSED:
            return
        stopped = self.tree.thaw(_FREEZE_S)
        self._account_pause()
        self._write(advance(self.manifest, Event.RESUMED, paused_seconds=round(self._paused_s, 3)))
        names = [f"{process.command} ({process.pid})" for process in stopped]
        self.log.note(Event.RESUMED, actor=actor_of(intent), still_stopped=names)
        self._hand_on("resume", intent)

    def _cancel(self, intent: Json) -> None:
        grace, why = intent.get("grace_s"), str(intent.get("reason") or "")
        grace_s = float(grace) if isinstance(grace, int | float) else self.invocation.limits.grace_s
        self.log.note("cancel_requested", actor=actor_of(intent), reason=why)
        self.children.stand_alone(bool(intent.get("only")))
        self._request_stop(cancelled(actor_of(intent), why), grace_s, intent)

    def _rewrite(self) -> None:
        """Somebody found the manifest broken: it is set aside, and what we know is written again."""
        try:
            self.run.read_manifest()
        except (ManifestBroken, RunNotFound) as error:
            aside = takeover.set_aside(self.run, error)
            self._write(self.manifest)
            self.log.note("rewritten", aside=aside, message=error.message)

    def _request_stop(self, reason: Reason, grace_s: float, intent: Json | None = None) -> None:
        self._account_pause()
        if self.manifest.phase is not Phase.STOPPING:
            shown = self.ending().redacted(reason, self.environment())
            stopping = advance(self.manifest, Event.STOP_REQUESTED, reason=shown)
            self._write(stopping.replace(paused_seconds=round(self._paused_s, 3)))
        if intent is not None:
            self._hand_on("cancel", intent)
        self._stop(grace_s)

    def _stop(self, grace_s: float) -> None:
        self.tree.spare(self.ending().is_companion)  # another attempt may ask the scripted model
        self.tree.stop(grace_s, self._is_hurried)

    def _is_hurried(self) -> bool:
        """Whether a cancel came while a stop is under way: then nobody waits politely any more."""
        others = ((path, wish) for path, wish in self.run.intents() if path != self._obeying)
        return any(wish.get("kind") == "cancel" and self._is_due(path, wish) for path, wish in others)

    def _is_due(self, path: str, intent: Json) -> bool:
        calls = self._noticed.setdefault(path, self.progress.tool_calls)
        return is_due(intent, is_answered=self.progress.tool_calls > calls)

    def _account_pause(self) -> None:
        if self._paused_since is not None:
            self._paused_s += boottime() - self._paused_since
            self._paused_since = None
            self._last_life = time.monotonic()

    def _write(self, manifest: Manifest) -> None:
        """Replaces the manifest; a disk that refuses is tried again with the next change."""
        self.manifest = manifest
        try:
            self.run.write_manifest(manifest)
        except OSError as error:
            complain(f"manifest not written: {error}")


def _drain(fifo: int) -> None:
    try:
        os.read(fifo, 4096)
    except BlockingIOError:
        pass  # whoever else has it open was quicker
