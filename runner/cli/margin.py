"""Texts beside a column of times: broken into rows that stand behind a margin, and what a clock here says."""

from __future__ import annotations

import time

from runner.cli import pen
from runner.state.manifest import parse_timestamp
from runner.text.cells import wrapped


def rows_of(text: str, room: int | None, start: int, indent: int) -> list[str]:
    """The text in rows: the first is to stand at the column `start`, the others have their `indent`."""
    text, before = pen.visible(text), start - indent
    ghost = "x" * (before - 1) + " " if before else ""
    rows = text.split("\n") if room is None else wrapped(ghost + text, room - indent)
    first = rows[0] if room is None else rows[0][before:]
    return [first, *(" " * indent + row for row in rows[1:])]


def local(at: str | None) -> tuple[str, str]:
    """The day with its distance from UTC, and the time of the day; "" is not known."""
    try:
        moment = time.localtime(parse_timestamp(at or ""))
    except (ValueError, OverflowError, OSError):
        return "", ""
    sign, minutes = "-" if moment.tm_gmtoff < 0 else "+", abs(moment.tm_gmtoff) // 60
    zone = f"{sign}{minutes // 60:02d}:{minutes % 60:02d}" if minutes else ""
    return time.strftime(f"%Y-%m-%d UTC{zone}", moment), time.strftime("%H:%M:%S", moment)
