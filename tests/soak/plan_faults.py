"""Faults around a plan, which the real Codex carries out against the scripted model."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

from scene import WITHIN_S, Scene
from support import processes
from support.repo import Run
from support.waves import commits, prepares, start_words, work_trees, writes

_RESUMES = 6
_COMMIT = "commit = true"
_APART = "max_parallel = 2"


def plan(scene: Scene, batches: int = 2) -> list[str]:
    """In place or side by side, with commits or without; what was chosen."""
    chosen = [line for line in (_COMMIT, _APART) if scene.rng.random() < 0.5]
    prepares(scene.repo, [writes(n) for n in range(1, batches + 1)], *chosen)
    return chosen


def begun(scene: Scene, *words: str) -> Run | None:
    done = scene.cli(*start_words(scene.repo, *words))
    return Run(scene.repo, json.loads(done.stdout)["run_id"]) if done.returncode == 0 else None


def sees_through(scene: Scene, chosen: list[str], batches: int = 2) -> None:
    """It is resumed until nothing is left; then each batch was done and committed once, in any order: the
    first may have been killed. A scripted agent does not see what a killed try of its batch has left.
    """
    for _ in range(_RESUMES):
        for run in scene.runs():
            scene.cli("wait", run.id, "--timeout", str(int(WITHIN_S)))
        done = scene.cli(*start_words(scene.repo, "--resume"))
        if done.returncode != 0:
            break
    if "nothing of" not in done.stdout + done.stderr:
        scene.violates(f"the plan came to no end: {done.returncode} {(done.stdout + done.stderr)[-300:]}")
        return
    for n in range(1, batches + 1):
        text = (scene.repo.root / f"src/m{n}.py").read_text()
        if {*text.splitlines()} != {f"x = {n}", f"by {n}"}:
            scene.violates(f"batch {n} left {text!r}")
    expected = [f"Modules: batch {n} of {batches} (U{n})" for n in range(1, batches + 1)]
    if _COMMIT in chosen and sorted(commits(scene.repo)) != expected:
        scene.violates(f"committed: {commits(scene.repo)}")
    if work_trees(scene.repo):
        scene.violates(f"work trees are left: {work_trees(scene.repo)}")


def killed_plan(scene: Scene) -> None:
    """Its conductor, its supervisor, or those of a batch, at any moment."""
    chosen = plan(scene)
    begun(scene)
    for _ in range(scene.rng.randint(1, 3)):
        scene.pause(3.0)
        if runs := scene.runs():
            scene.kill(scene.rng.choice(runs), scene.rng.choice(["supervisor", "process"]))
    sees_through(scene, chosen)


def killed_resume(scene: Scene) -> None:
    """The command that resumes it is killed before or after it has begun."""
    chosen = plan(scene)
    run = begun(scene)
    scene.pause(2.0)
    if run is not None:
        scene.cli("cancel", run.id)
    for _ in range(2):
        scene.dies(*start_words(scene.repo, "--resume"), within=1.5)
    sees_through(scene, chosen)


def swept_resume(scene: Scene) -> None:
    """The command that resumes it is killed at each of its steps, once a batch is done."""
    chosen = plan(scene)
    run = begun(scene)
    if run is not None:
        scene.until(
            lambda: any(one["status"] == "succeeded" for one in run.on_disk()["plan"]["batches"]), "1"
        )
        scene.cli("cancel", run.id)
    scene.dies_at_its_step(*start_words(scene.repo, "--resume"), most=75)
    sees_through(scene, chosen)


def cancelled_plan(scene: Scene) -> None:
    chosen = plan(scene)
    run = begun(scene)
    scene.pause(5.0)
    if run is not None:
        scene.cli("cancel", run.id)
        if scene.rng.random() < 0.5:
            scene.cli("clean", "--older-than", "0", "--dry-run")
    sees_through(scene, chosen)


def plan_started_at_once(scene: Scene) -> None:
    """One begins; the others are refused."""
    chosen = plan(scene)
    answers = scene.at_once(*[start_words(scene.repo)] * 3)
    if [done.returncode for done in answers].count(0) != 1:
        scene.violates(f"begun at once: {[done.returncode for done in answers]}")
    sees_through(scene, chosen)


def cleaned_plan(scene: Scene) -> None:
    """`clean` takes nothing that a plan which works still asks."""
    chosen = plan(scene, 3)
    begun(scene)
    for _ in range(6):
        scene.pause(1.5)
        scene.cli("clean", "--older-than", "0")
        if all(run.on_disk()["phase"] == "done" for run in scene.runs()):
            break
    for run in scene.repo.runs():
        scene.cli("wait", run.id, "--timeout", str(int(WITHIN_S)))
    for n in range(1, 4):
        text = (scene.repo.root / f"src/m{n}.py").read_text()
        if text != f"x = {n}\nby {n}\n":
            scene.violates(f"batch {n} left {text!r}")
    if _COMMIT in chosen and len(commits(scene.repo)) != 3:
        scene.violates(f"committed: {commits(scene.repo)}")


def stopped_conductor(scene: Scene) -> None:
    chosen = plan(scene)
    run = begun(scene)
    if run is not None:
        scene.pause(2.0)
        for process in run.tree()[:1]:
            processes.signal_exactly(process, signal.SIGSTOP)
        scene.cli("pause", run.id)
        scene.cli("resume", run.id)
    sees_through(scene, chosen)


FAULTS: dict[str, Callable[[Scene], None]] = {
    one.__name__: one
    for one in (
        *(
            killed_plan,
            killed_resume,
            swept_resume,
            cancelled_plan,
            plan_started_at_once,
            cleaned_plan,
            stopped_conductor,
        ),
    )
}
