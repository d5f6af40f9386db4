"""The `runner` command: a lazy table of verbs and the one exit point. Edge: the terminal.

Only the module of the chosen verb is imported, so `status` pays for nothing that `doctor` needs.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from io import TextIOWrapper
from itertools import pairwise

from runner.cli import pen
from runner.errors import ExitStatus, Interrupted, PlatformUnsupported, RunnerError, UsageError
from runner.lightjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import NoReturn

    from runner.cli.fullparser import FullParser
    from runner.cli.parser import Namespace, Parser

gc.disable()  # while everything is imported: nothing of it is garbage, and looking costs a millisecond

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("setup", "write a delegate.toml to start from"),
    "check": ("setup", "validate the settings and the policy"),
    "tasks": ("setup", "list the tasks that can be started"),
    "config": ("setup", "show the effective settings and where each comes from"),
    "doctor": ("setup", "examine this machine, with a repair for each failed check"),
    "resolve": ("start", "print exactly what `start` would execute"),
    "plan": ("plan", "decide which units to delegate, and in which batches"),
    "pipeline": ("pipeline", "show the pipelines of the settings, stage by stage"),
    "policy": ("policy", "show what a pull request widens in the settings"),
    "trust": ("trust", "trust what the settings of a repository can do"),
    "lock": ("lock", "write down what the tasks depend on, or compare with it"),
    "consent": ("consent", "agree, once per project, to delegate plans"),
    "start": ("start", "start a task as a background run"),
    "retry": ("start", "try a finished run again, with its evidence in the prompt"),
    "list": ("runs", "list the unfinished runs, or all"),
    "watch": ("watch", "show the runs that live, as they go"),
    "status": ("runs", "show the state of a run, checked against its processes"),
    "wait": ("runs", "wait until runs are done"),
    "send": ("talk", "send a message to the agent of a run"),
    "await": ("talk", "wait until the agent of a run has ended a turn"),
    "open": ("talk", "print the command that opens its agent's own interface"),
    "end": ("talk", "end a run that waits for messages, and judge it"),
    "events": ("events", "tell what became of all runs here, as it comes"),
    "inbox": ("events", "show what waits for a person, with the commands to settle it"),
    "approve": ("approve", "let a stage of a pipeline that waits for you pass, or not"),
    "ledger": ("ledger", "what agents and people of a task tell each other"),
    "logs": ("logs", "show what a run did, readable and redacted"),
    "verify": ("recheck", "run the checks of a task or a finished run, without an agent"),
    "report": ("review", "show what a run came to: claims beside evidence"),
    "ci": ("ci", "tell CI systems what runs came to: annotations, JUnit, SARIF"),
    "stats": ("stats", "show what runs came to and cost, by task, model or day"),
    "record": ("record", "make a rehearsal script of a finished run"),
    "diff": ("review", "show the run's changes as a patch"),
    "diff-runs": ("diff_runs", "compare two runs, or one with the last that worked"),
    "accept": ("review", "merge the changes of a run with its own work tree into yours"),
    "discard": ("review", "remove such a work tree; its changes are kept as a patch"),
    "pause": ("runs", "stop every process of a run"),
    "resume": ("runs", "continue a paused run"),
    "cancel": ("runs", "end a run and all its processes"),
    "answer": ("delegation", "answer a question of a run"),
    "reap": ("runs", "bring runs without a supervisor up to date"),
    "clean": ("runs", "remove finished runs"),
    "delegate-server": ("delegation", "serve the MCP tools through which runs delegate, on stdio"),
    "mode": ("hosts", "delegation mode of a session of a host: on, off, show"),
    "plugin": ("plugin", "install the plugin of a host, and look whether it holds"),
    "audit": ("audit", "what the ledgers say of every run, and whether it is whole"),
    "schema": ("setup", "print a JSON Schema"),
    "completion": ("setup", "print a shell completion script"),
}
"""verb -> (module of `runner.cli`, what it does). A new verb is a row and a pair of functions there."""

SUBCOMMANDS: dict[str, tuple[str, str]] = {
    "ledger list": ("ledger", "list the ledgers and who is next in each"),
    "ledger show": ("ledger", "show who is next, and what was said"),
    "ledger note": ("ledger", "write something down for all"),
    "ledger handoff": ("ledger", "hand work over: why, and what is to be done"),
    "ledger reply": ("ledger", "answer a handoff to you, and close it"),
    "ledger send": ("ledger", "leave a message for one receiver"),
    "ledger artifact": ("ledger", "record evidence, such as a test report"),
    "ledger propose": ("ledger", "propose that the work is final"),
    "ledger sign": ("ledger", "sign what is proposed as final"),
    "ledger reject": ("ledger", "reject what is proposed as final"),
    "ledger wait": ("ledger", "wait for the next entry"),
    "ledger verify": ("ledger", "find out whether every entry is unchanged"),
    "ledger coordinator": ("ledger", "show who writes git, or name another one"),
    "mode on": ("hosts", "have a run make the changes, not the host of this session"),
    "mode off": ("hosts", "have the host make changes itself again"),
    "mode show": ("hosts", "show in which sessions delegation is on, and to whom"),
    "plugin install": ("plugin", "install the plugin into a host, or bring it up to date"),
    "plugin remove": ("plugin", "end the delegation modes of a host, and take the plugin out of it"),
    "plugin print": ("plugin", "print the files of the plugin, or lines for instructions to agents"),
    "plugin doctor": ("plugin", "examine whether delegation mode would hold in a host"),
    "pipeline list": ("pipeline", "list the pipelines of the settings"),
    "pipeline show": (
        "pipeline",
        "show what a pipeline does, in which order, and what each stage has to pass",
    ),
    "ci report": ("ci", "write what runs came to as a CI system reads it"),
    "policy diff": ("policy", "what a pull request widens in the settings, and what is beyond the ceilings"),
    "audit show": ("audit", "list every run with its begin and its end, as the ledgers tell it"),
    "audit verify": ("audit", "find out whether that is whole and unchanged"),
    "audit export": ("audit", "print it as lines of JSON, or as conversations.idx"),
}
"""The same for verbs of two words."""

ALIASES = {"ls": "list", "ps": "list", "show": "status", "tail": "logs", "run": "start", "stop": "cancel"}
"""What hands type by habit, and the verb that it is."""

_WAITED_FOR: list[int] = []
"""The standard streams that did not block before."""
_JUDGES = frozenset(
    (
        "audit verify",
        "await",
        "check",
        "ci report",
        "doctor",
        "end",
        "ledger verify",
        "ledger wait",
        "lock",
        "plugin doctor",
        "policy diff",
        "retry",
        "send",
        "start",
        "verify",
        "wait",
    )
)
"""The verbs whose exit status is a verdict."""
_NOT_OURS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM),
    *(errno.EROFS, errno.EIO, errno.EISDIR, errno.ENOTDIR, errno.ENXIO),
)
"""What a disk or a limit refuses wherever it wants, or who put a folder or a FIFO there: no bug of ours."""

_EXAMPLES = """\
examples:
  runner init                              write delegate.toml
  runner doctor                            could a run start here?
  runner resolve --task hello              what would be executed
  runner start --task hello --wait         run it and wait for the answer
  runner start --task hello --rehearse     the same without tokens or network
  runner logs @latest -f                   watch it
  runner cancel @latest                    end it
  runner report @latest                    what it came to, and what is unknown
  runner diff @latest                      its changes as a patch

