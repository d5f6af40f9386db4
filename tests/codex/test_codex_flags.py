"""What we pass to Codex is what the real program understands; no login, no network, no tokens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.codex import codex_path

from runner.model import Level, Model, Outcome, Program, RuntimeSettings, Sandbox
from runner.runtimes import codex_rehearsal, loopback, probe
from runner.runtimes.base import Activity, CommandRequest, End, Kind
from runner.runtimes.codex import RUNTIME
from runner.runtimes.overrides import assignment, flatten

BOUND_S = 60.0
REPO = Path(__file__).resolve().parents[2]
NOBODY = 9  # the port `discard`: nothing listens there, a connection is refused at once
UNREACHABLE = codex_rehearsal.overrides(NOBODY)
THREAD = "01a1f828-a6fe-7db1-be08-71550d19d0b3"
AWKWARD = 'quote " backslash \\ newline \n tab \t nul \x00 del \x7f é 漢 😀'
DOTTED = {
    "command": "true",
    "enabled": False,
    "tools": {"delegate.status": {"approval_mode": "approve"}},
}
READ_ONLY = Sandbox("research", Level.READ_ONLY)
BUILD = Sandbox("build", Level.WORKSPACE_WRITE)
REQUESTS: dict[str, dict[str, Any]] = {
    "least": {},
    "model": {"model": Model("deep", "gpt-5.5", reasoning_effort="xhigh")},
    "build": {"sandbox": BUILD},
    "network": {"sandbox": BUILD.replace(network=True, writable=("/usr/share", "/usr/lib"))},
    "danger": {"sandbox": Sandbox("d", Level.DANGER, allow_danger=True)},
    "no skills": {"skills": False},
    "config": {
        "config": {
            "features": {"unbounded_connection_retries": False},
            "mcp_servers": {"d": DOTTED},
            "hide_agent_reasoning": True,
            "project_doc_max_bytes": 1000,
            "developer_instructions": AWKWARD,
        }
    },
}


class Real:
    """The real program with a home of its own."""

    def __init__(self, root: Path) -> None:
        self.home = root / "codex-home"
        self.home.mkdir()
        self.work = root / "wörk"
        self.work.mkdir()
        self.last = root / "last.md"
        plain = {"PATH": os.environ["PATH"], "HOME": str(root), "CODEX_HOME": str(self.home)}
        self.env = {**plain, **loopback.environment(plain)}
        path = str(codex_path())
        settings = RuntimeSettings("codex", path, ">=0.150", (), {}, None)
        self.program: Program = probe.find(RUNTIME, settings, self.env)

    def argv(self, config: dict[str, Any] | None = None, **changes: Any) -> tuple[str, ...]:
        settings = RuntimeSettings("codex", "codex", None, (), config or {}, None)
        request = CommandRequest(
            self.program, settings, None, READ_ONLY, str(self.work), str(self.last), True, UNREACHABLE
        )  # fmt: skip
        return RUNTIME.command(request.replace(**changes))

    def run(self, *argv: str, prompt: str = "hello") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, env=self.env, input=prompt, capture_output=True, text=True, timeout=BOUND_S, cwd="/"
        )  # fmt: skip

    def sandboxes(self) -> list[dict[str, Any]]:
        """The sandbox that was in force in each turn, from Codex's own records."""
        lines = [
            json.loads(line)
            for file in sorted(self.home.rglob("rollout-*.jsonl"))
            for line in file.read_text().splitlines()
        ]
        turns = [line["payload"] for line in lines if line["type"] == "turn_context"]
        return [turn["sandbox_policy"] for turn in turns]


@pytest.fixture
def real(tmp_path: Path) -> Real:
    return Real(tmp_path)


@pytest.fixture
def model_server() -> Iterator[int]:
    """The port of a scripted model on loopback."""
    command = [sys.executable, "-m", "runner.rehearsal"]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["port"]
        server.terminate()


def activities(stdout: str) -> list[Activity]:
    return [one for line in stdout.splitlines() for one in RUNTIME.reader()(json.loads(line))]


def ending(ran: subprocess.CompletedProcess[str]) -> tuple[Outcome, str, str]:
    found = activities(ran.stdout)
    turns = [one for one in found if one.kind in (Kind.TURN_COMPLETED, Kind.TURN_FAILED)]
    turn = turns[-1] if turns else None
    end = End(
        ran.returncode, None, turn.kind if turn else None, turn.text if turn else None, None,
        bool(found), ran.stderr,
    )  # fmt: skip
    outcome, reason = RUNTIME.conclude(end)
    return outcome, reason.code, reason.hint or ""


