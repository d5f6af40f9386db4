"""What `clean` leaves alone although it has ended: others still ask it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.disks import read_only_disk, small_disk
from support.ended import an_ended_run

from runner.errors import RunNotFound, Unwritable
from runner.model import Outcome, Phase
from runner.state.authentic import write_record
from runner.state.index import half_of, scan
from runner.state.lineage import lineage_of
from runner.state.plan_ledger import Breaker, PlanLedger, Step, StepKind
from runner.state.store import RunDir, new_run_id
from runner.usecases.clean import clean
from runner.usecases.look import look, runs

FILES = ("stdout.jsonl", "result.json", "a")
KILLED = """
import os, signal, sys
from runner.usecases.clean import clean

left = int(sys.argv[2])

def die(event, args):
    global left
    if event in ("os.remove", "os.rmdir", "os.rename"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
clean(sys.argv[1], older_than_s=0, dry_run=False)
"""


def removed(root: Path, older_than_s: float = 0) -> set[str]:
    return {row.run_id for row in clean(str(root), older_than_s=older_than_s, dry_run=False).removed}


def below(parent: RunDir) -> RunDir:
    run = an_ended_run(Path(parent.repo))
    run.write_manifest(run.read_manifest().replace(parent=lineage_of(parent)))
    return run


@pytest.mark.parametrize("depth", [1, 2])
def test_a_run_below_one_that_works_stays_until_that_is_done(tmp_path: Path, depth: int) -> None:
    """A plan asks the runs of its batches how they ended, also when it is resumed."""
    top = an_ended_run(tmp_path)
    runs, parent = [], top
    for _ in range(depth):
        parent = below(parent)
        runs.append(parent)
    ended = top.read_manifest()
    top.write_manifest(ended.replace(phase=Phase.RUNNING, outcome=None, reason=None, ended_at=None))
    assert removed(tmp_path) == set()
    top.write_manifest(ended)
    assert removed(tmp_path) == {run.run_id for run in (top, *runs)}


def a_pipeline(root: Path, child: RunDir, outcome: Outcome, at: float, after: RunDir | None = None) -> RunDir:
    """Its run, of which the stage `b` is left."""
    named = {"task": "feature", "plan": {"file": "pipeline feature"}, "run_id": new_run_id(at)}
    run = an_ended_run(root, outcome=outcome, **named)
    look = Step(1, (), stage="a", kind=StepKind.TASK, title="look", task="work", is_last=True)
    before = None if after is None else lineage_of(after)
    ledger = PlanLedger("pipeline feature", None, (look,), Breaker(3), resumed_from=before, stages=("a", "b"))
    write_record(run.ledger, ledger.began(1, lineage_of(child)).succeeded(1, changed=()).to_json())
    return run


@pytest.mark.parametrize(
    ("outcome", "stays"), [(Outcome.FAILED, True), (Outcome.LOST, True), (Outcome.CANCELLED, False)]
)
def test_what_a_stopped_pipeline_goes_on_with_stays_unless_a_person_has_cancelled_it(
    tmp_path: Path, outcome: Outcome, stays: bool
) -> None:
    child, other = an_ended_run(tmp_path), an_ended_run(tmp_path)
    first = a_pipeline(tmp_path, child, outcome, 1_000_000.0)
    last = a_pipeline(tmp_path, child, outcome, 2_000_000.0, first)
    found = clean(str(tmp_path), older_than_s=0.001, dry_run=False)
    gone = {row.run_id for row in found.removed}
    assert gone == {other.run_id} | ({one.run_id for one in (child, first, last)} if not stays else set())
    told = [(row.run_id, way) for row, way in found.stopped]
    assert told == [(last.run_id, "runner start --pipeline feature --resume")] * stays
    clean(str(tmp_path), older_than_s=0, dry_run=False)
    assert not any(run.is_described() for run in (child, first, last)), "0 is all"


def test_runs_of_a_cancelled_pipeline_stay_as_long_as_that_does(tmp_path: Path) -> None:
    child = an_ended_run(tmp_path, ended_at="2020-01-01T00:00:00.000Z")
    a_pipeline(tmp_path, child, Outcome.CANCELLED, 1_000_000.0)
    assert clean(str(tmp_path), older_than_s=3600, dry_run=False).removed == ()


def test_of_a_pipeline_that_was_begun_anew_nothing_from_before_stays(tmp_path: Path) -> None:
    old, new = an_ended_run(tmp_path), an_ended_run(tmp_path)
    before = a_pipeline(tmp_path, old, Outcome.FAILED, 1_000_000.0)
    a_pipeline(tmp_path, new, Outcome.FAILED, 2_000_000.0)
    assert removed(tmp_path, 0.001) == {old.run_id, before.run_id}


def test_a_run_whose_parent_is_gone_or_cannot_be_read_is_removed(tmp_path: Path) -> None:
    gone, broken = an_ended_run(tmp_path), an_ended_run(tmp_path)
    children = [below(one) for one in (gone, broken)]
    for path in (gone.manifest, gone.invocation):
        os.unlink(path)
    Path(broken.manifest).write_text("{")
    assert {run.run_id for run in children} <= removed(tmp_path)


@pytest.mark.parametrize("missing", [None, "invocation.json"])
def test_a_run_whose_removal_was_killed_is_whole_or_gone_and_the_next_clean_removes_the_rest(
    tmp_path: Path, missing: str | None
) -> None:
    """At each of its steps, also where a cache knows the run."""
    steps, ended = 0, -signal.SIGKILL
    while ended == -signal.SIGKILL:
        steps += 1
        run = an_ended_run(tmp_path)
        for name in FILES:
            Path(run.path, name).write_text("x")
        if missing is not None:
            Path(run.path, missing).unlink()
        scan(str(tmp_path))
        program = [sys.executable, "-c", KILLED, str(tmp_path), str(steps)]
        ended = subprocess.run(program, check=False, timeout=60).returncode
        shown = [row.run_id for row in runs(str(tmp_path), task=None, everything=True)]
        if run.is_described():
            assert shown == [run.run_id]
            assert {*FILES} <= {*os.listdir(run.path)}, f"killed at step {steps}"
        else:
            assert shown == []
            with pytest.raises(RunNotFound):
                look(run)
        removed(tmp_path)
        assert os.listdir(os.path.dirname(run.path)) == [], f"killed at step {steps}"
    assert ended == 0
    assert steps > 6


def test_two_that_remove_the_same_run_are_none_in_the_way_of_the_other(tmp_path: Path) -> None:
    for _ in range(2):
        for _ in range(10):
            an_ended_run(tmp_path)
        words = [sys.executable, "-c", KILLED, str(tmp_path), "-1"]
        both = [subprocess.Popen(words) for _ in range(2)]
        assert [one.wait(timeout=60) for one in both] == [0, 0]
        assert os.listdir(tmp_path / ".runs/work/cli") == []


def test_the_rest_of_a_removal_is_left_alone_where_others_could_have_put_it_there(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    rest = half_of(run).path
    os.rename(run.path, rest)
    os.chmod(rest, 0o777)
    linked = half_of(RunDir(run.repo, run.task_id, new_run_id())).path
    os.symlink(tmp_path, linked)
    removed(tmp_path)
    assert os.path.isdir(rest)
    assert os.path.islink(linked)
    os.chmod(rest, 0o700)
    removed(tmp_path)
    assert not os.path.exists(rest)


def test_a_run_whose_folder_cannot_be_written_stays_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 512) as disk:
        run = an_ended_run(disk)
        with read_only_disk(disk), pytest.raises(Unwritable):
            removed(disk)
        assert look(run).status == "succeeded"
        assert removed(disk) == {run.run_id}
