"""`start --wait` on a terminal: what a person sees while the real Codex works."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest
from support.repo import RUNNER, Repo
from support.waiting import wait_until

SCRIPT = """
[[turns]]
shell = "echo tick; until test -e GATE; do sleep 0.05; done"
[[turns]]
message = "It has ticked."
usage = { input_tokens = 1200, output_tokens = 20 }
"""


class Terminal:
    """A command whose three streams are one terminal."""

    def __init__(self, repo: Repo, *words: str) -> None:
        repo.script(SCRIPT.replace("GATE", str(repo.home / "gate")))
        repo.config('[tasks.work]\nprompt = "Do it."\nrehearse = "play.toml"\n')
        ours, theirs = os.openpty()
        env = {**repo.env, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [str(RUNNER), *words],
            cwd=repo.root,
            env=env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        self._fd = ours
        self.raw = ""

    def close(self) -> None:
        """Ends the command if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def read(self) -> str:
        """Everything that was shown so far, control sequences included."""
        try:
            while data := os.read(self._fd, 65536):
                self.raw += data.decode(errors="replace")
        except OSError:
            pass  # nothing more now, or the other side is closed
        return self.raw

    def shows(self, pattern: str) -> bool:
        return re.search(pattern, self.read()) is not None


@pytest.fixture
def terminal(repo: Repo) -> Iterator[Terminal]:
    """A start that waits, seen by a person."""
    seen = Terminal(repo, "start", "work", "--wait")
    yield seen
    seen.close()


def test_a_person_sees_the_phase_the_time_the_last_action_and_then_the_answer(
    repo: Repo, terminal: Terminal
) -> None:
    wait_until(lambda: terminal.shows(r"running .*0:0[1-9]"), within=20, what="the phase and the time")
    wait_until(lambda: terminal.shows(r"command started: .*tick"), within=20, what="the last action")
    repo.open_gate()
    wait_until(lambda: terminal.process.poll() is not None, within=30, what="the end")
    terminal.read()
    assert terminal.process.returncode == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.raw)
    after = plain[plain.rindex("It has ticked.") :]
    assert "succeeded  the agent finished its turn" in after
    assert re.search(r"next +runner report [0-9a-f]{4}", after)
    assert terminal.raw.rstrip().endswith(plain.rstrip()[-20:]), "the cursor is left where it belongs"
    assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l"), "the cursor is shown again"


def test_ctrl_c_detaches_and_the_run_goes_on(repo: Repo, terminal: Terminal) -> None:
    wait_until(lambda: terminal.shows(r"running"), within=20, what="the run")
    os.killpg(terminal.process.pid, signal.SIGINT)
    wait_until(lambda: terminal.process.poll() is not None, within=10, what="the end of the command")
    assert terminal.process.returncode == 130
    assert terminal.shows("detached; the run continues")
    repo.open_gate()
    (run,) = repo.runs()
    assert run.wait()["status"] == "succeeded"
