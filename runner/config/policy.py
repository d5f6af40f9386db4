"""Ceilings: what a user or an organisation allows. Pure, standard library only and light.

A committed file must not widen them, so they are separate from the layers of settings and can only narrow
each other.
"""

from __future__ import annotations

import os
from _collections_abc import Mapping  # loaded with `os`; `collections` is not

from runner.errors import PolicyRefused
from runner.executors import LOCAL
from runner.model import Delegation, Level, Limits, Model, Policy
from runner.runtimes import NAMES, get

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from runner.model import Config, ExecutorSettings, RuntimeSettings, Sandbox, Task

_NUMBERS = ("max_depth", "max_children", "max_tokens", "max_cpus", "max_gpus", "max_memory", "max_time")
_MORE = {
    "max_cpus": ("exclusive", "hint", "threads-per-core"),
    "max_gpus": ("exclusive",),
    "max_memory": ("exclusive",),
}
"""Ceiling -> the options with which Slurm gives a job more than it asks for: a node, or whole cores."""
GROUPS = ("executors", "models", "env", "config", "programs", "providers", "verify", "writable")
CEILINGS = ("max_level", "network", "runtimes", *GROUPS, *_NUMBERS)
USUAL: dict[str, tuple[str, ...]] = {
    "config": (
        "features.unbounded_connection_retries",
        "hide_agent_reasoning",
        "model_auto_compact_token_limit",
        "model_context_window",
        "model_reasoning_summary",
        "model_verbosity",
        "show_raw_agent_reasoning",
        "tool_output_token_limit",
    ),
    "programs": tuple(NAMES),
    "providers": ("openai",),
    "verify": (),
    "writable": (),
}
"""What every policy file allows of these, besides what it names itself. A list of what is forbidden would not
do: any key of an agent CLI may start programs, open its sandbox, or send prompts elsewhere.
"""


def narrow(policies: Iterable[Policy]) -> Policy:
    """The policy that allows only what every one of `policies` allows; without any, everything."""
    result = Policy()
    for policy in policies:
        result = _both(result, policy)
    return result


def breaches(
    policy: Policy, root: str, sandbox: Sandbox, settings: RuntimeSettings, model: Model | None, task: Task
) -> tuple[str, ...]:
    """One sentence for every ceiling that a run of the task with these goes past; () is allowed.

    Of variables, those of `[runtimes.X] env` count; the default environment is not limited.
    """
    level, runtime = sandbox.level, settings.name
    found = []
    if policy.max_level is not None and level.rank > policy.max_level.rank:
        found.append(
            f'sandbox level "{level}" is wider than "{policy.max_level}", the widest that '
            f"{_files(policy, 'max_level')} allows"
        )
    # danger-full-access has no sandbox that could keep the network away.
    if policy.network is False and (sandbox.network or level is Level.DANGER):
        found.append(f"the sandbox has network, which {_files(policy, 'network')} forbids")
    if policy.runtimes is not None and runtime not in policy.runtimes:
        files, allowed = _files(policy, "runtimes"), _listed(policy.runtimes)
        found.append(f'runtime "{runtime}" is not among those that {files} allows: {allowed}')
    found += _model(policy, None if model is None else model.model)
    found += _environment(policy, settings.env)
    found += _used(policy, root, sandbox, settings, model, task)
    return tuple(found)


def task_breaches(config: Config, task: Task) -> tuple[str, ...]:
    """What the policy says against a task as it is written."""
    model = None if task.model is None else config.models.get(task.model, Model(None, task.model))
    sandbox, settings = config.sandboxes[task.sandbox], config.runtimes[task.runtime]
    executor = config.executors.get(task.executor or LOCAL)
    if executor is not None:
        from runner.executors.lifetime import timed
        from runner.invocation import Request

        executor = timed(executor, task, Request(task.id))
    found = breaches(config.policy, config.root, sandbox, settings, model, task)
    return found + executor_breaches(config.policy, executor)


