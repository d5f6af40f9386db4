"""Rolls a work tree back to its state before a run, losing nothing of the user's. Edge: git and disk.

<folder>/discarded.patch   all that the rollback removes, for `git apply`
<folder>/kept/             what was edited while it ran, and what no tree holds: repositories that the run
                           made, files that are too large (a FIFO, a socket or a device has nothing to keep)
<folder>/rollback.json     the plan, then the result; `rollback.steps` has the finished steps
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from runner.disk.files import create, private_folder
from runner.errors import Conflict, RollbackRefused
from runner.value import Count, InnerPath, ObjectId, Value
from runner.workspace import locked
from runner.workspace.changes import Changes, changed, has_same_index, index_bytes
from runner.workspace.files import read_bytes, read_record, write_json
from runner.workspace.places import unwatched
from runner.workspace.transition import Move, Moves, Transition, kept_files, ordered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runner.workspace.repository import Position
    from runner.workspace.snapshot import Snapshot

JOURNAL = "rollback.json"
_VERSION = 1
_NO_INDEX = b"runner: there was no index\n"


class Rolled(Value):
    """What a rollback did. Paths are relative to the work tree, those in `kept` to `<folder>/kept`.

    `index_restored` is whether this call did it. `tree` (a tree of the private git directory) and `patch`
    hold all that was taken away. `left` says why something could not be brought back, `unequal` what a look
    afterwards found to be other than before.
    """

    restored: tuple[str, ...]
    removed: tuple[str, ...]
    index_restored: bool
    kept: tuple[str, ...]
    left: tuple[str, ...]
    unequal: tuple[str, ...]
    tree: str
    patch: str

    @property
    def is_complete(self) -> bool:
        """Everything was seen to be as before."""
        return not (self.left or self.unequal)


class Journal(Value):
    """What was planned, and the result once it is complete. `log` is the file of the finished steps."""

    schema_version: Count
    log: InnerPath
    tree: ObjectId
    plan: Moves
    result: Rolled | None


def roll_back(snapshot: Snapshot, *, watch: Callable[[str], object] = unwatched) -> Rolled:
    """Restores files, permissions, links, folders and the index as they were. Ignored files, and what did not
    change, are not touched; neither is anything inside a repository inside. Hard links and times do not come
    back.

    RollbackRefused, with nothing changed, if HEAD or the branch moved, if a rebase is under way, or if git
    is at work. Conflict if another process rolls back at the same time. OSError and GitFailed may leave it
    half done: the next call finishes it. Once complete, a further call returns the same result and does
    nothing. `watch` gets each change of the disk before it is made.
    """
    with alone(snapshot):
        journal = f"{snapshot.folder}/{JOURNAL}"
        noted = read_record(journal, Journal)
        if noted is not None and noted.result is not None:
            return noted.result
        _refuse(snapshot, snapshot.repository.position())
        noted = noted or plan(snapshot, watch)
        result = _carry_out(snapshot, noted, watch)
        if result.is_complete:
            watch("result")
            write_json(journal, noted.replace(result=result).to_json())
        return result


def plan(snapshot: Snapshot, watch: Callable[[str], object] = unwatched) -> Journal:
    """What is to be rolled back, which it keeps: whatever changes later is not the run's."""
    planned = _planned(snapshot, changed(snapshot))
    watch("plan")
    write_json(f"{snapshot.folder}/{JOURNAL}", planned.to_json())
    return planned


def discarded(folder: str) -> str | None:
    """The patch of all that a rollback of the run of this folder took away, or has begun to; None without."""
    noted = read_record(f"{folder}/{JOURNAL}", Journal)
    has_begun = noted is not None and (noted.result is not None or os.path.exists(f"{folder}/{noted.log}"))
    return f"{folder}/discarded.patch" if has_begun else None


def _refuse(snapshot: Snapshot, now: Position) -> None:
    state, was = now.in_progress, snapshot.position.in_progress
    if now.branch != snapshot.position.branch:
        raise RollbackRefused(f"another branch is checked out: {now.branch or 'none (detached)'}")
    if now.head != snapshot.position.head:
        raise RollbackRefused(f"HEAD moved to {now.head or 'nothing'}: there are commits since the snapshot")
    if state == "rebase":
        raise RollbackRefused(
            "a rebase is under way", hint="finish it, or `git rebase --abort`, and try again"
        )
    if state != was:
        raise RollbackRefused(
            f"in the repository is under way: {state or 'nothing'}; before it was: {was or 'nothing'}"
        )
    lock = read_bytes(f"{snapshot.repository.index}.lock")
    if lock is not None and lock != (index_bytes(snapshot) or _NO_INDEX):
        raise RollbackRefused(
            "git is at work: it holds index.lock", hint="wait for it, or remove a stale index.lock"
        )


def _planned(snapshot: Snapshot, now: Changes) -> Journal:
    patch = f"{snapshot.folder}/discarded.patch"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(patch)  # of an attempt that did not come to a plan
    snapshot.shadow.git.into(patch, *snapshot.shadow.patch_arguments(snapshot.tree, now.tree))
    steps = [*_steps(snapshot, now)]
    unrecorded = now.unrecorded
    parents = {folder for path in (*now.names, *unrecorded) for folder in _parents(path)}
    folders = {*parents, *now.folders_deleted, *now.folder_modes} & snapshot.folders.keys()
    steps += [Move(path, None, None) for path in unrecorded]
    plan = ordered(steps, {path: snapshot.folders[path] for path in sorted(folders)}, now.folders_added)
    log = f"rollback-{os.urandom(4).hex()}.steps"  # the steps of another plan are no steps of this one
    return Journal(_VERSION, log, now.tree, plan, None)


