"""What a ledger says by now: lanes, whose turn it is, finality. Pure.

All of it is derived, entry by entry, by `advance`; `admitted` says what may come next. Nothing of it is a
truth beside the entries.
"""

from __future__ import annotations

from runner.errors import Conflict, RunnerError, UsageError
from runner.ledger.entry import (
    CONDUCTOR,
    DECISIONS,
    HUMAN,
    MAIN,
    NO_HASH,
    OWNER,
    TASK,
    EntryInvalid,
    EntryType,
    LedgerEntry,
    NewEntry,
    is_of_person,
    is_of_runner,
    not_admitted,
)
from runner.value import Count, StrEnum, Timestamp, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MOST_LANES = 100
_MOST_MESSAGES = 20


class LaneStatus(StrEnum):
    """Where the work of a lane is."""

    OPEN = "open"
    """Handed off, and no run has begun for it."""
    TAKEN = "taken"
    RETURNED = "returned"
    """The run that had taken it is over and has handed it to nobody: who made the handoff speaks next."""
    HANDLED = "handled"
    """Answered; who had asked speaks next, unless that is who answered."""
    FINALIZED = "finalized"


class ProposalStatus(StrEnum):
    """Of a proposal that the work is final."""

    AWAITING = "awaiting_human"
    OUTDATED = "outdated"
    """Work went on after it, or the run that proposed it did not succeed."""
    SIGNED = "signed"
    REJECTED = "rejected"
    REOPENED = "reopened"
    """It was signed, and a person has handed off again."""


class NotYourTurn(Conflict):
    code = "not_your_turn"
    default_hint = "`runner ledger show TASK` says who is next"


class HandleNotFound(RunnerError):
    code = "handle_not_found"
    exit_status = UsageError.exit_status
    default_hint = "`runner ledger show TASK` has the handoffs that are open"


class HandoffTaken(Conflict):
    code = "handoff_taken"
    default_hint = "the run that has it hands on, or ends; `runner ledger show TASK` says which"


class NoProposal(Conflict):
    code = "no_proposal"
    default_hint = "`runner ledger propose TASK` makes one"


class AlreadyDecided(Conflict):
    code = "already_decided"
    default_hint = "`runner ledger show TASK` says how"


class ProposalOutdated(Conflict):
    code = "proposal_outdated"
    default_hint = "look at what came after it; then name it (--proposal ID), or have it proposed again"


class IsFinal(Conflict):
    code = "is_final"
    default_hint = "a person can open it again with `runner ledger handoff`"


class PeopleOnly(RunnerError):
    code = "people_only"
    exit_status = NotYourTurn.exit_status
    default_hint = "a person does that, outside of every run; an agent can propose it"


class RunRef(Value):
    """A run that the ledger has heard of."""

    task_id: str
    run_id: str


class Handoff(Value):
    """One that nobody has handled yet; its entry has the rest."""

    id: str
    maker: str
    maker_run: str | None
    to: str
    at: Timestamp
    is_for_task: bool = False
    """Not for a runtime of that name."""
    taken_by: str | None = None
    """The run that was begun for it."""
    is_left: bool = False
    """That run is over."""
    approval: str | None = None
    """The stage that a person is asked to approve: nothing but that decision closes it."""


class Lane(Value):
    """A piece of work, by its name. `to` and `to_run` speak next on it; None: nobody is asked to."""

    name: str
    status: LaneStatus
    to: str | None
    to_run: str | None
    seq: Count
    """The entry that has last moved it."""
    handoff: Handoff | None = None


class Proposal(Value):
    """The newest one; its entry has the rest."""

    id: str
    by: str
    by_run: str | None
    at: Timestamp
    status: ProposalStatus
    decided_by: str | None = None
    decided_at: Timestamp | None = None
    decision: str | None = None
    """The entry that decided it."""
    run_ended: str | None = None
    """How the run that proposed it ended, where it did not succeed."""
    changed_by: str | None = None
    """The newest entry by which runner saw changed files after it was signed."""

    @property
    def outdated_as(self) -> str:
        """Why it is outdated."""
        ended = self.run_ended
        return "work went on" if ended is None else f"the run that proposed it ended as {ended}"


