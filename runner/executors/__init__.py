"""The open set of places where a run may live besides the machine that starts it: one module for each, and
one line here. An executor only places a run; our supervisor owns it there.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.executors.base import Executor, OwnJob

LOCAL = "local"
"""The machine that starts the run: what `executor` is called where there is none."""
KINDS: tuple[str, ...] = ("slurm", "ssh")


def get(kind: str) -> Executor:
    """That of a kind. KeyError for one that is not in KINDS: settings are checked when they are read."""
    if kind == "slurm":
        from runner.executors.slurm import Slurm  # most runs live here

        return Slurm()
    if kind == "ssh":
        from runner.executors.ssh import Ssh

        return Ssh()
    raise KeyError(kind)


def own_job(kind: str, env: Mapping[str, str]) -> OwnJob:
    """The job that this process is in, as its environment tells. KeyError for an unknown kind."""
    if kind == "slurm":
        from runner.executors.slurm_job import SlurmJob

        return SlurmJob(env)
    if kind == "ssh":
        from runner.executors.ssh_host import SshJob

        return SshJob(env)
    raise KeyError(kind)
