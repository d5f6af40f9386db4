"""The changes of a work tree since its snapshot: from git, never from a claim. Edge: git and disk."""

from __future__ import annotations

import os
import stat

from runner.git_change import OWN_REFS
from runner.value import StrEnum, Value
from runner.workspace.files import REPOSITORY, Entry, entry_at, read_bytes
from runner.workspace.git import Git, split
from runner.workspace.ignored import changed_since, filled_since, own_changed_since
from runner.workspace.tracked import REFUSED_NAME, SPECIAL, is_refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from runner.workspace.ignores import Untracked
    from runner.workspace.repository import Position
    from runner.workspace.shadow import Seen
    from runner.workspace.snapshot import Snapshot


class ChangeKind(StrEnum):
    """A renamed path is two changes: one deleted, one added. `mode` is a change of permissions alone."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    MODE = "mode"


class Change(Value):
    """One path, relative to the root. `before` or `after` is None where nothing stood or stands."""

    path: str
    before: Entry | None
    after: Entry | None

    @property
    def kind(self) -> ChangeKind:
        if self.before is None or self.after is None:
            return ChangeKind.ADDED if self.before is None else ChangeKind.DELETED
        return ChangeKind.MODE if self.before.has_content_of(self.after) else ChangeKind.MODIFIED


class LinesChanged(Value):
    """How many lines of a file were added and removed; None where it is no text."""

    path: str
    added: int | None
    removed: int | None


class MovedRef(Value):
    """A ref that was made, moved or deleted: what it pointed and points at, which may be another ref."""

    name: str
    before: str | None
    after: str | None


class Changes(Value):
    """`tree` is the work tree now. HEAD, branch and a merge under way are the present ones; `head_moved` says
    whether they moved. `staged` is whether the index differs from before.
    """

    tree: str
    paths: tuple[Change, ...]
    folders_added: tuple[str, ...]
    folders_deleted: tuple[str, ...]
    folder_modes: tuple[str, ...]
    refs: tuple[MovedRef, ...]
    position: Position
    head_moved: bool
    branch_moved: bool
    staged: bool
    problems: tuple[str, ...]
    """What could not be read, then or now: of these nothing is known."""
    large: tuple[str, ...]
    """Files that can be recorded no more, because they became too large."""
    special: tuple[str, ...]
    """New FIFOs, sockets and devices, and files of names that git refuses, none of them ignored. git stores
    none, so they are not in `tree`."""
    ignored: Untracked
    """What is ignored, by the rules of then, and the repositories inside."""

    @property
    def names(self) -> tuple[str, ...]:
        """The paths that changed."""
        return tuple(change.path for change in self.paths)

    @property
    def lost_repositories(self) -> tuple[str, ...]:
        """Where a repository inside stood, or may stand, and none does any more."""
        pairs = ((change.path, change.before, change.after) for change in self.paths)
        return tuple(
            path
            for path, before, after in pairs
            if before is not None and before.is_repository and not (after is not None and after.is_repository)
        )

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """What changed besides, and is in no tree."""
        return tuple(sorted({*self.large, *self.special} - {*self.names}))


def changed(snapshot: Snapshot) -> Changes:
    """Looks at everything again. Nothing is written to the user's repository. GitFailed if git refuses."""
    seen = snapshot.look()
    position = snapshot.repository.position()
    before, after = dict(snapshot.position.refs), dict(position.refs)
    if snapshot.position.symbolic is not None:
        before |= dict(snapshot.position.symbolic)
        after |= dict(position.symbolic or ())
    refs = [
        MovedRef(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and (name in before or not name.startswith(OWN_REFS))
    ]
    special = snapshot.shadow.unignored(sorted({*seen.special} - {*snapshot.special}))
    # A folder that was ignored as a whole was there, although nothing in it is listed. One that has a `.git`
    # now is there, although nobody enters it.
    missed = snapshot.folders.keys() - seen.folders.keys() - {*seen.untracked.ignored}
    return Changes(
        tree=seen.tree,
        paths=differences(snapshot, seen),
        folders_added=tuple(sorted(seen.folders.keys() - snapshot.folders.keys() - {*snapshot.ignored})),
        folders_deleted=tuple(sorted(path for path in missed if not _is_folder(f"{snapshot.root}/{path}"))),
        folder_modes=tuple(
            sorted(path for path, mode in snapshot.folders.items() if seen.folders.get(path, mode) != mode)
        ),
        refs=tuple(refs),
        position=position,
        head_moved=position.head != snapshot.position.head,
        branch_moved=position.branch != snapshot.position.branch,
        staged=not has_same_index(snapshot),
        problems=tuple(sorted({*snapshot.problems, *seen.problems, *(_told(name) for name in special)})),
        large=tuple(sorted({*seen.large} - {*snapshot.large})),
        special=special,
        ignored=seen.untracked.replace(files=(), repositories=seen.inner),
    )


def changed_ignored(snapshot: Snapshot, now: Changes, own: Collection[str] = ()) -> list[str]:
    """Ignored files that are executed or read as settings, or that a glob of `own` covers, and are other than
    before. No tree has them. Of repositories inside, what `own` covers.
    """
    if snapshot.ignored_since_ns is None:  # by an older runner, which did not say when
        return []
    known = {*snapshot.ignored, *snapshot.ignored_files}
    folders = {*snapshot.ignored, *now.ignored.ignored} - {snapshot.runs}
    files = {*snapshot.ignored_files, *now.ignored.ignored_files}
    found = changed_since(snapshot.root, snapshot.ignored_since_ns, folders, files, known, own)
    if own:
        folders |= {*snapshot.inner, *now.ignored.repositories}
        mine = own_changed_since(snapshot.root, snapshot.ignored_since_ns, folders, own, snapshot.guarded)
        found = [*dict.fromkeys((*mine, *found))]
    return found


def made_at(
    names: Iterable[str], snapshot: Snapshot, now: Changes, first: Snapshot | None = None
) -> dict[str, bool]:
    """At which of some names a folder or a link stands that is new, or may be where git ignores it; and
    whether files are in it, of the run where git does not. `first` is the snapshot of the first try.
    """
    before = snapshot.folders if first is None else first.folders
    new = {
        one.path for one in now.paths if one.before is None and one.after and one.after.kind != stat.S_IFREG
    }
    new |= {*now.folders_added, *snapshot.folders} - {*before}
    files = [one.path for one in now.paths if one.after is not None]
    made = {}
    for name in names:
        if name in new:
            made[name] = any(file.startswith(f"{name}/") for file in files)
        elif name not in before and snapshot.ignored_since_ns is not None:
            is_filled = filled_since(f"{snapshot.root}/{name}", snapshot.ignored_since_ns)
            made |= {} if is_filled is None else {name: is_filled}
    return made


def diff(snapshot: Snapshot, tree: str | None = None) -> bytes:
    """A patch from the snapshot to now (or to `tree`, of a `Changes`), untracked and binary files included;
    `git apply` takes it. Contents are the raw bytes on disk. Permissions beyond executable are not in it.
    """
    shadow = snapshot.shadow
    return shadow.git.run(*shadow.patch_arguments(snapshot.tree, tree or snapshot.look().tree))


def between(snapshot: Snapshot, tree: str) -> int:
    """How many files are other now than in `tree`, which was seen earlier."""
    return sum(1 for _ in snapshot.shadow.differing(tree, snapshot.look().tree))


def beginning(snapshot: Snapshot, tree: str, limit: int) -> bytes:
    """The first bytes of that patch; the rest is never made."""
    shadow = snapshot.shadow
    return shadow.git.beginning(limit, *shadow.patch_arguments(snapshot.tree, tree))


def lines_of(patch: bytes) -> tuple[LinesChanged, ...]:
    """What a patch of `diff` changes, file by file. GitFailed if it is no patch."""
    if not patch:
        return ()
    # Not in a repository: there git would leave out what lies above the working folder.
    told = Git("/").run("apply", "--numstat", "-z", "-", stdin=patch)
    rows = (line.split("\t", 2) for line in split(told))
    return tuple(
        LinesChanged(path, *(None if count == "-" else int(count) for count in counts))
        for *counts, path in rows
    )


def counted(lines: Iterable[LinesChanged]) -> tuple[int, int]:
    """How many are added and removed, of files that are text."""
    both = [(one.added or 0, one.removed or 0) for one in lines]
    return sum(added for added, _ in both), sum(removed for _, removed in both)


def index_bytes(snapshot: Snapshot) -> bytes | None:
    """The index as it was; None if there was none."""
    return read_bytes(snapshot.shadow.user_index) if snapshot.has_index else None


def has_same_index(snapshot: Snapshot) -> bool:
    """Whether the same is staged as before; that git looked at files meanwhile makes no difference."""
    repository = snapshot.repository
    saved = index_bytes(snapshot)
    if saved == read_bytes(repository.index):
        return True
    before = None if saved is None else repository.index_listing(snapshot.shadow.user_index)
    return before == repository.index_listing(repository.index)


def differences(snapshot: Snapshot, seen: Seen) -> tuple[Change, ...]:
    """In what files the work tree, as it was seen, is other than the tree of the snapshot."""
    before, now = snapshot.permissions, seen.permissions
    found = {}
    for path, mode, oid, mode_after, oid_after in snapshot.shadow.differing(snapshot.tree, seen.tree):
        was, is_now = before.bits(path, bool(mode & 0o100)), now.bits(path, bool(mode_after & 0o100))
        found[path] = Change(path, _entry(mode, oid, was), _entry(mode_after, oid_after, is_now))
    same = {}
    for path in (before.others.keys() | now.others.keys()) - found.keys():
        executable = bool(now.others.get(path, before.others.get(path, 0)) & 0o100)
        if before.bits(path, executable) != now.bits(path, executable):
            same[path] = executable
    if same:
        names = snapshot.shadow.names_of(seen.tree, same)
        for path, executable in same.items():
            if path not in names:  # one of the problems
                continue
            was, is_now = (stat.S_IFREG | side.bits(path, executable) for side in (before, now))
            found[path] = Change(path, Entry(was, names[path]), Entry(is_now, names[path]))
    return tuple(found[path] for path in sorted(found))


def _told(special: str) -> str:
    return (REFUSED_NAME if is_refused(special) else SPECIAL) + special


def _entry(mode: int, oid: str, permissions: int) -> Entry | None:
    if mode == 0:
        return None
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        return Entry(kind | 0o777, oid)
    return Entry(mode if kind == REPOSITORY else kind | permissions, oid)


def strayed(snapshot: Snapshot, tree: str, root: str, paths: Collection[str]) -> tuple[str, ...]:
    """Which of `paths` stand below `root` in another way than in `tree`, which was seen earlier: other bytes,
    another kind, executable or not. GitFailed where that tree is not known any more.
    """
    known: dict[str, tuple[str, str]] = {}
    git = Git(snapshot.folder, {"GIT_DIR": snapshot.shadow.home})  # its own work tree may be gone
    for line in split(git.run("ls-tree", "-r", "-z", tree)):
        told, _, name = line.partition("\t")
        mode, _, digest = told.split(" ")
        known[name] = (mode, digest)
    return tuple(path for path in paths if known.get(path) != _standing(f"{root}/{path}", snapshot.hash_name))


def _standing(path: str, hash_name: str) -> tuple[str, str] | None:
    """Mode and name of the content as git has them; None where no file and no link stands."""
    try:
        found = entry_at(path, None, hash_name)
    except OSError:
        return None
    if found is None or not found.oid:
        return None
    mode = "120000" if found.kind == stat.S_IFLNK else "100755" if found.mode & 0o100 else "100644"
    return mode, found.oid


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
