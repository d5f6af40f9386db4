"""Faults around one run: of its processes, its files, its commands and its machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from scene import Scene
from support import processes
from support.disks import fill
from support.repo import Run

Fault = Callable[[Scene], None]


def killed_owner(scene: Scene) -> None:
    """The supervisor, up to three times, at any moment up to the seal."""
    run = scene.task().start()
    for _ in range(scene.rng.randint(1, 3)):
        scene.pause(0.4)
        if scene.rng.random() < 0.5:
            scene.repo.open_gate()
        scene.kill(run, "supervisor")
        if scene.rng.random() < 0.5:
            scene.cli("status", run.id)
    _is_not_given_up(scene, run)


def killed_both(scene: Scene) -> None:
    run = scene.task().start()
    for name in scene.rng.sample(["supervisor", "process"], 2):
        scene.pause(0.1)
        scene.kill(run, name)


def killed_agent(scene: Scene) -> None:
    run = scene.task().start()
    scene.kill(run, "process")
    scene.until(lambda: run.on_disk()["phase"] == "done", "the end")


def killed_start(scene: Scene) -> None:
    """The command itself: what it leaves is a run that ends, or a folder that is none."""
    scene.task()
    for _ in range(4):
        scene.dies("start", "--task", "work", within=0.5)
    scene.cli("list", "--all")


def killed_verb(scene: Scene) -> None:
    run = scene.task().start()
    for _ in range(4):
        verb = scene.rng.choice(["status", "pause", "resume", "list", "reap", "logs", "report"])
        words = () if verb in ("list", "reap") else (run.id,)
        scene.cli(verb, *words, kill_after=scene.rng.uniform(0.02, 0.3))
    scene.cli("resume", run.id)


def paused_and_killed(scene: Scene) -> None:
    run = scene.task().start()
    scene.cli("pause", run.id)
    scene.kill(run, "supervisor")
    scene.cli(scene.rng.choice(["status", "resume", "cancel"]), run.id)
    scene.cli("resume", run.id)


def raced_wishes(scene: Scene) -> None:
    """Pauses, resumes and cancels at once."""
    run = scene.task().start()
    verbs = [scene.rng.choice(["pause", "resume", "pause", "cancel"]) for _ in range(4)]
    scene.at_once(*((verb, run.id) for verb in verbs))
    scene.cli("resume", run.id)


def cancelled_at_its_end(scene: Scene) -> None:
    run = scene.task().start()
    scene.repo.open_gate()
    scene.pause(0.3)
    answers = scene.at_once(*[("cancel", run.id)] * scene.rng.randint(1, 4))
    if any(done.returncode == 0 for done in answers) and run.on_disk()["phase"] != "done":
        scene.violates("a cancel said that nothing is left of a run that is not done")


def stopped_owner(scene: Scene) -> None:
    run = scene.task().start()
    processes.signal_exactly(run.supervisor(), signal.SIGSTOP)
    scene.cli(scene.rng.choice(["cancel", "status", "pause"]), run.id)
    scene.cli("resume", run.id)


def deaf_agent(scene: Scene) -> None:
    """It ignores the signals, and has left a daemon in a session of its own."""
    run = scene.task(before="trap '' INT TERM; (setsid sleep 600 &)").start()
    if scene.rng.random() < 0.5:
        scene.kill(run, "supervisor")
    scene.cli("cancel", run.id)


def stampede(scene: Scene) -> None:
    run = scene.task().start()
    scene.kill(run, "supervisor")
    scene.at_once(*[("status", run.id)] * 6)
    _is_not_given_up(scene, run)


def broken_manifest(scene: Scene) -> None:
    scene.breaks_manifests = True
    run = scene.task().start()
    if scene.rng.random() < 0.7:
        scene.kill(run, "supervisor")
    path = run.folder / "manifest.json"
    whole = json.loads(path.read_bytes())
    ways: list[Callable[[], object]] = [
        lambda: path.write_bytes(path.read_bytes()[: scene.rng.randrange(400)]),
        lambda: path.write_bytes(scene.rng.randbytes(300)),
        lambda: path.write_text(json.dumps({**whole, scene.rng.choice([*whole]): scene.rng.choice([[], 7])})),
        lambda: (path.unlink(), path.mkdir()),
        lambda: (path.unlink(), os.mkfifo(path)),
        path.unlink,
    ]
    scene.rng.choice(ways)()
    scene.cli("status", run.id)


def torn_events(scene: Scene) -> None:
    scene.breaks_events = True
    run = scene.task().start()
    path = run.folder / "events.jsonl"
    data = path.read_bytes()
    torn = data[: scene.rng.randrange(len(data))]
    path.write_bytes(scene.rng.choice([torn, data + b'{"half', b"", data + b"\0" * 50]))
    if scene.rng.random() < 0.5:
        scene.kill(run, "supervisor")


def garbage_in_control(scene: Scene) -> None:
    run = scene.task().start()
    control = run.folder / "control"
    for n in range(5):
        name = scene.rng.choice([f"intent-{n}.json", f"x{n}", f"children@{n}"])
        wish = {
            "kind": scene.rng.choice(["pause", "x", 7]),
            "at": "x",
            "grace_s": scene.rng.choice([1e9, -1, "x"]),
        }
        text = scene.rng.choice(["{", "[]", json.dumps(wish), "\0"])
        (control / name).write_text(text)
    wake = control / "wake"
    wake.unlink(missing_ok=True)
    scene.rng.choice([wake.touch, wake.mkdir, lambda: None])()
    if scene.rng.random() < 0.5:
        scene.kill(run, "supervisor")
        scene.cli("status", run.id)
    _sleeps(scene, run)


def taken_lock(scene: Scene) -> None:
    run = scene.task().start()
    lock = run.folder / "run.lock"
    lock.unlink()
    if scene.rng.random() < 0.5:
        lock.touch()
    scene.at_once(("status", run.id), ("list",))
    _is_not_given_up(scene, run)


def broken_caches(scene: Scene) -> None:
    scene.task(quick=True)
    scene.cli("start", "--task", "work", "--wait")
    places = [scene.repo.runs_folder / ".index.json"]
    places += [path for path in (scene.repo.home / ".cache" / "runner").rglob("*") if path.is_file()]
    for path in places:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            way = scene.rng.choice(
                [path.mkdir, lambda path=path: os.mkfifo(path), lambda path=path: path.write_text("[[1]]")]
            )
            way()
    scene.cli("list", "--all")
    done = scene.cli("start", "--task", "work", "--wait")
    if done.returncode != 0:
        scene.violates(f"a start over broken caches: {done.returncode} {done.stderr[-200:]}")


def removed_folder(scene: Scene) -> None:
    scene.breaks_events = True  # its owner may write another line before it notices
    run = scene.task().start()
    scene.pause(0.2)
    shutil.rmtree(run.folder, ignore_errors=True)


def read_only_folder(scene: Scene) -> None:
    run = scene.task().start()
    os.chmod(run.folder, 0o500)
    scene.cli("status", run.id)
    scene.kill(run, "supervisor")
    scene.cli("status", run.id)
    os.chmod(run.folder, 0o700)


def few_files(scene: Scene) -> None:
    scene.task()
    limit = ("prlimit", f"--nofile={scene.rng.randint(5, 24)}")
    scene.cli("start", "--task", "work", prefix=limit)
    for run in scene.repo.runs()[:1]:
        scene.kill(run, "supervisor")
        scene.cli(scene.rng.choice(["status", "cancel", "list"]), *([run.id]), prefix=limit)


def other_host_name(scene: Scene) -> None:
    """A command on a machine that got another name meanwhile."""
    if os.geteuid() != 0:
        return
    run = scene.task().start()
    renamed = ("unshare", "--uts", "sh", "-c", 'hostname other-name; exec "$@"', "sh")
    if scene.rng.random() < 0.6:
        scene.kill(run, "supervisor")
    scene.cli("status", run.id, prefix=renamed)
    for verb in ("pause", "resume"):
        done = scene.cli(verb, run.id, prefix=scene.rng.choice([(), renamed]))
        if done.returncode != 0:
            scene.violates(f"{verb}: {done.returncode} {done.stderr[-200:]}")
    _is_not_given_up(scene, run)


def full_disk(scene: Scene) -> None:
    """The disk of repository and home is full from some moment on, and has room again later."""
    base = scene.repo.base
    if not os.path.ismount(base):
        return
    scene.breaks_events = True  # what does not fit is not written
    run = scene.task().start()
    scene.pause(0.3)
    fill(base)
    act = scene.rng.choice(
        [scene.repo.open_gate, lambda: scene.cli("cancel", run.id), lambda: scene.kill(run, "process")]
    )
    threading.Timer(2.0, (base / "ballast").unlink).start()
    try:
        act()
    except OSError:
        pass  # the gate itself does not fit
    scene.until(lambda: not (base / "ballast").exists(), "room")
    scene.cli("status", run.id)


def cleaned_while_it_works(scene: Scene) -> None:
    run = scene.task().start()
    scene.at_once(
        ("clean", "--older-than", "0"), ("reap",), ("list", "--all"), ("clean", "--older-than", "0")
    )
    if not run.folder.exists():
        scene.violates("clean removed a run that works")


def _is_not_given_up(scene: Scene, run: Run) -> None:
    """No run is lost while its agent lives."""
    manifest = json.loads(scene.cli("status", run.id, "--format", "json").stdout or "{}")
    alive = [one for one in run.tree() if one.is_alive]
    if manifest.get("status") == "lost" and alive:
        scene.violates(f"{run.id} is lost, and {alive[0].words} lives")


def _sleeps(scene: Scene, run: Run) -> None:
    """An owner that waits uses no processor."""

    def ticks(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    try:
        pid = run.supervisor().pid
        scene.passes(1.0)
        before = ticks(pid)
        scene.passes(2.0)
        used = (ticks(pid) - before) / os.sysconf("SC_CLK_TCK")
    except (AssertionError, OSError, ValueError, TypeError):
        return
    if used > 0.5:
        scene.violates(f"the supervisor used {used:.1f} s of 2")


FAULTS: dict[str, Fault] = {
    one.__name__: one
    for one in (
        *(killed_owner, killed_both, killed_agent, killed_start, killed_verb, paused_and_killed),
        *(raced_wishes, cancelled_at_its_end, stopped_owner, deaf_agent, stampede),
        *(broken_manifest, torn_events, garbage_in_control, taken_lock, broken_caches),
        *(removed_folder, read_only_folder, few_files, other_host_name, full_disk, cleaned_while_it_works),
    )
}
