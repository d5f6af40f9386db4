"""The heartbeat of a run on another machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.executors import beat


def test_its_age_is_that_since_the_last_touch(tmp_path: Path) -> None:
    assert beat.age(str(tmp_path)) is None
    beat.beat(str(tmp_path))
    heart = tmp_path / "heartbeat"
    assert (heart.stat().st_mode & 0o777) == 0o600
    first = beat.age(str(tmp_path))
    assert first is not None
    assert first < 30
    os.utime(heart, (heart.stat().st_mtime - 100, heart.stat().st_mtime - 100))
    second = beat.age(str(tmp_path))
    assert second is not None
    assert 100 <= second < 130
    beat.beat(str(tmp_path))
    assert (beat.age(str(tmp_path)) or 0.0) < 30
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat"]


def test_a_time_to_come_is_no_sign_of_life(tmp_path: Path) -> None:
    beat.beat(str(tmp_path))
    heart = tmp_path / "heartbeat"
    os.utime(heart, (heart.stat().st_mtime + 3600, heart.stat().st_mtime + 3600))
    assert beat.age(str(tmp_path)) is None


def test_what_is_no_plain_file_is_neither_touched_nor_believed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    before = other.stat().st_mtime_ns
    (tmp_path / "heartbeat").symlink_to(other)
    with pytest.raises(OSError, match="symbolic"):
        beat.beat(str(tmp_path))
    assert beat.age(str(tmp_path)) is None
    assert other.stat().st_mtime_ns == before
    (tmp_path / "heartbeat").unlink()
    os.mkfifo(tmp_path / "heartbeat")
    with pytest.raises(OSError):
        beat.beat(str(tmp_path))
    assert beat.age(str(tmp_path)) is None
