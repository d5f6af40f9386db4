"""USE CASE: a start for who is no command, by `runner start` in a process of its own. Edge: processes.

A start needs a small process with one thread, which a server or whoever waits for an answer is not.
"""

from __future__ import annotations

import json
import os
import subprocess

from runner.disk.interpreter import command
from runner.errors import GaveUpWaiting, RunnerError, SupervisorFailed
from runner.state.authentic import next_run_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.model import Json

_MAIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "__main__.py")


class Refused(RunnerError):
    """What `start` answered, passed on with its own code."""

    def __init__(self, error: Json) -> None:
        super().__init__(error["message"], hint=error["hint"], problems=error.get("problems", ()))
        self.code = error["code"]
        self.retryable = error["retryable"]


def spawn(
    repo: str,
    task_id: str,
    *words: str,
    prompt: str | None = None,
    session: Mapping[str, str] | None = None,
    within_s: float = 45.0,
) -> dict[str, Any]:
    """Starts a run of that task in `repo`, with these options and in this session; which run it is. Refused,
    GaveUpWaiting or SupervisorFailed.
    """
    run_id = next_run_id(repo)
    argv = [*command(_MAIN, "start", "--format", "json", "--task", task_id, "--run-id", run_id), *words]
    if prompt is not None:
        argv += ["--prompt", "-"]
    # The new run's marker from the first moment: a walk over our own run's tree stops there.
    env = {name: value for name, value in os.environ.items() if name != "RUNNER_MANIFEST"}
    env |= {"RUNNER_RUN_ID": run_id, **(session or {})}
    # A file that is complete before it is read: with a pipe, our death could cut a prompt off.
    with open(os.memfd_create("prompt"), "w+b") as stdin:
        stdin.write((prompt or "").encode(errors="surrogatepass"))
        stdin.seek(0)
        starting = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=repo,
            start_new_session=True,  # a host that ends its server's group must not end a start in the middle
        )
    try:
        stdout, stderr = starting.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:  # killing it could leave half of a start, so it continues
        raise GaveUpWaiting(f"the start of `{run_id}` takes long; the run may still begin") from None
    return _answer_of(stdout, stderr)


def _answer_of(stdout: bytes, stderr: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(stdout)
    except ValueError:
        tail = stderr.decode(errors="replace")[-500:]
        raise SupervisorFailed(f"the start printed nothing readable: {tail}") from None
    if "error" in answer:
        raise Refused(answer["error"])
    return {name: answer[name] for name in ("run_id", "task_id", "manifest_path", "status")}
