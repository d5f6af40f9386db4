"""What a host's model is shown of a run: a few marked lines, claims beside evidence. Pure.

A line without `[UNTRUSTED]` holds ids, numbers, names from the settings and sentences of runner alone. What
an agent, or a file that it has made, could have a word in stands behind that mark, on one line, cleaned and
cut: so no text of an agent can look like a line of runner.
"""

from __future__ import annotations

from runner.text.words import and_more, few, one_line
from runner.verify.status_block import last_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.model import Json
    from runner.verify.report import Report

UNTRUSTED = "[UNTRUSTED]"
_CHARS = 300
_SAID_CHARS = 200
_WORD_CHARS = 40
_CHANGES = 4
_BLOCK_LINES, _OTHER_LINES = 20, 80
_READ = 64 * 1024
"""Characters at the end of a last message in which its lines are looked for."""


def lines(event: Json, report: Report | None, runtime: str, name: str, change: str = "") -> list[str]:
    """Of an event of the feed, with the report of its run where that is done; `name` is its short name, and
    `change` says where what it changed is now.
    """
    made = {"asked": _asked, "turn": _turn, "parked": _parked, "approval": _approval}.get(event["event"])
    mark, head = f"[{_word(runtime)}]", f"run {name} of task {one_line(event['task_id'], 100)}"
    if made is not None:
        return [f"{mark} {line}" for line in made(event, head, name)]
    told = [f"{mark} {head}: {_plain(event['status'])}{_why(event.get('reason'))}"]
    if report is not None:
        told += [f"[{_word(runtime)}-SUMMARY] {line}" for line in _summary(report, name, change)]
    return told


def foreign(task_id: str, name: str) -> str:
    """All that is said of a run whose records nobody vouches for, but for what stands behind the mark."""
    return f"[RUN] run {name} of task {one_line(task_id, 100)}: foreign, nothing of it is sure"


def block(last_message: str | None, runtime: str) -> list[str]:
    """The STATUS block of a run's last message, or where it has none the end of it."""
    text = (last_message or "")[-_READ:]
    found = last_block(text)
    wanted = text.splitlines()[-_OTHER_LINES:] if found is None else found.splitlines()
    told = [line for line in (one_line(line, _CHARS) for line in wanted) if line]
    if found is not None and len(told) > _BLOCK_LINES:
        told = [*told[: _BLOCK_LINES - 1], "..."]
    return [f"[{_word(runtime)}] {UNTRUSTED} {line}" for line in told]


def _summary(report: Report, name: str, change: str) -> Iterator[str]:
    """Claims, what runner saw of the same, and its verdict. At most ten lines, and five of changes."""
    claims, files = report.claims, report.files
    if report.summary or claims.status:
        status = "" if claims.status is None else f"STATUS: {claims.status}: "
        yield _theirs(status + (report.summary or ""), _SAID_CHARS)
    seen = files.observed
    if seen is None:
        yield "changed files, seen by runner: not known"
    else:
        counted = "" if files.lines is None else f" (+{files.lines[0]} -{files.lines[1]})"
        outside = f", {len(files.outside_scope)} outside the scope" if files.outside_scope else ""
        yield f"changed files, seen by runner: {len(seen)}{counted}{outside}"
    if seen:
        yield _theirs(f"their names: {few([*seen], 10)}")
    for place in and_more(change.splitlines(), _CHANGES):
        yield one_line(f"its changes: {place}", 2 * _CHARS)
    passed = f"{sum(check.passed for check in report.checks)} of {len(report.checks)} passed"
    yield f"checks, run by runner: {passed if report.checks else 'none'}"
    checks = [f"`{check.command}` {'passed' if check.passed else check.how}" for check in report.checks]
    told = ("their commands", few(checks)), ("its tests", claims.verification_summary)
    for what, text in (*told, ("assumptions", few([*report.assumptions])), ("issues", few([*claims.issues]))):
        if text:
            yield _theirs(f"{what}: {text}")
    none = {"succeeded": "none known", None: "not judged yet"}.get(report.outcome, "it was not accepted")
    yield one_line(f"residual risk: {'; '.join(report.residual_risk) or none}", 2 * _CHARS)
    yield _verdict(report, name)


def _verdict(report: Report, name: str) -> str:
    if report.outcome is None:
        return "runner's verdict: none"
    code = _why(None if report.reason is None else report.reason.to_json())
    kinds = f"; kind of failure: {', '.join(report.failure_codes)}" if report.failure_codes else ""
    if report.outcome == "succeeded":
        return f"runner's verdict: accepted{code}; next: runner diff {name}, runner inbox"
    ways = f"runner report {name}, runner retry {name}"
    return f"runner's verdict: {_plain(report.outcome)}{code}{kinds}; next: {ways}"


def _asked(event: Json, head: str, name: str) -> Iterator[str]:
    yield f"{head} asks you {event['question']}; next: runner answer {name} {event['question']} TEXT"
    yield _theirs(f"its question: {event.get('prompt') or ''}")


def _approval(event: Json, head: str, name: str) -> Iterator[str]:
    yield f"{head} waits for a person to approve; next: runner inbox"
    yield _theirs(str(event.get("prompt") or ""))


def _turn(event: Json, head: str, name: str) -> Iterator[str]:
    ways = f"runner send {name} TEXT, or runner end {name}"
    yield f"{head}: turn {event['turn']} {_plain(event['status'])}; next: {ways}"
    if event.get("message"):
        yield _theirs(f"it says: {event['message']}", _SAID_CHARS)


def _parked(event: Json, head: str, name: str) -> Iterator[str]:
    reason = event.get("reason")
    yield f"{head} goes no further{_why(reason)}; next: runner status {name}, runner inbox"
    if reason is not None:
        yield _theirs(f"why: {reason['message']}")


def _theirs(text: str, most: int = _CHARS) -> str:
    return f"{UNTRUSTED} {one_line(text[:_READ], most)}"


def _why(reason: Json | None) -> str:
    return "" if reason is None else f" ({_plain(reason['code'])})"


def _plain(word: str) -> str:
    """A status or a code; a record that is not ours may have any text there."""
    return word if word.isascii() and word.isidentifier() and len(word) <= _WORD_CHARS else "unknown"


def _word(runtime: str) -> str:
    """As `codex` is written in a mark."""
    return _plain(runtime).upper()
