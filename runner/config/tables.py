"""The tables of delegate.toml: every key with its type and its meaning. Pure.

The descriptions go into the JSON Schema. Nothing is required here, as a layer may set a single key; rules
between keys are in `references.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runner.config import values
from runner.config.kinds import (
    Commands,
    Constraint,
    Contract,
    Duration,
    EnvName,
    Fraction,
    Glob,
    Level,
    Limit,
    Overrides,
    Provider,
    Reconnects,
    Rehearse,
    Repeats,
    Runtime,
    Text,
    Tokens,
    Tool,
)
from runner.config.layers import default

_ONE_OF_TWO: list[Any] = [
    {"not": {"required": [name, "limits"], "properties": {"limits": {"required": [name]}}}}
    for name in values.IN_LIMITS
]


class Table(BaseModel):
    """What all of them have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitsTable(Table):
    """What ends a run besides success, as numbers."""

    timeout: Limit | None = Field(None, description="The same as `timeout` beside this table.")
    idle_timeout: Limit | None = Field(None, description="The same as `idle_timeout` beside this table.")
    tokens: Tokens | None = Field(
        None, description=f"Tokens that the run may use; default {default('defaults.limits.tokens')}."
    )
    tree_tokens: Tokens | None = Field(
        None,
        description="Tokens that the run and the runs below it may use together; "
        f"default {default('defaults.limits.tree_tokens')}.",
    )
    warn_at: Fraction | None = Field(
        None,
        description="A warning event comes at this part of a limit, from 0 to 1; "
        f"default {default('defaults.limits.warn_at')}.",
    )
    repeats: Repeats | None = Field(
        None,
        description="The same event so many times in a row means stalled; "
        f"default {default('defaults.limits.repeats')}.",
    )
    reconnects: Reconnects | None = Field(
        None,
        description="How often the agent may lose its model and look for it again; "
        f"default {default('defaults.limits.reconnects')}.",
    )


class DefaultsTable(Table):
    """What every task starts from."""

    model_config = ConfigDict(json_schema_extra={"allOf": _ONE_OF_TWO})

    runtime: Runtime | None = Field(None, description="Agent CLI that runs the task.")
    model: Text | None = Field(
        None, description="A name from [models], or a model id that is passed on as it is."
    )
    sandbox: Text | None = Field(None, description="A name from [sandboxes], or one of the three levels.")
    timeout: Limit | None = Field(
        None,
        description=f"Wall clock of a run, paused time not counted; default {default('defaults.timeout')}.",
    )
    idle_timeout: Limit | None = Field(
        None,
        description="No sign of life for this long means stalled; "
        f"default {default('defaults.idle_timeout')}.",
    )
    start_timeout: Limit | None = Field(
        None,
        description="The first event must come within this time; "
        f"default {default('defaults.start_timeout')}.",
    )
    grace: Duration | None = Field(
        None,
        description="Time between the steps of a stop (interrupt, terminate, kill); "
        f"default {default('defaults.grace')}.",
    )
    verify: Commands | None = Field(
        None,
        description="Commands that must succeed after the run, each an array of texts. "
        "A plain string is split into words; what only a shell understands is refused in it.",
    )
    protect: list[Glob] | None = Field(
        None,
        description="Globs of files that the run must leave as they are, relative to the repository, such as "
        "those that its checks execute and read; a change there is an error. Default none.",
    )
    verify_from: Literal["run", "base"] | None = Field(
        None,
        description="base: checks run with the files that they name, the settings of their tools, their "
        "tests and what `protect` covers as they were before the run; "
        f"default {default('defaults.verify_from')}.",
    )
    expects_change: bool | None = Field(
        None,
        description="false: the task may be done although no file is changed, as with one that only looks "
        "whether all is right; true: then it is rejected. "
        f"Default {default('defaults.expects_change')}.",
    )
    verify_timeout: Duration | None = Field(
        None, description=f"Time for each verify command; default {default('defaults.verify_timeout')}."
    )
    prepare: Commands | None = Field(
        None,
        description="Commands that prepare a work tree of the run's own before the agent starts, written as "
        "those of `verify`. Not run in place.",
    )
    prepare_timeout: Duration | None = Field(
        None, description=f"Time for each of them; default {default('defaults.prepare_timeout')}."
    )
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
    limits: LimitsTable | None = Field(None, description="What ends a run besides success, as numbers.")
    scope: list[Glob] | None = Field(
        None,
        description="Globs of what the run may change, relative to the repository; "
        "a change elsewhere is a finding. Default everything.",
    )
    workspace: Literal["in-place", "worktree"] | None = Field(
        None, description="Where the run works: in the repository itself, or in a git worktree of its own."
    )
    on_failure: Literal["rollback", "keep"] | None = Field(
        None,
        description="What becomes of the changes of a run that failed in place. "
        "Default keep where the tree was dirty before, else rollback.",
    )
    on_conflict: Literal["refuse", "queue", "worktree"] | None = Field(
        None,
        description="What a start does while another run writes in the same tree; "
        f"default {default('defaults.on_conflict')}.",
    )
    output_contract: Contract | None = Field(
        None,
        description="How the result is asked for: final (the last message is JSON), closing-turn (JSON in a "
        "turn of its own), status-block (a STATUS block in the last message), or false.",
    )
    conformance: Literal["enforce", "report"] | None = Field(
        None,
        description="What a difference between what was declared and what was in force means: "
        f"the end of the run, or a finding. Default {default('defaults.conformance')}.",
    )
    retries: Annotated[int, Field(ge=0, le=10)] | None = Field(
        None, description=f"Attempts after the first one; default {default('defaults.retries')}."
    )
    map: Text | None = Field(
        None, description="A file that describes the repository, put into the prompt; relative to its root."
    )
    patterns: list[Text] | None = Field(
        None, description="Files that show how it is to be done; named to the agent, not pasted."
    )
    approach: Text | None = Field(None, description="How to go about it, for the prompt.")
    execution_note: Text | None = Field(
        None, description='The posture of the work, for the prompt, e.g. "Write the tests first."'
    )
    constraints: list[Text] | None = Field(None, description="What must hold, for the prompt.")
    testing: list[Text] | None = Field(None, description="Scenarios that tests must cover, for the prompt.")


