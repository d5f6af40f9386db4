"""Files get their state of before the run and then that of the run again, exactly, also after a kill."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.killed_step import is_killed
from support.work import Work

from runner.errors import Conflict
from runner.workspace.base_files import to_base, to_run
from runner.workspace.snapshot import Snapshot

SHARES = 3
PATHS = (
    "ci/test.sh",
    "ci/run",
    "conftest.py",
    "gone.sh",
    "was-folder",
    "was-folder/x",
    "link",
    "sub/new/deep.cfg",
)


def prepared(tmp_path: Path) -> tuple[Work, Snapshot]:
    work = Work(tmp_path)
    work.write("ci/test.sh", "exit 1\n")
    work.write("ci/run", "base\n", mode=0o755)
    work.write("gone.sh", "base\n")
    work.write("was-folder/x", "base\n")
    work.write("link", "base\n")
    work.write("src/main.py", "base\n")
    work.commit()
    taken = work.take()
    work.write("ci/test.sh", "exit 0\n")
    os.chmod(work.path("ci/run"), 0o700)
    work.write("conftest.py", "raise SystemExit(0)\n")
    work.remove("gone.sh")
    work.remove("was-folder")
    work.write("was-folder", "now a file\n", mode=0o640)
    work.remove("link")
    work.link("link", "/dev/null")
    work.write("sub/new/deep.cfg", "run\n")
    work.write("src/main.py", "run\n")
    os.chmod(work.path("ci"), 0o750)
    for name in ("ci/test.sh", "conftest.py"):
        os.utime(work.path(name), ns=(10**18, 10**18 + 5))
    return work, taken


def times(work: Work) -> list[int]:
    return [os.lstat(work.path(name)).st_mtime_ns for name in ("ci/test.sh", "conftest.py", "was-folder")]


def test_only_these_files_are_as_before_and_then_as_the_run_left_them(tmp_path: Path) -> None:
    work, taken = prepared(tmp_path)
    after, at = work.state(), times(work)
    assert to_base(taken, PATHS) == ()
    assert work.read("ci/test.sh") == b"exit 1\n"
    assert os.stat(work.path("ci/run")).st_mode & 0o777 == 0o755
    assert work.read("gone.sh") == work.read("was-folder/x") == work.read("link") == b"base\n"
    assert not os.path.lexists(work.path("conftest.py"))
    assert not os.path.lexists(work.path("sub/new/deep.cfg"))
    assert work.read("src/main.py") == b"run\n", "the work itself is what is checked"
    assert to_run(taken) == ()
    assert (work.state(), times(work)) == (after, at)
    assert to_run(taken) == (), "there is nothing more to do"
    assert [path.name for path in Path(work.folder).glob("base-files*")] == []


def test_what_a_check_writes_into_them_does_not_stay(tmp_path: Path) -> None:
    work, taken = prepared(tmp_path)
    after = work.state()
    to_base(taken, PATHS)
    work.write("ci/test.sh", "a formatter was here\n")
    work.write("conftest.py", "made by a check\n")
    work.remove("gone.sh")
    assert to_run(taken) == ()
    assert work.state() == after
    kept = {path.read_text() for path in Path(work.folder, "kept-by-checks").rglob("*") if path.is_file()}
    assert kept == {"a formatter was here\n", "made by a check\n"}


def test_a_second_beginning_waits_for_the_way_back(tmp_path: Path) -> None:
    work, taken = prepared(tmp_path)
    after = work.state()
    to_base(taken, PATHS)
    with pytest.raises(Conflict):
        to_base(taken, PATHS)
    to_run(taken)
    assert work.state() == after


@pytest.mark.parametrize("share", range(SHARES))
def test_whatever_step_it_is_killed_at_the_way_back_is_complete(tmp_path: Path, share: int) -> None:
    work, taken = prepared(tmp_path)
    after, at = work.state(), times(work)
    number = 1 + share
    while is_killed(work.folder, number, *PATHS):
        assert to_run(taken) == ()
        assert (work.state(), times(work)) == (after, at), f"killed before step {number}"
        number += SHARES
    assert (work.state(), times(work)) == (after, at)
    assert number > 20
