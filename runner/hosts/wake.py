"""A program for `[notify]`: an event of a run becomes a message to the session of Codex that started the run.
Edge: processes.

Codex takes the message for words of its user. So it holds ids, names from the settings and a status, and no
word of an agent.
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.hosts.mode import Mode

HOST = "codex"


def command(mode: Mode, env: Mapping[str, str]) -> tuple[str, ...]:
    """The command that wakes the session of a mode; () where its program is not on PATH outside of work
    trees of runs: it runs as the user, and no agent has put it there.
    """
    from runner.disk import home, interpreter, programs  # the program itself needs none of them
    from runner.hosts import told

    program = programs.outside_work_trees(HOST, env, mode.repo)
    folder = home.of_program(env, "CODEX_HOME", ".codex")
    if program is None or folder is None:
        return ()
    return interpreter.command(os.path.abspath(__file__), program, folder, told.runner(mode), mode.session)


def text_of(event: Mapping[str, Any], runner: str) -> str:
    run, what = event["run_id"], f"Run {event['run_id']} of task {event['task_id']}"
    if event["event"] == "ended":
        shown = f"`{runner} report {run} --surface` shows its claims beside the evidence."
        return f"{what} ended: {event['status']}. {shown}"
    if event["event"] == "asked":
        return f"{what} asks its owner {event['question']}: `{runner} status {run}` shows the question."
    return f"{what} waits for a decision: `{runner} inbox` says which."


def main(program: str, folder: str, runner: str, session: str) -> None:
    text = text_of(json.load(sys.stdin), runner)
    words = ("queue", "--thread", session, "--message", text, "--resume")
    os.execve(program, (program, *words), {**os.environ, "CODEX_HOME": folder})


if __name__ == "__main__":
    main(*sys.argv[1:])
