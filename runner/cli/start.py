"""The verbs that begin work: resolve and start."""

from __future__ import annotations

import _thread
import os
import sys

from runner.cli import pen
from runner.cli.gate import add_trust, pass_gate
from runner.cli.parser import (
    HIDDEN,
    Namespace,
    Parser,
    WrongText,
    add_settings,
    duration,
    here,
    settings,
    stdin,
    task_named,
)
from runner.cli.tie import add_tie, tied_to
from runner.errors import ExitStatus, UsageError
from runner.invocation import Request
from runner.runtimes import sessions_of
from runner.state.store import is_run_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.model import Config, Identity
    from runner.state.manifest import Manifest


_EFFORT = "how hard the model thinks: low, medium, high, xhigh, or another word of the runtime"
_EXECUTOR = "where the run lives: a name from [executors], or local"
_PATIENT_S = 5.0


def _add_request(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="TASK", help="the same as --task TASK")
    parser.add_argument("--task", metavar="ID", help="task in delegate.toml (default: $MCP_RUNNER_TASK_ID)")
    parser.add_argument("--prompt", metavar="TEXT", help="instead of the task's prompt; `-` is stdin")
    parser.add_argument("-m", "--model", metavar="M", help="a name from [models], or a literal model id")
    parser.add_argument("-r", "--effort", metavar="E", help=_EFFORT)
    parser.add_argument("-s", "--sandbox", metavar="S", help="a name from [sandboxes], or a level")
    parser.add_argument("--executor", metavar="NAME", help=_EXECUTOR)
    parser.add_argument("--timeout", type=duration, metavar="D", help="limit of the run's wall clock")
    parser.add_argument(
        "--open", action="store_true", help="after each turn, wait for a message: `runner send`, `runner end`"
    )
    globs: dict[str, Any] = {"metavar": "GLOB", "action": "append", "default": []}
    parser.add_argument("--file", help="name these files to the agent (repeatable)", **globs)
    pasted = "put the content of these files into the prompt; '!GLOB' takes some out (repeatable)"
    parser.add_argument("--paste", help=pasted, **globs)
    parser.add_argument(
        "--map",
        nargs="?",
        const="",
        metavar="FILE",
        help="what describes the repository, put into the prompt (default: docs/CODEBASE_MAP.md and such)",
    )
    parser.add_argument(
        "--rehearse",
        nargs="?",
        const="",
        metavar="SCRIPT",
        help="the real runtime against a scripted model: no tokens, login or network; with --plan, SCRIPT "
        "may be a folder with a batch-<n>.toml for each batch",
    )
    parser.add_argument(
        "--allow-danger", action="store_true", help="allow a sandbox of level danger-full-access"
    )
    parser.add_argument(
        "--ledger",
        metavar="TASK",
        help="share the ledger of this task, and take the handoff that is open there for the run's own task",
    )
    parser.add_argument("--handoff", metavar="ID", help="with --ledger: this one, where several are open")
    parser.add_argument(
        "--parent", metavar="MANIFEST", help="start as a child of this run, never wider than its parent"
    )
    add_settings(parser)


def add_resolve(parser: Parser) -> None:
    _add_request(parser)
    parser.examples("runner resolve --task hello", "runner resolve fix-auth -r high --format json")


def run_resolve(args: Namespace) -> int:
    from runner.cli.placing import submission, submission_text
    from runner.cli.render import emit, invocation_text
    from runner.usecases import start
    from runner.usecases.inherited import inherited

    _add_words(args, task_named(args))
    config = _inherited(args) or settings(args)
    resolved, made = start.examined(config, _request(args), os.environ)
    yours = inherited(config.runtimes[resolved.runtime], os.environ)
    placed = submission(resolved)
    if args.format == "json":
        emit({**resolved.to_json(), "prompt": resolved.prompt, **made, "yours": yours, **placed})
    else:
        pen.say(invocation_text(resolved, yours, made) + submission_text(placed))
    return ExitStatus.OK


def add_start(parser: Parser) -> None:
    _add_request(parser)
    add_trust(parser)
    _add_plan(parser)
    parser.add_argument(
        "--baseline",
        nargs="?",
        const="refuse",
        choices=("refuse", "record"),
        help="run the checks of the task first, and start no agent where one fails; with `record` only note "
        "which do",
    )
    # For a caller that has to know the id first: the delegation server marks what it starts with it.
    parser.add_argument("--run-id", type=_run_id, help=HIDDEN)
    _add_waiting(parser)
    parser.examples(
        "runner start --task hello",
        "runner start --task hello --rehearse --wait",
        "runner start fix-auth --map --paste docs/prds/auth.md --file 'src/auth/**' -r high",
        "runner start --task fix-auth --baseline record",
        "git diff | runner start --task review --prompt - --format json",
        "runner start --plan plan.toml --task build --dry-run",
        "runner start --plan plan.toml --task build --follow",
        "runner start --plan plan.toml --task build --resume",
        "runner start --pipeline feature --set name=login --set question=@question.md --follow",
        note="Ctrl-C while waiting detaches; the run continues, unless it is tied to the command.",
    )


