"""Work trees of runs: made of one commit, accepted whole or not at all, removed only by decision."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support.work import Work

from runner.errors import Conflict
from runner.state.authentic import write_record
from runner.workspace import snapshot as snapshots
from runner.workspace import worktree as worktrees
from runner.workspace.worktree import Worktree, accept, create, discard, load, place


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write("a", "".join(f"{number}\n" for number in range(20)))
    made.write("b", "b\n")
    made.write("d/c", "c\n")
    made.commit()
    return made


def environment() -> Mapping[str, str]:
    return os.environ


def made(work: Work) -> Worktree:
    path = place(str(work.root), "r", environment())
    return create(str(work.root), work.head(), path, str(work.folder))


def write(tree: Worktree, name: str, text: str) -> None:
    path = Path(tree.path, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_it_stands_in_the_state_folder_apart_from_other_repositories(own_home: Path) -> None:
    one, other = (place(repo, "r", environment()) for repo in ("/one", "/other"))
    assert one != other
    assert all(path.startswith(f"{own_home}/.local/state/runner/worktrees/") for path in (one, other))
    assert place("/one", "r", {"HOME": "/h"}).startswith("/h/.local/state/runner/")


def test_it_has_the_base_and_nothing_uncommitted(work: Work) -> None:
    work.write("b", "edited\n")
    work.write("new")
    tree = made(work)
    assert tree.is_there() and load(str(work.folder)) == tree
    assert Path(tree.path, "b").read_text() == "b\n" and not Path(tree.path, "new").exists()
    assert work.git("branch", "--show-current", cwd=Path(tree.path)) == b""


def test_accepting_merges_with_what_the_user_has_not_committed_and_stages_nothing(work: Work) -> None:
    tree = made(work)
    text = Path(tree.path, "a").read_text()
    write(tree, "a", text.replace("19\n", "nineteen\n"))
    write(tree, "n/new", "new\n")
    os.unlink(Path(tree.path, "d", "c"))
    os.chmod(Path(tree.path, "b"), 0o755)
    work.write("a", text.replace("0\n", "zero\n", 1))
    work.write("mine", "mine\n")
    index = (work.root / ".git" / "index").read_bytes()
    accepted = accept(tree)
    assert set(accepted.paths) == {"a", "n/new", "d/c", "b"} and not accepted.kept and not accepted.left
    assert work.read("a").decode() == text.replace("0\n", "zero\n", 1).replace("19\n", "nineteen\n")
    assert work.read("n/new") == b"new\n" and work.read("mine") == b"mine\n"
    assert not (work.root / "d").exists() and os.access(work.path("b"), os.X_OK)
    assert (work.root / ".git" / "index").read_bytes() == index
    assert tree.is_there(), "only `discard` removes it"


def test_commits_that_were_made_in_it_are_accepted_as_changes(work: Work) -> None:
    tree, head = made(work), work.head()
    write(tree, "b", "committed\n")
    work.git("commit", "-qam", "x", cwd=Path(tree.path))
    accept(tree)
    assert work.read("b") == b"committed\n" and work.head() == head


@pytest.mark.parametrize("is_committed", [False, True])
def test_ignored_files_that_were_added_to_git_by_force_are_accepted(work: Work, is_committed: bool) -> None:
    work.write(".gitignore", "dist/\n*.log\n")
    work.write("dist/base", "base\n")
    work.git("add", "-f", "dist/base")
    work.commit()
    tree = made(work)
    for name in ("dist/base", "dist/x", "dist/deep/y", "new/z.log", "dist/not-added", "not-added.log"):
        write(tree, name, "by the run\n")
    forced = ["dist/x", "dist/deep/y", "new/z.log"]
    work.git("add", "-f", *forced, cwd=Path(tree.path))
    if is_committed:
        work.git("commit", "-q", "-m", "x", cwd=Path(tree.path))
        work.git("rm", "-q", "--cached", "dist/x", cwd=Path(tree.path))
    work.write("dist/mine", "mine\n")
    assert accept(tree).paths == ("dist/base", *sorted(forced))
    assert all(work.read(name) == b"by the run\n" for name in ("dist/base", *forced))
    assert work.read("dist/mine") == b"mine\n" and not os.path.lexists(work.path("dist/not-added"))
    assert work.git("diff", "--cached", "--name-only") == b""


def _large(top: Path) -> None:
    with open(top / "odd", "wb") as file:
        file.truncate(3 << 30)


def _deep(top: Path) -> None:
    top.joinpath("odd").mkdir()
    at = os.open(top / "odd", os.O_RDONLY)
    for _ in range(2100):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


def _hidden(top: Path) -> None:
    top.joinpath("odd", ".git").mkdir(parents=True)
    top.joinpath("odd", "f").write_text("x")


@pytest.mark.parametrize("make", [_large, _deep, _hidden])
def test_work_that_git_cannot_record_is_not_removed_by_accepting_the_rest(
    work: Work, make: Callable[[Path], None]
) -> None:
    tree = made(work)
    write(tree, "new", "x\n")
    os.mkfifo(Path(tree.path, "pipe"))  # there is nothing in it to lose
    make(Path(tree.path))
    before = work.state()
    with pytest.raises(Conflict) as error:
        accept(tree)
    assert any("odd" in problem for problem in error.value.problems) and tree.path in str(error.value.hint)
    assert work.state() == before and os.path.lexists(f"{tree.path}/odd")
    subprocess.run(["rm", "-rf", "odd"], cwd=tree.path, check=True)
    assert accept(tree).paths == ("new",)


def test_a_repository_that_was_added_by_force_is_no_silent_loss(work: Work) -> None:
    work.write(".gitignore", "dist/\n")
    work.commit()
    tree = made(work)
    write(tree, "dist/sub/f", "x\n")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "x")):
        work.git(*words, cwd=Path(tree.path, "dist/sub"))
    work.git("add", "-f", "dist/sub", cwd=Path(tree.path))
    with pytest.raises(Conflict, match="submodule"):
        accept(tree)


def test_conflicts_are_refused_and_nothing_is_changed(work: Work) -> None:
    tree = made(work)
    write(tree, "b", "theirs\n")
    write(tree, "new", "theirs\n")
    work.write("b", "mine\n")
    before, staged = work.state(), work.staged()
    with pytest.raises(Conflict) as error:
        accept(tree)
    assert error.value.problems == ("b",)
    assert (work.state(), work.staged()) == (before, staged)
    assert Path(tree.patch).read_bytes()


def test_a_file_of_the_users_with_the_same_name_is_a_conflict(work: Work) -> None:
    tree = made(work)
    write(tree, "new", "theirs\n")
    work.write("new", "mine\n")
    with pytest.raises(Conflict):
        accept(tree)
    assert work.read("new") == b"mine\n"


def test_accepting_twice_or_accepting_nothing_changes_nothing(work: Work) -> None:
    tree = made(work)
    assert accept(tree).paths == ()
    write(tree, "b", "theirs\n")
    accept(tree)
    before = work.state()
    assert accept(tree).paths == ("b",)
    assert work.state() == before


def test_an_acceptance_that_breaks_off_is_finished_by_the_next_call(work: Work) -> None:
    tree = made(work)
    for name in ("b", "new1", "new2"):
        write(tree, name, "theirs\n")

    def stop(step: str) -> None:
        if step == "put new1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        accept(tree, watch=stop)
    work.write("b", "user, meanwhile\n")
    accept(tree)
    assert [work.read(name) for name in ("b", "new1", "new2")] == [
        b"user, meanwhile\n",
        b"theirs\n",
        b"theirs\n",
    ]


def test_discarding_keeps_the_work_as_a_patch_and_removes_the_tree(work: Work) -> None:
    tree = made(work)
    write(tree, "new", "theirs\n")
    assert discard(tree)
    assert not tree.is_there() and not os.path.exists(tree.path)
    assert b"+theirs" in Path(tree.patch).read_bytes()
    assert work.git("worktree", "list", "--porcelain").count(b"worktree ") == 1
    patch = Path(tree.patch).read_bytes()
    assert not discard(tree) and Path(tree.patch).read_bytes() == patch


def test_git_itself_does_not_remove_it(work: Work) -> None:
    tree = made(work)
    work.git("worktree", "prune", "--expire=now")
    work.git("worktree", "remove", "--force", tree.path, ok=False)
    assert tree.is_there()


def test_what_is_no_work_tree_any_more_is_not_removed(work: Work) -> None:
    tree = made(work)
    write(tree, "new", "theirs\n")
    os.unlink(f"{tree.path}/.git")
    with pytest.raises(Conflict):
        discard(tree)
    with pytest.raises(Conflict):
        accept(tree)
    assert Path(tree.path, "new").exists()


def test_without_a_commit_or_a_repository_there_is_none(tmp_path: Path) -> None:
    work = Work(tmp_path)
    with pytest.raises(Conflict, match="no commit"):
        create(str(work.root), None, str(tmp_path / "w"), str(work.folder))
    with pytest.raises(Conflict, match="no git repository"):
        create(str(tmp_path), "0" * 40, str(tmp_path / "w"), str(work.folder))
    assert not (tmp_path / "w").exists() and worktrees.load(str(work.folder)) is None


def test_it_may_be_made_of_a_commit_that_no_ref_names(work: Work) -> None:
    tree = work.git("write-tree").decode().strip()
    base = work.git("commit-tree", tree, "-m", "unnamed").decode().strip()
    path = place(str(work.root), "r", environment())
    made = create(str(work.root), base[:12], path, str(work.folder))
    assert made.base == base and work.git("rev-parse", "HEAD", cwd=Path(path)).decode().strip() == base
    write(made, "b", "theirs\n")
    assert accept(made).paths == ("b",) and discard(made)


def test_of_an_unknown_commit_none_is_made(work: Work, own_home: Path) -> None:
    path = place(str(work.root), "r", environment())
    for base in ("f" * 40, "nothing", "HEAD:b"):
        with pytest.raises(Conflict, match="is no commit"):
            create(str(work.root), base, path, str(work.folder))
    assert not (own_home / ".local" / "state").exists() and load(str(work.folder)) is None


def test_a_place_that_is_taken_is_refused(work: Work) -> None:
    made(work)
    with pytest.raises(Conflict, match="exists"):
        made(work)


@pytest.mark.parametrize("level", ["runner", "runner/worktrees", "runner/worktrees/digest"])
@pytest.mark.parametrize("bits", [0o777, 0o775, 0o1777])
def test_folders_above_it_that_others_could_write_are_closed(
    level: str, bits: int, work: Work, own_home: Path
) -> None:
    path = place(str(work.root), "r", environment())
    state = own_home / ".local" / "state"
    folder = state / level.replace("digest", path.split("/")[-2])
    folder.mkdir(parents=True)
    folder.chmod(bits)
    made(work)
    between = [above for above in Path(path).parents if state in above.parents]
    assert len(between) == 3 and not any(above.stat().st_mode & 0o022 for above in between)


@pytest.mark.parametrize("level", ["runner", "runner/worktrees", "runner/worktrees/digest"])
def test_a_link_above_it_is_not_followed(level: str, work: Work, own_home: Path, tmp_path: Path) -> None:
    """Who may write there could have it made in a folder of the user's choice, and swap it afterwards."""
    path = place(str(work.root), "r", environment())
    folder = own_home / ".local" / "state" / level.replace("digest", path.split("/")[-2])
    folder.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict, match="symbolic link"):
        made(work)
    assert list((tmp_path / "elsewhere").iterdir()) == [] and load(str(work.folder)) is None


