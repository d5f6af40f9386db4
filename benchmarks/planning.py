"""The budget of planning, and how it grows. Alone: `python benchmarks/planning.py [ROUNDS]`."""

from __future__ import annotations

import gc
import json
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from scene import Table

from runner.plan import load
from runner.plan.batch import decide
from runner.plan.units import Files, Plan, Unit

BARE = [sys.executable, "-I", "-c", "pass"]
SIZES = (100, 1_000, 10_000, 100_000)
_MEASURED = 10_000


def a_plan(count: int) -> Plan:
    """Five entries per unit: four files of its own, one that it shares with two others; every second unit
    waits for an earlier one, and there are a few globs.
    """
    pick = random.Random(count)
    units = []
    for n in range(count):
        files = [f"src/package{n % (count // 5)}/module{n}/file{k}.py" for k in range(4)]
        files.append(f"docs/part{n // 3}/*.md" if n % 500 == 0 else f"src/shared/part{n // 3}.py")
        after = (f"U{pick.randrange(n)}",) if n and pick.random() < 0.5 else ()
        verify = (("pytest", "-q", f"tests/test_{n}.py"),)
        units.append(
            Unit(f"U{n}", "do it", Files(modify=tuple(files)), after, verify=verify, tests=("works",))
        )
    return Plan(tuple(units))


def as_toml(plan: Plan) -> str:
    """The plan as a file says it."""
    lines = ["schema_version = 1"]
    for unit in plan.units:
        lines += [
            "[[units]]",
            f'id = "{unit.id}"',
            'goal = "do it"',
            f"files = {json.dumps(unit.files.modify)}",
        ]
        lines += [f"depends_on = {json.dumps(unit.depends_on)}", f"verify = {json.dumps(unit.verify)}"]
        lines += ['tests = ["works"]']
    return "\n".join(lines) + "\n"


def cpu(argv: list[str]) -> float:
    """CPU milliseconds of a command that must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def planned(plan: Plan) -> float:
    """CPU milliseconds of one decision, as the command makes it: with the collector off."""
    gc.collect()
    gc.disable()
    begun = time.process_time()
    decide(plan)
    taken = time.process_time() - begun
    gc.enable()
    return taken * 1000


def planning(table: Table, rounds: int) -> None:
    """10,000 units with 50,000 entries, beside the empty interpreter; then a tenth and ten times as many."""
    plan = a_plan(_MEASURED)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "plan.toml")
        file.write_text(as_toml(plan), encoding="utf-8")
        command = [sys.executable, "-m", "runner", "plan", str(file), "--format", "json"]
        values = [(cpu(BARE), planned(plan), cpu(command)) for _ in range(rounds)]
        begun = time.process_time()
        load.load(str(file))
        read = (time.process_time() - begun) * 1000
    bare, ours, whole = (statistics.median(column) for column in zip(*values, strict=True))
    table.row("python -I -c pass: CPU", f"{bare:.1f} ms", 1.0)
    table.row("planning 10,000 units, 50,000 entries: CPU", f"{ours:.0f} ms", ours / bare, "at most 20 x")
    table.row("reading them from TOML: CPU", f"{read:.0f} ms", read / bare)
    table.row("runner plan FILE --format json of them: CPU", f"{whole:.0f} ms", whole / bare)
    least = None
    for size in SIZES:
        each = a_plan(size)
        spent = min(planned(each) for _ in range(3 if size < 100_000 else 1)) / (size * math.log2(size))
        least = spent if least is None else least
        table.row(f"planning {size:,} units: CPU per n log n", f"{spent * 1e6:.0f} ns", spent / least)


if __name__ == "__main__":
    planning(Table(), int(sys.argv[1]) if len(sys.argv) > 1 else 5)
