"""Tests with a real Slurm and a real sshd: `make test-executors` runs these."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fixtures import nothing_left, repo
from support.machine import why_no_machines
from support.pool import Pool
from support.repo import Repo
from support.slurm import TRACKERS, Cluster, cannot_track, missing_for_slurm
from support.sshd import SshHost, missing_for_ssh

__all__ = ["nothing_left", "repo"]


@pytest.fixture(scope="session")
def _clusters() -> Iterator[Callable[[str, int], Cluster]]:
    """Each cluster of this session, started when a test first asks for it."""
    running: dict[tuple[str, int], Cluster] = {}
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:

        def started(tracker: str, nodes: int) -> Cluster:
            if (tracker, nodes) not in running:
                running[tracker, nodes] = Cluster(Path(folder, f"{tracker}-{nodes}"), tracker, nodes)
                running[tracker, nodes].start()
            return running[tracker, nodes]

        yield started
        for one in running.values():
            one.stop()


@pytest.fixture(params=TRACKERS)
def new_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of this test, which starts it itself."""
    _need_slurm(request.param)
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        made = Cluster(Path(folder, "new"), request.param)
        yield made
        made.stop()


@pytest.fixture(params=TRACKERS)
def cluster(request: pytest.FixtureRequest, _clusters: Callable[[str, int], Cluster]) -> Iterator[Cluster]:
    """A cluster of one node with four processors, without jobs, for each tracker of processes.

    `@pytest.mark.parametrize("cluster", ["cgroup"], indirect=True)` asks for that tracker only.
    """
    yield from _lent(_clusters, request.param, 1)


@pytest.fixture
def placed(cluster: Cluster, repo: Repo) -> Iterator[Repo]:
    """A repository whose task lives in that cluster."""
    repo.env.update(cluster.env, PATH=f"{repo.bin}:{cluster.env['PATH']}")
    repo.task('executor = "hpc"', more='[executors.hpc]\nkind = "slurm"\ntime = "10m"\n')
    yield repo
    repo.end_all()


@pytest.fixture
def two_nodes(_clusters: Callable[[str, int], Cluster]) -> Iterator[Cluster]:
    """A cluster of two such nodes."""
    yield from _lent(_clusters, "linuxproc", 2)


@pytest.fixture
def ssh_host() -> Iterator[SshHost]:
    """A host of this test at the other end of a cable."""
    _need(missing_for_ssh())
    with tempfile.TemporaryDirectory(prefix="ssh-") as folder:
        host = SshHost(Path(folder))
        try:
            host.start()
            yield host
        finally:
            host.stop()


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """Two hosts of this test, which `ssh` knows."""
    _need(missing_for_ssh())
    with tempfile.TemporaryDirectory(prefix="pool-") as folder:
        made = Pool(Path(folder))
        try:
            made.start()
            monkeypatch.setenv("PATH", made.path)
            yield made
        finally:
            made.stop()


def _lent(clusters: Callable[[str, int], Cluster], tracker: str, nodes: int) -> Iterator[Cluster]:
    _need_slurm(tracker)
    lent = clusters(tracker, nodes)
    yield lent
    lent.settle()


def _need_slurm(tracker: str) -> None:
    _need(missing_for_slurm())
    if reason := cannot_track(tracker):
        pytest.skip(reason)


def _need(missing: str | None) -> None:
    """CI is where all of it must run: `.ci/run` installs the packages."""
    if missing is not None and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if (why := missing or why_no_machines()) is not None:
        pytest.skip(why)
