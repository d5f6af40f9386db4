"""`python -m runner.rehearsal`: serves a scripted model until its run is over."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

if not __package__:  # run as a plain file: the package is not on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runner.rehearsal import script
from runner.rehearsal.actor import Actor
from runner.rehearsal.lifetime import Lifetime
from runner.rehearsal.server import Log, Server

_POLL_S = 1.0


def main(argv: list[str] | None = None) -> int:
    """Serves until the run is over or a signal says so: 0. A script or option that is wrong: 2."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    options = _parser().parse_args(argv)
    try:
        play = (
            script.load(options.script) if options.script else script.default(options.task, options.contract)
        )
        listener = _listener(options.listen_fd)
        log = Log(options.log, with_bodies=options.log_bodies)
    except script.ScriptError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 2
    actor = Actor(play, options.task, lambda: script.begin(play, options.root))
    server = Server(listener, actor, log)
    if options.listen_fd is None:
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    _serve(server, options.manifest)
    return 0


def _serve(server: Server, manifest: Path | None) -> None:
    if manifest is None:
        server.timeout = None
        while True:
            server.handle_request()
    server.timeout = _POLL_S
    life, next_look = Lifetime(manifest, time.monotonic()), 0.0
    while True:
        # Busy threads of an agent must not make us look more often than once a second.
        if (now := time.monotonic()) >= next_look:
            if life.is_over(now):
                return
            next_look = now + _POLL_S
        server.handle_request()


def _listener(descriptor: int | None) -> socket.socket:
    if descriptor is None:
        return socket.create_server(("127.0.0.1", 0), backlog=128)
    listener = socket.socket(fileno=descriptor)
    listener.setblocking(True)
    listener.set_inheritable(False)
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise OSError(f"descriptor {descriptor} is not a listening socket")
    return listener


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runner.rehearsal", description=__doc__)
    option = parser.add_argument
    option("--listen-fd", type=int, metavar="FD", help="an inherited listening socket")
    option("--script", type=Path, metavar="FILE", help="what the model does (default: one answer)")
    option("--task", default="unnamed", metavar="NAME", help="the task id, {task} in texts")
    option("--contract", metavar="C", help="the task's output_contract, for the answer without a script")
    option("--root", default=".", metavar="FOLDER", help="where the files are that a script may begin with")
    option("--manifest", type=Path, metavar="PATH", help="end together with the run of this file")
    option("--log", type=Path, metavar="FILE", help="one JSON line per request")
    option("--log-bodies", action="store_true", help="the log has the whole requests too")
    return parser


def _leave(number: int, frame: object) -> None:
    """At once: the run's owner waits for it, and all that was to be written is written."""
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
