"""USE CASES after a run: its report, its change, and what becomes of a work tree of its own. Edges: disk, git.

`report` is standard library only. The others import `runner.workspace`, and with it `sh`, when they are called.
"""

from __future__ import annotations

import contextlib
import json
import os
import time

from runner.errors import Conflict, ManifestBroken, RunnerError, WorkspaceBusy
from runner.logs import redactor
from runner.looking import look
from runner.model import Level
from runner.redact import clean_terminal
from runner.state.events import EventLog
from runner.state.events import read as read_events
from runner.state.files import no_follow
from runner.value import Value
from runner.verify import record as records
from runner.verify import report as reports
from runner.verify.inspect import Allowed, allowed_by
from runner.workspace.undecided import standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner.state.manifest import Manifest
    from runner.state.store import RunDir
    from runner.verify.checks import Check
    from runner.verify.record import Record
    from runner.verify.report import Report
    from runner.workspace.changes import LinesChanged
    from runner.workspace.worktree import Worktree

LARGEST_RESULT = 16 * 1024 * 1024
"""A longer `result.json` is not read. Ours has at most a result of 1 MiB, tails, and names of files."""

_FREE_WITHIN_S = 10.0
_POLL_S = 0.02
_DECISIONS = ("accepted", "discarded")


class Reviewed(Value):
    """A report, and what else whoever reads it should know, one sentence each."""

    report: Report
    notes: tuple[str, ...]


class Patch(Value):
    """The change of a run as `git apply` takes it. `kept` is the file that it stands in; None: it was made
    just now from the tree.
    """

    data: bytes
    files: tuple[LinesChanged, ...]
    kept: str | None
    notes: tuple[str, ...]

    @property
    def text(self) -> str | None:
        """None where it is not UTF-8: the contents of a file that is not."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None


class Decision(Value):
    """How a work tree's life ended. `paths` were changed in the user's tree; of these `kept` holds copies of
    what was edited meanwhile. `patch` is all of the work, None if nothing was there to be kept.
    """

    run_id: str
    decision: str
    paths: tuple[str, ...]
    kept: tuple[str, ...]
    patch: str | None


# -- report ----------------------------------------------------------------------------------------


def report(run: RunDir, env: Mapping[str, str]) -> Reviewed:
    """What is known of a run, done or not. A result that cannot be read is a note and no error."""
    manifest = look(run, env)
    notes: list[str] = []
    found = _result(run, manifest, notes)
    allowed, declared = _allowed(run, manifest, notes)
    redact = redactor(run, manifest, env).redact_text
    known = {} if found is None else {name: getattr(found, name) for name in ("claim", "observed", "findings")}
    made = reports.report(
        manifest.to_json(),
        allowed,
        **known,
        checks=_checks(run) if found is None else found.checks,
        declared_checks=declared if found is None else found.declared_checks,
        failure_codes=() if found is None else found.failure_codes,
        conformance=_conformance(manifest) if found is None else found.conformance,
        redact=redact,
    )
    notes += _to_do(run, manifest, found)
    return Reviewed(made, tuple(redact(clean_terminal(note)) for note in notes))


def _result(run: RunDir, manifest: Manifest, notes: list[str]) -> Record | None:
    """What was found at its end. It speaks of one attempt, and of none that came after that."""
    name = os.path.basename(run.result)
    try:
        with open(run.result, "rb", opener=no_follow) as file:
            data = file.read(LARGEST_RESULT + 1)
        if len(data) > LARGEST_RESULT:
            raise ValueError(f"it has more than {LARGEST_RESULT} bytes")
        found = records.parse(json.loads(data, parse_constant=_no_number))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        notes.append(f"{name} cannot be used, so only the manifest speaks here: {why}")
        return None
    if not manifest.is_done:
        return None
    if found.attempt != manifest.attempt:
        notes.append(f"{name} is of attempt {found.attempt}, the run is at {manifest.attempt}: it was left out")
        return None
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _allowed(run: RunDir, manifest: Manifest, notes: list[str]) -> tuple[Allowed, int]:
    """What it was allowed, and how many checks were declared."""
    try:
        invocation = run.read_invocation()
    except ManifestBroken as error:
        notes.append(f"what the run was allowed is not known: {error.message}")
        return Allowed(writes=manifest.sandbox.level is not Level.READ_ONLY), 0
    return allowed_by(invocation), len(invocation.verify)


def _checks(run: RunDir) -> tuple[Check, ...]:
    """Those of the last attempt that were run so far, as they were told when they ended."""
    found: list[Check] = []
    for event in read_events(run.events):
        if event.get("type") == "started":
            found = []
        elif event.get("type") == "checked":
            with contextlib.suppress(KeyError, TypeError, ValueError):
                found.append(records.check(event))
    return tuple(found)


def _conformance(manifest: Manifest) -> Mapping[str, object] | None:
    """What a run that has no result yet was seen to work with."""
    try:
        seen: Mapping[str, object] = records.settings(manifest.to_json().get("conformance") or {})
    except (KeyError, TypeError, ValueError):
        return None
    return seen


def _to_do(run: RunDir, manifest: Manifest, found: Record | None) -> Iterator[str]:
    if found is not None and found.rolled_back is not None:
        rolled = found.rolled_back
        yield f"its changes were rolled back ({rolled.count} files); `runner diff {run.run_id}` shows them"
        for text in rolled.amiss:
            yield f"not as it was before: {text}"
        if rolled.kept:
            yield f"{len(rolled.kept)} files were edited meanwhile and are kept in {run.path}/kept"
    tree = standing(run.path)
    if tree is not None and manifest.is_done:
        words = f"`runner accept {run.run_id}` or `runner discard {run.run_id}`"
        yield f"its work tree waits for a decision: {words} ({tree})"


# -- the change ------------------------------------------------------------------------------------


def diff(run: RunDir, env: Mapping[str, str]) -> Patch:
    """The change of a run so far, or what was kept of it. Conflict where nothing was recorded before it."""
    from runner.workspace import changes, rollback

    manifest = look(run, env)
    tree = _worktree(run)
    notes: list[str] = []
    kept = rollback.discarded(run.path) if tree is None else _kept_patch(tree)
    if kept is None:
        data = _change_now(run, manifest, tree, notes)
    else:
        what = "its changes were rolled back" if tree is None else "its work tree is gone"
        notes.append(f"{what}: this is the patch that was kept, {kept}")
        data = _read(kept)
    return Patch(data, changes.lines_of(data), kept, tuple(map(clean_terminal, notes)))


def shown(patch: bytes) -> str:
    """A patch for a terminal. What comes out of a pipe has to be exact; here nothing may move the cursor."""
    return clean_terminal(patch.decode(errors="replace"))


def _kept_patch(tree: Worktree) -> str | None:
    """The patch in the run's folder, once the tree is gone or going."""
    if tree.is_there() and not tree.removal_began:
        return None
    if os.path.lexists(tree.patch):
        return tree.patch
    raise Conflict(
        f"the work tree {tree.path} is gone, and no patch of it was kept",
        hint="it was removed by hand; `runner report RUN` tells what is known",
    )


