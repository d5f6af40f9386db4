"""A change of one work tree as the next state of another, which may have been edited. Edge: git and disk.

A work tree has what git makes of a stored content (line ends, ident, filters), and two of them need not have
the same form of it. So a file that git calls unchanged since the base is replaced as a whole. The others are
merged as they stand, and where that fails in the form that git stores, converted back as by a checkout. How
both sides of one file come together, the attribute `merge` of the user's tree says (gitattributes(5)); the
program of a driver is never run.
"""

from __future__ import annotations

import os

from runner.disk.files import create
from runner.disk.scratch import scratch
from runner.errors import Conflict
from runner.value import Value
from runner.workspace.commit import differing
from runner.workspace.files import Entry, copy_with_time
from runner.workspace.git import Git, joined, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from runner.workspace.snapshot import Snapshot

_LINK = 0o120000
_TEXT, _UNION = "text", "union"
_MERGED = (_TEXT, _UNION)
_SHOWN = 3


class _Sides(Value):
    """One path: its entries before and after the change, and in the user's tree. None is nothing."""

    before: Entry | None
    after: Entry | None
    mine: Entry | None

    @property
    def mode(self) -> int:
        """That of the result: the change's, where it changed it."""
        assert self.after is not None
        is_same = self.before is not None and self.before.mode == self.after.mode
        return self.mine.mode if is_same and self.mine is not None else self.after.mode

    @property
    def are_files(self) -> bool:
        """Whether there are three contents that can be merged."""
        return all(side is not None and side.mode != _LINK for side in self.__dict__.values())


def merged(user: Snapshot, work: Snapshot, tree: str, base: str, index: str) -> tuple[str, frozenset[str]]:
    """The user's tree with the change of `work` up to its `tree`, also in the file `index`, and the paths
    that changed. `base` is the commit that `work` was made of. Nothing is touched.

    Conflict, with the paths as `problems`, where both changed the same, or a repository is among them.
    """
    changed = {
        path: (_entry(mode, oid), _entry(mode_after, oid_after))
        for path, mode, oid, mode_after, oid_after in work.shadow.differing(work.tree, tree)
    }
    modules = [name for name, sides in changed.items() if any(one and one.is_repository for one in sides)]
    if modules:
        what = "a repository of its own is among the changes: a submodule, or a folder with a `.git`"
        raise Conflict(what, problems=modules, hint=f"take it over by hand; the work tree is {work.root}")
    mine = _entries(user.shadow.git, user.tree, changed)
    drivers = _drivers(user, differing(user.root, base, [*changed]))
    goals: dict[str, Entry | None] = {}
    conflicts = []
    for path, (before, after) in changed.items():
        sides = _Sides(before, after, mine.get(path))
        if sides.mine == after:
            continue
        try:
            driver = drivers.get(path)
            goals[path] = _whole(sides) if driver is None else _merge(user, work, path, sides, driver)
        except _Conflicting:
            conflicts.append(path)
    if conflicts:
        whole = sorted(f"{path} ({drivers[path]})" for path in conflicts if drivers[path] not in _MERGED)
        hint = "they changed here since the run began: undo that, or apply `runner diff RUN` by hand"
        if whole:
            hint += f"; git's attribute `merge` keeps from a merge as text: {', '.join(whole[:_SHOWN])}"
        what = "the changes do not apply cleanly to your work tree; nothing was changed"
        raise Conflict(what, hint=hint, problems=sorted(conflicts))
    return _written(user, goals, index), frozenset(changed)


class _Conflicting(Exception):
    """Both sides changed the same, or it is not to be merged."""