class State(Value):
    """What all entries together say."""

    seq: Count = 0
    hash: str = NO_HASH
    lanes: tuple[Lane, ...] = ()
    proposal: Proposal | None = None
    coordinator: str | None = None
    """Whom a person has made the one that writes git; None: nobody was named here."""
    counts: Mapping[str, int] = {}
    """How many entries of each type."""
    runs: Mapping[str, RunRef] = {}
    """The newest run of each runtime."""
    messages: tuple[str, ...] = ()
    """The newest to a person, and changes after a signature, since a person has last written."""

    @property
    def open(self) -> list[Handoff]:
        """The handoffs that nobody has handled, the newest first."""
        lanes = sorted(self.lanes, key=lambda lane: -lane.seq)
        return [lane.handoff for lane in lanes if lane.handoff is not None]

    def lane(self, name: str) -> Lane | None:
        return next((lane for lane in self.lanes if lane.name == name), None)

    def lane_of(self, handoff: str) -> Lane | None:
        """The lane on which that handoff is open."""
        return next((one for one in self.lanes if one.handoff and one.handoff.id == handoff), None)


# -- one entry further -----------------------------------------------------------------------------------


def advance(state: State, entry: LedgerEntry) -> State:
    """The state with one more entry. It was admitted when it was written, and is not doubted here."""
    counts = {**state.counts, entry.type: state.counts.get(entry.type, 0) + 1}
    state = state.replace(seq=entry.seq, hash=entry.hash, counts=counts)
    if is_of_person(entry):
        state = state.replace(messages=())
    elif entry.type is EntryType.MESSAGE and entry.to == HUMAN:
        state = state.replace(messages=(*state.messages, entry.id)[-_MOST_MESSAGES:])
    move = _MOVES.get(entry.type)
    return state if move is None else move(state, entry)


def _handed(state: State, entry: LedgerEntry) -> State:
    state = _handled(state, entry)
    who = (entry.id, entry.actor, entry.run_id, entry.to or HUMAN, entry.at)
    opened = Handoff(*who, entry.text("receiver") == TASK, approval=entry.text("approval") or None)
    lane = Lane(entry.text("lane") or MAIN, LaneStatus.OPEN, opened.to, None, entry.seq, opened)
    if (made := state.proposal) is not None:  # of an outdated one the work that went on is why by now
        state = state.replace(proposal=made.replace(status=_after_handoff(made.status), run_ended=None))
    return _with_lane(state, lane)


def _after_handoff(status: ProposalStatus) -> ProposalStatus:
    after = {
        ProposalStatus.AWAITING: ProposalStatus.OUTDATED,
        ProposalStatus.SIGNED: ProposalStatus.REOPENED,
    }
    return after.get(status, status)


def _handled(state: State, entry: LedgerEntry) -> State:
    for lane in state.lanes:
        if (open_one := lane.handoff) is not None and open_one.id in entry.handles:
            is_own = (entry.actor, entry.run_id) == (open_one.maker, open_one.maker_run)
            to, run = (None, None) if is_own else (open_one.maker, open_one.maker_run)
            state = _with_lane(state, Lane(lane.name, LaneStatus.HANDLED, to, run, entry.seq))
    return state


def _taken(state: State, entry: LedgerEntry) -> State:
    for lane in state.lanes:
        if (open_one := lane.handoff) is not None and open_one.id in entry.handles:
            taken = open_one.replace(taken_by=entry.run_id, is_left=False)
            state = _with_lane(
                state, Lane(lane.name, LaneStatus.TAKEN, entry.actor, entry.run_id, entry.seq, taken)
            )
    return state


def _over(state: State, entry: LedgerEntry) -> State:
    return over(state, entry.run_id, entry.text("outcome"), entry.seq)


