"""Starts a process on this machine, exactly as it was resolved. Edge: processes, standard library only.

`os.fork` and not `subprocess`: the import alone costs half of what `start` may cost, and the pid, the
session, the descriptors and the true `errno` of a failed exec are all wanted at once.
"""

from __future__ import annotations

import os
import signal

from runner.executors.processes import boot_id, host, look
from runner.model import Identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Streams:
    """Paths of the three standard streams; `stdin` None is the null device."""

    def __init__(self, stdin: str | None, stdout: str, stderr: str) -> None:
        self.stdin = stdin or os.devnull
        self.stdout = stdout
        self.stderr = stderr


def spawn(
    program: str,
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    streams: Streams,
    keep_fd: int | None = None,
    umask: int = 0o077,
) -> Identity:
    """Starts `program` in a session of its own; returns once it was exec'd. OSError if it was not.

    The child writes straight to the files, so nobody's death costs a byte of them. `keep_fd` is the one
    descriptor besides the streams that it inherits.
    """
    report_r, report_w = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(program, argv, cwd, env, streams, keep_fd, umask, report_w)
    os.close(report_w)
    with os.fdopen(report_r, "rb") as report:
        failure = report.read()
    if failure:
        os.waitpid(pid, 0)
        number, _, where = failure.decode(errors="replace").partition(" ")
        raise OSError(int(number), os.strerror(int(number)), where)
    process = look(pid)
    # It may have ended already: as long as nobody waited for it, its entry stays in /proc.
    assert process is not None
    return Identity(host(), boot_id(), pid, process.start_time)


def _become(
    program: str,
    argv: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    streams: Streams,
    keep_fd: int | None,
    umask: int,
    report: int,
) -> None:
    """In the child: never returns."""
    where = program
    try:
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        output = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        for target, path, flags in (
            (0, streams.stdin, os.O_RDONLY),
            (1, streams.stdout, output),
            (2, streams.stderr, output),
        ):
            where = path
            fd = os.open(path, flags, 0o600)
            os.dup2(fd, target)
        where = cwd
        os.chdir(cwd)
        os.umask(umask)
        where = program
        if keep_fd is not None:
            os.set_inheritable(keep_fd, True)
        os.execve(program, list(argv), dict(env))
    except OSError as error:
        os.write(report, f"{error.errno} {where}".encode())
    except BaseException as error:
        os.write(report, f"{getattr(error, 'errno', 22)} {where}: {error!r}".encode())
    finally:
        os._exit(127)
