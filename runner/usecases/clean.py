"""USE CASES over all runs: reap those without an owner, clean those that are done. Standard library only."""

from __future__ import annotations

import contextlib
import os
import time

from runner.disk.files import unwritable
from runner.errors import ForeignRun, RunnerError, RunNotFound
from runner.model import Outcome
from runner.processes import cgroup
from runner.state import feed, index
from runner.state.authentic import not_to_be_removed, own_ledger, why_foreign
from runner.state.index import RunRow, row_of
from runner.state.lineage import ancestors
from runner.state.manifest import parse_timestamp
from runner.state.store import RunDir, runs_of
from runner.usecases.look import finish_sealing, is_placed, look, unknown
from runner.usecases.look import foreign as foreign_row
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.manifest import Manifest

_MADE_WITHIN_S = 60.0


class Cleaned(Value):
    """`removed` are gone, or would be; `undecided` stay, each with its work tree, which stands, `stopped` are
    the last runs of plans whose breaker is open and of pipelines that stopped, each with the command that
    goes on with it, and `foreign` belong to others or to git, or have a work tree that nobody decides on.
    """

    removed: tuple[RunRow, ...]
    undecided: tuple[tuple[RunRow, str], ...]
    stopped: tuple[tuple[RunRow, str], ...]
    foreign: tuple[tuple[RunRow, str], ...] = ()
    unseen: tuple[RunRow, ...] = ()
    """Those of `removed` of which nobody knows whether processes of them still live."""


def reap(root: str) -> list[RunRow]:
    """Looks at every run there is; the rows of those that changed by it. And has no ledger say that a run
    has a handoff which is over.
    """
    changed = []
    for task, run_id in index.folders(root):
        run = RunDir(root, task, run_id)
        try:
            before = run.read_manifest()
            if before.is_done:
                finish_sealing(run)
                continue
            owner = before.supervisor
        except RunnerError:
            owner = None
        try:
            if run.is_locked():
                continue
            after = look(run)
        except (RunNotFound, ForeignRun):
            continue
        except RunnerError:
            changed.append(unknown(run))
            continue
        if after.is_done or after.supervisor != owner:
            changed.append(row_of(after))
    cgroup.tidy()
    from runner.usecases.takers import settle_all  # no other command looks at all ledgers

    settle_all(root)
    return sorted(changed, key=lambda row: row.run_id, reverse=True)


def clean(root: str, *, older_than_s: float, dry_run: bool) -> Cleaned:
    """Removes finished runs that ended longer ago.

    A run is removed only under its own lock, only when its manifest says that it is done, and not while its
    own work tree exists, which would become unidentifiable, or a run above it is not done. Nor does this
    reset the breaker of a plan. Of what others could have written, and of what git tracks, nothing is
    removed. A MAC is not asked for: all that is believed of a record is that its run has ended. A run that
    has a handoff stays where its ledger cannot be told that it is over.
    """
    from runner.workspace.undecided import standing  # only this command pays for it

    removed, unseen = list[RunRow](), list[RunRow]()
    stopped, undecided, foreign = (list[tuple[RunRow, str]]() for _ in range(3))
    last, needed = _of_pipelines(root, older_than_s)
    # The oldest first: only a later run shows that it resumed a plan.
    for task, run_id in sorted(index.folders(root), key=lambda folder: folder[1]):
        run = RunDir(root, task, run_id)
        if (why := not_to_be_removed(run)) is not None:
            foreign.append((foreign_row(run), why.message))
            continue
        if not run.is_described():
            removed += _without_abandoned(run, dry_run=dry_run)
            continue
        if (lock_fd := _lock(run, seals=not dry_run)) is None:
            continue
        try:
            manifest = run.read_manifest()
            if not _ended_before(manifest, older_than_s) or _is_needed(manifest) or _has_job(run, manifest):
                continue
            row = row_of(manifest)
            if (tree := standing(run.path)) is not None:
                why = why_foreign(run)
                (foreign if why else undecided).append((row, why.message if why else tree))
            elif run_id in last or (manifest.has_open_breaker and _is_last(run, manifest)):
                stopped.append((row, _way_on(manifest)))
            elif run_id not in needed and _remove(run, dry_run=dry_run):
                removed.append(row)
                unseen += [row] if manifest.survivors is None else []
        except RunnerError:
            continue
        except OSError as error:
            raise unwritable(error) from error
        finally:
            os.close(lock_fd)
    if not dry_run:
        _tidy(root, older_than_s)
    kept = tuple(undecided[::-1]), tuple(stopped[::-1]), tuple(foreign[::-1])
    return Cleaned(tuple(removed[::-1]), *kept, tuple(unseen[::-1]))


