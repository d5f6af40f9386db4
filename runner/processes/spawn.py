"""Starts a process on this machine, exactly as resolved. Edge: processes, standard library only.

It uses `os.posix_spawn`, because importing `subprocess` alone costs half of what `start` may cost. It opens
the files and enters the folder first, so that a failure has a name and an `errno`.
"""

from __future__ import annotations

import os

from runner.model import Identity
from runner.processes.cgroup import Cgroup, born_in
from runner.processes.proc import identity_of, process_at
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

_OUTPUT = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_RESET = tuple(number for number in range(1, 65) if number not in (9, 19, 32, 33))
"""Every signal that can be: Python ignores PIPE and XFSZ, a caller (nohup, a shell's `&`, one that wants no
zombies) ignores others; the child must not. Numbers (signal(7); 32 and 33 are the C library's own), as
importing `signal` costs a tenth of an interpreter.
"""


def become_subreaper() -> None:
    """Orphans of what we start come to us, not to init: PR_SET_CHILD_SUBREAPER, prctl(2); exec keeps it."""
    import _ctypes  # what `ctypes` is made of; `ctypes` itself costs five times as much

    prctl = _ctypes.dlsym(_ctypes.dlopen("", 0), "prctl")
    _ctypes.call_function(prctl, (36, 1, 0, 0, 0))


def hold_term() -> None:
    """Until the new supervisor listens, SIGTERM waits for it, also over an exec."""
    import _signal  # type: ignore[import-not-found]  # built into Python; typeshed has no stub

    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM,))


class Streams(Value):
    """Paths of the three standard streams; `stdin` None is the null device. `kept` is the one descriptor of
    ours besides them that the child inherits.
    """

    stdin: str | None
    stdout: str
    stderr: str
    kept: int | None = None


def spawn(
    program: str,
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    streams: Streams,
    umask: int = 0o077,
    cgroup: Cgroup | None = None,
) -> Identity:
    """Starts `program` in a session of its own; returns once it was exec'd. OSError, naming the file, if not.

    The child writes straight to the files, so no other process's death loses a byte of them. Our own
    folder and umask are as before afterwards.
    Where it cannot be born in `cgroup`, it is started outside, and `cgroup` says so from then on.
    """
    files: list[int] = []
    former_cwd, former_umask = os.open(".", os.O_PATH | os.O_CLOEXEC), os.umask(umask)
    try:
        files.append(os.open(streams.stdin or os.devnull, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        files.append(os.open(streams.stdout, _OUTPUT, 0o600))
        files.append(os.open(streams.stderr, _OUTPUT, 0o600))
        if streams.kept is not None:
            os.set_inheritable(streams.kept, True)
        os.chdir(cwd)
        pid = _spawn_in(cgroup, program, argv, env, files)
        if pid is None:
            pid = os.posix_spawn(
                program,
                list(argv),
                dict(env),
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(files)],
                setsid=True,
                setsigmask=(),
                setsigdef=_RESET,
            )
    finally:
        if streams.kept is not None:
            os.set_inheritable(streams.kept, False)
        os.umask(former_umask)
        os.fchdir(former_cwd)
        for fd in (*files, former_cwd):
            os.close(fd)
    process = process_at(pid)
    # It may have ended already: until it is waited for, its entry stays in /proc.
    assert process is not None
    return identity_of(process)


def end_session(pid: int) -> None:
    """Kills a child of ours that `spawn` has started, with all that stayed in its session; waits for it."""
    os.killpg(pid, 9)  # nobody has waited for it, so the number is still its own
    os.waitpid(pid, 0)


def _spawn_in(
    cgroup: Cgroup | None, program: str, argv: Sequence[str], env: Mapping[str, str], files: Sequence[int]
) -> int | None:
    """As `os.posix_spawn` does it, in the group; None where that cannot be."""
    if cgroup is None or not cgroup.has_all:
        return None
    failed_r, failed_w = os.pipe2(os.O_CLOEXEC)
    try:
        group = cgroup.open()
        try:
            pid = born_in(group, lambda: _become(program, argv, env, files, failed_w))
        finally:
            os.close(group)
    except OSError:
        cgroup.has_all = False
        os.close(failed_r)
        return None
    finally:
        os.close(failed_w)
    with open(failed_r, "rb") as pipe:
        why = pipe.read()  # nothing, once it was exec'd
    if why:
        os.waitpid(pid, 0)
        raise OSError(int(why), os.strerror(int(why)), program)
    return pid


def _become(
    program: str, argv: Sequence[str], env: Mapping[str, str], files: Sequence[int], failed: int
) -> NoReturn:
    import _signal

    try:
        os.setsid()
        for number in _RESET:
            _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        for target, fd in enumerate(files):
            os.dup2(fd, target)
        os.execve(program, list(argv), dict(env))
    except OSError as error:
        os.write(failed, b"%d" % (error.errno or 0))
    os._exit(127)
