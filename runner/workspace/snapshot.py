"""The state of a work tree before a run, from which its change can be computed and undone. Edge: git and
disk.

    <folder>/workspace.json   the snapshot; written last, so it exists only if the rest does
    <folder>/workspace/       the private git directory (see `shadow`): the tree, the index as it was

The user's repository gains no object, no ref and no file.
"""

from __future__ import annotations

import os

from runner.errors import Conflict
from runner.value import Count, FileMode, FilePath, InnerPath, Misfit, ObjectId, Value
from runner.workspace.files import copy_with_time, read_bytes, read_record, write_json
from runner.workspace.git import Git
from runner.workspace.inner import refuse_blocking_repository
from runner.workspace.remembered import Remembered
from runner.workspace.repository import Position, Repository, find
from runner.workspace.shadow import Before, Seen, Shadow
from runner.workspace.tracked import Index, Permissions, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any, Self

    from runner.workspace.ignores import Untracked

_VERSION = 1
_RUNS = ".runs"
_RULES = ".gitignore"
_LATER_NS = 10**10


class _Form(Value):
    schema_version: Count


class Snapshot(Value):
    """What was there. All paths but the first five are relative to `root`.

    `tree` is a git tree of the files' very bytes, untracked ones included and ignored ones not. `usual` are
    the permission bits that most plain and most executable files had, `modes` those of the others; `folders`
    has those of every folder. `problems` are what could not be read: nothing is known and nothing promised
    of them.
    """

    folder: FilePath
    """The run's folder, which holds the private git directory."""
    root: FilePath
    git_dir: FilePath
    common_dir: FilePath
    runs: FilePath
    """The folder of all runs, relative to the root. It is never part of anything here."""
    hash_name: str
    position: Position
    tree: ObjectId
    has_index: bool
    dirty: tuple[str, ...]
    """Tracked files that differed from HEAD, staged or not."""
    untracked: tuple[str, ...]
    usual: tuple[FileMode, FileMode]
    modes: dict[InnerPath, FileMode]
    folders: dict[InnerPath, FileMode]
    ignored: tuple[str, ...]
    """Folders that were ignored as a whole."""
    problems: tuple[str, ...]
    ignored_files: tuple[str, ...] = ()
    """Single files that were ignored."""
    large: tuple[str, ...] = ()
    """Files that were too large to be recorded; they are among the problems."""
    special: tuple[str, ...] = ()
    """What was neither a file, nor a link, nor a folder, ignored or not."""
    borrowed: tuple[FilePath, ...] = ()
    """The folders whose objects the private git directory sees."""
    since_ns: int | None = None
    """When the private index began to be true, by the clock of the file system; None: by an older runner."""
    inner: tuple[str, ...] = ()
    """The repositories inside."""
    guarded: tuple[str, ...] = ()
    """What `protect` of the run covered in these and in folders that were ignored."""
    settled_ns: int | None = None
    """When what git ignores became as the agent found it, where something ran before it."""

    @property
    def ignored_since_ns(self) -> int | None:
        """Since when a change of what git ignores is of the agent; None: see `since_ns`."""
        return self.since_ns if self.settled_ns is None else self.settled_ns

    @property
    def repository(self) -> Repository:
        return Repository(self.root, self.git_dir, self.common_dir, self.hash_name)

    @property
    def shadow(self) -> Shadow:
        return Shadow(self.root, f"{self.folder}/workspace", self.runs, self.hash_name)

    @property
    def was_clean(self) -> bool:
        """Nothing uncommitted and nothing untracked."""
        return not (self.dirty or self.untracked)

    @property
    def permissions(self) -> Permissions:
        """The bits that the plain files had."""
        return Permissions(self.usual, self.modes)

    def look(self) -> Seen:
        """The work tree now, by the ignore rules of then. GitFailed if it does not hold still."""
        refuse_blocking_repository(self.root)
        since_ns = self.since_ns
        if since_ns is None:
            since_ns = _second_of(self.shadow.base)
        ignored = frozenset((*self.ignored_files, *(f"{folder}/" for folder in self.ignored)))
        known = Before(since_ns, self.tree, self.usual, ignored, folders=self.folders)
        return self.shadow.look(known.replace(forced=self.repository.forced))

    def renewed(self) -> Self:
        """As the work tree is now, also for the private index. Not kept yet."""
        seen = self.look()
        self.shadow.git.but(GIT_INDEX_FILE=self.shadow.base).run("read-tree", "--reset", seen.tree)
        return self.replace(**_of(seen))

    def to_json(self) -> dict[str, Any]:
        """With the version of its form."""
        return {"schema_version": _VERSION, **super().to_json()}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Conflict if a newer runner wrote it."""
        if _Form.from_json(data).schema_version > _VERSION:
            raise Conflict("a newer runner took this snapshot", hint="update this one")
        made = super().from_json(data)
        if made.hash_name not in ("sha1", "sha256"):
            raise Misfit.of(made.hash_name, "sha1 or sha256").inside("hash_name")
        return made


def take(
    repo: str | Repository,
    folder: str,
    *,
    position: Position | None = None,
    borrow: Sequence[str] = (),
    is_new: bool = False,
    protect: Collection[str] = (),
) -> Snapshot | None:
    """Records the work tree that `repo` (a folder in it) belongs to, and keeps it in `folder`; None if it is
    in no git repository, GitFailed if git refuses it. `position` is where it stands, if known; `borrow` are
    more folders of objects for the private repository. `is_new`: git has just made the tree of its index and
    nobody else wrote in it, so the index is believed, also of files as young as itself. `protect`
    are globs of what has to stay as it is: of that, what git does not record is noted by name.

    It takes about as long as a `git status`; but the first call for a work tree reads every file, and each
    call those that git converts. An interrupted call leaves no snapshot; the next one starts over.
    """
    if (repository := find(repo) if isinstance(repo, str) else repo) is None:
        return None
    position, settings = position or repository.position(), repository.settings()
    shadow = _shadow(repository, repo, folder, borrow)
    since_ns = os.stat(f"{shadow.home}/HEAD").st_mtime_ns
    listing, is_plain = _listed(repository, shadow, settings)
    if is_new:
        before = Before(since_ns + _LATER_NS, unread=None if is_plain else _all)
        seen = shadow.record(shadow.base, before, repository.untracked, listing)
    else:
        seen = _seen(repository, shadow, listing, since_ns)
    beside = seen.untracked
    shadow.ignore(repository.ignore_rules(settings, [*listing.named(_RULES), *_rules_in(beside)]))
    dirty, untracked = _uncommitted(repository, shadow, position, seen, is_plain)
    snapshot = Snapshot(
        folder,
        *(repository.root, repository.git_dir, repository.common_dir),
        runs=shadow.runs,
        hash_name=repository.hash_name,
        position=position,
        has_index=os.path.exists(shadow.user_index),
        dirty=dirty,
        untracked=untracked,
        borrowed=_borrowed(repository, borrow),
        since_ns=since_ns,
        guarded=_guarded(shadow, beside.ignored, seen.inner, protect),
        **_of(seen),
    )
    write_json(f"{folder}/workspace.json", snapshot.to_json())
    return snapshot


def settle(
    snapshot: Snapshot, position: Position, ignored: Untracked, protect: Collection[str], since_ns: int
) -> None:
    """What git ignores was made at `since_ns` by what ran before the agent, and it moved the refs to where
    `position` has them, and staged what the index has: none of that is a change of the agent.
    """
    settled = snapshot.replace(
        position=position,
        has_index=_has_index(snapshot.repository, snapshot.shadow),
        ignored=ignored.ignored,
        ignored_files=ignored.ignored_files,
        guarded=_guarded(snapshot.shadow, ignored.ignored, ignored.repositories, protect),
        settled_ns=since_ns,
    )
    write_json(f"{snapshot.folder}/workspace.json", settled.to_json())


def _of(seen: Seen) -> dict[str, Any]:
    """What a snapshot has of a look."""
    return {
        "tree": seen.tree,
        "usual": seen.permissions.usual,
        "modes": seen.permissions.others,
        "folders": seen.folders,
        "ignored": seen.untracked.ignored,
        "ignored_files": seen.untracked.ignored_files,
        **{name: getattr(seen, name) for name in ("problems", "large", "special", "inner")},
    }


def _guarded(
    shadow: Shadow, ignored: Sequence[str], inner: Sequence[str], protect: Collection[str]
) -> tuple[str, ...]:
    if not protect:
        return ()
    from runner.workspace.ignored import standing  # most runs have nothing to guard

    apart = [name for name in (*ignored, *inner) if name != shadow.runs]
    return standing(shadow.root, apart, protect)


def _all(_: str, names: dict[str, int]) -> Collection[str]:
    return names


def _seen(repository: Repository, shadow: Shadow, listing: Index, since_ns: int) -> Seen:
    """The work tree, of which only what we read before is believed; what we read now is kept."""
    known = Remembered(repository.root, repository.hash_name)
    before = Before(known.since_ns, unread=known.unread(listing))
    seen = shadow.record(shadow.base, before, repository.untracked, listing)
    data = listing.data if seen.is_known else read_bytes(shadow.base)
    if data and not (seen.is_known and known.data == data):
        known.keep(data, since_ns)
    return seen


def _shadow(repository: Repository, repo: str | Repository, folder: str, borrow: Sequence[str]) -> Shadow:
    inside = os.path.realpath(repo) if isinstance(repo, str) else repository.root
    runs = os.path.relpath(f"{inside}/{_RUNS}", repository.root)
    shadow = Shadow(repository.root, f"{folder}/workspace", runs, repository.hash_name)
    shadow.create(_borrowed(repository, borrow))
    return shadow


def _borrowed(repository: Repository, more: Sequence[str]) -> tuple[str, ...]:
    return (f"{repository.common_dir}/objects", *more)


def load(folder: str) -> Snapshot | None:
    """The snapshot in a run's folder; None if none was taken. ForeignRun if it was not taken here; Conflict
    if it is broken, of another folder or a newer runner's.
    """
    found = read_record(f"{folder}/workspace.json", Snapshot)
    if found is None:
        return None
    if os.path.realpath(found.folder) != os.path.realpath(folder):
        raise Conflict(f"the snapshot in {folder} is of another folder: {found.folder}")
    found.shadow.renew(found.borrowed)
    return found


def _listed(repository: Repository, shadow: Shadow, settings: dict[str, str]) -> tuple[Index, bool]:
    """The paths that git tracks, with what it knows of unchanged files where we can read that. And whether
    the user's index says nothing else, and git converts nothing.
    """
    if not _has_index(repository, shadow):
        return shadow.index(shadow.base), False
    listing = parse(read_bytes(shadow.user_index) or b"", repository.hash_name)
    if listing is not None:
        os.link(shadow.user_index, shadow.base)  # git replaces an index and never writes into one
        return listing, not repository.has_conversions(settings, listing)
    entries = repository.git.run("ls-files", "-s", "-z").split(b"\0")[:-1]
    whole = {entry.partition(b"\t")[2]: entry for entry in entries if entry.split(b"\t")[0].endswith(b" 0")}
    unmerged = {entry.partition(b"\t")[2]: entry for entry in entries}
    chosen = [entry.split(b"\t")[0][:-1] + b"0\t" + name for name, entry in (unmerged | whole).items()]
    git = shadow.git.but(GIT_INDEX_FILE=shadow.base)
    git.run("update-index", "-z", "--index-info", stdin=b"".join(entry + b"\0" for entry in chosen))
    return shadow.index(shadow.base), False


def _has_index(repository: Repository, shadow: Shadow) -> bool:
    """Whether the user has one, of which there is a copy then."""
    if has_index := os.path.exists(repository.index):
        copy_with_time(repository.index, shadow.user_index)
    return has_index


def _uncommitted(
    repository: Repository, shadow: Shadow, position: Position, seen: Seen, is_plain: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Dirty and untracked paths: none, without asking, where the commit of HEAD describes files and index."""
    beside = seen.untracked
    is_clean = is_plain and seen.tree == position.tree and not (beside.files or beside.repositories)
    if is_clean and (seen.as_indexed or repository.is_committed()):
        return (), ()
    _keep_loose_ends(shadow, repository, position)
    return repository.uncommitted(shadow.is_runs)


