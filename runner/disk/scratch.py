"""A folder for working files that are gone afterwards, in the user's state folder. Edge: disk.

Not where everybody has them (/tmp, TMPDIR): agents may write there, whatever repository they work in.
"""

from __future__ import annotations

import fcntl
import os

from runner.disk import home
from runner.disk.files import private_folder, unwritable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def scratch(env: Mapping[str, str]) -> Scratch:
    """A new one, ours alone, for the length of a `with`. Unwritable where none can be made.

    It is locked while it is in use, and whoever makes another one removes what a killed process has left.
    """
    return Scratch(home.state(env))


class Scratch:
    """What `scratch` gives. (`contextlib` would cost every start that may write half a millisecond.)"""

    def __init__(self, state: str) -> None:
        try:
            self._top = private_folder(state, "scratch")
            self._path, self._fd = _locked(self._top)
        except OSError as error:
            raise unwritable(error) from error

    def __enter__(self) -> str:
        try:
            _tidy(self._top, os.path.basename(self._path))
        except BaseException:
            self.__exit__()
            raise
        return self._path

    def __exit__(self, *_: object) -> None:
        _remove(self._path)
        os.close(self._fd)


def _remove(path: str) -> None:
    import shutil  # brings `re` along, and most starts that may write need no such folder

    shutil.rmtree(path, ignore_errors=True)


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
            _remove(f"{top}/{name}")
        os.close(fd)


def _is_free(fd: int) -> bool:
    """Whether nobody held its lock; now we do."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
