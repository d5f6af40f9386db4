"""A run in the job of an engine: its node begins it, stays beside it, and says why it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from support.placed import Job, job, place
from support.processes import every_process, kill
from support.repo import Repo, Run
from support.waiting import wait_until

from runner.errors import SupervisorFailed
from runner.executors import beat
from runner.executors.base import NOT_BEGUN, UNUSABLE
from runner.invocation import Rehearsal
from runner.state import placement
from runner.state.engine import Engine
from runner.state.manifest import timestamp
from runner.supervise.begin import adopt


def test_a_job_begins_its_run_and_ends_with_its_status(repo: Repo) -> None:
    repo.quick_codex()
    run, seen = place(repo.task())
    with job(run) as begun:
        assert begun.wait() == (0, "")
    manifest = seen.on_disk()
    assert (manifest["status"], manifest["reason"]["code"]) == ("succeeded", "completed")
    engine = manifest["engine"]
    assert (engine["executor"], engine["kind"], engine["job_id"]) == ("big", "slurm", "7")
    assert (engine["cluster"], engine["node"], engine["restarts"]) == ("hpc", os.uname().nodename, 0)
    assert seen.events("sealed") != []
    assert not Path(run.wake_fifo).exists()


def test_a_run_that_fails_fails_its_job(repo: Repo) -> None:
    repo.codex("cat > /dev/null; exit 4")
    run, seen = place(repo.task())
    with job(run) as begun:
        assert begun.wait() == (1, "")
    assert seen.on_disk()["status"] == "failed"


def test_the_values_for_the_agent_are_taken_before_it_runs_and_are_on_no_command_line(repo: Repo) -> None:
    repo.env["MY_TOKEN"] = "hunter2-correct-horse-battery"
    repo.waiting_codex(before='env > "$HOME/env"')
    run, seen = place(repo.task(), env_names=("HOME", "PATH", "MY_TOKEN"))
    path = Path(placement.environment_of(run))
    assert path.stat().st_mode & 0o777 == 0o600
    with job(run, CUDA_VISIBLE_DEVICES="1", OTHER="no") as begun:
        at_work(repo, seen)
        assert not path.exists()
        assert not [one for one in every_process() if any("hunter2" in word for word in one.words)]
        repo.open_gate()
        assert begun.wait()[0] == 0
    given = dict(line.partition("=")[::2] for line in repo.note("env").read_text().splitlines())
    assert given["MY_TOKEN"] == "hunter2-correct-horse-battery"
    assert given["CUDA_VISIBLE_DEVICES"] == "1"
    assert not [name for name in given if name.startswith("SLURM_") or name == "OTHER"]


def test_a_killed_supervisor_is_replaced_and_the_run_goes_on(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    with job(run) as begun:
        at_work(repo, seen)
        first = seen.supervisor()
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: seen.events("adopted") != [])
        repo.open_gate()
        assert begun.wait()[0] == 0
    assert seen.on_disk()["status"] == "succeeded"


def scontrol(folder: Path, answer: str) -> str:
    """A PATH with a `scontrol` that says this of every job."""
    folder.mkdir()
    program = folder / "scontrol"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


SAYS = {
    "engine_cancelled": ("JobState=COMPLETING EndTime=2001-01-01T00:00:00 PreemptTime=None", "", "cancelled"),
    "engine_preempted": ("JobState=COMPLETING PreemptTime=2026-01-01T00:00:00", "", "failed"),
    "engine_time_limit": ("JobState=RUNNING EndTime=2001-01-01T00:00:00 PreemptTime=None", "", "timed_out"),
}


@pytest.mark.parametrize("code", SAYS)
@pytest.mark.parametrize("reaches", ["the job", "all of it"])
def test_the_engine_ends_a_run_for_a_named_reason(repo: Repo, code: str, reaches: str) -> None:
    says, _, status = SAYS[code]
    repo.waiting_codex()
    run, seen = place(repo.task('verify = [["touch", "verified"]]'))
    with job(run, PATH=scontrol(repo.base / "slurm", says)) as begun:
        at_work(repo, seen)
        end(begun, seen, reaches)
        left, _ = begun.wait()
    manifest = seen.on_disk()
    assert (manifest["status"], manifest["reason"]["code"]) == (status, code)
    assert left == {"timed_out": 3}.get(status, 1)
    assert (manifest["survivors"], manifest["proof"]) == ([], "seen")
    assert not (repo.root / "verified").exists()
    assert [one["signal"] for one in seen.events("signalled")] == ["SIGTERM"] * (reaches == "all of it")


def test_the_log_of_the_job_says_that_it_was_preempted(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    line = "slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-28T20:13:44 DUE TO PREEMPTION ***\n"
    Path(run.path, "slurm.log").write_text(line)
    with job(run) as begun:
        at_work(repo, seen)
        end(begun, seen, "the job")
        begun.wait()
    assert seen.on_disk()["reason"]["code"] == "engine_preempted"


def test_a_supervisor_alone_with_the_signal_names_no_other_reason(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    with job(run) as begun:
        at_work(repo, seen)
        os.kill(seen.supervisor().pid, signal.SIGTERM)
        begun.wait()
    assert seen.on_disk()["reason"]["code"] == "engine_cancelled"


def test_a_request_of_a_person_stays_the_reason_when_the_job_is_ended_for_it(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    with job(run) as begun:
        at_work(repo, seen)
        run.leave_intent("cancel", "user", reason="enough")
        end(begun, seen, "the job")
        begun.wait()
    assert seen.on_disk()["reason"]["code"] == "cancelled"


def test_without_the_key_nothing_is_started(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    before = seen.on_disk()
    (repo.home / ".local/state/runner/key").unlink()
    with job(run) as begun:
        status, said = begun.wait()
    assert status == UNUSABLE
    assert said.startswith("executor_unusable: ")
    assert seen.on_disk() == before
    assert not Path(placement.environment_of(run)).exists()
    assert not repo.note("begun").exists()


def test_a_run_that_waited_too_long_is_not_begun(repo: Repo) -> None:
    repo.waiting_codex()
    told = {"max_pending_s": 60.0, "submitted_at": "2026-01-01T00:00:00.000Z"}
    run, seen = place(repo.task(), of_placement=told)
    with job(run) as begun:
        assert begun.wait()[0] == 3
    manifest = seen.on_disk()
    assert (manifest["status"], manifest["reason"]["code"]) == ("timed_out", "queue_timeout")
    assert manifest["process"] is None
    assert seen.events("sealed") != []


def test_a_second_copy_leaves_a_living_one_alone(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    with job(run) as begun:
        at_work(repo, seen)
        beats = threading.Event()

        def beats_on() -> None:
            while not beats.wait(0.2):
                beat.beat(run.path)

        heart = threading.Thread(target=beats_on)
        heart.start()
        try:
            with job(run, SLURM_RESTART_COUNT="1") as second:
                assert second.wait() == (NOT_BEGUN, "not begun: another copy of it lives\n")
        finally:
            beats.set()
            heart.join()
        repo.open_gate()
        assert begun.wait()[0] == 0
    assert seen.on_disk()["status"] == "succeeded"


def test_a_run_whose_job_begins_again_is_lost_by_name(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    with job(run) as begun:
        at_work(repo, seen)
        begun.process.kill()
        begun.process.wait()
        seen.kill_supervisor()
        child = seen.child()
        long_ago(run.path)
        with job(run, SLURM_RESTART_COUNT="1") as second:
            assert second.wait()[0] == 1
    manifest = seen.on_disk()
    assert (manifest["status"], manifest["reason"]["code"]) == ("lost", "requeued")
    assert (manifest["survivors"], manifest["proof"]) == ([], "seen")
    assert not child.is_still_there()


def test_a_run_that_may_be_requeued_begins_another_attempt(repo: Repo) -> None:
    repo.env["MY_TOKEN"] = "hunter2-correct-horse-battery"
    repo.waiting_codex(before='echo "$MY_TOKEN" >> "$HOME/tokens"')
    names = ("HOME", "PATH", "MY_TOKEN")
    run, seen = place(repo.task(), requeue=True, env_names=names)
    with job(run) as begun:
        at_work(repo, seen)
        begun.process.kill()
        begun.process.wait()
        seen.kill_supervisor()
        child = seen.child()
        long_ago(run.path)
        with job(run, SLURM_RESTART_COUNT="1") as second:
            wait_until(lambda: len(repo.note("tokens").read_text().split()) == 2, what="the other attempt")
            assert not child.is_still_there()
            repo.open_gate()
            assert second.wait()[0] == 0
    manifest = seen.on_disk()
    assert (manifest["status"], manifest["attempt"], manifest["engine"]["restarts"]) == ("succeeded", 2, 1)
    assert [one["reason"] for one in manifest["attempts"]] == ["requeued", None]
    assert repo.note("tokens").read_text().split() == [repo.env["MY_TOKEN"]] * 2
    assert not Path(placement.environment_of(run)).exists()


def test_what_a_former_copy_left_on_another_node_stays_unknown_to_the_end(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task('verify = [["true"]]'), requeue=True)
    with job(run) as begun:
        at_work(repo, seen)
        begun.process.kill()
        begun.process.wait()
        seen.kill_supervisor()
        kill(seen.child())
    was = run.read_manifest()
    assert was.engine is not None
    assert was.process is not None
    elsewhere = was.process.replace(host="n1", boot_id="another", namespace=1)
    run.write_manifest(was.replace(process=elsewhere, engine=was.engine.replace(node="n1")))
    long_ago(run.path)
    repo.note("begun").unlink()
    with job(run, SLURM_RESTART_COUNT="1") as second:
        repo.begun()
        wait_until(lambda: seen.on_disk()["attempt"] == 2 and seen.on_disk()["phase"] == "running")
        assert "has left on n1" in repo.cli("status", seen.id).stdout
        repo.open_gate()
        assert second.wait()[0] == 0
    manifest = seen.on_disk()
    assert (manifest["status"], manifest["engine"]["unseen"]) == ("succeeded", ["n1"])
    assert (manifest["survivors"], manifest["proof"]) == (None, "unknown")
    assert "not known on n1" in repo.cli("status", seen.id).stdout


def test_a_job_that_is_put_back_into_the_queue_leaves_its_run_to_the_next_copy(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task(), requeue=True)
    says = "JobState=COMPLETING Restarts=1 PreemptTime=None"
    with job(run, PATH=scontrol(repo.base / "slurm", says)) as begun:
        at_work(repo, seen)
        child = seen.child()
        end(begun, seen, "all of it")
        begun.wait()
    assert not child.is_still_there()
    assert seen.on_disk()["phase"] == "running"


def test_a_supervisor_of_a_former_copy_ends_its_tree_and_writes_nothing(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    with job(run) as begun:
        at_work(repo, seen)
        child, supervisor = seen.child(), seen.supervisor()
        wait_until(lambda: seen.on_disk()["thread_id"], what="a supervisor at work")
        placement.fence(run, 1)
        run.leave_intent("pause", "user")
        run.wake()
        wait_until(lambda: not supervisor.is_still_there())
        wait_until(lambda: not child.is_still_there())
        begun.wait()
    assert seen.on_disk()["phase"] == "running"


def test_a_copy_that_is_put_back_does_not_begin_the_attempt_of_the_next_one(repo: Repo) -> None:
    repo.waiting_codex(before='echo x >> "$HOME/attempts"')
    run, seen = place(repo.task(), requeue=True)
    with job(run) as begun:
        at_work(repo, seen)
        begun.process.kill()
        begun.process.wait()
        seen.kill_supervisor()
        placement.fence(run, 1)
        lock_fd = run.try_lock()
        assert lock_fd is not None
        with contextlib.suppress(SupervisorFailed):
            adopt(run, lock_fd)
        wait_until(lambda: not seen.child().is_still_there())
    assert seen.on_disk()["phase"] == "running"
    assert repo.note("attempts").read_text() == "x\n"


def test_a_fence_that_an_agent_has_written_or_kept_is_not_obeyed(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    with job(run, SLURM_RESTART_COUNT="1") as begun:
        at_work(repo, seen)
        for forged in (lambda: Path(run.control, "fence").write_text("7"), lambda: placement.fence(run, 0)):
            forged()
            run.leave_intent("rewrite", "user")
            run.wake()
            wait_until(lambda: not [one for _, one in run.intents() if one.kind == "rewrite"])
            run.leave_intent("pause", "user")
            run.wake()
            wait_until(lambda: seen.on_disk()["phase"] == "paused", what="a supervisor that obeys")
            run.leave_intent("resume", "user")
            run.wake()
            wait_until(lambda: seen.on_disk()["phase"] == "running")
        repo.open_gate()
        assert begun.wait()[0] == 0
    assert seen.on_disk()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("code", "node", "left"),
    [
        ("engine_cancelled", "n1", (None, "unknown")),
        ("executor_unusable", "n1", ([], None)),
        ("engine_cancelled", None, ([], None)),
    ],
)
def test_a_job_that_had_a_node_and_said_nothing_may_have_left_something(
    repo: Repo, code: str, node: str | None, left: tuple[object, object]
) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task(), of_placement={"job_id": "7", "cluster": "hpc"})
    was, told = run.read_manifest(), placement.load(run)
    assert told is not None
    run.write_manifest(was.replace(engine=Engine("big", "slurm", None, None, None, 0, told.submitted_at)))
    how = (code, "it ended", "CANCELLED", None, None, timestamp(), node)
    placement.save(run, told.replace(end=placement.JobEnd(*how)))
    lock_fd = run.try_lock()
    assert lock_fd is not None
    adopt(run, lock_fd)
    manifest, engine = seen.on_disk(), seen.on_disk()["engine"]
    assert (manifest["survivors"], manifest["proof"]) == left
    assert (engine["job_id"], engine["cluster"], engine["node"]) == ("7", "hpc", node)


def test_a_rehearsal_whose_port_is_taken_fails_by_name(repo: Repo) -> None:
    repo.waiting_codex()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        rehearsal = Rehearsal(None, taken.getsockname()[1], ("true",))
        run, seen = place(repo.task(), rehearsal=rehearsal)
        with job(run) as begun:
            assert begun.wait()[0] == 1
    assert seen.on_disk()["reason"]["code"] == "port_taken"


def test_what_comes_before_the_agent_runs_on_the_node(repo: Repo) -> None:
    repo.quick_codex()
    run, seen = place(repo.task(), prepare=(("false",),))
    with job(run) as begun:
        assert begun.wait()[0] == 1
    assert seen.on_disk()["reason"]["code"] == "prepare_failed"
    assert seen.events("sealed") != []


def test_a_job_that_is_ended_while_it_prepares_says_why(repo: Repo) -> None:
    repo.quick_codex()
    prepare = ("sh", "-c", 'touch "$HOME/begun"; sleep 100')
    run, seen = place(repo.task(), prepare=(prepare,))
    with job(run) as begun:
        repo.begun()
        begun.process.terminate()
        begun.wait()
    manifest = seen.on_disk()
    assert (manifest["status"], manifest["reason"]["code"]) == ("cancelled", "engine_cancelled")


def test_a_run_is_verified_on_the_node_and_has_the_umask_of_its_job(repo: Repo) -> None:
    repo.quick_codex(before='umask > "$HOME/umask"')
    run, seen = place(repo.task('verify = [["test", "-e", "no-such-file"]]'))
    with job(run, umask=0o027) as begun:
        assert begun.wait()[0] == 6
    assert seen.on_disk()["reason"]["code"] == "verify_failed"
    assert repo.note("umask").read_text().strip() == "0027"
    assert Path(run.path, "heartbeat").stat().st_mode & 0o777 == 0o600


def test_what_the_engine_says_of_an_ended_job_is_written_from_afar(repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    with job(run) as begun:
        at_work(repo, seen)
        begun.process.kill()
        begun.process.wait()
        seen.kill_supervisor()
        child = seen.child()
        kill(child)
        told = placement.load(run)
        assert told is not None
        how = ("node_failed", "its node does not answer", "NODE_FAIL", None, None, timestamp())
        placement.save(run, told.replace(end=placement.JobEnd(*how)))
        lock_fd = run.try_lock()
        assert lock_fd is not None
        adopt(run, lock_fd)
    manifest = seen.on_disk()
    assert (manifest["status"], manifest["reason"]["code"]) == ("lost", "node_failed")
    assert (manifest["survivors"], manifest["proof"]) == (None, "unknown")


def at_work(repo: Repo, seen: Run) -> None:
    """The agent has begun, and its manifest says so."""
    repo.begun()
    wait_until(lambda: seen.on_disk()["phase"] != "queued", what="the word of its supervisor")


def end(begun: Job, seen: Run, reaches: str) -> None:
    """As `--signal=B:TERM` does it, or as `scancel`."""
    pids = [begun.process.pid]
    if reaches == "all of it":
        pids += [seen.supervisor().pid, seen.child().pid]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)


def long_ago(folder: str) -> None:
    os.utime(f"{folder}/heartbeat", (0, 0))
