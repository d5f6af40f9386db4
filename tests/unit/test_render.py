"""Values -> text or JSON: colour only on a terminal, JSON pure."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys

import pytest
from support.values import a_manifest, an_invocation

from runner.cli.pen import cleaned
from runner.cli.render import (
    emit,
    invocation_text,
    manifest_text,
    paint,
    status_word,
)
from runner.cli.rows import rows_text
from runner.conformance import Conformance
from runner.invocation import SharedLedger
from runner.model import Context, Level, Outcome, Phase, Reason, Sandbox, Usage
from runner.state.index import row_of
from runner.state.manifest import Survivor, Workspace

ESCAPE = "\x1b"
SHOW = "from runner.cli import pen; pen.say(pen.paint('word', 'red'))"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def done(outcome: Outcome = Outcome.SUCCEEDED) -> object:
    return a_manifest(phase=Phase.DONE, outcome=outcome, reason=Reason("completed", "ok"))


def on_a_terminal(**env: str) -> bytes:
    """What a process prints whose stdout is a real pseudo-terminal."""
    ours, theirs = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    subprocess.run([sys.executable, "-c", SHOW], stdout=theirs, env=clean | env, check=True, timeout=30)
    os.close(theirs)
    printed = os.read(ours, 1000)
    os.close(ours)
    return printed


def test_there_is_colour_on_a_terminal_and_only_there() -> None:
    assert on_a_terminal(TERM="xterm") == b"\x1b[31mword\x1b[0m\r\n"
    piped = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, check=True, timeout=30)
    assert piped.stdout == b"word\n"


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_colour_is_off_where_the_environment_says_so(env: dict[str, str]) -> None:
    assert on_a_terminal(**{"TERM": "xterm"} | env) == b"word\r\n"


@pytest.mark.parametrize(
    ("env", "is_coloured"),
    [
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "3", "TERM": "dumb"}, True),
        *(({"FORCE_COLOR": off}, False) for off in ("", "0")),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
    ids=str,
)
def test_colour_can_be_forced_into_a_pipe(env: dict[str, str], is_coloured: bool) -> None:
    clean = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | env
    piped = subprocess.run(
        [sys.executable, "-c", SHOW], capture_output=True, check=True, timeout=30, env=clean
    )
    assert (ESCAPE.encode() in piped.stdout) == is_coloured


def test_an_empty_no_color_means_nothing() -> None:
    assert ESCAPE.encode() in on_a_terminal(TERM="xterm", NO_COLOR="")


def test_the_colour_is_that_of_the_stream_that_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert cleaned(paint("x", "red", Terminal())) == "\x1b[31mx\x1b[0m"
    assert paint("x", "red", io.StringIO()) == "x"


def test_no_text_has_colour_without_a_terminal() -> None:
    manifest = a_manifest(last_message="hello", survivors=(Survivor(1, 2, "sh"),))
    rows = [row_of(manifest)]
    texts = [
        manifest_text(manifest),
        rows_text(rows, {}),
        status_word("failed", 9),
    ]
    texts.append(invocation_text(an_invocation()))
    assert [text for text in texts if ESCAPE in text] == []


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.SUCCEEDED, 0),
        (Outcome.FAILED, 1),
        (Outcome.CANCELLED, 1),
        (Outcome.LOST, 1),
        (Outcome.TIMED_OUT, 3),
        (Outcome.REJECTED, 6),
    ],
)
def test_waiting_exits_with_the_outcome_of_the_run(outcome: Outcome, status: int) -> None:
    assert done(outcome).exit_status == status  # type: ignore[arg-type]


def test_a_spent_budget_is_told_apart_from_other_failures_only() -> None:
    spent = Reason("budget_exceeded", "1,000 of 1,000 tokens")
    ended = a_manifest(phase=Phase.DONE, outcome=Outcome.FAILED, reason=spent)
    assert ended.exit_status == 7
    assert ended.replace(outcome=Outcome.TIMED_OUT).exit_status == 3


def test_a_status_names_the_work_tree_and_what_is_not_as_declared() -> None:
    plain = a_manifest()
    seen = Conformance.from_json(
        {
            "model": {"declared": "gpt-5", "observed": "gpt-4", "verdict": "drift"},
            "effort": {"declared": "high", "observed": "high", "verdict": "ok"},
        }
    )
    place = Workspace("worktree", "/state/tree", None)
    text = manifest_text(plain.replace(workspace=place, conformance=seen))
    assert "/state/tree (worktree)" in text
    assert "model: declared gpt-5, observed gpt-4" in text and "effort:" not in text
    assert not {"drift", "workspace"} & {line.split()[0] for line in manifest_text(plain).splitlines()}


def test_a_run_that_goes_on_is_no_failure() -> None:
    assert a_manifest(phase=Phase.RUNNING).exit_status == 0


@pytest.mark.parametrize(
    "value", [{"a": "ä\u2028\U0001f600"}, ["\ud800"], "line\nbreak", None, {"x": [1, 2.5]}]
)
def test_json_is_one_line_and_comes_back(value: object, capfd: pytest.CaptureFixture[str]) -> None:
    emit(value)
    out, err = capfd.readouterr()
    assert out.count("\n") == 1 and out.endswith("\n")
    assert json.loads(out) == value
    assert err == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_every_encoding_of_stdout(encoding: str) -> None:
    code = "from runner.cli.render import emit; emit(['ä']); emit({'text': 'ä \\U0001f600 \\ud800'})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [["ä"], {"text": "ä \U0001f600 \ud800"}]


def test_the_text_of_a_manifest_says_what_is_known_and_leaves_out_what_is_not() -> None:
    text = manifest_text(a_manifest())
    assert "hello - Say hello" in text and "queued" in text and "effort high" in text
    for absent in ("reason", "ended", "exit ", "survivors", "tokens", "None"):
        assert absent not in text
    reason = Reason("verify_failed", "`pytest` exited with 1", "look at it", "1 failed\n")
    full = a_manifest(
        phase=Phase.DONE,
        outcome=Outcome.REJECTED,
        reason=reason,
        exit_code=0,
        survivors=(Survivor(8, 9, "sh"),),
        usage=Usage(1200, None, 3, 0),
        last_message="one\ntwo",
        rehearsal=True,
    )
    text = manifest_text(full)
    for present in (
        "rejected (rehearsal)",
        "verify_failed",
        "hint: look at it",
        "1 failed",
        "sh (8)",
        "1,200 tokens in",
    ):
        assert present in text
    assert "unknown cached" in text
    for context, told in (
        (Context(258_400, 36_581), "context   36,581 tokens of 258,400 (14%)"),
        (Context(None, 36_581), "context   36,581 tokens\n"),
    ):
        assert told in manifest_text(full.replace(context=context))
    assert "context" not in manifest_text(full.replace(context=Context(258_400)))
    assert f"one\n{' ' * 10}two" in text


def test_an_invocation_says_what_its_sandbox_keeps_from_the_agent() -> None:
    sandbox = Sandbox(
        "s", Level.WORKSPACE_WRITE, True, hosts=("a.org", "*.b.org"), deny_read=("/x\x1b[2J", "/y")
    )
    text = invocation_text(an_invocation(sandbox=sandbox))
    assert "s (workspace-write, network of a.org, *.b.org, not read: /x" in text
    assert "\x1b" not in text


def test_an_invocation_says_that_it_is_open_and_of_what_parts_its_prompt_is() -> None:
    assert "\nopen " not in invocation_text(an_invocation())
    parts = [("task", None, 1200), ("Pasted", None, 90), ("Pasted", "src/a.py", 60)]
    rows = [{"part": part, "path": path, "characters": n} for part, path, n in parts]
    made = {"prompt_parts": rows, "prompt_tokens_estimate": 1, "not_pasted": {}}
    text = invocation_text(an_invocation(open_timeout_s=1800.0), made=made)
    assert "\nopen      waits 1800 s for a message after each turn\n" in text
    told = ("task, 1,200 characters", "Pasted, 90 characters", "Pasted, of which src/a.py 60 characters")
    assert "\n          ".join(told) in text


def test_an_invocation_says_in_which_ledger_it_is_and_what_it_takes_there() -> None:
    assert "\nledger " not in invocation_text(an_invocation())
    for handoff, says in ((None, "takes no handoff"), ("e-0007", "takes e-0007")):
        text = invocation_text(an_invocation(ledger=SharedLedger("build", handoff)))
        assert f"\nledger    of task build, {says}\n" in text


def test_an_invocation_begins_with_the_command_as_it_could_be_typed() -> None:
    text = invocation_text(an_invocation(argv=("codex", "exec", "-c", "a='b c'", "-"), prompt="Say it.\n"))
    assert text.splitlines()[0] == """codex exec -c 'a='"'"'b c'"'"'' -"""
    assert text.endswith("prompt on stdin:\nSay it.\n")
    assert "7200 s" in text and "none" in text and "HOME, PATH" in text
