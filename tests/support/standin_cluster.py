"""A stand-in for Slurm at the boundary of processes: its commands on PATH, and what they answer, in files.

It begins no job: a test says what becomes of one (`Standin.set`), and what a command says instead of the
truth (`Standin.say`). For what Slurm itself does there is `support.slurm.Cluster`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.repo import Repo

__all__ = ["Standin", "standin_cluster"]

PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel", "srun")
_PROGRAM = Path(__file__).with_name("standin_cluster_program.py")
_EXECUTOR = '[executors.hpc]\nkind = "slurm"\n'


def standin_cluster(repo: Repo, cluster: str = "standin") -> Standin:
    """Its commands are the first on the PATH of this repository from now on."""
    return Standin(repo, cluster)


class Standin:
    """Of one repository: `folder` has its jobs, and one line for each call."""

    executor = _EXECUTOR
    """The settings of an executor `hpc`, for a delegate.toml."""

    def __init__(self, repo: Repo, cluster: str) -> None:
        self._repo, self.folder, self.cluster = repo, repo.base / "standin", cluster
        self.folder.mkdir()
        (self.folder / "cluster").write_text(cluster)
        for name in PROGRAMS:
            path = repo.bin / name
            path.write_text(
                f'#!/bin/sh\nexec "{sys.executable}" -I -S "{_PROGRAM}" "{self.folder}" {name} "$@"\n'
            )
            path.chmod(0o755)

    def jobs(self) -> list[dict[str, Any]]:
        """In the order in which they were submitted."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("job-*.json"))]

    def job(self) -> dict[str, Any]:
        """The only one that there is."""
        (found,) = self.jobs()
        return found

    def set(self, job_id: str, **fields: Any) -> None:
        """What squeue says of it from now on: its state, reason, node, status, start, end, restarts."""
        path = self.folder / f"job-{job_id}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
        self.forget()

    @contextlib.contextmanager
    def begun(self, job_id: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """Its script, as an engine carries it out, on this machine, and over with the block."""
        job = next(one for one in self.jobs() if one["id"] == job_id)
        self.set(job_id, state="RUNNING", reason="None", node="n1", start=_now())
        known = {"SLURM_JOB_ID": job_id, "SLURM_CLUSTER_NAME": self.cluster, "PATH": "/usr/bin:/bin"}
        with (
            open(os.path.join(os.path.dirname(job["script"]), "slurm.log"), "ab") as log,
            subprocess.Popen(
                ["sh", job["script"]],
                env={**known, **env},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            ) as process,
        ):
            try:
                yield process
                process.wait(60)
                self.set(job_id, state="FAILED" if process.returncode else "COMPLETED", end=_now())
            finally:
                if process.poll() is None:
                    process.kill()

    def purge(self, job_id: str) -> None:
        """The cluster knows it no more."""
        (self.folder / f"job-{job_id}.json").unlink()
        self.forget()

    def say(
        self,
        program: str,
        stdout: str = "",
        stderr: str = "",
        *,
        status: int = 0,
        acts: bool = False,
        hangs: bool = False,
        only: str = "",
    ) -> None:
        """What a command says instead of the truth, and whether it does all the same what it was asked for.
        One that hangs says nothing. `only`: calls with this word.
        """
        told = {
            "stdout": stdout,
            "stderr": stderr,
            "status": status,
            "acts": acts,
            "hangs": hangs,
            "only": only,
        }
        (self.folder / f"say-{program}").write_text(json.dumps(told))
        self.forget()

    def speak_truly(self, *programs: str) -> None:
        """Again, after `say`; and what hangs ends."""
        for name in programs or PROGRAMS:
            (self.folder / f"say-{name}").unlink(missing_ok=True)
        for path in self.folder.glob("hangs-*"):
            with contextlib.suppress(OSError):  # nobody waits there any more
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        self.forget()

    def silent(self) -> None:
        """No command gets an answer from the controller."""
        for name in PROGRAMS:
            self.say(
                name, stderr=f"{name}: error: Unable to contact slurm controller (connect failure)", status=1
            )

    def rename(self, cluster: str) -> None:
        """Another cluster answers."""
        (self.folder / "cluster").write_text(cluster)
        self.forget()

    def calls(self, program: str = "") -> list[list[str]]:
        """The argv of each call so far."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for line in lines if (call := json.loads(line))[0].startswith(program)]

    def forget(self) -> None:
        """What commands have remembered of its answers."""
        shutil.rmtree(self._repo.home / ".cache" / "runner" / "slurm", ignore_errors=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
