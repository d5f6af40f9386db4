"""USE CASE `mode`: turn delegation on in a session of a host, where a run could start, turn it off, show it.
Edge: disk, and the program of the runtime, which is examined.
"""

from __future__ import annotations

import os
import sys
import time

from runner.disk import interpreter, programs
from runner.disk.decisions import name_of
from runner.errors import NoSession, NotReady, NotTrusted, TaskNotFound, UsageError
from runner.hosts import mode as modes
from runner.hosts.mode import Broken, Mode
from runner.invocation import Request
from runner.model import SCHEMA_VERSION, Level
from runner.processes.proc import identify, is_alive, is_here
from runner.resolve.choose import choose, find_task, model_of, sandbox_of
from runner.runtimes import NAMES, get
from runner.state.manifest import timestamp
from runner.text.words import few, shortened
from runner.usecases import doctor, trust
from runner.usecases.ledger import person_or_run, refuse_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.model import Config, Task
    from runner.resolve.choose import Choice
    from runner.runtimes.exam import Examined

_DAY_S = 24 * 60 * 60.0
_MAIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "__main__.py")


def session_of(host: str | None, session: str | None, env: Mapping[str, str]) -> tuple[str, str]:
    """Host and id of the session that is named, else of the one around this process. NoSession."""
    if session is None:
        # Inside of both hosts, the one that is named is meant.
        own = env if host is None else {name: env[name] for name in env if name.startswith(host.upper())}
        if (found := modes.session_here(own)) is None:
            raise NoSession(f"this is in no session of {host or 'a host'}")
        host, session = found
    elif host is None:
        raise NoSession("nothing says of which host that session is", hint="name the host: --host")
    modes.place(host, session, env)
    return host, session


def on(
    config: Config,
    env: Mapping[str, str],
    where: tuple[str, str],
    target: str | None = None,
    provider: str | None = None,
    level: str | None = None,
    is_held: bool = False,
) -> tuple[Mode, Mode | Broken | None]:
    """The new mode, and what it took the place of. `where` is the host and its session, `target` a task or a
    runtime; `is_held` says that the hook of the session asks. PeopleOnly inside of a run, UsageError,
    TaskNotFound, PolicyRefused, NotTrusted; NotReady with each check that failed.
    """
    host, session = where
    refuse_run(person_or_run(config.root, env))
    task = _meant(config, target)
    config, words = _served(config, task, provider)
    choice = choose(config, Request(task.id))
    _refuse_unready(config, env, choice)
    if not is_held:
        from runner.usecases.plugin_doctor import lacking

        why = f"nothing in {get(host).title} would hold it"
        _refuse(lacking(host, config.root, env), why, f"plugin doctor --host {host}")
    pid = modes.pid_of(host, env)
    mode = Mode(
        schema_version=SCHEMA_VERSION,
        repo=name_of(config.root),
        host=host,
        session=session,
        target=target or task.id,
        task=task.id,
        runtime=choice.runtime,
        level=level or config.host.level,
        since=timestamp(),
        words=words,
        may_edit=config.host.may_edit,
        verify=task.verify,
        program=_program(),
        by=None if pid is None else identify(pid),
    )
    _tidy(env)
    before = modes.read(host, session, env)
    modes.write(mode, env)
    return mode, before


def _refuse_unready(config: Config, env: Mapping[str, str], choice: Choice) -> None:
    task = choice.task
    demands = trust.demanded(config, env, rehearses=choice.rehearses, task=task.id)
    if demands.by is None:  # nothing of a stranger is started for the checks
        told = trust.refusal(demands, env)
        raise NotTrusted(told.message, hint="`runner trust` shows it and asks", problems=told.problems)
    checks = doctor.examine(config.replace(tasks={task.id: task}), [choice.runtime], env)
    failed = [one for one in checks if one.verdict == "fail"]
    _refuse(failed, f"no run of task `{task.id}` could start here", f"doctor --runtime {choice.runtime}")


def _refuse(failed: list[Examined], why: str, verb: str) -> None:
    if failed:
        raise NotReady(
            f"{why}, so delegation stays as it was",
            hint=f"`runner {verb}` shows every check",
            problems=[f"{one.name}: {one.message}; repair: {one.repair}" for one in failed],
        )


def off(env: Mapping[str, str], found: Mode | Broken, of: str | None = None) -> bool:
    """Whether it was ended: not if it is that of another runtime than `of`. PeopleOnly inside of a run."""
    if isinstance(found, Mode) and of not in (None, found.runtime):
        return False
    refuse_run(person_or_run(found.repo if isinstance(found, Mode) else "/", env))
    return modes.end(found.host, found.session, env)


