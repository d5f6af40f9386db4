"""The budgets of a conversation. Alone: `python benchmarks/talking.py [ROUNDS]`."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from scene import RUNNER, Scene, Table, measure

BARE = [sys.executable, "-I", "-c", "pass"]
_SETTLES_S = 2.0


def talking(scene: Scene, table: Table, rounds: int) -> None:
    """A turn until it is told, a message until its turn, and what it costs to wait for either."""
    sending(scene, table, rounds)
    awaiting(scene, table)
    resting(scene, table)


def sending(scene: Scene, table: Table, rounds: int) -> None:
    """`send` to a run that waits, until the agent was exec'd; then `await` until its end is told."""
    bare, cpus, returns, execs, lags = [], [], [], [], []
    stamp = Path(scene.repo, "stamp")
    run = scene.start("talk")
    scene.cli("await", run)
    for _ in range(rounds):
        bare.append(measure(BARE, scene))
        stamp.unlink()
        begun = time.time_ns()
        cpu, wall = measure([*RUNNER, "send", run, "turn"], scene)
        cpus.append(cpu)
        returns.append(wall)
        execs.append((scene.stamped() - begun) / 1e6)
        stamp.unlink()  # half a second before the end
        subprocess.run([*RUNNER, "await", run], cwd=scene.repo, env=scene.env, capture_output=True)
        lags.append((time.time_ns() - scene.stamped()) / 1e6)
    private = scene.private_kib(scene.manifest(run)["supervisor"]["pid"]) / 1024
    scene.cli("cancel", run, "--grace", "0")
    _, wall = (statistics.median(values) for values in zip(*bare, strict=True))
    table.row("python -I -c pass: wall", f"{wall:.1f} ms", 1.0)
    value = statistics.median(execs)
    table.row(
        "runner send until the next turn's process: wall", f"{value:.1f} ms", value / wall, "at most 3 x"
    )
    value = statistics.median(returns)
    table.row("runner send until it returns: wall", f"{value:.1f} ms", value / wall)
    table.row("runner send until it returns: CPU", f"{statistics.median(cpus):.1f} ms")
    value = statistics.median(lags)
    table.row("await returns after the turn's end", f"{value:.1f} ms", None, "at most 50 ms")
    table.row(f"supervisor after {rounds} turns: private memory", f"{private:.1f} MiB", None, "at most 8 MiB")


def awaiting(scene: Scene, table: Table, seconds: float = 20.0) -> None:
    """CPU of those that wait for a turn, or an end, that does not come."""
    run = scene.start("silent")
    waiting = {
        verb: subprocess.Popen([*RUNNER, verb, run], cwd=scene.repo, env=scene.env, stdout=subprocess.DEVNULL)
        for verb in ("await", "wait")
    }
    time.sleep(_SETTLES_S)
    before = {verb: scene.nanoseconds(process.pid) for verb, process in waiting.items()}
    time.sleep(seconds)
    for verb, process in waiting.items():
        spent = (scene.nanoseconds(process.pid) - before[verb]) / 1e6
        what = f"{verb}, nothing comes: CPU over {seconds:.0f} s"
        table.row(what, f"{spent:.1f} ms", None, f"at most {seconds:.0f} ms")
    scene.cli("cancel", run, "--grace", "0")
    for process in waiting.values():
        process.wait()


def resting(scene: Scene, table: Table, count: int = 100, seconds: float = 30.0) -> None:
    """CPU and memory of the supervisors of many runs that wait for a message."""
    runs = [scene.start("talk") for _ in range(count)]
    for run in runs:
        scene.until(lambda run=run: scene.manifest(run)["phase"] == "waiting")
    time.sleep(_SETTLES_S)
    pids = [scene.manifest(run)["supervisor"]["pid"] for run in runs]
    before = sum(map(scene.nanoseconds, pids))
    time.sleep(seconds)
    share = (sum(map(scene.nanoseconds, pids)) - before) / 1e9 / seconds * 100
    private = max(map(scene.private_kib, pids)) / 1024
    table.row(
        f"{count} runs that wait for a message: CPU over {seconds:.0f} s",
        f"{share:.2f} %",
        None,
        "at most 1 %",
    )
    table.row("the largest of them: private memory", f"{private:.1f} MiB", None, "at most 8 MiB")
    for run in runs:
        scene.cli("cancel", run, "--grace", "0")


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    folder = tempfile.mkdtemp(prefix="runner-bench-", dir=Path.home())
    scene = Scene(Path(folder))
    try:
        talking(scene, Table(), rounds)
    finally:
        scene.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
