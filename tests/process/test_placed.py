"""A run in the job of an engine: its node begins it, stays beside it, and says why it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from support.placed import job, place
from support.processes import every_process
from support.repo import Repo
from support.waiting import wait_until

from runner.state import placement


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
    run, _ = place(repo.task(), env_names=("HOME", "PATH", "MY_TOKEN"))
    path = Path(placement.environment_of(run))
    assert path.stat().st_mode & 0o777 == 0o600
    with job(run, CUDA_VISIBLE_DEVICES="1", OTHER="no") as begun:
        repo.begun()
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
        repo.begun()
        first = seen.supervisor()
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: seen.events("adopted") != [])
        repo.open_gate()
        assert begun.wait()[0] == 0
    assert seen.on_disk()["status"] == "succeeded"
