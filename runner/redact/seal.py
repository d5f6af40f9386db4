"""Redact a file in place, atomically and in bounded memory. Edge: disk."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.redact.redactor import Redactor

_CHUNK = 1024 * 1024


def seal(path: str | os.PathLike[str], redactor: Redactor, *, chunk_size: int = _CHUNK) -> int:
    """Removes the secrets from a file and returns how many; without any, the file is not touched.

    The new file has the mode, owner and times of the old one and replaces it in one step. After a failure,
    such as a full disk, OSError is raised, the old file is whole and nothing is left beside it. No process
    may be writing to the file any more, as later content would be lost. A link, or anything but a plain file,
    is refused.
    """
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise OSError(errno.EINVAL, "not a plain file", os.fspath(path))
        return _seal(os.fspath(path), source, redactor, chunk_size)
    finally:
        os.close(source)


def _seal(path: str, source: int, redactor: Redactor, chunk_size: int) -> int:
    stream = redactor.stream()
    clean = 0  # so many bytes at the beginning are as they were
    draft: _Draft | None = None
    try:
        while True:
            chunk = os.read(source, chunk_size)
            text = stream.feed(chunk) if chunk else stream.finish()
            if draft is None and stream.count:
                draft = _Draft(path)
                draft.copy(source, clean, chunk_size)
            if draft is None:
                clean += len(text)
            else:
                draft.write(text)
            if not chunk:
                break
        if draft is not None:
            draft.replace(path, os.fstat(source))
    finally:
        if draft is not None:
            draft.drop()
    return stream.count


class _Draft:
    """The new file while it is written, under a name of its own in the same folder."""

    __slots__ = ("_fd", "_folder", "_name")

    def __init__(self, path: str) -> None:
        self._folder, name = os.path.split(path)
        self._name = os.path.join(self._folder, f".{name}.seal-{os.urandom(6).hex()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._name, flags, 0o600)

    def copy(self, source: int, length: int, chunk_size: int) -> None:
        """The first `length` bytes of the old file, as they are."""
        done = 0
        while done < length:
            data = os.pread(source, min(chunk_size, length - done), done)
            if not data:
                raise OSError(errno.EIO, "the file was cut short while it was read", self._name)
            self.write(data)
            done += len(data)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def replace(self, path: str, old: os.stat_result) -> None:
        """Puts it in the place of `path`, for good: it is on the disk before it gets the name."""
        mine = os.fstat(self._fd)
        if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
            os.fchown(self._fd, old.st_uid, old.st_gid)
        os.fchmod(self._fd, stat.S_IMODE(old.st_mode))
        os.utime(self._fd, ns=(old.st_atime_ns, old.st_mtime_ns))
        os.fsync(self._fd)
        os.replace(self._name, path)
        self._name = ""
        folder = os.open(self._folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def drop(self) -> None:
        """Closes it, and removes it unless it has replaced the old one."""
        os.close(self._fd)
        if self._name:
            os.unlink(self._name)
