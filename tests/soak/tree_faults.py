"""Faults around what a run changes: its rollback, and the decision about a work tree of its own."""

from __future__ import annotations

import os
from collections.abc import Callable

from scene import WITHIN_S, Scene
from support.repo import Run

_BEFORE = {"a.txt": b"a\n", "gone.txt": b"gone\n", "moved.txt": b"moved\n"}
_CHANGES = "echo x >> a.txt; rm gone.txt; mv moved.txt sub.txt; mkdir -p d/e; echo new > d/e/new.txt"
_AFTER = {"a.txt": b"a\nx\n", "sub.txt": b"moved\n", "d/e/new.txt": b"new\n"}
_WRITE = '[sandboxes.write]\nlevel = "workspace-write"\n'


def _files(scene: Scene) -> dict[str, bytes]:
    """What is in the user's tree, but for settings and runs."""
    root, found = scene.repo.root, {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_file() and not name.startswith((".git/", ".runs/")) and name != "delegate.toml":
            found[name] = path.read_bytes()
    return found


def _prepared(scene: Scene, *lines: str, after: str = "") -> Scene:
    repo = scene.repo
    keys = "\n".join(("prompt = 'Do it.'", 'sandbox = "write"', 'grace = "300ms"', *lines))
    repo.config(f"{_WRITE}[tasks.work]\n{keys}\n")
    for name, data in _BEFORE.items():
        repo.write(name, data)
    repo.git("add", "-A")
    repo.git("commit", "-q", "-m", "first")
    repo.waiting_codex(after=f"{_CHANGES}\n{after}")
    return scene


def _changed(scene: Scene) -> Run:
    """A run that is done, whose change is in a work tree of its own."""
    _prepared(scene, 'workspace = "worktree"')
    run = scene.start()
    scene.repo.open_gate()
    scene.until(lambda: run.on_disk()["phase"] == "done", "the end")
    return run


def _kept(run: Run) -> bool:
    """Whether the patch in the folder of the run has the whole work in it."""
    patch = run.folder / "worktree.patch"
    text = patch.read_bytes() if patch.exists() else b""
    return all(name in text for name in (b"d/e/new.txt", b"gone.txt", b"sub.txt", b"+x\n"))


def _trees(scene: Scene) -> list[str]:
    return scene.repo.says("worktree", "list").splitlines()[1:]


def killed_acceptance(scene: Scene) -> None:
    """`accept` is killed, maybe more than once; the next one finishes it, and `discard` never lies."""
    run = _changed(scene)
    moments: list[Callable[[], object]] = [
        lambda: b'"accepted"' in (run.folder / "events.jsonl").read_bytes(),
        lambda: not (scene.repo.root / "gone.txt").exists(),
        lambda: (scene.repo.root / "sub.txt").exists(),
    ]
    for _ in range(scene.rng.randint(1, 3)):
        if scene.rng.random() < 0.5:
            scene.dies("accept", run.id, within=1.2)
        else:
            scene.cli("accept", run.id, kill_when=scene.rng.choice(moments))
    if scene.rng.random() < 0.3:
        before = _files(scene)
        done = scene.cli("discard", run.id)
        if done.returncode == 0 and before != _BEFORE:
            scene.violates(f"discarded, and the user's tree has {sorted(before)}")
        if done.returncode == 0:
            return
    done = scene.cli("accept", run.id)
    if done.returncode != 0 and "already accepted" not in done.stderr:
        scene.violates(f"the acceptance cannot be finished: {done.stderr[-300:]}")
    if _files(scene) != _AFTER:
        scene.violates(f"accepted, and the user's tree has {sorted(_files(scene))}")
    if _trees(scene):
        scene.violates(f"a work tree is left: {_trees(scene)}")


def swept_discard(scene: Scene) -> None:
    """`discard` is killed at each of its steps: the work is in the tree or in the patch, and no `accept`
    brings back half of it.
    """
    run = _changed(scene)
    scene.dies_at_its_step("discard", run.id, most=25)
    if not _trees(scene) and not _kept(run):
        scene.violates("its work tree is gone, and no patch of it was kept")
    first = scene.rng.choice(["accept", "clean", "discard"])
    words = ("--older-than", "0") if first == "clean" else (run.id,)
    is_accepted = scene.cli(first, *words).returncode == 0 and first == "accept"
    if is_accepted and any(event["type"] == "discarded" for event in run.events()):
        scene.violates("accepted after it was told that it is discarded")
    if not run.folder.exists():
        return
    done = scene.cli("discard", run.id)
    if done.returncode != 0 and "already" not in done.stderr:
        scene.violates(f"the discard cannot be finished: {done.returncode} {done.stderr[-300:]}")
    if _files(scene) != (_AFTER if is_accepted else _BEFORE):
        scene.violates(f"{first}, and the user's tree has {sorted(_files(scene))}")
    told = [event["type"] for event in run.events() if event["type"] in ("accepted", "discarded")]
    if told != ["accepted" if is_accepted else "discarded"]:
        scene.violates(f"told of the decision: {told}")
    if _trees(scene):
        scene.violates(f"a work tree is left: {_trees(scene)}")
    if not _kept(run):
        scene.violates("no patch of the work was kept")


def swept_clean(scene: Scene) -> None:
    """`clean` is killed at each of its steps: a run is there or gone, and what waits for a decision stays."""
    decided, waits = _changed(scene), scene.start()
    scene.until(lambda: waits.on_disk()["phase"] == "done", "the end of the second")
    scene.cli(scene.rng.choice(["accept", "discard"]), decided.id)
    scene.dies_at_its_step("clean", "--older-than", "0", most=75)
    listed = scene.cli("list", "--all", "--format", "json")
    shown = scene.cli("status", decided.id, "--format", "json")
    if shown.returncode not in (0, 4) or (shown.returncode == 0 and '"succeeded"' not in shown.stdout):
        scene.violates(f"half of a run is shown: {shown.returncode} {shown.stdout[:200]}")
    if (decided.id in listed.stdout) is (shown.returncode == 4):
        scene.violates(f"half of a run is listed: {listed.stdout[:200]}")
    done = scene.cli("clean", "--older-than", "0")
    if done.returncode != 0:
        scene.violates(f"the next clean: {done.returncode} {done.stderr[-300:]}")
    if left := [path for path in decided.folder.parent.iterdir() if decided.id in path.name]:
        scene.violates(f"half of a run stays: {left}")
    if not _trees(scene) or scene.cli("discard", waits.id).returncode != 0:
        scene.violates("the run that waits for a decision cannot be decided on")
    if scene.cli("clean", "--older-than", "0").returncode or waits.folder.exists():
        scene.violates("a run that was decided on is not cleaned")


def raced_decisions(scene: Scene) -> None:
    """One of them decides; the user's tree and the event say the same."""
    run = _changed(scene)
    verbs = [("accept", run.id), ("discard", run.id), ("accept", run.id), ("clean", "--older-than", "0")]
    scene.rng.shuffle(verbs)
    scene.at_once(*verbs)
    if not run.folder.exists():
        return  # decided, and then removed
    told = [event["type"] for event in run.events() if event["type"] in ("accepted", "discarded")]
    expected = {"accepted": _AFTER, "discarded": _BEFORE}.get(told[0] if told else "")
    if len(told) != 1 or _files(scene) != expected:
        scene.violates(f"told {told}, and the user's tree has {sorted(_files(scene))}")


def killed_rollback(scene: Scene) -> None:
    """The owner is killed about the end of a run that is to be rolled back: all is back, or refused."""
    _prepared(scene, 'on_failure = "rollback"', "verify = [['false']]")
    run = scene.start()
    scene.repo.open_gate()
    for _ in range(scene.rng.randint(1, 3)):
        scene.pause(0.5)
        scene.kill(run, "supervisor")
        scene.cli("status", run.id)
    done = scene.cli("wait", run.id, "--timeout", str(int(WITHIN_S)))
    if done.returncode not in (1, 6):
        scene.violates(f"a check that fails was answered with {done.returncode}")
    report = scene.cli("report", run.id)
    is_refused = "rollback was refused" in report.stdout + report.stderr
    if _files(scene) != _BEFORE and not is_refused and run.on_disk()["status"] != "lost":
        scene.violates(f"rolled back, and the tree has {sorted(_files(scene))}")


def killed_start_with_a_tree(scene: Scene) -> None:
    """What the killed command had made is decided on or removed: no tree that nobody knows of."""
    _prepared(scene, 'workspace = "worktree"')
    for _ in range(3):
        scene.dies("start", "--task", "work", within=0.8)
    scene.cli("reap")
    scene.repo.open_gate()
    for run in scene.repo.runs():
        if (run.folder / "manifest.json").exists():
            scene.cli("wait", run.id, "--timeout", str(int(WITHIN_S)))
        scene.cli("discard", run.id)
    known = {run.id for run in scene.repo.runs() if os.path.exists(run.folder / "worktree.json")}
    strays = [line for line in _trees(scene) if not any(name in line for name in known)]
    if strays:
        scene.violates(f"work trees of no run: {strays}")


FAULTS: dict[str, Callable[[Scene], None]] = {
    one.__name__: one
    for one in (
        *(killed_acceptance, swept_discard, swept_clean, raced_decisions, killed_rollback),
        killed_start_with_a_tree,
    )
}
