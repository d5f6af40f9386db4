"""The verbs around the plugin of a host: plugin install, remove, print and doctor."""

from __future__ import annotations

import os
import shlex

from runner.cli import pen
from runner.cli.actions import add_actions
from runner.cli.ask import confirm
from runner.cli.parser import Namespace, Parser, here
from runner.cli.render import answer, emit
from runner.errors import ExitStatus, NotReady, PluginFailed, UsageError
from runner.hosts.mode import HOSTS
from runner.hosts.ways import WAYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def add_plugin(parser: Parser) -> None:
    parser.examples(*(f"runner plugin {verb} --host {HOSTS[0]}" for verb in ("install", "doctor")))
    add_actions(parser, "plugin")


def _add_host(parser: Parser, verb: str) -> None:
    parser.add_argument("--host", choices=HOSTS, required=True, help="the CLI that you work in")
    parser.examples(*(f"runner plugin {verb} --host {host}" for host in HOSTS))


def add_plugin_install(parser: Parser) -> None:
    _add_host(parser, "install")
    parser.add_argument("--yes", action="store_true", help="skip the confirmation")


def run_plugin_install(args: Namespace) -> int:
    from runner.usecases import plugin, plugin_doctor

    _refuse_run()
    place, commands = plugin.place(args.host, os.environ), plugin.installing(args.host, os.environ)
    if not _agreed(args, commands, f"writes {place}, and runs"):
        return ExitStatus.NOT_SUCCESSFUL
    plugin.write(args.host, os.environ)
    _carry_out(commands)
    found, way = plugin.seen(args.host, os.environ), WAYS[args.host]
    is_trusted = plugin_doctor.is_trusted(args.host, found, here(), os.environ)
    then = way.then if is_trusted else f"{way.then}; first {way.trust}"
    told = {"host": args.host, "folder": found.folder, "version": found.version, "commands": commands}
    told |= {"installed": found.is_enabled, "next": then}
    answer(args, told, f"{'installed' if found.is_enabled else 'turned off'}: {found.folder}\nnext: {then}")
    return ExitStatus.OK if found.is_enabled else ExitStatus.RUNTIME


def add_plugin_remove(parser: Parser) -> None:
    _add_host(parser, "remove")
    parser.add_argument("--yes", action="store_true", help="skip the confirmation")


def run_plugin_remove(args: Namespace) -> int:
    from runner.usecases import plugin

    _refuse_run()
    commands = plugin.removing(args.host, os.environ)
    if not _agreed(args, commands, "ends the delegation modes of this host, and runs"):
        return ExitStatus.NOT_SUCCESSFUL
    _carry_out(commands)
    removed = plugin.remove(args.host, os.environ) or bool(commands)
    text = f"removed{WAYS[args.host].left}" if removed else f"{args.host} had no plugin of this runner"
    answer(args, {"host": args.host, "removed": removed}, text)
    return ExitStatus.OK


def add_plugin_print(parser: Parser) -> None:
    parser.add_argument(
        "--snippet", action="store_true", help="lines for a file with instructions to agents instead"
    )
    parser.examples("runner plugin print --snippet >> AGENTS.md", "runner plugin print --json")


def run_plugin_print(args: Namespace) -> int:
    from runner.usecases import plugin

    files = {name: data.decode() for name, data in plugin.wanted().items() if name[-4:] != ".png"}
    if args.snippet:
        snippet = files["plugins/runner/snippet.md"]
        answer(args, {"text": snippet}, snippet.rstrip())
    else:
        answer(args, {"files": files}, "\n".join(f"==> {name}\n{text}" for name, text in files.items()))
    return ExitStatus.OK


def add_plugin_doctor(parser: Parser) -> None:
    _add_host(parser, "doctor")


def run_plugin_doctor(args: Namespace) -> int:
    from runner.cli.setup import print_checks
    from runner.usecases import doctor, plugin_doctor

    checks = plugin_doctor.examine(args.host, here(), os.environ)
    ready = doctor.ready(checks)
    if args.format == "json":
        emit({"ready": ready, "checks": [check.to_json() for check in checks]})
        return ExitStatus.OK if ready else ExitStatus.RUNTIME
    print_checks(checks)
    if not ready:
        failed = ", ".join(check.name for check in checks if check.verdict == "fail")
        raise NotReady(f"delegation mode would not hold in {args.host}: {failed}")
    return ExitStatus.OK


def _refuse_run() -> None:
    """PeopleOnly inside of a run: which hooks a person's host obeys is no agent's to say."""
    from runner.usecases import find, ledger

    ledger.refuse_run(ledger.person_or_run(find.find_root(here()), os.environ))


def _agreed(args: Namespace, commands: Sequence[Sequence[str]], what: str) -> bool:
    """UsageError without a terminal to ask at."""
    if commands:
        pen.tell("\n  ".join((f"{what}:", *map(shlex.join, commands))))
    said = True if args.yes or not commands else confirm("go on?")
    if said is None:
        raise UsageError("nothing was done: there is no terminal to ask at", hint="add --yes")
    return said


def _carry_out(commands: Sequence[Sequence[str]]) -> None:
    from runner.cli.foreground import run_in_foreground

    for command in commands:
        if status := run_in_foreground(list(command), here()):
            raise PluginFailed(f"`{shlex.join(command)}` ended with {status}")
