"""USE CASE: what a host's model is shown of runs, and by which one of its monitors. Edge: disk."""

from __future__ import annotations

import contextlib
import fcntl
import os

from runner.disk import home
from runner.disk.digest import sha256
from runner.disk.files import open_lock, private_folder
from runner.disk.locks import Lock
from runner.errors import RunnerError
from runner.state import feed
from runner.state.store import RunDir
from runner.usecases import fate, logs, look, review
from runner.verify import surface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.model import Json
    from runner.state.manifest import Manifest

_WAITS_S = 1.0


def alone(host: str, root: str, env: Mapping[str, str], pause: Callable[[float], None]) -> None:
    """Returns once no other monitor of this host tells its session of this repository, and none will while
    this process lives. One that ended instead of waiting would wake the model.
    """
    with contextlib.suppress(OSError, RunnerError):  # told twice is better than not at all
        of_repository = sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]
        folder = private_folder(home.state(env), "hosts")
        lock = open_lock(path := f"{folder}/{host}-{of_repository}.lock")
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_nlink:
                    return
                os.close(lock)  # it was removed in between (`tidy`), and another one may have one of its own
                lock = open_lock(path)
            except BlockingIOError:
                pause(_WAITS_S)


def of_event(root: str, event: Json, names: Mapping[str, str]) -> list[str]:
    """The lines for an event of the feed; none for one that needs nobody: a start, a turn in a run that goes
    on by itself, the end of a run below another one. A work tree to decide on stands with the run's end.
    """
    hook, run = feed.hook_of(event), RunDir(root, event["task_id"], event["run_id"])
    if hook is None or event["event"] == feed.UNDECIDED:
        return []
    runtime, report, change = "run", None, ""
    with contextlib.suppress(RunnerError):  # removed since: that it has ended is told all the same
        shown = look.show(run)
        manifest = shown.manifest
        if shown.foreign is not None:
            return [surface.foreign(run.task_id, names[run.run_id])]
        if hook == "on_turn" and not manifest.open:
            return []
        runtime = manifest.runtime.name
        if event["event"] == feed.ENDED:
            report, change = review.report(run).report, _change(run, manifest, names[run.run_id])
    return surface.lines(event, report, runtime, names[run.run_id], change)


def of_run(run: RunDir, name: str) -> list[str]:
    """The end of what its agent has said, and its report in short."""
    shown = look.show(run)
    manifest = shown.manifest
    said = logs.redactor(run, manifest).redact_text(manifest.last_message or "")
    if shown.foreign is not None:
        return [*surface.block(said, "run"), surface.foreign(run.task_id, name)]
    found = review.report(run)
    reason = None if found.report.reason is None else found.report.reason.to_json()
    event = {"event": feed.ENDED, "task_id": run.task_id, "status": manifest.status, "reason": reason}
    runtime = manifest.runtime.name
    return surface.block(said, runtime) + surface.lines(
        event, found.report, runtime, name, _change(run, manifest, name)
    )


def _change(run: RunDir, manifest: Manifest, name: str) -> str:
    """Where what it changed is now."""
    return logs.redactor(run, manifest).redact_text(fate.in_words(run, manifest, name) or "")


def tidy(env: Mapping[str, str]) -> None:
    """Removes the locks that no monitor holds any more."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder := f"{home.state(env)}/hosts"):
            with contextlib.suppress(OSError):
                if name.endswith(".lock"):
                    with Lock(path := f"{folder}/{name}", 0.0):
                        os.unlink(path)