def _lock(run: RunDir, *, seals: bool) -> int | None:
    """Its lock, if it is free and can be taken; what its owner was killed over is finished first."""
    try:
        if seals and os.path.exists(run.wake_fifo) and run.read_manifest().is_done:
            finish_sealing(run)
        return run.try_lock()
    except RunnerError:
        return None


def _ended_before(manifest: Manifest, seconds: float) -> bool:
    """Whether it is done, and so long ago."""
    ended = manifest.ended_at
    return manifest.is_done and ended is not None and time.time() - parse_timestamp(ended) >= seconds


def _is_last(run: RunDir, manifest: Manifest) -> bool:
    """Whether no later run has resumed its plan or started it over."""
    for later in runs_of(run.repo, run.task_id):
        if later.run_id == run.run_id:
            break
        try:
            found = later.read_manifest()
        except RunnerError:
            continue
        is_same = found.plan is not None and found.plan.get("file") == (manifest.plan or {}).get("file")
        if is_same and not (found.never_started and not os.path.lexists(later.ledger)):
            return False
    return True


def _way_on(manifest: Manifest) -> str:
    from runner.state.plan_ledger import way_on

    file = str((manifest.plan or {}).get("file"))
    return way_on(file, manifest.task_id, resets=manifest.has_open_breaker)


def _of_pipelines(root: str, older_than_s: float) -> tuple[set[str], set[str]]:
    """The last runs of pipelines of which something is left, and the runs that would be asked if one was
    resumed. What a person has cancelled counts until it is as old as that; nothing that is over counts if
    that is 0.
    """
    from runner.usecases.takers import continued  # whoever has no pipelines does not pay for it

    last, needed = set[str](), set[str]()
    for run in (RunDir(root, task, run_id) for task, run_id in index.folders(root)):
        try:
            if not os.path.lexists(run.ledger) or why_foreign(run) is not None:
                continue
            found, manifest = own_ledger(run), run.read_manifest()
        except RunnerError:
            continue  # nobody can resume it
        is_old = manifest.outcome == Outcome.CANCELLED and _ended_before(manifest, older_than_s)
        is_all = manifest.is_done and older_than_s == 0
        is_given_up = not manifest.has_open_breaker and (is_old or is_all)
        if found.stages and not (found.is_complete or is_given_up) and _is_last(run, manifest):
            last.add(run.run_id)
            needed |= {one.run_id for one in continued(run)}
            needed |= {
                one.run_id for step in found.steps for one in (step.run, step.first, *step.before) if one
            }
    return last, needed


def _is_needed(manifest: Manifest) -> bool:
    """Whether a run above it is not done: a plan asks the runs of its batches how they ended."""
    for above in ancestors(manifest):
        try:
            if not above.read_manifest().is_done:
                return True
        except RunnerError:
            continue
    return False


def _has_job(run: RunDir, manifest: Manifest) -> bool:
    """Whether a job of it may still be there, for which its folder has to stay."""
    if not is_placed(run):
        return False
    from runner.usecases import away

    return away.has_job(run, manifest)


def _tidy(root: str, older_than_s: float) -> None:
    """Removes what those have left that were killed over the end of a run, and what is old in the feed."""
    import shutil

    with contextlib.suppress(OSError, RunnerError):  # the next `clean` tries again
        feed.trim(root, older_than_s)
    cgroup.tidy()
    for half in index.halves(root):
        if not_to_be_removed(half) is None:
            shutil.rmtree(half.path, ignore_errors=True)


def _remove(run: RunDir, *, dry_run: bool) -> bool:
    """Under another name, so that it is gone in one step: who is killed over the rest leaves no half of a
    run. Another `clean` may help with that. False where its ledger has to hear of its end first.
    """
    import shutil

    from runner.usecases.takers import is_told

    if not is_told(run, dry_run=dry_run):
        return False
    if dry_run:
        return True
    half = index.half_of(run)
    os.rename(run.path, half.path)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(half.path)
    return True


def _without_abandoned(run: RunDir, *, dry_run: bool) -> list[RunRow]:
    """The row of a folder that never became a run, which is gone then."""
    if not _is_abandoned(run):
        return []
    if not dry_run:
        run.discard()
    return [unknown(run)]


def _is_abandoned(run: RunDir) -> bool:
    """Whether the creator of this folder was killed meanwhile: it was not touched for a minute."""
    try:
        return time.time() - os.stat(run.path).st_mtime > _MADE_WITHIN_S and not run.is_locked()
    except RunNotFound:
        return True  # not even a lock
    except (OSError, RunnerError):
        return False
