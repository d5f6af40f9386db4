"""What the ledger of a task costs: an entry beside a bare write, reading, growth, and many writers at once.

Alone: `python benchmarks/ledgers.py [ROUNDS]`.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from scene import ROOT, RUNNER, Scene, Table, measure

from runner.ledger.entry import HUMAN, EntryType, NewEntry
from runner.ledger.file import Ledger
from runner.usecases.ledger import context

_BARE = [sys.executable, "-I", "-c", "pass"]
_SIZES = (1_000, 10_000, 100_000)
_APPENDS = 200
_WRITERS, _EACH = 50, 200
_NOTE = NewEntry(EntryType.NOTE, HUMAN, {"text": "The edge cases of the parser are covered now. " * 4})
_HANDOFF = NewEntry(EntryType.HANDOFF, HUMAN, {"reason": "it is focused", "ask": "do it"}, "review")
_WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from runner.ledger.entry import EntryType, NewEntry
from runner.ledger.file import Ledger
for n in range(int(sys.argv[4])):
    note = NewEntry(EntryType.NOTE, "human", {"text": f"{sys.argv[3]} {n}"})
    Ledger(sys.argv[2], "crowd").append(note, str)
"""


def ledgers(scene: Scene, table: Table, rounds: int) -> None:
    """In a repository of its own, with a key of its own."""
    with _home_of(scene):
        _appending(scene, table)
        _reading(scene, table, rounds)
        _crowding(scene, table)


@contextmanager
def _home_of(scene: Scene) -> Iterator[None]:
    """This process has the same key as the commands of the scene."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(scene.env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _appending(scene: Scene, table: Table) -> None:
    """As the server does it for each call: nothing is kept between two."""
    Ledger(scene.repo, "append").append(_NOTE, str)
    line = Path(Ledger(scene.repo, "append").path).read_bytes()
    bare, ours = [], []
    for _ in range(_APPENDS):
        bare.append(_ms(lambda: _write_durably(f"{scene.repo}/.runs/append/bare", line)))
        ours.append(_ms(lambda: Ledger(scene.repo, "append").append(_NOTE, str)))
    a, b = statistics.median(bare), statistics.median(ours)
    table.row("bare append with fsync: wall", f"{a:.2f} ms", 1.0)
    table.row("append to a ledger: wall", f"{b:.2f} ms", b / a, "at most 3 x")


def _reading(scene: Scene, table: Table, rounds: int) -> None:
    """The open handoff is the first entry of all, so that it is as far away as it can be."""
    found: dict[int, tuple[float, float, float]] = {}
    for size in _SIZES:
        ledger = Ledger(scene.repo, f"of-{size}")
        ledger.append(_HANDOFF, str)
        ledger.tell([_NOTE] * (size - 1), str)
        if (seq := ledger.state().seq) != size:
            raise SystemExit(f"the ledger has {seq} entries instead of {size}")
        state = _median(rounds, lambda task=ledger.task_id: Ledger(scene.repo, task).state())
        tail = _median(rounds, lambda task=ledger.task_id: context(Ledger(scene.repo, task)))
        found[size] = (state, tail, _ms(lambda ledger=ledger: _verified(ledger)))
    few, many, most = (found[size] for size in _SIZES)
    for n, what in enumerate(("state", "context (40 entries)")):
        table.row(f"{what} of {_SIZES[0]:,} entries in the server: wall", f"{few[n]:.2f} ms", 1.0)
        table.row(
            f"{what} of {_SIZES[1]:,} entries in the server: wall", f"{many[n]:.2f} ms", None, "at most 10 ms"
        )
        name = f"{what} of {_SIZES[2]:,} entries in the server: wall"
        table.row(name, f"{most[n]:.2f} ms", most[n] / few[n], "at most 2 x")
    table.row(f"verify of {_SIZES[1]:,} entries: wall", f"{many[2]:.0f} ms", 1.0)
    table.row(
        f"verify of {_SIZES[2]:,} entries: wall", f"{most[2]:.0f} ms", most[2] / many[2], "at most 13 x"
    )
    show = [*RUNNER, "ledger", "show", f"of-{_SIZES[1]}"]
    measure(show, scene)
    values = [(measure(_BARE, scene)[0], measure(show, scene)[0]) for _ in range(rounds)]
    bare, cpu = (statistics.median(column) for column in zip(*values, strict=True))
    table.row(f"ledger show of {_SIZES[1]:,} entries: CPU", f"{cpu:.1f} ms", cpu / bare, "at most 3 x")


def _crowding(scene: Scene, table: Table) -> None:
    argv = [sys.executable, "-I", "-c", _WRITER, str(ROOT), scene.repo]
    begun = time.perf_counter()
    writers = [subprocess.Popen([*argv, str(n), str(_EACH)], env=scene.env) for n in range(_WRITERS)]
    failed = sum(writer.wait() != 0 for writer in writers)
    took, found = time.perf_counter() - begun, Ledger(scene.repo, "crowd").look(all_of_it=True)
    whole = "unbroken" if found.is_whole and not failed else f"broken at {found.broken_at}, {failed} failed"
    name = f"{_WRITERS} processes x {_EACH} appends, {whole}: entries"
    table.row(name, f"{found.state.seq:,}", None, f"{_WRITERS * _EACH:,}, unbroken")
    table.row(
        f"{_WRITERS} processes x {_EACH} appends: wall for each", f"{took / found.state.seq * 1000:.2f} ms"
    )


def _verified(ledger: Ledger) -> None:
    if not (found := ledger.look(all_of_it=True)).is_whole:
        raise SystemExit(f"the ledger is broken: {found.problem}")


def _write_durably(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)


def _ms(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def _median(rounds: int, call: Callable[[], object]) -> float:
    return statistics.median(_ms(call) for _ in range(rounds))


if __name__ == "__main__":
    place = tempfile.mkdtemp(prefix="runner-bench-", dir=Path.home())
    alone = Scene(Path(place))
    try:
        ledgers(alone, Table(), int(sys.argv[1]) if len(sys.argv) > 1 else 15)
    finally:
        alone.close()
        shutil.rmtree(place, ignore_errors=True)
