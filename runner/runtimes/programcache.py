"""Caches the answers of programs until their file changes. Edge: one small file.

A lost update or a broken file costs one more question to a program, so there is no lock.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping

from runner.disk import files, home
from runner.model import Program
from runner.runtimes.jsonvalues import table, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_ENTRIES = 32
SCRIPT_SECONDS = 86_400
"""A script (npm's launcher, a wrapper) may start another binary tomorrow without changing itself.
"""


def load(runtime: str, path: str, env: Mapping[str, str]) -> Program | None:
    """The program as it answered before, if its file is the same since then."""
    file = cache_file(env)
    stamp = stamp_of(path)
    if file is None or stamp is None:
        return None
    entry = table(_read(file).get(f"{runtime}:{path}"))
    flags, version, until = entry.get("flags"), text(entry.get("version")), entry.get("until")
    if entry.get("stamp") != stamp or not version or not isinstance(flags, list):
        return None
    if until is not None and not (isinstance(until, (int, float)) and time.time() < until):
        return None
    return Program(path, version, frozenset(flag for flag in flags if isinstance(flag, str)))


def save(runtime: str, program: Program, line: str, stamp: list[int] | None, env: Mapping[str, str]) -> None:
    """Keeps the answer; `stamp` is from before the program was asked. Never fails."""
    file = cache_file(env)
    if file is None or stamp is None:
        return
    entries = _read(file)
    entries.pop(f"{runtime}:{program.path}", None)
    entries[f"{runtime}:{program.path}"] = {
        "stamp": stamp,
        "version": program.version,
        "line": line,
        "flags": sorted(program.flags),
        "until": time.time() + SCRIPT_SECONDS if _is_script(program.path) else None,
    }
    newest = dict(list(entries.items())[-MAX_ENTRIES:])
    try:
        files.private_folder(os.path.dirname(file))
        files.replace_bytes(file, json.dumps(newest).encode(), durable=False)
    except OSError:
        return  # no home folder, a full disk: the next start asks again


def cache_file(env: Mapping[str, str]) -> str | None:
    """`$XDG_CACHE_HOME/runner/programs.json`; None where the user has no such folder."""
    folder = home.cache(env)
    return None if folder is None else os.path.join(folder, "programs.json")


def stamp_of(path: str) -> list[int] | None:
    """Changes with the file; has the ctime since npm gives all files one fixed mtime."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _read(file: str) -> dict[str, Any]:
    try:
        data = json.loads(files.read(file, is_private=True))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _is_script(path: str) -> bool:
    try:
        return files.read(path, 2, follows_links=True) == b"#!"
    except OSError:
        return True
