"""The supervisor: holds a run's lock, watches its process to the end, obeys intents, keeps the limits.

It is never in the way of the data: the child writes its own files. It sleeps in poll(2) on the child's pidfd
and the wake FIFO, and looks at the size of two files four times a second, once a second when all is quiet.
Edges: disk and processes.
"""

from __future__ import annotations

import os
import select
import time

from runner import runtimes
from runner.errors import ManifestBroken, RunnerError, RunNotFound
from runner.executors import local
from runner.executors.processes import boot_id, environment, find, host, identify, is_alive, open_pidfd
from runner.executors.tree import Tree, marked
from runner.model import Identity, Phase, Reason
from runner.state.events import EventLog, complain
from runner.state.files import withdraw
from runner.state.lifecycle import Event
from runner.state.manifest import Manifest, advance, parse_timestamp
from runner.state.store import RunDir, actor_of, is_due
from runner.supervise import report_looked, started
from runner.supervise.ending import Ending
from runner.supervise.family import Family
from runner.supervise.limits import exceeded
from runner.supervise.progress import Progress, Timeline
from runner.supervise.reconcile import Action, decide, verdict
from runner.supervise.recover import cancelled, rebuild

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.model import Json
    from runner.state.questions import Question

TICK_S = 0.25
_QUIET_TICK_S = 1.0
_LIVELY_S = 5.0
_REFRESH_S = 1.0
_FREEZE_S = 10.0


