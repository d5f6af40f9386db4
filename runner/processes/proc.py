"""Processes as /proc shows them, and signals that cannot hit the wrong one. Edge: processes, Linux.

A process is ours only by identity: boot id, pid and start time (proc(5), field 22). Signals go through
a pidfd whose identity was checked after it was opened, so a reused pid is never signalled (pidfd_open(2)).
"""

from __future__ import annotations

import os
import sys
import time

from runner.model import Identity
from runner.value import Value

RUN_MARKER = "RUNNER_RUN_ID"
"""Variable that every process of a run inherits, unless it cleans its environment."""
RUN_MANIFEST = "RUNNER_MANIFEST"
"""Variable with the path of the run's manifest, beside the marker."""
_FAR_S = 3.0
_LISTS = 5
"""A process that collects a child each time that its list is read is none that sleeps."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

if sys.platform != "linux":  # pragma: no cover
    raise ImportError("runner needs Linux: it reads /proc and uses pidfds")


class Process(Value):
    """One line of /proc/PID/stat, as far as it matters here."""

    pid: int
    parent: int
    session: int
    state: str
    start_time: int
    command: str

    @property
    def is_alive(self) -> bool:
        """A zombie has ended: only its parent has not looked yet."""
        return self.state not in "ZXx"

    @property
    def is_stopped(self) -> bool:
        return self.state in "Tt"


def boot_id() -> str:
    """Which boot of this machine this is (random(4))."""
    return read_whole("/proc/sys/kernel/random/boot_id").decode().strip()


def host() -> str:
    return os.uname().nodename


def namespace() -> int | None:
    """In which of its namespaces this machine numbers the processes that we see; None without any."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def is_here(identity: Identity) -> bool:
    """Whether it is of this boot, and of the processes that we can see.

    A machine can get another name at any time. So the name only counts where the namespace differs: a
    container that was started again has another one, and none of its former processes.
    """
    seen_by_us = identity.namespace == namespace() or identity.host == host()
    return seen_by_us and identity.boot_id == boot_id()


def identity_of(process: Process) -> Identity:
    return Identity(host(), boot_id(), process.pid, process.start_time, namespace())


def process_at(pid: int) -> Process | None:
    """The process with that pid now, zombies included; None if there is none."""
    try:
        data = read_whole(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    head, _, tail = data.rpartition(b")")
    fields = tail.split()
    state = fields[0].decode()
    if state == "Z" and int(fields[17]) > 1:
        state = _state_of_threads(pid)
    command = head.partition(b"(")[2].decode(errors="replace")
    return Process.of((pid, int(fields[1]), int(fields[3]), state, int(fields[19]), command))


def read_whole(path: str) -> bytes:
    """A file of the kernel's (/proc, a control group) as it is now. OSError where there is none.

    `open` would ask four things about it before it reads.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while piece := os.read(fd, 65536):
            data += piece
        return data
    finally:
        os.close(fd)


def _state_of_threads(pid: int) -> str:
    """That of a process whose first thread has ended while others run: it looks like a zombie and is not."""
    try:
        for name in os.listdir(f"/proc/{pid}/task"):
            state = read_whole(f"/proc/{pid}/task/{name}/stat").rpartition(b")")[2].split()[0].decode()
            if state not in "ZXx":
                return state
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended over it
    return "Z"


def everything() -> dict[int, Process]:
    """All processes of this machine that can be seen, by pid."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := process_at(int(name))) is not None:
            found[process.pid] = process
    return found


def identify(pid: int) -> Identity | None:
    """The identity of a living process, or None."""
    process = process_at(pid)
    if process is None or not process.is_alive:
        return None
    return identity_of(process)


def age_s(process: Process) -> float:
    """Seconds since it began, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.start_time / os.sysconf("SC_CLK_TCK")


def find_process(identity: Identity) -> Process | None:
    """The process that `identity` names, zombies included; None if it is gone or from another boot."""
    if not is_here(identity):
        return None
    process = process_at(identity.pid)
    return process if process is not None and process.start_time == identity.start_time else None


def is_alive(identity: Identity) -> bool:
    """Whether exactly this process was seen alive just now."""
    process = find_process(identity)
    return process is not None and process.is_alive


def boottime() -> float:
    """The clock of start times, which runs on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Absence:
    """Tells of a gap in which we did not run: the machine slept, a container was frozen, someone stopped us.

    A loop asks it after each sleep. A busy machine makes a sleep a little longer; that is none.
    """

    def __init__(self, since: float | None = None, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._at = clock() if since is None else since

    def mark(self) -> None:
        """What took time until now was our own work."""
        self._at = self._clock()

    def missed_s(self, asked_s: float) -> float:
        """How much longer it was than the sleep of `asked_s` since the last call, if it was far longer; else
        0.
        """
        now = self._clock()
        over = now - self._at - asked_s
        self._at = now
        return over if over > _FAR_S else 0.0


def age(identity: Identity | None) -> float:
    """Seconds since its start; 0 if there is no such process."""
    return 0.0 if identity is None else boottime() - identity.start_time / os.sysconf("SC_CLK_TCK")


def lists_children() -> bool:
    """Whether this kernel does (CONFIG_PROC_CHILDREN; proc(5), /proc/PID/task/TID/children)."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def children(pid: int) -> list[Process]:
    """The direct children of a process, ended ones included until they are collected, oldest first.

    A process that is not on our own list was never below us: only we remove entries, and a subreaper's
    orphans are appended. The list of another process can miss one if another child is collected while it is
    read (proc(5)); such a child is listed and gone, and then the list is read again.
    """
    found: list[Process | None] = []
    for _ in range(_LISTS):
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
            lists = [read_whole(f"/proc/{pid}/task/{task}/children").split() for task in tasks]
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread has ended over it, and its children are another one's
        found = [process_at(int(child)) for each in lists for child in each]
        if all(process is not None and process.parent == pid for process in found):
            break
    return [process for process in found if process is not None and process.parent == pid]


def environment(pid: int) -> dict[str, str]:
    """The environment that the process was started with; empty where it may not be read."""
    try:
        data = read_whole(f"/proc/{pid}/environ")
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in data.split(b"\0") if item)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def command_line(pid: int) -> list[str]:
    """The words that the process was started with; empty where they cannot be read."""
    try:
        data = read_whole(f"/proc/{pid}/cmdline")
    except OSError:
        return []
    return [os.fsdecode(word) for word in data.split(b"\0")[:-1]]


def marker(pid: int) -> str | None:
    """The run id that the process carries in its environment, or None."""
    try:
        data = b"\0" + read_whole(f"/proc/{pid}/environ")
    except OSError:
        return None
    _, found, after = data.partition(f"\0{RUN_MARKER}=".encode())
    return os.fsdecode(after.partition(b"\0")[0]) if found else None


def open_pidfd(process: Process) -> int | None:
    """A descriptor for exactly this process, or None if it is gone. The caller closes it."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    now = process_at(process.pid)
    if now is None or now.start_time != process.start_time:
        os.close(fd)
        return None
    return fd


def send(process: Process, number: int) -> bool:
    """Signals exactly this process; False if it is gone or not ours to signal."""
    import signal  # only who signals pays for its import

    fd = open_pidfd(process)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(fd)
    return True


class Uninterrupted:
    """Around what a SIGINT that comes meanwhile does not cut short: it is taken afterwards."""

    def __enter__(self) -> None:
        import signal

        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def __exit__(self, *_: object) -> None:
        import signal

        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def continue_stopped(process: Process) -> None:
    """Continues it, if it is stopped."""
    if process.is_stopped:
        import signal

        send(process, signal.SIGCONT)
