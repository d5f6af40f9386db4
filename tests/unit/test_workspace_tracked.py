"""What an index knows of unchanged files: trusted where it can be, and left to git where not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.work import Work

from runner.state.authentic import write_record
from runner.workspace import snapshot as snapshots
from runner.workspace import worktree
from runner.workspace.changes import changed
from runner.workspace.files import Entry
from runner.workspace.rollback import roll_back
from runner.workspace.snapshot import Snapshot
from runner.workspace.tracked import Index, Standing, parse, walk

NEVER = 2**62


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write(".gitignore", "*.o\nbuild/\n")
    for name in ("a", "d/b", "d/e/c", "s p", b"\xff\n"):
        made.write(name, "1234\n")
    made.write("run.sh", "#!/bin/sh\n", mode=0o755)
    made.link("l", "a")
    made.commit()
    return made


def index_of(work: Work, hash_name: str = "sha1") -> Index | None:
    return parse((work.root / ".git" / "index").read_bytes(), hash_name)


def standing(work: Work, since_ns: int = NEVER, skipped: tuple[str, ...] = (".runs/",)) -> Standing:
    index = index_of(work)
    assert index is not None
    return walk(str(work.root), index, since_ns, skipped)


def age(work: Work) -> None:
    """As if all of it had been written and committed long ago, the rules about it before the rest."""
    paths = [f"{folder}/{name}" for folder, _, names in os.walk(work.root) for name in names]
    for path in sorted(paths, key=lambda path: not path.endswith("/.gitattributes")):
        if "/.git/" not in path:
            os.utime(path, (10**9, 10**9), follow_symlinks=False)
    work.git("update-index", "-q", "--refresh")


def many(work: Work) -> None:
    """More files than we read ourselves."""
    for number in range(60):
        work.write(f"many/{number}")
    work.commit()
    age(work)


def read_by_us(work: Work) -> None:
    """As if an earlier run had been here: once to read the files, and once to see that the index is true."""
    for _ in range(2):
        work.take()


# -- reading an index ------------------------------------------------------------------------------


def test_every_name_of_an_index_is_found_in_its_folder(work: Work) -> None:
    index = index_of(work)
    assert index is not None
    assert {folder: set(names) for folder, names in index.folders.items()} == {
        "": {".gitignore", "a", "s p", os.fsdecode(b"\xff\n"), "run.sh", "l"},
        "d": {"b"},
        "d/e": {"c"},
    }
    assert index.entry("d/e/c") == Entry(0o100644, work.git("rev-parse", ":d/e/c").decode().strip())
    assert index.entry("d/e") is None and index.entry("none") is None


def test_names_are_told_as_the_disk_tells_them_in_any_locale(work: Work) -> None:
    work.write("\u00e9", "1\n")
    work.commit()
    ask = (
        "import os, sys; from runner.workspace.tracked import parse; os.chdir(sys.argv[1]);"
        "index = parse(open('.git/index', 'rb').read(), 'sha1');"
        "print(sys.getfilesystemencoding(), {*index.folders['']} - {*os.listdir()})"
    )
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = [sys.executable, "-c", ask, str(work.root)]
    assert subprocess.check_output(words, env=env, text=True) == "ascii set()\n"


def test_an_index_of_sha256_is_read_too(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.remove(".git")
    work.git("init", "-q", "--object-format=sha256")
    work.write("a")
    work.commit()
    index = index_of(work, "sha256")
    assert index is not None
    assert index.entry("a") == Entry(0o100644, work.git("rev-parse", ":a").decode().strip())


def conflict(work: Work) -> None:
    work.git("checkout", "-q", "-b", "other")
    work.write("a", "other\n")
    work.commit()
    work.git("checkout", "-q", "main")
    work.write("a", "main\n")
    work.commit()
    work.git("merge", "other", ok=False)


def added_in_intent(work: Work) -> None:
    work.write("new")
    work.git("add", "-N", "new")


def sparse(work: Work) -> None:
    work.git("sparse-checkout", "init", "--cone", "--sparse-index")


LEFT_TO_GIT: dict[str, Callable[[Work], object]] = {
    "version 4": lambda work: work.git("update-index", "--index-version", "4"),
    "split": lambda work: work.git("update-index", "--split-index"),
    "sparse": sparse,
    "unmerged": conflict,
    "to be added": added_in_intent,
    "assumed unchanged": lambda work: work.git("update-index", "--assume-unchanged", "a"),
    "left out of the work tree": lambda work: work.git("update-index", "--skip-worktree", "a"),
}


@pytest.mark.parametrize("kind", LEFT_TO_GIT)
def test_an_index_that_says_more_is_left_to_git(work: Work, kind: str) -> None:
    LEFT_TO_GIT[kind](work)
    assert index_of(work) is None


@pytest.mark.parametrize("kind", LEFT_TO_GIT)
def test_of_such_an_index_too_a_run_is_seen_and_taken_back(work: Work, kind: str) -> None:
    LEFT_TO_GIT[kind](work)
    work.write("a", "mine\n")
    before, staged = work.state(), work.staged()
    taken = work.take()
    assert not changed(taken).paths
    work.write("a", "run!\n")
    work.remove("run.sh")
    assert changed(taken).names == ("a", "run.sh")
    assert roll_back(taken).is_complete
    assert (work.state(), work.staged()) == (before, staged)


def test_a_torn_index_is_none_that_we_can_read(work: Work) -> None:
    data = (work.root / ".git" / "index").read_bytes()
    for size in (0, 3, 12, 100, len(data) // 2):
        assert parse(data[:size], "sha1") is None
    assert parse(b"DIRC\0\0\0\2\xff\xff\xff\xff" + data[12:], "sha1") is None


# -- what stands there -----------------------------------------------------------------------------


def test_of_an_unchanged_tree_nothing_is_in_doubt(work: Work) -> None:
    age(work)
    here = standing(work)
    assert (here.doubtful, here.gone, here.foreign, here.modules, here.problems) == ({}, [], [], [], [])
    assert here.folders.keys() == {"d", "d/e"}
    assert here.permissions.bits("a", False) == 0o644 and here.permissions.bits("run.sh", True) == 0o755


def test_whatever_is_done_to_a_file_it_is_in_doubt_or_gone(work: Work) -> None:
    age(work)
    work.write("a", "4321\n")
    os.utime(work.path("a"), (10**9, 10**9))
    os.chmod(work.path("run.sh"), 0o644)
    work.write("d/b", "longer than before\n")
    work.remove("d/e/c")
    work.remove("l")
    work.link("l", "d")
    os.rename(work.path("s p"), work.path("t"))
    work.write("s p", "1234\n")
    os.utime(work.path("s p"), (10**9, 10**9))
    here = standing(work)
    assert {*here.doubtful} == {"a", "run.sh", "d/b", "l", "s p"}
    assert (here.gone, here.foreign) == (["d/e/c"], ["t"])


def test_what_was_written_when_the_index_was_is_in_doubt(work: Work) -> None:
    """The clock of a file system ticks: a second change in the same tick has the same time."""
    age(work)
    assert standing(work, 10**18 + 3 * 10**9).doubtful == {}
    assert len(standing(work, 10**18 + 10**9).doubtful) == 8, "whole seconds: it may tick every two"
    for name in ("a", "d/b"):
        os.utime(work.path(name), ns=(10**18 - 10**10 + 1, 10**18 - 10**10 + 1))
    work.git("update-index", "-q", "--refresh")
    assert "a" not in standing(work, 10**18 - 9 * 10**9).doubtful, "parts of a second: its tick is short"
    assert "a" in standing(work, 10**18 - 10**10 + 1000).doubtful


def test_no_link_leads_out_and_what_is_behind_one_is_gone(work: Work, tmp_path: Path) -> None:
    age(work)
    os.rename(work.path("d"), tmp_path / "d")
    work.link("d", str(tmp_path / "d"))
    here = standing(work)
    assert sorted(here.gone) == ["d/b", "d/e/c"]
    assert (here.foreign, here.folders, here.doubtful) == (["d"], {}, {})


def test_folders_without_tracked_files_are_named_and_not_entered(work: Work) -> None:
    age(work)
    work.write("new/deep/x")
    work.write("d/e/new/x")
    work.write("build/x")
    here = standing(work, skipped=(".runs/", "build/", "new"))
    assert sorted(here.foreign) == ["d/e/new/", "new/"], "a file is skipped by another name than a folder"


def test_a_folder_that_cannot_be_listed_is_a_problem_and_its_tracked_files_are_seen(work: Work) -> None:
    age(work)
    if os.geteuid() == 0:
        pytest.skip("root may list every folder")
    os.chmod(work.path("d"), 0o311)
    here = standing(work)
    os.chmod(work.path("d"), 0o755)
    assert here.gone == [] and here.folders.keys() == {"d", "d/e"}
    assert [problem for problem in here.problems if "d (" in problem]


# -- snapshots and looks ---------------------------------------------------------------------------


def questions(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]) -> str:
    """The words that git was asked while `ask` ran."""
    log, folder = tmp_path / "asked", tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    log.write_text("")
    (folder / "git").write_text(f'#!/bin/sh\necho "$3" >> {log}\nPATH=${{PATH#*:}} exec git "$@"\n')
    (folder / "git").chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        ask()
    return log.read_text()


def test_a_clean_tree_takes_git_a_handful_of_questions_and_no_file_is_read(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(work)
    work.write("x.o")
    work.write("build/x")
    read_by_us(work)
    asked = questions(work, tmp_path, monkeypatch, work.take).split()
    assert sorted(asked) == sorted(
        ["rev-parse", "for-each-ref", "rev-parse", "config", "check-ignore", "write-tree"]
    )
    taken = snapshots.load(str(work.folder))
    assert taken is not None and taken.was_clean and taken.tree == taken.position.tree
    assert (taken.ignored, taken.ignored_files) == (("build",), ("x.o",))
    asked = questions(work, tmp_path, monkeypatch, lambda: changed(taken)).split()
    assert sorted(asked) == ["diff-tree", "for-each-ref", "rev-parse"]
    work.write("a", "run!\n")
    asked = questions(work, tmp_path, monkeypatch, lambda: changed(taken)).split()
    assert sorted(asked) == ["diff-tree", "for-each-ref", "rev-parse", "update-index", "write-tree"]


def test_an_edit_of_the_same_size_is_seen_however_quick_it_is(work: Work) -> None:
    taken = work.take()
    work.write("a", "4321\n")
    assert changed(taken).names == ("a",)


def test_an_edit_that_puts_the_time_back_is_seen_also_in_the_same_second(work: Work) -> None:
    """Git compares whole seconds, and a second has room for its last look at a file and for an edit."""
    for _ in range(20):
        work.write("a", "1234\n")
        age(work)
        taken, before = work.take(), os.stat(work.path("a"))
        work.write("a", "4321\n")
        os.utime(work.path("a"), (10**9, 10**9))
        assert changed(taken).names == ("a",)
        if int(os.stat(work.path("a")).st_ctime) == int(before.st_ctime):
            return
    raise AssertionError("no second had room for it")


def test_permissions_that_git_does_not_hold_are_seen_and_come_back(work: Work) -> None:
    os.chmod(work.path("d/e/c"), 0o600)
    age(work)
    before = work.state()
    taken = work.take()
    assert taken.was_clean and taken.permissions.bits("d/e/c", False) == 0o600
    os.chmod(work.path("d/e/c"), 0o644)
    os.chmod(work.path("a"), 0o640)
    os.chmod(work.path("run.sh"), 0o700)
    assert [(change.path, str(change.kind)) for change in changed(taken).paths] == [
        ("a", "mode"),
        ("d/e/c", "mode"),
        ("run.sh", "mode"),
    ]
    assert roll_back(taken).is_complete
    assert work.state() == before


def test_what_was_ignored_by_a_rule_that_we_cannot_repeat_is_not_touched(work: Work) -> None:
    """A name with a line's end is in no rule for the root; git has the rule in a file of that folder."""
    work.write("n\nl/.gitignore", "/mine\n")
    work.write("n\nl/tracked")
    work.commit()
    work.write("n\nl/mine", "precious\n")
    before = work.state()
    taken = work.take()
    work.write("n\nl/mine.txt", "run\n")
    assert roll_back(taken).is_complete
    assert work.state() == before


