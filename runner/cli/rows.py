"""The table of `runner list`: a row per run, children below their parents, as wide as the terminal is."""

from __future__ import annotations

import time

from runner.cli import pen
from runner.cli.pen import paint
from runner.cli.render import status_word
from runner.model import Phase
from runner.state.manifest import parse_timestamp
from runner.text.cells import cut
from runner.text.durations import about
from runner.text.words import count, one_line, shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from runner.state.index import RunRow

_LONGEST_TASK = 32
_HOUR, _MINUTE, _SECOND = len("2026-11-26T10"), len("2026-11-26T10:15"), len("2026-11-26T10:15:04")
_NARROWEST, _NARROW, _MIDDLE, _WIDE = 29, 40, 60, 76
"""Terminals with fewer columns have no column for the task, the age, the duration, the tokens."""

_PLAIN = (None, "completed")
"""Reasons that say no more than the status does."""
_SKEW_S = 60.0
"""A run that was made later than this from now has no age: the clock was set back, or its id is made up."""
_LEAST = 8
"""Columns for words; fewer tell nothing."""


def rows_text(rows: Sequence[RunRow], names: Mapping[str, str]) -> str:
    """The table; `names` are the short names of runs (`index.short_names`). Where the output is no terminal,
    nothing is cut.
    """
    if not rows:
        return "no runs"
    columns = pen.columns()
    ordered = list(families(rows)) if any(row.parent for row in rows) else [(row, "") for row in rows]
    ids = [indent + names.get(row.run_id, row.run_id) for row, indent in ordered]
    id_width = max(4, max(map(len, ids)))
    plans = {row.run_id for row in rows if row.plan}
    called = [called_in(plans, row) if plans else row.task_id for row, _ in ordered]
    all_tasks = set(called)
    task_width = max(4, min(_LONGEST_TASK, (columns or 400) // 4, max(map(len, all_tasks))))
    has_task = columns is None or columns >= _NARROWEST
    tasks = {one: f"  {shortened(one, task_width):<{task_width}}  " * has_task or "  " for one in all_tasks}
    words = {status: status_word(status, 9) + "  " for status in {row.status for row in rows}}
    numbers = _Numbers(columns)
    task_head = f"  {'TASK':<{task_width}}" * has_task
    head = f"{'RUN':<{id_width}}{task_head}  {'STATUS':<9}  {numbers.head}"
    left = None if columns is None else columns - len(head)
    lines = [paint(head.rstrip(), "dim")]
    for run, task, (row, indent) in zip(ids, called, ordered, strict=True):
        known = f"{run.ljust(id_width)}{tasks[task]}{words[row.status]}"
        alone = names.get(row.parent, "a run that is gone") if row.parent and not indent else None
        lines.append(f"{known}{numbers.of(row)}{_told(row, left, alone)}".rstrip())
    return "\n".join(lines)


def called_in(plans: Container[str], row: RunRow) -> str:
    """Its task; of a batch its number, as its task is that of all of them."""
    if row.parent not in plans:
        return row.task_id
    word, number, *_ = [*(row.title or "").split(" ", 2), "", ""]
    return f"batch {number}" if word == "batch" and number.isdecimal() and len(number) < 6 else row.task_id


def progress(row: RunRow) -> str:
    """That of a plan or a pipeline."""
    if row.batches is None:
        return ""
    of = count(row.batches, "stage") if is_pipeline(row) else count(row.batches, "batch", "batches")
    return f"{row.batches_done} of {of}"


def is_pipeline(row: RunRow) -> bool:
    """As the title of its run says, which runner has given it."""
    return row.plan and (row.title or "").startswith("pipeline: ")


class _Numbers:
    """The columns of numbers. Many rows have the same, and ten thousand are to cost little."""

    def __init__(self, columns: int | None) -> None:
        shown = [columns is None or columns >= least for least in (_NARROW, _MIDDLE, _WIDE)]
        self._has_age, self._has_time, self._has_tokens = shown
        self.head = "".join(
            f"{name:>{width}}  "
            for name, width, is_shown in zip(("AGE", "TIME", "TOKENS"), (4, 6, 6), shown, strict=True)
            if is_shown
        )
        self._now = time.time()
        self._ages: dict[str, str] = {}
        self._times: dict[float | None, str] = {None: " " * 8}
        self._tokens: dict[int | None, str] = {None: " " * 8}

    def of(self, row: RunRow) -> str:
        created_at = row.created_at or ""
        ages = self._ages
        text = ""
        if self._has_age:
            text = ages.get(created_at[:_HOUR]) or ages.get(created_at[:_MINUTE]) or self._age(created_at)
        if self._has_time:
            seconds = row.duration_s
            seconds = seconds if seconds is None or seconds < 10 else int(seconds)  # as `about` tells it
            if seconds not in self._times:
                self._times[seconds] = f"{about(seconds or 0.0):>6}  "
            text += self._times[seconds]
        if self._has_tokens:
            tokens = row.tokens
            if tokens is not None and tokens >= 10_000:  # as it is told in short
                tokens -= tokens % (1_000 if tokens < 1_000_000 else 100_000)
            if tokens not in self._tokens:
                self._tokens[tokens] = f"{short_number(tokens or 0):>6}  "
            text += self._tokens[tokens]
        return text

    def _age(self, created_at: str) -> str:
        """Of a run of a day ago its hour tells it, of one of an hour ago its minute."""
        if (known := self._ages.get(created_at[:_SECOND])) is not None:
            return known
        try:
            seconds = self._now - parse_timestamp(created_at)
        except ValueError:
            return " " * 6  # nothing is known of that run
        size = _HOUR if seconds > 90_000 else _MINUTE if seconds > 3_700 else _SECOND
        told = about(seconds, 1) if seconds > -_SKEW_S else "?"
        text = self._ages[created_at[:size]] = f"{told:>4}  "
        return text


def short_number(number: int) -> str:
    """In four characters or less, rounded down: 1200 -> "1.2k", 61800 -> "61k"."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= size:
            whole, rest = divmod(number, size)
            return f"{whole}.{rest * 10 // size}{unit}" if whole < 10 else f"{whole}{unit}"
    return str(number)


def families(rows: Sequence[RunRow]) -> Iterator[tuple[RunRow, str]]:
    """Each row with its indent: below its parent, oldest first, if that is shown as well."""
    shown = {row.run_id for row in rows}
    below: dict[str, list[RunRow]] = {}
    for row in reversed(rows):
        if row.parent in shown and row.parent is not None and row.parent < row.run_id:
            below.setdefault(row.parent, []).append(row)
    nested = {row.run_id for children in below.values() for row in children}
    left = [(row, "") for row in reversed(rows) if row.run_id not in nested]
    while left:
        row, indent = left.pop()
        yield row, indent
        left += [(child, f"{indent}  ") for child in reversed(below.get(row.run_id, ()))]


def _told(row: RunRow, left: int | None, parent: str | None) -> str:
    """What a row says in words: what it waits for, what it is, what it does or why it ended. `parent` is that
    of a child which does not stand below it.
    """
    why = row.message or ("" if row.reason in _PLAIN else str(row.reason))
    waits, place = row.status == Phase.WAITING, row.place
    if not (waits or row.questions_open or row.undecided or row.plan or row.rehearsal or parent or place):
        if not why:
            return ""
        if why.isprintable() and (left is None or (why.isascii() and _LEAST <= left >= len(why))):
            return why  # as of most among ten thousand
    calls = [count(row.questions_open, "open question")] if row.questions_open else []
    calls += ["to send or end"] * waits
    calls += ["to accept or discard"] if row.undecided else []
    kinds = (
        ["pipeline" if is_pipeline(row) else "plan"] * row.plan
        + ["rehearsal"] * row.rehearsal
        + ([place] if place else [])
        + ([f"child of {parent}"] if parent else [])
    )
    done = progress(row) if row.plan and row.status != "succeeded" else ""
    if not (calls or kinds or why) or (left is not None and left < _LEAST):
        return ""
    text = "; ".join(filter(None, (", ".join(calls + kinds), done, why)))
    text = text if text.isprintable() else one_line(text)
    text = text if left is None else cut(text, left)
    called = min(len(text), len(", ".join(calls)))
    return paint(text[:called], "yellow") + text[called:] if called else text
