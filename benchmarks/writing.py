"""What a run that may write costs beside one that only reads: its start, its end, a tree of its own.

Alone: `python benchmarks/writing.py [ROUNDS]`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from scene import RUNNER, Scene, Table, measure

_STATUS = ["git", "status", "--porcelain", "-uall"]
_SIZES = (100, 5_000, 50_000)
_ROUNDS_OF_MANY = 5
_ROOM = 2 * 1024**3
_NOEXEC = 8  # ST_NOEXEC, statvfs(3)
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, prctl(2)


def writing(table: Table, rounds: int) -> None:
    """In repositories of 100, 5,000 and 50,000 files, all of them committed."""
    for count in _SIZES:
        folder = tempfile.mkdtemp(prefix="runner-bench-", dir=_place(count))
        scene = Scene(Path(folder))
        try:
            scene.fill(count)
            few = count == _SIZES[0]
            scene.cli("start", "--task", "quick", "--wait")  # the settings are compiled once
            middle = _median(
                [_round(scene, count) for _ in range(rounds if few else min(rounds, _ROUNDS_OF_MANY))]
            )
            if few:
                # Apart: it has settings of its own, and a repository has one snapshot of them.
                _whole(scene)
                middle |= _median([_beside_codex(scene) for _ in range(rounds)])
            (_rows_of_few if few else _rows_of_many)(table, middle, f"{count:,} files")
        finally:
            scene.close()
            shutil.rmtree(folder, ignore_errors=True)


def _place(count: int) -> Path:
    """Memory, where there is room for the largest: on a disk the same `git worktree add` takes 1 s of CPU, or
    30, and hides what is added to it.
    """
    memory = Path("/dev/shm")
    if count < _SIZES[-1] or not memory.is_dir():
        return Path.home()
    about = os.statvfs(memory)
    fits = about.f_bavail * about.f_frsize > _ROOM and not about.f_flag & _NOEXEC
    return memory if fits else Path.home()


def _round(scene: Scene, count: int) -> dict[str, float]:
    seen = {}
    for name, argv in {
        "status": _STATUS,
        "reader": [*RUNNER, "start", "--task", "quick"],
        "writer": [*RUNNER, "start", "--task", "writer"],
    }.items():
        seen[name], seen[f"{name}: wall"] = measure(argv, scene)
        if name != "status":
            scene.cli("wait", "@latest")
    if count > _SIZES[0]:
        seen["end"] = _end(scene)
    if count == _SIZES[-1]:
        seen["bare"], seen["own"] = _own_tree(scene)
    return seen


def _beside_codex(scene: Scene) -> dict[str, float]:
    return {"codex": scene.bare_codex("workspace-write"), "changing": _whole(scene)}


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def _rows_of_few(table: Table, middle: dict[str, float], where: str) -> None:
    for kind in ("CPU", "wall"):
        reader, writer = (middle[name if kind == "CPU" else f"{name}: wall"] for name in ("reader", "writer"))
        table.row(f"{where}: start of a run that reads: {kind}", f"{reader:.1f} ms", 1.0)
        what = f"{where}: start of one that may write: {kind}"
        table.row(what, f"{writer:.1f} ms", writer / reader, "at most 2 x")
    bare, whole = middle["codex"], middle["changing"]
    table.row(f"{where}: bare codex exec that may write: wall", f"{bare:.0f} ms", 1.0)
    table.row(f"{where}: added by runner", f"{whole - bare:.0f} ms", None, "at most 150 ms")


def _rows_of_many(table: Table, middle: dict[str, float], where: str) -> None:
    status, reader, writer, end = (middle[name] for name in ("status", "reader", "writer", "end"))
    table.row(f"{where}: git status --porcelain -uall: CPU", f"{status:.1f} ms", 1.0)
    limit = 2 * reader + 2 * status
    what = f"{where}: start of a run that may write: CPU"
    table.row(what, f"{writer:.1f} ms", writer / limit, "at most 1 x (2 starts that read + 2 git status)")
    budget = "at most 3 x" if "own" in middle else ""
    table.row(f"{where}: end of one that changed a file: CPU", f"{end:.1f} ms", end / status, budget)
    if "own" in middle:
        bare, own = middle["bare"], middle["own"]
        table.row(f"{where}: git worktree add: CPU", f"{bare:.0f} ms", 1.0)
        what, limit = f"{where}: start in a tree of its own: CPU", 1.2 * bare + 3 * status
        table.row(what, f"{own:.0f} ms", own / limit, "at most 1 x (1.2 git worktree add + 3 git status)")


def _whole(scene: Scene) -> float:
    """Wall milliseconds from start to terminal manifest of a run of the real Codex that may write."""
    begun = time.perf_counter()
    run = scene.start("change")
    scene.until(lambda: scene.manifest(run)["phase"] == "done")
    return (time.perf_counter() - begun) * 1000


def _end(scene: Scene) -> float:
    """CPU milliseconds from the change of a file to the end of the supervisor, with all that it starts. The
    agent, a shell that waits, writes one line and ends, is in it.
    """
    prctl = ctypes.CDLL(None).prctl
    prctl(_SUBREAPER, 1)  # so that we can wait for the supervisor
    try:
        run = scene.start("gated")
        pid = scene.manifest(run)["supervisor"]["pid"]
        scene.until(lambda: scene.manifest(run)["phase"] == "running")
        time.sleep(0.5)
        before = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
        with open(scene.gate, "w"):
            pass
        _, _, used = os.wait4(pid, 0)
    finally:
        prctl(_SUBREAPER, 0)
    scene.git("checkout", "-q", "--", ".")
    return (used.ru_utime + used.ru_stime - before) * 1000


def _own_tree(scene: Scene) -> tuple[float, float]:
    """CPU milliseconds of a bare `git worktree add`, and of a start that makes one."""
    path = f"{scene.repo}-beside"
    bare, _ = measure(["git", "worktree", "add", "-q", "--detach", path], scene)
    scene.git("worktree", "remove", "--force", path)
    own, _ = measure([*RUNNER, "start", "--task", "own"], scene)
    scene.cli("wait", "@latest")
    scene.cli("discard", "@latest")
    return bare, own


if __name__ == "__main__":
    writing(Table(), int(sys.argv[1]) if len(sys.argv) > 1 else 5)
