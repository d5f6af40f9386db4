"""What `runner watch` costs beside a hundred runs that live, and with ten thousand that are done."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import termios
import time

from scene import RUNNER, Scene, Table

_SETTLES_S = 3.0


def watching(scene: Scene, table: Table, count: int = 100, seconds: float = 20.0) -> None:
    """CPU of a screen of 120 columns that has room for all of the runs."""
    runs = [scene.start("silent") for _ in range(count)]
    share, written = _of_a_core(scene, seconds)
    table.row(f"watch, {count} silent runs: CPU over {seconds:.0f} s", f"{share:.2f} %", None, "at most 2 %")
    table.row(f"watch, {count} silent runs: written to the terminal", f"{written / 1024:.1f} KiB/s", None)
    for run in runs:
        scene.cli("cancel", run, "--grace", "0")


def _of_a_core(scene: Scene, seconds: float) -> tuple[float, float]:
    """The share of a core in percent, and the bytes that were written in a second."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (120, 120))
    process = subprocess.Popen(
        [*RUNNER, "watch"],
        cwd=scene.repo,
        env={**scene.env, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    _read(ours, _SETTLES_S)
    before = scene.ticks(process.pid)
    written = _read(ours, seconds)
    share = (scene.ticks(process.pid) - before) / os.sysconf("SC_CLK_TCK") / seconds * 100
    os.write(ours, b"q")
    process.wait(10)
    os.close(ours)
    return share, written / seconds


def _read(fd: int, seconds: float) -> int:
    """How much comes in this time."""
    until, size = time.monotonic() + seconds, 0
    while (left := until - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            size += len(os.read(fd, 65536))
    return size
