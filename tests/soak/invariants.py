"""What has to be true after every trial, whatever was done in it."""

from __future__ import annotations

import json

from scene import SECRET, Scene
from support import processes
from support.repo import Run


def settles(scene: Scene) -> None:
    """Every run comes to its end once its agent may go on, and then nothing of it is left."""
    scene.repo.open_gate()
    for run in scene.repo.runs():
        if not scene.until(lambda run=run: _is_over(scene, run), f"the end of {run.id}"):
            scene.violates(f"it is {_phase(scene, run)}")
    scene.cli("reap")
    _nothing_is_left(scene)
    for run in scene.runs():
        _is_sound(scene, run)


def _is_over(scene: Scene, run: Run) -> bool:
    return not run.folder.exists() or _phase(scene, run) in ("done", None)


def _phase(scene: Scene, run: Run) -> str | None:
    """What `status` says now; None for a folder that never became a run."""
    done = scene.cli("status", run.id, "--format", "json")
    if done.returncode == 0:
        return str(json.loads(done.stdout)["phase"])
    return None if done.returncode == 4 else f"exit {done.returncode}: {done.stdout[:200]}"


def _nothing_is_left(scene: Scene) -> None:
    if not scene.until(lambda: not processes.of_folder(scene.repo.base), "the end of all processes", 30.0):
        left = processes.of_folder(scene.repo.base)
        scene.violates(f"processes are left: {[f'{one.pid} {one.words}'[:120] for one in left]}")


def _is_sound(scene: Scene, run: Run) -> None:
    manifest = run.on_disk()
    if manifest["survivors"]:
        scene.violates(f"{run.id} has survivors: {manifest['survivors']}")
    if (manifest["outcome"] is None) != (manifest["phase"] != "done"):
        scene.violates(f"{run.id} is `{manifest['phase']}` with outcome {manifest['outcome']}")
    if not scene.breaks_events:
        _has_whole_events(scene, run)
    drafts = [path.name for path in run.folder.iterdir() if path.name.endswith(".tmp")]
    if drafts:
        scene.violates(f"{run.id} keeps drafts: {drafts}")
    for path in run.folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and SECRET.encode() in path.read_bytes():
            scene.violates(f"the secret stands in {path.relative_to(scene.repo.root)}")


def _has_whole_events(scene: Scene, run: Run) -> None:
    try:
        numbers = [event["seq"] for event in run.events()]
    except (OSError, ValueError, KeyError) as error:
        scene.violates(f"{run.id}: events.jsonl cannot be read: {error}")
        return
    if numbers != [*range(1, len(numbers) + 1)]:
        scene.violates(f"{run.id}: the events have a gap: {numbers}")
    ends = [event for event in run.events() if event["type"] == "ended"]
    if len(ends) > 1:
        scene.violates(f"{run.id} has ended {len(ends)} times")
