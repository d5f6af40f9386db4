"""USE CASES of whom a handoff or its answer is for: which run gets it, which task begins one. Edge: disk,
processes.

A handoff stands in the ledger before anything here is tried, and what keeps a run from starting is told, not
raised: then it stands, and `runner start --task B --ledger T` takes it.
"""

from __future__ import annotations

import contextlib
import time

from runner import config
from runner.errors import Conflict, RunnerError, Unwritable
from runner.invocation import SharedLedger
from runner.ledger.entry import HUMAN, OWNER, RUNNER, EntryType, NewEntry, id_of
from runner.ledger.file import Ledger
from runner.ledger.lanes import LaneStatus
from runner.model import Lineage, Outcome, Phase
from runner.resolve.choose import find_task
from runner.resolve.handed import Handed
from runner.runtimes import NAMES
from runner.state import index
from runner.state.authentic import own_invocation
from runner.state.lineage import is_ending, lineage_of
from runner.state.manifest import timestamp
from runner.state.messages import Queue
from runner.state.store import RunDir, lock_task, runs_of
from runner.text.words import few
from runner.usecases.look import look
from runner.usecases.takers import is_open, message_of, settled, tell_ends, told_of
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner.invocation import Invocation
    from runner.ledger.entry import LedgerEntry
    from runner.ledger.lanes import Lane
    from runner.model import Config, Json, Task
    from runner.resolve.choose import Choice
    from runner.usecases.ledger import Author

STARTED, DELIVERED, RECORDED = "started", "delivered", "recorded"
ON_HANDOFF = "on_handoff"
_HEARD_WITHIN_S = 10.0
_STARTS_WITHIN_S = 30.0
_STARTED_WITHIN_S = 35.0
"""With the wait for a lock it is within what a call of a tool may take."""


class UnclearReceiver(Conflict):
    code = "unclear_receiver"
    default_hint = "hand off to a task by its name"


class StartsByHand(Conflict):
    code = "starts_by_hand"
    default_hint = 'start = "on_handoff" in the task has a handoff start it'


class AskerIsOver(Conflict):
    code = "asker_is_over"


class RunNotOpen(Conflict):
    code = "run_not_open"


class Delivery(Value):
    """What became of a handoff: a run was `started` for it, it was `delivered` to one that lives, or it is
    `recorded`, and `why` says what keeps a run from starting; for a person nothing has to. An answer starts
    none.
    """

    state: str
    run: Lineage | None = None
    message: str | None = None
    """The message with which its agent gets it, where the run waits for messages."""
    why: Json | None = None


def deliver(
    ledger: Ledger,
    handoff: LedgerEntry,
    speaker: Author,
    env: Mapping[str, str],
    *,
    config_file: str | None = None,
) -> Delivery:
    """Brings a handoff that `speaker` has made to its receiver, or a reply to whose handoff it answers."""
    if handoff.to in (HUMAN, OWNER):
        return Delivery(RECORDED)
    by_hand = None
    try:
        if handoff.type is EntryType.REPLY:
            return _answered(ledger, handoff)
        settings = _settings(ledger, speaker, env, config_file)
        task = receiver(ledger, handoff, settings)
        by_hand = f"`{_by_hand(ledger, handoff, task)}` takes it"
        if (found := _heard(ledger, handoff, task.id)) is not None:
            return found
        if task.start != ON_HANDOFF:
            raise StartsByHand(f"task `{task.id}` is started by hand", hint="")
        # of several at once each sees what the one before began
        with lock_task(ledger.repo, ledger.task_id, f"-{task.id}"):
            found = _heard(ledger, handoff, task.id)
            return found or Delivery(STARTED, _started(ledger, handoff, task, speaker, config_file))
    except RunnerError as error:
        lane = _lane(ledger, handoff)
        if lane is not None and lane.status is LaneStatus.TAKEN and lane.to and lane.to_run:
            if isinstance(error, Unwritable):  # what could not be written is sent by whoever looks next
                return Delivery(DELIVERED, lineage_of(RunDir(ledger.repo, lane.to, lane.to_run)))
            lane = None
        hint = "; ".join(filter(None, (error.hint, None if lane is None else by_hand))) or None
        told = {"code": error.code, "message": error.message, "hint": hint}
        return Delivery(RECORDED, why={**told, "problems": [*error.problems]} if error.problems else told)