def _drivers(user: Snapshot, paths: Iterable[str]) -> dict[str, str]:
    """How git would merge each, by the rules and the settings of the user's tree: `text`, `union`, `binary`,
    or the name of somebody's program, also where that is called as one of git's own.
    """
    if not (names := joined(paths)):
        return {}
    git, settings = user.repository.git, user.repository.settings()
    told = split(git.run("check-attr", "-z", "--stdin", "merge", stdin=names))
    usual = settings.get("merge.default", _TEXT)
    found = {}
    for path, value in zip(told[::3], told[2::3], strict=True):
        name = {"set": _TEXT, "unset": "binary", "unspecified": usual}.get(value, value)
        found[path] = name if f"merge.{name}.driver" not in settings else f"merge.{name}.driver"
    return found


def _whole(sides: _Sides) -> Entry | None:
    return None if sides.after is None else sides.after.replace(mode=sides.mode)


def _merge(user: Snapshot, work: Snapshot, path: str, sides: _Sides, driver: str) -> Entry | None:
    raw = user.shadow.git
    if sides.are_files:
        if driver not in _MERGED:
            raise _Conflicting
        three = (sides.mine, sides.before, sides.after)
        contents = [raw.run("cat-file", "blob", side.oid) for side in three if side is not None]
        found = _of_three(contents)
        if found is None:
            found = _of_stored(user, work, path, contents, ["--union"] if driver == _UNION else [])
        if found is None:
            raise _Conflicting
        return Entry(sides.mode, _kept(raw, found, "--no-filters"))
    if sides.mine is None and sides.before is None:  # what stands there is ignored
        return sides.after
    if sides.mine != sides.before:
        raise _Conflicting
    return _whole(sides)


def _of_three(contents: list[bytes], how: Iterable[str] = ()) -> bytes | None:
    """Mine, before, after -> the merge; None where they conflict, or are no texts."""
    with scratch(os.environ) as folder:
        for number, content in enumerate(contents):
            create(f"{folder}/{number}", content)
        status, out, _ = Git(folder).ask("merge-file", "-p", "-q", *how, "0", "1", "2")
    return out if status == 0 else None


def _of_stored(
    user: Snapshot, work: Snapshot, path: str, contents: list[bytes], how: list[str]
) -> bytes | None:
    """In the form that git stores, each converted by the rules of its own tree."""
    objects = {"GIT_OBJECT_DIRECTORY": f"{user.shadow.home}/objects"}
    here, there = (
        side.repository.git.but(**objects).but_with({"core.safecrlf": "false"}) for side in (user, work)
    )
    names = [
        _kept(git, content, f"--path={path}")
        for git, content in zip((here, there, there), contents, strict=True)
    ]
    found = _of_three([here.run("cat-file", "blob", name) for name in names], how)
    if found is None:
        return None
    return here.run("cat-file", "--filters", f"--path={path}", _kept(here, found, "--no-filters"))


def _kept(git: Git, content: bytes, how: str) -> str:
    return os.fsdecode(git.run("hash-object", "-w", "--stdin", how, stdin=content).strip())


def _written(user: Snapshot, goals: dict[str, Entry | None], index: str) -> str:
    copy_with_time(user.shadow.base, index)
    git = user.shadow.git.but(GIT_INDEX_FILE=index)
    ordered = sorted(goals.items(), key=lambda one: one[1] is not None)  # what goes first makes way
    nothing = "0" * len(user.tree)
    lines = []
    for path, goal in ordered:
        mode, oid = (0, nothing) if goal is None else (goal.mode, goal.oid)
        lines.append(b"%o %s\t%s\0" % (mode, oid.encode(), os.fsencode(path)))
    git.run("update-index", "-z", "--index-info", stdin=b"".join(lines))
    return os.fsdecode(git.run("write-tree").strip())


def _entries(git: Git, tree: str, names: Collection[str]) -> dict[str, Entry]:
    found = {}
    for line in git.run("ls-tree", "-r", "-z", tree).split(b"\0")[:-1]:
        head, _, name = line.partition(b"\t")
        if (path := os.fsdecode(name)) in names:
            mode, _, oid = head.split(b" ")
            found[path] = Entry(int(mode, 8), oid.decode())
    return found


def _entry(mode: int, oid: str) -> Entry | None:
    return Entry(mode, oid) if mode else None