@pytest.mark.parametrize("name", REQUESTS)
def test_each_command_is_understood_down_to_the_last_key(real: Real, name: str) -> None:
    argv = list(real.argv(**REQUESTS[name]))
    assert {word for word in argv if word.startswith("-") and len(word) > 1} <= real.program.flags
    argv.insert(2, "--strict-config")
    ran = real.run(*argv)
    assert (ran.returncode, ending(ran)[:2]) == (1, (Outcome.FAILED, "cli_failure")), ran.stderr
    kinds = [one.kind for one in activities(ran.stdout)]
    assert kinds[:1] == [Kind.THREAD], ran.stderr
    assert kinds[-1:] == [Kind.TURN_FAILED]
    assert "ignoring" not in ran.stdout


@pytest.mark.parametrize("name", REQUESTS)
def test_each_command_is_understood_when_it_resumes(real: Real, name: str) -> None:
    argv = list(real.argv(**REQUESTS[name], resume_thread=THREAD))
    argv.insert(2, "--strict-config")
    ran = real.run(*argv)
    assert ran.returncode == 1
    assert "no rollout found" in ran.stderr.lower()
    assert ending(ran) == (
        Outcome.FAILED,
        "cli_failure",
        "the session to resume is gone: start a new run",
    )


def test_the_check_notices_a_key_that_does_not_exist(real: Real) -> None:
    argv = list(real.argv(config={"features": {"skills": False}}))
    argv.insert(2, "--strict-config")
    assert "features.skills" in real.run(*argv).stderr


def test_options_behind_resume_are_refused_which_is_why_ours_stand_before(real: Real) -> None:
    ran = real.run(real.program.path, "exec", "resume", "-s", "read-only", THREAD, "-")
    assert ran.returncode == 2
    outcome, code, hint = ending(ran)
    assert (outcome, code) == (Outcome.FAILED, "flag_refused")
    assert "runner doctor" in hint


def test_a_resumed_thread_keeps_its_id_its_sandbox_and_its_last_message(
    real: Real, model_server: int
) -> None:
    folder = real.work / "extra"
    folder.mkdir()
    changes: dict[str, Any] = {
        "sandbox": BUILD.replace(writable=(str(folder),)),
        "overrides": codex_rehearsal.overrides(model_server),
        "model": Model(None, "gpt-5.5"),
    }
    first = real.run(*real.argv(**changes))
    assert ending(first)[:2] == (Outcome.SUCCEEDED, "completed"), first.stderr
    thread = next(one.text for one in activities(first.stdout) if one.kind is Kind.THREAD)
    assert any(one.kind is Kind.MESSAGE and one.text for one in activities(first.stdout))
    second = real.run(*real.argv(**changes, resume_thread=thread))
    assert ending(second)[:2] == (Outcome.SUCCEEDED, "completed"), second.stderr
    assert thread in [one.text for one in activities(second.stdout) if one.kind is Kind.THREAD]
    assert any(one.kind is Kind.MESSAGE and one.text for one in activities(second.stdout))
    assert not real.last.exists(), "the program writes nothing into the folder of a run"
    policies = real.sandboxes()
    assert len(policies) == 2
    assert policies[0] == policies[1]
    assert policies[0]["writable_roots"] == [str(folder)]


def test_the_config_file_of_the_user_cannot_widen_what_is_declared(real: Real) -> None:
    (real.home / "config.toml").write_text(
        'sandbox_mode = "danger-full-access"\napproval_policy = "on-request"\n'
        '[sandbox_workspace_write]\nwritable_roots = ["/opt"]\nnetwork_access = true\n'
    )
    real.run(*real.argv(sandbox=BUILD))
    real.run(*real.argv())
    by_level = {policy["type"]: policy for policy in real.sandboxes()}
    assert set(by_level) == {"workspace-write", "read-only"}
    assert by_level["workspace-write"]["network_access"] is False
    assert by_level["workspace-write"].get("writable_roots", []) == []


