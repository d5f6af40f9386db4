"""What `support.slurm.Cluster` promises the tests of executors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.processes import Seen, of_folder
from support.slurm import Cluster

_TREE = 'sh -c "sleep 600 & wait" & setsid sh -c "sleep 600 & wait" & wait'


def test_a_job_runs_on_a_machine_of_its_own(cluster: Cluster) -> None:
    job = cluster.submit("hostname; cat /proc/sys/kernel/random/boot_id; exit 7")
    ended = cluster.wait_for(job, "FAILED")
    (node,) = cluster.nodes
    assert ended["ExitCode"] == "7:0"
    assert cluster.output(job).split() == [node, cluster.machines[node].boot_id]
    assert node != os.uname().nodename
    assert cluster.machines[node].boot_id != Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_job_with_a_closed_environment_has_the_home_of_its_node(cluster: Cluster) -> None:
    job = cluster.submit("echo $HOME", "--export=NONE")
    cluster.wait_for(job, "COMPLETED")
    assert cluster.output(job).strip() == str(cluster.machines[cluster.nodes[0]].home)


def test_scancel_ends_a_tree_of_processes(cluster: Cluster) -> None:
    job = cluster.submit(_TREE)
    tree = cluster.wait_until(lambda: _at_least(cluster, 5), what="the tree of the job")
    cluster.tell("scancel", job)
    cluster.wait_for(job, "CANCELLED")
    cluster.wait_until(lambda: not cluster.job_processes(), what="the end of the tree")
    assert not [one for one in tree if one.is_still_there()]


def test_the_fifth_job_waits_for_one_of_four_processors(cluster: Cluster) -> None:
    jobs = [cluster.submit("sleep 600") for _ in range(5)]
    cluster.wait_until(lambda: [*cluster.jobs().values()].count("RUNNING") == 4, what="four jobs")
    assert cluster.state(jobs[4]) == "PENDING"
    cluster.tell("scancel", jobs[0])
    cluster.wait_for(jobs[4], "RUNNING")


@pytest.mark.parametrize("cluster", ["cgroup"], indirect=True)
def test_a_killed_node_leaves_its_jobs_processes_and_comes_back_without_the_job(cluster: Cluster) -> None:
    job = cluster.submit("sleep 600", "--no-requeue")
    cluster.wait_until(lambda: _at_least(cluster, 2), what="the job")
    cluster.kill_node()
    assert _at_least(cluster, 2) == cluster.processes()
    cluster.wait_for(job, "NODE_FAIL")
    cluster.start_node()
    cluster.wait_for(cluster.submit("true"), "COMPLETED")
    cluster.kill_node(jobs=True)
    assert cluster.processes() == []


@pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)
def test_a_job_outlives_a_restart_of_the_controller(cluster: Cluster) -> None:
    job = cluster.submit("sleep 600")
    cluster.wait_for(job, "RUNNING")
    cluster.stop_controller()
    assert cluster.run("squeue", "-h", timeout=60).returncode == 1
    cluster.start_controller()
    assert cluster.state(job) == "RUNNING"
    cluster.tell("scancel", job)
    cluster.wait_for(job, "CANCELLED")
    cluster.wait_for(cluster.submit("true", "--cpus-per-task=4"), "COMPLETED")


@pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)
def test_a_silent_controller_does_later_what_a_command_gave_up(cluster: Cluster) -> None:
    with cluster.silent_controller():
        tried = cluster.run("sbatch", "--comment=given up", "--output=/dev/null", "--wrap=sleep 600")
        assert tried.returncode == 1
        assert "timed out" in tried.stderr
    cluster.wait_until(lambda: cluster.tell("squeue", "-h", "-o", "%k") == "given up", what="the job")


def test_settling_brings_back_what_a_test_has_changed(cluster: Cluster) -> None:
    cluster.configure(MinJobAge=2)
    cluster.wait_for(cluster.submit("true"), "COMPLETED")
    suspended = cluster.submit("sleep 600")
    cluster.wait_for(suspended, "RUNNING")
    cluster.tell("scontrol", "suspend", suspended)
    cluster.kill_node()
    cluster.stop_controller()
    cluster.settle()
    assert cluster.jobs() == {}
    assert cluster.job_processes() == []
    assert "MinJobAge               = 300 sec" in cluster.tell("scontrol", "show", "config")


def test_jobs_run_side_by_side_on_two_nodes(two_nodes: Cluster) -> None:
    job = two_nodes.submit("srun hostname | sort", "--nodes=2", "--ntasks=2")
    two_nodes.wait_for(job, "COMPLETED")
    assert two_nodes.output(job).split() == [*two_nodes.nodes]


def test_nothing_is_left_of_a_cluster_that_was_stopped(new_cluster: Cluster) -> None:
    new_cluster.start()
    new_cluster.submit(f"setsid -f sleep 600; {_TREE}")
    seen = new_cluster.wait_until(lambda: _at_least(new_cluster, 6), what="the job")
    seen += new_cluster.processes()
    new_cluster.stop()
    assert not [one for one in seen if one.is_still_there()]
    assert not of_folder(new_cluster.folder)
    assert not [*Path("/sys/fs/cgroup").glob(f"*/slurm_{new_cluster.nodes[0]}")]


def _at_least(cluster: Cluster, number: int) -> list[Seen]:
    found = cluster.job_processes()
    return found if len(found) >= number else []
