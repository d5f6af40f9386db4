"""USE CASE: all that waits for a person in a repository, each with what settles it. Edge: disk, reading.

Of runs that are done, only rows are read, and the manifests of plans.
"""

from __future__ import annotations

import contextlib
import os
import time

from runner.errors import RunnerError
from runner.ledger.entry import HUMAN, OWNER, EntryType, id_of
from runner.ledger.file import ForeignLedger, Ledger
from runner.ledger.lanes import LaneStatus, ProposalStatus
from runner.model import Phase
from runner.state.authentic import FOREIGN, tasks_of
from runner.state.feed import FeedReader
from runner.state.plan_ledger import way_on
from runner.state.store import RunDir
from runner.usecases import events, logs, look, talk
from runner.usecases.takers import heeding, settled
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from runner.ledger.entry import LedgerEntry
    from runner.ledger.lanes import Lane, Proposal
    from runner.state.index import RunRow
    from runner.state.manifest import Manifest

_POLL_S = 0.2
_LOOKS_EVERY = 300
"""Polls: what waits may come without an event, such as other settings."""


class Item(Value):
    """`kind` is `question`, `turn`, `tree`, `plan`, `approval`, `handoff`, `message`, `proposal`, `ledger`
    (it is broken) or `trust`; `commands` are the ways to settle it.
    """

    kind: str
    since: str | None
    run_id: str | None
    task_id: str | None
    question: str | None
    text: str
    commands: tuple[str, ...]
    entry: str | None = None
    """Of the ledger of the task."""


def waiting(root: str) -> list[Item]:
    """The oldest first; whose settings are no longer trusted comes last."""
    rows = look.runs(root, task=None, everything=True)
    found = [*_questions(root, rows), *trees(rows), *_plans(root, rows)]
    found += [item for task in tasks_of(root) for item in _of_ledger(Ledger(root, task))]
    return sorted(found, key=lambda item: item.since or "") + _trust(root)


def wait(root: str, pause: Callable[[float], None] = time.sleep) -> list[Item]:
    """As `waiting`, as soon as there is something."""
    while True:
        live, last = events.caught_up(root, None)  # before the look: what comes after it is new
        reader, seen = FeedReader(root, last), _stamps(root)
        if found := waiting(root):
            return found
        for poll in range(1, _LOOKS_EVERY + 1):
            pause(_POLL_S)
            if poll % events.LOOKS_EVERY == 0:
                events.look_after(root, live)
            if any(True for _ in reader.new()) or _has_come(root, seen):
                break


def _questions(root: str, rows: Sequence[RunRow]) -> Iterator[Item]:
    """And the runs that wait for a message. Another run sees to what it has started, or is asked, while its
    agent works; a plan answers nothing.
    """
    answering = {row.run_id for row in rows if not (row.ended_at or row.plan or row.status == Phase.WAITING)}
    for row in rows:
        run = RunDir(root, row.task_id, row.run_id)
        if row.status == Phase.WAITING and row.parent not in answering:
            yield from _turn(run)
        if row.ended_at is not None or row.status == FOREIGN or not run.has_questions():
            continue
        try:
            asked = logs.asked(run, run.read_manifest())
        except RunnerError:
            continue  # it was removed
        for one in asked:
            if one.is_open and one.asked not in answering:
                answer = f"runner answer {row.run_id} {one.id}"
                yield Item("question", one.asked_at, row.run_id, row.task_id, one.id, one.prompt, (answer,))


def _turn(run: RunDir) -> Iterator[Item]:
    with contextlib.suppress(RunnerError):  # it was removed
        m = run.read_manifest()
        text = f"waits for a message; {last_turn(run, m)}"
        ways = (f"runner send {run.run_id} TEXT", f"runner end {run.run_id}")
        yield Item("turn", m.attempts[-1].ended_at, run.run_id, run.task_id, None, text, ways)


def last_turn(run: RunDir, m: Manifest) -> str:
    """How the last turn has ended, and what its agent has said in it or why it failed."""
    ended = talk.record(run, m, m.turns)
    said = (ended.get("reason") or ended)["message"] or "nothing was said"
    return f"turn {m.turns} {ended.get('status') or 'has ended'}: {said[:2000]}"


def trees(rows: Sequence[RunRow]) -> Iterator[Item]:
    """What a plan that is not done takes itself does not count."""
    live = {row.run_id for row in rows if row.plan and row.ended_at is None}
    for row in rows:
        if row.undecided and row.status != FOREIGN and row.parent not in live:
            text = f"{row.status}: its changes wait in a work tree of their own"
            ways = tuple(f"runner {verb} {row.run_id}" for verb in ("accept", "discard"))
            yield Item("tree", row.ended_at, row.run_id, row.task_id, None, text, ways)