def over(state: State, run_id: str | None, outcome: str, seq: int | None = None) -> State:
    """Without that run as the one that has a lane, and without its proposal where it is known not to have
    succeeded; `seq` is the entry that says so, if there is one.
    """
    for lane in state.lanes:
        if (one := lane.handoff) is not None and one.taken_by == run_id and not one.is_left:
            back = (one.maker, one.maker_run, seq or lane.seq, one.replace(is_left=True))
            state = _with_lane(state, Lane(lane.name, LaneStatus.RETURNED, *back))
    proposal = state.proposal
    if proposal is None or proposal.by_run != run_id or outcome in ("", "succeeded"):
        return state
    return _outdated(state.replace(proposal=proposal.replace(run_ended=outcome)))


def _outdated(state: State) -> State:
    proposal = state.proposal
    if proposal is None or proposal.status is not ProposalStatus.AWAITING:
        return state
    return state.replace(proposal=proposal.replace(status=ProposalStatus.OUTDATED))


def _begun(state: State, entry: LedgerEntry) -> State:
    found = RunRef(entry.text("task"), entry.run_id or "")
    return state.replace(runs={**state.runs, entry.text("runtime"): found})


def _recorded(state: State, entry: LedgerEntry) -> State:
    """Files that runner saw change after a proposal are not what it was about, unless its own run did it; nor
    is any that it saw after a signature.
    """
    state, proposal = _handled(state, entry), state.proposal
    if proposal is None or not (is_of_runner(entry) and entry.payload.get("files")):
        return state
    if proposal.status is not ProposalStatus.SIGNED:
        return state if proposal.by_run == entry.run_id else _outdated(state)
    told = (*state.messages, entry.id)[-_MOST_MESSAGES:]  # nobody else would look again
    return state.replace(proposal=proposal.replace(changed_by=entry.id), messages=told)


def _proposed(state: State, entry: LedgerEntry) -> State:
    made = Proposal(entry.id, entry.actor, entry.run_id, entry.at, ProposalStatus.AWAITING)
    return _handled(state, entry).replace(proposal=made)


def _decided(state: State, entry: LedgerEntry) -> State:
    if state.proposal is None:
        return state
    is_signed = entry.type is EntryType.FINALITY_SIGNED
    status = ProposalStatus.SIGNED if is_signed else ProposalStatus.REJECTED
    by = {"decided_by": entry.text("signer"), "decided_at": entry.at, "decision": entry.id}
    decided = state.proposal.replace(status=status, **by)
    for one in state.lanes if is_signed else ():
        if one.handoff is None or one.handoff.approval is None:  # those are decided one by one
            state = _with_lane(state, Lane(one.name, LaneStatus.FINALIZED, None, None, entry.seq))
    return state.replace(proposal=decided)


def _coordinated(state: State, entry: LedgerEntry) -> State:
    return state.replace(coordinator=entry.text("owner"))


_MOVES: Mapping[str, Callable[[State, LedgerEntry], State]] = {
    EntryType.NOTE: _handled,
    EntryType.REPLY: _handled,
    EntryType.HANDOFF: _handed,
    EntryType.HANDOFF_TAKEN: _taken,
    EntryType.ARTIFACT: _recorded,
    EntryType.FINALITY_PROPOSED: _proposed,
    EntryType.FINALITY_SIGNED: _decided,
    EntryType.FINALITY_REJECTED: _decided,
    EntryType.RUN_STARTED: _begun,
    EntryType.RUN_ENDED: _over,
    EntryType.COORDINATOR_CHANGED: _coordinated,
}


def _with_lane(state: State, lane: Lane) -> State:
    names = [one.name for one in state.lanes]
    if lane.name not in names:
        return state.replace(lanes=(*state.lanes, lane))
    return state.replace(lanes=tuple(lane if one.name == lane.name else one for one in state.lanes))


# -- what may come next ----------------------------------------------------------------------------------


_ANSWERS = (EntryType.REPLY, EntryType.FINALITY_PROPOSED)
"""What answers the handoff that is open for whoever says it, where it names none."""


