"""The settings that a run was started with, for the runs below it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.family import a_run, relative
from support.values import a_config, a_task
from support.work import Work

from runner.disk.files import LARGEST
from runner.errors import Conflict, ForeignRun, ProgramChanged
from runner.model import Delegation, Level, Policy
from runner.state.authentic import write_record
from runner.state.store import RunDir
from runner.usecases.frozen import freeze, of_parent, refuse_rewritten, thawed

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


STARTED = {
    "mcp_servers": {"a": {"command": "./server", "args": ["late.py"]}},
    "notify": ["python3", "long.py"],
}


@pytest.mark.parametrize("where", ["repo", "tree"])
@pytest.mark.parametrize("rewrites", ["server", "late.py", "long.py", "tools/kay"])
def test_what_an_agent_rewrote_is_not_started_below_its_run(
    tmp_path: Path, rewrites: str, where: str
) -> None:
    """A program of another runtime, a server, a file that was missing, the end of a long one. A tree of its
    own has another copy of what its program starts, and none of that program.
    """
    repo, tree = tmp_path / "repo", tmp_path / "tree"
    (repo / "tools").mkdir(parents=True)
    for name in ("server", "tools/kay"):
        (repo / name).write_text("#!/bin/sh\n")
    (repo / "long.py").write_bytes(b"#" * (LARGEST + 1))
    shutil.copytree(repo, tree)
    config = a_config(KID, root=str(repo))
    codex = config.runtimes["codex"].replace(config=STARTED)
    kay = codex.replace(name="kay", command="tools/kay", config={})
    config = config.replace(runtimes={"codex": codex, "kay": kay})
    run = a_parent(repo)
    freeze(run, config)
    folder = repo if where == "repo" else tree
    settings = kay if rewrites == "tools/kay" else codex
    refuse_rewritten(run, settings, str(repo), str(folder))
    with (folder / rewrites).open("ab") as file:
        file.write(b"evil")
    if (rewrites, where) == ("tools/kay", "tree"):
        refuse_rewritten(run, settings, str(repo), str(folder))
        return
    with pytest.raises(ProgramChanged, match=rewrites):
        refuse_rewritten(run, settings, str(repo), str(folder))
    refuse_rewritten(run, kay if settings is codex else codex, str(repo), str(folder))
    (folder / rewrites).unlink()  # then it cannot be started
    refuse_rewritten(run, settings, str(repo), str(folder))


def test_a_tree_of_its_own_has_what_was_committed_of_a_server_that_had_edits(tmp_path: Path) -> None:
    """What the user had edited is not in the tree; what a batch has committed since is refused, also by way
    of a link.
    """
    work = Work(tmp_path)
    for name in ("server", "real", "long.py"):
        work.write(name, "committed\n")
    work.link("late.py", "real")
    work.commit()
    work.write("server", "the user's edit\n")
    work.write("real", "the user's edit\n")
    config = a_config(KID, root=str(work.root))
    codex = config.runtimes["codex"].replace(config={"mcp_servers": {"a": {"command": "./server"}}})
    linked = codex.replace(config={"notify": ["python3", "late.py"]})
    run = a_parent(work.root)
    freeze(run, config.replace(runtimes={"codex": codex, "linked": linked}))

    def tree(name: str) -> str:
        work.git("worktree", "add", "-q", "--detach", str(tmp_path / name))
        return str(tmp_path / name)

    first = tree("first")
    refuse_rewritten(run, codex, str(work.root), first)
    with pytest.raises(ProgramChanged, match=r"late\.py"):
        refuse_rewritten(run, linked, str(work.root), first)
    Path(first, "server").write_text("evil\n")
    work.git("commit", "-q", "-a", "-m", "of a batch", cwd=Path(first))
    work.git("stash", "-q")
    work.git("merge", "-q", work.git("rev-parse", "HEAD", cwd=Path(first)).decode().strip())
    with pytest.raises(ProgramChanged, match="server"):
        refuse_rewritten(run, codex, str(work.root), tree("second"))
