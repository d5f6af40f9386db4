"""A run that is tied to a process ends in good order with it, whatever the run is doing."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
from support.repo import Repo
from support.waiting import wait_until


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_run_ends_with_the_process_that_it_is_tied_to(repo: Repo, state: str) -> None:
    repo.waiting_codex()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        run = repo.task().start("--tie-pid", str(process.pid))
        repo.begun()
        child = run.child()
        if state == "paused":
            run.told("pause")
        process.kill()
    ended = run.wait()
    assert (ended["status"], ended["reason"]["code"]) == ("cancelled", "cancelled")
    assert f"process {process.pid}" in ended["reason"]["message"]
    assert not child.is_still_there()


def test_a_command_that_waits_in_ci_takes_its_run_along(repo: Repo) -> None:
    repo.waiting_codex()
    repo.task()
    with repo.process("start", "--task", "work", "--wait", env={"CI": "true"}) as process:
        repo.begun()
        process.send_signal(signal.SIGKILL)
    (run,) = repo.runs()
    assert run.wait()["status"] == "cancelled"


def test_a_run_that_its_command_has_waited_for_is_what_it_was(repo: Repo) -> None:
    repo.waiting_codex()
    repo.task()
    words = ("start", "--task", "work", "--wait", "--format", "json")
    with repo.process(*words, env={"CI": "true"}) as process:
        repo.begun()
        (run,) = repo.runs()
        with repo.process("wait", run.id, "--format", "json", env={"CI": "true"}) as other:
            for seen in (process, other):  # else a system would take the job for dead
                assert seen.stderr is not None
                assert seen.stderr.readline().decode().startswith(f"{run.id} running 0:")
            repo.open_gate()
            for seen in (process, other):
                out, _ = seen.communicate(timeout=60)
                assert (seen.returncode, json.loads(out)["run_id"]) == (0, run.id)
    wait_until(lambda: run.events("sealed") != [])
    assert run.status()["status"] == "succeeded"
    assert run.events("cancel_requested") == []


@pytest.mark.parametrize("is_tied", [True, False])
def test_sigterm_to_a_supervisor_is_told_and_cancels_only_what_is_tied(repo: Repo, is_tied: bool) -> None:
    repo.waiting_codex()
    run = repo.task().start(*(("--tie-pid", str(os.getpid())) if is_tied else ()))
    repo.begun()
    first, child = run.supervisor(), run.child()
    os.kill(first.pid, signal.SIGTERM)
    if is_tied:
        assert run.wait()["status"] == "cancelled"
    else:
        wait_until(lambda: not first.is_still_there())
        assert child.is_still_there()
        assert run.status()["status"] == "running"
        repo.open_gate()
        assert run.wait()["status"] == "succeeded"
    assert [event["signal"] for event in run.events("signalled")] == ["SIGTERM"]
    numbers = [event["seq"] for event in run.events()]
    assert numbers == list(range(1, len(numbers) + 1))
