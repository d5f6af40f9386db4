"""The executor `slurm` on a real cluster: what it does there, and what is told of it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from support.slurm import Cluster
from support.values import an_invocation

from runner.errors import Conflict, EngineSilent, PlacingRefused
from runner.executors import squeue, truth
from runner.executors.base import Job, JobState
from runner.executors.slurm import Slurm
from runner.executors.truth import JobTold
from runner.invocation import Invocation
from runner.model import ExecutorSettings, Phase
from runner.state.manifest import timestamp
from runner.state.placement import Placement, save
from runner.state.store import RunDir

HPC = ExecutorSettings("hpc", "slurm", time_s=600.0)
SLEEP = "#!/bin/sh\nexec sleep 600\n"


class Engine:
    """The executor as a person on the submit host has it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self._folder = cluster, folder
        home = folder / "home"
        home.mkdir(exist_ok=True)
        self.env = {**os.environ, **cluster.env, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
        self.slurm = Slurm(self.env)

    def run(self, settings: ExecutorSettings = HPC) -> Invocation:
        """With its folder, where nothing was placed yet."""
        made = an_invocation(str(self._folder / "repo"), executor=settings)
        Path(RunDir.of(made.repo, made).path).mkdir(parents=True)
        return made

    def submit(self, run: Invocation, script: str | None = SLEEP) -> Placement:
        """`script` instead of ours; None is ours."""
        command = self.slurm.command(run)
        limit = run.executor.max_pending_s if run.executor is not None else None
        asked = Placement("hpc", "slurm", run.run_id, timestamp(), command.argv, max_pending_s=limit)
        save(RunDir.of(run.repo, run), asked)
        made = self.slurm.submit(run, command if script is None else command.replace(script=script))
        return asked.replace(job_id=made.job_id, cluster=made.cluster)

    def look(self, placed: Placement) -> Job:
        return self.slurm.look([placed])[placed.run_id]

    def wait(self, placed: Placement, *states: JobState) -> Job:
        def arrived() -> Job | None:
            job = self.look(placed)
            return job if job.state in states else None

        found = self.cluster.wait_until(arrived, 60, f"{states}")
        assert found is not None
        return found

    def told(self, placed: Placement, job: Job, later_s: float = 600.0) -> JobTold:
        """Some time afterwards, of a run that had begun and gives no sign of life."""
        return truth.tell(job, placed, phase=Phase.RUNNING, heartbeat=later_s, now=time.time() + later_s)

    def ends(self, placed: Placement) -> tuple[str, str | None]:
        """The reason that is told, and the word of the engine."""
        told = self.told(placed, self.wait(placed, JobState.ENDED))
        assert told.end is not None
        return told.end.code, told.end.engine_state


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def engine(cluster: Cluster, folder: Path) -> Engine:
    return Engine(cluster, folder)


LINUXPROC = pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)


@LINUXPROC
def test_a_run_becomes_a_job_whose_supervisor_is_reached_and_told_to_end(engine: Engine) -> None:
    run = engine.run()
    folder = RunDir.of(run.repo, run)
    os.mkdir(folder.control)
    os.mkfifo(folder.wake_fifo)
    reader = os.open(folder.wake_fifo, os.O_RDONLY | os.O_NONBLOCK)
    script = "#!/bin/sh\ntrap 'exit 4' TERM\nwhile :; do sleep 0.1; done\n"
    placed = engine.submit(run, script)
    try:
        job = engine.wait(placed, JobState.RUNNING)
        assert (job.node, job.engine_state, job.restarts) == (engine.cluster.nodes[0], "RUNNING", 0)
        assert job.starts_at is not None
        assert engine.slurm.tell(placed, folder.path)
        assert os.read(reader, 10) == b"!"
        engine.slurm.end(placed, force=False)
        job = engine.wait(placed, JobState.ENDED)
        assert (job.exit_code, job.signal) == (4, None)
        assert engine.ends(placed) == ("lost", "FAILED")
        assert not engine.slurm.tell(placed, folder.path)
        engine.slurm.end(placed, force=True)
    finally:
        os.close(reader)


def test_a_job_that_is_ended_by_force_or_by_hand_was_cancelled(engine: Engine) -> None:
    first, second = engine.submit(engine.run()), engine.submit(engine.run())
    for placed in (first, second):
        engine.wait(placed, JobState.RUNNING)
    engine.slurm.end(first, force=True)
    engine.cluster.tell("scancel", str(second.job_id))
    assert {engine.ends(placed) for placed in (first, second)} == {("engine_cancelled", "CANCELLED")}
    engine.cluster.wait_until(lambda: not engine.cluster.job_processes(), what="the end of both")


