"""Commits named files of a work tree and moves a branch to the commit. Edge: git and disk.

The content goes through a private index, with the conversions of `git add`. Only `advance` writes what the
user sees: one ref, and the named entries of the user's index.
"""

from __future__ import annotations

import hashlib
import os
import stat

from runner.disk.scratch import scratch
from runner.errors import Conflict
from runner.workspace.files import REPOSITORY, copy_with_time, entry_at
from runner.workspace.git import GitFailed, joined, split
from runner.workspace.repository import find, watch
from runner.workspace.survey import refuse_blocking_rules, survey
from runner.workspace.tracked import above

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from runner.workspace.git import Git
    from runner.workspace.repository import Repository

# A private index leaves nothing beside the user's, and is a whole one.
_WHOLE = {"core.splitIndex": "false", "index.sparse": "false"}
_OWN_NAME = {"user.useConfigOnly": "true"}
_NOBODY = {"NAME": "runner", "EMAIL": "runner@localhost"}
_MODULE = b"%o" % REPOSITORY
_NOT_ALL = "not all of these files can be committed"


class NotHeld(Conflict):
    """`names` are what git cannot hold as files, such as repositories inside and folders, or what the user
    keeps out of commits.
    """

    def __init__(self, problems: Sequence[str], names: Collection[str]) -> None:
        super().__init__(_NOT_ALL, problems=problems)
        self.names = frozenset(names)


def make(root: str, parent: str, paths: Sequence[str], message: str, at: str) -> str:
    """A commit on top of `parent`: its tree, and in it each of `paths` (relative to the repository's root) as
    it stands in the work tree now; what stands no more is in it no more. Its id; `parent` if nothing differs.

    No ref names it. Both of its dates are `at` (RFC 3339, UTC), so equal input gives an equal id. Conflict if
    a path is a folder, a submodule, in a repository inside, outside the root, or cannot be read (`problems`
    names each), or if `parent` is no commit; GitFailed if git refuses.
    """
    repository = _repository(root)
    base, names = _commit(repository, parent), _inside(paths)
    with scratch(os.environ) as folder:
        git = repository.git.but(GIT_INDEX_FILE=f"{folder}/index").but_with(_WHOLE)
        git.run("read-tree", base)
        asked = _overlay(git, repository, names)
        tree = git.run("write-tree", "--missing-ok").decode().strip()  # of a partial clone not all is there
    _refuse_another(repository, base, tree, names, asked)
    if tree == repository.git.line("rev-parse", "--verify", "-q", f"{base}^{{tree}}"):
        return base
    git = repository.git.but_with({**_OWN_NAME, "i18n.commitEncoding": "UTF-8"})
    git = git.but(**_who(git), GIT_AUTHOR_DATE=at, GIT_COMMITTER_DATE=at)
    text = os.fsencode(message if message.endswith("\n") else f"{message}\n")
    return git.run("commit-tree", tree, "-p", base, stdin=text).decode().strip()


def advance(root: str, branch: str | None, commit: str, expected: str | None, paths: Sequence[str]) -> None:
    """Moves a branch (None: what is checked out, and if that is no branch, HEAD) from `expected` to `commit`;
    `expected` None: it must not exist yet. If it is the one that is checked out at `root`, the index holds
    `paths` as `commit` does then, and everything else as before. The work tree is not touched.

    Where the branch is at `commit` already, only the index is seen to: that finishes a call that was killed.
    Conflict, with nothing changed, where it stands anywhere else, another work tree has it checked out, or
    git is at work here.
    """
    repository = _repository(root)
    goal, names = _commit(repository, commit), _inside(paths)
    ref, now = _tip(repository, branch)
    if names and _is_here(repository, ref) and os.path.lexists(f"{repository.index}.lock"):
        raise Conflict(
            "git is at work: it holds index.lock", hint="wait for it, or remove a stale index.lock"
        )
    if now != goal:
        if now != expected:
            raise _moved(ref, now, expected)
        if ref is not None and (other := _elsewhere(repository, ref)) is not None:
            raise Conflict(
                f"{ref} is checked out in another work tree: {other}",
                hint="check out another branch there; `git worktree prune` forgets work trees that are gone",
            )
        _move(repository, branch, ref, goal, expected)
    if names and _is_here(repository, ref):
        _stage(repository, goal, {*names})


