"""What really happened: our own checks, run by us, in the same workspace. Edge: processes, by the executor.

The delegate's word is a claim. A `verify` command is an argv list, never shell text; it is limited in time,
and its exit status and the tail of its output are the evidence.
"""

from __future__ import annotations

import os
import select
import time

from runner.executors import local
from runner.executors.processes import find, open_pidfd
from runner.model import Outcome, Reason
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TAIL_BYTES = 4096
_LOOK_S = 0.2


class Check(Value):
    """One verify command and what came of it. `exit_code` None: it did not end by itself."""

    argv: tuple[str, ...]
    exit_code: int | None
    timed_out: bool
    duration_s: float
    tail: str

    @property
    def passed(self) -> bool:
        return self.exit_code == 0


def run_check(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    log: str,
    timeout_s: float,
    sweep: Callable[[], object],
    cancelled: Callable[[], bool],
) -> Check:
    """Runs one check to its end. `sweep` ends whatever it left running; `cancelled` cuts it short."""
    begun = time.monotonic()
    program = _which(argv[0], cwd, env)
    try:
        if program is None:
            raise FileNotFoundError(2, "no such command", argv[0])
        streams = local.Streams(None, log, log)
        identity = local.spawn(program, argv, cwd=cwd, env=env, streams=streams)
    except OSError as error:
        return Check(tuple(argv), None, False, 0.0, f"{argv[0]}: {error.strerror}")
    process = find(identity)
    pidfd = None if process is None else open_pidfd(process)
    ended = _wait(pidfd, begun + timeout_s, cancelled)
    if pidfd is not None:
        os.close(pidfd)
    code = None
    if ended:
        code = os.waitstatus_to_exitcode(os.waitpid(identity.pid, 0)[1])
    sweep()
    late = not ended and time.monotonic() >= begun + timeout_s
    return Check(tuple(argv), code, late, round(time.monotonic() - begun, 3), _tail(log))


def judge(checks: Sequence[Check]) -> tuple[Outcome, Reason] | None:
    """The verdict of checks that did not all pass; None when they did."""
    for check in checks:
        if check.passed:
            continue
        command = " ".join(check.argv)
        if check.timed_out:
            how = f"did not end within its limit ({check.duration_s:.0f} s)"
        elif check.exit_code is None:
            how = "could not be run"
        else:
            how = f"exited with {check.exit_code}"
        hint = "the whole output is in the run's folder (verify-N.log)"
        return Outcome.REJECTED, Reason("verify_failed", f"`{command}` {how}", hint, check.tail)
    return None


def _wait(pidfd: int | None, deadline: float, cancelled: Callable[[], bool]) -> bool:
    if pidfd is None:
        return True
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    while not poll.poll(_LOOK_S * 1000):
        if time.monotonic() > deadline or cancelled():
            return False
    return True


def _which(command: str, cwd: str, env: Mapping[str, str]) -> str | None:
    if "/" in command:
        return os.path.join(cwd, command)
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(cwd, folder, command)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
