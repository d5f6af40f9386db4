"""The verbs of a conversation with the agent of a run: send, await, open, end."""

from __future__ import annotations

import os
import sys

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, WrongText, add_run, add_settings, duration, run_named, stdin
from runner.cli.render import answer, emit, indented
from runner.errors import ExitStatus
from runner.model import Phase
from runner.state import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Json
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir
    from runner.usecases.talk import Sent

_TIMED_OUT = ("timeout", "stalled", "no_first_event")


def add_send(parser: Parser) -> None:
    from runner.cli.gate import add_trust

    add_run(parser)
    parser.add_argument("text", metavar="TEXT", help="`-` is stdin; `/quit` ends the run and returns at once")
    parser.add_argument(
        "--now", action="store_true", help="interrupt the turn that goes on, instead of waiting for its end"
    )
    parser.add_argument("--key", metavar="KEY", help="sent twice with the same key, it is one message")
    parser.add_argument("--wait", action="store_true", help="wait for the answer, as `runner await`")
    parser.add_argument("--timeout", type=duration, metavar="D", help="with --wait: give up after this long")
    parser.add_argument(
        "--allow-danger", action="store_true", help="for a follow-up run in a sandbox of that level"
    )
    add_trust(parser)
    add_settings(parser)
    parser.examples(
        'runner send fix-auth "Now look at the sessions, too."',
        'runner send 5c16 --now "Stop: leave the public API as it is."',
        "git diff | runner send 5c16 - --wait",
        "runner send 5c16 /quit",
        note="A text that begins with `-` goes behind `--`. To a run that has ended, the text begins\na "
        "follow-up run in the same session.",
    )


def run_send(args: Namespace) -> int:
    from runner.state.messages import checked_key
    from runner.usecases import look, talk

    text = stdin() if args.text == "-" else args.text
    run, key = run_named(args.run), checked_key(args.key)
    if text.strip() == talk.QUIT:
        return _ended(args, run, talk.end(run, actor=speaker(run)), waits=args.wait)
    talk.checked(text)
    actor = speaker(run)
    manifest = look.look(run)
    if manifest.is_done:
        if actor != "user":
            from runner.delegation.caller import RunOver

            raise RunOver(f"run `{run.run_id}` has ended ({manifest.status})")
        return _follow_up(args, run, text, key)
    sent = talk.send(run, text, actor=actor, now=args.now, key=key)
    return _tell(args, run, sent)


def speaker(run: RunDir) -> str:
    """An agent speaks to those of runs below its own, and to no other one; nor may it end those."""
    from runner.usecases import control

    if not (inside := tuple(control.markers(os.environ))):
        return "user"
    from runner.delegation import caller

    return caller.speaker(run, inside)


def _tell(args: Namespace, run: RunDir, sent: Sent) -> int:
    if args.wait:
        return tell_turn(args, run, None, timeout_s=args.timeout, message=sent.message)
    at = "" if sent.turn is None else f" --turn {sent.turn}"
    answer(args, sent.told(run), f"{sent_text(sent)}\nawait    runner await {_name(args, run)}{at}")
    return ExitStatus.OK


def sent_text(sent: Sent) -> str:
    """What became of a message so far."""
    words = {
        "begun": f"turn {sent.turn} has begun",
        "interrupted": f"the turn was interrupted, and turn {sent.turn} has begun",
        "follow_up": "began this run",
        "queued": "queued" if sent.turn is None else f"queued as turn {sent.turn}",
    }
    return f"{sent.message}: {words[sent.state]}{' (sent before)' if sent.is_repeated else ''}"


def _follow_up(args: Namespace, run: RunDir, text: str, key: str | None) -> int:
    from runner.cli.gate import pass_gate
    from runner.cli.parser import settings
    from runner.usecases import follow_up, retry

    config = settings(args)
    pass_gate(args, config, rehearses=retry.rehearses(run), task=run.task_id)
    begun, sent = follow_up.start(config, run, os.environ, text, key=key, allow_danger=args.allow_danger)
    if begun is run:
        return _tell(args, run, sent)
    if args.wait:
        return tell_turn(args, begun, 1, timeout_s=args.timeout)
    name = _name(args, begun)
    text = f"{begun.run_id} goes on in the session of {_name(args, run)}\nawait    runner await {name}"
    above = {
        "task_id": run.task_id,
        "run_id": run.run_id,
        "manifest_path": run.manifest.removeprefix(f"{run.repo}/"),
    }
    answer(args, sent.told(begun, above), text)
    return ExitStatus.OK


