"""Parents and children on disk: who started whom, and how many at once. Edge: disk, standard library only.

A child is recorded in its parent's `control/children/`, under the parent's children lock, before it starts.
So the caps hold for any number of starters at once, and no child can be lost. The parent's supervisor, the
only writer of the parent's manifest, copies the names into it.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress

from runner.disk.files import make_plain_folder, open_lock, unwritable, withdraw
from runner.errors import Conflict, RunnerError
from runner.model import Lineage, Phase, is_name
from runner.state.messages import Queue
from runner.state.store import RunDir, is_run_id, manifest_path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from runner.invocation import Invocation
    from runner.state.manifest import Manifest

_STARTING_S = 60.0
"""A child without a folder counts as running for this long: its starter may be between the two."""
_DEEPEST = 64
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class TooManyChildren(Conflict):
    code = "max_children"
    default_hint = "wait for the end of one, or end one that waits, or raise max_children in [delegation]"
    retryable = True


class ParentOver(Conflict):
    code = "parent_over"
    default_hint = "a finished run has no more children and answers no questions"


def lineage_of(run: RunDir) -> Lineage:
    """How one run names another."""
    return Lineage(run.task_id, run.run_id, manifest_path_of(run.task_id, run.run_id))


def is_ending(run: RunDir, manifest: Manifest) -> bool:
    """Whether its agent gets no turn any more. After one it may get another, until the queue is closed."""
    if manifest.phase not in (Phase.STOPPING, Phase.VERIFYING) or manifest.reason is not None:
        return manifest.phase in (Phase.STOPPING, Phase.VERIFYING, Phase.DONE)
    queue = Queue(run)
    return not (queue.pending(manifest.messages_given) or (manifest.open and queue.end is None))


def plan_of(manifest: Manifest) -> Manifest | None:
    """Of the run that carries a plan out, that one itself; of a batch, the run of its plan."""
    found = manifest
    if (above := manifest.parent) is not None:
        with suppress(RunnerError):
            found = RunDir.of(manifest.repo, above).read_manifest()
    return found if found.runtime.name == "plan" else None


def children(run: RunDir, known: Container[str] = ()) -> list[RunDir]:
    """The runs that this one has started, oldest first; a folder may not exist (yet, or any more).

    One that names another parent, or none, is not among them: a run may be able to write in its own folder.
    `known` are ids that were found to be children before.
    """
    try:
        names = os.listdir(_folder(run))
    except OSError:
        return []
    pairs = (name.rpartition("@") for name in names)
    found = [(run_id, task) for task, _, run_id in pairs if is_name(task) and is_run_id(run_id)]
    named = [RunDir(run.repo, task, run_id) for run_id, task in sorted(found)]
    return [child for child in named if child.run_id in known or _is_child(child, run)]


def _is_child(child: RunDir, run: RunDir) -> bool:
    try:
        parent = child.read_manifest().parent
    except RunnerError:
        return True
    return parent is not None and parent.run_id == run.run_id


def descendants(run: RunDir) -> Iterator[RunDir]:
    """Children, their children and so on, each once; parents before children."""
    queue, seen = children(run), {run.run_id}
    while queue:
        child = queue.pop(0)
        if child.run_id not in seen:
            seen.add(child.run_id)
            yield child
            queue += children(child)


def ancestors(manifest: Manifest) -> list[RunDir]:
    """The parent, its parent and so on, as the manifests name them."""
    found: list[RunDir] = []
    parent = manifest.parent
    while parent is not None and len(found) < _DEEPEST:
        run = RunDir.of(manifest.repo, parent)
        found.append(run)
        try:
            parent = run.read_manifest().parent
        except RunnerError:
            break
    return found


def is_below(run: RunDir, top: RunDir) -> bool:
    """Whether `run` is `top` itself or one of its descendants: both sides' records have to say so."""
    if run.path == top.path:
        return True
    if all(child.path != run.path for child in descendants(top)):
        return False
    return any(above.path == top.path for above in ancestors(run.read_manifest()))


@contextmanager
def as_child(child: RunDir, parent: Invocation) -> Iterator[None]:
    """Around the start of a child: it is written down with its parent first, and taken back where it never
    became a run. TooManyChildren, ParentOver or Unwritable.
    """
    run = RunDir.of(parent.repo, parent)
    _reserve(run, child, parent.delegation.max_children)
    try:
        yield
    finally:
        if not os.path.exists(child.manifest):
            withdraw(_marker(run, child))
        run.wake()


def _reserve(parent: RunDir, child: RunDir, max_children: int) -> None:
    try:
        make_plain_folder(_folder(parent))
        lock = open_lock(f"{parent.control}/children.lock")
    except OSError as error:
        raise unwritable(error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_ending(parent, parent.read_manifest()):
            raise ParentOver(f"the parent run `{parent.run_id}` is over")
        running = sum(map(_is_running, children(parent)))
        if running >= max_children:
            raise TooManyChildren(f"`{parent.run_id}` has {running} running children, at most {max_children}")
        os.close(os.open(_marker(parent, child), _LOCK_FLAGS, 0o600))
    except OSError as error:
        raise unwritable(error) from error
    finally:
        os.close(lock)


def _is_running(child: RunDir) -> bool:
    try:
        return not child.read_manifest().is_done
    except RunnerError:
        pass
    if os.path.isdir(child.path):
        return True  # between its folder and its first manifest
    parts = child.run_id[:8], child.run_id[9:15]
    stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() - _STARTING_S))
    return "".join(parts) > stamp


def _folder(run: RunDir) -> str:
    return f"{run.control}/children"


def _marker(parent: RunDir, child: RunDir) -> str:
    return f"{_folder(parent)}/{child.task_id}@{child.run_id}"
