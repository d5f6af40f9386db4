"""What a run may delegate: ceilings of a child, the MCP server, the prompt section. Pure.

The model does not read shell variables, so every path in the section is literal. A child is never wider than
its parent: not in its sandbox, not in its network, not in what it may delegate.
"""

from __future__ import annotations

from runner.errors import PolicyRefused
from runner.executors import LOCAL
from runner.model import Delegation, Level, McpServer, Sandbox, Task
from runner.runtimes import PLAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runner.invocation import Invocation
    from runner.resolve.choose import Choice

SERVER = "delegation"
TOOLS: Mapping[str, tuple[str, ...]] = {
    "status": ("delegate.status",),
    "pause": ("delegate.pause",),
    "cancel": ("delegate.cancel",),
    "spawn": ("delegate.spawn",),
    "send": ("delegate.send",),
    "await": ("delegate.await",),
    "question": ("delegate.question.enqueue", "delegate.question.poll", "delegate.question.answer"),
    "ledger": (
        *("append_note", "handoff", "handoff_to_claude", "handoff_to_codex", "reply", "send"),
        *("read_context", "task_state", "session_info", "record_artifact", "wait_for_messages"),
        "propose_final",
    ),
}
"""Word of `[delegation] tools` -> the MCP tools that it turns on."""
_WITH_CHILDREN = ("spawn", "send", "await")
"""What is of no use to a run that may have none."""
_OPEN = "; with open=true that run stays for your messages when its turn is over"

MODES: Mapping[str, tuple[str, ...]] = {
    "full": tuple(TOOLS),
    "status": ("status",),
    "question": ("status", "question"),
    "ledger": ("status", "ledger"),
}
"""`--mode` of the server -> words of `tools` that it can offer at most."""


class WiderThanParent(PolicyRefused):
    code = "wider_than_parent"
    default_hint = "a child run may have at most what its parent has"


class TooDeep(PolicyRefused):
    code = "max_depth"
    default_hint = "raise max_depth in [delegation], or do it in this run"


class NotSpawnable(PolicyRefused):
    code = "task_not_spawnable"
    default_hint = "`tasks` in [delegation] lists the tasks that runs may start"


def reaches_beyond(sandbox: Sandbox, network: bool, hosts: Sequence[str]) -> bool:
    """Whether it has more of the network than that: see `Sandbox.hosts`."""
    if not sandbox.network or not network:
        return sandbox.network
    within = [one in hosts or any(f"*{one[at:]}" in hosts for at in _dots(one)) for one in sandbox.hosts]
    return bool(hosts) and not (within and all(within))


def readable(sandbox: Sandbox, denied: Sequence[str]) -> tuple[str, ...]:
    """What of these paths it does not keep from being read."""
    kept = tuple(f"{path.rstrip('/')}/" for path in sandbox.deny_read)
    return tuple(path for path in denied if not f"{path}/".startswith(kept))


def _dots(name: str) -> Iterator[int]:
    return (at for at, char in enumerate(name) if char == "." and at > 0)


def refuse_wider(parent: Invocation, task: Task, sandbox: Sandbox, delegation: Delegation) -> None:
    """Raises where a run of `task` would be allowed more than the run that starts it."""
    allowed = parent.delegation.tasks
    if allowed is not None and task.id not in allowed:
        raise NotSpawnable(f"task `{task.id}` may not be started by another run")
    ours = parent.sandbox
    if sandbox.level.rank > ours.level.rank:
        raise WiderThanParent(f"sandbox level {sandbox.level} is wider than the parent's {ours.level}")
    if reaches_beyond(sandbox, ours.network, ours.hosts):
        has = f"the network of {', '.join(ours.hosts)} alone" if ours.hosts else "no network"
        raise WiderThanParent(f"the parent has {has}")
    if read := readable(sandbox, ours.deny_read):
        raise WiderThanParent(f"the parent cannot read {', '.join(read)}")
    extra = sorted(set(sandbox.writable) - set(ours.writable))
    if extra and ours.level is not Level.DANGER:
        raise WiderThanParent(f"the parent cannot write {', '.join(extra)}")
    if delegation.enabled:
        more = sorted(set(narrowed(delegation, parent).tools) - set(parent.delegation.tools))
        if not parent.delegation.enabled or more:
            raise WiderThanParent(f"the parent has no delegation{' of ' + ', '.join(more) if more else ''}")


def beside_parent(choice: Choice, parent: Invocation) -> Choice:
    """A run that another one starts lives where that lives, in the same job. WiderThanParent where it is to
    live elsewhere. The conductor of a plan is no agent: its runs live where their tasks say.
    """
    if parent.runtime == PLAN:
        return choice
    asked, above = choice.executor, parent.executor
    if asked is not None and (above is None or asked.name != above.name):
        where = "on this machine" if above is None else f"on executor `{above.name}`"
        raise WiderThanParent(
            f"the parent lives {where}, and the run would live on executor `{asked.name}`",
            hint=f'a child lives where its parent does: executor = "{LOCAL}" in its task says no more',
        )
    return choice.replace(executor=above)


