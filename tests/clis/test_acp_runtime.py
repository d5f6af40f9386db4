"""Runs of a real agent that speaks the Agent Client Protocol, `gemini --acp`, with the scripted model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import processes
from support.clis import CLIS, ROOT, add, patch, says, shell, turns
from support.repo import Repo, Run
from support.waiting import wait_until

SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "general": {"maxAttempts": 1, "enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "privacy": {"usageStatisticsEnabled": False},
    "model": {"skipNextSpeakerCheck": True, "disableLoopDetection": True},
}
USAGE = "usage = { input_tokens = 100, cached_input_tokens = 40, output_tokens = 20 }"
WRITES = ('sandbox = "workspace-write"', 'workspace = "worktree"')
ENV = ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GEMINI_CLI_NO_RELAUNCH")


@pytest.fixture
def started(repo: Repo) -> Iterator[Callable[..., Run]]:
    """Starts a run of a script, with these settings of the runtime and keys of the task."""
    servers: list[subprocess.Popen[str]] = []

    def start(script: str, *keys: str, settings: str = "") -> Run:
        file = repo.base / "script.toml"
        file.write_text(f"schema_version = 1\n{script}")
        command = [sys.executable, "-m", "runner.rehearsal", "--task", "work", "--script", str(file)]
        servers.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        assert servers[-1].stdout is not None
        port = json.loads(servers[-1].stdout.readline())["port"]
        repo.env |= {"GEMINI_API_KEY": "none-of-ours", "GEMINI_CLI_NO_RELAUNCH": "true"}
        repo.env["GOOGLE_GEMINI_BASE_URL"] = f"http://127.0.0.1:{port}"
        (repo.home / ".gemini").mkdir(exist_ok=True)
        (repo.home / ".gemini/settings.json").write_text(json.dumps(SETTINGS))
        agent = f'[runtimes.acp]\ncommand = "{CLIS / "gemini"}"\nenv = {json.dumps(ENV)}\n{settings}'
        task = ["[tasks.work]", 'runtime = "acp"', 'prompt = "Do it."', 'model = "gemini-2.5-pro"', *keys]
        repo.config("\n".join((agent, *task, 'grace = "3s"')))
        repo.git("add", "delegate.toml")
        repo.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "settings")
        return repo.start()

    yield start
    for server in servers:
        server.terminate()
        server.communicate(timeout=60)


def asked(run: Run, name: str = "q-0001") -> str:
    """The words of the question, once it is told."""
    wait_until(lambda: [one for one in run.events("question") if one["id"] == name], 60, what="a question")
    return str(run.question(name)["prompt"])


def test_a_change_is_asked_for_answered_and_verified(repo: Repo, started: Callable[..., Run]) -> None:
    script = turns(patch(add("new.txt", "new")), shell("touch made"), f"{says('Done.')}\n{USAGE}")
    run = started(script, *WRITES, 'verify = ["grep new new.txt"]', settings='permission_timeout = "8s"')
    assert "The agent `Gemini CLI` asks" in asked(run) and "It says: Writing to new.txt" in asked(run)
    assert "q-0001" in repo.cli("inbox").stdout
    assert run.ask("answer", "q-0001", "allow").status == 0
    end = run.wait()
    assert (end["status"], end["survivors"]) == ("succeeded", [])
    assert run.file("last-message.md").strip() == "Done."
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (100, 20)
    assert (end["sandbox"]["isolation"], end["conformance"]["model"]["verdict"]) == ("none", "ok")
    assert [one["message"] for one in run.events("refused")] == [
        "touch made: q-0002 was not answered in time"
    ]


def test_what_the_settings_refuse_and_what_the_level_refuses_is_told(started: Callable[..., Run]) -> None:
    script = turns(patch(add("new.txt")), shell("touch made"), says("Done."))
    run = started(script, *WRITES, "expects_change = false", settings='permissions = "refuse"')
    assert run.wait()["status"] == "succeeded"
    why = 'permissions = "refuse"'
    told = [one["message"] for one in run.events("refused")]
    assert told == [f"Writing to new.txt: {why}", f"touch made: {why}"]
    assert not [*run.folder.glob("questions/*")]


def test_a_reader_gets_the_mode_for_readers(started: Callable[..., Run]) -> None:
    run = started(turns(patch(add("new.txt")), says("Done.")), settings='permissions = "allow"')
    end = run.wait()
    assert (end["status"], end["conformance"]["approval"]["observed"]) == ("succeeded", "plan")
    assert not (run.repo.root / "new.txt").exists()


def test_a_cancel_ends_a_command_of_the_agent_and_a_question(repo: Repo, started: Callable[..., Run]) -> None:
    script = turns(shell("seq 600 | while read n; do date >> ticks; sleep 0.1; done"), says("never"))
    run = started(script, *WRITES, settings='permissions = "allow"')
    file = Path(json.loads(run.file("invocation.json"))["cwd"]) / "ticks"
    wait_until(file.exists, 60)
    end = run.told("cancel")
    assert (end["status"], end["survivors"]) == ("cancelled", [])
    assert not [p for p in processes.of_folder(repo.base) if any("seq 600" in word for word in p.words)]
    assert '"stopReason": "cancelled"' in run.file("stdout.jsonl")


@pytest.mark.parametrize(("status", "code"), [(401, "auth_or_quota"), (400, "request_refused")])
def test_a_failure_of_the_model_has_its_code(started: Callable[..., Run], status: int, code: str) -> None:
    end = started(turns(f"error = {{ status = {status}, message = 'told' }}")).wait()
    assert (end["status"], end["reason"]["code"]) == ("failed", code)
    assert end["reason"]["message"] == f"told (status {status})"
