"""The verbs over all runs that wait for something: events, inbox."""

from __future__ import annotations

import os
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
    from collections.abc import Callable

    from runner.model import Json


_LONGEST = 500
"""Characters of a question."""
_KNOWN = ("schema_version", "seq", "at", "event", "run_id", "task_id", "question")
"""What is no word of an agent."""


def add_events(parser: Parser) -> None:
    parser.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="wait for more; without --since only what comes from now on",
    )
    parser.add_argument("--since", type=int, metavar="SEQ", help="only the events after this number")
    parser.add_argument("--session", metavar="ID", help="only runs that were started in this agent session")
    parser.add_argument(
        "--surface",
        action="store_true",
        help="only what needs the host that delegates, as a few marked lines for its model; of several with "
        "--follow in the same Claude Code one tells it",
    )
    parser.examples(
        "runner events",
        "runner events --follow --format json    one document a line, as it comes",
        'runner events --follow --session "$CLAUDE_CODE_SESSION_ID"',
    )


def run_events(args: Namespace) -> int:
    if args.since is not None and args.since < 0:
        raise UsageError("--since takes the number of an event, 0 or more")
    root = find.find_root(here())
    text_of = (_surface if args.surface else _texts)(args, root)

    def shown(event: Json, text: str) -> Json:
        return (
            {**{name: event[name] for name in _KNOWN}, "lines": text.split("\n")} if args.surface else event
        )

    if args.follow:
        for event in events.follow(root, args.since, _tell_missed, _pause):
            if text := text_of(event):  # in one write, which a host takes for one notification
                emit(shown(event, text)) if args.format == "json" else pen.say(text)
                sys.stdout.flush()
    found, missed = events.read(root, args.since)
    if missed:
        _tell_missed(missed)
    fitting = [(event, text) for event in found if (text := text_of(event))]
    if args.format == "json":
        documents = [shown(*one) for one in fitting]
        emit({"events": documents, "last": found[-1]["seq"] if found else args.since or 0})
    for _, text in fitting if args.format == "text" else ():
        pen.say(text)
    return ExitStatus.OK


def _texts(args: Namespace, root: str) -> Callable[[Json], str]:
    """What is said of an event, nothing of one that was not asked for."""
    names = index.ShortNames(root)
    return lambda event: _text(names, event) if args.session in (None, *event["sessions"]) else ""


def _surface(args: Namespace, root: str) -> Callable[[Json], str]:
    """As `_texts`, for the model of a host. In Claude Code it begins once no other one tells there."""
    from runner.runtimes import by_process
    from runner.usecases import surface

    names, host = index.ShortNames(root), by_process(os.environ)
    mine = {args.session, host} - {None}
    if args.follow and host is not None:
        surface.alone(host, root, os.environ, _pause)

    def text(event: Json) -> str:
        is_mine = not mine or not mine.isdisjoint(event["sessions"])
        return "\n".join(surface.of_event(root, event, names)) if is_mine else ""

    return text


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
