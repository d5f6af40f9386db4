"""The invocation: exactly what will be executed, frozen, and its JSON in both directions. Pure."""

from __future__ import annotations

from runner.git_change import owning_task
from runner.model import (
    Delegation,
    ExecutorSettings,
    Identity,
    Limits,
    Lineage,
    Notify,
    Price,
    Recovery,
    Sandbox,
    Terms,
)
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

RESULT_FORMS = {"final": "result", "closing-turn": "result", "findings": "findings"} | dict.fromkeys(
    ("synthesis", "advocacy"), "synthesis"
)
"""The schema of the result by `output_contract`. The last two, of two passes, only a conductor asks for."""
THREAD = "THREAD-ID"
"""In `resume_argv`, the place of the session's id, which is unknown before the run."""


def price_word(limit: float) -> str:
    """A limit of the price as a word of a command: never nothing, which would be none."""
    return f"{max(limit, 0.0001):.4f}"


class Rehearsal(Value):
    """A run against the scripted model. `port` 0 means: chosen when the run starts."""

    script: str | None
    port: int
    argv: tuple[str, ...]
    """The server to start beside the child; the listening socket is handed to it."""


class SharedLedger(Value):
    """The ledger of a run that is not just in that of its own task, and the handoff that it begins for."""

    task_id: str
    handoff: str | None = None
    hash: str | None = None
    """That of the entry: an id comes again in a ledger that began anew."""


class Earlier(Value):
    """What earlier tries have left in the work tree, which is judged as if this run had made it: `paths`, as
    far as they differ from what the run's folder `base`, that of the first try, has recorded.
    """

    base: str
    paths: tuple[str, ...]


class Request(Value):
    """What was asked: a task and the overrides of the command line."""

    task_id: str
    prompt: str | None = None
    model: str | None = None
    effort: str | None = None
    """Instead of the model's `reasoning_effort`."""
    sandbox: str | None = None
    timeout_s: float | None = None
    parent: str | None = None
    rehearse: bool = False
    rehearsal_script: str | None = None
    allow_danger: bool = False
    map: str | None = None
    """Absolute; "" asks for the one with a usual name, relative is one that was found so."""
    files: tuple[str, ...] = ()
    paste: tuple[str, ...] = ()
    run_id: str | None = None
    """Chosen by the caller, who wants to know it before anything starts."""
    base: str | None = None
    """The commit that a work tree of its own is made of; None is the one that HEAD names."""
    earlier: Earlier | None = None
    tied_to: Identity | None = None
    """The process with which the run is to end."""
    open: bool = False
    """As that of the task, which may say so as well."""
    baseline: str | None = None
    """The checks run before the agent starts, and one that fails `refuse`s it or is `record`ed."""
    ledger: str | None = None
    """The task whose ledger it shares; None: its own task's."""
    handoff: str | None = None
    """The one to take there; None: whichever is open for its task, "" is none."""
    executor: str | None = None
    """Instead of that of the task; `local` is this machine."""


