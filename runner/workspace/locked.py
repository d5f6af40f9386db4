"""Replaces a file of git's own as git does: under the lock that keeps git away. Edge: disk.

A killed call leaves its lock, which the next one knows by its content and goes on with.
"""

from __future__ import annotations

import contextlib
import os

from runner.disk.files import create, withdraw
from runner.workspace.files import read_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CHANGED = "it was changed again"


def replace(
    path: str,
    wanted: bytes | None,
    watch: Callable[[str], object],
    *,
    absent: bytes = b"",
    at_ns: int | None = None,
    is_expected: Callable[[], bool],
) -> str | None:
    """None if it holds that now; else why not, and then nothing is other than before. `wanted` None is no
    such file, for which its lock holds `absent`; `at_ns` is the time of its last change. `is_expected` is
    asked under the lock, before what is there goes.
    """
    folder, name = os.path.split(path)
    lock, draft, text = f"{path}.lock", f"{folder}/runner-{name}", absent if wanted is None else wanted
    withdraw(draft)  # of an attempt that was killed
    if read_bytes(path) == wanted:
        if read_bytes(lock) == text:
            os.unlink(lock)
        return None
    create(draft, text)
    if wanted is not None:
        os.chmod(draft, os.stat(path if os.path.exists(path) else folder).st_mode & 0o666)
        if at_ns is not None:
            os.utime(draft, ns=(at_ns, at_ns))
    watch(f"lock the {name}")
    with contextlib.suppress(FileExistsError):
        os.link(draft, lock)
    os.unlink(draft)
    if read_bytes(lock) != text:
        return f"git holds {name}.lock"
    try:
        may_go = is_expected()
    except BaseException:
        os.unlink(lock)
        raise
    if not may_go:
        os.unlink(lock)
        return CHANGED
    watch(f"restore the {name}")
    if wanted is not None:
        os.rename(lock, path)
    else:
        withdraw(path)
        os.unlink(lock)
    return None
