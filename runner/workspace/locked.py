"""Replaces a file of git's own as git does: under the lock that keeps git away. Edge: disk.

A killed call leaves its lock, which the next one knows by its content and goes on with.
"""

from __future__ import annotations

import os

from runner.disk.files import create, withdraw
from runner.value import Value
from runner.workspace.files import read_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CHANGED = "it was changed again"


class GitFile(Value):
    """`path` and what it is to hold: None is no such file, for which its lock holds `absent`. `draft` is made
    beside it. A file that is not there gets the permissions `mode`.
    """

    path: str
    wanted: bytes | None
    draft: str
    absent: bytes
    mode: int
    at_ns: int | None = None
    """The time of its last change."""

    @property
    def text(self) -> bytes:
        """What its lock holds."""
        return self.absent if self.wanted is None else self.wanted

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


def replace(
    file: GitFile,
    watch: Callable[[str], object],
    *,
    is_expected: Callable[[], bool] = lambda: True,
    keep: Callable[[], object] = lambda: None,
) -> str | None:
    """None if it holds that now; else why not, and then nothing is other than before. `is_expected` is asked
    under the lock, `keep` called before what is there goes.
    """
    lock = f"{file.path}.lock"
    withdraw(file.draft)  # of an attempt that was killed
    if read_bytes(file.path) == file.wanted:
        if read_bytes(lock) == file.text:
            os.unlink(lock)
        return None
    create(file.draft, file.text)
    if file.wanted is not None:
        os.chmod(file.draft, _mode_of(file.path, file.mode))
        if file.at_ns is not None:
            os.utime(file.draft, ns=(file.at_ns, file.at_ns))
    watch(f"lock the {file.name}")
    try:
        os.link(file.draft, lock)
    except FileExistsError:
        if read_bytes(lock) != file.text:
            return f"git holds {file.name}.lock"
    os.unlink(file.draft)
    if not is_expected():
        os.unlink(lock)
        return CHANGED
    keep()
    watch(f"restore the {file.name}")
    if file.wanted is not None:
        os.rename(lock, file.path)
    else:
        withdraw(file.path)
        os.unlink(lock)
    return None


def _mode_of(path: str, default: int) -> int:
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        return default
