"""The verb that runs checks alone: verify."""

from __future__ import annotations

import os
import signal

from runner.cli import pen
from runner.cli.gate import add_trust, pass_gate
from runner.cli.parser import Namespace, Parser, add_settings, run_named, settings
from runner.cli.render import emit
from runner.errors import ExitStatus, UsageError
from runner.text.terminal import clean_terminal
from runner.text.words import one_line
from runner.usecases import recheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.usecases.recheck import Rechecked


def add_verify(parser: Parser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        metavar="TASK|RUN",
        help="a task: its checks in your tree, now; a run id or its prefix, a manifest path or @latest: the "
        "checks of that run on its change. Default: those of all tasks",
    )
    add_trust(parser)
    add_settings(parser)
    parser.examples(
        *("runner verify", "runner verify fix-auth", "runner verify @latest --format json"),
        note="No agent is asked, and how a run ended does not change.",
    )


def run_verify(args: Namespace) -> int:
    ends: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) != signal.SIG_IGN:  # the check is ended, and then we are
            signal.signal(number, lambda given, _: ends.append(given))
    found = _checked(args, lambda: bool(ends))
    if ends:
        raise KeyboardInterrupt
    if not any(one.checks for one in found):
        raise UsageError("there is nothing to verify", hint="`verify` of a task names its checks")
    passed = all(one.passed for one in found)
    if args.format == "json":
        emit({"passed": passed, "verified": [{**one.to_json(), "passed": one.passed} for one in found]})
    else:
        for one in found:
            _say(one)
    return ExitStatus.OK if passed else ExitStatus.REJECTED


def _checked(args: Namespace, cancelled: Callable[[], bool]) -> tuple[Rechecked, ...]:
    config = settings(args)
    if args.name is not None and args.name not in config.tasks:
        return (recheck.of_run(run_named(args.name), config.policy, os.environ, cancelled),)
    pass_gate(args, config, rehearses=False)
    names = tuple(config.tasks) if args.name is None else (args.name,)
    return recheck.of_tasks(config, names, os.environ, cancelled)


def _say(one: Rechecked) -> None:
    for check in one.checks:
        how = "passed" if check.passed else check.how
        pen.say(f"{one_line(one.subject)}: `{one_line(check.command)}` {how} ({check.duration_s:.1f} s)")
        if not check.passed and check.tail:
            pen.say(clean_terminal(check.tail), end="" if check.tail.endswith("\n") else "\n")
    for note in one.notes:
        pen.note(note)
