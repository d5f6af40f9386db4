"""USE CASE before the first batch of a plan: may it be delegated from here, and could a run start at all?

Each gate is passed once per plan. The findings of `examine` are stored with the plan's run and not repeated.
"""

from __future__ import annotations

from time import monotonic

from runner.conduct import consent
from runner.errors import NotReady, PolicyRefused, TaskNotFound
from runner.invocation import Request
from runner.resolve.choose import Choice, choose
from runner.runtimes import NAMES, get
from runner.runtimes.exam import Examined, Fitness, Use, examine_runtime
from runner.text.words import one_line
from runner.usecases.control import around, upwards
from runner.usecases.protection import fence_of
from runner.usecases.workplace import committed_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.conduct.consent import Consent
    from runner.model import Config, Sandbox

BUDGET_S = 24.0
"""A check that finds the time used up says `unknown`."""
FOR_PEOPLE = "only a person does that, in a terminal that no agent has started"
_RUN = "RUNNER_RUN_ID"


class Nested(PolicyRefused):
    code = "nested"
    default_hint = (
        "start it from outside the agent; a run starts other tasks with its tool `delegate.spawn`, "
        "where [delegation] allows it"
    )


class ConsentMissing(PolicyRefused):
    code = "consent_missing"
    default_hint = "`runner consent` explains and records it, once for this project"


def refuse_nested(env: Mapping[str, str], hint: str | None = None) -> None:
    """Raises where this process, or one above it, was started by an agent: to unset what shows it, for one
    command, hides nothing.
    """
    signs = [sign for runtime in NAMES for sign in get(runtime).agent_signs]
    for process, one in upwards(env):
        if (name := next((sign for sign in signs if one.get(sign, "") not in ("", "0")), None)) is not None:
            where = "" if one is env else f" in process {process.pid} above"
            raise Nested(f"this is inside an agent: {name} is set{where}", hint=hint)
    if env.get(_RUN):
        raise Nested(f"this is inside the run {env[_RUN][:80]}: {_RUN} is set", hint=hint)
    if (manifest := around(env)) is not None:
        raise Nested(f"this is inside a run, whose manifest is {manifest}", hint=hint)


def refuse_without_consent(
    root: str, runtime: str, sandbox: Sandbox, env: Mapping[str, str], rehearse: bool
) -> None:
    """Raises without consent to this. A rehearsal needs none: nothing leaves the machine."""
    if rehearse:
        return
    found = consent.given(root, env)
    wanted = f"{runtime} with {_shown(sandbox)}"
    if found is None:
        raise ConsentMissing(f"delegating plans here, to {wanted}, needs your consent first")
    if not consent.covers(found, runtime, sandbox):
        agreed = f"{' and '.join(found.runtimes)} with {_shown(found)}"
        raise ConsentMissing(f"plans may be delegated here to {agreed}; this is {wanted}")


def meant(config: Config, task_id: str | None = None, model: str | None = None) -> Choice:
    """The runtime and sandbox that a consent is for: those of the task, with this model; without a task, of
    the one with the widest sandbox among those that the policy allows.
    """
    if task_id is not None:
        return choose(config, Request(task_id, model=model, allow_danger=True))
    found: list[Choice] = []
    refused: PolicyRefused | None = None
    for name in config.tasks:
        try:
            found.append(choose(config, Request(name, model=model, allow_danger=True)))
        except PolicyRefused as error:  # raised below if no task remains
            refused = refused or error
    if not found:
        raise refused or TaskNotFound("there is no task that could be the template of a plan")
    return max(found, key=lambda one: (one.sandbox.level.rank, one.sandbox.network, not one.sandbox.hosts))


def examine(
    config: Config,
    choices: Sequence[Choice],
    env: Mapping[str, str],
    *,
    rehearse: bool,
    budget_s: float = BUDGET_S,
) -> tuple[Examined, ...]:
    """Whether runs of these choices could start: their programs, versions, options, logins and sandboxes.

    Takes no longer than `budget_s` for each runtime, leaves nothing behind, and asks for no login where none
    is needed.
    """
    uses: dict[str, list[Use]] = {}
    for choice in choices:
        task = choice.task
        is_apart, scripted = task.workspace == "worktree", rehearse or task.rehearse
        links = committed_links(config.root) if is_apart else ()
        fence = fence_of(config, get(choice.runtime), choice.sandbox, env, is_apart=is_apart)
        use = Use(task.id, choice.model, choice.sandbox, scripted, is_apart, links, fence, task.verify)
        uses.setdefault(choice.runtime, []).append(use)
    return tuple(
        check
        for runtime, of_it in uses.items()
        for check in examine_runtime(config, runtime, of_it, env, monotonic() + budget_s)
    )


def refuse_unready(checks: Sequence[Examined]) -> None:
    """Raises with one line for each failed check: what is wrong, and the repair."""
    failed = [check for check in checks if check.verdict is Fitness.FAIL]
    if failed:
        names = ", ".join(check.name for check in failed)
        raise NotReady(f"a run could not start here: {names}", problems=tuple(map(_problem, failed)))


def _problem(check: Examined) -> str:
    repair = f"; repair: {check.repair}" if check.repair else ""
    return one_line(f"{check.name}: {check.message}{repair}")


def _shown(allowed: Sandbox | Consent) -> str:
    hosts = f" of {', '.join(allowed.hosts)}" if allowed.hosts else ""
    unread = f" and without {', '.join(allowed.deny_read)}" if allowed.deny_read else ""
    return f"{allowed.level}{f' and network{hosts}' if allowed.network else ''}{unread}"
