"""Begins a run, or gives one without an owner a new one: a process for each. Edge: processes.

The starter forks the owner, which takes the lock, starts the child at once and only then becomes the
supervisor by exec. So the child does not wait for a second interpreter, and the supervisor is small: it has
its own command line, its own marker in its environment (other runs' walks stop there), and none of the
starter's memory. Beginning and taking over end in the same program.
"""

from __future__ import annotations

import os
import sys

from runner.disk import git_env, home
from runner.disk.files import OUT_OF_PROCESSES, make_durable, unwritable
from runner.errors import BaselineFailed, PrepareFailed, StartFailed, SupervisorFailed
from runner.lightjson import loads
from runner.model import Identity, Outcome, Reason
from runner.processes import cgroup, spawn
from runner.processes.proc import RUN_MANIFEST, RUN_MARKER, continue_stopped, identify, process_at
from runner.state.authentic import own_invocation
from runner.state.events import EventLog, complain
from runner.state.lifecycle import Event
from runner.state.manifest import Manifest, advance, started
from runner.state.store import RunDir
from runner.value import json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from runner.invocation import Invocation

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
_SILENT_MS = 200
"""A start that takes longer looks whether its supervisor was stopped."""


def begin(
    run: RunDir,
    manifest: Manifest,
    invocation: Invocation,
    env: Mapping[str, str],
    lock_fd: int,
    listener_fd: int | None = None,
    lease_fd: int | None = None,
) -> None:
    """Starts the child under its own owner. Returns once the child was exec'd.

    `lease_fd` is the right to write in the work tree. The owner keeps it, and so does the child with all that
    it starts: even if the owner dies, no other run gets it before the last of them is gone.

    StartFailed (the manifest then says `done` and why) or SupervisorFailed. The descriptors are closed here.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    env = git_env.unmarked(env)
    copy = None if manifest.engine is None else manifest.engine.restarts

    def own(ready_fd: int) -> None:
        _only_these_descriptors(run, ready_fd, {lock_fd, listener_fd, lease_fd})
        answer = _Launch(run, manifest, invocation, env).carry_out(listener_fd, umask, lease_fd)
        if "ok" not in answer and _prepares(invocation):
            # What was printed is sealed first: when the starter knows, it takes the place of the run back.
            if (sealing := os.fork()) == 0:
                _become_supervisor(run, lock_fd, None, env, copy=copy)
            os.waitpid(sealing, 0)
        _report(ready_fd, answer)
        if "ok" in answer:
            _become_supervisor(run, lock_fd, None, env, lease_fd, copy)

    try:
        answer = _detach(own, lambda: make_durable(run.invocation))
    finally:
        os.close(lock_fd)
        if listener_fd is not None:
            os.close(listener_fd)
    for known in (PrepareFailed, BaselineFailed):
        if answer.get("code") == known.code:
            raise known(answer["error"], hint=answer["hint"] or None)
    if "error" in answer:
        raise StartFailed(answer["error"], hint=answer["hint"])


def refuse(
    run: RunDir, manifest: Manifest, invocation: Invocation, env: Mapping[str, str], reason: Reason
) -> None:
    """Writes the end of a run that was placed and is not begun; it has still to be sealed."""
    _Launch(run, manifest, invocation, env).refused(reason)


def adopt(run: RunDir, lock_fd: int, env: Mapping[str, str] = os.environ, *, copy: int | None = None) -> None:
    """Hands the lock of an ownerless run to a fresh supervisor; returns when it has looked. `copy`: the one
    of its job that begins here; None goes on for the one that its manifest tells of.

    The child lives on under it, or the end that the evidence supports is written by then. InvocationBroken
    where nothing says what that run is, ForeignRun where it is not ours.
    """

    def own(ready_fd: int) -> None:
        _only_these_descriptors(run, ready_fd, {lock_fd})
        marks = {RUN_MARKER: run.run_id, RUN_MANIFEST: run.manifest}
        _become_supervisor(run, lock_fd, ready_fd, {**git_env.unmarked(env), **marks}, copy=copy)

    try:
        own_invocation(run)  # a supervisor that cannot read it would only say so in its log
        _detach(own)
    finally:
        os.close(lock_fd)


def _detach(own: Callable[[int], None], meanwhile: Callable[[], None] = lambda: None) -> dict[str, str]:
    """Runs `own` in a process that is not our child, and waits for its report. What a limit or the disk
    refuses before it has begun is raised by its name, and then nothing has been started.
    """
    sys.stdout.flush()
    try:
        ready_r, ready_w = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
    except OSError as error:
        raise unwritable(error) from error
    if pid == 0:
        try:
            os.setsid()
            if _fork(ready_w) == 0:
                spawn.hold_term()
                cgroup.leave()
                _say(ready_w, b"%d" % os.getpid())
                own(ready_w)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(70)
    os.close(ready_w)
    meanwhile()
    os.waitpid(pid, 0)
    try:
        line = _answer(ready_r)
    finally:
        os.close(ready_r)
    if not line:
        raise SupervisorFailed("the supervisor ended before it was ready")
    answer: dict[str, str] = loads(line)
    if "errno" in answer:
        number = int(answer["errno"])
        raise unwritable(OSError(number, os.strerror(number), answer["file"] or None))
    return answer


def _fork(ready_fd: int) -> int:
    try:
        return os.fork()
    except OSError as error:
        _say(ready_fd, b"0")
        report_refused(ready_fd, error)
        os._exit(70)


def _answer(ready_fd: int) -> bytes:
    """What follows the number of the new process; nothing where it ended without a word. If the agent has
    stopped it before it could speak, it continues.
    """
    import select  # here the new process is at work, and this one only waits

    poll, told = select.poll(), b""
    poll.register(ready_fd, select.POLLIN)
    while told.count(b"\n") < 2:
        if poll.poll(_SILENT_MS):
            piece = os.read(ready_fd, 65536)
            if not piece:
                return b""
            told += piece
        elif told and (process := process_at(int(told.partition(b"\n")[0]))) is not None:
            continue_stopped(process)
    return told.split(b"\n")[1]


class _Launch:
    """Of one run, in the process that becomes its supervisor."""

    def __init__(
        self, run: RunDir, manifest: Manifest, invocation: Invocation, env: Mapping[str, str]
    ) -> None:
        self._run, self._manifest, self._invocation, self._env = run, manifest, invocation, env
        self._log = EventLog(run.events)
        spawn.become_subreaper()  # before the child, which may leave an orphan at once
        # The group of a job is its engine's: what left it, the engine would not end.
        self._group = cgroup.make(run.run_id) if invocation.executor is None else None

    def carry_out(self, listener_fd: int | None, umask: int, lease_fd: int | None) -> dict[str, str]:
        """Starts the processes and writes what was seen: `ok`, or an `error`, which is written then too."""
        run, invocation, group, first = self._run, self._invocation, self._group, None
        if _prepares(invocation) and (end := self._prepared()) is not None:
            return self._ended(*end)
        try:
            if invocation.rehearsal is not None:
                first = start_rehearsal(run, invocation, self._env, listener_fd)
            first = process = start_child(run, invocation, self._env, umask, lease_fd, group)
            held = None if group is None or not group.has_all else group.path
            by = "user" if invocation.parent is None else f"run {invocation.parent.run_id}"
            self._log.append("created", actor=by, task_id=run.task_id, run_id=run.run_id)
            manifest = started(self._launched().replace(cgroup=held), process)
            run.write_manifest(manifest)
            self._log.append(Event.STARTED, process=process.to_json(), attempt=1, cgroup=held)
        except OSError as error:
            if first is not None:
                from runner.processes.tree import Tree  # not on the way of a start that goes well

                Tree(run.run_id, first, reap=reap, cgroup=group).sweep(0.0)
            if group is not None:
                group.remove()
            return self._ended(Outcome.FAILED, start_failure(error, invocation))
        from runner.supervise import news  # the agent works while this is imported

        news.started(run, manifest, is_new=True)  # before the starter knows: who follows looks after it now
        return {"ok": run.run_id}

    def refused(self, reason: Reason) -> None:
        """See `refuse`."""
        from runner.state.placement import outcome_of  # not on the way of a start on this machine

        self._ended(outcome_of(reason.code), reason, self._manifest)  # it never had a supervisor

    def _prepared(self) -> tuple[Outcome, Reason] | None:
        """See `prepare`."""
        from runner.processes.tree import Tree  # only who prepares something pays for it
        from runner.supervise.preparing import prepare

        run, group, me = self._run, self._group, identify(os.getpid())
        assert me is not None
        # So we are no process of the run that has started this one, which may be paused or ended meanwhile.
        self._manifest = self._manifest.replace(supervisor=me)
        run.write_manifest(self._manifest.replace(last_activity="prepares its work tree or runs its checks"))
        tree = Tree(run.run_id, me, reap=reap, cgroup=group)
        ready = prepare(run, self._invocation, self._env, self._log, tree, group)
        self._manifest = self._manifest.replace(
            failed_before=ready.failed, suspended_seconds=round(ready.suspended_s, 3)
        )
        if ready.end is not None and group is not None:
            group.remove()
        return ready.end

    def _launched(self) -> Manifest:
        return advance(self._manifest, Event.LAUNCHED, supervisor=identify(os.getpid()), attempt=1)

    def _ended(self, outcome: Outcome, reason: Reason, manifest: Manifest | None = None) -> dict[str, str]:
        from runner.supervise import tree_helper  # not on the way of a start that goes well

        tree_helper.withdraw(self._run, self._env)
        ended = advance(manifest or self._launched(), Event.START_FAILED, outcome=outcome, reason=reason)
        try:
            self._run.write_manifest(ended)
            self._log.append(Event.ENDED, outcome=ended.outcome, reason=reason.to_json())
        except OSError as second:
            complain(f"the end could not be written: {second}")
        self._witnessed(ended)
        return {"error": reason.message, "hint": reason.hint or "", "code": reason.code}

    def _witnessed(self, ended: Manifest) -> None:
        """Its ledger may say that it has taken a handoff."""
        from runner.state.fingerprints import Known
        from runner.supervise.sealing import Cleaner
        from runner.supervise.witness import Witness

        values = tuple(self._env[name] for name in self._invocation.secret_names if name in self._env)
        Witness(self._run, self._invocation, lambda: Cleaner(Known(values, ()))).end(ended)


def _prepares(invocation: Invocation) -> bool:
    return bool(invocation.prepare or (invocation.baseline and invocation.verify))


def start_child(
    run: RunDir,
    invocation: Invocation,
    env: Mapping[str, str],
    umask: int,
    lease_fd: int | None,
    group: cgroup.Cgroup | None,
) -> Identity:
    """One start of the runtime: the prompt on stdin, then EOF; output straight to the files."""
    streams = spawn.Streams(run.prompt, run.stdout, run.stderr, lease_fd)
    return spawn.spawn(
        invocation.argv[0],
        invocation.argv,
        cwd=invocation.cwd,
        env={**env, **git_env.of_agent(invocation)},
        streams=streams,
        umask=umask,
        cgroup=group,
    )


def reap() -> None:
    """Collects our children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def start_rehearsal(
    run: RunDir, invocation: Invocation, env: Mapping[str, str], listener_fd: int | None
) -> Identity:
    """The scripted model, which listens there."""
    assert invocation.rehearsal is not None and listener_fd is not None
    argv = (
        *invocation.rehearsal.argv,
        *("--listen-fd", str(listener_fd), "--manifest", run.manifest, "--root", invocation.cwd),
        *("--log", run.rehearsal_log),
    )
    streams = spawn.Streams(None, os.devnull, run.supervisor_log, listener_fd)
    server = spawn.spawn(argv[0], argv, cwd=run.path, env=env, streams=streams)
    os.close(listener_fd)
    return server