def test_what_a_snapshot_keeps_is_for_nobody_else(work: Work) -> None:
    former = os.umask(0)
    try:
        work.take()
    finally:
        os.umask(former)
    kept = work.folder / "workspace"
    folders = [kept, *(path for path in kept.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o077 for path in folders} == {0}


def test_where_git_takes_another_folder_for_its_root_none_is_made(work: Work) -> None:
    """`core.worktree` in a file that all work trees read: submodules have it, once the extension is on."""
    work.git("config", "core.worktree", str(work.root))
    work.git("config", "extensions.worktreeConfig", "true")
    before = work.state()
    with pytest.raises(Conflict, match=r"takes .* for the work tree") as caught:
        made(work)
    assert "git config --worktree core.worktree" in (caught.value.hint or "")
    assert load(str(work.folder)) is None and work.state() == before
    assert work.says("worktree", "list").count("\n") == 1
    assert not Path(place(str(work.root), "r", environment())).exists()


def test_a_submodule_whose_root_is_found_by_a_shared_setting_is_refused_too(
    work: Work, tmp_path: Path
) -> None:
    whole = Work(tmp_path / "whole")
    whole.write("x")
    whole.commit()
    whole.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(work.root), "sub")
    whole.git("config", "extensions.worktreeConfig", "true", cwd=whole.root / "sub")
    sub = str(whole.root / "sub")
    with pytest.raises(Conflict, match=r"takes .* for the work tree"):
        create(sub, whole.says("-C", sub, "rev-parse", "HEAD").strip(), place(sub, "r", os.environ), sub)


