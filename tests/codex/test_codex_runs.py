"""The real Codex against a scripted model: how runs end, what the sandbox allows, what is contacted."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.codex import OTHER, codex_path
from support.repo import RUNNER, Repo, Run
from support.waiting import wait_until


def plays(repo: Repo, turns: str, *lines: str, more: str = "", sandbox: str | None = None) -> Run:
    """Starts the task against this script."""
    repo.script(turns)
    keys = "\n".join(('rehearse = "play.toml"', 'grace = "3s"', *lines))
    level = sandbox or "read-only"
    repo.config(f'{more}\n[tasks.work]\nprompt = "Do it."\nsandbox = "{level}"\n{keys}\n')
    return repo.start(*(["--allow-danger"] if level == "wild" else []))


def commands(run: Run) -> list[dict]:
    """The shell commands that Codex reports as ended."""
    lines = [json.loads(line) for line in run.file("stdout.jsonl").splitlines()]
    items = [line["item"] for line in lines if line["type"] == "item.completed"]
    return [item for item in items if item["type"] == "command_execution"]


def test_a_run_succeeds_and_its_manifest_tells_all_of_it(repo: Repo) -> None:
    usage = "{ input_tokens = 120, cached_input_tokens = 80, output_tokens = 9, reasoning_output_tokens = 2 }"
    run = plays(repo, f'[[turns]]\nmessage = "Task {{task}} is done."\nusage = {usage}\n')
    waited = run.ask("wait")
    assert waited.status == 0, run.file("stderr.log")
    manifest = waited.json()
    assert manifest["status"] == "succeeded"
    assert manifest["last_message"] == "Task work is done."
    assert manifest["usage"]["input_tokens"] == 120
    assert manifest["usage"]["reasoning_output_tokens"] == 2
    assert re.fullmatch(r"[0-9a-f-]{36}", manifest["thread_id"])
    assert manifest["rehearsal"] is True
    assert manifest["exit_code"] == 0
    assert manifest["survivors"] == []
    assert run.file("last-message.md") == "Task work is done."
    wait_until(lambda: not run.everything(), what="the end of the rehearsal server")
    assert run.told("cancel") == run.on_disk(), "after its end there is nothing to cancel"


def test_a_mistake_of_the_script_is_told_as_one_and_not_as_one_of_the_provider(repo: Repo) -> None:
    reason = plays(repo, '[[turns]]\ntool = { server = "no", name = "no" }\n').ask("wait").json()["reason"]
    assert "rehearsal script: it calls the tool `no`" in reason["message"]
    assert "the mistake is in the script" in reason["hint"]


@pytest.mark.parametrize("contract", ["", "final", "closing-turn", "status-block", "findings"])
def test_the_default_rehearsal_needs_no_script(contract: str, repo: Repo) -> None:
    asked = f'output_contract = "{contract}"\nsandbox = "workspace-write"\n' if contract else ""
    repo.config(f'[tasks.work]\nprompt = "Do it."\n{asked}')
    done = repo.cli("start", "--task", "work", "--rehearse", "--wait")
    assert done.status == 0, done.stderr
    assert done.stdout.startswith("says       Rehearsal of task `work`")
    assert "Rehearsal of task `work`" in repo.cli("report", "@latest").stdout


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        ("{ status = 401, message = 'no such key' }", "auth_or_quota", "401"),
        ("{ status = 429, code = 'usage_limit_reached', resets_at = 2000000000 }", "auth_or_quota", "limit"),
        ("{ status = 500 }", "cli_failure", "demand"),
    ],
)
def test_an_error_of_the_model_is_a_failure_with_its_text(
    repo: Repo, error: str, code: str, word: str
) -> None:
    waited = plays(repo, f"[[turns]]\nerror = {error}\n").ask("wait")
    assert waited.status == 1
    manifest = waited.json()
    assert (manifest["status"], manifest["reason"]["code"]) == ("failed", code)
    assert word in manifest["reason"]["message"]
    assert manifest["exit_code"] == 1


def test_a_stream_that_is_cut_is_a_failure(repo: Repo) -> None:
    manifest = plays(repo, '[[turns]]\nmessage = "I was about"\ncut = true\n').wait()
    assert manifest["status"] == "failed"
    assert "stream" in manifest["reason"]["message"]


def test_a_model_that_hangs_is_stalled(repo: Repo) -> None:
    waited = plays(repo, "[[turns]]\nhang = true\n", 'idle_timeout = "1500ms"').ask("wait")
    assert waited.status == 3
    assert waited.json()["reason"]["code"] == "stalled"
    assert waited.json()["survivors"] == []


def test_a_config_that_codex_refuses_is_told_in_its_words(repo: Repo) -> None:
    more = '[runtimes.codex.config]\nmodel_reasoning_summary = "shouting"\n'
    manifest = plays(repo, '[[turns]]\nmessage = "x"\n', more=more).wait()
    assert manifest["status"] == "failed"
    assert manifest["reason"]["code"] == "misconfigured"
    assert "shouting" in json.dumps(manifest["reason"])
    assert manifest["thread_id"] is None


WRITES = """
[[turns]]
shell = "echo inside > inside.txt; echo hook > .git/hook; echo done"
[[turns]]
message = "tried"
"""


def test_read_only_refuses_every_write(repo: Repo) -> None:
    run = plays(repo, WRITES)
    assert run.wait()["status"] == "succeeded"
    (command,) = commands(run)
    assert command["aggregated_output"].count("Read-only file system") == 2
    assert not (repo.root / "inside.txt").exists()


def test_workspace_write_allows_the_repository_and_not_its_git(repo: Repo) -> None:
    run = plays(repo, WRITES, sandbox="workspace-write")
    assert run.wait()["status"] == "succeeded"
    assert (repo.root / "inside.txt").read_text() == "inside\n"
    assert not (repo.root / ".git" / "hook").exists()
    assert "Read-only file system" in commands(run)[0]["aggregated_output"]


FORGES = '''
[[turns]]
shell = """
for run in .runs/work/cli/*; do
    touch $run/manifest.json $run/control/intent-1.json; unlink $run/run.lock
done
mv .runs aside
umount .runs
unlink $HOME/.local/state/runner/guards/*/.git
touch inside.txt
"""
[[turns]]
message = "tried"
'''


def test_a_run_that_may_write_the_repository_may_not_write_the_records_of_runs(repo: Repo) -> None:
    """It could say that it succeeded, or cancel others: what it may do goes through its server."""
    other = plays(repo, '[[turns]]\nmessage = "first"\n')
    before = other.wait()
    run = plays(repo, FORGES, sandbox="workspace-write")
    assert run.wait()["status"] == "succeeded"
    (command,) = commands(run)
    assert command["aggregated_output"].count("Read-only file system") == 6
    assert command["aggregated_output"].count("Device or resource busy") == 2
    assert (repo.root / "inside.txt").exists(), "it may write the repository"
    assert other.status() == before
    (guard,) = (repo.base / "home").rglob("guards/*/.git")
    assert guard.read_text() == f"gitdir: {repo.root}/.runs\n"


def test_danger_needs_both_switches_and_then_allows_all(repo: Repo) -> None:
    more = '[sandboxes.wild]\nlevel = "danger-full-access"\nallow_danger = true\n'
    run = plays(repo, WRITES, sandbox="wild", more=more)
    assert run.wait()["status"] == "succeeded"
    assert (repo.root / ".git" / "hook").read_text() == "hook\n"
    refused = repo.cli("start", "--task", "work", "--format", "json")
    assert refused.status == 5
    assert refused.error["code"] == "policy_refused"
    text = (repo.root / "delegate.toml").read_text().replace("allow_danger = true", "allow_danger = false")
    (repo.root / "delegate.toml").write_text(text)
    assert repo.cli("start", "--task", "work", "--allow-danger").status == 5
    assert len(repo.runs()) == 1


def test_a_prompt_of_the_longest_length_reaches_the_model(repo: Repo) -> None:
    repo.script('[[turns]]\nmessage = "long"\n')
    repo.config('[tasks.work]\nprompt = "x"\nrehearse = "play.toml"\n')
    run = repo.start("--prompt", "-", stdin="x" * 1_048_576)
    assert run.wait()["status"] == "succeeded"
    request = json.loads(run.file("rehearsal.jsonl").splitlines()[0])
    assert request["prompt_chars"] >= 1_048_576


def test_two_runs_at_once_share_one_home(repo: Repo) -> None:
    wait = f"until test -e '{repo.home}/gate'; do sleep 0.05; done"
    repo.script(f'[[turns]]\nshell = "{wait}; echo both"\n[[turns]]\nmessage = "{{last_output}}"\n')
    repo.config('[tasks.work]\nprompt = "x"\nrehearse = "play.toml"\n')
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: repo.start(), range(2)))
    for run in runs:
        wait_until(
            lambda run=run: [seen for seen in run.tree() if any(wait in word for word in seen.words[-1:])],
            what="its call",
        )
    repo.open_gate()
    ended = [run.wait() for run in runs]
    assert [manifest["status"] for manifest in ended] == ["succeeded"] * 2
    assert [manifest["last_message"] for manifest in ended] == ["both"] * 2
    assert len({manifest["thread_id"] for manifest in ended}) == 2


def test_what_runs_is_what_resolve_prints_and_what_codex_understands(repo: Repo) -> None:
    repo.config(
        """
