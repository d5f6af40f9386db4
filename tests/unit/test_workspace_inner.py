"""Repositories inside a work tree in every state, and names that git refuses: nothing hides in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.work import Work

from runner.errors import Conflict
from runner.workspace.changes import changed, diff
from runner.workspace.inner import git_dir, head
from runner.workspace.repository import find
from runner.workspace.rollback import roll_back

Edit = Callable[[Work], object]
HASHES = ("sha1", "sha256")


def made(base: Path, hash_name: str = "sha1") -> Work:
    work = Work(base)
    work.remove(".git")
    work.git("init", "-q", "-b", "main", f"--object-format={hash_name}")
    work.write("a", "1\n")
    work.write("d/b", "1\n")
    work.commit()
    return work


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return made(tmp_path)


def nested(work: Work, name: str, hash_name: str = "sha1") -> None:
    work.git("init", "-q", f"--object-format={hash_name}", name)
    work.write(f"{name}/f", "mine\n")
    work.git("add", "f", cwd=work.root / name)
    work.git("commit", "-q", "-m", "x", cwd=work.root / name)


def submodule(work: Work, name: str = "sub") -> None:
    nested(work, ".git/other")
    url = str(work.root / ".git" / "other")
    work.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "--force", url, name)
    work.commit()


def told(work: Work) -> bytes:
    return work.git("rev-parse", "HEAD", cwd=work.root / "sub").strip()


# -- which repository stands there -----------------------------------------------------------------


def detach(work: Work) -> None:
    work.git("checkout", "-q", "--detach", cwd=work.root / "sub")


def pack_refs(work: Work) -> None:
    work.git("pack-refs", "--all", cwd=work.root / "sub")


def linked(work: Work) -> None:
    work.git("worktree", "add", "-q", "../other", "-b", "x", cwd=work.root / "sub")
    work.remove("sub")
    os.rename(work.path("other"), work.path("sub"))
    nested(work, "kept")


STATES: dict[str, Edit] = {
    "of its own": lambda work: nested(work, "sub"),
    "of another hash": lambda work: nested(work, "sub", "sha256"),
    "detached": lambda work: (nested(work, "sub"), detach(work)),
    "with packed refs": lambda work: (nested(work, "sub"), pack_refs(work)),
    "a submodule": submodule,
}


@pytest.mark.parametrize("kind", STATES)
def test_the_commit_of_a_repository_inside_is_read_as_git_says_it(work: Work, kind: str) -> None:
    STATES[kind](work)
    path = str(work.root / "sub")
    assert git_dir(path) is not None
    assert (head(path) or "").encode() == told(work)


NONE: dict[str, Edit] = {
    "a folder": lambda work: work.write("sub/x"),
    "an empty `.git`": lambda work: os.makedirs(work.path("sub/.git")),
    "a file that names nothing": lambda work: work.write("sub/.git", "gitdir: ../gone\n"),
    "a file of other words": lambda work: work.write("sub/.git", "x\n"),
    "without objects": lambda work: (nested(work, "sub"), work.remove("sub/.git/objects")),
    "with a HEAD that says nothing": lambda work: (nested(work, "sub"), work.write("sub/.git/HEAD", "x\n")),
    "with a FIFO for HEAD": lambda work: (
        nested(work, "sub"),
        work.remove("sub/.git/HEAD"),
        os.mkfifo(work.path("sub/.git/HEAD")),
    ),
}


@pytest.mark.parametrize("kind", NONE)
def test_what_git_would_take_for_no_repository_is_none(work: Work, kind: str) -> None:
    NONE[kind](work)
    path = str(work.root / "sub")
    assert git_dir(path) is None and head(path) is None


def test_a_repository_without_a_commit_has_no_head(work: Work) -> None:
    work.git("init", "-q", "sub")
    assert git_dir(str(work.root / "sub")) is not None and head(str(work.root / "sub")) is None


# -- looks and rollbacks ---------------------------------------------------------------------------


@pytest.mark.parametrize("outer", HASHES)
@pytest.mark.parametrize("inner", HASHES)
def test_a_repository_of_any_hash_that_a_run_made_is_seen_and_moved_away(
    tmp_path: Path, outer: str, inner: str
) -> None:
    work = made(tmp_path, outer)
    before = work.state()
    taken = work.take()
    nested(work, "n", inner)
    work.write("a", "run\n")
    assert changed(taken).names == ("a", "n")
    assert b"+run" in diff(taken)
    assert roll_back(taken).is_complete
    assert work.state() == before


@pytest.mark.parametrize("outer", HASHES)
@pytest.mark.parametrize("inner", HASHES)
def test_a_repository_of_any_hash_of_the_user_stays_and_its_commits_are_seen(
    tmp_path: Path, outer: str, inner: str
) -> None:
    work = made(tmp_path, outer)
    nested(work, "n", inner)
    before = work.state()
    taken = work.take()
    work.write("a", "run\n")
    assert changed(taken).names == ("a",)
    assert roll_back(taken).is_complete
    assert work.state() == before
    work.git("commit", "-q", "--allow-empty", "-m", "x", cwd=work.root / "n")
    assert changed(taken).names == ("n",)


OF_THE_USER: dict[str, Edit] = {"untracked": lambda work: nested(work, "sub"), "a submodule": submodule}
TAKEN_AWAY: dict[str, Edit] = {
    "removed": lambda work: work.remove("sub/.git"),
    "moved": lambda work: os.rename(work.path("sub/.git"), work.path(".git/moved")),
    "emptied": lambda work: (work.remove("sub/.git"), os.mkdir(work.path("sub/.git"))),
    "without HEAD": lambda work: (work.remove("sub/.git"), work.write("sub/.git", "gitdir: gone\n")),
}


@pytest.mark.parametrize("whose", OF_THE_USER)
@pytest.mark.parametrize("how", TAKEN_AWAY)
def test_what_is_left_of_a_repository_is_looked_at_and_stays(work: Work, whose: str, how: str) -> None:
    OF_THE_USER[whose](work)
    taken = work.take()
    TAKEN_AWAY[how](work)
    work.write("sub/evil", "run\n")
    work.write("a", "run\n")
    now = changed(taken)
    assert {"a", "sub", "sub/evil", "sub/f"} <= {*now.names}
    rolled = roll_back(taken)
    assert not rolled.is_complete and any(one.startswith("sub: ") for one in rolled.left)
    assert work.read("a") == b"1\n"
    assert work.read("sub/f") == b"mine\n", "nobody knew what it was before"


@pytest.mark.parametrize("whose", OF_THE_USER)
def test_a_repository_that_is_gone_is_missed(work: Work, whose: str) -> None:
    OF_THE_USER[whose](work)
    taken = work.take()
    work.remove("sub")
    os.mkdir(work.path("sub"))
    assert changed(taken).names == ("sub",)
    work.remove("sub")
    assert changed(taken).names == ("sub",)
    assert not roll_back(taken).is_complete


def uninitialised(work: Work) -> None:
    submodule(work)
    work.git("submodule", "--quiet", "deinit", "-f", "sub")
    os.chmod(work.path("sub"), 0o750)


INTO_NOTHING: dict[str, Edit] = {
    "a file in it": lambda work: work.write("sub/evil"),
    "a folder in it": lambda work: work.write("sub/new/evil"),
    "a file in its place": lambda work: (work.remove("sub"), work.write("sub")),
    "removed": lambda work: work.remove("sub"),
    "an empty `.git`": lambda work: (os.mkdir(work.path("sub/.git")), work.write("sub/evil")),
}


@pytest.mark.parametrize("how", INTO_NOTHING)
def test_a_submodule_that_is_not_checked_out_is_an_empty_folder_again(work: Work, how: str) -> None:
    uninitialised(work)
    before, staged = work.state(), work.staged()
    taken = work.take()
    assert taken.was_clean and not changed(taken).names
    INTO_NOTHING[how](work)
    assert "sub" in changed(taken).names
    rolled = roll_back(taken)
    if how == "an empty `.git`":  # git enters no `.git`
        assert not rolled.is_complete
        return
    assert rolled.is_complete
    assert (work.state(), work.staged()) == (before, staged)


def test_a_submodule_that_a_run_checks_out_is_no_change(work: Work) -> None:
    uninitialised(work)
    taken = work.take()
    work.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "sub")
    now = changed(taken)
    assert (now.names, now.folders_deleted, now.folders_added) == ((), (), ())


@pytest.mark.parametrize("how", ["git init", "an empty `.git`", "a file that leads nowhere"])
def test_a_tracked_folder_that_becomes_a_repository_is_not_said_to_be_missing(work: Work, how: str) -> None:
    work.write("d/one.txt", "one")
    work.commit()
    taken = work.take()
    if how == "git init":
        work.git("init", "--quiet", "d")
    elif how == "an empty `.git`":
        (work.root / "d" / ".git").mkdir()
    else:
        (work.root / "d" / ".git").write_text("gitdir: /nowhere")
    now = changed(taken)
    assert now.folders_deleted == ()
    assert [problem for problem in now.problems if problem.endswith(": d")]


# -- names that git refuses ------------------------------------------------------------------------

REFUSED = (".GIT", "d/.Git", "d/.giT", "new/.GIT")
ODD = (
    ".git ",
    ".git.",
    "git~1",
    "GIT~1",
    ".g\u200cit",
    ".git::$INDEX_ALLOCATION",
    ".git\\x",
    "a\\b",
    "\u00e9.GIT",
)


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_of_a_name_that_git_refuses_is_a_change_and_taken_away(work: Work, name: str) -> None:
    before = work.state()
    taken = work.take()
    work.write(f"{name}/evil", "run\n", mode=0o600)
    work.write("a", "run\n")
    now = changed(taken)
    assert now.names == ("a",)
    assert now.unrecorded == (f"{name}/evil",)
    assert f"git stores nothing under this name: {name}/evil" in now.problems
    rolled = roll_back(taken)
    assert rolled.is_complete
    assert rolled.kept == (f"1/{name}/evil",)
    assert work.state() == before


def test_a_plain_file_of_such_a_name_is_one_too(work: Work) -> None:
    before = work.state()
    taken = work.take()
    work.write("d/.GIT", "run\n")
    assert changed(taken).unrecorded == ("d/.GIT",)
    assert roll_back(taken).is_complete
    assert work.state() == before


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_of_such_a_name_of_the_user_is_known_to_be_unknown(work: Work, name: str) -> None:
    work.write(f"{name}/mine", "mine\n", mode=0o600)
    before = work.state()
    taken = work.take()
    assert taken.special == (f"{name}/mine",)
    work.write("a", "run\n")
    assert (changed(taken).names, changed(taken).unrecorded) == (("a",), ())
    assert roll_back(taken).is_complete
    assert work.state() == before


def test_a_repository_of_such_a_name_is_told(work: Work) -> None:
    taken = work.take()
    nested(work, "d/.GIT")
    assert changed(taken).unrecorded == ("d/.GIT",)
    assert not roll_back(taken).is_complete


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_git_refuses_for_other_systems_is_one_like_any_other(work: Work, name: str) -> None:
    work.git("config", "core.protectNTFS", "true")
    work.git("config", "core.protectHFS", "true")
    work.write("d/mine/" + name, "mine\n", mode=0o600)
    before = work.state()
    taken = work.take()
    work.write("d/mine/" + name, "run\n")
    work.write("new/" + name, "run\n")
    assert {*changed(taken).names} == {"d/mine/" + name, "new/" + name}
    assert not changed(taken).problems
    assert roll_back(taken).is_complete
    assert work.state() == before


# -- what git would wait for -----------------------------------------------------------------------

OPENED = (
    *("HEAD", "config", "commondir", "packed-refs", "shallow", "index"),
    *("info/exclude", "info/grafts", "objects/info/alternates", "refs/heads/main", "refs/heads/new"),
)


def block(work: Work, name: str, kind: str) -> None:
    path = work.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path) if kind == "FIFO" else path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["FIFO", "device"])
@pytest.mark.parametrize("name", OPENED)
def test_no_repository_is_entered_in_which_git_would_wait_without_end(
    work: Work, name: str, kind: str
) -> None:
    taken = work.take()
    (work.root / "deep" / "er").mkdir(parents=True)
    block(work, f".git/{name}", kind)
    for what in (lambda: find(str(work.root / "deep" / "er")), lambda: changed(taken)):
        with pytest.raises(Conflict, match="not a regular file"):
            what()


@pytest.mark.parametrize("kind", ["FIFO", "device"])
@pytest.mark.parametrize("name", OPENED)
@pytest.mark.parametrize("whose", OF_THE_USER)
def test_a_repository_inside_in_which_git_would_wait_holds_up_no_look(
    work: Work, whose: str, name: str, kind: str
) -> None:
    OF_THE_USER[whose](work)
    taken = work.take()
    where = git_dir(str(work.root / "sub"))
    assert where is not None
    block(work, os.path.join(where, name), kind)
    work.write("a", "run\n")
    assert "a" in changed(taken).names
    with pytest.raises(Conflict, match="not a regular file"):
        work.take()
