"""The verb `record`."""

from __future__ import annotations

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, add_run, run_named
from runner.cli.render import answer
from runner.errors import ExitStatus
from runner.text.words import count, one_line
from runner.usecases import record


def add_record(parser: Parser) -> None:
    add_run(parser, default="@done")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the script to write (TASK.cassette.toml); of a plan, a folder"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--no-delays", action="store_true", help="leave out how long each answer took")
    parser.examples(
        "runner record fix-auth",
        "runner record fix-auth -o tests/fix-auth.toml --no-delays",
        "runner start --task fix-auth --rehearse tests/fix-auth.toml",
        "runner record @plan -o tests/feature      a folder, with a script for each run",
    )


def run_record(args: Namespace) -> int:
    run = run_named(args.run)
    is_plan = run.read_manifest().plan is not None
    place = args.output or f"{run.task_id}.cassette{'s' if is_plan else '.toml'}"
    made = record.record(run, place, force=args.force, delays=not args.no_delays)
    told = "\n".join(f"{one_line(one.path)}: {count(one.turns, 'turn')}" for one in made)
    answer(args, {"run_id": run.run_id, "cassettes": [one.to_json() for one in made]}, told)
    for one in made:
        for note in one.notes:
            pen.note(one_line(f"{one.path}: {note}" if is_plan else note))
    return ExitStatus.OK
