"""The verbs of the audit: audit show, audit verify, audit export."""

from __future__ import annotations

import time

from runner.cli import pen
from runner.cli.actions import add_actions
from runner.cli.ledger_text import aligned
from runner.cli.parser import Namespace, Parser, age, here
from runner.cli.render import answer, emit, local_time
from runner.cli.rows import short_number
from runner.cli.runs import number
from runner.errors import ExitStatus, RunNotFound, TaskNotFound, UsageError
from runner.lightjson import dumps
from runner.state import index
from runner.state.authentic import tasks_of
from runner.state.manifest import parse_timestamp
from runner.text.cells import cells
from runner.text.durations import about
from runner.text.words import count, one_line
from runner.usecases import audit
from runner.usecases.find import find_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MISSING = {
    "started": "run {run_id} of {task_id} has started, and no ledger says so",
    "ended": "nobody has run {run_id} of {task_id} any more, and no ledger tells of its end; "
    "`runner status {run_id}` tells it where it can",
}
_MAY_BE_CUT = "; whether entries are missing at its end nobody can say"
_HEADS = ("BEGAN", "RUN", "TASK", "RUNTIME", "HOST", "END", "EXIT", "TOKENS", "TOOK", "REQUEST")
_LEAST_WORTH, _ROOM = ("TOKENS", "TOOK", "EXIT", "RUNTIME", "HOST", "TASK", "BEGAN"), 20


def add_audit(parser: Parser) -> None:
    parser.examples("runner audit show", "runner audit verify", "runner audit export > audit.jsonl")
    add_actions(parser, "audit")


def add_audit_show(parser: Parser) -> None:
    parser.add_argument("--task", metavar="ID", help="only the runs of this task")
    parser.add_argument("--run", metavar="ID", help="only this run: its id or a part of it")
    parser.add_argument("--session", metavar="ID", help="only the runs that this session of a host started")
    parser.add_argument("--since", type=age, metavar="D", help="only runs that began in this time: 12h, 30d")
    parser.add_argument("-n", "--limit", type=number, metavar="N", help="only the newest N")
    parser.examples(
        "runner audit show",
        "runner audit show --task fix-auth --since 30d --json",
        note="Of runs that `runner clean` has removed as well: the ledgers of their tasks stay.",
    )


def run_audit_show(args: Namespace) -> int:
    root = find_root(here())
    found, problems, _ = audit.rows(root)
    if not problems:  # else it may be in a ledger that is not believed
        _refuse_unknown(args, root, found)
    since = None if args.since is None else time.time() - args.since
    for name, wanted in (("task_id", args.task), ("session", args.session)):
        found = [row for row in found if wanted is None or row[name] == wanted]
    found = [row for row in found if args.run is None or args.run in row["run_id"]]
    found = [row for row in found if since is None or parse_timestamp(_at(row)) >= since]
    found = found if args.limit is None else found[-args.limit :] if args.limit else []
    for problem in problems:
        pen.warn(f"{problem}; nothing of it is shown: `runner audit verify`")
    if args.format == "json":
        emit({"runs": found, "problems": problems})
    elif found:
        called = index.ShortNames(root)
        for line in aligned(_fitting([_HEADS, *(_cells(row, called[row["run_id"]]) for row in found)])):
            pen.say(line)
    else:
        pen.tell("(no run is told of)")
    return ExitStatus.CONFLICT if problems else ExitStatus.OK


def _refuse_unknown(args: Namespace, root: str, rows: list[dict[str, Any]]) -> None:
    hint = "`runner audit show` lists what the ledgers tell of"
    if args.task not in {None, *tasks_of(root), *(row["task_id"] for row in rows)}:
        raise TaskNotFound(f"no ledger tells of a task `{one_line(args.task, 80)}`", hint=hint)
    if args.run is not None and not any(args.run in row["run_id"] for row in rows):
        raise RunNotFound(f"no ledger tells of a run `{one_line(args.run, 80)}`", hint=hint)