def admitted(state: State, draft: NewEntry) -> NewEntry:
    """The draft with what it leaves open, as an entry has it; or the error that keeps it out."""
    if draft.type in (EntryType.FINALITY_SIGNED, EntryType.FINALITY_REJECTED):
        return _admitted_decision(state, draft)
    if draft.type is EntryType.COORDINATOR_CHANGED:
        _refuse_agent(draft)
        return draft.replace(payload={**draft.payload, "before": state.coordinator})
    if draft.type is EntryType.HANDOFF_TAKEN:
        for handle in draft.handles:
            _refuse_taken(_found(state, handle), draft)
        return draft
    if draft.type is EntryType.HANDOFF:
        return _admitted_handoff(state, draft)
    if draft.type is EntryType.FINALITY_PROPOSED:
        _refuse_final(state, draft)
    handles = draft.handles
    if draft.type in _ANSWERS and not handles and (lane := _own_lane(state, draft)) is not None:
        handles = (lane.handoff.id,) if lane.handoff is not None else ()
    for handle in handles:
        _refuse_other(_found(state, handle), draft)
    return draft.replace(handles=handles)


def told(state: State, draft: NewEntry) -> NewEntry:
    """As `admitted`; of what a run may not say it is told why."""
    try:
        return admitted(state, draft)
    except RunnerError as error:
        if is_of_runner(draft):
            raise
        return not_admitted(draft, error.message)


def _admitted_handoff(state: State, draft: NewEntry) -> NewEntry:
    superseded, stage, handles = *map(draft.payload.get, ("supersedes", "approval")), draft.handles
    if stage is not None and (draft.runtime, draft.to) != (CONDUCTOR, HUMAN):
        raise EntryInvalid("the run of a pipeline asks a person for an approval, and nobody else")
    lane = state.lane(name := _lane_name(state, draft))
    if lane is not None and lane.handoff is not None and lane.handoff.id not in handles:
        handles = (*handles, lane.handoff.id)
    if superseded is not None and superseded not in handles:
        raise HandleNotFound(f"`{superseded}` is no handoff that is open on lane `{name}`")
    for handle in handles:
        found = _found(state, handle)
        if handle != superseded or found.approval != stage or not _is_maker(found, draft):
            _refuse_other(found, draft)
    if lane is None and len(state.lanes) >= _MOST_LANES:
        raise Conflict(f"the ledger has {_MOST_LANES} lanes already", hint="hand off on one of them")
    _refuse_final(state, draft)
    return draft.replace(handles=handles, payload={**draft.payload, "lane": name})


def _lane_name(state: State, draft: NewEntry) -> str:
    named = draft.payload.get("lane")
    if named is not None:
        return str(named)
    for handle in (*draft.handles, draft.payload.get("supersedes")):
        if handle is not None and (lane := state.lane_of(handle)) is not None:
            return lane.name
    own = _own_lane(state, draft)
    return MAIN if own is None else own.name


def _own_lane(state: State, draft: NewEntry) -> Lane | None:
    """The one that waits for who speaks; of several, the one that it names, or has taken."""
    named = draft.payload.get("lane")
    own = [one for one in state.lanes if one.handoff is not None and _is_addressed(one.handoff, draft)]
    own = [one for one in own if named in (None, one.name)]
    own = [one for one in own if one.status is LaneStatus.TAKEN] or own
    if len(own) > 1:
        names = ", ".join(lane.name for lane in own)
        raise EntryInvalid(f"several lanes wait for you: {names}", hint="name the lane, or what it handles")
    return own[0] if own else None


