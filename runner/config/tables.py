"""The tables of delegate.toml: every key with its type and its meaning. Pure.

The descriptions go into the JSON Schema. Nothing is required here, as a layer may set a single key; rules
between keys are in `references.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, create_model

from runner.config import values
from runner.config.kinds import (
    Amount,
    Branch,
    Commands,
    CommitMessage,
    Constraint,
    Contract,
    Duration,
    EnvName,
    Fraction,
    Glob,
    Level,
    Limit,
    Name,
    Network,
    Notice,
    Paste,
    Price,
    Reconnects,
    Rehearse,
    Repeats,
    RuntimeName,
    Text,
    Tokens,
    Tool,
    overrides,
    provider,
)
from runner.config.layers import default
from runner.runtimes import NAMES, get
from runner.runtimes.base import Runtime

_Cap = Annotated[int, Field(ge=1, le=1000)]
_Estimate = Annotated[int, Field(ge=0, le=10**9)]
_UNKEPT: list[tuple[str, str, Any]] = [
    ("read-only", "network", {"not": {"const": False}}),
    ("danger-full-access", "network", {"not": {"const": True}}),
    ("danger-full-access", "deny_read", {"minItems": 1}),
]
"""(level, key, what it cannot be there)."""
_ONE_OF_TWO: list[Any] = [
    {"not": {"required": [name, "limits"], "properties": {"limits": {"required": [name]}}}}
    for name in values.IN_LIMITS
]


def meaning(text: str) -> Any:
    """Of a key that may be left out. `{}` in it is the default of the key."""
    return Field(None, description=text)


class Table(BaseModel):
    """What all of them have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    place: ClassVar[str]
    """The dotted key of the table that has its defaults."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> Any:
        schema = handler(core)
        for name, key in handler.resolve_ref_schema(schema)["properties"].items():
            if "{}" in key["description"]:
                key["description"] = key["description"].replace("{}", default(f"{cls.place}.{name}"))
        return schema


class LimitsTable(Table):
    """What ends a run besides success, as numbers."""

    place = "defaults.limits"
    timeout: Limit | None = meaning("The same as `timeout` beside this table.")
    idle_timeout: Limit | None = meaning("The same as `idle_timeout` beside this table.")
    tokens: Tokens | None = meaning("Tokens that the run may use; default {}.")
    tree_tokens: Tokens | None = meaning(
        "Tokens that the run and the runs below it may use together; default {}."
    )
    warn_at: Fraction | None = meaning(
        "A warning event comes at this part of a limit, from 0 to 1; default {}."
    )
    repeats: Repeats | None = meaning("The same event so many times in a row means stalled; default {}.")
    reconnects: Reconnects | None = meaning(
        "How often the agent may lose its model and look for it again; default {}."
    )
    price: Price | None = meaning(
        "What the run may cost, in the currency of `price` of its model, or in US dollars where its program "
        "counts it; default {}."
    )


class DefaultsTable(Table):
    """What every task starts from."""

    place = "defaults"
    model_config = ConfigDict(json_schema_extra={"allOf": _ONE_OF_TWO})

    runtime: RuntimeName | None = meaning("Agent CLI that runs the task.")
    executor: Text | None = meaning(
        "Where the run lives: a name from [executors], or local, which is this machine. Default local."
    )
    model: Text | None = meaning("A name from [models], or a model id that is passed on as it is.")
    sandbox: Text | None = meaning("A name from [sandboxes], or one of the three levels.")
    timeout: Limit | None = meaning("Wall clock of a run, paused time not counted; default {}.")
    idle_timeout: Limit | None = meaning("No sign of life for this long means stalled; default {}.")
    start_timeout: Limit | None = meaning("The first event must come within this time; default {}.")
    grace: Duration | None = meaning(
        "Time between the steps of a stop (interrupt, terminate, kill); default {}."
    )
    open: bool | None = meaning(
        "true: when the agent has ended a turn, the run waits for a message (`runner send`) before it is "
        "judged. Default {}."
    )
    open_timeout: Duration | None = meaning("How long it waits for one; default {}.")
    start: Literal["on_handoff", "manual"] | None = meaning(
        "on_handoff: a handoff to the task in a ledger starts a run that takes it. Default {}."
    )
    verify: Commands | None = meaning(
        "Commands that must succeed after the run, each an array of texts. A plain string is split into "
        "words; what only a shell understands is refused in it."
    )
    protect: list[Glob] | None = meaning(
        "Globs of files that the run must leave as they are, relative to the repository, such as those "
        "that its checks execute and read; a change there is an error. Default none."
    )
    verify_from: Literal["run", "base"] | None = meaning(
        "base: checks run with the files that they name, the settings of their tools, their tests and what "
        "`protect` covers as they were before the run; default {}."
    )
    expects_change: bool | None = meaning(
        "false: the task may be done although no file is changed, as with one that only looks whether all "
        "is right; true: then it is rejected. Default {}."
    )
    verify_timeout: Duration | None = meaning("Time for each verify command; default {}.")
    prepare: Commands | None = meaning(
        "Commands that prepare a work tree of the run's own before the agent starts, written as those of "
        "`verify`. Not run in place."
    )
    prepare_timeout: Duration | None = meaning("Time for each of them; default {}.")
    rehearse: Rehearse | None = meaning(
        "true: run against the scripted model, without login and tokens. A path names the script."
    )
    delegation: bool | None = meaning(
        "Give the run the delegation MCP server; default is [delegation] enabled."
    )
    blocks: list[Text] | None = meaning("Names from [blocks] to put into the prompt, in this order.")
    limits: LimitsTable | None = meaning("What ends a run besides success, as numbers.")
    scope: list[Glob] | None = meaning(
        "Globs of what the run may change, relative to the repository; a change elsewhere is a finding. "
        "Default everything."
    )
    workspace: Literal["in-place", "worktree"] | None = meaning(
        "Where the run works: in the repository itself, or in a git worktree of its own."
    )
    on_failure: Literal["rollback", "keep"] | None = meaning(
        "What becomes of the changes of a run that failed in place. Default keep where the tree was dirty "
        "before, else rollback."
    )
    on_conflict: Literal["refuse", "queue", "worktree"] | None = meaning(
        "What a start does while another run writes in the same tree; default {}."
    )
    output_contract: Contract | None = meaning(
        "How the result is asked for: final (the last message is JSON), closing-turn (JSON in a turn of "
        "its own), status-block (a STATUS block in the last message), findings (what a review has found, as "
        "JSON), or false."
    )
    conformance: Literal["enforce", "report"] | None = meaning(
        "What a difference between what was declared and what was in force means: the end of the run, or a "
        "finding. Default {}."
    )
    retries: Annotated[int, Field(ge=0, le=10)] | None = meaning("Attempts after the first one; default {}.")
    map: Text | None = meaning(
        "A file that describes the repository, put into the prompt; relative to its root."
    )
    patterns: list[Text] | None = meaning(
        "Files that show how it is to be done; named to the agent, not pasted."
    )
    approach: Text | None = meaning("How to go about it, for the prompt.")
    execution_note: Text | None = meaning(
        'The posture of the work, for the prompt, e.g. "Write the tests first."'
    )
    constraints: list[Text] | None = meaning("What must hold, for the prompt.")
    testing: list[Text] | None = meaning("Scenarios that tests must cover, for the prompt.")


class TaskTable(DefaultsTable):
    """A named piece of work. The key of the table is the task id."""

    model_config = ConfigDict(
        json_schema_extra={"not": {"required": ["prompt", "prompt_file"]}, "allOf": _ONE_OF_TWO}
    )

    title: Text | None = meaning("A line for people.")
    prompt: Text | None = meaning("What the agent is asked. Without prompt and prompt_file, pass --prompt.")
    prompt_file: Text | None = meaning("A file with the prompt, relative to the repository root.")
    files: list[Text] | None = meaning("Files or globs that are named to the agent, not pasted.")
    paste: list[Paste] | None = meaning("Globs of files whose text is put in; ! before one takes some out.")


class PriceTable(Table):
    """Of a million tokens each, in any one currency."""

    input: Amount = meaning("Of input that was not cached.")
    cached: Amount = meaning("Of input that the service had cached.")
    output: Amount = meaning("Of output.")


def _providers_of(name: str) -> str:
    runtime = get(name)
    if not runtime.providers:
        return ""
    others = f" (alias {', '.join(runtime.provider_aliases)})" if runtime.provider_aliases else ""
    return f"For {name} one of: {', '.join(runtime.providers)}{others}."


class ModelTable(Table):
    """Named model settings."""

    runtime: RuntimeName | None = meaning("The agent CLI that this model is for.")
    model: Text | None = meaning("The model id that is passed on.")
    reasoning_effort: Text | None = meaning('How hard the model thinks, e.g. "low" or "xhigh".')
    provider: Text | None = meaning(
        " ".join(("Who serves the model.", *filter(None, map(_providers_of, NAMES))))
    )
    price: PriceTable | None = meaning("What tokens cost, for `runner stats` and the end of a run.")


class SandboxTable(Table):
    """A named permission level."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {
                    "not": {
                        "required": ["level", key],
                        "properties": {"level": {"const": level}, key: wrong},
                    }
                }
                for level, key, wrong in _UNKEPT
            ]
        }
    )

    level: Level | None = meaning("From narrow to wide: " + ", ".join(values.LEVELS) + ".")
    network: Network | None = meaning(
        "Network for the agent's commands: true, false, or the hosts that they may reach, with *. before a "
        "name for every host below it; only with workspace-write."
    )
    deny_read: list[Text] | None = meaning(
        "Files and folders that the agent must not read, relative to the root of the repository."
    )
    writable: list[Text] | None = meaning(
        "Folders besides the repository that may be written, relative to its root."
    )
    allow_danger: bool | None = meaning(
        "Must be true for danger-full-access, which also needs --allow-danger."
    )


