"""(Config, Request, Program, environment names) -> Invocation. Pure: nothing is read, started or asked for.

`choose` says which settings a request means, `invocation` what will be executed. Precedence is in one place:
request, then task (defaults already below it), then the named model or sandbox.
"""

from __future__ import annotations

import os

from runner import runtimes
from runner.config import policy
from runner.errors import ConfigInvalid, PolicyRefused, TaskNotFound
from runner.invocation import THREAD, Invocation
from runner.model import (
    SCHEMA_VERSION,
    Config,
    Delegation,
    Level,
    Limits,
    Lineage,
    Model,
    Program,
    Rehearsal,
    Request,
    RuntimeSettings,
    Sandbox,
    Task,
    Terms,
)
from runner.resolve import delegation
from runner.resolve.prompt import Map, Parts, checked, compose
from runner.runtimes.base import CommandRequest
from runner.state.store import manifest_path_of
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256 as _sha256
else:
    # `hashlib` loads OpenSSL, a quarter of what `start` may cost; `random` takes the built-in one likewise.
    try:
        from _sha2 import sha256 as _sha256  # Python 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256 as _sha256
        except ImportError:
            from hashlib import sha256 as _sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

DEFAULT_ENV = (
    *("HOME", "PATH", "SHELL", "USER", "LOGNAME", "TERM", "LANG", "LC_*", "TZ", "TMPDIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "CODEX_CA_CERTIFICATE", "NODE_EXTRA_CA_CERTS"),
    *("CODEX_HOME", "KAY_HOME"),
)
"""Names (`*` at the end is a prefix) that every child gets if they are set. No keys: `env` names those."""


class Again(Value):
    """What a run that failed is tried again with: `amend` makes the prompt from the task's own."""

    run: Lineage
    thread_id: str | None
    """The thread to go on with; None: a new one."""
    amend: Callable[[str], str]


class Choice(Value):
    """The settings that a request means, names looked up and ceilings checked."""

    task: Task
    runtime: str
    settings: RuntimeSettings
    model: Model | None
    sandbox: Sandbox


def choose(config: Config, request: Request) -> Choice:
    """TaskNotFound, ConfigInvalid, or PolicyRefused where a ceiling or the danger switch forbids it."""
    task = find_task(config, request.task_id)
    model = _model(config, request.model or task.model)
    runtime = (model.runtime if model is not None else None) or task.runtime
    try:
        settings = config.runtimes[runtime]
    except KeyError:
        raise ConfigInvalid(f"unknown runtime `{runtime}`") from None
    sandbox = _sandbox(config, request.sandbox or task.sandbox)
    if sandbox.level is Level.DANGER and not (sandbox.allow_danger and request.allow_danger):
        raise PolicyRefused(
            f"sandbox `{sandbox.name}` is danger-full-access",
            hint="it needs `allow_danger = true` in its [sandboxes] table and --allow-danger",
        )
    if (task.rehearse or request.rehearse) and runtime != "codex":
        raise ConfigInvalid(
            f"a rehearsal plays the model for codex, not for {runtime}",
            hint="choose a model of runtime codex, or leave --rehearse out",
        )
    if sandbox.level is Level.DANGER:
        sandbox = sandbox.replace(network=True)  # nothing could keep it from the network
    policy.enforce(
        config.policy,
        level=sandbox.level,
        network=sandbox.network,
        runtime=runtime,
        model=None if model is None else model.model,
        env_names=settings.env,
    )
    return Choice(task, runtime, settings, model, sandbox)


def find_task(config: Config, task_id: str) -> Task:
    """The task, or TaskNotFound with the nearest name as the hint."""
    try:
        return config.tasks[task_id]
    except KeyError:
        pass
    shown = task_id if len(task_id) <= 80 else f"{task_id[:77]}..."
    raise TaskNotFound(f"no task `{shown}`", hint=near_match(task_id, config.tasks, "task"))


def near_match(word: str, known: Iterable[str], noun: str) -> str:
    """`perhaps you meant ...`, or what there is."""
    import difflib

    names = sorted(set(known))
    near = difflib.get_close_matches(word[:100], names, 1, 0.6)
    if near:
        return f"perhaps you meant `{near[0]}`"
    if not names:
        return f"there is no {noun} yet"
    return f"known: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"


def invocation(
    config: Config,
    request: Request,
    choice: Choice,
    program: Program,
    *,
    run_id: str,
    prompt_text: str,
    env_names: Sequence[str],
    rehearsal: Rehearsal | None,
    rehearsal_overrides: tuple[str, ...],
    extra_env: Mapping[str, str],
    server_argv: Sequence[str],
    server_env: Mapping[str, str],
    guard: str | None = None,
    map_text: str | None = None,
    cwd: str | None = None,
    parent: Invocation | None = None,
    again: Again | None = None,
) -> Invocation:
    """Exactly what will be executed. PromptInvalid, ConfigInvalid, RuntimeWrong, or PolicyRefused where it
    would be wider than the `parent` that starts it. `map_text` is what stands in the file of `map_path`,
    `cwd` the work tree that the run gets for itself, `again` what a run that failed is tried again with.
    """
    task, runtime = choice.task, runtimes.get(choice.runtime)
    own = policy.capped(config.policy, config.delegation.replace(enabled=task.delegation))
    if parent is not None:
        delegation.refuse_wider(parent, task, choice.sandbox, own)
    own = delegation.narrowed(own, parent)
    manifest_path = manifest_path_of(task.id, run_id)
    told = _delegation_section(config, own, manifest_path, parent) if own.enabled else None
    parts = _parts(config, request, task, told, map_text)
    prompt = compose(prompt_text, parts)
    prompt = runtime.prepare_prompt(prompt if again is None else checked(again.amend(prompt)))
    env_allowed = _allowed(env_names, (*DEFAULT_ENV, *runtime.env_names, *choice.settings.env))
    manifest = os.path.join(config.root, manifest_path)
    if task.output_contract == "closing-turn" and not runtime.resumes:
        raise ConfigInvalid(
            f'output_contract = "closing-turn": no thread of {runtime.title} can be gone on with',
            hint='use output_contract = "final" or "status-block"',
        )
    schema = os.path.join(os.path.dirname(manifest), "result.schema.json")
    asked = CommandRequest(
        program=program,
        settings=choice.settings,
        model=choice.model,
        sandbox=choice.sandbox,
        cwd=cwd or config.root,
        last_message_path=os.path.join(os.path.dirname(manifest), "last-message.md"),
        skills=config.delegation.skills,
        overrides=rehearsal_overrides,
        mcp=delegation.server(own, server_argv, manifest, env_allowed, server_env),
        output_schema=schema if task.output_contract == "final" else None,
        guard=guard,
    )
    going_on = asked.replace(resume_thread=THREAD)
    closing = going_on.replace(output_schema=schema)
    first = asked if again is None else asked.replace(resume_thread=again.thread_id)
    timeout = task.timeout_s if request.timeout_s is None else request.timeout_s
    secret = {*choice.settings.env, *runtime.secret_env(choice.settings, choice.model)}
    return Invocation(
        schema_version=SCHEMA_VERSION,
        task_id=task.id,
        run_id=run_id,
        repo=config.root,
        manifest_path=manifest_path,
        title=task.title,
        runtime=choice.runtime,
        program=program.path,
        version=program.version,
        argv=runtime.command(first).argv,
        cwd=asked.cwd,
        env_names=env_allowed,
        secret_names=tuple(sorted(secret)),
        env_set={
            "RUNNER_RUN_ID": run_id,
            "RUNNER_MANIFEST": manifest,
            **extra_env,
        },
        prompt=prompt,
        model=None if choice.model is None else choice.model.model,
        model_name=None if choice.model is None else choice.model.name,
        reasoning_effort=None if choice.model is None else choice.model.reasoning_effort,
        sandbox=choice.sandbox,
        limits=policy.capped_limits(
            config.policy,
            Limits(timeout, task.idle_timeout_s, task.start_timeout_s, task.grace_s, **task.limits.to_json()),
        ),
        delegation=own,
        verify=task.verify,
        verify_timeout_s=task.verify_timeout_s,
        rehearsal=rehearsal,
        parent=None if parent is None else Lineage(parent.task_id, parent.run_id, parent.manifest_path),
        origins=_origins(config, request),
        config_digest=config.digest,
        prompt_digest=digest_of(prompt),
        terms=Terms(**{name: getattr(task, name) for name in Terms._fields}),
        recovery=config.recovery.replace(retries=task.retries),
        resume_argv=runtime.command(going_on).argv if runtime.resumes else None,
        closing_argv=runtime.command(closing).argv if task.output_contract == "closing-turn" else None,
        retry_of=None if again is None else again.run,
    )


def digest_of(prompt: str) -> str:
    """By which two runs can be seen to have had the same prompt."""
    return f"sha256:{_sha256(prompt.encode()).hexdigest()}"


def map_path(config: Config, request: Request, task: Task) -> str | None:
    """The file whose text `invocation` wants as `map_text`, absolute; None where no map is named."""
    path = request.map or task.map
    return None if path is None else os.path.normpath(os.path.join(config.root, path))


def _parts(config: Config, request: Request, task: Task, told: str | None, map_text: str | None) -> Parts:
    path = map_path(config, request, task)
    if path is not None and path.startswith(f"{config.root.rstrip('/')}/"):
        path = os.path.relpath(path, config.root)
    return Parts(
        files=task.files,
        patterns=task.patterns,
        approach=task.approach,
        execution_note=task.execution_note,
        scope=task.scope,
        constraints=task.constraints,
        testing=task.testing,
        verify=task.verify,
        output_contract=task.output_contract,
        own_tree=task.workspace == "worktree",
        map=None if path is None else Map(path, map_text),
        blocks={name: config.blocks[name] for name in task.blocks},
        delegation=told,
    )


def _delegation_section(
    config: Config, own: Delegation, manifest_path: str, parent: Invocation | None
) -> str:
    above = None if parent is None else parent.manifest_path
    names = config.tasks if own.tasks is None else own.tasks
    spawnable = {name: config.tasks[name].title for name in names if name in config.tasks}
    return delegation.section(own, manifest_path, above, spawnable)


def _model(config: Config, name: str | None) -> Model | None:
    if name is None:
        return None
    named = config.models.get(name)
    return named if named is not None else Model(None, name)


def _sandbox(config: Config, name: str) -> Sandbox:
    named = config.sandboxes.get(name)
    if named is not None:
        return named
    if name in tuple(Level):
        return Sandbox(name, Level(name))
    hint = near_match(name, [*config.sandboxes, *Level], "sandbox")
    raise ConfigInvalid(f"unknown sandbox `{name}`", hint=hint)


def _allowed(names: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    prefixes = tuple(pattern.removesuffix("*") for pattern in patterns if pattern.endswith("*"))
    return tuple(sorted(name for name in names if name in patterns or name.startswith(prefixes)))


def _origins(config: Config, request: Request) -> dict[str, str]:
    """Where the values that shaped this run came from; the request's own stand above the files."""
    prefixes = (f"tasks.{request.task_id}.", "defaults.")
    origins = {key: at for key, at in config.origins.items() if key.startswith(prefixes)}
    for name in ("prompt", "model", "sandbox", "timeout_s", "rehearse"):
        if getattr(request, name):
            origins[f"request.{name.removesuffix('_s')}"] = "command line"
    return origins
