"""Whether git tracks what is in a folder, read from git's index without git. Edge: disk, reading.

A look at runs has no time for a process of git, and an answer of git would depend on settings that the
repository itself brings. The format: https://git-scm.com/docs/index-format
"""

from __future__ import annotations

import os

from runner.disk.files import read, read_text
from runner.disk.upwards import git_root

_LARGEST = 1 << 30
_LONGEST_LINE = 64 * 1024
_SMALL = 1 << 20
_known: dict[str, tuple[tuple[int, int, int], bytes]] = {}
"""Path of an index -> when it was written, and what it says."""
_FIXED = 40
"""Bytes of an entry before the name of its object."""


def is_committed(repo: str, folder: str, *, is_named: bool = True) -> bool:
    """Whether an index says something of `folder`, or a folder between `repo` and it is a repository itself:
    of the one that `repo` is in, or is. `is_named` is False where no index names anything in a folder around
    it: whoever asks for many asks that once.
    """
    part = folder
    while part != repo and len(part) > len(repo):
        if os.path.lexists(f"{part}/.git"):
            return True
        part = os.path.dirname(part)
    found = _git_of(repo) if is_named else None
    if found is None:
        return False
    root, git = found
    place = os.path.join(os.path.realpath(os.path.dirname(folder)), os.path.basename(folder))
    inner = os.path.relpath(place, root)
    return any(_names(index, inner) for index in _indexes(git))


def is_tracked(repo: str, file: str) -> bool:
    """Whether the index of the repository that `repo` is in, or is, names this very file, or that of a
    submodule in which it is.
    """
    found = _git_of(repo)
    if found is None:
        return False
    root, git = found
    place = os.path.join(os.path.realpath(os.path.dirname(file)), os.path.basename(file))
    inner, indexes = os.path.relpath(place, root), _indexes(git)
    ends = [at for at, sign in enumerate(inner) if sign == "/"]
    for name in (*(inner[:at] for at in ends), inner):
        if any(_has(index, os.fsencode(name)) for index in indexes):
            clone = f"{root}/{name}"
            return name == inner or (git_root(clone) == clone and is_tracked(clone, place))
    return False


def tracked(repo: str) -> list[str]:
    """The files that the index of the repository names below `repo`, relative to it."""
    found = _git_of(repo)
    if found is None:
        return []
    root, git = found
    at = os.path.relpath(os.path.realpath(repo), root)
    above = b"" if at == "." else os.fsencode(f"{at}/")
    names = {name for index in _indexes(git) for name in _every(index)}
    return sorted(os.fsdecode(name[len(above) :]) for name in names if name.startswith(above))


def _git_of(folder: str) -> tuple[str, str] | None:
    """(the root of the work tree, its git directory) around a folder."""
    root = git_root(os.path.realpath(folder))
    if root is None:
        return None
    git = f"{root}/.git"
    if (line := read_text(git, _LONGEST_LINE)) is not None:  # of a linked work tree, or a submodule
        git = os.path.join(root, line.removeprefix("gitdir:").strip())
    return root, git


def _indexes(git: str) -> list[bytes]:
    """The index, and what a split one shares."""
    try:
        names = [name for name in os.listdir(git) if name == "index" or name.startswith("sharedindex.")]
    except OSError:
        return []
    found = []
    for name in names:
        try:
            found.append(_content(f"{git}/{name}"))
        except OSError:
            continue
    return found


def _content(path: str) -> bytes:
    """Of a small one what was read before: a command may ask for ten thousand runs."""
    at = os.stat(path)
    stamp = (at.st_ino, at.st_mtime_ns, at.st_size)
    if path in _known and _known[path][0] == stamp:
        return _known[path][1]
    data = read(path, _LARGEST, follows_links=True)
    if len(data) <= _SMALL:
        _known[path] = (stamp, data)
    return data


def _names(index: bytes, folder: str) -> bool:
    """Whether an entry lies in `folder`, or is a repository or a link where a folder of its path is."""
    wanted = os.fsencode(folder)
    parts = wanted.split(b"/")
    above = {b"/".join(parts[:count]) for count in range(1, len(parts) + 1)}
    inside = wanted + b"/"
    if index[4:8] != b"\0\0\0\4":
        return inside in index or any(_is_entry(index, name) for name in above)
    return any(name in above or name.startswith(inside) for name in _compressed(index, inside + b"\xff"))


def _has(index: bytes, name: bytes) -> bool:
    """Whether an entry is of this very name."""
    return _is_entry(index, name) if index[4:8] != b"\0\0\0\4" else name in _compressed(index, name)


def _is_entry(index: bytes, name: bytes) -> bool:
    """Before a name stand its flags (twice from version 3 on, where it has more), which have its length."""
    at = index.find(name + b"\0")
    while at >= 0:
        if any(int.from_bytes(index[at - n : at - n + 2], "big") & 0xFFF == len(name) for n in (2, 4)):
            return True
        at = index.find(name + b"\0", at + 1)
    return False


def _every(index: bytes) -> list[bytes]:
    if index[4:8] == b"\0\0\0\4":
        return _compressed(index, b"\xff" * 4)
    for size in (20, 32):
        names, at = list[bytes](), 12
        for _ in range(int.from_bytes(index[8:12], "big")):
            flags = int.from_bytes(index[at + _FIXED + size : at + _FIXED + size + 2], "big")
            begin = at + _FIXED + size + (4 if flags & 0x4000 else 2)
            end = index.find(b"\0", begin)
            if end < begin or flags & 0xFFF != min(end - begin, 0xFFF):
                break
            names.append(index[begin:end])
            at += (end - at) // 8 * 8 + 8  # each is filled up to eight bytes
        else:
            return names
    return []


def _compressed(index: bytes, last: bytes) -> list[bytes]:
    """The names of version 4 up to `last`: each says how much of the one before it does not go on."""
    for size in (20, 32):
        names = _compressed_with(index, last, size)
        if names is not None:
            return names
    return []


def _compressed_with(index: bytes, last: bytes, hash_bytes: int) -> list[bytes] | None:
    """None where the names of objects are not of this length: the entries do not fit then."""
    count, at, name = int.from_bytes(index[8:12], "big"), 12, b""
    names: list[bytes] = []
    for _ in range(count):
        at += _FIXED + hash_bytes
        flags = int.from_bytes(index[at : at + 2], "big")
        dropped, at = _varint(index, at + (4 if flags & 0x4000 else 2))
        end = index.find(b"\0", at)
        if end < 0 or dropped > len(name):
            return None
        before, name = name, name[: len(name) - dropped] + index[at:end]
        if flags & 0xFFF != min(len(name), 0xFFF) or name < before:
            return None
        if name > last:
            break
        names.append(name)
        at = end + 1
    return names


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(a number, where it ends), as git's `decode_varint` reads an offset."""
    value = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            break
        value += 1
    return value, at
