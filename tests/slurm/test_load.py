"""Many runs in a real Slurm, and what its nodes and its controller go through meanwhile."""

from __future__ import annotations

import json

import pytest
from support.codex import codex_path
from support.repo import Repo, Run
from support.slurm import Cluster
from support.waiting import wait_until
from support.waves import prepares, starts, step, writes

MANY, PROCESSORS = 40, 4
_SETTINGS = '[executors.hpc]\nkind = "slurm"\ntime = "10m"\n'


def at_work(repo: Repo) -> Run:
    """A run whose agent is at work on a node."""
    repo.waiting_codex()
    run = repo.start()
    wait_until(lambda: run.status()["status"] == "running", 60, "the run on its node")
    repo.begun(60)
    return run


def test_forty_runs_share_four_processors_and_each_ends(placed: Repo, cluster: Cluster) -> None:
    placed.quick_codex()
    runs = [placed.start() for _ in range(MANY)]
    told = placed.json("list", "--all")
    assert len(told) == MANY
    assert sum(row["status"] not in ("queued", "succeeded") for row in told) <= PROCESSORS
    ended = json.loads(placed.cli("wait", *(run.id for run in runs), "--json", within=240).stdout)
    assert [one["status"] for one in ended] == ["succeeded"] * MANY
    assert len({one["engine"]["job_id"] for one in ended}) == MANY
    cluster.wait_until(lambda: not cluster.job_processes(), what="the end of the jobs")


@pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)
def test_a_run_goes_on_while_the_controller_is_started_again(placed: Repo, cluster: Cluster) -> None:
    run = at_work(placed)
    cluster.stop_controller()
    told = wait_until(lambda: (now := run.status())["engine"]["state"] == "unseen" and now, 60, "its silence")
    assert told["status"] == "running"
    cluster.start_controller()
    wait_until(lambda: run.status()["engine"]["state"] == "running", 60, "the answer of the controller")
    placed.open_gate()
    assert run.wait()["status"] == "succeeded"


@pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)
def test_a_run_outlives_the_daemon_of_its_node(placed: Repo, cluster: Cluster) -> None:
    run = at_work(placed)
    cluster.kill_node()
    wait_until(lambda: run.status()["engine"]["state"] != "running", 60, "the end of the node")
    assert run.status()["status"] == "running", "its supervisor still gives signs of life"
    placed.open_gate()
    assert run.wait()["status"] == "succeeded"
    cluster.start_node()


@pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)
def test_a_run_whose_whole_node_died_is_lost_with_unknown_survivors(placed: Repo, cluster: Cluster) -> None:
    run = at_work(placed)
    cluster.kill_node(jobs=True)
    ended = run.wait(within=180)
    assert (ended["status"], ended["reason"]["code"], ended["survivors"]) == ("lost", "node_failed", None)
    assert run.ask("cancel").status == 75
    cluster.start_node()


@pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)
def test_the_real_codex_is_rehearsed_on_a_node(placed: Repo, cluster: Cluster) -> None:
    placed.env["PATH"] = f"{codex_path().parent}:{placed.env['PATH']}"
    run = placed.start("--rehearse")
    ended = run.wait(within=120)
    assert (ended["status"], ended["rehearsal"]) == ("succeeded", True)
    assert ended["engine"]["node"] in cluster.nodes


@pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)
def test_the_batches_of_a_plan_live_side_by_side_in_jobs_and_come_back(repo: Repo, cluster: Cluster) -> None:
    path = f"{repo.bin}:{codex_path().parent}:{cluster.env['PATH']}"
    repo.env.update(cluster.env, PATH=path)
    plays = [writes(n) for n in (1, 2, 3)]
    prepares(repo, plays, "max_parallel = 2", "commit = true", task=['executor = "hpc"', f"\n{_SETTINGS}"])
    plan = starts(repo)
    assert plan.wait(within=240)["status"] == "succeeded"
    runs = [Run(repo, step(plan, n)["run"]["run_id"], "work") for n in (1, 2, 3)]
    assert len({one.on_disk()["engine"]["job_id"] for one in runs}) == 3
    assert [(repo.root / f"src/m{n}.py").read_text().split()[2] for n in (1, 2, 3)] == ["1", "2", "3"]
    assert repo.says("status", "--porcelain") == ""
