"""What is told of a run in an engine's job: the table of docs/executors.md."""

from __future__ import annotations

from typing import Any

import pytest

from runner.executors import beat, truth
from runner.executors.base import UNUSABLE, Job, JobState
from runner.executors.truth import JobTold
from runner.model import Phase
from runner.state.manifest import timestamp
from runner.state.placement import Placement

NOW = 1_795_900_000.0
PLACED = Placement("hpc", "slurm", "run", timestamp(NOW - 600), ("sbatch",), "c", "7")
FRESH, OLD = 10.0, beat.SILENT_S + 30


def tell(
    job: Job, phase: Phase = Phase.RUNNING, heartbeat: float | None = FRESH, placed: Placement = PLACED
) -> JobTold:
    return truth.tell(job, placed, phase=phase, heartbeat=heartbeat, now=NOW)


def ended(state: str, ago: float = 100.0, **changes: Any) -> Job:
    return Job(JobState.ENDED, state, node="n1", ended_at=timestamp(NOW - ago), **changes)


@pytest.mark.parametrize("state", [*JobState], ids=str)
def test_a_terminal_manifest_is_always_right(state: JobState) -> None:
    told = tell(Job(state, "FAILED"), Phase.DONE, heartbeat=None)
    assert (told.status, told.end, told.note, told.overdue) == (None, None, None, False)


def test_a_job_that_waits_is_queued_and_says_why_and_until_when() -> None:
    told = tell(Job(JobState.PENDING, "PENDING", "Resources", starts_at="soon"), Phase.QUEUED, None)
    assert (told.status, told.reason, told.starts_at, told.end) == ("queued", "Resources", "soon", None)


def test_a_job_that_waits_again_while_its_run_gives_signs_of_life_is_as_its_manifest_says() -> None:
    told = tell(Job(JobState.PENDING, "PENDING", "BeginTime", restarts=1))
    assert told.status is None
    assert told.note == "the engine puts its job back into the queue, and it still runs on its node"


def test_a_job_that_waits_longer_than_it_may_is_overdue_unless_it_had_begun() -> None:
    job = Job(JobState.PENDING, "PENDING", "JobHeldUser")
    limited = PLACED.replace(max_pending_s=599.0)
    assert tell(job, Phase.QUEUED, None, limited).overdue
    assert not tell(job, Phase.QUEUED, None, PLACED.replace(max_pending_s=601.0)).overdue
    assert not tell(job.replace(restarts=1), Phase.RUNNING, OLD, limited).overdue


def test_a_silent_node_is_told_and_is_no_verdict() -> None:
    job = Job(JobState.RUNNING, "RUNNING", node="n1", starts_at=timestamp(NOW - 300))
    assert tell(job).silent_s is None
    told = tell(job, heartbeat=OLD)
    assert (told.status, told.end, told.silent_s, told.note) == (None, None, OLD, "n1 silent for 1m30s")
    assert tell(job, Phase.QUEUED, None).note == "n1 silent for 5m00s"
    young = job.replace(starts_at=timestamp(NOW - truth.UNPLACED_S + 1))
    assert tell(young, Phase.QUEUED, None).note is None


def test_the_silence_of_a_former_copy_is_not_that_of_the_one_that_has_just_begun() -> None:
    job = Job(JobState.RUNNING, "RUNNING", node="n2", starts_at=timestamp(NOW - 5), restarts=1)
    assert (tell(job, heartbeat=OLD).note, tell(job, heartbeat=OLD).silent_s) == (None, None)
    later = job.replace(starts_at=timestamp(NOW - 300))
    assert tell(later, heartbeat=NOW).note == "n2 silent for 5m00s"  # as if last touched in 1970


def test_a_run_that_goes_on_after_its_job_has_ended_says_so() -> None:
    assert tell(ended("FAILED"), heartbeat=FRESH).note == (
        "its job has ended, and its node still gives signs of life"
    )
    early = tell(ended("FAILED", beat.GONE_S - 1), Phase.QUEUED, None)
    assert early.note == "its job has ended, and the word of its node may be on its way"


