"""USE CASE: what has become of the runs that have taken a handoff. Edge: disk.

The end of a run is told by its own supervisor. Where that could not (it was killed, another one had the lock,
the folder is gone), whoever reads the ledger looks, and tells it: no run that is over has a lane. And none
has one without having heard of it. Nobody is asked what no run would heed.
"""

from __future__ import annotations

import contextlib
import os

from runner.errors import ManifestBroken, RunnerError, RunNotFound
from runner.invocation import SharedLedger
from runner.ledger.entry import HUMAN, MAIN, RUNNER, EntryType, NewEntry, id_of, is_of_person
from runner.ledger.file import Ledger
from runner.ledger.lanes import Lane, LaneStatus, ProposalStatus, over
from runner.model import Outcome, is_name
from runner.processes import cgroup
from runner.processes.proc import everything, is_alive, marker
from runner.state.authentic import Why, own_invocation, own_ledger, tasks_of, why_foreign
from runner.state.store import RunDir, is_run_id, manifest_path_of, runs_of
from runner.usecases.look import is_held, look, wake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runner.invocation import Invocation
    from runner.ledger.entry import LedgerEntry
    from runner.ledger.file import Look
    from runner.ledger.lanes import State
    from runner.model import Json
    from runner.resolve.handed import Handed
    from runner.state.plan_ledger import PlanLedger

_MOST_LOOKED_AT = 1000
"""Entries before a handoff among which the notes on it are looked for."""


def settled(ledger: Ledger, seen: Look | None = None) -> Look:
    """The ledger as it is believed (or was `seen`), once the end is told of each run that is over and has a
    lane, or has proposed what awaits a person and did not succeed. Where that cannot be written, what
    is returned says it all the same; and what a run of a pipeline has asked and none heeds any more is open
    no longer. LedgerBroken or ForeignLedger.
    """
    found = _caught_up(ledger, ledger.believed() if seen is None else seen)
    return found.replace(state=found.state.replace(lanes=tuple(_heeded(ledger, found.state.lanes))))


def continued(run: RunDir) -> Iterator[RunDir]:
    """A run of a plan, and those whose work it goes on with."""
    seen: set[str] = set()
    while run.run_id not in seen:
        seen.add(run.run_id)
        yield run
        with contextlib.suppress(RunnerError):
            before = own_ledger(run).resumed_from
            if before is not None and is_name(before.task_id) and is_run_id(before.run_id):
                run = RunDir.of(run.repo, before)


def heeding(repo: str, task: str, asker: str | None) -> tuple[RunDir, PlanLedger] | None:
    """The run of a pipeline that heeds, now or once it is resumed, what is decided of a question of its run
    `asker`, and its progress: the newest one, or none where that has begun anew.
    """
    for run in runs_of(repo, task):
        try:
            found = own_ledger(run)
            run.read_manifest()
        except RunnerError:
            continue  # it cannot be resumed, or never was a pipeline of ours
        is_of_it = not found.is_complete and any(one.run_id == asker for one in continued(run))
        return (run, found) if is_of_it else None
    return None


def _heeded(ledger: Ledger, lanes: tuple[Lane, ...]) -> Iterator[Lane]:
    for lane in lanes:
        one = lane.handoff
        if one is None or one.approval is None or heeding(ledger.repo, one.maker, one.maker_run):
            yield lane
        else:
            yield Lane(lane.name, LaneStatus.RETURNED, None, None, lane.seq)


def _caught_up(ledger: Ledger, seen: Look) -> Look:
    """Once the ends that `settled` names are told."""
    ends: dict[str, Json] = {}
    for run, _, handoff in _awaited(ledger, seen.state):
        if (told := end_of(run)) is None and handoff is not None:
            with contextlib.suppress(RunnerError):  # who looks next tries again
                give(ledger, run, handoff)
        elif told is not None and (handoff is not None or _has_failed(told)):
            ends[run.run_id] = told
    if not ends:
        return seen
    if os.access(os.path.dirname(ledger.path), os.W_OK):
        tell_ends(ledger, ends)
        seen = now if (now := ledger.look()).is_whole else seen
    state = seen.state
    for run_id, told in ends.items():
        state = over(state, run_id, told.get("outcome") or "")
    return seen.replace(state=state)


