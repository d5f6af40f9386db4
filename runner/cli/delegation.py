"""The verbs of delegation: answer and delegate-server."""

from __future__ import annotations

import os
import shlex
import sys

from runner.cli import pen
from runner.cli.ask import can_ask, confirm, drop_typed, text_of, typed
from runner.cli.foreground import run_in_foreground
from runner.cli.parser import Namespace, Parser, add_run, here, run_named
from runner.cli.render import emit, questions_text
from runner.disk import programs
from runner.errors import ExitStatus, RunnerError, UsageError
from runner.runtimes import NAMES, get
from runner.state.index import short_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.store import RunDir

_LONGEST_ANSWER = 1024 * 1024


def add_answer(parser: Parser) -> None:
    add_run(parser)
    parser.add_argument("question", metavar="QUESTION", help="its id, e.g. q-0001 (`runner status RUN`)")
    parser.add_argument(
        "text",
        metavar="TEXT",
        nargs="?",
        help="the answer; `-` is stdin (default: the question is shown, and a line is asked for)",
    )
    parser.examples(
        "runner answer @latest q-0001",
        'runner answer @latest q-0001 "Yes, both tables."',
    )


def run_answer(args: Namespace) -> int:
    from runner.delegation.caller import NotYours
    from runner.usecases import control, logs

    run = run_named(args.run)
    if run.manifest in control.markers(os.environ):
        raise NotYours("a run does not answer its own questions")
    try:
        text = _typed(run, args.question) if args.text is None else _text(args.text)
        question = control.answer(run, args.question, text, actor="user")
    finally:
        is_more = args.text is None and can_ask() and drop_typed()
    if is_more:
        hint = "`runner answer RUN QUESTION -` takes several lines"
        pen.note(f"the first line was the answer, and what came behind it was dropped ({hint})")
    if args.format == "json":
        shown = logs.asked(run, run.read_manifest())
        emit(next(one for one in shown if one.id == question.id).to_json())
    else:
        pen.say(f"{short_name(run.repo, run.run_id)} {question.id} {question.status}")
    return ExitStatus.OK


def _typed(run: RunDir, question_id: str) -> str:
    """What a person types below the question."""
    from runner.state import questions
    from runner.usecases import logs

    if not can_ask():
        hint = "put the answer behind the id of the question, or `-` to read it from stdin"
        raise UsageError("no answer was given, and there is no terminal to ask at", hint=hint)
    questions.still_open(run, question_id)
    pen.tell(questions_text([one for one in logs.asked(run, run.read_manifest()) if one.id == question_id]))
    line = typed("answer (an empty line leaves it open): ")
    if not line.endswith(b"\n") or not line.strip():
        raise UsageError("not answered; the question stays open")
    return text_of(line).strip()


def _text(word: str) -> str:
    data = sys.stdin.buffer.read(_LONGEST_ANSWER + 1) if word == "-" else os.fsencode(word)
    if len(data) > _LONGEST_ANSWER:
        raise UsageError(f"the answer has more than {_LONGEST_ANSWER:,} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the answer is not valid UTF-8 (byte {error.start + 1})") from None


def add_delegate_server(parser: Parser) -> None:
    parser.add_argument("--repo", metavar="DIR", help="the repository (default: the one around this folder)")
    parser.add_argument("--manifest", metavar="PATH", help="act for this run, with its rights only")
    parser.add_argument(
        "--mode",
        choices=("full", "status", "question", "ledger"),
        default="full",
        help="offer every tool (default), only delegate.status, or that and the questions, or the ledger",
    )
    parser.add_argument("--config", metavar="FILE", help="delegate.toml that spawned runs are started with")
    parser.add_argument(
        "--register",
        choices=tuple(NAMES),
        metavar="HOST",
        help=f"register this server with an agent CLI ({', '.join(NAMES)}) instead of serving",
    )
    parser.add_argument("--yes", action="store_true", help="with --register: skip the confirmation")
    parser.examples(
        "runner delegate-server --repo .             serve on stdio, for the owner of the repository",
        "runner delegate-server --register codex     show the command, ask, and register it",
    )


def run_delegate_server(args: Namespace) -> int:
    from runner.usecases import find

    repo = os.path.abspath(args.repo) if args.repo else find.find_root(here())
    if args.register:
        return _register(args, repo)
    from runner.delegation.caller import caller
    from runner.delegation.server import serve
    from runner.usecases.login import refuse_cut_off

    refuse_cut_off()  # it could not even wake itself
    who = caller(repo, _started_for(repo, args.manifest), args.mode, args.config)
    serve(who)


def _started_for(repo: str, named: str | None) -> str | None:
    """The manifest of the run that it acts for: the one that it was started in, whatever is said. Outside of
    all runs it is the one that is named; without one it acts for the owner.

    The host of a run that has no delegation starts a registered server too, and is not the owner.
    """
    from runner.delegation.caller import NotYours
    from runner.usecases.find import by_manifest_path
    from runner.usecases.inside import run_around

    try:
        around = run_around(repo, os.environ)
    except RunnerError as error:
        raise UsageError(
            f"started in a run that cannot act for {repo}: {error.message}",
            hint='if that run is of another repository, set server = "inline" in [delegation] there',
        ) from None
    if around is None:
        return named
    if named is not None and by_manifest_path(repo, named).path != around.path:
        raise NotYours(f"started in run `{around.run_id}`, and that one acts for itself alone")
    return around.manifest


def _register(args: Namespace, repo: str) -> int:
    from runner.runtimes import locate

    ours = os.path.abspath(programs.on_path("runner", os.environ) or sys.argv[0])
    server = (ours, "delegate-server", "--repo", repo, "--mode", args.mode)
    runtime = get(args.register)
    words = runtime.register(server)
    if words is None:
        raise UsageError(
            f"runner knows no command with which {runtime.title} registers a server",
            hint="its own settings say which MCP servers it starts; a run needs none, see [delegation]",
        )
    command = [runtime.candidates[0], *words]
    pen.tell(shlex.join(command))
    said = True if args.yes else confirm("register it?")
    if said is None:
        raise UsageError("nothing was registered", hint="run the command above, or add --yes")
    if not said:
        return ExitStatus.NOT_SUCCESSFUL
    # It may be the binary of a PyPI package, which is not on PATH.
    program = locate.locate(runtime, runtime.defaults(), os.environ, None)[0]
    exit_code = run_in_foreground([program, *words], repo)
    if args.format == "json":
        emit({"host": args.register, "command": command, "registered": exit_code == 0})
    return ExitStatus.OK if exit_code == 0 else ExitStatus.NOT_SUCCESSFUL
