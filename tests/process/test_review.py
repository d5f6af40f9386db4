"""The real command on runs that are over: report, diff, accept, discard and clean."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from support.ended import a_result, a_worktree, an_ended_run, commit, write_result
from support.imports import ROOT
from support.repo import Repo

from runner.model import Level, Outcome, Terms
from runner.state.store import RunDir
from runner.workspace import snapshot
from runner.workspace.worktree import Worktree

SCHEMA = json.loads((ROOT / "schemas" / "report.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def one_home(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made here in this process is signed with the key of the commands."""
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(repo.home))


@pytest.fixture
def refused(repo: Repo) -> RunDir:
    commit(repo.root, a_txt="a\n", b_txt="b\n")
    terms = Terms(output_contract="final", scope=("a.txt",))
    return an_ended_run(repo.root, outcome=Outcome.REJECTED, code="verify_failed", terms=terms)


@pytest.fixture
def tree(repo: Repo, refused: RunDir) -> Worktree:
    made = a_worktree(refused, commit(repo.root, c_txt="c\n"))
    Path(made.path, "new").write_text("the run's\n")
    return made


def test_a_report_is_given_in_three_forms_and_its_exit_status_is_not_the_outcome(
    repo: Repo, refused: RunDir
) -> None:
    write_result(refused, a_result())
    done = repo.cli("report", refused.run_id, "--format", "json")
    assert (done.status, done.stderr) == (0, "")
    Draft202012Validator(SCHEMA).validate(done.json())
    assert done.json()["files"]["outside_scope"] == ["b.txt"]
    text = repo.cli("report", refused.run_id)
    assert text.status == 0 and text.stdout.startswith("rejected") and "(outside the scope)" in text.stdout
    markdown = repo.cli("report", refused.run_id, "--format", "markdown")
    assert markdown.status == 0 and markdown.stdout.startswith("## `work`: rejected")
    assert repo.cli("wait", refused.run_id).status == 6


@pytest.mark.parametrize("form", ["text", "json", "markdown"])
def test_a_result_that_somebody_replaced_is_a_note_on_stderr(form: str, repo: Repo, refused: RunDir) -> None:
    os.mkfifo(refused.result)
    done = repo.cli("report", refused.run_id, "--format", form, within=10)
    assert done.status == 0 and "note: result.json cannot be used" in done.stderr
    assert "Traceback" not in done.stderr and "rejected" in done.stdout


def test_a_report_of_a_run_that_is_not_there_is_not_found(repo: Repo) -> None:
    assert repo.cli("report", "nothing", "--format", "json").error["code"] == "run_not_found"
    assert repo.cli("report", "nothing", "--format", "markdown").status == 4


def test_stdout_is_the_patch_and_nothing_else(repo: Repo, refused: RunDir, tmp_path: Path) -> None:
    assert snapshot.take(str(repo.root), refused.path) is not None
    contents = {"a.txt": b"caf\xe9\n", "blob": bytes(range(256)), "with space": b"x\n"}
    for name, content in contents.items():
        (repo.root / name).write_bytes(content)
    with repo.process("diff", refused.run_id, env={"FORCE_COLOR": "1", "NO_COLOR": ""}) as process:
        patch, err = process.communicate(timeout=30)
    assert process.returncode == 0 and b"all changes since the run began" in err
    other = tmp_path / "other"
    subprocess.run(["git", "worktree", "add", "-q", str(other), "HEAD"], cwd=repo.root, check=True)
    subprocess.run(["git", "apply"], cwd=other, input=patch, check=True)
    assert {name: (other / name).read_bytes() for name in contents} == contents
    told = repo.cli("diff", refused.run_id, "--format", "json")
    assert told.json()["patch"] is None and "not UTF-8" in told.stderr
    assert [one["path"] for one in told.json()["files"]] == sorted(contents)
    stat = repo.cli("diff", refused.run_id, "--stat").stdout.splitlines()
    assert [line.split(maxsplit=1)[1].strip() for line in stat] == ["-1  a.txt", "blob", "-0  with space"]


def test_of_a_read_only_run_there_is_no_patch(repo: Repo) -> None:
    run = an_ended_run(repo.root)
    declared = run.read_manifest().sandbox.replace(level=Level.READ_ONLY)
    run.write_manifest(run.read_manifest().replace(sandbox=declared))
    done = repo.cli("diff", run.run_id)
    assert (done.status, done.stdout) == (9, "") and "was read-only" in done.stderr


def test_accepting_and_then_again(repo: Repo, refused: RunDir, tree: Worktree) -> None:
    done = repo.cli("accept", refused.run_id)
    assert (done.status, done.stdout) == (
        0,
        f"{refused.run_id[20:24]} accepted; 1 file changed in your tree\n",
    )
    assert tree.patch in done.stderr and (repo.root / "new").read_text() == "the run's\n"
    assert "note: the run did not succeed (rejected): " in done.stderr
    assert not os.path.exists(tree.path)
    again = repo.cli("accept", refused.run_id, "--format", "json")
    assert again.status == 9 and "is already accepted" in again.error["message"]
    assert "+the run's" in repo.cli("diff", refused.run_id).stdout
    logged = repo.cli("logs", refused.run_id).stdout
    assert "accepted by user: 1 file changed in your tree" in logged


def test_conflicts_are_listed_and_nothing_is_changed(repo: Repo, refused: RunDir, tree: Worktree) -> None:
    Path(tree.path, "a.txt").write_text("the run's\n")
    (repo.root / "a.txt").write_text("the user's\n")
    done = repo.cli("accept", refused.run_id)
    assert done.status == 9 and "\n  a.txt\n" in done.stderr and "nothing was changed" in done.stderr
    assert (repo.root / "a.txt").read_text() == "the user's\n" and not (repo.root / "new").exists()
    assert repo.cli("accept", refused.run_id, "--format", "json").error["problems"] == ["a.txt"]
    assert tree.is_there()


def test_cleaning_says_which_run_waits_for_a_decision_until_it_is_made(
    repo: Repo, refused: RunDir, tree: Worktree
) -> None:
    kept = repo.cli("clean", "--older-than", "0", "--format", "json")
    assert (kept.status, kept.json()) == (0, [])
    assert tree.path in kept.stderr and f"runner discard {refused.run_id[20:24]}" in kept.stderr
    discarded = repo.cli("discard", refused.run_id, "--format", "json")
    assert discarded.json()["decision"] == "discarded"
    cleaned = repo.cli("clean", "--older-than", "0", "--format", "json")
    assert [row["run_id"] for row in cleaned.json()] == [refused.run_id] and cleaned.stderr == ""


def test_a_run_in_place_has_nothing_to_decide(repo: Repo, refused: RunDir) -> None:
    for verb in ("accept", "discard"):
        done = repo.cli(verb, refused.run_id)
        assert done.status == 9 and "no work tree of its own" in done.stderr and "hint:" in done.stderr


def test_a_spent_budget_has_an_exit_status_of_its_own(repo: Repo) -> None:
    run = an_ended_run(repo.root, outcome=Outcome.FAILED, code="budget_exceeded")
    assert repo.cli("wait", run.run_id).status == 7
