"""The tools of the ledger of a task: what agents write there for each other, and how they read it.

A run writes in the ledger that it shares and can name no other; who speaks is known from how the server was
launched. What a caller was given is remembered once the answer is on its way, and only up to where nothing
is left out: a call that was given up loses nothing.
"""

from __future__ import annotations

import functools
import os
import time
from bisect import bisect_left

from runner.delegation.tool import TASK, WAIT, Tool, about
from runner.errors import TaskNotFound
from runner.ledger.entry import (
    ARTIFACT_KINDS,
    MAX_ITEMS,
    MAX_LINE,
    MAX_TEXT,
    NO_HASH,
    OWNER,
    SHAPES,
    STATUSES,
    EntryType,
    LedgerEntry,
)
from runner.ledger.lanes import LaneStatus
from runner.model import is_name
from runner.state.authentic import own_invocation
from runner.state.lineage import lineage_of
from runner.usecases import git_owner, receivers
from runner.usecases import ledger as use
from runner.usecases.takers import settled
from runner.value import json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from runner.delegation.caller import Caller
    from runner.delegation.tool import Run
    from runner.ledger.file import Ledger, Look
    from runner.model import Json
    from runner.usecases.ledger import Author

_ROOM = 16 * 1024
"""Bytes of the entries of an answer, or not much more: of a very long one a host shows its model nothing."""
_TEXT, _OLD_TEXT, _ITEMS, _ITEM = 4000, 1000, 20, 300
"""What an answer has of a text: of one that is new or waits, and of one to be reminded of; and of a list."""
_MOST_LANES = 20
_SHOWN = ("id", "seq", "at", "actor", "run_id", "type", "to", "handles")

_given: dict[tuple[str, str | None], tuple[int, str]] = {}
"""Up to which entry, by number and hash, this process has given a caller those of a ledger. A server has one
caller.
"""


def _of(caller: Caller, args: Json) -> tuple[Ledger, Author]:
    """The caller's ledger, and as whom it speaks there."""
    if caller.run is not None:
        return use.ledger_of(caller.run), use.of_run(caller.run)
    if not is_name(task := args["task_id"]):  # `$` in the schema lets a line end through
        raise TaskNotFound(f"no task {task!r}")
    owner = use.Author(OWNER, config_file=caller.config_file)
    ledger = use.named(caller.repo, task, os.environ, speaker=owner)
    _behind(ledger, owner)  # from its first call on nothing is missed
    return ledger, owner


def _behind(ledger: Ledger, author: Author) -> int:
    """The entries behind this number have not been given to it yet: for a run those since it began, however
    often its server was started; for an owner those since the first call.
    """
    key, look = (ledger.path, author.run_id), ledger.believed()
    if key not in _given:
        seq = look.state.seq if author.run_id is None else _begun(ledger, look, author.run_id)
        _given[key] = seq, _hash(ledger, look, seq)
    seq, known = _given[key]
    if known != _hash(ledger, look, seq):
        _given[key] = 0, NO_HASH  # it has begun anew
    return _given[key][0]


def _hash(ledger: Ledger, look: Look, seq: int) -> str:
    entry = ledger.numbered(seq, look) if 0 < seq <= look.state.seq else None
    return NO_HASH if entry is None else entry.hash


def _begun(ledger: Ledger, look: Look, run_id: str) -> int:
    """The last entry of before the run: its id begins with a time, as an entry has one without the signs.
    Where the clock went back that says little, but what is told of the run came after it began.
    """

    def at(seq: int) -> str:
        entry = ledger.numbered(seq, look)
        return "" if entry is None else entry.at.translate(_NO_SIGNS)

    of_run = next(iter(ledger.entries(kinds=_BEGINS, look=look, run_id=run_id)), None)
    last = look.state.seq if of_run is None else of_run.seq - 1
    return bisect_left(range(1, last + 1), run_id, key=at)


_BEGINS = (EntryType.HANDOFF_TAKEN, EntryType.RUN_STARTED)
_NO_SIGNS = {ord(sign): None for sign in "-:."}