RUN is a run id or a unique part of one, a manifest path, a task id (its newest
run) or the newest of a kind: @latest, @done, @changes, @plan, @undecided (to
accept or discard), @waiting (for a person). Without RUN, status and logs mean
@latest, report @done, diff @changes, accept @undecided.
Every command takes --help and --json. Also known: ls and ps (list), show
(status), tail (logs), run (start), stop (cancel).
"""


def program() -> NoReturn:
    """The process of the `runner` command. It ends without taking apart what it has imported, which would be
    a tenth of what a command costs (mypy ends in the same way: `mypy.util.hard_exit`).
    """
    status = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # the reader is gone; the status stays
    for fd in _WAITED_FOR:
        os.set_blocking(fd, False)  # our caller has the same description, and may wait for nothing
    os._exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """The process's exit status; the only place that turns errors into one."""
    _stand_upright()
    pen.GIVEN.clear()
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--format=json" in words or "--json" in words or ("--format", "json") in pairwise(words)
    status: int = ExitStatus.GAVE_UP_WAITING if verb_of(words)[0] in _JUDGES else ExitStatus.OK
    try:
        status = _run(words)
        sys.stdout.flush()
        return status
    except RunnerError as error:
        return _report(error, as_json)
    except KeyboardInterrupt as interrupt:
        told = ": ".join(("interrupted", *map(str, interrupt.args)))
        if as_json and not pen.GIVEN:
            return _report(Interrupted(told), as_json)
        _tell(told)
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone (`runner logs X | head`): not an error, and no one to tell. Nor is
        # it a success of what has not ended.
        pen.drop(1)
        return status
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else ExitStatus.INVALID
    except OSError as error:
        if error.errno not in _NOT_OURS:
            return _report_bug(error, as_json)
        error.__traceback__ = None  # what its frames hold open may be needed for saying so
        from runner.disk.files import unwritable

        return _report(unwritable(error), as_json)  # of a file of ours, or of our own output
    except Exception as error:
        return _report_bug(error, as_json)


