"""Prints every budget, measured side by side in one run. `make bench` or `python benchmarks/run.py [ROUNDS]`.

Ratios count, not milliseconds: machines are noisy, so every round runs all commands one after the other and
the median of the rounds is compared. CPU is user + system of our process and the children it waited for.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cancelling import cancelling
from clis import beside_clis
from delegation import delegating
from hosts import hosts
from ledgers import ledgers
from placing import placing
from planning import planning
from scene import RUNNER, Scene, Table, measure
from talking import talking
from watching import watching
from writing import writing

BARE = [sys.executable, "-I", "-c", "pass"]


def operating(scene: Scene, table: Table, rounds: int) -> float:
    """status, list, pause, resume, cancel against an empty interpreter; returns that one's wall ms."""
    names = ("status", "list", "pause", "resume", "cancel")
    cpu: dict[str, list[float]] = {name: [] for name in ("bare", *names)}
    wall: dict[str, list[float]] = {name: [] for name in ("bare", *names)}
    for _ in range(rounds):
        run = scene.start("silent")
        for name in ("bare", *names):
            argv = BARE if name == "bare" else [*RUNNER, name] + ([] if name == "list" else [run])
            c, w = measure(argv, scene)
            cpu[name].append(c)
            wall[name].append(w)
    bare, bare_wall = (statistics.median(values["bare"]) for values in (cpu, wall))
    table.row("python -I -c pass: CPU", f"{bare:.1f} ms", 1.0)
    for name in names:
        value = statistics.median(cpu[name])
        budget = "at most 2.5 x" if name == "status" else "at most 3 x"
        table.row(f"runner {name}: CPU", f"{value:.1f} ms", value / bare, budget)
    value = statistics.median(wall["status"])
    table.row("runner status: wall", f"{value:.1f} ms", value / bare_wall, "at most 2.5 x")
    return bare_wall


def completing(scene: Scene, table: Table, rounds: int) -> None:
    """What a shell asks at a Tab."""
    asked = {
        "a command": ("sta",),
        "an option": ("start", "--"),
        "a task": ("start", ""),
        "a run": ("status", ""),
    }
    ways = {what: [*RUNNER, "__complete", "bash", *words] for what, words in asked.items()}
    values = [[measure(argv, scene)[0] for argv in (BARE, *ways.values())] for _ in range(rounds)]
    bare, *found = (statistics.median(column) for column in zip(*values, strict=True))
    for what, cpu in zip(ways, found, strict=True):
        table.row(f"completion of {what}: CPU", f"{cpu:.1f} ms", cpu / bare, "at most 3 x")


def starting(scene: Scene, table: Table, rounds: int) -> None:
    """start until it returns, and until the child was exec'd, against a bare spawn."""
    bare, cpus, returns, execs, floor = [], [], [], [], []
    stamp = Path(scene.repo, "stamp")
    for _ in range(rounds):
        bare.append(measure(BARE, scene))
        for argv, seen in (
            ([*RUNNER, "start", "--task", "quick"], execs),
            (["sh", "-c", f"setsid nohup {scene.fake} exec </dev/null >/dev/null 2>&1 &"], floor),
        ):
            stamp.unlink(missing_ok=True)
            begun = time.time_ns()
            cpu, wall = measure(argv, scene)
            if seen is execs:
                cpus.append(cpu)
                returns.append(wall)
            seen.append((scene.stamped() - begun) / 1e6)
    cpu, wall = (statistics.median(values) for values in zip(*bare, strict=True))
    table.row("python -I -c pass: wall", f"{wall:.1f} ms", 1.0)
    value = statistics.median(returns)
    table.row("runner start until it returns: wall", f"{value:.1f} ms", value / wall, "at most 4 x")
    value = statistics.median(cpus)
    table.row("runner start until it returns: CPU", f"{value:.1f} ms", value / cpu)
    value = statistics.median(execs)
    table.row("runner start until the child runs: wall", f"{value:.1f} ms", value / wall, "at most 3 x")
    value = statistics.median(floor)
    table.row("sh setsid nohup & until the child runs: wall", f"{value:.1f} ms", value / wall)