@pytest.mark.parametrize("place", ["elsewhere", "a folder below", "a linked work tree"])
def test_a_run_in_place_is_not_recorded_where_git_looks_at_another_folder(
    work: Work, tmp_path: Path, place: str
) -> None:
    """What it does would be seen by nobody, and what stands there would be taken for its change."""
    other, where = tmp_path / "other", str(work.root)
    if place == "a linked work tree":
        work.git("worktree", "add", "-q", str(other))
        work.git("config", "extensions.worktreeConfig", "true")
        work.git("config", "--worktree", "core.worktree", where, cwd=other)
        where = str(other)
    else:
        looked_at = other if place == "elsewhere" else work.root / "below"
        looked_at.mkdir()
        work.git("config", "core.worktree", str(looked_at))
    with pytest.raises(Conflict, match=r"takes .* for the work tree of"):
        snapshots.take(where, str(work.folder))
    assert load(str(work.folder)) is None


def test_a_setting_of_one_work_tree_alone_moves_no_other(work: Work) -> None:
    work.git("config", "extensions.worktreeConfig", "true")
    work.git("config", "--worktree", "core.worktree", str(work.root))
    tree = made(work)
    write(tree, "a", "theirs\n")
    assert accept(tree).paths == ("a",) and work.read("a") == b"theirs\n"