def _change_now(run: RunDir, manifest: Manifest, tree: Worktree | None, notes: list[str]) -> bytes:
    from runner.workspace import changes, snapshot

    try:
        taken = snapshot.load(run.path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Conflict(f"the snapshot of run `{run.run_id}` cannot be read: {error}") from error
    if taken is None:
        raise Conflict(
            f"nothing was recorded before run `{run.run_id}`, so its change is not known",
            hint="a read-only run is not recorded, and neither is one outside git",
        )
    if os.path.realpath(taken.folder) != os.path.realpath(run.path):
        raise Conflict(f"the snapshot in {run.path} is of another folder: {taken.folder}")
    if manifest.is_done and tree is None:
        notes.append(f"all that changed since the run began; it ended {manifest.ended_at}")
    return changes.diff(taken)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", opener=no_follow) as file:
            return file.read()
    except OSError as error:
        raise Conflict(f"{path} cannot be read: {error.strerror}") from error


# -- the decision ----------------------------------------------------------------------------------


def accept(run: RunDir, env: Mapping[str, str]) -> Decision:
    """Brings the changes of a run's own work tree into the user's, and removes the tree.

    Conflict, with nothing changed, where they do not apply cleanly (`problems`) or somebody decided before;
    WorkspaceBusy while a run may write in the user's tree.
    """
    from runner.workspace import worktree as worktrees

    with _deciding(run, env) as tree:
        before = _decided(run, tree)
        if before is not None and not (before == "accepted" and os.path.lexists(tree.path)):
            raise _decided_already(run, before)
        if tree.removal_began:  # the acceptance was seen through, the removal was not
            worktrees.discard(tree)
            return Decision(run.run_id, "accepted", (), (), tree.patch)
        with _writing(run, tree):
            done = worktrees.accept(tree)
        if done.left:
            raise Conflict(
                "not all changes could be put in place",
                hint="what stands in the way is named above; a further `runner accept` goes on from there",
                problems=done.left,
            )
        # Before the tree goes: whoever finds it gone has to be able to know why.
        log = EventLog(run.events)
        log.append("accepted", actor="user", files=len(done.paths))
        worktrees.discard(tree)
    kept = tuple(f"{run.path}/accept/kept/{name}" for name in done.kept)
    return Decision(run.run_id, "accepted", done.paths, kept, tree.patch)


def discard(run: RunDir, env: Mapping[str, str]) -> Decision:
    """Removes the work tree of a run; the work stays as a patch in its folder. Conflict where that was
    decided before.
    """
    from runner.workspace import worktree as worktrees

    with _deciding(run, env) as tree:
        before, is_there = _decided(run, tree), os.path.lexists(tree.path)
        if before == "accepted" and is_there:
            raise Conflict(
                f"run `{run.run_id}` was accepted, and only the removal of its work tree was broken off",
                hint=f"`runner accept {run.run_id}` finishes that",
            )
        if before is not None and not is_there:
            raise _decided_already(run, before)
        worktrees.discard(tree)
        log = EventLog(run.events)
        log.note("discarded", actor="user")
    return Decision(run.run_id, "discarded", (), (), tree.patch if os.path.lexists(tree.patch) else None)


@contextlib.contextmanager
def _deciding(run: RunDir, env: Mapping[str, str]) -> Iterator[Worktree]:
    """The work tree of a run that is done, under the lock of the run: one decides at a time."""
    manifest = look(run, env)
    if not manifest.is_done:
        raise Conflict(
            f"run `{run.run_id}` is not done: it is `{manifest.status}`",
            hint="`runner wait RUN` waits for its end, `runner cancel RUN` ends it",
        )
    tree = _worktree(run)
    if tree is None:
        raise Conflict(
            f"run `{run.run_id}` has no work tree of its own: there is nothing to decide",
            hint="what it changed is in your tree, and `runner diff RUN` shows it; "
            'workspace = "worktree" gives the runs of a task trees of their own',
        )
    lock_fd = _lock(run)
    try:
        yield tree
    except RunnerError as error:
        error.problems = tuple(map(clean_terminal, error.problems))  # names of files, as an agent chose them
        raise
    finally:
        os.close(lock_fd)


def _lock(run: RunDir) -> int:
    """Its owner seals the files after the end, which others do not have to wait for."""
    deadline = time.monotonic() + _FREE_WITHIN_S
    while (lock_fd := run.try_lock()) is None:
        if time.monotonic() > deadline:
            raise Conflict(f"run `{run.run_id}` is in use", hint="somebody is at work on it; try again")
        time.sleep(_POLL_S)
    return lock_fd


def _worktree(run: RunDir) -> Worktree | None:
    from runner.workspace import worktree

    try:
        tree = worktree.load(run.path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Conflict(f"the record of the work tree of run `{run.run_id}` is broken: {error}") from error
    if tree is not None and not tree.is_of(run.repo, run.path, run.run_id):
        raise Conflict(
            f"the record in {run.path} names a work tree that is not of this run: {clean_terminal(tree.path)}",
            hint="was the repository moved? then bring the changes over by hand, and `git worktree remove`",
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
        raise WorkspaceBusy(busy.message, hint="wait for that run, and accept this one then") from None
    try:
        yield
    finally:
        held.release()


def _decided(run: RunDir, tree: Worktree) -> str | None:
    """What was decided before. An acceptance is told before the removal; without that word it is none."""
    told = [event["type"] for event in read_events(run.events) if event.get("type") in _DECISIONS]
    return str(told[-1]) if told else "discarded" if tree.removal_began else None


def _decided_already(run: RunDir, decision: str) -> Conflict:
    patch = f"`runner diff {run.run_id}` shows the patch that was kept"
    if decision == "discarded" and standing(run.path):
        patch = f"`runner discard {run.run_id}` finishes the removal"
    return Conflict(f"run `{run.run_id}` was {decision} already", hint=patch)