def _fitting(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Without the columns that are worth least, so many that there is room for the request."""
    kept, most = [*range(len(_HEADS))], pen.columns()
    for head in _LEAST_WORTH if most else ():
        used = sum(max(cells(row[n]) for row in rows) + 2 for n in kept[:-1])
        if most is None or most - used >= _ROOM:
            break
        kept.remove(_HEADS.index(head))
    return [tuple(row[n] for n in kept) for row in rows]


def _at(row: dict[str, Any]) -> str:
    return str(row["started_at"] or row["ended_at"])


def _cells(row: dict[str, Any], called: str) -> tuple[str, ...]:
    parts = row["tokens"] or {}  # as `runner list` counts them: what is cached is a part of the input
    tokens = [parts[one] for one in ("input", "output") if parts.get(one) is not None]
    told = (row["task_id"], row["runtime"], row["host"], row["outcome"] or row["status"], row["exit_code"])
    took = "-" if row["duration_s"] is None else about(row["duration_s"])
    words = ("-" if one is None else one_line(str(one), 40) for one in told)
    sums = short_number(sum(tokens)) if tokens else "-"
    return (local_time(_at(row)) or "-", called, *words, sums, took, one_line(row["hint"] or "-"))


def add_audit_verify(parser: Parser) -> None:
    parser.examples(
        "runner audit verify",
        note="Reads every entry of every ledger, and looks whether each run that is over has its begin and\n"
        "its end there. Exit status 9 where something was changed or is missing, or where there are runs of\n"
        "which nobody can say, and no ledger at all.",
    )


def run_audit_verify(args: Namespace) -> int:
    found = audit.verify(find_root(here()))
    lines = []
    for one in found["ledgers"]:
        said = one["problem"] or f"{count(one['entries'], 'entry', 'entries')}, unchanged"
        is_open = one["problem"] is None and one["is_complete"] is None
        lines.append(f"{one['ledger']}: {said}{_MAY_BE_CUT if is_open else ''}")
    lines += [f"run {one['run_id']} of {one['task_id']}: {one['problem']}" for one in found["changed"]]
    lines += [_MISSING[one["what"]].format(**one) for one in found["missing"]]
    is_whole, unwitnessed = found["is_whole"], found["unwitnessed"]
    said = "the audit is whole" if is_whole else "the audit is not whole"
    if is_whole is None:
        said = "there is no ledger, so nothing is proved"
    more = f"; of {count(unwitnessed, 'run')} nobody can say" if unwitnessed else ""
    answer(args, found, "\n".join([*map(one_line, lines), f"{said}{more}"]))
    is_fine = is_whole or (is_whole is None and not unwitnessed)  # a first run is told of in a moment
    return ExitStatus.OK if is_fine else ExitStatus.CONFLICT


def add_audit_export(parser: Parser) -> None:
    parser.add_argument(
        "--idx", action="store_true", help="four columns, as conversations.idx of Sidekick has them"
    )
    parser.add_argument("--write", action="store_true", help="with --idx: add what is missing to those files")
    parser.examples(
        "runner audit export > audit.jsonl        a line of JSON for each run, and the heads of the ledgers",
        "runner audit export --idx",
        "runner audit export --idx --write        to each conversations.idx of the project",
        note="The last line has the number and the hash of the last entry of each ledger: kept elsewhere,\n"
        "they show later whether a whole ledger was taken away or written anew.",
    )


def run_audit_export(args: Namespace) -> int:
    if args.write and not args.idx:
        raise UsageError("only the files of --idx are written", hint="redirect stdout for the rest")
    root = find_root(here())
    found, problems, heads = audit.rows(root)
    for problem in problems:
        pen.warn(f"{problem}; nothing of it is exported: `runner audit verify`")
    if args.idx:
        lines = audit.columns(found)
        written = audit.write(root, lines) if args.write else None
        text = "\n".join(line for told in lines.values() for line in told)
        answer(
            args,
            {"lines": lines, "written": written},
            text if written is None else f"{count(written, 'row')} added",
        )
    elif args.format == "json":
        emit({"runs": found, "heads": heads})
    else:
        for one in (*found, {"heads": heads}):
            pen.say(dumps(one))
    return ExitStatus.CONFLICT if problems else ExitStatus.OK