def settle_all(root: str) -> None:
    """In every ledger of a repository that can be believed."""
    for task in tasks_of(root):
        try:
            settled(Ledger(root, task))
        except RunnerError:
            continue


def is_told(run: RunDir, *, dry_run: bool = False) -> bool:
    """Whether the end of a run that is done is in its ledger, if that says that the run has a lane or a
    proposal that awaits a person; it is told now where it was not (or could be, in a `dry_run`). False: not
    now, as another one has the lock or the disk refuses.
    """
    try:
        ledger = Ledger(run.repo, own_invocation(run).ledger_task)
        is_awaited = any(one.run_id == run.run_id for one, _, _ in _awaited(ledger, ledger.state()))
        told = end_of(run) if is_awaited else None
    except RunnerError:
        return True  # nothing of it is believed
    return told is None or tell_ends(ledger, {} if dry_run else {run.run_id: told})


def tell_ends(ledger: Ledger, ends: dict[str, Json]) -> bool:
    """Of each run once, as its supervisor does; and once more of what came behind that."""
    news = [_told(one, "ended" if end.get("outcome") else "lost", end) for one, end in ends.items()]
    if not ledger.tell(news, str):
        return False
    more = []
    try:
        for run, entry, handoff in _awaited(ledger, ledger.state()):
            end = ends.get(run.run_id)
            if end is not None and (handoff is not None or _has_failed(end)):
                more.append(_told(run.run_id, f"left:{entry}", end))
    except RunnerError:
        return True  # nothing of it is believed
    return not more or ledger.tell(more, str)


def _told(run_id: str, what: str, end: Json) -> NewEntry:
    return NewEntry(EntryType.RUN_ENDED, RUNNER, end, run_id=run_id, key=f"{run_id}:{what}")


def _awaited(ledger: Ledger, state: State) -> Iterator[tuple[RunDir, str, str | None]]:
    """The runs that have lanes, with the entry that says so and their handoff; and the one whose proposal
    awaits a person, with that alone.
    """
    for lane in state.lanes:
        if lane.status is LaneStatus.TAKEN and lane.to and lane.to_run and lane.handoff:
            yield RunDir(ledger.repo, lane.to, lane.to_run), id_of(lane.seq), lane.handoff.id
    one = state.proposal
    if one is not None and one.status is ProposalStatus.AWAITING and one.by_run is not None:
        yield RunDir(ledger.repo, one.by, one.by_run), one.id, None


def _has_failed(end: Json) -> bool:
    """Whether it is known not to have succeeded: a run that is gone may have."""
    return end.get("outcome") not in (None, Outcome.SUCCEEDED)


def end_of(run: RunDir) -> Json | None:
    """None where it goes on, and where nobody can say."""
    try:
        os.lstat(run.path)
        manifest = look(run)
    except FileNotFoundError:
        return None if _is_seen(run) else {"status": "unknown", "message": "its folder is gone"}
    except (OSError, RunnerError):
        lost = {"status": "unknown", "message": "nobody has it, and its records are not what was written"}
        return None if _may_go_on(run) else lost
    if not manifest.is_done:
        return None
    from runner.supervise.witness import ended  # hardly any end is told by who reads
    from runner.verify.record import load

    found = load(run.result)
    return ended(manifest, found if found is not None and found.attempt == manifest.attempt else None)


def _may_go_on(run: RunDir) -> bool:
    """Whether it has an owner, or could get one: there is none for what its invocation does not say."""
    try:
        found, owner = why_foreign(run), None
        with contextlib.suppress(ManifestBroken, RunNotFound):
            owner = run.read_manifest().supervisor
        is_owned = is_held(run) or (owner is not None and is_alive(owner)) or _is_seen(run)
        return is_owned or found is None or found.why not in (Why.UNKNOWN, Why.UNSIGNED, Why.FORGED)
    except RunnerError:
        return True


