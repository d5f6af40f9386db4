"""Whether a file that decides what runs is as it was. Edge: disk."""

from __future__ import annotations

import os

from runner.disk.digest import sha256
from runner.disk.files import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ABSENT = ""
TO_COME = "-"
"""Instead of the digest of a script that was not there. It counts where git sees it come, so not where an
installation brings it.
"""
_LONGEST = 64 << 20


def digest_of(path: str) -> str:
    """That of its content, whatever leads to it; of what cannot be read, what it is instead."""
    try:
        data = read(path, _LONGEST, follows_links=True)
        if len(data) == _LONGEST:  # of what is longer, the clock says the rest (inode(7), ctime)
            found = os.stat(path)
            data += b"%d %d %d" % (found.st_ino, found.st_size, found.st_ctime_ns)
        return sha256(data).hexdigest()
    except FileNotFoundError:
        return ABSENT
    except OSError as error:
        return f"{error.strerror}"


def changed(repo: str, watched: Mapping[str, str], seen: Iterable[str]) -> tuple[str, ...]:
    """Those that are not as they were, and those among what git has `seen` change, each once."""
    known = [(path, then) for path, then in watched.items() if then != TO_COME]
    differ = [path for path, then in known if digest_of(os.path.join(repo, path)) != then]
    return tuple(dict.fromkeys((*differ, *(path for path in seen if path in watched))))


def rewritten(folder: str, started: Mapping[str, str]) -> tuple[str, ...]:
    """Those that stand there and are not what they were. What is gone cannot be started."""
    return tuple(
        name for name, then in started.items() if digest_of(os.path.join(folder, name)) not in (then, ABSENT)
    )
