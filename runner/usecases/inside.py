"""USE CASE: of which run this process is a part. Edge: processes, disk, reading.

The kernel says it where the run has a control group, unless an agent without a sandbox hides that behind a
cgroup namespace and mounts the hierarchy anew. Elsewhere the runs that the processes above us name have
to say it themselves: the outermost agent is the one among whose processes we are, as the owner of a run that
an agent starts is none of them.
"""

from __future__ import annotations

import os
import time

from runner.errors import RunnerError, UsageError
from runner.processes import cgroup
from runner.processes.proc import find_process, process_at
from runner.usecases.control import marked, notice_around
from runner.usecases.find import by_manifest_path, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.model import Identity
    from runner.processes.proc import Process
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir

_RECORDED_WITHIN_S = 2.0
"""An agent can ask before its run has it on record."""
_POLL_S = 0.02


def run_around(repo: str, env: Mapping[str, str]) -> RunDir | None:
    """The run of this repository that this process is a part of; None outside of all. RunNotFound for one of
    another repository, UsageError where the processes above us name several and none of them has us, or where
    nobody can tell.
    """
    if (run_id := cgroup.run_of_ours()) is not None:  # no variable can change that
        return find(repo, run_id)
    if process_at(os.getpid()) is None:
        raise UsageError("without /proc nothing tells whose this process is")
    if cgroup.is_hidden():
        raise UsageError("a cgroup namespace hides the control group of this process")
    told = notice_around()
    if told is not None and told.cgroup is None:
        raise UsageError("a command of [notify] cannot be told from the run here")
    named = [(process, by_manifest_path(repo, manifest)) for process, manifest in marked(env)]
    if not named:
        return None
    deadline = time.monotonic() + _RECORDED_WITHIN_S
    while (found := _among(named)) is None:
        read = [_manifest(run) for _, run in named]
        is_one_beginning = any(m is None or (m.process is None and not m.is_done) for m in read)
        if time.monotonic() >= deadline or not is_one_beginning:
            runs = dict.fromkeys(run.run_id for _, run in named)
            raise UsageError(f"this is below processes that name several runs: {', '.join(runs)}")
        time.sleep(_POLL_S)
    return found


def _among(named: list[tuple[Process, RunDir]]) -> RunDir | None:
    """The run whose agent is the outermost above us; without one, that which all up to an owner name."""
    agents: list[RunDir] = []
    below: dict[str, RunDir] = {}
    is_owned = False
    for process, run in named:
        manifest = _manifest(run)
        if manifest is not None and _is(process, manifest.process):
            agents.append(run)
        if not is_owned:
            below[run.path] = run
            is_owned = manifest is not None and _is(process, manifest.supervisor)
    if agents:
        return agents[-1]
    return next(iter(below.values())) if len(below) == 1 else None


def _manifest(run: RunDir) -> Manifest | None:
    try:
        return run.read_manifest()
    except RunnerError:
        return None


def _is(process: Process, identity: Identity | None) -> bool:
    found = None if identity is None else find_process(identity)
    return found is not None and (found.pid, found.start_time) == (process.pid, process.start_time)
