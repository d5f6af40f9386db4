"""Writing and reading files that others may look at, or tamper with, at the same time. Edge: disk.

A write is atomic (a new file beside, then a rename) or creates what must not exist yet. No link is followed,
and what is no plain file is not waited for. Files get mode 0600 and folders 0700, whatever the umask.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from runner.errors import Conflict, DiskFull, TooManyFiles, TooManyProcesses, Unwritable
from runner.value import json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
OUT_OF_PROCESSES = (errno.EAGAIN, errno.ENOMEM)
DRAFT = ".tmp"
"""The end of the name of a file that is still to take its place."""
LARGEST = 8 * 1024 * 1024
"""So much of a file is read unless its reader says otherwise; larger ones were not written by us."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_BY_OTHERS = 0o022
_BLOCK = 512  # the unit of st_blocks: inode(7)
_SPARSE = 1000


class NoFile(OSError):
    """A folder, a FIFO or a device stands where a file is wanted."""


class Draft:
    """The new content of a file, under a name of its own beside it until it takes its place."""

    def __init__(self, path: str) -> None:
        """OSError where no file can be made."""
        self._path = path
        folder, name = os.path.split(path)
        # Nobody can know the name before, and it is no longer than a name may be where that of the file is.
        self._name = os.path.join(folder, f".{name[:40]}.{os.urandom(6).hex()}{DRAFT}")
        self.fd = os.open(self._name, _NEW, 0o600)

    def write(self, data: bytes) -> None:
        _write(self.fd, data)

    def put(self, *, durable: bool = True) -> None:
        """Gives it the place of the file; if `durable` it is on the disk before."""
        if durable:
            os.fsync(self.fd)
        os.rename(self._name, self._path)
        self._name = ""

    def close(self) -> None:
        """Removes it, unless it was put in its place."""
        os.close(self.fd)
        if self._name:
            withdraw(self._name)


def replace_json(path: str, value: Any, *, indent: int | None = 1, durable: bool = True) -> None:
    """Atomically: a reader sees the old file or the new one, a crash leaves one of them. The machine's too if
    it is `durable`; `make_durable` makes it so later.
    """
    replace_bytes(path, json_bytes(value, indent=indent) + b"\n", durable=durable)


def replace_bytes(path: str, data: bytes, *, durable: bool = True, mode: int = 0o600) -> None:
    """As `replace_json`. OSError (with nothing left behind) when the disk refuses."""
    draft = Draft(path)
    try:
        draft.write(data)
        if mode != 0o600:
            os.fchmod(draft.fd, mode)
        draft.put(durable=durable)
    finally:
        draft.close()


def append(path: str, data: bytes) -> None:
    """At the end of a file, behind an empty line, or in a new one, 0644. OSError, and nothing of it is left
    there, when the disk refuses.
    """
    is_new = not os.path.lexists(path)
    with open(path, "ab", buffering=0, opener=no_follow) as file:
        before = file.tell()
        try:
            if is_new:
                os.fchmod(file.fileno(), 0o644)
            _write(file.fileno(), b"\n" * (bool(data) and before > 0) + data)
        except OSError:
            file.truncate(before)
            raise


def remove_drafts(folder: str) -> None:
    """Removes what a killed process was writing there. Nobody else may be writing."""
    for name in os.listdir(folder):
        if name.startswith(".") and name.endswith(DRAFT):
            withdraw(f"{folder}/{name}")


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
    fd = os.open(path, _NEW, 0o600)
    try:
        _write(fd, data)
    finally:
        os.close(fd)


