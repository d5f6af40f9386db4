"""What an agent CLI is to us: `Runtime` and its values. Pure.

A runtime never starts a process and never reads a file: it says what to run and what the lines mean.
docs/adding-a-runtime.md walks through writing one.
"""

from __future__ import annotations

from runner.model import (
    Context,
    Level,
    McpServer,
    Model,
    Outcome,
    Program,
    Reason,
    RuntimeSettings,
    Sandbox,
    Usage,
)
from runner.value import StrEnum, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol, TypeGuard

    from runner.model import Json

    Reader = Callable[[Json], "tuple[Activity, ...]"]
    """Tells what one decoded line of stdout says; unknown lines give nothing, never an error."""
    TableIn = Callable[[str], Mapping[str, Any]]
    """What a file in TOML or JSON says, by its path; empty where it says nothing."""
else:
    Protocol = object

REASON_CODES = (
    "completed",
    "result_missing",
    "result_invalid",
    "blocked",
    "cli_failure",
    "auth_or_quota",
    "budget_exceeded",
    "context_full",
    "request_refused",
    "misconfigured",
    "flag_refused",
    "killed",
    "timeout",
    "lost",
)
"""Every code that `conclude` may give; stable, scripts read them."""
_PUNCTUATION = {ord(char): "0" for char in "._:-"}
_LONGEST_THREAD_ID = 128


def is_thread_id(text: str | None) -> TypeGuard[str]:
    """Whether it can be a word of a command, and no option of it. Compared without an expression, which a
    start would compile for a single use.
    """
    if text is None or not text.isascii() or not text.translate(_PUNCTUATION).isalnum():
        return False
    return text[:1].isalnum() and len(text) <= _LONGEST_THREAD_ID


def passes(listed: tuple[str, ...], name: str) -> bool:
    """Whether `env` of `[runtimes.X]` lets this variable reach the program: `*` at the end is a prefix. None
    does with which it could speak in the session of a person.
    """
    if name.startswith("CLAUDE_CODE_MESSAGING_"):
        return False
    return name in listed or name.startswith(tuple(entry[:-1] for entry in listed if entry.endswith("*")))


class Kind(StrEnum):
    """What a line of the program's event stream tells."""

    THREAD = "thread"
    MESSAGE = "message"
    REASONING = "reasoning"
    COMMAND_STARTED = "command_started"
    COMMAND = "command"
    FILE_CHANGE = "file_change"
    TOOL_STARTED = "tool_started"
    TOOL_CALL = "tool_call"
    WARNING = "warning"
    ERROR = "error"
    REFUSED = "refused"
    """The program itself did not do what the agent asked for, and its stream does not say so."""
    USAGE = "usage"
    TURN_STARTED = "turn_started"
    TURN_COMPLETED = "turn_completed"
    TURN_FAILED = "turn_failed"
    PROGRESS = "progress"
    """How far a plan is."""
    OTHER = "other"


ANSWERS = (
    *(Kind.MESSAGE, Kind.REASONING, Kind.COMMAND_STARTED, Kind.COMMAND, Kind.FILE_CHANGE),
    *(Kind.TOOL_STARTED, Kind.TOOL_CALL, Kind.TURN_COMPLETED),
)
"""What only an answer of the model brings about."""


class UsageScope(StrEnum):
    """What the tokens of a program's stream were spent in."""

    THREAD = "thread"
    """The whole thread, also what earlier attempts have spent in it."""
    ATTEMPT = "attempt"
    """This process."""


class Activity(Value):
    """One thing that the agent did, in words that do not depend on the program."""

    kind: Kind
    text: str = ""
    """The thread's id, the message, the command line, `server.tool`, or one `kind path` per line. The end of
    a call that began with the same `item` may leave it out, and `arguments` as well.
    """
    item: str | None = None
    """Pairs a started command, tool call or change with its end."""
    exit_code: int | None = None
    output: str = ""
    duration_s: float | None = None
    """Only where the program itself reports it."""
    usage: Usage | None = None
    """So far, in what the runtime's `usage_scope` says: the last one counts, they are not added up."""
    failed: bool = False
    """The program itself says that the command, the tool call or the change failed."""
    arguments: str = ""
    """Of a tool call, as JSON."""
    fatal: bool = False
    """Without what it tells of the run is of no use, and is ended: `cli_failure`."""
    reconnects: bool = False
    """The program lost its model and tries again."""
    status: int | None = None
    """The HTTP status of the model's service, where an error or a retry tells it as a number. A program that
    names the cause instead has the status of that cause: 402 for a quota that is spent.
    """
    observed: ObservedSettings | None = None
    """What the program says that it works with, where its stream does."""
    cost: float | None = None
    """What this process has cost so far in US dollars, where the program itself counts that."""
    cost_before: float | None = None
    """What its session had cost before this process."""
    context: Context | None = None
    """Of the thread after its last request; what is None in it is not told anew. Not that of a sub-agent."""


