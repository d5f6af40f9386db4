"""Keeps what runner obeys from an agent that may write: the records of runs, and what else is in its reach.
Edge: disk.

A program with `guards` makes read-only what the `.git` file of a writable folder names, one folder or file
that exists (Codex: https://github.com/openai/codex/pull/17036; measured on 0.163.0). So a run
that may write gets one more writable folder for each such path, a guard, whose `.git` names it. Guards are
outside the repository, where the agent cannot replace them with a link.
"""

from __future__ import annotations

import os
import stat

from runner.disk import home
from runner.disk.digest import sha256
from runner.disk.files import create, is_ours_alone, private_folder, read, replace_bytes, unwritable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def guard_of(path: str, repo: str, env: Mapping[str, str]) -> str:
    """The guard of a path, the same for every run. Nothing is made. Unwritable where there is no place for it
    outside of the repository.
    """
    state = home.state(env)
    home.refuse_inside(state, repo, "the guard of the records")
    return f"{state}/guards/{sha256(os.fsencode(path)).hexdigest()[:32]}"


def make_guard(guard: str, path: str, folders: tuple[str, ...], *, is_file: bool = False) -> None:
    """Makes it, or makes it right again; what it names is made too where it is missing. In it are the
    `made_folders` of the runtime. Unwritable if it cannot: nothing would protect the path then.
    """
    file, wanted = f"{guard}/.git", os.fsencode(f"gitdir: {path}\n")
    try:
        if not os.path.lexists(path):
            _make(path, is_file=is_file)
        if _is_closed(guard, folders) and _is(file, wanted):
            return
        folder, name = os.path.split(guard)
        top, below = os.path.split(folder)
        private_folder(top, below, name)
        for own in folders:
            private_folder(guard, own)
        replace_bytes(file, wanted)
    except OSError as error:
        raise unwritable(error) from error


def _make(path: str, *, is_file: bool) -> None:
    if is_file:
        private_folder(os.path.dirname(path))
        create(path, b"")
    else:
        private_folder(path)


def _is_closed(guard: str, folders: tuple[str, ...]) -> bool:
    """Whether it stands, and nobody else could have put anything into it or in its place."""
    above = os.path.dirname(guard)
    own = (os.path.dirname(above), above, guard, *(f"{guard}/{name}" for name in folders))
    try:
        return all(stat.S_ISDIR((at := os.lstat(one)).st_mode) and is_ours_alone(at) for one in own)
    except OSError:
        return False


def _is(path: str, wanted: bytes) -> bool:
    try:
        return read(path, len(wanted) + 1, is_private=True) == wanted
    except OSError:
        return False
