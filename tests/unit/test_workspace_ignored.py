"""Ignored files that programs execute or read as settings: a change of one is told, of the others not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.work import Work

from runner.workspace.changes import changed, changed_ignored
from runner.workspace.snapshot import Snapshot

IGNORED = ".venv/\nnode_modules/\nbuild/\n.env*\n*.local.toml\n*.log\n*.sh\n__pycache__/\n.direnv/\nbin/\n"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write(".gitignore", IGNORED)
    made.write("src/a.py")
    made.commit()
    made.write(".env", "TOKEN=1\n")
    made.write("delegate.local.toml", "")
    made.write("app.log", "")
    made.write("tool.sh", "", mode=0o755)
    made.write(".venv/bin/python", "", mode=0o755)
    made.write(".venv/lib/site-packages/pkg/mod.py")
    made.write("node_modules/x/index.js")
    made.write("build/out.bin", "", mode=0o644)
    made.write("build/run", "", mode=0o755)
    return made


def told(taken: Snapshot) -> list[str]:
    return changed_ignored(taken, changed(taken))


def test_of_an_untouched_tree_nothing_is_told(work: Work) -> None:
    taken = work.take()
    work.write("src/a.py", "edited\n")
    assert told(taken) == []


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        "delegate.local.toml",
        "src/other.local.toml",
        ".venv/lib/site-packages/zz.pth",
        ".venv/lib/site-packages/pkg/mod.py",
        ".venv/bin/pytest",
        "node_modules/x/index.js",
        "node_modules/.bin/tsc",
        "build/run",
        "src/.env.test",
    ],
)
def test_what_is_executed_or_read_as_settings_is_told(work: Work, name: str) -> None:
    taken = work.take()
    work.write(name, "the agent's\n")
    assert told(taken) == [name] and changed(taken).names == ()


@pytest.mark.parametrize(
    "name", ["app.log", "build/out.bin", ".venv/lib/__pycache__/a.pyc", "src/__pycache__/a.pyc"]
)
def test_what_is_neither_is_not(work: Work, name: str) -> None:
    taken = work.take()
    work.write(name, "new\n")
    assert told(taken) == []


def test_what_somebody_depends_on_is_told_whatever_its_name_is(work: Work) -> None:
    work.write("build/out.bin", "before\n")
    taken = work.take()
    work.write("build/out.bin", "new\n")
    work.write(".env", "TOKEN=2\n")
    assert changed_ignored(taken, changed(taken), ["build/*"]) == ["build/out.bin", ".env"]


def test_the_times_and_the_size_of_before_hide_nothing(work: Work) -> None:
    path, before = work.path(".env"), os.stat(work.path(".env"))
    taken = work.take()
    work.write(".env", "TOKEN=2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(path).st_size == before.st_size and told(taken) == [".env"]


def test_one_that_is_gone_is_told_and_so_is_a_link_in_its_place(work: Work) -> None:
    taken = work.take()
    work.remove(".env")
    work.remove(".venv/bin/python")
    work.link(".venv/bin/python", "/bin/sh")
    assert told(taken) == [".env", ".venv/bin/python"]


def test_a_new_environment_is_one_name(work: Work) -> None:
    work.remove(".venv")
    taken = work.take()
    for number in range(50):
        work.write(f".venv/lib/{number}.py")
    work.write("sub/node_modules/x.js")
    assert told(taken) == [".venv/", "sub/node_modules/"]


def test_a_rule_that_the_run_adds_ignores_nothing(work: Work) -> None:
    taken = work.take()
    work.write(".gitignore", IGNORED + "hidden.toml\n")
    work.write("hidden.toml")
    assert told(taken) == [] and changed(taken).names == (".gitignore", "hidden.toml")