class Invocation(Value):
    """The frozen answer of `resolve`: exactly what will be executed. Written beside the run."""

    schema_version: int
    task_id: str
    run_id: str
    repo: str
    manifest_path: str
    title: str | None
    runtime: str
    program: str
    version: str
    argv: tuple[str, ...]
    cwd: str
    env_names: tuple[str, ...]
    """Names that reach the child if they are set."""
    secret_names: tuple[str, ...]
    """The names among them whose values are redacted wherever they turn up."""
    env_set: Mapping[str, str]
    """Variables that runner itself sets: markers, no secrets."""
    prompt: str
    model: str | None
    model_name: str | None
    reasoning_effort: str | None
    sandbox: Sandbox
    limits: Limits
    delegation: Delegation
    verify: tuple[tuple[str, ...], ...]
    verify_timeout_s: float
    rehearsal: Rehearsal | None
    parent: Lineage | None
    origins: Mapping[str, str]
    config_digest: str
    prompt_digest: str
    terms: Terms = Terms()
    recovery: Recovery = Recovery()
    resume_argv: tuple[str, ...] | None = None
    """How its session is resumed; THREAD is the place of its id. None: the program cannot."""
    closing_argv: tuple[str, ...] | None = None
    """As `resume_argv`, for the turn that only asks for the result."""
    fresh_argv: tuple[str, ...] | None = None
    """How it begins a session of its own, where `argv` resumes that of another run."""
    fresh_prompt: str | None = None
    """And with what prompt, which is `task.md`."""
    retry_of: Lineage | None = None
    """The run that this one is a further attempt of."""
    temp: str | None = None
    """The folder for temporary files, where the run has one of its own: it is removed at its end."""
    home: Mapping[str, str] = {}
    """Files of the home that its program has of its own, which is `temp`."""
    isolation: str | None = None
    """`none` where no sandbox of an operating system keeps its agent in."""
    program_stamp: tuple[str, ...] = ()
    """What its program was: see `disk.programs.stamp`. () for a run that may write nothing."""
    started: Mapping[str, str] = {}
    """Files that its program may start outside of its sandbox, such as servers, as the settings name them,
    and their digests at the start. Empty for a run that may write nothing.
    """
    verify_programs: tuple[str | None, ...] = ()
    """The absolute paths of the programs of `verify` as they were found at the start, so that nothing takes
    the place of one on PATH; None is a path already, or was not there yet. () for a run that may write
    nothing.
    """
    prepare: tuple[tuple[str, ...], ...] = ()
    """What is run in its own work tree before its first attempt. () for a run that has none."""
    prepare_timeout_s: float = 600.0
    baseline: bool = False
    """Whether its checks run before its first attempt, which one that fails prevents."""
    baseline_only_records: bool = False
    """Whether what fails then is only recorded."""
    watched: Mapping[str, str] = {}
    """The settings, prompts and scripts that the agent could change, and their digests at the start: "" where
    there was none. Paths in the repository are relative to it.
    """
    tied_to: Identity | None = None
    """The process with which the run ends."""
    login_shell_loses: tuple[str, ...] = ()
    """What the agent's commands would not find in a login shell. So they get a plain one."""
    sessions: tuple[str, ...] = ()
    """The sessions of agents in which it was started, or the run at the top of its tree."""
    host: str | None = None
    """The agent CLI of these; None where there is none, or nothing tells which is the inner one."""
    notify: Notify = Notify()
    """With the absolute path of each program that was found at the start."""
    open_timeout_s: float | None = None
    """How long it waits for a message when its agent has ended a turn; None: it is judged then."""
    executor: ExecutorSettings | None = None
    """Where it lives, with the time that it gets there; None: on the machine that started it."""
    continues: Lineage | None = None
    """The ended run whose session it goes on with."""
    price: Price | None = None
    """What the tokens of its model cost, as far as the settings say."""
    map: str | None = None
    files: tuple[str, ...] = ()
    paste: tuple[str, ...] = ()
    """What the request named besides the task's own, for a further try."""
    thread_id: str | None = None
    """The session that `argv` names: one to resume, or the id of a new one."""
    sessions_home: str | None = None
    """The folder in which its program keeps its sessions; None where nobody knows."""
    ledger: SharedLedger | None = None
    """None is that of its own task."""

    @property
    def ledger_task(self) -> str:
        """The task in whose ledger it is."""
        return self.task_id if self.ledger is None else self.ledger.task_id

    @property
    def has_handoff(self) -> bool:
        """Whether it has begun for a handoff."""
        return self.ledger is not None and self.ledger.handoff is not None

    runner_version: str | None = None
    """Of the runner that made it; None where that was one that did not say."""
    git_owner: str | None = None
    """`human`, `runner` or the task that alone may write what git holds besides files; None: any may."""
    git_in_reach: bool = False
    """Whether its agent could write there, the owner or not."""

    @property
    def reaches_git_of_others(self) -> bool:
        """Whether its agent could write there although it is not the owner."""
        is_owned = self.git_owner is not None
        return is_owned and self.git_in_reach and owning_task(self.git_owner) != self.task_id

    @property
    def checks(self) -> tuple[tuple[tuple[str, ...], str | None], ...]:
        """The commands of `verify`, each with its program as `verify_programs` has it."""
        known = self.verify_programs
        return tuple((argv, known[n] if n < len(known) else None) for n, argv in enumerate(self.verify))

    def to_json(self) -> dict[str, Any]:
        """JSON without the prompts: those are `prompt.md` and `task.md`, byte for byte."""
        data = super().to_json()
        del data["prompt"], data["fresh_prompt"]
        return data

    @classmethod
    def from_json(cls, data: Any, prompt: str = "") -> Self:
        """The inverse of `to_json`."""
        return super().from_json({**data, "prompt": prompt} if type(data) is dict else data)
