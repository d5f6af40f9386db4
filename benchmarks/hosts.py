"""What the hook costs that a host asks before each call of a tool, with a mode and without."""

from __future__ import annotations

import json
import shlex
import statistics
import sys

from scene import ROOT, Scene, Table, measure

from runner.hosts import guard, mode
from runner.hosts.mode import HOSTS, Mode

BARE = [sys.executable, "-I", "-c", "pass"]
SESSIONS = {"without a mode": "none", "with a mode": "one"}


def hosts(scene: Scene, table: Table, rounds: int) -> None:
    """Each as its host runs it: Claude Code by its words, Codex by a shell. What it decides is an edit."""
    rows = [(host, state) for state in SESSIONS for host in HOSTS]
    cpu: dict[tuple[str, str], list[float]] = {row: [] for row in rows}
    bare: list[float] = []
    for _ in range(3 * rounds):
        bare.append(measure(BARE, scene)[0])
        for host, state in rows:
            session = SESSIONS[state]
            if session == "one" and mode.read(host, session, scene.env) is None:
                mode.write(_mode(host, session, scene), scene.env)
            cpu[host, state].append(_hook(scene, host, session))
        for host in HOSTS:
            mode.end(host, "one", scene.env)
    for host, state in rows:
        value = statistics.median(cpu[host, state])
        budget = "at most 3 x" if SESSIONS[state] == "none" else "at most 40 ms"
        table.row(f"hook of {host}, {state}: CPU", f"{value:.1f} ms", value / statistics.median(bare), budget)


def _hook(scene: Scene, host: str, session: str) -> float:
    words = [sys.executable, "-I", "-S", str(ROOT / "runner/hosts/__main__.py"), host]
    argv = ["/bin/sh", "-c", guard.CLAUDE, "sh", *words]
    if host == "codex":
        argv = ["/bin/bash", "-c", f"/bin/sh -c '{guard.CODEX}' sh {shlex.join(words)}"]
    edit = {"file_path": f"{scene.repo}/a.py", "content": "x" * 20_000}
    event = {"hook_event_name": "PreToolUse", "tool_name": "Write", "tool_input": edit}
    given = json.dumps(event | {"session_id": session, "cwd": scene.repo}).encode()
    return measure(argv, scene, given, {"CLAUDE_CODE_SESSION_ID": session})[0]


def _mode(host: str, session: str, scene: Scene) -> Mode:
    more = {"target": "codex", "task": "quick", "runtime": "codex", "level": "strict", "since": "now"}
    return Mode(schema_version=1, repo=scene.repo, host=host, session=session, may_edit=("docs/**",), **more)
