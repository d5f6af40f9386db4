"""The vocabulary: the frozen values and closed sets of every other module. Imports only values.

Values that are written to disk have `to_json`/`from_json`; unknown is `None`, never a guess.
"""

from __future__ import annotations

from runner.git_change import GitPolicy
from runner.value import Amount, Count, StrEnum, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Json = Mapping[str, Any]

SCHEMA_VERSION = 1
DISTRIBUTION = "delegate-runner"  # in package indexes `runner` is another project
VERSION = "0.1.0"  # the build reads it here: to ask the metadata takes longer than a start
MAX_PROMPT_CHARS = 1_048_576  # Codex: "Input exceeds the maximum length of 1048576 characters"
_UNASKED = "unknown: not trusted"


def is_name(text: str) -> bool:
    """`[A-Za-z0-9][A-Za-z0-9._-]{0,63}` without `..`: a name of a task or table, and safe for a folder."""
    is_fit = text[:1].isalnum() and text.isascii() and len(text) <= 64 and ".." not in text
    return is_fit and text.replace(".", "").replace("_", "").replace("-", "").isalnum()


class Phase(StrEnum):
    """Where a run is in its life."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    WAITING = "waiting"
    VERIFYING = "verifying"
    DONE = "done"


class Outcome(StrEnum):
    """How a run ended; only a run in phase `done` has one."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"


class Level(StrEnum):
    """Sandbox levels from narrow to wide; the names are Codex's own (`codex exec --help`)."""

    READ_ONLY = "read-only"
    WORKSPACE_WRITE = "workspace-write"
    DANGER = "danger-full-access"

    @property
    def rank(self) -> int:
        """0 is the narrowest."""
        return tuple(Level).index(self)


class Identity(Value):
    """Which process, of which boot: a pid alone is reused, this is not."""

    host: str
    boot_id: str
    pid: Count
    start_time: Count
    """Clock ticks since boot, field 22 of /proc/PID/stat (proc(5))."""
    namespace: int | None = None
    """In which its pid counts (pid_namespaces(7)); None in older records."""


class Reason(Value):
    """Why a run ended as it did. `detail` is evidence (a tail of stderr), `hint` what to do next."""

    code: str
    message: str
    hint: str | None = None
    detail: str | None = None


class Usage(Value):
    """Tokens of the run so far, as the runtime reports them."""

    input_tokens: Count | None = None
    cached_input_tokens: Count | None = None
    output_tokens: Count | None = None
    reasoning_output_tokens: Count | None = None

    @property
    def total(self) -> int | None:
        """What counts for a budget, as Codex counts `total_tokens` (measured on 0.163.0): input and output,
        of which cached input and reasoning are a part. None where neither is known.
        """
        known = [max(0, n) for n in (self.input_tokens, self.output_tokens) if n is not None]
        return sum(known) if known else None


class Context(Value):
    """How full the model's window is, in tokens: what the last request of a thread had in it. No sum."""

    window: Count | None = None
    used: Count | None = None

    def after(self, before: Context | None) -> Context:
        """What is not told now is as it was."""
        known = before or Context()
        return Context(self.window or known.window, self.used or known.used)


class Price(Value):
    """Of a million tokens each, in the currency of whoever wrote it."""

    input: Amount
    cached: Amount  # of input that the service had cached, which is not paid as `input` as well
    output: Amount

    def total(self, usage: Usage) -> float | None:
        """None where not all of the counts are known."""
        read, cached, written = usage.input_tokens, usage.cached_input_tokens, usage.output_tokens
        if read is None or cached is None or written is None:
            return None
        return (max(0, read - cached) * self.input + cached * self.cached + written * self.output) / 1e6


class Sandbox(Value):
    """A declared permission level. `writable` are absolute folders besides the workspace."""

    name: str
    level: Level
    network: bool = False
    writable: tuple[str, ...] = ()
    allow_danger: bool = False
    hosts: tuple[str, ...] = ()
    """The whole network, if there are some: names, or `*.` and a name for all below it."""
    deny_read: tuple[str, ...] = ()  # absolute, with all below it


