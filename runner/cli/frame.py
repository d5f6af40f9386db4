"""What `runner watch` shows, as lines: a function of the runs, the size of the terminal and the time."""

from __future__ import annotations

import sys

from runner.cli.pen import cleaned, paint
from runner.cli.render import STATUS_COLOURS
from runner.cli.rows import families, short_number
from runner.text.cells import cells, cut
from runner.text.durations import about
from runner.text.words import count, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runner.usecases.alive import Living

KEYS = "up/down  enter logs  a answer  p pause  c cancel  q quit"
NOTHING = "no run lives; those that begin are shown as they come"
_BAR = 8
_LONGEST_TASK = 32
_NARROW, _MIDDLE, _WIDE, _WIDEST = 40, 59, 75, 99
"""Narrower terminals have no column for the time, the last activity, usual time and tokens, the bar."""


def ordered(runs: Sequence[Living]) -> list[tuple[Living, str]]:
    """Each with its indent, children below their parents."""
    by_id = {one.row.run_id: one for one in runs}
    return [(by_id[row.run_id], indent) for row, indent in families([one.row for one in runs])]


def frame(
    runs: Sequence[tuple[Living, str]],
    names: Mapping[str, str],
    size: tuple[int, int],
    now: float,
    chosen: int = 0,
    *,
    said: str = "",
    foot: str = KEYS,
) -> list[str]:
    """The lines of a screen of this size (columns, rows): a head, the runs around the chosen one, what was
    `said` (else the chosen one in full), and the foot.
    """
    width, height = size
    room = max(1, height - 3)
    first = max(0, min(chosen - room // 2, len(runs) - room))
    shown = runs[first : first + room]
    table = _Table(shown, names, width, now)
    lines = [_line(table.head(), width)]
    lines += [
        _line(table.cells(one, indent, n == chosen), width) for n, (one, indent) in enumerate(shown, first)
    ]
    lines += [""] * (room - len(shown))
    told = said or (_in_full(runs[chosen][0]) if runs else NOTHING)
    more = f"{chosen + 1} of {len(runs)}  " if len(runs) > room else ""
    lines.append(_line([(more, "dim"), (plain(told), "yellow" if said else "")], width))
    lines.append(_line([(foot, "dim" if foot is KEYS else "bold")], width))
    return lines[-height:]


def plain(text: str) -> str:
    """A foreign text on one line as this terminal shows it, so that what is cut is what stands there."""
    text, encoding = cleaned(one_line(text)), sys.stdout.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _line(pieces: Iterable[tuple[str, str]], width: int) -> str:
    """The pieces, each in its colour, as far as there is room."""
    made = ""
    for text, colour in pieces:
        text = cut(text, width)
        width -= cells(text)
        made += paint(text, colour) if colour and text.strip() else text
    return made.rstrip()


class _Table:
    def __init__(
        self, runs: Sequence[tuple[Living, str]], names: Mapping[str, str], width: int, now: float
    ) -> None:
        self._names, self._now = names, now
        self._plans = {one.row.run_id for one, _ in runs if one.row.plan}
        self._id_width = max([4, *(len(self._name(one, indent)) for one, indent in runs)])
        tasks = max([4, *(len(self._task(one)) for one, _ in runs)])
        self._task_width = min(_LONGEST_TASK, max(6, width // 6), tasks)
        self._has_time, self._has_last, self._has_more, self._has_bar = (
            width >= least for least in (_NARROW, _MIDDLE, _WIDE, _WIDEST)
        )
        self._has_bar = self._has_bar and any(one.limit for one, _ in runs)
        self._tokens_width = max([6, *(len(_tokens(one)) for one, _ in runs)])
        self._status_width = max([6, *(len(one.row.status) for one, _ in runs)])

    def head(self) -> list[tuple[str, str]]:
        text = (
            f"  {'RUN':<{self._id_width}}  {'TASK':<{self._task_width}}  {'STATUS':<{self._status_width}}  "
        )
        text += f"{'TIME':>6}  " * self._has_time
        text += f"{'USUAL':>6}  {'TOKENS':>{self._tokens_width}}  " * self._has_more
        text += " " * (_BAR + 4) * self._has_bar + "LAST  " * self._has_last
        return [(text, "dim")]

    def cells(self, one: Living, indent: str, is_chosen: bool) -> Iterator[tuple[str, str]]:
        row = one.row
        name = f"{'> ' if is_chosen else '  '}{self._name(one, indent):<{self._id_width}}  "
        yield name, "bold" if is_chosen else ""
        task = cut(self._task(one), self._task_width)
        yield task + " " * (self._task_width - cells(task) + 2), ""
        yield f"{row.status:<{self._status_width}}  ", STATUS_COLOURS.get(row.status, "")
        if self._has_time:
            yield from self._times(one)
        if self._has_more:
            yield from self._spent(one)
        if self._has_last:
            last = None if one.wrote is None or one.is_over else about(self._now - one.wrote, 1)
            yield f"{last or '':>4}  ", ""
        calls = count(row.questions_open, "question") if row.questions_open else ""
        done = "{} of {} batches".format(*one.batches) if one.batches is not None else ""
        rest = "; ".join(filter(None, (done, plain(_doing(one)))))
        yield calls, "yellow"
        yield "; " * bool(calls and rest) + rest, "dim" if one.is_over else ""

    def _times(self, one: Living) -> Iterator[tuple[str, str]]:
        took = one.row.duration_s if one.is_over or one.began is None else max(0.0, self._now - one.began)
        is_late = took is not None and one.usual_s is not None and took > 2 * one.usual_s and not one.is_over
        yield f"{'' if took is None else about(took):>6}  ", "yellow" if is_late else ""
        if self._has_more:
            yield f"{'' if one.usual_s is None else about(one.usual_s):>6}  ", "dim"

    def _spent(self, one: Living) -> Iterator[tuple[str, str]]:
        yield f"{_tokens(one):>{self._tokens_width}}  ", ""
        if self._has_bar:
            limit = one.limit
            share = min(1.0, (one.row.tokens or 0) / limit) if limit else 0.0
            bar = f"[{'#' * int(share * _BAR):.<{_BAR}}]  " if limit else " " * (_BAR + 4)
            yield bar, "red" if share >= 1 else "yellow" if share >= 0.8 else "green"

    def _name(self, one: Living, indent: str) -> str:
        return indent + self._names.get(one.row.run_id, one.row.run_id)

    def _task(self, one: Living) -> str:
        """A batch is called by its number: its task is the same for all of them."""
        title = plain(one.title or "")
        is_batch = one.row.parent in self._plans and title.startswith("batch ")
        return title.partition(" of ")[0] if is_batch else one.row.task_id


def _tokens(one: Living) -> str:
    used = "" if one.row.tokens is None else short_number(one.row.tokens)
    return used + (f"/{short_number(one.limit)}" if one.limit else "")


def _doing(one: Living) -> str:
    """What it does now, or why it ended."""
    row = one.row
    return row.message or ("" if row.reason in (None, "completed") else str(row.reason))


def _in_full(one: Living) -> str:
    title, doing = plain(one.title or ""), plain(_doing(one))
    name = f"{one.row.task_id}{f' - {title}' if title else ''}{' (rehearsal)' * one.row.rehearsal}"
    return f"{name}: {doing}" if doing else name
