"""Runs in jobs of a real Slurm: what their node does, and what their manifest says when Slurm ends them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.placed import place
from support.repo import Repo, Run
from support.slurm import Cluster
from support.waiting import wait_until

from runner.executors.slurm import Slurm
from runner.state.store import RunDir


def submit(cluster: Cluster, run: RunDir, *options: str) -> str:
    """The job of a run that was placed; `options` are of sbatch, after ours."""
    command = Slurm({**os.environ, **cluster.env}).command(run.read_invocation())
    Path(run.path, "job.sh").write_text(command.script)
    *words, script = command.argv
    return cluster.tell(*words, *options, script).partition(";")[0]


def at_work(cluster: Cluster, repo: Repo, seen: Run) -> None:
    cluster.wait_until((repo.home / "begun").exists, what="the agent")
    wait_until(lambda: seen.on_disk()["phase"] == "running")


def test_a_run_in_a_job_ends_it_with_its_status(cluster: Cluster, repo: Repo) -> None:
    repo.quick_codex(before='hostname > "$HOME/host"; env > "$HOME/env"')
    run, seen = place(repo.task('verify = [["false"]]'))
    number = submit(cluster, run)
    assert cluster.wait_for(number, "FAILED")["ExitCode"] == "6:0"
    manifest = seen.on_disk()
    assert (manifest["status"], manifest["reason"]["code"]) == ("rejected", "verify_failed")
    assert manifest["engine"]["job_id"] == number
    assert manifest["engine"]["node"] == cluster.nodes[0] == repo.note("host").read_text().strip()
    assert manifest["engine"]["cluster"] == cluster.nodes[0].rstrip("0123456789")
    assert "SLURM" not in repo.note("env").read_text()
    assert seen.events("sealed") != []


def test_scancel_is_the_named_reason_and_leaves_nothing(cluster: Cluster, repo: Repo) -> None:
    repo.waiting_codex(before="setsid sh -c 'sleep 600 & wait' & trap '' INT\n")
    run, seen = place(repo.task())
    number = submit(cluster, run)
    at_work(cluster, repo, seen)
    cluster.tell("scancel", number)
    cluster.wait_for(number, "CANCELLED")
    wait_until(lambda: seen.on_disk()["phase"] == "done")
    manifest = seen.on_disk()
    assert (manifest["status"], manifest["reason"]["code"]) == ("cancelled", "engine_cancelled")
    assert (manifest["survivors"], manifest["proof"]) == ([], "seen")
    cluster.wait_until(lambda: not cluster.job_processes(), what="the end of all of it")


@pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)
def test_the_warning_before_the_time_limit_is_the_named_reason(cluster: Cluster, repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    number = submit(cluster, run, "--time=1", "--signal=B:TERM@55")
    at_work(cluster, repo, seen)
    assert cluster.wait_for(number, "FAILED", within=90)["ExitCode"] == "3:0"
    assert seen.on_disk()["reason"]["code"] == "engine_time_limit"


@pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)
def test_a_job_that_makes_room_for_another_says_so(cluster: Cluster, repo: Repo) -> None:
    repo.waiting_codex()
    run, seen = place(repo.task())
    submit(cluster, run)
    at_work(cluster, repo, seen)
    cluster.submit("true", "--partition=urgent", "--ntasks=4")
    wait_until(lambda: seen.on_disk()["phase"] == "done")
    manifest = seen.on_disk()
    assert (manifest["status"], manifest["reason"]["code"]) == ("failed", "engine_preempted")
    assert manifest["survivors"] == []