def _remember(caller: Caller, args: Json, answer: Json) -> None:
    if "next_since_seq" not in answer:
        return
    ledger, author = _of(caller, args)
    since = _behind(ledger, author)
    if args.get("since_seq", 0) <= since < (seq := answer["next_since_seq"]):
        _given[ledger.path, author.run_id] = seq, _hash(ledger, ledger.believed(), seq)


# -- what is shown ---------------------------------------------------------------------------------------


def _brief(entry: Json, most: int) -> dict[str, Any]:
    """An entry for a model. `cut` names what is longer in the ledger."""
    whole = entry["payload"]
    payload = {name: _short(value, most) for name, value in whole.items()}
    told = {name: entry[name] for name in _SHOWN} | {"payload": payload}
    cut = [name for name in whole if payload[name] != whole[name]]
    return {**told, "cut": cut} if cut else told


def _short(value: Any, most: int) -> Any:
    if isinstance(value, list):
        return [_short(item, _ITEM) for item in value[:_ITEMS]]
    return value[:most] if isinstance(value, str) else value


def _fitting(entries: Iterable[Json], most: int, room: int) -> list[dict[str, Any]]:
    """The first ones that have room; one at least."""
    found: list[dict[str, Any]] = []
    for entry in entries:
        told = _brief(entry, most)
        room -= len(json_bytes(told))
        if found and room < 0:
            break
        found.append(told)
    return found


def _page(found: dict[str, Any]) -> dict[str, Any]:
    """What a wait has found of others, the oldest first; `next_since_seq` is where the next page begins."""
    shown = _fitting(found["entries"], _TEXT, _ROOM)
    is_cut = len(shown) < len(found["entries"])
    seq = shown[-1]["seq"] if is_cut else found["seq"]
    page = {"entries": shown, "more": is_cut or found["more"], "next_since_seq": seq}
    return {**page, "next_speaker": found["next_speaker"]}


