"""A control group for each run, where this machine lets us make one. Edge: processes, /sys/fs/cgroup.

What is born in a group of cgroup v2 stays in it, with all that it starts, whatever it does to its parent, its
session and its environment. The kernel itself freezes, kills and lists all of it (cgroups(7), and "Core
Interface Files" of https://docs.kernel.org/admin-guide/cgroup-v2.html). Who may make a group may also leave
it: root, and a user to whom the groups above are delegated.

A process is born in a group by clone3(2) with CLONE_INTO_CGROUP. To move ourselves in, spawn, and move out
again would be as safe and needs no fork, but each first move takes the kernel 5 to 20 ms (measured on 6.18).
"""

from __future__ import annotations

import os
import sys
import time

from runner.processes.proc import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIX = "runner-run-"
_NEEDED = ("cgroup.kill", "cgroup.freeze", "cgroup.events")
"""`cgroup.kill` is the youngest of them: Linux 5.14."""
_CLONE3 = 435  # on every architecture but alpha
_CLONE_INTO_CGROUP = 0x200000000
_POLL_S = 0.001
_SIGCHLD = 17


class Cgroup:
    """The group of one run. It may be gone, or not be there yet: then nobody is in it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.has_all = True
        """False once something of the run had to be started outside of it."""

    def open(self) -> int:
        """A descriptor of its folder, which is made if it is not there. OSError."""
        try:
            os.mkdir(self.path, 0o755)
        except FileExistsError:
            pass
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def pids(self) -> list[int]:
        """Everything in it and in the groups below it, which a process of root can make. A process that has
        ended is not listed.
        """
        found: list[int] = []
        folders = [self.path]
        while folders:
            folder = folders.pop()
            try:
                found += map(int, read_whole(f"{folder}/cgroup.procs").split())
                with os.scandir(folder) as entries:
                    folders += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            except OSError:
                continue  # gone meanwhile
        return found

    def is_empty(self) -> bool:
        """Whether the kernel says that no process is in it or below it."""
        try:
            return b"populated 0" in read_whole(f"{self.path}/cgroup.events")
        except OSError:
            return not os.path.isdir(self.path)

    def freeze(self, within_s: float) -> bool:
        """Whether all of it stands still now. No signal continues it."""
        return self._set("cgroup.freeze", b"1") and self._until(b"frozen 1", within_s)

    def thaw(self) -> None:
        """All of it goes on that no signal has stopped."""
        self._set("cgroup.freeze", b"0")

    def kill(self) -> None:
        """SIGKILL to all of it at once, also to what is just being started."""
        self._set("cgroup.kill", b"1")

    def remove(self) -> None:
        """Takes it away with the groups below it, if nobody is in them."""
        if os.path.isdir(self.path) and self.is_empty():
            _remove(self.path)

    def renew(self) -> None:
        """Another one in its place, after a kill: Linux also kills what is born later in a group that was
        killed once (seen on 6.18; `cgroup_css_set_fork` compares the kills of two groups).
        """
        self.remove()
        try:
            os.mkdir(self.path, 0o755)
        except OSError:
            pass  # somebody is in it; or it is made by whoever needs it

    def _set(self, name: str, value: bytes) -> bool:
        try:
            fd = os.open(f"{self.path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return os.write(fd, value) == len(value)
        except OSError:
            return False
        finally:
            os.close(fd)

    def _until(self, state: bytes, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while True:
            try:
                if state in read_whole(f"{self.path}/cgroup.events"):
                    return True
            except OSError:
                return False
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)


def make(run_id: str) -> Cgroup | None:
    """A new group for this run; None where none can be made that does all that is needed."""
    above = _above()
    if above is None:
        return None
    made = Cgroup(f"{above}/{_PREFIX}{run_id}")
    try:
        os.mkdir(made.path, 0o755)
    except FileExistsError:
        pass
    except OSError:
        return None  # not root and nothing delegated, or mounted read-only as in most containers
    if all(os.access(f"{made.path}/{name}", os.R_OK | os.W_OK) for name in _NEEDED[:2]):
        return made
    made.remove()
    return None


def find(run_id: str, noted: str | None) -> Cgroup | None:
    """The group that was made for this run: the one that its manifest names, else the one beside us.

    A manifest can name any folder, so the name has to be the one of this run's group.
    """
    name, above = f"{_PREFIX}{run_id}", _above()
    mount = _mount()
    paths = [f"{above}/{name}"] if above is not None else []
    if noted is not None and mount is not None:
        is_ours = os.path.basename(noted) == name and os.path.normpath(noted).startswith(f"{mount[1]}/")
        paths = [noted, *paths] if is_ours else paths
    for path in paths:
        if os.path.isdir(path):
            return Cgroup(path)
    return None


def leave() -> None:
    """Whoever becomes a supervisor inside of another run, as a child run's does, is no part of that run."""
    own = _own()
    if _PREFIX not in own:
        return
    above = _above()
    if above is not None:
        Cgroup(above)._set("cgroup.procs", b"0")


