"""How long a cancel takes: of the real Codex beside what Codex itself needs, and of many runs at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from scene import CODEX, ROOT, RUNNER, Scene, Table

_PLAY = "schema_version = 1\n[[turns]]\nshell = 'sleep 1000'\ntimes = 1000\n"
_BEGUN = '"type":"command_execution"'
_FEW, _MANY = 100, 400


def cancelling(scene: Scene, table: Table, rounds: int) -> None:
    """In the middle of a shell command; then four times as many runs at once."""
    interrupted(scene, table, rounds)
    few, many = (_crowd(scene, count) for count in (_FEW, _MANY))
    table.row(f"cancel of {_FEW} runs at once: wall", f"{few:.1f} s", 1.0)
    table.row(f"cancel of {_MANY} runs at once: wall", f"{many:.1f} s", many / few, "at most 5 x")


def interrupted(scene: Scene, table: Table, rounds: int) -> None:
    """Until the manifest says `cancelled`, against a bare Codex that gets SIGINT and nothing else.

    A command needs an interpreter, which alone takes half as long as Codex: the budget is for what follows.
    """
    bare, heard, ours = [], [], []
    with _model(scene) as overrides:
        for _ in range(rounds):
            bare.append(_bare(scene, overrides))
            run = scene.start("shell")
            folder = Path(scene.repo, scene.manifest(run)["manifest_path"]).parent
            scene.until(lambda out=folder / "stdout.jsonl": _BEGUN in out.read_text())
            begun = time.time()
            with subprocess.Popen(
                [*RUNNER, "cancel", run], cwd=scene.repo, env=scene.env, stdout=subprocess.DEVNULL
            ):
                scene.until(lambda run=run: scene.manifest(run)["status"] == "cancelled")
                ended = time.time()
            events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
            at = next(event["at"] for event in events if event["type"] == "cancel_requested")
            asked = datetime.fromisoformat(at).timestamp()
            heard.append((asked - begun) * 1000)
            ours.append((ended - asked) * 1000)
    a, b, c = (statistics.median(values) for values in (bare, heard, ours))
    table.row("bare codex exec in a shell command, SIGINT until its end: wall", f"{a:.0f} ms", 1.0)
    table.row("runner cancel until the run's supervisor hears it: wall", f"{b:.0f} ms", b / a)
    table.row("from then until `cancelled` is written: wall", f"{c:.0f} ms", c / a, "at most 1.5 x")


@contextmanager
def _model(scene: Scene) -> Iterator[list[str]]:
    """A scripted model for all of them; the overrides that a bare Codex needs, and a task `shell`."""
    from runner.runtimes.codex_rehearsal import overrides

    play = Path(scene.repo, "play.toml")
    play.write_text(_PLAY)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        fd, pairs = listener.fileno(), overrides(listener.getsockname()[1])
        program = [sys.executable, "-I", str(ROOT / "runner/rehearsal/__main__.py")]
        server = subprocess.Popen(
            [*program, "--listen-fd", str(fd), "--script", str(play)], pass_fds=[fd], env=scene.env
        )
        config = "\n".join(("[runtimes.codex.config]", *pairs, "[tasks.shell]", 'prompt = "shell"'))
        Path(scene.shell).write_text(f'[runtimes.codex]\ncommand = "{CODEX}"\n{config}\n')
        try:
            yield [word for pair in pairs for word in ("-c", pair)]
        finally:
            server.terminate()
            server.wait()


def _bare(scene: Scene, overrides: list[str]) -> float:
    """Milliseconds from SIGINT to the end of a bare `codex exec`, whose shell command was under way."""
    argv = [CODEX, "exec", "--json", "--skip-git-repo-check", "-C", scene.repo, "-s", "read-only", *overrides]
    with subprocess.Popen(
        [*argv, "shell"],
        env=scene.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        while _BEGUN not in process.stdout.readline():
            continue
        begun = time.perf_counter()
        process.send_signal(signal.SIGINT)
        process.wait()
        return (time.perf_counter() - begun) * 1000


def _crowd(scene: Scene, count: int) -> float:
    """Seconds until so many `runner cancel`, all begun at once, have returned."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(scene.start, ["silent"] * count))
    begun = time.perf_counter()
    asked = [
        subprocess.Popen([*RUNNER, "cancel", run], cwd=scene.repo, env=scene.env, stdout=subprocess.DEVNULL)
        for run in runs
    ]
    if max(process.wait() for process in asked) != 0:
        raise SystemExit("a run could not be cancelled")
    return time.perf_counter() - begun
