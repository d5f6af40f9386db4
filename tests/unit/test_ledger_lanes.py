"""Lanes, whose turn it is and finality, beside a model that was written from the rules, not from the code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import RunnerError
from runner.ledger.chain import written
from runner.ledger.entry import SHAPES, EntryType, LedgerEntry, NewEntry, checked
from runner.ledger.lanes import State, admitted, advance, told
from runner.usecases.ledger import next_speaker

AT = "2026-11-20T10:15:04.438Z"
T = EntryType


@dataclass(frozen=True)
class Who:
    """Who speaks: a person, an owner, or a run of a task."""

    name: str
    run: str | None = None
    runtime: str | None = None


HUMAN, OWNER = Who("human"), Who("owner")
RUNS = [
    Who("build", "r1", "codex"),
    Who("build", "r2", "codex"),
    Who("review", "r3", "claude"),
    Who("third", "r4", "codex"),
    Who("claude", "r6", "codex"),
]
NAMED_AS_A_PERSON = Who("human", "r5", "codex")
"""A run of a task that somebody has called so."""
EVERYBODY = [HUMAN, OWNER, *RUNS, NAMED_AS_A_PERSON]
RECEIVERS = ["human", "owner", "build", "review", "third", "codex", "claude"]


@dataclass
class OpenHandoff:
    id: str
    maker: Who
    to: str
    is_for_task: bool = False
    taken_by: str | None = None
    is_over: bool = False


@dataclass
class Rules:
    """What the rules say of a ledger; `status` and `speaks` by lane, in the order of the last move."""

    open: dict[str, OpenHandoff] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    speaks: dict[str, tuple[str, str | None] | None] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    proposal: str | None = None
    by_run: str | None = None
    finality: str | None = None
    failed: str | None = None
    """How the run that proposed it ended, if not well."""
    changed: str | None = None
    """What changed files after it was signed."""
    coordinator: str | None = None
    messages: list[str] = field(default_factory=list)
    """To a person, and changes of what is signed, since one has written."""
    seq: int = 0

    # -- who may ---------------------------------------------------------------------------------------

    def addressed(self, who: Who, one: OpenHandoff) -> bool:
        if one.taken_by and not one.is_over:
            return who.run == one.taken_by
        if who.run is None:
            return one.to == who.name
        if one.is_for_task and one.to != who.name:
            return False
        return one.to in (who.name, who.runtime) and one.to not in ("human", "owner")

    def made(self, who: Who, one: OpenHandoff) -> bool:
        return (one.maker.name, one.maker.run is None) == (who.name, who.run is None)

    def may(self, who: Who, one: OpenHandoff) -> bool:
        return who == HUMAN or self.addressed(who, one) or (one.is_over and self.made(who, one))

    def handles(self, who: Who, ids: tuple[str, ...]) -> set[str]:
        """What is wrong with handling these."""
        by_id = {one.id: one for one in self.open.values()}
        return {
            "handle_not_found" if name not in by_id else "not_your_turn"
            for name in ids
            if name not in by_id or not self.may(who, by_id[name])
        }

    def lanes_of(self, who: Who, named: str | None = None) -> list[str]:
        """What a run has taken comes before what is only addressed to it."""
        own = [
            name
            for name, one in self.open.items()
            if self.addressed(who, one) and (named is None or name == named)
        ]
        has = [name for name in own if not self.open[name].is_over and self.open[name].taken_by is not None]
        return has or own

    # -- what becomes of it ----------------------------------------------------------------------------

    def move(self, lane: str, status: str, speaks: tuple[str, str | None] | None) -> None:
        self.status[lane], self.speaks[lane], self.moved[lane] = status, speaks, self.seq

    def close(self, who: Who, ids: tuple[str, ...]) -> None:
        """Nobody waits for what who has made the handoff says of it."""
        for lane, one in list(self.open.items()):
            if one.id in ids:
                del self.open[lane]
                is_own = (who.name, who.run) == (one.maker.name, one.maker.run)
                self.move(lane, "handled", None if is_own else (one.maker.name, one.maker.run))

    def answered(self, who: Who, ids: tuple[str, ...], lane: str | None) -> tuple[set[str], tuple[str, ...]]:
        """Of a reply: what is wrong, and which handoffs it answers."""
        if ids:
            return self.handles(who, ids), ids
        own = self.lanes_of(who, lane)
        return ({"entry_invalid"} if len(own) > 1 else set()), tuple(self.open[name].id for name in own)

    def handed(
        self, who: Who, to: str, ids: tuple[str, ...], lane: str | None, supersedes: str | None
    ) -> set[str]:
        by_id = {one.id: name for name, one in self.open.items()}
        named = [by_id[one] for one in (*ids, supersedes) if one in by_id]
        own = self.lanes_of(who)
        wrong = set()
        if lane is None and not named and len(own) > 1:
            return {"entry_invalid", *self.handles(who, ids)}
        lane = lane or (named[0] if named else own[0] if own else "main")
        own_one = next((one for one in self.open.values() if one.id == supersedes), None)
        taken_back = supersedes if own_one is not None and self.made(who, own_one) else None
        wrong |= self.handles(who, tuple(one for one in ids if one != taken_back))
        old = self.open.get(lane)
        if old is not None and old.id != taken_back and not self.may(who, old):
            wrong.add("not_your_turn")
        if supersedes is not None and supersedes not in ids and (old is None or old.id != supersedes):
            wrong.add("handle_not_found")
        if self.finality == "signed" and who != HUMAN:
            wrong.add("is_final")
        if not wrong:
            self.seq += 1
            self.close(who, (*ids, *(() if old is None else (old.id,))))
            self.open[lane] = OpenHandoff(f"e-{self.seq:04d}", who, to)
            self.move(lane, "open", (to, None))
            self.failed = None
            self.finality = {"awaiting_human": "outdated", "signed": "reopened"}.get(
                self.finality or "", self.finality
            )
        return wrong

    def decided(self, who: Who, named: str | None, status: str) -> set[str]:
        if who != HUMAN:
            return {"people_only"}
        if self.proposal is None:
            return {"no_proposal"}
        if self.finality not in ("awaiting_human", "outdated"):
            return {"already_decided"}
        if named not in (None, self.proposal):
            return {"handle_not_found"}
        if self.finality == "outdated" and named is None:
            return {"proposal_outdated"}
        self.seq += 1
        self.finality = status
        if status == "signed":
            self.open.clear()
            for lane in self.status:
                self.move(lane, "finalized", None)
        return set()

    def taken(self, who: Who, name: str) -> set[str]:
        found = next(((lane, one) for lane, one in self.open.items() if one.id == name), None)
        if found is None:
            return {"handle_not_found"}
        lane, one = found
        if not self.addressed(who, one):
            return {"handoff_taken", "not_your_turn"}
        self.seq += 1
        one.taken_by, one.is_over = who.run, False
        self.move(lane, "taken", (who.name, who.run))
        return set()

    def ended(self, run: str, outcome: str | None) -> None:
        self.seq += 1
        if self.proposal is not None and self.by_run == run and outcome not in (None, "succeeded"):
            self.failed = outcome
            self.finality = "outdated" if self.finality == "awaiting_human" else self.finality
        for lane, one in self.open.items():
            if one.taken_by == run and not one.is_over:
                one.is_over = True
                self.move(lane, "returned", (one.maker.name, one.maker.run))

    def speaker(self) -> tuple[str, str | None] | None:
        asked = [lane for lane in self.speaks if lane in self.open]
        if not asked and self.finality == "awaiting_human":
            return "human", None
        rest = asked or [lane for lane, who in self.speaks.items() if who is not None]
        return self.speaks[max(rest, key=lambda lane: self.moved[lane])] if rest else None


class Play:
    """Entries one after the other, through the code and through the rules."""

    def __init__(self) -> None:
        self.rules, self.state, self.entries = Rules(), State(), list[LedgerEntry]()

    def say(
        self,
        kind: EntryType,
        who: Who,
        payload: dict[str, Any],
        *,
        to: str | None = None,
        handles: Any = (),
        key: str | None = None,
    ) -> str | None:
        """The code of the error that keeps it out; None where it was let in."""
        draft = NewEntry(kind, who.name, payload, to, tuple(handles), who.run, who.runtime, key)
        try:
            new = admitted(self.state, checked(draft))
        except RunnerError as error:
            return error.code
        entry = written(
            new, self.state.seq + 1, self.state.hash, at=AT, task_id="work", sign=lambda _: "0" * 64
        )[1]
        self.entries.append(entry)
        self.state = advance(self.state, entry)
        if who == HUMAN:
            self.rules.messages.clear()
        elif kind is T.MESSAGE and to == "human":
            self.rules.messages.append(entry.id)
        return None

    def agree(self, wrong: set[str], found: str | None) -> None:
        assert found in wrong if wrong else found is None, f"{found} and not {wrong or 'let in'}"

    def compare(self) -> None:
        rules, state = self.rules, self.state
        assert state.seq == rules.seq
        assert {lane.name: lane.status.value for lane in state.lanes} == rules.status
        assert {lane.name: lane.to and (lane.to, lane.to_run) for lane in state.lanes} == rules.speaks
        opened = {one.name: one.handoff for one in state.lanes if one.handoff is not None}
        assert {
            lane: (one.id, one.maker, one.maker_run, one.to, one.is_for_task, one.taken_by, one.is_left)
            for lane, one in opened.items()
        } == {
            lane: (one.id, one.maker.name, one.maker.run, one.to, one.is_for_task, one.taken_by, one.is_over)
            for lane, one in rules.open.items()
        }
        speaker = next_speaker(state)
        assert (speaker and (speaker.actor, speaker.run_id)) == rules.speaker()
        assert (state.proposal and state.proposal.status.value) == rules.finality
        assert (state.proposal and state.proposal.id) == rules.proposal
        assert (state.proposal and state.proposal.run_ended) == rules.failed
        assert (state.proposal and state.proposal.changed_by) == rules.changed
        assert state.coordinator == rules.coordinator
        assert [*state.messages] == rules.messages[-20:]
        assert sum(state.counts.values()) == state.seq


def _note(play: Play, draw: Any, who: Who) -> None:
    ids = draw(a_few_handles(play))
    kind = draw(st.sampled_from([T.NOTE, T.ARTIFACT, T.FINALITY_PROPOSED]))
    wrong, answers = play.rules.handles(who, ids), ids
    payload: dict[str, Any] = {"text": "x"}
    if kind is T.ARTIFACT:
        payload = {"kind": "test_report", "title": "t", "summary": "s", "status": "passed"}
    if kind is T.FINALITY_PROPOSED:
        payload = {"summary": "s", "evidence": "e"}
        wrong, answers = play.rules.answered(who, ids, None)
        if play.rules.finality == "signed" and who != HUMAN:
            wrong.add("is_final")
    play.agree(wrong, play.say(kind, who, payload, handles=ids))
    if not wrong:
        play.rules.seq += 1
        play.rules.close(who, answers)
        if kind is T.FINALITY_PROPOSED:
            play.rules.proposal, play.rules.finality = f"e-{play.rules.seq:04d}", "awaiting_human"
            play.rules.by_run, play.rules.failed, play.rules.changed = who.run, None, None


def _reply(play: Play, draw: Any, who: Who) -> None:
    ids, lane = draw(a_few_handles(play)), draw(LANES)
    wrong, answers = play.rules.answered(who, ids, lane)
    play.agree(wrong, play.say(T.REPLY, who, {"text": "x", "lane": lane}, handles=ids))
    if not wrong:
        play.rules.seq += 1
        play.rules.close(who, answers)


def _handoff(play: Play, draw: Any, who: Who) -> None:
    ids, lane, to = draw(a_few_handles(play)), draw(LANES), draw(st.sampled_from(RECEIVERS))
    supersedes = draw(st.none() | a_handle(play))
    wrong = play.rules.handed(who, to, ids, lane, supersedes) | no_id(supersedes)
    payload = {"reason": "r", "ask": "a", "lane": lane, "supersedes": supersedes}
    payload = {name: value for name, value in payload.items() if value is not None}
    if is_for_task := draw(st.booleans()):
        payload["receiver"] = "task"
    play.agree(wrong, play.say(T.HANDOFF, who, payload, to=to, handles=ids))
    if not wrong:
        next(
            one for one in play.rules.open.values() if one.id == play.entries[-1].id
        ).is_for_task = is_for_task


def no_id(name: str | None) -> set[str]:
    return {"entry_invalid"} if name == "" else set()


def _decide(play: Play, draw: Any, who: Who) -> None:
    kind = draw(st.sampled_from([T.FINALITY_SIGNED, T.FINALITY_REJECTED]))
    named = draw(st.none() | a_handle(play) | st.just(play.rules.proposal))
    payload = {"signer": "ada", **({} if named is None else {"proposal": named})}
    status = "signed" if kind is T.FINALITY_SIGNED else "rejected"
    opened = {one.id for one in play.rules.open.values()}
    wrong = play.rules.decided(who, named, status) | no_id(named)
    play.agree(wrong, play.say(kind, who, payload))
    if not wrong:
        assert {*play.entries[-1].handles} == (opened if status == "signed" else set()), "what it ends"


def _message(play: Play, draw: Any, who: Who) -> None:
    play.agree(set(), play.say(T.MESSAGE, who, {"text": "x"}, to=draw(st.sampled_from(["human", "build"]))))
    play.rules.seq += 1


def _take(play: Play, draw: Any, who: Who) -> None:
    if who.run is not None:
        name = draw(a_handle(play))
        play.agree(play.rules.taken(who, name), play.say(T.HANDOFF_TAKEN, who, {}, handles=(name,)))


def _end(play: Play, draw: Any, who: Who) -> None:
    if who.run is not None:
        told = Who("runner", who.run)
        outcome = draw(st.sampled_from(["succeeded", "rejected", "cancelled", None]))
        payload = {"status": "done", **({} if outcome is None else {"outcome": outcome})}
        play.agree(set(), play.say(T.RUN_ENDED, told, payload))
        play.rules.ended(who.run, outcome)


def _change(play: Play, draw: Any, who: Who) -> None:
    if who.run is not None:
        payload = {"kind": "patch_summary", "title": "t", "summary": "s", "status": "passed", "files": ["a"]}
        play.agree(set(), play.say(T.ARTIFACT, Who("runner", who.run), payload, key=f"{who.run}:patch"))
        play.rules.seq += 1
        if play.rules.finality == "awaiting_human" and play.rules.by_run != who.run:
            play.rules.finality = "outdated"
        if play.rules.finality == "signed":
            play.rules.changed = f"e-{play.rules.seq:04d}"
            play.rules.messages.append(play.rules.changed)


def _coordinate(play: Play, draw: Any, who: Who) -> None:
    wrong = set() if who == HUMAN else {"people_only"}
    play.agree(wrong, play.say(T.COORDINATOR_CHANGED, who, {"owner": who.name}))
    if not wrong:
        play.rules.seq += 1
        play.rules.coordinator = who.name


MOVES: list[Callable[[Play, Any, Who], None]] = [
    _note,
    _reply,
    *[_handoff] * 3,
    _decide,
    *[_take] * 2,
    _end,
    _change,
    _coordinate,
    _message,
]
LANES = st.none() | st.sampled_from(["main", "b", "c"])


def a_handle(play: Play) -> st.SearchStrategy[str]:
    """Mostly of a handoff that is open, else of any entry or of none."""
    opened = [one.id for one in play.rules.open.values()]
    others = [entry.id for entry in play.entries]
    return st.sampled_from([*opened * 4, *others, "e-9999", "main", ""])


def a_few_handles(play: Play) -> st.SearchStrategy[tuple[str, ...]]:
    return st.just(()) | st.lists(a_handle(play), max_size=2, unique=True).map(tuple)


@settings(max_examples=120)
@given(st.data())
def test_lanes_turns_and_finality_are_as_the_rules_say(data: st.DataObject) -> None:
    play = Play()
    for _ in range(data.draw(st.integers(1, 25))):
        move, who = data.draw(st.sampled_from(MOVES)), data.draw(st.sampled_from(EVERYBODY))
        move(play, data.draw, who)
        play.compare()
    again = State()
    for entry in play.entries:
        again = advance(again, LedgerEntry.from_json(entry.to_json()))
    assert again == play.state, "it depends on the entries alone"
    assert State.from_json(play.state.to_json()) == play.state, "and is the same after a stay in the head"


texts = st.none() | st.text(max_size=5) | st.sampled_from(["main", "e-0001", "e-0002", "human", "build"])
payloads = st.dictionaries(
    st.sampled_from(sorted({name for shape in SHAPES.values() for name in shape} | {"unknown"})),
    texts | st.lists(texts, max_size=2) | st.integers() | st.booleans(),
)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from(list(T)), st.sampled_from(EVERYBODY), payloads, texts), max_size=12)
)
def test_whatever_is_said_is_let_in_or_refused_by_name(
    said: list[tuple[EntryType, Who, dict[str, Any], str | None]],
) -> None:
    play = Play()
    play.say(T.HANDOFF, HUMAN, {"reason": "r", "ask": "a"}, to="build")
    for kind, who, payload, to in said:
        play.say(kind, who, payload, to=to, handles=() if to is None else (to,))
    assert play.state.seq == len(play.entries)


def test_there_are_at_most_a_hundred_lanes_and_one_handoff_can_end_them_all() -> None:
    play = Play()
    for number in range(100):
        assert (
            play.say(T.HANDOFF, HUMAN, {"reason": "r", "ask": "a", "lane": f"lane-{number}"}, to="build")
            is None
        )
    more = {"reason": "r", "ask": "a", "lane": "one-more"}
    assert play.say(T.HANDOFF, HUMAN, more, to="build") == "conflict"
    everything = [lane.handoff.id for lane in play.state.lanes if lane.handoff]
    assert play.say(T.HANDOFF, HUMAN, {**more, "lane": "lane-0"}, to="build", handles=everything) is None
    assert len(play.state.open) == 1


def test_work_that_is_signed_is_not_opened_again_by_another_proposal() -> None:
    play = Play()
    proposal = {"summary": "s", "evidence": "e"}
    play.say(T.FINALITY_PROPOSED, RUNS[0], proposal)
    play.say(T.FINALITY_SIGNED, HUMAN, {"signer": "ada"})
    assert play.say(T.FINALITY_PROPOSED, RUNS[0], proposal) == "is_final"
    assert play.say(T.HANDOFF, RUNS[0], {"reason": "r", "ask": "a"}, to="review") == "is_final"
    assert play.say(T.HANDOFF, HUMAN, {"reason": "r", "ask": "a"}, to="review") is None


@pytest.mark.parametrize("name", ["human", "owner", "runner"])
def test_a_run_of_a_task_with_the_name_of_a_person_is_no_person(name: str) -> None:
    play = Play()
    play.say(T.HANDOFF, HUMAN, {"reason": "r", "ask": "a"}, to="build")
    run = Who(name, "r9", "kay")
    assert play.say(T.HANDOFF, run, {"reason": "r", "ask": "a"}, to="review") == "not_your_turn"
    assert play.say(T.NOTE, run, {"text": "x"}, handles=("e-0001",)) == "not_your_turn"


def test_what_a_run_that_was_rejected_has_proposed_is_signed_by_its_name_alone() -> None:
    play = Play()
    play.say(T.FINALITY_PROPOSED, RUNS[0], {"summary": "s", "evidence": "e"})
    play.say(T.RUN_ENDED, Who("runner", "r1"), {"status": "rejected", "outcome": "rejected"})
    draft = NewEntry(T.FINALITY_SIGNED, "human", {"signer": "ada"})
    with pytest.raises(RunnerError, match="the run that proposed it ended as rejected") as found:
        admitted(play.state, draft)
    assert found.value.code == "proposal_outdated"
    assert play.say(T.FINALITY_SIGNED, HUMAN, {"signer": "ada", "proposal": "e-0001"}) is None


def test_what_was_shown_as_awaiting_is_decided_only_while_it_awaits() -> None:
    play, proposal = Play(), {"summary": "s", "evidence": "e"}

    def decided(kind: EntryType = T.FINALITY_SIGNED) -> str | None:
        draft = NewEntry(kind, "human", {"signer": "ada", "proposal": "e-0001"}, is_shown=True)
        try:
            admitted(play.state, draft)
        except RunnerError as error:
            return error.code
        return None

    play.say(T.FINALITY_PROPOSED, RUNS[0], proposal)
    assert decided() is None
    play.say(T.HANDOFF, RUNS[0], {"reason": "r", "ask": "a"}, to="review")
    assert decided() == decided(T.FINALITY_REJECTED) == "proposal_outdated"
    named = NewEntry(T.FINALITY_SIGNED, "human", {"signer": "ada", "proposal": "e-0001"})
    assert admitted(play.state, named), "who names it knows"
    play.say(T.FINALITY_PROPOSED, RUNS[2], proposal)
    assert decided() == "proposal_outdated", "another one was never seen"
    play.say(T.FINALITY_SIGNED, HUMAN, {"signer": "ada"})
    assert decided() == "already_decided"


def test_what_a_run_of_a_task_called_runner_says_is_not_what_runner_saw() -> None:
    play, run = Play(), Who("runner", "r9", "kay")
    play.say(T.FINALITY_PROPOSED, RUNS[0], {"summary": "s", "evidence": "e"})
    claims = {"kind": "patch_summary", "title": "t", "summary": "s", "status": "passed", "files": ["a"]}
    assert play.say(T.ARTIFACT, run, claims, key="r9:turn-1") is None
    assert play.state.proposal is not None and play.state.proposal.status == "awaiting_human"
    marker = NewEntry(T.FINALITY_SIGNED, "runner", {"signer": "x"}, run_id="r9", key="r9:turn-2")
    refusal = told(play.state, marker)
    assert (refusal.type, refusal.key) == (T.MARKER_ERROR, "r9:turn-2"), "and what comes with it is told"


def test_nobody_waits_for_the_answer_of_who_has_asked() -> None:
    play = Play()
    play.say(T.HANDOFF, HUMAN, {"reason": "r", "ask": "a"}, to="build")
    assert play.say(T.REPLY, HUMAN, {"text": "Not needed any more."}, handles=("e-0001",)) is None
    (lane,) = play.state.lanes
    assert (lane.status.value, lane.to, next_speaker(play.state)) == ("handled", None, None)


def test_a_reply_on_a_lane_answers_that_lane() -> None:
    play = Play()
    for lane in ("a", "b"):
        play.say(T.HANDOFF, HUMAN, {"reason": "r", "ask": "a", "lane": lane}, to="build")
    assert play.say(T.REPLY, RUNS[0], {"text": "which?"}) == "entry_invalid"
    assert play.say(T.REPLY, RUNS[0], {"text": "done", "lane": "a"}) is None
    assert [one.id for one in play.state.open] == ["e-0002"]


def refused(play: Play, who: Who) -> RunnerError:
    draft = NewEntry(T.HANDOFF, who.name, {"reason": "r", "ask": "a"}, "third", (), who.run, who.runtime)
    with pytest.raises(RunnerError) as found:
        admitted(play.state, draft)
    return found.value


def test_who_may_not_hand_off_is_told_who_is_next() -> None:
    play, builder, reviewer = Play(), RUNS[0], RUNS[2]
    play.say(T.HANDOFF, HUMAN, {"reason": "r", "ask": "a"}, to="build")
    assert (refused(play, reviewer).hint or "").startswith("wait for build,")
    play.say(T.HANDOFF_TAKEN, builder, {}, handles=("e-0001",))
    assert (refused(play, reviewer).hint or "").startswith("wait for run `r1`,")
    play.say(T.RUN_ENDED, Who("runner", "r1"), {"status": "done"})
    error = refused(play, reviewer)
    assert (error.hint or "").startswith("wait for human,") and "run `r1` left it" in error.message


def test_a_run_answers_what_it_took_before_what_is_only_for_its_task() -> None:
    play = Play()
    for lane in ("a", "b"):
        play.say(T.HANDOFF, HUMAN, {"reason": "r", "ask": "a", "lane": lane}, to="codex")
    play.say(T.HANDOFF_TAKEN, RUNS[0], {}, handles=("e-0002",))
    speaker = next_speaker(play.state)
    assert speaker is not None and speaker.actor == "build", "the task that has it, not the runtime"
    assert play.say(T.REPLY, RUNS[0], {"text": "done"}) is None
    assert [one.id for one in play.state.open] == ["e-0001"]


def test_work_that_is_decided_says_so_whatever_proposal_is_named() -> None:
    play = Play()
    play.say(T.FINALITY_PROPOSED, RUNS[0], {"summary": "s", "evidence": "e"})
    assert play.say(T.FINALITY_SIGNED, HUMAN, {"signer": "ada", "proposal": "e-0009"}) == "handle_not_found"
    play.say(T.FINALITY_SIGNED, HUMAN, {"signer": "ada"})
    assert play.say(T.FINALITY_SIGNED, HUMAN, {"signer": "ada", "proposal": "e-0009"}) == "already_decided"
