"""The hook as a program: `python -I -S .../hosts/__main__.py HOST`.

A file and not `-m`: under `-I` neither the current folder nor PYTHONPATH can change what is imported.
"""

from __future__ import annotations

import os
import sys

if not __package__:  # run as a plain file: the package is not on the path
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from runner.hosts.hook import run

if __name__ == "__main__":
    os._exit(run(sys.argv[1:]))  # nothing is left to be written, and taking all apart takes its time
