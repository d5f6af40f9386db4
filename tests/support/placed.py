"""Jobs that a test begins itself, as an engine does: the program of the node, with the variables of Slurm."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import runner
from runner import config
from runner.invocation import Request
from runner.model import ExecutorSettings
from runner.state import placement
from runner.state.authentic import write_record
from runner.state.manifest import first, timestamp
from runner.state.placement import Placement
from runner.state.store import RunDir
from runner.usecases.start import resolve
from support.repo import Repo, Run

__all__ = ["JOB", "NODE", "Job", "job", "place"]

NODE = Path(runner.__file__).parent / "supervise" / "node.py"
JOB = {"SLURM_JOB_ID": "7", "SLURM_CLUSTER_NAME": "hpc", "PATH": "/usr/bin:/bin"}


def place(
    repo: Repo, *, of_placement: Mapping[str, Any] | None = None, requeue: bool = False, **changes: Any
) -> tuple[RunDir, Run]:
    """A run of the task `work` that waits for its place; `changes` are of its invocation."""
    settings = config.load(str(repo.root), env=repo.env)
    found = resolve(settings, Request("work"), repo.env)
    executor = ExecutorSettings("big", "slurm", requeue=requeue)
    invocation = found.replace(executor=executor, **changes)
    run = RunDir.of(str(repo.root), invocation)
    os.close(run.create())
    Path(run.prompt).write_text(invocation.prompt)
    write_record(run.invocation, invocation.to_json())
    run.write_manifest(first(invocation, run.artifacts))
    told: dict[str, Any] = {"submitted_at": timestamp(), **(of_placement or {})}
    placement.save(run, Placement("big", "slurm", run.run_id, argv=("sbatch",), **told))
    placement.put_environment(run, invocation.env_names, repo.env)
    return run, Run(repo, run.run_id, run.task_id)


class Job:
    """The first process of a job, while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def wait(self, within: float = 60.0) -> tuple[int, str]:
        """Its exit status, and what it said."""
        _, said = self.process.communicate(timeout=within)
        return self.process.returncode, said


@contextlib.contextmanager
def job(run: RunDir, *prefix: str, umask: int = 0o022, **env: str) -> Iterator[Job]:
    """Killed at the end of the block, if it is still there."""
    with subprocess.Popen(
        [*prefix, sys.executable, "-I", "-S", str(NODE), run.path],
        env={**JOB, **env},
        cwd="/",
        umask=umask,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Job(process)
        finally:
            if process.poll() is None:
                process.kill()
