"""What a job of Slurm knows of itself, on the node. Edges: its environment, its log, `scontrol`.

Measured on 22.05: `scancel` sends SIGTERM to all processes of the job, which is `COMPLETING` then. The
warning of `--signal` reaches the script alone, and the job is still `RUNNING`. Both print `CANCELLED AT` into
the log, with `DUE TO PREEMPTION` or `DUE TO TIME LIMIT` where that is so. A job that is put back into the
queue has one restart more than its environment says.
"""

from __future__ import annotations

import os
import time

from runner.disk.files import no_follow
from runner.executors import squeue
from runner.model import Reason
from runner.state.manifest import parse_timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_ASKED_WITHIN_S = 1.0
_EARLY_S = 65.0
"""A warning may come so much earlier than it was asked for: Slurm looks once in a minute."""
_TAIL = 16 * 1024
_OUT_OF_TIME = Reason(
    "engine_time_limit",
    "the time that its job had is over",
    "start it again, or ask for more with `time` of the executor",
)
_PREEMPTED = Reason("engine_preempted", "its job had to make room for another one", "start it again")


class SlurmJob:
    """Of the process whose environment that is."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)
        self.job_id = env.get("SLURM_JOB_ID") or None
        self.cluster = env.get("SLURM_CLUSTER_NAME") or None
        self.restarts = _number(env.get("SLURM_RESTART_COUNT")) or 0

    def why_ended(self, log: str, warning_s: float) -> tuple[Reason, float]:
        """See `OwnJob`."""
        said = _last_word(log)
        if "DUE TO PREEMPTION" in said:
            return _PREEMPTED, 0.0
        if "DUE TO TIME LIMIT" in said:
            return _OUT_OF_TIME, 0.0
        told = self._told()
        if (told.get("PreemptTime") or "None") != "None":
            return _PREEMPTED, 0.0
        state, left_s = told.get("JobState", ""), self._left_s(told)
        if state == "TIMEOUT" or (state in ("", "RUNNING") and left_s < warning_s + _EARLY_S):
            return _OUT_OF_TIME, max(0.0, left_s)
        if self._is_put_back(told):
            return Reason("engine_cancelled", "its job was put back into the queue"), 0.0
        return Reason("engine_cancelled", f"job {self.job_id} was cancelled"), 0.0

    def is_put_back(self) -> bool:
        """See `OwnJob`."""
        return self._is_put_back(self._told())

    def _is_put_back(self, told: Mapping[str, str]) -> bool:
        return (_number(told.get("Restarts")) or 0) > self.restarts

    def _left_s(self, told: Mapping[str, str]) -> float:
        end = _number(self._env.get("SLURM_JOB_END_TIME"))
        try:
            return (parse_timestamp(told["EndTime"]) if end is None else end) - time.time()
        except (KeyError, ValueError):
            return float("inf")  # `Unknown`, or nothing was told

    def _told(self) -> dict[str, str]:
        """What `scontrol` says of the job; nothing where it does not say it at once."""
        if self.job_id is None:
            return {}
        ran = squeue.ask(("scontrol", "-o", "show", "job", self.job_id), self._env, _ASKED_WITHIN_S)
        pairs = (word.partition("=") for word in ran.stdout.split())
        return {name: value for name, _, value in pairs}


def _last_word(log: str) -> str:
    """The last line of Slurm's own in it."""
    try:
        with open(log, "rb", opener=no_follow) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read(_TAIL).decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.startswith("slurmstepd") and " JOB " in line), "")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None