def test_a_tree_whose_record_is_of_another_folder_is_never_removed(work: Work) -> None:
    tree = made(work)
    write(tree, "work", "of hours\n")
    record = work.folder / "workspace.json"
    forged = {**json.loads(record.read_text()), "root": str(work.root)}
    del forged["mac"]
    write_record(str(record), forged)
    for decide in (discard, accept):
        with pytest.raises(Conflict, match="of another folder"):
            decide(tree)
    assert Path(tree.path, "work").read_text() == "of hours\n" and not tree.removal_began


LINES = [f"{number}\n" for number in range(20)]


@pytest.mark.parametrize(
    ("rule", "mine", "theirs"),
    [
        ("* text eol=crlf", "".join(LINES), "".join(LINES).replace("\n", "\r\n")),
        ("* text eol=lf", "".join(LINES), "".join(LINES)),
        ("* text=auto", "".join(LINES), "".join(LINES)),
        ("* text ident", "$Id$\n" + "".join(LINES), None),
        ("* working-tree-encoding=UTF-16LE eol=lf", None, None),
    ],
)
@pytest.mark.parametrize("edited", [False, True])
def test_a_file_that_git_converts_is_taken_over_whatever_form_it_has(
    work: Work, rule: str, mine: str | None, theirs: str | None, edited: bool
) -> None:
    """The user's file has the form in which somebody wrote it, and that of the tree is checked out."""
    encoding = "utf-16-le" if "UTF-16" in rule else "utf-8"
    text = mine or "".join(LINES)
    work.write(".gitattributes", rule.replace("*", "f", 1) + "\n")
    work.write("f", text.encode(encoding))
    work.commit()
    assert work.git("status", "--porcelain") == b""
    tree = made(work)
    there = Path(tree.path, "f")
    if theirs is not None:
        assert there.read_bytes() == theirs.encode(encoding)
    there.write_bytes(there.read_bytes().replace("3\n".encode(encoding), "three\n".encode(encoding), 1))
    there.write_bytes(there.read_bytes().replace(b"3\r\n", b"three\r\n", 1))
    if edited:
        work.write("f", text.replace("17\n", "seventeen\n").encode(encoding))
    assert accept(tree).paths == ("f",)
    wanted = text.replace("3\n", "three\n", 1)
    wanted = wanted.replace("17\n", "seventeen\n") if edited else wanted
    shown = work.read("f").decode(encoding).replace("\r\n", "\n")
    assert "".join(line for line in shown.splitlines(True) if "$Id" not in line) == wanted.replace(
        "$Id$\n", ""
    )
    assert "\r" not in work.read("f").decode(encoding) or "crlf" in rule
    work.git("add", "f")
    assert work.says("diff", "--cached", "--numstat") == ("2\t2\tf\n" if edited else "1\t1\tf\n")