class Caps(Value):
    """What a `limits` table of the config sets besides the time. `None` is no limit."""

    tokens: int | None = None
    tree_tokens: int | None = None
    """Of the run and of the runs below it together."""
    warn_at: float = 0.8
    """The part of a limit at which a warning is given."""
    repeats: int | None = 25
    """The same event so many times in a row is a stall."""
    reconnects: int | None = 8
    price: Amount | None = None
    """Of the run, in the currency of its model's `price`; US dollars where the program itself counts."""


class Limits(Value):
    """`None` is no limit. Paused time counts in none of them. The last six are those of `Caps`."""

    timeout_s: float | None
    idle_timeout_s: float | None
    start_timeout_s: float | None
    grace_s: float
    tokens: int | None = Caps.tokens
    tree_tokens: int | None = Caps.tree_tokens
    warn_at: float = Caps.warn_at
    repeats: int | None = Caps.repeats
    reconnects: int | None = Caps.reconnects
    price: Amount | None = Caps.price


class Terms(Value):
    """Under what terms a run works: what it may change, how it reports, what becomes of it."""

    scope: tuple[str, ...] = ()
    """Globs, relative to the repository: a change elsewhere is a finding. () is everywhere."""
    workspace: str = "in-place"
    on_failure: str | None = None
    """`rollback` or `keep`; None: keep where the tree was dirty before, else roll back."""
    on_conflict: str = "refuse"
    output_contract: str | None = None
    """How the result is asked for; None is not at all."""
    conformance: str = "report"
    protect: tuple[str, ...] = ()
    """Globs, relative to the repository, of files that the run must leave as they are."""
    verify_from: str = "run"
    """`base`: checks run with their own files as they were before the run."""
    expects_change: bool = True
    """Whether a run that says completed and has changed nothing is rejected."""
    files: tuple[str, ...] = ()
    """Files or globs that the task names to the agent."""


class Recovery(Value):
    """How a run continues after a failed attempt."""

    retries: int = 0
    ladder: tuple[str, ...] = ("resume", "fresh")
    """How the attempts after the first begin; the last one repeats."""
    api_retries: int = 3
    """After failures of the model's service, which count for no attempt."""
    backoff_s: float = 30.0
    """Before the first of these; doubles up to `backoff_max_s`."""
    backoff_max_s: float = 600.0


class Delegation(Value):
    """What the delegation MCP server may do for a run."""

    enabled: bool = False
    server: str = "inline"
    tools: tuple[str, ...] = ("status", "pause", "cancel", "question", "spawn", "send", "await", "ledger")
    max_depth: int = 1
    """How many levels of runs may stand below this one; 0 is none at all."""
    max_children: int = 4
    """How many of its children may run at once."""
    skills: bool = True
    tasks: tuple[str, ...] | None = None
    """The tasks that it may start; None is all."""
    on_parent_end: str = "cancel"
    """`cancel` or `leave`: what becomes of its running children when it ends."""


class Delegate(Value):
    """How plans are put into batches, and how these are run."""

    decision: str = "auto"
    """`auto` goes by the verdict, `ask` has a person decide."""
    soft_cap: int = 5
    hard_cap: int = 8
    oversize: str = "chain"
    balance: bool = False
    trivial: str = "keep"
    hub_files: tuple[str, ...] = ()
    """Globs of files that keep no units together, besides the well-known ones."""
    effort_floor: str | None = None
    max_parallel: int = 1
    """How many batches may run at once; above 1 each has a work tree of its own."""
    max_failures: int = 3
    """So many batches that fail in a row stop the plan."""
    files: str = "warn"
    """What it means that a batch changes what its units do not name: `strict`, `warn` or `off`."""
    commit: str | bool = False
    """True: each batch is committed to the branch that is checked out; a text: to the branch of that name."""
    commit_message: str = "{title}: batch {n} of {batches} ({units})"