def _add_plan(parser: Parser) -> None:
    group = parser.add_argument_group("plans and pipelines")
    group.add_argument(
        "--plan", metavar="FILE", help="run this plan in batches; TASK is the template of each"
    )
    group.add_argument(
        "--pipeline",
        metavar="NAME",
        help="carry out this pipeline; --set INPUT=TEXT or INPUT=@FILE gives its input",
    )
    group.add_argument(
        "--from",
        dest="start",
        metavar="STAGE",
        help="begin the pipeline with this stage; what it needs is there",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="show what every run of it would execute; change nothing"
    )
    group.add_argument("--resume", action="store_true", help="continue its last run")
    group.add_argument(
        "--done",
        metavar="UNIT",
        action="append",
        default=[],
        help="with --resume: you have done this unit yourself (repeatable)",
    )
    group.add_argument(
        "--reset-breaker", action="store_true", help="continue although batches have failed in a row"
    )
    group.add_argument(
        "--force-delegate", action="store_true", help="delegate even what is trivial or not worth it"
    )
    group.add_argument(
        "--as-read",
        action="store_true",
        help="run the plan as `runner plan` shows it, although lines of it are not clear",
    )
    group.add_argument(
        "--yes", action="store_true", help='skip the confirmation that decision = "ask" requires'
    )


