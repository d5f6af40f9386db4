"""The files that an index tracks, as they stand: which of them need not be read again. Edge: disk.

An index remembers the inode of each file, its size and when it was last changed (gitformat-index(5)). Where
these are the same now, the content is what the index says. To know it takes a listing of each folder and one
lstat(2) of each file, which also tells the permissions; git has of them only whether a file can be executed.
What is in doubt is left to git.
"""

from __future__ import annotations

import os
import stat
import sys
from struct import Struct

from runner.errors import Conflict
from runner.value import Value
from runner.workspace.files import Entry, extent, is_special
from runner.workspace.inner import blocked, git_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from runner.workspace.files import Extent

SPECIAL = "neither a file nor a link, so git cannot store it: "
REFUSED_NAME = "git stores nothing under this name: "
TOO_LARGE = "too large to be recorded: "
RULES = (".gitattributes", ".gitignore", ".gitmodules")
_LARGEST_RULES = 100 << 20
"""As much as git itself reads of a file of attributes (gitattributes(5))."""
HIDING_PLACE = "has a `.git` but is not a repository, so its content was not examined: "
REFUSED_LINK = "a link of this name is nothing that git can store: "
NO_LINK = ".gitmodules"
_KNOWN = Struct(">3I8x2I8xI")
"""Of an entry, 32 bits each: when the inode was changed (seconds, nanoseconds) and the content (seconds), the
inode, the mode, the size. What is passed over are nanoseconds and device, owner and group.
"""
_STAT_BYTES = 40
_TIMES_BYTES = 16
_WIDTH = {"sha1": 20, "sha256": 32}
_SECOND = 10**9
_SAMPLE = 10
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Permissions(Value):
    """The permission bits of plain files: `usual` are those of most that are not executable, and of most that
    are, `others` those of the rest.
    """

    usual: tuple[int, int]
    others: dict[str, int]

    def bits(self, path: str, executable: bool) -> int:
        mode = self.others.get(path)
        return self.usual[executable] if mode is None or bool(mode & 0o100) != executable else mode

    def without(self, paths: Collection[str]) -> Permissions:
        """But for those of some files."""
        return self.replace(others={path: mode for path, mode in self.others.items() if path not in paths})

    def with_more(self, modes: dict[str, int]) -> Permissions:
        """And those of further files."""
        more = {path: mode for path, mode in modes.items() if mode != self.usual[bool(mode & 0o100)]}
        return Permissions(self.usual, {**self.others, **more})


class Index:
    """`folders` has the names in each folder that has any, and where in `data` the entry of each begins."""

    def __init__(self, data: bytes, folders: dict[str, dict[str, int]], width: int) -> None:
        self.data, self.folders, self.width = data, folders, width

    def named(self, name: str) -> list[str]:
        """The paths of all files of that name."""
        return [_below(folder, name) for folder, names in self.folders.items() if name in names]

    def beside(self, name: str) -> list[str]:
        """The paths that a file of that name has beside or above the tracked ones."""
        return [_below(folder, name) for folder in above(self.folders)]

    def entry(self, path: str) -> Entry | None:
        """Kind and content that stand there if nobody changed it; None where nothing is tracked."""
        folder, _, name = path.rpartition("/")
        at = self.folders.get(folder, {}).get(name)
        return None if at is None else self.entry_at(at)

    def without_times(self, paths: Iterable[str]) -> bytes:
        """The same index, but for what it knows of these files: git will read them."""
        data = bytearray(self.data)
        for path in paths:
            folder, _, name = path.rpartition("/")
            at = self.folders[folder][name]
            data[at : at + _TIMES_BYTES] = bytes(_TIMES_BYTES)
        data[-self.width :] = bytes(
            self.width
        )  # no hash: only `git fsck` looks at it, and takes this for none
        return bytes(data)

    def entry_at(self, at: int) -> Entry:
        content = self.data[at + _STAT_BYTES : at + _STAT_BYTES + self.width]
        return Entry(_KNOWN.unpack_from(self.data, at)[4], content.hex())


