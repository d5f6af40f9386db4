"""One writer per work tree. Edge: disk, standard library only.

An flock(2) on `runner-writer.lock` in the git directory of the work tree (each linked one has its own), where
sandboxes do not let agents write. The kernel frees it when its last holder is gone, even after SIGKILL.

It does not use the `filelock` package, although both would respect each other's lock: a supervisor imports
the standard library only, and filelock opens and drops its descriptor itself, resets it in a forked child,
which a supervisor is, and cannot hand it over an exec to the program that writes.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time

from runner.disk.files import read, unwritable
from runner.errors import Unwritable, WorkspaceBusy
from runner.value import Value, json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "runner-writer.lock"
_LOOK_S = 0.1
_LARGEST = 64 * 1024


class Holder(Value):
    """Who has a lease: the run, and its manifest."""

    run_id: str
    manifest_path: str


class Lease:
    """The right to write in one work tree. It lasts until `release`, or until every process that has the
    descriptor `fd` is gone.
    """

    def __init__(self, fd: int, path: str) -> None:
        self.fd, self.path = fd, path

    def describe(self, holder: Holder) -> None:
        """Records who has it now, for those that are refused. OSError if the disk refuses."""
        data = json_bytes(holder.to_json()) + b"\n"
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, data, 0)

    def forget(self) -> None:
        """Closes our descriptor and frees nothing that another process has."""
        os.close(self.fd)

    def release(self) -> None:
        """Frees it for everybody, also if other processes have the descriptor."""
        os.ftruncate(self.fd, 0)
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        os.close(self.fd)


def acquire(root: str, holder: Holder) -> Lease:
    """At once, or WorkspaceBusy, which names the run that has it. Unwritable if the git directory refuses."""
    lease = _try(root)
    if lease is None:
        raise busy(root)
    lease.describe(holder)
    return lease


def wait(
    root: str, holder: Holder, *, timeout_s: float | None = None, given_up: Callable[[], bool] = lambda: False
) -> Lease | None:
    """As `acquire`, as soon as it is free, in no particular order. None when `given_up` says so;
    WorkspaceBusy after `timeout_s` (None: no limit).
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while (lease := _try(root)) is None:
        if given_up():
            return None
        if deadline is not None and time.monotonic() >= deadline:
            raise busy(root)
        time.sleep(_LOOK_S)
    lease.describe(holder)
    return lease


def held_by(root: str) -> Holder | None:
    """Who has it now; None if it is free, or its holder is not recorded yet."""
    lease = None if _read(lock_path(root)) is None else _try(root)  # which makes it, and has it an instant
    if lease is not None:
        lease.forget()
        return None
    return _read(lock_path(root))


def busy(root: str) -> WorkspaceBusy:
    """The refusal, with the name of the run."""
    holder = _read(lock_path(root))
    who = "another run" if holder is None else f"run `{holder.run_id}`"
    ends = "" if holder is None else f", or end it if it waits for a message (`runner end {holder.run_id}`)"
    return WorkspaceBusy(
        f"{who} may write in {root}", hint=f"wait for that run{ends}, or give this one a worktree of its own"
    )


def lock_path(root: str) -> str:
    """Of a work tree's root. Without a git directory it is in `.runs`, where a run may reach it."""
    dot = f"{root}/.git"
    if os.path.isdir(dot):
        return f"{dot}/{_NAME}"
    try:
        # Of a linked work tree or a submodule (gitrepository-layout(5)).
        line = read(dot, _LARGEST, follows_links=True)
        target = os.fsdecode(line.removeprefix(b"gitdir: ").rstrip(b"\n"))
        return f"{os.path.join(root, target)}/{_NAME}"
    except FileNotFoundError:
        return f"{root}/.runs/{_NAME}"
    except OSError as error:
        raise unwritable(error) from error


def _try(root: str) -> Lease | None:
    path = lock_path(root)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise unwritable(error) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Unwritable(f"{path} is no plain file", hint="remove it: it is where runs note who may write")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError as error:
        os.close(fd)
        raise unwritable(error) from error
    return Lease(fd, path)


def _read(path: str) -> Holder | None:
    try:
        return Holder.from_json(json_value(read(path, _LARGEST)))
    except (OSError, ValueError):
        return None  # just taken, just left, or written by another program that takes this lock
