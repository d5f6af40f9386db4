"""A program that rolls back a run's folder, or gives the files that are named their former state and takes it
back; it kills itself before the N-th change of the disk.
"""

from __future__ import annotations

import os
import signal
import sys

from runner.workspace.base_files import to_base, to_run
from runner.workspace.rollback import roll_back
from runner.workspace.snapshot import load


def main(folder: str, number: int, paths: list[str]) -> None:
    steps = 0

    def count(_: str) -> None:
        nonlocal steps
        steps += 1
        if steps == number:
            os.kill(os.getpid(), signal.SIGKILL)

    snapshot = load(folder)
    assert snapshot is not None
    if not paths:
        roll_back(snapshot, watch=count)
        return
    assert to_base(snapshot, paths, watch=count) == ()
    assert to_run(snapshot, watch=count) == ()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