def waiting(scene: Scene, table: Table, rounds: int) -> None:
    """How long after the child's end `wait` returns."""
    lags = []
    stamp = Path(scene.repo, "stamp")
    for _ in range(rounds):
        stamp.unlink(missing_ok=True)
        run = scene.start("short")
        subprocess.run([*RUNNER, "wait", run], cwd=scene.repo, env=scene.env, capture_output=True)
        lags.append((time.time_ns() - scene.stamped()) / 1e6)
    table.row(
        "wait returns after the child's end", f"{statistics.median(lags):.1f} ms", None, "at most 50 ms"
    )


def silence(scene: Scene, table: Table, seconds: float = 20.0) -> None:
    """Memory and CPU of a supervisor whose child says nothing."""
    run = scene.start("silent")
    pid = scene.manifest(run)["supervisor"]["pid"]
    time.sleep(2)
    before = scene.nanoseconds(pid)
    time.sleep(seconds)
    share = (scene.nanoseconds(pid) - before) / 1e9 / seconds * 100
    private = scene.private_kib(pid) / 1024
    scene.cli("cancel", run, "--grace", "0")
    table.row("supervisor, child silent: private memory", f"{private:.1f} MiB", None, "at most 8 MiB")
    table.row(f"supervisor, child silent: CPU over {seconds:.0f} s", f"{share:.2f} %", None, "at most 0.1 %")


def listing(scene: Scene, table: Table, rounds: int, count: int = 10_000) -> None:
    """list --all over many finished runs."""
    run = scene.start("quick")
    scene.cli("wait", run)
    scene.multiply(run, count)
    measure([*RUNNER, "list", "--all"], scene)
    values = [(measure(BARE, scene)[0], measure([*RUNNER, "list", "--all"], scene)[0]) for _ in range(rounds)]
    bare, cpu = (statistics.median(column) for column in zip(*values, strict=True))
    table.row(f"list --all over {count} finished runs: CPU", f"{cpu:.1f} ms", cpu / bare, "at most 10 x")


def beside_codex(scene: Scene, table: Table, rounds: int) -> None:
    """What we add to a bare `codex exec` of the same rehearsal, start to terminal manifest."""
    bare, ours = [], []
    scene.bare_codex()
    for _ in range(rounds):
        bare.append(scene.bare_codex())
        begun = time.perf_counter()
        run = scene.start("hello")
        scene.until(lambda run=run: scene.manifest(run)["phase"] == "done")
        ours.append((time.perf_counter() - begun) * 1000)
    a, b = statistics.median(bare), statistics.median(ours)
    table.row("bare codex exec of the same rehearsal: wall", f"{a:.0f} ms", 1.0)
    table.row("runner start to terminal manifest: wall", f"{b:.0f} ms", b / a)
    table.row("added by runner", f"{b - a:.0f} ms", None, "at most 100 ms")


def flood(scene: Scene, table: Table, mib: int = 1024) -> None:
    """A gigabyte of output: nothing lost, no memory."""
    run = scene.start("flood")
    pid = scene.manifest(run)["supervisor"]["pid"]
    peak = 0.0
    while Path(f"/proc/{pid}").exists():
        peak = max(peak, scene.private_kib(pid) / 1024)
        time.sleep(0.2)
    size = Path(scene.repo, scene.manifest(run)["manifest_path"]).with_name("stdout.jsonl").stat().st_size
    table.row(f"{mib} MiB of stdout: peak private memory of the supervisor", f"{peak:.1f} MiB", None)
    table.row(f"{mib} MiB of stdout: bytes kept", f"{size / 1048576:.0f} MiB", None, "all")


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    folder = tempfile.mkdtemp(prefix="runner-bench-", dir=Path.home())
    scene, table = Scene(Path(folder)), Table()
    print(f"{'what':<66}{'median':>14}{'ratio':>10}  budget")
    try:
        operating(scene, table, rounds)
        starting(scene, table, rounds)
        completing(scene, table, rounds)
        hosts(scene, table, rounds)
        waiting(scene, table, rounds)
        talking(scene, table, rounds)
        beside_codex(scene, table, rounds)
        beside_clis(scene, table, rounds)
        cancelling(scene, table, rounds)
        delegating(scene, table, rounds)
        silence(scene, table)
        watching(scene, table)
        ledgers(scene, table, rounds)
        listing(scene, table, rounds)
        planning(table, rounds)
        writing(table, rounds)
        flood(scene, table)
        placing(scene, table, rounds)  # last: it adds settings
    finally:
        scene.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
