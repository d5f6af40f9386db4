"""A run that is tied to a process is told to end once, when that has ended; any other is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.tie import tied_to
from runner.errors import UsageError
from runner.processes.proc import identify
from runner.state.events import EventLog, read_events
from runner.state.store import RunDir
from runner.supervise.tie import Tie

ID = "20261120T101504438Z-50151d5c"


class Args:
    """What the command line said."""

    def __init__(self, *, tie: bool = False, tie_pid: int | None = None, wait: bool = False) -> None:
        self.tie, self.tie_pid, self.wait, self.follow = tie, tie_pid, wait, False


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    found = RunDir(str(tmp_path), "work", ID)
    os.makedirs(found.control)
    return found


def test_the_end_of_its_process_is_one_request_to_cancel(run: RunDir) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        tie = Tie(run, EventLog(run.events), identify(process.pid))
        tie.heed()
        assert list(run.intents()) == []
        process.kill()
        process.wait()
    tie.heed()
    tie.heed()
    ((_, intent),) = run.intents()
    assert (intent.kind, intent.actor) == ("cancel", "supervisor")
    assert str(process.pid) in (intent.reason or "")


def test_a_process_that_nobody_has_collected_has_ended(run: RunDir) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        tie = Tie(run, EventLog(run.events), identify(process.pid))
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        tie.heed()
    assert run.is_told("cancel")


def test_another_process_with_its_number_is_not_it(run: RunDir) -> None:
    me = identify(os.getpid())
    assert me is not None
    Tie(run, EventLog(run.events), me.replace(start_time=me.start_time - 1)).heed()
    assert run.is_told("cancel")


_LISTENS = """
import os, signal, sys
from runner.processes.proc import identify
from runner.state.events import EventLog
from runner.state.store import RunDir
from runner.supervise.tie import Tie
run = RunDir(sys.argv[1], "work", sys.argv[2])
tie = Tie(run, EventLog(run.events), identify(os.getppid()) if sys.argv[3] == "tied" else None)
tie.listen()
os.kill(os.getpid(), signal.SIGTERM)
tie.heed()
print("alive")
"""


@pytest.mark.parametrize(("how", "status"), [("tied", 0), ("free", -signal.SIGTERM)])
def test_sigterm_is_an_event_and_cancels_a_tied_run_only(run: RunDir, how: str, status: int) -> None:
    words = [sys.executable, "-c", _LISTENS, run.repo, ID, how]
    assert subprocess.run(words, timeout=60, capture_output=True).returncode == status
    assert [event["type"] for event in read_events(run.events)] == ["signalled"]
    assert run.is_told("cancel") == (how == "tied")


def test_who_waits_in_ci_is_tied_to_itself_and_nobody_else_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert tied_to(Args(wait=True)) == identify(os.getpid())
    assert tied_to(Args()) is None
    assert tied_to(Args(wait=True, tie=True)) == identify(os.getppid())
    for word in ("false", ""):
        monkeypatch.setenv("CI", word)
        assert tied_to(Args(wait=True)) is None
    assert tied_to(Args(tie_pid=os.getpid())) == identify(os.getpid())


@pytest.mark.parametrize("number", [0, -1, 2**22 + 1])
def test_a_number_that_is_no_process_is_refused(number: int) -> None:
    with pytest.raises(UsageError):
        tied_to(Args(tie_pid=number))