class RuntimeTable(Table):
    """What every agent CLI has."""

    command: Text | None = meaning('A command on PATH or a path; default "{}".')
    version: Constraint | None = meaning("Versions that are accepted; default any.")
    env: list[EnvName] | None = meaning(
        "Names of variables that may reach the agent. Values are never stored or printed."
    )
    config: dict[str, Any] | None = None
    isolated: bool | None = meaning(
        "Keep the MCP servers, hooks and plugins of your own settings of the agent CLI out of its runs; "
        "not with every CLI. Default {}."
    )


_GENERIC: dict[str, Any] = {
    "args": (list[Text] | None, meaning("Words behind `command`; default {}.")),
    "permissions": (
        Literal["ask", "allow", "refuse"] | None,
        meaning("What a request for permission gets; default ask, and allow with danger-full-access."),
    ),
    "permission_timeout": (Duration | None, meaning("How long a question may wait; default {}.")),
}


def _table_of(runtime: Runtime) -> Any:
    """`[runtimes.X]`, with what the runtime itself says of it."""
    fields: dict[str, Any] = {"config": (overrides(runtime.owned) | None, meaning(runtime.config_is))}
    if runtime.defaults().version is not None:
        fields["version"] = (Constraint | None, meaning('Versions that are accepted; default "{}".'))
    if runtime.providers:
        text = "Who serves the model. An unknown provider is an error, never a default."
        fields["provider"] = (provider(runtime) | None, meaning(text))
    name = f"{runtime.name.title()}Table"
    if runtime.is_generic:
        fields |= _GENERIC
    table = create_model(name, __base__=RuntimeTable, __doc__=runtime.about, **fields)
    table.place = f"runtimes.{runtime.name}"
    return table


