"""Runs as JUnit XML: a suite of each, a case of each check and of what else was looked at.

https://github.com/jenkinsci/xunit-plugin has the schema that Jenkins reads (junit-10.xsd).
"""

from __future__ import annotations

from shlex import join

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from runner.ci.notice import DRIFT, SCOPE, UNFINISHED, UNKNOWN, why
from runner.text.terminal import clean_terminal, plain
from runner.text.words import and_more, numbered
from runner.verify.plan_report import GONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.verify.report import Report

    Unrun = Sequence[tuple[str, ...]]

_OF_CLAIMS = ("claim_contradicted", "claimed_outside", "claimed_missing", "claimed_not_changed")
_HOMES = {
    **{SCOPE: "scope", DRIFT: "conformance"},
    **dict.fromkeys((*_OF_CLAIMS, "changed_not_claimed", "empty_diff"), "contract"),
}
"""The case that a finding is told in, where that is not `change`."""
_NO_RESULT = ("result_missing", "result_invalid")
_NOT_OF_XML = {0xFFFE: 0xFFFD, 0xFFFF: 0xFFFD}
"""What is left of https://www.w3.org/TR/xml/#charsets once a text is clean for a terminal."""


def document(suites: Sequence[tuple[str, Report | None, Unrun | None]]) -> bytes:
    """Of each suite its name, its report unless that is gone, and the checks that were declared and not run;
    None is a plan, of which only its end is told, as its steps are suites of their own.
    """
    made = JUnitXml()
    for name, report, unrun in suites:
        suite = TestSuite(_text(name))
        cases = (_end(report), *(() if report is None or unrun is None else _cases(report, unrun)))
        for case, called in zip(cases, numbered(case.name for case in cases), strict=True):
            case.name, case.classname = called, _text(name)
            suite.add_testcase(case)
        # `add_testsuite` makes one suite of two runs of a task
        made.append(suite)  # type: ignore[no-untyped-call] # as below
    xml: bytes = made.tostring()  # type: ignore[no-untyped-call] # it has no hints
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + xml + b"\n"


def _end(report: Report | None) -> TestCase:
    if report is None:
        return _case("outcome", Error, UNKNOWN, GONE)
    if report.outcome == "succeeded":
        return _case("outcome")
    kind = Failure if report.outcome == "rejected" else Error
    return _case("outcome", kind, report.outcome or UNFINISHED, why(report))


def _cases(report: Report, unrun: Unrun) -> Iterator[TestCase]:
    for check in report.checks:
        kind = None if check.passed else Failure if check.exit_code else Error
        case = _case(check.command, kind, check.how, check.tail)
        case.time = round(check.duration_s, 3)
        yield case
    yield from (_case(plain(join(argv)), Skipped, "was not run") for argv in unrun)
    seen = (
        ("scope", report.files.outside_scope is not None, "there is no scope, or the change is not known"),
        ("contract", report.claims.status is not None, "the agent claims nothing"),
        ("conformance", any(one.observed for _, one in report.conformance.items()), "nothing was observed"),
        ("change", report.files.observed is not None, "the change is not known"),
    )
    for name, is_seen, unseen in seen:
        found = [one for one in report.findings if _HOMES.get(one.code, "change") == name]
        text = "\n".join(
            line
            for one in found
            for line in (f"{one.severity}: {one.message}", *map("  {}".format, one.evidence))
        )
        wrong = [one.message for one in found if one.severity == "error"]
        if name == "contract" and report.reason is not None and report.reason.code in _NO_RESULT:
            wrong.append(report.reason.message)
        judged = Failure if wrong else None if is_seen or found else Skipped
        yield _case(name, judged, "; ".join(and_more(wrong, 3)) or unseen, text)


def _case(
    name: str, kind: type[Failure | Error | Skipped] | None = None, message: str = "", text: str = ""
) -> TestCase:
    """One that has passed, where it is of no `kind`."""
    case = TestCase(_text(name))
    if kind is not None:
        case.result = [kind(_text(message))]
    if text.strip():
        case.system_out = _text(text)
    return case


def _text(text: str) -> str:
    return clean_terminal(text).translate(_NOT_OF_XML)