def _lane(ledger: Ledger, handoff: LedgerEntry) -> Lane | None:
    """The one on which it is open, as far as that can be read."""
    with contextlib.suppress(RunnerError):
        return settled(ledger).state.lane_of(handoff.id)
    return None


def _settings(ledger: Ledger, speaker: Author, env: Mapping[str, str], config_file: str | None) -> Config:
    """Those that the run was started with, which its agent cannot have changed; else those of now."""
    from runner.usecases import frozen

    found = None if speaker.run is None else frozen.of_parent(ledger.repo, speaker.run.manifest, env)
    return config.load(ledger.repo, config_file=config_file, env=env) if found is None else found


def receiver(ledger: Ledger, handoff: LedgerEntry, settings: Config) -> Task:
    """The task that a handoff is for. Of a runtime: that of the run whose handoff is handled with it; else of
    the newest run here; else the only one of it that such a handoff starts, or that takes it by hand.
    TaskNotFound or UnclearReceiver.
    """
    runtime = handoff.to or ""
    if runtime in settings.tasks or runtime not in NAMES:
        return find_task(settings, runtime)
    newest = ledger.state().runs.get(runtime)
    for name in (*_askers(ledger, handoff), *(() if newest is None else (newest.task_id,))):
        if name in settings.tasks and name != handoff.actor:
            return settings.tasks[name]
    tasks = [one for one in settings.tasks.values() if one.runtime == runtime and one.id != handoff.actor]
    others = [one for one in tasks if one.start == ON_HANDOFF] or tasks
    if len(others) != 1:
        could = f"tasks {few(sorted(one.id for one in others))}" if others else "no task"
        raise UnclearReceiver(f"{could} of {runtime} can take it, and no other run of it is in this ledger")
    return others[0]


def _askers(ledger: Ledger, handoff: LedgerEntry) -> Iterator[str]:
    """The tasks of that runtime whose handoffs it handles."""
    for name in handoff.handles:
        if (asked := ledger.entry(name)).run_id is not None:
            try:
                if own_invocation(RunDir(ledger.repo, asked.actor, asked.run_id)).runtime == handoff.to:
                    yield asked.actor
            except RunnerError:
                continue  # it was removed


def going_on(ledger: Ledger, task_id: str | None = None) -> Iterator[tuple[RunDir, Invocation]]:
    """The runs (of a task) that share the ledger and go on, the newest first."""
    found = (run for run in index.scan(ledger.repo)[1] if task_id in (None, run.task_id))
    for run in sorted(found, key=lambda one: one.run_id, reverse=True):
        try:
            invocation = own_invocation(run)
            if invocation.ledger_task == ledger.task_id and not is_ending(run, look(run)):
                yield run, invocation
        except RunnerError:
            continue  # one that cannot be looked at gets nothing


def start_of(ledger: Ledger, handoff: LedgerEntry, env: Mapping[str, str]) -> str | None:
    """The command that begins a run for a handoff which nobody has taken (or shows it, where no task is
    certain); None where a run is there for it, or may be on its way.
    """
    try:
        task = receiver(ledger, handoff, config.load(ledger.repo, env=env))
    except RunnerError:
        task = None
    name = handoff.to if task is None else task.id
    for run, invocation in going_on(ledger):
        is_it = run.task_id == name or (task is None and invocation.runtime == name)
        if is_it and run.run_id != handoff.run_id:
            return None
    if task is None:
        return f"runner ledger show {ledger.task_id}"
    now = time.time()  # what is of later than that was written before the clock went back
    is_new = timestamp(now - _STARTS_WITHIN_S) < handoff.at <= timestamp(now)
    return None if task.start == ON_HANDOFF and is_new else _by_hand(ledger, handoff, task)


