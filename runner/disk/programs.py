"""Which file a name means as a program: one rule for git, checks, and agents. Edge: looks at the disk.

An entry of PATH that is empty, relative or `.` means the folder one happens to be in, which may be one that
an agent writes. Such entries are passed over, and no child of ours gets them.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def on_path(name: str, env: Mapping[str, str]) -> str | None:
    """The first executable file of that name; an absolute path. None where there is none."""
    if "/" in name or not name:
        return None
    return next((path for folder in _folders(env) if is_executable(path := f"{folder}/{name}")), None)


def search_path(env: Mapping[str, str], more: Iterable[str] = ()) -> str:
    """PATH with its absolute entries alone, and with `more` of them at its end."""
    return os.pathsep.join((*_folders(env), *more))


def with_search_path(env: Mapping[str, str]) -> dict[str, str]:
    """The same variables for a child, which always get a PATH: without one, shells have a default of their
    own, in which `.` may be (bash, config-top.h: DEFAULT_PATH_VALUE).
    """
    return {**env, "PATH": search_path(env)}


def is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _folders(env: Mapping[str, str]) -> list[str]:
    """Where PATH has no entry that can be used, those that everybody has: to a libc an empty PATH means the
    present folder (exec(3)).
    """
    found = [entry for entry in env.get("PATH", "").split(os.pathsep) if os.path.isabs(entry)]
    return found or os.defpath.split(os.pathsep)
