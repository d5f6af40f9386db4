"""What a new owner has to do, after it took a free lock. Edges: disk, processes.

A pure table gives one action for three facts: the phase on disk, whether the boot is the same, whether the
recorded process lives. No row guesses. A broken or missing manifest is rebuilt first.
"""

from __future__ import annotations

import os

from runner.errors import ManifestBroken, RunNotFound
from runner.model import Outcome, Phase, Reason
from runner.processes.proc import identify, is_alive, is_here
from runner.processes.tree import marked
from runner.state.events import EventLog
from runner.state.lifecycle import Event
from runner.state.manifest import Manifest, advance, started
from runner.state.store import RunDir
from runner.supervise.recover import rebuild
from runner.value import StrEnum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.errors import RunnerError
    from runner.invocation import Invocation
    from runner.model import Identity


_AT_WORK = (Phase.RUNNING, Phase.PAUSED, Phase.WAITING, Phase.VERIFYING)


class Action(StrEnum):
    """What the new owner of a run has to do."""

    NOTHING = "nothing"
    WATCH = "watch"
    """The process lives: continue to supervise it."""
    KEEP_STOPPING = "keep_stopping"
    """A stop was wished for and the process lives: finish the stop."""
    WAIT = "wait"
    """Its agent has ended a turn: go on waiting for a message."""
    CONCLUDE = "conclude"
    """The process has ended: write the end that the event stream supports."""
    LOSE = "lose"
    """Another boot, or an unrecorded child: what ran is gone, and its end was not seen."""
    NEVER_STARTED = "never_started"
    """The starter died before any process existed."""


def decide(
    phase: Phase, *, same_boot: bool, process_known: bool, process_alive: bool, output_seen: bool = False
) -> Action:
    """The action for a run whose owner is gone. `output_seen`: the files of a child's output were made."""
    if phase is Phase.DONE:
        return Action.NOTHING
    if phase is Phase.WAITING:
        return Action.WAIT  # nothing of it was at work
    if not same_boot:
        return Action.LOSE
    if not process_known:
        return Action.LOSE if output_seen else Action.NEVER_STARTED
    if not process_alive:
        return Action.CONCLUDE
    return Action.KEEP_STOPPING if phase is Phase.STOPPING else Action.WATCH


def unseen_end(action: Action, phase: Phase, *, process_known: bool) -> tuple[Outcome, Reason]:
    """The end of a run that was not seen to end, for LOSE and NEVER_STARTED."""
    if action is Action.NEVER_STARTED:
        text = "its starter ended before the agent existed"
        return Outcome.FAILED, Reason("never_started", text, "start it again")
    text = f"the machine or its container was restarted while it was `{phase}`"
    if not process_known:
        text = "its starter ended while starting the agent, whose fate was not seen"
    return Outcome.LOST, Reason("lost", text, "check its output, then start it again")


def read_or_rebuild(run: RunDir, invocation: Invocation, log: EventLog) -> tuple[Manifest, bool]:
    """The manifest, and whether it was made again, which is not written then: a broken one is set aside."""
    try:
        manifest = run.read_manifest()
        if manifest.phase in _AT_WORK and (manifest.process is None or not manifest.attempts):
            raise ManifestBroken(f"{run.manifest} is `{manifest.phase}`, and has no process or no attempt")
        return manifest, False
    except (ManifestBroken, RunNotFound) as error:
        aside = set_aside(run, error)
        manifest = rebuild(run, invocation)
        log.note("rebuilt", aside=aside, message=error.message)
        return manifest, True


def set_aside(run: RunDir, error: RunnerError) -> str | None:
    """Where the broken manifest is now; one that is gone leaves nothing to set aside."""
    if isinstance(error, RunNotFound):
        return None
    return os.path.basename(run.set_aside_manifest())


def find_action(run: RunDir, invocation: Invocation, manifest: Manifest) -> tuple[Action, Manifest]:
    """The action for the run. The manifest then has a child that was not recorded."""
    process = manifest.process
    if process is None and manifest.phase in (Phase.QUEUED, Phase.STARTING):
        process, manifest = _find_unrecorded(run, invocation, manifest)
    known = process or manifest.supervisor
    action = decide(
        manifest.phase,
        same_boot=known is None or is_here(known),
        process_known=process is not None,
        process_alive=process is not None and is_alive(process),
        output_seen=os.path.exists(run.stdout),
    )
    return action, manifest


def _find_unrecorded(
    run: RunDir, invocation: Invocation, manifest: Manifest
) -> tuple[Identity | None, Manifest]:
    """The child of a starter that died between starting it and writing it down."""
    process = marked(run.run_id, invocation.argv)
    identity = None if process is None else identify(process.pid)
    if identity is not None:
        if manifest.phase is Phase.QUEUED:
            manifest = advance(manifest, Event.LAUNCHED, attempt=1)
        manifest = started(manifest, identity)
    return identity, manifest
