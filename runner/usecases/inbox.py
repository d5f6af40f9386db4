"""USE CASE: all that waits for a person in a repository, each with what settles it. Edge: disk, reading.

Of runs that are done, only rows are read, and the manifests of plans.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time

from runner.errors import RunnerError
from runner.model import Phase
from runner.state.authentic import FOREIGN
from runner.state.feed import FeedReader
from runner.state.store import RunDir
from runner.usecases import events, logs, look, talk
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from runner.state.index import RunRow
    from runner.state.manifest import Manifest

_POLL_S = 0.2
_LOOKS_EVERY = 300
"""Polls: what waits may come without an event, such as other settings."""


class Item(Value):
    """`kind` is `question`, `turn`, `tree`, `plan` or `trust`; `commands` are the ways to settle it."""

    kind: str
    since: str | None
    run_id: str | None
    task_id: str | None
    question: str | None
    text: str
    commands: tuple[str, ...]


def waiting(root: str) -> list[Item]:
    """The oldest first; whose settings are no longer trusted comes last."""
    rows = look.runs(root, task=None, everything=True)
    found = [*_questions(root, rows), *trees(rows), *_plans(root, rows)]
    return sorted(found, key=lambda item: item.since or "") + _trust(root)


def wait(root: str, pause: Callable[[float], None] = time.sleep) -> list[Item]:
    """As `waiting`, as soon as there is something."""
    while True:
        live, last = events.caught_up(root, None)  # before the look: what comes after it is new
        reader = FeedReader(root, last)
        if found := waiting(root):
            return found
        for poll in range(1, _LOOKS_EVERY + 1):
            pause(_POLL_S)
            if poll % events.LOOKS_EVERY == 0:
                events.look_after(root, live)
            if any(True for _ in reader.new()):
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
        if (row.task_id, file) not in seen and row.ended_at is not None and (stop := manifest.plan_stop):
            reset = " --reset-breaker" * manifest.has_open_breaker
            path = os.path.relpath(
                os.path.join(root, file)
            )  # it is resolved in the folder of whoever reads this
            named = shlex.quote(f"./{path}" if path.startswith("-") else path)
            way = f"runner start --plan {named} --task {row.task_id} --resume{reset}"
            text = f"{stop.code}: {stop.message}"
            yield Item("plan", row.ended_at, row.run_id, row.task_id, None, text, (way,))
        seen.add((row.task_id, file))


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
