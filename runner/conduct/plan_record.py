"""The conductor's input: the plan, its batches, and how to run them, or the pipeline. Edge: disk.

It is `plan.json` in the folder of a plan's run, written once. The ledger beside it has the progress of the
batches. A run that resumes the plan copies it.
"""

from __future__ import annotations

import contextlib

from runner.disk.files import read, read_text, replace_bytes
from runner.errors import Conflict, PlanInvalid
from runner.model import SCHEMA_VERSION
from runner.plan.load import read as parsed
from runner.plan.pipeline import Pipeline
from runner.plan.units import EFFORTS
from runner.state.authentic import refuse_forged, write_record
from runner.state.plan_ledger import APPROVAL, PlanLedger, Status
from runner.value import Count, Misfit, Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self

    from runner.model import Json, Reason
    from runner.plan.decision import Decision
    from runner.plan.pipeline import Stage
    from runner.plan.units import Plan, Unit
    from runner.state.store import RunDir

_LARGEST = 64 * 1024 * 1024


class Options(Value):
    """The command line of `start --plan` and `start --pipeline`, as far as it is about their runs."""

    model: str | None = None
    sandbox: str | None = None
    map: str | None = None
    rehearse: bool = False
    rehearsal_script: str | None = None
    """A script for every run, or a folder with one for each: `batch-<n>.toml`, of a pipeline by its step."""
    allow_danger: bool = False
    config_file: str | None = None
    sets: tuple[str, ...] = ()
    folder: str | None = None
    """From where the settings are looked for."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Misfit for an unknown option, too: the batches would not obey it."""
        made = super().from_json(data)
        if unknown := data.keys() - {*cls._fields}:
            raise Misfit("it is not known").inside(min(unknown))
        return made


class Part(Value):
    """One batch: the places of its units in the plan, and what the planner gave it."""

    units: tuple[Count, ...]
    effort: str | None
    files: tuple[str, ...]
    model: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> Self:
        made = super().from_json(data)
        if made.effort not in (None, *EFFORTS):
            raise Misfit.of(made.effort, f"null or one of {', '.join(EFFORTS)}").inside("effort")
        return made


class Stored(Value):
    """What `plan.json` says. `text` is the plan file as it was, `name` what it was called; `on_failure` None
    is the task's own.
    """

    name: str
    text: str
    parts: tuple[Part, ...]
    options: Options
    on_failure: str | None
    checks: tuple[Json, ...]
    """What was looked at before the first batch: see `preflight`."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        made = super().from_json(data)
        if made.on_failure not in (None, "keep", "rollback"):
            raise Misfit.of(made.on_failure, "null, keep or rollback").inside("on_failure")
        return made


class Assignment(Stored):
    """It with the `plan` that its text is."""

    plan: Plan

    @property
    def identity(self) -> Plan:
        """Equal of what is the same plan for its breaker."""
        return self.plan

    def units(self, n: int) -> tuple[Unit, ...]:
        return tuple(self.plan.units[at] for at in self.parts[n - 1].units)

    def ids(self, n: int) -> tuple[str, ...]:
        return tuple(unit.id for unit in self.units(n))

    @property
    def models(self) -> tuple[str | None, ...]:
        """What its batches are run with, each once."""
        return tuple(dict.fromkeys(self.model(n) for n, _ in enumerate(self.parts, 1)))

    def model(self, n: int) -> str | None:
        """What batch `n` is run with, by its name; None is the model of the task."""
        return self.options.model or self.parts[n - 1].model

    def to_json(self) -> dict[str, Any]:
        data = super().to_json()
        return {"schema_version": SCHEMA_VERSION, **{name: data[name] for name in Stored._fields}}


class PipelineAssignment(Value):
    """The pipeline as it was when its run began, and what was given to it."""

    pipeline: Pipeline
    input: Mapping[str, str]
    options: Options
    on_failure: str | None
    checks: tuple[Json, ...] = ()
    """What was looked at before the first run: see `preflight`."""

    @property
    def name(self) -> str:
        """As the ledger and the manifest call it."""
        return pipeline_file(self.pipeline.name)

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal of what is the same pipeline for its breaker."""
        return (self.pipeline, dict(self.input))

    def place(self, stage: Stage) -> str | None:
        """The document of a stage, relative to the repository; None where it has none."""
        path = stage.plan if stage.plan is not None else stage.person
        for name, text in self.input.items():
            path = path and path.replace(f"{{{name}}}", text)
        return f"./{path}" if path == APPROVAL else path or None

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **super().to_json()}


class _NameInLedger(Value):
    file: str


class _NameInPlan(Value):
    name: str = ""
    pipeline: Json = {}


