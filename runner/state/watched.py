"""Whether a file that decides what runs is as it was. Edge: disk."""

from __future__ import annotations

import os
import stat

from runner.disk.digest import sha256
from runner.disk.files import read
from runner.disk.programs import identity_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ABSENT = ""
TO_COME = "-"
"""Instead of the digest of a script that was not there. It counts where git sees it come, so not where an
installation brings it.
"""
_LONG, _LONGEST = 1 << 20, 64 << 20


def digest_of(folder: str, name: str) -> str:
    """That of the content of what this name means in that folder, whatever leads to it; of what cannot be
    read, what it is instead.

    A long file that is named absolutely, as the agent's program is, is the same in every tree: of it, that of
    its identity, which no writer leaves as it was (inode(7), ctime). To read 200 MB would take a second.
    """
    path = os.path.join(folder, name)
    try:
        found = os.stat(path)
        longest = _LONG if os.path.isabs(name) else _LONGEST
        if found.st_size > longest and stat.S_ISREG(found.st_mode):
            return sha256(b"%d %d %d %d %d" % identity_of(found)).hexdigest()
        return sha256(read(path, longest + 1, follows_links=True)).hexdigest()
    except FileNotFoundError:
        return ABSENT
    except OSError as error:
        return f"{error.strerror}"


def changed(repo: str, watched: Mapping[str, str], seen: Iterable[str]) -> tuple[str, ...]:
    """Those that are not as they were, and those among what git has `seen` change, each once."""
    known = [(path, then) for path, then in watched.items() if then != TO_COME]
    differ = [path for path, then in known if digest_of(repo, path) != then]
    return tuple(dict.fromkeys((*differ, *(path for path in seen if path in watched))))


def rewritten(folder: str, started: Mapping[str, str]) -> tuple[str, ...]:
    """Those that stand there and are not what they were. What is gone cannot be started."""
    return tuple(name for name, then in started.items() if digest_of(folder, name) not in (then, ABSENT))
