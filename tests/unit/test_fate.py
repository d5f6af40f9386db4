"""After its end a run says where its change is: in the tree, rolled back, or waiting for a decision."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.ended import a_result, a_worktree, an_ended_run, write_result
from support.waiting import wait_until
from support.work import Work

from runner.cli.app import main
from runner.cli.end import end_text
from runner.cli.rows import rows_text
from runner.model import Outcome
from runner.state.events import EventLog
from runner.state.manifest import Workspace, timestamp
from runner.state.store import RunDir
from runner.usecases import accept, look, review
from runner.usecases.fate import of_change

ROLLED = {
    "restored": ["a"],
    "removed": ["b", "c"],
    "kept": [],
    "left": [],
    "unequal": [],
    "refused": None,
    "hint": None,
}


@pytest.fixture(autouse=True)
def no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write("a.txt", "a\n")
    made.commit()
    return made


def ended(work: Work, outcome: Outcome = Outcome.REJECTED, kind: str = "in-place", **result: Any) -> RunDir:
    run = an_ended_run(work.root, outcome=outcome, workspace=Workspace(kind, str(work.root), None))
    if result:
        write_result(run, a_result(**result))
    return run


def told(run: RunDir) -> str | None:
    text = of_change(run, run.read_manifest())
    return None if text is None else text.removesuffix(f": runner diff {run.run_id}")


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        ({"was_clean": False}, "2 files kept in your tree (it had uncommitted changes before)"),
        ({"was_clean": True}, "2 files kept in your tree"),
        ({"rolled_back": ROLLED}, "rolled back (3 files)"),
        ({"rolled_back": {**ROLLED, "left": ["a: busy"]}}, "not all rolled back (3 files)"),
        (
            {"rolled_back": {**ROLLED, "refused": "HEAD moved"}},
            "2 files kept in your tree (its rollback was refused)",
        ),
        ({"observed": None}, "not known; what is in your tree"),
        ({"attempt": 2}, "not known; what is in your tree"),
        ({"observed": {**a_result()["observed"], "changed": []}}, None),
        ({}, "what it changed was left in your tree"),
        ({"rolled_back": 5}, "what it changed was left in your tree"),
    ],
)
def test_of_a_run_in_place_it_says_whether_the_change_is_still_there(
    work: Work, result: dict[str, Any], wanted: str | None
) -> None:
    run = ended(work, **result)
    assert told(run) == wanted
    shown = end_text(run, run.read_manifest())
    where = None if wanted is None else wanted.partition(" ")[2]
    assert (where in shown and "\nchanges    " in shown) if where else "changes" not in shown


@pytest.mark.parametrize(
    ("then", "since"),
    [
        ("nothing", ""),
        ("revert", " when it ended; 1 of them changed since"),
        ("remove", " when it ended; 1 of them changed since"),
        ("both", " when it ended; 2 of them changed since"),
        ("delete the changed one", " when it ended; 1 of them changed since"),
        ("delete it, of a record of before", ""),
        ("delete the other", ""),
    ],
)
def test_a_change_that_somebody_has_reverted_is_not_said_to_be_there(
    work: Work, then: str, since: str
) -> None:
    work.write("new.txt", "n\n")
    work.write("folder/\x1b[31mred", "n\n")
    run = ended(work, Outcome.SUCCEEDED)
    changed = {"changed": ["a.txt", "gone.txt", "folder/red"], "added": ["folder/red", "new.txt"]}
    changed["changed"].append("new.txt")
    changed["gone"] = ["gone.txt"]
    observed = {**a_result()["observed"], **changed}
    if "of before" in then:
        del observed["gone"]
    write_result(run, a_result(observed=observed))
    end = max((work.root / name).stat().st_ctime for name in ("a.txt", "folder", "new.txt")) + 0.01
    run.write_manifest(run.read_manifest().replace(ended_at=timestamp(end)))
    wait_until(lambda: time.time() > end + 0.05, within=5, what="the clock")
    if then in ("revert", "both"):
        work.write("a.txt", "a\n")
    if then in ("remove", "both"):
        (work.root / "new.txt").unlink()
    if "delete it" in then or "changed one" in then:
        (work.root / "a.txt").unlink()
    assert told(run) == f"4 files in your tree{since}"


@pytest.mark.parametrize("path", ["d/" * 3000 + "x", "x" * 5000, "/", "../../x", "a/" * 900 + "x"], ids=len)
def test_a_file_that_is_no_file_of_the_tree_stops_nothing(path: str, work: Work) -> None:
    run = ended(work, Outcome.SUCCEEDED)
    write_result(run, a_result(observed={**a_result()["observed"], "changed": [path], "added": [path]}))
    assert str(told(run)).startswith("1 file in your tree")


def test_a_result_of_an_older_runner_says_nothing_of_new_files(work: Work) -> None:
    run = ended(work, Outcome.SUCCEEDED)
    seen = {name: value for name, value in a_result()["observed"].items() if name != "added"}
    write_result(run, a_result(observed=seen))
    assert told(run) == "2 files in your tree"


def test_a_kept_change_is_a_note_of_the_report_and_a_success_is_none(work: Work) -> None:
    run = ended(work, was_clean=True)
    assert review.report(run).change == (f"its changes: 2 files kept in your tree: runner diff {run.run_id}",)
    good = ended(work, Outcome.SUCCEEDED, was_clean=True)
    assert told(good) == "2 files in your tree"
    assert review.report(good).change == ()


@pytest.mark.parametrize(
    ("kind", "result", "wanted"),
    [
        ("in-place", {"was_clean": False}, "changes: 2 files kept in your tree (it had uncommitted changes"),
        ("in-place", {"rolled_back": ROLLED}, "changes: rolled back (3 files)"),
        ("in-place", {"observed": {**a_result()["observed"], "changed": []}}, None),
        ("worktree", {}, "changes: in a work tree that waits for your decision"),
    ],
)
def test_whoever_cancels_is_told_where_the_change_is(
    work: Work,
    kind: str,
    result: dict[str, Any],
    wanted: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(work.root)
    run = ended(work, Outcome.CANCELLED, kind=kind, **result)
    if kind == "worktree":
        a_worktree(run, work.head())
    assert main(["cancel", run.run_id]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == f"{run.run_id[20:24]} cancelled; survivors: none"
    assert [line.startswith(wanted or "-") for line in rest] == [True] * (wanted is not None)
    assert main(["cancel", run.run_id, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == run.run_id


@pytest.mark.parametrize(
    ("outcome", "wanted"),
    [(Outcome.CANCELLED, None), (Outcome.LOST, "what it changed was left in your tree")],
)
def test_a_run_whose_agent_never_began_has_changed_nothing(
    work: Work, outcome: Outcome, wanted: str | None
) -> None:
    run = an_ended_run(
        work.root, outcome=outcome, workspace=Workspace("in-place", str(work.root), None), started_at=None
    )
    assert told(run) == wanted


def test_a_run_that_was_not_recorded_says_nothing(work: Work) -> None:
    run = an_ended_run(work.root)
    assert of_change(run, run.read_manifest()) is None


def test_a_work_tree_that_stands_waits_and_is_marked_in_every_list(work: Work) -> None:
    run = ended(work, Outcome.SUCCEEDED, kind="worktree")
    a_worktree(run, work.head())
    other = ended(work, Outcome.SUCCEEDED)
    assert f"runner accept {run.run_id}, runner discard {run.run_id}" in (told(run) or "")
    for _ in range(2):  # from the manifests, then from the cache
        rows = look.runs(str(work.root), task=None, everything=True)
        assert {row.run_id: row.undecided for row in rows} == {run.run_id: True, other.run_id: False}
        assert rows_text(rows, {}).count("to accept or discard") == 1
    assert look.runs(str(work.root), task=None, everything=False) == []
    assert look.undecided(str(work.root), []) == 1 and look.undecided("/other", []) == 0
    accept.discard(run)
    assert told(run) == "discarded; a patch is kept"
    EventLog(run.events).append("accepted", actor="user", files=1)
    assert told(run) == "accepted, and so merged into your tree"
    assert look.undecided(str(work.root), []) == 0
