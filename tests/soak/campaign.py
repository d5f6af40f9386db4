"""Seeded faults in real runs, until the time is over: `make soak`, or `python tests/soak/campaign.py --help`.

A trial is a seed, a fault and a scene of its own. What happened is judged from outside, by `invariants`. A
violation names its seed: with it and the name of the fault the same trial is made again. Not every race ends
in the same way twice, so try it some times.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))
import family_faults
import machine_faults
import plan_faults
import run_faults
import tree_faults
from invariants import settles
from scene import Scene

_KINDS = (run_faults, tree_faults, plan_faults, family_faults, machine_faults)
FAULTS = {name: fault for kind in _KINDS for name, fault in kind.FAULTS.items()}
SMALL = {"full_disk"}
"""Whose scene lies on a disk of its own, which needs root."""


APART = "RUNNER_SOAK_APART"
"""Set in a trial that has namespaces of its own already."""


@contextlib.contextmanager
def place(fault: str) -> Iterator[Path]:
    """Where a trial is made; nothing of it stays."""
    with tempfile.TemporaryDirectory(prefix="runner-soak-", ignore_cleanup_errors=True) as folder:
        base = Path(folder) / "base"
        base.mkdir()
        is_small = fault in SMALL and os.geteuid() == 0
        if is_small:
            options = ["-o", "size=8m,mode=700", "tmpfs", str(base)]
            is_small = subprocess.run(["mount", "-t", "tmpfs", *options], capture_output=True).returncode == 0
        try:
            yield base
        finally:
            if is_small:
                subprocess.run(["umount", "--lazy", str(base)], check=True)


def tried(fault: str, seed: int) -> list[str]:
    """What was violated in this trial."""
    if fault in machine_faults.FAULTS and os.environ.get(APART) is None:
        return tried_apart(fault, seed)
    with place(fault) as base:
        os.environ["XDG_STATE_HOME"] = str(base / "home/.local/state")  # where the commands have their key
        scene = Scene(base, random.Random(f"{seed}:{fault}"), seed)
        try:
            FAULTS[fault](scene)
            settles(scene)
        except Exception:
            scene.violates(f"the trial itself: {traceback.format_exc(limit=-3)}")
        finally:
            scene.close()
        return scene.violations


def tried_apart(fault: str, seed: int) -> list[str]:
    """The trial in namespaces of its own, whose first process is a shell: it reaps the orphans. Nothing
    without root.
    """
    if os.geteuid() != 0:
        return []
    words = [sys.executable, __file__, "--fault", fault, "--seed", str(seed), "--seconds", "0.05"]
    apart = ["unshare", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child", "bash", "-c"]
    done = subprocess.run(
        [*apart, '"$@"; exit $?', "bash", *words],
        env={**os.environ, APART: "1"},
        capture_output=True,
        text=True,
    )
    found = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("VIOLATED ")]
    if done.returncode != int(bool(found)):
        found.append(f"the trial itself: {done.returncode} {done.stderr[-500:]}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="no trial begins later (300)")
    parser.add_argument("--seed", type=int, default=1, help="of the first trial of each fault (1)")
    parser.add_argument(
        "--fault", action="append", choices=sorted(FAULTS), help="only this one; again for more"
    )
    args = parser.parse_args()
    names, begun, seed = args.fault or [*FAULTS], time.monotonic(), args.seed
    took: dict[str, list[float]] = {name: [] for name in names}
    violated: dict[str, int] = dict.fromkeys(names, 0)
    while time.monotonic() - begun < args.seconds:
        for name in names:
            if time.monotonic() - begun >= args.seconds:
                break
            start = time.monotonic()
            found = tried(name, seed)
            took[name].append(time.monotonic() - start)
            violated[name] += bool(found)
            for line in found:
                print(f"VIOLATED {name} --seed {seed}: {line}", flush=True)
        seed += 1
    print(f"{'fault':<28}{'trials':>8}{'violated':>10}{'median s':>10}")
    for name in names:
        median = f"{statistics.median(took[name]):.1f}" if took[name] else "-"
        print(f"{name:<28}{len(took[name]):>8}{violated[name]:>10}{median:>10}")
    print(f"{sum(map(len, took.values()))} trials, {sum(violated.values())} with a violation")
    return int(any(violated.values()))


if __name__ == "__main__":
    raise SystemExit(main())
