"""Delegation mode: a file for each session of a host, by which the hook of that session acts. Edge: disk.

It lies in the user's state folder: a session can move to any folder, `.runs` can come with a clone, and no
sandbox of an agent reaches that folder. Nothing acts on it but the hook of the session that it names. It has
no seal: who may write there can read the key as well.
"""

from __future__ import annotations

import os
import stat

from runner.disk import home
from runner.disk.decisions import Kept, keep, withdraw
from runner.disk.files import is_ours_alone, read_up_to
from runner.errors import NoSession
from runner.model import SCHEMA_VERSION, Identity
from runner.value import Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

HOSTS = ("claude", "codex")
LEVELS = ("strict", "guide")
KEPT_DAYS = 30
_LONGEST_ID = 128
_LARGEST = 64 * 1024
_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Mode(Kept):
    """Delegation is on in a session. `repo` is the repository with links followed, `target` what was named,
    `words` are further words of `runner start`, `program` is the command of this runner, `verify` are the
    checks of the task, which the host may run, too. `by` is the process of the host, where it is known.
    """

    host: str
    session: str
    target: str
    task: str
    runtime: str
    level: str
    since: str
    words: tuple[str, ...] = ()
    may_edit: tuple[str, ...] = ()
    verify: tuple[tuple[str, ...], ...] = ()
    program: tuple[str, ...] = ("runner",)
    by: Identity | None = None


class Broken(Value):
    """A file of ours that is no mode: a hook denies by it, as nobody knows what it has allowed."""

    host: str
    session: str
    why: str


def is_session(text: str) -> bool:
    """Whether it can be the id of a session: one plain word that is part of no path."""
    return 0 < len(text) <= _LONGEST_ID and _ID.issuperset(text) and text[0] not in ".-" and ".." not in text


def session_here(env: Mapping[str, str]) -> tuple[str, str] | None:
    """The host and the id of the session in which this process is; None outside of all. NoSession inside of
    both hosts: nothing tells which is the inner one.
    """
    claude = env.get("CLAUDE_CODE_SESSION_ID", "")
    codex = env.get("CODEX_SESSION_ID") or env.get("CODEX_THREAD_ID", "")
    if claude and codex:
        raise NoSession("this is inside of Claude Code and of Codex: nothing tells which is the inner one")
    return ("claude", claude) if claude else ("codex", codex) if codex else None


def pid_of(host: str, env: Mapping[str, str]) -> int | None:
    """The process of the host around this one, which Claude Code alone names: Codex may have a daemon."""
    number = env.get("CLAUDE_PID", "") if host == "claude" else ""
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None


def folder(host: str, env: Mapping[str, str]) -> str:
    """Where the modes of a host lie."""
    return f"{home.state(env)}/hosts/{host}"


def place(host: str, session: str, env: Mapping[str, str]) -> str:
    """The file of a session's mode. NoSession for what is no id of one, or no host."""
    if host not in HOSTS or not is_session(session):
        raise NoSession(f"no id of a session of {host}: {session[:_LONGEST_ID]!r}")
    return f"{folder(host, env)}/{session}.json"


def read(host: str, session: str, env: Mapping[str, str]) -> Mode | Broken | None:
    """The mode of a session. None where there is none, and where the file is a link or of another user, who
    could take the tools of others away otherwise.
    """
    path = place(host, session, env)
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        return _unopened(host, session, path, error)
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid():
            return None
        if not stat.S_ISREG(found.st_mode) or not is_ours_alone(found) or found.st_size > _LARGEST:
            return Broken(host, session, "it is no small file that nobody else may write")
        mode = Mode.from_json(json_value(read_up_to(_LARGEST, fd, found.st_size)))
    except (OSError, ValueError, RecursionError) as error:
        return Broken(host, session, str(error)[:200])
    finally:
        os.close(fd)
    if (mode.host, mode.session) != (host, session) or mode.schema_version != SCHEMA_VERSION:
        return Broken(host, session, "it is of another session, or of another version of runner")
    if mode.level not in LEVELS or not mode.program or len(mode.words) % 2:
        return Broken(host, session, "its level, its program or its words are none")
    return mode


def _unopened(host: str, session: str, path: str, error: OSError) -> Broken | None:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return Broken(host, session, error.strerror or "it cannot be read")
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
        return None
    return Broken(host, session, error.strerror or "it cannot be read")


def write(mode: Mode, env: Mapping[str, str]) -> None:
    """Turns it on, in the place of an earlier mode of the session, by one rename. Unwritable if it cannot."""
    keep(place(mode.host, mode.session, env), mode)


def end(host: str, session: str, env: Mapping[str, str]) -> bool:
    """Whether there was one to end, good or broken. Unwritable if it is still there."""
    return withdraw(place(host, session, env))


def every(env: Mapping[str, str]) -> list[Mode | Broken]:
    """The modes of all sessions, and what is broken among them."""
    found: list[Mode | Broken] = []
    for host in HOSTS:
        try:
            names = sorted(os.listdir(folder(host, env)))
        except OSError:
            continue
        sessions = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        modes = [read(host, session, env) for session in sessions if is_session(session)]
        found += [mode for mode in modes if mode is not None]
    return found
