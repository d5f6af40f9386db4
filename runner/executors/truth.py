"""What is told of a run that lives in an engine's job: one table, from what was seen. Pure.

A terminal manifest is always right. An end is told only where the engine says that the job has ended, or that
it knows none, and nobody at the node gives a sign of life. What is not known is never an end.
"""

from __future__ import annotations

from runner.executors.base import UNUSABLE, Job, JobState
from runner.executors.beat import EVERY_S, GONE_S, SILENT_S
from runner.model import Phase
from runner.state.manifest import parse_timestamp, timestamp
from runner.state.placement import JobEnd, Placement
from runner.text.durations import about
from runner.value import Value

UNPLACED_S = 120.0
"""A job that an engine has not known for so long since it was asked to place it will not come any more. Also:
how long a node may take until its first heartbeat."""

_CODES = {
    "TIMEOUT": "engine_time_limit",
    "PREEMPTED": "engine_preempted",
    "CANCELLED": "engine_cancelled",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_failed",
    "BOOT_FAIL": "node_failed",
    "DEADLINE": "queue_timeout",
}
_MEANS = {
    "engine_time_limit": "the engine's time limit for its job was reached",
    "engine_preempted": "the engine ended its job for one of higher priority",
    "engine_cancelled": "its job was cancelled",
    "out_of_memory": "its job needed more memory than it had asked for",
    "node_failed": "its node failed",
    "queue_timeout": "its job waited longer than it was allowed to",
    "executor_unusable": "its node could not begin it",
}
_CANNOT_EXECUTE = (126, 127)
_NO_LOG = 53
"""The signal that Slurm makes up for a job whose output file its node cannot open."""


class JobTold(Value):
    """What to tell of it besides its manifest."""

    state: JobState
    """Of its job."""
    status: str | None = None
    """Shown instead of the manifest's: `queued`, or `paused` by the engine. None: the manifest says it."""
    reason: str | None = None
    """Why its job waits, in the engine's word."""
    starts_at: str | None = None
    node: str | None = None
    silent_s: float | None = None
    """For how long its node has given no sign of life, where that is long."""
    note: str | None = None
    """A sentence that a person should read beside the status."""
    overdue: bool = False
    """It has waited longer than it may: whoever looks cancels its job."""
    end: JobEnd | None = None
    """Its job has ended without its manifest: whoever looks writes this end."""


def tell(job: Job, placement: Placement, *, phase: Phase, heartbeat: float | None, now: float) -> JobTold:
    """`heartbeat` is its age in seconds, None where there never was one; `now` is since the epoch."""
    told = JobTold(job.state, node=job.node)
    if phase is Phase.DONE:
        return told
    is_fresh = heartbeat is not None and heartbeat < GONE_S
    if job.state is JobState.UNSEEN:
        return told.replace(note=f"not known: {job.why}", silent_s=_silence(job, placement, heartbeat, now))
    if job.state in (JobState.ENDED, JobState.GONE):
        if is_fresh:
            return told.replace(note="its job has ended, and its node still gives signs of life")
        if _is_too_soon(job, placement, heartbeat, now):
            return told.replace(note="its job has ended, and the word of its node may be on its way")
        return _ended(told, job, placement, now)
    if job.state is JobState.PENDING:
        return _waiting(told, job, placement, is_fresh=is_fresh, now=now)
    if job.state is JobState.SUSPENDED:
        return told.replace(status="paused", note="suspended by the cluster")
    silent = _silence(job, placement, heartbeat, now)
    if job.state is JobState.ENDING:
        return told.replace(silent_s=silent, note="the engine ends its job")
    note = None if silent is None else f"{job.node or 'its node'} silent for {about(silent)}"
    return told.replace(silent_s=silent, note=note)


def _waiting(told: JobTold, job: Job, placement: Placement, *, is_fresh: bool, now: float) -> JobTold:
    if is_fresh and not job.restarts:
        return told.replace(state=JobState.RUNNING)  # the answer is from a moment before it began
    if is_fresh:
        return told.replace(note="the engine puts its job back into the queue, and it still runs on its node")
    limit = placement.max_pending_s
    return told.replace(
        status="queued",
        reason=job.why,
        starts_at=job.starts_at,
        overdue=limit is not None
        and now - parse_timestamp(placement.submitted_at) > limit
        and not job.restarts,
    )


def _silence(job: Job, placement: Placement, heartbeat: float | None, now: float) -> float | None:
    """How long a node that should give signs of life has given none, where that is too long. A sign from
    before it began is one of a former copy, or of nobody.
    """
    since = now - parse_timestamp(job.starts_at or placement.submitted_at)
    if heartbeat is not None and not 0 <= since < heartbeat:
        return heartbeat if heartbeat > SILENT_S else None
    return since if job.starts_at is not None and since > UNPLACED_S else None


def _is_too_soon(job: Job, placement: Placement, heartbeat: float | None, now: float) -> bool:
    """Whether a sign of life, or the end that the node wrote, may still be on its way: a network file system
    shows both late.
    """
    if heartbeat is not None:
        return False
    if job.state is JobState.GONE:
        return now - parse_timestamp(placement.submitted_at) < UNPLACED_S
    has_run = job.node is not None
    return has_run and job.ended_at is not None and 0 <= now - parse_timestamp(job.ended_at) < GONE_S


def _ended(told: JobTold, job: Job, placement: Placement, now: float) -> JobTold:
    code, message = _cause(job, placement, has_begun=told.node is not None)
    end = JobEnd(code, message, job.engine_state, job.exit_code, job.signal, timestamp(now), job.node)
    return told.replace(end=end)


def _cause(job: Job, placement: Placement, *, has_begun: bool) -> tuple[str, str]:
    if job.state is JobState.GONE and placement.job_id is None:
        return "not_placed", "the engine has never known a job of it"
    if job.state is JobState.GONE:
        return "lost", "the engine knows no such job any more, and nothing was heard of its end"
    code = _CODES.get(job.engine_state or "")
    if code == "engine_cancelled" and not has_begun and _waited_too_long(job, placement):
        code = "queue_timeout"
    if code is None and (job.exit_code in (UNUSABLE, *_CANNOT_EXECUTE) or job.signal == _NO_LOG):
        code = "executor_unusable"
    if code is not None:
        where = f" ({job.node})" if job.node else ""
        return code, f"{_MEANS[code]}{where}"
    how = f"signal {job.signal}" if job.signal else f"status {job.exit_code}"
    return "lost", f"its job ended ({job.engine_state}, {how}), and the run wrote no end"


def _waited_too_long(job: Job, placement: Placement) -> bool:
    if placement.max_pending_s is None or job.ended_at is None:
        return False
    return parse_timestamp(job.ended_at) - parse_timestamp(placement.submitted_at) >= placement.max_pending_s


__all__ = ["EVERY_S", "UNPLACED_S", "JobTold", "tell"]
