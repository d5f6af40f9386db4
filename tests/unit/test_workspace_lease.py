"""The lease: one writer per work tree, free when its holder is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import wait_until
from support.work import Work

from runner.errors import ExitStatus, RunnerError, WorkspaceBusy
from runner.workspace.lease import Holder, acquire, held_by, lock_path, wait

ME = Holder("run-1", "/m.json")
OTHER = Holder("run-2", "/n.json")
HOLD = """
import sys, signal
from runner.workspace.lease import Holder, acquire
root, *fds = sys.argv[1:]
lease = None if fds else acquire(root, Holder("run-9", "/x"))
print("held", flush=True)
signal.pause()
"""


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(Work(tmp_path).root)


def holder(root: str, *fds: int) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-c", HOLD, root, *map(str, fds)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, pass_fds=fds)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.communicate()


def test_a_second_writer_is_refused_and_told_who_has_it(root: str) -> None:
    lease = acquire(root, ME)
    assert held_by(root) == ME
    with pytest.raises(WorkspaceBusy, match="run-1") as error:
        acquire(root, OTHER)
    assert error.value.exit_status == 9
    lease.release()
    assert held_by(root) is None
    acquire(root, OTHER).release()


def test_to_ask_who_has_it_makes_nothing(root: str) -> None:
    assert held_by(root) is None and not os.path.exists(lock_path(root))


def test_it_is_free_when_its_holder_was_killed(root: str) -> None:
    process = holder(root)
    with pytest.raises(WorkspaceBusy, match="run-9"):
        acquire(root, ME)
    end(process)
    acquire(root, ME).release()


def test_a_process_that_was_handed_the_descriptor_has_it_alone_in_the_end(root: str) -> None:
    lease = acquire(root, ME)
    process = holder(root, lease.fd)
    lease.forget()
    with pytest.raises(WorkspaceBusy):
        acquire(root, OTHER)
    end(process)
    lease = acquire(root, OTHER)
    assert held_by(root) == OTHER  # of the longer words of the holder before nothing is left
    lease.release()


def test_who_waits_gets_it_when_it_is_free(root: str) -> None:
    process = holder(root)
    asked = []

    def end_it() -> bool:
        asked.append(1)
        end(process)
        return False

    lease = wait(root, ME, timeout_s=30, given_up=end_it)
    assert lease is not None and asked and held_by(root) == ME
    lease.release()


def test_who_waits_may_give_up_and_does_not_wait_longer_than_said(root: str) -> None:
    lease = acquire(root, OTHER)
    assert wait(root, ME, given_up=lambda: True) is None
    with pytest.raises(WorkspaceBusy, match="run-2"):
        wait(root, ME, timeout_s=0)
    lease.release()


def test_each_work_tree_has_its_own(root: str, tmp_path: Path) -> None:
    work = Work(tmp_path, "second")
    work.commit()
    linked = tmp_path / "linked"
    work.git("worktree", "add", "-q", "--detach", str(linked))
    paths = {lock_path(where) for where in (root, str(work.root), str(linked))}
    assert len(paths) == 3
    leases = [acquire(where, ME) for where in (str(work.root), str(linked))]
    for lease in leases:
        lease.release()


def test_it_is_no_file_of_the_work_tree(root: str, tmp_path: Path) -> None:
    acquire(root, ME).release()
    assert lock_path(root).startswith(f"{root}/.git/")
    (tmp_path / "plain" / ".runs").mkdir(parents=True)
    assert lock_path(str(tmp_path / "plain")) == str(tmp_path / "plain" / ".runs" / "runner-writer.lock")


def test_of_many_at_once_one_gets_it(root: str) -> None:
    programs = [[sys.executable, "-c", HOLD, root] for _ in range(4)]
    processes = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for one in programs]
    wait_until(lambda: sum(process.poll() is not None for process in processes) == 3, within=30)
    for process in processes:
        end(process)
    assert sorted(process.returncode for process in processes) == [-signal.SIGKILL, 1, 1, 1]


def test_a_lease_survives_nobody(root: str) -> None:
    lease = acquire(root, ME)
    os.close(lease.fd)
    after = acquire(root, OTHER)
    assert after.fd >= 0
    after.release()


@pytest.mark.parametrize("what", ["fifo", "folder", "link"])
def test_what_is_no_plain_file_in_its_place_is_refused_by_name(root: str, what: str) -> None:
    path = lock_path(root)
    {"fifo": os.mkfifo, "folder": os.mkdir, "link": lambda at: os.symlink("/dev/null", at)}[what](path)
    with pytest.raises(RunnerError, match=r"runner-writer\.lock") as caught:
        acquire(root, ME)
    assert caught.value.exit_status == ExitStatus.CONFLICT
