"""A roll-back that is killed at any step is finished by the next call."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.killed_step import is_killed
from support.work import Work

from runner.workspace.rollback import roll_back
from runner.workspace.snapshot import Snapshot

SHARES = 3


def prepared(tmp_path: Path) -> tuple[Work, Snapshot]:
    work = Work(tmp_path)
    work.write("a", "1\n")
    work.write("d/b", "2\n")
    work.commit()
    work.write("a", "staged\n")
    work.git("add", "a")
    os.mkdir(work.path("empty"), 0o750)
    return work, work.take()


def damage(work: Work) -> None:
    work.remove("d")
    work.write("d", "file\n")
    work.write("a", "run\n")
    work.write("n/new", "run\n")
    os.rmdir(work.path("empty"))
    work.git("add", "-A")


@pytest.mark.parametrize("share", range(SHARES))
def test_whatever_step_it_is_killed_at_the_next_call_finishes(tmp_path: Path, share: int) -> None:
    work, taken = prepared(tmp_path)
    before, staged = work.state(), work.staged()
    damage(work)
    damaged = tmp_path / "damaged"
    shutil.copytree(work.root, damaged, symlinks=True)
    number = 1 + share
    while is_killed(work.folder, number, "roll-back"):
        work.write("user's", "meanwhile\n")
        rolled = roll_back(taken)
        assert (work.folder / "discarded.patch").stat().st_size
        assert not (work.root / ".git" / "index.lock").exists()
        assert not (work.root / ".git" / "runner-index").exists()
        if number > 1:  # the plan was made: what came later is the user's
            assert work.read("user's") == b"meanwhile\n"
            assert rolled.unequal == ("added: user's",)
            work.remove("user's")
        assert (work.state(), work.staged()) == (before, staged), number
        shutil.rmtree(work.root)
        shutil.copytree(damaged, work.root, symlinks=True)
        number += SHARES
    assert number > 20
    assert (work.state(), work.staged()) == (before, staged)