def test_a_suspended_job_is_paused_by_the_cluster() -> None:
    assert tell(Job(JobState.SUSPENDED, "SUSPENDED"), heartbeat=OLD).status == "paused"


@pytest.mark.parametrize(
    ("engine", "code"),
    [
        ("TIMEOUT", "engine_time_limit"),
        ("PREEMPTED", "engine_preempted"),
        ("CANCELLED", "engine_cancelled"),
        ("OUT_OF_MEMORY", "out_of_memory"),
        ("NODE_FAIL", "node_failed"),
        ("BOOT_FAIL", "node_failed"),
        ("DEADLINE", "queue_timeout"),
        ("FAILED", "lost"),
        ("COMPLETED", "lost"),
    ],
)
def test_an_end_that_the_run_did_not_write_has_the_reason_of_the_engine(engine: str, code: str) -> None:
    told = tell(ended(engine, exit_code=3), heartbeat=OLD)
    assert told.end is not None
    assert (told.end.code, told.end.engine_state, told.end.exit_code) == (code, engine, 3)
    assert told.end.seen_at == timestamp(NOW)


@pytest.mark.parametrize("job", [ended("NODE_FAIL"), Job(JobState.GONE)], ids=["ended", "gone"])
def test_nothing_has_ended_that_gave_a_sign_of_life_two_intervals_ago(job: Job) -> None:
    assert tell(job, heartbeat=beat.GONE_S - 1).end is None
    assert tell(job, heartbeat=beat.GONE_S).end is not None


def test_an_end_without_any_sign_of_life_is_believed_when_one_could_have_arrived() -> None:
    assert tell(ended("FAILED", beat.GONE_S - 1), Phase.QUEUED, None).end is None
    assert tell(ended("FAILED", beat.GONE_S), Phase.QUEUED, None).end is not None
    never_ran = ended("CANCELLED", 0.0).replace(node=None)
    assert tell(never_ran, Phase.QUEUED, None).end is not None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exit_code": UNUSABLE}, "executor_unusable"),
        ({"exit_code": 127}, "executor_unusable"),
        ({"signal": 53}, "executor_unusable"),
        ({"signal": 9}, "lost"),
    ],
)
def test_a_run_that_its_node_could_not_begin_says_so(changes: dict[str, Any], code: str) -> None:
    told = tell(ended("FAILED", **changes), Phase.QUEUED, None)
    assert told.end is not None
    assert told.end.code == code


def test_a_job_that_was_cancelled_since_it_waited_too_long_has_that_as_its_reason() -> None:
    job = ended("CANCELLED", 0.0).replace(node=None)
    told = tell(job, Phase.QUEUED, None, PLACED.replace(max_pending_s=500.0))
    assert told.end is not None
    assert told.end.code == "queue_timeout"
    began = tell(ended("CANCELLED"), heartbeat=OLD, placed=PLACED.replace(max_pending_s=10.0))
    assert began.end is not None
    assert began.end.code == "engine_cancelled"


def test_a_job_that_no_engine_knows_is_lost_and_one_that_never_was_is_not_placed() -> None:
    lost = tell(Job(JobState.GONE), heartbeat=OLD).end
    assert lost is not None
    assert lost.code == "lost"
    unplaced = PLACED.replace(job_id=None)
    never = tell(Job(JobState.GONE), Phase.QUEUED, None, unplaced).end
    assert never is not None
    assert never.code == "not_placed"
    young = unplaced.replace(submitted_at=timestamp(NOW - truth.UNPLACED_S + 1))
    assert tell(Job(JobState.GONE), Phase.QUEUED, None, young).end is None


def test_what_is_not_known_is_no_end() -> None:
    told = tell(Job(JobState.UNSEEN, why="it does not answer"), heartbeat=OLD)
    assert (told.status, told.end, told.note) == (None, None, "not known: it does not answer")
