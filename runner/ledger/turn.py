"""Who is to speak next in a ledger. Pure."""

from __future__ import annotations

from runner.ledger.entry import HUMAN
from runner.ledger.lanes import ProposalStatus
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.ledger.lanes import State


class Speaker(Value):
    """Who is to speak next; `run_id` where it is one certain run."""

    actor: str
    run_id: str | None


def next_speaker(state: State) -> Speaker | None:
    """Of the newest open handoff; without one, who decides on a proposal, or whose handoff was answered."""
    asked = [one for one in state.lanes if one.to is not None and one.handoff is not None]
    answered = [one for one in state.lanes if one.to is not None and one.handoff is None]
    if not asked and state.proposal is not None and state.proposal.status is ProposalStatus.AWAITING:
        return Speaker(HUMAN, None)
    found = max(asked or answered, key=lambda lane: lane.seq, default=None)
    return None if found is None or found.to is None else Speaker(found.to, found.to_run)
