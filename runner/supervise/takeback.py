"""Whether the change of a failed attempt is taken back, and what came of it. Edge: git, by `tree_helper`."""

from __future__ import annotations

import os

from runner.supervise import tree_helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.model import Terms
    from runner.state.events import EventLog
    from runner.state.store import RunDir
    from runner.supervise.judging import Judgement

_GIT = "look at the tree with `git status`; `runner diff RUN` shows the change"


def is_wanted(run: RunDir, terms: Terms, judgement: Judgement) -> bool:
    """Only in a shared tree that was recorded, and where `on_failure` does not keep it.

    Without that key a tree that had uncommitted work before is kept.
    """
    is_shared = tree_helper.is_recorded(run) and not os.path.exists(f"{run.path}/worktree.json")
    keeps = terms.on_failure == "keep" or (terms.on_failure is None and judgement.was_clean is False)
    return is_shared and not keeps and judgement.is_touched


def take_back(
    run: RunDir, env: Mapping[str, str], log: EventLog, *, may_write: bool, is_alone: bool
) -> dict[str, Any]:
    """A `Rolled` as JSON, or why it was `refused`. Told in the events.

    `may_write`: the lease of the tree is ours. `is_alone`: nobody watched the tree since the program had
    ended, so it may hold the work of others by now; only a rollback that was begun before is finished.
    """
    try:
        if not may_write:
            raise tree_helper.TreeUnknown("another run may write in the work tree by now")
        if is_alone and not tree_helper.has_begun(run):
            raise tree_helper.TreeUnknown(
                "the run had no owner for a while, and others may have worked there"
            )
        rolled = tree_helper.roll_back(run, env)
    except (tree_helper.TreeUnknown, OSError, ValueError) as error:
        rolled = {"refused": str(error)[:500], "hint": _GIT}
    said = {name: rolled[name] for name in ("refused", "kept", "left", "unequal") if rolled.get(name)}
    counts = {name: len(rolled.get(name, ())) for name in ("restored", "removed")}
    log.note("rolled_back", **counts, **said)
    return rolled


def amiss(rolled: Mapping[str, Any]) -> str:
    """What could not be brought back; "" where all is as before."""
    told = (rolled.get("refused"), *rolled.get("left", ()), *rolled.get("unequal", ()))
    return ", ".join(str(one) for one in told[:5] if one)
