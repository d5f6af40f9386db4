"""Merges a batch's changes back into the work tree, and commits them if asked to. Edges: git, disk.

It is called for verified runs and takes the paths that were seen to change, not what a run claims.
"""

from __future__ import annotations

import contextlib
import os

from runner.errors import Conflict, RunnerError
from runner.state.store import RUNS, RunDir
from runner.text import globs
from runner.usecases import accept
from runner.workspace import repository
from runner.workspace.undecided import standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.model import Config
    from runner.plan.units import Unit


def is_clean(config: Config) -> bool | None:
    """Whether nothing but runs is uncommitted or untracked; None outside git."""
    found = repository.find(config.root)
    if found is None:
        return None
    dirty, untracked = found.uncommitted()
    runs = os.path.relpath(os.path.join(os.path.realpath(config.root), RUNS), found.root)
    return not dirty and all(name.startswith(f"{runs}/") for name in untracked)


def uncommitted(config: Config) -> list[str]:
    """The tracked files that differ from the commit that is checked out, staged or not."""
    found = repository.find(config.root)
    return [] if found is None else sorted(found.uncommitted()[0])


def take_over(run: RunDir) -> None:
    """The change of a run's own work tree comes into the user's. Once is enough: again is no error.

    Conflict, with nothing changed, where it does not apply cleanly; WorkspaceBusy.
    """
    if accept.decided(run) != "accepted" or standing(run.path) is not None:
        try:
            accept.accept(run, actor="runner")
        except RunnerError:
            if accept.decided(run) != "accepted":
                raise  # else only its work tree could not be removed


def put_away(run: RunDir) -> None:
    """Removes an unneeded work tree and keeps its patch. A tree that cannot be removed stays."""
    if standing(run.path) is not None:
        with contextlib.suppress(RunnerError):
            accept.discard(run, actor="runner")


def is_begun(run: RunDir) -> bool:
    """Whether its change is in the user's tree, or on its way there."""
    return accept.decided(run) == "accepted" or os.path.lexists(f"{run.path}/accept/accept.json")


def strayed(run: RunDir, root: str, tree: str | None, paths: Sequence[str]) -> tuple[str, ...]:
    """Which of `paths` are in the work tree at `root` other than they were when the run was verified.
    Conflict where that is not known any more.
    """
    from runner.workspace import changes, snapshot

    taken = snapshot.load(run.path)
    if taken is None or tree is None:
        raise Conflict(f"what was verified of run `{run.run_id}` is not known any more")
    return changes.strayed(taken, tree, root, paths)


def outside(units: Sequence[Unit], changed: Sequence[str]) -> tuple[str, ...]:
    """What of it no unit names as written; () where a unit names no files, as then all may be its own."""
    named = [path for unit in units for path in (*unit.files.create, *unit.files.modify)]
    if not all(unit.files.create or unit.files.modify for unit in units):
        return ()
    return tuple(path for path in changed if not globs.covers(named, path))
