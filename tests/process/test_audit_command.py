"""`runner audit`: every run has its begin and its end there, whatever became of it and of its supervisor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.processes import kill
from support.repo import Repo

MINE = ("--host", "claude", "--session", "s1")


@pytest.fixture(autouse=True)
def no_run_goes_on(nothing_left: None, repo: Repo) -> Iterator[None]:
    yield
    repo.end_all()


def shown(repo: Repo, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = repo.json("audit", "show", *words)["runs"]
    return found


def test_a_run_is_there_from_its_begin_on_with_where_it_came_from(repo: Repo) -> None:
    repo.waiting_codex()
    repo.task(prompt="Say\thello to all of them.")
    run = repo.start(env={"CLAUDE_CODE_SESSION_ID": "s1"})
    repo.begun()
    assert repo.json("audit", "verify")["is_whole"] is not False, "its owner tells of it in a moment"
    repo.open_gate()
    run.wait()
    (row,) = shown(repo, "--session", "s1")
    assert (row["run_id"], row["host"], row["hint"]) == (run.id, "claude", "Say hello to all of them.")
    assert (row["outcome"], row["exit_code"], row["status"]) == ("succeeded", 0, "succeeded")
    assert shown(repo, "--session", "s2") == shown(repo, "--task", "work", "--session", "s2") == []
    assert [repo.cli("audit", "show", *words).status for words in (("--task", "x"), ("--run", "x"))] == [4, 4]
    assert [one["run_id"] for one in shown(repo, "--run", run.id[-8:], "--since", "1h", "-n", "1")] == [
        run.id
    ]
    assert run.id[-8:][:4] in repo.cli("audit", "show").stdout


def test_the_end_of_a_run_that_was_killed_with_its_supervisor_is_there_once_somebody_looks(
    repo: Repo,
) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    child = run.child()
    run.kill_supervisor()
    kill(child)
    for _ in range(2):
        looked = repo.cli("audit", "verify")
        assert looked.status == 9 and f"nobody has run {run.id} of work any more" in looked.stdout
    assert run.status()["status"] == "lost"
    assert repo.json("audit", "verify")["is_whole"]
    (row,) = shown(repo)
    assert (row["outcome"], row["exit_code"], row["verdict"]) == ("lost", None, "lost: lost")


def test_the_audit_is_the_same_after_the_mode_is_off_and_the_runs_are_removed(repo: Repo) -> None:
    repo.quick_codex()
    repo.config('[tasks.work]\nprompt = "Do it."\nsandbox = "workspace-write"\n')
    assert repo.cli("mode", "on", "work", "--held", *MINE).status == 0
    repo.start(env={"CLAUDE_CODE_SESSION_ID": "s1"}).wait()
    exported = repo.cli("audit", "export").stdout
    assert repo.cli("mode", "off", *MINE).status == 0
    assert repo.cli("audit", "export").stdout == exported
    repo.cli("clean", "--older-than", "0")
    assert repo.no_runs()
    assert repo.cli("audit", "export").stdout == exported
    *_, last = map(json.loads, exported.splitlines())
    verified = repo.json("audit", "verify")
    assert verified["is_whole"]
    assert [[one["entries"], one["hash"]] for one in verified["ledgers"]] == [last["heads"]["work"]]


def test_a_changed_entry_ends_with_a_conflict_and_nothing_of_its_ledger_is_shown(repo: Repo) -> None:
    repo.quick_codex()
    repo.task().start().wait()
    ledger = repo.root / ".runs/work/ledger.jsonl"
    ledger.write_text(ledger.read_text().replace("Do it.", "Did it"))
    done = repo.cli("audit", "verify", "--format", "json")
    assert (done.status, done.json()["is_whole"]) == (9, False)
    assert repo.cli("audit", "verify").status == 9
    repo.task(name="other").start(task="other").wait()
    done = repo.cli("audit", "show", "--format", "json")
    assert (done.status, [one["task_id"] for one in done.json()["runs"]]) == (9, ["other"])
    done = repo.cli("audit", "show", "--run", "nowhere")
    assert done.status == 9 and ".runs/work/ledger.jsonl" in done.stderr
    assert repo.cli("audit", "export").status == 9


def test_where_no_ledger_is_nothing_is_called_whole(repo: Repo) -> None:
    done = repo.cli("audit", "verify")
    assert done.status == 4 and str(repo.root) in done.stderr and "whole" not in done.stdout
    repo.quick_codex()
    run = repo.task().start()
    run.wait()
    for name in ("ledger.jsonl", ".ledger.head"):
        (repo.root / ".runs/work" / name).unlink()
    invocation = repo.root / ".runs/work/cli" / run.id / "invocation.json"
    invocation.write_text(invocation.read_text().replace('"ledger":', '"lodger":'))
    done = repo.cli("audit", "verify")
    assert (done.status, "not whole" in done.stdout) == (9, True)
    assert f"run {run.id} of work: its records were not made here" in done.stdout
    invocation.unlink()
    done = repo.cli("audit", "verify")
    assert (done.status, "invocation.json is gone" in done.stdout) == (9, True)
    assert done.stdout.endswith("the audit is not whole\n")


def test_the_table_keeps_what_is_worth_most_where_it_is_narrow(repo: Repo) -> None:
    repo.quick_codex()
    request = "Lock both of the tables before either is written."
    repo.task('constraints = ["Be brief."]', prompt=request).start().wait()
    head, row = repo.cli("audit", "show").stdout.splitlines()
    assert "TOKENS" in head and row.endswith(f"  {request}"), "and no section that runner adds"
    head, row = repo.cli("audit", "show", env={"COLUMNS": "80"}).stdout.splitlines()
    assert {"BEGAN", "RUN", "TASK", "END", "REQUEST"} <= {*head.split()} and "TOKENS" not in head
    assert "  Lock both of the" in row and row.endswith("...") and len(row) <= 80


def test_of_a_ledger_without_its_head_it_says_that_its_end_may_be_missing(repo: Repo) -> None:
    assert repo.cli("audit", "export", "--idx", "--write").stdout == "0 rows added\n"
    assert repo.no_runs() and not (repo.root / ".runs").exists()
    repo.quick_codex()
    repo.task().start().wait()
    unknown = "whether entries are missing at its end nobody can say"
    assert unknown not in repo.cli("audit", "verify").stdout
    (repo.root / ".runs/work/.ledger.head").unlink()
    looked = repo.cli("audit", "verify")
    assert looked.status == 0 and unknown in looked.stdout
