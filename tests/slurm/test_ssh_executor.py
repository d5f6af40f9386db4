"""`runner.executors.ssh` with real hosts; the job is a stand-in."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from support.pool import Pool
from support.repo import Repo
from support.sshd import SshHost
from support.values import an_invocation
from support.waiting import wait_until

from runner.errors import Conflict, EngineSilent, PlacingRefused, Unwritable
from runner.executors.base import Job, JobState, Placed, Submission
from runner.executors.ssh import Ssh
from runner.executors.ssh_host import claim
from runner.invocation import Invocation
from runner.model import ExecutorSettings
from runner.state.placement import Placement
from runner.state.store import RunDir

_SLEEPS = Submission((), "exec sleep 600\n")


class Jobs:
    """Places stand-ins for runs of one executor."""

    def __init__(self, repo: Repo, pool: Pool, slots: int = 1) -> None:
        self.repo, self.pool, self.ssh = repo, pool, Ssh()
        self.settings = ExecutorSettings("servers", "ssh", hosts=pool.names, slots=slots)

    def invocation(self, task: str = "hello", hosts: int | None = None, **changes: object) -> Invocation:
        settings = self.settings.replace(hosts=self.pool.names[:hosts]).replace(**changes)
        made = an_invocation(str(self.repo.root), task, executor=settings)
        os.makedirs(RunDir.of(made.repo, made).control)
        return made

    def place(
        self, command: Submission = _SLEEPS, task: str = "hello", hosts: int | None = None
    ) -> Placement:
        made = self.invocation(task, hosts)
        return self.placement(made, self.ssh.submit(made, command))

    @staticmethod
    def placement(made: Invocation, placed: Placed) -> Placement:
        when = "2026-01-01T00:00:00.000Z"
        return Placement("servers", "ssh", made.run_id, when, (), placed.cluster, placed.job_id)

    def look(self, placement: Placement) -> Job:
        return self.ssh.look([placement])[placement.run_id]

    def wait_for(self, placement: Placement, state: JobState) -> Job:
        def seen() -> Job | None:
            job = self.look(placement)
            return job if job.state == state else None

        return wait_until(seen, what=f"a job that is {state}")

    def host_of(self, placement: Placement) -> SshHost:
        return self.pool.hosts[self.pool.names.index(str(placement.cluster))]


@pytest.fixture
def jobs(repo: Repo, pool: Pool) -> Jobs:
    return Jobs(repo, pool)


def sleeping(host: SshHost) -> int:
    return sum(one.words[:1] == ("sleep",) for one in host.processes())


def test_a_job_is_seen_ended_and_forgotten(jobs: Jobs) -> None:
    placed = jobs.place(Submission((), "echo out; exec sleep 600\n"))
    assert jobs.wait_for(placed, JobState.RUNNING).node == placed.cluster
    log = Path(RunDir(str(jobs.repo.root), "hello", placed.run_id).path, "job.log")
    wait_until(lambda: log.exists() and log.read_text() == "out\n", what="its output")
    jobs.ssh.end(placed, force=False)
    assert jobs.wait_for(placed, JobState.ENDED).engine_state == "CANCELLED"
    assert not sleeping(jobs.host_of(placed))
    other = jobs.place(Submission((), "exit 3\n"))
    ended = jobs.wait_for(other, JobState.ENDED)
    assert (ended.engine_state, ended.exit_code, ended.node) == ("FAILED", 3, other.cluster)


def test_jobs_go_where_most_slots_are_free_and_wait_where_none_is(jobs: Jobs) -> None:
    first, second, third = (jobs.place() for _ in range(3))
    assert [first.cluster, second.cluster, third.cluster] == [*jobs.pool.names, jobs.pool.names[0]]
    jobs.wait_for(first, JobState.RUNNING)
    jobs.wait_for(second, JobState.RUNNING)
    assert jobs.wait_for(third, JobState.PENDING).why == "slots"
    jobs.ssh.end(first, force=True)
    jobs.wait_for(third, JobState.RUNNING)


def test_a_waiting_job_is_held_let_go_and_ended_without_having_begun(jobs: Jobs) -> None:
    first, second = jobs.place(hosts=1), jobs.place(Submission((), "echo ran\n"), hosts=1)
    jobs.ssh.hold(second, release=False)
    jobs.ssh.end(first, force=True)
    jobs.wait_for(first, JobState.ENDED)
    assert jobs.look(second).why == "held"
    jobs.ssh.end(second, force=False)
    assert jobs.look(second).engine_state == "CANCELLED"
    log = Path(RunDir(str(jobs.repo.root), "hello", second.run_id).path, "job.log")
    assert log.read_text() == ""
    with pytest.raises(Conflict):
        jobs.ssh.hold(second, release=True)


def test_tasks_that_wait_take_turns(jobs: Jobs) -> None:
    first = jobs.place(task="a", hosts=1)
    of_a = [jobs.place(task="a", hosts=1) for _ in range(2)]
    of_b = [jobs.place(task="b", hosts=1) for _ in range(2)]
    before = first
    for following in (of_b[0], of_a[0], of_b[1], of_a[1]):
        jobs.ssh.end(before, force=True)
        jobs.wait_for(following, JobState.RUNNING)
        before = following


def test_what_waits_longer_than_it_may_never_begins(jobs: Jobs) -> None:
    jobs.place(hosts=1)
    made = jobs.invocation(hosts=1, max_pending_s=0.0)
    late = jobs.placement(made, jobs.ssh.submit(made, _SLEEPS))
    assert jobs.wait_for(late, JobState.ENDED).engine_state == "DEADLINE"


def test_an_unplugged_host_is_unreachable_until_it_answers(jobs: Jobs) -> None:
    placed = jobs.place()
    jobs.wait_for(placed, JobState.RUNNING)
    host = jobs.host_of(placed)
    host.unplug()
    assert str(jobs.wait_for(placed, JobState.UNSEEN).why).startswith("unreachable: ")
    with pytest.raises(EngineSilent):
        jobs.ssh.end(placed, force=True)
    assert not jobs.ssh.tell(placed, "/nowhere")
    elsewhere = jobs.place()
    assert elsewhere.cluster != placed.cluster
    host.plug()
    jobs.wait_for(placed, JobState.RUNNING)


def test_a_host_that_was_started_again_has_lost_its_jobs(jobs: Jobs) -> None:
    placed = jobs.place()
    jobs.host_of(placed).reboot()
    assert jobs.wait_for(placed, JobState.ENDED).engine_state == "NODE_FAIL"


def test_what_a_login_prints_is_no_answer(jobs: Jobs) -> None:
    for host in jobs.pool.hosts:
        (host.home / ".bashrc").write_text('echo "{}"; printf "\\033]0;title\\007 no newline"; echo x >&2\n')
    placed = jobs.place()
    assert jobs.wait_for(placed, JobState.RUNNING).node == placed.cluster


def test_an_answer_that_was_lost_starts_nothing_twice(jobs: Jobs) -> None:
    made = jobs.invocation(hosts=1)
    (real,) = (line for line in (jobs.pool.programs / "ssh").read_text().splitlines() if "exec" in line)
    flag = jobs.pool.programs / "asked"
    jobs.pool.program(
        f"if [ -e {flag} ]; then {real.replace('exec', '')} > /dev/null; exit 255; fi\n: > {flag}\n{real}"
    )
    placed = jobs.placement(made, jobs.ssh.submit(made, _SLEEPS))
    jobs.pool.program(real)
    jobs.wait_for(placed, JobState.RUNNING)
    assert jobs.ssh.find(made, None) == Placed(str(placed.job_id), str(placed.cluster))
    with pytest.raises(Unwritable):
        jobs.ssh.submit(made, _SLEEPS)
    wait_until(lambda: sleeping(jobs.pool.hosts[0]) == 1, what="one job")


def test_a_start_that_comes_after_the_run_was_given_up_starts_nothing(jobs: Jobs) -> None:
    made = jobs.invocation()
    assert jobs.ssh.find(made, None) is None
    with pytest.raises(PlacingRefused, match="placed before"):
        jobs.ssh.submit(made, _SLEEPS)
    assert not claim(RunDir.of(made.repo, made).path, "anything")


def test_hosts_that_cannot_take_a_run_are_named_with_the_reason(jobs: Jobs) -> None:
    first, second = jobs.pool.hosts
    first.unplug()
    (second.home / ".bashrc").write_text("exec cat\n")
    with pytest.raises(PlacingRefused) as refused:
        jobs.place()
    assert [problem.split(":")[0] for problem in refused.value.problems] == [*jobs.pool.names]


def test_the_end_by_force_takes_what_left_the_session(jobs: Jobs) -> None:
    placed = jobs.place(
        Submission(
            (), "export RUNNER_RUN_ID=$(basename $(dirname $0)); setsid -f sleep 600; exec sleep 600\n"
        )
    )
    host = jobs.host_of(placed)
    wait_until(lambda: sleeping(host) == 2, what="both processes")
    jobs.ssh.end(placed, force=False)
    assert jobs.wait_for(placed, JobState.ENDING).node == placed.cluster
    jobs.ssh.end(placed, force=True)
    assert jobs.wait_for(placed, JobState.ENDED).engine_state == "CANCELLED"
    assert not sleeping(host)


@pytest.mark.parametrize(("hidden", "why"), [("home", "it does not have our key"), ("repo", "No such file")])
def test_a_host_that_does_not_share_a_folder_is_refused(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, hidden: str, why: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="pool-") as folder:
        pool = Pool(Path(folder), number=1, hidden=[repo.base / hidden])
        try:
            pool.start()
            monkeypatch.setenv("PATH", pool.path)
            with pytest.raises(PlacingRefused, match=why):
                Jobs(repo, pool).place()
        finally:
            pool.stop()
