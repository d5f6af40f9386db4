"""Where a run was put: `placement.json` beside its manifest, with a MAC. Edge: disk, standard library only.

The machine that submits is the only one that writes it, so that the manifest keeps its one writer: the
supervisor on the node.
"""

from __future__ import annotations

import os

from runner.disk import home
from runner.disk.files import read, replace_json
from runner.errors import ForeignRun
from runner.model import Identity, Outcome
from runner.state.authentic import refuse_forged, write_record
from runner.value import Count, Timestamp, Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner.state.store import RunDir

_LARGEST = 1024 * 1024
_LARGEST_ENVIRONMENT = 16 * 1024 * 1024
NOBODY = -1
"""What a fence says of a run whose end the submit side writes: a node that comes back has it no more."""
WARNED_S = 30.0
"""So long, and the grace, before the end of its time a job is warned."""
DEVICES = (
    *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
    *("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"),
)
"""What an engine tells a job of the devices that it may use: the agent gets these from the node."""
ENDS = {
    "engine_cancelled": Outcome.CANCELLED,
    "engine_preempted": Outcome.FAILED,
    "engine_time_limit": Outcome.TIMED_OUT,
    "executor_unusable": Outcome.FAILED,
    "node_failed": Outcome.LOST,
    "not_placed": Outcome.FAILED,
    "out_of_memory": Outcome.FAILED,
    "port_taken": Outcome.FAILED,
    "queue_timeout": Outcome.TIMED_OUT,
    "requeued": Outcome.LOST,
}
"""The codes of the reasons for which an engine, or its queue, ends a run. Any other end of a job that its
supervisor has not written is `lost`.
"""


class JobEnd(Value):
    """How the engine ended a job whose supervisor did not write the end of the run; `code` is the reason."""

    code: str
    message: str
    engine_state: str | None
    exit_code: int | None
    signal: int | None
    seen_at: Timestamp
    node: str | None = None
    """Where the engine had begun it."""


class Placement(Value):
    """What was asked of an engine, and what came of it."""

    executor: str
    kind: str
    run_id: str
    submitted_at: Timestamp
    argv: tuple[str, ...]
    cluster: str | None = None
    job_id: str | None = None
    """None until the engine has answered: its starter may have ended before that."""
    max_pending_s: float | None = None
    restarts: Count = 0
    behind: tuple[str, ...] = ()
    """The jobs that have to end before its own begins, as the settings allow no more at once."""
    starter: Identity | None = None
    """Who asks the engine, while it has not answered."""
    end: JobEnd | None = None


def path_of(run: RunDir) -> str:
    return f"{run.path}/placement.json"


def load(run: RunDir) -> Placement | None:
    """None for a run that lives where it was started. ForeignRun where it is not ours; ValueError."""
    path = path_of(run)
    try:
        data = read(path, _LARGEST)
    except FileNotFoundError:
        return None
    refuse_forged(path, data)
    return Placement.from_json(json_value(data))


def save(run: RunDir, placement: Placement) -> None:
    """OSError, or Unwritable where no key can be kept."""
    write_record(path_of(run), placement.to_json())


def outcome_of(code: str) -> Outcome:
    """Of a run that was cancelled, or that its engine has ended."""
    return Outcome.CANCELLED if code == "cancelled" else ENDS.get(code, Outcome.LOST)


# -- on the node ---------------------------------------------------------------------------------------------


def fence(run: RunDir, restarts: int) -> None:
    """Says that the run belongs to the copy of its job that was started so often again; to none of them if
    that is NOBODY. OSError, or Unwritable.
    """
    write_record(_fence_of(run), {"restarts": restarts})


def is_fenced(run: RunDir, copy: int) -> bool:
    """Whether the run is not that copy's any more. What only an agent can have written says nothing, and what
    was written for a copy before it neither.
    """
    try:
        data = read(_fence_of(run))
        refuse_forged(_fence_of(run), data)
        told = json_value(data)["restarts"]
    except (OSError, ValueError, KeyError, TypeError, ForeignRun):
        return False
    return type(told) is int and (told == NOBODY or told > copy)


def _fence_of(run: RunDir) -> str:
    return f"{run.control}/fence"


def environment_of(run: RunDir) -> str:
    """The values that the agent gets, until the node has taken them."""
    return f"{run.path}/environment.json"


def put_environment(run: RunDir, names: Iterable[str], env: Mapping[str, str]) -> None:
    """Writes for the node alone, 0600, what the run gets of the environment of whoever submits it; beside it
    what tells our own processes there where the state of the user is. OSError.
    """
    user = home.find(env)
    own = home.named(env) if user is None else {**home.named(env), "HOME": user}
    replace_json(_own_environment_of(run), own)
    replace_json(environment_of(run), {name: env[name] for name in names if name in env})


def own_environment(run: RunDir) -> dict[str, str]:
    """What our own processes need. OSError, ValueError."""
    return _variables(_own_environment_of(run))


def take_environment(run: RunDir) -> dict[str, str]:
    """What the run gets; the file is gone then. OSError, ValueError."""
    try:
        return _variables(environment_of(run))
    finally:
        drop_environment(run)


def keep_environment(run: RunDir, values: Mapping[str, str]) -> None:
    """Puts back what was taken, for a copy of the job that its engine may begin later. OSError."""
    replace_json(environment_of(run), dict(values))


def drop_environment(run: RunDir) -> None:
    """Removes what a job did not take."""
    try:
        os.unlink(environment_of(run))
    except OSError:
        pass  # taken


def _own_environment_of(run: RunDir) -> str:
    return f"{run.path}/node.json"


def _variables(path: str) -> dict[str, str]:
    told = json_value(read(path, _LARGEST_ENVIRONMENT, is_private=True))
    if type(told) is not dict or not all(type(value) is str for value in told.values()):
        raise ValueError(f"{path} is no environment")
    return told
