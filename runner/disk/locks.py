"""A lock of all who write one file, held for a moment. Edge: disk, standard library only.

It does not use the `filelock` package, although both would respect each other's lock: supervisors write these
files too, and import the standard library only. And filelock opens its file for reading, so a sandboxed agent
that can read it could hold the lock for ever (`files.open_lock`).
"""

from __future__ import annotations

import fcntl
import os
import stat
import time

from runner.disk.files import open_lock

_POLL_S = 0.005


class Lock:
    """Held from when it is made up to the end of its context. BlockingIOError where others have it for
    `wait_s`, OSError where it cannot be made.
    """

    def __init__(self, path: str, wait_s: float) -> None:
        if _is_strange(path):
            self._make_room(path)
        self._fd, deadline = open_lock(path), time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(self._fd)
                    raise
                time.sleep(_POLL_S)

    @staticmethod
    def _make_room(path: str) -> None:
        """Alone, as another writer may have put its lock there since."""
        fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            set_aside_strange(path)
        finally:
            os.close(fd)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _is_strange(path: str) -> bool:
    """Whether what is there was put there by none of us: no file, or one that has another name as well."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(found.st_mode) or found.st_nlink > 1


def set_aside_strange(path: str) -> None:
    """Gives what none of us has put there another name."""
    if _is_strange(path):
        os.rename(path, another_name(path))


def another_name(path: str) -> str:
    """For what is set aside."""
    return f"{path}.broken-{time.time_ns()}"
