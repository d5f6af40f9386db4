"""The conductor's input: the plan, its batches, and how to run them. Edge: disk.

It is `plan.json` in the folder of a plan's run, written once. The ledger beside it has the progress of the
batches. A run that resumes the plan copies it.
"""

from __future__ import annotations

import json
from types import NoneType

from runner.disk.files import read_text, replace_json
from runner.errors import Conflict, PlanInvalid
from runner.model import SCHEMA_VERSION
from runner.plan.load import read
from runner.plan.units import EFFORTS
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.plan.decision import Decision
    from runner.plan.units import Plan, Unit
    from runner.state.ledger import Ledger
    from runner.state.store import RunDir

_LARGEST = 64 * 1024 * 1024


class Options(Value):
    """The command line of `start --plan`, as far as it is about the runs of the batches."""

    model: str | None = None
    sandbox: str | None = None
    map: str | None = None
    rehearse: bool = False
    rehearsal_script: str | None = None
    """A script for every batch, or a folder with `batch-<n>.toml`."""
    allow_danger: bool = False
    config_file: str | None = None
    sets: tuple[str, ...] = ()
    folder: str | None = None
    """From where the settings are looked for."""


class Part(Value):
    """One batch: the places of its units in the plan, and what the planner gave it."""

    units: tuple[int, ...]
    effort: str | None
    files: tuple[str, ...]


class Assignment(Value):
    """`text` is the plan file as it was, `name` what it was called; `on_failure` None is the task's own."""

    name: str
    text: str
    plan: Plan
    parts: tuple[Part, ...]
    options: Options
    on_failure: str | None
    checks: tuple[Mapping[str, Any], ...] = ()
    """What was looked at before the first batch: see `preflight`."""

    def units(self, n: int) -> tuple[Unit, ...]:
        return tuple(self.plan.units[at] for at in self.parts[n - 1].units)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "text": self.text,
            "parts": [part.to_json() for part in self.parts],
            "options": self.options.to_json(),
            "on_failure": self.on_failure,
            "checks": [dict(check) for check in self.checks],
        }


def parts_of(plan: Plan, decision: Decision) -> tuple[Part, ...]:
    place = {unit.id: at for at, unit in enumerate(plan.units)}
    return tuple(
        Part(tuple(place[unit] for unit in batch.units), batch.effort, batch.files)
        for batch in decision.batches
    )


def file_of(run: RunDir) -> str | None:
    """The plan that a run carries out, by its name; None where that cannot be read. It stands in both files,
    so that a broken one does not make a plan unheard of.
    """
    for path, key in ((run.ledger, "file"), (run.plan, "name")):
        try:
            return str(json.loads(read_text(path, _LARGEST) or "")[key])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return None


def load(run: RunDir) -> tuple[Assignment, Ledger]:
    """Of a plan's run. Conflict where it carries out no plan, or its files cannot be read: an agent without a
    sandbox can reach them.
    """
    try:
        data = json.loads(read_text(run.plan, _LARGEST) or "")
        found = run.read_ledger()
        assignment = _assignment(data)
        units = assignment.plan.units
        inside = [tuple(units[at].id for at in part.units) for part in assignment.parts]
        if inside != [step.units for step in found.steps]:
            raise ValueError("the ledger belongs to another plan")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, PlanInvalid) as error:
        raise Conflict(
            f"the plan of run `{run.run_id}` cannot be read: {error}",
            hint="`runner start --plan FILE --task T` starts the plan from the beginning",
        ) from error
    return assignment, found


def _assignment(data: Any) -> Assignment:
    """The inverse of `to_json`; any of what `load` catches where it is none."""
    name, text = _typed(data["name"], str), _typed(data["text"], str)
    options: dict[str, Any] = {
        key: _all(value, str) if key == "sets" else _typed(value, _kind_of(key))
        for key, value in data["options"].items()
    }
    return Assignment(
        name=name,
        text=text,
        plan=read(text, name),
        parts=tuple(
            Part(_all(part["units"], int), _one_of(EFFORTS, part["effort"]), _all(part["files"], str))
            for part in data["parts"]
        ),
        options=Options(**options),
        on_failure=_one_of(("keep", "rollback"), data["on_failure"]),
        checks=_all(data["checks"], dict),
    )


def _kind_of(option: str) -> Any:
    return bool if isinstance(getattr(Options, option), bool) else (str, NoneType)


def _one_of(words: tuple[str, ...], value: Any) -> str | None:
    if value is not None and value not in words:
        raise ValueError("a word is none of those that are known")
    return None if value is None else str(value)


def _all(values: Any, kind: Any) -> tuple[Any, ...]:
    return tuple(_typed(value, kind) for value in _typed(values, list))


def _typed(value: Any, kind: Any) -> Any:
    """A number is a place in the plan, so none is below 0; true is none."""
    if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 0)):
        raise TypeError("something in it is of another kind than it must be")
    return value


def write(run: RunDir, assignment: Assignment, found: Ledger) -> None:
    """Into the folder of a run that is about to start. OSError if the disk refuses."""
    replace_json(run.plan, assignment.to_json())
    keep(run, found)


def keep(run: RunDir, found: Ledger) -> None:
    """The ledger as it is now, on disk before anything that follows from it is done."""
    replace_json(run.ledger, found.to_json())
