"""The shape of delegate.toml and policy.toml: every key with its type and its meaning. The only
place that imports pydantic.

The JSON Schemas in `schemas/` are generated from these models; what a single key must look like
stands here, and what keys must be to each other stands in `references.py`. Nothing is required
here, as a layer may set a single key.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from runner.config import values
from runner.durations import parse_duration

_DURATION_PATTERN = r"^\s*(?=.*[1-9])(\d+(\.\d+)?|(\d+(\.\d+)?(w|d|h|ms|m|s))+)\s*$"
_BOUND = r"\s*(>=|<=|==|!=|>|<)\s*\d+(\.\d+)*\s*"
_ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": _DURATION_PATTERN},
        {"type": "number", "exclusiveMinimum": 0},
    ]
}
_COMMANDS_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "array",
            "items": {
                "anyOf": [
                    {"type": "string", "minLength": 1, "pattern": r"^\s*[^-\s]"},
                    {
                        "type": "array",
                        "items": {"type": "string"},
                        "minItems": 1,
                        "prefixItems": [{"type": "string", "minLength": 1}],
                    },
                ]
            },
        },
    ]
}

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[
    str,
    AfterValidator(values.legal_name),
    WithJsonSchema({"type": "string", "pattern": values.NAME_PATTERN}),
]
Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
Limit = Annotated[
    float | Literal["none"],
    PlainValidator(values.limit),
    WithJsonSchema({"anyOf": [{"const": "none"}, *_DURATION_SCHEMA["anyOf"]]}),
]
Commands = Annotated[list[list[str]], BeforeValidator(values.commands), WithJsonSchema(_COMMANDS_SCHEMA)]
Rehearse = Annotated[
    bool | str,
    PlainValidator(values.rehearse),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": r"\S"}]}),
]
Overrides = Annotated[
    dict[str, Any],
    AfterValidator(values.overrides),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"not": {"pattern": rf"^({'|'.join(values.OURS)})(\.|$)"}},
        }
    ),
]
Constraint = Annotated[
    str,
    AfterValidator(values.constraint),
    WithJsonSchema({"type": "string", "pattern": rf"^{_BOUND}(,{_BOUND})*$"}),
]
Provider = Annotated[
    str,
    AfterValidator(values.provider),
    WithJsonSchema({"enum": [*values.PROVIDERS, *values.PROVIDER_ALIASES]}),
]
Level = Literal["read-only", "workspace-write", "danger-full-access"]
Runtime = Literal["codex", "kay"]
Tool = Literal["status", "pause", "cancel", "question", "spawn"]
EnvName = Annotated[str, Field(pattern=_ENV_NAME)]
Version = Annotated[
    int,
    PlainValidator(values.version),
    WithJsonSchema({"type": "integer", "const": 1}),
]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Defaults(_Table):
    """What every task starts from."""

    runtime: Runtime | None = Field(None, description="Agent CLI that runs the task.")
    model: Text | None = Field(
        None, description="A name from [models], or a model id that is passed on as it is."
    )
    sandbox: Text | None = Field(None, description="A name from [sandboxes], or one of the three levels.")
    timeout: Limit | None = Field(
        None, description="Wall clock of a run, paused time not counted; default 2h."
    )
    idle_timeout: Limit | None = Field(
        None, description="No sign of life for this long means stalled; default 15m."
    )
    start_timeout: Limit | None = Field(
        None, description="The first event must come within this time; default 2m."
    )
    grace: Duration | None = Field(
        None,
        description="Time between the steps of a stop (interrupt, terminate, kill); default 5s.",
    )
    verify: Commands | None = Field(
        None,
        description="Commands that must succeed after the run, each an array of texts. "
        "A plain string is split into words, never given to a shell.",
    )
    verify_timeout: Duration | None = Field(None, description="Time for each verify command; default 10m.")
    rehearse: Rehearse | None = Field(
        None,
        description="true: run against the scripted model, without login and tokens. "
        "A path names the script.",
    )
    delegation: bool | None = Field(
        None, description="Give the run the delegation MCP server; default is [delegation] enabled."
    )
    blocks: list[Text] | None = Field(
        None, description="Names from [blocks] to put into the prompt, in this order."
    )


class Task(Defaults):
    """A named piece of work. The key of the table is the task id."""

    model_config = ConfigDict(
        json_schema_extra={"not": {"required": ["prompt", "prompt_file"]}},
    )

    title: Text | None = Field(None, description="A line for people.")
    prompt: Text | None = Field(
        None, description="What the agent is asked. Without prompt and prompt_file, pass --prompt."
    )
    prompt_file: Text | None = Field(
        None, description="A file with the prompt, relative to the repository root."
    )
    files: list[Text] | None = Field(
        None, description="Files or globs that are named to the agent, not pasted."
    )


class Model(_Table):
    """Named model settings."""

    runtime: Runtime | None = Field(None, description="The agent CLI that this model is for.")
    model: Text | None = Field(None, description="The model id that is passed on.")
    reasoning_effort: Text | None = Field(
        None, description='How hard the model thinks, e.g. "low" or "xhigh".'
    )
    provider: Text | None = Field(
        None,
        description=f"Who serves the model. For kay one of: {', '.join(values.PROVIDERS)} (alias ocg).",
    )


class Sandbox(_Table):
    """A named permission level."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {
                    "not": {
                        "required": ["level", "network"],
                        "properties": {"level": {"const": level}, "network": {"const": network}},
                    }
                }
                for level, network in (("read-only", True), ("danger-full-access", False))
            ]
        },
    )

    level: Level | None = Field(None, description="From narrow to wide: " + ", ".join(values.LEVELS) + ".")
    network: bool | None = Field(
        None, description="Network for the agent's commands; only with workspace-write."
    )
    writable: list[Text] | None = Field(
        None,
        description="Folders besides the repository that may be written, relative to its root.",
    )
    allow_danger: bool | None = Field(
        None, description="Must be true for danger-full-access, which also needs --allow-danger."
    )