class Fence(Value):
    """What keeps a run that may write from what runner obeys: see `resolve.reach`."""

    held: tuple[str, ...] = ()
    """Folders that it may write anyway. Named to it, they cannot be renamed."""
    guards: tuple[str, ...] = ()
    """Folders that it may write, too. The `.git` of each names what it must not write: see `state.guard`."""
    temp: str | None = None
    """The folder for its temporary files. With one, it must not write where everybody has them."""
    read_only: tuple[str, ...] = ()
    """For a program that can be told so: what the guards stand for, what lies where everybody has temporary
    files, the repositories of git, and its own folder.
    """
    unread: tuple[str, ...] | None = None
    """What of `Sandbox.deny_read` is there, links followed, and the records of runs, which have copies."""

    @property
    def writable(self) -> tuple[str, ...]:
        """What the program has to be given besides the folders of the sandbox."""
        return (*self.held, *self.guards, *filter(None, (self.temp,)))


class CommandRequest(Value):
    """All that an argv may depend on."""

    program: Program
    settings: RuntimeSettings
    model: Model | None
    sandbox: Sandbox
    cwd: str
    last_message_path: str
    skills: bool
    overrides: tuple[str, ...] = ()
    """`key=value` texts put behind those of the config, e.g. by a rehearsal."""
    mcp: McpServer | None = None
    """The delegation server that the program is to connect to."""
    resume_thread: str | None = None
    new_thread: str | None = None
    """The id for a new thread, for a runtime that `names_threads`."""
    price: str | None = None
    """What the process may cost in US dollars, for a runtime that `counts_cost`."""
    output_schema: str | None = None
    """File with the JSON Schema that the last message has to satisfy."""
    output_schema_text: str | None = None
    """Its content, where the runtime wants that: see `schema_is_text`."""
    fence: Fence = Fence()
    plain_shell: bool = False
    """The commands of the agent get no login shell."""


class End(Value):
    """What is known when the process has ended; `exit_code` is None when it could not be seen."""

    exit_code: int | None
    signal: int | None
    turn: Kind | None
    """TURN_COMPLETED, TURN_FAILED, or None when the stream has neither."""
    failure: str | None
    """Text of the failed turn, or of the last error."""
    last_message: str | None
    any_event: bool
    stderr_tail: str
    status: int | None = None
    """`Activity.status` of the last error that no answer of the model has followed."""
    is_answered: bool = True
    """Whether the model said or did anything."""


class ObservedSettings(Value):
    """What the program itself says it works with; None where it does not say. Fed by the stream or by the
    program's own record.
    """

    model: str | None = None
    level: str | None = None
    """A `Level`, or the program's own word for something else."""
    network: bool | None = None
    approval: str | None = None
    """In the word of the runtime's `approval`, or the program's own word for something else."""
    effort: str | None = None
    """`UNSET` where the program says that none was set."""
    is_limited: bool | None = None
    """Whether `hosts` and `deny_read` of the sandbox are at work."""


UNSET = "default"
THREAD_GONE = "the session to resume is gone: start a new run"
"""The hint of an end with that cause: resuming it again is of no use."""


class SessionNote(Value):
    """What one line of the program's own record of a thread tells."""

    at: str | None
    """UTC as `state.manifest.timestamp` writes it, so that texts compare as times do."""
    usage: Usage | None = None
    """Of the whole thread so far."""
    observed: ObservedSettings | None = None
    """What the turn that begins works with."""
    context: Context | None = None
    """As `Activity.context`."""


class Refusal(Value):
    """What the program did not let its agent do."""

    at: str | None
    """As `SessionNote.at`."""
    text: str


class StoredKey(Value):
    """The JSON file where a program keeps a key, and the ways to it in there."""

    file: str
    ways: tuple[tuple[str, ...], ...]
    """Keys that lead to it; any of them will do."""


