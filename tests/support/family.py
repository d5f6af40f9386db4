"""Runs that stand in a relation to each other, on disk only: no process belongs to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from runner.model import Delegation, Outcome, Phase, Reason
from runner.processes.proc import identify
from runner.state import fingerprints
from runner.state.authentic import write_record
from runner.state.lineage import as_child, lineage_of
from runner.state.manifest import DelegationDeclared, timestamp
from runner.state.store import RunDir, new_run_id
from support.values import a_manifest, an_invocation

__all__ = ["ALL_TOOLS", "DELEGATION", "a_run", "end", "relative"]

ALL_TOOLS = ("status", "pause", "cancel", "question", "spawn", "send", "await", "ledger")
DELEGATION = Delegation(True, "inline", ALL_TOOLS, 2, 8, True)


def a_run(
    repo: Path,
    task: str = "hello",
    parent: RunDir | None = None,
    *,
    owned: list[int] | None = None,
    **changes: Any,
) -> RunDir:
    """A running run with every tool, written down as a child of `parent`.

    With `owned` this process holds its lock as a supervisor does; the descriptor is added to that list.
    """
    run = RunDir(str(repo), task, new_run_id())
    if parent is None:
        _write(run, None, owned, changes)
    else:
        with as_child(run, parent.read_invocation()):
            _write(run, parent, owned, changes)
    return run


def _write(run: RunDir, parent: RunDir | None, owned: list[int] | None, changes: dict[str, Any]) -> None:
    lock_fd = run.create()
    if owned is None:
        os.close(lock_fd)
    else:
        owned.append(lock_fd)
        changes["supervisor"] = identify(os.getpid())
    above = None if parent is None else lineage_of(parent)
    delegation = changes.pop("delegation", DELEGATION)
    invocation = an_invocation(run.repo, run.task_id, run.run_id, delegation=delegation, parent=above)
    write_record(run.invocation, invocation.to_json())
    fingerprints.note(run, {})  # as its supervisor does: no secret has a value
    declared = DelegationDeclared(delegation.enabled, delegation.server, delegation.tools)
    fields = {"phase": Phase.RUNNING, "delegation": declared, "parent": above, **changes}
    run.write_manifest(a_manifest(run).replace(**fields))


def end(run: RunDir) -> None:
    """Makes it a run that is done."""
    ended = {"ended_at": timestamp(), "reason": Reason("completed", "ok")}
    manifest = run.read_manifest()
    run.write_manifest(manifest.replace(phase=Phase.DONE, outcome=Outcome.SUCCEEDED, **ended))


def relative(run: RunDir) -> str:
    """Its manifest path as prompts have it."""
    return lineage_of(run).manifest_path