_TABLES: dict[str, Any] = {one.name: (_table_of(one) | None, meaning(one.about)) for one in map(get, NAMES)}
RuntimesTable: Any = create_model(
    "RuntimesTable", __base__=Table, __doc__="Settings of each agent CLI.", **_TABLES
)


class DelegationTable(Table):
    """The delegation MCP server, through which a run starts and asks others."""

    place = "delegation"
    enabled: bool | None = meaning("Default of a task's `delegation`; default {}.")
    server: Literal["inline", "registered"] | None = meaning(
        "inline: the server is passed for this run. registered: the one in the agent's own settings is "
        "switched on. Default {}."
    )
    tools: list[Tool] | None = meaning(f"Tools that are offered; default all: {', '.join(values.TOOLS)}.")
    max_depth: Annotated[int, Field(ge=0, le=8)] | None = meaning("How deep runs may start runs; default {}.")
    max_children: Annotated[int, Field(ge=0, le=64)] | None = meaning(
        "How many runs a run may start; default {}."
    )
    tasks: list[Text] | None = meaning("The tasks that a run may start; default all.")
    on_parent_end: Literal["cancel", "leave"] | None = meaning(
        "What becomes of running children when their parent ends; default {}."
    )
    skills: bool | None = meaning("false: a minimal, deterministic background run; default {}.")