def is_unheard(ledger: Ledger, task_id: str, entry: LedgerEntry) -> bool:
    """Whether no other run of the task that shares the ledger goes on, or has acted on it: one that has begun
    since that was said, or of a reply one that was there, and that has succeeded.
    """
    for run in runs_of(ledger.repo, task_id):
        try:
            if run.run_id != entry.run_id and own_invocation(run).ledger_task == ledger.task_id:
                seen = look(run)
                heard = seen.ended_at if entry.type is EntryType.REPLY else seen.created_at
                if seen.ended_at is None or (seen.outcome is Outcome.SUCCEEDED and str(heard) > entry.at):
                    return False
        except RunnerError:
            continue  # one that cannot be looked at hears nothing
    return True


def _by_hand(ledger: Ledger, handoff: LedgerEntry, task: Task) -> str:
    several = sum(one.to in (task.id, task.runtime) for one in ledger.state().open) > 1
    return f"runner start --task {task.id} --ledger {ledger.task_id}" + f" --handoff {handoff.id}" * several


def _answered(ledger: Ledger, reply: LedgerEntry) -> Delivery:
    asked = next((one for one in map(ledger.entry, reply.handles) if one.run_id is not None), None)
    if asked is None:
        return Delivery(RECORDED)
    if (found := _heard(ledger, reply, asked.actor, asked.run_id)) is not None:
        return found
    task, name = ledger.task_id, asked.actor
    hand = f"runner ledger handoff {task} --to {name} --lane {asked.text('lane')} --reason R --ask TEXT"
    hint = f"`{hand}` hands the work on; `runner start --task {name} --ledger {task}` begins with the answer"
    raise AskerIsOver(f"{name} is next, and its run `{asked.run_id}` is over", hint=hint)


def _heard(ledger: Ledger, entry: LedgerEntry, task_id: str, first: str | None = None) -> Delivery | None:
    """By a run of the task that goes on, the `first` before others, and those that are open before those that
    are not; None where there is none.
    """
    living = [one for one in going_on(ledger, task_id) if one[0].run_id != entry.run_id]
    for run, invocation in sorted(living, key=lambda one: (one[0].run_id != first, not is_open(one[1]))):
        try:
            return _delivered(ledger, entry, run, invocation)
        except Conflict:
            if not is_ending(run, look(run)):
                raise
    return None


def _delivered(ledger: Ledger, entry: LedgerEntry, run: RunDir, invocation: Invocation) -> Delivery:
    """A handoff is taken first: who is killed before it is sent leaves what `give` sends, and nobody begins
    another run for it. A reply reaches an agent at work where it waits for it: in the ledger.
    """
    text, told = message_of(ledger, entry)
    if entry.type is EntryType.HANDOFF:
        if not is_open(invocation):
            works = f"run `{run.run_id}` of task `{run.task_id}` works and hears no messages"
            hint = f"its agent may read the ledger; `runner wait {run.run_id}` returns when it is over"
            raise RunNotOpen(works, hint=hint)
        queue = Queue(run)
        if all(one.key != told["key"] for one in queue.look()):
            queue.refuse_full(text)  # what is taken is to be heard
        _take(ledger, run, invocation, entry.id)
    elif not is_open(invocation) or look(run).phase is not Phase.WAITING:
        return Delivery(DELIVERED, lineage_of(run))
    from runner.usecases import talk

    sent = talk.send(run, text, within_s=_HEARD_WITHIN_S, **told)
    return Delivery(DELIVERED, lineage_of(run), sent.message)