def differing(root: str, commit: str, paths: Sequence[str] | None) -> tuple[str, ...]:
    """Which of `paths` stand in the work tree with another content, existence, kind or executable bit than
    in `commit`; None: of all that `commit` or the index has. Content is what `git add` would make of it. What
    a sparse checkout leaves out does not differ.
    """
    repository = _repository(root)
    base, names = _commit(repository, commit), None if paths is None else _inside(paths)
    with scratch(os.environ) as folder:
        index = f"{folder}/index"
        if os.path.exists(repository.index):  # it knows of most files that they did not change
            copy_with_time(repository.index, index)
        git = repository.git.but(GIT_INDEX_FILE=index).but_with(_WHOLE)
        asked = set(split(git.run("ls-files", "-z")) if names is None else names)
        held = {*split(git.run("ls-tree", "-r", "-z", "--name-only", "--full-tree", base))}
        refuse_blocking_rules(repository.root, held | asked)
        git.run("read-tree", "--reset", base)
        watch(git, repository.unwatched(git))
        git.ask("update-index", "-q", "--really-refresh")  # its status says that something differs
        listed = split(git.run("diff-files", "-z", "--name-only", "--ignore-submodules=dirty"))
    found = {name for name in listed if names is None or name in asked}
    ways: dict[str, str] = {}
    return tuple(
        sorted(
            found | {name for name in asked - held if _stands(repository.root, name, ways)}, key=os.fsencode
        )
    )


def tip(root: str, branch: str | None) -> tuple[str | None, str | None]:
    """The full name of the branch of that short name (None: of the one that is checked out, None if none is),
    and the commit it stands at, None if there is none yet.
    """
    return _tip(_repository(root), branch)


def has_name(root: str) -> bool:
    """Whether git knows whose name commits would carry."""
    return not _who(_repository(root).git.but_with(_OWN_NAME))


def _repository(root: str) -> Repository:
    repository = find(root)
    if repository is None:
        raise Conflict(f"{root} is in no git repository with a work tree")
    return repository


def _commit(repository: Repository, name: str) -> str:
    commit = repository.commit_of(name)
    if commit is None:
        raise Conflict(f"{name} is no commit of {repository.root}", hint="perhaps `git gc` removed it")
    return commit


def _inside(paths: Sequence[str]) -> list[str]:
    """Each once. Conflict if one is not the plain relative path of a file outside every `.git`."""
    wrong = [path for path in paths if "\0" in path or any(map(_is_no_name, path.split("/")))]
    if wrong:
        raise Conflict("these are not paths of files in the repository", problems=wrong)
    return [*dict.fromkeys(paths)]


def _is_no_name(part: str) -> bool:
    return part in ("", ".", "..") or part.lower() == ".git"


# -- a commit --------------------------------------------------------------------------------------


def _overlay(git: Git, repository: Repository, names: list[str]) -> list[str]:
    """Puts the files as they are now into the index of `git`, and takes out what is gone. Those put in."""
    modes = {name: head.split(b" ")[0] for name, head in _entries(git)}
    modules = {name for name, mode in modes.items() if mode == _MODULE}
    try:
        seen = survey(repository.root, names)
    except OSError as error:
        raise Conflict(f"cannot be looked at: {error.filename} ({error.strerror})") from error
    refuse_blocking_rules(repository.root, names)
    ways: dict[str, str] = {}
    refused = {
        name: f"git is told not to look at it (skip-worktree or assume-unchanged): {name}"
        for name in repository.unwatched(repository.git, absent=True).intersection(names)
    }
    for name in names:
        way = _way(repository.root, os.path.dirname(name), ways, modules)
        is_repository = name in seen.inner and os.path.lexists(f"{repository.root}/{name}/.git")
        if way == "repository" or name in modules or is_repository:
            refused[name] = f"a submodule, another repository, or in one: {name}"
        elif name in seen.inner and name not in modes:  # else it has taken the place of a file, which is gone
            refused[name] = f"a folder: {name}"
    if refused or seen.problems:
        raise NotHeld([*seen.problems, *refused.values()], refused)
    nothing = b"0" * _width(repository)
    gone = [name for name in names if name in modes and (name in seen.absent or name in seen.inner)]
    if gone:
        lines = [b"0 %s\t%s\0" % (nothing, os.fsencode(name)) for name in gone]
        git.run("update-index", "-z", "--index-info", stdin=b"".join(lines))
    there = [*seen.modes, *seen.links]
    if there:
        git.run("update-index", "--add", "--remove", "--replace", "-z", "--stdin", stdin=joined(there))
        # What git does not take for a name it only warns of.
        if left := {*there} - {*split(git.run("ls-files", "-z"))}:
            raise Conflict("git does not accept these files, or they are gone", problems=sorted(left))
    return there


