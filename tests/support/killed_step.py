"""A program that takes back what a run did, and kills itself before the N-th change of the disk: its files
(`roll-back`), what it did of git and then its files (`put-back`), or, of the files that are named, what they
are for a while.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from runner.workspace.base_files import to_base, to_run
from runner.workspace.git_back import put_back
from runner.workspace.rollback import roll_back
from runner.workspace.snapshot import load


def is_killed(folder: str | os.PathLike[str], number: int, *words: str) -> bool:
    """Whether it has come to that change."""
    program = [sys.executable, __file__, folder, str(number), *words]
    return subprocess.run(program, check=False, timeout=60).returncode == -signal.SIGKILL


def main(folder: str, number: int, words: list[str]) -> None:
    steps = 0

    def count(_: str) -> None:
        nonlocal steps
        steps += 1
        if steps == number:
            os.kill(os.getpid(), signal.SIGKILL)

    snapshot = load(folder)
    assert snapshot is not None
    if words == ["put-back"]:
        put_back(snapshot, plans=True, watch=count)
    if words in (["put-back"], ["roll-back"]):
        roll_back(snapshot, watch=count)
        return
    assert to_base(snapshot, words, watch=count) == ()
    assert to_run(snapshot, watch=count) == ()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