class Standing(Value):
    """What stands where the index says, and beside that. Paths are relative.

    `doubtful` are files and links that may differ from the index, each with its extent; git would not read
    the `disguised` ones, as it compares whole seconds and believes its index. `modules` are repositories that
    are tracked as such, `hollow` those of which an empty folder stands there, with its permission bits,
    `remains` those of which something else is left. `gone` are the names at which no file and no link stands
    any more. `foreign` is what stands beside tracked files and is not tracked, a folder with a slash at its
    end: it was not entered; `special` is the same, but neither a file, nor a link, nor a folder.
    `permissions` are those of tracked files, `folders` those of each folder.
    """

    doubtful: dict[str, Extent]
    disguised: list[str]
    modules: list[str]
    hollow: dict[str, int]
    remains: list[str]
    gone: list[str]
    foreign: list[str]
    special: list[str]
    permissions: Permissions
    folders: dict[str, int]
    problems: list[str]

    @property
    def foreign_folders(self) -> list[str]:
        """Those of `foreign` that are in no hiding place."""
        names = (name[:-1] for name in self.foreign if name.endswith("/"))
        return [name for name in names if "/" not in name or name.rpartition("/")[0] in self.folders]


def parse(data: bytes, hash_name: str) -> Index | None:
    """None where it takes git to read an index: one of version 4, split or sparse, or with entries that are
    unmerged, meant to be added, assumed to be unchanged, or left out of the work tree.
    """
    try:
        return _parsed(data, _WIDTH[hash_name])
    except (IndexError, ValueError):  # torn, or written by nobody that we know
        return None


def _parsed(data: bytes, width: int) -> Index | None:
    if data[:4] != b"DIRC" or int.from_bytes(data[4:8], "big") not in (2, 3):
        return None
    header = _STAT_BYTES + width + 2
    folders: dict[str, dict[str, int]] = {}
    names: dict[str, int] = {}
    find, last, at, encoding = data.index, None, 12, sys.getfilesystemencoding()  # as `listdir` has names
    for _ in range(int.from_bytes(data[8:12], "big")):
        end = find(b"\0", at + header)
        if data[at + header - 2] & 0xF0:
            return None
        folder, _, name = data[at + header : end].decode(encoding, "surrogateescape").rpartition("/")
        if folder != last:
            names = folders.setdefault(folder, {})
            last = folder
        names[name] = at
        at += (end - at + 8) & ~7
    while at < len(data) - width:  # an extension that has to be understood begins with a small letter
        if data[at : at + 1].islower():
            return None
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "big")
    return Index(data, folders, width)


def walk(
    root: str,
    index: Index,
    since_ns: int,
    skipped: Collection[str],
    usual: tuple[int, int] | None = None,
    unread: Callable[[str, dict[str, int]], Collection[str]] | None = None,
) -> Standing:
    """Looks at each name once; no link is followed and no repository inside is entered. `skipped` are names
    as in `foreign`, and count as not there. The index was true at `since_ns`: what was written later or
    shortly before is in doubt, and so is what `unread` finds among the tracked names of a folder.
    """
    look = _Walk(root, index, since_ns, skipped, usual or _usual(root, index), unread)
    while look.waiting:
        look.enter(look.waiting.pop())
    for path in (path for name in RULES for path in index.named(name)):
        refuse_rules(root, path, size=look.doubtful.get(path, (0,))[0])
    for folder in index.folders.keys() - look.entered:
        look.gone += [_below(folder, name) for name in index.folders[folder]]
    return Standing(
        look.doubtful,
        look.disguised,
        look.modules,
        look.hollow,
        look.remains,
        look.gone,
        look.foreign,
        look.special,
        Permissions(look.usual, look.modes),
        look.found,
        look.problems,
    )