class RecoveryTable(Table):
    """How a run continues after a failed attempt."""

    place = "recovery"
    ladder: Annotated[list[Literal["resume", "fresh"]], Field(min_length=1)] | None = meaning(
        "How the attempts after the first begin, the last one repeats: resume continues the same session, "
        "fresh starts another. Default {}."
    )
    api_retries: Annotated[int, Field(ge=0, le=100)] | None = meaning(
        "Repetitions after a failure of the model's service, which count for no attempt; default {}."
    )
    backoff: Duration | None = meaning("The wait before the first of these, doubled each time; default {}.")
    backoff_max: Duration | None = meaning("The longest of these waits; default {}.")


class BlockTable(Table):
    """A prompt block."""

    text: Text | None = meaning("What is put into the prompt.")


class DelegateTable(Table):
    """How plans are put into batches, and how these are run."""

    place = "delegate"
    decision: Literal["auto", "ask"] | None = meaning(
        "auto goes by the verdict on a plan, ask has a person decide; default {}."
    )
    soft_cap: _Cap | None = meaning("So many units make a batch; default {}.")
    hard_cap: _Cap | None = meaning(
        "So many units that share files stay in one batch, at least soft_cap; default {}."
    )
    oversize: Literal["chain", "keep", "error"] | None = meaning(
        "What becomes of more units than hard_cap that share files: chain is batches in a row, keep is one "
        "batch, error refuses the plan (any such group above soft_cap). Default {}."
    )
    balance: bool | None = meaning("true: batches of about the same size, 4+4+4 and not 5+5+2; default {}.")
    trivial: Literal["keep", "local"] | None = meaning(
        "Whether trivial units are delegated with the others (keep) or not; default {}."
    )
    hub_files: list[Glob] | None = meaning(
        "Globs of files that keep no units together, besides lock files and changelogs."
    )
    effort_floor: Literal["minimal", "low", "medium", "high", "xhigh"] | None = meaning(
        "No batch gets less effort than this; default {}."
    )
    max_parallel: Annotated[int, Field(ge=1, le=16)] | None = meaning(
        "How many batches may run at once; above 1 each has a work tree of its own. Default {}."
    )
    max_failures: Annotated[int, Field(ge=1, le=100)] | None = meaning(
        "So many batches that fail in a row stop the plan; default {}."
    )
    files: Literal["strict", "warn", "off"] | None = meaning(
        "What it means that a batch changes a file that none of its units names: strict is a failure, warn "
        "a warning, off nothing. Default {}."
    )
    commit: Branch | None = meaning(
        "true: each batch is committed to the branch that is checked out; a text: to the branch of that "
        "name. Default {}."
    )
    commit_message: CommitMessage | None = meaning(
        "The message of such a commit, with the placeholders "
        + ", ".join(f"{{{name}}}" for name in values.PLACEHOLDERS)
        + "; a brace itself is written twice."
    )


class EconomicsTable(Table):
    """Tokens of the one who delegates a plan, which `runner plan` weighs. Estimates, not limits."""

    place = "economics"
    fixed: _Estimate | None = meaning("Once for every plan that is delegated; default {}.")
    batch: _Estimate | None = meaning("For each batch; default {}.")
    unit: _Estimate | None = meaning("Saved by each unit that is delegated; default {}.")


class GitTable(Table):
    """Who writes what git holds besides files."""

    place = "git"
    owner: Name | None = meaning(
        "human, runner or a task: no run of another task may commit, stage, switch branches or change "
        "settings of git, and one that did is rejected. Default none: only the terms of a task say so."
    )


class NotifyTable(Table):
    """How you are told of what became of runs. Only your own settings, a variable or --set may say it."""

    place = "notify"
    on_end: Notice | None = meaning(
        "A command that is run when a run has ended that no other run started; default none. It gets the "
        "event as JSON on stdin, and has 10 seconds. It runs outside of every sandbox."
    )
    on_attention: Notice | None = meaning(
        "The same when something waits for a person: a question, a work tree, a plan that goes no further."
    )
    on_turn: Notice | None = meaning("The same when the agent of such a run has ended a turn.")
    bell: bool | None = meaning("Ring the terminal's bell at the end of --wait; default {}.")


class HostTable(Table):
    """What an agent CLI with our plugin may do itself, while it delegates."""

    place = "host"
    task: Name | None = meaning(
        "The task that `/runner:delegate` means without a name; default the only task that may write."
    )
    level: Literal["strict", "guide"] | None = meaning(
        "strict: the host calls only what is on an exact list. guide: all but tools that edit, so its shell "
        "is free. Default {}."
    )
    may_edit: list[Glob] | None = meaning(
        "Globs of what the host may edit itself, relative to the repository; default {}."
    )
