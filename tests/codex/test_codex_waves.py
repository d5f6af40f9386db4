"""Batches that run side by side, with the real Codex: each in its own work tree, folded back in order."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.judged import call, claim, says
from support.repo import Repo, Run
from support.waiting import wait_until
from support.waves import (
    batch,
    blocks_git,
    commits,
    conductor_of,
    gated,
    kills,
    ledger,
    opens,
    prepares,
    refused,
    resumes,
    start_words,
    starts,
    step,
    waits_at_gate,
    work_trees,
    writes,
)

THREE, TWO = "max_parallel = 3", "max_parallel = 2"
COMMIT, BRANCH = "commit = true", 'commit = "work"'
CONFLICTING = "sed -i 's/^two$/two of {n}/' src/shared.py; "


def tree_of(run: Run) -> Path:
    return Path(run.on_disk()["workspace"]["path"])


def subjects(*numbers: int, of: int) -> list[str]:
    return [f"Modules: batch {n} of {of} (U{n})" for n in numbers]


def text_of(repo: Repo, n: int) -> str:
    return (repo.root / f"src/m{n}.py").read_text()


def whole(repo: Repo, run: Run, *numbers: int) -> dict[str, Any]:
    """The manifest of a plan that is done: these modules were changed once each, and no work tree stands."""
    manifest = run.wait(within=60)
    assert manifest["status"] == "succeeded", manifest["reason"]
    for n in numbers:
        assert text_of(repo, n) == f"x = {n}\nby {n}\n"
    assert work_trees(repo) == []
    return manifest


def patch_of(run: Run) -> str:
    return run.file("worktree.patch")


# -- side by side --------------------------------------------------------------------------------------


def test_batches_of_a_wave_run_at_the_same_time_in_trees_of_one_base_and_later_ones_build_on_them(
    repo: Repo,
) -> None:
    units = [
        f'id = "U{n}"\ngoal = "M"\nfiles = ["src/m{n}.py"]\ntests = ["it"]\nverify = [["true"]]\n{after}'
        for n, after in ((1, ""), (2, ""), (3, ""), (4, 'depends_on = ["U1", "U3"]'))
    ]
    sees = "cat src/m1.py src/m2.py src/m3.py > src/seen.txt; "
    plays = [*(writes(n, before=gated(repo)) for n in (1, 2, 3)), writes(4, before=sees)]
    prepares(repo, plays, THREE, units=units)
    head = repo.says("rev-parse", "HEAD").strip()
    run = starts(repo)
    runs = [batch(run, n) for n in (1, 2, 3)]
    for one in runs:
        waits_at_gate(one)
    assert [one.on_disk()["status"] for one in runs] == ["running"] * 3
    trees = [tree_of(one) for one in runs]
    assert work_trees(repo) == sorted(trees) and len({*trees}) == 3
    assert {one.on_disk()["workspace"]["base"] for one in runs} == {head} == {ledger(run)["tip"]}
    assert step(run, 4)["status"] == "waiting"
    opens(repo)
    whole(repo, run, 1, 2, 3, 4)
    assert repo.says("rev-parse", "HEAD").strip() == head, "nothing was committed"
    assert (repo.root / "src/seen.txt").read_text() == "".join(f"x = {n}\nby {n}\n" for n in (1, 2, 3))
    fourth = batch(run, 4).on_disk()["workspace"]["base"]
    assert fourth != head and repo.says("show", f"{fourth}:src/m3.py") == "x = 3\nby 3\n"
    told = [one.events("accepted")[0] for one in runs]
    assert [one["actor"] for one in told] == ["runner"] * 3
    assert [one["at"] for one in told] == sorted(one["at"] for one in told)
    assert run.on_disk()["exit_code"] == 0 and run.events("adopted") == [], "it kept its supervisor"


@pytest.mark.parametrize("where", [COMMIT, BRANCH])
def test_each_batch_of_a_wave_has_its_own_commit_in_order(repo: Repo, where: str) -> None:
    # The first one ends last, and two change the same file, which neither names, in places that get along.
    last_line = "sed -i 's/^five$/five of 3/' src/shared.py; "
    plays = [writes(1, before=gated(repo) + FIRST_LINE), writes(2), writes(3, before=last_line)]
    prepares(repo, plays, THREE, where)
    run = starts(repo)
    others = [batch(run, n) for n in (2, 3)]
    wait_until(lambda: all(one.on_disk()["phase"] == "done" for one in others), 60, "the other two")
    assert commits(repo) == []
    opens(repo)
    whole(repo, run, 1, 2, 3)
    branch = "HEAD" if where == COMMIT else "work"
    assert commits(repo, branch) == subjects(1, 2, 3, of=3)
    assert [step(run, n)["commit"] for n in (1, 2, 3)] == repo.says("rev-list", "--reverse", branch).split()[
        1:
    ]
    changed = [repo.says("show", "--format=", "--name-only", step(run, n)["commit"]) for n in (1, 2, 3)]
    assert all(f"src/m{n}.py\n" in changed[n - 1] for n in (1, 2, 3)) and changed[1] == "src/m2.py\n"
    both = "one of 1\ntwo\nthree\nfour\nfive of 3\n"
    assert (repo.root / "src/shared.py").read_text() == both == repo.says("show", f"{branch}:src/shared.py")
    if where == COMMIT:
        assert repo.says("status", "--porcelain") == ""
    else:
        assert commits(repo) == [], "the branch that is checked out is as it was"


# -- what does not fit ---------------------------------------------------------------------------------


def in_conflict(repo: Repo, *delegate: str) -> Run:
    """A plan of which both batches changed the same line of a file that neither names."""
    plays = [writes(n, before=CONFLICTING.format(n=n)) for n in (1, 2)]
    run = starts(prepares(repo, plays, TWO, *delegate))
    manifest = run.wait(within=60)
    assert manifest["reason"]["code"] == "batches_left"
    assert (step(run, 1)["status"], step(run, 2)["status"]) == ("succeeded", "failed")
    assert (repo.root / "src/shared.py").read_text() == "one\ntwo of 1\nthree\nfour\nfive\n"
    why = step(run, 2)["why"]
    assert why["code"] == "fold_conflict" and "src/shared.py" in why["message"]
    assert work_trees(repo) == [tree_of(batch(run, 2))]
    assert manifest["plan"]["breaker"]["failures"] == 1
    assert text_of(repo, 2) == "x = 0\n", "nothing of it is in the tree"
    return run


def test_both_batches_of_a_wave_may_add_to_a_file_that_git_merges_as_a_union(repo: Repo) -> None:
    plays = [writes(n, before=f"sed -i '/^two$/a of {n}' src/shared.py; ") for n in (1, 2)]
    prepares(repo, plays, TWO, COMMIT)
    repo.write(".gitattributes", "src/shared.py merge=union\n")
    repo.commit()
    whole(repo, starts(repo), 1, 2)
    assert (repo.root / "src/shared.py").read_text() == "one\ntwo\nof 1\nof 2\nthree\nfour\nfive\n"
    assert repo.says("status", "--porcelain") == ""


def test_what_does_not_fit_stands_until_a_person_accepts_it_and_then_is_done(repo: Repo) -> None:
    run = in_conflict(repo)
    shared = repo.root / "src/shared.py"
    shared.write_text("one\ntwo\nthree\nfour\nfive\n")
    second = batch(run, 2)
    second.told("accept")
    assert shared.read_text() == "one\ntwo of 2\nthree\nfour\nfive\n"
    again = resumes(repo)
    manifest = whole(repo, again, 1, 2)
    assert [one["run_id"] for one in manifest["plan"]["batches"]] == [batch(run, 1).id, second.id]
    assert step(again, 2)["tries"] == 1
    assert shared.read_text() == "one\ntwo of 2\nthree\nfour\nfive\n"


def test_what_was_accepted_by_hand_is_committed_and_what_follows_builds_on_it(repo: Repo) -> None:
    run = in_conflict(repo, BRANCH)
    assert commits(repo, "work") == subjects(1, of=2)
    (repo.root / "src/shared.py").write_text("one\ntwo\nthree\nfour\nfive\n")
    batch(run, 2).told("accept")
    again = resumes(repo)
    whole(repo, again, 1, 2)
    assert commits(repo, "work") == subjects(1, 2, of=2)
    assert repo.says("show", "work:src/shared.py") == "one\ntwo of 2\nthree\nfour\nfive\n"


def test_what_does_not_fit_and_nobody_accepts_is_run_again_from_the_new_base(repo: Repo) -> None:
    run = in_conflict(repo, COMMIT)
    second = batch(run, 2)
    again = resumes(repo)
    again.wait(within=60)
    third = batch(again, 2, not_run=second.id)
    whole(repo, again, 1, 2)
    base = third.on_disk()["workspace"]["base"]
    assert repo.says("show", f"{base}:src/shared.py") == "one\ntwo of 1\nthree\nfour\nfive\n"
    assert "two of 2" in patch_of(second), "what was put away is kept"
    assert commits(repo) == subjects(1, 2, of=2)


def test_what_passes_apart_and_not_together_is_in_the_tree_and_in_no_commit(repo: Repo) -> None:
    check = '[["sh", "-c", "! { grep -q 1 src/m1.py && grep -q 2 src/m2.py; }"]]'
    units = [
        f'id = "U{n}"\ngoal = "M"\nfiles = ["src/m{n}.py"]\ntests = ["it"]\nverify = {check}' for n in (1, 2)
    ]
    run = starts(prepares(repo, [writes(1), writes(2)], TWO, COMMIT, units=units))
    manifest = run.wait(within=60)
    assert manifest["reason"]["code"] == "verify_failed"
    assert "together" in manifest["reason"]["message"] and "exited with 1" in manifest["reason"]["message"]
    assert commits(repo) == [] and work_trees(repo) == []
    assert (text_of(repo, 1), text_of(repo, 2)) == ("x = 1\nby 1\n", "x = 2\nby 2\n")
    assert [one["commit"] for one in manifest["plan"]["batches"]] == [None, None]
    assert run.events("adopted") == [], "the check took no supervisor with it"


def edits(repo: Repo, line: str) -> str:
    """A person changes one line of the file of which batch 1 changes the first; its text then."""
    shared = repo.root / "src/shared.py"
    shared.write_text(shared.read_text().replace(f"{line}\n", f"{line}, mine\n"))
    return shared.read_text()


FIRST_LINE = "sed -i 's/^one$/one of 1/' src/shared.py; "


def test_an_edit_of_the_user_is_merged_with_what_a_batch_changes_in_the_same_file(repo: Repo) -> None:
    prepares(repo, [writes(1, before=FIRST_LINE), writes(2)], TWO)
    edits(repo, "five")
    whole(repo, starts(repo), 1, 2)
    assert (repo.root / "src/shared.py").read_text() == "one of 1\ntwo\nthree\nfour\nfive, mine\n"


def test_an_edit_of_the_user_that_a_batch_contradicts_stays_and_the_work_of_the_batch_stands(
    repo: Repo,
) -> None:
    prepares(repo, [writes(1, before=FIRST_LINE), writes(2)], TWO)
    text = edits(repo, "one")
    run = starts(repo)
    assert run.wait(within=60)["reason"]["code"] == "batches_left"
    assert (repo.root / "src/shared.py").read_text() == text
    assert [(step(run, n)["status"], text_of(repo, n)) for n in (1, 2)] == [
        *(("failed", "x = 0\n"), ("succeeded", "x = 2\nby 2\n")),
    ]
    assert (
        step(run, 1)["why"]["code"] == "fold_conflict" and "src/shared.py" in step(run, 1)["why"]["message"]
    )
    first = batch(run, 1)
    assert (tree_of(first) / "src/shared.py").read_text().startswith("one of 1\n")
    first.told("discard")


def test_an_edit_that_is_made_while_a_wave_runs_is_merged_and_nothing_of_the_wave_is_committed(
    repo: Repo,
) -> None:
    plays = [writes(1, before=gated(repo) + FIRST_LINE), writes(2)]
    run = starts(prepares(repo, plays, TWO, COMMIT))
    waits_at_gate(batch(run, 1))
    edits(repo, "five")
    opens(repo)
    manifest = run.wait(within=60)
    assert manifest["reason"]["code"] == "commit_refused"
    assert "src/shared.py" in manifest["reason"]["message"]
    assert (repo.root / "src/shared.py").read_text() == "one of 1\ntwo\nthree\nfour\nfive, mine\n"
    assert commits(repo) == [], "the second one does not go before the first"
    assert [one["status"] for one in manifest["plan"]["batches"]] == ["succeeded"] * 2
    done = refused(repo, "--resume")
    assert done.status == 9, done.stdout
    assert work_trees(repo) == []


def test_the_tree_of_a_failed_batch_goes_and_that_of_a_partial_one_stands(repo: Repo) -> None:
    failed = call("echo failed >> src/m1.py") + says(claim("failed", files=["src/m1.py"]))
    partial = call("echo partial >> src/m2.py") + says(claim("partial", files=["src/m2.py"]))
    run = starts(prepares(repo, [failed, partial, writes(3)], THREE))
    manifest = run.wait(within=60)
    assert [one["status"] for one in manifest["plan"]["batches"]] == ["failed", "failed", "succeeded"]
    assert [step(run, n)["why"]["code"] for n in (1, 2)] == ["task_failed", "partial"]
    assert work_trees(repo) == [tree_of(batch(run, 2))]
    assert (batch(run, 1).folder / "worktree.patch").exists()
    assert (text_of(repo, 1), text_of(repo, 2)) == ("x = 0\n", "x = 0\n")
    batch(run, 2).told("discard")


# -- kills and cancels ---------------------------------------------------------------------------------


def test_a_plan_whose_conductor_is_killed_in_the_middle_of_a_wave_is_gone_on_with(repo: Repo) -> None:
    """One batch of the wave is over by then, the other one is not."""
    run = starts(prepares(repo, [writes(1), writes(2, before=gated(repo))], TWO, COMMIT))
    first, second = batch(run, 1), batch(run, 2)
    waits_at_gate(second)
    wait_until(lambda: first.on_disk()["phase"] == "done", 60, "the end of the first")
    kills(conductor_of(run))
    killed = run.wait(within=60)
    assert [one["status"] for one in killed["plan"]["batches"]] == ["interrupted"] * 2
    opens(repo)
    again = resumes(repo)
    whole(repo, again, 1, 2)
    assert commits(repo) == subjects(1, 2, of=2)
    assert (step(again, 1)["run"]["run_id"], step(again, 1)["tries"]) == (first.id, 1)
    assert step(again, 2)["tries"] == 2


@pytest.mark.parametrize(
    ("word", "when", "nth"),
    [
        pytest.param("checkout-index", "after", 1, id="in the first"),
        pytest.param("checkout-index", "before", 2, id="between the two"),
        pytest.param("remove", "before", 1, id="before its tree goes"),
        pytest.param("update-ref", "after", 1, id="between the commits"),
    ],
)
def test_a_plan_whose_conductor_is_killed_in_the_middle_of_folding_back_folds_nothing_twice(
    repo: Repo, word: str, when: str, nth: int
) -> None:
    prepares(repo, [writes(1), writes(2)], TWO, COMMIT)
    blocks_git(repo, word, when=when, nth=nth)
    run = starts(repo)
    wait_until((repo.home / "at-git").exists, 60, f"git {word}")
    kills(conductor_of(run))
    run.wait(within=60)
    opens(repo)
    again = resumes(repo)
    whole(repo, again, 1, 2)
    assert commits(repo) == subjects(1, 2, of=2)
    assert repo.says("status", "--porcelain") == ""
    assert [step(again, n)["tries"] for n in (1, 2)] == [1, 1]
    assert [len(batch(again, n).events("accepted")) for n in (1, 2)] == [1, 1]
    assert [step(again, n)["commit"] for n in (1, 2)] == repo.says("rev-list", "--reverse", "HEAD").split()[
        1:
    ]


def test_a_cancel_of_the_plan_ends_all_of_a_wave(repo: Repo) -> None:
    run = starts(prepares(repo, [writes(n, before=gated(repo)) for n in (1, 2, 3)], TWO))
    runs = [batch(run, n) for n in (1, 2)]
    for one in runs:
        waits_at_gate(one)
    manifest = run.told("cancel")
    assert (manifest["status"], manifest["survivors"]) == ("cancelled", [])
    assert [one.on_disk()["status"] for one in runs] == ["cancelled"] * 2
    shown = [one["status"] for one in run.status()["plan"]["batches"]]
    assert shown == ["interrupted", "interrupted", "waiting"]
    opens(repo)
    whole(repo, resumes(repo), 1, 2, 3)


@pytest.mark.parametrize("how", ["a process", "its own command in CI"])
def test_a_plan_ends_with_what_it_is_tied_to_and_goes_on_by_resume(repo: Repo, how: str) -> None:
    prepares(repo, [writes(1), *(writes(n, before=gated(repo)) for n in (2, 3))])
    none = refused(repo, "--tie-pid", "4194305")
    assert (none.status, none.error["code"], repo.no_runs()) == (2, "usage", True)
    with contextlib.ExitStack() as stack:
        if how == "a process":
            process = stack.enter_context(subprocess.Popen(["cat"], stdin=subprocess.PIPE))
            starts(repo, "--tie-pid", str(process.pid))
        else:
            words = start_words(repo, "--wait")
            process = stack.enter_context(repo.process(*words, env={"CI": "true"}))
        run = wait_until(repo.recorded, 60, "the plan")[0]
        wait_until((run.folder / "ledger.json").exists, 60, "its ledger")
        waits_at_gate(batch(run, 2))
        process.kill()
    manifest = run.wait(within=60)
    assert (manifest["status"], manifest["survivors"]) == ("cancelled", [])
    assert f"process {process.pid}" in manifest["reason"]["message"]
    assert batch(run, 2).wait()["status"] == "cancelled"
    shown = [one["status"] for one in run.status()["plan"]["batches"]]
    assert shown == ["succeeded", "interrupted", "waiting"]
    opens(repo)
    again = resumes(repo, "--tie-pid", str(os.getpid()))
    whole(repo, again, 1, 2, 3)
    assert step(again, 1)["tries"] == 1


def test_batches_side_by_side_are_refused_outside_git_before_anything_exists(repo: Repo) -> None:
    prepares(repo, [writes(1), writes(2)], TWO)
    (repo.root / ".git").rename(repo.home / "git")
    done = refused(repo)
    assert (done.status, done.error["code"]) == (9, "conflict")
    assert "git" in done.error["message"]
    assert not repo.runs_folder.exists() or repo.no_runs()
    (repo.home / "git").rename(repo.root / ".git")
    assert work_trees(repo) == []
