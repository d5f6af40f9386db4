"""The folder for temporary files of one run, in the state folder, where a run needs its own. Edge: disk."""

from __future__ import annotations

import os

from runner.disk.files import create, private_folder, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "temp"


def remove(path: str) -> None:
    """Takes it away with all that its run has left there, as far as that is possible. No link is followed."""
    if os.path.basename(os.path.dirname(path)) == NAME and not os.path.islink(path):
        remove_tree(path)


def renew(path: str, home: Mapping[str, str], kept: Sequence[str]) -> None:
    """Makes the home that a program has in it as it was at the start, for another attempt: an agent may have
    written into it. Only `kept` stays. OSError, with no link followed.
    """
    private_folder(path)
    # A program obeys more of its home than what we make there, as Gemini CLI does `.env` and `.agents`.
    hidden = (name for name in os.listdir(path) if name.startswith(".") and name != ".git")
    for top in {*hidden, *(name.partition("/")[0] for name in home)}:
        old = f"{path}/{os.urandom(8).hex()}"
        if os.path.lexists(f"{path}/{top}"):
            os.rename(f"{path}/{top}", old)
        for name in (name for name in home if name.partition("/")[0] == top):
            private_folder(path, *name.split("/")[:-1])
            create(f"{path}/{name}", home[name].encode())
        if os.path.lexists(old) and (os.path.islink(old) or not os.path.isdir(old)):
            os.unlink(old)
            continue
        for name in kept:
            left = f"{old}{name.removeprefix(top)}"
            if name.startswith(f"{top}/") and os.path.lexists(left) and not os.path.islink(left):
                os.rename(left, f"{path}/{name}")
        remove_tree(old)
