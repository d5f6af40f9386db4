"""Changes: what a run did is found by looking, whatever it is called and however it was hidden."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.work import Work

from runner.workspace.changes import changed, diff, lines_of
from runner.workspace.git import GitFailed
from runner.workspace.repository import find
from runner.workspace.snapshot import Snapshot

WEIRD = ("-rf", "with space", "two\nlines", b"\xff\xfe", 'quote"', "tab\t", "*?[a]", "--cached")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write(".gitignore", "*.o\nbuild/\n")
    made.write("a", "1\n")
    made.write("d/b", "2\n")
    made.commit()
    return made


def seen(taken: Snapshot) -> dict[str, str]:
    return {change.path: str(change.kind) for change in changed(taken).paths}


def test_nothing_changed_is_no_change(work: Work) -> None:
    work.write("dirty")
    taken = work.take()
    work.git("status")
    now = changed(taken)
    assert not now.paths
    assert (now.refs, now.staged, now.head_moved, now.branch_moved, now.folders_added) == (
        (),
        False,
        False,
        False,
        (),
    )
    assert diff(taken) == b""


def test_added_modified_and_deleted_files_are_told_apart(work: Work) -> None:
    taken = work.take()
    work.write("new")
    work.write("a", "changed\n")
    work.remove("d/b")
    assert seen(taken) == {"new": "added", "a": "modified", "d/b": "deleted"}


def test_a_renamed_file_is_one_deleted_and_one_added(work: Work) -> None:
    taken = work.take()
    os.rename(work.path("a"), work.path("z"))
    assert seen(taken) == {"a": "deleted", "z": "added"}


def test_what_was_dirty_before_is_no_change_until_it_changes_again(work: Work) -> None:
    work.write("a", "mine\n")
    work.write("untracked")
    taken = work.take()
    assert seen(taken) == {}
    work.write("untracked", "more\n")
    assert seen(taken) == {"untracked": "modified"}


def test_permissions_alone_are_a_change_also_where_git_does_not_hold_them(work: Work) -> None:
    taken = work.take()
    os.chmod(work.path("a"), 0o755)
    os.chmod(work.path("d/b"), 0o600)
    assert seen(taken) == {"a": "mode", "d/b": "mode"}


def test_links_are_never_followed(work: Work) -> None:
    work.link("l", "a")
    taken = work.take()
    work.remove("l")
    work.link("l", "d/b")
    work.remove("d")
    work.link("d", "/tmp")
    assert seen(taken) == {"l": "modified", "d/b": "deleted", "d": "added"}


@pytest.mark.parametrize("name", WEIRD)
def test_names_of_any_bytes_are_told_as_they_are(work: Work, name: str | bytes) -> None:
    taken = work.take()
    work.write(name, b"\0binary\xff")
    assert seen(taken) == {os.fsdecode(name): "added"}
    assert b"GIT binary patch" in diff(taken)


def test_a_file_in_the_place_of_a_folder_and_the_reverse_are_seen(work: Work) -> None:
    taken = work.take()
    work.remove("d")
    work.write("d", "file\n")
    work.remove("a")
    work.write("a/inside", "x\n")
    assert seen(taken) == {"d": "added", "d/b": "deleted", "a": "deleted", "a/inside": "added"}


def test_a_run_hides_nothing_by_ignoring_it(work: Work) -> None:
    taken = work.take()
    work.write(".gitignore", "*\n")
    work.write("sub/.gitignore", "hidden\n*ignore\n")
    work.write("sub/hidden")
    (work.root / ".git" / "info" / "exclude").write_text("*\n")
    assert seen(taken) == {".gitignore": "modified", "sub/.gitignore": "added", "sub/hidden": "added"}


def test_what_was_ignored_stays_out_of_it_when_a_run_changes_the_rules(work: Work) -> None:
    work.write("x.o")
    work.write(".venv/.gitignore", "*\n")
    work.write(".venv/bin/python")
    taken = work.take()
    work.write(".gitignore", "")
    work.remove(".venv/.gitignore")
    assert seen(taken) == {".gitignore": "modified"}


def test_commits_branches_and_tags_of_a_run_are_told(work: Work) -> None:
    before = work.head()
    taken = work.take()
    work.write("a", "committed\n")
    after = work.commit()
    work.git("tag", "t")
    now = changed(taken)
    assert (now.head_moved, now.branch_moved, now.position.head) == (True, False, after)
    assert [(ref.name, ref.before, ref.after) for ref in now.refs] == [
        ("refs/heads/main", before, after),
        ("refs/tags/t", None, after),
    ]
    assert now.names == ("a",), "a committed change is a change of the tree"


def test_staging_is_told_and_a_refreshed_index_is_not_staging(work: Work) -> None:
    work.write("new")
    taken = work.take()
    os.utime(work.path("a"))
    work.git("status")
    assert not changed(taken).staged
    work.git("add", "-N", "new")
    assert changed(taken).staged


def test_empty_folders_are_told(work: Work) -> None:
    os.mkdir(work.path("was"))
    taken = work.take()
    os.rmdir(work.path("was"))
    os.makedirs(work.path("is/deep"))
    now = changed(taken)
    assert (now.folders_added, now.folders_deleted) == (("is", "is/deep"), ("was",))


def submodule(work: Work, tmp_path: Path) -> None:
    inner = Work(tmp_path, "inner")
    inner.write("f", "1\n")
    inner.commit()
    work.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.root), "sub")
    work.commit()


def test_the_commit_of_a_submodule_is_a_change_and_its_files_are_not(work: Work, tmp_path: Path) -> None:
    submodule(work, tmp_path)
    taken = work.take()
    work.write("sub/f", "edited\n")
    work.write("sub/new")
    assert seen(taken) == {}
    work.git("add", "-A", cwd=work.root / "sub")
    work.git("commit", "-qm", "x", cwd=work.root / "sub")
    assert seen(taken) == {"sub": "modified"}


def test_a_repository_that_a_run_made_hides_nothing(work: Work) -> None:
    taken = work.take()
    work.git("init", "-q", "bare-of-commits")
    work.write("bare-of-commits/file")
    work.git("init", "-q", "with")
    work.git("commit", "-q", "--allow-empty", "-m", "x", cwd=work.root / "with")
    assert seen(taken) == {"bare-of-commits": "added", "with": "added"}


def test_a_git_folder_that_is_no_repository_is_told_as_a_place_that_nobody_looks_into(work: Work) -> None:
    taken = work.take()
    work.write("x/.git/hidden")
    assert any("x" in problem and ".git" in problem for problem in changed(taken).problems)


def test_the_diff_makes_the_tree_of_now_out_of_that_of_before(work: Work, tmp_path: Path) -> None:
    work.write("dirty", "1\n")
    taken = work.take()
    copy = tmp_path / "copy"
    work.git("checkout-index", "-a", f"--prefix={copy}/")
    (copy / "dirty").write_text("1\n")
    work.write("dirty", "2\n")
    work.write("bin", bytes(range(256)))
    work.write("script", "#!/bin/sh\n", mode=0o755)
    work.link("l", "a")
    work.remove("a")
    patch = diff(taken)
    work.git("apply", "-", cwd=copy, stdin=patch)
    assert (copy / "bin").read_bytes() == bytes(range(256))
    assert os.access(copy / "script", os.X_OK) and os.readlink(copy / "l") == "a"
    assert (copy / "dirty").read_text() == "2\n" and not (copy / "a").exists()


@pytest.mark.parametrize("how", ["error-all", "error", "fix"])
def test_a_patch_is_read_whatever_git_is_set_to_make_of_blanks(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (tmp_path / ".gitconfig").write_text(f"[apply]\nwhitespace = {how}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    taken = work.take()
    work.write("a", "1  \n \t2 \n\n")
    assert [(one.path, one.added, one.removed) for one in lines_of(diff(taken))] == [("a", 3, 1)]


def test_a_pipe_that_a_run_left_does_not_hold_us_up(work: Work) -> None:
    taken = work.take()
    work.remove("a")
    os.mkfifo(work.path("a"))
    now = changed(taken)
    assert now.names == ("a",)
    assert any("a" in problem for problem in now.problems)


@pytest.mark.parametrize("how", ["bare", "no HEAD to read", "a file that leads nowhere"])
def test_a_repository_that_git_does_not_take_for_one_is_refused_and_not_passed_over(
    work: Work, tmp_path: Path, how: str
) -> None:
    (work.root / "sub").mkdir()
    if how == "bare":
        work.git("config", "core.bare", "true")
    elif how == "no HEAD to read":
        (work.root / ".git/HEAD").write_text("nothing")
    else:  # a linked work tree whose repository was moved
        (work.root / ".git").rename(tmp_path / "moved")
        (work.root / ".git").write_text(f"gitdir: {tmp_path}/before\n")
    for folder in (work.root, work.root / "sub"):
        with pytest.raises(GitFailed, match="git refuses the repository"):
            find(str(folder))
    (tmp_path / "none/.git").mkdir(parents=True)  # as sandboxes leave them behind
    assert find(str(tmp_path / "none")) is None
