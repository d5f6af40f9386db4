"""Runs the `verify` commands in the work tree of the run. Edge: processes.

The agent's word is only a claim. A `verify` command is an argv list, never shell text; it is limited in time
and its log in size. The evidence is its exit status and the end of its output.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Mapping, Sequence

from runner.disk import programs
from runner.disk.files import OUT_OF_FILES, OUT_OF_PROCESSES
from runner.model import Outcome, Reason
from runner.processes import spawn
from runner.processes.proc import Absence, boottime, find_process, open_pidfd
from runner.text.terminal import plain
from runner.text.words import ending
from runner.value import Seconds, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.processes.cgroup import Cgroup

MAX_LOG_BYTES = 64 * 1024 * 1024
"""How large the log of a check may grow; of a longer output its beginning and its end are kept."""

_HEAD_BYTES = 1024 * 1024
_END_BYTES = 256 * 1024
_TAIL_BYTES = 4096
_LOOK_S = 0.05
_LOOKS_PER_WISH = 4  # a cancel is found by listing a folder, the size of a file is not
_NOT_FOUND = 127  # what a shell says of a program that it does not find: POSIX.1-2017, 2.8.2


class CheckCommand(Value):
    """A command that is to be run as a check: where, with which variables, and what bounds it."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    log: str
    """The file that gets its output."""
    timeout_s: float
    max_log: int = MAX_LOG_BYTES
    """Bytes that the log keeps, of its beginning and of its end."""
    program: str | None = None
    """The file that its first word meant earlier; if it is gone, and if None, the word is looked for."""


class Check(Value):
    """One verify command and what came of it. `exit_code` None: it did not end by itself."""

    argv: tuple[str, ...]
    exit_code: int | None
    timed_out: bool
    duration_s: Seconds
    tail: str

    @property
    def passed(self) -> bool:
        return self.exit_code == 0

    @property
    def is_cut(self) -> bool:
        """Whether it was ended while it ran, as its run was; it took no time where it could not be run."""
        return self.exit_code is None and not self.timed_out and self.duration_s > 0

    @property
    def command(self) -> str:
        """As somebody would type it, on one line and with every character."""
        from shlex import join

        return plain(join(self.argv))

    @property
    def how(self) -> str:
        """How it ended, to stand behind its name."""
        if self.timed_out:
            return f"did not end within its limit ({self.duration_s:.0f} s)"
        if self.is_cut:
            return f"was ended with the run, after {self.duration_s:.0f} s"
        if self.exit_code is None:
            return "could not be run"
        return f"exited with {self.exit_code}"


def _never() -> bool:
    """For a caller without a cancel."""
    return False


def run_check(
    command: CheckCommand,
    *,
    sweep: Callable[[], object] | None = None,
    cancelled: Callable[[], bool] = _never,
    missed: Callable[[float], None] = lambda _: None,
    cgroup: Cgroup | None = None,
) -> Check:
    """Runs one check to its end; it is born in `cgroup`. `cancelled` cuts it short. `sweep` ends whatever it
    left running; None: its session is ended where it was cut short. `missed` is told of seconds in which we
    did not run: they count for no limit. OSError where a limit of this machine lets no process be started,
    which says nothing of the work.
    """
    begun, absence, argv, log = time.monotonic(), Absence(), command.argv, command.log
    try:
        program, env = _program(command), programs.with_search_path(command.env)
        streams = spawn.Streams(None, log, log)
        identity = spawn.spawn(program, argv, cwd=command.cwd, env=env, streams=streams, cgroup=cgroup)
    except OSError as error:
        if error.errno in (*OUT_OF_FILES, *OUT_OF_PROCESSES):
            raise
        return Check(argv, None, False, 0.0, f"{argv[0]}: {error.strerror}")
    except (ValueError, IndexError):  # no word at all, or one with a NUL in it
        return Check(argv, None, False, 0.0, "this is not a command that can be run")
    process = find_process(identity)
    pidfd = None if process is None else open_pidfd(process)
    ended = _wait(pidfd, command, absence, cancelled, missed)
    if pidfd is not None:
        os.close(pidfd)
    code = None
    if ended:
        code = os.waitstatus_to_exitcode(os.waitpid(identity.pid, 0)[1])
    if sweep is not None:
        sweep()
    elif not ended:
        spawn.end_session(identity.pid)
    _shorten(log, command.max_log)
    return Check(argv, code, ended is None, round(time.monotonic() - begun, 3), _tail(log))


def judge(checks: Sequence[Check]) -> tuple[Outcome, Reason] | None:
    """The verdict of checks that did not all pass; None when they did."""
    for check in checks:
        if not check.passed:
            hint = "the whole output is in the run's folder (verify-N.log)"
            if check.exit_code == _NOT_FOUND:
                hint += (
                    "; a work tree of its own has only what git tracks: `prepare` adds what else is needed"
                )
            message = f"`{check.command}` {check.how}"
            return Outcome.REJECTED, Reason("verify_failed", message, hint, check.tail)
    return None


def _wait(
    pidfd: int | None,
    command: CheckCommand,
    absence: Absence,
    cancelled: Callable[[], bool],
    missed: Callable[[float], None],
) -> bool | None:
    """Whether it has ended; None where its time was over, False where it was cancelled."""
    if pidfd is None:
        return True
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    looks, deadline = 0, boottime() + command.timeout_s
    while not poll.poll(_LOOK_S * 1000):
        looks += 1
        if missed_s := absence.missed_s(_LOOK_S):
            deadline += missed_s
            missed(missed_s)
        _shorten(command.log, command.max_log)
        if boottime() > deadline:
            return None
        if looks % _LOOKS_PER_WISH == 0 and cancelled():
            return False
        absence.mark()
    return True


def _shorten(log: str, limit: int) -> None:
    """Cuts the middle out of a log that has grown past its limit.

    A check that talks much is not ended for it: its verdict would then depend on how often we look. All its
    processes append, so what they write next stands behind what is left. What they write in this very moment
    is lost with the middle.
    """
    try:
        fd = os.open(log, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        size = os.fstat(fd).st_size
        if size > limit:
            head, end = min(_HEAD_BYTES, limit // 4), min(_END_BYTES, limit // 4)
            kept = os.pread(fd, end, size - end)
            os.ftruncate(fd, head)
            os.write(fd, b"\n[runner: %d bytes were cut out here]\n" % (size - head - end) + kept)
    except OSError:
        pass  # a full disk: the check's own business, its exit status counts
    finally:
        os.close(fd)


def _program(command: CheckCommand) -> str:
    name = command.argv[0]
    if "/" in name:
        return os.path.join(command.cwd, name)
    if command.program is not None and programs.is_executable(command.program):
        return command.program
    if (path := programs.on_path(name, command.env)) is None:
        raise FileNotFoundError(2, "no such command", name)
    return path


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES - 1))
            text = file.read().decode(errors="replace")
            return ending(text, len(text) - (size > _TAIL_BYTES))
    except OSError:
        return ""
