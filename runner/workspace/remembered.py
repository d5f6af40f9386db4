"""What we have read of a work tree, kept from one run to the next. Edge: disk.

An index of the user says that git took a file for unchanged, by the conversions of that moment (line ends,
filters). Once a rule is gone, nothing tells any more that the bytes on disk are others than those that the
index names. So an entry is believed only if we have read that file ourselves, without any conversion, and
found these bytes: then the same entry stands in an index that we kept. Its time is when we looked.

The file lies where no agent writes. Whoever deletes it makes the next run read every file once more.
"""

from __future__ import annotations

import os

from runner.disk import home
from runner.disk.digest import sha256
from runner.disk.files import Draft, private_folder, read
from runner.errors import Unwritable
from runner.workspace.tracked import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from runner.workspace.tracked import Index

_LARGEST = 1 << 30
_MANY = 50
_STAT_BYTES = 40


class Remembered:
    """What was read of the work tree at `root`: at `since_ns` the files were what `data`, an index, says."""

    def __init__(self, root: str, hash_name: str) -> None:
        self.root, self.hash_name = root, hash_name
        self.data, self.since_ns = b"", 0
        path = self._path()
        if path is not None:
            try:
                self.data = read(path, _LARGEST, is_private=True)
                self.since_ns = os.lstat(path).st_mtime_ns
            except OSError:
                pass

    def unread(self, listing: Index) -> Callable[[str, dict[str, int]], Collection[str]] | None:
        """Finds the names in a folder of `listing` whose entries are not as we kept them; None: all are."""
        return None if self.data == listing.data else _Comparison(listing, self.data, self.hash_name).unread

    def keep(self, data: bytes, since_ns: int) -> None:
        """From now on that is what was read, and when. Nothing is kept where the disk refuses."""
        path = self._path()
        if path is None:
            return
        try:
            private_folder(*os.path.split(os.path.dirname(path)))
            if not os.path.lexists(path):
                _make_room(os.path.dirname(path))
            draft = Draft(path)
            try:
                draft.write(data)
                os.utime(draft.fd, ns=(since_ns, since_ns))
                draft.put(durable=False)
            finally:
                draft.close()
        except OSError:
            pass

    def _path(self) -> str | None:
        try:
            folder = os.path.join(home.state(os.environ), "indexes")
            home.refuse_inside(folder, self.root, "an index")
        except Unwritable:
            return None
        return f"{folder}/{sha256(os.fsencode(self.root)).hexdigest()[:32]}"


class _Comparison:
    """Two indexes that differ: often in a few entries only, and then most stand at the same place in both."""

    def __init__(self, listing: Index, other: bytes, hash_name: str) -> None:
        self.data, self.other, self.hash_name = listing.data, other, hash_name
        self.size = _STAT_BYTES + listing.width
        self.folders: dict[str, dict[str, int]] | None = None

    def unread(self, folder: str, names: dict[str, int]) -> Collection[str]:
        places = [*names.values()]
        if not places or self._is_same(places[0], self._end(places[-1])):
            return ()
        return {name for name, at in names.items() if not self._is_kept(folder, name, at)}

    def _is_kept(self, folder: str, name: str, at: int) -> bool:
        size, end = self.size, self._end(at)
        if self._is_same(at + size, end):  # the same name
            return self._is_same(at, end)
        if self.folders is None:
            found = parse(self.other, self.hash_name)
            self.folders = {} if found is None else found.folders
        place = self.folders.get(folder, {}).get(name)
        return place is not None and self.data[at : at + size] == self.other[place : place + size]

    def _is_same(self, begin: int, end: int) -> bool:
        return self.data[begin:end] == self.other[begin:end]

    def _end(self, at: int) -> int:
        """Of its name, which a NUL ends."""
        return self.data.index(b"\0", at + self.size + 2) + 1


def _make_room(folder: str) -> None:
    """Forgets the tree that was looked at longest ago, once there are many."""
    paths = [f"{folder}/{name}" for name in os.listdir(folder)]
    if len(paths) >= _MANY:
        os.unlink(min(paths, key=lambda path: os.lstat(path).st_mtime_ns))