def _refuse_another(
    repository: Repository, base: str, tree: str, names: Collection[str], there: Collection[str]
) -> None:
    """Conflict unless `tree` is `base` with each of `names` as it stands: nothing between the look at the
    files and the tree, such as an index that others could write, is believed.
    """
    git = repository.git
    told = git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", base, tree).split(b"\0")
    named, put, replaced = {*names}, {*there}, above(os.path.dirname(name) for name in there)
    other = [
        path
        for head, path in zip(told[:-1:2], map(os.fsdecode, told[1::2]), strict=True)
        if path not in named
        # What gave way: a file to a folder, or what was in a folder to a file.
        and not (head.split(b" ")[1] == b"000000" and (path in replaced or not put.isdisjoint(above([path]))))
    ]
    held: dict[str, tuple[bytes, bytes]] = {}
    for line in git.run("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")[:-1]:
        head, _, name = line.partition(b"\t")
        if (path := os.fsdecode(name)) in named:
            held[path] = (head[:6], head.split(b" ")[2])
    other += held.keys() ^ put
    doubtful = [name for name in there if name in held and not _stands_so(repository, name, held[name])]
    lines = b"".join(
        b'"%s"\n' % b"".join(b"\\%03o" % char for char in os.fsencode(name)) for name in doubtful
    )
    converted = git.run("hash-object", "--stdin-paths", stdin=lines).split() if doubtful else []
    other += [name for name, oid in zip(doubtful, converted, strict=True) if held[name][1] != oid]
    if other:
        raise Conflict("files changed while they were committed", hint="try again", problems=sorted(other))


def _stands_so(repository: Repository, name: str, held: tuple[bytes, bytes]) -> bool:
    """Whether these very bytes stand there, as what they were stored as: a file or a link."""
    here = entry_at(f"{repository.root}/{name}", None, repository.hash_name)
    if here is None or (held[0] == b"120000") != (here.kind == stat.S_IFLNK):
        raise Conflict("files changed while they were committed", hint="try again", problems=[name])
    return here.oid.encode() == held[1]


def _who(git: Git) -> dict[str, str]:
    """A neutral name where git has none."""
    unknown = [role for role in ("AUTHOR", "COMMITTER") if git.line("var", f"GIT_{role}_IDENT") is None]
    return {f"GIT_{role}_{word}": text for role in unknown for word, text in _NOBODY.items()}


# -- a branch --------------------------------------------------------------------------------------


def _tip(repository: Repository, branch: str | None) -> tuple[str | None, str | None]:
    if branch is None:
        return _head(repository), repository.commit_of("HEAD")
    ref = f"refs/heads/{branch}"
    listed = repository.git.run("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/")
    ids = {os.fsdecode(name): oid for oid, _, name in (line.partition(b" ") for line in listed.splitlines())}
    return ref, ids[ref].decode() if ref in ids else None


def _head(repository: Repository) -> str | None:
    return repository.git.line("symbolic-ref", "-q", "HEAD")


def _is_here(repository: Repository, ref: str | None) -> bool:
    """Whether HEAD is at that branch; None: at no branch."""
    return _head(repository) == ref


def _moved(ref: str | None, now: str | None, expected: str | None) -> Conflict:
    return Conflict(
        f"{ref or 'HEAD'} is at {now or 'no commit'}, and not at {expected or 'no commit'}; "
        "nothing was changed",
        hint="there was a commit or checkout meanwhile",
    )


