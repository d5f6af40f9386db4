"""The budgets of the delegation server, beside what it cannot be faster than."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scene import RUNNER, Scene, Table

_HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}
_BARE_MCP = [sys.executable, "-c", "import mcp"]
_CALLS = 100
_FILL = """
import sys
from runner.ledger.entry import EntryType, NewEntry
from runner.ledger.file import Ledger
ledger = Ledger(*sys.argv[1:])
ledger.append(NewEntry(EntryType.HANDOFF, "human", {"reason": "r", "ask": "a"}, "delegating"), str)
for _ in range(100):
    assert ledger.tell([NewEntry(EntryType.NOTE, "human", {"text": "x" * 200})] * 100, str)
"""


class Host:
    """What a host does with its server: one line in, one line out."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process
        self._id = 0

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        """The result of one request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._id += 1
        self._say({"id": self._id, "method": method, "params": params})
        while (answer := json.loads(self._process.stdout.readline())).get("id") != self._id:
            continue
        return answer["result"]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The answer of a tool call that must succeed."""
        answer: dict[str, Any] = self.ask("tools/call", {"name": tool, "arguments": arguments})
        if answer.get("isError"):
            raise SystemExit(f"{tool}: {answer}")
        content: dict[str, Any] = answer["structuredContent"]
        return content

    def greet(self) -> None:
        self.ask("initialize", _HELLO)
        self._say({"method": "notifications/initialized"})

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()


@contextmanager
def _served(scene: Scene, run: str) -> Iterator[Host]:
    """The server of a run, just started; it ends with its stdin."""
    manifest = scene.manifest(run)["manifest_path"]
    argv = [*RUNNER, "delegate-server", "--repo", scene.repo, "--manifest", manifest]
    with subprocess.Popen(
        argv, cwd=scene.repo, env=scene.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Host(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=10)


def delegating(scene: Scene, table: Table, rounds: int) -> None:
    """tools/list from the start of the process, the CPU of a status call, a spawn beside a start."""
    run = scene.start("delegating")
    path = scene.manifest(run)["manifest_path"]
    imports, lists, calls, starts, spawns = [], [], [], [], []
    for _ in range(rounds):
        begun = time.perf_counter()
        subprocess.run(_BARE_MCP, env=scene.env, check=True)
        imports.append((time.perf_counter() - begun) * 1000)
        begun = time.perf_counter()
        with _served(scene, run) as host:
            host.greet()
            host.ask("tools/list", {})
            lists.append((time.perf_counter() - begun) * 1000)
            host.call("delegate.status", manifest_path=path)
            before = scene.ticks(host.pid)
            for _ in range(_CALLS):
                host.call("delegate.status", manifest_path=path)
            calls.append((scene.ticks(host.pid) - before) * 10 / _CALLS)
            begun = time.perf_counter()
            child = host.call("delegate.spawn", task_id="silent")["run_id"]
            spawns.append((time.perf_counter() - begun) * 1000)
        scene.cli("cancel", child, "--grace", "0")
        begun = time.perf_counter()
        child = scene.start("silent")
        starts.append((time.perf_counter() - begun) * 1000)
        scene.cli("cancel", child, "--grace", "0")
    subprocess.run([sys.executable, "-c", _FILL, scene.repo, "delegating"], env=scene.env, check=True)
    reads = []
    with _served(scene, run) as host:
        host.greet()
        for _ in range(_CALLS):
            begun = time.perf_counter()
            host.call("read_context")
            reads.append((time.perf_counter() - begun) * 1000)
    scene.cli("cancel", run, "--grace", "0")
    bare, value = statistics.median(imports), statistics.median(lists)
    table.row("python -c 'import mcp': wall", f"{bare:.0f} ms", 1.0)
    table.row("delegate-server until tools/list: wall", f"{value:.0f} ms", value / bare, "at most 1.5 x")
    table.row("delegate.status: CPU per call", f"{statistics.median(calls):.1f} ms", None, "at most 10 ms")
    value = statistics.median(reads)
    table.row("read_context over MCP, 10000 entries: wall", f"{value:.1f} ms", None, "at most 10 ms")
    bare, value = statistics.median(starts), statistics.median(spawns)
    table.row("runner start: wall", f"{bare:.1f} ms", 1.0)
    table.row("delegate.spawn until its answer: wall", f"{value:.1f} ms", value / bare, "at most 1.5 x")
