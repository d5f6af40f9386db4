"""The verb `logs`."""

from __future__ import annotations

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, add_run, run_named
from runner.cli.render import emit
from runner.errors import ExitStatus, UsageError
from runner.usecases import logs, look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner.state.manifest import Manifest
    from runner.state.store import RunDir


def add_logs(parser: Parser) -> None:
    add_run(parser, default="@latest")
    parser.add_argument("-f", "--follow", action="store_true", help="follow the run until it is done")
    parser.add_argument(
        "--stream",
        choices=logs.STREAMS,
        default="events",
        help="readable events (default), the raw streams, or the last message",
    )
    parser.add_argument(
        "--only",
        action="store_true",
        help="leave out the runs that this one has started, as the batches of a plan",
    )
    parser.add_argument("-n", "--tail", type=int, metavar="N", help="start with the last N entries")
    parser.add_argument(
        "--raw", action="store_true", help="also what could not be redacted, as a secret's value is not known"
    )
    parser.examples(
        "runner logs -f",
        "runner logs build -f --only            of a plan without its batches",
        "runner logs hello --stream stderr --tail 20",
        "COLUMNS=100 runner logs | less",
    )


def run_logs(args: Namespace) -> int:
    if args.tail is not None and args.tail < 0:
        raise UsageError("--tail takes a number of entries, 0 or more")
    run = run_named(args.run)
    manifest = look.show(run).manifest
    unknown = () if args.raw else logs.unknown_secrets(run, manifest)
    if unknown:
        pen.note(
            f"the value of {' and '.join(unknown)} is not known here, so what the agent wrote is withheld: "
            "set it as it was, or add --raw"
        )
    is_story = args.format == "text" and args.stream == "events"
    reader = (
        story_of(run, manifest, raw=args.raw, alone=args.only)
        if is_story
        else logs.Reader(run, manifest, withhold=bool(unknown))
    )
    if args.follow:
        show(args, logs.follow(reader, args.stream, tail=args.tail, is_done=lambda: look.is_done(run)))
        return ExitStatus.OK
    found = logs.read(reader, args.stream, final=manifest.is_done, tail=args.tail)
    if args.format == "json":
        emit({"run_id": run.run_id, "lines": [line.to_json() for line in found]})
    else:
        show(args, found)
    return ExitStatus.OK


def story_of(run: RunDir, manifest: Manifest, *, raw: bool = False, alone: bool = False) -> logs.Reader:
    """What people read; only they pay for it."""
    from runner.usecases.story import Story

    return Story(run, manifest, raw=raw, alone=alone)


def show(args: Namespace, lines: Iterable[logs.LogLine]) -> None:
    """Each as it comes."""
    if args.format == "json":
        for line in lines:
            emit(line.to_json())
        return
    from runner.cli.story import Transcript

    transcript = Transcript()
    for line in lines:
        pen.say(transcript.text(line), flush=args.follow)
