"""Notices as commands of GitHub's workflows, read as its runner reads a log."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from runner.ci.annotations import commands
from runner.ci.notice import LEVELS, Notice

MORE = "`runner report fix-auth` has all"


def obeyed(log: str) -> list[tuple[str, dict[str, str], str]]:
    """What the service makes of a log: actions/runner, src/Runner.Common/ActionCommand.cs."""
    told = []
    for line in re.split("\r\n|\r|\n", log):
        head, second, data = line.lstrip().removeprefix("::").partition("::")
        if not line.lstrip().startswith("::") or not second:
            continue
        name, _, rest = head.partition(" ")
        pairs = (pair.partition("=") for pair in rest.split(",") if pair)
        told.append((name, {key: unescaped(value) for key, _, value in pairs}, unescaped(data)))
    return told


def unescaped(text: str) -> str:
    for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, char)
    return text


def test_a_notice_is_one_command_with_its_file_and_line() -> None:
    one = Notice("critical", "error", "SQL: built by hand, twice", "100% sure:\nsee", "a,b:%/c d.py", 7)
    assert commands([one], MORE) == [
        "::error file=a%2Cb%3A%25/c d.py,line=7,title=SQL%3A built by hand%2C twice::100%25 sure:%0Asee"
    ]


def test_what_is_about_no_file_has_no_line_and_what_has_no_detail_says_its_title() -> None:
    one = Notice("minor", "note", "a word", line=7)
    assert commands([one], MORE) == ["::notice title=a word::a word"]


def test_ten_of_a_kind_are_shown_and_of_more_the_last_says_how_many_are_missing() -> None:
    some = [Notice("x", level, f"{level} {n}") for n in range(5000) for level in ("warning", "error")]
    made = commands(some, MORE)
    assert len(made) == 20 and made[8] == "::error title=error 8::error 8"
    assert made[9] == f"::error title=4991 more errors::4991 more errors: {MORE}"
    assert len(commands(some[:20], MORE)) == 20 and not any("more" in one for one in commands(some[:20], ""))


HOSTILE = st.text(st.characters(), max_size=40) | st.sampled_from(
    [
        "\n::set-env name=A::b",
        "x\r::add-mask::x",
        "\u2028::error::",
        "\x85::error::x",
        "%0A::stop-commands::x",
        "::",
    ]
)


@given(st.sampled_from(LEVELS), HOSTILE, HOSTILE, HOSTILE, st.none() | st.integers(1, 10**9))
def test_whatever_a_notice_has_the_service_sees_one_command(
    level: str, title: str, detail: str, file: str, line: int | None
) -> None:
    (made,) = commands([Notice("x", level, title, detail, file, line)], MORE)
    ((kind, told, _),) = obeyed(made)
    assert kind == {"note": "notice"}.get(level, level)
    assert set(told) <= {"file", "line", "title"} and len(made.splitlines()) == 1
    assert line is None or told.get("line") in (None, str(line))


def test_a_file_with_an_unseen_character_accuses_no_other_one() -> None:
    (made,) = commands([Notice("x", "error", "outside", file="src/vis\u200bible.py")], MORE)
    assert made == r"::error file=src/vis\u200bible.py,title=outside::outside"
