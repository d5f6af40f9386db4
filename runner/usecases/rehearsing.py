"""USE CASE of a start that rehearses: the scripted model that it is to talk to instead of a real one."""

from __future__ import annotations

import os
import sys

from runner import runtimes
from runner.errors import ConfigInvalid
from runner.invocation import Rehearsal, Request
from runner.resolve.choose import find_task
from runner.resolve.reach import is_inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from runner.model import Config
    from runner.resolve.choose import Choice

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_REHEARSAL = os.path.join(_PACKAGE, "rehearsal", "__main__.py")
_SCRIPT_HINT = "a script is TOML: schema_version = 1 and [[turns]] with message, shell, tool, delay or error"


def rehearses(config: Config, request: Request) -> bool:
    """Whether it would talk to the scripted model. TaskNotFound."""
    return request.rehearse or find_task(config, request.task_id).rehearse


def rehearsal(
    choice: Choice, port: int, env: Mapping[str, str]
) -> tuple[Rehearsal | None, tuple[str, ...], dict[str, str]]:
    """The server to start, what makes the program talk to it, and the variables that this needs."""
    if not choice.rehearses:
        return None, (), {}
    argv = [sys.executable, "-I", "-S", _REHEARSAL, "--task", choice.task.id]
    path, retries = choice.request.rehearsal_script or choice.task.rehearsal_script, 0
    if path is not None:
        from pathlib import Path

        from runner.rehearsal import script
        from runner.usecases import material

        path, asked = os.path.join(choice.config.root, path), choice.request.rehearsal_script
        inside = None if asked else material.within(choice.config, choice.task.id, "rehearse")
        if inside is not None and not is_inside(os.path.realpath(path), os.path.realpath(inside)):
            hint = material.OUTSIDE_HINT
            raise ConfigInvalid(f"the script {path} is outside of the repository", hint=hint)
        try:
            retries = script.load(Path(path)).retries
        except script.ScriptError as error:
            problems = tuple(map(str, error.problems))
            text = f"the rehearsal script {path} is not valid"
            raise ConfigInvalid(text, hint=_SCRIPT_HINT, problems=problems) from None
        argv += ["--script", path]
    elif choice.task.output_contract is not None:
        argv += ["--contract", choice.task.output_contract]
    rehearsal = Rehearsal(path, port, tuple(argv))
    return rehearsal, *runtimes.get(choice.runtime).rehearsal(port, retries, env)


def listen() -> socket.socket:
    """Where it is to listen: at a port of this machine that nobody else has."""
    import socket

    return socket.create_server(("127.0.0.1", 0), backlog=64)
