"""Rebuilds an unreadable manifest from the other files of the run's folder. Edge: disk, reading.

The invocation has what was declared, the events have what happened; all else stays unknown.
"""

from __future__ import annotations

import os

from runner.disk.files import read_text
from runner.errors import IllegalTransition
from runner.invocation import Invocation
from runner.model import Identity, Phase, Reason
from runner.state.events import EndTold, Gap, read_events
from runner.state.lifecycle import Event
from runner.state.manifest import (
    INTERRUPTED,
    Attempt,
    Manifest,
    Workspace,
    advance,
    cancelled,
    continued,
    exited,
    first,
    retried,
    started,
)
from runner.state.store import RunDir
from runner.value import Count, Timestamp, Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Json


class _At(Value):
    at: Timestamp


class _Started(Value):
    attempt: Count
    process: Identity
    cgroup: str | None = None


class _OfAnAttempt(Value):
    """What a `started` says of it; an older runner said less."""

    how: str = Attempt.how
    prompt: str = Attempt.prompt
    stdout_from: Count = Attempt.stdout_from
    stderr_from: Count = Attempt.stderr_from
    thread_id: str | None = Attempt.thread_id
    messages: tuple[str, ...] = Attempt.messages


class _Retried(Value):
    code: str
    attempt: Count
    counts: bool = False


class _Turn(Value):
    turn: Count


class _KeptOpen(Value):
    uptime: float


class _Continued(Value):
    attempt: Count
    waited_s: float


class _Waited(Value):
    waited_s: float


class _Cancelled(Value):
    actor: str
    reason: str


class _Baseline(Value):
    argv: tuple[str, ...]
    exit_code: int | None


class _Exited(Value):
    exit_code: int | None
    signal: int | None


class _Head(Value):
    head: str | None


class _Recorded(Value):
    """What of the record of the work tree the manifest repeats."""

    root: str
    position: _Head


_OF_TURNS = ("turn_ended", Event.KEPT_OPEN, Event.CONTINUED, Event.CLOSED, Event.INTERRUPTED)


def rebuild(run: RunDir, invocation: Invocation) -> Manifest:
    """The manifest that the events support; it starts again at `queued` where there are none."""
    manifest = first(invocation, run.artifacts).replace(workspace=_workplace(run))
    for event in read_events(run.events):
        try:
            manifest = _apply(manifest, event)
        except (ValueError, IllegalTransition):
            continue
    return manifest


def _workplace(run: RunDir) -> Workspace | None:
    """Of the record that was made of the work tree before the run."""
    try:
        found = _Recorded.from_json(json_value(read_text(run.workspace) or ""))
    except ValueError:
        return None
    kind = "worktree" if os.path.exists(f"{run.path}/worktree.json") else "in-place"
    return Workspace(kind, found.root, found.position.head)


def _apply(manifest: Manifest, event: Json) -> Manifest:
    """ValueError for an event that does not say what it must."""
    kind, at = event.get("type"), _At.from_json(event).at
    if kind == "created":
        return manifest.replace(created_at=at)
    if kind == "baseline":
        check, before = _Baseline.from_json(event), manifest.failed_before or ()
        return manifest.replace(failed_before=before if check.exit_code == 0 else (*before, check.argv))
    if kind == Event.STARTED:
        begun, of_attempt = _Started.from_json(event), _OfAnAttempt.from_json(event)
        manifest = manifest.replace(cgroup=begun.cgroup)
        if manifest.phase is Phase.QUEUED:
            manifest = advance(manifest, Event.LAUNCHED, at=at, attempt=begun.attempt)
        return started(manifest, begun.process, at, **of_attempt.__dict__)
    if kind == Event.RETRIED:
        again = _Retried.from_json(event)
        failed = manifest.with_last_attempt(reason=again.code, counts=again.counts)
        return retried(failed, again.attempt, at)
    if kind in _OF_TURNS:
        return _turn(manifest, event, at)
    if kind in (Event.PAUSED, Event.RESUMED):
        return advance(manifest, Event(kind), at=at)
    if kind == "suspended":
        gap = Gap.from_json(event)
        missed_s = manifest.suspended_seconds + (0.0 if gap.paused else gap.seconds)
        return manifest.replace(suspended_seconds=round(missed_s, 3))
    if kind == "cancel_requested":
        asked = _Cancelled.from_json(event)
        return advance(manifest, Event.STOP_REQUESTED, at=at, reason=cancelled(asked.actor, asked.reason))
    if kind == "limit":
        return advance(manifest, Event.STOP_REQUESTED, at=at, reason=Reason.from_json(event))
    if kind == Event.EXITED:
        seen = _Exited.from_json(event)
        return exited(manifest, seen.exit_code, seen.signal, at)
    if kind == Event.ENDED:
        # What was written as the end is the end, whatever was seen before it: a start may have failed.
        end, manifest = EndTold.from_json(event), manifest.replace(phase=Phase.VERIFYING)
        return advance(manifest, Event.ENDED, at=at, outcome=end.outcome, reason=end.reason)
    return manifest


def _turn(manifest: Manifest, event: Json, at: str) -> Manifest:
    kind = event["type"]
    if kind == Event.INTERRUPTED:
        return advance(manifest, Event.INTERRUPTED, at=at).with_last_attempt(reason=INTERRUPTED)
    if kind == "turn_ended":
        return manifest.replace(turns=_Turn.from_json(event).turn)
    if kind == Event.KEPT_OPEN:
        return advance(manifest, Event.KEPT_OPEN, at=at, waiting_uptime=_KeptOpen.from_json(event).uptime)
    waited_s = (_Continued if kind == Event.CONTINUED else _Waited).from_json(event).waited_s
    manifest = manifest.replace(waiting_seconds=round(manifest.waiting_seconds + waited_s, 3))
    if kind == Event.CONTINUED:
        return continued(manifest, _Continued.from_json(event).attempt, at)
    return advance(manifest, Event.CLOSED, at=at, waiting_uptime=None)