def _add_waiting(parser: Parser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--wait", action="store_true", help="wait for the end; exit with the run's outcome")
    group.add_argument("--follow", action="store_true", help="as --wait, and print what the run does")
    add_tie(parser)


def add_retry(parser: Parser) -> None:
    parser.add_argument(
        "run", metavar="RUN", help="run id or a prefix of one, manifest path, task id, @latest"
    )
    parser.add_argument("--message", metavar="TEXT", help="what to do differently, in your words")
    parser.add_argument("-r", "--effort", metavar="E", help=_EFFORT)
    parser.add_argument("--executor", metavar="NAME", help=_EXECUTOR)
    parser.add_argument(
        "--fresh", action="store_true", help="start a new session even if the old one can be resumed"
    )
    parser.add_argument(
        "--allow-danger", action="store_true", help="allow a sandbox of level danger-full-access"
    )
    add_trust(parser)
    add_settings(parser)
    _add_waiting(parser)
    parser.examples(
        "runner retry fix-auth", 'runner retry @latest --message "Leave the public API as it is." --wait'
    )


def run_retry(args: Namespace) -> int:
    from runner.usecases import find, retry

    root = find.find_root(here())
    run = find.find(root, args.run)
    _add_words(args, run.task_id)
    config = settings(args)
    pass_gate(args, config, rehearses=retry.rehearses(run), task=run.task_id)
    if args.executor == "":
        raise UsageError("--executor is empty")
    named = {name: getattr(args, name) for name in ("effort", "executor", "allow_danger")}
    asked = Request(run.task_id, **named, tied_to=tied_to(args))
    if (ended := run.read_manifest()).survivors is None:
        from runner.cli.end import tell_unseen  # of hardly any run that is not known

        tell_unseen(ended)
    manifest = retry.retry(config, run, os.environ, asked, message=args.message, fresh=args.fresh)
    return _begun(args, manifest)


def _run_id(text: str) -> str:
    if not is_run_id(text):
        raise WrongText(f"not a run id: {text[:80]!r}")
    return text


def run_start(args: Namespace) -> int:
    _add_words(args, task_named(args))
    if args.pipeline is not None or args.plan is not None:
        if args.pipeline is not None:
            from runner.cli.start_pipeline import begin
        else:
            from runner.cli.start_plan import begin
        begun = begin(args)
        return begun if isinstance(begun, int) else _begun(args, begun)
    only = (
        args.dry_run,
        args.resume,
        args.reset_breaker,
        args.force_delegate,
        args.yes,
        args.done,
        args.as_read,
        args.start,
    )
    if any(only):
        raise UsageError("this option needs a plan", hint="name it with --plan FILE, or --pipeline NAME")
    from runner.usecases import rehearsing, start  # not for its options alone, which a shell asks for

    request = _request(args, tied_to(args))
    config = _inherited(args)
    if config is None:
        config = settings(args)
        pass_gate(args, config, rehearses=rehearsing.rehearses(config, request), task=request.task_id)
    manifest = start.start(config, request, os.environ, watch=_Patience())
    return _begun(args, manifest, config)


class _Patience:
    """Says what is being done if that is not done after a while. Its thread lives no longer than the work: a
    process that forks must have one only.
    """

    def __init__(self) -> None:
        self._is_done, self._is_over = _thread.allocate_lock(), _thread.allocate_lock()

    def __call__(self, work: str | None) -> None:
        if work is not None:
            for lock in (self._is_done, self._is_over):
                lock.acquire()
            _thread.start_new_thread(self._wait, (work,))
        elif self._is_done.locked():
            self._is_done.release()
            with self._is_over:
                pass

    def _wait(self, work: str) -> None:
        try:
            if not self._is_done.acquire(timeout=_PATIENT_S):
                pen.note(f"still {work}")
                self._is_done.acquire()
            self._is_done.release()
        finally:
            self._is_over.release()


def _add_words(args: Namespace, task: str | None) -> None:
    """Those of the session's delegation mode, which names this task, as if they stood before all others."""
    if task is None or getattr(args, "parent", None) or not sessions_of(os.environ):
        return
    from runner.usecases import find, host_session

    told = host_session.words(os.environ, find.find_root(here()), task)
    pairs = [*zip(told[::2], told[1::2], strict=True)]
    vars(args)["sets"] = [*(value for option, value in pairs if option == "--set"), *args.sets]
    if getattr(args, "model", "") is None:
        vars(args)["model"] = dict(pairs).get("--model")


def _inherited(args: Namespace) -> Config | None:
    """A run below another one has the settings that its parent was started with, and the trust in them. None
    where there is no such run, or it starts none by itself.
    """
    if args.parent is None:
        return None
    from runner.usecases import find, frozen

    config = frozen.of_parent(find.find_root(here()), args.parent, os.environ)
    if config is not None and (args.config or args.sets):
        option = "--config" if args.config else "--set"
        raise UsageError(
            f"{option} has no meaning with --parent",
            hint="a run has the settings that its parent was started with",
        )
    return config


def _begun(args: Namespace, manifest: Manifest, config: Config | None = None) -> int:
    try:
        if config is not None:
            _tell_lead(config, manifest.task_id)
        from runner.cli.begun import report  # the agent works while this is imported

        status = report(args, manifest)
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        if interrupt.args:
            raise
        from runner.cli.begun import goes_on

        raise KeyboardInterrupt(goes_on(manifest)) from None  # whoever is not told looks for no run
    except BrokenPipeError:
        raise
    except OSError as error:
        from runner.disk.files import unwritable

        # Otherwise nothing says that the run goes on, and under which name.
        error.strerror = f"{error.strerror}; run `{manifest.run_id}` was started"
        raise unwritable(error) from error
    return status


def _tell_lead(config: Config, task_id: str) -> None:
    """Where its checks will import from, if that is not its own work tree."""
    task = config.tasks[task_id]
    if task.verify and task.workspace == "worktree":
        from runner.disk import editable

        if led := editable.first_lead(task.verify, os.environ, config.root, is_apart=True):
            pen.note(f"{led}; {editable.REPAIR}")


def _request(args: Namespace, tied_to: Identity | None = None) -> Request:
    if args.name and args.task and args.name != args.task:
        raise UsageError(f"two tasks named: `{args.name}` and `{args.task}`")
    task = task_named(args)
    if not task:
        from runner.text.words import few

        tasks = few([*settings(args).tasks], 10) or "none"
        raise UsageError("no task named", hint=f"`runner start TASK`, of {tasks} (`runner tasks` lists them)")
    for option in ("model", "effort", "sandbox", "executor", "ledger", "handoff"):
        if getattr(args, option) == "":
            raise UsageError(f"--{option} is empty")
    if args.handoff and not args.ledger:
        raise UsageError("--handoff needs --ledger TASK")
    return Request(
        task_id=task,
        prompt=stdin() if args.prompt == "-" else args.prompt,
        model=args.model,
        effort=args.effort,
        sandbox=args.sandbox,
        executor=args.executor,
        timeout_s=args.timeout,
        rehearse=args.rehearse is not None,
        rehearsal_script=os.path.abspath(args.rehearse) if args.rehearse else None,
        allow_danger=args.allow_danger,
        map=os.path.abspath(args.map) if args.map else args.map,
        files=tuple(args.file),
        paste=tuple(args.paste),
        parent=args.parent,
        run_id=getattr(args, "run_id", None),
        tied_to=tied_to,
        baseline=getattr(args, "baseline", None),
        open=args.open,
        ledger=args.ledger,
        handoff=args.handoff,
    )