def _plans(root: str, rows: Sequence[RunRow]) -> Iterator[Item]:
    """Of each plan and task, the newest run counts: it has continued the others, or has begun anew."""
    seen = set()
    for row in rows:
        if not row.plan or row.status == FOREIGN:
            continue
        try:
            manifest = RunDir(root, row.task_id, row.run_id).read_manifest()
        except RunnerError:
            continue
        file = str((manifest.plan or {}).get("file"))
        named = (row.task_id, file)
        if row.ended_at is None:
            yield from _documents(manifest)
        if named not in seen and row.ended_at is not None and (stop := manifest.plan_stop):
            if file != f"pipeline {row.task_id}":  # it is resolved in the folder of whoever reads this
                file = os.path.relpath(os.path.join(root, file))
            way = way_on(file, row.task_id, resets=manifest.has_open_breaker)
            text = f"{stop.code}: {stop.message}"
            yield Item("plan", row.ended_at, row.run_id, row.task_id, None, text, (way,))
        seen.add(named)


def _documents(manifest: Manifest) -> Iterator[Item]:
    """What a stage of a pipeline waits for that nobody has to approve."""
    with contextlib.suppress(LookupError, TypeError, AttributeError):  # an agent may have written it
        for one in (manifest.plan or {})["batches"]:
            if one.get("kind") == "person" and one["status"] == "waiting":
                text = f"stage {one['stage']} waits for {one['title']}"
                way = f"runner status {manifest.run_id}"
                yield Item("plan", manifest.started_at, manifest.run_id, manifest.task_id, None, text, (way,))


def _stamps(root: str) -> dict[str, tuple[int, ...]]:
    """By which it is seen that a ledger has grown, by task."""
    return {task: Ledger(root, task).stamp() for task in tasks_of(root)}


def _has_come(root: str, seen: dict[str, tuple[int, ...]]) -> bool:
    """Whether something waits in a ledger that is not as it was `seen`; that is brought up to date."""
    now = _stamps(root)
    changed = [task for task, stamp in now.items() if stamp != seen.get(task, ())]
    seen.update(now)
    return any(True for task in changed for _ in _of_ledger(Ledger(root, task)))


def _of_ledger(ledger: Ledger) -> Iterator[Item]:
    """The lanes on which a person is next, or a task that nobody starts; what was said to people, and a
    proposal that is not decided; or that it is broken. A foreign one came from elsewhere, and asks nobody.
    """
    task = ledger.task_id
    try:
        state, hand_on = settled(ledger).state, f"handoff {task} --to X --reason R --ask TEXT"
        proposal = state.proposal if state.proposal is not None and _waits(state.proposal) else None
        for lane in [one for one in state.lanes if one.to and one.status is not LaneStatus.TAKEN]:
            entry = ledger.entry(id_of(lane.seq))
            if proposal is not None and proposal.id == entry.id:
                continue  # that waits itself
            if (lane.to, lane.to_run) == (HUMAN, None):
                yield from _of_lane(ledger, lane, entry)
            elif lane.status is LaneStatus.OPEN and lane.to != OWNER:
                yield from _not_begun(ledger, entry)
            elif lane.status in (LaneStatus.HANDLED, LaneStatus.RETURNED) and lane.to_run is not None:
                yield from _unheard(ledger, lane.name, lane.to or "", entry)
        for said in map(ledger.entry, state.messages):
            text, way = (
                f"{said.actor} says to you: {said.text('text')}",
                f"send {task} TEXT --to {said.actor}",
            )
            if said.type is EntryType.ARTIFACT:
                text, way = f"changed files were seen after a signature: {said.text('title')}", hand_on
            yield _item(ledger, "message", said, text, f"runner ledger {way}")
        if proposal is not None:
            entry = ledger.entry(proposal.id)
            text = f"{proposal.by} proposes as final: {entry.text('summary')}"
            text += f"\n{proposal.outdated_as}" if proposal.run_ended else ""
            signs = [f"runner ledger {verb} {task} --proposal {entry.id}" for verb in ("sign", "reject")]
            yield _item(ledger, "proposal", entry, text).replace(commands=tuple(signs))
    except RunnerError as error:
        if isinstance(error, ForeignLedger) and not ledger.was_ours:
            return
        way = f"runner ledger verify {task}"
        yield Item("ledger", None, None, task, None, error.message, (way, f"{way} --set-aside"))