def _admitted_decision(state: State, draft: NewEntry) -> NewEntry:
    _refuse_agent(draft)
    proposal, named = state.proposal, draft.payload.get("proposal")
    if proposal is None:
        raise NoProposal("nothing was proposed as final yet")
    if proposal.status not in (ProposalStatus.AWAITING, ProposalStatus.OUTDATED):
        who = proposal.decided_by or "a person"
        raise AlreadyDecided(f"{proposal.id} was {proposal.status} by {who} at {proposal.decided_at}")
    if draft.is_shown and named != proposal.id:
        raise ProposalOutdated(f"{proposal.id} was proposed since you looked")
    if named is not None and named != proposal.id:
        hint = f"`--proposal {proposal.id}`, or none for the newest"
        raise HandleNotFound(f"`{named}` is not the proposal that waits: that is {proposal.id}", hint=hint)
    if proposal.status is ProposalStatus.OUTDATED and (named is None or draft.is_shown):
        raise ProposalOutdated(f"{proposal.id} is outdated: {proposal.outdated_as}")
    is_signed = draft.type is EntryType.FINALITY_SIGNED
    ended = tuple(one.id for one in state.open if is_signed and one.approval is None)
    return draft.replace(handles=ended, payload={**draft.payload, "proposal": proposal.id})


def _refuse_agent(draft: NewEntry) -> None:
    if not is_of_person(draft):
        raise PeopleOnly("that is for a person to decide, and for no run")


def _refuse_final(state: State, draft: NewEntry) -> None:
    proposal = state.proposal
    if proposal is not None and proposal.status is ProposalStatus.SIGNED and not is_of_person(draft):
        raise IsFinal(f"a person has signed {proposal.id}: the work is final")


def _found(state: State, handle: str) -> Handoff:
    lane = state.lane_of(handle)
    if lane is None or lane.handoff is None:
        raise HandleNotFound(f"`{handle[:80]}` is no handoff that is open")
    return lane.handoff


def _refuse_taken(handoff: Handoff, draft: NewEntry) -> None:
    if handoff.taken_by is not None and not handoff.is_left and handoff.taken_by != draft.run_id:
        raise HandoffTaken(f"run `{handoff.taken_by}` has taken {handoff.id} and is not over")
    if not _is_addressed(handoff, draft):
        raise NotYourTurn(f"{handoff.id} is for {handoff.to}, and this is {draft.actor}")


def _refuse_other(handoff: Handoff, draft: NewEntry) -> None:
    if handoff.approval is not None:
        return _refuse_undecided(handoff, draft)
    if is_of_person(draft) or _is_addressed(handoff, draft):
        return
    if handoff.is_left and _is_maker(handoff, draft):
        return
    has, turn = "it is open", handoff.to
    if handoff.is_left:
        has, turn = f"run `{handoff.taken_by}` left it", handoff.maker
    elif handoff.taken_by is not None:
        has, turn = f"run `{handoff.taken_by}` has it", f"run `{handoff.taken_by}`"
    message = f"{handoff.id} is for {handoff.to} ({has}), and this is {draft.actor}"
    mine = f"; you made it: supersedes={handoff.id} takes it back" if _is_maker(handoff, draft) else ""
    raise NotYourTurn(message, hint=f"wait for {turn}, or name another lane{mine}")


def _refuse_undecided(handoff: Handoff, draft: NewEntry) -> None:
    _refuse_agent(draft)
    if draft.type is not EntryType.REPLY or draft.payload.get("decision") not in DECISIONS:
        way = f"`runner approve TASK {handoff.approval}`, perhaps with --reject"
        raise EntryInvalid(f"{handoff.id} is to be approved, and this decides nothing", hint=way)


def _is_addressed(handoff: Handoff, draft: NewEntry) -> bool:
    """Whether who speaks is whom it was handed to; where a run has it, that run alone."""
    if handoff.taken_by is not None and not handoff.is_left:
        return handoff.taken_by == draft.run_id
    if draft.run_id is None:
        return handoff.to == draft.actor and (handoff.approval is None or draft.type is EntryType.REPLY)
    names = (draft.actor, None if handoff.is_for_task else draft.runtime)
    return handoff.to in names and handoff.to not in (HUMAN, OWNER)


def _is_maker(handoff: Handoff, draft: NewEntry) -> bool:
    """Another run of its task, too: the one that made it may have been killed."""
    return handoff.maker == draft.actor and (handoff.maker_run is None) is (draft.run_id is None)
