"""A ledger for people: who is next, and the conversation. What agents report is shown as reported by them."""

from __future__ import annotations

from runner.cli import pen
from runner.cli.margin import local, rows_of
from runner.cli.pen import paint
from runner.cli.render import indented, local_time
from runner.ledger.entry import HUMAN, MAIN, is_runners
from runner.ledger.lanes import Proposal, ProposalStatus
from runner.text.cells import cells, cut
from runner.text.words import count, few, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from runner.ledger.entry import LedgerEntry
    from runner.model import Json

    Called = Callable[[str], str]
    """The short name of a run."""

_TIME, _NARROW = 10, 50
_LONGEST = 2000
"""Characters of a text, where not all of it was asked for."""
_FILES = 10
_TONES = {
    **{"open": "yellow", "taken": "cyan", "returned": "yellow", "handled": "dim", "finalized": "green"},
    **{"awaiting_human": "yellow", "signed": "green", "rejected": "red", "outdated": "yellow"},
    **{"passed": "green", "failed": "red", "blocked": "red", "timed_out": "yellow", "succeeded": "green"},
    **{"lost": "red", "cancelled": "yellow", "reopened": "yellow"},
}
_LABELS = {
    **{"handoff_taken": "taken", "finality_proposed": "proposal", "finality_signed": "signed"},
    **{"finality_rejected": "rejected", "run_started": "began", "run_ended": "ended"},
    **{"coordinator_changed": "git", "marker_error": "marker", "restarted": "anew"},
}


def summary(context: Mapping[str, Any], called: Called, *, whole: bool = False) -> str:
    """Who is next, the lanes, the newest first, and how final the work is."""
    speaker, proposal = context["next_speaker"], context["finality"]
    rows = [_row("ledger", f"{context['ledger']}, {count(context['seq'], 'entry', 'entries')}")]
    if context["seq"]:
        turn = "nobody" if speaker is None else _who(speaker["actor"], speaker["run_id"], called)
        rows.append(_row("next", turn, turn, "yellow" if turn == HUMAN else "bold"))
    waiting = {entry["id"]: entry for entry in context["open_handoffs"]}
    for lane in context["lanes"]:
        rows.append(_row("lane", _lane(lane, called), lane["status"], _TONES.get(lane["status"], "")))
        if (handoff := lane["handoff"]) is not None:
            asked = _asked(waiting[handoff["id"]]["payload"], whole=whole)
            rows += [_row(f"  {name}", text, is_foreign=True) for name, text in asked]
    if proposal is not None:
        words = proposal["status"].replace("awaiting_human", "waits for your signature")
        text = _finality(proposal, words, context["task_id"], called)
        rows.append(_row("final", text, words, _TONES[proposal["status"]]))
    if (owner := context.get("git_owner")) is not None and owner["owner"] is not None:
        rows.append(_row("git owner", git_owned(owner)))
    return "\n".join(rows)


def git_owned(told: Mapping[str, Any]) -> str:
    """Who alone writes git, and what says so."""
    return "nobody is named" if told["owner"] is None else f"{told['owner']} ({told['from']})"


def listed(ledgers: Sequence[Mapping[str, Any]], called: Called) -> Iterator[str]:
    """A line for each: its task, entries, open lanes, who is next, and how final it is."""
    rows = [("TASK", "ENTRIES", "OPEN", "NEXT", "FINAL")] if ledgers else []
    for one in ledgers:
        speaker, final = one["next_speaker"], one["finality"]
        who = "-" if speaker is None else _who(speaker["actor"], speaker["run_id"], called)
        counts = ("?", "?") if one["problem"] else (str(one["entries"]), str(one["open_lanes"]))
        last = one["problem"]["message"] if one["problem"] else final or "-"
        rows.append((one["task_id"], *counts, "?" if one["problem"] else who, one_line(last)))
    return aligned(rows)


def aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Lines of columns, no longer than the terminal is wide."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)][:-1]
    most = pen.columns()
    for row in rows:
        padded = [text + " " * (width - cells(text)) for text, width in zip(row, widths, strict=False)]
        line = "  ".join([*padded, row[-1]])
        yield cut(line, most) if most else line


