"""Rebuilds an unreadable manifest from the other files of the run's folder. Edge: disk, reading.

The invocation has what was declared, the events have what happened; all else stays unknown.
"""

from __future__ import annotations

import json
import os

from runner.disk.files import read_text
from runner.errors import IllegalTransition
from runner.invocation import Invocation
from runner.model import Identity, Outcome, Phase, Reason
from runner.state.events import read_events
from runner.state.lifecycle import Event
from runner.state.manifest import (
    Manifest,
    Workspace,
    advance,
    cancelled,
    exited,
    first,
    retried,
    started,
)
from runner.state.store import RunDir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Json

_OF_AN_ATTEMPT = ("how", "prompt", "stdout_from", "stderr_from")


def rebuild(run: RunDir, invocation: Invocation) -> Manifest:
    """The manifest that the events support; it starts again at `queued` where there are none."""
    manifest = first(invocation, run.artifacts).replace(workspace=_workplace(run))
    for event in read_events(run.events):
        try:
            after = _apply(manifest, event)
            if after is not manifest:
                manifest = Manifest.from_json(after.to_json())  # whatever stood in the event
        except (LookupError, TypeError, ValueError, RecursionError, IllegalTransition):
            continue
    return manifest


def _workplace(run: RunDir) -> Workspace | None:
    """Of the record that was made of the work tree before the run."""
    try:
        found = json.loads(read_text(run.workspace) or "")
        kind = "worktree" if os.path.exists(f"{run.path}/worktree.json") else "in-place"
        return Workspace(kind, str(found["root"]), found["position"]["head"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _apply(manifest: Manifest, event: Json) -> Manifest:
    kind, at = event["type"], event["at"]
    if kind == "created":
        return manifest.replace(created_at=at)
    if kind == Event.STARTED:
        if manifest.phase is Phase.QUEUED:
            manifest = advance(manifest, Event.LAUNCHED, at=at, attempt=event["attempt"])
        known = {name: event[name] for name in _OF_AN_ATTEMPT if name in event}
        return started(manifest, Identity.from_json(event["process"]), at, **known)
    if kind == Event.RETRIED:
        failed = manifest.with_last_attempt(reason=str(event["code"]), counts=bool(event.get("counts")))
        return retried(failed, event["attempt"], at)
    if kind in (Event.PAUSED, Event.RESUMED):
        return advance(manifest, Event(kind), at=at)
    if kind == "cancel_requested":
        reason = cancelled(event["actor"], event["reason"])
        return advance(manifest, Event.STOP_REQUESTED, at=at, reason=reason)
    if kind == "limit":
        reason = Reason(event["code"], event["message"])
        return advance(manifest, Event.STOP_REQUESTED, at=at, reason=reason)
    if kind == Event.EXITED:
        return exited(manifest, event["exit_code"], event["signal"], at)
    if kind == Event.ENDED:
        # What was written as the end is the end, whatever was seen before it: a start may have failed.
        reason, manifest = Reason(**event["reason"]), manifest.replace(phase=Phase.VERIFYING)
        return advance(manifest, Event.ENDED, at=at, outcome=Outcome(event["outcome"]), reason=reason)
    return manifest
