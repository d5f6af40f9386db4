"""The program of a job: `python -I -S .../supervise/node.py RUN_FOLDER`. Its exit status is that of the run.

A file and not `-m`, as `__main__.py` beside it.
"""

from __future__ import annotations

import os
import sys


def main(argv: list[str]) -> int:
    """Where nothing was done, UNUSABLE or NOT_BEGUN, and why on stderr."""
    from runner.errors import RunnerError
    from runner.executors.base import UNUSABLE
    from runner.supervise.placed import of_folder

    try:
        node = of_folder(os.path.abspath(argv[0]), os.environ)
    except (RunnerError, OSError, ValueError, KeyError) as error:
        print(f"executor_unusable: {error}", file=sys.stderr)
        return UNUSABLE
    return node.carry_out()


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    os._exit(main(sys.argv[1:]))  # everything is written; nothing need be taken apart