def start_failure(error: OSError, invocation: Invocation) -> Reason:
    """The named reason why no child came to be."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):  # a write names no file: it was one of the run's own
        full = str(error.filename or os.path.dirname(invocation.manifest_path))
        return Reason("disk_full", f"the disk is full: {full}", "free some space and start again")
    if error.errno in OUT_OF_PROCESSES:
        limit = unwritable(error)
        return Reason(limit.code, limit.message, limit.hint)
    where = str(error.filename or invocation.argv[0])
    if where == invocation.cwd:
        return Reason("workspace_missing", f"cannot enter {where}: {error.strerror}")
    if where == invocation.argv[0]:
        return Reason(
            "runtime_missing",
            f"cannot execute {where}: {error.strerror}",
            f"`runner doctor --runtime {invocation.runtime}` says how to repair it",
        )
    return Reason("unwritable", f"cannot open {where}: {error.strerror}")


def _become_supervisor(
    run: RunDir,
    lock_fd: int,
    ready_fd: int | None,
    env: Mapping[str, str],
    lease_fd: int | None = None,
    copy: int | None = None,
) -> NoReturn:
    # Without `site`: it needs no package of others, and no `.pth` file decides what is run here.
    argv = [sys.executable, "-I", "-S", PROGRAM, run.path]
    for fd in (lock_fd, ready_fd, lease_fd):
        argv.append("-" if fd is None else str(fd))
        if fd is not None:
            os.set_inheritable(fd, True)
    argv += [] if copy is None else [str(copy)]
    os.execve(sys.executable, argv, {**home.named(os.environ), **env})


def _only_these_descriptors(run: RunDir, ready_fd: int, keep: set[int | None]) -> None:
    """Null device for the standard streams, our log for stderr, and nothing of the caller's kept open."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    try:
        null = os.open(os.devnull, os.O_RDWR)
        errors = os.open(run.supervisor_log, flags, 0o600)
        names = os.listdir("/proc/self/fd")
    except OSError as error:
        report_refused(ready_fd, error)
        os._exit(70)
    for target, fd in ((0, null), (1, null), (2, errors)):
        os.dup2(fd, target)
    for name in names:
        fd = int(name)
        if fd > 2 and fd != ready_fd and fd not in keep:
            try:
                os.close(fd)
            except OSError:
                pass  # the descriptor of the listing itself


def _report(fd: int, answer: Mapping[str, str]) -> None:
    _say(fd, json_bytes(answer))
    os.close(fd)


def _say(fd: int, line: bytes) -> None:
    try:
        os.write(fd, line + b"\n")
    except BrokenPipeError:
        pass  # the starter is gone; the run is not


def report_refused(ready_fd: int, error: OSError) -> None:
    """Reports what a limit or the disk has refused to the new process, by which nothing has been done yet."""
    _report(ready_fd, {"errno": str(error.errno or 0), "file": str(error.filename or "")})


def report_looked(fd: int | None) -> None:
    """Reports to the process that handed the run over that its new owner has examined it."""
    if fd is not None:
        _report(fd, {"ok": "looked"})
