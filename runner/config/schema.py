"""The shape of delegate.toml and policy.toml, and the errors in the shape of a layer.

The JSON Schemas in `schemas/` are generated from these models. The tables are in `tables.py`,
`pipelines.py` and `executors.py`, the types of single values in `kinds.py`; only these five import pydantic.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from runner.config.blocks import BLOCKS
from runner.config.executors import Cpus, ExecutorTable, Gpus, Mebibytes
from runner.config.kinds import Duration, Level, Name, RuntimeName, Text, Version
from runner.config.pipelines import PipelineTable
from runner.config.policy import USUAL
from runner.config.tables import (
    BlockTable,
    DefaultsTable,
    DelegateTable,
    DelegationTable,
    EconomicsTable,
    GitTable,
    HostTable,
    ModelTable,
    NotifyTable,
    RecoveryTable,
    RuntimesTable,
    SandboxTable,
    TaskTable,
    meaning,
)
from runner.config.values import MOST


class Shape(BaseModel):
    """Settings of runner for one repository."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="delegate.toml")

    schema_version: Version | None = meaning("Version of this file's format: 1.")
    defaults: DefaultsTable | None = meaning("What every task starts from.")
    runtimes: RuntimesTable | None = meaning("Settings of each agent CLI.")
    models: dict[Name, ModelTable] | None = meaning("Named model settings.")
    sandboxes: dict[Name, SandboxTable] | None = meaning("Named permission levels.")
    executors: dict[Name, ExecutorTable] | None = meaning("Places besides this machine where runs may live.")
    delegation: DelegationTable | None = meaning("The delegation MCP server.")
    recovery: RecoveryTable | None = meaning("How a run continues after a failed attempt.")
    delegate: DelegateTable | None = meaning("How plans are put into batches and run.")
    economics: EconomicsTable | None = meaning("What delegating a plan costs and saves.")
    notify: NotifyTable | None = meaning("How you are told of what became of runs. Not in a repository.")
    host: HostTable | None = meaning("How an agent CLI with our plugin delegates.")
    git: GitTable | None = meaning("Who writes git: branches, tags, HEAD, the index and its settings.")
    blocks: dict[Name, BlockTable] | None = meaning(
        "Named prompt blocks. Built in are " + ", ".join(BLOCKS) + "."
    )
    tasks: dict[Name, TaskTable] | None = meaning("The tasks; the key is the task id.")
    pipelines: dict[Name, PipelineTable] | None = meaning("Chains of stages, by name.")


class PolicyShape(BaseModel):
    """Ceilings that a user or an organisation sets. Files can only narrow each other."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="policy.toml")

    schema_version: Version | None = meaning("Version of this file's format: 1.")
    max_level: Level | None = meaning("The widest sandbox level that may be used.")
    network: bool | None = meaning("false: no sandbox may have network.")
    runtimes: list[RuntimeName] | None = meaning("The agent CLIs that may be used.")
    executors: list[Text] | None = meaning("Globs over the names of executors that may be used.")
    models: list[Text] | None = meaning('Globs over model ids that may be used, e.g. "gpt-5*".')
    env: list[Text] | None = meaning("Globs over the names of variables that [runtimes.X] env may pass.")
    config: list[Text] | None = meaning(
        "Globs over dotted keys that [runtimes.X.config] may set, besides "
        + ", ".join(USUAL["config"])
        + '. "*" allows all.'
    )
    programs: list[Text] | None = meaning(
        "Globs over what `command` of [runtimes.X] may be, as it is written there, besides "
        + " and ".join(", ".join(f'"{name}"' for name in USUAL["programs"]).rsplit(", ", 1))
        + "."
    )
    providers: list[Text] | None = meaning(
        "Globs over model providers that may be named, and over URLs in [runtimes.X.config], besides "
        '"openai", e.g. "https://llm.example.org/*".'
    )
    verify: list[Text] | None = meaning(
        "Globs over the first word of each verify and prepare command; default none. They run outside of "
        "the sandbox."
    )
    writable: list[Text] | None = meaning(
        "Globs over absolute folders outside of the repository that [sandboxes.NAME] writable may name; "
        'default none. "~/" is the home folder.'
    )
    max_depth: Annotated[int, Field(ge=0, le=8)] | None = meaning(
        "How deep runs may start runs, whatever [delegation] says."
    )
    max_children: Annotated[int, Field(ge=0, le=64)] | None = meaning(
        "How many runs a run may have running at once, whatever [delegation] says."
    )
    max_tokens: Annotated[int, Field(ge=1, le=MOST)] | None = meaning(
        "How many tokens a run may use, those below it included, whatever `limits` says."
    )
    max_cpus: Cpus | None = meaning("How many CPUs a run may get on an executor.")
    max_gpus: Gpus | None = meaning("How many GPUs a run may get on an executor.")
    max_memory: Mebibytes | None = meaning('How much memory a run may get on an executor, e.g. "64G".')
    max_time: Duration | None = meaning("How long an executor may let a run live.")


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
        others = table.get("patternProperties", {}).values() or [
            table.get("items", table.get("additionalProperties"))
        ]
        return next((item for item in others if isinstance(item, dict)), None)
    known: dict[str, Any] = found
    return known


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    for choice in node.get("anyOf", []):
        if "$ref" in choice or choice.get("type") == "object" or "items" in choice:
            node = choice
    if "$ref" in node:
        return _resolve(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    return node
