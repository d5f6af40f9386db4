"""USE CASE of a start on another machine: the run is given to the engine of its executor. Edges: disk, and
the engine's commands.

The order is what keeps a start that is cut short from being forgotten or done twice. What says where the run
goes is written before the engine is asked, and only then is the lock given away, which is the node's from
there on. Who is killed behind that leaves a run of which the next look asks the engine (`away`).
"""

from __future__ import annotations

import contextlib
import os

from runner.disk.files import unwritable
from runner.errors import ConfigInvalid, EngineSilent, PlacingRefused, RunnerError, UsageError
from runner.executors import get
from runner.processes.proc import identify
from runner.state import placement
from runner.state.engine import Engine
from runner.state.manifest import timestamp
from runner.state.placement import Placement
from runner.state.store import RUNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner.executors.base import Executor
    from runner.invocation import Invocation
    from runner.resolve.choose import Choice
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir

_IN_ORDER_S = 60.0


def is_placed(resolved: Invocation) -> bool:
    """Whether an engine is to place it; not one below a run that lives in a job already, which it shares."""
    return resolved.executor is not None and _job_above(resolved) is None


def refuse_impossible(choice: Choice, parent: Invocation | None) -> None:
    """UsageError or ConfigInvalid for what only a run of this machine can be."""
    if choice.executor is None or (parent is not None and parent.executor is not None):
        return
    where = f"on executor `{choice.executor.name}`"
    if choice.request.tied_to is not None:
        raise UsageError(
            f"the run lives {where}, from where no process of this machine can be seen",
            hint="leave --tie and --tie-pid out, and `runner cancel` it",
        )
    if choice.task.workspace != "worktree" and choice.request.earlier is not None:
        raise ConfigInvalid(f"the run lives {where}, and cannot go on in the tree of the repository")


def prepare(run: RunDir, manifest: Manifest, resolved: Invocation, env: Mapping[str, str]) -> Manifest:
    """Writes where the run is to be placed, so that from here on nobody takes it for one of this machine. The
    manifest that says so.
    """
    assert resolved.executor is not None
    if (above := _job_above(resolved)) is not None:
        placed = placement.load(above)
        assert placed is not None
        placement.save(run, placed)
        return manifest.replace(engine=above.read_manifest().engine)
    settings = resolved.executor
    placed = Placement(
        executor=settings.name,
        kind=settings.kind,
        run_id=run.run_id,
        submitted_at=timestamp(),
        argv=get(settings.kind).command(resolved).argv,
        max_pending_s=settings.max_pending_s,
        starter=identify(os.getpid()),
    )
    try:
        placement.put_environment(run, resolved.env_names, env)
        placement.save(run, placed)
    except OSError as error:
        raise unwritable(error) from error
    return manifest.replace(
        engine=Engine(settings.name, settings.kind, None, None, None, 0, placed.submitted_at)
    )


def submit(run: RunDir, resolved: Invocation, lock_fd: int, listener_fd: int | None) -> Manifest:
    """Gives it to the engine. PlacingRefused where that has no job of it; where it did not answer, the run
    waits for the next look, which asks again.
    """
    from runner.usecases import away

    assert resolved.executor is not None
    engine = get(resolved.executor.kind)
    os.close(lock_fd)  # a lock that is held here may be seen as held there
    if listener_fd is not None:
        os.close(listener_fd)  # its port was free; the node takes it there
    placed, command = None, engine.command(resolved)
    with _in_order(run, resolved, engine) as jobs:
        if jobs:
            command = engine.behind(command, jobs)
            away.note_command(run, command, jobs)
        with contextlib.suppress(EngineSilent):
            placed = engine.submit(resolved, command)
    # From here on there may be a job: no error may take the run back.
    with contextlib.suppress(RunnerError):
        if placed is not None:
            away.note_job(run, placed)
        return away.look(run, run.read_manifest())
    return run.read_manifest()


@contextlib.contextmanager
def _in_order(run: RunDir, resolved: Invocation, engine: Executor) -> Iterator[tuple[str, ...]]:
    """The jobs behind which the engine is to begin that of the run, so that no more than `max_running` of
    this executor and repository are at work at once; () where there is none. One start at a time.

    Each job that waits for others makes a chain longer, and there are so many chains. So the engine keeps
    the order, and begins each in its turn although nobody looks. It waits for all that live of its chain:
    the last one may be cancelled while an earlier one is still at work.
    """
    assert resolved.executor is not None
    most = resolved.executor.max_running
    if most is None:
        yield ()
        return
    from runner.disk.locks import Lock
    from runner.usecases import away

    try:
        lock = Lock(f"{run.repo}/{RUNS}/.executor-{resolved.executor.name}.lock", _IN_ORDER_S)
    except OSError as error:
        raise PlacingRefused(f"others have its executor for too long: {error}", hint="try again") from error
    with lock:
        before = {p.job_id: p.behind for p in away.living(run, resolved.executor.name, engine) if p.job_id}
        waited_for = {job for jobs in before.values() for job in jobs}
        chains = [
            (*(one for one in jobs if one in before), job)
            for job, jobs in before.items()
            if job not in waited_for
        ]
        yield () if len(chains) < most else min(chains, key=len)


def _job_above(resolved: Invocation) -> RunDir | None:
    """The run that has started it, where that lives in a job."""
    from runner.state.store import RunDir

    if resolved.parent is None:
        return None
    above = RunDir.of(resolved.repo, resolved.parent)
    return above if os.path.lexists(placement.path_of(above)) else None