def add_await(parser: Parser) -> None:
    add_run(parser, default="@latest")
    parser.add_argument(
        "--turn", type=_number, metavar="N", help="that turn (default: the last one that was asked for)"
    )
    parser.add_argument("--timeout", type=duration, metavar="D", help="give up after this long (exit 75)")
    parser.examples(
        "runner await fix-auth",
        "runner await 5c16 --turn 2 --timeout 10m --json",
        note="Prints what the agent has said, the moment that the turn has ended.",
    )


def add_open(parser: Parser) -> None:
    add_run(parser)
    parser.examples(
        "runner open fix-auth",
        'eval "$(runner open 5c16)"',
        note="It is not executed. There your own settings apply, and not the sandbox and checks of the run.",
    )


def run_open(args: Namespace) -> int:
    from runner.usecases.opening import opening

    opened, manifest = opening(run_named(args.run), os.environ)
    if not manifest.is_done:
        both = "the command and runner would both write the session; `runner end RUN` ends the run"
        pen.warn(f"the run is {manifest.status}: {both}")
    if manifest.rehearsal:
        pen.warn("the run is a rehearsal: the command asks the real provider")
    answer(args, opened.to_json(), opened.command)
    return ExitStatus.OK


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise WrongText(f"not the number of a turn: {text[:40]!r}")
    return int(text)


def run_await(args: Namespace) -> int:
    return tell_turn(args, run_named(args.run), args.turn, timeout_s=args.timeout)


def tell_turn(
    args: Namespace,
    run: RunDir,
    number: int | None,
    *,
    timeout_s: float | None = None,
    message: str | None = None,
) -> int:
    """What came of that turn, or of that in which its agent got the `message`, once it has ended."""
    from runner.cli.heartbeat import heartbeat
    from runner.usecases import talk

    tick = heartbeat(at_once=True)
    if message is None:
        turn = talk.await_turn(run, number, timeout_s=timeout_s, tick=tick)
    else:
        turn = talk.await_answer(run, message, timeout_s=timeout_s, tick=tick)
    record, manifest = turn.record, turn.manifest
    if args.format == "json":
        emit({**record, "run_status": manifest.status, "files": talk.changed_files(run)})
    else:
        if said := record.get("message"):
            pen.say(said)
        if record.get("status") != "completed":
            pen.tell(_amiss(record, manifest))
        if manifest.phase is Phase.WAITING:
            from runner.cli.turns import next_text

            pen.tell(f"next     {indented(next_text(run, manifest, _name(args, run)), 9, sys.stderr)}")
    return _exit_of(record, manifest)


def _amiss(record: Json, manifest: Manifest) -> str:
    reason = record.get("reason") or {}
    if record.get("status") is None:
        why = "" if manifest.reason is None else f": {manifest.reason.message}"
        n = record.get("turn")
        what = f"turn {n} has ended, and its record cannot be read" if n else "no turn has ended"
        return f"{what}: the run is {manifest.status}{why}"
    return f"turn {record['turn']} {record['status']}: {reason.get('message')}"


def _exit_of(record: Json, manifest: Manifest) -> int:
    """0 for a turn that was completed; else as a run that ended so."""
    code = (record.get("reason") or {}).get("code")
    if record.get("status") == "completed":
        return ExitStatus.OK
    if record.get("turn") is None:
        return manifest.exit_status  # it ended without one
    if code in _TIMED_OUT:
        return ExitStatus.TIMED_OUT
    return ExitStatus.BUDGET if code == "budget_exceeded" else ExitStatus.NOT_SUCCESSFUL


def add_end(parser: Parser) -> None:
    add_run(parser)
    parser.add_argument("--timeout", type=duration, metavar="D", help="give up after this long (exit 75)")
    parser.examples(
        "runner end fix-auth",
        note="What was sent before is heard first. The run is judged once, over all its turns.",
    )


def run_end(args: Namespace) -> int:
    from runner.usecases import talk

    run = run_named(args.run)
    return _ended(args, run, talk.end(run, actor=speaker(run)), waits=True)


def _ended(args: Namespace, run: RunDir, manifest: Manifest, *, waits: bool) -> int:
    from runner.usecases import control

    if waits and not manifest.is_done:
        manifest = control.wait([run], timeout_s=args.timeout)[0]
    if manifest.is_done:
        from runner.cli.end import end_text

        answer(args, manifest.to_json(), "" if args.format == "json" else end_text(run, manifest))
        return manifest.exit_status
    answer(
        args,
        manifest.to_json(),
        f"{_name(args, run)} is being ended\nwait     runner wait {_name(args, run)}",
    )
    return ExitStatus.OK


def _name(args: Namespace, run: RunDir) -> str:
    return run.run_id if args.format == "json" else index.short_name(run.repo, run.run_id)