def _item(ledger: Ledger, kind: str, entry: LedgerEntry, text: str, *ways: str, first: str = "") -> Item:
    """It can be looked at, and settled in these `ways`, of which the `first` comes before that."""
    show = f"runner ledger show {ledger.task_id}"
    commands = tuple(dict.fromkeys(filter(None, (first, show, *ways))))
    return Item(kind, entry.at, entry.run_id, ledger.task_id, None, text, commands, entry.id)


def _not_begun(ledger: Ledger, entry: LedgerEntry) -> Iterator[Item]:
    from runner.usecases.receivers import start_of  # it reads the settings

    if (way := start_of(ledger, entry, os.environ)) is not None:
        text = f"no run has begun for what {entry.actor} hands over to {entry.to}: {entry.text('reason')}"
        yield _item(ledger, "handoff", entry, f"{text}\n{entry.text('ask')}", first=way)


def _waits(proposal: Proposal) -> bool:
    """Also where its run did not succeed: whoever was to decide would miss it."""
    is_failed = proposal.status is ProposalStatus.OUTDATED and proposal.run_ended is not None
    return is_failed or proposal.status is ProposalStatus.AWAITING


def _unheard(ledger: Ledger, lane: str, asker: str, entry: LedgerEntry) -> Iterator[Item]:
    """What came back to a task of which no run can act on it. A person who answers is told so."""
    from runner.usecases.receivers import is_unheard

    if entry.actor != HUMAN and is_unheard(ledger, asker, entry):
        text = f"{asker} is next on lane {lane}, and no run of it is there: {_said(entry)}"
        way = f"runner start --task {asker} --ledger {ledger.task_id}"
        yield _item(ledger, "handoff", entry, text, first=way)


def _said(entry: LedgerEntry) -> str:
    """The end of a run may have no words, and where it cannot be written, the lane has what the run took."""
    words = map(entry.text, ("text", "message", "summary", "reason", "status"))
    return next(filter(None, words), f"the run of {entry.actor} is over")


def _of_lane(ledger: Ledger, lane: Lane, entry: LedgerEntry) -> Iterator[Item]:
    task, handoff = ledger.task_id, lane.handoff
    if handoff is None or handoff.to != HUMAN:  # it was a person's own, and comes back
        why = "has answered you" if handoff is None else f"has left {handoff.id} of yours open"
        text = f"{handoff.to if handoff else entry.actor} {why}: {_said(entry)}"
        way = f"runner ledger handoff {task} --lane {lane.name} --to X --reason R --ask TEXT"
        yield _item(ledger, "handoff", entry, text, way)
        return
    entry = ledger.entry(handoff.id)
    if handoff.approval is not None:
        yield from _approval(ledger, entry, handoff.approval)
        return
    text = f"{handoff.maker} hands over to you: {entry.text('reason')}\n{entry.text('ask')}"
    yield _item(ledger, "handoff", entry, text, f"runner ledger reply {task} TEXT --handles {entry.id}")


def _approval(ledger: Ledger, entry: LedgerEntry, stage: str) -> Iterator[Item]:
    """Of a pipeline that heeds the decision now, or once it is resumed."""
    from runner.usecases.approval import legible  # hardly ever one waits

    if (heeds := heeding(ledger.repo, entry.actor, entry.run_id)) is None:
        return
    run, found = heeds
    is_over = run.read_manifest().is_done
    file, way = entry.text("file"), f"runner approve {ledger.task_id} {stage}"
    about = f"{file}{'' if legible(ledger.repo, file) else ' (still to be written)'}: " if file else ""
    then = "; its pipeline has stopped, and heeds that once it is resumed" if is_over else ""
    text = f"{stage} waits for your approval: {about}{entry.text('ask')}{then}"
    ways = (way, f"{way} --reject", *([way_on(found.file, run.task_id)] if is_over else []))
    yield _item(ledger, "approval", entry, text).replace(commands=ways)


def _trust(root: str) -> list[Item]:
    """Settings that were trusted and are not as they are now."""
    from runner import config
    from runner.usecases.trust import demanded

    try:
        found = demanded(config.load(root, env=os.environ), os.environ)
    except RunnerError:  # `check` says what is wrong with them
        return []
    if found.by is not None or (found.before is None and not found.changes):
        return []
    text = f"{found.file} or what it runs has changed since you trusted it"
    return [Item("trust", None, None, None, None, text, ("runner trust",))]
