"""Ten thousand runs on five hundred nodes that fail in every way: what is told of them is never wrong."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest

from runner.executors import beat, truth
from runner.executors.base import Job, JobState
from runner.model import Phase
from runner.state.manifest import timestamp
from runner.state.placement import Placement

RUNS, NODES, SLOTS = 10_000, 500, 4
STEP_S, LOOK_S = 15.0, 30.0
KEPT_S = 300.0
"""How long the cluster knows a job that has ended: MinJobAge."""
BEGUN = 1_795_900_000.0


class Run:
    """What is on the disk of it, what is true of it, and what the cluster believes of its job."""

    def __init__(self, number: int, at: float, luck: random.Random) -> None:
        self.placement = Placement("hpc", "slurm", str(number), timestamp(at), ("sbatch",), "c", None)
        self.at = at
        self.phase = Phase.QUEUED
        self.reason: str | None = None
        self.beat_at: float | None = None
        self.late_s = luck.uniform(0, 14)
        self.node: int | None = None
        self.lives = False
        self.begun = 0
        self.needs_s = luck.uniform(30, 240)
        self.began_at = 0.0
        self.job: Job | None = None
        """None: the cluster has none, not yet or not any more."""
        self.ended_at = 0.0
        self.why: set[str] = set()
        """The reasons that would be right."""

    def heartbeat(self, now: float) -> float | None:
        """As it arrives here."""
        return None if self.beat_at is None else now - self.beat_at + self.late_s


class World:
    """A cluster, its nodes, and whoever looks at it."""

    def __init__(self, seed: int) -> None:
        self.luck = random.Random(seed)
        self.now = BEGUN
        self.runs = [Run(n, BEGUN + self.luck.uniform(0, 200), self.luck) for n in range(RUNS)]
        self.to_submit = deque(sorted(self.runs, key=lambda run: run.at))
        self.arriving: list[tuple[float, Run]] = []
        self.queue: deque[Run] = deque()
        self.at_work: dict[int, set[Run]] = {node: set() for node in range(NODES)}
        self.down: dict[int, float] = {}
        self.silent_until = 0.0
        self.remembered: deque[Run] = deque()
        self.questions = 0
        self.open: set[Run] = set()

    # -- the cluster -----------------------------------------------------------------------------------

    def submit(self) -> None:
        """One in twenty answers is lost, and in half of these cases so is the request."""
        while self.to_submit and self.to_submit[0].at <= self.now:
            run = self.to_submit.popleft()
            run.placement = run.placement.replace(submitted_at=timestamp(self.now))
            self.open.add(run)
            fate = self.luck.random()
            if fate < 0.95:
                run.placement = run.placement.replace(job_id=run.placement.run_id)
            if fate < 0.975:
                # A silent controller does later what it was told, perhaps after everybody gave up.
                late = self.luck.choice((0.0, 60.0, 400.0)) if fate >= 0.95 else 0.0
                self.arriving.append((self.now + late, run))
            if fate >= 0.95:
                run.why.add("not_placed")
        due = [run for at, run in self.arriving if at <= self.now]
        self.arriving = [(at, run) for at, run in self.arriving if at > self.now]
        for run in due:
            run.job = Job(JobState.PENDING, "PENDING", "Priority")
            self.queue.append(run)

    def schedule(self) -> None:
        free = deque(n for n, runs in self.at_work.items() if n not in self.down and len(runs) < SLOTS)
        while free and self.queue:
            run = self.queue.popleft()
            if run.job is None or run.job.state is not JobState.PENDING:
                continue
            node = free[0]
            self.at_work[node].add(run)
            if len(self.at_work[node]) == SLOTS:
                free.popleft()
            self.begin(run, node)

    def begin(self, run: Run, node: int) -> None:
        """What the program on the node does first."""
        assert run.job is not None
        again = run.job.restarts > 0
        run.job = Job(JobState.RUNNING, "RUNNING", node=f"n{node}", starts_at=timestamp(self.now))
        run.node, run.began_at = node, self.now
        if run.phase is Phase.DONE:
            self.finish(run, "COMPLETED")  # whoever looked has ended it meanwhile
        elif run.lives:
            run.why.add("lost")
            self.finish(run, "FAILED", exit_code=9)  # another copy lives
        elif again:
            run.phase, run.reason = Phase.DONE, "requeued"
            run.why.add("requeued")
            self.finish(run, "FAILED", exit_code=1)
        else:
            run.begun, run.lives, run.phase, run.beat_at = run.begun + 1, True, Phase.RUNNING, self.now

    def finish(self, run: Run, state: str, **how: int) -> None:
        node = f"n{run.node}" if run.node is not None else None
        run.job = Job(JobState.ENDED, state, node=node, ended_at=timestamp(self.now), **how)
        run.ended_at = self.now
        self.remembered.append(run)
        if run.node is not None:
            self.at_work[run.node].discard(run)

    def work(self) -> None:
        for runs in [*self.at_work.values()]:
            for run in [*runs]:
                if run.lives:
                    run.beat_at = self.now
                    self.go_on(run)
        while self.remembered and self.now - self.remembered[0].ended_at > KEPT_S:
            run = self.remembered.popleft()
            run.job = None
            run.why |= {"lost"} if run.phase is not Phase.DONE else set()

    def go_on(self, run: Run) -> None:
        fate = self.luck.random()
        if self.now - run.began_at >= run.needs_s:
            run.lives, run.phase, run.reason = False, Phase.DONE, "succeeded"
            run.why.add("succeeded")
            self.finish(run, "COMPLETED", exit_code=0)
        elif fate < 0.002:  # its supervisor was killed, and who replaces it
            run.lives = False
            run.why.add("lost")
            self.finish(run, "FAILED", signal=9)
        elif fate < 0.004:  # cancelled by hand, and killed before it wrote its end
            run.lives = False
            run.why |= {"engine_cancelled", "lost"}
            self.finish(run, "CANCELLED", signal=15)

    def fail(self) -> None:
        """Nodes die and come back, the controller falls silent, people cancel what waits."""
        for node in self.luck.sample(range(NODES), 2):
            if node not in self.down:
                self.down[node] = self.now + self.luck.uniform(60, 300)
                is_cut_off = self.luck.random() < 0.3
                for run in [*self.at_work[node]]:
                    self.lose(run, is_cut_off=is_cut_off)
        for node, until in [*self.down.items()]:
            if until <= self.now:
                del self.down[node]
        if self.luck.random() < 0.03:
            self.silent_until = self.now + self.luck.uniform(15, 120)
        if self.queue and self.luck.random() < 0.5:
            run = self.luck.choice(self.queue)
            if run.job is not None and run.job.state is JobState.PENDING:
                run.why.add("engine_cancelled")
                self.finish(run, "CANCELLED")

    def lose(self, run: Run, *, is_cut_off: bool) -> None:
        """The cluster gives the job up. What runs on a node that is only cut off goes on, and says so."""
        run.why |= {"node_failed", "lost"}
        if is_cut_off:
            run.why.add("succeeded")
            self.cut_off.append(run)
        else:
            run.lives = False
        if self.luck.random() < 0.2:  # a site that puts jobs back although nobody asked for it
            assert run.job is not None
            self.at_work[run.node if run.node is not None else 0].discard(run)
            run.job = Job(JobState.PENDING, "PENDING", "BeginTime", restarts=1)
            self.queue.append(run)
        else:
            self.finish(run, "NODE_FAIL")

    cut_off: list[Run]

    def outlive(self) -> None:
        """What goes on behind the back of the cluster."""
        for run in [*self.cut_off]:
            if run.lives:
                run.beat_at = self.now
                if self.now - run.began_at >= run.needs_s:
                    run.lives, run.phase, run.reason = False, Phase.DONE, "succeeded"
            if not run.lives:
                self.cut_off.remove(run)

    # -- who looks -------------------------------------------------------------------------------------

    def look(self) -> None:
        self.questions += 1
        is_silent = self.now < self.silent_until
        for run in [*self.open]:
            if run.phase is Phase.DONE:
                self.open.discard(run)
                continue
            self.judge(run, Job(JobState.UNSEEN, why="silent") if is_silent else self.seen(run))

    def seen(self, run: Run) -> Job:
        if run.placement.job_id is None and run.job is not None:  # found by its comment
            run.placement = run.placement.replace(job_id=run.placement.run_id)
        return run.job or Job(JobState.GONE)

    def judge(self, run: Run, job: Job) -> None:
        told = truth.tell(
            job, run.placement, phase=run.phase, heartbeat=run.heartbeat(self.now), now=self.now
        )
        if job.state in (JobState.UNSEEN, JobState.PENDING, JobState.RUNNING):
            assert told.end is None
        if told.end is not None:
            assert not run.lives, f"run {run.placement.run_id} is alive, and {told.end} was told"
            assert told.end.code in run.why, f"{told.end} and not {run.why}"
            assert told.end.code != "not_placed" or (run.job is None and not run.begun)
            run.phase, run.reason = Phase.DONE, told.end.code

    def go(self) -> None:
        self.cut_off = []
        looked_at = 0.0
        while self.to_submit or self.arriving or self.open:
            self.now += STEP_S
            assert self.now < BEGUN + 20_000, f"{len(self.open)} runs never end"
            self.submit()
            self.fail()
            self.schedule()
            self.work()
            self.outlive()
            if self.now - looked_at >= LOOK_S:
                looked_at = self.now
                self.look()


@pytest.mark.parametrize("seed", [1, 2])
def test_no_run_is_lost_that_lives_and_none_begins_twice_and_each_end_has_its_reason(seed: int) -> None:
    world = World(seed)
    world.go()
    assert [run for run in world.runs if run.phase is not Phase.DONE] == []
    assert max(run.begun for run in world.runs) == 1
    assert [run.reason for run in world.runs if run.reason not in run.why] == []
    ends = Counter(run.reason for run in world.runs)
    assert {*ends} == {
        "succeeded", "node_failed", "engine_cancelled", "lost", "not_placed", "requeued",
    }  # fmt: skip
    assert ends["succeeded"] > RUNS * 0.8
    # One question for all, whether ten runs are open or ten thousand.
    assert world.questions <= (world.now - BEGUN) / LOOK_S + 1
    assert beat.GONE_S > STEP_S + 14
