"""What people see of the turns of a run that lives: how far it is, what was sent to it, what to do next."""

from __future__ import annotations

from runner.cli.pen import paint
from runner.cli.render import indented, local_time
from runner.model import Phase
from runner.state.messages import Queue
from runner.text.words import one_line
from runner.usecases import logs, talk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.state.manifest import Manifest
    from runner.state.store import RunDir


def turns_text(run: RunDir, m: Manifest, name: str) -> str:
    """Below `runner status`; commands call the run by its `name`."""
    rows = (*_rows(run, m), ("next", next_text(run, m, name)))
    return "\n".join(f"{paint(f'{row:<10}', 'dim')}{indented(text, is_foreign=True)}" for row, text in rows)


def next_text(run: RunDir, m: Manifest, name: str) -> str:
    """The commands that make sense for a run that waits for a message, or whose turn goes on."""
    if m.open and Queue(run).end is not None:
        return f"runner wait {name}"
    first = f"runner send {name} TEXT" if m.phase is Phase.WAITING else f"runner await {name}"
    return first + f"\nrunner end {name}" * m.open


def _rows(run: RunDir, m: Manifest) -> Iterator[tuple[str, str]]:
    queued = logs.queued(run, m)
    if m.turns < m.turns_begun:
        is_last = not m.open or Queue(run).end is not None
        then = "" if queued else "; then it is judged" if is_last else "; then it waits for a message"
        yield "turn", f"{m.turns_begun} {'is paused' if m.phase is Phase.PAUSED else 'goes on'}{then}"
    elif m.turns:
        ended = talk.record(run, m, m.turns)
        why = f": {reason['message']}" if (reason := ended.get("reason")) else ""
        yield "turn", f"{m.turns} {ended.get('status') or 'has ended'}{why}"
    if m.phase is Phase.WAITING:
        since, until = map(local_time, talk.waits(run, m))
        yield "waits", f"for a message since {since}; without one it is judged at {until}"
    for one in queued:
        head = f"{one.id} of {one.actor} at {local_time(one.at)}{', to be heard at once' * one.now}"
        yield "queued", f"{head}\n{one_line(one.text, 160)}"