def parts_of(plan: Plan, decision: Decision) -> tuple[Part, ...]:
    place = {unit.id: at for at, unit in enumerate(plan.units)}
    return tuple(
        Part(tuple(place[unit] for unit in batch.units), batch.effort, batch.files, batch.model)
        for batch in decision.batches
    )


def pipeline_file(name: str) -> str:
    """What stands for the plan file in the ledger of a pipeline."""
    return f"pipeline {name}"


def file_of(run: RunDir) -> str | None:
    """The plan that a run carries out, by its name; None where that cannot be read. It stands in both files,
    so that a broken one does not make a plan unheard of.
    """
    try:
        return _NameInLedger.from_json(_json(run.ledger)).file
    except ValueError:
        pass
    try:
        found = _NameInPlan.from_json(_json(run.plan))
    except ValueError:
        return None
    return found.name or (pipeline_file(str(found.pipeline.get("name"))) if found.pipeline else None)


def load(run: RunDir) -> tuple[Assignment | PipelineAssignment, PlanLedger]:
    """Of the run of a plan or a pipeline. ForeignRun where its files were not written here by us; Conflict
    where it carries out neither, or they cannot be read: an agent without a sandbox can reach them.
    """
    try:
        texts = [read(path, _LARGEST) for path in (run.plan, run.ledger)]
        data, found = json_value(texts[0]), PlanLedger.from_json(json_value(texts[1]))
        given = _assignment(data)
        if isinstance(given, PipelineAssignment):
            inside = (given.name, tuple(stage.name for stage in given.pipeline.stages))
            if inside != (found.file, found.stages):
                raise ValueError("the ledger belongs to another pipeline")
        elif [given.ids(n) for n, _ in enumerate(given.parts, 1)] != [step.units for step in found.steps]:
            raise ValueError("the ledger belongs to another plan")
    except (OSError, ValueError, IndexError, RecursionError, PlanInvalid) as error:
        raise Conflict(
            f"the plan of run `{run.run_id}` cannot be read: {error}",
            hint="start it from the beginning: `runner start --plan FILE --task T`, or --pipeline NAME",
        ) from error
    for path, text in zip((run.plan, run.ledger), texts, strict=True):
        refuse_forged(path, text)
    for step in found.steps:
        if step.status is Status.RUNNING and step.run is None:  # a gate whose conductor is gone
            found = found.waits(step.n)
    return given, found


def _assignment(data: Any) -> Assignment | PipelineAssignment:
    if type(data) is dict and "pipeline" in data:
        return PipelineAssignment.from_json(data)
    stored = Stored.from_json(data)
    return Assignment(**stored.__dict__, plan=parsed(stored.text, stored.name))


def load_stage(path: str) -> Assignment:
    """The plan of a stage, as the conductor has kept it. OSError, ValueError, or ForeignRun."""
    text = read(path, _LARGEST)
    refuse_forged(path, text)
    made = _assignment(json_value(text))
    assert isinstance(made, Assignment)
    return made


def _json(path: str) -> Any:
    """ValueError where there is none."""
    return json_value(read_text(path, _LARGEST) or "")


def write(run: RunDir, assignment: Assignment | PipelineAssignment, found: PlanLedger) -> None:
    """Into the folder of a run that is about to start. OSError if the disk refuses."""
    write_record(run.plan, assignment.to_json())
    keep(run, found)


def take_over(run: RunDir, before: RunDir, found: PlanLedger) -> None:
    """What the run of a pipeline before this one has read and made: the plans of stages, and what
    syntheses have kept. OSError.
    """
    for stage in found.stages:
        for name in (f"plan-{stage}.json", f"kept-{stage}.json"):
            with contextlib.suppress(FileNotFoundError):
                text = read(f"{before.path}/{name}", _LARGEST)
                refuse_forged(f"{before.path}/{name}", text)
                told = json_value(text)
                write_record(f"{run.path}/{name}", {key: told[key] for key in told if key != "mac"})
        for name in (f"synthesis-{stage}.md", f"findings-{stage}.md"):
            with contextlib.suppress(FileNotFoundError):
                replace_bytes(f"{run.path}/{name}", read(f"{before.path}/{name}", _LARGEST))


def keep(run: RunDir, found: PlanLedger, redact: Callable[[str], str] = str) -> PlanLedger:
    """The ledger as it is now, on disk before anything that follows from it is done. No reason in it, which
    may quote anything, and no title is kept before `redact` has had it; what is kept is returned.
    """

    def told(why: Reason | None) -> Reason | None:
        return None if why is None else why.replace(message=redact(why.message))

    steps = tuple(one if one.why is None else one.replace(why=told(one.why)) for one in found.steps)
    breaker = found.breaker.replace(parked=told(found.breaker.parked))
    found = found.replace(steps=steps, breaker=breaker, title=found.title and redact(found.title))
    write_record(run.ledger, found.to_json())
    return found
