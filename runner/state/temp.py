"""The folder for temporary files of one run, in the state folder, where a run needs its own. Edge: disk."""

from __future__ import annotations

import os

from runner.disk.files import remove_tree

NAME = "temp"


def remove(path: str) -> None:
    """Takes it away with all that its run has left there, as far as that is possible. No link is followed."""
    if os.path.basename(os.path.dirname(path)) == NAME and not os.path.islink(path):
        remove_tree(path)
