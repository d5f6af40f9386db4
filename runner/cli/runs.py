"""The verbs on existing runs: list, status, wait, pause, resume, cancel, reap, clean."""

from __future__ import annotations

import gc
import os
import time

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, WrongText, add_run, age, duration, grace, here, run_named
from runner.cli.render import (
    answer,
    emit,
    indented,
    manifest_text,
    questions_text,
    status_word,
)
from runner.errors import ExitStatus, RunnerError, UsageError
from runner.model import Outcome, Phase, Task
from runner.state import index
from runner.state.authentic import FOREIGN, refuse_foreign
from runner.state.manifest import timestamp
from runner.state.store import is_run_id
from runner.text.words import count
from runner.usecases import fate, find, look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from runner.state.index import RunRow
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir

STATES = (*(phase for phase in Phase if phase is not Phase.DONE), *Outcome, FOREIGN, "unknown")
"""What `status` can be in a row."""
_MOST_CHILDREN = 20


def add_list(parser: Parser) -> None:
    parser.add_argument("--task", metavar="ID", help="only the runs of this task")
    parser.add_argument("-a", "--all", action="store_true", help="finished runs too")
    parser.add_argument(
        "--status",
        metavar="S",
        action="append",
        default=[],
        help="only runs in this state, finished or not (repeatable)",
    )
    parser.add_argument(
        "--since", type=age, metavar="D", help="only runs that began in this time, finished or not: 2h, 7d"
    )
    parser.add_argument("-n", "--limit", type=number, metavar="N", help="only the newest N, finished or not")
    parser.examples(
        "runner list",
        "runner list --all --task fix-auth --json",
        "runner list --since 2d --status failed --status rejected",
        "runner list --limit 10 --json",
    )


def number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise WrongText(f"not a number of runs: {text[:40]!r}")
    return int(text)


def run_list(args: Namespace) -> int:
    gc.disable()  # of ten thousand rows none is garbage before the end, and looking takes a third of the time
    root = find.find_root(here())
    for status in args.status:
        if status not in STATES:
            raise _no_state(status)
    everything = args.all or bool(args.status) or args.since is not None or args.limit is not None
    rows = look.runs(root, task=None if everything else args.task, everything=everything)
    runs = [(row.task_id, row.run_id) for row in rows] if everything else index.folders(root)
    names = index.short_names(runs) if rows and args.format == "text" else {}
    if everything and args.task:
        rows = [row for row in rows if row.task_id == args.task]
    if args.status:
        rows = [row for row in rows if row.status in args.status]
    if args.since is not None:
        first = timestamp(time.time() - args.since)
        rows = [row for row in rows if row.created_at is None or row.created_at >= first]
    rows = rows if args.limit is None else rows[: args.limit]
    is_over = not (rows or everything) and any(args.task in (None, task) for task, _ in runs)
    are = "unfinished runs" if is_over else "runs"
    if args.format == "json":
        emit(look.rows_json(root, rows))
    else:
        _emit_rows(args, names, rows, f"no {are}" if args.task is None else f"no {are} of task `{args.task}`")
    for path, why in index.unreadable(root):
        if args.task in (None, os.path.basename(path)):
            hint = "its runs are not listed; `ls -ld` shows whose it is"
            pen.warn(f"cannot read {path}: {why} ({hint})")
    if args.format == "text" and not everything:
        of_it = "" if args.task is None else f" --task {args.task}"
        if waiting := look.undecided(root, rows, args.task):
            words = count(waiting, "finished run")
            pen.tell(f"({words} with a work tree to accept or discard: runner list --all{of_it})")
        elif is_over:
            pen.tell(f"(finished runs: runner list --all{of_it})")
    if args.format == "text" and not rows and args.task is not None:
        _tell_of_task(args.task, {task for task, _ in index.folders(root)})
    return ExitStatus.OK


def _tell_of_task(word: str, with_runs: set[str]) -> None:
    """Whether there is such a task, where it has no runs."""
    from runner.text.words import nearest
    from runner.usecases import names

    declared = names.of("tasks", "", here(), os.environ, None)
    near = [f"; perhaps you meant `{name}`" for name in nearest(word, {*declared, *with_runs})]
    if word not in with_runs:
        pen.tell(
            "(it was not started yet)" if word in declared else f"(there is no such task{''.join(near)})"
        )


def _no_state(word: str) -> UsageError:
    from runner.text.words import nearest

    near = nearest(word, STATES)
    hint = f"perhaps you meant `{near[0]}`" if near else f"one of {', '.join(STATES)}"
    return UsageError(f"no state of a run: `{word[:40]}`", hint=hint)


