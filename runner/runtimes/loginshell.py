"""What a login shell makes of PATH, against what was declared. Edge: starts that shell, once a day.

Codex gives each command of its agent a login shell, `bash -lc`, and `/etc/profile` of many systems sets PATH
anew: the agent then lacks the virtual environment that its prompt tells it to use. Measured on 0.163.0: it is
the shell of the password database, whatever SHELL names, and with `allow_login_shell = false` a plain one.
"""

from __future__ import annotations

import os
import time

from runner.disk import files, home, programs
from runner.runtimes import programcache
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runner.runtimes.base import Runtime

_SECONDS = 3.0
"""A profile that takes longer is not waited for at each start."""
_KNOWN_S, _UNKNOWN_S = 86_400.0, 3_600.0
_OF_USER = (
    ".profile", ".bash_profile", ".bash_login", ".bashrc", ".zshenv", ".zprofile", ".zlogin", ".zshrc",
)  # fmt: skip
_OF_MACHINE = ("passwd", "environment", "profile", "profile.d", "bash.bashrc", "zshenv", "zprofile", "zsh")
_SHELLS = ("bash", "zsh", "sh", "dash")
_MARK = "\nrunner-path="


class Comparison(Value):
    """`lost`: programs and folders that a login shell does not find where PATH, as declared, has them."""

    lost: tuple[str, ...] = ()
    unknown: str | None = None
    """Why nobody could see it."""


class _Known(Value):
    """What the login shell made of PATH, `None` where it did not say; `until` it is asked again."""

    stamp: tuple[str, ...]
    path: str | None
    until: float


def compare(
    env: Mapping[str, str], verify: Iterable[Sequence[str]], written: Iterable[str], *, fresh: bool = False
) -> Comparison:
    """`env` has PATH as the agent is to have it, `verify` the commands that it is to find. No profile is
    executed that lies in one of the folders `written`, where an agent or a stranger may write.
    """
    apart = [folder for folder in env["PATH"].split(os.pathsep) if _is_environment(folder)]
    names = [name for argv in verify if (name := _program(argv)) is not None]
    names += ["python"] if apart else []
    places = {name: place for name in names if (place := _place(name, env)) is not None}
    if not apart and not places:
        return Comparison()
    made = _made(env, tuple(written), fresh=fresh)
    if made.unknown is not None or made.path is None:
        return Comparison(unknown=made.unknown)
    there = {"PATH": made.path}
    lost = [folder for folder in apart if folder not in made.path.split(os.pathsep)]
    lost += [name for name, place in places.items() if _place(name, there) != place]
    return Comparison(tuple(lost))


def is_decided(runtime: Runtime, env: Mapping[str, str]) -> bool:
    """Whether the program's own settings, those of the user, say which shell it is to be."""
    path = runtime.own_config(env)
    try:
        return path is not None and str(runtime.shell_key).encode() in files.read(path, follows_links=True)
    except (OSError, ValueError):
        return False


class _Made(Value):
    path: str | None = None
    unknown: str | None = None


def _made(env: Mapping[str, str], written: tuple[str, ...], *, fresh: bool) -> _Made:
    user = home.find(env)
    if user is None:
        return _Made(unknown="nothing says where the home folder is")
    key, stamp = f"login-shell:{user}:{env['PATH']}", _stamp(user)
    known = None if fresh else _known(key, stamp, env)
    if known is None:
        if (where := _foreign(user, written)) is not None:
            return _Made(unknown=f"{where} may be written by others, so it is not executed to see")
        path = _ask(env)
        known = _Known(stamp, path, time.time() + (_UNKNOWN_S if path is None else _KNOWN_S))
        programcache.keep(key, known.to_json(), env)
    return _Made(known.path, "the login shell did not say in time" if known.path is None else None)


def _known(key: str, stamp: tuple[str, ...], env: Mapping[str, str]) -> _Known | None:
    try:
        known = _Known.from_json(programcache.kept(key, env))
    except ValueError:
        return None
    return known if known.stamp == stamp and time.time() < known.until else None


def _stamp(user: str) -> tuple[str, ...]:
    """Changes with the files that a login shell reads first, and with which shell it is."""
    files_read = (*(f"/etc/{name}" for name in _OF_MACHINE), *(f"{user}/{name}" for name in _OF_USER))
    return tuple(map(programs.identity, files_read))


def _foreign(user: str, written: tuple[str, ...]) -> str | None:
    """The first of the user's files that lies in one of those folders, links followed."""
    places = [f"{os.path.realpath(folder).rstrip('/')}/" for folder in written]
    for path in (user, *(f"{user}/{name}" for name in _OF_USER)):
        if f"{os.path.realpath(path)}/".startswith(tuple(places)):
            return path
    return None


def _ask(env: Mapping[str, str]) -> str | None:
    import pwd  # only who asks the shell needs to know which it is

    from runner.runtimes.probe import minimal_env
    from runner.runtimes.shortrun import run

    try:
        shell = pwd.getpwuid(os.geteuid()).pw_shell
    except KeyError:
        shell = ""
    if os.path.basename(shell) not in _SHELLS or not programs.is_executable(shell):
        shell = "/bin/bash"  # as Codex does with a shell that it does not know
    told = run((shell, "-lc", f"printf '{_MARK}%s\\n' \"$PATH\""), minimal_env(env), seconds=_SECONDS)
    _, found, rest = told.stdout.rpartition(_MARK)
    return rest.split("\n", 1)[0] if found and told.exit_code == 0 else None


def _is_environment(folder: str) -> bool:
    """Whether its programs are those of a virtual environment, or of the packages of a JavaScript project."""
    above = os.path.dirname(folder)
    return (
        folder.endswith("/node_modules/.bin")
        or os.path.exists(f"{above}/pyvenv.cfg")
        or os.path.exists(f"{above}/conda-meta")
    )


def _program(argv: Sequence[str]) -> str | None:
    """The name that PATH decides on: behind `env A=1`, that of the program."""
    words = [*argv]
    if os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return words[0] if words and "/" not in words[0] else None


def _place(name: str, env: Mapping[str, str]) -> str | None:
    """Not where a link ends: the `python` of an environment is a link to another one."""
    path = programs.on_path(name, env)
    return None if path is None else f"{os.path.realpath(os.path.dirname(path))}/{name}"
