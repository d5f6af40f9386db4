"""The verbs of the audit: audit show, audit verify, audit export."""

from __future__ import annotations

import time

from runner.cli import pen
from runner.cli.actions import add_actions
from runner.cli.ledger_text import aligned
from runner.cli.parser import Namespace, Parser, age, here
from runner.cli.render import answer, emit, local_time
from runner.cli.runs import number
from runner.errors import ExitStatus, UsageError
from runner.lightjson import dumps
from runner.state import index
from runner.state.manifest import parse_timestamp
from runner.text.durations import about
from runner.text.words import count, one_line
from runner.usecases import audit
from runner.usecases.find import find_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HEADS = ("BEGAN", "RUN", "TASK", "RUNTIME", "HOST", "END", "EXIT", "TOKENS", "TOOK", "REQUEST")


def add_audit(parser: Parser) -> None:
    parser.examples("runner audit show", "runner audit verify", "runner audit export > audit.jsonl")
    add_actions(parser, "audit")


def run_audit(args: Namespace) -> int:
    raise UsageError("say it in two words", hint=f"runner audit {args.action}")


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
        for line in aligned([_HEADS, *(_cells(row, called[row["run_id"]]) for row in found)]):
            pen.say(line)
    else:
        pen.tell("(no run is told of)")
    return ExitStatus.OK


def _at(row: dict[str, Any]) -> str:
    return str(row["started_at"] or row["ended_at"])


def _cells(row: dict[str, Any], called: str) -> tuple[str, ...]:
    tokens = [number for number in (row["tokens"] or {}).values() if number is not None]
    told = (row["task_id"], row["runtime"], row["host"], row["outcome"] or row["status"], row["exit_code"])
    took = "-" if row["duration_s"] is None else about(row["duration_s"])
    cells = ("-" if one is None else one_line(str(one), 40) for one in told)
    sums = "/".join(map(str, tokens)) or "-"
    return (local_time(_at(row)) or "-", called, *cells, sums, took, one_line(row["hint"] or "-"))


def add_audit_verify(parser: Parser) -> None:
    parser.examples(
        "runner audit verify",
        note="Reads every entry of every ledger, and looks whether each run that is over has its begin and\n"
        "its end there. Exit status 9 where something was changed or is missing.",
    )


def run_audit_verify(args: Namespace) -> int:
    found = audit.verify(find_root(here()))
    lines = [
        f"{one['ledger']}: " + (one["problem"] or f"{count(one['entries'], 'entry', 'entries')}, unchanged")
        for one in found["ledgers"]
    ]
    lines += [
        f"run {one['run_id']} of {one['task_id']} has {one['what']}, and no ledger says so"
        for one in found["missing"]
    ]
    said = "whole" if found["is_whole"] else "not whole"
    more = f"; of {count(found['unwitnessed'], 'run')} nobody can say" if found["unwitnessed"] else ""
    answer(args, found, "\n".join([*map(one_line, lines), f"the audit is {said}{more}"]))
    return ExitStatus.OK if found["is_whole"] else ExitStatus.CONFLICT


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
