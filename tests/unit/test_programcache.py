"""What programs said of themselves is kept for the next start, whoever else writes at the same time."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from runner.model import Program
from runner.runtimes import programcache
from runner.runtimes.programcache import cache_file, load, save, stamp_of

_WRITER = """
import sys
from runner.model import Program
from runner.runtimes.programcache import save, stamp_of
letter, path, home = sys.argv[1:]
sys.stdin.read()
for n in range(12):
    save(f"{letter}{n}", Program(path, "1.0", frozenset()), "", stamp_of(path), {"HOME": home})
"""


@pytest.fixture
def env(own_home: Path) -> dict[str, str]:
    return {"HOME": str(own_home)}


@pytest.fixture
def path(tmp_path: Path) -> str:
    program = tmp_path / "program"
    program.write_text("binary")
    return str(program)


def keep(runtime: str, path: str, env: dict[str, str]) -> None:
    save(runtime, Program(path, "1.0", frozenset({"--json"})), "a line", stamp_of(path), env)


def test_an_answer_is_kept_for_nobody_else_to_read(path: str, env: dict[str, str]) -> None:
    keep("codex", path, env)
    assert load("codex", path, env) == Program(path, "1.0", frozenset({"--json"}))
    folder = Path(cache_file(env) or "").parent
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_an_answer_that_was_read_in_another_way_is_asked_for_again(path: str, env: dict[str, str]) -> None:
    keep("codex", path, env)
    file = Path(cache_file(env) or "")
    known = json.loads(file.read_bytes())
    del known[f"codex:{path}"]["parser"]
    file.write_text(json.dumps(known))
    file.chmod(0o600)
    assert load("codex", path, env) is None


def test_two_who_write_at_once_lose_nothing_of_each_other(path: str, env: dict[str, str]) -> None:
    words = [sys.executable, "-c", _WRITER]
    writers = [
        subprocess.Popen([*words, letter, path, env["HOME"]], stdin=subprocess.PIPE) for letter in ("a", "b")
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
    assert [writer.wait(60) for writer in writers] == [0, 0]
    kept = [load(f"{letter}{n}", path, env) is not None for letter in ("a", "b") for n in range(12)]
    assert kept == [True] * 24


def test_the_newest_answers_are_kept(path: str, env: dict[str, str]) -> None:
    for n in range(programcache.MAX_ENTRIES + 3):
        keep(f"r{n}", path, env)
    keep("r5", path, env)
    known = json.loads(Path(cache_file(env) or "").read_bytes())
    assert len(known) == programcache.MAX_ENTRIES
    assert list(known)[-1] == f"r5:{path}" and f"r3:{path}" in known and f"r2:{path}" not in known


def test_a_writer_that_never_ends_holds_nobody_up_for_long(path: str, env: dict[str, str]) -> None:
    keep("codex", path, env)
    with FileLock(f"{cache_file(env)}.lock"):
        keep("kay", path, env)  # in a FileLock of its own, as another process
        assert load("codex", path, env) is not None
    assert load("kay", path, env) is None


def test_what_others_could_have_written_is_not_believed(path: str, env: dict[str, str]) -> None:
    keep("codex", path, env)
    file = Path(cache_file(env) or "")
    file.chmod(0o622)
    assert load("codex", path, env) is None
    keep("codex", path, env)
    assert load("codex", path, env) is not None


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir, lambda file: os.symlink("/dev/zero", file)])
def test_what_stands_in_the_place_of_the_cache_holds_nobody_up(
    path: str, env: dict[str, str], put: Callable[[Path], None]
) -> None:
    keep("codex", path, env)
    file = Path(cache_file(env) or "")
    file.unlink()
    put(file)
    assert load("codex", path, env) is None
    keep("codex", path, env)
    assert (load("codex", path, env) is not None) == (put is not Path.mkdir)
