"""An open breaker outlives what happens to the files of a plan: a broken ledger, a new start, `clean`."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.desk import WHY, Desk, unit
from support.plans import toml

from runner.cli.app import main
from runner.conduct import start_plan
from runner.conduct.start_plan import BreakerOpen
from runner.errors import Conflict
from runner.model import Lineage
from runner.state.store import RunDir
from runner.usecases import clean


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Two failures in a row stop its plan, which is committed."""
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    made = Desk(tmp_path / "base")
    made.settings("max_failures = 2")
    made.commit()
    return made


def begins(desk: Desk, *, reset: bool = False) -> None:
    """Whether a new start is refused, before anybody is asked."""
    start_plan.refuse_begun(desk.prepare(reset=reset))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"steps": []}', None], ids=str)
@pytest.mark.parametrize("name", ["ledger.json", "plan.json"])
def test_a_plan_whose_files_are_broken_stays_stopped_until_a_person_says_otherwise(
    desk: Desk, name: str, text: str | None
) -> None:
    file = Path(desk.ended("failed", "failed").path, name)
    file.unlink() if text is None else file.write_text(text, encoding="utf-8")
    before = desk.tree()
    for going_on in (False, True):
        with pytest.raises(BreakerOpen) as error:
            desk.again() if going_on else begins(desk)
        assert (error.value.code, int(error.value.exit_status)) == ("breaker_open", 9)
        assert "--reset-breaker" in (error.value.hint or "")
    assert desk.tree() == before
    begins(desk, reset=True)
    with pytest.raises(Conflict, match="cannot be read"):
        desk.again(reset=True)


def test_a_plan_with_a_broken_ledger_whose_breaker_is_closed_can_begin_anew(desk: Desk) -> None:
    run = desk.ended("failed")
    Path(run.ledger).write_text("{", encoding="utf-8")
    begins(desk)
    with pytest.raises(Conflict, match="cannot be read") as error:
        desk.again()
    assert not isinstance(error.value, BreakerOpen)


def test_a_new_start_is_no_way_round_an_open_breaker(desk: Desk) -> None:
    desk.ended("failed")
    begins(desk)
    desk.ended("failed", "failed")
    with pytest.raises(BreakerOpen, match="2 batches in a row have failed"):
        begins(desk)
    begins(desk, reset=True)


# -- clean ---------------------------------------------------------------------------------------------


def cleaned(desk: Desk) -> tuple[list[str], list[str]]:
    """What is gone, and what stays because its plan is stopped."""
    found = clean.clean(str(desk.root), older_than_s=0.0, dry_run=False)
    return [row.run_id for row in found.removed], [row.run_id for row, _ in found.stopped]


def is_there(run: RunDir) -> bool:
    return Path(run.manifest).exists()


def test_clean_leaves_the_last_run_of_a_plan_with_an_open_breaker_and_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    older, last = desk.ended("failed", "failed"), desk.ended("failed", "failed")
    monkeypatch.chdir(desk.root)
    assert main(["clean", "--older-than", "0"]) == 0
    out, err = capfd.readouterr()
    assert (is_there(older), is_there(last)) == (False, True)
    assert older.run_id[20:24] in out and last.run_id[20:24] not in out
    (note,) = [line for line in err.splitlines() if line.startswith("note: ")]
    assert f"{last.run_id[20:24]} stays, with the runs" in note
    assert "`runner start --plan plan.toml --task build --resume --reset-breaker` continues it" in note
    with pytest.raises(BreakerOpen):
        begins(desk)


def test_clean_removes_a_stopped_run_that_the_plan_has_gone_on_after(desk: Desk) -> None:
    stopped, closed = desk.ended("failed", "failed"), desk.ended("failed", "succeeded")
    assert cleaned(desk) == ([closed.run_id, stopped.run_id], [])


def test_clean_leaves_a_stopped_run_that_only_runs_of_other_plans_and_tasks_have_followed(desk: Desk) -> None:
    stopped = desk.ended("failed", "failed")
    ledger = desk.prepare().ledger.began(1, Lineage("build", stopped.run_id, "m")).failed(1, WHY)
    other = desk.file("other.toml", toml(*(unit(n) for n in range(1, 9))))
    gone = [desk.left(desk.prepare(file=other).ledger, desk.prepare(file=other))]
    gone.append(desk.left(ledger, desk.prepare(), "look"))
    assert cleaned(desk) == (sorted((run.run_id for run in gone), reverse=True), [stopped.run_id])
    assert cleaned(desk) == ([], [stopped.run_id]) and is_there(stopped)


def test_clean_removes_nothing_on_trial_and_says_what_would_stay(desk: Desk) -> None:
    runs = [desk.ended("failed", "failed") for _ in range(2)]
    found = clean.clean(str(desk.root), older_than_s=0.0, dry_run=True)
    assert [row.run_id for row in found.removed] == [runs[0].run_id]
    assert [row.run_id for row, _ in found.stopped] == [runs[1].run_id]
    assert all(map(is_there, runs))