def run_of_ours() -> str | None:
    """The id of the run whose group we are in; None outside of all."""
    parts = (part for part in _own().split("/") if part.startswith(_PREFIX))
    return next((part.removeprefix(_PREFIX) for part in parts), None)


def is_hidden() -> bool:
    """Whether a cgroup namespace that we have entered keeps our group from us: the hierarchy is mounted from
    above its root (cgroup_namespaces(7)). That of a container has a mount of its own.
    """
    mount = _mount()
    return mount is not None and f"{mount[0]}/".startswith("/../")


def tidy() -> None:
    """Removes the groups of runs that nobody is in any more: their owners were killed before they did. One
    that is still needed is made again by whoever needs it.
    """
    above = _above()
    try:
        names = [] if above is None else os.listdir(above)
    except OSError:
        return
    for name in names:
        if name.startswith(_PREFIX):
            Cgroup(f"{above}/{name}").remove()


def born_in(group: int, become: Callable[[], None]) -> int:
    """The pid of a new process in the group of that descriptor, which does `become` and ends. OSError.

    A fork that Python knows nothing of: the new process has to exec at once.
    """
    import _ctypes  # what `ctypes` is made of; `ctypes` itself costs five times as much

    fields = (_CLONE_INTO_CGROUP, 0, 0, 0, _SIGCHLD, 0, 0, 0, 0, 0, group)
    arguments = b"".join(field.to_bytes(8, sys.byteorder) for field in fields)  # `struct` is a file to load
    syscall = _ctypes.dlsym(_ctypes.dlopen("", 0), "syscall")
    pid: int = _ctypes.call_function(syscall, (_CLONE3, arguments, len(arguments)))
    if pid < 0:
        raise OSError("clone3 was refused")
    if pid == 0:
        try:
            become()
        finally:
            os._exit(127)
    return pid


def _above() -> str | None:
    """The folder in which the groups of runs are made: our own group, or the one that we would be in if we
    were not in a run's.
    """
    mount, own = _mount(), _own()
    if mount is None or not own.startswith("/"):
        return None
    root, point = mount
    if root != "/":
        if own != root and not own.startswith(f"{root}/"):
            return None
        own = own[len(root) :]
    kept = []
    for part in own.strip("/").split("/"):
        if part == ".." or part.startswith(_PREFIX):
            break
        kept.append(part)
    return os.path.join(point, *kept).rstrip("/")


def _own() -> str:
    """The path of our own group of cgroup v2 (cgroups(7), /proc/PID/cgroup); empty where there is none."""
    try:
        lines = read_whole("/proc/self/cgroup").split(b"\n")
    except OSError:
        return ""
    return next((os.fsdecode(line[3:]) for line in lines if line.startswith(b"0::")), "")


def _mount() -> tuple[str, str] | None:
    """(its root, where it is) of the cgroup v2 hierarchy: on a hybrid machine it is not /sys/fs/cgroup. A
    container can show that of its host as well, before its own.
    """
    try:
        lines = read_whole("/proc/self/mountinfo").split(b"\n")
    except OSError:
        return None
    found = []
    for line in lines:
        place, _, kind = line.partition(b" - ")
        if kind.startswith(b"cgroup2 ") and b"\\" not in place:
            root, point = map(os.fsdecode, place.split(b" ")[3:5])
            found.append((root, point))
    return min(found, key=lambda one: f"{one[0]}/".startswith("/../"), default=None)


def _remove(folder: str) -> None:
    try:
        with os.scandir(folder) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for inner in below:
            _remove(inner)
        os.rmdir(folder)
    except OSError:
        pass  # somebody is in it again
