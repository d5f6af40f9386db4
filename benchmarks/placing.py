"""Runs in a real Slurm beside runs here, where its daemons are installed. `python benchmarks/placing.py`."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scene import ROOT, RUNNER, Scene, Table, measure

sys.path.insert(0, str(ROOT / "tests"))
from support.slurm import Cluster, missing_for_slurm

_SETTINGS = '[executors.hpc]\nkind = "slurm"\ntime = "1h"\n'


def placing(scene: Scene, table: Table, rounds: int, count: int = 100) -> None:
    """What a place in the queue costs beside a bare `sbatch`, and a look at many runs beside runs here."""
    if (missing := missing_for_slurm()) is not None:
        table.row("bare sbatch: wall", missing)
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    cluster = Cluster(folder / "c")
    cluster.start()
    try:
        scene.env = {**scene.env, **cluster.env, "PATH": f"{scene.env['PATH']}:{cluster.env['PATH']}"}
        settings = Path(scene.repo, "delegate.toml")
        settings.write_text(settings.read_text() + _SETTINGS)
        scene.cli("trust", "--folder", "--yes")
        cluster.submit("sleep 3600", f"--cpus-per-task={cluster.cpus}")  # so that all others wait
        _submitting(scene, table, cluster, rounds)
        _looking(scene, table, rounds, count)
    finally:
        scene.close()
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _submitting(scene: Scene, table: Table, cluster: Cluster, rounds: int) -> None:
    bare, here, there = [], [], []
    for _ in range(rounds):
        begun = time.perf_counter()
        cluster.submit("sleep 600")
        bare.append((time.perf_counter() - begun) * 1000)
        start = [*RUNNER, "start", "--task", "silent"]
        here.append(measure(start, scene)[1])
        there.append(measure([*start, "--executor", "hpc"], scene)[1])
    sbatch, local, placed = map(statistics.median, (bare, here, there))
    table.row("bare sbatch: wall", f"{sbatch:.1f} ms", 1.0)
    table.row("runner start here: wall", f"{local:.1f} ms")
    table.row("runner start on the cluster: wall", f"{placed:.1f} ms")
    more = placed - local
    table.row("what the place in the queue adds", f"{more:.1f} ms", more / sbatch, "at most 1.5 x")


def _looking(scene: Scene, table: Table, rounds: int, count: int) -> None:
    walls = []
    for words in ([], ["--executor", "hpc"]):
        scene.close()
        for _ in range(count):
            subprocess.run(
                [*RUNNER, "start", "--task", "silent", *words],
                cwd=scene.repo,
                env=scene.env,
                check=True,
                capture_output=True,
            )
        listed = json.loads(scene.cli("list", "--format", "json"))
        if len(listed) != count:
            raise SystemExit(f"{len(listed)} of {count} runs are listed")
        walls.append(statistics.median(measure([*RUNNER, "list"], scene)[1] for _ in range(rounds)))
    here, there = walls
    table.row(f"runner list of {count} runs here: wall", f"{here:.1f} ms", 1.0)
    table.row(f"runner list of {count} on the cluster", f"{there:.1f} ms", there / here, "at most 1.5 x")


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    folder = tempfile.mkdtemp(prefix="runner-bench-", dir=Path.home())
    try:
        placing(Scene(Path(folder)), Table(), rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
