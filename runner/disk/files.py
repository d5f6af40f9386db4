"""Writing and reading files that others may look at, or tamper with, at the same time. Edge: disk.

A write is atomic (temp file, fsync, rename) or creates what must not exist yet; no link is followed, and what
is no plain file is not waited for.
"""

from __future__ import annotations

import errno
import os
import stat

from runner.errors import Conflict, DiskFull, TooManyFiles, Unwritable
from runner.value import json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Json

OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)


def replace_json(path: str, value: Json, *, durable: bool = True) -> None:
    """Atomically: a reader sees the old file or the new one, a crash leaves one of them. The machine's too if
    it is `durable`; `make_durable` makes it so later.
    """
    replace_bytes(path, json_bytes(value, indent=1) + b"\n", durable=durable)


def replace_bytes(path: str, data: bytes, *, durable: bool = True) -> None:
    """As `replace_json`. OSError (with nothing left behind) when the disk refuses."""
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name}.{os.getpid()}.tmp"
    withdraw(temporary)  # of a former process with our pid
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(temporary, flags, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def make_durable(path: str) -> None:
    """Waits until the disk has it, where it can."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError:
        pass
    finally:
        os.close(fd)


def write_new(path: str, data: bytes) -> None:
    """Creates a file 0600 that must not exist yet. Unwritable if it cannot."""
    try:
        create(path, data)
    except OSError as error:
        raise unwritable(error) from error


def create(path: str, data: bytes) -> None:
    """As `write_new`, with the OSError itself."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def read_text(path: str, limit: int = 8 * 1024 * 1024) -> str | None:
    """The beginning of a file that a child may have written; None where there is none, or a link."""
    try:
        with open(path, "rb", opener=no_follow) as file:
            return file.read(limit).decode(errors="replace")
    except OSError:
        return None


def no_follow(path: str, flags: int) -> int:
    """An opener of plain files: it follows no link, and a FIFO does not block it."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a plain file", path)
    return fd


def make_plain_folder(path: str) -> None:
    """A folder of ours: made if absent, refused if a link or a file stands there."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None


def withdraw(intent: str) -> None:
    """Removes an intent; no error if it is already gone or is not one."""
    try:
        os.unlink(intent)
    except OSError:
        pass


def unwritable(error: OSError) -> Unwritable | Conflict | TooManyFiles:
    """The named reason behind an OSError of the disk."""
    if error.errno in OUT_OF_FILES:
        return TooManyFiles("no more files can be opened here: the limit of open files is reached")
    where = f" {error.filename}" if error.filename else ""
    text = f"cannot write{where}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(text)
    if error.errno == errno.ELOOP:
        return Conflict(f"{text} (a symbolic link)", hint="runner follows no links inside `.runs`")
    return Unwritable(text)
