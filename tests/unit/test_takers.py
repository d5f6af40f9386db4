"""A run that is over has no lane, whoever could not tell its end: on disk, and nothing is started."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ended import an_ended_run
from support.family import a_run
from support.waiting import ends_within, wait_until
from support.work import Work

from runner.invocation import SharedLedger
from runner.ledger.entry import HUMAN, EntryType, LedgerEntry, NewEntry
from runner.ledger.file import Ledger
from runner.model import Outcome
from runner.processes import cgroup
from runner.processes.proc import marker
from runner.state.authentic import write_record
from runner.state.messages import Queue
from runner.state.store import RunDir
from runner.usecases import clean, takers
from runner.usecases import ledger as cases
from runner.usecases.ledger import Author
from runner.workspace import lease

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

    def cleaned(*, dry_run: bool) -> int:
        return len(clean.clean(ledger.repo, older_than_s=0, dry_run=dry_run).removed)

    with open(ledger._lock, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert (cleaned(dry_run=True), cleaned(dry_run=False)) == (0, 0)
    assert cleaned(dry_run=True) == 1
    assert os.path.isdir(run.path) and status(ledger) == "taken"
    assert cleaned(dry_run=False) == 1
    assert not os.path.exists(run.path) and status(ledger) == "returned"
    assert ends(ledger) == [(run.run_id, "succeeded")]


def test_reap_tells_of_a_run_whose_folder_is_gone(ledger: Ledger) -> None:
    run = over(ledger)
    shutil.rmtree(run.path)
    clean.reap(ledger.repo)
    assert ends(ledger) == [(run.run_id, "unknown")] and status(ledger) == "returned"


def break_records(run: RunDir, how: str) -> None:
    for path in (run.manifest, run.invocation):
        if how == "gone":
            os.unlink(path)
        elif how == "empty" or path == run.invocation:
            Path(path).write_text("")


BROKEN = ["gone", "empty", "not ours"]


@pytest.mark.parametrize("how", BROKEN)
def test_the_end_of_a_run_that_nobody_has_and_nobody_can_take_over_is_unknown(
    ledger: Ledger, how: str
) -> None:
    run = a_run(Path(ledger.repo), "look")
    takes(ledger, run)
    break_records(run, how)
    for _ in range(2):
        assert cases.state(ledger)["next_speaker"] == {"actor": HUMAN, "run_id": None}
    assert ends(ledger) == [(run.run_id, "unknown")] and status(ledger) == "returned"
    assert takers.tell_ends(ledger, {run.run_id: {"status": "succeeded", "outcome": "succeeded"}})
    assert ends(ledger)[1:] == [(run.run_id, "succeeded")], "it is known after all"


@pytest.mark.parametrize("how", BROKEN)
def test_a_run_with_an_owner_keeps_its_lane_whatever_became_of_its_records(
    ledger: Ledger, living: RunDir, how: str
) -> None:
    takes(ledger, living)
    break_records(living, how)
    assert cases.state(ledger)["next_speaker"]["run_id"] == living.run_id and ends(ledger) == []


def test_an_owner_that_lives_keeps_the_lane_also_where_its_lock_was_removed(
    ledger: Ledger, living: RunDir
) -> None:
    takes(ledger, living)
    break_records(living, "not ours")
    os.unlink(living.lock)
    assert cases.state(ledger)["next_speaker"]["run_id"] == living.run_id and ends(ledger) == []


def tears(run: RunDir, how: str) -> None:
    shutil.rmtree(run.path) if how == "removed" else break_records(run, how)


@pytest.mark.parametrize("how", ["removed", *BROKEN])
def test_a_run_that_may_still_write_keeps_its_lane_also_without_its_folder(tmp_path: Path, how: str) -> None:
    root = str(Work(tmp_path).root)
    ledger, run = Ledger(root, "make"), a_run(Path(root), "look")
    takes(ledger, run)
    tears(run, how)
    other = lease.acquire(root, lease.Holder("other", "m.json"))
    assert cases.state(ledger)["next_speaker"] == {"actor": HUMAN, "run_id": None}, "that is another's"
    other.describe(lease.Holder(run.run_id, "m.json"))
    takes(ledger, run)
    assert cases.state(ledger)["next_speaker"]["run_id"] == run.run_id and len(ends(ledger)) == 1
    other.forget()  # as a kill does: the record stays
    assert cases.state(ledger)["next_speaker"] == {"actor": HUMAN, "run_id": None}


@pytest.mark.parametrize("how", ["removed", *BROKEN])
def test_a_run_with_a_process_in_its_control_group_keeps_its_lane(ledger: Ledger, how: str) -> None:
    run = a_run(Path(ledger.repo), "look")
    takes(ledger, run)
    tears(run, how)
    if (group := cgroup.make(run.run_id)) is None:
        pytest.skip("no control group can be made here")
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            Path(group.path, "cgroup.procs").write_text(str(process.pid))
            assert cases.state(ledger)["next_speaker"]["run_id"] == run.run_id and ends(ledger) == []
        finally:
            process.kill()
            process.wait()
            wait_until(group.is_empty, what="nobody in the group")
            found = cases.state(ledger)["next_speaker"]
            group.remove()
    assert found == {"actor": HUMAN, "run_id": None} and ends(ledger) == [(run.run_id, "unknown")]


def test_a_run_with_a_process_that_names_it_keeps_its_lane(ledger: Ledger) -> None:
    """Whoever looks may be in another session, beside which its control group is not."""
    run = a_run(Path(ledger.repo), "look")
    takes(ledger, run)
    shutil.rmtree(run.path)
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "RUNNER_RUN_ID": run.run_id}) as process:
        wait_until(lambda: marker(process.pid) == run.run_id, what="its variables")
        try:
            assert cases.state(ledger)["next_speaker"]["run_id"] == run.run_id and ends(ledger) == []
        finally:
            process.kill()
    assert cases.state(ledger)["next_speaker"] == {"actor": HUMAN, "run_id": None}


def test_a_ledger_that_is_not_believed_keeps_no_run_from_being_removed(ledger: Ledger) -> None:
    run = over(ledger)
    Path(ledger.path).write_text("{}\n")
    assert takers.is_told(run)
    takers.settle_all(ledger.repo)


def proposes(ledger: Ledger, run: RunDir) -> str:
    told = {"summary": "It works.", "evidence": "I tried it."}
    return cases.append(ledger, cases.of_run(run), EntryType.FINALITY_PROPOSED, told).id


def finality(ledger: Ledger) -> str | None:
    proposal = takers.settled(ledger).state.proposal
    return proposal and str(proposal.status)


def test_what_a_run_took_behind_its_own_end_is_returned_once(ledger: Ledger) -> None:
    run = over(ledger)
    assert cases.state(ledger)["lanes"][0]["status"] == "returned"
    takes(ledger, run)
    assert status(ledger) == "taken", "its end is told already"
    seen = [cases.state(ledger)["lanes"][0]["status"] for _ in range(2)]
    assert (seen, len(ends(ledger))) == (["returned"] * 2, 2)


def test_a_list_of_ledgers_names_no_run_that_is_over_as_next(ledger: Ledger) -> None:
    over(ledger)
    assert [one["next_speaker"] for one in cases.every(ledger.repo)] == [{"actor": HUMAN, "run_id": None}]


@pytest.mark.parametrize(
    ("outcome", "code", "expected"),
    [
        (Outcome.LOST, "supervisor_lost", "outdated"),
        (Outcome.SUCCEEDED, "completed", "awaiting_human"),
    ],
)
def test_a_proposal_awaits_nobody_once_its_run_has_failed(
    ledger: Ledger, outcome: Outcome, code: str, expected: str
) -> None:
    run = shares(an_ended_run(Path(ledger.repo), task="look", outcome=outcome, code=code))
    proposes(ledger, run)
    with open(ledger._lock, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert finality(ledger) == expected, "also where it cannot be written"
    assert finality(ledger) == finality(ledger) == expected
    assert len(ends(ledger)) == (expected == "outdated")


@pytest.mark.parametrize("has_lane", [False, True])
def test_the_proposal_of_a_run_that_is_gone_awaits_a_person_until_more_is_known(
    ledger: Ledger, has_lane: bool
) -> None:
    run = shares(an_ended_run(Path(ledger.repo), task="look"))
    if has_lane:
        takes(ledger, run)
    told = {"summary": "It works.", "evidence": "I tried it.", "lane": "none"}
    cases.append(ledger, cases.of_run(run), EntryType.FINALITY_PROPOSED, told)
    shutil.rmtree(run.path)
    assert finality(ledger) == finality(ledger) == "awaiting_human", "it may have succeeded"
    assert ends(ledger) == [(run.run_id, "unknown")] * has_lane
    assert takers.tell_ends(ledger, {run.run_id: {"status": "failed", "outcome": "failed"}})
    assert finality(ledger) == "outdated"


def test_a_proposal_behind_the_end_of_its_run_awaits_nobody(ledger: Ledger) -> None:
    run = shares(an_ended_run(Path(ledger.repo), task="look", outcome=Outcome.FAILED))
    assert takers.tell_ends(ledger, {run.run_id: {"status": "failed", "outcome": "failed"}})
    proposes(ledger, run)
    assert finality(ledger) == finality(ledger) == "outdated" and len(ends(ledger)) == 2


def test_clean_tells_how_a_run_ended_whose_proposal_awaits_a_person(ledger: Ledger) -> None:
    run = shares(an_ended_run(Path(ledger.repo), task="look"))
    proposes(ledger, run)
    assert len(clean.clean(ledger.repo, older_than_s=0, dry_run=False).removed) == 1
    assert ends(ledger) == [(run.run_id, "succeeded")] and finality(ledger) == "awaiting_human"


def test_a_handoff_is_sent_to_a_run_that_began_for_another_one_of_that_id(
    ledger: Ledger, living: RunDir
) -> None:
    first = hands(ledger, PERSON, "look")
    invocation = living.read_invocation().replace(open_timeout_s=60.0)

    def given(began: SharedLedger) -> None:
        write_record(living.invocation, invocation.replace(ledger=began).to_json())
        takers.give(ledger, living, first.id)

    for began in (SharedLedger("make", first.id, first.hash), SharedLedger("make", first.id)):
        for at in ("2020-01-01T00:00:00.000Z", "2199-01-01T00:00:00.000Z"):
            living.write_manifest(living.read_manifest().replace(created_at=at))
            given(began)
            assert Queue(living).look() == [], "whatever the clocks say"
    for _ in range(2):
        given(SharedLedger("make", first.id, "0" * 64))
    assert [one.key for one in Queue(living).look()] == [first.hash]