def _stand_upright() -> None:
    """Undoes what a caller may pass on by exec and no code below expects.

    With a standard stream closed, the first opened file gets its number and is then overwritten.
    With SIGCHLD ignored, the end of a child cannot be read (wait(2)). Characters that the encoding of the
    locale cannot express are escaped; also in the C locale, whose `surrogateescape` refuses half of a pair.
    Of a pipe that does not block, Python drops what does not fit, and takes a pause for the end.
    """
    import _signal  # type: ignore[import-not-found] # built in; `signal` costs a tenth of an interpreter

    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False))
    for fd in (0, 1, 2):
        if not os.get_blocking(fd):
            os.set_blocking(fd, True)
            _WAITED_FOR.append(fd)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")
    if _signal.getsignal(_signal.SIGCHLD) == _signal.SIG_IGN:
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        if len(words) > 1 and words[0] == "help":
            return _run([*words[1:3], "--help"])
        pen.say(overview(), end="")
        return ExitStatus.OK if words else ExitStatus.INVALID
    if words[0] in ("-V", "--version"):
        from runner.model import VERSION

        pen.say(f'{{"version": "{VERSION}"}}' if "json" in words[-1] else f"runner {VERSION}")
        return ExitStatus.OK
    if words[0] == "__complete":
        from runner.cli import complete

        verbs = {name: text for name, (_, text) in (COMMANDS | SUBCOMMANDS).items()}
        return complete.run(words[1:], verbs, lambda verb: parser_of(ALIASES.get(verb, verb)))
    if words[0] == "__hook":
        from runner.hosts import hook

        return hook.run(words[1:])
    verb, words = verb_of(words)
    if verb not in COMMANDS and verb not in SUBCOMMANDS:
        raise _unknown(verb)
    if sys.platform != "linux":
        raise PlatformUnsupported("runner needs Linux: it looks after processes by /proc and pidfds")
    args = arguments(verb, words)
    gc.freeze()  # nor does a fork copy what nobody looks at any more
    gc.set_threshold(10_000)  # what a command makes and imports from here on is not garbage either
    gc.enable()
    run = getattr(_module_of(verb), f"run_{_function(verb)}", None)
    if run is None:
        raise UsageError("say it in two words", hint=f"runner {verb} {args.action}")
    return int(run(args))


def verb_of(words: Sequence[str]) -> tuple[str, list[str]]:
    """The verb, and the words behind it. The second word of one may stand behind options: `ledger --json
    show`.
    """
    verb, rest = ALIASES.get(words[0], words[0]) if words else "", list(words[1:])
    at = next((n for n, word in enumerate(rest) if word[:1] != "-"), len(rest))
    if (two := " ".join((verb, *rest[at : at + 1]))) in SUBCOMMANDS:
        return two, rest[:at] + rest[at + 1 :]
    return verb, rest


