"""Disks that are full or cannot be written, made with the kernel's own means: no function is replaced."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["fill", "read_only_disk", "small_disk"]


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A tmpfs of that size at `folder`; the test is skipped where nothing may be mounted."""
    folder.mkdir()
    options = f"size={kilobytes}k,mode=700"
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield folder
    except BaseException:  # something that is not ended may hold it, and is not what went wrong
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        raise
    subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def read_only_disk(folder: Path) -> Iterator[None]:
    """Makes a `small_disk` read-only for a while; permission bits would not stop root."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Takes all space of the disk but `leave` bytes (in whole pages); returns the file that has it."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    if leave:
        os.truncate(ballast, max(0, ballast.stat().st_size - leave))
    return ballast
