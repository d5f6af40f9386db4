"""Plans with the real Codex and a scripted model, when something goes wrong: kills, crashes, other people.

Whatever happens, what is said is true, and `--resume` finishes the plan: every unit's change is there once.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.codex import find_codex
from support.disks import fill, small_disk
from support.judged import call, claim, hung, says
from support.leftovers import assert_nothing_left
from support.repo import Completed, Repo, Run
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

from runner.state.authentic import write_record

COMMIT = "commit = true"


def one_waits(repo: Repo, *delegate: str, task: tuple[str, ...] = ()) -> Repo:
    """Two batches, the first of which waits at the gate before it does anything."""
    return prepares(repo, [writes(1, before=gated(repo)), writes(2)], *delegate, task=task)


def finished(repo: Repo, run: Run, *, committed: bool = False) -> dict[str, Any]:
    """The manifest of a plan that has come to its end: both changes are there once."""
    manifest = run.wait(within=60)
    assert manifest["status"] == "succeeded", manifest["reason"]
    for n in (1, 2):
        assert (repo.root / f"src/m{n}.py").read_text() == f"x = {n}\nby {n}\n"
    assert [one["status"] for one in manifest["plan"]["batches"]] == ["succeeded"] * 2
    assert work_trees(repo) == []
    if committed:
        assert commits(repo) == ["Modules: batch 1 of 2 (U1)", "Modules: batch 2 of 2 (U2)"]
        assert repo.says("status", "--porcelain") == ""
        shas = repo.says("rev-list", "--reverse", "HEAD").split()[1:]
        assert [one["commit"] for one in manifest["plan"]["batches"]] == shas
    else:
        assert commits(repo) == []
    return manifest


# -- kill -9 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["the conductor", "both", "all and codex"])
def test_a_plan_whose_conductor_is_killed_while_a_batch_runs_is_gone_on_with(repo: Repo, who: str) -> None:
    half = "sed -i 's/^x = .*/x = half/' src/m1.py; "
    run = starts(prepares(repo, [writes(1, before=half + gated(repo)), writes(2)], COMMIT))
    first = batch(run, 1)
    waits_at_gate(first)
    module = repo.root / "src/m1.py"
    wait_until(lambda: module.read_text() == "x = half\n", what="half of the work")
    victims = [conductor_of(run)]
    if who != "the conductor":
        victims.insert(0, run.supervisor())
    if who == "all and codex":
        victims += [first.supervisor(), *first.everything()]
    kills(*victims)
    killed = run.wait(within=60)
    seen = who == "the conductor"
    assert (killed["status"], killed["reason"]["code"]) == (
        ("failed", "killed") if seen else ("lost", "lost")
    )
    assert [one["status"] for one in killed["plan"]["batches"]] == ["interrupted", "waiting"]
    assert killed["survivors"] == []
    if who == "all and codex":
        assert first.wait()["status"] in ("lost", "cancelled")
        assert module.read_text() == "x = half\n", "nobody takes back what nobody saw"
    opens(repo)
    again = resumes(repo)
    manifest = finished(repo, again, committed=True)
    assert manifest["plan"]["resumed_from"].endswith(f"{run.id}/manifest.json")
    assert manifest["plan"]["breaker"]["failures"] == 0
    assert first.status()["phase"] == "done"


def test_a_conductor_whose_supervisor_is_killed_goes_on_under_a_new_owner(repo: Repo) -> None:
    run = starts(one_waits(repo))
    waits_at_gate(batch(run, 1))
    conductor = conductor_of(run)
    run.kill_supervisor()
    opens(repo)
    finished(repo, run)
    assert len(run.events("adopted")) == 1
    assert run.on_disk()["process"]["pid"] == conductor.pid


def test_a_batch_whose_supervisor_is_killed_gets_a_new_one_and_the_plan_goes_on(repo: Repo) -> None:
    run = starts(one_waits(repo, COMMIT))
    first = batch(run, 1)
    waits_at_gate(first)
    first.kill_supervisor()
    wait_until(lambda: first.events("adopted"), 20, "a new owner, which the conductor sees to")
    opens(repo)
    finished(repo, run, committed=True)
    assert step(run, 1)["tries"] == 1


@pytest.mark.parametrize(
    ("word", "when", "begun"),
    [
        pytest.param("commit-tree", "before", 0, id="before the commit"),
        pytest.param("update-ref", "after", 1, id="after the commit"),
    ],
)
def test_a_conductor_that_is_killed_about_a_commit_is_followed_by_one_that_makes_it_once(
    repo: Repo, word: str, when: str, begun: int
) -> None:
    prepares(repo, [writes(1), writes(2)], COMMIT)
    blocks_git(repo, word, when=when)
    run = starts(repo)
    wait_until((repo.home / "at-git").exists, 60, "the commit")
    assert len(commits(repo)) == begun
    kills(conductor_of(run))
    killed = run.wait(within=60)
    assert killed["status"] == "failed"
    assert (step(run, 1)["status"], step(run, 1)["commit"]) == ("running", None)
    opens(repo)
    again = resumes(repo)
    finished(repo, again, committed=True)
    assert step(again, 1)["tries"] == 1, "nothing was done twice"


def test_work_that_a_try_has_left_is_taken_over_by_the_next_one(repo: Repo) -> None:
    """It finds all of it right, changes nothing, and its commit has the work of both."""
    work = call("echo 'x = 1' > src/m1.py; echo by 1 >> src/m1.py")
    prepares(repo, [work + says(claim("partial", files=["src/m1.py"])), writes(2)], COMMIT)
    first = starts(repo)
    assert first.wait(within=60)["status"] == "failed"
    script = f"schema_version = 1\n{says(claim(files=['src/m1.py']))}"
    (repo.home / "plays" / "batch-1.toml").write_text(script)
    assert resumes(repo).wait(within=60)["status"] == "succeeded"
    assert commits(repo) == ["Modules: batch 2 of 2 (U2)", "Modules: batch 1 of 2 (U1)"]
    assert repo.says("show", "--format=", "--name-only", "HEAD").split() == ["src/m1.py"]


def test_a_batch_that_was_never_started_although_the_ledger_says_so_is_started(repo: Repo) -> None:
    """As a conductor leaves it that is killed in between."""
    run = starts(one_waits(repo))
    first = batch(run, 1)
    waits_at_gate(first)
    kills(conductor_of(run))
    run.wait(within=60)
    first.wait()
    found = ledger(run)
    lineage = found["steps"][0]["run"]
    found["steps"][0]["run"] = json.loads(json.dumps(lineage).replace(first.id, f"{first.id[:-8]}00000000"))
    found.pop("mac")
    write_record(str(run.folder / "ledger.json"), found)
    opens(repo)
    finished(repo, resumes(repo))


def test_a_batch_whose_start_was_broken_off_counts_as_no_failure(repo: Repo) -> None:
    """Killed while the tree of its run is recorded: that run is found, and ended."""
    prepares(repo, [writes(1), writes(2)], "max_failures = 1")
    blocks_git(repo, "write-tree", when="before")
    run = starts(repo)
    wait_until((repo.home / "at-git").exists, 60, "the record of the work tree")
    kills(conductor_of(run))
    run.wait(within=60)
    first = batch(run, 1)
    opens(repo)
    again = resumes(repo)
    finished(repo, again)
    assert (first.status()["reason"]["code"], step(again, 1)["tries"]) == ("never_started", 2)


@pytest.mark.parametrize("written", [(), ("invocation.json",)], ids=["nothing", "its invocation"])
def test_a_batch_whose_start_was_killed_before_it_had_a_manifest_is_started_by_the_next_resume(
    repo: Repo, written: tuple[str, ...]
) -> None:
    """Its folder is there, so nothing is parked. Who is killed there has written the prompt before."""
    run = starts(one_waits(repo, "max_failures = 1"))
    first = batch(run, 1)
    waits_at_gate(first)
    kills(conductor_of(run))
    run.wait(within=60)
    assert first.wait()["status"] == "cancelled"
    wait_until(lambda: not first.everything(), what="the end of its owner")
    for path in first.folder.iterdir():
        if path.is_file() and path.name not in {"prompt.md", "run.lock", *written}:
            path.unlink()
    opens(repo)
    again = resumes(repo)
    finished(repo, again)
    assert step(again, 1)["run"]["run_id"] != first.id
    assert step(again, 1)["tries"] == 2
    if written:
        assert first.status()["reason"]["code"] == "never_started"


# -- files that go away or break -----------------------------------------------------------------------


def test_a_run_whose_folder_is_deleted_parks_the_plan_and_is_run_again(repo: Repo) -> None:
    run = starts(one_waits(repo))
    first = batch(run, 1)
    waits_at_gate(first)
    processes = first.everything()
    shutil.rmtree(first.folder)
    manifest = run.wait(within=60)
    assert (manifest["status"], manifest["reason"]["code"]) == ("failed", "lost")
    assert first.id in manifest["reason"]["message"]
    assert [one["status"] for one in manifest["plan"]["batches"]] == ["parked", "waiting"]
    opens(repo)
    wait_until(lambda: not any(one.is_still_there() for one in processes), 30, "the end of its processes")
    again = resumes(repo)
    again.wait(within=60)
    assert step(again, 1)["run"]["run_id"] != first.id


def breaks(path: Path, how: str) -> None:
    path.unlink()
    if how == "broken":
        path.write_text('{"steps": [')
    elif how == "a pipe":
        os.mkfifo(path)


@pytest.mark.parametrize("how", ["broken", "missing", "a pipe"])
def test_a_ledger_that_cannot_be_read_refuses_to_go_on_and_the_plan_can_begin_anew(
    repo: Repo, how: str
) -> None:
    run = starts(one_waits(repo))
    waits_at_gate(batch(run, 1))
    kills(conductor_of(run))
    run.wait(within=60)
    batch(run, 1).wait()
    breaks(run.folder / "ledger.json", how)
    assert run.status()["status"] == "failed"
    done = refused(repo, "--resume")
    assert (done.status, done.error["code"]) == (9, "conflict")
    assert run.id in done.error["message"] and "cannot be read" in done.error["message"]
    opens(repo)
    finished(repo, starts(repo))


@pytest.mark.parametrize("how", ["broken", "a pipe"])
def test_a_ledger_that_is_broken_while_the_plan_runs_is_written_again(repo: Repo, how: str) -> None:
    run = starts(one_waits(repo))
    waits_at_gate(batch(run, 1))
    breaks(run.folder / "ledger.json", how)
    assert run.status()["status"] == "running"
    opens(repo)
    finished(repo, run)


def test_a_plan_whose_file_and_settings_go_wrong_is_finished_and_gone_on_with_only_when_they_are_back(
    repo: Repo,
) -> None:
    bad = writes(2) + "\n"
    prepares(repo, [writes(1, before=gated(repo)), bad])
    run = starts(repo)
    waits_at_gate(batch(run, 1))
    settings, plan = repo.root / "delegate.toml", repo.root / "plan.toml"
    texts = settings.read_text(), plan.read_text()
    settings.write_text("schema_version = 1\n[tasks.work\n")
    (repo.home / "plays/batch-2.toml").rename(repo.home / "batch-2.toml")
    opens(repo)
    manifest = run.wait(within=60)
    assert [one["status"] for one in manifest["plan"]["batches"]] == ["succeeded", "parked"]
    done = refused(repo, "--resume")
    assert (done.status, done.error["code"]) == (2, "config_invalid")
    settings.write_text(texts[0])
    plan.unlink()
    done = refused(repo, "--resume")
    assert (done.status, done.error["code"]) == (2, "plan_invalid")
    plan.write_text(texts[1])
    (repo.home / "batch-2.toml").rename(repo.home / "plays/batch-2.toml")
    finished(repo, resumes(repo))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Repo]:
    """A repository on a disk of its own, from which everything has gone before it does."""
    with small_disk(tmp_path / "disk", 64 * 1024) as disk:
        repo = Repo(disk)
        find_codex(repo)
        yield repo
        assert_nothing_left(disk)


def test_a_full_disk_is_said_and_the_plan_goes_on_once_there_is_room(small: Repo) -> None:
    """Full between the end of a batch and its commit, where nobody else is at work who could make room."""
    run = between_batches(small, "commit-tree", "before")
    wait_until(lambda: not batch(run, 1).everything(), 30, "the end of the first batch's owner")
    (small.home / "gate.tmp").touch()
    ballast = fill(small.base)
    (small.home / "gate.tmp").rename(small.home / "gate")
    manifest = wait_until(lambda: (m := run.on_disk())["phase"] == "done" and m, 60, "the end")
    assert (manifest["status"], manifest["reason"]["code"]) == ("failed", "disk_full"), manifest["reason"]
    ballast.unlink()
    again = resumes(small)
    finished(small, again, committed=True)
    assert step(again, 1)["tries"] == 1


# -- other people --------------------------------------------------------------------------------------


def test_a_tree_that_another_run_has_parks_the_plan(repo: Repo) -> None:
    other = ("[tasks.other]", 'prompt = "Wait."', 'sandbox = "workspace-write"', 'on_conflict = "queue"')
    prepares(repo, [writes(1), writes(2)], COMMIT, task=other)
    blocks_git(repo, "update-ref", when="after")
    run = starts(repo)
    wait_until((repo.home / "at-git").exists, 60, "the end of the first batch")
    script = repo.home / "other.toml"
    script.write_text(f"schema_version = 1\n{hung}")
    holder = repo.start("--rehearse", script, task="other")
    opens(repo)
    manifest = run.wait(within=60)
    assert (manifest["status"], manifest["reason"]["code"]) == ("failed", "workspace_busy")
    assert holder.id in manifest["reason"]["message"]
    assert [one["status"] for one in manifest["plan"]["batches"]] == ["succeeded", "parked"]
    holder.told("cancel")
    finished(repo, resumes(repo), committed=True)


def between_batches(repo: Repo, word: str = "update-ref", when: str = "after") -> Run:
    """A plan that commits, stopped about the commit of its first batch."""
    prepares(repo, [writes(1), writes(2)], COMMIT)
    blocks_git(repo, word, when=when)
    run = starts(repo)
    wait_until((repo.home / "at-git").exists, 60, "the commit")
    return run


def test_a_commit_of_somebody_else_stops_the_plan_and_stays_on_top(repo: Repo) -> None:
    run = between_batches(repo, "commit-tree", "before")
    (repo.root / "mine.txt").write_text("mine\n")
    repo.says("add", "mine.txt")
    repo.says("commit", "-qm", "mine")
    opens(repo)
    manifest = run.wait(within=60)
    assert manifest["reason"]["code"] == "commit_refused"
    assert commits(repo) == ["mine"]
    assert (repo.root / "src/m1.py").read_text() == "x = 1\nby 1\n"
    assert repo.says("status", "--porcelain") == " M src/m1.py\n"
    assert [one["status"] for one in manifest["plan"]["batches"]] == ["succeeded", "waiting"]
    done = refused(repo, "--resume")
    assert done.status == 9 and "src/m1.py" in done.error["message"], done.error
    repo.says("commit", "-qam", "what the first batch did")
    again = resumes(repo)
    assert again.wait(within=60)["status"] == "succeeded"
    assert commits(repo) == ["mine", "what the first batch did", "Modules: batch 2 of 2 (U2)"]


def test_an_edit_of_somebody_else_is_neither_lost_nor_committed(repo: Repo) -> None:
    run = between_batches(repo)
    edited, own = repo.root / "src/m2.py", repo.root / "src/shared.py"
    edited.write_text("x = 0\n# mine\n")
    own.write_text("mine\n")
    opens(repo)
    manifest = run.wait(within=60)
    assert manifest["reason"]["code"] == "commit_refused"
    assert "src/m2.py" in manifest["reason"]["message"]
    assert commits(repo) == ["Modules: batch 1 of 2 (U1)"]
    assert edited.read_text() == "x = 2\n# mine\nby 2\n"
    assert own.read_text() == "mine\n"
    assert repo.says("status", "--porcelain") == " M src/m2.py\n M src/shared.py\n"


def test_a_lock_of_git_stops_the_plan_with_nothing_moved(repo: Repo) -> None:
    run = between_batches(repo, "commit-tree", "before")
    lock = repo.root / ".git/index.lock"
    lock.touch()
    opens(repo)
    manifest = run.wait(within=60)
    assert manifest["reason"]["code"] == "commit_refused"
    assert "index.lock" in manifest["reason"]["message"]
    assert commits(repo) == []
    lock.unlink()
    repo.says("commit", "-qam", "what the first batch did")
    assert resumes(repo).wait(within=60)["status"] == "succeeded"
    assert commits(repo) == ["what the first batch did", "Modules: batch 2 of 2 (U2)"]


# -- twice at once -------------------------------------------------------------------------------------


def at_once(repo: Repo, *words: str) -> list[Completed]:
    with (
        repo.process(*start_words(repo, *words)) as one,
        repo.process(*start_words(repo, *words)) as other,
    ):
        ends = []
        for process in (one, other):
            out, err = process.communicate(timeout=60)
            ends.append(Completed(process.returncode, out.decode(), err.decode()))
    return sorted(ends, key=lambda end: end.status)


def test_of_two_starts_and_of_two_resumes_at_once_one_begins(repo: Repo) -> None:
    one_waits(repo)
    begun, not_begun = at_once(repo)
    assert (begun.status, not_begun.status, not_begun.error["code"]) == (0, 9, "plan_runs")
    run = Run(repo, begun.json()["run_id"])
    assert run.id in not_begun.error["message"]
    waits_at_gate(batch(run, 1))
    refused_now = refused(repo, "--resume")
    assert (refused_now.status, refused_now.error["code"]) == (9, "plan_runs")
    kills(conductor_of(run))
    run.wait(within=60)
    opens(repo)
    begun, not_begun = at_once(repo, "--resume")
    assert (begun.status, not_begun.status, not_begun.error["code"]) == (0, 9, "plan_runs")
    finished(repo, Run(repo, begun.json()["run_id"]))
