"""What we add to a bare run of the agent CLIs from npm, where `make test-clis` has installed them."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

from scene import ROOT, Scene, Table

from runner.model import Level, Sandbox
from runner.runtimes import get, probe
from runner.runtimes.base import CommandRequest

CLIS = ROOT / ".clis" / "node_modules" / ".bin"


def beside_clis(scene: Scene, table: Table, rounds: int) -> None:
    """Start to terminal manifest, against the same program with the same argv."""
    for name in ("claude", "gemini"):
        if not (CLIS / name).exists():
            table.row(f"bare {name} of the same rehearsal: wall", "not installed")
            continue
        file = Path(scene.repo, f"{name}.toml")
        file.write_text(
            f'[runtimes.{name}]\ncommand = "{CLIS / name}"\n'
            f'[tasks.{name}]\nruntime = "{name}"\nrehearse = true\nprompt = "hello"\n'
        )
        _bare(name, scene)
        pairs = [(_bare(name, scene), _ours(name, str(file), scene)) for _ in range(rounds)]
        bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        added = statistics.median(our - alone for alone, our in pairs)
        table.row(f"bare {name} of the same rehearsal: wall", f"{bare:.0f} ms", 1.0)
        table.row("runner start to terminal manifest: wall", f"{ours:.0f} ms", ours / bare)
        table.row(f"added to {name}", f"{added:.0f} ms", None, "at most 150 ms")


def _ours(name: str, file: str, scene: Scene) -> float:
    begun = time.perf_counter()
    run = scene.start(name, file)
    scene.until(lambda: scene.manifest(run)["phase"] == "done", step_s=0.01)
    wall = (time.perf_counter() - begun) * 1000
    if (status := scene.manifest(run)["status"]) != "succeeded":
        raise SystemExit(f"the run of {name} is {status}")
    return wall


def _bare(name: str, scene: Scene) -> float:
    """Milliseconds of the program alone, from a home as new as that of a run."""
    runtime = get(name)
    settings = runtime.defaults().replace(command=str(CLIS / name))
    program = probe.discover(runtime, settings, scene.env)
    with socket.create_server(("127.0.0.1", 0)) as listener, TemporaryDirectory() as home:
        fd, port = listener.fileno(), listener.getsockname()[1]
        words = [str(ROOT / "runner/rehearsal/__main__.py"), "--listen-fd", str(fd)]
        server = subprocess.Popen([sys.executable, "-I", *words], pass_fds=[fd], env=scene.env)
        overrides, variables = runtime.rehearsal(port, 0, scene.env)
        last = os.path.join(home, "last-message.md")
        request = CommandRequest(
            *(program, settings, None, Sandbox("read-only", Level.READ_ONLY), scene.repo, last, True),
            overrides=overrides,
            new_thread=str(uuid.uuid4()) if runtime.names_threads else None,
        )
        own = dict.fromkeys(runtime.own_home, home)
        for path, text in runtime.home(request).items():
            Path(home, path).parent.mkdir(parents=True, exist_ok=True)
            Path(home, path).write_text(text)
        env = {**scene.env, **runtime.variables, **variables, **own}
        # A file, as a run has one.
        with open(os.path.join(home, "stdout"), "w") as stdout:
            begun = time.perf_counter()
            subprocess.run(
                runtime.command(request),
                input=b"hello",
                cwd=scene.repo,
                env=env,
                stdout=stdout,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            wall = time.perf_counter() - begun
        server.terminate()
        server.wait()
    return wall * 1000
