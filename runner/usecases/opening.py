"""USE CASE `open`: the command with which a person goes on with the session of a run. It executes nothing."""

from __future__ import annotations

import os
import shlex

from runner.disk import home
from runner.disk.programs import on_path
from runner.errors import Conflict
from runner.runtimes import get
from runner.runtimes.base import is_thread_id
from runner.state.authentic import own_invocation
from runner.usecases.look import look
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.state.manifest import Manifest
    from runner.state.store import RunDir


class Opening(Value):
    """The program's own interface for a session: `env` is to be set, `command` is all of it for a shell."""

    run_id: str
    thread_id: str
    cwd: str
    env: Mapping[str, str]
    argv: tuple[str, ...]
    command: str


def opening(run: RunDir, env: Mapping[str, str]) -> tuple[Opening, Manifest]:
    """How to open the session of a run. ForeignRun; Conflict where there is none that can be opened."""
    own, manifest = own_invocation(run), look(run)
    runtime, thread = get(own.runtime), manifest.thread_id
    if not is_thread_id(thread):
        raise Conflict(f"run `{run.run_id}` has no session that is known", hint="`runner logs RUN` shows it")
    if runtime.opens_with is None:
        raise Conflict(
            f"nothing is known that opens a session of {runtime.title}",
            hint="`runner logs RUN` shows what it did; `runner retry RUN --message TEXT` goes on from there",
        )
    cwd = own.cwd if os.path.isdir(own.cwd) else own.repo  # its own work tree may be gone
    # As the caller may call the same one. Behind `cd`, a shell would look for it in our folder, too.
    is_sure = all(folder[:1] == "/" for folder in env.get("PATH", "").split(os.pathsep))
    found = {name: on_path(name, env) for name in runtime.candidates if is_sure}
    same = (name for name, path in found.items() if path and os.path.realpath(path) == own.program)
    argv = (next(same, own.program), *runtime.opens_with, thread)
    (variable, usual), theirs = runtime.sessions_home or ("", ""), own.sessions_home or ""
    other = {variable: theirs} if theirs and theirs != home.of_program(env, variable, usual) else {}
    shown = [*(f"{name}={shell_word(value)}" for name, value in other.items()), *map(shell_word, argv)]
    command = f"cd {shell_word(cwd)} && {' '.join(shown)}"
    return Opening(run.run_id, thread, cwd, other, argv, command), manifest


def shell_word(word: str) -> str:
    """One word for a shell, as it is printed: without what our pen or a terminal would change."""
    # https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02_04
    if word.isprintable() and "##" not in word:
        return shlex.quote(word)
    plain = (chr(b) if 47 <= b < 123 and chr(b).isalnum() else f"\\{b:03o}" for b in os.fsencode(word))
    return f"$'{''.join(plain)}'"
