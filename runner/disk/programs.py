"""Which file a name means as a program: one rule for git, checks, and agents. Edge: looks at the disk.

An entry of PATH that is empty, relative or `.` means the folder one happens to be in, which may be one that
an agent writes. Such entries are passed over, and no child of ours gets them.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runner.model import Notify

_OF_RUNS = (".runs", "delegate.toml")
"""What a work tree has at its top if runs are started in it."""
_LONGEST_LINE = 256
"""Of the first line of a script: so much of it the kernel reads (BINPRM_BUF_SIZE, execve(2))."""


def on_path(name: str, env: Mapping[str, str]) -> str | None:
    """The first executable file of that name; an absolute path. None where there is none."""
    if "/" in name or not name:
        return None
    return next((path for folder in _folders(env) if is_executable(path := f"{folder}/{name}")), None)


def placed(notify: Notify, env: Mapping[str, str]) -> Notify:
    """The same commands, each with the file that its name means now, so that nothing takes its place later.
    Folders in work trees come last.
    """
    named = {name: argv for name in ("on_end", "on_attention", "on_turn") if (argv := getattr(notify, name))}
    path = {"PATH": work_trees_last(env)} if named else {}
    return notify.replace(**{n: (on_path(argv[0], path) or argv[0], *argv[1:]) for n, argv in named.items()})


def absent(argv: Sequence[str], env: Mapping[str, str], root: str) -> str | None:
    """The program of a command, behind `env` too, if there is none of that name; None where there is one, and
    for a path in `root`, where a run may make it.
    """
    name = argv[0]
    if name.rpartition("/")[2] == "env" and len(argv) > 1 and argv[1][:1] != "-":
        name = next((word for word in argv[1:] if "=" not in word), name)
    if "/" not in name:
        return None if on_path(name, env) else name
    path = os.path.normpath(os.path.join(root, name))
    is_inside = path.startswith(f"{root.rstrip('/')}/")
    return None if is_inside or is_executable(path) else name


def other_names(program: str, folder: str) -> Iterator[str]:
    """Names in the folder of the very file that the program is (hard links), where it is ours to write: who
    writes there rewrites the program. Not in what git and runner have for themselves.
    """
    try:
        found = os.stat(program)
        if found.st_nlink < 2 or os.stat(folder).st_dev != found.st_dev or not os.access(program, os.W_OK):
            return
    except OSError:
        return
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in (".git", ".runs"):
                            waiting.append(entry.path)
                    elif entry.inode() == found.st_ino and _is_at(entry.path, found):
                        yield entry.path
        except OSError:  # gone since, or not for us to look into
            continue


def same_files(program: str, folder: str, names: Iterable[str]) -> list[str]:
    """Which of these names in the folder are the very file that the program is (hard links)."""
    try:
        found = os.stat(program)
        if found.st_nlink < 2:
            return []
        return [name for name in names if _is_at(f"{folder}/{name}", found)]
    except OSError:
        return []


def _is_at(path: str, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(path), found)
    except OSError:
        return False


def stamp(program: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """What runs when this file is executed: it, and the interpreter of a script, each with its identity."""
    found, words = [program], shebang(program)
    found += words[:1]
    named = next((word for word in words[1:] if word[0] != "-" and "=" not in word), None)
    if words and os.path.basename(words[0]) == "env" and named is not None:
        found.append(on_path(named, env) or named)
    return tuple(f"{path} {identity(path)}" for path in found)


def shebang(program: str) -> list[str]:
    """The words of the first line of a script: its interpreter and what that is given. None of them: it is no
    script.
    """
    try:
        with open(program, "rb") as file:
            line = file.readline(_LONGEST_LINE).partition(b"\0")[0]  # where a path ends for execve(2)
    except OSError:
        return []
    return os.fsdecode(line[2:]).split() if line.startswith(b"#!") else []


def identity(path: str) -> str:
    """Changes with the file, whoever writes it: npm gives all files one fixed mtime, and no ctime (inode(7)).
    Of what is not there, why not.
    """
    try:
        return "-".join(map(str, identity_of(os.stat(path))))
    except OSError as error:
        return str(error.strerror)


def identity_of(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def search_path(env: Mapping[str, str], more: Iterable[str] = ()) -> str:
    """PATH with its absolute entries alone, and with `more` of them at its end."""
    return os.pathsep.join((*_folders(env), *more))


def work_trees_last(env: Mapping[str, str], here: str | None = None) -> str:
    """`search_path`, where folders in work trees of git come last: for what looks at the work of an agent. It
    may have put a program there (`.venv/bin`) that has the name of another. `here` as below.
    """
    return os.pathsep.join(sorted(_folders(env), key=lambda folder: _is_in_work_tree(folder, here)))


def outside_work_trees(name: str, env: Mapping[str, str], here: str | None = None) -> str | None:
    """As `on_path`, or an absolute path, where no work tree of git holds the file: what a user has others
    show what an agent did with. None where there is none. With `here` only work trees of runs count, and the
    one of that folder: nvm and Homebrew keep their programs in clones.
    """
    paths = (
        (name,) if os.path.isabs(name) else () if "/" in name else (f"{at}/{name}" for at in _folders(env))
    )
    found = (path for path in paths if is_executable(path))
    return next(
        (path for path in found if not any(_is_in_work_tree(at, here) for at in _folders_of(path))), None
    )


def _folders_of(path: str) -> tuple[str, str]:
    """Where it is called, and where what it leads to is."""
    return os.path.dirname(path), os.path.dirname(os.path.realpath(path))


def with_search_path(env: Mapping[str, str]) -> dict[str, str]:
    """The same variables for a child, which always get a PATH: without one, shells have a default of their
    own, in which `.` may be (bash, config-top.h: DEFAULT_PATH_VALUE).
    """
    return {**env, "PATH": search_path(env)}


def is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _is_in_work_tree(folder: str, here: str | None = None) -> bool:
    trees = _work_trees(folder)
    if here is None:
        return bool(trees)
    has_runs = any(os.path.lexists(f"{tree}/{name}") for tree in trees for name in _OF_RUNS)
    return has_runs or not trees.isdisjoint(_work_trees(here))


def _work_trees(folder: str) -> set[str]:
    """Those of git around it."""
    found, folder = set(), os.path.realpath(folder)
    while folder != "/":
        if os.path.isfile(f"{folder}/.git") or os.path.isfile(f"{folder}/.git/HEAD"):
            found.add(folder)
        folder = os.path.dirname(folder)
    return found


def _folders(env: Mapping[str, str]) -> list[str]:
    """Where PATH has no entry that can be used, those that everybody has: to a libc an empty PATH means the
    present folder (exec(3)).
    """
    found = [entry for entry in env.get("PATH", "").split(os.pathsep) if os.path.isabs(entry)]
    return found or os.defpath.split(os.pathsep)
