"""USE CASE: what has become of the runs that have taken a handoff. Edge: disk.

The end of a run is told by its own supervisor. Where that could not (it was killed, another one had the lock,
the folder is gone), whoever reads the ledger looks, and tells it: no run that is over has a lane.
"""

from __future__ import annotations

import os

from runner.errors import RunnerError
from runner.ledger.entry import RUNNER, EntryType, NewEntry
from runner.ledger.file import Ledger
from runner.ledger.lanes import LaneStatus, left
from runner.state.authentic import own_invocation, tasks_of
from runner.state.store import RunDir
from runner.usecases.look import look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.ledger.file import Look
    from runner.ledger.lanes import State
    from runner.model import Json


def settled(ledger: Ledger, seen: Look | None = None) -> Look:
    """The ledger as it is believed (or was `seen`), once the end is told of each run that has a lane and is
    over. Where that cannot be written, what is returned says it all the same. LedgerBroken or ForeignLedger.
    """
    seen = ledger.believed() if seen is None else seen
    ends = {run.run_id: told for run in _takers(ledger, seen.state) if (told := _end_of(run)) is not None}
    if not ends:
        return seen
    if os.access(os.path.dirname(ledger.path), os.W_OK):
        tell_ends(ledger, ends)
        seen = now if (now := ledger.look()).is_whole else seen
    state = seen.state
    for run_id in ends:
        state = left(state, run_id)
    return seen.replace(state=state)


def settle_all(root: str) -> None:
    """In every ledger of a repository that can be believed."""
    for task in tasks_of(root):
        try:
            settled(Ledger(root, task))
        except RunnerError:
            continue


def is_told(run: RunDir) -> bool:
    """Whether the end of a run that is done is in its ledger, if that says that the run has a lane; it is
    told now where it was not. False: not now, as another one has the lock or the disk refuses.
    """
    try:
        ledger = Ledger(run.repo, own_invocation(run).ledger_task)
        names = [one.run_id for one in _takers(ledger, ledger.state())]
        told = _end_of(run) if run.run_id in names else None
    except RunnerError:
        return True  # nothing of it is believed
    return told is None or tell_ends(ledger, {run.run_id: told})


def tell_ends(ledger: Ledger, ends: dict[str, Json]) -> bool:
    """Of each run once, as its supervisor does."""
    kind = EntryType.RUN_ENDED
    told = [NewEntry(kind, RUNNER, end, run_id=run_id, key=f"{run_id}:ended") for run_id, end in ends.items()]
    return ledger.tell(told, str)


def _takers(ledger: Ledger, state: State) -> list[RunDir]:
    taken = [lane for lane in state.lanes if lane.status is LaneStatus.TAKEN]
    return [RunDir(ledger.repo, lane.to, lane.to_run) for lane in taken if lane.to and lane.to_run]


def _end_of(run: RunDir) -> Json | None:
    """None where it goes on, and where nobody can say."""
    try:
        os.lstat(run.path)
        manifest = look(run)
    except FileNotFoundError:
        return {"status": "unknown", "message": "its folder is gone"}
    except (OSError, RunnerError):
        return None
    if not manifest.is_done or (reason := manifest.reason) is None:
        return None
    told = {"status": manifest.status, "outcome": manifest.outcome}
    return {**told, "code": reason.code, "message": reason.message}