class TaskTable(DefaultsTable):
    """A named piece of work. The key of the table is the task id."""

    model_config = ConfigDict(
        json_schema_extra={"not": {"required": ["prompt", "prompt_file"]}, "allOf": _ONE_OF_TWO},
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


class ModelTable(Table):
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


class SandboxTable(Table):
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


class CodexTable(Table):
    """The Codex CLI."""

    command: Text | None = Field(
        None, description=f'A command on PATH or a path; default "{default("runtimes.codex.command")}".'
    )
    version: Constraint | None = Field(
        None, description=f'Versions that are accepted; default "{default("runtimes.codex.version")}".'
    )
    env: list[EnvName] | None = Field(
        None,
        description="Names of variables that may reach the agent. Values are never stored or printed.",
    )
    config: Overrides | None = Field(
        None, description="Passed to the agent CLI as -c key=value, with their types."
    )
    isolated: bool | None = Field(
        None,
        description="Keep the MCP servers, hooks and plugins of your own settings of the agent CLI out of "
        "its runs; Codex only. Default false.",
    )


class KayTable(CodexTable):
    """The Kay CLI."""

    command: Text | None = Field(
        None, description=f'A command on PATH or a path; default "{default("runtimes.kay.command")}".'
    )
    version: Constraint | None = Field(None, description="Versions that are accepted; default any.")
    provider: Provider | None = Field(
        None, description="Who serves the model. An unknown provider is an error, never a default."
    )


class RuntimesTable(Table):
    """Settings of each agent CLI."""

    codex: CodexTable | None = Field(None, description="The Codex CLI.")
    kay: KayTable | None = Field(None, description="The Kay CLI.")


class DelegationTable(Table):
    """The delegation MCP server, through which a run starts and asks others."""

    enabled: bool | None = Field(
        None, description=f"Default of a task's `delegation`; default {default('delegation.enabled')}."
    )
    server: Literal["inline", "registered"] | None = Field(
        None,
        description="inline: the server is passed for this run. registered: the one in the "
        f"agent's own settings is switched on. Default {default('delegation.server')}.",
    )
    tools: list[Tool] | None = Field(
        None, description=f"Tools that are offered; default all: {', '.join(values.TOOLS)}."
    )
    max_depth: Annotated[int, Field(ge=0, le=8)] | None = Field(
        None, description=f"How deep runs may start runs; default {default('delegation.max_depth')}."
    )
    max_children: Annotated[int, Field(ge=0, le=64)] | None = Field(
        None, description=f"How many runs a run may start; default {default('delegation.max_children')}."
    )
    tasks: list[Text] | None = Field(None, description="The tasks that a run may start; default all.")
    on_parent_end: Literal["cancel", "leave"] | None = Field(
        None,
        description="What becomes of running children when their parent ends; "
        f"default {default('delegation.on_parent_end')}.",
    )
    skills: bool | None = Field(
        None,
        description="false: a minimal, deterministic background run; "
        f"default {default('delegation.skills')}.",
    )


class RecoveryTable(Table):
    """How a run continues after a failed attempt."""

    ladder: Annotated[list[Literal["resume", "fresh"]], Field(min_length=1)] | None = Field(
        None,
        description="How the attempts after the first begin, the last one repeats: "
        "resume continues the same session, fresh starts another. "
        f"Default {default('recovery.ladder')}.",
    )
    api_retries: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None,
        description="Repetitions after a failure of the model's service, which count for no attempt; "
        f"default {default('recovery.api_retries')}.",
    )
    backoff: Duration | None = Field(
        None,
        description="The wait before the first of these, doubled each time; "
        f"default {default('recovery.backoff')}.",
    )
    backoff_max: Duration | None = Field(
        None, description=f"The longest of these waits; default {default('recovery.backoff_max')}."
    )


class BlockTable(Table):
    """A prompt block."""

    text: Text | None = Field(None, description="What is put into the prompt.")
