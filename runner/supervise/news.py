"""What a run's owner tells in the feed of the repository. Edge: disk.

Every function may be called again for the same thing: the feed has it once. False is: not told now, as the
disk refused or another one has the feed. Then it is told at the next tick, or by whoever seals the run.
"""

from __future__ import annotations

import contextlib
import os

from runner.disk.files import create, withdraw
from runner.errors import RunnerError
from runner.model import Phase, Reason
from runner.runtimes import PLAN
from runner.state import feed
from runner.state.events import complain
from runner.state.store import RunDir
from runner.text.terminal import clean_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runner.model import Json
    from runner.state.manifest import Manifest
    from runner.state.questions import Question
    from runner.supervise.sealing import Cleaner

_CHARS = 500


def started(run: RunDir, manifest: Manifest, *, is_new: bool = False) -> bool:
    """That its agent has begun; later only where it could not be told then, as the feed may be cut."""
    if not is_new and not os.path.lexists(run.untold):
        return True
    is_told = _tell(run, manifest, feed.STARTED, at=manifest.started_at)
    if is_told:
        withdraw(run.untold)
    elif is_new:
        with contextlib.suppress(OSError):
            create(run.untold, b"")
    return is_told


def question(
    run: RunDir, manifest: Manifest, cleaner: Cleaner, one: Question, notify: Callable[[Json], None]
) -> bool:
    """That it was asked, and how it was settled. `to` is the run that is asked, or `owner`: a person. A plan
    answers nothing, and neither does a run that is done or waits for a message.
    """
    above, prompt = _above(manifest), cleaner.text(one.prompt)[:_CHARS]
    is_silent = above is None or above.runtime.name == PLAN or above.phase in (Phase.WAITING, Phase.DONE)
    to = "owner" if is_silent else one.asked
    told: dict[str, Any] = {"question": one.id, "to": to, "prompt": prompt}
    is_told = _tell(run, manifest, feed.ASKED, notify if one.is_open else None, at=one.asked_at, **told)
    if one.is_open or not is_told:
        return is_told
    settled: dict[str, Any] = {"question": one.id, "to": to, "status": one.status}
    return _tell(run, manifest, feed.SETTLED, at=one.closed_at, **settled)


def turn(run: RunDir, manifest: Manifest, one: tuple[int, str, str], notify: Callable[[Json], None]) -> bool:
    """That its agent has ended a turn: its number, how it ended, and what was said."""
    number, status, said = one
    told: dict[str, Any] = {"attempt": manifest.attempt, "turn": number, "status": status}
    return _tell(run, manifest, feed.TURN, notify, **told, message=said[:_CHARS])


def ended(run: RunDir, manifest: Manifest, notify: Callable[[Json], None] | None = None) -> bool:
    """That it is done, and what it left for a person to decide. Of one that never began its starter knows."""
    if manifest.started_at is None:
        return True
    if not started(run, manifest):
        return False
    is_told = _tell(run, manifest, feed.ENDED, notify, at=manifest.ended_at, reason=_short(manifest.reason))
    if (stop := manifest.plan_stop) is not None:
        is_told = _tell(run, manifest, feed.PARKED, notify, reason=_short(stop)) and is_told
    elif leaves_tree(manifest):
        is_told = _tell(run, manifest, feed.UNDECIDED, notify) and is_told
    return is_told


def approvals(run: RunDir, manifest: Manifest, notify: Callable[[Json], None], told: set[int]) -> None:
    """That a step of a pipeline waits for a person; `told` are those of which that was said, and grows."""
    for one in () if manifest.plan is None else manifest.plan["batches"]:
        if one["status"] == "asked" and one["n"] not in told:
            prompt = f"{one['stage']} waits for your approval: {one['title']}"[:_CHARS]
            if _tell(run, manifest, feed.APPROVAL, notify, step=one["n"], prompt=prompt):
                told.add(one["n"])


def leaves_tree(manifest: Manifest) -> bool:
    """Whether its own work tree waits for `accept` or `discard`. That of a batch is for its plan to take."""
    place, above = manifest.workspace, _above(manifest)
    is_there = place is not None and place.kind == "worktree" and os.path.lexists(place.path)
    return is_there and (above is None or above.runtime.name != PLAN)


def _above(manifest: Manifest) -> Manifest | None:
    """The run that has started it; None where there is none, or none any more."""
    above = manifest.parent
    try:
        return None if above is None else RunDir.of(manifest.repo, above).read_manifest()
    except RunnerError:
        return None


def not_noticed(run: RunDir, event: Json, hook: str, message: str) -> bool:
    """That the user's own command, which was to tell him of an event, has failed. Of turns once in a run."""
    reason = _short(Reason("notice_failed", f"{hook}: {message}"))
    return _tell(run, None, feed.NOTICE_FAILED, question=event["question"], hook=hook, reason=reason)


def _tell(
    run: RunDir,
    manifest: Manifest | None,
    event: str,
    notify: Callable[[Json], None] | None = None,
    *,
    at: str | None = None,
    **told: Any,
) -> bool:
    try:
        manifest = run.read_manifest() if manifest is None else manifest
        parent = manifest.parent
        about = {
            "status": manifest.status,
            "title": manifest.title and clean_terminal(manifest.title)[:_CHARS],
            "parent": None if parent is None else parent.manifest_path,
            "sessions": list(manifest.sessions),
        }
        made = feed.tell(run, event, at=at, **{**about, **told})
        if notify is not None and "seq" in made:  # else it was told before, and so was the user
            notify(made)
    except RunnerError as error:
        complain(f"{event} is told to nobody: {error.message}")  # without a key nothing can be believed
    except OSError as error:
        complain(f"{event} is not told yet: {error}")
        return not os.path.isdir(run.path)
    return True


def _short(reason: Reason | None) -> Json | None:
    return None if reason is None else {"code": reason.code, "message": reason.message[:_CHARS]}
