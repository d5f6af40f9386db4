"""Whether a program keeps its agent from a forbidden write: tried with the program itself, and with the
scripted model in the place of its own. Edge: runs both for a moment.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from runner.disk import interpreter
from runner.model import Level, Program, RuntimeSettings, Sandbox
from runner.runtimes.arguments import argv_of
from runner.runtimes.base import CommandRequest, Fence
from runner.runtimes.endings import essence, first_line
from runner.runtimes.shortrun import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.runtimes.base import Runtime

_SERVER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "rehearsal/__main__.py")
_PLAY = """schema_version = 1
[[turns]]
shell = ["touch allowed; touch ../forbidden"]
[[turns]]
message = "done"
"""
_GRACE_S = 2.0
ALLOWED = "allowed a forbidden write"


def forbidden_write(
    runtime: Runtime,
    settings: RuntimeSettings,
    program: Program,
    env: Mapping[str, str],
    folder: str,
    seconds: float,
) -> str | None:
    """What is wrong with its sandbox; None where it refused what it has to and let the rest be done.
    `folder` is an empty one of ours.
    """
    work = f"{folder}/work"
    for name in ("work", "home", "temp"):
        os.mkdir(f"{folder}/{name}")
    Path(f"{folder}/play.toml").write_text(_PLAY, encoding="utf-8")
    Path(f"{folder}/prompt").write_text("Try it.", encoding="utf-8")
    with _model(folder) as port:
        overrides, told = runtime.rehearsal(port, 0, env)
        box, fence = Sandbox("trial", Level.WORKSPACE_WRITE), Fence(temp=f"{folder}/temp")
        request = CommandRequest(program, settings, None, box, work, f"{folder}/last", False)
        argv = argv_of(runtime, request.replace(overrides=overrides, fence=fence))
        words = ("/bin/sh", "-c", 'exec "$0" "$@" < ../prompt', *argv)
        own = {**env, **told, "HOME": f"{folder}/home"}
        said = run(words, own, seconds=seconds, cwd=work, grace_s=_GRACE_S)
    if os.path.lexists(f"{folder}/forbidden"):
        return ALLOWED
    if os.path.lexists(f"{work}/allowed"):
        return None
    tail = first_line(essence(said.stderr)) or f"status {said.exit_code}"
    return said.why or f"does not work: {tail}"


@contextmanager
def _model(folder: str) -> Iterator[int]:
    """The port of a scripted model, which lives as long as the `with`."""
    import subprocess

    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        words = ("--listen-fd", str(number), "--script", f"{folder}/play.toml", "--log", f"{folder}/log")
        argv = interpreter.command(_SERVER, *words)
        with subprocess.Popen(argv, pass_fds=(number,), stdin=subprocess.DEVNULL) as server:
            try:
                yield listener.getsockname()[1]
            finally:
                server.kill()
