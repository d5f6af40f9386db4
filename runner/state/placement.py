"""Where a run was put: `placement.json` beside its manifest, with a MAC. Edge: disk, standard library only.

The machine that submits is the only one that writes it, so that the manifest keeps its one writer: the
supervisor on the node.
"""

from __future__ import annotations

from runner.disk.files import read
from runner.state.authentic import refuse_forged, write_record
from runner.value import Count, Timestamp, Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.store import RunDir

_LARGEST = 1024 * 1024


class JobEnd(Value):
    """How the engine ended a job whose supervisor did not write the end of the run; `code` is the reason."""

    code: str
    message: str
    engine_state: str | None
    exit_code: int | None
    signal: int | None
    seen_at: Timestamp


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
