"""Whether a start is sure to find its program without a login, or without a network: then it is refused.
Edges: disk, processes.

Without one, Codex tries to connect for minutes. Whoever has one pays for a look at one name on the disk.
"""

from __future__ import annotations

import _socket  # the module `socket` costs ten times as much
import errno
import os

from runner import runtimes
from runner.disk import files
from runner.errors import CutOff, NotReady
from runner.runtimes.base import passes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.model import Program
    from runner.resolve.choose import Choice


def refuse_cut_off() -> None:
    """CutOff inside of a sandbox without sockets. The one of Codex also ends what its command has started."""
    try:
        _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM).close()
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            text = "this process is in a sandbox without a network, where no agent could ask its model"
            raise CutOff(text) from error


def refuse_without(choice: Choice, program: Program, env: Mapping[str, str]) -> None:
    """NotReady, with the repair, where the program itself says so and nothing else could log it in."""
    runtime, settings = runtimes.get(choice.runtime), choice.settings
    place = runtime.login_file(env)
    if choice.rehearses or place is None or os.path.lexists(place):
        return
    keys = [key for key in (runtime.provider_key, *runtime.login_keys) if key is not None]
    told = any(key in settings.config for key in keys)
    told = told or runtime.provider(settings, choice.model) is not None
    if told or any(passes(settings.env, name) for name in env):  # which could be a key
        return
    own = None if settings.isolated else runtime.own_config(env)
    if any(_decides(keys, path) for path in (runtime.machine_config, own)):
        return
    from runner.runtimes import exam

    found = exam.login(
        choice.config, settings, exam.Use(choice.task.id, choice.model, choice.sandbox), program, env
    )
    if found.verdict is exam.Fitness.FAIL:
        raise NotReady(f"{found.name}: {found.message}", hint=found.repair)


def _decides(keys: list[str], path: str | None) -> bool:
    try:
        text = b"" if path is None else files.read(path, follows_links=True)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return any(key.encode() in text for key in keys)