def executor_breaches(policy: Policy, executor: ExecutorSettings | None) -> tuple[str, ...]:
    """What it says against a run that lives there, for the time that is filled in."""
    if executor is None:
        return ()
    from runner.text.durations import format_duration  # most runs live here
    from runner.text.memory import format_memory, parse_memory

    name = executor.name
    found = _beyond(policy, {"executors": [("executor", name)]})
    memory = None if executor.memory is None else parse_memory(executor.memory)
    asked: dict[str, tuple[float | None, str, Callable[[Any], str]]] = {
        "max_cpus": (None if executor.hosts else executor.cpus, "CPUs", str),
        "max_gpus": (None if executor.hosts else executor.gpus, "GPUs", str),
        "max_memory": (memory, "of memory", format_memory),
        "max_time": (executor.time_s, "of time", format_duration),
    }
    for ceiling, (value, what, words) in asked.items():
        most = getattr(policy, ceiling)
        if most is not None and (value is None or value > most):
            what = what.removesuffix("s") if value == 1 else what
            size = f"no limit of {what.removeprefix('of ')}" if value is None else f"{words(value)} {what}"
            files = _files(policy, ceiling)
            found.append(f'executor "{name}" gives {size}, and {files} allows {words(most)} in `{ceiling}`')
        for option in _MORE.get(ceiling, ()) if most is not None else ():
            if option in executor.options:
                files = _files(policy, ceiling)
                found.append(
                    f'executor "{name}" has the option `{option}`, with which Slurm gives more than asked, '
                    f"and {files} allows {words(most)} in `{ceiling}`"
                )
    return tuple(found)


def check_breaches(
    policy: Policy, commands: Iterable[tuple[str, ...]], what: str = "verify command"
) -> tuple[str, ...]:
    """What it says against checks of a run that was started before, or against other commands."""
    return tuple(_beyond(policy, {"verify": [(what, argv[0]) for argv in commands]}))


def unverified(config: Config, runs: Iterable[tuple[Task, Sandbox]]) -> list[str]:
    """The tasks of these whose change would be committed though no command verifies it: a commit never rests
    on an agent's word alone.
    """
    commits = config.delegate.commit is not False
    return [task.id for task, box in runs if commits and box.level is not Level.READ_ONLY and not task.verify]


def capped(policy: Policy, delegation: Delegation) -> Delegation:
    """The delegation with its numbers cut down to the ceilings."""
    return delegation.replace(
        max_depth=_least(policy.max_depth, delegation.max_depth),
        max_children=_least(policy.max_children, delegation.max_children),
    )


def capped_limits(policy: Policy, limits: Limits) -> Limits:
    """The limits with the numbers of tokens cut down to the ceiling; without any, they get it."""
    return limits.replace(
        tokens=_least(policy.max_tokens, limits.tokens),
        tree_tokens=_least(policy.max_tokens, limits.tree_tokens),
    )


def refuse(found: tuple[str, ...]) -> None:
    """PolicyRefused with every one of these breaches, or nothing."""
    if found:
        raise PolicyRefused("; ".join(found), problems=found)


def _model(policy: Policy, model: str | None) -> list[str]:
    if not policy.models or (model is not None and all(_matches(model, group) for group in policy.models)):
        return []
    files, allowed = _files(policy, "models"), _groups(policy.models)
    if model is None:
        return [f"no model is named, and {files} allows only: {allowed}"]
    return [f'model "{model}" is not among those that {files} allows: {allowed}']


def _environment(policy: Policy, names: Iterable[str]) -> list[str]:
    files, allowed = _files(policy, "env"), _groups(policy.env)
    return [
        f"environment variable {name} is not among those that {files} allows: {allowed}"
        for name in names
        if not all(_matches(name, group) for group in policy.env)
    ]


