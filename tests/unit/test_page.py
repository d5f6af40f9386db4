"""The report as one page of HTML: whole, harmless, and bounded."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.ended import a_result, an_ended_run, write_result
from support.hostile import HOSTILE, harm
from support.values import a_manifest

from runner.cli import pen
from runner.cli.page import page
from runner.conformance import Agreement, Conformance, Conformity
from runner.model import Outcome, Phase, Price, Reason, Usage
from runner.usecases.dossier import Dossier, dossier
from runner.usecases.logs import LogLine
from runner.usecases.review import Reviewed
from runner.usecases.story import StoryLine
from runner.verify.checks import Check
from runner.verify.inspect import Finding, Severity
from runner.verify.report import Claims, ReasonGiven, Report, ReportedFiles
from runner.verify.review import ReviewFinding
from runner.workspace.changes import LinesChanged

VOID = {"meta"}
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "h1", "h2"),
    *("p", "strong", "b", "i", "small", "span", "code", "pre", "ins", "del", "blockquote", "time", "div"),
    *("dl", "dt", "dd", "ul", "ol", "li", "details", "summary"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td"),
}
BLOCKS = {"p", "pre", "ul", "ol", "dl", "div", "table", "details", "blockquote", "section", "h2"}
PHRASING = {
    "p",
    "h1",
    "h2",
    "b",
    "i",
    "small",
    "span",
    "code",
    "strong",
    "ins",
    "del",
    "time",
    "pre",
    "summary",
    "caption",
}
PATCH = "diff --git a/{0} b/{0}\nnew file mode 100644\n--- /dev/null\n+++ b/{0}\n@@ -0,0 +1,{1} @@\n"


class Page(HTMLParser):
    """Fails where a document is not whole; `texts` has the text of each element, by tag."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        assert not (tag in BLOCKS and self.open and self.open[-1] in PHRASING), (tag, self.open)
        self.attributes |= {name for name, _ in attrs}
        self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in {*self.open}:
            self.texts[tag][-1] += data


def a_report(**changes: Any) -> Report:
    reason = ReasonGiven("scope_violation", "1 file was changed outside the scope (src/**)")
    return Report(
        run_id="20261127T030302203Z-1de1128f",
        task_id="fix",
        outcome="rejected",
        reason=reason,
        failure_codes=("WRONG_FILE",),
        summary="The filter keeps the hints.",
        files=ReportedFiles(("src/a.py", "src/lie.py"), ("src/a.py", "other.py"), ("other.py",)),
        claims=Claims("completed", ("the docs are not done", "Assumption: port 80"), "pytest: 200 passed"),
        checks=(Check(("pytest", "-q"), 1, False, 3.2, "F\n1 failed\n"), Check(("ruff",), 0, False, 0.4, "")),
        findings=(Finding("scope_violation", Severity.ERROR, "1 file was changed outside", ("other.py",)),),
        assumptions=("port 80",),
        conformance=Conformance(model=Conformity("gpt-5", "gpt-6", Agreement.DRIFT)),
        usage={"input_tokens": 32000, "output_tokens": None},
        attempts=({}, {}),
        residual_risk=("no scope is declared",),
        refused=("`rm -f a` rejected",),
        review_findings=(ReviewFinding("critical", "src/a.py", 7, "It leaks", "", "", place="no_line"),),
        gates=("review: gate: failed (1 finding left)",),
    ).replace(**changes)


def a_dossier(report: Report | None = None, **changes: Any) -> Dossier:
    child = a_manifest(
        phase=Phase.DONE, outcome=Outcome.FAILED, reason=Reason("x", "it broke"), title="batch 1 of 2: U1"
    )
    return Dossier(
        reviewed=Reviewed(report or a_report(), ("a note",), a_manifest(), ("its changes: kept",)),
        manifest=a_manifest(started_at="2026-11-27T23:59:00.000Z", ended_at="2026-11-28T00:01:05.000Z"),
        title="Fix the filter",
        effective={"model": "gpt-5-long"},
        command="codex exec --json",
        lines=(
            StoryLine(
                "2026-11-27T23:59:59.000Z",
                "ran",
                "pytest -q",
                tone="red",
                note="exit 1, 3.2 s",
                output="1 failed",
            ),
            LogLine(None, "printed", "no time"),
            StoryLine("2026-11-28T00:00:01.000Z", "says", "two\nlines", whose="batch 1"),
        ),
        earlier=7,
        patch=PATCH.format("src/a.py", 1) + "+x\n" + PATCH.format("other.py", 2) + "+y\n+--- a/forged\n",
        files=(LinesChanged("src/a.py", 1, 0), LinesChanged("other.py", 2, 0)),
        of_patch=("earlier tries have worked in this tree",),
        below=(child,),
    ).replace(**changes)


