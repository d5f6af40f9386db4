"""Folders for working files: ours alone, and none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.disk.scratch import scratch
from runner.errors import RunnerError

_ROOT = Path(__file__).parents[2]
_HOLD = """
import os, sys
from runner.disk.scratch import scratch

with scratch(os.environ) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_it_is_private_under_any_umask_and_gone_afterwards(own_home: Path) -> None:
    former = os.umask(0)
    try:
        with scratch(os.environ) as folder:
            path = Path(folder)
            levels = [path, *path.parents[:2]]
            assert {level.stat().st_mode & 0o777 for level in levels} == {0o700}
            (path / "inner").mkdir()
            (path / "inner" / "file").touch()
    finally:
        os.umask(former)
    assert not path.exists() and path.is_relative_to(own_home)


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(own_home: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-c", _HOLD]
    holders = [
        subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, alive = (Path(one.stdout.readline().strip()) for one in holders if one.stdout)
    assert killed.is_dir() and alive.is_dir()
    holders[0].send_signal(signal.SIGKILL)
    holders[0].communicate()
    with scratch(os.environ) as folder:
        assert {Path(folder), alive} == {*alive.parent.iterdir()}
    holders[1].communicate("")
    assert not alive.exists()


@pytest.mark.parametrize("level", ["runner", "runner/scratch"])
def test_a_link_in_the_place_of_one_is_not_followed(level: str, own_home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = own_home / ".local/state" / level
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(elsewhere)
    with pytest.raises(RunnerError), scratch(os.environ):
        pass
    assert list(elsewhere.iterdir()) == []