def _steps(snapshot: Snapshot, now: Changes) -> Iterator[Move]:
    """Of what is left where a repository inside stood, nobody knows what was there before: it stays."""
    inner = {path: path in snapshot.folders for path in now.lost_repositories}
    for change in now.paths:
        if any(not is_hollow and change.path.startswith(f"{path}/") for path, is_hollow in inner.items()):
            continue
        if not inner.get(change.path, False):
            yield Move(change.path, change.after, change.before)
        elif change.after is not None:  # an empty folder was there
            yield Move(change.path, change.after, None)


def set_aside(folder: str, n: int) -> None:
    """Puts a complete rollback out of the way of a later one; what it took away stays, under names with `n`.

    The journal goes last: until then the next call knows that it is complete.
    """
    names = (
        ("discarded.patch", f"discarded-{n}.patch"),
        ("kept", f"kept-{n}"),
        (JOURNAL, f"rollback-{n}.json"),
    )
    for name, aside in names:
        if os.path.lexists(f"{folder}/{name}"):
            os.rename(f"{folder}/{name}", f"{folder}/{aside}")


def _parents(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _carry_out(snapshot: Snapshot, noted: Journal, watch: Callable[[str], object]) -> Rolled:
    plan = noted.plan
    kept = f"{snapshot.folder}/kept"
    steps = f"{snapshot.folder}/{noted.log}"
    work = Transition(snapshot.shadow, plan, index=snapshot.shadow.base, kept=kept, log=steps, watch=watch)
    work.run()
    restored, reason = False, None
    if len(plan.steps) not in work.done():
        restored, reason = _restore_index(snapshot, kept, watch)
        if reason is None:
            work.note(len(plan.steps), "the index")
    now = changed(snapshot)
    return Rolled(
        restored=tuple(step.path for step in plan.steps if step.goal is not None),
        removed=tuple(step.path for step in plan.steps if step.goal is None),
        index_restored=restored,
        kept=kept_files(kept),
        left=(*work.left, *([reason] if reason else [])),
        unequal=(*_differences(now), *_unseen(snapshot, now)),
        tree=noted.tree,
        patch=f"{snapshot.folder}/discarded.patch",
    )


def _unseen(snapshot: Snapshot, now: Changes) -> Iterator[str]:
    """Unreadable paths that were absent or readable before: whether they are unchanged is unknown."""
    return (f"cannot be looked at: {path}" for path in now.problems if path not in snapshot.problems)


def _differences(now: Changes) -> Iterator[str]:
    """A folder that stays because of ignored files in it is none: git knows no folders."""
    for change in now.paths:
        yield f"{change.kind}: {change.path}"
    for path in now.folders_deleted:
        yield f"folder is missing: {path}"
    for path in now.folder_modes:
        yield f"permissions of the folder: {path}"
    if now.staged:
        yield "the index"


def _restore_index(snapshot: Snapshot, kept: str, watch: Callable[[str], object]) -> tuple[bool, str | None]:
    """Whether something else was staged, and why it could not be put back. Its own lock keeps git away, and a
    killed attempt's is known by its content.

    An index that stages the same comes back too: by what it knows of the files of the run, git would call
    modified for ever what we put in their place.
    """
    index = snapshot.repository.index
    is_staged = index_bytes(snapshot) != read_bytes(index) and not has_same_index(snapshot)
    if is_staged:
        _give_back(snapshot)

    def keep() -> bool:
        if is_staged:
            _keep_index(index, kept)
        return True

    wanted = index_bytes(snapshot)
    at_ns = None if wanted is None else os.stat(snapshot.shadow.user_index).st_mtime_ns
    why = locked.replace(index, wanted, watch, absent=_NO_INDEX, at_ns=at_ns, is_expected=keep)
    return is_staged and why is None, None if why is None else f"the index: {why}"


def _keep_index(index: str, kept: str) -> None:
    data = read_bytes(index)
    if data is None:
        return
    private_folder(kept)
    number = 1
    while (there := read_bytes(f"{kept}/git-index.{number}")) is not None:
        if there == data:
            return
        number += 1
    create(f"{kept}/git-index.{number}", data)


def _give_back(snapshot: Snapshot) -> None:
    """Staged contents that the repository lost since, for example to a `git gc` after a `git reset`."""
    if not snapshot.has_index:
        return
    shadow = snapshot.shadow
    git = snapshot.repository.git
    listing = git.but(GIT_INDEX_FILE=shadow.user_index).run("ls-files", "-s", "-z").split(b"\0")[:-1]
    names = {line.split(b" ")[1] for line in listing if not line.startswith(b"160000")}
    asked = b"".join(name + b"\n" for name in sorted(names))
    answers = git.run("cat-file", "--batch-check", stdin=asked).splitlines()
    missing = b"".join(line.split(b" ")[0] + b"\n" for line in answers if line.endswith(b" missing"))
    if missing:
        pack = shadow.git.run("pack-objects", "-q", "--stdout", stdin=missing)
        git.run("unpack-objects", "-q", stdin=pack)


@contextlib.contextmanager
def alone(snapshot: Snapshot) -> Iterator[None]:
    fd = os.open(f"{snapshot.folder}/workspace/HEAD", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Conflict("this run is already being rolled back", hint="wait for it") from None
    finally:
        os.close(fd)
