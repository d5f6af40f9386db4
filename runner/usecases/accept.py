"""USE CASES that end a run's own work tree: accept, discard. Edges: disk, git.

The decision is an event of the run; its manifest, which says how the run ended, does not change. Code that
calls git is imported only when it is needed.
"""

from __future__ import annotations

import contextlib
import os
import time

from runner.disk.files import remove_drafts
from runner.errors import Conflict, RunnerError, WorkspaceBusy
from runner.state import trust
from runner.state.authentic import refuse_foreign
from runner.state.events import EventLog, read_events
from runner.text.terminal import clean_terminal
from runner.usecases.look import look, to_end
from runner.value import Value
from runner.workspace.undecided import standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.state.store import RunDir
    from runner.workspace.worktree import Worktree

_FREE_WITHIN_S = 10.0
_POLL_S = 0.02
_DECISIONS = ("accepted", "discarded")


class TreeDecision(Value):
    """How a work tree's life ended. `paths` were changed in the user's tree; of these `kept` holds copies of
    what was edited meanwhile. `patch` is the work as it was judged, None if nothing was there to be kept;
    `later` what was done in the tree after that.
    """

    run_id: str
    decision: str
    paths: tuple[str, ...]
    kept: tuple[str, ...]
    patch: str | None
    later: str | None = None


def accept(run: RunDir, actor: str = "user") -> TreeDecision:
    """Merges the changes of a run's own work tree into the user's, as they were judged, and removes the tree.
    The event names the `actor`.

    Conflict, with nothing changed, where they do not apply cleanly (`problems`) or it is decided already;
    WorkspaceBusy while a run may write in the user's tree.
    """
    from runner.workspace import worktree as worktrees

    with _deciding(run) as tree:
        before = _decided(run, tree)
        if before is not None and not (before == "accepted" and os.path.lexists(tree.path)):
            raise _decided_already(run, before)
        if before == "accepted":  # all of it is in place, and the tree was not removed
            worktrees.discard(tree, judged(run))
            return TreeDecision(run.run_id, "accepted", (), (), tree.patch, _there(tree.later))
        with _writing(run, tree):
            done = worktrees.accept(tree, judged(run))
        if done.left:
            raise Conflict(
                "not all changes could be put in place",
                hint="remove the obstacles named above, then `runner accept` continues from there",
                problems=done.left,
            )
        # Before the tree goes: the event has to say why it is gone.
        log = EventLog(run.events)
        log.append("accepted", actor=actor, files=len(done.paths))
        worktrees.discard(tree, judged(run))
    kept = tuple(f"{run.path}/accept/kept/{name}" for name in done.kept)
    return TreeDecision(run.run_id, "accepted", done.paths, kept, tree.patch, _there(tree.later))


def judged(run: RunDir) -> str | None:
    """The tree that the verdict speaks of, from before the checks ran; None where there is no verdict on what
    was seen.
    """
    from runner.verify import record

    found = record.load(run.result)
    is_last = found is not None and found.attempt == run.read_manifest().attempt
    return found.observed.tree if found is not None and is_last and found.observed is not None else None


def _there(path: str) -> str | None:
    return path if os.path.lexists(path) else None


def discard(run: RunDir, actor: str = "user") -> TreeDecision:
    """Removes the work tree of a run; the work stays as a patch in its folder. The event says that `actor`
    decided so. Conflict where that was decided before.
    """
    from runner.workspace import worktree as worktrees

    with _deciding(run) as tree:
        before, is_there = _decided(run, tree), os.path.lexists(tree.path)
        if is_there and (before == "accepted" or (before is None and tree.acceptance_began)):
            what = "the removal of its work tree" if before else "that"
            raise Conflict(
                f"run `{run.run_id}` was accepted, but {what} was interrupted",
                hint=f"`runner accept {run.run_id}` finishes that",
            )
        if before is not None and not is_there:
            raise _decided_already(run, before)
        worktrees.discard(tree, judged(run))
        log = EventLog(run.events)
        log.note("discarded", actor=actor)
        trust.forget_undone(run.repo, os.environ, run.run_id)
    return TreeDecision(run.run_id, "discarded", (), (), _there(tree.patch), _there(tree.later))


