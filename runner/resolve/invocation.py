"""(Choice, Found) -> Invocation: exactly what will be executed. Pure: nothing is read or started."""

from __future__ import annotations

import os

from runner import runtimes
from runner.config import policy
from runner.disk.digest import sha256
from runner.errors import ConfigInvalid
from runner.git_change import owning_task
from runner.invocation import RESULT_FORMS, THREAD, Invocation, Rehearsal, SharedLedger, price_word
from runner.model import (
    SCHEMA_VERSION,
    VERSION,
    Delegation,
    Level,
    Limits,
    Lineage,
    Notify,
    Program,
    Terms,
)
from runner.resolve.prompt import FileText, Parts, checked, compose, measured
from runner.runtimes.arguments import argv_of, unpriced
from runner.runtimes.base import CommandRequest, Fence, passes
from runner.state.store import ledger_path_of, manifest_path_of, thread_of
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from runner.invocation import Request
    from runner.model import Identity, McpServer, Model, RuntimeSettings, Task
    from runner.resolve.choose import Choice
    from runner.resolve.handed import Handed
    from runner.runtimes.base import Runtime

DEFAULT_ENV = (
    *("HOME", "PATH", "SHELL", "USER", "LOGNAME", "TERM", "LANG", "LC_*", "TZ", "TMPDIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
    *(name for names in runtimes.NAMES.values() for name in names),
)
"""Names (`*` at the end is a prefix) that every child gets if they are set. No keys: `env` names those."""

_SEEN = (
    *("program_stamp", "started", "verify_programs", "watched", "tied_to", "login_shell_loses"),
    *("sessions", "host", "sessions_home", "notify", "git_owner", "git_in_reach"),
    "runner_version",
)
"""Fields of `Found` that the invocation has as they are."""
_TOLD = (
    *("files", "patterns", "approach", "execution_note", "scope", "protect", "constraints", "testing"),
    *("verify", "output_contract"),
)
"""Fields of the task that have a section in the prompt."""


class Again(Value):
    """What a run that has ended is tried again with, or gone on with: `amend` makes the prompt from the
    task's own.
    """

    run: Lineage
    thread_id: str | None
    """The thread to resume; None: a new one."""
    amend: Callable[[str], str]
    continues: bool = False
    """Its session goes on with a message: it did not fail, and no change is asked for."""


class Found(Value):
    """What a start has found on this machine for its choice. With the choice it decides the invocation."""

    run_id: str
    cwd: str
    """The folder that the run works in: the repository, or its place in a work tree of the run's own."""
    program: Program
    text: str
    """The prompt that was asked for, or the task's own."""
    map_text: str | None = None
    """What stands in the file of the choice's `map_path`."""
    pasted: tuple[FileText, ...] = ()
    not_pasted: Mapping[str, str] = {}
    """What matches and is left out, and why."""
    env_names: tuple[str, ...] = ()
    """Of every variable there is; the child gets those that it may have."""
    env_set: Mapping[str, str] = {}
    """Variables that the child gets besides, with their values."""
    server_argv: tuple[str, ...] = ()
    server_env: Mapping[str, str] = {}
    """What starts the delegation server, and with which variables."""
    fence: Fence = Fence()
    rehearsal: Rehearsal | None = None
    overrides: tuple[str, ...] = ()
    """What makes the program talk to the rehearsal."""
    schema_text: str | None = None
    """The schema of a result, for a runtime that wants it as a text."""
    watched: Mapping[str, str] = {}
    program_stamp: tuple[str, ...] = ()
    started: Mapping[str, str] = {}
    verify_programs: tuple[str | None, ...] = ()
    """See `Invocation`."""
    login_shell_loses: tuple[str, ...] = ()
    """See `Invocation`."""
    tied_to: Identity | None = None
    sessions: tuple[str, ...] = ()
    host: str | None = None
    sessions_home: str | None = None
    notify: Notify = Notify()
    git_owner: str | None = None
    git_in_reach: bool = False
    runner_version: str = VERSION
    """See `Invocation`."""
    parent: Invocation | None = None
    again: Again | None = None
    handed: Handed | None = None
    """The handoff that it begins for."""


def invocation(choice: Choice, found: Found) -> Invocation:
    """PromptInvalid, ConfigInvalid, RuntimeWrong, or PolicyRefused where it would be wider than the parent
    that starts it.
    """
    choice = _with_targets(choice, found.fence)
    config, task, model, parent, again = choice.config, choice.task, choice.model, found.parent, found.again
    runtime, own = runtimes.get(choice.runtime), _delegation(choice, parent)
    manifest_path = manifest_path_of(task.id, found.run_id)
    whole = compose(found.text, parts := _parts(choice, found, own))
    prompt = runtime.prepare_prompt(whole if again is None else _told(again, whole, parts))
    env_names = names_for(choice.settings, found.env_names)
    limits = _limits(choice)
    commands = _commands(choice, found, own, env_names, limits)
    return Invocation(
        schema_version=SCHEMA_VERSION,
        task_id=task.id,
        run_id=found.run_id,
        repo=config.root,
        manifest_path=manifest_path,
        title=task.title,
        runtime=choice.runtime,
        program=found.program.path,
        version=found.program.version,
        **commands,
        cwd=found.cwd,
        env_names=env_names,
        secret_names=tuple(sorted({*choice.settings.env, *runtime.secret_env(choice.settings, model)})),
        env_set=_variables(runtime, found, os.path.join(config.root, manifest_path)),
        prompt=prompt,
        **_of_model(model),
        sandbox=choice.sandbox,
        limits=limits,
        delegation=own,
        **_of_checks(choice, found),
        rehearsal=found.rehearsal,
        parent=None if parent is None else Lineage(parent.task_id, parent.run_id, parent.manifest_path),
        origins=_origins(choice),
        config_digest=config.digest,
        prompt_digest=digest_of(prompt),
        terms=_terms(task, found),
        recovery=config.recovery.replace(retries=task.retries),
        fresh_prompt=None if commands["fresh_argv"] is None else whole,
        **_after(choice.request, again),
        ledger=_ledger(choice.request, found),
        open_timeout_s=_open_timeout(choice, runtime),
        executor=choice.executor,
        **_apart(found, runtime),
        **{name: getattr(found, name) for name in _SEEN},
    )


def _apart(found: Found, runtime: Runtime) -> dict[str, Any]:
    """What keeps it apart from others on its machine."""
    return {"temp": found.fence.temp, "isolation": None if runtime.has_sandbox else "none"}


def _told(again: Again, whole: str, parts: Parts) -> str:
    """A thread knows its task; what it is told of a handoff and of delegation is of this run."""
    beside = (("Handoff", parts.handoff), ("Delegation", parts.delegation)) if again.thread_id else ()
    return checked(again.amend(whole) + "".join(f"\n\n## {name}\n{body}" for name, body in beside if body))


def _after(request: Request, again: Again | None) -> dict[str, Any]:
    named = {name: getattr(request, name) for name in ("map", "files", "paste")}
    return named if again is None else {**named, "continues" if again.continues else "retry_of": again.run}


def _ledger(request: Request, found: Found) -> SharedLedger | None:
    if request.ledger is None:
        return None
    return SharedLedger(request.ledger) if found.handed is None else found.handed.shared


def composition(choice: Choice, found: Found, prompt: str) -> dict[str, Any]:
    """What its prompt is made of. A token is about four characters of English or code."""
    parts = measured(found.text, _parts(choice, found, _delegation(choice, found.parent)))
    tokens = -(-len(prompt) // 4)
    return {"prompt_tokens_estimate": tokens, "prompt_parts": parts, "not_pasted": found.not_pasted}


def _with_targets(choice: Choice, fence: Fence) -> Choice:
    """It denies also what links lead to now: an agent may move one, and a child of it would find none."""
    denied = dict.fromkeys((*choice.sandbox.deny_read, *(fence.unread or ())))
    return choice.replace(sandbox=choice.sandbox.replace(deny_read=(*denied,)))


def names_for(settings: RuntimeSettings, names: Sequence[str]) -> tuple[str, ...]:
    """Those of these variables that a child may have: an agent, and its checks."""
    allowed = (*DEFAULT_ENV, *settings.env)
    return tuple(sorted(name for name in names if passes(allowed, name)))


def digest_of(prompt: str) -> str:
    """By which two runs can be seen to have had the same prompt."""
    return f"sha256:{sha256(prompt.encode()).hexdigest()}"


def _delegation(choice: Choice, parent: Invocation | None) -> Delegation:
    """What the run may delegate: no more than the policy and its parent allow."""
    config, task = choice.config, choice.task
    own = policy.capped(config.policy, config.delegation.replace(enabled=task.delegation))
    if parent is None and own.max_depth > 0:
        return own
    from runner.resolve import delegation  # most runs stand on top, and delegate nothing

    if parent is not None:
        delegation.refuse_wider(parent, task, choice.sandbox, own)
    return delegation.narrowed(own, parent)


def _terms(task: Task, found: Found) -> Terms:
    """Where the default script plays, no change is asked for: it only answers. Nor is it by a message."""
    terms = Terms(**{name: getattr(task, name) for name in Terms._fields})
    only_answers = found.rehearsal is not None and found.rehearsal.script is None
    is_message = found.again is not None and found.again.continues
    return terms.replace(expects_change=False) if only_answers or is_message else terms


def _open_timeout(choice: Choice, runtime: Runtime) -> float | None:
    """ConfigInvalid where the program could not hear a message after its first turn."""
    if not (choice.task.open or choice.request.open):
        return None
    if not runtime.resumes:
        raise ConfigInvalid(
            f"task `{choice.task.id}` cannot stay open: {runtime.title} cannot resume a session",
            hint="choose a model of a runtime that can, or leave `open` out",
        )
    return choice.task.open_timeout_s


def _parts(choice: Choice, found: Found, own: Delegation) -> Parts:
    config, task, path = choice.config, choice.task, choice.map_path
    if path is not None and path.startswith(f"{config.root.rstrip('/')}/"):
        path = os.path.relpath(path, config.root)
    return Parts(
        **{name: getattr(task, name) for name in _TOLD},
        own_tree=task.workspace == "worktree",
        git_owner=_other_owner(choice, found),
        map=None if path is None else FileText(path, found.map_text),
        pasted=found.pasted,
        blocks={name: config.blocks[name] for name in task.blocks},
        handoff=None if found.handed is None else _handoff_section(found.handed),
        delegation=_delegation_section(choice, found, own) if own.enabled else None,
    )


def _other_owner(choice: Choice, found: Found) -> str | None:
    """A reader has nothing to be told."""
    is_bound = owning_task(found.git_owner) != choice.task.id and choice.sandbox.level is not Level.READ_ONLY
    return found.git_owner if is_bound else None


def _handoff_section(handed: Handed) -> str:
    from runner.resolve.handed import section  # most runs begin for no handoff

    return section(handed)


def _delegation_section(choice: Choice, found: Found, own: Delegation) -> str:
    from runner.resolve import delegation

    tasks = choice.config.tasks
    above = None if found.parent is None else found.parent.manifest_path
    names = tasks if own.tasks is None else own.tasks
    spawnable = {name: tasks[name].title for name in names if name in tasks}
    manifest, runtime = manifest_path_of(choice.task.id, found.run_id), runtimes.get(choice.runtime)
    ledger = f"{choice.config.root}/{ledger_path_of(choice.request.ledger or choice.task.id)}"
    return delegation.section(own, manifest, above, spawnable, runtime.finds_tools, ledger)


def _commands(
    choice: Choice, found: Found, own: Delegation, env_names: tuple[str, ...], limits: Limits
) -> dict[str, Any]:
    """The argv of the first turn, of one that resumes its thread, and of a closing turn; and of a new session
    where the first turn resumes another one.
    """
    contract, runtime = choice.task.output_contract, runtimes.get(choice.runtime)
    if contract == "closing-turn" and not runtime.resumes:
        raise ConfigInvalid(
            f'output_contract = "closing-turn": {runtime.title} cannot resume a session',
            hint='use output_contract = "final" or "status-block"',
        )
    folder = os.path.join(choice.config.root, os.path.dirname(manifest_path_of(choice.task.id, found.run_id)))
    manifest, schema = os.path.join(folder, "manifest.json"), os.path.join(folder, "result.schema.json")
    asked = CommandRequest(
        program=found.program,
        settings=choice.settings,
        model=choice.model,
        sandbox=choice.sandbox,
        cwd=found.cwd,
        last_message_path=os.path.join(folder, "last-message.md"),
        skills=choice.config.delegation.skills,
        overrides=found.overrides,
        mcp=_server(own, found, manifest, env_names) if own.enabled else None,
        fence=found.fence,
        plain_shell=bool(found.login_shell_loses),
        new_thread=thread_of(found.run_id, 1) if runtime.names_threads else None,
        price=price_word(limits.price) if limits.price is not None and runtime.counts_cost else None,
    )
    wants_schema = {"output_schema": schema, "output_schema_text": found.schema_text}
    closing = asked.replace(resume_thread=THREAD, **wants_schema)
    is_asked = contract in RESULT_FORMS and contract != "closing-turn"
    asked = asked.replace(**wants_schema) if is_asked else asked
    resumed = asked.replace(resume_thread=THREAD)
    first = asked if found.again is None else asked.replace(resume_thread=found.again.thread_id)
    return {
        "argv": argv_of(runtime, first),
        "resume_argv": argv_of(runtime, resumed) if runtime.resumes else None,
        "closing_argv": argv_of(runtime, closing) if contract == "closing-turn" else None,
        "fresh_argv": argv_of(runtime, asked) if first.resume_thread is not None else None,
        "home": runtime.home(first),
        "thread_id": first.resume_thread or first.new_thread,
    }


def _server(own: Delegation, found: Found, manifest: str, env_names: tuple[str, ...]) -> McpServer | None:
    from runner.resolve import delegation

    return delegation.server(own, found.server_argv, manifest, env_names, found.server_env)


def _of_checks(choice: Choice, found: Found) -> dict[str, Any]:
    """What runner itself runs around the agent; in place nothing is prepared."""
    task = choice.task
    return {
        "verify": task.verify,
        "verify_timeout_s": task.verify_timeout_s,
        "prepare": () if found.cwd == choice.config.root else task.prepare,
        "prepare_timeout_s": task.prepare_timeout_s,
        "baseline": choice.request.baseline is not None,
        "baseline_only_records": choice.request.baseline == "record",
    }


def _of_model(model: Model | None) -> dict[str, Any]:
    if model is None:
        return {"model": None, "model_name": None, "reasoning_effort": None}
    names = ("model", "reasoning_effort", "price")
    return {"model_name": model.name, **{name: getattr(model, name) for name in names}}


def _variables(runtime: Runtime, found: Found, manifest: str) -> dict[str, str]:
    own = dict.fromkeys(("TMPDIR", *runtime.own_home), found.fence.temp) if found.fence.temp else {}
    marks = {"RUNNER_RUN_ID": found.run_id, "RUNNER_MANIFEST": manifest, **runtime.variables}
    return {**marks, **found.env_set, **own}


def _limits(choice: Choice) -> Limits:
    task, asked = choice.task, choice.request.timeout_s
    if (sentence := unpriced(runtimes.get(choice.runtime), task, choice.model)) is not None:
        raise ConfigInvalid(
            f"task `{task.id}`: {sentence}",
            hint="name a model of [models.NAME] with a `price`, or take `price` out of its limits",
        )
    timeout = task.timeout_s if asked is None else asked
    return policy.capped_limits(
        choice.config.policy,
        Limits(timeout, task.idle_timeout_s, task.start_timeout_s, task.grace_s, **task.limits.to_json()),
    )


def _origins(choice: Choice) -> dict[str, str]:
    """Where the values that shaped this run came from; the request's own stand above the files."""
    request = choice.request
    prefixes = (f"tasks.{request.task_id}.", "defaults.")
    origins = {key: at for key, at in choice.config.origins.items() if key.startswith(prefixes)}
    for name in (
        "prompt",
        "model",
        "effort",
        "sandbox",
        "executor",
        "timeout_s",
        "rehearse",
        "open",
        "map",
        "files",
        "paste",
    ):
        if getattr(request, name):
            origins[f"request.{name.removesuffix('_s')}"] = "command line"
    return origins
