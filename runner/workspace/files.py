"""Small files that no crash can tear, and the id that git gives to the content of a file. Edge: disk."""

from __future__ import annotations

import os
import stat
import sys

from runner.disk.files import NoFile, follow, read, read_up_to, replace_bytes
from runner.errors import Conflict
from runner.state import authentic
from runner.value import FileMode, Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeVar

    Extent = tuple[int, int, int]
    Kind = TypeVar("Kind", bound=Value)

_CHUNK = 1 << 20
_ENCODING = sys.getfilesystemencoding()
_LARGEST = 1 << 30
LARGEST_FILE = 2 << 30
"""A larger file is not read: that a file has no end in sight costs its writer nothing (truncate(1))."""
_LARGEST_SUM = 8 << 30
"""Nor are more bytes than these at once, besides what is really on the disk."""
_COMPRESSION = 4
"""As many bytes of a file may stand in one on the disk: some file systems compress."""
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Entry(Value):
    """What stands at a path: `mode` is st_mode with its type (0o160000 is a repository), `oid` git's name of
    the raw content; "" where git has none (a folder, a FIFO), or the file is too large to be read.
    """

    mode: FileMode
    oid: str

    @property
    def kind(self) -> int:
        return stat.S_IFMT(self.mode)

    @property
    def is_repository(self) -> bool:
        """A submodule, or any repository inside: its commit is known, nothing in it is touched."""
        return self.kind == REPOSITORY

    @property
    def is_special(self) -> bool:
        """A FIFO, a socket or a device: it has no content of its own."""
        return is_special(self.mode)

    def has_content_of(self, other: Entry | None) -> bool:
        """Same kind, same bytes; the permissions may differ."""
        return other is not None and self.kind == other.kind and self.oid == other.oid != ""


REPOSITORY = 0o160000


def is_special(mode: int) -> bool:
    """Whether it is neither a file, nor a link, nor a folder."""
    return stat.S_IFMT(mode) in (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)


def extent(found: os.stat_result) -> Extent:
    """Of a file: its size, what of it is on the disk, and its inode."""
    return found.st_size, found.st_blocks * 512, found.st_ino


def too_large(files: Mapping[str, Extent]) -> frozenset[str]:
    """Which files are not read: those that are too large, and the largest of all while together they are.
    What really takes its place on the disk is no trick, in whatever amount; sparse files and hard links are,
    as they cost nothing.
    """
    left = sum(size for size, _, _ in files.values())
    if left <= LARGEST_FILE:
        return frozenset()
    on_disk = sum({inode: used for _, used, inode in files.values()}.values())
    bound, found = _LARGEST_SUM + _COMPRESSION * on_disk, set()
    for size, name in sorted(((size, name) for name, (size, _, _) in files.items()), reverse=True):
        if size <= LARGEST_FILE and left <= bound:
            break
        found.add(name)
        left -= size
    return frozenset(found)


def entry_at(name: str, folder: int | None, hash_name: str) -> Entry | None:
    """What stands at `name` in the open `folder` now; None if nothing does. No link is followed."""
    try:
        found = os.lstat(name, dir_fd=folder)
        if stat.S_ISLNK(found.st_mode):
            target = os.fsencode(os.readlink(name, dir_fd=folder))
            return Entry(found.st_mode, blob(hash_name, len(target), [target]))
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_FILE:
            return Entry(found.st_mode, "")
        with open(os.open(name, os.O_RDONLY | _FLAGS, dir_fd=folder), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return Entry(found.st_mode, blob(hash_name, size, iter(lambda: file.read(_CHUNK), b"")))
    except FileNotFoundError:
        return None


def write_json(path: str, value: Any) -> None:
    """A record that is believed in this place only, on one line: it may name every file of a large tree."""
    authentic.write_record(path, _recoded(value, _ENCODING, "utf-8"), indent=None)


def read_record(path: str, kind: type[Kind]) -> Kind | None:
    """None if there is no such file. ForeignRun if it was not written here by us; Conflict if it says
    anything else than a `kind`, or a link, a FIFO or a folder stands there: a record of ours is a plain file.
    """
    try:
        data = read(path, _LARGEST)
        found = kind.from_json(_recoded(json_value(data), "utf-8", _ENCODING))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Conflict(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Conflict(f"{path} cannot be read: {error}") from error
    authentic.refuse_forged(path, data)
    return found


def _recoded(value: Any, ours: str, theirs: str) -> Any:
    """A start knows a name as its locale tells it, and a supervisor has another locale. In a record, names
    are the bytes of the disk as UTF-8.
    """
    if ours == theirs:
        return value
    if isinstance(value, dict):
        return {_recoded(name, ours, theirs): _recoded(inner, ours, theirs) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_recoded(inner, ours, theirs) for inner in value]
    if not isinstance(value, str):
        return value
    try:
        return value.encode(ours, "surrogateescape").decode(theirs, "surrogateescape")
    except UnicodeEncodeError:  # no name
        return value


def read_bytes(path: str) -> bytes | None:
    """None if there is no such file. Conflict if it is none, or too large."""
    try:
        fd, found = follow(path)
    except FileNotFoundError:
        return None
    except NoFile as error:
        raise Conflict(f"{path} {error.strerror}") from error
    try:
        if found.st_size > LARGEST_FILE:
            raise Conflict(f"{path} is too large to be read: it has {found.st_size} bytes")
        return read_up_to(LARGEST_FILE, fd, found.st_size)
    finally:
        os.close(fd)


def copy_with_time(source: str, target: str) -> None:
    """With the time of its last change, which git compares with those of the files (racy-git)."""
    at = os.stat(source).st_mtime_ns
    replace_bytes(target, read_bytes(source) or b"")
    os.utime(target, ns=(at, at))


def blob(hash_name: str, size: int, chunks: Iterable[bytes]) -> str:
    """What git calls this content."""
    import hashlib  # half of what else a look costs

    digest = hashlib.new(hash_name, b"blob %d\0" % size, usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
