"""Puts some files of a work tree back to their state before the run, and then to what the run made of them.
Edge: git and disk.

For checks that are to run with their own files as they were. `<folder>/base-files.json` is written before the
first step and removed after the last one on the way back, so whoever finds it has that way still to go.
"""

from __future__ import annotations

import os
import stat

from runner.disk.files import withdraw
from runner.errors import Conflict
from runner.value import Count, FileMode, InnerPath, ObjectId, Value
from runner.workspace.changes import changed
from runner.workspace.files import read_record, write_json
from runner.workspace.places import unwatched
from runner.workspace.transition import Move, Transition, ordered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from runner.workspace.snapshot import Snapshot

JOURNAL = "base-files.json"
_VERSION = 1


class Swap(Value):
    """What the run made of the files. `tree` has their contents, `times` the times of those that are plain
    files; `folders` are the folders above them that stood then, `absent` those that did not.
    """

    schema_version: Count
    name: str
    tree: ObjectId
    steps: tuple[Move, ...]
    times: dict[InnerPath, Count]
    folders: dict[InnerPath, FileMode]
    absent: tuple[InnerPath, ...]


def to_base(
    snapshot: Snapshot, paths: Collection[str], *, watch: Callable[[str], object] = unwatched
) -> tuple[str, ...]:
    """Makes the files what they were in the snapshot; what could not be, in sentences. Repositories inside
    are left alone. Conflict if this was begun before: `to_run` comes first.
    """
    journal = f"{snapshot.folder}/{JOURNAL}"
    if os.path.lexists(journal):
        raise Conflict(f"{journal}: the files are in their former state already")
    now = changed(snapshot)
    wanted = set(paths)
    steps = tuple(
        Move(one.path, one.after, one.before)
        for one in now.paths
        if one.path in wanted
        and not any(side is not None and side.is_repository for side in (one.before, one.after))
    )
    folders, absent = _folders_above(snapshot.root, steps)
    times = {step.path: at for step in steps if (at := _time_of(f"{snapshot.root}/{step.path}")) is not None}
    swap = Swap(_VERSION, os.urandom(4).hex(), now.tree, steps, times, folders, absent)
    watch("plan")
    write_json(journal, swap.to_json())
    before = {path: snapshot.folders[path] for path in absent if path in snapshot.folders}
    plan = ordered(list(steps), {**folders, **before}, ())
    work = Transition(
        snapshot.shadow,
        plan,
        index=snapshot.shadow.base,
        kept=_kept(snapshot),
        log=f"{snapshot.folder}/base-files-{swap.name}.to-base",
        watch=watch,
    )
    work.run()
    return tuple(work.left)


def to_run(snapshot: Snapshot, *, watch: Callable[[str], object] = unwatched) -> tuple[str, ...]:
    """Makes the files what the run made of them; what could not be, in sentences. Nothing to do without the
    journal. What somebody wrote there meanwhile, a check for example, is kept in the run's folder.
    """
    journal = f"{snapshot.folder}/{JOURNAL}"
    swap = read_record(journal, Swap)
    if swap is None:
        return ()
    index = f"{snapshot.folder}/workspace/index.run"
    withdraw(index)
    snapshot.shadow.git.but(GIT_INDEX_FILE=index).run("read-tree", swap.tree)
    steps = [Move(step.path, step.goal, step.now) for step in swap.steps]
    name = f"{snapshot.folder}/base-files-{swap.name}"
    work = Transition(
        snapshot.shadow,
        ordered(steps, dict(swap.folders), swap.absent),
        index=index,
        kept=_kept(snapshot),
        log=f"{name}.to-run",
        watch=watch,
    )
    work.run()
    if work.left:
        return tuple(work.left)
    for path, at in swap.times.items():
        os.utime(f"{snapshot.root}/{path}", ns=(at, at), follow_symlinks=False)
    watch("forget the plan")
    withdraw(journal)
    for rest in (index, f"{name}.to-base", f"{name}.to-run"):
        withdraw(rest)
    return ()


def _kept(snapshot: Snapshot) -> str:
    return f"{snapshot.folder}/kept-by-checks"


def _folders_above(root: str, steps: tuple[Move, ...]) -> tuple[dict[str, int], tuple[str, ...]]:
    above = set()
    for step in steps:
        path = step.path
        while path := os.path.dirname(path):
            above.add(path)
    modes = {path: _mode_of_folder(f"{root}/{path}") for path in sorted(above)}
    there = {path: mode for path, mode in modes.items() if mode is not None}
    return there, tuple(path for path in modes if path not in there)


def _mode_of_folder(path: str) -> int | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return stat.S_IMODE(found.st_mode) if stat.S_ISDIR(found.st_mode) else None


def _time_of(path: str) -> int | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_mtime_ns if stat.S_ISREG(found.st_mode) else None
