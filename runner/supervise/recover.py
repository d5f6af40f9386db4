"""A manifest that cannot be read is made again from what else is in the run's folder. Edge: disk, reading.

The invocation says what was declared and the events what happened; what neither tells stays unknown.
"""

from __future__ import annotations

from runner.model import Identity, Invocation, Outcome, Reason
from runner.state.events import read
from runner.state.lifecycle import Event
from runner.state.manifest import Manifest, advance, first
from runner.state.store import RunDir
from runner.supervise import started

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Json


def rebuild(run: RunDir, invocation: Invocation) -> Manifest:
    """The manifest that the events support; it starts again at `queued` where there are none."""
    manifest = first(invocation, run.artifacts)
    for event in read(run.events):
        try:
            manifest = _apply(manifest, event)
        except (KeyError, TypeError, ValueError):
            continue
    return manifest


def _apply(manifest: Manifest, event: Json) -> Manifest:
    kind, at = event["type"], event["at"]
    if kind == "created":
        return manifest.replace(created_at=at)
    if kind == Event.STARTED:
        launched = advance(manifest, Event.LAUNCHED, attempt=event["attempt"])
        return started(launched, Identity.from_json(event["process"])).replace(started_at=at)
    if kind == Event.PAUSED:
        return advance(manifest, Event.PAUSED, paused_at=at)
    if kind == Event.RESUMED:
        return advance(manifest, Event.RESUMED)
    if kind == Event.EXITED:
        seen = {"exit_code": event["exit_code"], "signal": event["signal"]}
        return advance(manifest, Event.EXITED, **seen)
    if kind == Event.ENDED:
        reason = Reason(**event["reason"])
        return advance(manifest, Event.ENDED, outcome=Outcome(event["outcome"]), reason=reason, ended_at=at)
    return manifest
