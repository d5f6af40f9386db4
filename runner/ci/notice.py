"""One thing that a CI system shows beside a line, whatever found it. Pure values."""

from __future__ import annotations

import posixpath
from hashlib import sha256

from runner.text.terminal import is_blank
from runner.text.words import ending, one_line
from runner.value import Value
from runner.verify.inspect import Severity
from runner.verify.plan_report import GONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from runner.verify.report import Report

LEVELS = ("error", "warning", "note")
"""The gravest first."""
UNFINISHED = "unfinished"
"""What is said instead of an outcome that is not there yet."""
UNKNOWN = "unknown"
"""And of a step whose run is gone."""
SCOPE, DRIFT = "scope_violation", "config_drift"
_TAIL = 2000


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
        name = sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]
        told[name] = told.get(name, 0) + 1
        made.append(f"{name}:{told[name]}")
    return made


def of_run(report: Report, missing: Sequence[str] = ()) -> list[Notice]:
    """All that there is to look at: its end, its checks, what was seen of it, and what reviews claim; of a
    plan also the steps of which nobody knows that.
    """
    seen = [*_of_end(report), *_of_checks(report), *_of_findings(report)]
    if report.outcome == "succeeded":  # a plan has them of steps that later ones stand for
        seen = [one.replace(level="warning") if one.level == "error" else one for one in seen]
    gone = [Notice(UNKNOWN, "error", f"{name}: {GONE}", f"run {report.run_id}") for name in missing]
    return [*gone, *seen, *of_reviews(report)]


def why(report: Report) -> str:
    """Why it ended as it did; "" where it did not, or nobody knows."""
    return "" if report.reason is None else f"{report.reason.code}: {report.reason.message}"


def _of_end(report: Report) -> Iterator[Notice]:
    if report.outcome != "succeeded":
        word, level = report.outcome or UNFINISHED, "error" if report.outcome else "warning"
        yield Notice(word, level, f"{report.task_id}: {word}", f"{why(report)}\nrun {report.run_id}".strip())


def _of_checks(report: Report) -> Iterator[Notice]:
    for check in report.checks:
        if not check.passed:
            tail = ending(check.tail.strip(), _TAIL)
            yield Notice("check_failed", "error", f"{one_line(check.command, 100)} {check.how}", tail)


def _of_findings(report: Report) -> Iterator[Notice]:
    """A file outside of the scope is a notice of its own, as it has a place where it can be shown."""
    outside = report.files.outside_scope or ()
    yield from (Notice(SCOPE, "error", "changed outside of the scope", file=path) for path in outside)
    for one in report.findings:
        if one.code != SCOPE or not outside:
            level = LEVELS[tuple(Severity).index(one.severity)]
            yield Notice(one.code, level, one.message, "\n".join(one.evidence))
    drifted = report.conformance.drifted
    if drifted and not any(one.code == DRIFT for one in report.findings):  # it is not judged yet
        yield Notice(DRIFT, "warning", "settings are not as declared", "\n".join(drifted))


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
                title=f"{one.severity} finding" if is_blank(one.title) else one.title,
                detail="\n\n".join(
                    filter(None, (PLACES.get(one.place or "", "").strip(), one.detail, one.evidence))
                ),
                file=one.file if is_inside else "",
                line=one.line if one.place == "found" else None,
                about={"place": one.place, "step": one.step, "line": one.line},
            )
        )
    return made
