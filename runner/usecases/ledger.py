"""USE CASES of the ledger of a task: what people and agents write there, and what they read. Edge: disk.

Who speaks comes from where the process runs, or how its server was launched, never from an argument.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from itertools import islice

from runner.errors import Conflict, RunnerError, RunNotFound, TaskNotFound, Unwritable, UsageError
from runner.ledger.entry import HUMAN, OWNER, TASK, EntryType, NewEntry
from runner.ledger.file import Ledger
from runner.ledger.lanes import HandoffTaken, NotYourTurn, PeopleOnly, ProposalStatus
from runner.model import is_name
from runner.runtimes import NAMES
from runner.state.authentic import own_invocation, refuse_foreign, tasks_of
from runner.state.store import RunDir, is_run_id, runs_of
from runner.usecases.takers import settled
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any

    from runner.ledger.entry import LedgerEntry
    from runner.ledger.file import Look
    from runner.ledger.lanes import Lane, State

LIMIT = 40
"""So many entries are read where nobody asks for more or fewer."""
PAGE = 100
"""So many are given at once to whoever waits, the oldest first."""
_POLL_S = 0.02
_LOOKS_EVERY_S = 1.0
"""Whether the runs that have a handoff live: of one that was killed nothing comes by itself."""


class Author(Value):
    """Who speaks: `human`, `owner`, or the task of a run."""

    name: str
    run: RunDir | None = None
    runtime: str | None = None
    config_file: str | None = None
    """The settings of an owner, where they are not the nearest ones."""

    @property
    def run_id(self) -> str | None:
        return None if self.run is None else self.run.run_id


def of_run(run: RunDir) -> Author:
    """ForeignRun or InvocationBroken for one that is not ours."""
    return Author(run.task_id, run, own_invocation(run).runtime)


def person_or_run(repo: str, env: Mapping[str, str]) -> Author:
    """As whom a command speaks: a person, or the run that it was started inside of. PeopleOnly where that is
    no run of this repository.
    """
    from runner.usecases.inside import run_around

    try:
        run = run_around(repo, env)
        return Author(HUMAN) if run is None else of_run(run)
    except RunnerError as error:
        raise PeopleOnly(f"this is inside of a run that may not speak here: {error.message}") from None


def ledger_of(run: RunDir) -> Ledger:
    """The ledger that a run shares. ForeignRun or InvocationBroken for one that is not ours."""
    return Ledger(run.repo, own_invocation(run).ledger_task)


def named(
    folder: str,
    name: str,
    env: Mapping[str, str],
    *,
    is_new: bool = False,
    speaker: Author | None = None,
    hint: str = "",
) -> Ledger:
    """The ledger that is meant in this folder by a task id, or by what names a run. A wrong letter begins
    none: a task that nobody knows is refused, unless it `is_new`.

    TaskNotFound with the nearest names; RunNotFound; Conflict for what fits several runs.
    """
    from runner.usecases.find import find, find_root

    root = find_root(folder)
    if is_new and not is_name(name):
        raise UsageError(f"no ledger can be called `{name[:80]}`", hint="letters, digits, `.`, `_` and `-`")
    if not is_name(name) or is_run_id(name):
        return ledger_of(find(root, name))
    ledger = Ledger(root, name)
    if ledger.exists or is_new or name in (known := _tasks(root, folder, env, speaker)):
        return ledger
    try:
        return ledger_of(find(root, name))
    except RunNotFound:
        begin = f"`runner ledger note {name} TEXT --new` begins the ledger of a new task"
        raise TaskNotFound(f"no task `{name}`", hint=_near(name, known) or hint or begin) from None


def refuse_unknown(
    folder: str, name: str, others: Collection[str], env: Mapping[str, str], speaker: Author | None = None
) -> None:
    """TaskNotFound for what is no task in this folder and none of the `others`."""
    from runner.usecases.find import find_root

    if name not in others and name not in (known := _tasks(find_root(folder), folder, env, speaker)):
        hint = _near(name, {*known, *others}) or f"a task, or one of {', '.join(sorted(others))}"
        raise TaskNotFound(f"no task `{name[:80]}`", hint=hint)


def refuse_no_receiver(folder: str, name: str, env: Mapping[str, str], speaker: Author | None = None) -> None:
    """TaskNotFound for whom nobody is: a lane would wait for ever."""
    refuse_unknown(folder, name, (HUMAN, OWNER, *NAMES), env, speaker)


def _tasks(root: str, folder: str, env: Mapping[str, str], speaker: Author | None = None) -> set[str]:
    """Those that are there or declared, also in the settings that the speaker was started with."""
    from runner.usecases import names

    declared = (names.of("tasks", "", place, env, None) for place in {folder, root})
    found = {*tasks_of(root)}.union(*declared)
    with contextlib.suppress(RunnerError):  # what cannot be read declares none
        if speaker is not None and speaker.config_file is not None:
            found.update(names.of("tasks", "", root, env, speaker.config_file))
        if speaker is not None and speaker.run is not None:
            from runner.usecases import frozen

            settings = frozen.of_parent(root, speaker.run.manifest, env)
            found.update(() if settings is None else settings.tasks)
    return found


def _near(name: str, known: Collection[str]) -> str | None:
    from runner.text.words import nearest

    near = nearest(name, known)
    return f"perhaps you meant `{near[0]}`" if near else None


# -- writing ---------------------------------------------------------------------------------------------


def decide(
    ledger: Ledger,
    actor: Author,
    *,
    signs: bool,
    proposal: str | None = None,
    note: str | None = None,
    is_shown: bool = False,
) -> LedgerEntry:
    """A person signs or rejects what was proposed; where it `is_shown`, that one alone, if it still awaits
    that. PeopleOnly, NoProposal, AlreadyDecided, or ProposalOutdated.
    """
    kind = EntryType.FINALITY_SIGNED if signs else EntryType.FINALITY_REJECTED
    payload = {"proposal": proposal, "signer": signer(), "note": note}
    return append(ledger, actor, kind, payload, is_shown=is_shown)


def set_coordinator(ledger: Ledger, actor: Author, owner: str) -> LedgerEntry:
    """A person says who writes git: `human`, `runner` or a task. PeopleOnly."""
    return append(ledger, actor, EntryType.COORDINATOR_CHANGED, {"owner": owner})


def append(
    ledger: Ledger,
    actor: Author,
    kind: EntryType,
    payload: Mapping[str, Any],
    *,
    to: str | None = None,
    handles: Sequence[str] = (),
    is_shown: bool = False,
) -> LedgerEntry:
    """What anybody may say: of a handoff the entry alone, as what it starts is `receivers.deliver`."""
    given = {name: value for name, value in payload.items() if value is not None}
    if kind is EntryType.HANDOFF:
        from runner.ledger.references import references  # who only reads needs none

        given["context_refs"] = references(ledger.repo, given.get("context_refs", ()))
        if to in NAMES and to in _tasks(ledger.repo, ledger.repo, os.environ, actor):
            given["receiver"] = TASK
    by = {"run_id": actor.run_id, "runtime": actor.runtime}
    draft = NewEntry(kind, actor.name, given, to, tuple(handles), is_shown=is_shown, **by)
    try:
        return _appended(ledger, draft, cleaner(ledger, actor))
    except RunnerError as error:
        verb = _VERBS.get(kind, str(kind))
        error.hint = error.hint and error.hint.replace("TASK", ledger.task_id).replace("ACTION", verb)
        if type(error) is Unwritable and actor.run is not None:
            error.hint = "the sandbox of a run keeps its agent from the file: its MCP tools write there"
        raise


_VERBS = {EntryType.MESSAGE: "send", EntryType.FINALITY_PROPOSED: "propose"}
"""How the command line calls what writes them, where that is not as their type."""


def _appended(ledger: Ledger, draft: NewEntry, clean: Callable[[str], str]) -> LedgerEntry:
    """A run that is over keeps nobody out, though nobody may have told its end yet."""
    try:
        return ledger.append(draft, clean)
    except (NotYourTurn, HandoffTaken):
        before = ledger.state().seq
        if settled(ledger).state.seq == before:
            raise
    return ledger.append(draft, clean)


def cleaner(ledger: Ledger, actor: Author) -> Callable[[str], str]:
    """What takes secrets and control sequences out of a text: the values of the run's secrets, or those of
    the newest run of the task that this process has, and all that looks like one.
    """
    from runner.redact.redactor import Redactor
    from runner.text.terminal import clean_terminal
    from runner.usecases import logs

    found, known = actor.run or next(iter(runs_of(ledger.repo, ledger.task_id)), None), Redactor()
    if found is not None:
        with contextlib.suppress(RunnerError):  # nothing is known of it; shapes are found all the same
            refuse_foreign(found)
            known = logs.redactor(found, found.read_manifest())
    return lambda text: known.redact_text(clean_terminal(text))


def signer() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


# -- reading ---------------------------------------------------------------------------------------------


def every(folder: str) -> list[dict[str, Any]]:
    """Each ledger of the repository, in the order of their tasks, as far as its head says; of one that is not
    believed no more than why.
    """
    from runner.usecases.find import find_root

    root = find_root(folder)
    ledgers = [Ledger(root, task) for task in sorted(tasks_of(root))]
    return [_brief(ledger) for ledger in ledgers if ledger.exists or ledger.was_ours]


def _brief(ledger: Ledger) -> dict[str, Any]:
    told: dict[str, Any] = {"task_id": ledger.task_id, "ledger": ledger.relative}
    try:
        look = settled(ledger)
    except RunnerError as error:
        unknown = dict.fromkeys(("entries", "open_lanes", "next_speaker", "finality"))
        return {**told, **unknown, "problem": {"code": error.code, "message": error.message}}
    seen = state(ledger, look)
    told |= {"entries": seen["seq"], "open_lanes": len(look.state.open), "next_speaker": seen["next_speaker"]}
    return {**told, "finality": seen["finality"] and seen["finality"]["status"], "problem": None}


def context(
    ledger: Ledger,
    limit: int | None = LIMIT,
    since: int = 0,
    kinds: Collection[str] = (),
    look: Look | None = None,
    most_open: int | None = None,
) -> dict[str, Any]:
    """What somebody who comes anew has to know: the open handoffs first, then the newest entries; no more of
    either than is asked for.
    """
    look = settled(ledger) if look is None else look
    entries = ledger.entries(since, limit, kinds, look=look)
    by_id = {entry.id: entry for entry in entries}
    waiting = [by_id.get(one.id) or ledger.entry(one.id) for one in look.state.open[:most_open]]
    return {
        "open_handoffs": [entry.to_json() for entry in waiting],
        **state(ledger, look),
        "entries": [entry.to_json() for entry in entries],
    }


def shown(
    ledger: Ledger, limit: int | None = LIMIT, since: int = 0, kinds: Collection[str] = ()
) -> dict[str, Any]:
    """As `context`, with what is amiss. Of a ledger that is not believed nothing is known: its entries, as
    far as their chain holds, are `unproven`.
    """
    look = ledger.look()
    look = settled(ledger, look) if look.is_whole else look
    told = look.verdict()
    if look.is_whole:
        return {**context(ledger, limit, since, kinds, look), "unproven": [], "verification": told}
    fits = (one for one in ledger.unproven() if one.seq > since and (not kinds or one.type in kinds))
    entries = deque(fits, limit)  # of a stranger's millions no more are kept
    nothing = dict.fromkeys(("open_handoffs", *state(ledger, look)))
    return {
        **nothing,
        "ledger": ledger.relative,
        "task_id": ledger.task_id,
        "entries": [],
        "unproven": [entry.to_json() for entry in entries],
        "verification": told,
    }


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


def state(ledger: Ledger, look: Look | None = None) -> dict[str, Any]:
    """Lanes, finality, who is next: derived, now."""
    seen = (settled(ledger) if look is None else look).state
    speaker, proposal = next_speaker(seen), seen.proposal
    return {
        "ledger": ledger.relative,
        "task_id": ledger.task_id,
        "seq": seen.seq,
        "hash": seen.hash if seen.seq else None,
        "next_speaker": speaker and speaker.to_json(),
        "lanes": [_lane(lane) for lane in sorted(seen.lanes, key=lambda one: -one.seq)],
        "finality": proposal and proposal.to_json(),
        "counts": dict(seen.counts),
    }


def _lane(lane: Lane) -> dict[str, Any]:
    told = {"lane": lane.name, "status": lane.status, "next": lane.to, "run_id": lane.to_run}
    return {**told, "handoff": lane.handoff and lane.handoff.to_json()}


def wait(
    ledger: Ledger,
    since: int | None,
    timeout_s: float | None,
    *,
    to: Author | None = None,
    kinds: Collection[str] = (),
    tick: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """The entries after number `since` (None: after those of now), as soon as there are any, a page of them;
    with `to` only those of others. Without any after `timeout_s`, none: that is no error. Called again with
    the `seq` of the answer, it misses nothing. Conflict where no entry has that number.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    stamp: tuple[int, ...] | None = None
    last, looks_at = since, 0.0
    while True:
        if (now := ledger.stamp()) != stamp or time.monotonic() >= looks_at:
            stamp, look, looks_at = now, settled(ledger), time.monotonic() + _LOOKS_EVERY_S
            last = look.state.seq if last is None else last
            if last > look.state.seq:
                hint = "it may have begun anew; wait without a number, or with 0"
                raise Conflict(f"{ledger.relative} ends at entry {look.state.seq}, before {last}", hint=hint)
            found = ledger.following(last, kinds, look) if last < look.state.seq else ()
            others = (entry for entry in found if to is None or not is_of(entry, to))
            if page := [*islice(others, PAGE + 1)]:
                return _waited(look, page)
        if deadline is not None and time.monotonic() >= deadline:
            return _waited(look, [])
        if tick is not None:
            tick()
        time.sleep(_POLL_S)