def shown(found: Mode | Broken) -> dict[str, Any]:
    """As a row; of a broken one nothing but its place is known."""
    if isinstance(found, Broken):
        known = {"host": found.host, "session": found.session}
        return dict.fromkeys(Mode._fields) | known | {"host_process": "unknown", "problem": found.why}
    by = found.by
    process = "unknown" if by is None or not is_here(by) else "alive" if is_alive(by) else "gone"
    return {**found.to_json(), "host_process": process, "problem": None}


def _meant(config: Config, target: str | None) -> Task:
    """The task of that name; of a runtime, or of nobody, that of `[host]` or the only one that may write."""
    tasks = config.tasks.values()
    writing = [one for one in tasks if sandbox_of(config, one.sandbox).level is not Level.READ_ONLY]
    all_writing, own = writing, config.host.task
    if target in NAMES and target not in config.tasks:
        writing = [one for one in writing if _runtime_of(config, one) == target]
        named = own if own in [one.id for one in writing] else None
    else:
        named = target or own
    if named is not None and (task := find_task(config, named)) in writing:
        return task
    what = f"may write with {target}" if target in NAMES else "may write"
    names = few([one.id for one in writing], 10)
    line = 'sandbox = "workspace-write"' + (f' and runtime = "{target}"' if target in NAMES else "")
    all_of_them = few([f"{one.id} ({_runtime_of(config, one)})" for one in all_writing], 10) or "none"
    hint = f"may write: {all_of_them}; {line} in [tasks.NAME] of delegate.toml makes it one"
    if named is not None:
        raise UsageError(f"task `{named}` may only read, so it could change nothing", hint=hint)
    if not writing:
        raise TaskNotFound(f"no task here {what}", hint=hint)
    if len(writing) > 1:
        raise UsageError(f"several tasks {what}: {names}", hint="name one, or set `task` in [host]")
    return writing[0]


def _runtime_of(config: Config, task: Task) -> str:
    model = model_of(config, task.model)
    return (model.runtime if model is not None else None) or task.runtime


def _served(config: Config, task: Task, provider: str | None) -> tuple[Config, tuple[str, ...]]:
    """The settings with that provider, and the words of a start that has them: those of the one model that
    is of it, as each provider has its own names of models.
    """
    if provider is None:
        return config, ()
    runtime, own = get(_runtime_of(config, task)), model_of(config, task.model)
    name = runtime.provider_aliases.get(provider, provider)
    models = [one for one in config.models.values() if one.provider == name]
    fitting = [one.name for one in models if (one.runtime or task.runtime) == runtime.name]
    if own is not None and own.provider == name:
        return config, ()
    if len(fitting) == 1:
        task = task.replace(model=fitting[0])
        return config.replace(tasks={**config.tasks, task.id: task}), ("--model", str(fitting[0]))
    if name not in runtime.providers or (own is not None and own.provider):
        known = few([*runtime.providers, *runtime.provider_aliases], 10) or "none by name"
        hint = f"{runtime.title} knows {known}; [models.NAME] has one where a model names its provider"
        raise UsageError(f"task `{task.id}` has no provider `{shortened(provider, 80)}`", hint=hint)
    settings = config.runtimes[runtime.name].replace(provider=name)
    words = ("--set", f"runtimes.{runtime.name}.provider={name}")
    return config.replace(runtimes={**config.runtimes, runtime.name: settings}), words


def _program() -> tuple[str, ...]:
    """How a shell of the host starts this runner, whichever one is first on its PATH. Beside a Python of the
    system lies a `runner` of somebody else.
    """
    own = f"{os.path.dirname(sys.executable)}/runner"
    is_ours = programs.is_executable(own) and programs.shebang(own)[:1] == [sys.executable]
    return (own,) if is_ours else interpreter.command(_MAIN)


def _tidy(env: Mapping[str, str]) -> None:
    """Ends what is old: a mode whose host is gone after a day, any other one after a month."""
    from runner.usecases import surface

    surface.tidy(env)
    for mode in modes.every(env):
        if isinstance(mode, Mode):
            is_gone = mode.by is not None and is_here(mode.by) and not is_alive(mode.by)
            if mode.since < timestamp(time.time() - _DAY_S * (1 if is_gone else modes.KEPT_DAYS)):
                modes.end(mode.host, mode.session, env)
