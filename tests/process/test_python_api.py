"""`import runner`: the commands for programs in Python, with the same answers and the same errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support.repo import Repo

import runner


@pytest.fixture
def there(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repository with a task whose agent is done at once, for calls from this very process."""
    repo.task()
    repo.quick_codex()
    for name in set(os.environ) - set(repo.env):
        monkeypatch.delenv(name)
    for name, value in repo.env.items():
        monkeypatch.setenv(name, value)
    return repo


def test_a_run_is_started_looked_at_waited_for_and_reported(there: Repo) -> None:
    run = runner.start("work", repo=there.root, prompt="Say - it.\n")
    ended = run.wait(timeout=60)
    assert (ended["run_id"], ended["outcome"]) == (run.run_id, "succeeded")
    assert ended["manifest_path"] == run.manifest_path and ended["repo"] == run.repo
    as_told = json.loads(there.cli("status", run.run_id, "--format", "json").stdout)
    assert run.look() == as_told == runner.find(repo=there.root).look()
    assert run.report()["run_id"] == run.run_id and run.logs()
    assert [row["run_id"] for row in runner.runs(repo=there.root)] == [run.run_id]
    assert [one["run_id"] for one in runner.events(repo=there.root)][-1:] == [run.run_id]
    following = runner.events(repo=there.root, since=0, follow=True)
    assert next(following)["run_id"] == run.run_id
    following.close()  # type: ignore[attr-defined] # it is a generator


def test_what_a_command_refuses_is_an_error_with_its_code(there: Repo) -> None:
    with pytest.raises(runner.RunnerError, match="no run") as refused:
        runner.find("--help", repo=there.root)
    assert (refused.value.code, refused.value.retryable) == ("run_not_found", False)
    with pytest.raises(runner.RunnerError, match="is for people"):
        runner.start("work", repo=there.root, options=["--follow"])
    with pytest.raises(runner.RunnerError) as unknown:
        runner.start("no-such-task", repo=there.root)
    assert unknown.value.code == "task_not_found" and "work" in str(unknown.value.hint)


@pytest.mark.parametrize(
    "name", ["\0", "a\0b", "\ud800", "x" * (1 << 18)], ids=["NUL", "NUL inside", "half", "long"]
)
def test_what_no_program_can_be_told_is_a_wrong_use(name: str, there: Repo) -> None:
    with pytest.raises(runner.RunnerError) as refused:
        runner.find(name, repo=there.root)
    with pytest.raises(runner.RunnerError) as start_refused:
        runner.start(name, repo=there.root)
    assert refused.value.code == start_refused.value.code == "usage"
    with pytest.raises(runner.RunnerError, match="No such file"):
        runner.runs(repo=there.root / "none")


def test_a_wait_that_takes_too_long_is_given_up_and_the_run_cancelled_by_hand(there: Repo) -> None:
    there.codex("exec sleep 1000")
    run = runner.start("work", repo=there.root)
    with pytest.raises(runner.RunnerError) as late:
        run.wait(timeout=0.1)
    assert (late.value.code, late.value.retryable) == ("gave_up_waiting", True)
    with pytest.raises(runner.RunnerError) as at_once:
        run.wait(timeout=0)
    assert at_once.value.code == "gave_up_waiting"
    assert run.pause()["status"] == "paused" and run.resume()["status"] == "running"
    assert run.cancel(grace=0.1, reason="enough")["reason"]["message"].endswith("enough")


def test_the_import_costs_what_an_empty_package_costs() -> None:
    told = (
        "import sys; before = {*sys.modules}; import runner; assert {*runner.__all__} <= {*dir(runner)}; "
        "print(sorted({*sys.modules} - before))"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "['runner']\n"
