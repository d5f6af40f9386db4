"""The settings that a run was started with, for the runs below it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.family import a_run, relative
from support.values import a_config, a_task

from runner.errors import Conflict, ForeignRun
from runner.model import Delegation, Level, Policy
from runner.state.authentic import write_record
from runner.state.store import RunDir
from runner.usecases.frozen import freeze, of_parent, thawed

KID = a_task(id="kid", verify=(("make", "test"),))


def a_parent(repo: Path, *, delegation: bool = True) -> RunDir:
    run = a_run(repo, "boss", None)
    invocation = run.read_invocation().replace(delegation=Delegation(enabled=delegation))
    write_record(run.invocation, invocation.to_json())
    return run


def test_what_the_repository_says_by_now_does_not_matter(tmp_path: Path) -> None:
    run = a_parent(tmp_path)
    freeze(run, a_config(KID, root=str(tmp_path)))
    (tmp_path / "delegate.toml").write_text("this is no TOML")
    config = of_parent(str(tmp_path), relative(run), os.environ)
    assert config is not None and config.tasks["kid"] == KID


def test_a_policy_of_today_narrows_them(tmp_path: Path, own_home: Path) -> None:
    run = a_parent(tmp_path)
    freeze(run, a_config(KID, root=str(tmp_path), policy=Policy(max_children=2)))
    folder = own_home / ".config" / "runner"
    folder.mkdir(parents=True)
    (folder / "policy.toml").write_text('schema_version = 1\nmax_level = "read-only"\nmax_children = 9\n')
    policy = thawed(run, os.environ).policy
    assert (policy.max_level, policy.max_children) == (Level.READ_ONLY, 2)


@pytest.mark.parametrize("how", ["gone", "no JSON", "written by the agent", "of another run"])
def test_without_settings_that_can_be_believed_nothing_starts(tmp_path: Path, how: str) -> None:
    run, other = a_parent(tmp_path), a_parent(tmp_path)
    freeze(run, a_config(KID, root=str(tmp_path)))
    path = Path(run.settings)
    if how == "gone":
        path.unlink()
    elif how == "no JSON":
        path.write_text("{")
    elif how == "written by the agent":
        path.write_text(path.read_text().replace("make", "evil"))
    else:
        freeze(other, a_config(a_task(id="kid"), root=str(tmp_path)))
        path.write_bytes(Path(other.settings).read_bytes())
    with pytest.raises((Conflict, ForeignRun)):
        of_parent(str(tmp_path), relative(run), os.environ)


def test_a_run_that_starts_none_by_itself_keeps_none(tmp_path: Path) -> None:
    run = a_parent(tmp_path, delegation=False)
    assert of_parent(str(tmp_path), relative(run), os.environ) is None


def test_the_prompt_of_a_plans_task_is_kept_with_them(tmp_path: Path) -> None:
    run = a_parent(tmp_path)
    task = a_task(id="kid", prompt=None, prompt_file="task.md")
    freeze(run, a_config(task, root=str(tmp_path)), {"kid": "Do it."})
    again = thawed(run, os.environ).tasks["kid"]
    assert (again.prompt, again.prompt_file) == ("Do it.", None)
