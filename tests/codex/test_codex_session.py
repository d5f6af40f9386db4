"""The real Codex's own record of a thread: where it is, what it tells, and how soon."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

import pytest
from altering_codex import install_altering_codex
from support.codex import codex_path
from support.repo import Repo, Run
from support.waiting import wait_until

from runner.model import Usage
from runner.runtimes import get
from runner.runtimes.base import UNSET, ObservedSettings
from runner.runtimes.codex_rehearsal import overrides
from runner.state.manifest import timestamp
from runner.state.spent import tokens
from runner.state.store import RunDir
from runner.supervise.conformance import compare, declared, drift
from runner.supervise.progress import Progress
from runner.supervise.session import Session
from runner.supervise.signals import Signals

SPENDS = """
[[turns]]
shell = "echo one"
usage = { input_tokens = 120, cached_input_tokens = 80, output_tokens = 9, reasoning_output_tokens = 2 }
[[turns]]
message = "two"
usage = { input_tokens = 300, cached_input_tokens = 100, output_tokens = 20, reasoning_output_tokens = 5 }
"""
WAITS = """
[[turns]]
shell = "sleep 60"
usage = { input_tokens = 1000, output_tokens = 10 }
"""


def starts(repo: Repo, script: str, *lines: str, more: str = "") -> Run:
    """Starts the task against this script."""
    repo.script(script)
    keys = "\n".join(('rehearse = "play.toml"', 'grace = "3s"', *lines))
    repo.config(f'{more}\n[tasks.work]\nprompt = "Do it."\n{keys}\n')
    return repo.start()


def looked(repo: Repo, run: Run) -> Session:
    """What the record of a run's thread tells now."""
    session = Session(get("codex"), run.on_disk()["created_at"])
    session.look(run.on_disk()["thread_id"], repo.env)
    return session


def spent(session: Session) -> int:
    """By this run, as budgets count it."""
    return tokens(session.usage) - tokens(session.before)


def conformance(repo: Repo, run: Run) -> Any:
    invocation = RunDir(str(repo.root), run.task, run.id).read_invocation()
    return compare(declared(invocation, "never"), looked(repo, run).contexts)


def test_the_record_of_a_run_has_its_tokens_and_its_settings(repo: Repo) -> None:
    model = '[models.deep]\nmodel = "gpt-5.5"\nreasoning_effort = "high"\n'
    run = starts(repo, SPENDS, 'sandbox = "read-only"', 'model = "deep"', more=model)
    manifest = run.wait()
    session = looked(repo, run)
    assert session.path is not None and session.path.startswith(f"{repo.env['CODEX_HOME']}/sessions/")
    assert session.path.endswith(f"-{manifest['thread_id']}.jsonl")
    assert session.usage == Usage(420, 180, 29, 7) == Usage(**manifest["usage"])
    assert manifest["context"]["used"] == 300 < manifest["context"]["window"], "of the last request"
    assert (session.before, spent(session)) == (None, 449)
    assert session.contexts == (ObservedSettings("gpt-5.5", "read-only", False, "never", "high", False),)
    verdicts = {field["verdict"] for field in conformance(repo, run).to_json().values() if field is not None}
    assert verdicts == {"ok"}


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ('level = "workspace-write"', "workspace-write"),
        ('level = "workspace-write"\nnetwork = true', "workspace-write with network"),
    ],
)
def test_what_is_declared_of_the_network_is_seen(repo: Repo, table: str, shown: str) -> None:
    run = starts(repo, SPENDS, 'sandbox = "build"', more=f"[sandboxes.build]\n{table}\n")
    run.wait()
    found = conformance(repo, run).to_json()
    assert found["sandbox"] == {"declared": shown, "observed": shown, "verdict": "ok"}
    assert found["model"]["declared"] is None and found["model"]["observed"]
    assert found["effort"] == {"declared": None, "observed": UNSET, "verdict": "ok"}


def test_the_tokens_of_a_run_that_is_killed_are_in_its_record_alone(repo: Repo) -> None:
    run = starts(repo, WAITS)
    wait_until(lambda: run.on_disk()["thread_id"], what="the thread")
    wait_until(lambda: spent(looked(repo, run)) == 1010, what="the tokens, while the command runs")
    os.kill(run.child().pid, signal.SIGKILL)
    manifest = run.wait()
    assert manifest["status"] == "failed"
    assert "turn.completed" not in run.file("stdout.jsonl")
    assert looked(repo, run).usage == Usage(1000, 0, 10, 0)


