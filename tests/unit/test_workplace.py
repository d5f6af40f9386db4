"""The place of a run that is about to start: which commit a work tree of its own is made of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from support.doubles import install_codex
from support.values import a_config, a_task
from support.work import Work

from runner.errors import Conflict, WorkspaceBusy
from runner.invocation import Request
from runner.model import Config, RuntimeSettings
from runner.processes.proc import RUN_MARKER
from runner.resolve.choose import choose
from runner.state.store import RunDir, new_run_id
from runner.usecases import start
from runner.usecases.accept import undisturbed
from runner.usecases.workplace import Workplace, reserve
from runner.workspace import lease
from runner.workspace import worktree as worktrees
from runner.workspace.commit import make

AT = "2026-01-02T03:04:05Z"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write("a", "a\n")
    made.write("sub/b", "b\n")
    made.commit()
    return made


def config(work: Work, workspace: str = "worktree", folder: str = "") -> Config:
    task = a_task(sandbox="workspace-write", workspace=workspace)
    return a_config(task, root=str(work.root / folder).rstrip("/"))


def reserved(of: Config, run: RunDir, base: str | None) -> Workplace:
    return reserve(of.root, choose(of, Request("hello")), run.run_id, os.environ, base=base)


def a_run(of: Config) -> RunDir:
    run = RunDir(of.root, "hello", new_run_id())
    os.close(run.create())
    return run


def test_who_has_the_tree_and_no_folder_any_more_is_ended_by_its_processes(work: Work) -> None:
    of = config(work, "in-place")
    run = a_run(of)
    path = os.path.relpath(run.manifest, of.root)
    held = lease.acquire(of.root, lease.Holder(run.run_id, path))
    with subprocess.Popen(["sleep", "60"], env={**os.environ, RUN_MARKER: run.run_id}) as process:
        try:
            for hint in (f"`runner end {run.run_id}`", f"gone, .*`kill -9 {process.pid}` ends it"):
                with pytest.raises(WorkspaceBusy, match=run.run_id) as refused:
                    reserved(of, RunDir(of.root, "hello", new_run_id()), None)
                assert re.search(hint, refused.value.hint or "")
                shutil.rmtree(run.path, ignore_errors=True)
        finally:
            process.kill()
    with pytest.raises(WorkspaceBusy) as refused:
        reserved(of, RunDir(of.root, "hello", new_run_id()), None)
    assert "kill" not in (refused.value.hint or ""), "none of its own is seen"
    held.release()


def test_a_work_tree_of_its_own_is_made_of_the_base_that_was_asked_for(work: Work) -> None:
    head = work.head()
    work.write("a", "of an earlier batch\n")
    base = make(str(work.root), head, ["a"], "no ref names it", AT)
    for folder in ("", "sub"):
        of = config(work, folder=folder)
        run = a_run(of)
        place = reserved(of, run, base)
        described = place.describe()
        assert described is not None and (described.kind, described.base) == ("worktree", base)
        place.prepare(run)
        made = worktrees.load(run.path)
        assert (
            made is not None and made.base == base and place.cwd == os.path.normpath(f"{made.path}/{folder}")
        )
        assert Path(made.path, "a").read_text() == "of an earlier batch\n"
        place.undo(run)
        assert not os.path.exists(made.path)
    assert work.head() == head


def test_without_a_base_it_is_the_commit_of_head_and_a_short_name_is_written_in_full(work: Work) -> None:
    run = a_run(config(work))
    for base in (None, work.head()[:10], "main"):
        described = reserved(config(work), run, base).describe()
        assert described is not None and described.base == work.head()


def test_a_run_in_place_is_made_of_no_base(work: Work) -> None:
    of = config(work, "in-place")
    run = a_run(of)
    place = reserved(of, run, "f" * 40)
    described = place.describe()
    place.leave()
    assert described is not None and (described.kind, described.base) == ("in-place", work.head())


@pytest.mark.parametrize("base", ["f" * 40, "nothing", "HEAD:a", "--help"])
def test_an_unknown_base_is_refused_before_anything_is_made(work: Work, base: str, own_home: Path) -> None:
    codex = install_codex(work.root.parent / "bin", '[ "$*" = "login status" ]')
    runtimes = {"codex": RuntimeSettings("codex", str(codex), None, (), {}, None)}
    of = config(work).replace(runtimes=runtimes)
    before = work.state()
    with pytest.raises(Conflict, match=f"{base} is no commit"):
        start.start(of, Request("hello", base=base), dict(os.environ))
    assert work.state() == before and not (work.root / ".runs" / "hello").exists()
    assert not (own_home / ".local" / "state" / "runner" / "worktrees").exists()
    assert len(work.git("worktree", "list").splitlines()) == 1


def test_what_was_made_for_a_run_is_undone_once_its_owner_has_let_go_of_it(work: Work) -> None:
    run = a_run(config(work))
    owner = run.try_lock()
    assert owner is not None
    seen: list[bool] = []

    def undo() -> None:
        with undisturbed(run):
            seen.append(run.try_lock() is None)

    undoing = threading.Thread(target=undo)
    undoing.start()
    undoing.join(0.2)
    assert seen == [], "it may be sealing"
    os.close(owner)
    undoing.join(10)
    assert seen == [True]
    again = run.try_lock()
    assert again is not None
    os.close(again)
