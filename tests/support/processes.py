"""/proc as the tests read it for themselves: nothing here is shared with the product."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Seen",
    "below",
    "carrying",
    "every_process",
    "held",
    "kill",
    "look",
    "of_folder",
    "signal_exactly",
]


@dataclass(frozen=True)
class Seen:
    """A process at the moment of the look."""

    pid: int
    start_time: int
    parent: int
    group: int
    session: int
    state: str
    words: tuple[str, ...]

    @property
    def is_alive(self) -> bool:
        return self.state not in "ZX"

    @property
    def is_stopped(self) -> bool:
        return self.state in "Tt"

    @property
    def environment(self) -> bytes:
        return _read(f"/proc/{self.pid}/environ")

    @property
    def folder(self) -> str:
        try:
            return os.readlink(f"/proc/{self.pid}/cwd")
        except OSError:
            return ""

    def open_files(self) -> set[str]:
        """What its descriptors are."""
        found = set()
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found.add(os.readlink(f"/proc/{self.pid}/fd/{name}"))
            except FileNotFoundError:
                continue  # closed meanwhile
        return found

    def is_still_there(self) -> bool:
        """Alive, and the same process: not another one with its number."""
        now = look(self.pid)
        return now is not None and now.start_time == self.start_time and now.is_alive


def look(pid: int) -> Seen | None:
    """The process with this number now, zombies included."""
    stat = _read(f"/proc/{pid}/stat").decode(errors="replace")
    if not stat:
        return None
    fields = stat.rpartition(")")[2].split()
    words = _read(f"/proc/{pid}/cmdline").decode(errors="surrogateescape").split("\0")[:-1]
    return Seen(pid, int(fields[19]), int(fields[1]), int(fields[2]), int(fields[3]), fields[0], tuple(words))


def every_process() -> list[Seen]:
    found = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process is not None and process.is_alive]


def carrying(run_id: str) -> list[Seen]:
    """What carries the run's marker in its environment: the child's side and the supervisor."""
    mark = f"RUNNER_RUN_ID={run_id}\0".encode()
    return [process for process in every_process() if mark in process.environment]


def of_folder(folder: Path) -> list[Seen]:
    """What names a test's folder in its command line or environment, or stands in it. Not ourselves."""
    inside = f"{folder}/".encode()
    mine = {os.getpid(), os.getppid()}
    return [process for process in every_process() if process.pid not in mine and _names(process, inside)]


def below(pid: int) -> Iterator[Seen]:
    """All descendants by parent number."""
    everything = every_process()
    queue = [pid]
    while queue:
        parent = queue.pop()
        for process in everything:
            if process.parent == parent:
                queue.append(process.pid)
                yield process


def signal_exactly(process: Seen, number: int) -> bool:
    """Signals this process and no other with its number; False if it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        now = look(process.pid)
        if now is None or now.start_time != process.start_time:
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


def kill(process: Seen) -> None:
    """SIGKILL to exactly this process."""
    signal_exactly(process, signal.SIGKILL)


def _names(process: Seen, inside: bytes) -> bool:
    places: tuple[Callable[[], bytes], ...] = (
        lambda: "\0".join((*process.words, "")).replace("\0", "/\0").encode(errors="surrogateescape"),
        lambda: process.environment.replace(b"\0", b"/\0"),
        lambda: f"{process.folder}/".encode(errors="surrogateescape"),
    )
    return any(inside in place() for place in places)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


@contextmanager
def held(process: Seen) -> Iterator[None]:
    """Holds it as a debugger does: SIGCONT does not continue it (ptrace(2), PTRACE_SEIZE)."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.restype, ptrace.argtypes = ctypes.c_long, [ctypes.c_long] * 4
    seize, interrupt, detach, all_children = 0x4206, 0x4207, 17, 0x40000000
    if ptrace(seize, process.pid, 0, 0) != 0:
        raise PermissionError(ctypes.get_errno(), "this machine allows no debugger", str(process.pid))
    ptrace(interrupt, process.pid, 0, 0)
    os.waitpid(process.pid, all_children)
    try:
        yield
    finally:
        ptrace(detach, process.pid, 0, 0)