class Notify(Value):
    """What the user wants to be told with. The commands get the event on stdin; () is none."""

    on_end: tuple[str, ...] = ()
    """Of a run that no other run has started."""
    on_attention: tuple[str, ...] = ()
    """Of whatever waits for a person."""
    on_turn: tuple[str, ...] = ()
    """Of each turn of such a run."""
    bell: bool = False


class Host(Value):
    """What an agent CLI with our plugin may do itself while it delegates, and to which task by default."""

    task: str | None = None
    level: str = "strict"
    may_edit: tuple[str, ...] = (".planning/**", "docs/**")


class Economics(Value):
    """Tokens of the one who delegates: `fixed` per session, `batch` per batch, `unit` saved per unit.

    A fit on measured plans of 1, 4 and 7 units, with `batch` held at 4,500; residuals reach 7,000 tokens.
    """

    fixed: int = 15_300
    batch: int = 4_500
    unit: int = 3_700


class Model(Value):
    """A named model of the config, or a literal id (`name` is None then)."""

    name: str | None
    model: str | None
    """None is the runtime's own: of a batch without a model, for which only the effort is known."""
    runtime: str | None = None
    reasoning_effort: str | None = None
    provider: str | None = None
    price: Price | None = None


class RuntimeSettings(Value):
    """One `[runtimes.X]` table; the last three keys are of a generic runtime alone."""

    name: str
    command: str
    version: str | None = None
    env: tuple[str, ...] = ()
    config: Json = {}
    provider: str | None = None
    isolated: bool = False
    args: tuple[str, ...] | None = None
    permissions: str | None = None
    permission_timeout_s: float | None = None


class Task(Value):
    """A task with `[defaults]` already applied; names are not yet looked up."""

    id: str
    title: str | None = None
    runtime: str = "codex"
    executor: str | None = None
    """The name of an executor; None: this machine."""
    model: str | None = None
    sandbox: str = "read-only"
    prompt: str | None = None
    prompt_file: str | None = None  # absolute, or relative to the repository root
    blocks: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    paste: tuple[str, ...] = ()
    """Globs of the files whose content stands in the prompt; `!` before one takes files out."""
    verify: tuple[tuple[str, ...], ...] = ()
    verify_timeout_s: float = 600.0
    prepare: tuple[tuple[str, ...], ...] = ()
    prepare_timeout_s: float = 600.0
    timeout_s: float | None = 7200.0
    idle_timeout_s: float | None = 900.0
    start_timeout_s: float | None = 120.0
    grace_s: float = 5.0
    open: bool = False
    """Whether it waits for a message when its agent has ended a turn."""
    open_timeout_s: float = 1800.0
    """How long, before it is judged without one."""
    start: str = "manual"
    """`on_handoff`: a handoff to it starts a run."""
    rehearse: bool = False
    rehearsal_script: str | None = None
    delegation: bool = Delegation.enabled
    scope: tuple[str, ...] = ()
    workspace: str = Terms.workspace
    on_failure: str | None = None
    on_conflict: str = Terms.on_conflict
    output_contract: str | None = None
    conformance: str = Terms.conformance
    protect: tuple[str, ...] = ()
    verify_from: str = Terms.verify_from
    expects_change: bool = Terms.expects_change
    retries: int = Recovery.retries
    limits: Caps = Caps()
    map: str | None = None  # as `prompt_file`
    patterns: tuple[str, ...] = ()
    approach: str | None = None
    execution_note: str | None = None
    constraints: tuple[str, ...] = ()
    testing: tuple[str, ...] = ()


