"""USE CASES that only look: at one run, or at all. They never need the config.

Looking at a run without an owner takes its free lock and brings the manifest up to date before it answers, so
no answer is older than the check. Standard library only.
"""

from __future__ import annotations

import os
import time

from runner.disk.files import withdraw
from runner.errors import (
    ForeignRun,
    ManifestBroken,
    OwnerStopped,
    RunnerError,
    RunNotFound,
    SupervisorFailed,
    Unwritable,
)
from runner.model import Phase
from runner.processes.proc import (
    RUN_MANIFEST,
    age_s,
    continue_stopped,
    environment,
    find_process,
    namespace,
    process_at,
)
from runner.state import authentic, index
from runner.state.authentic import FOREIGN, Foreign, Why
from runner.state.index import RunRow, row_of
from runner.state.manifest import Manifest
from runner.state.store import RunDir
from runner.value import Value
from runner.workspace.undecided import of_runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from runner.model import Identity
    from runner.processes.proc import Process

_POLL_S = 0.005
_TAKE_OVER_S, _UNSEEN_S = 10.0, 0.1
_DYING_S = 0.5
_BEGINS_WITHIN_S = 2.0
_ADOPT_TRIES = 6
_REWRITE_WITHIN_S = 30.0
_WAKES_S = 1.0
_SILENT_S = 12.0
"""It may be freezing a tree, which takes it ten seconds at the most."""
MOST_IN_DETAIL = 100
"""Rows of which `rows_json` tells all: their records take as long to read as an interpreter to begin."""
_LONGEST_SUMMARY = 500
_NO_DETAIL = {"usage": None, "context": None, "files": None, "summary": None}


class Shown(Value):
    """A manifest, and why the run is foreign, so that this is all that is done with it; None where it is
    ours.
    """

    manifest: Manifest
    foreign: Foreign | None

    @property
    def is_told_apart(self) -> bool:
        """Whether its manifest is not believed either. An older runner has signed none, and what is only read
        of those goes on.
        """
        found, is_done = self.foreign, self.manifest.is_done
        return found is not None and not (is_done and found.why in authentic.OLDER)

    @property
    def status(self) -> str:
        """That of the manifest, or `foreign`."""
        return FOREIGN if self.is_told_apart else self.manifest.status

    def to_json(self) -> dict[str, Any]:
        """The manifest; of a foreign run with the reason beside it."""
        data = self.manifest.to_json()
        return (
            data
            if self.foreign is None
            else {**data, "status": self.status, "foreign": self.foreign.to_json()}
        )


def show(run: RunDir) -> Shown:
    """As `look`, and a foreign run is shown as it lies there."""
    try:
        manifest = look(run)
        return Shown(manifest, authentic.why_foreign(run) if manifest.is_done else None)
    except ForeignRun as error:  # of one of its records, where nothing else is wrong with it
        found = authentic.why_foreign(run) or Foreign(Why.FORGED, error.message, error.hint or "")
        return Shown(run.read_manifest(), found)


def look(run: RunDir) -> Manifest:
    """The manifest, reconciled with reality: a run without an owner gets one, or its end, first.

    ForeignRun for one that is not done where that would be to act on records that are not ours. One without
    a MAC has its owner if a process of ours says so itself. A held lock says nothing: others may hold it.
    """
    manifest = None
    try:
        manifest = run.read_manifest()
        if manifest.is_done:
            finish_sealing(run)
            return manifest
        if manifest.engine is not None and (seen := _far_off(run, manifest)) is not None:
            return seen
    except (ManifestBroken, RunNotFound):
        if not _can_be_made_again(run):
            raise
        authentic.refuse_foreign(run)
        if (seen := _far_off(run, None)) is not None:
            return seen
        if is_held(run):
            ask(run, "rewrite", "user", _REWRITE_WITHIN_S)
            return run.read_manifest()
    authentic.refuse_another(run)
    if not (is_held(run) and _says_so_itself(run, manifest)):
        if manifest is not None and (ended := run.read_manifest()).is_done:
            return ended  # it was at its end: then it has no owner any more, and needs none
        authentic.refuse_foreign(run)
    for tries_left in reversed(range(_ADOPT_TRIES)):
        lock_fd = _lock_of_ownerless(run)
        if lock_fd is None or _is_over(run, lock_fd):
            break
        try:
            _adopt(run, lock_fd)
            break
        except SupervisorFailed:
            if not tries_left:
                raise  # once may be a kill that meant the owner before; this is none
    return run.read_manifest()


def _far_off(run: RunDir, manifest: Manifest | None) -> Manifest | None:
    """What is known from here of a run that lives on another machine; None for one that is looked at here."""
    if not is_placed(run):
        return None
    from runner.usecases import away  # most runs live where they were started

    return away.look(run, manifest) if away.is_away(run, manifest) else None


def is_placed(run: RunDir) -> bool:
    """Whether an engine has placed it, on this machine or another."""
    return os.path.lexists(f"{run.path}/placement.json")