def add_status(parser: Parser) -> None:
    add_run(parser, default="@latest")
    parser.examples("runner status", "runner status fix-auth --format json")


def run_status(args: Namespace) -> int:
    from runner.usecases import ledger_part  # the other verbs here need none of it

    run = run_named(args.run)
    shown = look.show(run)
    manifest = shown.manifest
    told = ledger_part.brief(run) if shown.foreign is None else None
    if args.format == "json":
        emit({**shown.to_json(), "ledger": told})
    else:
        is_ended = manifest.is_done and shown.foreign is None
        names = index.ShortNames(run.repo)
        below = _below(manifest, names) if manifest.plan is None else None  # a plan names its batches itself
        pen.say(manifest_text(manifest, shown, is_ended=is_ended, called=names.__getitem__, below=below))
        if told is not None and (text := _ledger_text(told, names.__getitem__)):
            pen.say(text)
        if is_ended:
            from runner.cli.end import end_text

            pen.say(f"\n{end_text(run, manifest)}")
    if args.format == "text" and run.has_questions():
        from runner.state import questions
        from runner.usecases import logs

        if any(question.is_open for question in questions.of_run(run)):
            pen.say(questions_text(logs.asked(run, manifest), _name(args, run)))
    has_turns = manifest.has_turns or os.path.isdir(run.messages)
    if args.format == "text" and has_turns and not manifest.is_done and shown.foreign is None:
        from runner.cli.turns import turns_text

        pen.say(turns_text(run, manifest, _name(args, run)))
    return ExitStatus.OK


def _ledger_text(brief: dict[str, Any], called: Callable[[str], str]) -> str:
    """What is open on the ledger of a run, and who is next; "" where nobody is asked to."""
    rows = [("ledger", f"not believed: {brief['problem']}" if brief["problem"] else "")]
    for one in brief.get("open_handoffs", ()):
        taken = f", taken by run {called(one['taken_by'])}" if one["taken_by"] else ""
        head = f"{one['id']} of {one['maker']} to {one['to']} on lane {one['lane']}{taken}"
        rows.append(("handoff", f"{head}\n{one['reason']}"))
    if proposal := brief.get("finality"):
        rows.append(("final", f"{proposal['id']} of {proposal['by']}: {proposal['status']}"))
    if speaker := brief.get("next_speaker"):
        run = speaker["run_id"]
        rows.append(("next", speaker["actor"] + (f" {called(run)}" if run else "")))
    told = [(name, text) for name, text in rows if text]
    return "\n".join(
        f"{pen.paint(f'{name:<10}', 'dim')}{indented(text, is_foreign=True)}" for name, text in told
    )


def _below(m: Manifest, names: index.ShortNames) -> str:
    """The children of a run with their states; only a run is looked at, whatever its manifest names."""
    told = []
    for child in m.children[:_MOST_CHILDREN]:
        found = index.folder_of(m.repo, child.run_id) if is_run_id(child.run_id) else None
        try:
            status = "removed" if found is None else look.show(found).status
        except RunnerError:
            status = "unknown"
        told.append(f"{names[child.run_id]} {status_word(status)}")
    more = len(m.children) - len(told)
    return ", ".join(told) + f" and {more} more" * (more > 0)


def add_wait(parser: Parser) -> None:
    add_run(parser, several=True)
    parser.add_argument("--any", action="store_true", help="return when the first of them is done")
    parser.add_argument(
        "--timeout", type=duration, metavar="D", help="give up waiting after this long (exit 75)"
    )
    parser.examples("runner wait @latest", "runner wait RUN1 RUN2 --any --timeout 10m")


def run_wait(args: Namespace) -> int:
    from runner.cli.heartbeat import heartbeat
    from runner.usecases import control  # as below: the verbs that only look need none of it

    runs, tick = [run_named(name) for name in args.run], heartbeat(at_once=True)
    for run in runs:
        if (manifest := look.show(run).manifest).is_done:
            refuse_foreign(run)  # the exit status is a verdict
        elif args.format == "text" and manifest.phase is Phase.WAITING:
            name = _name(args, run)
            pen.note(f"{name} waits for a message, and ends after `runner end {name}`")
    manifests = control.wait(runs, any_of_them=args.any, timeout_s=args.timeout, tick=tick)
    if args.format == "json":
        values = [manifest.to_json() for manifest in manifests]
        emit(values[0] if len(values) == 1 else values)
    else:
        from runner.cli.end import end_text

        for run, one in zip(runs, manifests, strict=True):
            name = f"{one.task_id} {_name(args, run)}\n" if len(runs) > 1 else ""
            pen.say(name + (end_text(run, one) if one.is_done else manifest_text(one)))
    statuses = [manifest.exit_status for manifest in manifests if manifest.is_done]
    return next((status for status in statuses if status != ExitStatus.OK), ExitStatus.OK)


