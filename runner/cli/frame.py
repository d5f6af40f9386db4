"""What `runner watch` shows, as lines: a function of the runs, the size of the terminal and the time."""

from __future__ import annotations

import sys

from runner.cli.pen import cleaned, paint
from runner.cli.render import STATUS_COLOURS
from runner.cli.rows import called_in, families, progress, short_number
from runner.model import Phase
from runner.text.cells import cells, cut
from runner.text.durations import about
from runner.text.words import count, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runner.usecases.alive import Living

    _Piece = tuple[str, str]
    """A text and its colour."""

KEYS = "up/down  enter logs  a answer  p pause  c cancel  q quit"
NOTHING = "no run lives; those that begin are shown as they come"
_BAR = 8
_LONGEST_TASK = 32
_COLUMNS = (
    *(("  RUN ", 0), ("TASK", 29), ("STATUS", 0), ("  TIME", 39), (" USUAL", 75), ("TOKENS", 75)),
    *(("", 99), ("LAST", 59)),
)
"""Each with the width of the terminal below which it is left out; without a name the bar of the tokens."""
_AT_THE_LEFT = ("  RUN ", "TASK", "STATUS")


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
    plans = {one.row.run_id for one, _ in runs if one.row.plan}
    rows = []
    for n, (one, indent) in enumerate(shown, first):
        mark, name = "> " if n == chosen else "  ", names.get(one.row.run_id, one.row.run_id)
        called = (f"{mark}{indent}{name}", "bold" if n == chosen else "")
        task = cut(called_in(plans, one.row), min(_LONGEST_TASK, max(6, width // 6)))
        rows.append([called, (task, ""), *_numbers(one, now), *_words(one)])
    lines = [_line(pieces, width) for pieces in _table(rows, width)]
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


def _line(pieces: Iterable[_Piece], width: int) -> str:
    """The pieces, each in its colour, as far as there is room."""
    made = ""
    for text, colour in pieces:
        fits = cells(text) <= width
        text = text if fits else cut(text.rstrip(), width)
        width = width - cells(text) if fits else 0
        made += paint(text, colour) if colour and text.strip() else text
    return made.rstrip()


def _table(rows: Sequence[Sequence[_Piece]], width: int) -> Iterator[list[_Piece]]:
    """The head and the rows, each cell as wide as its column; what a row has more is put behind."""
    head: list[_Piece] = [(name, "dim") for name, _ in _COLUMNS]
    sizes = [
        max(cells(row[n][0]) for row in (head, *rows)) if width >= least else 0
        for n, (_, least) in enumerate(_COLUMNS)
    ]
    for row in (head, *rows):
        pieces = []
        for (text, colour), size, (name, _) in zip(row, sizes, _COLUMNS, strict=False):
            pad = " " * (size - cells(text))
            if size:
                pieces.append((f"{text}{pad}  " if name in _AT_THE_LEFT else f"{pad}{text}  ", colour))
        yield [*pieces, *row[len(_COLUMNS) :]]


def _numbers(one: Living, now: float) -> Iterator[_Piece]:
    """The columns from the status on."""
    row, usual, limit = one.row, one.usual_s, one.limit
    took = row.duration_s if one.is_over or one.began is None else max(0.0, now - one.began)
    is_late = took is not None and usual is not None and took > 2 * usual and not one.is_over
    used = "" if row.tokens is None else short_number(row.tokens)
    share = min(1.0, (row.tokens or 0) / limit) if limit else 0.0
    yield row.status, STATUS_COLOURS.get(row.status, "")
    yield "" if took is None else about(took), "yellow" if is_late else ""
    yield "" if usual is None else about(usual), "dim"
    yield f"{used}/{short_number(limit)}" if limit else used, ""
    bar = f"[{'#' * int(share * _BAR):.<{_BAR}}]" if limit else ""
    yield bar, "red" if share >= 1 else "yellow" if share >= 0.8 else "green"
    yield "" if one.wrote is None or one.is_over else about(now - one.wrote, 1), ""


def _words(one: Living) -> Iterator[_Piece]:
    calls = count(one.row.questions_open, "question") if one.row.questions_open else ""
    calls = calls or "to send or end" * (one.row.status == Phase.WAITING)
    rest = "; ".join(filter(None, (progress(one.row), plain(one.row.place or ""), plain(_doing(one)))))
    yield calls, "yellow"
    yield "; " * bool(calls and rest) + rest, "dim" if one.is_over else ""


def _doing(one: Living) -> str:
    """What it does now, or why it ended."""
    row = one.row
    return row.message or ("" if row.reason in (None, "completed") else str(row.reason))


def _in_full(one: Living) -> str:
    title, doing = plain(one.row.title or ""), plain(_doing(one))
    name = f"{one.row.task_id}{f' - {title}' if title else ''}{' (rehearsal)' * one.row.rehearsal}"
    return f"{name}: {doing}" if doing else name