def refuse_too_deep(parent: Invocation) -> None:
    """Raises where the parent may have no runs below it."""
    if parent.delegation.max_depth < 1:
        raise TooDeep(f"run `{parent.run_id}` stands at the depth that max_depth allows: it starts no runs")


def refuse_no_spawn(parent: Invocation) -> None:
    """Raises where the parent starts no runs by itself."""
    refuse_too_deep(parent)
    if not parent.delegation.enabled or "spawn" not in parent.delegation.tools:
        hint = "`delegation = true` in its task, and `spawn` in `tools` of [delegation]"
        raise NotSpawnable(f"run `{parent.run_id}` may start no runs", hint=hint)


def narrowed(own: Delegation, parent: Invocation | None) -> Delegation:
    """The caps that are left for a run: never above its parent's, and one level less below it.

    `max_depth` is then how many levels of runs may still stand below; without any, nothing is spawned.
    """
    if parent is not None:
        above = parent.delegation
        tasks = own.tasks if above.tasks is None else above.tasks
        if own.tasks is not None and above.tasks is not None:
            tasks = tuple(name for name in own.tasks if name in above.tasks)
        own = own.replace(
            max_depth=max(0, min(own.max_depth, above.max_depth - 1)),
            max_children=min(own.max_children, above.max_children),
            tasks=tasks,
        )
    if own.max_depth == 0:
        own = own.replace(tools=tuple(tool for tool in own.tools if tool not in _WITH_CHILDREN))
    return own


def tools_of(words: Iterable[str]) -> tuple[str, ...]:
    """The MCP tools behind words of `[delegation] tools`, in the order of the table."""
    chosen = set(words)
    return tuple(tool for word, tools in TOOLS.items() if word in chosen for tool in tools)


def server(
    delegation: Delegation,
    argv: Sequence[str],
    manifest: str,
    env_names: Sequence[str],
    env: Mapping[str, str],
) -> McpServer | None:
    """The MCP server of a run; None where delegation is off. `argv` starts the server's program."""
    if not delegation.enabled:
        return None
    args = (*argv[1:], "--manifest", manifest)
    registered = delegation.server == "registered"
    return McpServer(argv[0], args, tuple(env_names), env, registered=registered)


def section(
    delegation: Delegation,
    manifest: str,
    parent_manifest: str | None,
    tasks: Mapping[str, str | None],
    finds_tools: str = "",
    ledger: str = "",
) -> str:
    """The prompt section of a run with delegation: every tool, and the paths to call it with."""
    words = set(delegation.tools)
    asked = parent_manifest or manifest
    lines = [
        f"The MCP server `{SERVER}` is connected. {finds_tools}".rstrip(),
        "Use exactly these literal paths in the calls:",
    ]
    own = [f"`{tool}`" for word in ("status", "pause", "cancel") if word in words for tool in TOOLS[word]]
    if own:
        lines.append(f"- manifest_path={manifest} for {', '.join(own)} of this run")
    if "question" in words:
        whom = "the run that started this one" if parent_manifest else "the owner of this run"
        lines.append(
            f"- parent_manifest_path={asked} for `delegate.question.enqueue` and `delegate.question.poll`: "
            f"they ask {whom}"
        )
        lines.append(
            "- `delegate.question.answer` answers a question of a run that you started, with that run's "
            "manifest_path"
        )
    if "spawn" in words:
        named = [_named(name, title) for name, title in sorted(tasks.items())]
        lines.append(
            f"- `delegate.spawn` with parent_manifest_path={manifest} and task_id, one of: "
            f"{', '.join(named) or 'none'}; it answers at once with the new run's id and manifest_path"
            f"{_OPEN if 'send' in words else ''}"
        )
    if "await" in words:
        lines.append(
            "- `delegate.await` with the manifest_path of a run that you started waits for the end of its "
            "turn and tells what its agent has said"
        )
    if "send" in words:
        lines.append(
            "- `delegate.send` with the manifest_path of a run that you started, and text, begins its next "
            "turn; with the text `/quit` it ends that run, which is judged then"
        )
    lines += [line.format(ledger) for line in _LEDGER if "ledger" in words]
    return "\n".join(lines)


_LEDGER = (
    "- The ledger {} is shared by all who work on this task: nobody knows what you only think. Its tools "
    "take no path. `read_context` first; `session_info`, `task_state`: who you are, and who is next",
    "- `append_note`: goal, plan, decisions. `record_artifact`: evidence, with the status that you have seen",
    "- `handoff`, `handoff_to_claude`, `handoff_to_codex` pass the work on, with reason, ask, what shows "
    "that it is done, and the files that matter; `reply` answers a handoff; `send` only says something",
    "- `wait_for_messages` waits for what others write",
    "- `propose_final`, with evidence, when the work is done: it is final when a person has signed it",
)
"""When to use which tool of the ledger."""


def _named(task: str, title: str | None) -> str:
    """A title is a line of its own in no prompt."""
    from runner.text.words import one_line

    return f"`{task}`" if not title else f"`{task}` ({one_line(title)})"