[runtimes.codex.config]
features.unbounded_connection_retries = false
[models.deep]
model = "gpt-5.4-mini"
reasoning_effort = "xhigh"
[sandboxes.build]
level = "workspace-write"
writable = ["../cache"]
[tasks.work]
prompt = "Do it."
model = "deep"
sandbox = "build"
"""
    )
    (repo.base / "cache").mkdir()
    before = sorted(repo.base.rglob("*"))
    resolved = repo.json("resolve", "--task", "work")
    cached = {path for path in repo.base.rglob("*") if ".cache" in path.parts}
    assert sorted(set(repo.base.rglob("*")) - cached) == before, "it touches nothing but its cache"
    argv = resolved["argv"]
    assert Path(argv[0]).samefile(codex_path())
    helped = subprocess.run([argv[0], "exec", "--help"], capture_output=True, text=True, check=True)
    options = [word for word in argv if word.startswith("-") and word != "-"]
    for option in set(options):
        assert re.search(rf"(?m)^ +(-\w, )?{re.escape(option)}\b", helped.stdout), option
    parsed = subprocess.run([*argv[:-1], "--help"], capture_output=True, text=True, cwd=repo.root)
    assert parsed.returncode == 0, "Codex takes every one of these words"
    assert resolved["prompt"] == "Do it."


def test_nothing_but_loopback_is_contacted(repo: Repo) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    repo.script('[[turns]]\nmessage = "quiet"\n')
    repo.config('[tasks.work]\nprompt = "x"\nrehearse = "play.toml"\n')
    trace = repo.base / "trace"
    command = [strace, "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace), str(RUNNER)]
    done = subprocess.run(
        [*command, "start", "--task", "work", "--wait"],
        cwd=repo.root,
        env=repo.env,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    internet = [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    assert internet, "the model was asked"
    assert all("127.0.0.1" in line for line in internet), internet


@pytest.mark.skipif(OTHER is not None, reason="another Codex is on PATH")
def test_codex_is_found_in_the_package_where_none_is_on_path(repo: Repo) -> None:
    repo.config('[tasks.work]\nprompt = "x"\n')
    resolved = repo.json("resolve", "--task", "work")
    assert Path(resolved["program"]).samefile(codex_path())
    assert sys.prefix in resolved["program"]
