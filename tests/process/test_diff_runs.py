"""`runner diff-runs` on runs of the real Codex against the scripted model."""

from __future__ import annotations

from typing import Any

import pytest
from support.codex import find_codex
from support.repo import Repo

TASK = 'workspace = "worktree"\nsandbox = "workspace-write"\nexpects_change = false\n'
WORKED = '[[turns]]\nshell = "echo hi > a.txt; echo same > b.txt"\n[[turns]]\nmessage = "done"\n'
FAILED = """
[[turns]]
shell = "echo hu > a.txt; echo same > b.txt; touch c.txt"
[[turns]]
shell = "make all"
[[turns]]
message = "done"
"""


@pytest.fixture
def twice(repo: Repo) -> Repo:
    """A run that succeeded, and one of other settings that did not."""
    find_codex(repo)
    repo.config(f'[tasks.work]\nprompt = "Do it."\nverify = [["test", "-e", "a.txt"]]\n{TASK}')
    (repo.root / ".gitignore").write_text(".runs/\nplay.toml\n")
    repo.git("add", "-A")
    repo.git("commit", "-qm", "x")
    repo.script(WORKED)
    assert repo.cli("start", "work", "--rehearse", "play.toml", "--wait").status == 0
    repo.script(FAILED)
    checks = 'verify = [["test", "-e", "a.txt"], ["test", "-e", "d.txt"]]\ntimeout = "5m"'
    repo.config(f'[tasks.work]\nprompt = "Do it now."\n{checks}\n{TASK}')
    assert repo.cli("start", "work", "--rehearse", "play.toml", "--wait").status == 6
    return repo


def keys(part: dict[str, Any]) -> set[str]:
    assert part["unknown"] == [] and part["more"] == 0
    return {one["key"] for one in part["differences"]}


def test_what_has_changed_since_it_last_worked(twice: Repo) -> None:
    first, second = (run.id for run in twice.runs())
    found = twice.cli("diff-runs", "work", "--json").json()
    assert (found["before"]["run_id"], found["after"]["run_id"]) == (first, second)
    assert found == twice.cli("diff-runs", first, second, "--json").json()
    assert {"-Do it.", "+Do it now."} <= {*found["prompt"]["lines"]}
    assert keys(found["settings"]) == {"limits.timeout_s", "verify", "verify_programs"}
    assert {
        name for name in ("arguments", "versions", "base", "tokens", "attempts") if keys(found[name])
    } == set()
    assert "make all" in keys(found["commands"])
    assert keys(found["files"]) == {"a.txt", "c.txt"} and found["files"]["compared"] == 3
    assert found["checks"]["differences"] == [
        {"key": "test -e d.txt", "before": None, "after": "failed: exited with 1"}
    ]
    assert keys(found["verdict"]) == {"outcome", "reason", "message"}
    text = twice.cli("diff-runs").stdout
    assert "= same: arguments, versions, base, " in text
    assert "  ~ limits.timeout_s: 300.0 (was: 7200.0)\n" in text
    assert "  + make all: 1 time\n" in text


def test_a_comparison_that_nobody_can_make_is_an_error_with_a_way_on(twice: Repo) -> None:
    first, second = (run.id for run in twice.runs())
    same = twice.cli("diff-runs", second, second, "--json")
    assert (same.status, same.error["code"]) == (2, "usage") and "name two runs" in same.error["hint"]
    none = twice.cli("diff-runs", first, "--json")
    assert (none.status, none.error["code"]) == (4, "run_not_found") and "diff-runs A B" in none.error["hint"]
    twice.git("add", "-f", f".runs/work/cli/{second}")
    foreign = twice.cli("diff-runs", first, second, "--json")
    assert (foreign.status, foreign.error["code"]) == (9, "foreign_run")


def test_after_a_decision_on_a_change_the_files_are_still_compared(twice: Repo) -> None:
    first, second = (run.id for run in twice.runs())
    assert twice.cli("discard", second).status == 0
    assert twice.cli("accept", first).status == 0
    found = twice.cli("diff-runs", first, second, "--json").json()
    assert keys(found["files"]) == {"a.txt", "c.txt"}


def test_of_a_run_that_goes_on_there_is_no_verdict_yet(repo: Repo) -> None:
    repo.task(name="work")
    repo.quick_codex()
    assert repo.cli("start", "work", "--wait").status == 0
    repo.waiting_codex()
    repo.task('timeout = "5m"')
    repo.cli("start", "work")
    repo.begun()
    found = repo.cli("diff-runs", "work", "--json").json()
    assert found["after"]["status"] == "running" and found["verdict"] is found["files"] is None
    assert keys(found["settings"]) == {"limits.timeout_s"}
    text = repo.cli("diff-runs", "work").stdout
    assert "? unknown: " in text and ", verdict\n" in text
    repo.end_all()
