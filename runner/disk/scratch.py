"""A folder for working files that are gone afterwards, in the user's state folder. Edge: disk.

Not where everybody has them (/tmp, TMPDIR): agents may write there, whatever repository they work in.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil

from runner.disk import home
from runner.disk.files import private_folder, unwritable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def scratch(env: Mapping[str, str]) -> Iterator[str]:
    """A new one, ours alone. Unwritable where none can be made.

    It is locked while it is in use, and whoever makes another one removes what a killed process has left.
    """
    state = home.state(env)
    try:
        top = private_folder(state, "scratch")
        path, fd = _locked(top)
    except OSError as error:
        raise unwritable(error) from error
    try:
        _tidy(top, os.path.basename(path))
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(fd)


def _locked(top: str) -> tuple[str, int]:
    while True:
        path = f"{top}/{os.urandom(8).hex()}"
        os.mkdir(path, 0o700)
        try:
            fd = os.open(path, _FOLDER)
        except FileNotFoundError:  # taken for a left one, in this very moment
            continue
        if _is_free(fd) and os.path.isdir(path):
            return path, fd
        os.close(fd)


def _tidy(top: str, own: str) -> None:
    for name in os.listdir(top):
        if name == own:
            continue
        try:
            fd = os.open(f"{top}/{name}", _FOLDER)
        except OSError:
            continue
        if _is_free(fd):
            shutil.rmtree(f"{top}/{name}", ignore_errors=True)
        os.close(fd)


def _is_free(fd: int) -> bool:
    """Whether nobody held its lock; now we do."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