@contextlib.contextmanager
def _deciding(run: RunDir) -> Iterator[Worktree]:
    """The work tree of a run that is done, under the lock of the run: one decides at a time."""
    manifest = look(run)
    if not manifest.is_done:
        raise Conflict(
            f"run `{run.run_id}` is not done: it is `{manifest.status}`",
            hint=to_end(manifest),
        )
    refuse_foreign(run)
    tree = own_tree(run)
    if tree is None:
        raise Conflict(
            f"run `{run.run_id}` has no work tree of its own: there is nothing to accept or discard",
            hint="its changes are in your tree, and `runner diff RUN` shows them; "
            'workspace = "worktree" gives the runs of a task trees of their own',
        )
    if os.path.lexists(run.events) and not os.path.isfile(run.events):
        raise Conflict(
            f"the decision cannot be noted: {run.events} is no file", hint="remove it, then try again"
        )
    lock_fd = _lock(run)
    try:
        remove_drafts(run.path)
        yield tree
    except RunnerError as error:
        error.problems = tuple(map(clean_terminal, error.problems))  # names of files, as an agent chose them
        raise
    finally:
        os.close(lock_fd)


@contextlib.contextmanager
def undisturbed(run: RunDir) -> Iterator[None]:
    """Once its owner has let go of a run that never came to be: it seals the files, and removes what somebody
    else is just writing among them.
    """
    lock_fd = None
    with contextlib.suppress(RunnerError):
        lock_fd = _lock(run)
    try:
        yield
    finally:
        if lock_fd is not None:
            os.close(lock_fd)


def _lock(run: RunDir) -> int:
    """Its owner seals the files after the end, which others do not have to wait for."""
    deadline = time.monotonic() + _FREE_WITHIN_S
    while (lock_fd := run.try_lock()) is None:
        if time.monotonic() > deadline:
            raise Conflict(
                f"run `{run.run_id}` is in use", hint="another command is working on it; try again"
            )
        time.sleep(_POLL_S)
    return lock_fd


def own_tree(run: RunDir) -> Worktree | None:
    """The work tree that was made for it, standing or not. Conflict if its record cannot be believed."""
    from runner.workspace import worktree

    tree = worktree.load(run.path)
    if tree is not None and not tree.is_of(run.repo, run.path, run.run_id):
        raise Conflict(
            f"the record in {run.path} is not of a work tree of this run: {clean_terminal(tree.path)}",
            hint="if the repository was moved, copy the changes by hand, then `git worktree remove`",
        )
    return tree


@contextlib.contextmanager
def _writing(run: RunDir, tree: Worktree) -> Iterator[None]:
    """No run may write in the user's tree meanwhile, or begin to."""
    from runner.workspace import lease

    relative = os.path.relpath(run.manifest, run.repo)
    try:
        held = lease.acquire(tree.repo, lease.Holder(run.run_id, relative))
    except WorkspaceBusy as busy:
        hint = "wait for that run, or end it if it waits for a message; then accept this one"
        raise WorkspaceBusy(busy.message, hint=hint) from None
    try:
        yield
    finally:
        held.release()


def _decided(run: RunDir, tree: Worktree) -> str | None:
    """The earlier decision. An acceptance is recorded before the removal, or there is none."""
    return decided(run) or ("discarded" if tree.removal_began else None)


def decided(run: RunDir) -> str | None:
    """`accepted` or `discarded`, as its last event about that says, by a person or the conductor."""
    told = [event["type"] for event in read_events(run.events) if event.get("type") in _DECISIONS]
    return str(told[-1]) if told else None


def _decided_already(run: RunDir, decision: str) -> Conflict:
    patch = f"`runner diff {run.run_id}` shows the patch that was kept"
    if decision == "discarded" and standing(run.path):
        patch = f"`runner discard {run.run_id}` finishes the removal"
    return Conflict(f"run `{run.run_id}` is already {decision}", hint=patch)
