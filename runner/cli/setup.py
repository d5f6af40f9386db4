"""The verbs around the settings: init, check, tasks, config, doctor, schema, completion."""

from __future__ import annotations

import contextlib
import os

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, add_settings, here, settings
from runner.cli.pen import paint
from runner.cli.render import answer, emit, indented
from runner.errors import ConfigInvalid, ExitStatus, NotReady, PolicyRefused, RunnerError, RuntimeMissing
from runner.text.words import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from runner.config.commands import InitReport
    from runner.config.detect import Detected
    from runner.runtimes.exam import Examined


def add_init(parser: Parser) -> None:
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--full", action="store_true", help="the reference: every key, with its default")
    what = "add this pipeline with its tasks and prompts, beside what is there"
    one.add_argument("--pipeline", choices=("factory",), help=what)
    parser.add_argument("--print", action="store_true", help="print it, and write nothing")
    parser.examples(
        "runner init                   a read-only and a writing task, with the test command that it finds",
        "runner init --full --print    every key there is",
        "runner init --pipeline factory    research, plan, build, review and test",
    )


def run_init(args: Namespace) -> int:
    from runner.config import commands

    if args.print:
        text, found = commands.sample(here(), os.environ, full=args.full, pipeline=args.pipeline)
        _tell_found(found)
        answer(args, {"text": text, "found": found}, text.rstrip())
        return ExitStatus.OK
    report = commands.init(here(), os.environ, full=args.full, pipeline=args.pipeline)
    is_trusted = args.pipeline is None and _trust_written(report)
    if args.format == "json":
        emit(report.to_json())
        return ExitStatus.OK
    for path in report.written:
        pen.say(f"{paint('wrote', 'green')} {os.path.relpath(path)}")
    _tell_found(report.found, has_scope=not args.pipeline)
    if not report.repository:
        pen.tell("not a git repository: the .gitignore has an effect only in one")
    if args.pipeline:
        _note_missing(report.root, args.pipeline)
    then = f"pipeline show {args.pipeline}" if args.pipeline else "start --task hello --rehearse --wait"
    pen.tell(f"\nnext: runner check\n      runner doctor\n      runner {then}")
    if not is_trusted:
        pen.tell("      runner trust        before a real run: what it found is executed with your rights")
    return ExitStatus.OK


def _tell_found(found: Detected | None, *, has_scope: bool = True) -> None:
    if found is None:
        return
    pen.tell(f"tests   {found.verify or 'no command was found: put yours into `verify`'}")
    for other in found.others:
        pen.tell(f"        also {other}")
    if found.scope and has_scope:
        pen.tell(f"scope   {', '.join(found.scope)}")


def _note_missing(root: str, pipeline: str) -> None:
    """Which programs of the runtimes of that pipeline are not here. None is started."""
    from runner import config as all_settings
    from runner import runtimes
    from runner.resolve.choose import find_pipeline
    from runner.runtimes.locate import locate

    with contextlib.suppress(ConfigInvalid):  # `check` says it
        config = all_settings.load(root, env=os.environ)
        tasks = [config.tasks[name] for one in find_pipeline(config, pipeline).stages for name in one.runs]
        models = [config.models.get(task.model or "") for task in tasks]
        used = [model.runtime if model else task.runtime for model, task in zip(models, tasks, strict=True)]
        for name in dict.fromkeys(filter(None, used)):
            try:
                locate(runtimes.get(name), config.runtimes[name], os.environ, root)
            except RuntimeMissing as error:
                pen.note(error.message)


def _trust_written(report: InitReport) -> bool:
    """Nobody has to be asked about what comes with runner itself. What tests execute comes with the
    repository.
    """
    from runner.config import commands
    from runner.usecases import trust

    if report.found is not None and report.found.verify is not None:
        return False
    try:
        found = trust.demanded(commands.as_written(report.root), {})
        trust.agree(found.replace(changes=()), os.environ)
    except RunnerError as error:  # a start will ask
        pen.note(f"a start will ask whether you trust these settings: {error.message}")
    return True