def _is_seen(run: RunDir) -> bool:
    """Whether the kernel says that something of it lives, or may: whatever has become of its folder."""
    group = cgroup.find(run.run_id, None)  # one beside us: it may have been started elsewhere
    if (group is not None and not group.is_empty()) or any(marker(pid) == run.run_id for pid in everything()):
        return True
    from runner.workspace import lease, repository  # most folders are there

    try:
        found = repository.find(run.repo)
        holder = None if found is None else lease.held_by(found.root)
        return holder is not None and holder.run_id == run.run_id
    except RunnerError:
        return True


# -- what they are told of it ------------------------------------------------------------------------------


def is_open(invocation: Invocation) -> bool:
    return invocation.open_timeout_s is not None


def told_of(ledger: Ledger, handoff: LedgerEntry, shared: SharedLedger) -> Handed:
    """What the receiver is told of it. It may work in a tree of its own, so no path is relative."""
    from runner.resolve.handed import Handed  # who only reads tells nobody

    maker = handoff.run_id and manifest_path_of(handoff.actor, handoff.run_id)
    answers = handoff.handles[0] if handoff.type is EntryType.REPLY else None
    lane = (handoff if answers is None else ledger.entry(answers)).text("lane") or MAIN
    return Handed(
        shared=shared,
        maker=None if is_of_person(handoff) else handoff.actor,
        lane=lane,
        reason=handoff.text("reason"),
        ask=handoff.text("ask" if answers is None else "text"),
        refs=tuple(handoff.payload.get("context_refs", ())),
        notes=tuple(_notes(ledger, handoff, lane)),
        ledger=ledger.path,
        manifest=f"{ledger.repo}/{maker}" if maker else None,
        answers=answers,
    )


def _notes(ledger: Ledger, handoff: LedgerEntry, lane: str) -> list[str]:
    """What its maker has noted since the handoff before it on the lane."""
    found, since = list[str](), max(0, handoff.seq - _MOST_LOOKED_AT)
    kinds = (EntryType.NOTE, EntryType.HANDOFF)
    for entry in ledger.following(since, kinds, ledger.believed()):
        if entry.seq >= handoff.seq:
            break
        if entry.type is EntryType.HANDOFF and entry.text("lane") == lane:
            found = []
        is_same = (entry.actor, entry.run_id is None) == (handoff.actor, handoff.run_id is None)
        if entry.type is EntryType.NOTE and is_same:
            found.append(entry.text("text"))
    return found


def give(ledger: Ledger, run: RunDir, name: str) -> None:
    """Sends a run the handoff that it has, if whoever took that for it was killed before."""
    from runner.state.messages import Queue

    invocation = own_invocation(run)
    if not is_open(invocation):
        return
    entry, queue, began = ledger.entry(name), Queue(run), invocation.ledger
    if began is not None and (began.handoff, began.hash or entry.hash) == (name, entry.hash):
        return  # it began for that; another one has its id in a ledger that began anew
    if all(one.key != entry.hash for one in queue.look()):
        text, told = message_of(ledger, entry)
        queue.add(text, **told)
        wake(run)


def message_of(ledger: Ledger, entry: LedgerEntry) -> tuple[str, dict[str, Any]]:
    """The same whoever sends it, so that it is there once. An id comes again in a ledger that began anew."""
    from runner.resolve.handed import section

    names = (entry.id, entry.hash) if entry.type is EntryType.HANDOFF else ()
    shared = SharedLedger(ledger.task_id, *names)
    actor = entry.actor.replace(HUMAN, "user") if entry.run_id is None else f"run {entry.run_id}"
    return section(told_of(ledger, entry, shared)), {"actor": actor, "key": entry.hash}
