"""What the supervisor of a placed run looks at first: whether its job has ended, or another copy of it begun.
Edges: disk, processes.

What lived on a node is seen on that node only. An end that the engine tells of is written from any machine,
and then nobody knows what is left.
"""

from __future__ import annotations

from runner.executors import beat
from runner.model import Outcome, Reason
from runner.processes.proc import host, is_here
from runner.state import placement
from runner.state.manifest import Proof
from runner.supervise.judging import survivors_of
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.manifest import Manifest
    from runner.supervise.owner import Owner

_NOBODY = -1
"""What a fence says of a run whose end the submit side writes: a node that comes back has it no more."""


class JobSeen(Value):
    """What is to be written; None: nothing, as the run lives elsewhere or waits for its place."""

    end: tuple[Outcome, Reason] | None


def of_job(owner: Owner) -> JobSeen | None:
    """None where the run is as one that was started here."""
    run, manifest = owner.run, owner.manifest
    placed, engine = placement.load(run), manifest.engine
    if placed is not None and (end := placed.end) is not None:
        owner.copy = _NOBODY
        placement.fence(run, _NOBODY)
        # A run below that of the job has no heartbeat of its own.
        has_begun = beat.age(run.path) is not None or manifest.supervisor is not None
        owner.manifest = _unseen(manifest) if has_begun else manifest
        placement.drop_environment(run)
        return JobSeen((placement.outcome_of(end.code), Reason(end.code, end.message)))
    if engine is None:
        return JobSeen(None)
    if owner.copy not in (None, engine.restarts):
        owner.manifest = _of_former_copy(owner)
        text = f"its job was started again while it was `{manifest.phase}` on {engine.node}"
        return JobSeen((Outcome.LOST, Reason("requeued", text, "check its output, then start it again")))
    return None if engine.node == host() else JobSeen(None)


def _of_former_copy(owner: Owner) -> Manifest:
    """On the same machine what is left of it can be ended, and seen."""
    manifest, process = owner.manifest, owner.manifest.process
    if process is None and manifest.supervisor is None:
        return manifest
    if process is None or not is_here(process):
        return _unseen(manifest)
    left = owner.tree_of(process).sweep(1.0)
    return manifest.replace(survivors=survivors_of(left), proof=Proof.SEEN)


def _unseen(manifest: Manifest) -> Manifest:
    return manifest.replace(survivors=None, proof=Proof.UNKNOWN)