def arguments(verb: str, words: list[str]) -> Namespace:
    """UsageError for what is not understood; SystemExit after `--help`."""
    from runner.cli.parser import Namespace

    parser = parser_of(verb)
    told = parser.plainly(words)
    return full_parser(verb).parse_args(words, Namespace()) if told is None else told


def full_parser(verb: str) -> FullParser:
    """The parser of a verb as one of argparse."""
    from runner.cli.fullparser import FullParser

    return FullParser(f"runner {verb}", declared=parser_of(verb))


def parser_of(verb: str) -> Parser:
    """The parser of one verb, which is all that a command needs."""
    from runner.cli.parser import Parser

    parser = Parser(f"runner {verb}", (COMMANDS.get(verb) or SUBCOMMANDS[verb])[1])
    getattr(_module_of(verb), f"add_{_function(verb)}")(parser)
    return parser


def _module_of(verb: str) -> ModuleType:
    name = f"runner.cli.{(COMMANDS.get(verb) or SUBCOMMANDS[verb])[0]}"
    __import__(name)  # `importlib` would bring `warnings` along
    return sys.modules[name]


def _function(verb: str) -> str:
    return verb.replace("-", "_").replace(" ", "_")


def overview() -> str:
    """What `runner --help` shows."""
    width = max(map(len, COMMANDS)) + 2
    rows = "".join(f"  {verb:<{width}}{text}\n" for verb, (_, text) in COMMANDS.items())
    head = "usage: runner COMMAND [options]\n\nRun agent CLIs in the background from delegate.toml.\n"
    return f"{head}\ncommands:\n{rows}\n{_EXAMPLES}"


def _unknown(verb: str) -> UsageError:
    from runner.text.words import nearest

    near = nearest(verb, COMMANDS)
    hint = f"perhaps you meant `runner {near[0]}`" if near else "`runner --help` lists the commands"
    return UsageError(f"unknown command `{verb[:80]}`", hint=hint)


def _report(error: RunnerError, as_json: bool) -> int:
    if as_json:
        body: dict[str, object] = {
            "code": error.code,
            "message": error.message,
            "hint": error.hint or None,
            "retryable": error.retryable,
        }
        if error.problems:
            body["problems"] = list(error.problems)
        try:
            # As `render.emit`, of what is imported by now: there may be no descriptor left to import more.
            pen.document(dumps({"error": body}, ensure_ascii=sys.stdout.encoding != "utf-8"))
            sys.stdout.flush()
        except OSError:
            pen.drop(1)
            return _report(error, as_json=False)
    else:
        _tell(pen.headed("error:", "red", error.message))
        for problem in error.problems if error.problems != (error.message,) else ():
            _tell(pen.folded(f"  {problem}"))
        if error.hint:
            _tell("\n" + pen.headed("hint:", "cyan", error.hint))
    return int(error.exit_status)


def _tell(line: str) -> None:
    """Says it on stderr, if anybody can be told: the exit status says the rest."""
    try:
        sys.stdout.flush()
    except OSError:
        pen.drop(1)  # else the interpreter tries again at its end, and takes another exit status
    try:
        pen.tell(line)
    except OSError:
        pass


def _report_bug(error: Exception, as_json: bool) -> int:
    import traceback

    from runner.errors import Bug

    text = "".join(traceback.format_exception(error))
    try:
        path = _kept(f"runner on Python {sys.version}, {sys.platform}\n{text}")
    except Exception:  # whatever it is, the first bug is the one to tell
        path = "could not be written"
        _tell(text)
    return _report(Bug(f"{type(error).__name__}: {error}", hint=f"a bug of runner; report: {path}"), as_json)


def _kept(report: str) -> str:
    """The file with the report of a bug."""
    from runner.disk import files, home

    folder = files.private_folder(home.state(os.environ))
    path = os.path.join(folder, f"crash-{os.getpid()}.log")
    files.replace_bytes(path, report.encode(errors="backslashreplace"))
    return path
