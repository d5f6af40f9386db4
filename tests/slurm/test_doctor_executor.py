"""`doctor --executor`: a job of one processor proves what a run would find on a node."""

from __future__ import annotations

import _thread
import os
import threading
from pathlib import Path

import pytest
from support.repo import Repo
from support.slurm import Cluster
from support.values import a_config

from runner.errors import ConfigInvalid
from runner.model import Config, ExecutorSettings
from runner.runtimes.exam import Examined, Fitness
from runner.usecases import doctor, doctor_executor

HPC = ExecutorSettings("hpc", "slurm")
LINUXPROC = pytest.mark.parametrize("cluster", ["linuxproc"], indirect=True)


@pytest.fixture
def place(repo: Repo, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repository with a task for Codex, on a machine that submits to the cluster."""
    repo.task()
    repo.quick_codex()
    for name, value in {**repo.env, **cluster.env, "PATH": f"{repo.bin}:{cluster.env['PATH']}"}.items():
        monkeypatch.setenv(name, value)
    return repo


def config(repo: Repo, executor: ExecutorSettings = HPC) -> Config:
    return a_config(root=str(repo.root), executors={"hpc": executor})


def examined(repo: Repo, executor: ExecutorSettings = HPC, waits_s: float = 45.0) -> dict[str, Examined]:
    settings = config(repo, executor)
    here = doctor.examine(settings, ["codex"], os.environ)
    return told(settings, here, waits_s)


def told(settings: Config, here: tuple[Examined, ...], waits_s: float = 45.0) -> dict[str, Examined]:
    words = ("--runtime", "codex")
    found = [*doctor_executor.examine(settings, "hpc", os.environ, here, words, waits_s=waits_s)]
    assert all(check.repair for check in found if check.verdict is Fitness.FAIL)
    assert not [*Path(settings.root).rglob(".probe-*")]
    return {check.name: check for check in found}


def test_a_job_shows_that_a_run_could_start_there(place: Repo, cluster: Cluster) -> None:
    checks = examined(place)
    assert checks["hpc.cluster"].message == cluster.nodes[0].rstrip("0123456789")
    assert checks["hpc.version"].message[:2].isdigit()
    tracker = checks["hpc.tracker"]
    assert tracker.message.startswith(f"proctrack/{cluster.tracker}")
    assert (tracker.verdict is Fitness.WARN) == (cluster.tracker == "linuxproc")
    assert checks["hpc.overlap"].verdict is Fitness.OK
    assert checks["hpc.job"].message == f"a job of one processor ran on {cluster.nodes[0]}"
    assert checks["hpc.shared"].verdict is Fitness.OK
    assert checks["hpc.codex.binary"].message == f"{place.bin}/codex"
    assert checks["hpc.codex.identity"].verdict is Fitness.OK
    assert "hpc.codex.sandbox" in checks
    assert not place.runs_folder.exists()


@LINUXPROC
def test_another_version_of_an_agent_there_is_a_failure(place: Repo, cluster: Cluster) -> None:
    settings = config(place)
    here = tuple(
        one.replace(message="Codex 9.9.9") if one.name == "codex.identity" else one
        for one in doctor.examine(settings, ["codex"], os.environ)
    )
    found = told(settings, here)["hpc.codex.identity"]
    assert found.verdict is Fitness.FAIL
    assert found.message.endswith(" there, and Codex 9.9.9 here")


@LINUXPROC
def test_a_job_that_waits_is_cancelled_and_says_why_it_waited(place: Repo, cluster: Cluster) -> None:
    blocking = cluster.submit("sleep 600", "--cpus-per-task=4")
    cluster.wait_for(blocking, "RUNNING")
    found = examined(place, waits_s=4.0)["hpc.job"]
    assert found.verdict is Fitness.UNKNOWN
    assert found.message in [
        f"its job waited for 4 s ({why}), and was cancelled" for why in ("Resources", "Priority")
    ]
    assert [*cluster.jobs()] == [blocking]


@LINUXPROC
def test_a_node_that_cannot_read_the_key_says_so(place: Repo, cluster: Cluster) -> None:
    key = place.home / ".local/state/runner/key"
    blocking = cluster.submit("sleep 600", "--cpus-per-task=4")
    cluster.wait_for(blocking, "RUNNING")

    def take_the_key() -> None:
        cluster.wait_until(lambda: len(cluster.jobs()) == 2)
        key.rename(f"{key}-away")
        cluster.tell("scancel", blocking)

    thread = threading.Thread(target=take_the_key)
    thread.start()
    found = examined(place)["hpc.shared"]
    thread.join()
    assert found.verdict is Fitness.FAIL
    assert "cannot use the folder or the key: " in found.message
    assert "was not written here by runner" in found.message


@LINUXPROC
def test_a_refusal_is_told(place: Repo) -> None:
    refused = examined(place, HPC.replace(partition="nowhere"))["hpc.job"]
    assert refused.verdict is Fitness.FAIL
    assert "nvalid partition" in refused.message


@LINUXPROC
def test_what_is_interrupted_leaves_neither_job_nor_file(place: Repo, cluster: Cluster) -> None:
    cluster.submit("sleep 600", "--cpus-per-task=4")

    def interrupt() -> None:
        cluster.wait_until(lambda: len(cluster.jobs()) == 2, what="the job of the trial")
        _thread.interrupt_main()

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        examined(place)
    watcher.join()
    assert len(cluster.jobs()) == 1
    assert not place.runs_folder.exists()


def test_a_name_that_the_settings_do_not_have_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="unknown executor `moon`"):
        [*doctor_executor.examine(a_config(), "moon", os.environ, ())]
