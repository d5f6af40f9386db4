"""USE CASE: in which session of a host something is started, and what its delegation mode adds. Edge: disk,
processes, reading.

An agent of a run can name any session as its own. So its starts are in the sessions of its run, and no mode
adds anything to them.
"""

from __future__ import annotations

from runner.disk.decisions import name_of
from runner.errors import RunnerError
from runner.runtimes import host_of, sessions_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from runner.hosts.mode import Mode
    from runner.invocation import Invocation
    from runner.model import Notify


def started_in(env: Mapping[str, str], root: str, parent: Invocation | None = None) -> dict[str, Any]:
    """`sessions` and `host` of what is started here: none where nothing tells whose start it is."""
    sessions, host = sessions_of(env), host_of(env)
    if parent is None and sessions:
        try:
            parent = _above(env, root)
        except RunnerError:
            sessions, host = (), None
    if parent is not None:
        sessions, host = parent.sessions, parent.host
    return {"sessions": sessions, "host": host}


def words(env: Mapping[str, str], root: str, task: str) -> tuple[str, ...]:
    """Those that `runner start` gets besides, where the mode of a session names this task."""
    fitting = (mode.words for mode in _modes(env, root) if (mode.task, mode.repo) == (task, name_of(root)))
    return next(fitting, ())


def waking(notify: Notify, env: Mapping[str, str], root: str) -> Notify:
    """With what wakes the session, where the user has no command of his own."""
    for mode in _modes(env, root):
        from runner.hosts import wake

        if mode.host == wake.HOST:
            command = wake.command(mode, env)
            free = [name for name in ("on_end", "on_attention") if not getattr(notify, name)]
            return notify.replace(**dict.fromkeys(free, command))
    return notify


def _modes(env: Mapping[str, str], root: str) -> Iterator[Mode]:
    """Of the sessions around this process. A broken one adds nothing: its hook denies."""
    try:
        if not (sessions := sessions_of(env)) or _above(env, root) is not None:
            return
    except RunnerError:
        return
    from runner.hosts import mode as modes  # most starts are in no session

    for host in modes.HOSTS:
        for session in filter(modes.is_session, sessions):
            if isinstance(found := modes.read(host, session, env), modes.Mode):
                yield found


def _above(env: Mapping[str, str], root: str) -> Invocation | None:
    """The run of whose agent this process is; None for a person's. RunnerError where nothing tells."""
    from runner.state.authentic import own_invocation
    from runner.usecases.inside import run_around  # most starts are in no session

    run = run_around(root, env)
    return None if run is None else own_invocation(run)