@pytest.mark.parametrize("is_trusted", [False, True])
@pytest.mark.parametrize("sandbox", [READ_ONLY, BUILD])
def test_no_server_that_the_repository_brings_for_codex_is_started(
    real: Real, sandbox: Sandbox, is_trusted: bool
) -> None:
    started, config = real.last.with_name("started"), real.home / "config.toml"
    (real.work / ".git").mkdir()
    (real.work / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (real.work / ".codex").mkdir()
    server = f'command = "/bin/sh"\nargs = ["-c", "echo >> {started}"]\n'
    (real.work / ".codex" / "config.toml").write_text(f"[mcp_servers.x]\n{server}")
    before = f'[projects."{real.work}"]\ntrust_level = "trusted"\n' if is_trusted else ""
    config.write_text(before)
    argv = real.argv(sandbox=sandbox)
    real.run(*argv)
    assert not started.exists()
    assert config.read_text() == before, "nor is it to be started by whoever uses Codex there later"
    if is_trusted:
        at = next(n for n, word in enumerate(argv) if word.startswith("projects="))
        real.run(*argv[: at - 1], *argv[at + 1 :])
        assert started.exists(), "this is what would start it"


def test_values_and_keys_arrive_as_they_were_written(real: Real) -> None:
    servers: dict[str, Any] = {
        "plain": {"command": AWKWARD, "args": [AWKWARD], "env": {"A.B": AWKWARD, "C": ""}},
        "dotted.name": {"command": "x"},
    }
    words = [
        word for key, value in flatten({"mcp_servers": servers}) for word in ("-c", assignment(key, value))
    ]
    ran = real.run(real.program.path, "mcp", "list", "--json", *words)
    found = {server["name"]: server["transport"] for server in json.loads(ran.stdout)}
    assert set(found) == set(servers)
    assert found["plain"]["command"] == AWKWARD
    assert found["plain"]["args"] == [AWKWARD]
    assert found["plain"]["env"] == servers["plain"]["env"]


@pytest.mark.parametrize(
    ("changes", "code", "hint"),
    [
        ({"overrides": ('model_provider="nope"',)}, "misconfigured", "model_providers"),
        ({"overrides": ("project_doc_max_bytes=\"x\"",)}, "misconfigured", "config.toml"),
        ({"overrides": ("mcp_servers.d.enabled=true",)}, "misconfigured", "delegation"),
        (
            {
                "overrides": (
                    *UNREACHABLE,
                    'mcp_servers.d={command="false",required=true}',
                )
            },
            "cli_failure",
            "MCP server",
        ),
        (
            {
                "overrides": (
                    *UNREACHABLE,
                    'model_provider="corp"',
                    'model_providers.corp={name="c",base_url="http://127.0.0.1:9/v1",'
                    'env_key="RUNNER_TEST_UNSET_KEY"}',
                )
            },
            "auth_or_quota",
            "RUNNER_TEST_UNSET_KEY",
        ),
    ],
)  # fmt: skip
def test_what_codex_says_when_it_fails_gives_the_code_and_a_hint(
    real: Real, changes: dict[str, Any], code: str, hint: str
) -> None:
    ran = real.run(*real.argv(**changes))
    outcome, found, said = ending(ran)
    assert (outcome, found) == (Outcome.FAILED, code), ran.stderr
    assert hint in said, ran.stderr


def test_a_home_that_does_not_exist_is_named(real: Real) -> None:
    real.env["CODEX_HOME"] = "/nonexistent/codex-home"
    assert "CODEX_HOME" in ending(real.run(*real.argv()))[2]


def test_nobody_is_logged_in_in_a_fresh_home(real: Real) -> None:
    argv = RUNTIME.login_check(real.program)
    assert argv is not None
    assert real.run(*argv).returncode == 1


def test_the_sandbox_check_tells_a_working_sandbox_from_none(real: Real) -> None:
    argv = RUNTIME.sandbox_check(real.program, Level.WORKSPACE_WRITE)
    assert argv is not None
    works = subprocess.run(argv, env=real.env, cwd=real.work, timeout=BOUND_S)
    if works.returncode not in (0, 3):
        pytest.skip("this machine does not allow the sandbox of Codex")
    assert works.returncode == 0
    open_one = [word.replace("read-only", "danger-full-access") for word in argv]
    assert subprocess.run(open_one, env=real.env, cwd=real.work, timeout=BOUND_S).returncode == 3
    assert list(real.work.iterdir()) == []
    assert RUNTIME.sandbox_check(real.program, Level.DANGER) is None