@LINUXPROC
def test_a_job_that_waits_is_held_released_and_cancelled(engine: Engine) -> None:
    engine.cluster.submit("sleep 600", "--cpus-per-task=4")
    placed = engine.submit(engine.run())
    assert engine.told(placed, engine.wait(placed, JobState.PENDING)).status == "queued"
    engine.slurm.hold(placed, release=False)
    assert (engine.look(placed).why or "").startswith("JobHeld")
    engine.slurm.hold(placed, release=True)
    assert not (engine.look(placed).why or "").startswith("JobHeld")
    engine.slurm.end(placed, force=False)
    job = engine.look(placed)
    assert (job.state, job.engine_state, job.node) == (JobState.ENDED, "CANCELLED", None)
    told = truth.tell(job, placed, phase=Phase.QUEUED, heartbeat=None, now=time.time())
    assert told.end is not None
    assert told.end.code == "engine_cancelled"
    with pytest.raises(Conflict, match="does not wait"):
        engine.slurm.hold(placed, release=False)


@LINUXPROC
def test_a_job_whose_answer_was_lost_is_found_and_never_submitted_twice(engine: Engine) -> None:
    run = engine.run()
    squeue.cluster(engine.env)  # else it is refused before anything is asked for
    with engine.cluster.silent_controller(), pytest.raises(EngineSilent, match="not known"):
        engine.submit(run)
    found = engine.cluster.wait_until(lambda: _found(engine, run), what="the job")
    assert found is not None
    assert engine.cluster.tell("squeue", "-h", "-o", "%i %k") == f"{found} {run.run_id}"


def _found(engine: Engine, run: Invocation) -> str | None:
    try:
        found = engine.slurm.find(run, None)
    except EngineSilent:
        return None
    return None if found is None else found.job_id


@LINUXPROC
def test_nothing_is_placed_where_no_controller_answers_or_it_refuses(engine: Engine) -> None:
    with pytest.raises(PlacingRefused, match=r"[Ii]nvalid partition"):
        engine.submit(engine.run(HPC.replace(partition="nowhere")))
    placed = engine.submit(engine.run())
    other = Engine(engine.cluster, engine.cluster.folder)
    engine.cluster.stop_controller()
    with pytest.raises(PlacingRefused, match="not placed"):
        Slurm({**other.env, "XDG_CACHE_HOME": str(engine.cluster.folder / "cold")}).submit(
            engine.run(), engine.slurm.command(engine.run())
        )
    engine.cluster.start_controller()
    assert [*engine.cluster.jobs()] == [placed.job_id]


@LINUXPROC
def test_a_restart_of_the_controller_ends_nothing(engine: Engine) -> None:
    placed = engine.submit(engine.run())
    engine.wait(placed, JobState.RUNNING)
    engine.cluster.stop_controller()
    job = engine.wait(placed, JobState.UNSEEN)
    told = engine.told(placed, job)
    assert told.end is None
    assert (told.note or "").startswith("not known: ")
    with pytest.raises(EngineSilent):
        engine.slurm.end(placed, force=True)
    engine.cluster.start_controller()
    engine.wait(placed, JobState.RUNNING)


@LINUXPROC
def test_another_cluster_ends_nothing(engine: Engine, two_nodes: Cluster, folder: Path) -> None:
    placed = engine.submit(engine.run())
    other = Engine(two_nodes, folder)
    theirs = two_nodes.submit("sleep 600", "--job-name=runner:other:12345678")
    moved = placed.replace(job_id=theirs)
    assert other.look(placed).state is JobState.UNSEEN
    with pytest.raises(EngineSilent, match="answers, and its job is one of"):
        other.slurm.end(moved, force=True)
    # A number that came again, in a cluster that began anew: its name tells.
    again = moved.replace(cluster=squeue.cluster(other.env))
    with pytest.raises(EngineSilent, match="another name"):
        other.slurm.end(again, force=True)
    two_nodes.wait_for(theirs, "RUNNING")


@LINUXPROC
def test_the_cluster_itself_removes_a_job_that_waits_longer_than_it_may(engine: Engine) -> None:
    engine.cluster.submit("sleep 600", "--cpus-per-task=4")
    placed = engine.submit(engine.run(HPC.replace(time_s=60.0, max_pending_s=5.0)))
    engine.wait(placed, JobState.PENDING)
    assert engine.ends(placed) == ("queue_timeout", "DEADLINE")


@LINUXPROC
def test_a_job_that_is_held_longer_than_it_may_wait_is_overdue(engine: Engine) -> None:
    engine.cluster.submit("sleep 600", "--cpus-per-task=4")
    placed = engine.submit(engine.run(HPC.replace(max_pending_s=60.0)))
    engine.slurm.hold(placed, release=False)
    told = truth.tell(engine.look(placed), placed, phase=Phase.QUEUED, heartbeat=None, now=time.time() + 61)
    assert told.overdue


@LINUXPROC
def test_a_time_limit_is_told(engine: Engine) -> None:
    script = "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n"  # nobody writes an end in time
    placed = engine.submit(engine.run(HPC.replace(time_s=60.0)), script)
    engine.cluster.wait_for(str(placed.job_id), "TIMEOUT", within=150)
    assert engine.ends(placed) == ("engine_time_limit", "TIMEOUT")


