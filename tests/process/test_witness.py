"""What stands in the ledger of a task by itself, of runs that end as they like and owners that are killed."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.disks import fill, small_disk
from support.doubles import FINISHED, THREAD, said
from support.leftovers import assert_nothing_left
from support.processes import kill
from support.repo import Repo, Run
from support.waiting import wait_until

from runner.ledger.entry import LedgerEntry
from runner.ledger.file import Ledger

ALL = ["run_started", "run_ended"]
"""Of a run that only reads, without checks."""
NOTE = "[IMPORTANT] RUNNER_NOTE: turn '$n'"


@pytest.fixture(autouse=True)
def no_run_goes_on(nothing_left: None, repo: Repo) -> Iterator[None]:
    yield
    repo.end_all()


def entries(repo: Repo, task: str = "work") -> list[LedgerEntry]:
    """As far as their chain holds; none may be behind that."""
    ledger = Ledger(str(repo.root), task)
    found = [*ledger.unproven()]
    lines = Path(ledger.path).read_bytes().count(b"\n") if ledger.exists else 0
    assert lines == len(found)
    return found


def types(repo: Repo) -> list[str]:
    return [str(entry.type) for entry in entries(repo)]


def statuses(repo: Repo) -> dict[str, str]:
    """Of the artifacts, by their kinds."""
    told = [entry.payload for entry in entries(repo) if entry.type == "artifact"]
    return {str(payload["kind"]): str(payload["status"]) for payload in told}


def sealed(run: Run) -> None:
    wait_until(lambda: not (run.folder / "control" / "wake").exists(), what="the seal")


def test_all_that_happened_stands_there_when_the_run_is_over(repo: Repo) -> None:
    repo.quick_codex()
    run = repo.task('verify = [["true"], ["sh", "-c", "exit 3"]]').start()
    assert run.wait()["status"] == "rejected"
    assert types(repo) == ["run_started", "artifact", "run_ended"], "whoever waits for the run finds it"
    assert statuses(repo) == {"test_report": "failed"}
    begun, tested, ended = entries(repo)
    assert begun.payload["sandbox"] == "read-only"
    assert tested.payload["title"] == "`sh -c exit 3` exited with 3"
    assert (ended.payload["status"], ended.payload["code"]) == ("rejected", "verify_failed")
    assert {entry.actor for entry in entries(repo)} == {"runner"}
    assert {entry.run_id for entry in entries(repo)} == {run.id}


def test_a_check_that_its_run_has_rewritten_is_not_told_as_passed(repo: Repo) -> None:
    (repo.root / "check.sh").write_text("exit 1\n")
    repo.commit()
    repo.quick_codex(before="echo exit 0 > check.sh")
    run = repo.task('verify = [["sh", "check.sh"]]').start("--sandbox", "workspace-write")
    assert run.wait()["status"] == "succeeded"
    assert statuses(repo) == {"patch_summary": "passed", "test_report": "unknown"}
    for entry in entries(repo)[1:3]:
        assert "check_changed: 1 file was changed" in entry.payload["summary"]
        assert entry.payload["summary"].endswith(": check.sh")


def test_its_beginning_is_there_while_it_works_and_all_of_it_once_under_three_owners(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    wait_until(lambda: types(repo) == ALL[:1], what="the first entry")
    for _ in range(2):
        run.kill_supervisor()
        assert run.status()["status"] == "running"
    repo.open_gate()
    run.wait()
    sealed(run)
    assert types(repo) == ALL


def test_a_run_that_is_cancelled_says_so_and_claims_nothing(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task('verify = [["true"]]').start()
    repo.begun()
    run.told("cancel")
    assert types(repo) == ALL
    assert entries(repo)[-1].payload["outcome"] == "cancelled"


def test_a_check_that_is_ended_with_its_run_is_not_said_to_be_missing(repo: Repo) -> None:
    repo.quick_codex()
    run = repo.task('verify = [["sh", "-c", "echo > begun; exec sleep 300"]]').start()
    wait_until((repo.root / "begun").exists, what="the check")
    run.told("cancel")
    (told,) = (entry.payload for entry in entries(repo) if entry.payload.get("kind") == "test_report")
    assert told["status"] == "unknown" and "was ended with the run" in told["title"]


def test_a_start_that_fails_is_told_by_whoever_started_it(repo: Repo) -> None:
    """The run may have taken a handoff, which goes back to its maker by that."""
    repo.quick_codex()
    repo.task('verify = [["false"]]')
    assert repo.cli("start", "--task", "work", "--baseline", "refuse").status != 0
    assert types(repo) == ["run_ended"]
    assert entries(repo)[0].payload["code"] == "baseline_failed"
    repo.cli("list", "--all")
    assert types(repo) == ["run_ended"]


@contextlib.contextmanager
def held(repo: Repo) -> Iterator[None]:
    """As by a writer that was stopped."""
    with (repo.runs_folder / "work" / ".ledger.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_lock_that_another_one_holds_keeps_no_run_from_ending(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    wait_until(lambda: types(repo) == ALL[:1], what="the first entry")
    with held(repo):
        repo.open_gate()
        assert run.wait(within=20)["status"] == "succeeded"
        wait_until(lambda: not run.everything(), what="the end of its supervisor")
        assert types(repo) == ALL[:1]
        assert run.status()["status"] == "succeeded"
    run.status()
    sealed(run)
    assert types(repo) == ALL


def test_killed_over_its_last_entries_an_owner_leaves_them_to_the_next_one(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    wait_until(lambda: types(repo) == ALL[:1], what="the first entry")
    with held(repo):
        repo.open_gate()
        wait_until(lambda: run.events("ended"), what="the event of the end")
        owner = run.supervisor()
        kill(owner)
        wait_until(lambda: not owner.is_still_there(), what="the supervisor's death")
    assert run.status()["status"] == "succeeded"
    sealed(run)
    assert types(repo) == ALL


@pytest.mark.parametrize(
    "text", ["{}\n", '{"mac":"', "\0" * 5000, ""], ids=["foreign", "torn", "hole", "new"]
)
def test_a_ledger_of_somebody_else_keeps_no_run_from_ending(text: str, repo: Repo) -> None:
    path = repo.runs_folder / "work" / "ledger.jsonl"
    repo.quick_codex()
    repo.task().start().wait()
    path.write_text(text)
    for head in path.parent.glob(".ledger.head"):
        head.unlink()
    run = repo.start()
    assert run.wait()["status"] == "succeeded"
    sealed(run)
    complaints = run.file("supervisor.log").count("not in the ledger")
    if text == "{}\n":
        assert (path.read_text(), complaints) == (text, 1)
    else:
        assert (types(repo), complaints) == (ALL, 0), "a torn line is cut off, and an empty file is a new one"


def test_a_ledger_that_is_removed_meanwhile_is_not_made_up_again(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    wait_until(lambda: types(repo) == ALL[:1], what="the first entry")
    (repo.runs_folder / "work" / "ledger.jsonl").unlink()
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"
    sealed(run)
    assert not (repo.runs_folder / "work" / "ledger.jsonl").exists()
    assert run.file("supervisor.log").count("not in the ledger: .runs/work/ledger.jsonl: it was cut") == 1


def test_the_marker_of_a_turn_is_there_while_the_run_waits(repo: Repo) -> None:
    turn = f'echo x >> "$HOME/turns"; n=$(wc -l < "$HOME/turns"); cat > /dev/null\n{THREAD}'
    repo.codex(f"{turn}{said(NOTE)}{FINISHED}")
    run = repo.task("open = true").start()
    wait_until(lambda: types(repo) == ["run_started", "note"], what="the first marker")
    assert run.repo.cli("send", run.id, "go on").status == 0
    wait_until(lambda: types(repo) == ["run_started", "note", "note"], what="the second marker")
    run.kill_supervisor()
    run.ask("end", "--timeout", "30s")
    sealed(run)
    assert types(repo) == ["run_started", "note", "note", *ALL[1:]]
    assert {(one.actor, one.run_id) for one in entries(repo) if one.type == "note"} == {("work", run.id)}


def test_a_wrong_marker_is_told_before_the_end(repo: Repo) -> None:
    repo.quick_codex("[IMPORTANT] RUNNER_SIGN: it is final")
    assert repo.task().start().wait()["status"] == "succeeded"
    assert types(repo) == ["run_started", "marker_error", *ALL[1:]]


def test_clean_removes_runs_and_no_ledger(repo: Repo) -> None:
    repo.quick_codex()
    run = repo.task().start()
    run.wait()
    sealed(run)
    assert repo.cli("clean", "--older-than", "0s").status == 0
    assert repo.no_runs()
    assert types(repo) == ALL
    assert repo.json("list", "--all") == []
    later = repo.start()
    later.wait()
    assert types(repo) == [*ALL, *ALL]
    assert [one["run_id"] for one in repo.json("list", "--all")] == [later.id]
    assert repo.cli("__complete", "bash", "status", "").stdout.split()[0] in later.id


def test_on_a_full_disk_the_run_ends_and_is_told_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk:
        repo = Repo(disk)
        repo.waiting_codex()
        run = repo.task('timeout = "3s"').start()
        repo.begun()
        wait_until(lambda: types(repo) == ALL[:1], what="the first entry")
        ballast = fill(disk)
        ended = wait_until(lambda: (m := run.on_disk())["phase"] == "done" and m, within=20, what="the end")
        assert ended["status"] == "timed_out"
        wait_until(lambda: not run.everything(), what="the end of its supervisor")
        ballast.unlink()
        run.status()
        sealed(run)
        assert types(repo) == ALL
        assert_nothing_left(disk)