def open_lock(path: str) -> int:
    """A descriptor of a file to be locked. A sandboxed agent sees `.runs` read-only, and a file that is not
    to be read cannot be opened there: so it cannot hold the lock, as it could that of any file it can read.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o200)
    found = os.fstat(fd)
    if found.st_nlink > 1:  # under its other name it may be anything
        os.close(fd)
        raise OSError(errno.EMLINK, "it has another name as well", path)
    if stat.S_IMODE(found.st_mode) != 0o200:  # it may have come with the repository
        os.fchmod(fd, 0o200)
    return fd


def publish(folder: str, name: str, data: bytes) -> None:
    """Creates a file that is complete the moment it is visible. FileExistsError if there is one."""
    draft = f"{folder}/.{name}.{os.getpid()}.{time.monotonic_ns()}"
    create(draft, data)
    try:
        os.link(draft, f"{folder}/{name}")
    finally:
        os.unlink(draft)


def read(path: str, limit: int = LARGEST, *, is_private: bool = False, follows_links: bool = False) -> bytes:
    """The beginning of a file; OSError where there is none, or a link or anything else that is no plain file.

    With `is_private` also where others could have written it. `follows_links` is for what a user names.
    """
    fd, found = _opened(path, _READ if follows_links else _READ | os.O_NOFOLLOW)
    try:
        if is_private and not is_ours_alone(found):
            raise PermissionError(errno.EPERM, "others could have written it", path)
        return read_up_to(limit, fd, found.st_size)
    finally:
        os.close(fd)


def read_up_to(limit: int, fd: int, size: int) -> bytes:
    """At most `limit` bytes of an open file whose size was `size`."""
    data = os.read(fd, min(limit, size + 1))
    while len(data) != size and len(data) < limit and (more := os.read(fd, min(limit - len(data), 1 << 20))):
        data += more
    return data


def read_text(path: str, limit: int = LARGEST) -> str | None:
    """The beginning of a file that a child may have written; None where `read` fails."""
    try:
        return read(path, limit).decode(errors="replace")
    except OSError:
        return None


def no_follow(path: str, flags: int) -> int:
    """An opener of plain files: it follows no link, and a FIFO does not block it."""
    return _opened(path, flags | _READ | os.O_NOFOLLOW)[0]


def no_hole(path: str, flags: int) -> int:
    """As `no_follow`, for what grows as it is written. OSError for a file of which next to nothing is there:
    an archive can hold one whose end no reader ever comes to. (A disk that compresses saves less than that.)
    """
    fd, found = _opened(path, flags | _READ | os.O_NOFOLLOW)
    if found.st_size > LARGEST and found.st_blocks * _BLOCK * _SPARSE < found.st_size:
        os.close(fd)
        raise NoFile(errno.EFBIG, "is a hole", path)
    return fd


def follow(path: str) -> tuple[int, os.stat_result]:
    """Opens a plain file that a user names, also behind a link; OSError where it is anything else."""
    return _opened(path, _READ)


def private_folder(top: str, *names: str) -> str:
    """`top/names...`, where each folder from `top` on is ours alone: no link, and writable for nobody else.
    What is missing is made, above `top` too. OSError where one belongs to another user, or cannot be made.
    """
    make_folders(os.path.dirname(top))
    path = top
    for path in (top, *(os.path.join(top, *names[: n + 1]) for n in range(len(names)))):
        make_plain_folder(path)
        found = os.lstat(path)
        if found.st_uid == os.geteuid() and not is_ours_alone(found):
            os.chmod(path, 0o700)
        elif found.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user", path)
    return path


def make_folders(path: str) -> None:
    """The folder and its parents, private. (`os.makedirs` would open the parents to others.)"""
    if os.path.isdir(path):
        return
    make_folders(os.path.dirname(path))
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):  # else another one has made it at the same time
            raise


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


def real_folder(path: str) -> str:
    """As `os.path.realpath`, which asks for each folder above, at less than half of its price."""
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return os.path.realpath(path)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return os.path.realpath(path)
    finally:
        os.close(fd)


def is_ours_alone(found: os.stat_result) -> bool:
    """Whether nobody else can have written it."""
    return found.st_uid == os.geteuid() and not found.st_mode & _BY_OTHERS


def withdraw(intent: str) -> None:
    """Removes an intent; no error if it is already gone or is not one."""
    try:
        os.unlink(intent)
    except OSError:
        pass


def unwritable(error: OSError) -> Unwritable | Conflict | TooManyFiles | TooManyProcesses:
    """The named reason behind an OSError of the disk, or of a limit."""
    if error.errno in OUT_OF_FILES:
        return TooManyFiles("no more files can be opened here: the limit of open files is reached")
    if error.errno in OUT_OF_PROCESSES:
        return TooManyProcesses(f"no process can be started here: {error.strerror}")
    name = error.filename2 or error.filename  # of a rename, where it leads
    where = f" {name}" if name else ""
    text = f"cannot write{where}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(text)
    if error.errno == errno.ELOOP:
        return Conflict(f"{text} (a symbolic link)", hint="runner follows no links in folders of its own")
    is_kept = error.errno == errno.EROFS
    return Unwritable(
        text, hint="a sandbox, or a disk that is mounted so; try it outside" if is_kept else None
    )


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _opened(path: str, flags: int) -> tuple[int, os.stat_result]:
    fd = os.open(path, flags, 0o600)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        is_folder = stat.S_ISDIR(found.st_mode)
        raise NoFile(errno.EINVAL, "is a folder" if is_folder else "is not a regular file", path)
    return fd, found


_MOST_LINKS = 40


def links(path: str) -> Iterator[str]:
    """The symbolic links that lead from `path` to what it means, each by its own place."""
    todo, at = path.split("/")[1:], "/"
    for _ in range(_MOST_LINKS * len(todo)):
        if not todo:
            return
        name, *todo = todo
        if name in ("", "."):
            continue
        if name == "..":
            at = os.path.dirname(at)
            continue
        at = os.path.join(at, name)
        if os.path.islink(at):
            yield at
            target = os.readlink(at)
            todo = [*target.split("/"), *todo]
            at = "/" if os.path.isabs(target) else os.path.dirname(at)


def remove_tree(path: str) -> None:
    """Takes a folder away with all in it, as far as that is possible. No link is followed."""
    import shutil

    try:
        shutil.rmtree(path, ignore_errors=True)
    except RecursionError:  # it calls itself for each level, and an agent can make any number of them
        try:
            _flatten(path)
        except OSError:
            return
        shutil.rmtree(path, ignore_errors=True)


def _flatten(path: str) -> None:
    """Moves each folder below up to this one, and takes the files away."""
    prefix, number = f"{path}/{os.urandom(8).hex()}", 0
    while inner := [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]:
        for folder in inner:
            for entry in [*os.scandir(folder)]:
                if entry.is_dir(follow_symlinks=False):
                    os.rename(entry.path, f"{prefix}-{(number := number + 1)}")
                else:
                    os.unlink(entry.path)
            os.rmdir(folder)
