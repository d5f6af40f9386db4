"""The prompts of the runs of a pipeline. Pure: what a stage knows of those before it, and nothing else.

An earlier run is named by the literal path of its last message, with a bounded summary: what an agent wrote
is quoted as data.
"""

from __future__ import annotations

from runner.config.find import wording
from runner.text.terminal import is_blank
from runner.text.words import indented, one_line
from runner.value import Value
from runner.verify.review import ReviewFinding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runner.model import Json

_SUMMARY = 600
"""Characters of a summary."""
_MOST = 40
"""The most earlier runs in a prompt, the newest of them."""


class Told(Value):
    """A result of an earlier stage: of a run, or the document that a person has approved."""

    name: str
    status: str
    summary: str
    path: str | None


def prompt(own: str, *sections: str) -> str:
    """The task's own prompt, and the sections that have something to say."""
    return "\n\n".join(part.strip("\n") for part in (own, *sections) if part.strip()) + "\n"


def given(input: Mapping[str, str]) -> str:
    """What a start gave, perhaps out of a file of somebody else: as data, it is no section of ours."""
    lines = [
        "\n".join((f"### {name}", "", *indented(text))) for name, text in input.items() if not is_blank(text)
    ]
    return "\n\n".join(("## Input", *lines)) if lines else ""


def earlier(results: Sequence[Told]) -> str:
    """The results of the stages that this one needs."""
    lines = []
    for one in results[-_MOST:]:
        said = f": {one_line(one.summary, _SUMMARY)}" if one.summary.strip() else ""
        where = f"\n  Its whole result: {one.path}" if one.path else ""
        lines.append(f"- {one.name} ({one.status}){said}{where}")
    return "\n".join(("## Earlier stages", wording("earlier-stages"), *lines)) if lines else ""


def repair(finding: Json) -> str:
    return "\n".join(("## The finding to repair", *_finding(finding), "", wording("repair")))


def again(findings: Iterable[Json]) -> str:
    lines = [line for finding in findings for line in _finding(finding)]
    return "\n".join(("## After a repair", wording("after-a-repair"), *lines)) if lines else ""


def synthesis(paths: Sequence[str], advocacy: str | None) -> str:
    """What a synthesiser gets: both analyses by neutral names, in files."""
    lines = [f"- Analysis {name}: {path}" for name, path in zip(("Alpha", "Beta"), paths, strict=True)]
    if advocacy is not None:
        lines.append(f"- The first pass, in which each finding was argued for: {advocacy}")
    return "\n".join(("## The analyses", "Read all of these files before you write anything.", *lines))


def _finding(finding: Json) -> list[str]:
    """As data: one line for each of its parts."""
    one = ReviewFinding.from_json(finding)
    words = [
        f"- {one.severity}: {one_line(one.title)}",
        f"  Place: {one_line(one.where or 'no single file')}",
    ]
    parts = (("Detail", one.detail), ("Evidence", one.evidence))
    return words + [f"  {name}: {one_line(text, 4 * _SUMMARY)}" for name, text in parts if text.strip()]
