"""Ignored files that programs execute or read as settings: a change of one is told, of the others not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.work import Work

from runner.workspace import snapshot as snapshots
from runner.workspace.changes import changed, changed_ignored, diff
from runner.workspace.rollback import roll_back
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


RULE = "# Created by a tool.\n*\n"


@pytest.mark.parametrize(
    ("folder", "rule", "is_told"),
    [
        (".pytest_cache", "# Created by pytest automatically.\n*\n", False),
        ("src/.ruff_cache", RULE, False),
        ("new/deeper/.mypy_cache", "# Automatically created by mypy\r\n*\r\n", False),
        (".virtual", "*", True),
        (".venv-3.13", RULE, True),
        (".tox", RULE, True),
    ],
)
def test_a_new_folder_that_ignores_itself_is_no_change(
    work: Work, folder: str, rule: str, is_told: bool
) -> None:
    taken = work.take()
    work.write(f"{folder}/.gitignore", rule)
    work.write(f"{folder}/CACHEDIR.TAG")
    work.write(f"{folder}/v/deep/nodeids")
    work.write("new/mine.py")
    seen = changed(taken)
    assert seen.names == ("new/mine.py",) and diff(taken).count(b"diff --git") == 1
    assert seen.folders_added == (("new", "new/deeper") if folder.startswith("new/") else ("new",))
    assert changed_ignored(taken, seen) == ([f"{folder}/"] if is_told else [])
    guarded = [f"{folder}/v/**"]
    assert f"{folder}/v/deep/nodeids" in changed_ignored(taken, seen, guarded)
    assert roll_back(taken).is_complete and (work.root / folder / "CACHEDIR.TAG").exists()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("notes/.gitignore", "*\n"),  # the folder was there before
        (".gitignore", "*\n"),
        ("src/.gitignore", "*\n"),
        ("new/.gitignore", "*\n!x.py\n"),
        ("new/.gitignore", "*.py\n"),
        ("new/deeper/../.gitignore", "/*\n"),
        ("package/.gitignore", "*\n"),  # it would be imported in the place of `package.py`
        ("module/.gitignore", "*\n"),
        ("new/__pycache__/.gitignore", "*\n"),  # Python executes what is in it
        ("new/.vscode/.gitignore", "*\n"),
        (".github/.gitignore", "*\n"),
    ],
)
def test_no_other_rule_of_a_run_hides_anything(work: Work, name: str, rule: str) -> None:
    work.write("notes/mine.txt")
    work.write(".gitignore", IGNORED.replace("__pycache__/\n", ""))
    work.commit()
    work.remove("notes/mine.txt")
    work.write("notes/untracked.txt")
    taken = work.take()
    folder = os.path.normpath(os.path.dirname(name))
    work.write(f"{folder}/hidden.py")
    for first in {"package": ("__init__.py",), "module": ("package.json",)}.get(folder, ()):
        work.write(f"{folder}/{first}")
    work.write(name, rule)
    assert {f"{folder}/hidden.py".removeprefix("./")} <= {*changed(taken).names}


COLLECTED = (
    *("conftest.py", "deep/er/conftest.py", "test_0.py", "deep/x_test.py", "a.spec.mts", "x_spec.rb"),
    *("__mocks__/axios.js", "__tests__/a.js"),
)
"""One conftest.py can skip the tests of all."""
NOT_COLLECTED = ("test_a_py.html", "__pycache__/conftest.py", "latest.py")


def test_what_testers_collect_is_a_change_or_told(work: Work) -> None:
    work.write(".gitignore", "out*/\n")
    work.write("out-before/deep/test_0.py")
    taken = work.take()
    for n, name in enumerate((*COLLECTED, *NOT_COLLECTED)):
        for folder in (f"report{n}", f".hidden{n}", f"env{n}", f"out{n}"):
            work.write(f"{folder}/{name}")
            if not folder.startswith("out"):
                work.write(f"{folder}/.gitignore", RULE)
        work.write(f"env{n}/pyvenv.cfg")
        work.write(f"env{n}/bin/activate")
    work.write("linked/.gitignore", RULE)
    work.link("linked/tests", "../.hidden0")
    work.write("out-before/deep/test_0.py", "edited\n")
    seen = changed(taken)
    shown = {"linked/tests", *(f"report{n}/{name}" for n, name in enumerate(COLLECTED))}
    assert {name for name in seen.names if not name.endswith("/.gitignore")} == shown
    told = {f"{folder}{n}/" for n in range(len(COLLECTED + NOT_COLLECTED)) for folder in (".hidden", "env")}
    told |= {"out-before/deep/test_0.py", *(f"out{n}/" for n in range(len(COLLECTED)))}
    told |= {f"report{n + len(COLLECTED)}/" for n in range(len(NOT_COLLECTED))}
    assert {*changed_ignored(taken, seen)} == told


def test_a_link_or_a_repository_ignores_nothing_by_itself(work: Work) -> None:
    taken = work.take()
    work.write("one/x")
    work.write("rule", "*\n")
    work.link("one/.gitignore", "../rule")
    work.write("two/.gitignore", "*\n")
    work.git("init", "-q", str(work.root / "two"))
    assert {"one/x", "two"} <= {*changed(taken).names}


def inside(work: Work, name: str) -> None:
    """A repository of its own."""
    work.git("init", "-q", name)
    work.write(f"{name}/ci/test.sh", "before")
    work.git("add", "-A", cwd=work.root / name)
    work.git("commit", "-q", "-m", "x", cwd=work.root / name)


@pytest.mark.parametrize("is_tracked", [True, False])
@pytest.mark.parametrize("how", ["edited", "deleted", "new", "committed"])
def test_what_is_to_stay_is_looked_for_in_a_repository_inside(work: Work, how: str, is_tracked: bool) -> None:
    inside(work, "sub")
    if is_tracked:
        work.git("add", "sub")
    protect = ["sub/ci/*.sh", "other/**"]
    taken = snapshots.take(str(work.root), str(work.folder), protect=protect)
    assert taken is not None
    assert changed_ignored(taken, changed(taken), protect) == []
    work.write("sub/src/a.py", "may change")
    name = "sub/ci/more.sh" if how == "new" else "sub/ci/test.sh"
    work.remove(name) if how == "deleted" else work.write(name, "after")
    if how == "committed":
        work.git("commit", "-q", "-a", "-m", "y", cwd=work.root / "sub")
    assert changed_ignored(taken, changed(taken), protect) == [name]


@pytest.mark.parametrize(
    ("name", "glob"),
    [
        ("build/deep/golden.bin", "build/**"),
        ("build/deep/golden.bin", "build"),
        ("build/deep/golden.bin", "**/golden.*"),
        ("src/__pycache__/golden.bin", "src/__pycache__"),
        ("node_modules/.cache/x/golden.bin", "node_modules/.cache"),
        ("bin/golden.bin", "bin/golden.bin"),
    ],
)
@pytest.mark.parametrize("how", ["deleted", "with its folder", "new", "new folder"])
def test_what_is_to_stay_is_looked_for_wherever_git_ignores_it(
    work: Work, how: str, name: str, glob: str
) -> None:
    top = name.split("/")[0] if not name.startswith("src") else os.path.dirname(name)
    if how != "new folder":
        work.write(f"{top}/other.bin", "other")
    if how in ("deleted", "with its folder"):
        work.write(name, "before")
    taken = snapshots.take(str(work.root), str(work.folder), protect=[glob])
    assert taken is not None
    if how == "with its folder":
        work.remove(top)
    elif how == "deleted":
        work.remove(name)
    else:
        work.write(name, "after")
    assert name in changed_ignored(taken, changed(taken), [glob])


def test_what_tools_leave_in_their_caches_is_no_change_of_what_is_to_stay(work: Work) -> None:
    inside(work, "sub")
    taken = work.take()
    for name in ("src/__pycache__/a.pyc", ".pytest_cache/x", "sub/ci/__pycache__/a.pyc", "sub/.git/y"):
        work.write(name)
    assert changed_ignored(taken, changed(taken), ["src", "sub/**", "**/x"]) == []


def test_a_run_without_anything_to_guard_records_nothing_of_what_is_ignored(work: Work) -> None:
    assert work.take().guarded == ()
    taken = snapshots.take(str(work.root), str(work.folder), protect=["src/**", "other/*/x"])
    assert taken is not None and taken.guarded == ()
