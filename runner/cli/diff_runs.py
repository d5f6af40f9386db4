"""The verb `diff-runs`."""

from __future__ import annotations

from runner.cli import pen
from runner.cli.parser import Namespace, Parser, add_run, run_named
from runner.cli.render import emit, fitted, local_time, status_word
from runner.errors import ExitStatus
from runner.text.words import few, one_line, shortened
from runner.usecases import diff_runs

_HEAD = ("run_id", "task_id", "status", "rehearsal", "created_at")
_SIGNS = {"new": "+", "gone": "-", "changed": "~"}
_MOST, _LONGEST = 20, 300


def add_diff_runs(parser: Parser) -> None:
    add_run(parser, default="@done")
    parser.add_argument("after", metavar="RUN", nargs="?", help="the later one (default: the first is that)")
    note = "One run alone is compared with the newest earlier one of its task that succeeded."
    parser.examples("runner diff-runs fix-auth", "runner diff-runs 5c16 68f4 --json", note=note)


def run_diff_runs(args: Namespace) -> int:
    run = run_named(args.run)
    pair = (run, run_named(args.after)) if args.after else (diff_runs.last_that_worked(run), run)
    before, after, parts = diff_runs.diff_runs(*pair)
    was, now, note = before.runtime.name, after.runtime.name, None
    if not args.after and was != now:
        note = f"no earlier run of it with {now} succeeded: this compares with the last one with {was}"
    if args.format == "json":
        heads = [
            {**{name: one.to_json()[name] for name in _HEAD}, "runtime": one.runtime.name}
            for one in (before, after)
        ]
        told = {name: one and one.to_json() for name, one in parts.items()}
        emit({"before": heads[0], "after": heads[1], "note": note, **told})
        return ExitStatus.OK
    lines = [] if note is None else [f"{note}\n"]
    for name, m in (("before", before), ("after", after)):
        kind = f"{m.task_id}, {status_word(m.status)}{', rehearsal' * m.rehearsal}"
        lines.append(f"{name:<8}{m.run_id}  {kind}, {local_time(m.created_at)}")
    pen.say(fitted("\n".join((*lines, *_text(parts)))))
    return ExitStatus.OK


def _text(parts: diff_runs.Parts) -> list[str]:
    same, unknown, lines = [], [], []
    for name, part in parts.items():
        if part is None or part.unknown:
            unknown.append(name if part is None else f"{name} ({few(part.unknown)})")
        if part is None:
            continue
        told = [one_line(f"{_SIGNS[one.kind]} {one.key}: {one.words}") for one in part.differences]
        told += part.lines  # which are clean, and begin with a sign or a blank
        if more := sum(line[:1] in "+-~" for line in told[_MOST:]) + part.more:
            told[_MOST:] = [f"and {more} more"]
        if told:
            lines += ["", pen.paint(name, "bold")]
            lines += (f"  {shortened(line, _LONGEST)}".rstrip() for line in told)
        elif part.compared and not part.unknown:
            same.append(name)
    heads = (("= same: ", same), ("? unknown: ", unknown))
    return [*(head + one_line(", ".join(names)) for head, names in heads if names), *lines]