def _row(name: str, text: str, word: str = "", tone: str = "", *, is_foreign: bool = False) -> str:
    """With that word of it in a colour, which it gets once the text is broken into lines."""
    told = indented(text, is_foreign=is_foreign)
    return paint(f"{name:<10}", "dim") + (told.replace(word, paint(word, tone), 1) if tone else told)


def _lane(lane: Mapping[str, Any], called: Called) -> str:
    words, handoff = f"{lane['lane']} {lane['status']}", lane["handoff"]
    if lane["next"] is not None:
        words += f", next {_who(lane['next'], lane['run_id'], called)}"
    if handoff is None:
        return words
    by, taken = _who(handoff["maker"], handoff["maker_run"], called), handoff["taken_by"]
    had = "" if taken is None else f", {'left' if handoff['is_left'] else 'taken'} by run {called(taken)}"
    return f"{words}: {handoff['id']} of {by} to {handoff['to']}{had}, {local_time(handoff['at'])}"


def _asked(payload: Json, *, whole: bool = True) -> Iterator[tuple[str, str]]:
    yield "reason", _cut(payload["reason"], whole)
    yield "ask", _cut(payload["ask"], whole)
    if file := payload.get("file"):
        yield "file", f"{one_line(file)}, sha256 {payload.get('digest') or 'of none yet'}"
    if refs := payload.get("context_refs"):
        yield "refs", "\n".join(map(one_line, refs))


def _finality(proposal: Mapping[str, Any], words: str, task: str, called: Called) -> str:
    by = f"{proposal['id']} of {_who(proposal['by'], proposal['by_run'], called)}"
    who = f"{by} {words if proposal['status'] == 'awaiting_human' else f'is {words}'}"
    if proposal["decided_by"] is not None:
        by = "signed by" if words == "reopened" else "by"
        late = f"; changed files were seen since ({proposal['changed_by']})" if proposal["changed_by"] else ""
        return f"{who}, {by} {proposal['decided_by']}, {local_time(proposal['decided_at'])}{late}"
    outdated = Proposal.from_json(proposal).outdated_as
    why = f", as {outdated}" if proposal["status"] == "outdated" else ""
    return f"{who}{why}\nrunner ledger sign {task} --proposal {proposal['id']}"


