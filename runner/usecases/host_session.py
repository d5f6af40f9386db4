"""USE CASE: what delegation mode adds to the starts in a session of a host. Edge: disk, reading."""

from __future__ import annotations

from runner.disk.decisions import name_of
from runner.runtimes import sessions_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner.hosts.mode import Mode
    from runner.model import Notify


def words(env: Mapping[str, str], root: str, task: str) -> tuple[str, ...]:
    """Those that `runner start` gets besides, where the mode of a session names this task."""
    fitting = (mode.words for mode in _modes(env) if (mode.task, mode.repo) == (task, name_of(root)))
    return next(fitting, ())


def waking(notify: Notify, env: Mapping[str, str]) -> Notify:
    """With what wakes the session, where the user has no command of his own."""
    for mode in _modes(env):
        from runner.hosts import wake

        if mode.host == wake.HOST:
            command = wake.command(mode, env)
            free = [name for name in ("on_end", "on_attention") if not getattr(notify, name)]
            return notify.replace(**dict.fromkeys(free, command))
    return notify


def _modes(env: Mapping[str, str]) -> Iterator[Mode]:
    """Of the sessions around this process. A broken one adds nothing: its hook denies."""
    if not (sessions := sessions_of(env)):
        return
    from runner.hosts import mode as modes  # most starts are in no session

    for host in modes.HOSTS:
        for session in filter(modes.is_session, sessions):
            if isinstance(found := modes.read(host, session, env), modes.Mode):
                yield found
