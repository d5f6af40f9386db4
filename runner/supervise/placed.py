"""The run of a job, on its node: begun as one on this machine, and looked after to its end. Edges: disk,
processes.

An engine takes a job for as alive as its first process, so that stays to the end. It is the parent of the
supervisor and no part of the run: it shows that the node lives, names the reason when the engine ends the
job, and gives the run another supervisor where one was killed.
"""

from __future__ import annotations

import os
import select
import sys
import time

from runner.errors import RunnerError
from runner.executors import beat, own_job
from runner.executors.base import NOT_BEGUN
from runner.model import Phase, Reason
from runner.processes.proc import RUN_MANIFEST, RUN_MARKER, children, find_process, identify, open_pidfd
from runner.processes.spawn import become_subreaper
from runner.processes.tree import Tree
from runner.state import authentic, lineage, placement
from runner.state.engine import Engine
from runner.state.manifest import parse_timestamp
from runner.state.store import RunDir
from runner.supervise.begin import adopt, begin, reap, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.invocation import Invocation
    from runner.state.manifest import Manifest
    from runner.state.placement import Placement

_TERM = 15
_LOOK_S = 1.0
_SOON_S = 0.05
_HASTY_S = 1.0
"""Each step of a stop where the engine soon kills what is left: Slurm by default after 30 s."""
_TO_JUDGE_S = 20.0
_LOCK_WITHIN_S = 10.0
_MOST_SUPERVISORS = 8
_NOTICES_WITHIN_S = 10.0


def of_folder(path: str, job_env: Mapping[str, str]) -> Node:
    """The run of that folder, whose values are taken before anything else. It can be read here, and is ours:
    ForeignRun, InvocationBroken, Unwritable; OSError, ValueError or KeyError where something is not there.
    """
    run, job_env = RunDir.from_path(path), dict(job_env)
    values: dict[str, str] | None = None
    authentic.refuse_another(run)
    if beat.age(run.path) is None or os.path.exists(placement.environment_of(run)):
        values = placement.take_environment(run)
    os.environ.clear()
    os.environ.update(placement.own_environment(run) | (values or {}))
    invocation = authentic.own_invocation(run)
    if (placed := placement.load(run)) is None or invocation.executor is None:
        raise ValueError(f"{run.path} was not placed")
    if invocation.executor.requeue and values is not None:
        placement.keep_environment(run, values)
    return Node(run, invocation, placed, values, job_env)


