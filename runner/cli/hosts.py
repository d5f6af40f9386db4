"""The verbs of hosts: mode on, mode off, mode show."""

from __future__ import annotations

import os

from runner.cli import pen
from runner.cli.actions import add_actions
from runner.cli.parser import HIDDEN, Namespace, Parser, here
from runner.cli.render import answer, emit
from runner.disk.decisions import name_of
from runner.errors import ExitStatus
from runner.hosts.mode import HOSTS, LEVELS, Broken, Mode, every, read, session_here
from runner.text.words import one_line
from runner.usecases.find import find_root


def add_mode(parser: Parser) -> None:
    parser.examples("runner mode show", "runner mode on codex", "runner mode off")
    add_actions(parser, "mode")


def _add_session(parser: Parser) -> None:
    parser.add_argument("--host", choices=HOSTS, help="the host (default: the one that this is typed in)")
    parser.add_argument(
        "--session", metavar="ID", help="its session (default: the one that this is typed in)"
    )


def add_mode_on(parser: Parser) -> None:
    whom = "the task or runtime that makes the changes (default: [host] task, or the only one that may write)"
    parser.add_argument("target", metavar="TARGET", nargs="?", help=whom)
    parser.add_argument("provider", metavar="PROVIDER", nargs="?", help="who serves its model")
    _add_session(parser)
    what = "strict: only calls on an exact list; guide: all but tools that edit (default: [host] level)"
    parser.add_argument("--level", choices=LEVELS, help=what)
    # The hook of Claude Code says so, which would not be asked if it held nothing.
    parser.add_argument("--held", action="store_true", help=HIDDEN)
    parser.examples(
        "runner mode on                 in a shell of the host",
        "runner mode on fix-auth        runs of this task make the changes",
        "runner mode on kay xiaomi      those of the task that runs with it, and this provider",
        "runner mode on codex --host claude --session 0b5e8a62-7c1c-4f6e-9a51-2f1de0a3c8b7",
    )


def run_mode_on(args: Namespace) -> int:
    from runner import config
    from runner.usecases import mode as modes

    session = modes.session_of(args.host, args.session, os.environ)
    settings = config.load(here(), env=os.environ)
    asked = (args.target, args.provider, args.level, args.held)
    mode, before = modes.on(settings, os.environ, session, *asked)
    replaced = before.target if isinstance(before, Mode) else None
    itself = one_line(", ".join(mode.may_edit)) or "nothing"
    text = f"delegation to {mode.runtime} is on: task {mode.task}, level {mode.level}"
    text += f"\nthe host itself may edit {itself}" + (f"\nbefore, it was to {replaced}" if replaced else "")
    answer(args, {**mode.to_json(), "replaced": replaced}, text)
    return ExitStatus.OK


def add_mode_off(parser: Parser) -> None:
    _add_session(parser)
    parser.add_argument("--of", metavar="RUNTIME", help="only if delegation is to this runtime")
    parser.add_argument("--all", action="store_true", help="in every session of every host")
    parser.examples("runner mode off", "runner mode off --of kay", "runner mode off --all")


def run_mode_off(args: Namespace) -> int:
    from runner.usecases import mode as modes

    if args.all:
        found = every(os.environ)
    else:
        one = read(*modes.session_of(args.host, args.session, os.environ), os.environ)
        found = [] if one is None else [one]
    ended = [one for one in found if modes.off(os.environ, one, args.of)]
    told = [(modes.shown(one)["runtime"] or "nobody knows whom", one in ended) for one in found]
    lines = [f"delegation to {whom} {'is off' if is_off else 'goes on'}" for whom, is_off in told]
    answer(args, {"ended": [modes.shown(one) for one in ended]}, "\n".join(lines) or "delegation was not on")
    return ExitStatus.OK


def add_mode_show(parser: Parser) -> None:
    _add_session(parser)
    parser.add_argument("-a", "--all", action="store_true", help="those of other repositories, too")
    parser.examples("runner mode show", "runner mode show --all --json")


def run_mode_show(args: Namespace) -> int:
    from runner.usecases import mode as modes

    own = None
    if args.host or args.session or session_here(os.environ):
        own = read(*modes.session_of(args.host, args.session, os.environ), os.environ)
    root = name_of(find_root(here()))
    found = [one for one in every(os.environ) if args.all or isinstance(one, Broken) or one.repo == root]
    if args.format == "json":
        emit({"here": own and modes.shown(own), "modes": [modes.shown(one) for one in found]})
        return ExitStatus.OK
    for one in found:
        mark = "*" if one == own else " "
        told = modes.shown(one)
        what = f"to {one.runtime}: task {one.task}, level {one.level}" if isinstance(one, Mode) else one.why
        pen.say(f"{mark} {one.host} {one.session}  {one_line(what)}  ({told['host_process']})")
    if own is None:
        pen.tell("(delegation is on in no session)" if not found else "(not in this session)")
    return ExitStatus.OK
