"""What has become of a run's change, in one line for people. Edge: disk, reading. Standard library only.

After its end nothing else says whether a change is still in the tree, or waits for a decision.
"""

from __future__ import annotations

import contextlib

from runner.disk.files import read
from runner.errors import RunnerError
from runner.text.words import count
from runner.value import json_value
from runner.workspace.undecided import standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Json
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir

_LARGEST = 64 << 20


def of_change(run: RunDir, manifest: Manifest) -> str | None:
    """None for a run that is not done, has changed nothing, was not recorded, or never had an agent."""
    if not manifest.is_done:
        return None
    shows = f"runner diff {run.run_id}"
    if standing(run.path) is not None:
        decide = f"runner accept {run.run_id} | runner discard {run.run_id}"
        return f"in a work tree that waits for your decision: {shows} | {decide}"
    if manifest.workspace is None or manifest.workspace.kind == "worktree":
        return None
    if manifest.started_at is None and manifest.outcome != "lost":
        return None
    try:
        found = json_value(read(run.result, _LARGEST))
        return _in_your_tree(found, manifest, shows)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return f"what it changed is still in your tree: {shows}"


def in_words(run: RunDir, manifest: Manifest) -> str | None:
    """As `of_change`. A plan has no change of its own: a line for each batch that did not succeed and whose
    change was not nothing.
    """
    if manifest.plan is None:
        return of_change(run, manifest)
    from runner.state.store import RunDir, is_run_id
    from runner.usecases.look import show

    lines = []
    with contextlib.suppress(LookupError, TypeError, AttributeError):  # an agent may have written it
        for one in manifest.plan["batches"]:
            if one["status"] in ("succeeded", "done") or not is_run_id(one["run_id"] or ""):
                continue
            batch = RunDir(run.repo, run.task_id, one["run_id"])
            try:
                shown = show(batch)
            except RunnerError:
                continue
            if shown.foreign is None and (change := of_change(batch, shown.manifest)) is not None:
                lines.append(f"batch {one['n']}: {change}")
    return "\n".join(lines) or None


def _in_your_tree(found: Json, manifest: Manifest, shows: str) -> str | None:
    rolled, seen = found["rolled_back"], found["observed"]
    if rolled is not None and rolled.get("refused") is None:
        files = count(len(rolled["restored"]) + len(rolled["removed"]), "file")
        all_of_it = "rolled back" if not (rolled["left"] or rolled["unequal"]) else "not all rolled back"
        return f"{all_of_it} ({files}): {shows}"
    if found["attempt"] != manifest.attempt or seen is None:
        return f"not known; what is in your tree: {shows}"
    if not seen["changed"]:
        return None
    files = count(len(seen["changed"]), "file")
    if manifest.outcome == "succeeded":
        return f"{files} in your tree: {shows}"
    why = "its rollback was refused" if rolled is not None else "it had uncommitted changes before"
    why = why if rolled is not None or found.get("was_clean") is False else ""
    return f"{files} kept in your tree{f' ({why})' if why else ''}: {shows}"
