"""Whether a file that decides what runs is as it was. Edge: disk."""

from __future__ import annotations

import os

from runner.disk.digest import sha256
from runner.disk.files import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ABSENT = ""


def digest_of(path: str) -> str:
    """That of its content, whatever leads to it; of what cannot be read, what it is instead."""
    try:
        return sha256(read(path, follows_links=True)).hexdigest()
    except FileNotFoundError:
        return ABSENT
    except OSError as error:
        return f"{error.strerror}"


def changed(repo: str, watched: Mapping[str, str], seen: Iterable[str]) -> tuple[str, ...]:
    """Those that are not as they were, and those among what git has `seen` change, each once."""
    differ = [path for path, then in watched.items() if digest_of(os.path.join(repo, path)) != then]
    return tuple(dict.fromkeys((*differ, *(path for path in seen if path in watched))))
