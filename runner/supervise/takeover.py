"""What a new owner finds: the manifest, made again if need be, and what is to do. Edges: disk, processes."""

from __future__ import annotations

import os

from runner.errors import ManifestBroken, RunNotFound
from runner.model import Phase
from runner.processes.proc import boot_id, host, identify, is_alive
from runner.processes.tree import marked
from runner.state.events import EventLog
from runner.state.lifecycle import Event
from runner.state.manifest import Manifest, advance
from runner.state.store import RunDir
from runner.supervise.begin import started
from runner.supervise.reconcile import Action, decide
from runner.supervise.recover import rebuild

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.errors import RunnerError
    from runner.invocation import Invocation
    from runner.model import Identity


def read(run: RunDir, invocation: Invocation, log: EventLog) -> tuple[Manifest, bool]:
    """The manifest, and whether it had to be made again: a broken one is set aside."""
    try:
        return run.read_manifest(), False
    except (ManifestBroken, RunNotFound) as error:
        aside = set_aside(run, error)
        manifest = rebuild(run, invocation)
        run.write_manifest(manifest)
        log.note("rebuilt", aside=aside, message=error.message)
        return manifest, True


def set_aside(run: RunDir, error: RunnerError) -> str | None:
    """Where the broken manifest is now; one that is gone leaves nothing to set aside."""
    if isinstance(error, RunNotFound):
        return None
    return os.path.basename(run.set_aside_manifest())


def look(run: RunDir, invocation: Invocation, manifest: Manifest) -> tuple[Action, Manifest]:
    """What is to be done with the run. The manifest then knows a child that nobody had written down."""
    process = manifest.process
    if process is None and manifest.phase in (Phase.QUEUED, Phase.STARTING):
        process, manifest = _find_unrecorded(run, invocation, manifest)
    known = process or manifest.supervisor
    action = decide(
        manifest.phase,
        same_boot=known is None or (known.host, known.boot_id) == (host(), boot_id()),
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