def wake(run: RunDir) -> None:
    """As `RunDir.wake`, wherever its supervisor is."""
    run.wake()
    if is_placed(run):
        from runner.usecases import away

        away.tell(run)


def _adopt(run: RunDir, lock_fd: int) -> None:
    from runner.supervise.begin import adopt  # nearly every run has an owner

    adopt(run, lock_fd)


def is_held(run: RunDir) -> bool:
    """Whether the lock is held; it is not where its file was removed."""
    try:
        return run.is_locked()
    except RunNotFound:
        return False


def _says_so_itself(run: RunDir, manifest: Manifest | None) -> bool:
    """Whether the owner that the manifest names is a process of ours that was started for this very run. One
    that has just begun may still be on its way from `start` to the program that is given the name of the run.
    """
    owner = None if manifest is None or manifest.supervisor is None else find_process(manifest.supervisor)
    while owner is not None:
        try:
            is_ours = os.stat(f"/proc/{owner.pid}").st_uid == os.geteuid()
        except OSError:
            return False
        if is_ours and environment(owner.pid).get(RUN_MANIFEST) == run.manifest:
            return True
        if not is_ours or age_s(owner) > _BEGINS_WITHIN_S:
            return False
        time.sleep(_POLL_S)
        owner = find_process(manifest.supervisor) if manifest is not None and manifest.supervisor else None
    return False


def _is_over(run: RunDir, lock_fd: int) -> bool:
    """Whether the run was done meanwhile. Then, or if no takeover is possible, the lock is released."""
    try:
        is_done = run.read_manifest().is_done
    except (ManifestBroken, RunNotFound):
        if not _can_be_made_again(run):
            os.close(lock_fd)
            raise
        is_done = False  # its new owner makes it again
    except RunnerError:
        os.close(lock_fd)
        raise
    if is_done:
        os.close(lock_fd)
    elif not os.access(run.path, os.W_OK):
        os.close(lock_fd)
        raise Unwritable(
            f"run `{run.run_id}` has no supervisor and its folder cannot be written: its state is unknown"
        )
    return is_done


def _can_be_made_again(run: RunDir) -> bool:
    """Whether it is known what was started: a manifest that is broken or missing can be written again."""
    return os.path.exists(run.invocation)


def finish_sealing(run: RunDir) -> None:
    """Of a run that is done: its owner takes the FIFO away last, so one that is there was cut short. Where
    values of its secrets were missing, who has them now brings them.

    What cannot be sealed now is tried again by the next look; reading redacts in any case.
    """
    if not (os.path.exists(run.wake_fifo) or _can_be_sealed(run)) or not os.access(run.path, os.W_OK):
        return
    if authentic.why_foreign(run) is not None:
        return
    try:
        if is_placed(run):
            from runner.usecases import away

            if away.is_sealed_there(run):
                return
        lock_fd = run.try_lock()
        if lock_fd is not None:
            _adopt(run, lock_fd)
    except RunnerError:
        return


def _can_be_sealed(run: RunDir) -> bool:
    if not os.path.exists(run.unsealed):
        return False
    from runner.state import fingerprints  # hardly any run waits for that

    try:
        return not fingerprints.known(run, run.read_invocation().secret_names, os.environ).missing
    except RunnerError:
        return False


def is_done(run: RunDir) -> bool:
    """Whether nothing more will come from this run; a folder that is gone will say nothing more, and neither
    will a run that nobody here takes over.
    """
    try:
        return look(run).is_done
    except (RunNotFound, ForeignRun):
        return True


def _lock_of_ownerless(run: RunDir) -> int | None:
    """The lock, or None where a living owner has the run. OwnerStopped where that one does nothing.

    Lock and owner agree, except for the milliseconds of a death or a takeover, which are waited for. If they
    still disagree, the process decides: a free lock beside a living owner was removed or replaced, and a held
    one beside a dead owner belongs to a very slow reader.
    """
    begun = time.monotonic()
    woken: list[int] = []
    while True:
        lock_fd = run.try_lock(again=True)
        try:
            manifest = run.read_manifest()
        except RunnerError:
            return lock_fd
        owner = manifest.supervisor
        process = None if manifest.is_done or owner is None else find_process(owner)
        waited_s = time.monotonic() - begun
        if process is not None and process.is_alive:
            if lock_fd is not None:
                os.close(lock_fd)
            is_settled = lock_fd is None or waited_s > _DYING_S
            if is_settled and _does_its_work(run, manifest, process, woken, waited_s):
                return None
        elif lock_fd is not None:
            return lock_fd
        elif manifest.is_done or owner is None or waited_s > _patience_s(owner):
            return None
        time.sleep(_POLL_S)


def _patience_s(owner: Identity) -> float:
    """From the PID namespace of a sandbox no owner outside can be seen: its lock says that it is there."""
    return _TAKE_OVER_S if owner.namespace in (None, namespace()) else _UNSEEN_S