def test_a_page_says_everything_that_is_known_of_a_run() -> None:
    shown = Page(page(a_dossier()))
    text = " ".join(shown.texts["body"][0].split())
    for told in (
        *(
            "fix: rejected",
            "Fix the filter",
            "1 of 2 passed",
            "Files changed2",
            "Took2m05s",
            "Tokens32,000",
            "a note",
            "its changes: kept",
        ),
        *("The filter keeps the hints.", "src/lie.py (not seen)", "other.py not claimed, outside the scope"),
        *(
            "pytest: 200 passed",
            "pytest -q exited with 1 (3.2 s)",
            "ruff passed (0.4 s)",
            "1 failed",
        ),
        *("the docs are not done", "error: 1 file was changed outside other.py", "earlier tries have worked"),
        *(
            "gpt-5gpt-5-longgpt-6 differs",
            "not verified",
            "codex exec --json",
            "batch 1 of 2: U1 failedit broke",
        ),
        *("critical: src/a.py:7: It leaks (no such line)", "review: gate: failed (1 finding left)"),
        *("input tokens32,000", "`rm -f a` rejected", "no scope is declared", "7 earlier lines left out"),
        *("23:59:59ranpytest -q (exit 1, 3.2 s)1 failed", "[batch 1] two lines"),
    ):
        assert told.replace(" ", "") in text.replace(" ", ""), told
    assert text.count("port 80") == 1, "an assumption is told once"
    assert [caption for caption in shown.texts["caption"] if not caption] == []
    assert shown.texts["ins"] == ["+x", "+y", "+--- a/forged"]
    assert [days for days in shown.texts["li"] if days.startswith("2026")] == ["2026-11-27", "2026-11-28"]


def test_a_page_counts_the_checks_that_were_not_run_and_no_tokens_that_are_not_known() -> None:
    def text(report: Report | None = None, **changes: Any) -> str:
        return Page(page(a_dossier(report, **changes))).texts["body"][0].replace(" ", "")

    assert "Checks1of3passed" in text(declared_checks=3)
    assert "Checksnoneof3wasrun" in text(a_report(checks=()), declared_checks=3)
    assert "Checksnonewasrun" in text(a_report(checks=()))
    assert "itbrokenotknownnotknown" in text()
    known = a_manifest(phase=Phase.DONE, outcome=Outcome.SUCCEEDED, usage=Usage(900, 0, 100, 0))
    assert "1,000" in text(below=(known,))
    priced = a_manifest(usage=Usage(32_000, 0, 900, 0), price=Price(1.0, 0.1, 10.0))
    assert "Price0.0410" in text(manifest=priced) and "Price" not in text()


def test_a_page_of_a_run_of_which_nothing_is_known_is_whole() -> None:
    nothing = a_report(
        outcome=None,
        reason=None,
        summary=None,
        files=ReportedFiles(None, None, None),
        claims=Claims(None, (), None),
        checks=(),
        findings=(),
        assumptions=(),
        conformance=Conformance(),
        usage={},
        attempts=(),
        residual_risk=(),
        refused=(),
    )
    empty = a_dossier(
        nothing,
        manifest=a_manifest(),
        title="",
        effective={},
        command="",
        lines=(),
        earlier=0,
        patch="",
        files=(),
        of_patch=("nothing was recorded",),
        below=(),
    )
    text = Page(page(empty)).texts["body"][0]
    assert "fix: not done" in text and "nothing was recorded" in text and "not known" in text


