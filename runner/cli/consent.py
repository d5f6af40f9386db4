"""The verb `consent`: a person agrees, once per project, to delegate plans."""

from __future__ import annotations

import os

from runner import runtimes
from runner.cli import pen
from runner.cli.ask import can_ask, confirm
from runner.cli.parser import Namespace, Parser, add_settings, here, settings
from runner.cli.render import answer, emit
from runner.conduct import consent, preflight
from runner.errors import ExitStatus, UsageError
from runner.model import Level
from runner.text.words import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.conduct.consent import Consent
    from runner.model import Config, Sandbox
    from runner.resolve.choose import Choice

QUESTION = "Do you agree?"


def add_consent(parser: Parser) -> None:
    parser.add_argument(
        "--task",
        metavar="ID",
        help="agree to what this task needs (default: the task with the widest sandbox)",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="agree to it with the runtime of this model, which units of a plan name",
    )
    parser.add_argument("--withdraw", action="store_true", help="withdraw the consent")
    parser.add_argument("--yes", action="store_true", help="agree without being asked")
    add_settings(parser)
    parser.examples(
        "runner consent                    explain what it means, and ask",
        "runner consent --task build       agree to what this task needs, and no more",
        "runner consent --model quick      agree to the runtime of this model, too",
        "runner consent --yes              agree without a terminal",
        "runner consent --withdraw         withdraw the consent",
    )


def run_consent(args: Namespace) -> int:
    preflight.refuse_nested(os.environ, preflight.FOR_PEOPLE)
    if args.withdraw:
        return _withdraw(args)
    config = settings(args)
    choice = preflight.meant(config, args.task, args.model)
    found = consent.given(config.root, os.environ)
    if found is None or not consent.covers(found, choice.runtime, choice.sandbox):
        pen.tell(explanation(config, choice, os.environ))
        agreed = args.yes or confirm(QUESTION)
        if agreed is None:
            raise UsageError(
                "there is no terminal to ask at", hint="read the text above; `--yes` agrees to it"
            )
        if not agreed:
            pen.tell("nothing was stored")
            _show(args, found, shown=False)
            return ExitStatus.NOT_SUCCESSFUL
        found = consent.give(config.root, choice.runtime, choice.sandbox, os.environ)
    _show(args, found)
    return ExitStatus.OK


def asked_for_consent(config: Config, choice: Choice, env: Mapping[str, str]) -> bool | None:
    """Explains what delegating means and asks for consent; None, without a word, where there is no terminal.
    Stores nothing.
    """
    if not can_ask():
        return None
    pen.tell(explanation(config, choice, env))
    return confirm(QUESTION)


def explanation(config: Config, choice: Choice, env: Mapping[str, str]) -> str:
    """What delegating a plan here means, in plain words. Unwritable where a consent could not be kept."""
    runtime = runtimes.get(choice.runtime)
    provider = runtime.provider(choice.settings, choice.model)
    whose = f"`{provider}`" if provider else "of its own login"
    kept = consent.place(config.root, env, choice.sandbox)
    return (
        f"Delegating plans of {one_line(config.root)} to {runtime.title} means:\n\n"
        f"  sent      to the model provider {whose}: the prompts, made from the plan and delegate.toml,\n"
        "            and anything the agent reads in files or in the output of its commands\n"
        f"  sandbox   {_sandbox(choice.sandbox)}\n"
        + (
            ""
            if runtime.has_sandbox
            else f"            but {runtime.title} has no sandbox: nothing enforces that\n"
        )
        + "  asked     once for this project, until a wider sandbox or another runtime is needed\n"
        f"  kept in   {one_line(kept)}\n"
        "            (`runner consent --withdraw` removes it)\n"
    )


def _sandbox(sandbox: Sandbox) -> str:
    own = "" if sandbox.name == sandbox.level else f"{sandbox.name}, "
    head, indent = f"{own}{sandbox.level}", " " * 12
    if sandbox.level is Level.DANGER:
        return f"{head}, which is no sandbox:\n{indent}the agent may do anything you may, with network"
    may = "the agent may read what you can read and run commands, but change nothing"
    if sandbox.level is Level.WORKSPACE_WRITE:
        places = ", ".join(map(one_line, ("the repository", "temporary folders", *sandbox.writable)))
        may = f"the agent may read what you can read, run commands,\n{indent}and change files in {places}"
    if sandbox.deny_read:
        may += f",\n{indent}and not read {', '.join(map(one_line, sandbox.deny_read))}"
    network = f"{'with' if sandbox.network else 'without'} network"
    network += f" to {', '.join(sandbox.hosts)} alone" if sandbox.hosts else ""
    return f"{head}, {network}:\n{indent}{may}"


def _withdraw(args: Namespace) -> int:
    from runner.config import commands

    # Wrong settings do not keep a consent from being taken back.
    root = commands.without_settings(here(), args.config).root
    was_there = consent.withdraw(root, os.environ)
    answer(args, None, "withdrawn" if was_there else "there was none")
    return ExitStatus.OK


def _show(args: Namespace, found: Consent | None, *, shown: bool = True) -> None:
    if args.format == "json":
        emit(None if found is None else found.to_json())
    elif found is not None and shown:
        network = "with" if found.network else "without"
        pen.say(f"agreed: {', '.join(found.runtimes)}, {found.level}, {network} network ({found.at})")
