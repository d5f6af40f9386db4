"""From settings to the rules of planning. Pure."""

from __future__ import annotations

from runner.plan.units import Rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Delegate, Economics

SIDE_BY_SIDE = 4
"""So many batches are shown in one wave where nothing runs side by side yet: what may, and not what will."""


def rules_of(delegate: Delegate, economics: Economics, *, forced: bool) -> Rules:
    """The rules that these settings mean; `forced` delegates also what is not worth it."""
    return Rules(
        soft_cap=delegate.soft_cap,
        hard_cap=delegate.hard_cap,
        oversize=delegate.oversize,
        balance=delegate.balance,
        trivial=delegate.trivial,
        forced=forced,
        hubs=delegate.hub_files,
        effort_floor=delegate.effort_floor,
        max_parallel=delegate.max_parallel if delegate.max_parallel > 1 else SIDE_BY_SIDE,
        economics=economics,
    )