def test_a_node_that_was_killed_is_told_and_what_lives_there_is_waited_for(engine: Engine) -> None:
    placed = engine.submit(engine.run())
    engine.wait(placed, JobState.RUNNING)
    engine.cluster.kill_node()
    job = engine.wait(placed, JobState.ENDED)
    told = truth.tell(job, placed, phase=Phase.RUNNING, heartbeat=5.0, now=time.time())
    assert told.end is None
    assert engine.ends(placed) == ("node_failed", "NODE_FAIL")


@LINUXPROC
def test_a_job_that_is_put_back_waits_again_with_its_number(engine: Engine) -> None:
    placed = engine.submit(engine.run(HPC.replace(requeue=True)))
    engine.wait(placed, JobState.RUNNING)
    engine.cluster.tell("scontrol", "requeue", str(placed.job_id))
    job = engine.wait(placed, JobState.PENDING)
    assert job.restarts == 1
    fresh = truth.tell(job, placed, phase=Phase.RUNNING, heartbeat=5.0, now=time.time())
    assert (fresh.status, fresh.end) == (None, None)
    assert engine.told(placed, job).status == "queued"


@LINUXPROC
def test_a_preempted_job_is_told(engine: Engine) -> None:
    placed = engine.submit(engine.run(HPC.replace(cpus=4)))
    engine.wait(placed, JobState.RUNNING)
    engine.cluster.submit("sleep 600", "--cpus-per-task=4", "--partition=urgent")
    assert engine.ends(placed) == ("engine_preempted", "PREEMPTED")


@LINUXPROC
def test_a_suspended_job_is_paused_by_the_cluster_and_nobody_is_told_there(engine: Engine) -> None:
    run = engine.run()
    placed = engine.submit(run)
    engine.wait(placed, JobState.RUNNING)
    engine.cluster.tell("scontrol", "suspend", str(placed.job_id))
    job = engine.wait(placed, JobState.SUSPENDED)
    assert engine.told(placed, job).status == "paused"
    assert not engine.slurm.tell(placed, RunDir.of(run.repo, run).path)


@pytest.mark.parametrize("cluster", ["cgroup"], indirect=True)
def test_a_job_that_needs_more_memory_than_it_has_is_told(engine: Engine) -> None:
    python = shutil.which("python3") or "/usr/bin/python3"
    script = f"#!/bin/sh\n{python} -c 'x = bytearray(400 << 20); print(len(x))'\n"
    placed = engine.submit(engine.run(HPC.replace(memory="60M")), script)
    assert engine.ends(placed) == ("out_of_memory", "OUT_OF_MEMORY")


@LINUXPROC
def test_a_node_that_cannot_begin_a_run_says_so(engine: Engine) -> None:
    placed = engine.submit(engine.run(), "#!/bin/sh\nexec /nowhere\n")
    assert engine.ends(placed) == ("executor_unusable", "FAILED")


@LINUXPROC
def test_a_node_without_the_folder_of_the_run_cannot_begin_it(engine: Engine) -> None:
    run = engine.run()
    engine.cluster.submit("sleep 600", "--cpus-per-task=4")
    placed = engine.submit(run)
    shutil.rmtree(Path(run.repo))
    engine.cluster.tell("scancel", "--name=wrap")
    assert engine.ends(placed) == ("executor_unusable", "FAILED")


@LINUXPROC
def test_a_job_that_the_cluster_has_forgotten_is_gone(engine: Engine) -> None:
    engine.cluster.configure(MinJobAge=2)
    placed = engine.submit(engine.run(), "#!/bin/sh\nexit 0\n")
    job = engine.wait(placed, JobState.GONE)
    told = engine.told(placed, job)
    assert told.end is not None
    assert told.end.code == "lost"


@LINUXPROC
def test_the_agent_sees_nothing_of_slurm_but_its_processors_of_graphics(engine: Engine) -> None:
    run = engine.run()
    ours = engine.slurm.command(run).script
    head = ours[: ours.index("exec ")]
    placed = engine.submit(
        run, f"{head.replace('#!/bin/sh', '#!/bin/sh' + chr(10) + 'export CUDA_VISIBLE_DEVICES=0')}env\n"
    )
    engine.wait(placed, JobState.ENDED)
    env = dict(
        line.split("=", 1)
        for line in Path(RunDir.of(run.repo, run).path, "slurm.log").read_text().splitlines()
        if "=" in line
    )
    assert env["CUDA_VISIBLE_DEVICES"] == "0"
    assert env["XDG_STATE_HOME"] == f"{engine.env['XDG_STATE_HOME']}"
    assert not [
        name for name in env if name.startswith(("SBATCH_", "SLURM_STEP", "SLURM_CPUS", "SLURM_SUBMIT"))
    ]
    assert env["SLURM_JOB_ID"] == placed.job_id