def test_line_ends_that_git_stores_are_merged_as_they_are(work: Work) -> None:
    """Committed before there was a rule: `text=auto` leaves such a file alone."""
    text = "".join(LINES).replace("\n", "\r\n")
    work.write("f", text)
    work.commit()
    work.write(".gitattributes", "* text=auto\n")
    work.commit()
    tree = made(work)
    write(tree, "f", "")
    Path(tree.path, "f").write_bytes(text.replace("3\r", "three\r", 1).encode())
    work.write("f", text.replace("17\r", "seventeen\r"))
    accept(tree)
    assert work.read("f").decode() == text.replace("3\r", "three\r", 1).replace("17\r", "seventeen\r")


def test_both_sides_of_a_conflict_are_compared_in_the_form_that_git_stores(work: Work) -> None:
    work.write(".gitattributes", "f eol=crlf\n")
    work.write("f", "one\ntwo\n")
    work.write("gone", "one\n")
    work.commit()
    tree = made(work)
    Path(tree.path, "f").write_bytes(b"one\r\nzwei\r\n")
    os.unlink(Path(tree.path, "gone"))
    work.write("f", "one\ndeux\n")
    work.write("gone", "edited\n")
    before = work.state()
    with pytest.raises(Conflict) as caught:
        accept(tree)
    assert caught.value.problems == ("f", "gone") and work.state() == before


@pytest.mark.parametrize(
    ("rules", "settings", "driver"),
    [
        ("f -merge", {}, "binary"),
        ("f binary", {}, "binary"),
        ("f merge=binary", {}, "binary"),
        ("f merge=lfs", {}, "lfs"),
        ("f merge=mine", {"merge.mine.driver": "touch ran; true"}, "merge.mine.driver"),
        ("f merge=union", {"merge.union.driver": "touch ran; true"}, "merge.union.driver"),
        ("", {"merge.default": "binary"}, "binary"),
        ("* merge=union\nf !merge", {"merge.default": "other"}, "other"),
    ],
)
def test_what_gits_attributes_keep_from_a_merge_is_taken_whole_or_a_conflict(
    work: Work, rules: str, settings: dict[str, str], driver: str
) -> None:
    """Edits of lines far apart, which a merge as text would bring together."""
    work.write(".gitattributes", f"{rules}\n")
    for name in ("f", "only-theirs.f", "a"):
        work.write(name, "".join(LINES))
    work.commit()
    for name, value in settings.items():
        work.git("config", name, value)
    tree = made(work)
    write(tree, ".gitattributes", "* merge=union\n")  # what a run writes decides nothing
    for name in ("f", "only-theirs.f"):
        write(tree, name, "".join(LINES).replace("3\n", "three\n", 1))
    work.write("f", "".join(LINES).replace("17\n", "seventeen\n"))
    before = work.state()
    with pytest.raises(Conflict) as caught:
        accept(tree)
    assert caught.value.problems == ("f",) and f"f ({driver})" in str(caught.value.hint)
    assert work.state() == before and not list(Path(tree.path).glob("ran"))
    work.write("f", "".join(LINES))
    assert set(accept(tree).paths) == {".gitattributes", "f", "only-theirs.f"}