def _move(
    repository: Repository, branch: str | None, ref: str | None, goal: str, expected: str | None
) -> None:
    before = expected or "0" * _width(repository)
    change = b"update %s\0%s\0%s\0" % (os.fsencode(ref or "HEAD"), goal.encode(), before.encode())
    stdin = change if ref is not None else b"option no-deref\0" + change
    status, _, said = repository.git.ask("update-ref", "-m", "runner: commit", "-z", "--stdin", stdin=stdin)
    if status == 0:
        return
    place, now = _tip(repository, branch)
    if (place, now) == (ref, goal):
        return
    if place != ref or now != expected:
        raise _moved(ref, now, expected)
    raise GitFailed(f"`git update-ref` failed for {ref or 'HEAD'}: {said}")


def _elsewhere(repository: Repository, ref: str) -> str | None:
    """The other work tree of the repository in which the branch is checked out."""
    status, out, _ = repository.git.ask("worktree", "list", "--porcelain", "-z")
    if status != 0:  # before git 2.36
        out = repository.git.run("worktree", "list", "--porcelain").replace(b"\n", b"\0")
    wanted = b"branch " + os.fsencode(ref)
    for number, told in enumerate(out.split(b"\0\0")):
        first, *more = told.split(b"\0")
        path = os.fsdecode(first.removeprefix(b"worktree "))
        if repository.git_dir == repository.common_dir:  # the main one, which is always listed first
            is_own = number == 0
        else:
            is_own = os.path.realpath(path) == os.path.realpath(repository.root)
        if wanted in more and not is_own:
            return path
    return None


def _stage(repository: Repository, commit: str, names: Collection[str]) -> None:
    """Makes the entries of `names` in the user's index those of the commit. What is equal is not touched."""
    git = repository.git
    goal = {}
    for line in git.run("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")[:-1]:
        head, _, name = line.partition(b"\t")
        if (path := os.fsdecode(name)) in names:
            mode, _, oid = head.split(b" ")
            goal[path] = b"%s %s 0" % (mode, oid)
    present: dict[str, list[bytes]] = {}
    for path, head in _entries(git):
        if path in names:
            present.setdefault(path, []).append(head)
    nothing = b"0" * _width(repository)
    # An entry of `git add -N` looks like that of an empty file.
    empty = hashlib.new(repository.hash_name, b"blob 0\0", usedforsecurity=False).hexdigest().encode()
    lines = [b"0 %s\t%s\0" % (nothing, os.fsencode(path)) for path in present.keys() - goal.keys()]
    lines += [
        b"%s\t%s\0" % (head, os.fsencode(path))
        for path, head in goal.items()
        if present.get(path) != [head] or empty in head
    ]
    if lines:
        keep = git.but_with({"core.untrackedCache": "keep"})  # it is the user's
        keep.run("update-index", "-z", "--index-info", stdin=b"".join(lines))


# -- names -----------------------------------------------------------------------------------------


def _entries(git: Git) -> Iterator[tuple[str, bytes]]:
    """Path, and mode, content and stage of each entry of an index."""
    for line in git.run("ls-files", "-s", "-z").split(b"\0")[:-1]:
        head, _, name = line.partition(b"\t")
        yield os.fsdecode(name), head


def _width(repository: Repository) -> int:
    """How many digits an id has."""
    return hashlib.new(repository.hash_name, usedforsecurity=False).digest_size * 2


def _way(root: str, folder: str, known: dict[str, str], modules: Collection[str] = ()) -> str:
    """What leads to the files of a folder: only a `folder`, or first a `link` or a `repository`."""
    if folder == "":
        return "folder"
    if folder not in known:
        above, path = _way(root, os.path.dirname(folder), known, modules), f"{root}/{folder}"
        if above != "folder":
            known[folder] = above
        elif folder in modules or (not os.path.islink(path) and os.path.lexists(f"{path}/.git")):
            known[folder] = "repository"
        else:
            known[folder] = "link" if os.path.islink(path) else "folder"
    return known[folder]


def _stands(root: str, name: str, known: dict[str, str]) -> bool:
    """Whether a file, a link or a repository stands there, and no link leads to it."""
    path = f"{root}/{name}"
    if not os.path.lexists(path) or _way(root, os.path.dirname(name), known) == "link":
        return False
    return os.path.islink(path) or not os.path.isdir(path) or os.path.lexists(f"{path}/.git")
