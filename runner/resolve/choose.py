"""(Config, Request) -> Choice: the settings that a request means, names looked up and ceilings checked. Pure.

Precedence is in one place: request, then task (defaults already below it), then the named model or sandbox.
"""

from __future__ import annotations

import os

from runner import runtimes
from runner.config import policy
from runner.errors import ConfigInvalid, PipelineNotFound, PolicyRefused, TaskNotFound
from runner.executors import LOCAL
from runner.invocation import Request
from runner.model import Config, ExecutorSettings, Level, Model, RuntimeSettings, Sandbox, Task
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner.plan.pipeline import Pipeline


class Choice(Value):
    """A request, the config that it is asked of, and the settings that it means there."""

    config: Config
    request: Request
    task: Task
    runtime: str
    settings: RuntimeSettings
    model: Model | None
    sandbox: Sandbox
    executor: ExecutorSettings | None = None
    """None: this machine."""

    @property
    def rehearses(self) -> bool:
        return self.request.rehearse or self.task.rehearse

    @property
    def map_path(self) -> str | None:
        """The file that describes the repository, absolute; None where no map is named."""
        path = self.request.map or self.task.map
        return None if path is None else os.path.normpath(os.path.join(self.config.root, path))


def choose(config: Config, request: Request) -> Choice:
    """TaskNotFound, ConfigInvalid, or PolicyRefused where a ceiling or the danger switch forbids it."""
    task = find_task(config, request.task_id)
    if request.files or request.paste:
        task = task.replace(files=(*task.files, *request.files), paste=(*task.paste, *request.paste))
    model = model_of(config, request.model or task.model)
    runtime = (model.runtime if model is not None else None) or task.runtime
    try:
        settings = config.runtimes[runtime]
    except KeyError:
        raise ConfigInvalid(f"unknown runtime `{runtime}`") from None
    if request.effort is not None:
        model = _thinking(model, runtime, request.effort)
    sandbox = sandbox_of(config, request.sandbox or task.sandbox)
    if sandbox.level is Level.DANGER and not (sandbox.allow_danger and request.allow_danger):
        raise PolicyRefused(
            f"sandbox `{sandbox.name}` is danger-full-access",
            hint="it needs `allow_danger = true` in its [sandboxes] table and --allow-danger",
        )
    choice = Choice(config, request, task, runtime, settings, model, sandbox)
    if choice.rehearses and not runtimes.get(runtime).rehearses:
        can = ", ".join(name for name in runtimes.NAMES if runtimes.get(name).rehearses)
        raise ConfigInvalid(
            f"a rehearsal plays the model for others, not for {runtime}",
            hint=f"choose a model of another runtime ({can}), or leave --rehearse out",
        )
    if sandbox.level is Level.DANGER:
        # Nothing could keep it from the network.
        choice = choice.replace(sandbox=sandbox.replace(network=True))
    if (name := request.executor or task.executor) is not None:
        choice = choice.replace(executor=_executor(config, name, task, request))
    told = config.notify
    notices = filter(None, (told.on_end, told.on_attention, told.on_turn))
    policy.refuse(
        policy.breaches(config.policy, config.root, choice.sandbox, settings, model, task)
        + policy.executor_breaches(config.policy, choice.executor)
        + policy.check_breaches(config.policy, notices, "command of [notify]")
    )
    return choice


def find_task(config: Config, task_id: str) -> Task:
    """The task, or TaskNotFound with the nearest name as the hint."""
    try:
        return config.tasks[task_id]
    except KeyError:
        from runner.text.words import shortened
    hint = near_match(task_id, config.tasks, "task")
    hint = f"it is a pipeline: --pipeline {task_id}" if task_id in config.pipelines else hint
    raise TaskNotFound(f"no task `{shortened(task_id, 80)}`", hint=hint)


def find_pipeline(config: Config, name: str) -> Pipeline:
    """PipelineNotFound with the nearest name as the hint."""
    from runner.plan.pipeline import Pipeline  # nearly every start is of a task

    if name in config.pipelines:
        return Pipeline.from_json(config.pipelines[name])
    hint = near_match(name, config.pipelines, "pipeline")
    raise PipelineNotFound(f"no pipeline `{name[:80]}`", hint=hint)


def near_match(word: str, known: Iterable[str], noun: str) -> str:
    """`perhaps you meant ...`, or what there is."""
    from runner.text.words import few, nearest  # only what has gone wrong is put into words

    names = sorted(set(known))
    if near := nearest(word, names):
        return f"perhaps you meant `{near[0]}`"
    return f"known: {few(names, 10)}" if names else f"there is no {noun} yet"


def model_of(config: Config, name: str | None) -> Model | None:
    """The model that a task calls so: a named one, or a literal id."""
    if name is None:
        return None
    return config.models.get(name) or Model(None, name)


def _thinking(model: Model | None, runtime: str, effort: str) -> Model:
    """The model with that effort. ConfigInvalid for another word than the runtime knows: Codex sends any."""
    known = runtimes.get(runtime)
    if effort not in known.efforts and not known.is_generic:
        hint = f"one of: {', '.join(known.efforts)}" if known.efforts else "leave --effort out"
        raise ConfigInvalid(f"{known.title} knows no effort `{effort}`", hint=hint)
    return (model or Model(None, None)).replace(reasoning_effort=effort)


def sandbox_of(config: Config, name: str) -> Sandbox:
    """The sandbox that a task calls so: a named one, or a level. ConfigInvalid."""
    named = config.sandboxes.get(name)
    if named is not None:
        return named
    if name in tuple(Level):
        return Sandbox(name, Level(name))
    hint = near_match(name, [*config.sandboxes, *Level], "sandbox")
    raise ConfigInvalid(f"unknown sandbox `{name}`", hint=hint)


def _executor(config: Config, name: str, task: Task, request: Request) -> ExecutorSettings | None:
    """What a task calls so, with the time that the run gets there. None is this machine; ConfigInvalid."""
    if name == LOCAL:
        return None
    from runner.executors.lifetime import timed, too_short  # most runs live here

    if name not in config.executors:
        hint = near_match(name, [*config.executors, LOCAL], "executor")
        raise ConfigInvalid(f"unknown executor `{name[:80]}`", hint=hint)
    found = timed(config.executors[name], task, request)
    if found.time_s is not None and (why := too_short(found.time_s, task.grace_s)) is not None:
        raise ConfigInvalid(f"executor `{name}` {why}", hint="a longer `time` of it, or a shorter `grace`")
    return found
