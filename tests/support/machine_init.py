"""Process 1 of a `Machine`: names the host, puts stand-ins in their places, and reaps. A program of its own.

A second /proc, without a stand-in in it: a sandbox may mount its own only where a whole one is in sight
(mount_too_revealing() in Linux' fs/namespace.c).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys


def main(name: str, proc: str, *words: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    socket.sethostname(name)
    _mount("-t", "proc", "proc", proc)
    for word in words:
        own, is_bind, place = word.partition("=")
        if is_bind:
            _mount("--bind", own, place)
        else:
            _mount("-t", "tmpfs", "none", own)
    print("ready", flush=True)
    os.close(1)
    while True:
        signal.sigwait({signal.SIGCHLD})
        _reap()


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