def test_no_file_of_a_tree_that_git_has_just_made_is_read_again(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "trees" / "r"

    def make() -> None:
        worktree.create(str(work.root), "HEAD", str(tree), str(work.folder))

    asked = questions(work, tmp_path, monkeypatch, make)
    assert "worktree" in asked.split() and "update-index" not in asked.split()
    (tree / "a").write_text("changed\n")
    taken = snapshots.load(str(work.folder))
    assert taken is not None and [one.path for one in changed(taken).paths] == ["a"]


ATTRIBUTES = [
    ("*.png binary\n*.x linguist-generated -text\n", True),
    ("* text=auto\n", False),
    ("*.x ident\n", False),
    ("[attr]mine filter=x\n", False),
    ("*.x\teol=crlf", False),
]


@pytest.mark.parametrize(("text", "is_trusted"), ATTRIBUTES)
def test_where_attributes_convert_contents_git_is_asked_what_is_uncommitted(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, is_trusted: bool
) -> None:
    work.write("d/.gitattributes", text)
    work.commit()
    age(work)
    read_by_us(work)
    asked = questions(work, tmp_path, monkeypatch, work.take).split()
    assert "update-index" not in asked
    assert ("status" not in asked) == is_trusted


@pytest.mark.parametrize(("text", "is_trusted"), ATTRIBUTES)
def test_of_a_tree_that_git_has_just_made_what_it_converts_is_read(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, is_trusted: bool
) -> None:
    work.write("d/.gitattributes", text)
    many(work)

    def make() -> None:
        worktree.create(str(work.root), "HEAD", str(tmp_path / "trees" / "r"), str(work.folder))

    asked = questions(work, tmp_path, monkeypatch, make).split()
    assert ("update-index" not in asked) == is_trusted


def older(taken: Snapshot) -> Snapshot:
    """As a runner wrote it that knew nothing of single ignored files and of when it looked."""
    path = Path(taken.folder, "workspace.json")
    data = json.loads(path.read_text())
    for name in ("ignored_files", "since_ns", "mac"):
        del data[name]
    del data["position"]["tree"]
    write_record(str(path), data)
    found = snapshots.load(taken.folder)
    assert found is not None
    return found


def test_a_record_of_an_older_runner_is_looked_at_and_rolled_back(work: Work) -> None:
    age(work)
    work.write("x.o", "mine\n")
    before = work.state()
    taken = older(work.take())
    assert not changed(taken).paths
    work.write("a", "4321\n")
    work.write("new", "run\n")
    assert changed(taken).names == ("a", "new")
    assert roll_back(taken).is_complete
    assert work.state() == before


def test_a_private_index_of_version_4_of_an_older_runner_is_read(work: Work) -> None:
    taken = older(work.take())
    work.git("update-index", "--index-version", "4", cwd=work.root)
    data = (work.root / ".git" / "index").read_bytes()
    Path(taken.shadow.base).unlink()
    Path(taken.shadow.base).write_bytes(data)
    assert changed(taken).names == ()
    work.write("a", "4321\n")
    assert changed(taken).names == ("a",)


EXCEPTED = {
    "by a rule above": ("tmp/*\n!tmp/keep\n", "tmp/keep", None),
    "by a rule inside": ("", "tmp/.gitignore", "*\n!.gitignore\n"),
    "inside a repository": ("", "tmp/", "*\n"),
}


@pytest.mark.parametrize("kind", EXCEPTED)
def test_a_new_folder_of_ignored_files_is_not_ignored_where_one_is_excepted(work: Work, kind: str) -> None:
    above, shown, inside = EXCEPTED[kind]
    work.write(".gitignore", above)
    work.commit()
    age(work)
    work.write("tmp/ignored")
    work.write("tmp/keep" if inside is None else "tmp/.gitignore", inside or "mine\n")
    if shown == "tmp/":
        work.git("init", "-q", "tmp")
    before = work.state()
    taken = work.take()
    assert taken.untracked == (shown,)
    if shown != "tmp/":
        work.write(shown, "run\n")
        assert changed(taken).names == (shown,)
        assert roll_back(taken).is_complete
        assert work.state() == before


def test_a_folder_that_ignores_itself_takes_git_one_question(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(work)
    work.write(".cache/.gitignore", "# made by a tool\n*\n")
    work.write(".cache/x")
    asked = questions(work, tmp_path, monkeypatch, work.take).split()
    assert "ls-files" not in asked
    taken = snapshots.load(str(work.folder))
    assert taken is not None and taken.was_clean and ".cache" in taken.ignored


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_folder_that_a_run_has_closed_is_a_problem_and_comes_back(work: Work, mode: int) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may look into every folder")
    work.write("mine/x")
    before = work.state()
    taken = work.take()
    for folder in ("d", "mine"):
        os.chmod(work.path(folder), mode)
    seen = changed(taken)
    assert {*seen.folder_modes} == {"d", "mine"}
    assert any("d/b" in problem for problem in seen.problems)
    rolled = roll_back(taken)
    assert work.state() == before
    assert rolled.is_complete and not rolled.kept


def test_a_tree_with_a_folder_that_cannot_be_entered_is_recorded(work: Work) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may look into every folder")
    work.write("mine/x")
    for folder in ("d", "mine"):
        os.chmod(work.path(folder), 0o444)
    taken = work.take()
    work.write("a", "run!\n")
    assert changed(taken).names == ("a",)
    for folder in ("d", "mine"):
        os.chmod(work.path(folder), 0o755)
    assert {"cannot be read: d/b", "cannot be read: mine/x"} <= {*taken.problems}


def test_a_link_of_a_name_that_git_refuses_is_told_and_taken_back(work: Work) -> None:
    work.write(".gitmodules", "# mine\n")
    work.commit()
    age(work)
    before = work.state()
    taken = work.take()
    work.remove(".gitmodules")
    work.link(".gitmodules", "/elsewhere")
    work.link("d/.GitModules", "/elsewhere")
    seen = changed(taken)
    assert seen.names == (".gitmodules",)
    assert [problem.rpartition(": ")[2] for problem in seen.problems] == [".gitmodules", "d/.GitModules"]
    assert roll_back(taken).kept == ("1/.gitmodules",)
    work.remove("d/.GitModules")
    assert work.state() == before


def test_git_is_told_to_look_whatever_the_user_has_set(work: Work) -> None:
    Path.home().joinpath(".gitconfig").write_text("[core]\n\tignoreStat = true\n")
    work.write("a", "mine\n")
    taken = work.take()
    assert changed(taken).names == ()
    work.write("a", "other\n")
    work.write("b", "new\n")
    assert changed(taken).names == ("a", "b")


@pytest.mark.parametrize("at", [-(10**8), 0, 2**32 + 10**9])
def test_an_edit_of_a_file_with_a_time_that_no_index_holds_is_seen(work: Work, at: int) -> None:
    for _ in range(20):
        work.write("a", "1234\n")
        os.utime(work.path("a"), (at, at))
        work.git("add", "a")
        os.utime(work.root / ".git" / "index", (time.time() + 100, time.time() + 100))
        taken, before = work.take(), os.stat(work.path("a"))
        work.write("a", "4321\n")
        os.utime(work.path("a"), (at, at))
        assert changed(taken).names == ("a",)
        if int(os.stat(work.path("a")).st_ctime) == int(before.st_ctime):
            return
    raise AssertionError("no second had room for it")


def test_a_staged_submodule_is_uncommitted_whatever_git_is_told_to_ignore(work: Work) -> None:
    work.git("init", "-q", "sub")
    inner = work.root / "sub"
    work.git("commit", "-q", "--allow-empty", "-m", "1", cwd=inner)
    work.write(".gitmodules", '[submodule "sub"]\n\tpath = sub\n\turl = ./sub\n\tignore = all\n')
    work.git("-c", "advice.addEmbeddedRepo=false", "add", "--force", "sub")
    work.commit()
    work.git("commit", "-q", "--allow-empty", "-m", "2", cwd=inner)
    work.git("add", "--force", "sub")
    work.git("reset", "-q", "--hard", "HEAD~", cwd=inner)
    assert work.take().dirty == ("sub",)


def test_rules_of_a_tree_may_convert(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(work)
    read_by_us(work)
    work.git("config", "attr.tree", "HEAD")
    assert "status" in questions(work, tmp_path, monkeypatch, work.take).split()


Edit = Callable[[Work], object]
HOME_RULES = ".config/git/attributes"


def user_rule(text: str) -> None:
    path = Path.home() / HOME_RULES
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def committed_rule(path: str, text: str) -> tuple[Edit, Edit]:
    def make(work: Work) -> None:
        work.write(path, text)
        work.git("add", path)
        work.git("commit", "-q", "-m", "x")

    def drop(work: Work) -> None:
        work.git("rm", "-q", path)
        work.git("commit", "-q", "-m", "x")

    return make, drop


def other_branch(work: Work) -> None:
    work.git("branch", "-q", "before")
    work.write(".gitattributes", "*.txt eol=crlf\n")
    work.commit()


def no_rules(work: Work) -> None:
    work.git("config", "filter.loud.smudge", "tr x X")
    work.git("config", "filter.loud.clean", "tr X x")


def loud(path: str) -> tuple[Edit, Edit]:
    make, drop = committed_rule(path, "*.txt filter=loud\n")
    return lambda work: (no_rules(work), make(work)), drop


GONE_RULES: dict[str, tuple[Edit, Edit]] = {
    "of a folder": committed_rule("a/.gitattributes", "*.txt eol=crlf\n"),
    "of the root": committed_rule(".gitattributes", "*.txt eol=crlf\n"),
    "changed to nothing": (
        committed_rule(".gitattributes", "*.txt eol=crlf\n")[0],
        lambda work: work.write(".gitattributes", "*.png binary\n"),
    ),
    "of another branch": (other_branch, lambda work: work.git("checkout", "-q", "before")),
    "core.autocrlf": (
        lambda work: work.git("config", "core.autocrlf", "true"),
        lambda work: work.git("config", "core.autocrlf", "false"),
    ),
    "info/attributes": (
        lambda work: work.write(".git/info/attributes", "*.txt eol=crlf\n"),
        lambda work: work.remove(".git/info/attributes"),
    ),
    "of the user": (
        lambda work: user_rule("*.txt eol=crlf\n"),
        lambda work: Path.home().joinpath(HOME_RULES).unlink(),
    ),
    "a filter": loud(".gitattributes"),
    "ident": committed_rule(".gitattributes", "*.txt ident\n"),
    "an encoding": committed_rule(".gitattributes", "*.txt working-tree-encoding=ISO-8859-1\n"),
}


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("kind", GONE_RULES)
def test_a_file_comes_back_with_the_bytes_of_a_rule_that_is_gone(
    work: Work, kind: str, is_known: bool
) -> None:
    """Git leaves such a file alone when the rule goes, and calls it unchanged."""
    make, drop = GONE_RULES[kind]
    work.write("a.txt", "x $Id$\n\u00e9\n")
    work.write("b/a.txt", "y\n")
    work.remove("a")
    work.write("a/1.txt", "x $Id$\n\u00e9\n")
    work.commit()
    make(work)
    names = ("a.txt", "b/a.txt", "a/1.txt")
    for name in names:
        work.remove(name)
    work.git("checkout", "-q", "--", ".")
    assert work.read("a/1.txt") != "x $Id$\n\u00e9\n".encode()
    age(work)
    if is_known:
        read_by_us(work)
    drop(work)
    os.utime(work.root / ".git" / "index", (time.time() + 100, time.time() + 100))
    before = work.state()
    taken = work.take()
    assert not {*names} & {*taken.dirty}
    for name in names:
        work.write(name, "run\n")
    work.remove("b/a.txt")
    assert {*changed(taken).names} == {*names}
    assert roll_back(taken).is_complete
    assert work.state() == before


@pytest.mark.parametrize("count", [1, 60])
def test_of_files_that_the_user_changed_few_take_git_no_question(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    many(work)
    read_by_us(work)
    for number in range(count):
        work.write(f"many/{number}", "mine\n")
    work.commit()
    os.utime(work.root / ".git" / "index", (time.time() + 100, time.time() + 100))
    asked = questions(work, tmp_path, monkeypatch, work.take).split()
    assert ("update-index" in asked) == (count > 50)
    taken = snapshots.load(str(work.folder))
    assert taken is not None and taken.was_clean and taken.tree == taken.position.tree


def kept_indexes() -> list[Path]:
    return [*Path.home().joinpath(".local/state/runner/indexes").iterdir()]


def test_what_was_read_is_kept_for_us_alone_and_may_be_deleted(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(work)
    read_by_us(work)
    (kept,) = kept_indexes()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_bytes() == (work.root / ".git" / "index").read_bytes()
    assert "update-index" not in questions(work, tmp_path, monkeypatch, work.take).split()
    kept.unlink()
    assert "update-index" in questions(work, tmp_path, monkeypatch, work.take).split()


@pytest.mark.parametrize("spoil", ["torn", "others may write it", "a FIFO"])
def test_what_was_kept_is_believed_only_where_it_is_whole_and_ours(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    many(work)
    read_by_us(work)
    (kept,) = kept_indexes()
    if spoil == "torn":
        kept.write_bytes(kept.read_bytes()[:200])
    elif spoil == "a FIFO":
        kept.unlink()
        os.mkfifo(kept)
    else:
        kept.chmod(0o666)
    assert "update-index" in questions(work, tmp_path, monkeypatch, work.take).split()


def test_a_file_that_was_away_while_we_looked_is_read_when_it_is_back(work: Work) -> None:
    """As a whole folder is moved, nothing tells it of the files inside."""
    committed_rule("d/.gitattributes", "* eol=crlf\n")[0](work)
    work.remove("d/b")
    work.git("checkout", "-q", "--", "d/b")
    age(work)
    work.git("rm", "-q", "d/.gitattributes")
    os.utime(work.root / ".git" / "index", (time.time() + 100, time.time() + 100))
    os.rename(work.path("d"), work.path(".git/d"))
    read_by_us(work)
    os.rename(work.path(".git/d"), work.path("d"))
    before = work.state()
    taken = work.take()
    work.write("d/b", "run\n")
    assert roll_back(taken).is_complete
    assert work.state() == before


def test_nothing_is_kept_where_an_agent_could_write_it(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(work.root / "state"))
    work.write("x")
    assert work.take().untracked == ("x",)
    assert not (work.root / "state" / "runner" / "indexes").exists()
