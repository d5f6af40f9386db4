"""A report for people: plain lines, or Markdown for a pull request. Pure.

Most of it was written by an agent or by what it ran. In plain text nothing foreign begins a line at the
margin; in Markdown it stands in code spans and fences only, longer than any run of backticks inside, where no
link, image, mention or HTML means anything.
"""

from __future__ import annotations

import re

from runner.text.terminal import clean_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runner.verify.checks import Check
    from runner.verify.inspect import Finding
    from runner.verify.report import Conformity, Files, Report

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


def as_markdown(report: Report) -> str:
    """Markdown that shows everything foreign as code."""
    rows = [f"## {_span(report.task_id)}: {report.outcome or 'not done'}", "", f"Run {_span(report.run_id)}"]
    if report.reason is not None:
        rows += ["", f"{_span(report.reason.code)}: {_span(report.reason.message)}"]
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
        yield "files that the agent says it changed", _few([show(path) for path in files.claimed]) or ["none"]
    yield "checks", [f"{show(check.command)} {_result(check)}" for check in report.checks] or ["none was run"]
    if report.findings:
        yield "findings", [_finding(finding, show) for finding in report.findings]
    claims = report.claims
    if claims.status is not None:
        said = [f"its checks: {show(claims.verification_summary)}"] if claims.verification_summary else []
        issues = _few([f"issue: {show(issue)}" for issue in claims.issues])
        yield "claims", [f"status: {show(claims.status)}", *said, *issues]
        yield "assumptions that the agent names", _few([show(one) for one in report.assumptions]) or ["none"]
    settings = report.conformance.items()
    yield "declared and observed", [_setting(name, setting, show) for name, setting in settings]
    used = [f"{name.replace('_', ' ')}: {count}" for name, count in report.usage.items() if count is not None]
    yield "tokens", used or ["not known"]
    yield "attempts", [str(len(report.attempts))]
    yield "residual risk", [*report.residual_risk] or ["none that is known of"]


def _changed(files: Files, show: Callable[[object], str]) -> list[str]:
    if files.observed is None:
        return ["not known"]
    outside, note = set(files.outside_scope or ()), " (outside the scope)"
    return _few([show(path) + (note if path in outside else "") for path in files.observed]) or ["none"]


def _finding(finding: Finding, show: Callable[[object], str]) -> str:
    few = [show(one) for one in finding.evidence[:5]]
    if len(finding.evidence) > len(few):
        few.append(f"and {len(finding.evidence) - len(few)} more")
    return f"{finding.severity}: {show(finding.message)}" + (f" [{', '.join(few)}]" if few else "")


def _setting(name: str, setting: Conformity, show: Callable[[object], str]) -> str:
    declared, observed = show(setting.declared or "default"), show(setting.observed or "not seen")
    return f"{name}: {declared} / {observed} ({setting.verdict})"


def _result(check: Check) -> str:
    return f"{'passed' if check.passed else check.how} ({check.duration_s:.1f} s)"


def _few(lines: list[str]) -> list[str]:
    if len(lines) <= _LISTED:
        return lines
    return [*lines[:_LISTED], f"and {len(lines) - _LISTED} more"]


def _line(text: object) -> str:
    line = " ".join(clean_terminal(str(text)).split())
    return line if len(line) <= _LINE_CHARS else line[: _LINE_CHARS - 3] + "..."


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
    text = whole[-_BLOCK_CHARS:] if end else whole[:_BLOCK_CHARS]
    lines = [line.rstrip().replace("\t", "    ") for line in text.split("\n")]
    lines = lines[-_BLOCK_LINES:] if end else lines[:_BLOCK_LINES]
    if len(whole) == len(text) and len(lines) == whole.count("\n") + 1:
        return lines
    return ["[...]", *lines] if end else [*lines, "[...]"]


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
