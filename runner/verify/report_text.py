"""A report for people: plain lines, or Markdown for a pull request. Pure.

An agent or its programs wrote most of it. In plain text none of that begins a line at the margin; in Markdown
it is only in code spans and fences, longer than any run of backticks inside, where links, images, mentions
and HTML have no effect.
"""

from __future__ import annotations

import re

from runner.text.terminal import clean_terminal, named
from runner.text.words import and_more, ending, failed_before, one_line
from runner.verify.review import PLACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runner.conformance import Conformity
    from runner.model import Json
    from runner.verify.checks import Check
    from runner.verify.inspect import Finding
    from runner.verify.report import Report, ReportedFiles
    from runner.verify.review import ReviewFinding

_LINE_CHARS = 300
_BLOCK_LINES = 30
_BLOCK_CHARS = 4000
_LISTED = 100


def as_text(report: Report) -> str:
    """Plain lines without colour."""
    rows = [f"{report.outcome or 'not done'}  {_line(report.task_id)}  {_line(report.run_id)}"]
    if report.reason is not None:
        rows.append(f"  {_line(report.reason.code)}: {_line(report.reason.message)}")
    for title, lines in _sections(report, _line):
        rows += ["", title, *(f"  {line}" for line in lines)]
    if report.summary:
        rows += ["", "what the agent says", *(f"  | {line}" for line in _block(report.summary))]
    for check in report.checks:
        if not check.passed and check.tail.strip():
            rows += ["", "output of the failing check", *(f"  | {line}" for line in _block(check.tail, True))]
    return "\n".join(rows) + "\n"


def as_markdown(report: Report, notes: Iterable[str] = ()) -> str:
    """Markdown that shows everything foreign as code. `notes` are what a reader is to know at first."""
    rows = [f"## {_span(report.task_id)}: {report.outcome or 'not done'}", "", f"Run {_span(report.run_id)}"]
    if report.reason is not None:
        rows += ["", f"{_span(report.reason.code)}: {_span(report.reason.message)}"]
    rows += [line for note in notes for line in ("", _span(note))]
    for title, lines in _sections(report, _span):
        rows += ["", f"### {title.capitalize()}", "", *(f"- {line}" for line in lines)]
    if report.summary:
        rows += ["", "### What the agent says", "", *_fenced(_block(report.summary))]
    for check in report.checks:
        if not check.passed and check.tail.strip():
            rows += ["", "### Output of the failing check", "", *_fenced(_block(check.tail, True))]
    return "\n".join(rows) + "\n"


def _sections(report: Report, show: Callable[[object], str]) -> Iterable[tuple[str, list[str]]]:
    """Titles and lines; `show` makes what is foreign harmless."""
    if report.failure_codes:
        yield "kind of failure", [show(code) for code in report.failure_codes]
    files = report.files
    yield "files changed", _changed(files, show)
    if files.claimed is not None and set(files.claimed) != set(files.observed or ()):
        yield "files changed, according to the agent", _listed([show(named(path)) for path in files.claimed])
    checks = [f"{show(check.command)} {_result(check)}" for check in report.checks] or [_unchecked(report)]
    before = failed_before(report.failed_before)
    yield "checks", [*checks, *([] if before is None else [show(before)])]
    if report.gates:
        yield "gates", [show(text) for text in report.gates]
    if report.findings:
        yield "findings", [line for finding in report.findings for line in _found(finding, show)]
    if report.review_findings:
        yield "review findings", _listed([review_line(one, show) for one in report.review_findings])
    if report.repaired:
        yield "repaired, and not found again", _listed([review_line(one, show) for one in report.repaired])
    claims = report.claims
    if claims.status is not None:
        said = [f"its checks: {show(claims.verification_summary)}"] if claims.verification_summary else []
        issues = and_more([f"issue: {show(issue)}" for issue in claims.issues], _LISTED)
        yield "claims", [f"status: {show(claims.status)}", *said, *issues]
        yield "the agent's assumptions", _listed([show(one) for one in report.assumptions])
    settings = report.conformance.items()
    yield "declared and observed", [_setting(name, setting, show) for name, setting in settings]
    used = [
        f"{name.replace('_', ' ')}: {count:,}" for name, count in report.usage.items() if count is not None
    ]
    yield "tokens", used or ["not known"]
    turns = [one for one in report.attempts if one.get("how") != "closing"]
    has_turns = any(one.get("messages") for one in turns)
    yield "turns" if has_turns else "attempts", [str(len(turns if has_turns else report.attempts))]
    if report.refused:
        yield "refused by its program", [show(text) for text in report.refused]
    if report.ledger is not None and (told := [*ledger_lines(report.ledger, show)]):
        yield "ledger", and_more(told, _LISTED)
    yield "residual risk", [*report.residual_risk] or ["none known"]


