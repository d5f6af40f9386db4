"""Ignored files that are executed, or read as settings: which of them changed since a moment. Edge: disk.

git does not tell of ignored files, and they are too many to be recorded before each run: a `node_modules`
has a hundred thousand. So nothing is recorded. A file whose inode was changed since is told: only the clock
of the machine could hide that (inode(7), ctime). What was only deleted below a folder is not seen.

What somebody named with globs of his own is an exception: its names are recorded, and it is looked for in
repositories inside, new folders and caches, too.
"""

from __future__ import annotations

import os
import stat

from runner.disk.files import no_follow
from runner.errors import Conflict
from runner.text.globs import covers, reaches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_SETTINGS = (
    *(".env", ".env.*", ".envrc", "*.local", "*.local.*", "local.*", ".*rc", ".*rc.*", "*.pth"),
    *(".netrc", "pip.conf", "pyvenv.cfg", "sitecustomize.py", "usercustomize.py", "conftest.py"),
    *(".tool-versions", ".*-version", "*.toml", "*.ini", "*.cfg", "*.conf", "*.mk", "Makefile*"),
)
"""Names that programs read by themselves."""
_OF_PYTHON = frozenset((".venv", "venv", "env", ".env", ".tox", ".nox"))
_ENVIRONMENTS = frozenset(
    (
        *(*_OF_PYTHON, "site-packages", "node_modules", "vendor", "bin"),
        *(".bundle", ".cargo", ".direnv", ".husky", ".vscode", ".idea", ".devcontainer", ".yarn", "scripts"),
        *(".claude", ".codex", ".gemini", ".agents", ".github", "hooks"),
    )
)
"""Folders in which everything is executed, imported or read; the first are made with a rule of their own."""
_CACHES = frozenset(
    (
        *("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".cache", ".vite", ".hypothesis"),
        *(".turbo", ".parcel-cache", ".git"),
    )
)
"""Folders that tools fill again and again."""
_MOST = 200_000
"""Names that are looked at."""
_IMPORTED = r"__init__\.|package\.json$|index\.\w*js$|mod\.rs$|\.git$"
"""What makes a folder a package, a module or a repository."""
_COLLECTED = (
    r"(?:^|/)(?:(?:conftest|test_[^/]*|[^/]*_test)\.py|[^/]*[._](?:test|spec)\.(?:[cm]?[jt]sx?|rb)"
    r"|__(?:mocks|tests)__/.*)$"
)
"""What testers look for in every folder, and execute among the tests of others."""
_LARGEST_RULE = 4096
"""A tool writes a line and a comment."""
_MOST_OWN = 1_000_000
_MOST_NAMES = 20_000


def standing(root: str, folders: Collection[str], own: Collection[str]) -> tuple[str, ...]:
    """The names in these folders that globs of `own` cover; none where they are too many to be recorded."""
    names: list[str] = []
    for path, _ in _own(root, folders, own):
        names.append(path)
        if len(names) > _MOST_NAMES:
            return ()
    return tuple(names)


def own_changed_since(
    root: str, since_ns: int, folders: Collection[str], own: Collection[str], known: Collection[str]
) -> list[str]:
    """What `own` covers in these folders and is other than before; `known` are names that were there then.
    Conflict where too many names are in its reach: an agent could hide among them.
    """
    found = [path for path in known if not _is_file(f"{root}/{path}")]
    for looked_at, (path, status) in enumerate(_own(root, folders, own)):
        if looked_at > _MOST_OWN:
            raise Conflict(f"`protect` reaches more than {_MOST_OWN:,} files that git does not record")
        if status.st_ctime_ns >= since_ns:
            found.append(path)
    return sorted(found)


def filled_since(path: str, since_ns: int) -> bool | None:
    """Whether something is in the folder, or may be; None where none stands that was changed since."""
    try:
        found = os.lstat(path)
        is_meant = stat.S_ISDIR(found.st_mode) and found.st_ctime_ns >= since_ns
        return bool(os.listdir(path)) if is_meant else None
    except PermissionError:
        return True
    except (OSError, ValueError):
        return None


def _own(root: str, folders: Collection[str], own: Collection[str]) -> Iterator[tuple[str, os.stat_result]]:
    """In caches only what names them: a run of the tests fills `tests/__pycache__`, and that is no change of
    `tests`.
    """
    passed = _CACHES.difference(*(glob.split("/") for glob in own))

    def enters(folder: str) -> bool:
        return not passed.intersection(folder.split("/")) and reaches(own, folder)

    for folder in filter(enters, folders):
        for path, status in _walk(root, folder, enters):
            if covers(own, path):
                yield path, status


def changed_since(
    root: str,
    since_ns: int,
    folders: Collection[str],
    files: Collection[str],
    known: Collection[str],
    own: Collection[str] = (),
) -> list[str]:
    """The ignored `folders` and single `files` (relative paths) are those of now and of before, `known` those
    of before. A folder of an environment that is new is one name with a slash at its end. `own` are globs of
    single files that count whatever their names are; these come first. So is a new folder with files that
    testers collect, and one that ignores itself and is no cache by its name: no diff tells of it, and nothing
    else says that code in it is none.
    """

    def is_read(path: str) -> bool:
        return _is_read(path) or covers(own, path)

    found = [path for path in files if is_read(path) and _is_other(root, path, since_ns, path in known)]
    left = _MOST
    for folder in sorted(folders):
        if _CACHES.intersection(folder.split("/")):
            continue
        if folder not in known:
            is_own = ignores_itself(root, f"{folder}/")
            is_named = bool(_ENVIRONMENTS.intersection(folder.split("/")))
            is_environment = is_named and os.path.isdir(f"{root}/{folder}")
            if is_own or is_environment or _is_collected(root, folder):
                found.append(f"{folder}/")
            continue
        for path, status in _walk(root, folder, lambda inner: os.path.basename(inner) not in _CACHES):
            left -= 1
            if left < 0:
                return [*found, f"{folder}/: there are too many files to look at all of them"]
            if status.st_ctime_ns >= since_ns and (status.st_mode & 0o111 or is_read(path)):
                found.append(path)
    return sorted(found, key=lambda path: (not covers(own, path), path))


def ignores_itself(root: str, name: str) -> bool:
    """Whether it is a folder (with a slash at its end) whose own rule is to ignore all that is in it, as
    tools make for a cache. One that can be imported by its name, in the place of a module beside it, is none,
    nor is one with files that testers collect.
    """
    path = f"{root}/{name}.gitignore"
    try:
        if not name.endswith("/") or any(map(_is_imported, os.listdir(f"{root}/{name}"))):
            return False
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_RULE:
            return False
        with open(path, "rb", opener=no_follow) as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    rules = {line for line in lines if line and not line.startswith(b"#")}
    return rules == {b"*"} and not _is_collected(root, name.rstrip("/"))


def _is_collected(root: str, folder: str) -> bool:
    """Whether it has such a file, or a link to a folder, which they follow. Testers pass hidden folders over,
    and environments of Python, as `activate` shows them.
    (https://docs.pytest.org/en/stable/reference/reference.html#confval-norecursedirs)
    """
    is_environment = all(
        os.path.lexists(f"{root}/{folder}/{name}") for name in ("pyvenv.cfg", "bin/activate")
    )
    if is_environment or any(part.startswith(".") for part in folder.split("/")):
        return False
    found = _walk(root, folder, lambda inner: os.path.basename(inner) not in _CACHES)
    return any(
        n > _MOST
        or _is_for_testers(path)
        or (stat.S_ISLNK(status.st_mode) and os.path.isdir(f"{root}/{path}"))
        for n, (path, status) in enumerate(found)
    )


def is_own_cache(root: str, name: str) -> bool:
    """Whether it ignores itself, and may: nothing in it is executed, imported or read by itself, unless it is
    an environment of Python.
    """
    parts = {*name.split("/")}
    return ignores_itself(root, name) and not parts & (_ENVIRONMENTS - _OF_PYTHON | {"__pycache__"})


def _is_imported(name: str) -> bool:
    import re  # the start of a run looks at no new folder

    return re.match(_IMPORTED, name) is not None


def _is_for_testers(path: str) -> bool:
    import re

    return re.search(_COLLECTED, path) is not None


def _is_read(path: str) -> bool:
    from fnmatch import fnmatchcase

    *above, name = path.split("/")
    is_named = any(fnmatchcase(name, glob) for glob in _SETTINGS) or _is_for_testers(path)
    return bool(_ENVIRONMENTS.intersection(above)) or is_named


def _is_other(root: str, path: str, since_ns: int, was_there: bool) -> bool:
    try:
        found = os.lstat(f"{root}/{path}")
    except OSError:
        return was_there
    return was_there if stat.S_ISDIR(found.st_mode) else found.st_ctime_ns >= since_ns


def _is_file(path: str) -> bool:
    """Or a link; no folder, which could stand in its place."""
    return os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path))


def _walk(root: str, top: str, enters: Callable[[str], bool]) -> Iterator[tuple[str, os.stat_result]]:
    """Every file and link below, in folders that it `enters`; never in what git has for itself."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(f"{root}/{folder}") as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        yield f"{folder}/{entry.name}", entry.stat(follow_symlinks=False)
                    elif entry.name != ".git" and enters(f"{folder}/{entry.name}"):
                        waiting.append(f"{folder}/{entry.name}")
        except OSError:  # gone since, or not for us to look into
            continue