def read_context(caller: Caller, args: Json) -> dict[str, Any]:
    ledger, author = _of(caller, args)
    if "id" in args:
        return {"entry": ledger.entry(args["id"]).to_json()}
    behind, look = _behind(ledger, author), settled(ledger)
    limit, since, kinds = args.get("limit", use.LIMIT), args.get("since_seq", 0), args.get("kinds", ())
    found = _lanes_cut(use.context(ledger, limit + 1, since, kinds, look, _MOST_LANES))
    waiting, newest = found.pop("open_handoffs"), found.pop("entries")[::-1]
    shown = _fitting(newest[:limit], _OLD_TEXT, _ROOM // 2)
    older = len(shown) < len(newest)
    first = shown[-1]["seq"] if older else since + 1
    is_whole = not kinds and first <= behind + 1
    open_ones = _fitting(waiting, _TEXT, _ROOM // 2)
    return {
        "open_handoffs": open_ones,
        "more_open_handoffs": len(look.state.open) - len(open_ones),
        **found,
        "entries": shown[::-1],
        "older_left_out": older,
        "next_since_seq": max(behind, look.state.seq if is_whole else 0),
    }


def _lanes_cut(state: dict[str, Any]) -> dict[str, Any]:
    """A ledger can have a hundred."""
    lanes = state["lanes"]
    return {**state, "lanes": lanes[:_MOST_LANES], "more_lanes": len(lanes[_MOST_LANES:])}


def task_state(caller: Caller, args: Json) -> dict[str, Any]:
    ledger, _ = _of(caller, args)
    return {**_lanes_cut(use.state(ledger)), "git_owner": _git_owner(caller, ledger)}


def session_info(caller: Caller, args: Json) -> dict[str, Any]:
    ledger, author = _of(caller, args)
    state = use.state(ledger)
    names = ("task_id", "seq", "counts", "next_speaker", "finality")
    return {
        "actor": author.name,
        "run_id": author.run_id,
        "runtime": author.runtime,
        "ledger": ledger.path,
        **{name: state[name] for name in names},
        "active_handoff": next((lane["handoff"] for lane in state["lanes"] if lane["handoff"]), None),
        "git_owner": _git_owner(caller, ledger),
        "live_runs": [lineage_of(run).to_json() for run, _ in receivers.going_on(ledger)],
    }


def _git_owner(caller: Caller, ledger: Ledger) -> dict[str, str | None]:
    """Of a run as its settings had it when it began, unless a person has said something else since."""
    if caller.run is None or ledger.state().coordinator is not None:
        return git_owner.in_force(ledger, os.environ, caller.config_file)
    owner = own_invocation(caller.run).git_owner
    return {"owner": owner, "from": owner and "settings"}


def wait_for_messages(caller: Caller, args: Json) -> dict[str, Any]:
    ledger, author = _of(caller, args)
    since = args.get("since_seq", _behind(ledger, author))
    found = use.wait(ledger, since, float(args.get("timeout_s", 30)), to=author)
    return {**_page(found), "timed_out": found["timed_out"]}


# -- what is written -------------------------------------------------------------------------------------


def _say(kind: EntryType, receiver: str, caller: Caller, args: Json) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT["maximum"]
    ledger, author = _of(caller, args)
    to, handles = receiver or args.get("to"), args.get("handles_handoff_id", ())
    if to is not None:
        use.refuse_no_receiver(caller.repo, to, os.environ, author)
    handles = (handles,) if isinstance(handles, str) else tuple(handles)
    payload = {name: args[name] for name in SHAPES[kind] if name in args}
    entry = use.append(ledger, author, kind, payload, to=to, handles=handles)
    told: dict[str, Any] = {name: entry.to_json()[name] for name in ("id", "seq", "to", "handles")}
    if kind in (EntryType.HANDOFF, EntryType.REPLY):
        found = receivers.deliver(ledger, entry, author, os.environ, config_file=caller.config_file)
        told["delivery"] = found.to_json()
    told |= {"lane": entry.payload.get("lane"), "next_speaker": use.state(ledger)["next_speaker"]}
    return told | _answered(ledger, author, entry, deadline) if args.get("wait_for_reply") else told


def _answered(ledger: Ledger, author: Author, entry: LedgerEntry, deadline: float) -> dict[str, Any]:
    """What others have said until the handoff is handled, or the run that took it is over without that."""
    since, seq = _behind(ledger, author), entry.seq
    while True:
        found = use.wait(ledger, seq, max(0.0, deadline - time.monotonic()))  # it may withdraw it itself
        seq = found["seq"]
        lane = ledger.state().lane_of(entry.id)
        if found["timed_out"] or lane is None or lane.status is LaneStatus.RETURNED:
            break
    said = ledger.following(entry.seq, _ANSWERS, ledger.believed()) if lane is None else ()
    by = next((one for one in said if entry.id in one.handles), None)
    is_answered = by is not None and not use.is_of(by, author) and by.text("supersedes") != entry.id
    return {"is_answered": is_answered, **_page(use.wait(ledger, since, 0, to=author))}


_ANSWERS = {*EntryType} - {EntryType.HANDOFF_TAKEN, EntryType.FINALITY_SIGNED}
"""A signature closes what is open, and says nothing to it."""


# -- the table -------------------------------------------------------------------------------------------

_ID = {"type": "string", "pattern": "^e-[0-9]{4,12}$"}
_LINES = {"type": "array", "items": {"type": "string", "maxLength": MAX_LINE}, "maxItems": MAX_ITEMS}
_IDS = {"type": "array", "items": _ID, "maxItems": MAX_ITEMS}
_ARGUMENTS: Json = {
    **{name: {"type": "string", "maxLength": MAX_TEXT} for name in ("text", "summary", "remaining_risk")},
    "title": {"type": "string", "maxLength": MAX_LINE},
    "to": about({"type": "string", "pattern": TASK}, "A task id, claude, codex, human or owner."),
    "reason": about({"type": "string", "maxLength": MAX_LINE}, "Why the work moves."),
    "ask": about({"type": "string", "maxLength": MAX_TEXT}, "What is to be done, and what shows that it is."),
    "context_refs": about(_LINES, "Paths in the repository that matter."),
    "handles_handoff_id": about({"anyOf": [_ID, _IDS]}, "The open handoff that this answers, or several."),
    "lane": about({"type": "string", "pattern": TASK}, "Only where there are several lanes of work."),
    "supersedes": about(_ID, "Your own open handoff, which this one replaces."),
    "wait_for_reply": about({"type": "boolean"}, "Wait for the answer, 48 s at most."),
    "limit": about({"type": "integer", "minimum": 1, "maximum": 200}, "So many entries; default 40."),
    "since_seq": about({"type": "integer", "minimum": 0}, "Only entries after this number."),
    "kinds": {"type": "array", "items": {"enum": list(EntryType)}, "maxItems": len(EntryType)},
    "id": about(_ID, "One entry, whole, instead of all this."),
    "kind": {"enum": list(ARTIFACT_KINDS)},
    "status": {"enum": list(STATUSES)},
    "evidence": about(_LINES, "Paths, commands and what they printed."),
    "timeout_s": about(WAIT, "Default 30."),
}
_HANDED = "context_refs handles_handoff_id lane supersedes wait_for_reply"
_HANDS = "Hand the work on{}: the receiver speaks next, and a run may be started for it."


def _tool(name: str, run: Run | EntryType, needs: str, may_have: str, words: str, **more: Any) -> Tool:
    """What only writes an entry is named by its type; `to` is its receiver, where that is no argument."""
    to = more.pop("to", "")
    use_case = functools.partial(_say, run, to) if isinstance(run, EntryType) else run
    properties = {word: more.get(word, _ARGUMENTS[word]) for word in f"{needs} {may_have}".split()}
    looks = not isinstance(run, EntryType)
    return Tool(name, words, properties, tuple(needs.split()), looks, use_case, _remember, of_task=True)


TOOLS: tuple[Tool, ...] = (
    _tool(
        *("append_note", EntryType.NOTE, "text", "handles_handoff_id"),
        "Write a note into the ledger of the task, for all who work on it: goal, plan, decisions, blockers.",
    ),
    _tool("handoff", EntryType.HANDOFF, "to reason ask", _HANDED, _HANDS.format("")),
    *(
        _tool(
            *(f"handoff_to_{to}", EntryType.HANDOFF, "reason ask", _HANDED, _HANDS.format(f" to {to}")), to=to
        )
        for to in ("claude", "codex")
    ),
    _tool(
        *("reply", EntryType.REPLY, "text", "handles_handoff_id lane"),
        "Answer the handoff that is open for you, first of all the one that you began for; whoever made it "
        "speaks next.",
    ),
    _tool(
        *("send", EntryType.MESSAGE, "to text", ""),
        "Leave a message in the ledger for one receiver; nothing is handed over.",
    ),
    _tool(
        *("read_context", read_context, "", "limit since_seq kinds id"),
        "Read the ledger of the task: the open handoffs first, who is next, then the newest entries. "
        "What an entry names in `cut` is longer: ask for it by its id.",
    ),
    _tool(
        *("task_state", task_state, "", ""),
        "The lanes of the task, whether it was proposed or signed as final, who is next, and who writes git.",
    ),
    _tool(
        *("session_info", session_info, "", ""),
        "Who you are in the ledger, how many entries it has, the active handoff, finality, who writes git, "
        "and the runs that live.",
    ),
    _tool(
        *("record_artifact", EntryType.ARTIFACT, "kind title summary status", "evidence"),
        "Record evidence in the ledger, with the status that you have seen.",
    ),
    _tool(
        *("wait_for_messages", wait_for_messages, "", "timeout_s since_seq"),
        "What others have written in the ledger since you last read or waited, as soon as there is any. "
        "Nothing until timeout_s is no error: call again.",
    ),
    _tool(
        *("propose_final", EntryType.FINALITY_PROPOSED, "summary evidence"),
        "remaining_risk handles_handoff_id lane",
        "Propose that the work is final, with the evidence. A person signs or rejects it.",
        evidence=_ARGUMENTS["text"],
    ),
)