@pytest.mark.parametrize(
    ("rules", "settings"),
    [
        ("f merge=union", {}),
        ("f merge=union eol=crlf", {}),
        ("* -merge\nf merge=union", {}),
        ("", {"merge.default": "union"}),
    ],
)
def test_lines_that_both_sides_added_at_one_place_are_all_kept_under_union(
    work: Work, rules: str, settings: dict[str, str]
) -> None:
    work.write(".gitattributes", f"{rules}\n")
    work.write("f", "first\nlast\n")
    work.commit()
    for name, value in settings.items():
        work.git("config", name, value)
    tree = made(work)
    there, end = Path(tree.path, "f"), b"\r\n" if "crlf" in rules else b"\n"
    assert there.read_bytes() == b"first" + end + b"last" + end
    there.write_bytes(b"first" + end + b"theirs" + end + b"last" + end)
    work.write("f", "first\nmine\nlast\n")
    assert accept(tree).paths == ("f",)
    assert work.read("f") == end.join((b"first", b"mine", b"theirs", b"last", b""))


@pytest.mark.parametrize("rules", ["", "f merge", "f merge=text", "* merge=union\nf merge=text"])
def test_a_merge_as_text_still_finds_the_conflict(work: Work, rules: str) -> None:
    work.write(".gitattributes", f"{rules}\n")
    work.write("f", "first\nlast\n")
    work.commit()
    tree = made(work)
    write(tree, "f", "first\ntheirs\nlast\n")
    work.write("f", "first\nmine\nlast\n")
    with pytest.raises(Conflict, match="do not apply cleanly") as caught:
        accept(tree)
    assert "attribute" not in str(caught.value.hint)


def test_what_is_in_the_way_of_a_new_file_is_no_part_of_the_change(work: Work) -> None:
    tree = made(work)
    write(tree, "one/new", "theirs\n")
    write(tree, "two", "theirs\n")
    work.write("one", "mine\n")
    work.write("two/mine", "mine\n")
    before = work.state()
    with pytest.raises(Conflict, match="in the way") as caught:
        accept(tree)
    assert caught.value.problems == ("one", "two/mine") and work.state() == before


def test_ignored_files_of_the_user_are_never_moved_out_of_the_way(work: Work) -> None:
    tree = made(work)
    for name in ("same", "other", "file", "folder/new", "link"):
        write(tree, name, "theirs\n")
    work.write(".git/info/exclude", "")
    work.write(".gitignore", "/same\n/other\n/file\n/folder\n/link\n")
    work.write("same", "theirs\n")
    work.write("other", "mine\n")
    work.write("file/mine", "mine\n")
    work.write("folder", "mine\n")
    work.link("link", "nowhere")
    before = work.state()
    with pytest.raises(Conflict, match="in the way") as caught:
        accept(tree)
    assert caught.value.problems == ("file", "folder", "link", "other") and work.state() == before
    for name in ("other", "file", "folder", "link"):
        work.remove(name)
    os.makedirs(work.path("file/empty"))
    assert accept(tree).kept == () and work.read("file") == work.read("same") == b"theirs\n"


def test_a_folder_whose_files_all_go_makes_way_for_a_file(work: Work) -> None:
    work.write("d/e/f")
    work.commit()
    tree = made(work)
    shutil.rmtree(f"{tree.path}/d")
    write(tree, "d", "theirs\n")
    assert accept(tree).kept == () and work.read("d") == b"theirs\n"


def test_what_was_judged_is_taken_over_and_what_came_later_is_kept_as_a_patch(work: Work) -> None:
    tree = made(work)
    write(tree, "b", "the run's\n")
    taken = snapshots.load(str(work.folder))
    assert taken is not None
    judged = taken.look().tree
    write(tree, "tests/__pycache__/x.pyc", "by a check\n")
    write(tree, "b", "by hand\n")
    assert accept(tree, judged).paths == ("b",)
    assert work.read("b") == b"the run's\n" and not (work.root / "tests").exists()
    assert discard(tree, judged)
    assert Path(tree.patch).read_bytes().count(b"diff --git") == 1
    later = Path(tree.later).read_bytes()
    assert b"+by hand" in later and b"+by a check" in later