class _Walk:
    def __init__(
        self,
        root: str,
        index: Index,
        since_ns: int,
        skipped: Collection[str],
        usual: tuple[int, int],
        unread: Callable[[str, dict[str, int]], Collection[str]] | None,
    ) -> None:
        self.root, self.index, self.skipped, self.usual = root, index, skipped, usual
        self.since_ns, self.unread = since_ns, unread
        self.above = above(index.folders)
        self.waiting = [""]
        self.entered: set[str] = set()
        self.doubtful: dict[str, Extent] = {}
        self.disguised: list[str] = []
        self.modules: list[str] = []
        self.hollow: dict[str, int] = {}
        self.remains: list[str] = []
        self.gone: list[str] = []
        self.foreign: list[str] = []
        self.special: list[str] = []
        self.modes: dict[str, int] = {}
        self.found: dict[str, int] = {}
        self.problems: list[str] = []

    def enter(self, folder: str) -> None:
        known = self.index.folders.get(folder, {})
        try:
            fd = os.open(f"{self.root}/{folder}", os.O_RDONLY | _FOLDER)
            names = {*os.listdir(fd)}
        except PermissionError as error:
            self.problems.append(f"cannot be read: {folder} ({error.strerror})")
            fd = os.open(f"{self.root}/{folder}", os.O_PATH | _FOLDER)
            inner = (path.rpartition("/") for path in self.above if path)
            names = {*known, *(name for above, _, name in inner if above == folder)}
        except (FileNotFoundError, NotADirectoryError):  # since it was listed
            return
        self.entered.add(folder)
        if ".git" in names:
            names.remove(".git")
            if folder:  # Git enters no `.git`: this is a hiding place.
                self.found.pop(folder, None)
                self.problems.append(HIDING_PLACE + folder)
        prefix = f"{folder}/" if folder else ""
        try:
            self._tracked(prefix, known, names, fd)
            for name in sorted(names.difference(known)):
                self._odd(prefix + name, None)
        finally:
            os.close(fd)

    def _tracked(self, prefix: str, known: dict[str, int], names: set[str], fd: int) -> None:
        # One round for each tracked file: this is most of the time of a look, hence the local names.
        data, usual, me = self.index.data, self.usual, os.geteuid()
        unpack, lstat, low, second = _KNOWN.unpack_from, os.lstat, 0xFFFFFFFF, _SECOND
        recently = self.since_ns // second - 2
        unread = self.unread(prefix[:-1], known) if self.unread is not None else ()
        for name, at in known.items():
            try:
                found = lstat(name, dir_fd=fd) if name in names else None
            except FileNotFoundError:  # since it was listed
                found = None
            except PermissionError:
                self.problems.append(f"cannot be read: {prefix}{name}")
                found = None
            if found is None:
                self.gone.append(prefix + name)
                continue
            mode = found.st_mode
            kind = mode & 0o170000
            if kind == 0o100000:
                if not (mode & 0o400 and found.st_uid == me) and not os.access(name, os.R_OK, dir_fd=fd):
                    self.problems.append(f"cannot be read: {prefix}{name}")
                    self.gone.append(prefix + name)
                    continue
                if mode & 0o7777 not in usual:
                    self.modes[prefix + name] = mode & 0o7777
                kind = mode & 0o170100
            elif kind != 0o120000:
                self._odd(prefix + name, at)
                continue
            elif name.lower() == NO_LINK:
                self.problems.append(REFUSED_LINK + prefix + name)
                self.gone.append(prefix + name)
                continue
            changed_s, changed_ns, written_s, inode, mode, size = unpack(data, at)
            if (
                found.st_ctime_ns != changed_s * second + changed_ns
                or name in unread
                or found[8] != written_s
                or found.st_ino & low != inode
                or found.st_size & low != size
                or kind != mode & 0o170100
                or (written_s >= recently and self._is_recent(found.st_mtime_ns))
            ):
                self.doubtful[prefix + name] = extent(found)
                times = found.st_ctime_ns // second & low, found.st_mtime_ns // second & low
                whole = (*times, found.st_ino & low, found.st_size & low, kind)
                if whole == (changed_s, written_s, inode, size, mode & 0o170100):
                    self.disguised.append(prefix + name)

    def _is_inner(self, path: str, mode: int) -> bool:
        """Whether a repository inside stands there, or an empty folder. What else is left of a repository is
        a folder like any other.
        """
        place = f"{self.root}/{path}"
        if git_dir(place) is not None or blocked(place) is not None:
            self.modules.append(path)
            return True
        try:
            is_empty = not os.listdir(f"{self.root}/{path}")
        except OSError as error:
            self.problems.append(f"cannot be read: {path} ({error.strerror})")
            return True
        if is_empty:
            self.hollow[path] = stat.S_IMODE(mode)
        else:
            self.remains.append(path)
        return is_empty

    def _is_recent(self, written_ns: int) -> bool:
        """Whether a further change may have left the time as it is: clocks of file systems tick."""
        tick = _SECOND // 10 if written_ns % _SECOND else 2 * _SECOND
        return written_ns + tick >= self.since_ns

    def _odd(self, path: str, at: int | None) -> None:
        """What is not tracked, or stands there and is neither a file nor a link."""
        size = 0
        try:
            found = os.lstat(f"{self.root}/{path}")
            mode, size = found.st_mode, found.st_size
        except FileNotFoundError:  # since it was listed
            mode = 0
        except PermissionError:
            self.problems.append(f"cannot be read: {path}")
            mode = 0
        is_folder = stat.S_ISDIR(mode)
        if (
            at is not None
            and is_folder
            and self.index.entry_at(at).is_repository
            and self._is_inner(path, mode)
        ):
            return
        if at is not None:
            self.gone.append(path)
            if mode and not is_folder:
                self.problems.append(SPECIAL + path)
        if is_special(mode):
            refuse_rules(self.root, path)
            if at is None:
                self.special.append(path)
            return
        refuse_rules(self.root, path, size=size)
        shown = f"{path}/" if is_folder else path
        if mode == 0 or shown in self.skipped or (at is not None and not is_folder):
            return
        if is_folder and path in self.above:
            parent = path.rpartition("/")[0]
            if not parent or parent in self.found:  # else it is in a hiding place
                self.found[path] = stat.S_IMODE(mode)
            self.waiting.append(path)
        else:
            self.foreign.append(shown)