def _started(
    ledger: Ledger, handoff: LedgerEntry, task: Task, speaker: Author, config_file: str | None
) -> Lineage:
    words = ("--config", config_file) if config_file is not None else ()
    if speaker.run is not None:
        from runner.resolve.delegation import refuse_no_spawn

        refuse_no_spawn(own_invocation(speaker.run))
        words = ("--parent", speaker.run.manifest)
    from runner.usecases.spawning import spawn

    words = ("--ledger", ledger.task_id, "--handoff", handoff.id, *words)
    found = spawn(ledger.repo, task.id, *words, within_s=_STARTED_WITHIN_S)
    return Lineage(found["task_id"], found["run_id"], found["manifest_path"])


# -- on the way of a start -------------------------------------------------------------------------------


def handed(choice: Choice) -> Handed | None:
    """The handoff that a run of this choice begins for; where none is open for it, the answer to one of its
    task's that nobody has gone on with; else None. TaskNotFound where there is no such ledger; Conflict,
    HandleNotFound, or what the ledger is refused with.
    """
    request = choice.request
    ledger = Ledger(choice.config.root, request.ledger or choice.task.id)
    if not ledger.exists:
        find_task(choice.config, ledger.task_id)
    if request.handoff == "":
        return None
    names = {choice.task.id, choice.runtime} - {HUMAN, OWNER, RUNNER}
    waiting = [one for one in settled(ledger).state.open if one.to in names]
    waiting = [one for one in waiting if one.to == choice.task.id or not one.is_for_task]
    if request.handoff is not None:
        entry = ledger.entry(request.handoff)
        waiting = [one for one in waiting if one.id == entry.id]
        if not waiting:
            what = f"{entry.id} is no handoff that is open for {' or '.join(sorted(names))}"
            raise Conflict(what, hint=f"`runner ledger show {ledger.task_id}` has those that are")
    if len(waiting) > 1:
        ids = ", ".join(one.id for one in waiting)
        raise Conflict(f"several handoffs are open for {choice.task.id}: {ids}", hint="--handoff names one")
    if not waiting:
        return _answer(ledger, choice.task.id)
    entry = ledger.entry(waiting[0].id)
    return told_of(ledger, entry, SharedLedger(ledger.task_id, entry.id, entry.hash))


def _answer(ledger: Ledger, task_id: str) -> Handed | None:
    """The newest one to a run of the task, where that is next by it."""
    for lane in sorted(ledger.state().lanes, key=lambda one: -one.seq):
        if (lane.status, lane.to) == (LaneStatus.HANDLED, task_id) and lane.to_run is not None:
            entry = ledger.entry(id_of(lane.seq))
            if entry.type is EntryType.REPLY:
                return told_of(ledger, entry, SharedLedger(ledger.task_id))
    return None


def take(run: RunDir, invocation: Invocation) -> None:
    """Writes down that this run begins for its handoff. HandoffTaken where another one has it, Conflict where
    it is another one than its prompt tells of: it may have waited long for the work tree.
    """
    if (shared := invocation.ledger) is not None and shared.handoff is not None:
        ledger = Ledger(run.repo, shared.task_id)
        if ledger.entry(shared.handoff).hash != shared.hash:
            raise Conflict(f"{shared.handoff} is another handoff by now: its ledger began anew")
        _take(ledger, run, invocation, shared.handoff)


def left(run: RunDir, invocation: Invocation, error: RunnerError) -> None:
    """Tells that its start has come to nothing: whoever has made the handoff speaks next."""
    told = {"status": Outcome.FAILED, "outcome": Outcome.FAILED, "code": error.code, "message": error.message}
    tell_ends(Ledger(run.repo, invocation.ledger_task), {run.run_id: told})


def _take(ledger: Ledger, run: RunDir, invocation: Invocation, handoff: str) -> None:
    runtime, kind = invocation.runtime, EntryType.HANDOFF_TAKEN
    ledger.append(NewEntry(kind, run.task_id, {}, None, (handoff,), run.run_id, runtime), str)
