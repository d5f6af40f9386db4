"""Protects the records of runs from an agent that may write the repository. Edge: disk.

Codex makes read-only what the `.git` file of a writable folder names
(https://github.com/openai/codex/pull/17036; measured on 0.163.0). So every run that may write gets one more
writable folder, the guard, whose `.git` names `.runs`. It is outside the repository, where the agent cannot
replace it with a link, and where Codex can mount its own folders in it, which fails below a read-only
`.runs`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from runner.disk import home
from runner.disk.files import private_folder, read, replace_bytes, unwritable
from runner.state.store import RUNS


def guard_of(repo: str, env: Mapping[str, str]) -> str:
    """The guard of a repository: one for all its runs, named after the folder itself. Nothing is made.
    Unwritable where there is no place for it outside of the repository.
    """
    state = home.state(env)
    home.refuse_inside(state, repo, "the guard of the records")
    try:
        found = os.stat(repo)
    except OSError as error:
        raise unwritable(error) from error
    return f"{state}/guards/{found.st_dev:x}-{found.st_ino:x}"


def make_guard(guard: str, repo: str) -> None:
    """Makes it, or makes it right again. Unwritable if it cannot: nothing would protect the records then."""
    path, wanted = f"{guard}/.git", os.fsencode(f"gitdir: {repo}/{RUNS}\n")
    try:
        if _is(path, wanted):
            return
        folder, name = os.path.split(guard)
        top, below = os.path.split(folder)
        private_folder(top, below, name)
        replace_bytes(path, wanted)
    except OSError as error:
        raise unwritable(error) from error


def _is(path: str, wanted: bytes) -> bool:
    try:
        return not os.path.islink(os.path.dirname(path)) and read(path, len(wanted) + 1) == wanted
    except OSError:
        return False
