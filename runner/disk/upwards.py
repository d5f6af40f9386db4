"""Walks up from a folder to what it belongs to, and never into what belongs to somebody else. Edge: the disk
(stat only).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def git_root(folder: str) -> str | None:
    """The nearest folder upwards that is a repository, as git finds it: `.git` is a folder with a
    HEAD, or a file (in a worktree).

    An empty `.git` is none: sandboxes leave such folders behind to keep it from being written.
    """
    for place in upwards(folder):
        git = os.path.join(place, ".git")
        if (os.path.lexists(git + "/HEAD") or os.path.isfile(git)) and not is_planted(place, ".git"):
            return place
    return None


def upwards(folder: str) -> Iterator[str]:
    """The folder and those above it, up to where they begin to belong to somebody else: who has the folder
    above yours would otherwise say what is done in yours (https://nvd.nist.gov/vuln/detail/CVE-2022-24765).
    """
    owner = _owner(folder)
    while True:
        yield folder
        parent = os.path.dirname(folder)
        if parent == folder or _owner(parent) not in (owner, os.geteuid()):
            return
        folder = parent


def is_planted(folder: str, name: str) -> bool:
    """Whether anybody could have put it there, as in `/tmp`, and neither we nor the folder's owner did."""
    try:
        there = os.stat(folder)
        found = os.lstat(os.path.join(folder, name))
    except OSError:
        return False
    return bool(there.st_mode & 0o002) and found.st_uid not in (there.st_uid, os.geteuid())


def _owner(folder: str) -> int:
    try:
        return os.stat(folder).st_uid
    except OSError:
        return -1
