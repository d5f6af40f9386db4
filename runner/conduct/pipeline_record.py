"""What the conductor of a pipeline carries out, as `plan.json` in the folder of its run has it. Pure."""

from __future__ import annotations

from runner.conduct.options import Options
from runner.model import SCHEMA_VERSION
from runner.plan.pipeline import Pipeline
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.model import Json
    from runner.plan.pipeline import Stage


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
        return file_of(self.pipeline.name)

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal of what is the same pipeline for its breaker."""
        return (self.pipeline, dict(self.input))

    def place(self, stage: Stage) -> str | None:
        """The document of a stage, relative to the repository; None where it has none."""
        path = stage.plan if stage.plan is not None else stage.person
        for name, text in self.input.items():
            path = path and path.replace(f"{{{name}}}", text)
        return path or None

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **super().to_json()}


def file_of(name: str) -> str:
    """What stands for the plan file in the ledger of a pipeline."""
    return f"pipeline {name}"