class Runtime(Protocol):
    """One agent CLI. What a program does not say of itself, it cannot do, or nobody knows that it can.

    Implementations are modules; see `RUNTIMES` in the package.
    """

    name: str
    title: str
    """What people call the program, for messages."""
    candidates: tuple[str, ...] = ()
    """Commands to look for, in order, when the config names none."""
    bundled: str | None = None
    """Path of the program inside site-packages where a PyPI package brings it along."""
    install_hint: str
    """How to get the program."""
    about: str = ""
    """The meaning of `[runtimes.X]`."""
    config_is: str = "Settings of the agent CLI."
    """The meaning of `[runtimes.X.config]`."""
    owned: Mapping[str, str] = {}
    """Dotted keys that `[runtimes.X.config]` must not set, as they would go past what is declared elsewhere,
    and where the value belongs instead.
    """
    providers: tuple[str, ...] = ()
    """What `provider` may be, where the program has a closed set of them."""
    provider_aliases: Mapping[str, str] = {}
    """Other names of them."""
    efforts: tuple[str, ...] = ()
    """The words for how hard a model thinks, least first; a generic one takes those that its agent offers."""
    login_hint: str = ""
    key_env: tuple[str, ...] = ()
    """Names whose value alone logs the program in; they reach it only if `env` names them."""
    resumes: bool = False
    """Whether it can resume a session, and reports the id of its session."""
    names_threads: bool = False
    """Whether it can be told the id of a new session: a UUID."""
    counts_cost: bool = False
    """Whether it ends by itself at a price, and its stream tells what it has cost (`Activity.cost`)."""
    guards: bool = False
    """Whether its sandbox makes read-only what the `.git` file of a writable folder names."""
    told_read_only: bool = False
    """Whether it can be told what is read-only: `Fence.read_only`."""
    made_folders: tuple[str, ...] = ()
    """What its sandbox makes read-only in each folder that its agent may write, besides `.git`. It cannot
    make what is not there where something else keeps that folder read-only.
    """
    confines: bool = False
    """Whether its sandbox keeps the agent from writing in /sys, so that it cannot leave its control group."""
    lists_hosts: bool = False
    """Whether it can keep all that the agent starts from every host but those of `Sandbox.hosts`."""
    denies_read: bool = False
    """Whether it can keep the agent, its tools and all that it starts from reading `Sandbox.deny_read`."""
    rehearses: bool = False
    """Whether it can be made to talk to the scripted model alone: see `rehearsal`."""
    agent_signs: tuple[str, ...] = ()
    """Variables that the program sets for what its agent starts: nothing with them starts a plan."""
    is_generic: bool = False
    """Whether it runs any program: `args` and `permissions` are settings then, and names tell nothing."""
    shell: str = ""
    """Of a command: told "quoted" or as "bare" words, or "kept" with its folder for the next one."""
    modules: Mapping[str, str] = {}
    """Packages that it imports and that an extra of ours brings along, and how each is installed."""
    has_sandbox: bool = True
    """Whether it has a sandbox of the operating system; without one `isolation` of a run is `none`."""
    sessions_home: tuple[str, str] | None = None
    """The variable that names the folder with its sessions, and that folder in the user's home without it."""
    opens_with: tuple[str, ...] | None = None
    """The words before the id of a session with which its own interface goes on with it, if a person can."""
    own_home: tuple[str, ...] = ()
    """The variables that name its home, where each run gets one of its own: see `home`."""
    home_kept: tuple[str, ...] = ()
    """What of that home another attempt of the run finds as it was left; all else is made anew."""
    variables: Mapping[str, str] = {}
    """What it always gets besides."""
    shell_key: str | None = None
    """The key of its settings that says whether commands get a login shell; None where none does."""
    usage_scope: UsageScope = UsageScope.ATTEMPT
    """What `Activity.usage` counts."""
    help_args: tuple[str, ...] = ("--help",)
    """What makes the program list the options that `command` may use; () where it uses none."""
    asked_besides: tuple[tuple[str, ...], ...] = ()
    """What makes it list those of further subcommands that are used: of interest to a lock."""
    schema: tuple[str, ...] = ()
    """A file with a schema, the definition in it of what an agent does, what writes it into a folder."""
    help_says: str = ""
    """What that list has to say, where the version that the program prints is a bare number."""
    schema_is_text: bool = False
    """Whether the program wants the schema of its last message as a text, and not as a file."""
    provider_key: str | None = None
    """The key of its settings that names the provider, at the top of `own_config`."""
    login_keys: tuple[str, ...] = ()
    """Further keys of its settings, at any place, with which the login may be elsewhere or of no use."""
    machine_config: str | None = None
    """Its settings for everybody on the machine."""
    helpers: tuple[str, ...] = ()
    """Programs that its sandbox starts by their names."""
    finds_tools: str = ""
    """A sentence for the prompt: how its agent gets at tools of an MCP server that it does not see."""

    def defaults(self) -> RuntimeSettings:
        """What `[runtimes.X]` is where nobody sets it."""
        return RuntimeSettings(self.name, self.candidates[0])

    def identify(self, version_output: str) -> str | None:
        """The version if this output of `--version` is really this program's, else None."""

    def foreign(self, version_output: str) -> str | None:
        """What else the program is, in words, when `identify` said None and it is known."""
        return None

    def prepare_prompt(self, prompt: str) -> str:
        """The prompt as the program has to get it to read it as a prompt and as nothing else."""
        return prompt

    def command(self, request: CommandRequest) -> tuple[str, ...]:
        """The exact argv; the prompt goes to stdin.

        RuntimeWrong if a needed option is missing in this version, ConfigInvalid if the program cannot do
        what the settings declare.
        """

    def provider(self, settings: RuntimeSettings, model: Model | None) -> str | None:
        """The id of the declared provider; None where the program's own login decides."""
        return None

    def secret_env(self, settings: RuntimeSettings, model: Model | None) -> tuple[str, ...]:
        """Names of the keys that this program needs in the environment for this model."""
        return ()

    def stored_key(
        self, settings: RuntimeSettings, model: Model | None, env: Mapping[str, str]
    ) -> StoredKey | None:
        """Where the key may be instead of the environment; None if there is no such place."""
        return None

    def rehearsal(
        self, port: int, retries: int, env: Mapping[str, str]
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """`overrides` of the request, and variables to set besides `env`, with which the program asks the
        model at this port of 127.0.0.1 and nobody else, and tries again so many times.
        """
        return (), {}

    def home(self, request: CommandRequest) -> Mapping[str, str]:
        """The files of its own home, where `own_home` is set: paths in there, and texts."""
        return {}

    def obeyed(self, folder: str, env: Mapping[str, str]) -> tuple[str, ...]:
        """What it would obey where it works in this folder, and cannot be told to leave out. Where one of it
        is there, the run is refused.
        """
        return ()

    def reader(self) -> Reader:
        """What reads the lines of one attempt, in their order. It may remember what it needs of them, such as
        the names of open calls or sums of tokens; nothing of it may stay for another reader.
        """

    def approval(self, level: Level) -> str | None:
        """What the program has to say of its approvals, as nobody is there to be asked; None: anything."""
        return None

    def same_model(self, declared: str, observed: str) -> bool:
        """Whether the program means the declared model by the name that it gives: an alias may stand for a
        longer id.
        """
        return declared == observed

    def refusal(self, line: str) -> Refusal | None:
        """What a line of stderr tells of a call that the program refused; None for most, never an error."""
        return None

    def session_folders(self, env: Mapping[str, str], thread_id: str) -> tuple[str, ...]:
        """Where the program's own record of this thread may lie, the likeliest first: a file whose name ends
        in `<thread_id>.jsonl`. () where it keeps none, or none that the session's id identifies.
        """
        return ()

    def session_record(self, record: Json) -> SessionNote | None:
        """What one decoded line of that record tells; None for most, never an error."""
        return None

    def conclude(self, end: End) -> tuple[Outcome, Reason]:
        """What this program's own signs say about how the attempt ended (before our checks)."""

    def login_check(self, program: Program) -> tuple[str, ...] | None:
        """argv whose exit status 0 means logged in, or None where the program has no such check."""
        return None

    def own_config(self, env: Mapping[str, str]) -> str | None:
        """The file with the user's own settings of the program, which apply beneath all that we pass."""
        return None

    def inherited(self, env: Mapping[str, str], table_in: TableIn) -> Mapping[str, tuple[str, ...]]:
        """Names of what those settings bring into a run that is not isolated and is run outside of its
        sandbox: `mcp_servers`, `hooks` and `plugins`. None of what is switched off, and no values.
        """
        return {}

    def login_file(self, env: Mapping[str, str]) -> str | None:
        """Where the program keeps its login, unless its settings say otherwise; None where in no file."""
        return None

    def mcp_check(self, program: Program) -> tuple[str, ...] | None:
        """argv whose exit status 0 means that an MCP server `delegation` is registered, or None."""
        return None

    def register(self, server: tuple[str, ...]) -> tuple[str, ...] | None:
        """The words that make the program register this command as its MCP server `delegation`, or None where
        it has none.
        """
        return None

    def sandbox_check(self, program: Program, level: Level) -> tuple[str, ...] | None:
        """argv that proves that the program's sandbox works on this machine, or None.

        To be run in a folder where a file may be made: 0 means that a write was refused in it, 3
        that it was not, 2 that this version has no such check.
        """
        return None

    def sandbox_trial(
        self, program: Program, settings: RuntimeSettings, sandbox: Sandbox, fence: Fence
    ) -> tuple[str, ...] | None:
        """argv that ends with 0 where a command can run in the present folder with these, and with 2 where
        the program knows no such trial; or None.
        """
        return None
