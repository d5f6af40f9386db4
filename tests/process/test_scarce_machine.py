"""What a machine that is short of something refuses has a name, and nothing is left of what it refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

import pytest
from support.ended import commit
from support.repo import Completed, Repo
from support.waiting import wait_until

MACHINE = """
import errno, os, signal, sys
refused, forks, fork, write, rename = sys.argv[1], [], os.fork, os.write, os.rename

def short_of_processes():
    forks.append(1)
    if refused == "the first process" or (refused == "the second process" and len(forks) == 2):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    pid = fork()
    if refused == "the owner" and len(forks) == 2 and pid == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return pid

def watched(fd, data):
    if refused == "the word of the owner" and bytes(data[:5]) == b'{"ok"':
        os.kill(os.getpid(), signal.SIGKILL)
    return write(fd, data)

def short_of_room(old, new):
    is_running = new.endswith("/manifest.json") and b'"phase": "running"' in open(old, "rb").read()
    if refused == "room for its first manifest" and is_running:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), old)
    return rename(old, new)

os.fork, os.write, os.rename = short_of_processes, watched, short_of_room
sys.argv = sys.argv[2:]
from runner.cli.app import program
program()
"""
WORKS = """
[sandboxes.write]
level = "workspace-write"
[tasks.work]
prompt = "Do it."
sandbox = "write"
workspace = "worktree"
grace = "1s"
"""


def on_a_machine_without(refused: str, repo: Repo, *words: str) -> Completed:
    prefix = (sys.executable, "-c", MACHINE, refused)
    with repo.process(*words, "--format", "json", prefix=prefix) as process:
        out, err = process.communicate(timeout=60)
    return Completed(process.returncode, out.decode(), err.decode())


def trees(repo: Repo) -> str:
    listed = subprocess.run(
        ["git", "worktree", "list"], cwd=repo.root, capture_output=True, text=True, check=True
    )
    return listed.stdout.removeprefix(listed.stdout.splitlines()[0])


@pytest.fixture
def writer(repo: Repo) -> Repo:
    """With a task that gets a work tree of its own, and an agent that waits."""
    subprocess.run(["git", "init", "-q"], cwd=repo.root, check=True)
    commit(repo.root, a_txt="a\n")
    repo.waiting_codex()
    return repo.config(WORKS)


@pytest.mark.parametrize("refused", ["the first process", "the second process"])
def test_a_start_that_gets_no_process_is_refused_and_leaves_nothing(writer: Repo, refused: str) -> None:
    done = on_a_machine_without(refused, writer, "start", "--task", "work")
    assert (done.status, done.error["code"], done.error["retryable"]) == (9, "too_many_processes", True)
    assert "Traceback" not in done.stderr
    assert writer.no_runs() and trees(writer).strip() == ""
    run = writer.start()
    writer.begun()
    run.kill_supervisor()
    done = on_a_machine_without(refused, writer, "status", run.id)
    assert (done.status, done.error["code"]) == (9, "too_many_processes")
    writer.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_a_start_whose_owner_is_killed_first_leaves_a_run_that_never_started(writer: Repo) -> None:
    done = on_a_machine_without("the owner", writer, "start", "--task", "work")
    assert (done.status, done.error["code"]) == (8, "start_failed")
    (run,) = writer.runs()
    assert run.on_disk()["reason"]["code"] == "never_started"
    assert trees(writer).strip() == "" and run.tree() == []


def test_a_start_whose_owner_is_killed_over_its_report_is_one_all_the_same(writer: Repo) -> None:
    done = on_a_machine_without("the word of the owner", writer, "start", "--task", "work")
    assert done.status == 0, done.stderr
    (run,) = writer.runs()
    assert done.json()["run_id"] == run.id and run.on_disk()["phase"] == "running"
    writer.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_a_start_without_room_for_its_first_manifest_ends_its_agent_and_says_so(writer: Repo) -> None:
    done = on_a_machine_without("room for its first manifest", writer, "start", "--task", "work")
    assert (done.status, done.error["code"]) == (8, "start_failed"), done.stderr
    (run,) = writer.runs()
    assert done.error["message"].startswith(f"the disk is full: {run.folder}")
    assert (run.on_disk()["status"], run.on_disk()["reason"]["code"]) == ("failed", "disk_full")
    assert run.on_disk() == run.status()
    assert trees(writer).strip() == "" and run.tree() == []


def test_a_limit_of_open_files_is_named_by_whatever_command_meets_it(repo: Repo) -> None:
    """From the fewest with which Python begins to those with which all is well."""
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit sets the limit")

    def limited(files: int, *words: str) -> tuple[int, Any]:
        prefix = ("prlimit", f"--nofile={files}")
        with repo.process(*words, "--format", "json", prefix=prefix) as process:
            out, err = process.communicate(timeout=60)
        done = Completed(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in done.stderr
        return done.status, done.error["code"] if done.status else None

    repo.waiting_codex()
    repo.task()
    named, seen = {(0, None), (9, "too_many_open_files")}, set()
    for files in range(5, 16, 2):
        before = len(repo.runs())
        seen.add(found := limited(files, "start", "--task", "work"))
        assert len(repo.runs()) == before + (found[0] == 0)
    assert seen == named
    repo.begun()
    run, seen = repo.runs()[0], set()
    for files in range(5, 16, 2):
        owner = run.on_disk()["supervisor"]["pid"]
        if os.path.exists(f"/proc/{owner}/environ") and seen != {(9, "too_many_open_files")}:
            run.kill_supervisor()
        seen.add(limited(files, "status", run.id))
    assert seen == named
    repo.open_gate()
    for one in repo.runs():
        wait_until(lambda one=one: one.status()["status"] == "succeeded", 30, "the end")
