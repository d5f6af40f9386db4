"""What git holds besides files: a change is named, and what the run is known to have done is put back."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.killed_step import is_killed
from support.work import Work

from runner.disk import git_env
from runner.errors import RollbackRefused
from runner.git_change import GitChange, PutBack
from runner.workspace import git_back, git_state
from runner.workspace import snapshot as snapshots
from runner.workspace.changes import changed
from runner.workspace.git import GitFailed
from runner.workspace.repository import find
from runner.workspace.rollback import discarded, roll_back
from runner.workspace.snapshot import Snapshot

REJECTED = "refs/runner/rejected/r/"
NOBODY = "nothing shows who did it"
STAGED = "index: nothing shows who staged it, so only a rollback of the files puts it back"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return begun(tmp_path)


def begun(tmp_path: Path, *options: str) -> Work:
    made = Work(tmp_path)
    if options:
        shutil.rmtree(made.root / ".git")
        made.git("init", "-q", "-b", "main", *options)
    made.write("a", "1\n")
    made.commit()
    made.git("branch", "other")
    return made


def taken(work: Work) -> Snapshot:
    repository = find(str(work.root))
    assert repository is not None
    found = snapshots.take(repository, str(work.folder))
    assert found is not None
    git_state.record(repository, str(work.folder))
    return found


def agent(work: Work, *commands: str) -> None:
    """What the run does: git knows it by its variables."""
    work.env = {**os.environ, "GIT_COMMITTER_NAME": "runner", "GIT_COMMITTER_EMAIL": git_env.mark("r")}
    try:
        for command in commands:
            work.git(*command.split(" "))
    finally:
        work.env = None


def found(snapshot: Snapshot) -> dict[str, tuple[str | None, str | None, bool]]:
    changes = git_state.compared(snapshot, changed(snapshot))
    assert changes is not None
    return {one.what: (one.before, one.after, one.by_run) for one in changes}


def put(snapshot: Snapshot, *, plans: bool = False) -> PutBack:
    return git_back.put_back(snapshot, plans=plans)


def refs(work: Work) -> str:
    told = work.says("for-each-ref", "--format=%(refname) %(objectname) %(symref)")
    lines = [line for line in told.split("\n") if not line.startswith("refs/runner/")]
    return "\n".join((*lines, (work.root / ".git" / "HEAD").read_text()))


def everything(work: Work) -> tuple[str, bytes]:
    return refs(work), work.git("ls-files", "-s", "-z")


COMMIT = "commit -q --allow-empty -m run"
BY_RUN = {
    "commits": ["add -A", COMMIT],
    "commits what was staged": [COMMIT],
    "commits twice": [COMMIT, COMMIT],
    "switches": ["switch -q other"],
    "switches there and back": ["switch -q other", "switch -q -", "switch -q -", COMMIT],
    "switches and rebases": ["switch -q other", COMMIT, "rebase -q --force-rebase --root"],
    "switches and commits": ["switch -q -c new", "add -A", COMMIT],
    "detaches": ["checkout -q --detach"],
    "detaches at a tag": ["tag -a -m text v1", "checkout -q v1", COMMIT],
    "detaches and commits": ["checkout -q --detach", "add -A", COMMIT],
    "makes a branch": ["branch new"],
    "moves a branch": [COMMIT, "update-ref refs/heads/other main"],
    "resets": ["commit -q --amend --allow-empty -m other"],
    "tags": ["tag -a -m text v1"],
    "notes": ["notes add -m text"],
    "makes an odd name": ["branch we-\u00efrd'\"$x;\u2028\x85y"],
}


@pytest.mark.parametrize("what", BY_RUN)
def test_what_the_run_did_is_named_and_put_back_exactly(work: Work, what: str) -> None:
    work.write("staged", "mine\n")
    work.git("add", "staged")
    snapshot, before = taken(work), everything(work)
    work.write("new", "run\n")
    agent(work, *BY_RUN[what])
    after, tips = found(snapshot), work.says("rev-parse", "--all").split()
    staged = {name for name in after if name.startswith("index ")}
    assert after and {name for name in after if not after[name][2]} == staged
    done = put(snapshot)
    assert (done.left, refs(work)) == ((STAGED,) if staged else (), before[0])
    if not staged:
        assert everything(work) == before
    assert work.read("new") == b"run\n"
    assert {*work.says("rev-parse", "--all").split()} >= {*tips}, "nothing that was made is out of reach"
    assert put(snapshot) == done, "and a second call does nothing"


def test_nothing_changed_is_nothing(work: Work) -> None:
    work.git("pack-refs", "--all")
    snapshot = taken(work)
    os.utime(work.path("a"))
    work.git("status")
    work.git("gc", "-q")
    work.git("reflog", "expire", "--all", "--expire=now")
    agent(work, "branch x", "branch -D x", "switch -q other", "switch -q main", "add a")
    (work.root / ".git" / "FETCH_HEAD").write_text("x\n")
    with (work.root / ".git" / "config").open("a") as file:
        file.write(
            '# a comment\n[branch "main"]\n\tvscode-merge-base = origin/main\n\tgk-merge-base = main\n'
        )
    assert found(snapshot) == {}


def test_what_a_person_does_meanwhile_is_named_and_left(work: Work) -> None:
    snapshot = taken(work)
    work.write("b")
    work.git("add", "b")
    work.git("config", "core.editor", "vi")
    work.git("tag", "mine")
    agent(work, "tag light")
    work.git("switch", "-q", "-c", "topic")
    work.git("commit", "-q", "--allow-empty", "-m", "mine")
    work.write("c")
    work.git("add", "c")
    before, after = everything(work), found(snapshot)
    assert {*after} == {
        "HEAD",
        "refs/heads/topic",
        "refs/tags/light",
        "refs/tags/mine",
        "index b",
        "index c",
        "config core.editor",
    }
    assert after["HEAD"] == ("refs/heads/main", "refs/heads/topic", False)
    assert after["config core.editor"] == (None, "vi", False)
    assert not any(by_run for _, _, by_run in after.values())
    done = put(snapshot)
    assert (done.put, done.kept, everything(work)) == ((), (), before)
    assert len(done.left) == 6
    assert [one for one in done.left if not one.endswith(NOBODY)] == [STAGED]


def test_what_a_person_has_staged_stays_although_the_run_commits_it(work: Work) -> None:
    snapshot, before = taken(work), refs(work)
    work.write("mine.txt")
    work.git("add", "mine.txt")
    work.write("a", "run\n")
    agent(work, "commit -q -a -m run")
    staged = work.git("ls-files", "-s", "-z")
    after = found(snapshot)
    assert {name: by_run for name, (_, _, by_run) in after.items()} == {
        "refs/heads/main": True,
        "index a": False,
        "index mine.txt": False,
    }
    assert put(snapshot).left == (STAGED,)
    assert (refs(work), work.git("ls-files", "-s", "-z")) == (before, staged)


@pytest.mark.parametrize("last", ["person", "run"])
def test_of_a_branch_that_both_moved_nothing_is_put_back(work: Work, last: str) -> None:
    snapshot = taken(work)
    if last == "run":
        work.git(*COMMIT.split(" "))
    agent(work, COMMIT)
    if last == "person":
        work.git(*COMMIT.split(" "))
    head = work.head()
    assert found(snapshot)["refs/heads/main"][2] is False
    assert not put(snapshot).put and work.head() == head


@pytest.mark.parametrize("first", ["person", "run"])
def test_a_switch_of_a_person_counts_although_the_run_commits(work: Work, first: str) -> None:
    snapshot = taken(work)
    if first == "person":
        work.git("switch", "-q", "other")
        agent(work, COMMIT)
    else:
        agent(work, COMMIT)
        work.git("switch", "-q", "other")
    assert found(snapshot)["HEAD"] == ("refs/heads/main", "refs/heads/other", False)
    done = put(snapshot)
    assert (work.root / ".git" / "HEAD").read_text() == "ref: refs/heads/other\n"
    assert done.put == (("refs/heads/other",) if first == "person" else ("refs/heads/main",))


@pytest.mark.parametrize("start", ["main", "--detach"])
def test_a_switch_of_a_person_that_no_log_has_is_not_the_runs(work: Work, start: str) -> None:
    work.git("checkout", "-q", start)
    snapshot = taken(work)
    agent(work, "switch -q -c new")
    work.git("symbolic-ref", "HEAD", "refs/heads/other")  # no log has it, as with other programs
    assert found(snapshot)["HEAD"][1:] == ("refs/heads/other", False)
    put(snapshot)
    assert work.says("symbolic-ref", "HEAD").strip() == "refs/heads/other"


@pytest.mark.parametrize("first", [COMMIT, "switch -q -c new"])
def test_a_head_that_a_person_detached_where_the_run_left_it_is_not_the_runs(work: Work, first: str) -> None:
    snapshot = taken(work)
    agent(work, first)
    (work.root / ".git" / "HEAD").write_text(f"{work.head()}\n")  # as programs check out that write no log
    assert found(snapshot)["HEAD"][1:] == (work.head(), False)
    assert f"HEAD: {NOBODY}" in put(snapshot).left


def test_a_head_that_is_a_link_is_left_and_called_so(work: Work) -> None:
    snapshot = taken(work)
    agent(work, "switch -q other")
    found(snapshot)
    head = work.root / ".git" / "HEAD"
    head.unlink()
    head.symlink_to("refs/heads/other")  # as old versions of git made it
    assert put(snapshot) == PutBack(left=("HEAD: it is a symbolic link",))
    assert head.is_symlink()


def test_what_moves_again_after_the_look_is_left(work: Work) -> None:
    snapshot = taken(work)
    work.write("b")
    agent(work, "switch -q other", "add -A", COMMIT)
    found(snapshot)
    work.git(*COMMIT.split(" "))
    work.git("checkout", "-q", "--detach")
    work.write("c")
    work.git("add", "c")
    before = everything(work)
    done = put(snapshot)
    assert (done.put, everything(work)) == ((), before)
    again = "it was changed again"
    assert done.left == (f"HEAD: {again}", f"refs/heads/other: {again}", STAGED)
    assert done.kept == (f"{REJECTED}heads/other",)


def test_where_head_is_left_nothing_was_rolled_back_although_it_was_planned(work: Work) -> None:
    snapshot = taken(work)
    work.write("a", "run\n")
    agent(work, COMMIT)
    found(snapshot)
    work.git("commit", "-q", "--allow-empty", "-m", "mine")
    assert put(snapshot, plans=True).left == ("refs/heads/main: it was changed again",)
    with pytest.raises(RollbackRefused):
        roll_back(snapshot)
    assert work.read("a") == b"run\n" and discarded(str(work.folder)) is None


def test_a_branch_of_the_run_that_somebody_has_checked_out_since_is_left(work: Work, tmp_path: Path) -> None:
    snapshot = taken(work)
    agent(work, "branch new")
    found(snapshot)
    work.git("worktree", "add", "-q", str(tmp_path / "elsewhere"), "new")
    assert put(snapshot).left == ("refs/heads/new: it is checked out",)


@pytest.mark.parametrize("words", ["rebase -q -x false --root", "rebase -q --apply other", "bisect start"])
@pytest.mark.parametrize("branch", ["new", "moved"])
def test_a_branch_of_the_run_that_is_rebased_or_bisected_elsewhere_since_is_left(
    work: Work, tmp_path: Path, words: str, branch: str
) -> None:
    for name, text in (("moved", "1\n"), ("other", "2\n")):
        work.git("switch", "-q", "-C", name, "main")
        work.write("c", text)
        work.commit()
    work.git("switch", "-q", "main")
    snapshot = taken(work)
    agent(work, "switch -q moved", COMMIT, "switch -q main", *["branch new moved"][: branch == "new"])
    found(snapshot)
    elsewhere = tmp_path / "elsewhere"
    work.git("worktree", "add", "-q", str(elsewhere), branch)
    work.git("-C", str(elsewhere), *words.split(" "), ok=False)
    if words == "bisect start":
        work.git("-C", str(elsewhere), "checkout", "-q", "--detach")
    left = f"refs/heads/{branch}: it is being rebased or bisected in another work tree"
    assert left in put(snapshot).left


def test_a_head_that_may_have_named_such_a_ref_is_left(work: Work) -> None:
    work.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    work.git("symbolic-ref", "HEAD", "refs/heads/alias")
    snapshot = taken(work)
    agent(work, "switch -q other")
    found(snapshot)
    assert put(snapshot).left == ("HEAD: it may have named another ref that names refs/heads/main",)


def test_a_ref_that_names_another_one_comes_back_with_it(work: Work) -> None:
    work.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    snapshot, before = taken(work), everything(work)
    agent(work, COMMIT)
    assert {*found(snapshot)} == {"refs/heads/main"}
    put(snapshot)
    assert everything(work) == before


@pytest.mark.parametrize("name", ["other", "fresh"])
@pytest.mark.parametrize("by_run", [True, False])
def test_a_ref_that_names_another_one_since_is_seen_and_put_back_where_it_is_the_runs(
    work: Work, name: str, by_run: bool
) -> None:
    snapshot, before, head = taken(work), refs(work), work.head()
    words = f"symbolic-ref refs/heads/{name} refs/heads/main"
    agent(work, words) if by_run else work.git(*words.split(" "))
    now = (head if name == "other" else None, "refs/heads/main", by_run)
    assert found(snapshot) == {f"refs/heads/{name}": now}
    done = put(snapshot)
    if by_run:
        assert (done.put, refs(work)) == ((f"refs/heads/{name}",), before)
    else:
        assert done.left == (f"refs/heads/{name}: {NOBODY}",)


def test_a_ref_that_names_yet_another_one_after_the_look_is_left(work: Work) -> None:
    snapshot = taken(work)
    agent(work, "symbolic-ref refs/heads/fresh refs/heads/main")
    found(snapshot)
    work.git("symbolic-ref", "refs/heads/fresh", "refs/heads/other")
    assert put(snapshot).left == ("refs/heads/fresh: it is refs/heads/other",)
    assert work.says("symbolic-ref", "refs/heads/fresh").strip() == "refs/heads/other"


def test_refs_that_name_others_are_not_compared_with_a_record_that_has_none(work: Work) -> None:
    work.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    snapshot = taken(work)
    position = snapshot.position.replace(symbolic=None)
    assert changed(snapshot.replace(position=position)).refs == ()


def test_a_fetch_is_no_change_and_neither_are_the_tags_that_it_brings(work: Work, tmp_path: Path) -> None:
    other = Work(tmp_path, "other")
    other.write("a")
    other.commit()
    work.git("remote", "add", "origin", str(other.root))
    work.git("fetch", "-q", "origin")
    snapshot = taken(work)
    other.commit()
    other.git("tag", "theirs")
    other.git("branch", "more")
    work.git("fetch", "-q", "origin")
    assert "refs/tags/theirs" in refs(work)
    assert found(snapshot) == {}
    work.git("tag", "mine")
    assert {*found(snapshot)} == {"refs/tags/mine"}
    work.git("update-ref", "refs/remotes/z/q", "HEAD")
    assert {*found(snapshot)} == {"refs/tags/mine", "refs/remotes/z/q"}
    agent(work, "update-ref refs/remotes/origin/q HEAD", "tag -a -m text run origin/more")
    after = found(snapshot)
    assert after["refs/remotes/origin/q"][2] and after["refs/tags/run"][2]


def test_the_tags_of_a_large_fetch_are_no_change_and_older_ones_are_where_no_fetch_names_them(
    work: Work, tmp_path: Path
) -> None:
    other = Work(tmp_path, "other")
    other.write("a")
    first = other.commit()
    work.git("remote", "add", "origin", str(other.root))
    work.git("fetch", "-q", "origin")
    snapshot = taken(work)
    other.git("tag", "late")
    work.git("fetch", "-q", "origin")
    assert "refs/tags/late" in refs(work) and found(snapshot) == {}
    for number in range(60):
        other.commit()
        other.git("branch", f"b{number}")
    other.git("tag", "-a", "-m", "text", "a,tag")
    work.git("fetch", "-q", "origin")
    work.git("tag", "mine", first)
    assert {*found(snapshot)} == {"refs/tags/mine", "refs/tags/late"}, "the last fetch did not name it again"
    work.git("branch", "-D", "-r", *(f"origin/b{number}" for number in range(60)))
    (work.root / ".git" / "FETCH_HEAD").write_text(f"{first}\tnot-for-merge\ttag 'late' of x\n")
    assert {*found(snapshot)} == {"refs/tags/mine"}
    work.git("tag", "-f", "late", "main")
    assert {*found(snapshot)} == {"refs/tags/mine", "refs/tags/late"}


def test_a_tag_of_the_run_that_has_another_name_is_not_known_to_be_its_own(work: Work) -> None:
    snapshot = taken(work)
    agent(work, "tag -a -m text v1")
    work.git("tag", "release", "v1")
    after = {name: by_run for name, (_, _, by_run) in found(snapshot).items()}
    assert after == {"refs/tags/v1": True, "refs/tags/release": False}
    done = put(snapshot)
    assert (done.put, work.says("tag").split()) == (("refs/tags/v1",), ["release"])


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("merge", "merge -q --no-commit --no-ff -s ours topic"),
        ("cherry-pick", "cherry-pick --no-commit topic"),
        ("rebase", "rebase -q --root -x false"),
        ("bisect", "bisect start"),
    ],
)
def test_a_merge_that_is_under_way_since_is_named_and_left(work: Work, state: str, words: str) -> None:
    work.git("switch", "-q", "-c", "topic")
    work.git(*COMMIT.split(" "))
    work.git("switch", "-q", "main")
    snapshot = taken(work)
    work.git(*words.split(" "), ok=False)
    if state == "cherry-pick":
        work.git("update-ref", "CHERRY_PICK_HEAD", "topic")
    after = found(snapshot)
    assert after["HEAD state"] == (None, state, False)
    assert f"HEAD state: {NOBODY}" in put(snapshot).left
    again = taken(work)
    work.git("update-ref", "-d", "CHERRY_PICK_HEAD")
    work.git(state, "reset" if state == "bisect" else "--abort", ok=state != "cherry-pick")
    assert found(again)["HEAD state"] == (state, None, False)


@pytest.mark.parametrize("is_moved", [True, False])
def test_what_runner_has_kept_may_not_be_taken_away(work: Work, is_moved: bool) -> None:
    agent(work, f"update-ref {REJECTED}heads/main HEAD")
    work.commit()
    snapshot, old = taken(work), work.says("rev-parse", f"{REJECTED}heads/main").strip()
    agent(work, f"update-ref {REJECTED}new HEAD")
    assert found(snapshot) == {}, "runner itself adds some at any time"
    agent(
        work, f"update-ref {REJECTED}heads/main HEAD" if is_moved else f"update-ref -d {REJECTED}heads/main"
    )
    change = (old, work.head() if is_moved else None, False)
    assert found(snapshot) == {f"{REJECTED}heads/main": change}


def test_a_tag_is_brought_by_no_fetch_where_there_is_no_remote(work: Work) -> None:
    snapshot, main = taken(work), work.head()
    commit = work.says("commit-tree", "-m", "x", "-p", main, "main^{tree}").strip()
    work.git("update-ref", "refs/remotes/z/q", commit)
    work.git("tag", "v2", commit)
    work.git("config", "remote.z.fetch", "+refs/heads/*:refs/remotes/z/*")
    assert {*found(snapshot)} == {"refs/remotes/z/q", "refs/tags/v2", "config remote.z.fetch"}


@pytest.mark.parametrize("had", [False, True])
def test_a_stash_is_left_as_work_of_a_person_may_be_in_it(work: Work, had: bool) -> None:
    work.write("a", "before\n")
    if had:
        work.git("stash")
    work.write("a", "precious\n")
    snapshot = taken(work)
    agent(work, "stash -q")
    work.write("a", "run\n")
    agent(work, "stash -q")
    assert found(snapshot)["refs/stash"][2]
    done = put(snapshot)
    assert done == PutBack(left=("refs/stash: `git stash list` would not be as before",))
    assert len(work.says("stash", "list").splitlines()) == 2 + had
    assert work.git("show", "stash@{1}:a") == b"precious\n"


@pytest.mark.parametrize("target", ["refs/heads/other", "refs/heads/none"])
def test_what_the_run_has_made_where_its_commits_are_kept_leads_nowhere(work: Work, target: str) -> None:
    snapshot, before = taken(work), refs(work)
    agent(work, COMMIT, f"symbolic-ref {REJECTED}heads/main {target}")
    tip = work.head()
    found(snapshot)
    done = put(snapshot)
    assert (done.put, done.left, done.kept) == (("refs/heads/main",), (), (f"{REJECTED}heads/main",))
    assert refs(work) == before, "no other branch was written"
    assert work.says("for-each-ref", "--format=%(objectname)%(symref)", REJECTED).split() == [tip]


@pytest.mark.parametrize("name", [f"{REJECTED}heads", f"{REJECTED}heads/main/x"])
def test_what_cannot_be_kept_is_left(work: Work, name: str) -> None:
    snapshot = taken(work)
    agent(work, COMMIT, f"update-ref {name} other")
    tip = work.head()
    found(snapshot)
    assert put(snapshot) == PutBack(left=("refs/heads/main: what it has now could not be kept",))
    assert work.head() == tip


def test_for_a_log_that_is_no_file_git_is_not_kept_waiting_and_the_rest_is_put_back(work: Work) -> None:
    snapshot = taken(work)
    agent(work, COMMIT, "branch -f other main", "branch new")
    found(snapshot)
    for name in ("HEAD", "refs/heads/other"):
        (work.root / ".git" / "logs" / name).unlink()
        os.mkfifo(work.root / ".git" / "logs" / name)
    done, why = put(snapshot), "its log is not a regular file, and git would wait for it"
    assert done.put == ("refs/heads/new",)
    assert done.left == (f"refs/heads/main: {why}", f"refs/heads/other: {why}")


def test_what_fails_is_left_with_the_reason_and_the_rest_is_put_back_and_told(work: Work) -> None:
    snapshot = taken(work)
    agent(work, COMMIT, "switch -q -c new")
    found(snapshot)
    (work.root / ".git" / "HEAD.lock").mkdir()
    done = put(snapshot)
    assert done.put == ("refs/heads/main",) and done.kept
    assert [one.partition(": ")[0] for one in done.left] == ["HEAD", "refs/heads/new"]


def test_what_is_as_before_already_is_told_so_although_a_merge_is_under_way_since(work: Work) -> None:
    snapshot, head = taken(work), work.head()
    agent(work, COMMIT, "branch new")
    found(snapshot)
    work.git("update-ref", "refs/heads/main", head)
    work.git("update-ref", "MERGE_HEAD", "new")
    done = put(snapshot)
    assert (done.put, done.left) == (("refs/heads/main",), ("refs/heads/new: a merge is under way since",))


@pytest.mark.parametrize("branch", ["new", "other"])
def test_head_is_left_on_a_branch_that_somebody_has_moved_since(work: Work, branch: str) -> None:
    snapshot = taken(work)
    agent(work, "switch -q other" if branch == "other" else "switch -q -c new")
    found(snapshot)
    work.git(*COMMIT.split(" "))
    head = work.head()
    left = put(snapshot).left
    assert left[0] == f"HEAD: refs/heads/{branch} was changed again"
    assert (work.says("symbolic-ref", "HEAD").strip(), work.head()) == (f"refs/heads/{branch}", head)


def test_where_git_fails_meanwhile_no_lock_stays_and_the_next_call_goes_on(work: Work) -> None:
    snapshot, before = taken(work), refs(work)
    agent(work, "switch -q other")
    found(snapshot)
    settings = config(work).read_text()
    config(work).write_text(f"{settings}[what\n")
    with pytest.raises(GitFailed):
        put(snapshot)
    assert not (work.root / ".git" / "HEAD.lock").exists()
    config(work).write_text(settings)
    assert put(snapshot).put == ("HEAD",) and refs(work) == before


@pytest.mark.parametrize("by_look", [True, False])
def test_nothing_is_put_back_below_a_merge_that_is_under_way_since_whenever_it_began(
    work: Work, by_look: bool
) -> None:
    work.git("switch", "-q", "other")
    work.git(*COMMIT.split(" "))
    work.git("switch", "-q", "main")
    snapshot, merge = taken(work), "merge -q --no-commit --no-ff -s ours other"
    agent(work, COMMIT)
    if by_look:
        work.git(*merge.split(" "))
    found(snapshot)
    if not by_look:
        work.git(*merge.split(" "))
    left = "refs/heads/main: a merge is under way since"
    assert put(snapshot).left == ((left, f"HEAD state: {NOBODY}") if by_look else (left,))


def test_nothing_is_put_back_where_a_person_has_finished_what_was_under_way_before(work: Work) -> None:
    work.git("bisect", "start")
    snapshot = taken(work)
    agent(work, COMMIT)
    work.git("bisect", "reset")
    head = work.head()
    found(snapshot)
    left = ("refs/heads/main: the bisect of before is over", f"HEAD state: {NOBODY}")
    assert (put(snapshot).left, work.head()) == (left, head)


def test_lines_of_the_log_between_which_somebody_moved_the_branch_prove_nothing(work: Work) -> None:
    snapshot = taken(work)
    agent(work, COMMIT)
    persons = work.says("commit-tree", "-p", "main", "-m", "mine", "main^{tree}")
    (work.root / ".git" / "refs" / "heads" / "main").write_text(persons)  # as programs that write no log do
    agent(work, COMMIT)
    head = work.head()
    assert found(snapshot)["refs/heads/main"][2] is False
    assert not put(snapshot).put and work.head() == head


def test_a_branch_with_another_name_and_a_folder_in_the_place_of_its_log_are_named(work: Work) -> None:
    snapshot, head = taken(work), work.head()
    agent(work, "branch -m other other/x")
    after = {"refs/heads/other": (head, None, False), "refs/heads/other/x": (None, head, False)}
    assert found(snapshot) == after
    assert not put(snapshot).put


def test_a_dropped_stash_and_a_deleted_branch_are_named(work: Work) -> None:
    work.write("a", "mine\n")
    work.git("stash")
    snapshot = taken(work)
    stashed = work.says("rev-parse", "refs/stash").strip()
    agent(work, "stash drop -q", "branch -D -q other")
    assert found(snapshot) == {
        "refs/heads/other": (work.head(), None, False),
        "refs/stash": (stashed, None, False),
    }


def test_settings_are_named_key_by_key(work: Work) -> None:
    work.git("config", "--add", "remote.origin.fetch", "a")
    work.git("config", "extensions.worktreeConfig", "true")
    snapshot = taken(work)
    agent(work, "config --add remote.origin.fetch b", "config --worktree core.hooksPath /x")
    agent(work, "config core.bare true")
    assert found(snapshot) == {
        "config core.bare": ("false", "true", False),
        "config remote.origin.fetch": ("a", '"a", "b"', False),
        "config.worktree core.hookspath": (None, "/x", False),
    }


def config(work: Work) -> Path:
    return work.root / ".git" / "config"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("flag", "flag ="),
        ("flag =", "flag"),
        ('flag = "a, b"', "flag = a\n\tflag = b"),
        ("flag = a\n\tflag = b", "flag = b\n\tflag = a"),
        ('flag = "no value"', "flag"),
    ],
)
def test_settings_are_compared_as_git_takes_them(work: Work, before: str, after: str) -> None:
    config(work).write_text(f"{config(work).read_text()}[x]\n\t{before}\n")
    snapshot = taken(work)
    config(work).write_text(config(work).read_text().replace(before, after))
    assert [*found(snapshot)] == ["config x.flag"]
    config(work).write_text(config(work).read_text().replace(after, f"{before}\n# as it was"))
    assert found(snapshot) == {}


def test_only_what_editors_note_of_a_branch_is_no_change(work: Work) -> None:
    snapshot = taken(work)
    for key in ("gk-last-accessed", "gk-new", "vscode-merge-base", "github-pr-owner-number"):
        work.git("config", f"branch.we.ird/one.{key}", "x")
    assert found(snapshot) == {}
    own = ("alias.gk-merge-base", "branch.vscode-x.remote", "branch.gk-x", "remote.branch.a.gk-b")
    for key in own:
        work.git("config", key, "x")
    assert {*found(snapshot)} == {f"config {key}" for key in own}


SECRETS = {
    "github.token": "1a2b3c4d5e6f",
    "sendemail.smtpPass": "first1",
    "http.https://e.org/.extraHeader": "second2",
    "http.cookieFile": "third3",
    "x.apiKey": "fourth4",
    "x.proxyAuth": "fifth5",
    "url.https://me:six6sixsix@e.org/.insteadOf": "gh:",
    "http.proxy": "http://me:seven7seven@proxy",
    "credential.helper": "!f() { echo password=eight8eight; }; f",
    "remote.origin.url": "https://ghp_aaaaaaaaaaaaaaaaaaaa9nine@github.com/x",
}
VALUES = (
    "1a2b3c4d5e6f",
    "first1",
    "second2",
    "third3",
    "fourth4",
    "fifth5",
    "six6",
    "seven7",
    "eight8",
    "9nine",
)


@pytest.mark.parametrize("when", ["before", "after", "other"])
def test_no_value_of_a_setting_that_may_be_a_secret_is_kept_or_said(work: Work, when: str) -> None:
    def write(more: str) -> None:
        for key, value in SECRETS.items():
            work.git("config", key, f"{value}{more}")

    if when != "after":
        write("")
    snapshot = taken(work)
    work.git("config", "core.editor", "odd")
    if when == "before":
        for key in SECRETS:
            work.git("config", "--unset", key)
    else:
        write("" if when == "after" else "0")
    after = found(snapshot)
    assert len(after) == 1 + len(SECRETS) and after["config core.editor"] == (None, "odd", False)
    token = ("[redacted]" if when != "after" else None, "[redacted]" if when != "before" else None, False)
    assert after["config github.token"] == token
    names = ("git.json", "git-after.json")
    said = [str(after).replace("'odd'", ""), *((work.folder / name).read_text() for name in names)]
    assert not [value for value in VALUES if any(value in text for text in said)], said
    assert "odd" not in said[2], "which is no secret that is known here, but may be one of the run"


def test_a_file_of_settings_that_git_cannot_read_is_named(work: Work) -> None:
    snapshot = taken(work)
    now = changed(snapshot)
    with (work.root / ".git" / "config").open("ab") as file:
        file.write(b"[what \xff\n")
    changes = git_state.compared(snapshot, now)
    assert changes is not None and GitChange("config (git cannot read it)", None, "no value") in changes


def test_what_is_prepared_before_the_agent_counts_as_there_before(work: Work) -> None:
    snapshot = taken(work)
    work.git("config", "core.hooksPath", ".husky")
    work.write("b")
    work.git("add", "b")
    now = changed(snapshot)
    snapshots.settle(snapshot, now.position, now.ignored, (), 0)
    git_state.settle(snapshot)
    settled = snapshots.load(str(work.folder))
    assert settled is not None and found(settled) == {}
    work.git("rm", "-q", "--cached", "b")
    assert [*found(settled)] == ["index b"]


def test_flags_and_stages_of_the_index_count(work: Work) -> None:
    snapshot = taken(work)
    agent(work, "update-index --assume-unchanged a")
    (before, after, _), *_ = found(snapshot).values()
    assert before is not None and after == f"{before} flags 8000"


@pytest.mark.parametrize(
    "kind",
    ["sha256", "detached", "unborn", "split", "packed", "linked", "submodule", "no log", "reftable"],
)
def test_odd_repositories(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    option = {"sha256": "--object-format=sha256", "reftable": "--ref-format=reftable"}.get(kind)
    if (
        kind == "reftable"
        and b"--ref-format"
        not in subprocess.run(["git", "init", "-h"], capture_output=True, check=False).stdout
    ):
        pytest.skip("this git knows no reftable")
    work = begun(tmp_path, *([option] if option else []))
    if kind == "detached":
        work.git("checkout", "-q", "--detach")
    elif kind == "unborn":
        work.git("switch", "-q", "--orphan", "unborn")
    elif kind == "split":
        work.git("update-index", "--split-index")
    elif kind == "packed":
        work.git("pack-refs", "--all", "--prune")
    elif kind == "no log":
        work.git("config", "core.logAllRefUpdates", "false")
        shutil.rmtree(work.root / ".git" / "logs")
    elif kind == "linked":
        work.git("worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
        work.root = tmp_path / "tree"
    elif kind == "submodule":
        above = Work(tmp_path, "above")
        above.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(work.root), "sub")
        work.root = above.root / "sub"
    head = work.root / work.says("rev-parse", "--git-path", "HEAD").strip()
    snapshot = taken(work)
    before = (work.says("for-each-ref"), head.read_text())
    work.write("b", "run\n")
    agent(work, "add -A", COMMIT, "branch mine")
    after = found(snapshot)
    assert {"refs/heads/mine", "index b"} <= {*after}
    assert ("HEAD" in after) is (kind in ("detached", "linked"))
    if kind in ("no log", "reftable"):
        assert not put(snapshot).put
        return
    done = put(snapshot)
    assert done.left == (STAGED,)
    for name in done.kept:
        work.git("update-ref", "-d", name)
    assert (work.says("for-each-ref"), head.read_text()) == before
    assert work.read("b") == b"run\n"


def test_whatever_step_it_is_killed_at_the_next_call_finishes(work: Work, tmp_path: Path) -> None:
    work.write("staged", "mine\n")
    work.git("add", "staged")
    snapshot, before, files = taken(work), everything(work), work.state()
    work.write("b", "run\n")
    work.write("a", "run\n")
    agent(work, "switch -q -c new", "add -A", COMMIT, "branch -f other new", "tag -a -m text v1")
    found(snapshot)
    whole = tmp_path / "whole"
    shutil.copytree(work.root, whole, symlinks=True)
    number = 1
    while is_killed(work.folder, number, "put-back"):
        work.write("mine", "meanwhile\n")
        assert put(snapshot, plans=True).left == (STAGED,)
        assert roll_back(snapshot).left == ()
        if number > 1:  # what came after the plan is the user's
            assert work.read("mine") == b"meanwhile\n"
            work.remove("mine")
        assert (everything(work), work.state()) == (before, files), number
        left = {path.name for path in (work.root / ".git").iterdir()}
        assert not [name for name in left if name.endswith(".lock") or name.startswith("runner-")], number
        shutil.rmtree(work.root)
        shutil.copytree(whole, work.root, symlinks=True)
        number += 1
    assert number > 20 and (everything(work), work.state()) == (before, files)