def _used(
    policy: Policy, root: str, sandbox: Sandbox, settings: RuntimeSettings, model: Model | None, task: Task
) -> list[str]:
    """What they name that runs, that is told to the agent CLI, or that is sent to or written."""
    config, runtime = tuple(_leaves(settings.config)), settings.name
    provider = (None if model is None else model.provider) or settings.provider
    sent = [provider, *(value for key, value in config if key == "model_provider")]
    urls = [text for _, value in config for text in _texts(value) if _is_url(text)]
    below = root.rstrip("/") + "/"
    usual = settings if settings.args is None else get(runtime).defaults()
    differs = (one for one in ("args", "permissions") if getattr(settings, one) != getattr(usual, one))
    own = [(f"key of [runtimes.{runtime}]", one) for one in differs]  # another program, or nobody asked
    named = {
        "programs": [(f"`command` of runtime {runtime}", settings.command)],
        "config": [(f"key of [runtimes.{runtime}.config]", key) for key, _ in config] + own,
        "providers": [
            *(("provider", name) for name in dict.fromkeys(sent) if isinstance(name, str)),
            *((f"URL in [runtimes.{runtime}.config]", url) for url in urls),
        ],
        "verify": [
            *(("verify command", command[0]) for command in task.verify),
            *(("prepare command", command[0]) for command in task.prepare),
        ],
        "writable": [
            ("writable folder", path) for path in sandbox.writable if not f"{path}/".startswith(below)
        ],
    }
    return _beyond(policy, named)


def _beyond(policy: Policy, named: Mapping[str, list[tuple[str, str]]]) -> list[str]:
    """What of these, by their ceilings, is not allowed."""
    return [
        f'{what} "{name}" is not among what {_files(policy, ceiling)} allows in `{ceiling}`: '
        f"{_groups(getattr(policy, ceiling))}"
        for ceiling, pairs in named.items()
        for what, name in dict.fromkeys(pairs)
        if not all(_matches(name, group) for group in getattr(policy, ceiling))
    ]


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in it. A key with a dot is as many: the agent CLI splits it so."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, those in its arrays and tables included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _both(left: Policy, right: Policy) -> Policy:
    level = min((p.max_level for p in (left, right) if p.max_level), key=_rank, default=None)
    network = min((p.network for p in (left, right) if p.network is not None), default=None)
    lists = [p.runtimes for p in (left, right) if p.runtimes is not None]
    runtimes = tuple(sorted(set.intersection(*map(set, lists)))) if lists else None
    numbers: dict[str, Any] = {name: _least(getattr(left, name), getattr(right, name)) for name in _NUMBERS}
    least = {"max_level": level, "network": network, **numbers}
    sources = {}
    for name in CEILINGS:
        files = {
            file
            for policy in (left, right)
            if name not in least or getattr(policy, name) == least[name]
            for file in policy.sources.get(name, ())
        }
        if files:
            sources[name] = tuple(sorted(files))
    groups: dict[str, Any] = {name: _union(getattr(left, name), getattr(right, name)) for name in GROUPS}
    return Policy(max_level=level, network=network, runtimes=runtimes, sources=sources, **groups, **numbers)


def _least(one: Any, other: Any) -> Any:
    return min((number for number in (one, other) if number is not None), default=None)


def _rank(level: Level) -> int:
    return level.rank


def _union(
    left: tuple[tuple[str, ...], ...], right: tuple[tuple[str, ...], ...]
) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted({tuple(sorted(set(group))) for group in (*left, *right)}))


def _matches(name: str, group: tuple[str, ...]) -> bool:
    """Whether a glob of the group allows it. `*` matches a slash as well, so `..` is resolved, and of a URL
    the host is compared by itself.
    """
    from fnmatch import fnmatchcase

    if ".." in name.split("/") and not _is_url(name):
        name = os.path.normpath(name)
    return any(
        fnmatchcase(name, glob) and ("://" not in glob or fnmatchcase(_host(name), _host(glob)))
        for glob in group
    )


def _is_url(text: str) -> bool:
    """Whether who connects would take it for one: `https:host` is, with tabs and line ends anywhere in it
    and control characters before it (https://url.spec.whatwg.org/#concept-basic-url-parser).
    """
    text = "".join(char for char in text.lower() if char > " ")
    return "://" in text or text.startswith(("http:", "https:", "ws:", "wss:"))


def _host(url: str) -> str:
    """With its port; empty where it is not in its usual place."""
    after = url.partition(":")[2]
    if not after.startswith("//"):
        return ""
    host = after[2:]
    for mark in "/\\?#":
        host = host.partition(mark)[0]
    return host.rpartition("@")[2]


def _files(policy: Policy, ceiling: str) -> str:
    return " and ".join(policy.sources.get(ceiling, ())) or "the policy"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _groups(groups: tuple[tuple[str, ...], ...]) -> str:
    return " and one of ".join(_listed(group) for group in groups)
