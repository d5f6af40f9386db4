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


def opened_to_others(path: str) -> str | None:
    """The nearest folder above `path`, links followed too, in which another user may rename what is there and
    put something else in its place; None where there is none.
    """
    for folder in dict.fromkeys((*_above(path), *_above(os.path.realpath(path)))):
        try:
            found = os.stat(folder)
        except OSError:
            continue
        if not found.st_mode & 0o1000 and is_opened(found):
            return folder
    return None


def written_by_others(path: str) -> str | None:
    """What lets another user write the file or put one in its place, itself or a folder above."""
    try:
        found = os.stat(path)
    except OSError:
        return opened_to_others(path)
    is_theirs = found.st_uid not in (os.geteuid(), 0) or is_opened(found)
    return path if is_theirs else opened_to_others(path)


def is_opened(found: os.stat_result) -> bool:
    """Whether others than its owner may write it. A group counts as its user where it is his private one, as
    distributions with umask 002 make it (login.defs(5), USERGROUPS_ENAB; sshd of Debian judges alike). root's
    group counts as root, and one without an entry, as containers have it, has no members to fear.
    """
    return bool(found.st_mode & 0o002) or bool(found.st_mode & 0o020 and _has_others(found.st_gid))


def _has_others(gid: int) -> bool:
    if gid == 0:
        return False
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return group.gr_name != user or not {user}.issuperset(group.gr_mem)


def _above(path: str) -> Iterator[str]:
    while (above := os.path.dirname(path)) != path:
        yield above
        path = above


def _owner(folder: str) -> int:
    try:
        return os.stat(folder).st_uid
    except OSError:
        return -1
