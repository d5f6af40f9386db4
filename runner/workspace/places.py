"""Moves, links and removes below one root, never through a link. Edge: disk.

Each step opens every folder of the path without following links, so a link that a run left in place of a
folder cannot lead out of the tree. A file is moved away before anything else happens to it, and its successor
must not replace anything: no edit can be lost between the two.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from runner.workspace.files import Entry, entry_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def unwatched(step: str) -> None:
    """For a caller that watches nothing."""


class Places:
    """Paths are relative to `root`. `watch` gets every change of the disk before it is made."""

    def __init__(self, root: str, hash_name: str, watch: Callable[[str], object]) -> None:
        self.root, self.hash_name, self.watch = root, hash_name, watch

    def entry(self, path: str) -> Entry | None:
        """What stands there now. Something that cannot be read is an entry without content."""
        try:
            with self._parent(path) as (folder, name):
                try:
                    return entry_at(name, folder, self.hash_name)
                except PermissionError:
                    return Entry(os.lstat(name, dir_fd=folder).st_mode, "")
        except OSError as error:
            if error.errno in _NOTHING:
                return None
            raise

    def in_the_way(self, path: str) -> str | None:
        """The first folder on the way to `path` that is none; None if all of them are, or are missing."""
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            part = "/".join(parts[:count])
            found = self.entry_kind(part)
            if found is None:
                return None
            if found != stat.S_IFDIR:
                return part
        return None

    def entry_kind(self, path: str) -> int | None:
        """The type bits of what stands there; its content is not read."""
        found = self._status(path)
        return None if found is None else stat.S_IFMT(found.st_mode)

    def permissions(self, path: str) -> int | None:
        """Of a folder or file; None if nothing stands there."""
        found = self._status(path)
        return None if found is None else stat.S_IMODE(found.st_mode)

    def move_out(self, path: str, target: str) -> None:
        """Renames what stands there to `target`, an absolute path. FileNotFoundError if nothing does."""
        with self._parent(path) as (folder, name):
            self.watch(f"move out {path}")
            os.rename(name, target, src_dir_fd=folder)

    def link_in(self, source: str, path: str) -> None:
        """Makes the file `source` appear at `path`. FileExistsError if something stands there."""
        with self._parent(path) as (folder, name):
            self.watch(f"put {path}")
            os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)

    def make_folder(self, path: str, mode: int) -> None:
        """With exactly these permissions. FileExistsError if something stands there."""
        with self._parent(path) as (folder, name):
            self.watch(f"make folder {path}")
            os.mkdir(name, 0o700, dir_fd=folder)
        self.permit(path, mode)

    def remove_folder(self, path: str) -> bool:
        """If it is there and empty. Whether it is gone."""
        try:
            with self._parent(path) as (folder, name):
                self.watch(f"remove folder {path}")
                os.rmdir(name, dir_fd=folder)
        except OSError as error:
            return error.errno in _NOTHING
        return True

    def permit(self, path: str, mode: int) -> None:
        """Sets the permissions of a plain file or folder; a link has none and is left alone."""
        with self._parent(path) as (folder, name):
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                found = os.fstat(fd).st_mode
                if not stat.S_ISLNK(found) and stat.S_IMODE(found) != mode:
                    self.watch(f"permissions of {path}")
                    os.chmod(f"/proc/self/fd/{fd}", mode)
            finally:
                os.close(fd)

    def _status(self, path: str) -> os.stat_result | None:
        try:
            with self._parent(path) as (folder, name):
                return os.lstat(name, dir_fd=folder)
        except OSError as error:
            if error.errno in _NOTHING:
                return None
            raise

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        *folders, name = path.split("/")
        fd = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in folders:
                deeper = os.open(part, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = deeper
            yield fd, name
        finally:
            os.close(fd)
