"""A run on one page of HTML: no script, and nothing from elsewhere, so that it can be kept and sent.

An agent or its programs wrote most of it. All of that is text: escaped, and what would not be seen (controls,
marks that turn the reading order) stands there as an escape. The page is ASCII, whatever writes it.
"""

from __future__ import annotations

from html import escape

from runner.cli.render import price_text
from runner.cli.style import CSS
from runner.state.manifest import between
from runner.text import patch as patches
from runner.text.durations import about
from runner.text.terminal import escape_unseen
from runner.text.words import count, ending, failed_before, shortened
from runner.usecases.story import StoryLine
from runner.verify.report_text import ledger_lines, review_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runner.state.manifest import Manifest
    from runner.usecases.dossier import Dossier
    from runner.usecases.logs import LogLine
    from runner.verify.checks import Check
    from runner.verify.report import Report

_HEAD = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'\">"
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">'
)
_TEXT, _TAIL, _FILES = 4000, 6000, 200
_DIFF_LINES, _FILE_LINES, _LINE, _OPEN = 3000, 600, 400, 10
"""Lines of a patch on the page, of one of its files, characters of a line, and files that are unfolded."""
_TAGS = {"+": "ins", "-": "del", "hunk": "b"}
_VERDICTS = {"ok": "as declared", "drift": "differs", "unverified": "not verified"}


def page(d: Dossier) -> str:
    """The whole document."""
    report = d.reviewed.report
    outcome = (report.outcome or "not done").replace("_", " ")
    body = "\n".join(
        (
            _header(d, report, outcome),
            "<main>",
            *_sections(d, report),
            "</main>",
            f"<footer><p>Run {_code(report.run_id)}. Times are UTC. {_code(f'runner logs {report.run_id}')} "
            "tells all of it.</p></footer>",
        )
    )
    title = f"<title>{_t(report.task_id)}: {_t(outcome)}</title><style>{CSS}</style></head>"
    html = f"{_HEAD}{title}\n<body>\n{body}\n</body></html>\n"
    return html.encode("ascii", "xmlcharrefreplace").decode()


def _header(d: Dossier, report: Report, outcome: str) -> str:
    m = d.manifest
    tone = "good" if report.outcome == "succeeded" else "bad" if report.outcome else "open"
    observed = report.files.observed
    used = (report.usage.get(name) for name in ("input_tokens", "output_tokens"))
    spent = [n for n in used if n is not None]
    facts = [
        ("Checks", _passed(report.checks, d.declared_checks)),
        *([("Stages", _stages(m))] if m.plan is not None and m.plan.get("stages") else []),
        ("Files changed", "not known" if observed is None else str(len(observed))),
        ("Took", _took(m)),
        *([("Tokens", f"{sum(spent):,}")] if spent else []),
        *([] if m.cost is None else [("Price", price_text(m.cost, 4))]),
        ("Started", _t((m.started_at or "not yet")[:19].replace("T", " "))),
        ("Program", _t(f"{m.runtime.name} {m.runtime.version}" + " (rehearsal)" * m.rehearsal)),
        ("Turns", str(m.turns)) if m.has_turns else ("Attempts", str(len(report.attempts))),
        ("Works in", _t(m.workspace.kind if m.workspace is not None else "not recorded")),
    ]
    reason = "" if report.reason is None else f"<p>{_t(report.reason.message)}</p>"
    rows = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in facts)
    title = f"<p class=title>{_t(d.title)}</p>" if d.title else ""
    notes = _list(_t(note) for note in (*d.reviewed.change, *d.reviewed.notes))
    head = f'<h1>{_t(report.task_id)}: <strong class="{tone}">{_t(outcome)}</strong></h1>'
    return f"<header>{head}{title}{reason}<dl>{rows}</dl>{notes}</header>"


def _stages(m: Manifest) -> str:
    stages = (m.plan or {}).get("stages") or ()
    said = [one["status"] for one in stages]
    skipped = f", {said.count('skipped')} skipped" if "skipped" in said else ""
    return f"{said.count('passed')} of {len(said)} passed{skipped}"


def _passed(checks: Sequence[Check], declared: int) -> str:
    """Those behind one that fails are not run, and have not passed."""
    if not checks:
        return f"none of {declared} was run" if declared else "none was run"
    return f"{sum(check.passed for check in checks)} of {max(declared, len(checks))} passed"


