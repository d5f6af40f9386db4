"""Caches the answers of programs until their file changes. Edge: one small file.

A reader needs no lock: it sees the old file or the new one, and a broken one costs one more question to a
program. Writers take turns, so that none loses what another has added.
"""

from __future__ import annotations

import os
import time

from runner.disk import files, home
from runner.disk.programs import identity_of
from runner.lightjson import dumps, loads
from runner.model import Program
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PARSER = 3
"""The number of how answers are read: one that was read otherwise is not believed."""
MAX_ENTRIES = 32
LOCK_SECONDS = 2.0
"""Another writer has it for a millisecond; one that was stopped meanwhile is not waited for."""
SCRIPT_SECONDS = 86_400
"""A script (npm's launcher, a wrapper) may start another binary tomorrow without changing itself.
"""


class KnownProgram(Value):
    """What a program said: its version, the line that has it, its options; `until` it is asked again."""

    stamp: tuple[int, ...]
    version: str
    line: str
    flags: frozenset[str]
    until: float | None
    parser: int = 1
    """`PARSER` when it was read."""


def load(runtime: str, path: str, env: Mapping[str, str]) -> Program | None:
    """The program as it answered before, if its file is the same since then."""
    stamp = stamp_of(path)
    if stamp is None:
        return None
    try:
        entry = KnownProgram.from_json(kept(f"{runtime}:{path}", env))
    except ValueError:
        return None
    if (list(entry.stamp), entry.parser) != (stamp, PARSER) or (
        entry.until is not None and time.time() >= entry.until
    ):
        return None
    return Program(path, entry.version, entry.flags)


def save(runtime: str, program: Program, line: str, stamp: list[int] | None, env: Mapping[str, str]) -> None:
    """Keeps the answer; `stamp` is from before the program was asked. Never fails."""
    if stamp is None:
        return
    until = time.time() + SCRIPT_SECONDS if _is_script(program.path) else None
    entry = KnownProgram(tuple(stamp), program.version, line, program.flags, until, PARSER).to_json()
    keep(f"{runtime}:{program.path}", entry, env)


def kept(key: str, env: Mapping[str, str]) -> Any:
    """What was kept under this key; None where nothing was."""
    file = cache_file(env)
    return None if file is None else _read(file).get(key)


def keep(key: str, entry: dict[str, Any], env: Mapping[str, str]) -> None:
    """Never fails."""
    file = cache_file(env)
    if file is None:
        return
    try:
        files.private_folder(os.path.dirname(file))
        _add(file, key, entry)
    except (OSError, NotImplementedError):
        return  # no home folder, a full disk, no locks there: the next start asks again


def cache_file(env: Mapping[str, str]) -> str | None:
    """`$XDG_CACHE_HOME/runner/programs.json`; None where the user has no such folder."""
    folder = home.cache(env)
    return None if folder is None else os.path.join(folder, "programs.json")


def stamp_of(path: str) -> list[int] | None:
    """Changes with the file; None where there is none."""
    try:
        return [*identity_of(os.stat(path))]
    except OSError:
        return None


def _add(file: str, key: str, entry: dict[str, Any]) -> None:
    from filelock import FileLock  # 50 ms, which only who has just asked a program pays

    with FileLock(f"{file}.lock", timeout=LOCK_SECONDS, mode=0o600):
        entries = _read(file)
        entries.pop(key, None)
        newest = list(entries.items())[1 - MAX_ENTRIES :]
        files.replace_bytes(file, dumps(dict([*newest, (key, entry)])).encode(), durable=False)


def _read(file: str) -> dict[str, Any]:
    try:
        data = loads(files.read(file, is_private=True))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _is_script(path: str) -> bool:
    try:
        return files.read(path, 2, follows_links=True) == b"#!"
    except OSError:
        return True
