"""A synthesis of two reviews: whatever it loses, joins, lowers or only claims is found."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.verify.claim import Claim
from runner.verify.review import Remark, ReviewFinding, Synthesis
from runner.verify.synthesis import check, kept

CODE = "\n".join(f"line {n} of the code" for n in range(1, 101)) + "\n"
TREE = {"a.py": CODE, "b.py": "def safe(name):\n    return   quoted(name)\n"}


def found(severity: str = "minor", file: str = "a.py", **more: Any) -> ReviewFinding:
    return ReviewFinding(severity, file, 1, "a title", "a detail", "evidence", **more)


ALPHA = (found("critical"), found("important"), found("minor", "b.py"))
BETA = (found("important"), found("minor", "b.py"))
REBUTTAL = Remark(finding="A3", file="b.py", line=1, quote="return quoted(name)", reasoning="It is quoted.")
SAID = Claim(
    status="completed",
    files_modified=(),
    issues=(),
    summary="Both look at names.",
    verification_summary="",
    findings=(
        found("critical", sources=("A1", "B1")),
        found("important", sources=("A2",)),
        found("minor", "b.py", sources=("B2",)),
    ),
    synthesis=Synthesis(
        off_topic=(),
        differences=(Remark(alpha="It says so.", beta="Nothing.", findings=("A2", "A3", "B2")),),
        steelman=tuple(Remark(finding=name, argument="It is so.") for name in ("A2", "A3", "B2")),
        rebuttals=(REBUTTAL,),
    ),
)
IDS = ("A1", "A2", "A3", "B1", "B2")


def problems(said: Claim, **more: Any) -> tuple[str, ...]:
    return check(said, ALPHA, BETA, TREE.get, **more)


def beside(said: Claim = SAID, **changes: Any) -> Claim:
    assert said.synthesis is not None
    return said.replace(synthesis=said.synthesis.replace(**changes))


def with_sources(change: Any) -> Claim:
    """Without findings that have none left."""
    some = (one.replace(sources=change(one.sources)) for one in SAID.findings)
    return SAID.replace(findings=tuple(one for one in some if one.sources))


def test_a_synthesis_that_keeps_to_the_protocol_is_right() -> None:
    assert problems(SAID) == ()
    assert problems(SAID.replace(synthesis=None)) == ("it is no synthesis",)
    empty = beside(differences=(), steelman=(), rebuttals=()).replace(findings=())
    assert check(empty, (), (), TREE.get) == ()


@pytest.mark.parametrize("name", IDS)
def test_a_finding_that_vanished_is_missed(name: str) -> None:
    said = with_sources(lambda sources: tuple(one for one in sources if one != name))
    said = beside(said, rebuttals=() if name == "A3" else (REBUTTAL,))
    assert any(one.startswith(f"{name} has vanished") for one in problems(said))


@pytest.mark.parametrize("name", IDS)
def test_a_finding_that_is_kept_twice_or_kept_and_rebutted_is_found(name: str) -> None:
    copy = found(ALPHA[0].severity, sources=(name,))
    assert f"{name} is kept or rebutted twice" in problems(SAID.replace(findings=(*SAID.findings, copy)))
    if name != "A3":
        said = beside(rebuttals=(REBUTTAL, REBUTTAL.replace(finding=name)))
        assert f"{name} is kept or rebutted twice" in problems(said)


@pytest.mark.parametrize("name", [name for name in IDS if name != "A3"])
@pytest.mark.parametrize("other", ["A9", "B0", "C1", "a1", "", "1", "A01", " A1", "\u04101", "\uff211"])
def test_an_id_that_nobody_gave_is_found(name: str, other: str) -> None:
    said = with_sources(lambda sources: tuple(other if one == name else one for one in sources))
    found = problems(said)
    assert f"there is no finding `{other.strip()}`" in found and any(one.startswith(name) for one in found)


def test_two_of_one_analysis_are_not_joined() -> None:
    joined = (found("critical", sources=("A1", "A2", "B1")), SAID.findings[2])
    assert any("one of each analysis" in one for one in problems(SAID.replace(findings=joined)))
    twice = (found("critical", sources=("A1", "A2")), found("important", sources=("B1",)), SAID.findings[2])
    assert any("one of each analysis" in one for one in problems(SAID.replace(findings=twice)))
    assert any("one of each analysis" in one for one in problems(SAID.replace(findings=(found(),))))


@pytest.mark.parametrize(
    ("n", "severity"), [(0, "important"), (0, "minor"), (1, "minor"), (1, "critical"), (2, "critical")]
)
def test_a_severity_is_the_gravest_of_the_sources(n: int, severity: str) -> None:
    some = [*SAID.findings]
    some[n] = some[n].replace(severity=severity)
    (problem,) = problems(SAID.replace(findings=tuple(some)))
    assert "gravest severity" in problem


def test_a_finding_stays_with_its_file() -> None:
    first = SAID.findings[0].replace(file="b.py")
    told = problems(SAID.replace(findings=(first, *SAID.findings[1:])))
    assert any("another file than A1" in one for one in told)


@pytest.mark.parametrize(
    ("first", "second", "file", "is_one"),
    [
        *((1, 1, "a.py", True), (1, 21, "a.py", True), (1, 22, "a.py", False), (22, 1, "a.py", False)),
        *((1, None, "a.py", False), (None, 900, "a.py", False), (None, None, "a.py", True)),
        *((None, None, "", False), (1, 1, "", False)),
    ],
)
def test_only_what_stands_close_together_is_one_finding(
    first: int | None, second: int | None, file: str, is_one: bool
) -> None:
    alpha = (ALPHA[0].replace(line=first, file=file), *ALPHA[1:])
    beta = (BETA[0].replace(line=second, file=file), BETA[1])
    said = SAID.replace(findings=(SAID.findings[0].replace(file=file), *SAID.findings[1:]))
    told = check(said, alpha, beta, TREE.get)
    assert (told == ()) == is_one and any("two findings" in one for one in told) != is_one


def test_a_first_pass_argues_for_both_of_two_that_cannot_be_one() -> None:
    differences = (Remark(findings=("A1", "B1")), Remark(findings=("A2", "A3", "B2")))
    first = beside(differences=differences, rebuttals=()).replace(findings=())
    beta = (BETA[0].replace(line=90), BETA[1])
    told = check(first, ALPHA, beta, TREE.get, advocacy=True)
    assert told == ("A1 has no steelman", "B1 has no steelman")


def test_what_is_kept_has_the_words_of_its_sources_and_none_of_the_synthesis() -> None:
    empty = tuple(one.replace(title="Nothing", detail="x", evidence="") for one in SAID.findings)
    alpha = (ALPHA[0].replace(severity="minor", line=None, detail="of A1"), *ALPHA[1:])
    beta = (BETA[0].replace(title="of B1", detail="grave", place="found"), BETA[1])

    both, own, last = kept(SAID.replace(findings=empty), alpha, beta)
    assert (both.severity, both.title, both.line, both.place) == ("important", "of B1; a title", 1, "found")
    assert both.detail == "grave\n\nminor, a.py: a title\nof A1" and both.sources == ("A1", "B1")
    assert own == ALPHA[1].replace(sources=("A2",)) and last == BETA[1].replace(sources=("B2",))
    other = kept(SAID, (ALPHA[0].replace(line=None), *ALPHA[1:]), BETA)[0]
    assert (other.severity, other.line, other.title) == ("critical", None, "a title"), "its place is its own"


@pytest.mark.parametrize("name", ["A2", "A3", "B2"])
def test_what_only_one_analysis_has_is_argued_for_and_in_a_difference(name: str) -> None:
    synthesis = SAID.synthesis
    assert synthesis is not None
    without = tuple(one for one in synthesis.steelman if one.finding != name)
    assert problems(beside(steelman=without)) == (f"{name} has no steelman",)
    for argument in ("\n", "\u200b\u3164"):
        hollow = (*without, Remark(finding=name, argument=argument, file="a.py"))
        assert problems(beside(steelman=hollow)) == (f"{name} has no steelman",)
    others = tuple(one for one in ("A2", "A3", "B2") if one != name)
    assert problems(beside(differences=(Remark(findings=others),))) == (f"{name} is in no difference",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"quote": "return escaped(name)"}, "does not stand"),
        ({"quote": "line 7 of the code"}, "does not stand"),
        ({"file": "a.py", "quote": "line 43 of the code"}, "does not stand"),
        ({"quote": "   return  "}, "too short"),
        ({"quote": ""}, "too short"),
        ({"quote": "}}}} ---- \ufffd\ufffd"}, "too short"),
        ({"file": "c.py"}, "cannot be read"),
        ({"file": ""}, "cannot be read"),
        ({"line": None}, "no such line"),
        ({"line": 0}, "no such line"),
        ({"line": 3}, "no such line"),
        ({"reasoning": " "}, "does not say why"),
        ({"reasoning": "\u2800\u200b"}, "does not say why"),
    ],
)
def test_only_code_that_stands_there_rebuts(change: dict[str, Any], why: str) -> None:
    (problem,) = problems(beside(rebuttals=(REBUTTAL.replace(**change),)))
    assert problem.startswith("A3 is not rebutted") and why in problem


@pytest.mark.parametrize(
    "change",
    [
        {"quote": "def safe(name):\n  return quoted(name)", "line": 2},
        {"file": "a.py", "line": 60, "quote": "line 20 of the code\n\tline 21  of the code"},
        {"file": "a.py", "line": 60, "quote": "line 100 of the code"},
    ],
)
def test_blanks_and_a_line_nearby_are_no_matter(change: dict[str, Any]) -> None:
    assert problems(beside(rebuttals=(REBUTTAL.replace(**change),))) == ()


MARKS = (
    *("Security: 7/10", "score: 8", "9 out of 10", "I rate it 8/10.", "Score of 95", "Overall 7.5/10, fine."),
    *("a rating of 4", "Confidence: 90%", "Alpha (9/10) is better", "quality = 80/100", "Style: 4/5"),
    *("Alpha: 85%, Beta: 60%", "Alpha deserves seven out of ten.", "seven out of ten", "8 of 10 points"),
    *("Alpha: \u2605\u2605\u2605\u2605\u2606", "Beta is grade A", "Alpha: A-, Beta: B+", "quality 4.5/5"),
    *("I give Alpha an 8/10", "Alpha's clarity: 8/10", "**Beta**: 9/10", "| Alpha | 8/10 |", "verdict: 3/5"),
    *("Alpha scores 8.", "I rate them 8", "Beta is 70 percent.", "Alpha's quality is four stars"),
)
NO_MARKS = (
    *("1/10 of the requests fail", "9 out of 10 requests fail", "since 2026/10", "on 7/10, it broke"),
    *("version 1.7/10.2", "7/10/2026", "see src/10/a.py", "the score is kept", "`score` is unused"),
    *("HTTP/1.1", "10/100 Mbit", "a rate of requests", "tests 3/5 pass", "underscored 8", "page 3/10."),
    *(
        "`score = 0` is never reset",
        "if score > 10",
        "rated 5 amps, and",
        "they fail in 3 out of 10, as it is",
    ),
    *(
        "x > 10",
        "with a score of 0, the loop ends",
        "when the score is 10.",
        "Alpha: 85% of the rows are lost",
    ),
    *("Alpha says that 7 of 10 tests fail", "Beta: 3 of 10 are the same", "Alpha: A finding of its own"),
    *("CPU at 100%, for minutes", "coverage is 85%", "jpeg quality 85, by default", "security/10/5"),
    *("rating is 5 stars, so it stays", "passed: 9/10, failed: 1/10", "Alpha: step 3/10 hangs", "grade[A]"),
    *(
        "quality >= 80 is skipped",
        "score: int = 10",
        '{"score": 10}',
        "Beta: 100% CPU",
        "Alpha is at a.py:10, as",
    ),
)


@pytest.mark.parametrize("text", MARKS)
def test_a_mark_is_found_wherever_the_synthesis_speaks_itself(text: str) -> None:
    assert SAID.synthesis is not None
    rebuttal = REBUTTAL.replace(reasoning=text)
    places = (
        SAID.replace(summary=text),
        beside(steelman=(Remark(finding="A1", argument=text), *SAID.synthesis.steelman)),
        beside(differences=(Remark(beta=text), *SAID.synthesis.differences)),
        beside(rebuttals=(rebuttal,)),
    )
    for said in places:
        (problem,) = problems(said)
        assert problem.startswith("it gives a mark")


@pytest.mark.parametrize("text", NO_MARKS)
def test_what_only_looks_like_a_mark_is_none(text: str) -> None:
    assert problems(SAID.replace(summary=text)) == ()


@given(
    st.sampled_from(["Alpha", "Beta", "quality", "Security", "overall"]),
    st.sampled_from([": ", " = ", " is ", " (", " \u2014 ", " gets ", ":\t"]),
    st.sampled_from([str(n) for n in range(11)] + ["7.5", "seven"]),
    st.sampled_from(["/10", " / 10", " out of ten", "/5", " of 10 points", "%", "/100"]),
    st.sampled_from(["", ".", ", and", ")", "\nMore.", " because of that", " of the rows", " requests fail"]),
)
def test_a_number_is_a_mark_of_what_is_judged_and_none_of_what_it_counts(
    what: str, link: str, number: str, scale: str, end: str
) -> None:
    told = problems(SAID.replace(summary=f"It is so. {what}{link}{number}{scale}{end}"))
    counts = end.startswith((" of", " requests"))
    assert bool(told) is not counts


@given(st.text("alpha beta score 10/%.:\n", max_size=4000))
def test_any_text_is_looked_at(text: str) -> None:
    problems(SAID.replace(summary=text))


def test_a_long_text_is_looked_at_in_no_time() -> None:
    for part in ("alpha ", "alpha: is ", "10/", "score: ", ". ", "- ", "rate it ", "\n", "7 out of "):
        began = time.process_time()
        problems(SAID.replace(summary=part * 4000))
        assert time.process_time() - began < 2


def test_the_words_of_an_analysis_are_repeated_as_they_are() -> None:
    words = {"title": "score: 8", "detail": "Alpha: 7/10", "evidence": "score = 8; // 7/10"}
    said = SAID.replace(findings=tuple(one.replace(**words) for one in SAID.findings))
    assert problems(said) == ()


def test_the_first_of_two_passes_argues_for_everything_and_judges_nothing() -> None:
    differences = (Remark(findings=("A1", "B1")), Remark(findings=("A2", "A3", "B2")))
    first = beside(differences=differences, rebuttals=()).replace(findings=())
    assert problems(first, advocacy=True) == ()
    assert problems(beside(first, rebuttals=(REBUTTAL,)), advocacy=True) == ("A3 is judged",)
    all_in_one = beside(first, differences=(Remark(findings=IDS),))
    assert problems(all_in_one, advocacy=True) == ("A1 has no steelman", "B1 has no steelman")


def test_problems_without_end_are_counted() -> None:
    many = tuple(found() for _ in range(1000))
    told = check(beside(rebuttals=()).replace(findings=()), many, many, TREE.get)
    assert len(told) == 51 and told[-1].endswith("more")


def test_a_quote_is_found_in_a_file_of_windows() -> None:
    code = TREE["b.py"].replace("\n", "\r\n")
    quote = REBUTTAL.replace(quote="def safe(name):\n    return quoted(name)")
    assert check(beside(rebuttals=(quote,)), ALPHA, BETA, {"b.py": code}.get) == ()


def test_a_thousand_rebuttals_look_at_a_file_once() -> None:
    asked: list[str] = []

    def look(path: str) -> str:
        asked.append(path)
        return TREE["b.py"]

    check(beside(rebuttals=(REBUTTAL,) * 1000), ALPHA, BETA, look)
    assert asked == ["b.py"]
