"""What `runner` prints: nothing moves a terminal, nothing is obeyed by a CI system, all is in order."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import CI_COMMANDS, CONTROLS, harm

from runner.cli import pen
from runner.cli.pen import OURS, paint


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(code: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """A process of its own that says something, its stderr in its stdout. It buffers, as for users."""
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", f"from runner.cli import pen\n{code}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**usual, **env},
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("text", CONTROLS, ids=ascii)
def test_nothing_that_moves_a_terminal_or_turns_the_reading_order_is_printed(text: str) -> None:
    assert harm(pen.cleaned(f"a{text}b\n{text}")) == []


@pytest.mark.parametrize(
    "before", ["", "  ", "\t", "\u00a0\u3000", "\x1b[0m", "a\n", "a\r", "a\x0b ", "\u200b "]
)
@pytest.mark.parametrize("command", CI_COMMANDS)
def test_no_line_is_a_command_of_a_ci_system(before: str, command: str) -> None:
    clean = pen.cleaned(f"{before}{command}")
    assert harm(clean) == []
    assert command.lstrip("#:")[:8] in clean, "what was said can still be read"


def test_a_command_behind_a_colour_of_ours_is_none_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    clean = pen.cleaned(paint("::error::no", "red", Terminal()))
    assert clean == "\x1b[31m| ::error::no\x1b[0m"


@pytest.mark.parametrize("line", ["--- a", "+++", "~~~ b", "^^^ +++"])
def test_headings_of_buildkite_are_marked_where_it_listens(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BUILDKITE", raising=False)
    assert pen.cleaned(line) == line
    monkeypatch.setenv("BUILDKITE", "true")
    assert pen.cleaned(f"x\n{line}") == f"x\n| {line}"


@pytest.mark.parametrize(
    "text", ["", "plain", "two\nlines\twith a tab", "tests/a.py::test_b", "a ## b", "日本語", "👩‍👩‍👧"]
)
def test_what_harms_nobody_is_printed_as_it_is(text: str) -> None:
    assert pen.cleaned(text) == text


def test_only_the_colours_of_ours_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    forged = f"\x1b[32msucceeded\x1b[0m \x1b{OURS[1:5]}[32mso"
    clean = pen.cleaned(f"{paint('failed', 'red', Terminal())} {forged}")
    assert clean.startswith("\x1b[31mfailed\x1b[0m succeeded ")
    assert clean.count("\x1b") == 2


@given(st.text(alphabet=st.sampled_from("\x1b\x9b\r\n\t :#[]mvso;0\u202e\u2066\u200f\ud800ab")))
def test_whatever_is_said_comes_out_clean_and_stays_so(text: str) -> None:
    clean = pen.cleaned(text)
    assert harm(clean) == []
    assert pen.cleaned(clean) == clean


@given(st.text())
def test_a_document_means_the_same_and_has_nothing_to_obey(text: str) -> None:
    written = json.dumps(
        {"text": text, "more": f"{text}##vso[task.setvariable variable=a]b"}, ensure_ascii=False
    )
    stream = io.StringIO()
    ours, sys.stdout = sys.stdout, stream
    try:
        pen.document(written)
    finally:
        sys.stdout = ours
    assert harm(stream.getvalue()) == []
    assert json.loads(stream.getvalue()) == json.loads(written)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "euc-jp"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_stream_that_cannot_encode_a_character_gets_its_escape(encoding: str, errors: str) -> None:
    done = said(
        r"pen.say('say \u65e5 \u20ac \ud800 \U0001f600'); pen.tell('tell \u65e5 \u20ac \ud800')",
        PYTHONIOENCODING=f"{encoding}:{errors}",
    )
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 2), done
    assert done.stdout.startswith(b"say ") and b"\ntell " in done.stdout


def test_what_was_said_first_stands_first_in_a_log_of_both_streams() -> None:
    done = said("pen.say('1'); pen.tell('2'); pen.say('3'); pen.note('4'); pen.raw(b'5\\n'); pen.tell('6')")
    assert done.stdout.split() == [b"1", b"2", b"3", b"note:", b"4", b"5", b"6"]


def test_an_error_stands_behind_what_was_printed_before_it(own_home: object) -> None:
    code = (
        "import sys; from runner.cli import app; pen.say('before'); sys.exit(app.main(['nothing-of-ours']))"
    )
    done = said(code)
    assert done.stdout.splitlines()[0] == b"before" and b"error: unknown command" in done.stdout


def test_colours_reach_a_real_terminal() -> None:
    ours, theirs = pty.openpty()
    code = "from runner.cli import pen; pen.say(pen.paint('a\\x1b[2Jb', 'red'))"
    env = {**os.environ, "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", code], stdout=theirs, env=env, check=True, timeout=30)
    os.close(theirs)
    assert os.read(ours, 1000) == b"\x1b[31mab\x1b[0m\r\n"
    os.close(ours)
