"""Which file a configured command means. Edge: looks at the disk, starts nothing."""

from __future__ import annotations

import os
import sys

from runner.disk import home, programs
from runner.errors import RuntimeMissing
from runner.model import RuntimeSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner.runtimes.base import Runtime


def locate(
    runtime: Runtime, settings: RuntimeSettings, env: Mapping[str, str], root: str | None
) -> tuple[str, ...]:
    """Absolute paths of executables to try, in order; RuntimeMissing if there is none.

    A command with a slash is a path (`~` is the home folder, a relative one starts at `root`). The
    usual name means: its first place on PATH, else the binary that a PyPI package brought along,
    else another usual name.
    """
    for name, repair in runtime.modules.items():
        if not any(os.path.isdir(os.path.join(entry, name)) for entry in sys.path if os.path.isabs(entry)):
            raise RuntimeMissing(f"the Python package `{name}` is not installed", hint=f"`{repair}`")
    command = settings.command or runtime.candidates[0]
    if "/" in command:
        return (_as_path(runtime, command, env, root),)
    names = runtime.candidates if command == runtime.candidates[0] else (command,)
    found = [path for path in (_on_path(names[0], env), bundled(runtime, command)) if path][:1]
    found += filter(None, (_on_path(name, env) for name in names[1:]))
    if not found:
        raise RuntimeMissing(
            f"no `{command}` on PATH: {runtime.title} is not installed, or not where PATH looks",
            hint=runtime.install_hint,
        )
    return tuple(found)


def real(path: str) -> str:
    """The file behind a link, except where the link's name is what makes it this program.

    The shims of version managers are one file that looks at the name it was started by.
    """
    target = os.path.realpath(path)
    name = os.path.basename(path)
    return target if name in os.path.basename(target) else os.path.abspath(path)


def _on_path(name: str, env: Mapping[str, str]) -> str | None:
    path = programs.on_path(name, env)
    return None if path is None else real(path)


def _as_path(runtime: Runtime, command: str, env: Mapping[str, str], root: str | None) -> str:
    path = command
    if path.startswith("~/") and (user := home.find(env)) is not None:
        path = user + path[1:]
    path = os.path.join(root or os.getcwd(), path)
    if programs.is_executable(path):
        return real(path)
    if os.path.isdir(path):
        wrong = "is a folder"
    elif os.path.exists(path):
        wrong = "is not executable"
    else:
        wrong = "does not exist"
    raise RuntimeMissing(
        f"`command` of [runtimes.{runtime.name}] is `{command}`, but {path} {wrong}",
        hint=f"correct `command` in [runtimes.{runtime.name}], or leave it out for the one that is there",
    )


def bundled(runtime: Runtime, command: str) -> str | None:
    """The binary that a PyPI package brought along, where the command is the usual name."""
    # The places where an import would look, without the cost of importing: this is on the way of
    # each start.
    if runtime.bundled is None or command != runtime.candidates[0]:
        return None
    paths: Iterator[str] = (
        os.path.join(entry, runtime.bundled) for entry in sys.path if os.path.isabs(entry)
    )
    return next((os.path.realpath(path) for path in paths if programs.is_executable(path)), None)