def _does_its_work(
    run: RunDir, manifest: Manifest, process: Process, woken: list[int], waited_s: float
) -> bool:
    """Whether the owner of the run is awake and has written what became of its agent; OwnerStopped where it
    had the time to. A stopped one is continued, once: the agent may have stopped it, and nobody watches it.
    """
    if process.is_stopped:
        if not woken:
            woken.append(process.pid)
            continue_stopped(process)
        what, within_s = "is stopped", _WAKES_S
    elif _is_unseen(manifest):
        what, within_s = "has not written that its agent has ended", _SILENT_S
    else:
        return True
    if waited_s > within_s:
        raise OwnerStopped(f"the supervisor of run `{run.run_id}` (process {process.pid}) {what}")
    return False


def _is_unseen(manifest: Manifest) -> bool:
    """Whether its agent has ended and its owner has not written that yet, which takes milliseconds."""
    if manifest.phase not in (Phase.RUNNING, Phase.PAUSED) or manifest.process is None:
        return False
    process = process_at(manifest.process.pid)
    is_there = process is not None and process.start_time == manifest.process.start_time
    return not (process is not None and is_there and process.is_alive)


def runs(root: str, *, task: str | None, everything: bool) -> list[RunRow]:
    """A row per run, newest first: those that are not done, or all."""
    done, others = index.scan(root)
    rows = []
    for run in others:
        try:
            manifest = look(run)
        except RunNotFound:
            continue  # being created right now, or its creator was killed
        except ForeignRun:
            rows.append(foreign(run))
            continue
        except RunnerError:
            rows.append(unknown(run))
            continue
        if everything or not manifest.is_done:
            rows.append(row_of(manifest))
    rows.reverse()
    if everything:
        rows = sorted([*rows, *done], key=lambda row: row.run_id, reverse=True) if rows else done
        if trees := of_runs(os.environ):
            rows = [row.replace(undecided=bool(row.ended_at)) if row.run_id in trees else row for row in rows]
    return rows if task is None else [row for row in rows if row.task_id == task]


def rows_json(root: str, rows: Sequence[RunRow]) -> list[dict[str, Any]]:
    """The rows with what only the records of each run say; of so many that this would cost, null."""
    detail = _detail if len(rows) <= MOST_IN_DETAIL else lambda *_: _NO_DETAIL
    return [{**row.to_json(), **detail(root, row)} for row in rows]


def _detail(root: str, row: RunRow) -> dict[str, Any]:
    run = RunDir(root, row.task_id, row.run_id)
    try:
        if row.status == FOREIGN:
            return _NO_DETAIL
        manifest = run.read_manifest()
    except RunnerError:
        return _NO_DETAIL
    files = None
    if manifest.is_done:
        from runner.verify import record

        found = record.load(run.result)
        is_known = found is not None and found.attempt == manifest.attempt
        files = found.observed.changed if found and is_known and found.observed is not None else None
    return {
        "usage": manifest.usage.to_json(),
        "context": manifest.context and manifest.context.to_json(),
        "files": files,
        "summary": manifest.last_message and manifest.last_message[:_LONGEST_SUMMARY],
    }


def undecided(root: str, rows: Sequence[RunRow], task: str | None = None) -> int:
    """How many runs that are not among these, so are done, have a tree that stands; of a task, or of all."""
    found = (index.folder_of(root, one) for one in of_runs(os.environ) - {row.run_id for row in rows})
    return sum(run is not None and task in (None, run.task_id) for run in found)


def foreign(run: RunDir) -> RunRow:
    """The row of a run that is only shown."""
    try:
        return row_of(run.read_manifest()).replace(status=FOREIGN, reason=None, questions_open=0)
    except RunnerError:
        return unknown(run).replace(status=FOREIGN)


def unknown(run: RunDir) -> RunRow:
    """The row of a run of which nothing is known."""
    return RunRow(run.run_id, run.task_id, "unknown", None, None, None, None, None)


def to_end(manifest: Manifest) -> str:
    """How an unfinished run comes to its end; the hint where it has to be done first."""
    if manifest.phase is Phase.WAITING:
        return f"it waits for a message: `runner end {manifest.run_id}` ends it"
    return f"`runner wait {manifest.run_id}` waits for its end, `runner cancel {manifest.run_id}` ends it"


def below(run: RunDir) -> None:
    """Has the truth written of every run that this one has started."""
    from runner.state.lineage import children

    for child in children(run):
        try:
            look(child)
        except RunnerError:
            continue  # it is gone, or being made right now


def ask(run: RunDir, kind: str, actor: str, within_s: float, *, only: bool = False) -> None:
    """Leaves an intent and returns when its owner has taken it, or the run is done.

    An owner that dies meanwhile gets a successor, which takes it.
    """
    if is_placed(run):
        from runner.usecases import away

        if away.asks(run, kind, actor, within_s, only=only):
            return
    path = run.leave_intent(kind, actor, only=only)
    run.wake()
    deadline = time.monotonic() + within_s
    while os.path.exists(path):
        if not is_held(run) and look(run).is_done:
            withdraw(path)
            return
        if time.monotonic() > deadline:
            withdraw(path)
            from runner.usecases.away import unanswered

            raise unanswered(kind, within_s)
        time.sleep(_POLL_S)
