"""Commands of runner in the sandbox that Codex puts around its shell, as a model that is a host has them: no
network, no process of outside, a home that cannot be written.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from support.codex import codex_path
from support.repo import Completed, Repo

RUNNER = (sys.executable, "-m", "runner")
SANDBOX = (
    *("sandbox", "-c", 'sandbox_mode="workspace-write"'),
    *("-c", "sandbox_workspace_write.exclude_slash_tmp=true"),
    *("-c", "sandbox_workspace_write.exclude_tmpdir_env_var=true"),
)


def inside(repo: Repo, *words: str) -> Completed:
    """What a model of Codex gets that runs this in its shell."""
    argv = (str(codex_path()), *SANDBOX, *RUNNER, *words)
    done = subprocess.run(
        argv,
        cwd=repo.root,
        env=repo.env,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return Completed(done.returncode, done.stdout, done.stderr)


@pytest.fixture(autouse=True)
def a_sandbox(nothing_left: None, repo: Repo) -> None:
    argv = (str(codex_path()), *SANDBOX, "true")
    if subprocess.run(argv, cwd=repo.root, env=repo.env, capture_output=True).returncode:
        pytest.skip("this machine does not allow the sandbox of Codex")


def refused(done: Completed) -> tuple[int, Any]:
    return done.status, json.loads(done.stdout)["error"]["code"]


def test_no_run_is_started_where_its_agent_could_ask_no_model_and_would_end_with_the_command(
    repo: Repo,
) -> None:
    repo.quick_codex()
    repo.task().start().wait()
    there = len(repo.runs())
    for words in (("start", "--task", "work"), ("start", "--task", "work", "--rehearse")):
        done = inside(repo, *words, "--json")
        assert refused(done) == (8, "cut_off"), (words, done)
        assert "delegate_spawn" in done.error["hint"]
    assert refused(inside(repo, "delegate-server", "--json")) == (8, "cut_off")
    assert len(repo.runs()) == there


def test_a_run_that_goes_on_outside_is_looked_at_and_told_at_once(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    begun = time.monotonic()
    assert json.loads(inside(repo, "status", run.id, "--json").stdout)["status"] == "running"
    assert [row["run_id"] for row in json.loads(inside(repo, "list", "--json").stdout)] == [run.id]
    assert time.monotonic() - begun < 8, "the lock says that it has an owner, whom nobody can see there"
    assert inside(repo, "cancel", run.id).status == 0
    assert run.status()["status"] == "cancelled"


def test_what_cannot_be_written_there_is_told_with_what_to_do(repo: Repo) -> None:
    repo.quick_codex()
    repo.task('verify = ["true"]').start().wait()
    done = inside(repo, "verify", "work", "--json")
    assert (*refused(done), "sandbox" in done.error["hint"]) == (9, "unwritable", True)
