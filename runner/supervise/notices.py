"""Notices: a command of the user gets an event on stdin, outside of every sandbox. Edge: processes.

The supervisor starts this file as a program, as the command may hang, and nobody waits for it. No argument is
believed: the event is read from the feed, and the command from the invocation of the run.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.model import Identity, Json
    from runner.state.store import RunDir

WITHIN_S = 10.0
_POLL_S = 0.01
_NAMES = ("HOME", "PATH", "SHELL", "USER", "LOGNAME", "LANG", "TZ")
_PREFIXES = ("LC_", "XDG_", "SSL_CERT_", "DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
_PROXIES = ("_PROXY", "_proxy")


def start(run: RunDir, numbers: Sequence[int]) -> Identity:
    """Of events that the feed has, one after the other. OSError."""
    from runner.disk.programs import with_search_path
    from runner.processes import spawn

    env = {
        name: value
        for name, value in os.environ.items()
        if name in _NAMES or name.startswith(_PREFIXES) or name.endswith(_PROXIES)
    }
    argv = (sys.executable, "-I", "-S", os.path.abspath(__file__), run.path, *map(str, numbers))
    streams = spawn.Streams(None, os.devnull, run.supervisor_log)
    return spawn.spawn(sys.executable, argv, cwd="/", env=with_search_path(env), streams=streams)


def main(folder: str, numbers: Sequence[int]) -> None:
    from runner.processes.proc import children

    for seq in numbers:
        if children(os.getpid()) and os.fork():
            break  # what hangs later is ended without what was left here in time
        _tell(folder, seq)
    os.dup2(1, 2)  # the log, which may be removed with its file system
    while children(os.getpid()):  # what it has left goes on, and below us nobody takes it for the agent's
        os.wait()


def _tell(folder: str, seq: int) -> None:
    from runner.errors import RunnerError
    from runner.state import feed
    from runner.state.authentic import own_invocation
    from runner.state.events import complain
    from runner.state.store import RunDir
    from runner.supervise import news

    run = RunDir.from_path(folder)
    found = feed.FeedReader(run.repo, seq - 1).new()
    event = next((one for one in [*found] if (one["seq"], one["run_id"]) == (seq, run.run_id)), None)
    if event is None or (hook := feed.hook_of(event)) is None:
        return complain(f"event {seq} is told by no notice: it is not in the feed any more")
    try:
        argv = getattr(own_invocation(run).notify, hook)
        amiss = _failure(argv, {**event, "repo": run.repo}) if argv else None
    except RunnerError as error:
        amiss = error.message
    if amiss:
        any(news.not_noticed(run, event, hook, amiss) for _ in range(20))  # another one may have the feed


def _failure(argv: tuple[str, ...], event: Json) -> str | None:
    """What went wrong with the command; None where it has succeeded in time.

    It starts in `/`: Python, make and others execute files of their folder, and in that of the repository an
    agent can write them.
    """
    import subprocess

    from runner.lightjson import dumps
    from runner.processes.spawn import become_subreaper

    if not os.path.isabs(argv[0]):
        return f"`{argv[0]}` was not found at the start"
    become_subreaper()
    null = subprocess.DEVNULL
    try:
        process = subprocess.Popen(argv, cwd="/", stdin=subprocess.PIPE, stdout=null, stderr=null, text=True)
        process.communicate(dumps(event) + "\n", timeout=WITHIN_S)
    except subprocess.TimeoutExpired:
        _end_all()
        return f"`{argv[0]}` did not end within {WITHIN_S:g} s"
    except OSError as error:
        return f"`{argv[0]}`: {error.strerror}"
    return f"`{argv[0]}` exited with {process.returncode}" if process.returncode else None


def _end_all() -> None:
    """Kills what is left below us, until a look finds nothing: an orphan comes to us. Runs that were started
    are left: they have owners of their own.
    """
    import time

    from runner.processes.proc import children, marker, send
    from runner.supervise.begin import reap

    deadline = time.monotonic() + WITHIN_S
    while (below := [p for p in children(os.getpid()) if not marker(p.pid)]) and time.monotonic() < deadline:
        for process in below:
            below += [p for p in children(process.pid) if not marker(p.pid)]
            send(process, 9)
        time.sleep(_POLL_S)
        reap()


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    main(sys.argv[1], [*map(int, sys.argv[2:])])
