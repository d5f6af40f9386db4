"""What an agent in Codex's real sandbox cannot change: all that runner executes or obeys after its start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.batches import ends, run_of, shown
from support.codex import codex_path
from support.judged import call, claim, commit, says
from support.repo import Repo, Run
from support.waiting import wait_until
from support.waves import prepares, writes

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    """Whatever a test has started is over after it."""
    yield
    repo.end_all()


def says_of(
    repo: Repo,
    *commands: str,
    keys: str = "",
    more: str = "",
    sandbox: str = "workspace-write",
    status: str = "succeeded",
) -> Run:
    """A run whose agent has executed these shell commands, and that has ended so."""
    turns = "".join(f"[[turns]]\nshell = {json.dumps(command)}\n" for command in commands)
    repo.script(f'{turns}[[turns]]\nmessage = "done"\n')
    keys = f'sandbox = "{sandbox}"\nrehearse = "play.toml"\n{keys}'
    repo.config(f'{more}\n[tasks.work]\nprompt = "Try it."\ngrace = "2s"\n{keys}')
    run = repo.start()
    assert run.wait()["status"] == status
    return run


def outputs(run: Run) -> list[str]:
    lines = [json.loads(line) for line in run.file("stdout.jsonl").splitlines()]
    items = [line["item"] for line in lines if line["type"] == "item.completed"]
    return [item["aggregated_output"] for item in items if item["type"] == "command_execution"]


def tried(*commands: str) -> str:
    """One line of shell: of each command, whether it could be done."""
    return "\n".join(f"if ( {one} ) 2>/dev/null; then echo did; else echo no; fi" for one in commands)


def an_environment(repo: Repo) -> Path:
    """A virtual environment in the repository from which runner runs: only its packages are elsewhere."""
    folder = repo.root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    return folder


def test_an_environment_in_the_repository_that_runner_runs_from_is_read_only(repo: Repo) -> None:
    folder = an_environment(repo)
    (packages,) = folder.glob("lib/python*/site-packages")
    attempts = (f"touch {packages}/evil.pth", f"mv {folder} {folder}.old", f"rm -r {folder}", "touch fine")
    repo.script(f'[[turns]]\nshell = {json.dumps(tried(*attempts))}\n[[turns]]\nmessage = "done"\n')
    keys = 'sandbox = "workspace-write"\nrehearse = "play.toml"\ngrace = "2s"\n'
    repo.config(f'[tasks.work]\nprompt = "Try it."\n{keys}')
    words = [folder / "bin/python", "-m", "runner", "start", "work", "--wait", "--format", "json"]
    done = subprocess.run(words, cwd=repo.root, env=repo.env, capture_output=True, check=True, timeout=120)
    assert json.loads(done.stdout)["status"] == "succeeded"
    (run,) = repo.runs()
    assert outputs(run)[0].split() == ["no", "no", "no", "did"]
    doctor = [folder / "bin/python", "-m", "runner", "doctor", "--format", "json"]
    told = subprocess.run(doctor, cwd=repo.root, env=repo.env, capture_output=True, timeout=120)
    (reach,) = [one for one in json.loads(told.stdout)["checks"] if one["name"] == "reach"]
    assert str(folder) in reach["message"]


def test_a_program_deep_in_the_repository_stays_and_the_folders_around_it_are_free(repo: Repo) -> None:
    repo.write("tools/bin/codex", f'#!/bin/sh\nexec {codex_path()} "$@"\n')
    (repo.root / "tools/bin/codex").chmod(0o755)
    commit(repo)
    run = says_of(
        repo,
        tried("echo x > tools/bin/codex", "mv tools old", "mv tools/bin tools/old", "rm -r tools/bin"),
        tried("touch tools/new", "touch tools/bin/new"),
        keys='retries = 1\nverify = [["false"]]\n',
        more='[runtimes.codex]\ncommand = "tools/bin/codex"\n[recovery]\nladder = ["fresh"]\n',
        status="rejected",
    )
    assert outputs(run)[0].split() == ["no"] * 4
    assert outputs(run)[1].split() == ["did", "did"]
    assert run.status()["attempt"] == 2
    assert sorted(path.name for path in (repo.root / "tools").rglob("*")) == ["bin", "codex", "new", "new"]


def test_the_folders_above_a_repository_in_tmp_cannot_be_moved_away(repo: Repo) -> None:
    base, aside = repo.base, f"{repo.base}.aside"
    run = says_of(
        repo,
        tried(f"mv {base} {aside}", f"mkdir {aside}", f"touch {repo.home}/.codex/hooks", "touch .runs/x"),
        'echo $TMPDIR; file=$(mktemp) && echo made "$file"; touch inside',
    )
    assert outputs(run)[0].split() == ["no"] * 4
    temp, _, file = outputs(run)[1].split()
    assert file.startswith(f"{temp}/") and temp.endswith(f"/runner/temp/{run.id}")
    assert (repo.root / "inside").exists()
    wait_until(lambda: not run.everything(), what="the supervisor's end")
    assert not os.path.exists(temp)


def test_a_home_in_a_writable_folder_keeps_its_settings_and_state(repo: Repo) -> None:
    home = repo.home
    run = says_of(
        repo,
        tried(
            f"touch {home}/.config/runner/policy.toml",
            f"mv {home}/.config {home}/.old",
            f"echo x > {home}/.gitconfig",
            f"touch {home}/.codex/config.toml",
            f"touch {home}/.local/state/runner/key",
            f"mv {home}/.local/state {home}/.local/old",
        ),
        tried(f"touch {home}/mine", f"touch {home}/.config/mine"),
        sandbox="wide",
        more=f'[sandboxes.wide]\nlevel = "workspace-write"\nwritable = ["{home}"]\n',
    )
    assert outputs(run)[0].split() == ["no"] * 6
    assert outputs(run)[1].split() == ["did", "did"]


CHILD = r"""
[captures]
manifest = '- manifest_path=(\S+)'
child = '\\?"manifest_path\\?": ?\\?"(\.runs/kid[^"\\]+)'
"""


def test_a_child_is_resolved_from_the_settings_of_its_parent(repo: Repo) -> None:
    """Whatever the parent has written into the repository before it started the child."""
    evil = f'schema_version = 1\\n[tasks.kid]\\nverify = [[\\"touch\\", \\"{repo.home}/escaped\\"]]\\n'
    spawn = 'name = "delegate.spawn", arguments = { task_id = "kid", parent_manifest_path = "{manifest}" }'
    wait = 'name = "delegate.status", arguments = { manifest_path = "{child}", wait_s = 30 }'
    turns = (
        f"[[turns]]\nshell = '''printf '{evil}' > delegate.local.toml'''\n"
        f'[[turns]]\ntool = {{ server = "delegation", {spawn} }}\n'
        f'[[turns]]\ntool = {{ server = "delegation", {wait} }}\n[[turns]]\nmessage = "done"\n'
    )
    repo.script(CHILD + turns, "boss.toml")
    repo.script('[[turns]]\nmessage = "kid"\n', "kid.toml")
    repo.config(
        '[defaults]\ngrace = "2s"\n[delegation]\ntasks = ["kid"]\n'
        '[tasks.boss]\nprompt = "Lead."\nsandbox = "workspace-write"\nrehearse = "boss.toml"\n'
        "delegation = true\n"
        '[tasks.kid]\nprompt = "Follow."\nrehearse = "kid.toml"\n'
    )
    boss = repo.start(task="boss")
    ended = boss.wait()
    (kid,) = [run for run in repo.runs() if run.task == "kid"]
    assert kid.status()["status"] == "succeeded"
    assert kid.events("checked") == []
    assert not (repo.home / "escaped").exists()
    assert (ended["status"], ended["reason"]["code"]) == ("rejected", "verify_failed")
    (finding,) = [one for one in result_of(boss)["findings"] if one["code"] == "settings_changed"]
    assert (finding["severity"], finding["evidence"]) == ("error", ["delegate.local.toml"])


def result_of(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.file("result.json"))
    return found


def test_settings_that_the_scope_names_may_be_changed_and_are_told(repo: Repo) -> None:
    commit(repo)
    run = says_of(repo, "echo >> delegate.toml", keys='scope = ["delegate.toml"]\n')
    (finding,) = [one for one in result_of(run)["findings"] if one["code"] == "settings_changed"]
    assert (finding["severity"], finding["evidence"]) == ("warning", ["delegate.toml"])


def test_a_batch_has_the_settings_that_its_plan_was_started_with(repo: Repo) -> None:
    """Whatever the batch before it has written beside `delegate.toml`."""
    evil = f'schema_version = 1\n[defaults]\nverify = [["touch", "{repo.home}/escaped"]]\n'
    first = call("sed -i 's/^x = .*/x = 1/' src/m1.py") + call(f"printf '{evil}' > delegate.local.toml")
    prepares(repo, [first + says(claim(files=["src/m1.py"])), writes(2)])
    repo.write(".gitignore", "delegate.local.toml\n")
    run = ends(repo, status=1)
    assert (repo.root / "delegate.local.toml").exists()
    (finding,) = [one for one in result_of(run_of(run, 1))["findings"] if one["code"] == "settings_changed"]
    assert finding["severity"] == "error"
    assert shown(run)[1] == "U2: succeeded"
    assert not (repo.home / "escaped").exists()
