"""A log for people: in local time, with the date where it changes, wrapped for the terminal."""

from __future__ import annotations

from runner.cli import pen
from runner.cli.margin import local, rows_of
from runner.cli.pen import paint
from runner.text.cells import cells
from runner.usecases.story import StoryLine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.usecases.logs import LogLine

_TIME, _LABEL = 10, 9
_NARROW = 50
"""On a terminal that is narrower, a line continues near the margin."""
_NARROWEST = 20


class Transcript:
    """Lines of a log as text, one after the other."""

    def __init__(self, width: Callable[[], int | None] = pen.columns) -> None:
        self._width_now = width
        self._day = ""

    def text(self, line: LogLine) -> str:
        """As it is to be said, with the date before it where that is another; a raw stream's as it is."""
        if not isinstance(line, StoryLine):
            return line.text
        width = self._width_now()
        is_narrow = width is not None and width < _NARROW
        room = width if width is None else max(width, _NARROWEST)
        indent = 2 if is_narrow else _TIME + _LABEL
        start = _TIME + len(line.kind) + 1 if is_narrow else indent
        day, clock = local(line.at)
        rows = [paint(day, "dim")] if day and day != self._day else []
        self._day = day or self._day
        whose = f"[{line.whose}] " if line.whose else ""
        body = rows_of(whose + line.text, room, start, indent)
        end = cells(body[-1]) + (start if len(body) == 1 else 0)
        if whose and body[0].startswith(whose):
            body[0] = paint(whose, "cyan") + body[0].removeprefix(whose)
        label = paint(line.kind, line.tone) + " " * (start - _TIME - len(line.kind))
        body[0] = f"{clock:<{_TIME}}{label}{body[0]}"
        if line.note:
            note = paint(f"({line.note})", line.tone)
            if room is None or end + len(line.note) + 3 <= room:
                body[-1] = f"{body[-1]} {note}"
            else:
                rows_of_note = rows_of(f"\n({line.note})", room, indent, indent)[1:]
                body += [paint(row, line.tone) for row in rows_of_note]
        if line.output:
            body += [paint(row, "dim") for row in rows_of("\n" + line.output, room, indent, indent)[1:]]
        return "\n".join(row.rstrip() for row in (*rows, *body))