def test_a_read_only_run_that_is_made_to_run_otherwise_is_seen_before_it_has_done_anything(
    repo: Repo,
) -> None:
    install_altering_codex(repo.bin, codex_path(), {"read-only": "workspace-write"})
    run = starts(repo, "[[turns]]\nhang = true\n", 'sandbox = "read-only"')
    wait_until(lambda: run.on_disk()["thread_id"], what="the thread")
    found = wait_until(lambda: drift(conformance(repo, run)), what="the drift")
    assert found.code == "config_drift"
    assert "sandbox is `workspace-write`, declared is `read-only`" in found.message
    assert "item." not in run.file("stdout.jsonl"), "the model has not even answered"
    run.told("cancel")


def test_a_model_that_is_exchanged_is_seen(repo: Repo) -> None:
    install_altering_codex(repo.bin, codex_path(), {"gpt-5.5": "gpt-5.1"})
    run = starts(repo, SPENDS, 'model = "gpt-5.5"')
    run.wait()
    assert conformance(repo, run).drifted == ("model",)


def test_reconnects_are_counted_from_what_codex_says(repo: Repo) -> None:
    run = starts(repo, "retries = 3\n[[turns]]\ncut = true\ntimes = 4\n")
    assert run.wait()["status"] == "failed"
    reasons = []
    for most in (2, 3):
        signals = Signals(None, most)
        Progress(str(run.folder / "stdout.jsonl"), get("codex"), signals.note).finish()
        reasons.append(signals.reason and signals.reason.code)
        assert signals.reconnects == 3
    assert reasons == ["cli_failure", None]


def test_a_command_that_comes_again_and_again_is_seen(repo: Repo) -> None:
    turn = '[[turns]]\nshell = "cat missing"\ntimes = 4\n'
    run = starts(repo, turn + '[[turns]]\nmessage = "over"\n')
    run.wait()
    signals = Signals(4, None)
    Progress(str(run.folder / "stdout.jsonl"), get("codex"), signals.note).finish()
    assert signals.reason is not None and signals.reason.code == "stalled"
    assert "cat missing" in signals.reason.message and "4 times" in signals.reason.message


# -- a thread that goes on -----------------------------------------------------------------------------


@dataclass
class Threads:
    """Codex by itself, against a rehearsal: runner does not resume yet."""

    base: Path
    port: int
    env: dict[str, str] = field(default_factory=dict)

    def exec(self, *words: str) -> str:
        """One process to its end; the id of its thread."""
        settings = [word for text in overrides(self.port) for word in ("-c", text)]
        before, _, after = " ".join(words).partition(" resume ")
        argv = [str(codex_path()), "exec", "--json", "--skip-git-repo-check", "-C", str(self.base)]
        tail = ["resume", after] if after else []
        with Popen(
            [*argv, *before.split(), *settings, *tail, "-"],
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=self.env,
        ) as process:
            out, _ = process.communicate(b"Do it.", timeout=60)
        assert process.returncode == 0, out
        thread: str = json.loads(out.splitlines()[0])["thread_id"]
        return thread


@pytest.fixture
def threads(repo: Repo) -> Iterator[Threads]:
    turns = "".join(
        f'[[turns]]\nmessage = "{n}"\nusage = {{ input_tokens = {n}, output_tokens = 1 }}\n'
        for n in (100, 50)
    )
    script = repo.script(turns)
    argv = [sys.executable, "-m", "runner.rehearsal", "--script", str(script), "--task", "work"]
    with Popen(argv, stdout=PIPE) as server:
        try:
            assert server.stdout is not None
            port = json.loads(server.stdout.readline())["port"]
            yield Threads(repo.root, port, dict(repo.env))
        finally:
            server.terminate()


def test_a_resumed_thread_goes_on_in_the_same_file_and_each_run_knows_its_own_part(
    repo: Repo, threads: Threads
) -> None:
    first = threads.exec("-m gpt-5.5 -s danger-full-access -c model_reasoning_effort=high")
    since = timestamp()
    second = threads.exec("-m gpt-5.5 -s workspace-write resume " + first)
    assert second == first
    files = list((repo.home / ".codex" / "sessions").rglob("*.jsonl"))
    assert len(files) == 1
    whole, part = Session(get("codex")), Session(get("codex"), since)
    for session in (whole, part):
        session.end(first, repo.env)
    assert (spent(whole), spent(part)) == (152, 51)
    assert [context.level for context in whole.contexts] == ["danger-full-access", "workspace-write"]
    expected = ObservedSettings("gpt-5.5", "workspace-write", False, "never", UNSET, False)
    assert part.contexts == (expected,), "the effort of the first run is not remembered"