class Supervisor:
    """The owner of one run; everything that changes its manifest happens here or in its Ending."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.invocation = run.read_invocation()
        self.log = EventLog(run.events)
        self._is_rebuilt = False
        self.manifest = self._read_manifest()
        runtime = runtimes.get(self.invocation.runtime)
        self.progress = Progress(run.stdout, runtime)
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
        self.family = Family(run, self.invocation, self.log)
        self._last_life = time.monotonic()
        self._last_refresh = 0.0
        self._is_behind = False
        self._shown: tuple[object, ...] = ()

    def own(self, ready_fd: int | None) -> None:
        """From taking over (at once after the start, or later) to the end of the run."""
        action = self._look()
        ending = self._ending()
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
        self.tree = Tree(self.run.run_id, self.manifest.process, reap=self._reap)
        local.become_subreaper()
        if action is not Action.CONCLUDE:
            self._take_over()
            report_looked(ready_fd)
            ready_fd = None
            if action is Action.KEEP_STOPPING:
                self._stop(self.invocation.limits.grace_s)
            self._watch(self.manifest.process)
        self._reap()
        try:
            ending.conclude(self.manifest, self.tree, self._status, self.environment())
        except Exception as error:
            ending.fail(self.run.read_manifest(), error)
            raise
        finally:
            report_looked(ready_fd)

    def _ending(self) -> Ending:
        return Ending(self.run, self.invocation, self.log, self.progress, self.family)

    def environment(self) -> Mapping[str, str]:
        """That of the child, for redaction and checks.

        Who started it has the same. Who took over has that of whoever looked at the run last, with names that
        the child never got and without values that it has: the child's own counts, as long as it lives.
        """
        process = self.manifest.process
        child = {} if process is None or find(process) is None else environment(process.pid)
        self._child_env = child or self._child_env
        if self._is_parent:
            return os.environ
        names = self.invocation.env_names
        ours = {name: os.environ[name] for name in names if name in os.environ}
        return {**ours, **self.invocation.env_set, **self._child_env}

    # -- taking over ---------------------------------------------------------------------------

    def _read_manifest(self) -> Manifest:
        try:
            return self.run.read_manifest()
        except (ManifestBroken, RunNotFound) as error:
            aside = self._set_aside(error)
            manifest = rebuild(self.run, self.invocation)
            self.run.write_manifest(manifest)
            self.log.note("rebuilt", aside=aside, message=error.message)
            self._is_rebuilt = True
            return manifest

    def _set_aside(self, error: RunnerError) -> str | None:
        """Where the broken manifest is now; one that is gone leaves nothing to set aside."""
        if isinstance(error, RunNotFound):
            return None
        return os.path.basename(self.run.set_aside_manifest())

    def _look(self) -> Action:
        manifest = self.manifest
        process = manifest.process
        if process is None and manifest.phase in (Phase.QUEUED, Phase.STARTING):
            process = self._find_unrecorded()
        supervisor = manifest.supervisor
        known = process or supervisor
        return decide(
            manifest.phase,
            same_boot=known is None or (known.host, known.boot_id) == (host(), boot_id()),
            process_known=process is not None,
            process_alive=process is not None and is_alive(process),
            output_seen=os.path.exists(self.run.stdout),
        )

    def _find_unrecorded(self) -> Identity | None:
        """The child of a starter that died between starting it and writing it down."""
        process = marked(self.run.run_id, self.invocation.argv)
        identity = None if process is None else identify(process.pid)
        if identity is not None:
            if self.manifest.phase is Phase.QUEUED:
                self.manifest = advance(self.manifest, Event.LAUNCHED, attempt=1)
            self.manifest = started(self.manifest, identity)
        return identity

    def _take_over(self) -> None:
        me = identify(os.getpid())
        former = self.manifest.supervisor
        self.family.begin(is_new=self._is_parent)
        if self._is_parent:
            return
        self.environment()
        if self.manifest.paused_at is not None:
            since = max(0.0, time.time() - parse_timestamp(self.manifest.paused_at))
            self._paused_since = _boottime() - since
        self._write(self.manifest.replace(supervisor=me))
        self.log.note("adopted", former=None if former is None else former.to_json())
        self.progress.grown()
        self._is_behind = self.progress.read()

    # -- watching ------------------------------------------------------------------------------

    def _watch(self, process: Identity) -> None:
        """Until the child has ended. A pidfd tells, never the end of its output."""
        found = find(process)
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
            import runner.redact  # noqa: F401 - while there is time: the end needs it at once
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
        seen = self.progress
        children, asked = self.family.children(), self.family.questions(self._expired)
        self.manifest = self.manifest.replace(children=children, questions_open=asked)
        shown = (seen.thread_id, seen.usage, seen.last_message, seen.last_activity, children, asked)
        if shown != self._shown and now - self._last_refresh > _REFRESH_S:
            self._shown, self._last_refresh = shown, now
            self._write(self._ending().observed(self.manifest, self.environment()))
        elif not os.path.isdir(self.run.path):
            self.tree.stop(self.invocation.limits.grace_s, lambda: False)
            raise FileNotFoundError(self.run.path)

    def _enforce(self) -> None:
        if self.manifest.phase is not Phase.RUNNING:
            return
        limits = self.invocation.limits
        reason = exceeded(
            limits,
            elapsed_s=self._elapsed(),
            idle_s=time.monotonic() - self._last_life,
            output_bytes=self.progress.size,
        )
        if reason is not None:
            self.log.note("limit", code=reason.code, message=reason.message)
            self._request_stop(reason, limits.grace_s)

    def _elapsed(self) -> float:
        """Seconds since the child's start by the clock that its start time is counted in, not paused."""
        assert self.manifest.process is not None
        ticks = self.manifest.process.start_time / os.sysconf("SC_CLK_TCK")
        return _boottime() - ticks - self._paused_s

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
            self.family.tell(kind, self.environment(), **given)

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
        root = find(self.manifest.process)
        if root is None or not root.is_alive:
            return  # it ended meanwhile; the loop sees that next
        if running:
            self.tree.thaw(_FREEZE_S)
            names = [f"{process.command} ({process.pid})" for process in running]
            self.log.note("pause_failed", actor=actor_of(intent), still_running=names)
            return
        self._paused_since = _boottime()
        self.family.stand_alone(bool(intent.get("only")))
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
        self.family.stand_alone(bool(intent.get("only")))
        self._request_stop(cancelled(actor_of(intent), why), grace_s, intent)

    def _rewrite(self) -> None:
        """Somebody found the manifest broken: it is set aside, and what we know is written again."""
        try:
            self.run.read_manifest()
        except (ManifestBroken, RunNotFound) as error:
            aside = self._set_aside(error)
            self._write(self.manifest)
            self.log.note("rewritten", aside=aside, message=error.message)

    def _request_stop(self, reason: Reason, grace_s: float, intent: Json | None = None) -> None:
        self._account_pause()
        if self.manifest.phase is not Phase.STOPPING:
            shown = self._ending().redacted(reason, self.environment())
            stopping = advance(self.manifest, Event.STOP_REQUESTED, reason=shown)
            self._write(stopping.replace(paused_seconds=round(self._paused_s, 3)))
        if intent is not None:
            self._hand_on("cancel", intent)
        self._stop(grace_s)

    def _stop(self, grace_s: float) -> None:
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
            self._paused_s += _boottime() - self._paused_since
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


def _boottime() -> float:
    """The clock that start times are counted in; it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
