"""The verbs over all runs that wait for something: events, inbox."""

from __future__ import annotations

import select
import sys

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, here
from runner.cli.render import emit, indented
from runner.errors import ExitStatus, UsageError
from runner.state import index
from runner.text.words import count, one_line
from runner.usecases import events, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Json


_LONGEST = 500
"""Characters of a question."""


def add_events(parser: Parser) -> None:
    parser.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="wait for more; without --since only what comes from now on",
    )
    parser.add_argument("--since", type=int, metavar="SEQ", help="only the events after this number")
    parser.add_argument("--session", metavar="ID", help="only runs that were started in this agent session")
    parser.examples(
        "runner events",
        "runner events --follow --format json    one document a line, as it comes",
        'runner events --follow --session "$CLAUDE_CODE_SESSION_ID"',
    )


def run_events(args: Namespace) -> int:
    if args.since is not None and args.since < 0:
        raise UsageError("--since takes the number of an event, 0 or more")
    root = find.find_root(here())
    names = index.ShortNames(root)
    if args.follow:
        for event in events.follow(root, args.since, _tell_missed, _pause):
            if _fits(args, event):
                emit(event) if args.format == "json" else pen.say(_text(names, event))
                sys.stdout.flush()
    found, missed = events.read(root, args.since)
    if missed:
        _tell_missed(missed)
    fitting = [event for event in found if _fits(args, event)]
    if args.format == "json":
        emit({"events": fitting, "last": found[-1]["seq"] if found else args.since or 0})
    for event in fitting if args.format == "text" else ():
        pen.say(_text(names, event))
    return ExitStatus.OK


def add_inbox(parser: Parser) -> None:
    parser.add_argument("--wait", action="store_true", help="return as soon as something waits")
    parser.examples("runner inbox", "runner inbox --wait --format json")


def run_inbox(args: Namespace) -> int:
    from runner.usecases import inbox  # who reads the feed needs no redactor

    root = find.find_root(here())
    items = inbox.wait(root, _pause) if args.wait else inbox.waiting(root)
    if args.format == "json":
        emit({"items": [item.to_json() for item in items]})
        return ExitStatus.OK
    if not items:
        pen.tell("nothing waits for you")
    names = index.short_names(index.folders(root)) if items else {}
    for item in items:
        name = names.get(item.run_id or "", item.run_id)
        told = "".join(f"{word}  " for word in (name, item.task_id) if word)
        text = indented(f"{told}{one_line(item.text, _LONGEST)}", is_foreign=True)
        pen.say(f"{pen.paint(f'{item.kind:<9}', 'bold')} {text}")
        for command in item.commands:
            pen.say(f"{'':<9} {command.replace(item.run_id, name) if item.run_id and name else command}")
    return ExitStatus.OK


def _fits(args: Namespace, event: Json) -> bool:
    return args.session is None or args.session in event["sessions"]


def _tell_missed(number: int) -> None:
    pen.note(f"{count(number, 'event')} are gone: `runner clean` or the limit of 16 MiB has taken them out")


def _pause(seconds: float) -> None:
    """BrokenPipeError once nobody reads any more what we print: until the next event, nothing else tells."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if poll.poll(seconds * 1000):
        raise BrokenPipeError


def _text(names: index.ShortNames, event: Json) -> str:
    at, kind, name = event["at"][:19], event["event"], names[event["run_id"]]
    head = f"{at}Z  {kind:<13}  {name:<4}  {event['task_id']}"
    prompt = event.get("prompt") or event.get("message", "")
    reason, has_status = event.get("reason"), event["event"] in ("ended", "settled", "turn")
    told = event["status"] if has_status else ""
    if event["event"] == "turn":
        told = f"{event['turn']} {told}:"
    if event["question"] is not None:
        told = f"{event['question']} to {event['to']} {told}".rstrip()
    if reason is not None and reason["code"] != "completed":
        told += f" ({reason['code']}: {reason['message']})"
    text = indented(f"{head}  {one_line(f'{told} {prompt}')}", 7, is_foreign=True)
    return f"{event['seq']:>5}  {text}"
