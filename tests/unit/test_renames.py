"""The kernel tells of a name that is replaced, and the signals of the process are as before afterwards."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.waiting import ends_within

from runner.disk.files import replace_bytes
from runner.processes.renames import Renames

Signals = tuple[Any, int, set[Any]]


def signals() -> Signals:
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    return signal.getsignal(signal.SIGIO), wakeup, signal.pthread_sigmask(signal.SIG_BLOCK, ())


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def tells(told: int | None, within_s: float = 10.0) -> bool:
    assert told is not None
    poll = select.poll()
    poll.register(told, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[int]:
    renames = Renames()
    told = renames.watch([str(tmp_path)])
    if told is None:
        renames.close()
        pytest.skip("this kernel has no dnotify")
    yield told
    renames.close()


def test_a_file_that_is_replaced_is_told(watched: int, tmp_path: Path) -> None:
    assert not tells(watched, 0)
    for content in (b"1", b"2"):  # and again, after it was told once
        replace_bytes(str(tmp_path / "manifest.json"), content)
        assert tells(watched)
        os.read(watched, 4096)
        assert not tells(watched, 0)


def test_a_file_that_is_removed_is_told(watched: int, tmp_path: Path) -> None:
    (tmp_path / "turn-complete.json").touch()
    (tmp_path / "turn-complete.json").unlink()
    assert tells(watched)


def test_what_is_only_written_is_not_told(watched: int, tmp_path: Path) -> None:
    """An agent that prints a gigabyte wakes nobody."""
    with (tmp_path / "stdout.jsonl").open("wb", buffering=0) as stdout:
        for _ in range(100):
            stdout.write(b"x" * 4096)
    assert not tells(watched, 0)


@pytest.mark.parametrize("is_blocked", [False, True])
@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_signals_are_as_they_were_afterwards(tmp_path: Path, handler: Any, is_blocked: bool) -> None:
    """By default SIGIO ends the process, so what is replaced when nobody watches must send none."""
    code = f"""
import os, signal, sys
from runner.disk.files import replace_bytes
from runner.processes.renames import Renames
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_renames import descriptors, signals, tells
signal.signal(signal.SIGIO, signal.Handlers({int(handler)}))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO] if {is_blocked} else [])
before, open_before = signals(), descriptors()
for times in range(3):
    renames = Renames()
    told = renames.watch([{str(tmp_path)!r}])
    replace_bytes({str(tmp_path / "one")!r}, b"")
    assert told is None or tells(told)
    replace_bytes({str(tmp_path / "two")!r}, b"")
    renames.close()
    renames.close()
    assert (signals(), descriptors()) == (before, open_before)
    assert not signal.sigpending()
    replace_bytes({str(tmp_path / "three")!r}, b"")
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60)


def refused(*folders: Path) -> None:
    """Nothing is watched, nothing is left open, and no signal is taken."""
    before, renames = descriptors(), Renames()
    assert renames.watch(map(str, folders)) is None
    assert descriptors() == before
    renames.close()


def test_another_thread_cannot_watch(tmp_path: Path) -> None:
    before = signals()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(refused, tmp_path).result()
    assert signals() == before


def test_what_is_no_folder_is_not_watched_and_neither_is_the_one_before_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = signals()
    refused(tmp_path, tmp_path / "gone")
    refused(tmp_path, tmp_path / "file")
    assert signals() == before


def test_a_program_that_uses_these_signals_keeps_them(tmp_path: Path) -> None:
    """asyncio has the wakeup descriptor as long as it runs."""
    heard: list[int] = []
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    handler = signal.signal(signal.SIGIO, lambda number, _: heard.append(number))
    try:
        refused(tmp_path)
        signal.raise_signal(signal.SIGIO)
        assert heard == [signal.SIGIO]
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        signal.set_wakeup_fd(writing)
        refused(tmp_path)
        assert signals()[1] == writing
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGIO, handler)
        os.close(reading)
        os.close(writing)


def test_too_many_folders_for_the_descriptors_of_the_process_are_refused(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = signals()
    few = max(map(int, descriptors())) + 10
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        refused(*[tmp_path] * few)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert signals() == before


def test_ctrl_c_leaves_the_signals_as_they_were(tmp_path: Path) -> None:
    before = signals()
    renames = Renames()
    with pytest.raises(KeyboardInterrupt), ends_within(20):
        try:
            told = renames.watch([str(tmp_path)])
            os.kill(os.getpid(), signal.SIGINT)
            tells(told)
        finally:
            renames.close()
    assert signals() == before
