"""USE CASE: a look at a run that lives in the job of an engine, and what is asked of it from here. Edges:
disk, the engine's commands.

No process of it is seen from here, and a lock that is free here may be held there. So three things are asked:
its manifest, the heartbeat in its folder, and the engine; `executors.truth` says what follows. Its manifest
is written here only when its job has ended without an end of the run, by an ordinary supervisor that finds
the end in `placement.json`. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import time

from runner.disk.files import withdraw
from runner.errors import (
    Conflict,
    EngineSilent,
    GaveUpWaiting,
    InvocationBroken,
    ManifestBroken,
    RunnerError,
    RunNotFound,
)
from runner.executors import beat, get, truth
from runner.executors.base import Job, JobState
from runner.model import Phase
from runner.processes.proc import find_process, is_here
from runner.state import placement
from runner.state.authentic import own_invocation, refuse_foreign
from runner.state.manifest import Manifest, cancelled, timestamp
from runner.state.placement import JobEnd, Placement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.executors.base import Executor, Placed, Submission
    from runner.executors.truth import JobTold
    from runner.state.store import RunDir

FIRST_S, LAST_S = 2.0, 15.0
"""Between two looks of somebody who waits: at first, and when nothing has changed for long."""
_SHORT_S = 0.25
_REWRITE_WITHIN_S = 30.0
_OVER_S = 86400.0
"""A job of a run that has ended so long ago has ended too, whatever its engine does not say."""
_TERM = 15
_LIVES = (JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED, JobState.ENDING)


def is_away(run: RunDir, manifest: Manifest | None) -> bool:
    """Whether processes that are seen here say nothing of it. A run below another one shares its job, and
    what lives on the same machine sees it.
    """
    if not os.path.lexists(placement.path_of(run)):
        return False
    owner = None if manifest is None else manifest.supervisor
    if owner is None or not is_here(owner):
        return True
    process = find_process(owner)
    return (process is None or not process.is_alive) and _load(run).run_id == run.run_id


def look(run: RunDir, manifest: Manifest | None) -> Manifest:
    """As `look.look`, with what its engine says in `engine`, and in the phase where that has begun nothing or
    has suspended it. `manifest` is None where it is broken or missing.
    """
    refuse_foreign(run)
    placed = _load(run)
    engine = _engine(placed)
    placed, told = _told(run, placed, engine)
    is_idle = told.state in (JobState.PENDING, JobState.SUSPENDED)
    if told.overdue or (is_idle and _wish(run) is not None):
        # A request that nobody is there to obey. What it came to says the engine.
        with contextlib.suppress(EngineSilent, Conflict):
            if end_job(run, force=True, at_work=False):
                placed, told = _told(run, placed, engine)
    if told.end is not None and (ended := _end(run, placed, told.end)) is not None:
        return ended
    try:
        return _shown(run.read_manifest(), placed, told)
    except ManifestBroken:
        if manifest is None:
            _ask(run, "rewrite", "user", _REWRITE_WITHIN_S)
        return _shown(run.read_manifest(), placed, told)


def _told(run: RunDir, placed: Placement, engine: Executor) -> tuple[Placement, JobTold]:
    """What is to be told of it now. The manifest is read behind the answer of the engine: it may have been
    written just before the job ended.
    """
    top, why = _top(run, placed), None
    if top is not run:
        placed = _load(top)
    if placed.job_id is None:
        placed, why = _healed(top, placed, engine)
    if why is not None:
        job = Job(JobState.UNSEEN, why=why)
    elif placed.job_id is None:
        job = Job(JobState.GONE)
    else:
        job = engine.look([placed])[placed.run_id]
    try:
        phase = run.read_manifest().phase
    except (ManifestBroken, RunNotFound):
        phase = Phase.RUNNING  # the least that is believed of it
    told = truth.tell(job, placed, phase=phase, heartbeat=beat.age(top.path), now=time.time())
    return placed, told


def _top(run: RunDir, placed: Placement) -> RunDir:
    """The run that the job was made for."""
    from runner.state.index import folder_of

    above = None if placed.run_id == run.run_id else folder_of(run.repo, placed.run_id)
    return run if above is None or not os.path.lexists(placement.path_of(above)) else above


def _healed(run: RunDir, placed: Placement, engine: Executor) -> tuple[Placement, str | None]:
    """With its job, where its starter did not come to write down which it is; else why that is not known. The
    engine has none of it where neither is so.
    """
    if placed.starter is not None and is_here(placed.starter):
        starter = find_process(placed.starter)
        if starter is not None and starter.is_alive and starter.pid != os.getpid():
            return placed, "it is being submitted"
    try:
        found = engine.find(own_invocation(run), placed.cluster)
    except EngineSilent as error:
        return placed, error.message
    return (placed, None) if found is None else (note_job(run, found), None)


def note_job(run: RunDir, found: Placed) -> Placement:
    """Writes down which job it became."""
    return _changed(run, lambda was: was.replace(job_id=found.job_id, cluster=found.cluster))


def note_command(run: RunDir, command: Submission, behind: tuple[str, ...]) -> None:
    """Writes down what the engine is asked for, and which jobs its own is to follow."""
    _changed(run, lambda was: was.replace(argv=command.argv, behind=behind))


def living(run: RunDir, executor: str, engine: Executor) -> list[Placement]:
    """Those of other runs of the repository whose jobs wait or are at work, the oldest first."""
    from runner.state import index

    found = []
    for other in index.scan(run.repo)[1]:
        with contextlib.suppress(RunnerError):
            if os.path.lexists(placement.path_of(other)) and (placed := _load(other)).run_id == other.run_id:
                found += [placed] if placed.executor == executor and placed.job_id is not None else []
    jobs = engine.look(found)
    return [one for one in found if jobs[one.run_id].state in _LIVES]


def _changed(run: RunDir, change: Callable[[Placement], Placement]) -> Placement:
    """One at a time: two that look at once would take back what the other has written."""
    from runner.state.store import lock_task

    with lock_task(run.repo, run.task_id, "-placement"):
        was = _load(run)
        if (now := change(was)) != was:
            placement.save(run, now)
        return now


def _load(run: RunDir) -> Placement:
    try:
        found = placement.load(run)
    except (OSError, ValueError) as error:
        raise InvocationBroken(f"{placement.path_of(run)} cannot be read: {error}") from error
    if found is None:
        raise RunNotFound(f"run `{run.run_id}` is gone")
    return found


def _engine(placed: Placement) -> Executor:
    try:
        return get(placed.kind)
    except KeyError:
        raise InvocationBroken(f"no executor of kind `{placed.kind}` is known here") from None


# -- an end that nobody wrote there --------------------------------------------------------------------------


def _end(run: RunDir, placed: Placement, end: JobEnd) -> Manifest | None:
    """Has the end written that its job came to. None where others have its lock, who may do just that."""
    from runner.supervise.begin import adopt

    lock_fd = run.try_lock(again=True)
    if lock_fd is None:
        return None
    try:
        with contextlib.suppress(ManifestBroken, RunNotFound):
            if (manifest := run.read_manifest()).is_done:
                os.close(lock_fd)
                return manifest
        ended = _as_wished(run, end)
        _changed(run, lambda was: was if was.end is not None else was.replace(end=ended))
        if placed.run_id == run.run_id:
            placement.drop_environment(run)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(lock_fd)
        raise
    adopt(run, lock_fd)
    return run.read_manifest()


def _as_wished(run: RunDir, end: JobEnd) -> JobEnd:
    """The end of a job that was cancelled as somebody had asked us to is that of the request."""
    wish = _wish(run)
    is_ours = end.code == "lost" and end.signal == _TERM  # before its node could tell why
    if wish is None or not (is_ours or end.code in ("engine_cancelled", "queue_timeout", "not_placed")):
        return end
    return end.replace(code="cancelled", message=wish)


def _wish(run: RunDir) -> str | None:
    """The request to cancel it that waits there, in words."""
    for _, intent in run.intents():
        if intent.kind == "cancel" and intent.code is None:
            return cancelled(intent.actor, intent.reason or "").message
    return None


def _shown(manifest: Manifest, placed: Placement, told: JobTold) -> Manifest:
    """With what is told besides it. What is done is shown as it is written."""
    if manifest.is_done or manifest.engine is None:
        return manifest
    engine = manifest.engine.replace(
        job_id=placed.job_id,
        cluster=placed.cluster,
        node=told.node or manifest.engine.node,
        state=told.state,
        why=told.reason,
        starts_at=told.starts_at,
        silent_s=None if told.silent_s is None else round(told.silent_s, 1),
        note=told.note or (manifest.engine.left if told.status is None else None),
    )
    phase = manifest.phase if told.status is None else Phase(told.status)
    return manifest.replace(engine=engine, phase=phase)


# -- requests ------------------------------------------------------------------------------------------------


def tell(run: RunDir) -> None:
    """Has its supervisor look at its requests now, where that can be reached: else it looks by itself."""
    with contextlib.suppress(RunnerError):
        if is_away(run, run.read_manifest()):
            placed = _load(run)
            _engine(placed).tell(_load(_top(run, placed)), run.path)


def asks(run: RunDir, kind: str, actor: str, within_s: float, *, only: bool = False) -> bool:
    """As `look.ask`, of a run whose supervisor is not seen from here; False for any other."""
    manifest = None
    with contextlib.suppress(ManifestBroken, RunNotFound):
        manifest = run.read_manifest()
    if not is_away(run, manifest):
        return False
    _ask(run, kind, actor, within_s, only=only)
    return True


def _ask(run: RunDir, kind: str, actor: str, within_s: float, *, only: bool = False) -> None:
    path = run.leave_intent(kind, actor, only=only)
    run.wake()
    tell(run)
    deadline, look_at = time.monotonic() + within_s, time.monotonic() + FIRST_S
    while os.path.exists(path):
        if kind != "rewrite" and time.monotonic() > look_at:
            look_at = time.monotonic() + FIRST_S
            if look(run, None).is_done:
                withdraw(path)
                return
        if time.monotonic() > deadline:
            withdraw(path)
            raise unanswered(kind, within_s)
        time.sleep(_SHORT_S)


def unanswered(kind: str, within_s: float) -> GaveUpWaiting:
    """What a request comes to that no supervisor, here or elsewhere, has taken in time."""
    return GaveUpWaiting(
        f"the supervisor did not respond to `{kind}` within {within_s:g} s, request withdrawn",
        hint="`runner status RUN` shows the state it is in; `runner cancel RUN` ends it",
    )


def hold(run: RunDir, manifest: Manifest, *, release: bool) -> Manifest | None:
    """Keeps a job that waits from beginning, or lets it begin; None where it does not wait. Conflict where
    the engine has suspended the run, or does not let us.
    """
    told = manifest.engine
    if told is None or told.state == JobState.SUSPENDED:
        raise Conflict(
            f"the job of run `{run.run_id}` is suspended by its engine",
            hint="whoever did that continues it; `runner cancel RUN` ends it",
        )
    if told.state != JobState.PENDING:
        return None
    if (placed := _with_own_job(run)) is None:
        return None
    _engine(placed).hold(placed, release=release)
    return look(run, None)


def end_job(run: RunDir, *, force: bool, at_work: bool = True) -> bool:
    """Asks the engine to end the job of a run that does not obey, as `Executor.end`; whether it was asked.
    EngineSilent, Conflict.
    """
    if (placed := _with_own_job(run)) is None:
        return False
    _engine(placed).end(placed, force=force, at_work=at_work)
    return True


def _with_own_job(run: RunDir) -> Placement | None:
    """Where it was put; None for a run below another one, whose job is not its own to change."""
    placed = _load(run)
    return placed if placed.run_id == run.run_id else None


def is_sealed_there(run: RunDir) -> bool:
    """Whether the node may just be sealing it: a lock that is free here is no sign that it is not."""
    age = None
    with contextlib.suppress(RunnerError):
        age = beat.age(_top(run, _load(run)).path)
    return age is not None and age < beat.GONE_S


def has_job(run: RunDir, manifest: Manifest) -> bool:
    """Whether a job of a run that is done may still be there: nothing of it is to be removed then."""
    if not os.path.lexists(placement.path_of(run)):
        return False
    if (placed := _with_own_job(run)) is None:
        return False
    age = beat.age(run.path)
    if age is not None and age < beat.GONE_S:
        return True
    if placed.job_id is None or placed.end is not None:
        return False
    state = _engine(placed).look([placed])[placed.run_id].state
    is_old = manifest.ended_at is not None and manifest.ended_at < timestamp(time.time() - _OVER_S)
    return state in _LIVES or (state is JobState.UNSEEN and not is_old)
