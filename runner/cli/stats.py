"""The verb `stats`."""

from __future__ import annotations

import time

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, age, here
from runner.cli.render import emit, price_text
from runner.cli.rows import short_number
from runner.errors import ExitStatus
from runner.text.cells import cells
from runner.text.durations import about
from runner.text.words import count, one_line
from runner.usecases import find
from runner.usecases.stats import By, Stats, Totals, stats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEADS = ("RUNS", "SUCCEEDED", "INPUT", "CACHED", "OUTPUT", "PRICE", "P50", "P95")
_SPARED = ("CACHED", "P95", "INPUT", "OUTPUT", "PRICE")
"""What a terminal goes without if not all of it fits, the first first."""


def add_stats(parser: Parser) -> None:
    parser.add_argument("--by", choices=tuple(By), default=By.TASK, help="what is one row (default: task)")
    parser.add_argument("--task", metavar="ID", help="only the runs of this task")
    parser.add_argument("--since", type=age, metavar="D", help="only runs that began in this time: 12h, 30d")
    parser.also_as("csv", "CSV with a row for each group")
    parser.examples(
        "runner stats",
        "runner stats --by model --since 30d",
        "runner stats --by day --format csv > days.csv",
        note="Of the finished runs that are still there, without rehearsals. A plan counts by its batches.\n"
        "Prices are those of [models.NAME] price when a run began.",
    )


def run_stats(args: Namespace) -> int:
    since = None if args.since is None else time.time() - args.since
    found = stats(find.find_root(here()), by=By(args.by), task=args.task, since=since)
    if args.format == "json":
        emit({"by": args.by, **found.to_json()})
    elif args.format == "csv":
        pen.say(_csv(args.by, found.groups), end="")
    else:
        pen.say(_text(args.by, found) if found.total.runs else "no finished runs")
        for note in _notes(found):
            pen.tell(f"({note})")
    return ExitStatus.OK


def _text(by: str, found: Stats) -> str:
    rows: list[tuple[str, ...]] = [(by.upper(), *_HEADS)]
    rows += [_cells(group, group.key or "default") for group in found.groups]
    rows += [_cells(found.total, "all")] if len(found.groups) > 1 else []
    columns, room = [*zip(*rows, strict=True)], pen.columns()
    for head in _SPARED:
        if room is not None and sum(max(map(cells, column)) + 2 for column in columns) - 2 > room:
            columns = [column for column in columns if column[0] != head]
    widths = [max(map(cells, column)) for column in columns]
    lines = []
    for first, *rest in zip(*columns, strict=True):
        name = first + " " * (widths[0] - cells(first))
        lines.append(
            "  ".join([name, *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))])
        )
    lines[0] = pen.paint(lines[0], "dim")
    return "\n".join(lines)


def _cells(group: Totals, name: str) -> tuple[str, ...]:
    share = f"{group.succeeded} ({100 * group.succeeded // max(1, group.runs)}%)"
    tokens = (group.input_tokens, group.cached_input_tokens, group.output_tokens)
    return (
        one_line(name, 40),
        str(group.runs),
        share,
        *("" if number is None else short_number(number) for number in tokens),
        "" if group.cost is None else price_text(group.cost, 2),
        *("" if seconds is None else about(seconds) for seconds in (group.p50_s, group.p95_s)),
    )


def _notes(found: Stats) -> Iterator[str]:
    total = found.total
    if total.tokens_unknown:
        yield f"the tokens of {count(total.tokens_unknown, 'run')} are not known"
    if total.cost is not None and total.cost_unknown:
        yield f"the price of {count(total.cost_unknown, 'run')} is not known"
    left = (
        (found.rehearsals, "rehearsal"),
        (found.plans, "run of a plan"),
        (found.unreadable, "unreadable run"),
        (found.foreign, "run whose records were not made here"),
    )
    if told := [
        count(number, what, what.replace("run", "runs", 1) if " " in what else "")
        for number, what in left
        if number
    ]:
        yield f"not counted: {', '.join(told)}"


def _csv(by: str, groups: Sequence[Totals]) -> str:
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)  # `;` may part cells too
    writer.writerow((by, *Totals._fields[1:]))
    for group in groups:
        name, *rest = group.to_json().values()
        writer.writerow(
            ("" if name is None else _inert(str(name)), *("" if one is None else one for one in rest))
        )
    return out.getvalue()


def _inert(text: str) -> str:
    """A model's name that a spreadsheet would take for a formula, as text
    (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    return f"'{text}" if text.lstrip("\"' \t\r\n")[:1] in tuple("=+-@\uff1d\uff0b\uff0d\uff20") else text
