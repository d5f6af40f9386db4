"""A run that is over has no lane, whoever could not tell its end: on disk, and nothing is started."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ended import an_ended_run
from support.family import a_run
from support.waiting import ends_within

from runner.invocation import SharedLedger
from runner.ledger.entry import HUMAN, EntryType, LedgerEntry, NewEntry
from runner.ledger.file import Ledger
from runner.state.authentic import write_record
from runner.state.store import RunDir
from runner.usecases import clean, takers
from runner.usecases import ledger as cases
from runner.usecases.ledger import Author

PERSON = Author(HUMAN)
ASKED = {"reason": "It is built.", "ask": "Look at it."}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(str(tmp_path), "make")


@pytest.fixture
def living(tmp_path: Path) -> Iterator[RunDir]:
    """One that this process owns."""
    owned: list[int] = []
    yield a_run(tmp_path, "look", owned=owned)
    for fd in owned:
        os.close(fd)


def hands(ledger: Ledger, author: Author, to: str) -> LedgerEntry:
    return cases.append(ledger, author, EntryType.HANDOFF, ASKED, to=to)


def takes(ledger: Ledger, run: RunDir) -> str:
    """The handoff that the run has from now on."""
    asked = hands(ledger, PERSON, run.task_id)
    new = NewEntry(EntryType.HANDOFF_TAKEN, run.task_id, {}, None, (asked.id,), run.run_id, "codex")
    ledger.append(new, str)
    return asked.id


def shares(run: RunDir, task: str = "make") -> RunDir:
    write_record(run.invocation, run.read_invocation().replace(ledger=SharedLedger(task)).to_json())
    return run


def over(ledger: Ledger) -> RunDir:
    """A run that is done and has a handoff, as its ledger was locked when it ended."""
    run = shares(an_ended_run(Path(ledger.repo), task="look"))
    takes(ledger, run)
    return run


def ends(ledger: Ledger) -> list[tuple[str | None, str]]:
    told = ledger.entries(kinds=(EntryType.RUN_ENDED,))
    return [(entry.run_id, entry.text("status")) for entry in told]


def status(ledger: Ledger) -> str:
    return str(ledger.state().lanes[0].status)


def test_who_reads_a_ledger_tells_the_end_of_the_run_that_has_a_lane(ledger: Ledger) -> None:
    run = over(ledger)
    assert cases.state(ledger)["next_speaker"] == {"actor": HUMAN, "run_id": None}
    assert (
        cases.context(ledger)["lanes"][0]["status"] == cases.shown(ledger)["lanes"][0]["status"] == "returned"
    )
    assert ends(ledger) == [(run.run_id, "succeeded")], "once, however often it is read"


def test_a_run_that_lives_keeps_its_lane(ledger: Ledger, living: RunDir) -> None:
    takes(ledger, living)
    assert cases.state(ledger)["next_speaker"]["run_id"] == living.run_id
    assert ends(ledger) == []


def test_where_the_end_cannot_be_written_it_is_said_all_the_same(ledger: Ledger) -> None:
    run = over(ledger)
    with open(ledger._lock, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = cases.state(ledger)
    assert found["next_speaker"] == {"actor": HUMAN, "run_id": None}
    assert found["lanes"][0]["status"] == "returned" and ends(ledger) == []
    assert cases.state(ledger)["seq"] == found["seq"] + 1 and ends(ledger) == [(run.run_id, "succeeded")]


def test_a_wait_learns_of_the_end_of_a_run_of_which_nothing_comes(ledger: Ledger) -> None:
    run = over(ledger)
    with ends_within(10):
        found = cases.wait(ledger, ledger.state().seq, 30)
    assert [(entry["type"], entry["run_id"]) for entry in found["entries"]] == [("run_ended", run.run_id)]
    assert found["next_speaker"] == {"actor": HUMAN, "run_id": None}


def test_a_run_that_is_over_keeps_its_maker_not_out(ledger: Ledger, living: RunDir) -> None:
    maker, run = cases.of_run(living), shares(an_ended_run(Path(ledger.repo), task="other"))
    asked = hands(ledger, maker, "other")
    taken = NewEntry(EntryType.HANDOFF_TAKEN, "other", {}, None, (asked.id,), run.run_id, "codex")
    ledger.append(taken, str)
    assert hands(ledger, maker, HUMAN).handles == (asked.id,)
    assert ends(ledger) == [(run.run_id, "succeeded")]


def test_clean_tells_the_end_first_and_keeps_the_run_where_it_cannot(ledger: Ledger) -> None:
    run = over(ledger)
    with open(ledger._lock, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert clean.clean(ledger.repo, older_than_s=0, dry_run=False).removed == ()
    assert os.path.isdir(run.path) and status(ledger) == "taken"
    assert len(clean.clean(ledger.repo, older_than_s=0, dry_run=False).removed) == 1
    assert not os.path.exists(run.path) and status(ledger) == "returned"
    assert ends(ledger) == [(run.run_id, "succeeded")]


def test_reap_tells_of_a_run_whose_folder_is_gone(ledger: Ledger) -> None:
    run = over(ledger)
    shutil.rmtree(run.path)
    clean.reap(ledger.repo)
    assert ends(ledger) == [(run.run_id, "unknown")] and status(ledger) == "returned"


def test_a_ledger_that_is_not_believed_keeps_no_run_from_being_removed(ledger: Ledger) -> None:
    run = over(ledger)
    Path(ledger.path).write_text("{}\n")
    assert takers.is_told(run)
    takers.settle_all(ledger.repo)