class Conversation:
    """Entries as text, one after the other, with the day where it changes."""

    def __init__(self, called: Called, shown: Sequence[str] = (), *, whole: bool = False) -> None:
        self._called, self._shown, self._whole = called, shown, whole
        self._day = ""

    def text(self, entry: Json, mark: str = "") -> str:
        """Of an entry that stands above, its body is left out; a `mark` says what it is not."""
        width = pen.columns()
        indent = 2 if width is not None and width < _NARROW else _TIME
        day, clock = local(entry["at"])
        rows = [paint(day, "dim")] if day and day != self._day else []
        self._day = day or self._day
        heading, tone, body = self._told(entry)
        label = f"{_LABELS.get(entry['type'], entry['type']):<8}"
        closed = ", ".join(entry["handles"])
        closes = f", closes {closed}" if closed and entry["type"] != "handoff_taken" else ""
        above = " (above)" if entry["id"] in self._shown else ""
        start = f"{clock:<{_TIME}}"
        words = f"{entry['id']} {label} {heading}{closes}{above}{mark}"
        first, *more = rows_of(words, width, len(start), indent)
        first = first.replace(label, paint(label, tone), 1) if tone else first
        rows += [f"{start}{first}", *more]
        if body and not above:
            rows += rows_of(f"\n{_cut(body, self._whole)}", width, indent, indent)[1:]
        return "\n".join(row.rstrip() for row in rows)

    def _told(self, entry: Json) -> tuple[str, str, str]:
        """Who did it, in which colour, and what it says."""
        payload, kind, to = entry["payload"], entry["type"], entry["to"]
        by = _who(entry["actor"], None if _is_seen(entry) else entry["run_id"], self._called)
        if kind == "handoff":
            asked = ((name, text.replace("\n", f"\n{'':<7}")) for name, text in _asked(payload))
            body = "\n".join(f"{name:<7}{text}" for name, text in asked)
            return f"{by} to {to}, lane {payload.get('lane', MAIN)}", "yellow", body
        if kind in ("note", "message", "reply"):
            decided = f" ({payload['signer']}): {payload['decision']}" if payload.get("signer") else ""
            return by + (f" to {to}" if to else decided), "", payload["text"]
        if kind == "handoff_taken":
            return f"{by} has begun for {', '.join(entry['handles'])}", "cyan", ""
        if kind == "finality_proposed":
            return by, "yellow", _proposed(payload)
        if kind in ("finality_signed", "finality_rejected"):
            heading = f"{payload['signer']} ({by}): {payload['proposal']}"
            return heading, "green" if kind == "finality_signed" else "red", payload.get("note", "")
        return self._seen(entry, by)

    def _seen(self, entry: Json, by: str) -> tuple[str, str, str]:
        """What runner saw, and what only says that it did."""
        payload, kind, run = entry["payload"], entry["type"], self._called(entry["run_id"] or "")
        if kind == "artifact":
            is_seen, status = _is_seen(entry), payload["status"]
            of_run = f" of run {run}" if is_seen and run else ""
            what = f"{payload['kind']}{of_run}: {status}"
            if payload["kind"] == "escalation_suggestion" and status == "unknown":
                what = "an escalation suggestion"  # a status says nothing of it
            heading = f"{by} {'saw' if is_seen else 'reports'} {what}"
            texts = dict.fromkeys((payload["title"], payload["summary"]))
            files = [f"files: {few(payload['files'], _FILES)}"] if payload.get("files") else []
            body = "\n".join([*texts, *files, *(f"- {one}" for one in payload.get("evidence", ()))])
            return heading, _TONES.get(status, "") if is_seen else "", body
        if kind == "run_started":
            made_of = (payload["runtime"], payload.get("model"), payload["sandbox"])
            rehearsal = " (rehearsal)" if payload.get("rehearsal") else ""
            return f"run {run} of {payload['task']}: {', '.join(filter(None, made_of))}{rehearsal}", "dim", ""
        if kind == "run_ended":
            outcome = payload.get("outcome") or payload["status"]
            why = payload.get("message") if payload.get("code") != "completed" else ""
            return f"run {run}: {outcome}", _TONES.get(outcome, ""), why or ""
        if kind == "coordinator_changed":
            return f"{by}: only {payload['owner']} writes git", "cyan", ""
        if kind == "restarted":
            heading = f"{by} has begun the ledger anew; the former one is {payload['former']}"
            return heading, "yellow", payload["problem"]
        if kind == "marker_error":
            quoted = payload.get("marker", "").replace("\n", "\n| ")
            return f"run {run} wrote a marker that was not taken", "red", f"{payload['message']}\n| {quoted}"
        return f"{by} (of a newer runner)", "", "\n".join(f"{name}: {payload[name]}" for name in payload)


def to_decide(entry: LedgerEntry, proposal: Proposal) -> str:
    """The proposal that a person is to decide."""
    is_outdated = proposal.status is ProposalStatus.OUTDATED
    outdated = f" is outdated: {proposal.outdated_as}" if is_outdated else ""
    body = indented(f"        {_proposed(entry.payload)}", 8, is_foreign=True)
    return f"{entry.id} of {entry.actor}{outdated}:\n{body}"


def _proposed(payload: Json) -> str:
    """What somebody claims of the work."""
    risk = payload.get("remaining_risk")
    return f"{payload['summary']}\nevidence: {payload['evidence']}" + (f"\nrisk: {risk}" if risk else "")


def _is_seen(entry: Json) -> bool:
    return is_runners(entry["type"], entry["actor"], entry["run_id"], entry.get("key"))


def _who(actor: str, run_id: str | None, called: Called) -> str:
    return actor if run_id is None else f"{actor} {called(run_id)}"


def _cut(text: str, whole: bool) -> str:
    left = len(text) - _LONGEST
    return text if whole or left <= 0 else f"{text[:_LONGEST]}... ({left:,} more characters: --all)"
