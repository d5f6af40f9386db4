"""The inbox: all that waits for a person, and nothing that somebody else sees to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.ended import an_ended_run
from support.waiting import ends_within

from runner.cli.app import main
from runner.disk import home
from runner.errors import RunNotFound
from runner.model import Outcome
from runner.state import feed
from runner.state.index import RunRow
from runner.state.store import RunDir, new_run_id
from runner.usecases import events, inbox

STOPPED = {"file": "plan one.toml", "breaker": {"open": True, "failures": 3, "parked": None}}
PARKED = {
    "file": "b.toml",
    "breaker": {"open": False, "failures": 0, "parked": {"code": "x", "message": "y"}},
}


def kinds(root: Path) -> list[tuple[str, str | None]]:
    return [(item.kind, item.run_id) for item in inbox.waiting(str(root))]


def with_a_tree(run: RunDir) -> RunDir:
    os.makedirs(f"{home.state(os.environ)}/worktrees/x/{run.run_id}")
    return run


def test_an_empty_inbox_says_so_and_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kinds(tmp_path) == []
    os.chdir(tmp_path)
    assert main(["inbox"]) == 0
    assert capsys.readouterr().err == "nothing waits for you\n"
    assert main(["inbox", "--format", "json"]) == 0
    assert capsys.readouterr().out == '{"items": []}\n'


def test_trees_wait_unless_their_plan_lives_and_takes_them(tmp_path: Path) -> None:
    one = with_a_tree(an_ended_run(tmp_path))
    an_ended_run(tmp_path)
    assert kinds(tmp_path) == [("tree", one.run_id)]
    (first,) = inbox.waiting(str(tmp_path))
    assert first.commands == (f"runner accept {one.run_id}", f"runner discard {one.run_id}")


@pytest.mark.parametrize(("ended_at", "waits"), [(None, False), ("2026-11-20T10:15:04.438Z", True)])
def test_the_tree_of_a_batch_waits_once_its_plan_does_not_take_it(ended_at: str | None, waits: bool) -> None:
    of_batch = RunRow("b", "work", "failed", None, None, None, None, "x", parent="p", undecided=True)
    of_plan = RunRow("p", "work", "running", None, None, None, None, ended_at, plan=True)
    assert [item.run_id for item in inbox.trees((of_batch, of_plan))] == ["b"] * waits


LEFT = {"breaker": {"open": False, "failures": 1, "parked": None}, "left": ["U1"]}


def test_of_a_plan_the_newest_run_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    an_ended_run(tmp_path, outcome=Outcome.FAILED, plan=PARKED, run_id=new_run_id(1_000_000.0))
    stopped = an_ended_run(tmp_path, outcome=Outcome.FAILED, plan=STOPPED, run_id=new_run_id(2_000_000.0))
    continued = {**PARKED, "breaker": {"open": False, "failures": 0, "parked": None}}
    an_ended_run(tmp_path, plan=continued, run_id=new_run_id(3_000_000.0))
    (item,) = inbox.waiting(str(tmp_path))
    assert (item.kind, item.run_id) == ("plan", stopped.run_id)
    way = "runner start --plan 'plan one.toml' --task work --resume --reset-breaker"
    assert item.commands == (way,) and "batches failed in a row: 3" in item.text


@pytest.mark.parametrize(
    ("outcome", "left", "waits"),
    [
        (Outcome.FAILED, ["U1"], True),
        (Outcome.TIMED_OUT, ["U1"], True),
        (Outcome.LOST, ["U1"], True),
        (Outcome.CANCELLED, ["U1"], False),
        (Outcome.FAILED, [], False),
        (Outcome.SUCCEEDED, [], False),
    ],
)
def test_a_plan_waits_while_units_are_left_unless_somebody_cancelled_it(
    outcome: Outcome, left: list[str], waits: bool, tmp_path: Path
) -> None:
    run = an_ended_run(tmp_path, outcome=outcome, plan={**LEFT, "file": "a.toml", "left": left})
    assert kinds(tmp_path) == [("plan", run.run_id)] * waits


@pytest.mark.parametrize(
    ("folder", "file", "named"),
    [("sub", "a.toml", "../a.toml"), ("sub", "sub/a.toml", "a.toml"), (".", "-a.toml", "./-a.toml")],
)
def test_the_command_of_a_plan_is_one_for_the_folder_in_which_it_is_read(
    folder: str, file: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    an_ended_run(tmp_path, outcome=Outcome.FAILED, plan={**LEFT, "file": file})
    monkeypatch.chdir(tmp_path / folder)
    (item,) = inbox.waiting(str(tmp_path))
    assert item.commands == (f"runner start --plan {named} --task work --resume",)


def test_what_another_account_or_a_clone_brought_does_not_wait(tmp_path: Path) -> None:
    run = with_a_tree(an_ended_run(tmp_path, plan=STOPPED, outcome=Outcome.FAILED))
    text = Path(run.invocation).read_text().replace('"codex"', '"kay"')
    Path(run.invocation).write_text(text)
    assert kinds(tmp_path) == []


def test_waiting_returns_when_something_comes(tmp_path: Path) -> None:
    an_ended_run(tmp_path)
    polls = 0

    def pause(_: float) -> None:
        nonlocal polls
        polls += 1
        if polls == 3:
            feed.tell(with_a_tree(an_ended_run(tmp_path)), "undecided")

    with ends_within(20):
        assert [item.kind for item in inbox.wait(str(tmp_path), pause)] == ["tree"]
    assert polls == 3


@pytest.mark.parametrize("who", ["inbox", "events"])
def test_who_waits_in_a_repository_that_is_removed_or_moved_is_told_so(who: str, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    an_ended_run(root)

    def pause(_: float) -> None:
        if root.exists():
            root.rename(tmp_path / "elsewhere")

    with ends_within(20), pytest.raises(RunNotFound, match=f"^{root} was removed or moved"):
        if who == "inbox":
            inbox.wait(str(root), pause)
        next(events.follow(str(root), None, lambda _: None, pause))
