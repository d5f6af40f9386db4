"""What `clean` leaves alone although it has ended: others still ask it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.ended import an_ended_run

from runner.model import Phase
from runner.state.lineage import lineage_of
from runner.state.store import RunDir
from runner.usecases.clean import clean


def removed(root: Path) -> set[str]:
    return {row.run_id for row in clean(str(root), older_than_s=0, dry_run=False).removed}


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


def test_a_run_whose_parent_is_gone_or_cannot_be_read_is_removed(tmp_path: Path) -> None:
    gone, broken = an_ended_run(tmp_path), an_ended_run(tmp_path)
    children = [below(one) for one in (gone, broken)]
    for path in (gone.manifest, gone.invocation):
        os.unlink(path)
    Path(broken.manifest).write_text("{")
    assert {run.run_id for run in children} <= removed(tmp_path)