class Codex(_Table):
    """The Codex CLI."""

    command: Text | None = Field(None, description='A command on PATH or a path; default "codex".')
    version: Constraint | None = Field(None, description='Versions that are accepted; default ">=0.150".')
    env: list[EnvName] | None = Field(
        None,
        description="Names of variables that may reach the agent. Values are never stored or printed.",
    )
    config: Overrides | None = Field(
        None, description="Passed to the agent CLI as -c key=value, with their types."
    )


class Kay(Codex):
    """The Kay CLI."""

    command: Text | None = Field(None, description='A command on PATH or a path; default "kay".')
    version: Constraint | None = Field(None, description="Versions that are accepted; default any.")
    provider: Provider | None = Field(
        None, description="Who serves the model. An unknown provider is an error, never a default."
    )


class Runtimes(_Table):
    """Settings of each agent CLI."""

    codex: Codex | None = Field(None, description="The Codex CLI.")
    kay: Kay | None = Field(None, description="The Kay CLI.")


class Delegation(_Table):
    """The delegation MCP server, through which a run starts and asks others."""

    enabled: bool | None = Field(None, description="Default of a task's `delegation`; default false.")
    server: Literal["inline", "registered"] | None = Field(
        None,
        description="inline: the server is passed for this run. registered: the one in the "
        "agent's own settings is switched on. Default inline.",
    )
    tools: list[Tool] | None = Field(
        None, description=f"Tools that are offered; default all: {', '.join(values.TOOLS)}."
    )
    max_depth: Annotated[int, Field(ge=0, le=8)] | None = Field(
        None, description="How deep runs may start runs; default 1."
    )
    max_children: Annotated[int, Field(ge=0, le=64)] | None = Field(
        None, description="How many runs a run may start; default 4."
    )
    tasks: list[Text] | None = Field(None, description="The tasks that a run may start; default all.")
    on_parent_end: Literal["cancel", "leave"] | None = Field(
        None, description="What becomes of running children when their parent ends; default cancel."
    )
    skills: bool | None = Field(
        None, description="false: a minimal, deterministic background run; default true."
    )


class Block(_Table):
    """A prompt block."""

    text: Text | None = Field(None, description="What is put into the prompt.")