def is_of(entry: LedgerEntry, actor: Author) -> bool:
    """Whether the actor, or runner of its run, has written it."""
    is_its_own = entry.actor == actor.name or actor.run_id is not None
    return is_its_own and entry.run_id == actor.run_id


def _waited(look: Look, entries: Sequence[LedgerEntry]) -> dict[str, Any]:
    speaker, more = next_speaker(look.state), len(entries) > PAGE
    page = [entry.to_json() for entry in entries[:PAGE]]
    told = {"entries": page, "seq": page[-1]["seq"] if more else look.state.seq, "more": more}
    return {**told, "timed_out": not page, "next_speaker": speaker and speaker.to_json()}


def set_aside(ledger: Ledger, actor: Author) -> str:
    """Begins a ledger anew that is not believed. PeopleOnly; Conflict for one that is whole."""
    refuse_run(actor)
    return ledger.set_aside(actor.name)


def refuse_run(actor: Author) -> None:
    """PeopleOnly for whoever is none; said before anything is looked at."""
    if actor.run is not None:
        raise PeopleOnly(f"that is for a person to decide, and this is run `{actor.run_id}`")


def refuse_other(ledger: Ledger, actor: Author) -> None:
    """A run writes in the ledger that it shares, and in no other."""
    if actor.run is not None and (own := ledger_of(actor.run)).path != ledger.path:
        hint = f"name the task of that one: {own.task_id}"
        raise Conflict(f"run `{actor.run_id}` speaks in {own.relative}, not in {ledger.relative}", hint=hint)
