"""The tables of `[pipelines.NAME]`. Of two layers the later one replaces the stages as a whole. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema

from runner.config.kinds import COMMAND_ARRAY, Commands, Name, Text
from runner.config.layers import DEFAULTS
from runner.config.tables import Table, meaning
from runner.config.values import INPUT_PATTERN, STAGE_KINDS
from runner.text.problems import near

_GATES = {"succeeded": {}, "approve": {"approve": True}}
_OWN = r"\.\.|\.[gG][iI][tT]|\.[rR][uU][nN][sS]"
_PLACE = rf"^(?![/~])(?!(.*/)?({_OWN})(/|$))(?!.*/$)([^{{}}\n\x00]|\{{{INPUT_PATTERN}\}})+$(?!\n)"
_PATH = {"type": "string", "pattern": _PLACE}
_INPUT = {"type": "string", "pattern": f"^{INPUT_PATTERN}$", "not": {"enum": [*DEFAULTS]}}
_Severity = Literal["critical", "important", "minor"]


def _gate(value: Any) -> Any:
    """Every form as the table that means the same."""
    if isinstance(value, (list, dict)) and value:
        return {"commands": value} if isinstance(value, list) else value
    if isinstance(value, str) and value in _GATES:
        return _GATES[value]
    wanted = "an array of commands, or a table with commands, no_findings or approve"
    raise ValueError(f'expected "succeeded", "approve", {wanted}{near(value, _GATES)}')


class GateTable(Table):
    """What has to hold before a stage is passed, besides that each of its runs has succeeded."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    commands: Commands | None = meaning("Commands that must end with 0, written as those of `verify`.")
    no_findings: _Severity | None = meaning("No finding is as grave as that, or graver.")
    approve: bool | None = meaning("true: a person has to approve. Default false.")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> Any:
        table = super().__get_pydantic_json_schema__(core, handler)
        return {"anyOf": [{"enum": [*_GATES]}, {**COMMAND_ARRAY, "minItems": 1}, table]}


class RepairTable(Table):
    """What is done about findings before the stage has failed."""

    task: Text = Field(description="The task that repairs, in a run for each finding.")
    severity: _Severity | None = meaning("What is as grave as that is repaired; default critical.")
    max_rounds: Annotated[int, Field(ge=1, le=10)] | None = meaning("Repairs and reviews; default 3.")


class CompareTable(Table):
    """Two tasks of two runtimes, and one that makes a synthesis of what they say."""

    a: Text = Field(description="A task.")
    b: Text = Field(description="A task of another runtime; one of the two is read-only.")
    task: Text = Field(description="The task that makes the synthesis; read-only.")
    pattern: Literal["parallel", "adversarial"] | None = meaning("Default parallel: both have one prompt.")
    passes: Annotated[int, Field(ge=1, le=2)] | None = meaning("2: each is argued for first. Default 1.")


class StageTable(Table):
    """A stage: `tasks`, a `plan`, a `person` or a `compare`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [kind]} for kind in STAGE_KINDS],
            "dependentRequired": {"plan": ["task"], "task": ["plan"], "prompt": ["person"]},
        }
    )
    name: Name = Field(description="No other stage of the pipeline has it.")
    tasks: Annotated[list[Text], Field(min_length=1)] | None = meaning("Tasks that run side by side.")
    plan: Annotated[Text, WithJsonSchema(_PATH)] | None = meaning("A plan, with {INPUT} for what is given.")
    task: Text | None = meaning("Of a plan: the task that its batches are made of.")
    person: Annotated[
        str | None,
        BeforeValidator(lambda value: "" if value is True else value),
        WithJsonSchema({"anyOf": [{"enum": [True, ""]}, _PATH]}),
    ] = meaning("A person is waited for: the document, written as `plan`, or true for none.")
    prompt: Text | None = meaning("What that person is asked.")
    compare: CompareTable | None = meaning("Two tasks of two runtimes, and a synthesis.")
    needs: list[Text] | None = meaning("Stages to be passed first; default the one before it, [] is none.")
    gate: Annotated[GateTable, BeforeValidator(_gate)] | None = meaning('Default "succeeded".')
    repair: RepairTable | None = meaning("What is done about what `no_findings` forbids.")


class PipelineTable(Table):
    """A chain of stages. The key of the table is its name."""

    title: Text | None = meaning("A line for people.")
    input: list[Annotated[str, WithJsonSchema(_INPUT)]] | None = meaning("Names of what a start has to say.")
    stages: Annotated[list[StageTable], Field(min_length=1, max_length=50)] | None = meaning("Its stages.")