class Shape(BaseModel):
    """Settings of runner for one repository."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="delegate.toml")

    schema_version: Version | None = Field(None, description="Version of this file's format: 1.")
    defaults: Defaults | None = Field(None, description="What every task starts from.")
    runtimes: Runtimes | None = Field(None, description="Settings of each agent CLI.")
    models: dict[Name, Model] | None = Field(None, description="Named model settings.")
    sandboxes: dict[Name, Sandbox] | None = Field(None, description="Named permission levels.")
    delegation: Delegation | None = Field(None, description="The delegation MCP server.")
    blocks: dict[Name, Block] | None = Field(None, description="Named prompt blocks.")
    tasks: dict[Name, Task] | None = Field(None, description="The tasks; the key is the task id.")


class PolicyShape(BaseModel):
    """Ceilings that a user or an organisation sets. Files can only narrow each other."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="policy.toml")

    schema_version: Version | None = Field(None, description="Version of this file's format: 1.")
    max_level: Level | None = Field(None, description="The widest sandbox level that may be used.")
    network: bool | None = Field(None, description="false: no sandbox may have network.")
    runtimes: list[Runtime] | None = Field(None, description="The agent CLIs that may be used.")
    models: list[Text] | None = Field(
        None, description='Globs over model ids that may be used, e.g. "gpt-5*".'
    )
    env: list[Text] | None = Field(
        None, description="Globs over the names of variables that [runtimes.X] env may pass."
    )
    max_depth: Annotated[int, Field(ge=0, le=8)] | None = Field(
        None, description="How deep runs may start runs, whatever [delegation] says."
    )
    max_children: Annotated[int, Field(ge=0, le=64)] | None = Field(
        None, description="How many runs a run may have running at once, whatever [delegation] says."
    )


class Settings(Shape, BaseSettings):
    """The same shape as the environment sees it: RUNNER_, and `__` between levels."""

    model_config = SettingsConfigDict(
        env_prefix="RUNNER_", env_nested_delimiter="__", extra="forbid", frozen=True
    )


def problems_of(data: dict[str, Any], *, strict: bool, policy: bool = False) -> list[dict[str, Any]]:
    """What is wrong with the shape of `data`, as pydantic's error records; [] is right."""
    try:
        (PolicyShape if policy else Shape).model_validate(data, strict=strict)
    except ValidationError as error:
        return [dict(item) for item in error.errors(include_url=False)]
    return []


def normal(data: dict[str, Any], *, policy: bool = False) -> dict[str, Any]:
    """`data`, known to be valid, with every value in its own type: durations in seconds, commands
    split.
    """
    model = (PolicyShape if policy else Shape).model_validate(data)
    return model.model_dump(exclude_unset=True)


def from_environment(name: str, value: str) -> dict[str, Any]:
    """The nested table that one variable stands for; ValueError when its value cannot be read."""
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value}
    try:
        return source()
    except SettingsError as error:
        raise ValueError(str(error)) from error


def keys_at(path: tuple[str | int, ...], *, policy: bool = False) -> tuple[str, ...]:
    """The keys that a table may have; () where any name is allowed or there is no table."""
    schema = _described(policy)
    node: dict[str, Any] | None = schema
    for part in path:
        node = _below(schema, node or {}, str(part))
    return tuple(_resolve(schema, node or {}).get("properties", ()))


@functools.cache
def _described(policy: bool) -> dict[str, Any]:
    return (PolicyShape if policy else Shape).model_json_schema()


def _below(schema: dict[str, Any], node: dict[str, Any], part: str) -> dict[str, Any] | None:
    table = _resolve(schema, node)
    found = table.get("properties", {}).get(part)
    if found is None:
        others = table.get("patternProperties", {}).values() or [table.get("additionalProperties")]
        return next((item for item in others if isinstance(item, dict)), None)
    known: dict[str, Any] = found
    return known


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    for choice in node.get("anyOf", []):
        if "$ref" in choice or choice.get("type") == "object":
            node = choice
    if "$ref" in node:
        found: dict[str, Any] = schema["$defs"][node["$ref"].rpartition("/")[2]]
        return found
    return node
