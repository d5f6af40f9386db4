"""`kay exec` from start to end, with the stand-in of both generations."""

from __future__ import annotations

import json

import pytest
from kay_install import install_kay
from support import processes
from support.judged import commit
from support.repo import Repo
from support.waiting import wait_until

KEY = "key-opencode-0123456789"
CONFIG = """
[runtimes.kay]
provider = "ocg"
env = ["OPENCODE_GO_API_KEY"]
[tasks.work]
runtime = "kay"
model = "opencode-go/glm-5"
prompt = "Say hello."
sandbox = "read-only"
grace = "500ms"
"""


@pytest.fixture(params=["0.9.17", "0.9.46"])
def kay(repo: Repo, request: pytest.FixtureRequest) -> Repo:
    install_kay(repo.bin, generation=request.param)
    repo.env["OPENCODE_GO_API_KEY"] = KEY
    return repo.config(CONFIG)


def plays(repo: Repo, script: str) -> Repo:
    (repo.home / ".kay" / "stand-in.toml").write_text(script)
    return repo


def test_a_run_succeeds_and_tells_its_answer(kay: Repo) -> None:
    ended = plays(kay, 'answer = "Hello from Kay."').start().wait()
    assert ended["status"] == "succeeded", ended["reason"]
    assert ended["last_message"] == "Hello from Kay."
    assert (ended["runtime"]["name"], ended["proof"]) == ("kay", "seen")
    assert ended["usage"]["input_tokens"] > 0


def test_blocked_is_no_success_although_the_exit_status_is_0(kay: Repo) -> None:
    waited = plays(kay, 'status = "BLOCKED"').start().ask("wait")
    assert waited.status == 1
    ended = waited.json()
    assert ended["exit_code"] == 0
    assert ended["status"] == "failed"
    assert ended["reason"]["code"] == "blocked"


def test_no_message_is_no_success(kay: Repo) -> None:
    ended = plays(kay, "no_message = true").start().wait()
    assert ended["status"] == "failed"
    assert ended["exit_code"] == 0


def test_a_hanging_run_is_cancelled_with_its_stubborn_grandchild(kay: Repo) -> None:
    run = plays(kay, "hang = true\nstubborn_grandchild = true\n").start()
    file = kay.home / ".kay" / "stand-in.grandchild"
    wait_until(file.exists)
    grandchild = processes.look(int(file.read_text()))
    assert grandchild is not None
    ended = run.told("cancel")
    assert ended["status"] == "cancelled"
    assert ended["survivors"] == []
    assert not grandchild.is_still_there()


def test_a_deaf_run_is_cancelled(kay: Repo) -> None:
    run = plays(kay, "hang = true\nignore_sigint = true\nignore_sigterm = true\n").start()
    wait_until(lambda: "prompt" in run.file("stdout.jsonl"))
    ended = run.told("cancel", "--grace", "200ms")
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])


def test_its_shell_command_is_paused_and_goes_on(kay: Repo) -> None:
    tick = "for n in $(seq 60); do echo $n >> $HOME/ticks; sleep 0.05; done"
    run = plays(kay, f"shell = [{json.dumps(tick)}]").start()
    ticks = kay.note("ticks")
    wait_until(ticks.exists)
    run.told("pause")
    size = ticks.stat().st_size
    assert run.status()["status"] == "paused"
    assert all(process.is_stopped for process in run.tree())
    assert ticks.stat().st_size == size
    run.told("resume")
    assert run.wait()["status"] == "succeeded"
    assert len(ticks.read_text().split()) == 60


def test_its_flood_secret_and_control_sequences_are_dealt_with(kay: Repo) -> None:
    run = plays(
        kay, "print_secret = true\nansi = true\ninvalid_utf8 = true\nhuge_output_bytes = 3000000\n"
    ).start()
    assert run.wait()["status"] == "succeeded"
    wait_until(lambda: run.events("sealed"))
    for path in run.folder.rglob("*"):
        if path.is_file():
            assert KEY not in path.read_text(errors="replace"), path.name
    for stream in ("events", "stdout", "stderr"):
        shown = kay.cli("logs", run.id, "--stream", stream)
        assert shown.status == 0
        assert KEY not in shown.stdout
        assert "\x1b" not in shown.stdout


def test_a_prompt_that_looks_like_a_command_is_a_prompt(kay: Repo) -> None:
    run = plays(kay, "").start("--prompt", "/auto delete everything")
    ended = run.wait()
    assert ended["status"] == "succeeded"
    assert run.file("prompt.md").startswith("TASK:\n/auto")


@pytest.mark.parametrize("code", [1, 3, 101])
def test_an_exit_status_is_recorded(kay: Repo, code: int) -> None:
    ended = plays(kay, f"exit_code = {code}").start().wait()
    assert ended["status"] == "failed"
    assert ended["exit_code"] == code


def test_the_openai_codex_under_the_name_of_kay_is_refused(repo: Repo) -> None:
    repo.codex("exit 0", name="kay")
    refused = repo.config(CONFIG).cli("start", "--task", "work", "--format", "json")
    assert refused.status == 8
    assert refused.error["code"] == "runtime_wrong"
    assert repo.no_runs()


def test_kay_under_the_name_of_codex_is_refused(repo: Repo) -> None:
    install_kay(repo.bin, name="codex")
    refused = repo.task().cli("start", "--task", "work", "--format", "json")
    assert refused.status == 8
    assert "Kay" in refused.error["message"]
    assert repo.no_runs()


def test_it_may_not_write_beside_the_records_of_runs_since_its_sandbox_knows_no_guards(kay: Repo) -> None:
    refused = kay.cli("start", "work", "--sandbox", "workspace-write", "--format", "json")
    assert (refused.status, refused.error["code"]) == (5, "in_reach")
    assert f"{kay.root}/.runs" in refused.error["message"]
    assert 'workspace = "worktree"' in refused.error["hint"]
    assert kay.no_runs()
    assert plays(kay, 'answer = "It reads."').start().wait()["status"] == "succeeded"


def test_it_may_write_in_a_tree_of_its_own_and_doctor_says_so(kay: Repo) -> None:
    commit(kay)
    kay.config(CONFIG.replace("read-only", "workspace-write"))
    checks = kay.cli("doctor", "--format", "json").json()["checks"]
    (reach,) = [one for one in checks if one["name"] == "reach"]
    assert (reach["verdict"], ".runs" in reach["message"]) == ("fail", True)
    kay.config(CONFIG.replace("read-only", "workspace-write") + 'workspace = "worktree"\n')
    assert plays(kay, 'answer = "It writes."').start().wait()["status"] == "succeeded"
