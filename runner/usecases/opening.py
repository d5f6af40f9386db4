"""USE CASE `open`: the command with which a person goes on with the session of a run. Edge: disk, reading.

It executes nothing. What a shell would take for more than a word is quoted, and what a terminal would obey is
an escape in it: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02_04
"""

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

    from runner.runtimes.base import Runtime
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")


class Opening(Value):
    """The program's own interface for a session. `env` are variables to set besides those of the caller."""

    run_id: str
    thread_id: str
    cwd: str
    env: Mapping[str, str]
    argv: tuple[str, ...]
    command: str
    """All of that for a shell."""


def opening(run: RunDir, env: Mapping[str, str]) -> tuple[Opening, Manifest]:
    """How to open the session of a run. ForeignRun; Conflict where there is none that can be opened."""
    own, manifest = own_invocation(run), look(run)
    runtime, thread = get(own.runtime), manifest.thread_id
    if not is_thread_id(thread):
        raise Conflict(f"run `{run.run_id}` has no session that is known", hint="`runner logs RUN` shows it")
    words = runtime.open_words(thread)
    if words is None:
        raise Conflict(
            f"nothing is known that opens a session of {runtime.title}",
            hint="`runner logs RUN` shows what it did; `runner retry RUN --message TEXT` goes on from there",
        )
    cwd = own.cwd if os.path.isdir(own.cwd) else own.repo  # its own work tree may be gone
    argv = (_typed(runtime, own.program, env), *words)
    variable, theirs = runtime.sessions_home, own.sessions_home
    is_ours = variable is None or theirs is None or theirs == home.of_program(env, *variable)
    other = {} if variable is None or theirs is None or is_ours else {variable[0]: theirs}
    shown = [*(f"{name}={shell_word(value)}" for name, value in other.items()), *map(shell_word, argv)]
    command = f"cd {shell_word(cwd)} && {' '.join(shown)}"
    return Opening(run.run_id, thread, cwd, other, argv, command), manifest


def shell_word(word: str) -> str:
    """One word for a shell, as it is printed: without what our pen or a terminal would change."""
    if word.isprintable() and "##" not in word:
        return shlex.quote(word)
    return "$'" + "".join(chr(b) if b in _PLAIN else f"\\{b:03o}" for b in os.fsencode(word)) + "'"


def _typed(runtime: Runtime, program: str, env: Mapping[str, str]) -> str:
    """The program that ran, by the name under which the caller finds the same one."""
    for name in runtime.candidates:
        found = on_path(name, env)
        if found is not None and os.path.realpath(found) == os.path.realpath(program):
            return name
    return program