def everywhere(value: Any, text: str) -> Any:
    """The same value with `text` at every place that has a text."""
    if isinstance(value, str) and type(value) is str:
        return text
    if isinstance(value, (tuple, list)):
        return tuple(everywhere(one, text) for one in value)
    if isinstance(value, dict):
        return {name: everywhere(one, text) for name, one in value.items()}
    return (
        value.replace(**{n: everywhere(getattr(value, n), text) for n in value._fields})
        if hasattr(value, "_fields")
        else value
    )


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        "</title></style></pre></code><script>alert(1)</script><img src=x onerror=alert(1)>",
        "\"'><a href='javascript:x'>&amp;&#60;b&#62;<!-- ]]> <?php",
        "\x1b[31mred\x1b[0m\x9b2J\0\x07 \u202eolleh\u2066 \ufeff\u200b \U000e0041",
        "half \ud800, wide 日本語 👩\u200d👩, \r\n\t\x85\u2028 ::error::no ##[group]x",
        "",
        "x" * 100_000,
    ],
    ids=ascii,
)
def test_no_text_is_markup_or_hidden_wherever_it_stands(text: str) -> None:
    html = page(everywhere(a_dossier(), text).replace(patch=PATCH.format("a", 1) + f"+{text}\n"))
    shown = Page(html)
    assert html.isascii() and harm(pen.cleaned(html)) == []
    assert shown.attributes <= {
        *(
            "lang",
            "charset",
            "http-equiv",
            "content",
            "name",
            "class",
            "datetime",
            "open",
            "scope",
            "data-is",
        ),
    }
    body = shown.texts["body"][0]
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\ud800-\udfff]", body)
    if "\u202e" in text:
        assert r"\u202e" in body
    if "script" in text:
        assert text in body
    assert len(html) < 1_000_000


def test_nothing_comes_from_elsewhere_and_nothing_is_executed() -> None:
    html = page(a_dossier())
    assert "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'" in html
    assert not re.search(
        r"https?:|//|url\(|@import|<script|<link|<img|<iframe|javascript:| on\w+=| src=| href=", html
    )


def test_a_huge_change_is_bounded_and_says_what_is_missing_and_what_shows_it() -> None:
    big = PATCH.format("big", 5000) + "".join(f"+{n}\n" for n in range(5000))
    many = "".join(PATCH.format(f"f{n}", 300) + "+x\n" * 300 for n in range(40))
    html = page(a_dossier(patch=big + many, files=()))
    text = Page(html).texts["body"][0]
    assert "4405 more lines of this file left out" in text
    assert "32 more files left out. runner diff 20261127T030302203Z-1de1128f shows all of it." in text
    assert html.count("<ins>") < 3000 and html.count("<details open>") <= 12
    wide = page(a_dossier(patch=PATCH.format("wide", 1) + f"+{'w' * 9999}\n", files=()))
    assert "w" * 390 in wide and "w" * 400 not in wide
    files = tuple(f"f{n}" for n in range(900))
    told = Page(page(a_dossier(a_report(files=ReportedFiles(files, files, ()))))).texts["body"][0]
    assert told.count("and 700 more") == 2


def test_a_dossier_has_what_the_run_left_and_says_what_is_not_to_be_had(tmp_path: Path) -> None:
    run = an_ended_run(
        tmp_path, secret_names=(), model_name="long", model="gpt-5-long", verify=(("pytest",),)
    )
    write_result(run, a_result())
    found = dossier(run)
    assert found.reviewed.report.checks[0].command == "pytest"
    assert (
        found.effective["model"] == "gpt-5-long"
        and found.effective["sandbox"] == "workspace-write with network"
    )
    assert found.declared_checks == len(run.read_invocation().verify) == 1
    assert found.patch == "" and "nothing was recorded before" in found.of_patch[0]
    assert Page(page(found)).texts["h1"] == ["work: succeeded"]


@pytest.mark.parametrize(
    ("runtime", "wanted"),
    [("codex", "never"), ("claude", "dontAsk"), ("acp", "its own rules"), ("gemini", "its own rules")],
)
def test_a_page_says_of_approvals_what_the_program_was_told(
    tmp_path: Path, runtime: str, wanted: str
) -> None:
    run = an_ended_run(tmp_path, secret_names=(), runtime=runtime)
    write_result(run, a_result())
    assert dossier(run).effective["approval"] == wanted
