"""What git does not record of named files and folders: permissions, what cannot be read. Edge: disk.

It follows no links, enters no nested repositories, and does not walk folders that are ignored as a whole.
"""

from __future__ import annotations

import os
import stat

from runner.errors import Conflict
from runner.value import Value
from runner.workspace.files import extent, is_special, too_large
from runner.workspace.inner import blocked
from runner.workspace.tracked import (
    HIDING_PLACE,
    NO_LINK,
    REFUSED_LINK,
    RULES,
    SPECIAL,
    TOO_LARGE,
    above,
    refuse_rules,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from runner.workspace.files import Extent


class Survey(Value):
    """Paths are relative. `modes` are the permission bits of plain files, `links` the symbolic links, `inner`
    the folders among the names (repositories, or what took a file's place); `absent` are the names that
    nothing stands at, or nothing that is recorded. `extents` are those of all files that can be read.
    """

    modes: dict[str, int]
    extents: dict[str, Extent]
    links: frozenset[str]
    inner: frozenset[str]
    absent: frozenset[str]
    problems: tuple[str, ...]


def survey(root: str, names: Iterable[str]) -> Survey:
    """Looks at each name once. A name whose parent is a link or a file is absent: git holds it so."""
    real: dict[str, bool] = {"": True}
    modes: dict[str, int] = {}
    extents: dict[str, Extent] = {}
    links, inner, absent, problems = set(), set(), set(), []
    for name in names:
        if not _is_folder(root, os.path.dirname(name), real):
            absent.add(name)
            continue
        try:
            found = os.lstat(f"{root}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            absent.add(name)
            continue
        except PermissionError:
            absent.add(name)
            problems.append(f"cannot be read: {name}")
            continue
        if stat.S_ISLNK(found.st_mode) and os.path.basename(name).lower() == NO_LINK:
            absent.add(name)
            problems.append(REFUSED_LINK + name)
        elif stat.S_ISLNK(found.st_mode):
            links.add(name)
        elif stat.S_ISDIR(found.st_mode):
            inner.add(name)
        elif not stat.S_ISREG(found.st_mode):
            absent.add(name)
            problems.append(SPECIAL + name)
        elif _is_readable(f"{root}/{name}", found):
            modes[name] = stat.S_IMODE(found.st_mode)
            extents[name] = extent(found)
        else:
            absent.add(name)
            problems.append(f"cannot be read: {name}")
    large = too_large(extents)
    problems += [TOO_LARGE + name for name in sorted(large)]
    for name in large:
        del modes[name]
    return Survey(
        modes, extents, frozenset(links), frozenset(inner), frozenset(absent | large), tuple(problems)
    )


class Folders(Value):
    """Folders with their permission bits, what in them is neither a file, nor a link, nor a folder, and what
    could not be looked into. Paths are relative.
    """

    modes: dict[str, int]
    special: list[str]
    problems: list[str]


def folders(root: str, tops: Iterable[str], skipped: Collection[str]) -> Folders:
    """`tops` and every folder below them. `skipped` are folders that count as not there, with all that is in
    them.
    """
    found: dict[str, int] = {}
    special: list[str] = []
    problems: list[str] = []
    waiting = [*tops]
    while waiting:
        folder = waiting.pop()
        if folder in skipped:
            continue
        try:
            found[folder] = stat.S_IMODE(os.lstat(f"{root}/{folder}").st_mode)
            entries = [*os.scandir(f"{root}/{folder}")]
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                found.pop(folder, None)
            else:
                problems.append(f"cannot be read: {folder} ({error.strerror})")
            continue
        if any(entry.name == ".git" for entry in entries):
            # Git enters no `.git`; where it takes the folder for no repository, this is a hiding place.
            found.pop(folder)
            problems.append(HIDING_PLACE + folder)
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{folder}/{entry.name}")
            elif not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                refuse_rules(root, f"{folder}/{entry.name}")
                special.append(f"{folder}/{entry.name}")
    return Folders(found, special, problems)


def refuse_blocking_rules(root: str, names: Iterable[str]) -> None:
    """Conflict where git would wait for a FIFO, or read without end, when it looks for the rules of these
    files.
    """
    for folder in above({os.path.dirname(name) for name in names}):
        for name in RULES:
            path = f"{folder}/{name}" if folder else name
            try:
                found = os.lstat(f"{root}/{path}")
            except OSError:  # none, or nothing that git can read either
                continue
            if stat.S_ISREG(found.st_mode) or is_special(found.st_mode):
                refuse_rules(root, path, size=None if is_special(found.st_mode) else found.st_size)


def refuse_blocking(root: str, tops: Iterable[str], skipped: Collection[str] = ()) -> None:
    """Conflict where git would wait for a FIFO without end when it enters these folders: one that stands for
    a file of its own, of rules or of a repository.
    """
    waiting = [*tops]
    while waiting:
        folder = waiting.pop()
        if f"{folder}/" in skipped:
            continue
        try:
            entries = [*os.scandir(f"{root}/{folder}")]
        except OSError:  # said where it is looked into
            continue
        is_git = ".git" in folder.split("/")
        if not is_git and (odd := blocked(f"{root}/{folder}")) is not None:
            raise Conflict(f"{odd} is not a regular file, and git would wait for it", hint="remove it")
        for entry in entries:
            path = f"{folder}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting += [] if is_git and entry.name in ("objects", "hooks", "lfs") else [path]
            elif not (entry.is_file() or (entry.is_symlink() and not (is_git and _leads_to_special(entry)))):
                refuse_rules(root, path, is_git=is_git)
            elif entry.name == ".gitignore":
                refuse_rules(root, path, size=entry.stat(follow_symlinks=False).st_size)


def _leads_to_special(link: os.DirEntry[str]) -> bool:
    """Also a file of a repository can be a link, and git follows it."""
    try:
        return is_special(link.stat().st_mode)
    except OSError:
        return False


def _is_folder(root: str, path: str, real: dict[str, bool]) -> bool:
    if path not in real:
        real[path] = _is_folder(root, os.path.dirname(path), real)
        if real[path]:
            try:
                real[path] = stat.S_ISDIR(os.lstat(f"{root}/{path}").st_mode)
            except (FileNotFoundError, NotADirectoryError):
                real[path] = False
            except PermissionError:  # it is said of what is in it
                pass
    return real[path]


def _is_readable(path: str, found: os.stat_result) -> bool:
    mine = found.st_uid == os.geteuid() and found.st_mode & 0o400
    return bool(mine) or os.access(path, os.R_OK)
