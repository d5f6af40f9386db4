"""The verb `logs`."""

from __future__ import annotations

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, add_run, run_named
from runner.cli.render import emit, line_text
from runner.errors import ExitStatus, UsageError
from runner.usecases import logs, look


def add_logs(parser: Parser) -> None:
    add_run(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="follow the run until it is done")
    parser.add_argument(
        "--stream",
        choices=logs.STREAMS,
        default="events",
        help="readable events (default), the raw streams, or the last message",
    )
    parser.add_argument("--tail", type=int, metavar="N", help="start with the last N lines")
    parser.add_argument(
        "--raw", action="store_true", help="also what could not be redacted, as a secret's value is not known"
    )
    parser.examples("runner logs @latest -f", "runner logs hello --stream stderr --tail 20")


def run_logs(args: Namespace) -> int:
    if args.tail is not None and args.tail < 0:
        raise UsageError("--tail takes a number of lines, 0 or more")
    run = run_named(args.run)
    manifest = look.show(run).manifest
    unknown = () if args.raw else logs.unknown_secrets(run, manifest)
    if unknown:
        pen.note(
            f"the value of {' and '.join(unknown)} is not known here, so what the agent wrote is withheld: "
            "set it as it was, or add --raw"
        )
    if args.follow:
        lines = logs.follow(
            run,
            manifest,
            stream=args.stream,
            tail=args.tail,
            is_done=lambda: look.is_done(run),
            withhold=bool(unknown),
        )
        for line in lines:
            if args.format == "json":
                emit(line.to_json())
            else:
                pen.say(text(line), flush=True)
        return ExitStatus.OK
    found = logs.read(run, manifest, stream=args.stream, tail=args.tail, withhold=bool(unknown))
    if args.format == "json":
        emit({"run_id": run.run_id, "lines": [line.to_json() for line in found]})
    else:
        for line in found:
            pen.say(text(line))
    return ExitStatus.OK


def text(line: logs.LogLine) -> str:
    """A raw stream's line as it is, an event in columns."""
    return line.text if line.kind in ("stdout", "stderr", "last") else line_text(line)
