"""USE CASE: what the ledger that a run shares has of it, and who speaks next there. Edge: disk, reading.

It is derived when somebody asks, and kept nowhere. Of a ledger that is not believed, only that is said.
"""

from __future__ import annotations

from runner.errors import RunnerError
from runner.ledger.entry import EntryType, is_of_runner
from runner.state.store import RunDir
from runner.text.words import one_line
from runner.usecases.ledger import ledger_of, state
from runner.usecases.takers import end_of, settled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runner.ledger.entry import LedgerEntry
    from runner.ledger.file import Ledger, Look

_MOST_OPEN = 20
_LONGEST = 300
"""Characters of a reason in brief."""


def brief(run: RunDir) -> dict[str, Any] | None:
    """The open handoffs, the newest first, who speaks next, and finality; None without a ledger."""
    return _of(run, _brief)


def part(run: RunDir) -> dict[str, Any] | None:
    """As `brief`, with its lanes, the handoffs that the run took and made, and what was recorded of it."""
    return _of(run, lambda ledger, look: _brief(ledger, look) | _part(ledger, look, run.run_id))


def _of(run: RunDir, read: Callable[[Ledger, Look], dict[str, Any]]) -> dict[str, Any] | None:
    try:
        ledger = ledger_of(run)
    except RunnerError:
        return None  # nothing says which one it is
    try:
        look = settled(ledger)
        return {"path": ledger.relative, "problem": None, **read(ledger, look)} if look.state.seq else None
    except RunnerError as error:
        return {"path": ledger.relative, "problem": error.message}


def _brief(ledger: Ledger, look: Look) -> dict[str, Any]:
    handoffs = []
    for one in look.state.open[:_MOST_OPEN]:
        entry = ledger.entry(one.id)
        reason = one_line(entry.text("reason"), _LONGEST)
        handoffs.append({**one.to_json(), "lane": entry.text("lane"), "reason": reason})
    told = state(ledger, look)
    speaker = told["next_speaker"]
    if speaker is not None and (run := speaker["run_id"]) is not None:
        is_over = end_of(RunDir(ledger.repo, speaker["actor"], run)) is not None  # it says nothing more
        speaker = None if is_over else speaker
    return {"open_handoffs": handoffs, "next_speaker": speaker, "finality": told["finality"]}


def _part(ledger: Ledger, look: Look, run_id: str) -> dict[str, Any]:
    entries = ledger.entries(look=look, run_id=run_id)
    taken = [one for entry in entries if entry.type is EntryType.HANDOFF_TAKEN for one in entry.handles]
    artifacts = [entry for entry in entries if entry.type is EntryType.ARTIFACT]
    return {
        "lanes": state(ledger, look)["lanes"],
        "taken": [_told(ledger.entry(one)) for one in taken],
        "made": [_told(entry) for entry in entries if entry.type is EntryType.HANDOFF],
        "recorded": [_told(entry) for entry in artifacts if not is_of_runner(entry)],
        "seen": [_told(entry) for entry in artifacts if is_of_runner(entry)],
        "refused": [_told(entry) for entry in entries if entry.type is EntryType.MARKER_ERROR],
    }


def _told(entry: LedgerEntry) -> dict[str, Any]:
    head = {"id": entry.id, "at": entry.at, "actor": entry.actor, "run_id": entry.run_id, "to": entry.to}
    return {**head, "handles": list(entry.handles), **entry.payload}