def _keep_loose_ends(shadow: Shadow, repository: Repository, position: Position) -> None:
    """Copies what no commit of HEAD holds (staged contents): a `git gc` of the run must not take it away."""
    git = repository.git
    listed = git.run("ls-files", "-s" if position.head is None else "-u", "-z").split(b"\0")[:-1]
    entries = [line.split(b" ")[:2] for line in listed]
    if position.head is not None:
        compared = git.run("diff-index", "--cached", "-z", "--no-renames", "--no-abbrev", position.head)
        entries += [line.split(b" ")[1:4:2] for line in compared.split(b"\0")[:-1:2]]
    loose = {name for mode, name in entries if mode != b"160000" and name.strip(b"0")}
    if loose:
        private = Git(shadow.home, {"GIT_DIR": shadow.home})
        private.run("pack-objects", "-q", "objects/pack/pack", stdin=b"\n".join(sorted(loose)) + b"\n")


def _rules_in(beside: Untracked) -> list[str]:
    """Where files of ignore rules may be."""
    there = [name for name in (*beside.files, *beside.ignored_files) if os.path.basename(name) == _RULES]
    # A folder may be ignored by a file of its own (`.venv/.gitignore` with `*`) that ignores itself.
    return [*there, *(f"{name}/{_RULES}" for name in beside.ignored)]


def _second_of(index: str) -> int:
    """When it was written, as coarse as git itself compares it with the times of files (racy-git)."""
    try:
        return os.stat(index).st_mtime_ns // 10**9 * 10**9
    except FileNotFoundError:
        return 0
