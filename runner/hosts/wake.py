"""A program for `[notify]`: an event of a run becomes a message to the session of Codex that started the run.
Edge: processes.

Codex takes the message for words of its user. So it holds ids, names from the settings and a status, and no
word of an agent.
"""

from __future__ import annotations

import json
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.hosts.mode import Mode

HOST = "codex"
_PAUSES_S = (0.0, 1.0, 2.0)
"""Before each attempt. A notice is ended after ten seconds (`supervise.notices`), whatever Codex does."""


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


def main(program: str, folder: str, runner: str, session: str) -> int:
    """The exit status of Codex, which is asked again where it has queued nothing: it may be busy."""
    text = text_of(json.load(sys.stdin), runner)
    words = (program, "queue", "--thread", session, "--message", text, "--resume")
    status = 0
    for pause_s in _PAUSES_S:
        time.sleep(pause_s)
        child = os.posix_spawn(program, words, {**os.environ, "CODEX_HOME": folder})
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            break
    return status if status >= 0 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
