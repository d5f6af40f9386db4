"""Who waits where no terminal is sees once a minute that the run lives, on stderr."""

from __future__ import annotations

import io

import pytest
from support.values import a_manifest

from runner.cli.heartbeat import EVERY_S, Heartbeat, heartbeat
from runner.model import Phase, Usage
from runner.state.store import RunDir, new_run_id


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Says what it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def run() -> RunDir:
    return RunDir("/repo", "hello", new_run_id())


@pytest.mark.parametrize("at_once", [True, False])
def test_each_run_gets_a_line_a_minute_however_often_it_is_looked_at(
    run: RunDir, capsys: pytest.CaptureFixture[str], at_once: bool
) -> None:
    clock, manifest = Clock(), a_manifest(phase=Phase.RUNNING)
    beat, other = Heartbeat(at_once=at_once, clock=clock), RunDir("/repo", "other", new_run_id())
    lines = []
    for _ in range(int(3 * EVERY_S) - 1):
        beat(run, manifest)
        beat(other, manifest)
        clock.now += 1.0
        lines += capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == [run.run_id, other.run_id] * (3 if at_once else 2)


def test_the_line_has_what_is_seen_of_the_run_and_nothing_that_a_ci_system_obeys(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = a_manifest(phase=Phase.RUNNING, usage=Usage(12345, 0, 67, 0))
    Heartbeat(at_once=True)(run, seen.replace(last_activity="make\n::set-output x\x1b[2J"))
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert ", 12,345 in 67 out, make " in said.err and "\x1b" not in said.err


def test_nothing_is_said_of_a_run_that_is_done(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    Heartbeat(at_once=True)(run, a_manifest(phase=Phase.DONE))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("word", "at_once"), [("true", True), ("false", False), ("", False)])
def test_only_in_a_job_its_first_line_comes_at_once(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str, at_once: bool
) -> None:
    monkeypatch.setenv("CI", word)
    beat = heartbeat(at_once=True)
    assert beat is not None
    beat(run, a_manifest(phase=Phase.RUNNING))
    assert bool(capsys.readouterr().err) is at_once


def test_a_terminal_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    assert heartbeat(at_once=True) is None
