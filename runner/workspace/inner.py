"""A repository inside of a work tree: whether one stands there, and at which commit. Edge: git and disk.

Mostly three small files say it, without a process. An agent may have written them, so no FIFO is waited for.
"""

from __future__ import annotations

import os

from runner.disk.files import read
from runner.workspace.git import Git

_LONGEST = 4096
_HEX = frozenset(b"0123456789abcdef")
_WIDTHS = (40, 64)


def git_dir(path: str) -> str | None:
    """The git directory of the repository at `path`; None where git would see no repository there."""
    found = f"{path}/.git"
    if not os.path.isdir(found):
        text = _text(found)
        if text is None or not text.startswith(b"gitdir: "):
            return None
        found = os.path.join(path, os.fsdecode(text[len(b"gitdir: ") :]))
    common = _common(found)
    is_whole = os.path.isdir(f"{common}/objects") and os.path.isdir(f"{common}/refs")
    return found if is_whole and _is_head(found) else None


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
    return Git(path, {"GIT_DIR": where}).line("rev-parse", "--verify", "-q", "HEAD")


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