def add_check(parser: Parser) -> None:
    add_settings(parser)
    parser.examples("runner check", "runner check --config other/delegate.toml --format json")


def run_check(args: Namespace) -> int:
    from runner.config import commands

    report = commands.check(here(), os.environ, args.config, args.sets)
    for note in report.notes:
        pen.note(str(note))
    if report.problems:
        found = [*map(str, report.problems), *map(str, report.breaches)]
        raise ConfigInvalid(count(len(found), "problem"), hint="", problems=found)
    if report.breaches:
        breaches = list(map(str, report.breaches))
        raise PolicyRefused(
            count(len(breaches), "breach of the policy", "breaches of the policy"), problems=breaches
        )
    files = ", ".join(os.path.relpath(path) for path in report.files) or "no file"
    answer(args, report.to_json(), f"{paint('valid', 'green')}: {files}")
    return ExitStatus.OK


_NARROWEST = 6
"""Columns of a cell of `tasks`."""


def add_tasks(parser: Parser) -> None:
    add_settings(parser)
    parser.examples("runner tasks", "runner tasks --format json")


def run_tasks(args: Namespace) -> int:
    from shlex import join

    from runner.text.cells import cells, cut
    from runner.text.terminal import plain
    from runner.text.words import one_line

    config = settings(args)
    rows = [("TASK", "SANDBOX", "MODEL", "VERIFY", "TITLE")]
    told = []
    for task in config.tasks.values():
        checks = [plain(join(argv)) for argv in task.verify]
        rows.append((task.id, task.sandbox, task.model or "-", "; ".join(checks) or "-", task.title or ""))
        level = config.sandboxes[task.sandbox].level if task.sandbox in config.sandboxes else task.sandbox
        named = {name: getattr(task, name) for name in ("id", "title", "runtime", "model", "sandbox")}
        told.append({**named, "level": level, "verify": task.verify, "rehearse": task.rehearse})
    if args.format == "json":
        emit(told)
        return ExitStatus.OK
    shown = [[*(cut(one_line(text), 40) for text in row[:-1]), one_line(row[-1])] for row in rows]
    widths = [max(map(cells, column)) for column in zip(*shown, strict=True)]
    most = pen.columns()
    room = 0 if most is None else most - 8 - min(widths[-1], most // 3)  # a title gets its share
    while most and sum(widths[:-1]) > room and (widest := max(widths[:-1])) > _NARROWEST:
        widths[widths[:-1].index(widest)] -= 1
    for row in shown:
        row[:-1] = map(cut, row[:-1], widths)
        padded = [text + " " * (width - cells(text)) for text, width in zip(row, widths, strict=True)]
        line = "  ".join(padded).rstrip()
        pen.say(cut(line, most) if most else line)
    return ExitStatus.OK


def add_config(parser: Parser) -> None:
    parser.add_argument("action", choices=("show",), help="show the effective settings")
    parser.add_argument("--task", metavar="ID", help="only this task, defaults applied")
    parser.add_argument("--origin", action="store_true", help="show the layer, file and line of every value")
    add_settings(parser)
    parser.examples("runner config show", "runner config show --task hello --origin")


def run_config(args: Namespace) -> int:
    from runner.config import commands

    shown = commands.show(here(), os.environ, args.config, args.sets, task=args.task, origin=args.origin)
    if args.format == "json":
        emit(shown)
    else:
        for line in _settings(shown, (), args.origin):
            pen.say(line)
    return ExitStatus.OK


def _settings(value: Any, path: tuple[str, ...], origin: bool) -> list[str]:
    """A line for each, whatever its name and value are made of."""
    import json

    from runner.text.problems import dotted
    from runner.text.terminal import escape_unseen

    leaf = not isinstance(value, dict) or (origin and value.keys() == {"value", "origin"})
    if not leaf and value:
        lines = [_settings(item, (*path, name), origin) for name, item in value.items()]
        return [line for part in lines for line in part]
    shown = value["value"] if leaf and origin else value
    text = f"{dotted(path)} = {escape_unseen(json.dumps(shown, ensure_ascii=False))}"
    return [f"{text}  {paint('# ' + value['origin'], 'dim')}" if leaf and origin else text]


def add_doctor(parser: Parser) -> None:
    parser.add_argument("--runtime", metavar="R", action="append", help="only this runtime (repeatable)")
    parser.add_argument(
        "--executor", metavar="NAME", help="also where this one places runs, with a small job"
    )
    add_settings(parser)
    parser.examples("runner doctor", "runner doctor --runtime kay", "runner doctor --executor hpc")


def run_doctor(args: Namespace) -> int:
    from runner import runtimes
    from runner.usecases import doctor

    for name in args.runtime or ():
        runtimes.get(name)
    names, invalid = args.runtime, None
    try:
        config = settings(args)
    except ConfigInvalid as error:  # one finding among others, and the error at the end
        from runner.config import commands

        invalid, config = error, commands.without_settings(here(), args.config)
        names = names or [commands.DEFAULT_RUNTIME]
    checks = doctor.examine(config, names, os.environ, invalid=invalid)
    if args.executor is not None and invalid is None:
        from runner.usecases import doctor_executor

        words = [word for name in names or () for word in ("--runtime", name)]
        words += [word for one in args.sets for word in ("--set", one)]
        words += ["--config", os.path.abspath(args.config)] if args.config else []
        checks += tuple(doctor_executor.examine(config, args.executor, os.environ, checks, words))
    ready = doctor.ready(checks)
    if args.format == "json":
        emit({"ready": ready, "checks": [check.to_json() for check in checks]})
        failed_with = ExitStatus.RUNTIME if invalid is None else invalid.exit_status
        return ExitStatus.OK if ready else failed_with
    print_checks(checks)
    if invalid is not None:
        raise invalid
    if not ready:
        failed = ", ".join(check.name for check in checks if check.verdict == "fail")
        only_login = all(check.name.endswith(".login") for check in checks if check.verdict == "fail")
        note = "; a rehearsal could (--rehearse)" if only_login else ""
        raise NotReady(f"a real run could not start here: {failed}{note}")
    return ExitStatus.OK


def print_checks(checks: Sequence[Examined]) -> None:
    colours = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim", "unknown": "yellow"}
    for check in checks:
        word = paint(f"{check.verdict:<8}", colours[check.verdict])
        pen.say(f"{word}{check.name:<22}{indented(check.message, 30)}")
        if check.repair:
            pen.say(f"{'':<8}{'':<22}{paint('repair:', 'cyan')} {indented(check.repair, 38)}")


def add_schema(parser: Parser) -> None:
    what = "delegate, policy, lock, plan, manifest, invocation, event, result, findings, synthesis, report"
    parser.add_argument("name", metavar="NAME", help=what)
    parser.examples("runner schema delegate > delegate.schema.json")


def run_schema(args: Namespace) -> int:
    import json

    from runner.config import commands

    schema = commands.schema(args.name)
    if args.format == "json":
        emit(schema)
    else:
        pen.document(json.dumps(schema, ensure_ascii=False, indent=2))
    return ExitStatus.OK


def add_completion(parser: Parser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.examples(
        "runner completion bash > ~/.local/share/bash-completion/completions/runner",
        "runner completion zsh > ~/.zfunc/_runner     with ~/.zfunc in fpath, before compinit",
        "runner completion fish > ~/.config/fish/completions/runner.fish",
        note="The shell then asks `runner` of PATH, which executes nothing of a repository and asks nothing.",
    )


def run_completion(args: Namespace) -> int:
    from runner.cli.complete import SCRIPTS

    script = SCRIPTS[args.shell]
    answer(args, {"shell": args.shell, "script": script}, script.rstrip())
    return ExitStatus.OK
