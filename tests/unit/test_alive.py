"""The runs that live, seen again and again: nothing is missed, and nothing is read that has not changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ended import an_ended_run
from support.family import a_run, end
from support.values import a_manifest, an_invocation
from support.waiting import ends_within

from runner.model import Limits, Outcome, Usage
from runner.state.authentic import write_record
from runner.state.manifest import timestamp
from runner.state.store import RunDir, new_run_id
from runner.usecases.alive import Alive, Living

LIMITS = Limits(None, None, None, 1.0, tokens=9_000)


@pytest.fixture
def owned() -> Iterator[list[int]]:
    held: list[int] = []
    yield held
    for fd in held:
        os.close(fd)


def only(found: list[Living]) -> Living:
    (one,) = found
    return one


def test_a_run_is_shown_from_its_beginning_until_a_while_after_its_end(
    tmp_path: Path, owned: list[int]
) -> None:
    an_ended_run(tmp_path)
    alive = Alive(str(tmp_path))
    assert alive.look() == []
    run = a_run(tmp_path, owned=owned)
    seen = only(alive.look())
    assert (seen.row.run_id, seen.row.status, seen.is_over) == (run.run_id, "running", False)
    assert alive.names[run.run_id] == run.run_id[20:24]
    run.write_manifest(run.read_manifest().replace(usage=Usage(10, 0, 5, 0), last_activity="ran x"))
    Path(run.stdout).write_text("{}\n")
    changed = only(alive.look())
    assert (changed.row.tokens, changed.row.message) == (15, "ran x") and changed.wrote is not None
    end(run)
    over = only(alive.look())
    assert (over.row.status, over.is_over) == ("succeeded", True)
    assert only(alive.look()) == over


def test_a_manifest_that_is_the_same_file_is_not_read_again(tmp_path: Path, owned: list[int]) -> None:
    run = a_run(tmp_path, owned=owned, last_activity="one")
    alive = Alive(str(tmp_path))
    alive.look()
    path = Path(run.manifest)
    found = path.stat()
    path.write_text(path.read_text().replace('"one"', '"two"'))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert only(alive.look()).row.message == "one"
    os.utime(path)
    assert only(alive.look()).row.message == "two"


def test_runs_that_vanish_are_gone_and_those_that_are_being_made_come_when_they_are(
    tmp_path: Path, owned: list[int]
) -> None:
    _, ended = a_run(tmp_path, owned=owned), a_run(tmp_path, "other", owned=owned)
    alive = Alive(str(tmp_path))
    assert len(alive.look()) == 2
    end(ended)
    assert len(alive.look()) == 2
    shutil.rmtree(tmp_path / ".runs/hello")
    assert only(alive.look()).row.run_id == ended.run_id
    new = RunDir(str(tmp_path), "work", new_run_id())
    owned.append(new.create())
    assert len(alive.look()) == 1
    new.write_manifest(a_manifest(new))
    assert next(one.row.run_id for one in alive.look()) == new.run_id


def test_the_usual_time_is_the_median_of_the_runs_of_its_kind_that_succeeded(
    tmp_path: Path, owned: list[int]
) -> None:
    def took(seconds: int, **more: object) -> RunDir:
        times = {"started_at": timestamp(1_800_000_000.0), "ended_at": timestamp(1_800_000_000.0 + seconds)}
        return an_ended_run(tmp_path, task="hello", **times, **more)

    a_run(tmp_path, owned=owned)
    assert only(Alive(str(tmp_path)).look()).usual_s is None
    for seconds in (10, 900, 30):
        took(seconds)
    took(1, outcome=Outcome.FAILED, code="task_failed")
    for seconds in (1, 2, 3):
        rehearsal = took(seconds)
        rehearsal.write_manifest(rehearsal.read_manifest().replace(rehearsal=True))
    assert only(Alive(str(tmp_path)).look()).usual_s == 30.0


def test_the_limit_is_that_which_the_run_was_started_with(tmp_path: Path, owned: list[int]) -> None:
    run = a_run(tmp_path, owned=owned)
    declared = an_invocation(run.repo, run.task_id, run.run_id, limits=LIMITS)
    write_record(run.invocation, declared.to_json())
    alive = Alive(str(tmp_path))
    assert only(alive.look()).limit == 9_000
    write_record(run.invocation, declared.replace(limits=LIMITS.replace(tokens=1)).to_json())
    os.utime(run.manifest)
    assert only(alive.look()).limit == 9_000


@pytest.mark.parametrize(
    ("plan", "batches"),
    [
        ({"batches": [{"status": "succeeded"}, {"status": "running"}, {"status": "done"}]}, (2, 3)),
        ({"batches": []}, (0, 0)),
        ({"batches": [{}]}, None),
        ({"batches": 7}, None),
        ({}, None),
        (None, None),
    ],
)
def test_how_far_a_plan_is_is_told_where_it_can_be_read(
    tmp_path: Path, owned: list[int], plan: dict | None, batches: tuple[int, int] | None
) -> None:
    a_run(tmp_path, owned=owned, plan=plan)
    row = only(Alive(str(tmp_path)).look()).row
    assert (row.batches_done, row.batches) == (batches or (None, None))


def test_a_manifest_that_is_broken_or_gone_is_waited_for_by_nobody(tmp_path: Path, owned: list[int]) -> None:
    """This process is the owner, and answers no request."""
    run = a_run(tmp_path, owned=owned)
    alive = Alive(str(tmp_path))
    text = Path(run.manifest).read_text()
    alive.look()
    with ends_within(5):
        for harm in (
            lambda path: path.write_text("{"),
            Path.unlink,
            lambda path: path.symlink_to("/dev/zero"),
        ):
            harm(Path(run.manifest))
            assert only(alive.look()).row.status == "unknown"
        Path(run.manifest).unlink()
        Path(run.manifest).write_text(text)
        assert only(alive.look()).row.status == "running"


def test_a_run_whose_records_are_not_ours_is_shown_as_foreign(tmp_path: Path, owned: list[int]) -> None:
    run, other = a_run(tmp_path, owned=owned), a_run(tmp_path, owned=owned)
    alive = Alive(str(tmp_path))
    alive.look()
    record = Path(run.invocation)
    record.write_text(record.read_text().replace("gpt-5", "gpt-6"))
    end(run)
    rows = {one.row.run_id: one.row.status for one in alive.look()}
    assert rows == {run.run_id: "foreign", other.run_id: "running"}


def test_an_ended_run_that_is_removed_is_gone_at_once(tmp_path: Path, owned: list[int]) -> None:
    run = a_run(tmp_path, owned=owned)
    alive = Alive(str(tmp_path))
    alive.look()
    end(run)
    assert only(alive.look()).is_over
    shutil.rmtree(run.path)
    assert alive.look() == []
