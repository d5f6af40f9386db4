"""The job of gitlab/runner.yml with the real Codex, and the three lines for any other CI."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support import gitlab_shell
from support.action_job import ACTION
from support.judged import call, commit, says
from support.repo import Repo
from support.trusting import trusting

WORK = call("echo 'answer = 42' > src/app.py")


def prepared(repo: Repo, check: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The job, and its variables; runner is installed already, where the script looks for it."""
    repo.script(WORK + says("Done.\n::error::x\n##vso[task.setvariable variable=a]b"))
    repo.config(
        '[tasks.work]\nprompt = "Do it."\nsandbox = "workspace-write"\nrehearse = "play.toml"\n'
        f'verify = [["{check}"]]\n'
    )
    commit(repo)
    place = repo.base / "repo.tmp/delegate-1"
    place.mkdir(parents=True)
    (place / "venv").symlink_to(sys.prefix)
    (repo.base / "empty").mkdir()
    env = {
        **{"HOME": str(repo.base / "empty"), "PATH": "/usr/local/bin:/usr/bin:/bin", "CI": "true"},
        **{"CI_PROJECT_DIR": str(repo.root), "CI_JOB_ID": "1", "DELEGATE_TASK": "work"},
        **{name: value for name, value in trusting(repo.root).items() if value is not None},
    }
    return gitlab_shell.job(ACTION / "gitlab/runner.yml", ".runner"), env


@pytest.mark.parametrize(("check", "status"), [("true", "succeeded"), ("false", "rejected")])
def test_a_job_of_gitlab_runs_its_task_and_leaves_its_reports(repo: Repo, check: str, status: str) -> None:
    about, env = prepared(repo, check)
    ended = gitlab_shell.play(about, repo.root, env, installs=False)
    assert (ended.status == 0) is (status == "succeeded"), ended
    told = dict(line.split("=", 1) for line in (repo.root / "runner.env").read_text().splitlines())
    (run,) = repo.runs()
    assert (told["run_id"], told["status"]) == (run.id, status), ended.after
    assert ElementTree.parse(repo.root / "runner.xml").getroot().tag == "testsuites"
    assert isinstance(json.loads((repo.root / "runner-quality.json").read_bytes()), list)
    assert not re.search(r"^\s*(::|##)", ended.log + ended.after, re.MULTILINE)
    named = [*about["artifacts"]["paths"], *about["artifacts"]["reports"].values()]
    assert all((repo.root / name).exists() for name in named)


def test_a_job_of_gitlab_whose_run_did_not_start_says_why(repo: Repo) -> None:
    about, env = prepared(repo, "true")
    del env["RUNNER_TRUST"]
    ended = gitlab_shell.play(about, repo.root, env, installs=False)
    assert ended.status != 0 and "not_trusted" in ended.log
    assert repo.no_runs()


def test_what_gitlab_does_not_upload_is_what_the_action_leaves_out() -> None:
    about = gitlab_shell.job(ACTION / "gitlab/runner.yml", ".runner")
    base = ".runs/work/cli/20261128T100459871Z-60c3040f"
    inside = ("a.patch", "workspace/src/app.py", "rollback-1.json", "kept/a", "accept/a", "control/wake")
    for name in inside:
        assert any(gitlab_shell.fits(f"{base}/{name}", one) for one in about["artifacts"]["exclude"]), name
    for name in ("manifest.json", "events.jsonl", "workspace.json", "prompt.md"):
        assert not any(gitlab_shell.fits(f"{base}/{name}", one) for one in about["artifacts"]["exclude"]), (
            name
        )


def test_gitlab_installs_what_is_locked_and_from_one_commit() -> None:
    """The lines before the script, with programs that only tell what they were asked."""
    about = gitlab_shell.job(ACTION / "gitlab/runner.yml", ".runner")
    lines = "\n".join(about["before_script"])
    for words in ('"$DELEGATE_SOURCE" "$DELEGATE_COMMIT"', "--require-hashes", "action/requirements.txt"):
        assert words in lines
    assert subprocess.run(["bash", "-n"], input=lines, text=True, check=False).returncode == 0


def test_the_three_lines_for_any_other_ci_are_as_the_page_has_them(repo: Repo) -> None:
    _, env = prepared(repo, "true")
    page = (ACTION / "docs/ci.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"^## Any other CI\n.*?((?:^    [^\n]*\n)+)", page, re.MULTILINE | re.DOTALL)
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    for task, is_good in (("work", True), ("nobody", False)):  # not started: an older run is no success
        script = "set -e\n" + lines.replace("--task review", f"--task {task}")
        done = subprocess.run(
            ["sh", "-c", script], cwd=repo.root, env=env, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == is_good, done.stdout + done.stderr
    assert os.path.getsize(repo.root / "runner.xml")
