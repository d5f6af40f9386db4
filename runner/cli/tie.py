"""With which process a run is to end, as the options and the environment say it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.cli.parser import Namespace, Parser
    from runner.model import Identity


def add_tie(parser: Parser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--tie", action="store_true", help="end the run when the process that calls runner has ended"
    )
    group.add_argument(
        "--tie-pid",
        type=int,
        metavar="PID",
        help="end the run when this process has ended (in CI, with --wait: this command itself)",
    )


def tied_to(args: Namespace) -> Identity | None:
    """None: the run goes on whatever ends. UsageError where there is no such process.

    What waits for a run in a CI job is the job: when that is cancelled, nobody would look at the run again.
    """
    if args.tie_pid is not None:
        pid = args.tie_pid
    elif args.tie:
        pid = os.getppid()
    elif (args.wait or args.follow) and os.environ.get("CI") == "true":
        pid = os.getpid()
    else:
        return None
    from runner.usecases.control import living

    return living(pid)
