"""Runs that an engine places, seen from the machine that submits them. The engine is a stand-in that begins
nothing, so that it can say and do what a real one does seldom.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.doubles import FINISHED, THREAD, said
from support.repo import Repo, Run
from support.standin_cluster import Standin, standin_cluster
from support.waiting import wait_until

from runner.model import Identity, Lineage, Outcome
from runner.state import placement
from runner.state.authentic import write_record
from runner.state.lifecycle import Event
from runner.state.manifest import advance, timestamp
from runner.state.manifest import started as started_manifest
from runner.state.store import RunDir


@pytest.fixture
def slurm(repo: Repo) -> Iterator[Standin]:
    repo.quick_codex()
    engine = standin_cluster(repo)
    repo.task('executor = "hpc"', more=engine.executor)
    yield engine
    engine.speak_truly()


def test_a_start_answers_with_the_job_that_waits(repo: Repo, slurm: Standin) -> None:
    run = repo.start()
    shown, job = run.status(), slurm.job()
    assert shown["status"] == "queued"
    assert (shown["engine"]["job_id"], shown["engine"]["why"]) == (job["id"], "Priority")
    assert job["comment"] == run.id
    placed = json.loads(run.file("placement.json"))
    assert (placed["job_id"], placed["cluster"], placed["end"]) == (job["id"], "standin", None)
    assert run.told("cancel")["status"] == "cancelled"


def test_people_read_that_it_waits_and_which_job_it_is(repo: Repo, slurm: Standin) -> None:
    done = repo.cli("start", "--task", "work")
    assert done.stdout.startswith("queued  ")
    assert f"hpc job {slurm.job()['id']})" in done.stdout
    repo.end_all()


def test_a_placement_that_runner_did_not_write_makes_the_run_foreign(repo: Repo, slurm: Standin) -> None:
    run = repo.start()
    path = run.folder / "placement.json"
    signed = path.read_bytes()
    path.write_bytes(signed.replace(b"standin", b"another"))
    assert run.status()["status"] == repo.json("list")[0]["status"] == "foreign"
    path.write_bytes(signed)
    assert run.told("cancel")["status"] == "cancelled"


def test_a_pending_run_that_is_cancelled_never_ran(repo: Repo, slurm: Standin) -> None:
    run = repo.start()
    ended = run.told("cancel", "--reason", "not now")
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])
    assert ended["reason"]["message"] == "cancelled by user: not now"
    assert slurm.job()["state"] == "CANCELLED"
    assert not (run.folder / "environment.json").exists()


def test_a_run_lives_in_its_job_to_the_end(repo: Repo, slurm: Standin) -> None:
    run = repo.start()
    with slurm.begun(slurm.job()["id"]):
        ended = run.wait()
    assert (ended["status"], ended["survivors"]) == ("succeeded", [])
    assert ended["engine"]["job_id"] == slurm.job()["id"]
    assert slurm.job()["state"] == "COMPLETED"


# -- a start that is cut short -----------------------------------------------------------------------------


def test_what_the_engine_refuses_leaves_nothing_behind(repo: Repo, slurm: Standin) -> None:
    slurm.say("sbatch", stderr="sbatch: error: Batch job submission failed: Invalid partition", status=1)
    done = repo.cli("start", "--task", "work", "--json")
    assert (done.status, done.error["code"]) == (8, "placing_refused")
    assert "Invalid partition" in done.error["message"]
    assert repo.no_runs()


def test_a_start_where_no_controller_answers_leaves_nothing_behind(repo: Repo, slurm: Standin) -> None:
    slurm.silent()
    done = repo.cli("start", "--task", "work", "--json")
    assert (done.status, done.error["code"]) == (8, "placing_refused")
    assert repo.no_runs()
    assert slurm.calls("sbatch") == []


def test_an_sbatch_that_fails_and_has_submitted_is_not_asked_twice(repo: Repo, slurm: Standin) -> None:
    slurm.say("sbatch", stderr="sbatch: error: Socket timed out on send/recv", status=1, acts=True)
    run = repo.start()
    assert run.status()["engine"]["job_id"] == slurm.job()["id"]
    assert len(slurm.calls("sbatch")) == 1
    assert run.told("cancel")["status"] == "cancelled"


def test_a_job_whose_sbatch_got_no_answer_is_found_by_a_later_look(repo: Repo, slurm: Standin) -> None:
    timed_out = "error: Socket timed out on send/recv operation"
    slurm.say("sbatch", stderr=timed_out, status=1, acts=True)
    slurm.say("squeue", stderr=timed_out, status=1)
    run = repo.start()
    first = run.status()
    assert (first["status"], first["engine"]["job_id"]) == ("queued", None)
    assert "not known" in first["engine"]["note"]
    slurm.speak_truly()
    assert run.status()["engine"]["job_id"] == slurm.job()["id"]
    assert run.told("cancel")["status"] == "cancelled"


def test_a_starter_that_was_killed_over_sbatch_has_a_job_that_is_found(repo: Repo, slurm: Standin) -> None:
    slurm.say("sbatch", acts=True, hangs=True)
    with repo.process("start", "--task", "work") as starter:
        wait_until(slurm.jobs, 30, "the job")
        (run,) = repo.runs()
        assert run.status()["engine"]["note"] == "not known: it is being submitted"
        starter.kill()
        starter.wait()
    assert run.status()["engine"]["job_id"] == slurm.job()["id"]
    assert len(slurm.calls("sbatch")) == 1
    assert run.told("cancel")["status"] == "cancelled"


def test_a_starter_that_was_interrupted_over_sbatch_leaves_a_run_to_cancel(
    repo: Repo, slurm: Standin
) -> None:
    slurm.say("sbatch", acts=True, hangs=True)
    with repo.process("start", "--task", "work") as starter:
        wait_until(slurm.jobs, 30, "the job")
        starter.send_signal(signal.SIGINT)
        _, said = starter.communicate(timeout=30)
    (run,) = repo.runs()
    assert f"runner cancel {run.id}".encode() in said
    assert (starter.returncode, run.told("cancel")["status"]) == (130, "cancelled")


def test_a_starter_that_was_killed_before_sbatch_leaves_a_run_that_ends(repo: Repo, slurm: Standin) -> None:
    slurm.say("scontrol", hangs=True, only="config")
    with repo.process("start", "--task", "work") as starter:
        wait_until(lambda: slurm.calls("scontrol"), 30, "the question for the cluster's name")
        starter.kill()
        starter.wait()
    slurm.speak_truly()
    (run,) = repo.runs()
    assert run.status()["status"] == "queued"  # sbatch may still be on its way
    as_if_submitted(run, seconds_ago=300)
    ended = run.status()
    assert (ended["status"], ended["reason"]["code"], ended["survivors"]) == ("failed", "not_placed", [])
    assert not (run.folder / "environment.json").exists()


def as_if_submitted(run: Run, *, seconds_ago: float) -> None:
    placed = placement.load(run_dir(run))
    assert placed is not None
    placement.save(run_dir(run), placed.replace(submitted_at=timestamp(time.time() - seconds_ago)))


def run_dir(run: Run) -> RunDir:
    return RunDir(str(run.repo.root), run.task, run.id)


# -- what is told of a job that is not ended ---------------------------------------------------------------


def at_work(run: Run, *, heartbeat_s: float | None = 0.0) -> None:
    """As a supervisor on another machine writes it, whose last sign of life was so long ago."""
    there = Identity("n1", "another-boot", 77, 4711, 4026531836)
    queued = run_dir(run).read_manifest()
    assert queued.engine is not None
    queued = queued.replace(engine=queued.engine.replace(node="n1"))
    begun = advance(queued, Event.LAUNCHED, supervisor=there, attempt=1)
    run_dir(run).write_manifest(started_manifest(begun, there.replace(pid=78)))
    (run.folder / "environment.json").unlink()
    if heartbeat_s is not None:
        (run.folder / "heartbeat").touch(0o600)
        then = time.time() - heartbeat_s
        os.utime(run.folder / "heartbeat", (then, then))


def running(repo: Repo, slurm: Standin, *, heartbeat_s: float | None = 0.0) -> Run:
    run = repo.start()
    slurm.set(slurm.job()["id"], state="RUNNING", reason="None", node="n1", start="2026-11-28T20:00:00")
    at_work(run, heartbeat_s=heartbeat_s)
    return run


@pytest.mark.parametrize(
    "says",
    [
        {"stderr": "squeue: error: Unable to contact slurm controller", "status": 1},
        {"stdout": "102|RUNNING|x\n\x1b[2Jgarbage|\n"},
        {"stdout": ""},
    ],
    ids=["silent", "garbage", "empty"],
)
def test_a_squeue_that_says_nothing_of_use_ends_no_run(repo: Repo, slurm: Standin, says: Any) -> None:
    run = running(repo, slurm, heartbeat_s=600)
    slurm.say("squeue", **says)
    shown = run.status()
    assert shown["status"] == "running"
    assert shown["engine"]["state"] == "unseen"
    assert shown["engine"]["note"].startswith("not known: ")
    slurm.speak_truly()
    slurm.purge(slurm.job()["id"])
    assert run.status()["status"] == "lost"


def test_the_answer_of_another_cluster_says_nothing_of_a_job(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm, heartbeat_s=600)
    slurm.purge(slurm.job()["id"])
    slurm.rename("elsewhere")
    shown = run.status()
    assert (shown["status"], shown["engine"]["state"]) == ("running", "unseen")
    assert "elsewhere" in shown["engine"]["note"]
    done = repo.cli("cancel", run.id, "--json", "--grace", "0")
    assert done.status == 75
    slurm.rename(slurm.cluster)
    assert run.status()["status"] == "lost"


def test_a_node_that_is_silent_is_told_and_not_judged(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm, heartbeat_s=90)
    shown = run.status()
    assert shown["status"] == "running"
    assert shown["engine"]["silent_s"] >= 90
    assert "silent for" in repo.cli("status", run.id).stdout
    slurm.set(slurm.job()["id"], state="NODE_FAIL", end="2026-11-28T20:05:00")
    assert run.status()["reason"]["code"] == "node_failed"


def test_a_suspended_job_is_paused_by_the_cluster(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm)
    slurm.set(slurm.job()["id"], state="SUSPENDED")
    shown = run.status()
    assert (shown["status"], shown["engine"]["note"]) == ("paused", "suspended by the cluster")
    assert repo.cli("resume", run.id, "--json").error["code"] == "conflict"
    assert run.on_disk()["phase"] == "running"
    over(repo, slurm, run)


def test_a_job_that_is_put_back_while_its_node_lives_stays_as_it_is(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm)
    slurm.set(slurm.job()["id"], state="PENDING", reason="BeginTime", node="", restarts=1)
    shown = run.status()
    assert shown["status"] == "running"
    assert "back into the queue" in shown["engine"]["note"]
    over(repo, slurm, run)


def over(repo: Repo, slurm: Standin, run: Run, state: str = "COMPLETED") -> dict[str, Any]:
    """The end of a run that nobody has written there."""
    slurm.set(slurm.job()["id"], state=state, end="2026-11-28T20:05:00")
    then = time.time() - 600
    os.utime(run.folder / "heartbeat", (then, then))
    return run.status()


# -- an end from afar --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("TIMEOUT", "timed_out", "engine_time_limit"),
        ("PREEMPTED", "failed", "engine_preempted"),
        ("CANCELLED", "cancelled", "engine_cancelled"),
        ("OUT_OF_MEMORY", "failed", "out_of_memory"),
        ("NODE_FAIL", "lost", "node_failed"),
        ("COMPLETED", "lost", "lost"),
    ],
)
def test_an_end_that_the_node_did_not_write_is_that_of_its_job(
    repo: Repo, slurm: Standin, state: str, status: str, code: str
) -> None:
    run = running(repo, slurm)
    slurm.set(slurm.job()["id"], state=state, end="2026-11-28T20:05:00")
    assert run.status()["status"] == "running"  # its node was alive a moment ago
    ended = over(repo, slurm, run, state)
    assert (ended["status"], ended["reason"]["code"]) == (status, code)
    assert (ended["survivors"], ended["proof"]) == (None, "unknown")


def test_survivors_that_nobody_can_see_are_told_as_unknown(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm)
    over(repo, slurm, run, "NODE_FAIL")
    done = repo.cli("cancel", run.id)
    assert done.status == 75
    assert "survivors: not known" in done.stdout
    assert "not known" in repo.cli("status", run.id).stdout


def test_two_looks_at_once_write_one_end(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm)
    slurm.set(slurm.job()["id"], state="NODE_FAIL", end="2026-11-28T20:05:00")
    then = time.time() - 600
    os.utime(run.folder / "heartbeat", (then, then))
    with repo.process("status", run.id) as one, repo.process("status", run.id) as two:
        assert [one.wait(60), two.wait(60)] == [0, 0]
    wait_until(lambda: run.on_disk()["phase"] == "done", 30, "the end")
    assert len(run.events("ended")) == 1


# -- verbs --------------------------------------------------------------------------------------------------


def test_a_job_that_waits_is_held_and_released(repo: Repo, slurm: Standin) -> None:
    run = repo.start()
    assert run.told("pause")["status"] == "queued"
    assert slurm.job()["reason"] == "JobHeldUser"
    assert run.status()["engine"]["why"] == "JobHeldUser"
    run.told("resume")
    assert slurm.job()["reason"] == "Priority"
    assert run.told("cancel")["status"] == "cancelled"


def test_a_cancel_that_is_cut_short_is_carried_out_by_the_next_look(repo: Repo, slurm: Standin) -> None:
    run = repo.start()
    run_dir(run).leave_intent("cancel", "user", reason="enough")
    assert run.status()["reason"]["message"] == "cancelled by user: enough"
    assert slurm.job()["state"] == "CANCELLED"


def test_a_request_to_a_run_below_another_one_does_nothing_to_their_job(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm)
    slurm.set(slurm.job()["id"], state="PENDING", reason="BeginTime", node="", restarts=1)
    then = time.time() - 600
    os.utime(run.folder / "heartbeat", (then, then))
    child = below(run)
    child.leave_intent("cancel", "user", reason="enough")
    assert Run(repo, child.run_id, child.task_id).status()["status"] == "queued"
    assert slurm.job()["state"] == "PENDING"
    assert repo.cli("cancel", run.id).status == 75  # what it left where it was is not known


def below(run: Run) -> RunDir:
    """A run that the agent of that one has started in the same job."""
    parent = run_dir(run)
    invocation, placed = parent.read_invocation(), placement.load(parent)
    assert placed is not None
    run_id = f"{run.id[:-8]}00000001"
    of_it = f"{os.path.dirname(parent.path)}/{run_id}/manifest.json"
    above = Lineage(run.task, run.id, parent.manifest)
    own = invocation.replace(run_id=run_id, manifest_path=of_it, parent=above)
    child = RunDir.of(str(run.repo.root), own)
    os.close(child.create())
    write_record(child.invocation, own.to_json())
    placement.save(child, placed)
    begun = parent.read_manifest()
    child.write_manifest(begun.replace(run_id=run_id, manifest_path=of_it, parent=above))
    return child


def test_a_suspended_run_that_is_cancelled_does_not_wait_to_be_continued(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm, heartbeat_s=600)
    slurm.set(slurm.job()["id"], state="SUSPENDED")
    assert repo.cli("cancel", run.id, "--reason", "enough").status == 75
    assert slurm.job()["state"] == "CANCELLED"
    assert not [words for words in slurm.calls("scancel") if "--batch" in words]
    assert run.status()["reason"]["message"] == "cancelled by user: enough"


def test_a_cancel_that_meets_the_begin_of_a_job_leaves_it_to_its_node(repo: Repo, slurm: Standin) -> None:
    run = repo.start()
    slurm.forget()
    assert run.status()["status"] == "queued"
    run_dir(run).leave_intent("cancel", "user")
    job = slurm.job()
    begun = {**job, "state": "RUNNING", "reason": "None", "node": "n1"}
    (slurm.folder / f"job-{job['id']}.json").write_text(json.dumps(begun))  # what was heard is still kept
    run.status()
    assert slurm.job()["state"] == "RUNNING"
    with slurm.begun(job["id"]):
        ended = run.wait()
    assert (ended["status"], ended["survivors"], ended["engine"]["job_id"]) == ("cancelled", [], job["id"])


def test_a_job_that_died_of_our_signal_has_the_reason_of_the_request(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm)
    run_dir(run).leave_intent("cancel", "user", reason="enough")
    slurm.set(slurm.job()["id"], status=15)
    ended = over(repo, slurm, run, "FAILED")
    assert (ended["status"], ended["reason"]["message"]) == ("cancelled", "cancelled by user: enough")


def test_a_request_to_a_script_that_gets_no_answer_is_followed_by_force(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm, heartbeat_s=600)
    silent = "scancel: error: Unable to contact slurm controller"
    slurm.say("scancel", stderr=silent, status=1, only="--batch")
    assert repo.cli("cancel", run.id, "--grace", "0").status == 75
    assert slurm.job()["state"] == "CANCELLED"


def test_an_scancel_that_does_nothing_is_not_believed(repo: Repo, slurm: Standin) -> None:
    run = repo.start()
    slurm.say("scancel")
    with repo.process("cancel", run.id) as cancel:
        wait_until(lambda: len(slurm.calls("scancel")) > 1, 30, "a second try")
        assert run.on_disk()["phase"] == "queued"
        slurm.speak_truly()
        assert cancel.wait(60) == 0
    assert run.status()["status"] == "cancelled"


def test_a_run_that_waits_too_long_is_cancelled_by_a_look(repo: Repo, slurm: Standin) -> None:
    repo.task('executor = "hpc"', more=f'{slurm.executor}max_pending = "10m"\n')
    run = repo.start()
    as_if_submitted(run, seconds_ago=601)
    ended = run.status()
    assert (ended["status"], ended["reason"]["code"]) == ("timed_out", "queue_timeout")
    assert slurm.job()["state"] == "CANCELLED"


def test_clean_leaves_a_run_whose_job_is_there(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm)
    done = advance(run_dir(run).read_manifest(), Event.LOST, outcome=Outcome.LOST)
    run_dir(run).write_manifest(done)
    assert repo.cli("clean", "--older-than", "0").status == 0
    assert run.folder.exists()
    over(repo, slurm, run)
    assert repo.cli("clean", "--older-than", "0").status == 0
    assert not run.folder.exists()


def test_all_runs_of_a_list_cost_one_question(repo: Repo, slurm: Standin) -> None:
    runs = [repo.start() for _ in range(4)]
    slurm.forget()
    before = len(slurm.calls("squeue"))
    rows = repo.json("list")
    assert len(slurm.calls("squeue")) == before + 1
    assert {row["job_id"] for row in rows} == {job["id"] for job in slurm.jobs()}
    assert {row["executor"] for row in rows} == {"hpc"}
    assert "hpc job 100" in repo.cli("list").stdout
    for run in runs:
        run.told("cancel")


def test_hostile_words_of_squeue_are_only_shown(repo: Repo, slurm: Standin) -> None:
    run = repo.start()
    slurm.set(slurm.job()["id"], reason="\x1b[2J\u202edone; status succeeded")
    shown = repo.cli("status", run.id)
    assert "\x1b" not in shown.stdout
    assert "\u202e" not in shown.stdout
    assert run.status()["status"] == "queued"
    assert run.told("cancel")["status"] == "cancelled"


# -- what else a start can be ------------------------------------------------------------------------------


def test_a_run_elsewhere_is_tied_to_no_process_of_this_machine(repo: Repo, slurm: Standin) -> None:
    done = repo.cli("start", "--task", "work", "--json", "--tie-pid", str(os.getpid()))
    assert (done.status, done.error["code"]) == (2, "usage")
    assert repo.no_runs()
    assert slurm.jobs() == []


def test_a_start_that_waits_answers_with_the_end(repo: Repo, slurm: Standin) -> None:
    with repo.process("start", "--task", "work", "--wait", "--json") as waits:
        wait_until(slurm.jobs, 30, "the job")
        with slurm.begun(slurm.job()["id"]):
            said, _ = waits.communicate(timeout=60)
    assert waits.returncode == 0
    assert json.loads(said)["status"] == "succeeded"


def test_a_rehearsal_gets_its_port_on_the_node(repo: Repo, slurm: Standin) -> None:
    run = repo.start("--rehearse")
    with slurm.begun(slurm.job()["id"]):
        ended = run.wait()
    assert (ended["status"], ended["rehearsal"]) == ("succeeded", True)


def test_secrets_are_in_one_file_until_the_node_has_them(repo: Repo, slurm: Standin) -> None:
    repo.env["WORK_TOKEN"] = "not for anybody"
    repo.codex(f'cat > /dev/null\n{THREAD}printf %s "$WORK_TOKEN" > "$HOME/token"\n{said("done")}{FINISHED}')
    words = '[runtimes.codex]\nenv = ["WORK_TOKEN"]\n'
    repo.task('executor = "hpc"', more=slurm.executor + words)
    run = repo.start()
    assert (run.folder / "environment.json").stat().st_mode & 0o777 == 0o600
    assert "not for anybody" not in json.dumps(slurm.jobs()) + run.file("placement.json") + run.file("job.sh")
    with slurm.begun(slurm.job()["id"]):
        assert run.wait()["status"] == "succeeded"
    assert repo.note("token").read_text() == "not for anybody"
    assert not (run.folder / "environment.json").exists()


def test_a_retry_of_a_run_whose_processes_nobody_has_seen_says_so(repo: Repo, slurm: Standin) -> None:
    run = running(repo, slurm)
    over(repo, slurm, run, "NODE_FAIL")
    done = repo.cli("retry", run.id)
    assert done.status == 0, done.stderr
    assert "not known on n1" in done.stderr
    assert repo.cli("stats", "--by", "executor").stdout.count("hpc") == 1
    repo.end_all()


def test_no_more_runs_than_allowed_can_be_at_work_and_the_queue_keeps_their_order(
    repo: Repo, slurm: Standin
) -> None:
    repo.task('executor = "hpc"', more=f"{slurm.executor}max_running = 2\n")
    runs = [repo.start() for _ in range(5)]
    words = [[word for word in job["argv"] if word.startswith("--dependency")] for job in slurm.jobs()]
    assert words == [[], [], *([f"--dependency=afterany:{jobs}"] for jobs in ("100", "101", "100:102"))]
    runs[1].told("cancel")
    runs[3].told("cancel")
    repo.start()
    assert not [word for word in slurm.jobs()[5]["argv"] if word.startswith("--dependency")]
    repo.end_all()


def test_a_link_of_the_queue_that_is_cancelled_lets_no_run_begin_too_early(
    repo: Repo, slurm: Standin
) -> None:
    repo.task('executor = "hpc"', more=f"{slurm.executor}max_running = 1\n")
    runs = [repo.start() for _ in range(3)]
    runs[1].told("cancel")
    repo.start()
    words = [[word for word in job["argv"] if word.startswith("--dependency")] for job in slurm.jobs()]
    assert words[2:] == [["--dependency=afterany:100:101"], ["--dependency=afterany:100:102"]]
    repo.end_all()
