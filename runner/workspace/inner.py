"""The git directory of a repository: whether it is one, at which commit it stands, and whether git could read
it. Edge: git and disk.

Mostly three small files say it, without a process. An agent may have written them, so no FIFO is waited for.
"""

from __future__ import annotations

import os

from runner.disk.files import read
from runner.errors import Conflict
from runner.workspace.files import is_special
from runner.workspace.git import Git

_LONGEST = 4096
_HEX = frozenset(b"0123456789abcdef")
_WIDTHS = (40, 64)
_OPENED = (
    *("HEAD", "config", "config.worktree", "commondir", "index", "packed-refs", "shallow"),
    *("info/attributes", "info/exclude", "info/grafts", "info/sparse-checkout", "objects/info/alternates"),
)


def git_dir(path: str) -> str | None:
    """The git directory of the repository at `path`; None where git would see no repository there."""
    found = _named(path)
    if found is None:
        return None
    common = _common(found)
    is_whole = os.path.isdir(f"{common}/objects") and os.path.isdir(f"{common}/refs")
    return found if is_whole and _is_head(found) else None


def folders(path: str) -> tuple[str, ...]:
    """Where git keeps what belongs to the work tree at `path`: of a linked one, two folders elsewhere."""
    own = os.path.realpath(_named(path) or f"{path}/.git")
    return tuple(dict.fromkeys((own, os.path.realpath(_common(own)))))


def head(path: str) -> str | None:
    """The id of the commit that the repository at `path` stands at; None where it has none, or is none.

    Whether it has that object is not asked: git would fetch it as the settings of that repository say.
    """
    where = git_dir(path)
    if where is None:
        return None
    told = _text(f"{where}/HEAD") or b""
    if told.startswith(b"ref: "):
        told = _text(f"{_common(where)}/{os.fsdecode(told[len(b'ref: ') :])}") or b""
    if _is_id(told):
        return told.decode()
    if blocking(where) is not None:
        return None
    return Git(path, {"GIT_DIR": where}).line("rev-parse", "--verify", "-q", "HEAD")


def blocking(where: str) -> str | None:
    """A file of this git directory that git opens, where something else stands: a FIFO, for which it would
    wait without end, or a device without one.
    """
    for folder in dict.fromkeys((where, _common(where))):
        for name in _OPENED:
            if would_wait(f"{folder}/{name}"):
                return f"{folder}/{name}"
        waiting = [f"{folder}/refs"]
        while waiting:
            above = waiting.pop()
            try:
                entries = [*os.scandir(above)]
            except OSError:
                continue
            for entry in entries:
                path = f"{above}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif not entry.is_file() and would_wait(path):
                    return path
    return None


def blocked(path: str) -> str | None:
    """That file of the git directory which the `.git` in this folder is or names."""
    where = _named(path)
    return None if where is None else blocking(where)


def refuse_blocking_repository(path: str) -> None:
    """Conflict where git would wait without end, or read without end, when it looks for the repository that
    `path` is in.
    """
    path = os.path.realpath(path)
    while True:
        if (odd := blocked(path)) is not None:
            raise Conflict(f"{odd} is not a regular file, and git would wait for it", hint="remove it")
        above = os.path.dirname(path)
        if above == path or git_dir(path) is not None:
            return
        path = above


def _named(path: str) -> str | None:
    """What `.git` says where the git directory is."""
    found = f"{path}/.git"
    if os.path.isdir(found):
        return found
    text = _text(found)
    if text is None or not text.startswith(b"gitdir: "):
        return None
    return os.path.join(path, os.fsdecode(text[len(b"gitdir: ") :]))


def would_wait(path: str) -> bool:
    """Whether git would, for what stands there."""
    try:
        return is_special(os.stat(path).st_mode)
    except OSError:
        return False


def _common(where: str) -> str:
    """Of a linked work tree, the directory that it shares."""
    told = _text(f"{where}/commondir")
    return where if told is None else os.path.join(where, os.fsdecode(told))


def _is_head(where: str) -> bool:
    path = f"{where}/HEAD"
    if os.path.islink(path):
        return os.readlink(path).startswith("refs/")
    told = _text(path) or b""
    return told.startswith(b"ref: refs/") or _is_id(told)


def _is_id(told: bytes) -> bool:
    return len(told) in _WIDTHS and _HEX.issuperset(told)


def _text(path: str) -> bytes | None:
    try:
        return read(path, _LONGEST, follows_links=True).rstrip()
    except OSError:
        return None