def _sections(d: Dossier, report: Report) -> Iterator[str]:
    if report.summary:
        yield _section("What the agent says", f"<blockquote>{_text(report.summary)}</blockquote>")
    yield _section("Claims beside evidence", _claims(report))
    yield _section("Checks", *(map(_check, report.checks)), _p(failed_before(report.failed_before)))
    if report.gates:
        yield _section("Gates", _list(map(_code, report.gates)))
    if report.review_findings:
        said = (one.replace(severity=_t(one.severity)) for one in report.review_findings)
        yield _section("Review findings", _list(review_line(one, _code) for one in said))
    if report.repaired:
        yield _section(
            "Repaired, and not found again", _list(review_line(one, _code) for one in report.repaired)
        )
    yield _section("Changes", *_changes(d, report))
    yield _section(
        "Settings", _settings(d, report), _folded("The command", _pre(d.command)) if d.command else ""
    )
    if d.below:
        yield _section("Runs below this one", _below(d.below))
    used = [(name.replace("_", " "), f"{n:,}") for name, n in report.usage.items() if n is not None]
    tokens = _table("Of all attempts", ("tokens", "count"), used) if used else _p("not known")
    yield _section("Tokens", tokens)
    if report.refused:
        yield _section("Refused by its program", _list(map(_code, report.refused)))
    if report.ledger is not None and (lines := [*ledger_lines(report.ledger, _code)]):
        yield _section("Ledger", _list(lines))
    yield _section("Residual risk", _list(map(_t, report.residual_risk)) or _p("none known"))
    yield _section("Timeline", *_timeline(d))


def _claims(report: Report) -> str:
    claims, files = report.claims, report.files
    claimed, observed = {*(files.claimed or ())}, {*(files.observed or ())}
    both = files.claimed is not None and files.observed is not None
    says = [_code(one) + " (not seen)" * (both and one not in observed) for one in files.claimed or ()]
    outside = {*(files.outside_scope or ())}
    seen = []
    for one in files.observed or ():
        marks = ("not claimed",) * (both and one not in claimed) + ("outside the scope",) * (one in outside)
        seen.append(_code(one) + (_mark(", ".join(marks)) if marks else ""))
    why = "" if report.reason is None else f" ({_code(report.reason.code)})"
    ran = [f"{_code(check.command)} {_result(check)}" for check in report.checks]
    found = [
        f"{_t(one.severity)}: {_t(one.message)} {', '.join(map(_code, one.evidence[:5]))}"
        for one in report.findings
    ]
    assumed = (one for one in report.assumptions if not any(issue.endswith(one) for issue in claims.issues))
    issues = [*map(_t, claims.issues), *(f"Assumption: {_t(one)}" for one in assumed)]
    rows = [
        ("outcome", _t(claims.status or "nothing"), _t(report.outcome or "not done") + why),
        ("files", _some(says, files.claimed), _some(seen, files.observed)),
        ("checks", _text(claims.verification_summary or "nothing"), _list(ran) or "none was run"),
        ("problems", _list(issues[:_FILES]) or "none", _list(found) or "none"),
    ]
    return _table("What the agent claims, and what was seen", ("about", "claimed", "seen"), rows)


def _some(items: Sequence[str], known: object) -> str:
    if known is None:
        return "not known"
    rest = len(items) - _FILES
    return _list((*items[:_FILES], *([f"and {rest} more"] if rest > 0 else []))) or "none"


def _check(check: Check) -> str:
    title = f"{_code(check.command)} {_result(check)}"
    tail = check.tail.strip("\n")
    if not tail:
        return f"<p>{title}</p>"
    said = f"[...]\n{ending(tail, _TAIL)}" if len(tail) > _TAIL else tail
    return _folded(title, _pre(said), is_open=not check.passed)


def _changes(d: Dossier, report: Report) -> Iterator[str]:
    yield "".join(map(_p, d.of_patch))
    if not d.patch:
        return
    outside = {*(report.files.outside_scope or ())}
    parts = [*_by_file(d.patch)]
    named = [one.path for one in d.files] if len(d.files) == len(parts) else []
    left, files = _DIFF_LINES, 0
    for n, part in enumerate(parts):
        if left <= 0:
            break
        files += 1
        name = named[n] if named else part[0][1].removeprefix("diff --git ")
        shown = part[: min(left, _FILE_LINES)]
        left -= len(shown)
        lines = d.files[n] if named else None
        size = (
            "" if lines is None else " binary" if lines.added is None else f" +{lines.added} -{lines.removed}"
        )
        title = f"{_code(name)}{size}{_mark('outside the scope') * (name in outside)}"
        more = len(part) - len(shown)
        rest = _p(f"{count(more, 'more line')} of this file left out") if more else ""
        yield _folded(title, f"<pre>{''.join(map(_diff_line, shown))}</pre>{rest}", is_open=n < _OPEN)
    gone = len(parts) - files
    rest = f"{count(gone, 'more file')} left out. " if gone else ""
    yield f"<p>{rest}{_code(f'runner diff {report.run_id}')} shows all of it.</p>"