def add_pause(parser: Parser) -> None:
    add_run(parser)
    _add_only(parser)
    parser.examples("runner pause @latest")


def run_pause(args: Namespace) -> int:
    from runner.usecases import control

    manifest = control.pause(run := run_named(args.run), actor="user", only=args.only)
    answer(args, manifest.to_json(), f"{_name(args, run)} paused")
    return ExitStatus.OK


def add_resume(parser: Parser) -> None:
    add_run(parser)
    _add_only(parser)
    parser.examples("runner resume @latest")


def run_resume(args: Namespace) -> int:
    from runner.usecases import control

    manifest = control.resume(run := run_named(args.run), actor="user", only=args.only)
    answer(args, manifest.to_json(), f"{_name(args, run)} resumed")
    return ExitStatus.OK


def add_cancel(parser: Parser) -> None:
    add_run(parser)
    parser.add_argument(
        "--grace",
        type=grace,
        metavar="D",
        help=f"time between SIGINT, SIGTERM and SIGKILL (default: the task's, {Task.grace_s:g}s)",
    )
    parser.add_argument("--reason", metavar="TEXT", help="kept in the manifest")
    _add_only(parser)
    parser.examples("runner cancel @latest", "runner cancel fix-auth --grace 0")


def run_cancel(args: Namespace) -> int:
    from runner.usecases import control

    run = run_named(args.run)
    manifest = control.cancel(run, actor="user", grace_s=args.grace, reason=args.reason, only=args.only)
    name = _name(args, run)
    text = f"{name} {manifest.status}; survivors: {manifest.left_over or 'none'}"
    if args.format == "text" and (change := fate.in_words(run, manifest, name)) is not None:
        text += f"\nchanges: {change}"
    answer(args, manifest.to_json(), text)
    if manifest.survivors is None:
        return ExitStatus.GAVE_UP_WAITING
    return ExitStatus.NOT_SUCCESSFUL if manifest.survivors else ExitStatus.OK


def add_reap(parser: Parser) -> None:
    parser.examples("runner reap")


def run_reap(args: Namespace) -> int:
    from runner.usecases import clean

    root = find.find_root(here())
    _emit_rows(args, index.short_names(index.folders(root)), clean.reap(root), "nothing to reconcile")
    return ExitStatus.OK


def add_clean(parser: Parser) -> None:
    parser.add_argument(
        "--older-than",
        type=age,
        default=7 * 86400.0,
        metavar="D",
        help="only runs that ended longer ago than this (default: 7d; 0 is all)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    parser.examples("runner clean --dry-run", "runner clean --older-than 1d")


def run_clean(args: Namespace) -> int:
    from runner.usecases import clean

    root = find.find_root(here())
    names = index.short_names(index.folders(root))
    cleaned = clean.clean(root, older_than_s=args.older_than, dry_run=args.dry_run)
    rows = cleaned.removed
    if args.format == "text" and rows:
        verb = "would remove" if args.dry_run else "removed"
        pen.tell(f"{verb} {count(len(rows), 'finished run')}")
    _emit_rows(args, names, rows, "nothing to remove")
    for row, tree in cleaned.undecided:
        name = names.get(row.run_id, row.run_id)
        words = f"`runner accept {name}` or `runner discard {name}`"
        pen.note(f"{name} stays: its work tree {tree} waits for a decision ({words})")
    if cleaned.foreign:
        pen.note(f"{count(len(cleaned.foreign), 'foreign run')} left alone: {cleaned.foreign[0][1]}")
    for row in cleaned.unseen:
        name = names.get(row.run_id, row.run_id)
        pen.note(f"what is left of the processes of {name} is not known: nobody has looked there")
    for row, way in cleaned.stopped:
        name = names.get(row.run_id, row.run_id)
        pen.note(f"{name} stays, with the runs that it needs: it has stopped (`{way}` continues it)")
    return ExitStatus.OK


def _name(args: Namespace, run: RunDir) -> str:
    """As a person may call it: of ten thousand runs, that costs half of an interpreter."""
    return run.run_id if args.format == "json" else index.short_name(run.repo, run.run_id)


def _add_only(parser: Parser) -> None:
    parser.add_argument("--only", action="store_true", help="leave its child runs alone")


def _emit_rows(
    args: Namespace, names: dict[str, str], rows: Sequence[RunRow], empty: str = "no runs"
) -> None:
    if args.format == "json":
        emit([row.to_json() for row in rows])
    else:
        from runner.cli.rows import rows_text  # most verbs here show one run or none

        pen.say(rows_text(rows, names) if rows else empty)