class Node:
    """Of one run, in its job. `values` None: a copy of the job before this one has taken them."""

    def __init__(
        self,
        run: RunDir,
        invocation: Invocation,
        placed: Placement,
        values: Mapping[str, str] | None,
        job_env: Mapping[str, str],
    ) -> None:
        self._run, self._invocation, self._placed = run, invocation, placed
        self._job = own_job(placed.kind, job_env)
        self._has_values = values is not None
        devices = {name: job_env[name] for name in placement.DEVICES if name in job_env}
        self._env = {**(values or {}), **invocation.env_set, **devices}
        self._pid, self._is_told = os.getpid(), False
        self._beaten, self._beaten_at = 0.0, time.time()

    def carry_out(self) -> int:
        """Begins the run, and stays until nothing of it is left to be done."""
        run = self._run
        manifest = run.read_manifest()
        if self._another_lives():
            return _not_begun("another copy of it lives")
        self._listen()
        become_subreaper()  # its supervisor is our child, and so is what that one leaves behind
        self._beat()
        placement.fence(run, self._job.restarts)
        if self._has_values and manifest.phase is Phase.QUEUED and manifest.supervisor is None:
            if (lock_fd := self._lock()) is None:
                return _not_begun("another process holds its lock")
            manifest = manifest.replace(engine=self._engine())
            run.write_manifest(manifest)
            try:
                self._begin(manifest, lock_fd)
            except RunnerError as error:
                print(f"{error.code}: {error.message}", file=sys.stderr)  # its manifest says so too
        self._stay()
        manifest = run.read_manifest()
        if manifest.is_done:
            placement.drop_environment(run)
        return manifest.exit_status

    # -- the beginning -----------------------------------------------------------------------------

    def _begin(self, manifest: Manifest, lock_fd: int) -> None:
        rehearsal, listener_fd = self._invocation.rehearsal, None
        reason = self._waited_too_long()
        if reason is None and rehearsal is not None:
            import socket

            try:
                listener = socket.create_server(("127.0.0.1", rehearsal.port), backlog=64)
                listener_fd = listener.detach()
            except OSError as error:
                text = f"port {rehearsal.port}, where the scripted model was to listen: {error.strerror}"
                reason = Reason("port_taken", text, "start it again: it gets another port")
        if reason is not None:
            refuse(self._run, manifest, self._invocation, self._env, reason)
            os.close(lock_fd)
        else:
            begin(self._run, manifest, self._invocation, self._env, lock_fd, listener_fd)

    def _engine(self) -> Engine:
        placed, job = self._placed, self._job
        return Engine(
            executor=placed.executor,
            kind=placed.kind,
            job_id=job.job_id or placed.job_id,
            cluster=job.cluster or placed.cluster,
            node=os.uname().nodename,
            restarts=job.restarts,
            submitted_at=placed.submitted_at,
        )

    def _waited_too_long(self) -> Reason | None:
        """By the clock of the file system, where that of this machine may be wrong."""
        longest = self._placed.max_pending_s
        waited_s = self._beaten_at - parse_timestamp(self._placed.submitted_at)
        if longest is None or waited_s <= longest:
            return None
        text = f"it waited {waited_s:.0f} s for its place, and `max_pending` is {longest:g} s"
        return Reason("queue_timeout", text, "start it again, or allow more with `max_pending`")

    def _another_lives(self) -> bool:
        """Whether a copy of this job that was started before it still shows itself."""
        then = beat.age(self._run.path)
        while then is not None and then < beat.GONE_S:
            time.sleep(_LOOK_S)
            now = beat.age(self._run.path)
            if now is None or now < then:
                return True
            then = now
        return False

    def _lock(self) -> int | None:
        """Who looks at a run has its lock for a moment."""
        deadline = time.monotonic() + _LOCK_WITHIN_S
        while (lock_fd := self._run.try_lock(again=True)) is None and time.monotonic() < deadline:
            time.sleep(_SOON_S)
        return lock_fd

    # -- to the end --------------------------------------------------------------------------------

    def _stay(self) -> None:
        """Until the run is done and sealed, and so are those below it: the engine ends the job with us."""
        given = 0
        while not placement.is_fenced(self._run, self._job.restarts):
            self._beat()
            reap()
            try:
                manifest = self._run.read_manifest()
            except RunnerError:
                manifest = None  # its supervisor makes it again
            owner = None if manifest is None or manifest.supervisor is None else manifest.supervisor
            process = None if owner is None else find_process(owner)
            if process is not None and process.is_alive and (pidfd := open_pidfd(process)) is not None:
                self._wait(pidfd)
            elif manifest is not None and manifest.is_done and not os.path.exists(self._run.wake_fifo):
                break
            elif not os.path.isdir(self._run.path) or given == _MOST_SUPERVISORS:
                return
            else:
                given += self._adopt()
                time.sleep(_SOON_S)
        else:
            self._end_all()
            return
        deadline = time.monotonic() + _NOTICES_WITHIN_S
        while _lives_below(self._run) or (children(self._pid) and time.monotonic() < deadline):
            self._beat()
            reap()
            time.sleep(_SOON_S)

    def _end_all(self) -> None:
        """Another copy of the job has the run, or its end was written elsewhere: nothing goes on here."""
        if (me := identify(self._pid)) is not None:
            Tree(self._run.run_id, me, reap=reap).sweep(1.0)

    def _adopt(self) -> bool:
        """Gives it another supervisor, unless somebody else just does."""
        lock_fd = self._run.try_lock(again=True)
        if lock_fd is None:
            return False
        marks = {RUN_MARKER: self._run.run_id, RUN_MANIFEST: self._run.manifest}
        try:
            adopt(self._run, lock_fd, {**self._env, **marks}, copy=self._job.restarts)
        except RunnerError as error:
            print(f"{error.code}: {error.message}", file=sys.stderr)
        return True

    def _wait(self, pidfd: int) -> None:
        """For the end of its supervisor, or until the next beat is due."""
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        try:
            poll.poll(1000 * max(_SOON_S, self._beaten + beat.EVERY_S - time.monotonic()))
        finally:
            os.close(pidfd)

    def _beat(self) -> None:
        now = time.monotonic()
        if self._beaten and now - self._beaten < beat.EVERY_S:
            return
        try:
            self._beaten_at = beat.beat(self._run.path)
        except OSError as error:
            print(f"no heartbeat: {error}", file=sys.stderr)  # a server that does not answer; the next may
        self._beaten = now

    # -- the engine ends the job -------------------------------------------------------------------

    def _listen(self) -> None:
        import _signal  # type: ignore[import-not-found]  # built into Python; typeshed has no stub

        _signal.signal(_TERM, lambda *_: self._told())

    def _told(self) -> None:
        """Asks the supervisor to cancel the run, with the reason. Where it has got the signal as well, it
        waits for that.
        """
        if self._is_told or os.getpid() != self._pid:
            return  # or it is a new process that is not another program yet
        self._is_told = True
        grace_s = self._invocation.limits.grace_s
        requeues = self._invocation.executor is not None and self._invocation.executor.requeue
        if requeues and self._job.is_put_back():
            placement.fence(self._run, self._job.restarts + 1)  # that copy has the run from here on
            self._end_all()
            return
        reason, left_s = self._job.why_ended(f"{self._run.path}/slurm.log", grace_s + placement.WARNED_S)
        grace_s = min(grace_s, max(_HASTY_S, (left_s - _TO_JUDGE_S) / 2))
        actor = f"executor {self._placed.executor}"
        try:
            if not self._run.is_told("cancel"):
                self._run.leave_intent(
                    "cancel", actor, reason=reason.message, code=reason.code, grace_s=grace_s
                )
            self._run.wake()
        except RunnerError as error:
            print(f"not cancelled: {error.message}", file=sys.stderr)


def _not_begun(why: str) -> int:
    print(f"not begun: {why}", file=sys.stderr)
    return NOT_BEGUN


def _lives_below(run: RunDir) -> bool:
    """Whether a run that this one has started has its supervisor here, or one below that."""
    for child in lineage.children(run):
        try:
            manifest = child.read_manifest()
        except RunnerError:
            continue
        owner = manifest.supervisor
        if (owner is not None and find_process(owner) is not None) or _lives_below(child):
            return True
    return False
