"""The state of a work tree before a run, from which its change can be computed and undone. Edge: git and
disk.

    <folder>/workspace.json   the snapshot; written last, so it exists only if the rest does
    <folder>/workspace/       the private git directory (see `shadow`): the tree, the index as it was

The user's repository gains no object, no ref and no file.
"""

from __future__ import annotations

import os
from collections import Counter

from runner.errors import Conflict
from runner.value import Value
from runner.workspace.files import copy_with_time, read_json, write_json
from runner.workspace.git import Git
from runner.workspace.repository import Position, Repository, find
from runner.workspace.shadow import Shadow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_VERSION = 1
_RUNS = ".runs"


class Snapshot(Value):
    """What was there. All paths but the first five are relative to `root`.

    `tree` is a git tree of the files' very bytes, untracked ones included and ignored ones not. `usual` are
    the permission bits that most plain and most executable files had, `modes` those of the others; `folders`
    has those of every folder. `problems` are what could not be read: nothing is known and nothing promised
    of them.
    """

    folder: str
    """The run's folder, which holds the private git directory."""
    root: str
    git_dir: str
    common_dir: str
    runs: str
    """The folder of all runs, relative to the root. It is never part of anything here."""
    hash_name: str
    position: Position
    tree: str
    has_index: bool
    dirty: tuple[str, ...]
    """Tracked files that differed from HEAD, staged or not."""
    untracked: tuple[str, ...]
    usual: tuple[int, int]
    modes: dict[str, int]
    folders: dict[str, int]
    ignored: tuple[str, ...]
    """Folders that were ignored as a whole."""
    problems: tuple[str, ...]

    @property
    def repository(self) -> Repository:
        return Repository(self.root, self.git_dir, self.common_dir)

    @property
    def shadow(self) -> Shadow:
        return Shadow(self.root, f"{self.folder}/workspace", self.runs, self.hash_name)

    @property
    def was_clean(self) -> bool:
        """Nothing uncommitted and nothing untracked."""
        return not (self.dirty or self.untracked)

    def mode_of(self, path: str, executable: bool) -> int:
        """The permission bits that a plain file had."""
        mode = self.modes.get(path)
        return self.usual[executable] if mode is None or bool(mode & 0o100) != executable else mode

    def to_json(self) -> dict[str, Any]:
        """With the version of its form."""
        return {"schema_version": _VERSION, **super().to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Snapshot:
        """The reverse. Conflict if a newer runner wrote it."""
        if data["schema_version"] > _VERSION:
            raise Conflict("a newer runner took this snapshot", hint="update this one")
        place = data["position"]
        refs = tuple((str(name), str(oid)) for name, oid in place["refs"])
        position = Position(place["head"], place["branch"], place["in_progress"], refs)
        listed = ("dirty", "untracked", "usual", "ignored", "problems")
        lists: dict[str, Any] = {name: tuple(data[name]) for name in listed}
        rest: dict[str, Any] = {name: data[name] for name in cls._fields if name not in (*listed, "position")}
        return cls(position=position, **lists, **rest)


def take(repo: str, folder: str, *, borrow: Sequence[str] = ()) -> Snapshot | None:
    """Records the work tree that `repo` (a folder in it) belongs to, and keeps it in `folder`; None if it is
    in no git repository. `borrow` are further folders of objects that the private repository may read.

    The time is that of a `git status`, and of reading every file where git converts contents. GitFailed if
    git refuses the repository. An interrupted call leaves no snapshot; the next one starts over.
    """
    repository = find(repo)
    if repository is None:
        return None
    runs = os.path.normpath(os.path.join(os.path.relpath(os.path.realpath(repo), repository.root), _RUNS))
    hash_name = repository.hash_name()
    shadow = Shadow(repository.root, f"{folder}/workspace", runs, hash_name)
    settings = repository.settings()
    shadow.create([f"{repository.common_dir}/objects", *borrow], repository.ignore_rules(settings))
    has_index = os.path.exists(repository.index)
    if has_index:
        copy_with_time(repository.index, shadow.user_index)
        _start_from_user_index(repository, shadow, repository.has_conversions(settings))
    seen = shadow.record(shadow.base)
    _keep_loose_ends(shadow, repository)
    dirty, untracked = repository.uncommitted()
    usual = _usual(seen.modes)
    snapshot = Snapshot(
        folder=folder,
        root=repository.root,
        git_dir=repository.git_dir,
        common_dir=repository.common_dir,
        runs=runs,
        hash_name=hash_name,
        position=repository.position(),
        tree=seen.tree,
        has_index=has_index,
        dirty=tuple(name for name in dirty if not shadow.is_runs(name)),
        untracked=tuple(name for name in untracked if not shadow.is_runs(name)),
        usual=usual,
        modes={path: mode for path, mode in seen.modes.items() if mode != usual[bool(mode & 0o100)]},
        folders=seen.folders,
        ignored=seen.ignored,
        problems=seen.problems,
    )
    write_json(f"{folder}/workspace.json", snapshot.to_json())
    return snapshot


def load(folder: str) -> Snapshot | None:
    """The snapshot in a run's folder; None if none was taken. Conflict if it is a newer runner's."""
    data = read_json(f"{folder}/workspace.json")
    return None if data is None else Snapshot.from_json(data)


def _start_from_user_index(repository: Repository, shadow: Shadow, converted: bool) -> None:
    """The paths that git tracks, and where it can be trusted what it knows of unchanged files."""
    listing = repository.git.run("ls-files", "-v", "-s", "-z").split(b"\0")[:-1]
    plain = all(line.startswith(b"H ") for line in listing)
    is_split = any(name.startswith("sharedindex.") for name in os.listdir(repository.git_dir))
    if plain and not converted and not is_split:
        copy_with_time(shadow.user_index, shadow.base)
        return
    entries = [line[2:] for line in listing if line.split(b"\t")[0].endswith(b" 0")]
    unmerged = {line.partition(b"\t")[2]: line[2:] for line in listing} if len(entries) < len(listing) else {}
    known = {entry.partition(b"\t")[2] for entry in entries}
    entries += [
        entry.split(b"\t")[0][:-1] + b"0\t" + name for name, entry in unmerged.items() if name not in known
    ]
    git = shadow.git.but(GIT_INDEX_FILE=shadow.base)
    git.run("update-index", "-z", "--index-info", stdin=b"".join(entry + b"\0" for entry in entries))


def _keep_loose_ends(shadow: Shadow, repository: Repository) -> None:
    """Copies what no commit of HEAD holds (staged contents): a `git gc` of the run must not take it away."""
    git = repository.git
    staged = {line.split(b" ")[1] for line in git.run("ls-files", "-s", "-z").split(b"\0")[:-1]
              if not line.startswith(b"160000")}  # fmt: skip
    if not staged:
        return
    status, out, _ = git.ask("ls-tree", "-r", "-z", "HEAD")
    committed = (
        {line.split(b"\t")[0].split(b" ")[2] for line in out.split(b"\0")[:-1]} if status == 0 else set()
    )
    if loose := staged - committed:
        private = Git(shadow.home, {"GIT_DIR": shadow.home})
        private.run("pack-objects", "-q", "objects/pack/pack", stdin=b"\n".join(sorted(loose)) + b"\n")


def _usual(modes: Mapping[str, int]) -> tuple[int, int]:
    """The most frequent permission bits of plain and of executable files."""
    plain = Counter(mode for mode in modes.values() if not mode & 0o100)
    executable = Counter(mode for mode in modes.values() if mode & 0o100)
    first = [
        most.most_common(1)[0][0] if most else other for most, other in ((plain, 0o644), (executable, 0o755))
    ]
    return first[0], first[1]
