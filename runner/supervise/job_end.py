"""What the supervisor of a placed run looks at first: whether its job has ended, or another copy of it begun.
Edges: disk, processes.

What lived on a node is seen on that node only. An end that the engine tells of is written from any machine,
and then nobody knows what is left.
"""

from __future__ import annotations

import os

from runner.disk.files import read_text
from runner.executors import beat
from runner.model import Outcome, Phase, Reason
from runner.processes import spawn
from runner.processes.proc import host, identify, is_here
from runner.state import placement
from runner.state.lifecycle import Event
from runner.state.manifest import Proof, exited
from runner.supervise.attempts import NextAttempt
from runner.supervise.begin import start_rehearsal
from runner.supervise.judging import survivors_of
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.manifest import Manifest
    from runner.supervise.owner import Owner


class JobSeen(Value):
    """What is to be written; None: nothing, as the run lives elsewhere or waits for its place."""

    end: tuple[Outcome, Reason] | None
    again: bool = False
    """Whether it is to be begun once more, here."""


def of_job(owner: Owner) -> JobSeen | None:
    """None where the run is as one that was started here."""
    run, manifest = owner.run, owner.manifest
    placed, engine = placement.load(run), manifest.engine
    if placed is not None and (end := placed.end) is not None:
        owner.copy = None  # we are no copy of its job, so that our own fence does not keep us out
        placement.fence(run, placement.NOBODY)
        # A run below that of the job has no heartbeat of its own.
        has_begun = beat.age(run.path) is not None or manifest.supervisor is not None
        if engine is not None:
            job_id, cluster = placed.job_id or engine.job_id, placed.cluster or engine.cluster
            engine = engine.replace(job_id=job_id, cluster=cluster, node=engine.node or end.node)
            manifest = manifest.replace(engine=engine)
        # A job that had a node may have begun it without a word, unless it has said that it did not.
        is_unseen = has_begun or (end.node is not None and end.code != "executor_unusable")
        owner.manifest = _unseen(manifest) if is_unseen else manifest
        placement.drop_environment(run)
        return JobSeen((placement.outcome_of(end.code), Reason(end.code, end.message)))
    if engine is None:
        return JobSeen(None)
    if owner.copy not in (None, engine.restarts):
        if _begins_again(owner):
            return JobSeen(None, again=True)
        owner.manifest = _of_former_copy(owner)
        text = f"its job was started again while it was `{manifest.phase}` on {engine.node}"
        return JobSeen((Outcome.LOST, Reason("requeued", text, "check its output, then start it again")))
    return None if engine.node == host() else JobSeen(None)


def _begins_again(owner: Owner) -> bool:
    """Whether its engine may begin it once more, and its agent was at work: what had come to its end, waits
    for a message or was being stopped is for a person.
    """
    executor, manifest = owner.invocation.executor, owner.manifest
    is_at_work = manifest.phase in (Phase.RUNNING, Phase.PAUSED) and not manifest.has_turns
    return executor is not None and executor.requeue and is_at_work


def again(owner: Owner) -> NextAttempt:
    """The attempt of this copy of the job, and its manifest until then: the end of the former one is unseen.
    OSError where its scripted model cannot listen here.
    """
    run, invocation, me = owner.run, owner.invocation, identify(os.getpid())
    assert me is not None
    listener = None
    if invocation.rehearsal is not None:
        import socket

        listener = socket.create_server(("127.0.0.1", invocation.rehearsal.port), backlog=64)
    owner.manifest = _of_former_copy(owner)
    assert owner.manifest.engine is not None
    owner.tree = owner.tree_of(owner.manifest.process or me)
    spawn.become_subreaper()
    engine = owner.manifest.engine.replace(node=host(), restarts=owner.copy or 0)
    owner.log.note(Event.EXITED, exit_code=None, signal=None)
    owner.write_or_fail(exited(owner.manifest, None, None).replace(engine=engine, supervisor=me))
    if listener is not None:
        start_rehearsal(run, invocation, owner.env, listener.detach())
    text = read_text(run.prompt if invocation.fresh_argv is None else run.task) or ""
    argv = invocation.fresh_argv or invocation.argv
    return NextAttempt("fresh", argv, text, 0.0, "requeued", counts=False)


def _of_former_copy(owner: Owner) -> Manifest:
    """On the same machine what is left of it can be ended, and seen."""
    manifest, process = owner.manifest, owner.manifest.process
    if process is None and manifest.supervisor is None:
        return manifest
    if process is None or not is_here(process):
        return _unseen(manifest)
    return manifest.with_left(survivors_of(owner.tree_of(process).sweep(1.0)), Proof.SEEN)


def _unseen(manifest: Manifest) -> Manifest:
    """From here on, whoever ends the run elsewhere does not know what is left of it there."""
    engine = manifest.engine
    if engine is not None and engine.node is not None and engine.node not in engine.unseen:
        engine = engine.replace(unseen=(*engine.unseen, engine.node))
    return manifest.replace(survivors=None, proof=Proof.UNKNOWN, engine=engine)