def _by_file(patch: str) -> Iterator[list[tuple[str, str]]]:
    part: list[tuple[str, str]] = []
    for kind, line in patches.lines(patch):
        if kind == "head" and line.startswith("diff --git ") and part:
            yield part
            part = []
        part.append((kind, line))
    if part:
        yield part


def _diff_line(told: tuple[str, str]) -> str:
    kind, line = told
    tag = _TAGS.get(kind, "span")
    return f"<{tag}>{_t(line, _LINE)}</{tag}>\n"


def _settings(d: Dossier, report: Report) -> str:
    rows = [
        (
            _t(name),
            _t(one.declared or "nothing"),
            _t(d.effective.get(name, "not known")),
            _t(one.observed or "not seen"),
            _VERDICTS.get(one.verdict, _t(one.verdict)) if one.verdict != "drift" else _mark("differs"),
        )
        for name, one in report.conformance.items()
    ]
    head = ("setting", "declared", "effective", "observed", "verdict")
    return _table("Declared, as the program was given it, and as it reports it", head, rows)


def _below(below: Iterable[Manifest]) -> str:
    rows = [
        (
            _code(m.run_id),
            _t(m.title or m.task_id),
            _t(m.status) if m.outcome in (None, "succeeded") else _mark(m.status),
            _t("" if m.reason is None else m.reason.message),
            _took(m),
            "not known" if m.usage.total is None else f"{m.usage.total:,}",
        )
        for m in below
    ]
    return _table("Those that it has started", ("run", "what", "status", "reason", "took", "tokens"), rows)


def _timeline(d: Dossier) -> Iterator[str]:
    if d.earlier:
        told = _code(f"runner logs {d.reviewed.report.run_id}")
        yield f"<p>{count(d.earlier, 'earlier line')} left out: {told} tells all.</p>"
    day, rows = "", ""
    for line in d.lines:
        at = line.at or ""
        if at[:10] not in ("", day):
            day = at[:10]
            rows += f'<li class="day">{_t(day)}</li>\n'
        rows += _moment(line, at)
    yield f"<ol>{rows}</ol>" if rows else _p("nothing was recorded")


def _moment(line: LogLine, at: str) -> str:
    told = line if isinstance(line, StoryLine) else StoryLine(line.at, line.kind, line.text)
    tone = {"red": "bad", "green": "good", "yellow": "open"}.get(told.tone, "")
    when = f'<time datetime="{_t(at)}">{_t(at[11:19])}</time>' if at else "<span></span>"
    whose = f"<i>[{_t(told.whose)}]</i> " if told.whose else ""
    note = f" <small>({_t(told.note)})</small>" if told.note else ""
    output = _pre(told.output) if told.output else ""
    label = f'<b class="{tone}">{_t(told.kind)}</b>'
    return f"<li>{when}{label}<div>{whose}{_text(told.text)}{note}{output}</div></li>\n"


def _took(m: Manifest) -> str:
    try:
        took = between(m.started_at or "", m.ended_at or "")
    except ValueError:
        took = None
    return "not known" if took is None else about(took)


def _result(check: Check) -> str:
    return f"{'passed' if check.passed else _mark(check.how)} ({check.duration_s:.1f} s)"


def _t(text: object, most: int = 2000) -> str:
    """Foreign text: nothing in it is markup, and all of it is seen."""
    return escape(escape_unseen(shortened(str(text), most)))


def _text(text: str) -> str:
    return f'<span class="text">{_t(text, _TEXT)}</span>'


def _code(text: object) -> str:
    return f"<code>{_t(text, 300)}</code>"


def _mark(text: str) -> str:
    return f' <strong class="bad">{_t(text)}</strong>'


def _p(text: str | None) -> str:
    return f"<p>{_t(text)}</p>" if text else ""


def _pre(text: str) -> str:
    return f"<pre>{_t(text, 2 * _TAIL)}</pre>"


def _list(items: Iterable[str]) -> str:
    rows = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{rows}</ul>" if rows else ""


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>{''.join(parts) or _p('none')}</section>"


def _folded(title: str, inner: str, *, is_open: bool = False) -> str:
    return f"<details{' open' * is_open}><summary>{title}</summary>{inner}</details>"


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """On a phone each row is a block, in which the cells say what they are."""
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = ""
    for first, *rest in rows:
        cells = "".join(
            f'<td data-is="{name}">{cell}</td>' for name, cell in zip(head[1:], rest, strict=True)
        )
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>\n'
    return f"<table><caption>{caption}</caption><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"
