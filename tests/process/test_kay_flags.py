"""What we pass to Kay is what both generations of its stand-in understand, and what its endings mean."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.model import Level, Model, Outcome, RuntimeSettings, Sandbox
from runner.runtimes import probe
from runner.runtimes.base import Activity, CommandRequest, End, Kind
from runner.runtimes.kay import RUNTIME

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "standins"))

from kay_install import install_kay

BOUND_S = 30.0
ASKS = "The final message must begin with STATUS: SUCCESS or STATUS: BLOCKED.\n"
BUILD = Sandbox("build", Level.WORKSPACE_WRITE, network=True, writable=("/usr/share",))


class Stage:
    """An installed Kay with a home, a key and a repository."""

    def __init__(self, root: Path, generation: str) -> None:
        self.root = root
        self.last = root / "last.md"
        (root / "kay-home").mkdir()
        (root / "work").mkdir()
        self.settings = RuntimeSettings(
            "kay", str(install_kay(root / "bin", generation=generation)), None, (), {}, "ocg"
        )
        self.env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(root),
            "KAY_HOME": str(root / "kay-home"),
            "OPENCODE_GO_API_KEY": "key-0123456789",
        }
        self.program = probe.find(RUNTIME, self.settings, self.env)

    def run(self, prompt: str, **changes: Any) -> tuple[list[Activity], End]:
        request = CommandRequest(
            self.program,
            self.settings,
            Model(None, "opencode-go/glm-5", reasoning_effort="high"),
            Sandbox("research", Level.READ_ONLY),
            str(self.root / "work"),
            str(self.last),
            True,
        )
        ran = subprocess.run(
            RUNTIME.command(request.replace(**changes)),
            input=RUNTIME.prepare_prompt(prompt),
            env=self.env,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
        )
        found = [one for line in ran.stdout.splitlines() for one in RUNTIME.reader()(json.loads(line))]
        failed = [one for one in found if one.kind is Kind.TURN_FAILED]
        last = self.last.read_text() if self.last.exists() else None
        return found, End(
            ran.returncode,
            None,
            Kind.TURN_FAILED if failed else None,
            failed[-1].text if failed else None,
            last,
            bool(found),
            ran.stderr,
        )


@pytest.fixture(params=["0.9.17", "0.9.46"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    return Stage(tmp_path, request.param)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sandbox": BUILD},
        {"sandbox": Sandbox("d", Level.DANGER)},
        {"overrides": ('subagents={"a.b" = {enabled = false}}',)},
        {"resume_thread": "00000000-0000-4000-8000-000000000000"},
    ],
)
def test_each_command_is_understood(stage: Stage, changes: dict[str, Any]) -> None:
    found, end = stage.run("Say hello.", **changes)
    outcome, reason = RUNTIME.conclude(end)
    assert (outcome, reason.code) == (Outcome.SUCCEEDED, "completed"), end
    assert Kind.MESSAGE in {one.kind for one in found}


def test_a_prompt_that_begins_with_a_slash_is_a_task_and_no_command(stage: Stage) -> None:
    _, end = stage.run("/etc/hosts has an entry too many")
    assert RUNTIME.conclude(end)[1].code == "completed", end


def test_a_missing_key_is_told_apart(stage: Stage) -> None:
    del stage.env["OPENCODE_GO_API_KEY"]
    _, end = stage.run("Say hello.")
    reason = RUNTIME.conclude(end)[1]
    assert reason.code == "auth_or_quota", end
    assert "OPENCODE_GO_API_KEY" in f"{reason.message} {reason.hint}"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ('status = "BLOCKED"', "blocked"),
        ("echo_status_in_prompt = true", "blocked"),
        ("no_message = true", "result_missing"),
        ('status = "SUCCESS"', "completed"),
        ("exit_code = 1", "cli_failure"),
        ("invalid_utf8 = false\nansi = true", "completed"),
    ],
)
def test_status_zero_alone_is_no_success(stage: Stage, script: str, code: str) -> None:
    (stage.root / "kay-home/stand-in.toml").write_text(script + "\n")
    _, end = stage.run("Say hello.")
    assert RUNTIME.conclude(end)[1].code == code, end


def test_a_status_that_was_asked_for_and_is_missing_is_told_where_kay_checks_it(
    stage: Stage,
) -> None:
    (stage.root / "kay-home/stand-in.toml").write_text('status = "none"\nanswer = "done"\n')
    _, end = stage.run("Do it.\n" + ASKS)
    expected = "result_invalid" if stage.program.version == "0.9.46" else "completed"
    assert RUNTIME.conclude(end)[1].code == expected, end