def refuse_rules(root: str, path: str, *, size: int | None = None, is_git: bool = False) -> None:
    """Conflict where git opens what has this name, and would wait without end: for a FIFO (`size` None) or a
    file that is too large. `is_git`: it is in a repository inside.
    """
    if not (is_git or path.rpartition("/")[2].lower() in RULES):
        return
    if size is None:
        raise Conflict(f"{root}/{path} is not a regular file, and git would wait for it", hint="remove it")
    if size > _LARGEST_RULES:
        raise Conflict(f"{root}/{path} is too large for git to read: it has {size} bytes", hint="remove it")


def is_refused(path: str) -> bool:
    """Whether git stores nothing under this name: one of its folders, or it itself, is called like `.git`."""
    return ".git" in path.lower().split("/")


def above(folders: Iterable[str]) -> set[str]:
    """These and all folders above them."""
    found = {""}
    for folder in folders:
        while folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _usual(root: str, index: Index) -> tuple[int, int]:
    """The most frequent permission bits of a sample; what has others is listed."""
    often: dict[int, int] = {}
    for folder, names in [*index.folders.items()][:_SAMPLE]:
        for name in [*names][:_SAMPLE]:
            try:
                mode = os.lstat(f"{root}/{_below(folder, name)}").st_mode
            except OSError:  # the walk will say why
                continue
            if stat.S_ISREG(mode):
                often[stat.S_IMODE(mode)] = often.get(stat.S_IMODE(mode), 0) + 1
    plain = [mode for mode in often if not mode & 0o100] or [0o644]
    executable = [mode for mode in often if mode & 0o100] or [0o755]
    return max(plain, key=lambda mode: often.get(mode, 0)), max(
        executable, key=lambda mode: often.get(mode, 0)
    )


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