class Policy(Value):
    """Ceilings that every layer can only narrow. `None` is: not limited."""

    max_level: Level | None = None
    network: bool | None = None
    runtimes: tuple[str, ...] | None = None
    executors: tuple[tuple[str, ...], ...] = ()
    """Groups of globs over names of executors; a name must match one glob of every group."""
    models: tuple[tuple[str, ...], ...] = ()
    """Groups of globs over model ids; a model must match one glob of every group."""
    env: tuple[tuple[str, ...], ...] = ()
    """Groups of globs over environment names; a name must match one glob of every group."""
    config: tuple[tuple[str, ...], ...] = ()
    """As `env`, over dotted keys of `[runtimes.X.config]`. A policy file always sets this one and the next
    four: what it does not name is not allowed.
    """
    programs: tuple[tuple[str, ...], ...] = ()
    """Over the `command` of a runtime as it is written."""
    providers: tuple[tuple[str, ...], ...] = ()
    """Over names of providers and URLs in `[runtimes.X.config]`."""
    verify: tuple[tuple[str, ...], ...] = ()
    """Over the first word of each command."""
    writable: tuple[tuple[str, ...], ...] = ()
    """Over absolute folders outside of the repository."""
    max_depth: int | None = None
    max_children: int | None = None
    max_tokens: int | None = None
    max_cpus: int | None = None
    max_gpus: int | None = None
    max_memory: int | None = None
    """In MiB."""
    max_time: float | None = None
    """In seconds."""
    sources: Mapping[str, tuple[str, ...]] = {}
    """Ceiling -> the policy files that set it."""


class ExecutorSettings(Value):
    """A place where runs may live besides this machine, as `[executors.NAME]` describes it."""

    name: str
    kind: str
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    cpus: int = 1
    memory: str | None = None
    """With its unit, as in `8G`; None is what the engine gives by itself."""
    gpus: int = 0
    time_s: float | None = None
    """The time that the engine gives a run; None in settings: what the task may take."""
    max_pending_s: float | None = None
    """A run that has waited longer for its place is cancelled."""
    max_running: int | None = None
    """How many of its runs may be at work at once."""
    requeue: bool = False
    """Whether the engine may start a run once more whose node was lost."""
    options: Mapping[str, str] = {}
    """Further long options of the engine's command, of a closed list; "" is an option without a value."""
    hosts: tuple[str, ...] = ()
    """Those of a pool that is reached by ssh, each as `[USER@]NAME[:PORT]`."""
    slots: int = 1
    """How many runs may be at work on each of them at once."""


class Config(Value):
    """The effective settings of one repository, validated; what `resolve` decides from."""

    root: str
    tasks: Mapping[str, Task]
    models: Mapping[str, Model]
    sandboxes: Mapping[str, Sandbox]
    runtimes: Mapping[str, RuntimeSettings]
    delegation: Delegation
    blocks: Mapping[str, str]
    policy: Policy
    origins: Mapping[str, str]
    """Dotted key -> where the value came from, e.g. `delegate.toml:12` or `default`."""
    digest: str
    recovery: Recovery = Recovery()
    """Without the retries: those are the task's."""
    delegate: Delegate = Delegate()
    economics: Economics = Economics()
    notify: Notify = Notify()
    host: Host = Host()
    git: GitPolicy = GitPolicy()
    executors: Mapping[str, ExecutorSettings] = {}
    pipelines: Json = {}  # name -> what `plan.pipeline.Pipeline.from_json` reads
    trust: Json = {}
    """What comes with the repository and can execute, send or widen: `config.trust` says what is in it."""
    files: tuple[str, ...] = ()
    """Where its layers and policies are, or would be."""


class Program(Value):
    """An installed agent CLI as it was found: what it says it is and what it understands."""

    path: str
    version: str
    flags: frozenset[str]
    """Long and short options that `exec --help` lists."""

    @classmethod
    def unasked(cls, path: str) -> Program:
        """One that may not be started to ask it, as nobody trusts the settings that name it."""
        return cls(path, _UNASKED, frozenset())

    @property
    def was_asked(self) -> bool:
        return self.version != _UNASKED

    def knows(self, option: str) -> bool:
        """Whether it lists the option; of one that was not asked, nothing says that it does not."""
        return option in self.flags or not self.was_asked


class Lineage(Value):
    """The run that started this one."""

    task_id: str
    run_id: str
    manifest_path: str


class McpServer(Value):
    """The delegation server, for the runtime. Names of variables, never values."""

    command: str
    args: tuple[str, ...]
    env_names: tuple[str, ...]
    env: Mapping[str, str]
    """Where runner has its own folders, so that a child run has the same."""
    registered: bool
    """The host has it in its own config already: it is only to be enabled."""
