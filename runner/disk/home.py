"""Where a user's state, cache and settings lie: one rule for all. Edge: the password database, without HOME.

A relative XDG_* is to be ignored, and without one the folder is below HOME, says the XDG base directory
specification (https://specifications.freedesktop.org/basedir-spec/latest/). Where HOME is no absolute path,
we take the home folder of the password database, as Codex does where HOME is empty or missing
(https://docs.rs/crate/dirs/latest/source/src/lib.rs).
"""

from __future__ import annotations

import os

from runner.errors import Unwritable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


_FOLDERS = ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
_DESKTOP = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


def state(env: Mapping[str, str]) -> str:
    """Our folder for what has to last. Unwritable where nothing says where it is."""
    return _required(env, "XDG_STATE_HOME", ".local/state")


def named(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process of ours needs to find the same state as this one, that its git needs to
    obey the same settings, and a program that tells the user something to find the desktop.
    """
    from runner.disk import git_env  # only who starts such a process needs it

    ours = {name: env[name] for name in (*_FOLDERS, *_DESKTOP) if name in env}
    return ours | git_env.passed_on(env)


def config(env: Mapping[str, str]) -> str:
    """Our folder with the settings of the user. Unwritable where nothing says where it is."""
    return _required(env, "XDG_CONFIG_HOME", ".config")


def cache(env: Mapping[str, str]) -> str | None:
    """Our folder for what may be deleted at any time; None where nothing says where it is."""
    return _ours(env, "XDG_CACHE_HOME", ".cache")


def find(env: Mapping[str, str]) -> str | None:
    """The user's home folder, absolute; whether it exists is not asked. None where nothing names one."""
    named = env.get("HOME", "")
    if os.path.isabs(named):
        return named
    import pwd  # only without HOME: to ask the database may mean to ask a server

    try:
        named = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return None
    return named if os.path.isabs(named) else None


def of_program(env: Mapping[str, str], variable: str, name: str) -> str | None:
    """The folder of a program that keeps its own at `~/name` where `variable` names no other."""
    named = env.get(variable)
    if not named and (user := find(env)) is not None:
        named = f"{user}/{name}"
    return named or None


def refuse_inside(place: str, folder: str, what: str) -> None:
    """Unwritable where `place`, links followed, is in `folder`: who may write there could replace it."""
    inner, outer = os.path.realpath(place), os.path.realpath(folder)
    if os.path.commonpath((inner, outer)) == outer:
        raise Unwritable(
            f"{what} kept in {place} could be replaced by an agent that may write in {outer}",
            hint=f"set XDG_STATE_HOME to a folder outside of {outer}",
        )


def _ours(env: Mapping[str, str], name: str, below_home: str) -> str | None:
    base = env.get(name, "")
    if not os.path.isabs(base):
        user = find(env)
        if user is None:
            return None
        base = os.path.join(user, below_home)
    return os.path.join(base, "runner")


def _required(env: Mapping[str, str], name: str, below_home: str) -> str:
    folder = _ours(env, name, below_home)
    if folder is None:
        raise Unwritable(
            f"user {os.geteuid()} has no home folder: HOME is no absolute path, and no entry of the password "
            "database names one",
            hint=f"set HOME or {name} to an absolute path",
        )
    return folder
