"""Roll-back: exactly the state before, and nothing of the user's lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.work import Work

from runner.errors import Conflict, RollbackRefused
from runner.workspace.changes import changed
from runner.workspace.rollback import roll_back
from runner.workspace.snapshot import load

WEIRD = ("-rf", "with space", "two\nlines", b"\xff\xfe", "--cached", "*?[a]")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write(".gitignore", "*.o\nbuild/\n")
    made.write("a", "1\n")
    made.write("d/b", "2\n")
    made.write("run.sh", "#!/bin/sh\n", mode=0o755)
    for name in WEIRD:
        made.write(name, "weird\n")
    made.commit()
    return made


def test_staged_dirty_untracked_and_ignored_files_of_the_user_come_back_as_they_were(work: Work) -> None:
    work.write("a", "staged\n")
    work.git("add", "a")
    work.write("a", "and edited\n")
    work.git("rm", "-q", "--cached", "d/b")
    work.write("new", "mine\n", mode=0o640)
    work.write("x.o", "ignored\n")
    os.mkdir(work.path("empty"), 0o750)
    before, staged = work.state(), work.staged()
    taken = work.take()
    work.write("a", "run\n")
    work.write("new", "run\n", mode=0o600)
    work.remove("d")
    work.write("d", "a file now\n")
    os.rmdir(work.path("empty"))
    work.write("more/deep/file")
    os.chmod(work.path("run.sh"), 0o644)
    work.git("add", "-A")
    rolled = roll_back(taken)
    assert rolled.is_complete and rolled.index_restored
    assert (work.state(), work.staged()) == (before, staged)
    assert set(rolled.removed) == {"d", "more/deep/file"}


def test_a_new_ignored_file_that_a_run_adds_by_force_is_its_change_and_one_of_before_is_not(
    work: Work,
) -> None:
    work.write("old.o", "mine\n")
    work.write("build/old", "mine\n")
    before, staged = work.state(), work.staged()
    taken = work.take()
    work.write("d/new.o")
    work.write("old.o", "mine, and edited\n")
    work.git("add", "-f", "d/new.o", "old.o", "build/old")
    assert changed(taken).names == ("d/new.o",)
    assert roll_back(taken).is_complete and work.staged() == staged
    work.write("old.o", "mine\n")
    assert work.state() == before


@pytest.mark.parametrize("name", WEIRD)
def test_names_of_any_bytes_come_back(work: Work, name: str | bytes) -> None:
    before = work.state()
    taken = work.take()
    work.remove(name)
    work.write(name + (b"2" if isinstance(name, bytes) else "2"), "new\n")
    assert roll_back(taken).is_complete
    assert work.state() == before


def test_what_did_not_change_is_not_touched(work: Work) -> None:
    taken = work.take()
    before = os.lstat(work.path("a"))
    work.write("d/b", "run\n")
    roll_back(taken)
    after = os.lstat(work.path("a"))
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def test_ignored_files_are_not_touched_even_if_the_rules_changed(work: Work) -> None:
    work.write("x.o", "mine\n")
    work.write("build/out", "mine\n")
    taken = work.take()
    work.write(".gitignore", "")
    work.write("x.o", "made again\n")
    work.write("build/more", "made\n")
    assert roll_back(taken).is_complete
    assert work.read("x.o") == b"made again\n"
    assert sorted(os.listdir(work.path("build"))) == [b"more", b"out"]


def test_links_come_back_and_nothing_behind_one_is_touched(work: Work, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b").write_text("not ours\n")
    work.link("l", "a")
    before = work.state()
    taken = work.take()
    work.remove("l")
    work.link("l", str(outside / "b"))
    work.remove("d")
    work.link("d", str(outside))
    assert roll_back(taken).is_complete
    assert work.state() == before
    assert (outside / "b").read_text() == "not ours\n"


def test_everything_that_is_taken_away_is_in_the_patch(work: Work) -> None:
    taken = work.take()
    work.write("a", "run\n")
    work.write("new", b"\0\xff")
    after = work.state()
    rolled = roll_back(taken)
    work.git("apply", rolled.patch)
    assert work.state() == after


def test_a_file_that_is_edited_while_it_rolls_back_is_kept(work: Work) -> None:
    taken = work.take()
    work.write("a", "run\n")
    work.write("new", "run\n")

    def edit(step: str) -> None:
        if step == "plan":
            work.write("a", "user\n")
            work.write("new", "user\n")
            work.write("theirs", "user\n")

    rolled = roll_back(taken, watch=edit)
    kept = {os.path.basename(name): (work.folder / "kept" / name).read_text() for name in rolled.kept}
    assert kept == {"a": "user\n", "new": "user\n"}
    assert work.read("a") == b"1\n" and work.read("theirs") == b"user\n"
    assert rolled.unequal == ("added: theirs",)


def test_a_file_that_appears_in_the_last_moment_is_kept(work: Work) -> None:
    taken = work.take()
    work.remove("a")
    edited = []

    def edit(step: str) -> None:
        if step == "put a" and not edited:
            edited.append(step)
            work.write("a", "user\n")

    rolled = roll_back(taken, watch=edit)
    assert [(work.folder / "kept" / name).read_text() for name in rolled.kept] == ["user\n"]
    assert work.read("a") == b"1\n"


def test_a_second_call_does_nothing_to_what_the_user_did_since(work: Work) -> None:
    taken = work.take()
    work.write("a", "run\n")
    first = roll_back(taken)
    work.write("a", "user\n")
    assert roll_back(taken) == first
    assert work.read("a") == b"1\n".replace(b"1", b"user")


def test_a_further_call_after_an_incomplete_one_leaves_alone_what_the_user_did_since(work: Work) -> None:
    taken = work.take()
    work.write("a", "run\n")
    work.git("add", "a")
    incomplete = roll_back(taken, watch=lambda step: work.write("theirs") if step == "plan" else None)
    assert incomplete.unequal == ("added: theirs",)
    work.write("a", "user\n")
    work.git("add", "a")
    again = roll_back(taken)
    assert set(again.unequal) == {"added: theirs", "modified: a", "the index"}
    assert work.git("show", ":a") == work.read("a") == b"user\n"


def refused(work: Work, hint: str) -> None:
    taken = load(str(work.folder))
    assert taken is not None
    before = work.state()
    with pytest.raises(RollbackRefused, match=hint) as error:
        roll_back(taken)
    assert error.value.hint and error.value.exit_status == 9
    assert work.state() == before


def test_it_is_refused_when_there_are_commits_since(work: Work) -> None:
    work.take()
    work.write("a", "run\n")
    work.commit()
    refused(work, "HEAD moved")


def test_it_is_refused_when_another_branch_is_checked_out(work: Work) -> None:
    work.take()
    work.git("checkout", "-q", "-b", "other")
    refused(work, "branch")


def test_it_is_refused_when_head_was_detached_since(work: Work) -> None:
    work.take()
    work.git("checkout", "-q", "--detach")
    refused(work, "detached")


def test_it_is_refused_in_a_rebase(work: Work) -> None:
    work.git("checkout", "-q", "-b", "other")
    work.write("a", "other\n")
    work.commit()
    work.git("checkout", "-q", "main")
    work.write("a", "main\n")
    work.commit()
    work.git("rebase", "other", ok=False)
    work.take()
    work.write("new")
    refused(work, "rebase")


def test_it_is_refused_while_git_is_at_work(work: Work) -> None:
    work.take()
    work.write("a", "run\n")
    (work.root / ".git" / "index.lock").write_text("")
    refused(work, "index.lock")


def test_a_merge_with_conflicts_comes_back_with_its_conflicts(work: Work) -> None:
    work.git("checkout", "-q", "-b", "other")
    work.write("a", "other\n")
    work.commit()
    work.git("checkout", "-q", "main")
    work.write("a", "main\n")
    work.commit()
    work.git("merge", "other", ok=False)
    before, staged = work.state(), work.staged()
    taken = work.take()
    work.write("a", "resolved\n")
    work.git("add", "a")
    assert roll_back(taken).is_complete
    assert (work.state(), work.staged()) == (before, staged)


def test_a_repository_without_commits_is_rolled_back_too(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.write("a", "1\n")
    before = work.state()
    taken = work.take()
    work.write("a", "2\n")
    work.write("-rf", "2\n")
    work.git("add", "a")
    assert roll_back(taken).is_complete
    assert work.state() == before
    assert not (work.root / ".git" / "index").exists()
    assert not (work.root / ".git" / "index.lock").exists()


def test_a_detached_head_is_rolled_back_too(work: Work) -> None:
    work.git("checkout", "-q", "--detach")
    taken = work.take()
    work.write("a", "run\n")
    assert roll_back(taken).is_complete


def test_staged_contents_come_back_after_a_reset_and_a_collection(work: Work) -> None:
    work.write("a", "staged\n")
    work.git("add", "a")
    work.write("a", "edited\n")
    staged = work.staged()
    taken = work.take()
    work.git("reset", "-q", "--hard")
    work.git("reflog", "expire", "--expire=now", "--all")
    work.git("gc", "-q", "--prune=now")
    assert roll_back(taken).is_complete
    assert work.staged() == staged and work.git("show", ":a") == b"staged\n"


def test_contents_come_back_as_they_were_on_disk_whatever_git_converts(work: Work) -> None:
    work.git("config", "core.autocrlf", "true")
    work.write(".gitattributes", "*.up filter=up ident\n")
    work.git("config", "filter.up.clean", "tr a-z A-Z")
    work.write("x.up", b"abc $Id$\r\n")
    work.write("crlf", b"one\r\n")
    work.commit()
    before = work.state()
    taken = work.take()
    work.write("x.up", "run\n")
    work.write("crlf", b"one\n")
    assert roll_back(taken).is_complete
    assert work.state() == before


def test_nothing_in_a_submodule_is_touched_and_it_is_told(work: Work, tmp_path: Path) -> None:
    inner = Work(tmp_path, "inner")
    inner.write("f", "1\n")
    inner.commit()
    work.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.root), "sub")
    work.commit()
    taken = work.take()
    work.write("sub/f", "2\n")
    work.git("commit", "-qam", "x", cwd=work.root / "sub")
    work.write("a", "run\n")
    rolled = roll_back(taken)
    assert work.read("a") == b"1\n" and work.read("sub/f") == b"2\n"
    assert not rolled.is_complete and rolled.unequal == ("modified: sub",)


def test_a_repository_that_the_run_made_is_moved_aside_whole(work: Work) -> None:
    before = work.state()
    taken = work.take()
    work.git("init", "-q", "inner")
    work.write("inner/f", "work\n")
    rolled = roll_back(taken)
    assert rolled.is_complete and work.state() == before
    assert [(work.folder / "kept" / name / "f").read_text() for name in rolled.kept] == ["work\n"]


def test_folders_that_were_made_unwritable_are_no_obstacle_for_anybody(work: Work) -> None:
    taken = work.take()
    before = work.state()
    work.write("d/new")
    os.chmod(work.path("d"), 0o555)
    assert roll_back(taken).is_complete
    assert work.state() == before


def test_two_at_once_are_refused(work: Work) -> None:
    taken = work.take()
    work.write("a", "run\n")
    refusals = []

    def again(step: str) -> None:
        if step == "plan":
            with pytest.raises(Conflict) as error:
                roll_back(taken)
            refusals.append(error.value)

    assert roll_back(taken, watch=again).is_complete
    assert len(refusals) == 1


def test_a_file_with_many_links_and_open_readers_is_replaced_and_not_overwritten(
    work: Work, tmp_path: Path
) -> None:
    work.write("a", "1\n")
    taken = work.take()
    work.write("a", "run\n")
    os.link(work.path("a"), tmp_path / "other")
    roll_back(taken)
    assert (tmp_path / "other").read_text() == "run\n"
    subprocess.run(["git", "fsck", "--no-dangling"], cwd=work.root, check=True, capture_output=True)


def test_git_calls_no_file_modified_that_a_run_had_checked_out_in_another_way(work: Work) -> None:
    """The size that an index remembers of a file is enough for git to call it modified."""
    work.write("b.txt", "1\n2\n")
    work.commit()
    before, staged = work.state(), work.staged()
    taken = work.take()
    work.write(".gitattributes", "*.txt eol=crlf\n")
    work.remove("b.txt")
    work.git("checkout", "-q", "--", "b.txt")
    assert work.read("b.txt") == b"1\r\n2\r\n"
    rolled = roll_back(taken)
    assert rolled.is_complete and not rolled.index_restored and not rolled.kept
    assert work.state() == before
    assert work.staged() == staged
