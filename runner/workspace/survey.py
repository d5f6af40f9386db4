"""What git does not record of named files and folders: permissions, what cannot be read. Edge: disk.

It follows no links, enters no nested repositories, and does not walk folders that are ignored as a whole.
"""

from __future__ import annotations

import os
import stat

from runner.value import Value
from runner.workspace.tracked import HIDING_PLACE, NO_LINK, REFUSED_LINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class Survey(Value):
    """Paths are relative. `modes` are the permission bits of plain files, `links` the symbolic links,
    `inner` the folders among the names (repositories, or what took a file's place); `absent` are the names
    that nothing stands at.
    """

    modes: dict[str, int]
    links: frozenset[str]
    inner: frozenset[str]
    absent: frozenset[str]
    problems: tuple[str, ...]


def survey(root: str, names: Iterable[str]) -> Survey:
    """Looks at each name once. A name whose parent is a link or a file is absent: git holds it so."""
    real: dict[str, bool] = {"": True}
    modes: dict[str, int] = {}
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
            problems.append(f"neither a file nor a link, so git cannot store it: {name}")
        elif _is_readable(f"{root}/{name}", found):
            modes[name] = stat.S_IMODE(found.st_mode)
        else:
            absent.add(name)
            problems.append(f"cannot be read: {name}")
    return Survey(modes, frozenset(links), frozenset(inner), frozenset(absent), tuple(problems))


def folders(root: str, tops: Iterable[str], skipped: Collection[str]) -> tuple[dict[str, int], list[str]]:
    """`tops` and every folder below them with its permission bits, and what could not be looked into.
    `skipped` are folders that count as not there, with all that is in them.
    """
    found: dict[str, int] = {}
    problems = []
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
        waiting += [f"{folder}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)]
    return found, problems


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
