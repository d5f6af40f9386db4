"""The supervisor's program: `python -I .../supervise/__main__.py RUN_FOLDER [LOCK_FD [READY_FD]]`.

A file and not `-m`: under `-I` neither the current folder nor PYTHONPATH can change what is imported, so the
package is found beside this file, installed or not. It may be run by hand on a run that nobody owns.
"""

from __future__ import annotations

import sys
from os.path import abspath, dirname

if __name__ == "__main__":
    sys.path.insert(0, dirname(dirname(dirname(abspath(__file__)))))
    from runner.supervise.supervisor import main

    sys.exit(main(sys.argv[1:]))
