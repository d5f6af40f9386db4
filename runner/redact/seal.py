"""Redact a file in place, atomically and in bounded memory. Edge: disk."""

from __future__ import annotations

import errno
import os
import stat

from runner.disk.files import Draft, no_follow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.redact.redactor import Redactor

_CHUNK = 1024 * 1024
_LARGEST = 16 << 30
"""A few minutes. Holes cost their writer nothing, and no supervisor is to read zeros for hours."""


def seal(
    path: str | os.PathLike[str], redactor: Redactor, *, chunk_size: int = _CHUNK, largest: int = _LARGEST
) -> int:
    """Removes the secrets from a file and returns how many; without any, the file is not touched.

    The new file has the mode, owner and times of the old one and replaces it in one step. After a failure,
    such as a full disk, OSError is raised, the old file is whole and nothing is left beside it. No process
    may be writing to the file any more, as later content would be lost. A link, or anything but a plain file,
    is refused, and so is one of more than `largest` bytes.
    """
    source = no_follow(os.fspath(path), os.O_RDONLY)
    try:
        if os.fstat(source).st_size > largest:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(path))
        return _seal(os.fspath(path), source, redactor, chunk_size)
    finally:
        os.close(source)


def _seal(path: str, source: int, redactor: Redactor, chunk_size: int) -> int:
    stream = redactor.stream()
    clean = 0  # so many bytes at the beginning are as they were
    draft: Draft | None = None
    try:
        while True:
            chunk = os.read(source, chunk_size)
            text = stream.feed(chunk) if chunk else stream.finish()
            if draft is None and stream.count:
                draft = Draft(path)
                _copy(source, draft, clean, chunk_size)
            if draft is None:
                clean += len(text)
            else:
                draft.write(text)
            if not chunk:
                break
        if draft is not None:
            _become(draft, os.fstat(source))
            draft.put()
            _sync_folder(path)
    finally:
        if draft is not None:
            draft.close()
    return stream.count


def _copy(source: int, draft: Draft, length: int, chunk_size: int) -> None:
    """The first `length` bytes of the old file, as they are."""
    done = 0
    while done < length:
        data = os.pread(source, min(chunk_size, length - done), done)
        if not data:
            raise OSError(errno.EIO, "the file was cut short while it was read")
        draft.write(data)
        done += len(data)


def _become(draft: Draft, old: os.stat_result) -> None:
    """Gives the new file the owner, mode and times of the old one."""
    mine = os.fstat(draft.fd)
    if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(draft.fd, old.st_uid, old.st_gid)
    os.fchmod(draft.fd, stat.S_IMODE(old.st_mode))
    os.utime(draft.fd, ns=(old.st_atime_ns, old.st_mtime_ns))


def _sync_folder(path: str) -> None:
    """For good: no crash brings the secrets back."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
