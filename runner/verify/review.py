"""What a review has found, and what a synthesis says of two reviews: claims of an agent. Pure values."""

from __future__ import annotations

from runner.text.terminal import named
from runner.value import Misfit, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Self

SEVERITIES = ("critical", "important", "minor")
"""The gravest first."""
NEAR = 20
"""Lines between two findings that may be one."""
PLACES = {"no_file": " (no such file)", "no_line": " (no such line)", "outside": " (outside)"}
"""What is said of a place that is not there."""


class ReviewFinding(Value):
    severity: str
    file: str
    """Empty where it is about no single file."""
    line: int | None
    title: str
    detail: str
    evidence: str
    sources: tuple[str, ...] = ()
    """Of a synthesis: the findings that this one keeps (`A1`, `B3`)."""
    place: str | None = None
    """`found`, `no_file`, `no_line` (beyond the end), `outside` of the work tree, or `none` where no file is
    named; None: not looked for, or not known.
    """
    step: str | None = None
    """In the report of a plan: the step that has it. Of what a repair is asked for: the repair that was asked
    for it before.
    """

    @classmethod
    def from_json(cls, data: Any) -> Self:
        made = super().from_json(data)
        if made.severity not in SEVERITIES:
            raise Misfit.of(made.severity, f"one of {', '.join(SEVERITIES)}").inside("severity")
        return made

    @property
    def where(self) -> str:
        """For people."""
        file = named(self.file)
        return file if self.line is None or not file else f"{file}:{self.line}"

    @property
    def identity(self) -> tuple[str, str]:
        """By which it is known again after the lines around it have moved."""
        return self.file, " ".join(self.title.lower().split())

    def is_near(self, other: Self, more: int = 0) -> bool:
        """Whether it may be the same place, after so many `more` lines have changed before it."""
        return self.line is None or other.line is None or abs(self.line - other.line) <= NEAR + more

    @property
    def rank(self) -> int:
        """0 is the gravest."""
        return SEVERITIES.index(self.severity)


class KeptFindings(Value):
    """What a synthesis has kept, in the words of the analyses, in a file of its own."""

    findings: tuple[ReviewFinding, ...]


def gravest_first(findings: Iterable[ReviewFinding]) -> tuple[ReviewFinding, ...]:
    return tuple(sorted(findings, key=lambda one: one.rank))


def once(findings: Iterable[ReviewFinding]) -> list[ReviewFinding]:
    """Each once at its place, as grave as anybody says."""
    known: dict[object, ReviewFinding] = {}
    for one in findings:
        place = (one.identity, one.line)
        known[place] = min(known.get(place, one), one, key=lambda said: said.rank)
    return [*known.values()]


def unsaid(
    findings: Iterable[ReviewFinding],
    said: Iterable[ReviewFinding],
    moved: Mapping[str, int] | None = None,
) -> list[ReviewFinding]:
    """Those that are not among what was `said`, as `matched` has it, each once."""
    ours = once(findings)
    found = matched(ours, once(said), moved)
    return [one for n, one in enumerate(ours) if n not in found]


def matched(
    findings: Sequence[ReviewFinding], said: Sequence[ReviewFinding], moved: Mapping[str, int] | None = None
) -> dict[int, int]:
    """Which of the findings are among what was `said` near them, at least as grave, and as which: by their
    places in both. `moved`: file -> how many of its lines have changed since. What was said once stands for
    one: for what is at its line, else for the gravest that it can, and the nearest.
    """
    there = {(one.identity, one.line): k for k, one in enumerate(said)}
    found: dict[int, int] = {}
    for n, one in enumerate(findings):
        same = there.get(place := (one.identity, one.line))
        if same is not None and said[same].rank <= one.rank:
            found[n] = there.pop(place)
    used, by_name = {*found.values()}, dict[tuple[str, str], list[int]]()
    for k, one in enumerate(said):
        if k not in used:
            by_name.setdefault(one.identity, []).append(k)
    more = moved or {}
    pairs = sorted(
        (one.rank, -said[k].rank, abs((one.line or 0) - (said[k].line or 0)), n, k)
        for n, one in enumerate(findings)
        if n not in found
        for k in by_name.get(one.identity, ())
        if said[k].rank <= one.rank and one.is_near(said[k], more.get(one.file, 0))
    )
    for *_, n, k in pairs:
        if n not in found and k not in used:
            found[n] = k
            used.add(k)
    return found


def followed(findings: Iterable[ReviewFinding], newer: Iterable[ReviewFinding]) -> list[ReviewFinding]:
    """What was found at first and what was found after that, each once."""
    return [*unsaid(findings, said := [*newer]), *said]


class Remark(Value):
    """Of a synthesis: a difference, a steelman, a rebuttal or an analysis that is off topic, each with those
    of these fields that `FIELDS` names.
    """

    findings: tuple[str, ...] = ()
    alpha: str = ""
    beta: str = ""
    finding: str = ""
    argument: str = ""
    file: str = ""
    line: int | None = None
    quote: str = ""
    reasoning: str = ""
    analysis: str = ""
    reason: str = ""


class Synthesis(Value):
    off_topic: tuple[Remark, ...]
    differences: tuple[Remark, ...]
    steelman: tuple[Remark, ...]
    rebuttals: tuple[Remark, ...]


_OF_A_FINDING = ("severity", "file", "line", "title", "detail", "evidence")
FIELDS: Any = {
    "result": dict.fromkeys(("status", "files_modified", "issues", "summary", "verification_summary"), ""),
    "findings": {"status": "", "summary": "", "findings": _OF_A_FINDING},
    "synthesis": {
        "off_topic": ("analysis", "reason"),
        "differences": ("alpha", "beta", "findings"),
        "steelman": ("finding", "argument", "file", "line"),
        "rebuttals": ("finding", "file", "line", "quote", "reasoning"),
        "findings": (*_OF_A_FINDING, "sources"),
        "summary": "",
    },
}
"""By the name of a schema: its fields, and those of the rows in them. All are required, and no others."""