def ledger_lines(part: Json, show: Callable[[object], str]) -> Iterator[str]:
    """What was handed over, recorded and proposed. What runner saw is a line only beside that. `show` makes
    what is foreign harmless.
    """
    if part["problem"] is not None:
        yield f"not believed: {show(part['problem'])}"
        return
    for verb, handoffs in (("took", part["taken"]), ("handed over", part["made"])):
        for one in handoffs:
            ways = f"{show(one['actor'])} to {show(one['to'])}, lane {show(one['lane'])}"
            yield f"{verb} {one['id']}: {ways}: {show(one['reason'])} {show(one['ask'])}"
    for verb, artifacts in (("recorded", part["recorded"]), ("runner saw", part["seen"])):
        for one in artifacts if part["recorded"] or part["lanes"] else ():
            yield f"{verb} {one['id']}: {show(one['kind'])} {show(one['status'])}: {show(one['title'])}"
    for one in part["refused"]:
        yield f"a marker was not taken ({one['id']}): {show(one['message'])}"
    for one in part["lanes"]:
        yield f"lane {show(one['lane'])}: {one['status']}"
    if (proposal := part["finality"]) is not None:
        late = (
            f", and changed files were seen since ({proposal['changed_by']})"
            if proposal["changed_by"]
            else ""
        )
        yield f"proposed as final by {show(proposal['by'])}, {proposal['id']}: {proposal['status']}{late}"
    if part["next_speaker"] is not None:
        yield f"next: {show(part['next_speaker']['actor'])}"


def _changed(files: ReportedFiles, show: Callable[[object], str]) -> list[str]:
    if files.observed is None:
        return ["not known"]
    outside, note = set(files.outside_scope or ()), " (outside the scope)"
    return _listed([show(named(path)) + (note if path in outside else "") for path in files.observed])


def _found(finding: Finding, show: Callable[[object], str]) -> list[str]:
    """In one line; each thing of git with its old and new value has one of its own."""
    if finding.code != "policy_violation":
        return [_finding(finding, show)]
    return [f"{finding.severity}: {show(finding.message)}", *map(show, finding.evidence)]


def _finding(finding: Finding, show: Callable[[object], str]) -> str:
    told = finding.named(5)
    seen = ", ".join([*map(show, told[:5]), *told[5:]])
    return f"{finding.severity}: {show(finding.message)}" + (f" [{seen}]" if seen else "")


def _unchecked(report: Report) -> str:
    return "none but those of gates was run" if report.gates else "none was run"


def review_line(one: ReviewFinding, show: Callable[[object], str]) -> str:
    """What a review has found, and whether its place is there."""
    step = f"{show(one.step)}: " if one.step else ""
    at = f"{show(one.where)}: " if one.where else ""
    return f"{step}{one.severity}: {at}{show(one.title)}{PLACES.get(one.place or '', '')}"


def _setting(name: str, setting: Conformity, show: Callable[[object], str]) -> str:
    declared, observed = show(setting.declared or "default"), show(setting.observed or "not seen")
    return f"{name}: {declared} / {observed} ({setting.verdict})"


def _result(check: Check) -> str:
    return f"{'passed' if check.passed else check.how} ({check.duration_s:.1f} s)"


def _listed(lines: list[str]) -> list[str]:
    return and_more(lines, _LISTED) or ["none"]


def _line(text: object) -> str:
    return one_line(str(text), _LINE_CHARS)


def _span(text: object) -> str:
    """A code span (CommonMark 6.1): its fence is longer than any run of backticks in it."""
    line = _line(text)
    if not line:
        return "(empty)"
    ticks = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _fenced(lines: list[str]) -> list[str]:
    fence = "`" * max(3, _longest_run("\n".join(lines)) + 1)
    return [f"{fence}text", *lines, fence]


def _block(text: str, end: bool = False) -> list[str]:
    """Some lines of a longer text, its beginning or its `end`, and what was left out."""
    whole = clean_terminal(text).strip("\n")
    text = ending(whole, _BLOCK_CHARS) if end else whole[:_BLOCK_CHARS]
    lines = [line.rstrip().replace("\t", "    ") for line in text.split("\n")]
    lines = lines[-_BLOCK_LINES:] if end else lines[:_BLOCK_LINES]
    if len(whole) == len(text) and len(lines) == whole.count("\n") + 1:
        return lines
    return ["[...]", *lines] if end else [*lines, "[...]"]


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
