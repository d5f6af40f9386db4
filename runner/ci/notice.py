"""One thing that a CI system shows beside a line, whatever found it. Pure values."""

from __future__ import annotations

import posixpath
from hashlib import sha256

from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from runner.verify.report import Report

LEVELS = ("error", "warning", "note")
"""The gravest first."""


class Notice(Value):
    rule: str
    """Which kind of thing: for machines, and stable."""
    level: str
    title: str
    detail: str = ""
    file: str = ""
    """Relative to the root of the repository; empty where it is about no single file of it."""
    line: int | None = None
    """None where it is not known to be there."""
    about: Mapping[str, Any] = {}
    """More of it, for programs."""


def names(notices: Iterable[Notice]) -> list[str]:
    """A name for each that stays when lines move; of equal ones each has a number."""
    told: dict[str, int] = {}
    made = []
    for one in notices:
        key = "\0".join((one.file, " ".join(one.title.casefold().split())))
        name = sha256(key.encode(errors="surrogateescape")).hexdigest()[:32]
        told[name] = told.get(name, 0) + 1
        made.append(f"{name}:{told[name]}")
    return made


def of_reviews(report: Report) -> list[Notice]:
    """What reviews claim to have found; the rule is the severity."""
    from runner.verify.review import PLACES, SEVERITIES

    made = []
    for one in report.review_findings or ():
        is_inside = one.file and one.place != "outside" and not posixpath.isabs(one.file)
        made.append(
            Notice(
                rule=one.severity,
                level=LEVELS[SEVERITIES.index(one.severity)],
                title=one.title,
                detail="\n\n".join(
                    filter(None, (PLACES.get(one.place or "", "").strip(), one.detail, one.evidence))
                ),
                file=one.file if is_inside else "",
                line=one.line if one.place == "found" else None,
                about={"place": one.place, "step": one.step, "line": one.line},
            )
        )
    return made
