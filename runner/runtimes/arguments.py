"""Builds an argv from settings, for the installed version. Pure; shared by the runtimes.

Options differ between versions (`codex exec` lost `--full-auto` between 0.140 and 0.150), so an option is
passed only if the help of the program lists it.
"""

from __future__ import annotations

from runner.errors import ConfigInvalid, RuntimeWrong
from runner.model import Level, Model, Program, Sandbox, Task
from runner.runtimes.base import is_thread_id
from runner.runtimes.overrides import mentions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.runtimes.base import CommandRequest, Runtime


class Arguments:
    """Collects arguments; `done` refuses all that the version does not know at once. `begin` are the words
    before the first option.
    """

    def __init__(self, program: Program, title: str, *begin: str) -> None:
        self._program = program
        self._title = title
        self._argv = [program.path, *begin]
        self._absent: list[str] = []

    def option(self, *spellings_and_value: str, flag: bool = False) -> None:
        """Adds the first spelling that is listed: `option("-C", "--cd", folder)`.

        The last argument is the value, except for a `flag`, which has none.
        """
        spellings = spellings_and_value if flag else spellings_and_value[:-1]
        known = next(filter(self._program.knows, spellings), None)
        if known is None:
            self._absent.append(spellings[-1])
            return
        self._argv.append(known)
        if not flag:
            self._argv.append(spellings_and_value[-1])

    def knows(self, name: str) -> bool:
        return self._program.knows(name)

    def done(self, *last: str) -> tuple[str, ...]:
        """The argv with these words at its end; RuntimeWrong if needed options are not there."""
        if self._absent:
            raise RuntimeWrong(
                f"{self._title} {self._program.version} ({self._program.path}) does not know "
                + ", ".join(f"`{name}`" for name in self._absent),
                hint="install a newer version, or remove the setting in delegate.toml",
            )
        return (*self._argv, *last)


SAFE_START = "TASK:\n"
"""Put before a prompt that a program would take for a slash command."""


def as_text(prompt: str) -> str:
    """The prompt for a program that reads a leading `/` as a command of its own, on stdin too."""
    return SAFE_START + prompt if prompt.lstrip().startswith("/") else prompt


def thread_word(thread_id: str) -> str:
    """The id of a session as a word of a command; RuntimeWrong for what could be an option or a path."""
    if not is_thread_id(thread_id):
        raise RuntimeWrong(f"{thread_id!r} is not the id of a session")
    return thread_id


def refuse_owned(runtime: Runtime, config: Mapping[str, Any]) -> None:
    """ConfigInvalid if the config sets what is declared elsewhere, and what runs would be something else."""
    name, owned = runtime.name, runtime.owned
    found = [key for key in owned if mentions(config, key)]
    if found:
        problems = [f"[runtimes.{name}.config] {key}: {owned[key]}" for key in found]
        raise ConfigInvalid(
            f"[runtimes.{name}.config] must not set " + ", ".join(f"`{key}`" for key in found),
            hint=owned[found[0]],
            problems=problems,
        )


def lacking(runtime: Runtime, sandbox: Sandbox) -> tuple[tuple[str, str], ...]:
    """The keys of the sandbox that the runtime cannot fulfil, each with the sentence that says so."""
    asked = (
        ("network", sandbox.hosts, runtime.lists_hosts, "keep commands to a list of hosts"),
        ("deny_read", sandbox.deny_read, runtime.denies_read, "keep the agent from reading files"),
    )
    return tuple(
        (key, f"{runtime.title} cannot {what}") for key, value, can, what in asked if value and not can
    )


def unpriced(runtime: Runtime, task: Task, model: Model | None) -> str | None:
    """Why nobody can tell when the task has reached the limit of its price; None where somebody can."""
    is_known = runtime.counts_cost or (model is not None and model.price is not None)
    if task.limits.price is None or is_known:
        return None
    return (
        "it has a limit of its price, and nobody knows what its model costs: set `price` in its [models.NAME]"
    )


def argv_of(runtime: Runtime, request: CommandRequest) -> tuple[str, ...]:
    """Its command. ConfigInvalid where that would leave out what the sandbox keeps from the agent."""
    name = request.sandbox.name
    for key, sentence in lacking(runtime, request.sandbox):
        hint = f"take `{key}` out of [sandboxes.{name}], or use a runtime that can"
        raise ConfigInvalid(f"sandbox `{name}`: {sentence}", hint=hint)
    return runtime.command(request)


def refuse_impossible(sandbox: Sandbox, title: str) -> None:
    """ConfigInvalid for a sandbox that would silently be narrower than it is declared."""
    if sandbox.level is not Level.READ_ONLY or not (sandbox.network or sandbox.writable):
        return
    what = "network" if sandbox.network else "writable folders"
    raise ConfigInvalid(
        f"sandbox `{sandbox.name}`: {title} allows no {what} at level read-only",
        hint=f'set level = "workspace-write" in [sandboxes.{sandbox.name}], or leave it out',
    )
