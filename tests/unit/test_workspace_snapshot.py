"""Snapshots: what stands in a work tree is recorded, and looking leaves no trace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.work import Work

from runner.errors import Conflict
from runner.workspace import snapshot as snapshots
from runner.workspace.changes import changed
from runner.workspace.git import GitFailed
from runner.workspace.rollback import roll_back
from runner.workspace.snapshot import Snapshot, load


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


def names(work: Work, taken: Snapshot) -> set[str]:
    tree = taken.shadow.git.run("ls-tree", "-r", "-z", "--name-only", taken.tree)
    return {os.fsdecode(name) for name in tree.split(b"\0")[:-1]}


def test_the_tree_has_tracked_and_untracked_files_and_neither_ignored_ones_nor_runs(work: Work) -> None:
    work.write(".gitignore", "*.o\n")
    work.write("a")
    work.commit()
    work.write("new file\nwith two lines")
    work.write("x.o")
    taken = work.take()
    assert names(work, taken) == {".gitignore", "a", "new file\nwith two lines"}
    assert taken.untracked == ("new file\nwith two lines",)


def test_committed_files_of_runs_are_no_part_of_it_either(work: Work) -> None:
    work.git("add", "-f", ".runs/.gitignore")
    work.write("a")
    work.commit()
    assert names(work, work.take()) == {"a"}


def test_looking_leaves_the_repository_as_it_was(work: Work) -> None:
    work.write("a")
    work.commit()
    work.write("a", "changed\n")
    work.write("new")
    before = (
        work.objects(),
        (work.root / ".git" / "index").read_bytes(),
        sorted(os.listdir(work.root / ".git")),
    )
    work.take()
    after = (
        work.objects(),
        (work.root / ".git" / "index").read_bytes(),
        sorted(os.listdir(work.root / ".git")),
    )
    assert after == before


def test_it_comes_back_from_its_file(work: Work) -> None:
    work.write(b"\xff\xfe \n-rf", mode=0o640)
    taken = work.take()
    assert snapshots.load(str(work.folder)) == taken
    assert taken.permissions.bits(os.fsdecode(b"\xff\xfe \n-rf"), False) == 0o640


def test_one_of_a_newer_runner_is_refused(work: Work) -> None:
    taken = work.take()
    with pytest.raises(Conflict, match="newer"):
        Snapshot.from_json({**taken.to_json(), "schema_version": 2})


def test_a_folder_without_git_has_none(tmp_path: Path) -> None:
    assert snapshots.take(str(tmp_path), str(tmp_path)) is None
    assert snapshots.load(str(tmp_path)) is None


def test_a_repository_that_git_refuses_is_an_error(work: Work) -> None:
    (work.root / ".git" / "config").write_text("[core\n")
    with pytest.raises(GitFailed):
        work.take()


def test_a_repository_without_commits_has_no_head(work: Work) -> None:
    work.write("a")
    position = work.take().position
    assert (position.head, position.branch, position.refs) == (None, "refs/heads/main", ())


def test_a_detached_head_has_no_branch(work: Work) -> None:
    work.write("a")
    head = work.commit()
    work.git("checkout", "-q", "--detach")
    position = work.take().position
    assert (position.head, position.branch) == (head, None)
    assert dict(position.refs) == {"refs/heads/main": head}


def conflict(work: Work, how: str) -> None:
    work.write("a", "1\n")
    work.commit()
    work.git("checkout", "-q", "-b", "other")
    work.write("a", "2\n")
    work.commit()
    work.git("checkout", "-q", "main")
    work.write("a", "3\n")
    work.commit()
    work.git(how, "other", ok=False)


@pytest.mark.parametrize("how", ["rebase", "merge", "cherry-pick"])
def test_what_is_under_way_is_named(work: Work, how: str) -> None:
    conflict(work, how)
    taken = work.take()
    assert taken.position.in_progress == how
    assert taken.dirty == ("a",)


def test_contents_are_those_on_disk_whatever_git_converts(work: Work) -> None:
    work.git("config", "filter.up.clean", "tr a-z A-Z")
    work.write(".gitattributes", "* text=auto\n*.up filter=up\n")
    work.write("crlf", b"one\r\ntwo\r\n")
    work.write("x.up", "abc\n")
    work.commit()
    taken = work.take()
    shown = {
        name: taken.shadow.git.run("cat-file", "blob", f"{taken.tree}:{name}") for name in ("crlf", "x.up")
    }
    assert shown == {"crlf": b"one\r\ntwo\r\n", "x.up": b"abc\n"}


def test_no_hook_filter_or_monitor_is_run_by_looking(work: Work, tmp_path: Path) -> None:
    work.write("a")
    work.commit()
    ran = tmp_path / "ran"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    work.git("config", "core.fsmonitor", str(hook))
    work.git("config", "core.hooksPath", str(tmp_path))
    work.take()
    assert not ran.exists()


def test_files_that_git_was_told_to_overlook_are_looked_at(work: Work) -> None:
    work.write("assumed")
    work.write("skipped")
    work.commit()
    work.git("update-index", "--assume-unchanged", "assumed")
    work.git("update-index", "--skip-worktree", "skipped")
    work.write("assumed", "other\n")
    work.write("skipped", "other\n")
    taken = work.take()
    for name in ("assumed", "skipped"):
        assert taken.shadow.git.run("cat-file", "blob", f"{taken.tree}:{name}") == b"other\n"


def test_a_sha256_repository_works_too(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.remove(".git")
    work.git("init", "-q", "--object-format=sha256")
    work.write("a")
    work.commit()
    assert len(work.take().tree) == 64


def test_variables_of_a_hook_do_not_turn_us_to_another_repository(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.write("a")
    other = Work(tmp_path, "other")
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    assert work.take().root == str(work.root)
    assert not (tmp_path / "trace").exists(), "git has none of them"


@pytest.mark.parametrize(
    "name", ["with space", "new\nline", "-rf", os.fsdecode(b"\xff\xfe"), 'quote"\\', "*[a]?"]
)
def test_the_repository_may_have_any_name(tmp_path: Path, name: str) -> None:
    work = Work(tmp_path, name)
    work.write("a")
    work.commit()
    taken = work.take()
    assert taken.root == str(work.root)
    assert names(work, taken) == {"a"}


# -- what git obeys in the private git directory ---------------------------------------------------


def _mark(work: Work) -> tuple[str, Callable[[], bool]]:
    """A command, and whether it was run."""
    path = work.root.parent / "executed"
    return f"touch {path}; cat", path.exists


@pytest.mark.parametrize("name", ["config", "info/attributes", "HEAD", "objects/info/alternates"])
def test_what_git_obeys_is_written_anew_before_it_is_used(work: Work, name: str) -> None:
    snapshot = work.take()
    path = Path(snapshot.folder, "workspace", name)
    good = path.read_bytes()
    for bad in (good + b"\n[alias]\n\tx = !y\n", b""):
        path.write_bytes(bad)
        assert load(snapshot.folder) == snapshot and path.read_bytes() == good
    path.unlink()
    assert load(snapshot.folder) == snapshot and path.read_bytes() == good


def test_a_filter_in_the_private_git_directory_is_never_run(work: Work) -> None:
    snapshot = work.take()
    command, was_run = _mark(work)
    home = Path(snapshot.folder, "workspace")
    with (home / "config").open("a") as file:
        file.write(f'[filter "e"]\n\tclean = "{command}"\n[core]\n\tfsmonitor = "{command}"\n')
    (home / "info/attributes").write_text("* filter=e\n")
    work.write("a", "changed\n")
    taken = load(snapshot.folder)
    assert taken is not None and changed(taken).names == ("a",)
    assert not was_run()


@pytest.mark.parametrize(
    "name",
    [
        "hooks/post-index-change",
        "commondir",
        "config.worktree",
        "gitdir",
        "packed-refs",
        "shallow",
        "refs/heads/main",
        "refs/replace/x",
        "info/grafts",
        "info/exclude",
        "info/sparse-checkout",
        "objects/info/http-alternates",
        "objects/info/commit-graph",
        "modules/x/config",
        "logs/HEAD",
    ],
)
def test_what_else_git_could_obey_there_is_a_conflict_that_names_it(work: Work, name: str) -> None:
    snapshot = work.take()
    path = Path(snapshot.folder, "workspace", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    with pytest.raises(Conflict, match="could obey it"):
        load(snapshot.folder)


@pytest.mark.parametrize("name", ["", "info", "refs", "objects/info"])
def test_a_link_in_the_place_of_a_folder_of_it_is_a_conflict(work: Work, name: str, tmp_path: Path) -> None:
    snapshot = work.take()
    path = Path(f"{snapshot.folder}/workspace/{name}".rstrip("/"))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict, match="could obey it"):
        load(snapshot.folder)
    assert not (tmp_path / "elsewhere/new").exists()


def in_the_c_locale(work: Work, what: str) -> str:
    """What a Python says that takes names for ASCII."""
    program = (
        "import os, sys; from runner.workspace import snapshot; from runner.workspace.changes import changed;"
        "from runner.workspace.rollback import roll_back;"
        f"assert sys.getfilesystemencoding() == 'ascii'; root, folder = sys.argv[1:]; print(ascii({what}))"
    )
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = [sys.executable, "-c", program, str(work.root), str(work.folder)]
    return subprocess.check_output(words, env=env, text=True, timeout=60)


ODD_NAMES = ("\u00e9/\u00fc", "\u00e9/tracked", os.fsdecode(b"\xff\xc3"), "\u65e5/\U0001f600")


def test_a_record_of_one_locale_is_read_in_any_other(work: Work) -> None:
    work.write(ODD_NAMES[1])
    work.write(".gitignore", "\u00e4\n")
    work.commit()
    for name in ODD_NAMES:
        work.write(name, "mine\n", mode=0o600)
    work.write("\u00e4", "ignored\n")
    os.mkdir(work.path("\u00f6"), 0o750)
    before = work.state()
    in_the_c_locale(work, "snapshot.take(root, folder).tree")
    taken = snapshots.load(str(work.folder))
    assert taken is not None and {*taken.untracked} == {*ODD_NAMES} - {ODD_NAMES[1]}
    assert not changed(taken).names and not changed(taken).folder_modes
    for name in ODD_NAMES:
        work.write(name, "run\n", mode=0o644)
    work.remove("\u00f6")
    assert {*changed(taken).names} == {*ODD_NAMES}
    assert roll_back(taken).is_complete
    assert work.state() == before


def test_a_record_is_read_and_rolled_back_in_the_c_locale_too(work: Work) -> None:
    for name in ODD_NAMES:
        work.write(name, "mine\n", mode=0o600)
    work.commit()
    before = work.state()
    work.take()
    assert in_the_c_locale(work, "changed(snapshot.load(folder)).names") == "()\n"
    for name in ODD_NAMES:
        work.write(name, "run\n", mode=0o644)
    assert in_the_c_locale(work, "roll_back(snapshot.load(folder)).is_complete") == "True\n"
    assert work.state() == before
