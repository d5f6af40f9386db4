"""Runs a program for a moment: bounded in time and output, no terminal, no stdin. Edge: processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import Popen

MAX_OUTPUT = 262_144
"""Bytes of stdout and stderr together; `codex exec --help` has 6,000."""


class Ran(Value):
    """How it ended. `why` is set where it could not be started or was ended by us."""

    exit_code: int | None
    stdout: str
    stderr: str
    why: str | None = None


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    seconds: float,
    cwd: str = "/",
    grace_s: float = 0.0,
    most: int = MAX_OUTPUT,
) -> Ran:
    """Runs it in a session of its own and waits for its end, not for the end of its output, of which it may
    have `most` bytes.

    What is then left of its process group is killed: after `grace_s` for a program that has others to end,
    in sessions of their own, and files to remove.
    """
    import subprocess  # only where a program has to be asked; a cache hit does not need it

    try:
        process = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Ran(None, "", "", f"cannot be started: {getattr(error, 'strerror', None) or error}")
    with process:
        try:
            stdout, stderr, why = _watch(process, seconds, most)
        finally:
            _end_group(process, grace_s)
    code = process.returncode if why is None else None
    return Ran(code, stdout.decode(errors="replace"), stderr.decode(errors="replace"), why)


def _watch(process: Popen[bytes], seconds: float, most: int) -> tuple[bytes, bytes, str | None]:
    """What it wrote until it ended, and why we stopped watching if that was before its end."""
    import os
    import selectors
    from time import monotonic

    assert process.stdout
    assert process.stderr
    written = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    deadline, ended, why = monotonic() + seconds, False, None
    exit_fd = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            for fd in (*written, exit_fd):
                selector.register(fd, selectors.EVENT_READ)
            while why is None:
                # After the end only what is already in the pipes: a grandchild may hold them open.
                ready = selector.select(0 if ended else max(0.0, deadline - monotonic()))
                if not ready:
                    why = None if ended else f"did not answer within {seconds:g} s"
                    break
                for key, _ in ready:
                    data = written.get(key.fd)
                    chunk = os.read(key.fd, 65_536) if data is not None else b""
                    if data is not None:
                        data += chunk
                    if not chunk:
                        selector.unregister(key.fd)
                        ended = ended or key.fd == exit_fd
                if sum(map(len, written.values())) > most:
                    why = f"wrote more than {most // 1024} KiB"
    finally:
        os.close(exit_fd)
    stdout, stderr = (bytes(data) for data in written.values())
    return stdout, stderr, why


def _end_group(process: Popen[bytes], grace_s: float) -> None:
    import os
    import signal

    # Before it is reaped: until then the number of its group cannot be another's.
    if process.returncode is None:
        if grace_s:
            os.killpg(process.pid, signal.SIGTERM)
            _wait(process.pid, grace_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(pid: int, seconds: float) -> None:
    """For its end, and it is not reaped."""
    import os
    import select

    ended = os.pidfd_open(pid)
    try:
        select.select([ended], [], [], seconds)
    finally:
        os.close(ended)
