"""The progress of a plan, for the manifest of its run, from the conductor's ledger. Edge: disk, reading."""

from __future__ import annotations

from runner.runtimes import PLAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.invocation import Invocation
    from runner.state.store import RunDir


def shown(run: RunDir, invocation: Invocation, *, is_over: bool = False) -> dict[str, Any] | None:
    """None for a run that carries out no plan, and where the ledger cannot be read."""
    if invocation.runtime != PLAN:
        return None
    try:
        return run.read_ledger().shown(is_over=is_over)
    except ValueError:
        return None
