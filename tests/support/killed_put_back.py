"""A program that puts back what a run changed of git, and kills itself before the N-th change."""

from __future__ import annotations

import os
import signal
import sys

from runner.workspace.git_back import put_back
from runner.workspace.snapshot import load


def main(folder: str, number: int) -> None:
    steps = 0

    def count(_: str) -> None:
        nonlocal steps
        steps += 1
        if steps == number:
            os.kill(os.getpid(), signal.SIGKILL)

    snapshot = load(folder)
    assert snapshot is not None
    put_back(snapshot, watch=count)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
