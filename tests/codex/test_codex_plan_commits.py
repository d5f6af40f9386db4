"""Commits of a plan after a kill or a refusal: only what was verified, and nothing of anybody else."""

from __future__ import annotations

from support.batches import committed, ends, plays, shown
from support.judged import call, claim, commit, says
from support.repo import Repo, Run
from support.waiting import wait_until
from support.waves import (
    batch,
    blocks_git,
    conductor_of,
    gated,
    kills,
    opens,
    prepares,
    refused,
    resumes,
    starts,
    writes,
)


def works(n: int, also: str = "", status: str = "completed") -> str:
    return call(f"echo 'x = {n}' > src/m{n}.py{also}") + says(claim(status, files=[f"src/m{n}.py"]))


def reason(run: Run) -> tuple[str, str]:
    told = run.on_disk()["reason"]
    return told["code"], told["message"]


def test_what_a_person_did_after_a_kill_is_in_no_commit_of_the_batch_that_is_tried_again(repo: Repo) -> None:
    prepares(repo, [writes(1), writes(2, after=f"; {gated(repo)}"), writes(3)], "commit = true")
    run = starts(repo)
    child = batch(run, 2)
    wait_until(lambda: "x = 2" in (repo.root / "src/m2.py").read_text(), 60, "half of the work")
    kills(conductor_of(run))
    run.wait(within=60)
    child.wait(within=60)
    (repo.root / "src/m3.py").write_text("mine\n")
    (repo.root / "secret.txt").write_text("mine\n")
    plays(repo, 2, writes(2))
    assert "the tree has other changes: src/m3.py" in refused(repo, "--resume").error["message"]
    repo.says("checkout", "-q", "src/m3.py")
    ends(repo, "--resume", status=0)
    assert [files for _, files in committed(repo)] == [["src/m1.py"], ["src/m2.py"], ["src/m3.py"]]
    assert repo.says("status", "--porcelain") == "?? secret.txt\n"


def test_a_batch_that_was_edited_after_it_was_verified_is_not_committed(repo: Repo) -> None:
    prepares(repo, [works(1), works(2)], "commit = true")
    blocks_git(repo, "commit-tree", when="before", nth=2)
    run = starts(repo)
    wait_until((repo.home / "at-git").exists, 60, "the second commit")
    kills(conductor_of(run))
    opens(repo)
    run.wait(within=60)
    (repo.root / "src/m2.py").write_text("never verified\n")
    again = resumes(repo)
    again.wait(within=60)
    assert reason(again)[0] == "commit_refused" and "changed after they were verified" in reason(again)[1]
    assert [files for _, files in committed(repo)] == [["src/m1.py"]]
    commit(repo)
    assert shown(ends(repo, "--resume", status=0)) == ["U1: succeeded", "U2: succeeded"]


def test_what_was_refused_for_a_branch_is_not_committed_to_it_by_going_on(repo: Repo) -> None:
    prepares(repo, [works(1, "; echo s > secret.env"), works(2)], 'commit = "side"')
    assert "secret.env" in reason(ends(repo))[1]
    assert "were not committed to branch `side`: src/m1.py" in refused(repo, "--resume").error["message"]
    repo.says("switch", "-q", "-c", "side")
    repo.says("commit", "-q", "-m", "by hand", "src/m1.py")
    assert shown(ends(repo, "--resume", status=0)) == ["U1: succeeded", "U2: succeeded"]
    assert "secret.env" not in repo.says("ls-tree", "-r", "--name-only", "side")


def test_a_file_that_an_unfinished_try_left_and_nobody_names_is_not_committed(repo: Repo) -> None:
    prepares(repo, [works(1, "; echo mine > notes.txt", "partial")], "commit = true")
    ends(repo)
    plays(repo, 1, works(1, "; echo more >> src/m1.py"))
    assert (
        "these files are named neither by a unit nor by the agent: notes.txt"
        in reason(ends(repo, "--resume"))[1]
    )
    assert committed(repo) == []
