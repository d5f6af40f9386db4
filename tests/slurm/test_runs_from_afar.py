"""What is done with runs in a real Slurm from the machine that submits them."""

from __future__ import annotations

import pytest
from support.repo import Repo, Run
from support.slurm import Cluster
from support.waiting import wait_until

pytestmark = pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)


def begun(repo: Repo) -> Run:
    """A run whose agent is at work on a node."""
    repo.waiting_codex()
    run = repo.start()
    wait_until(lambda: run.status()["status"] == "running", 60, "the run on its node")
    repo.begun(60)
    return run


def test_a_run_that_began_elsewhere_is_told_and_waited_for(placed: Repo, cluster: Cluster) -> None:
    run = begun(placed)
    said = run.status()
    assert said["engine"]["node"] in cluster.nodes
    assert said["engine"]["state"] == "running"
    assert placed.json("list")[0]["node"] in cluster.nodes
    placed.open_gate()
    ended = run.wait()
    assert (ended["status"], ended["survivors"]) == ("succeeded", [])


def test_a_run_is_paused_resumed_and_cancelled_on_its_node(placed: Repo, cluster: Cluster) -> None:
    run = begun(placed)
    assert run.told("pause")["status"] == "paused"
    assert run.told("resume")["status"] == "running"
    ended = run.told("cancel", "--reason", "enough")
    assert (ended["status"], ended["reason"]["code"], ended["survivors"]) == ("cancelled", "cancelled", [])
    cluster.wait_until(lambda: not cluster.job_processes(), what="the end of the job")


def test_a_job_that_waits_is_held_released_and_cancelled(placed: Repo, cluster: Cluster) -> None:
    other = cluster.submit("sleep 600", "--cpus-per-task=4")
    cluster.wait_for(other, "RUNNING")
    placed.quick_codex()
    run = placed.start()
    assert run.status()["status"] == "queued"
    run.told("pause")
    assert run.status()["engine"]["why"].startswith("JobHeld")
    run.told("resume")
    ended = run.told("cancel")
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])
    cluster.tell("scancel", other)


def test_a_job_that_somebody_cancels_is_the_end_of_the_run(placed: Repo, cluster: Cluster) -> None:
    run = begun(placed)
    cluster.tell("scancel", run.status()["engine"]["job_id"])
    ended = run.wait()
    assert (ended["status"], ended["reason"]["code"]) == ("cancelled", "engine_cancelled")
    assert ended["survivors"] == []
