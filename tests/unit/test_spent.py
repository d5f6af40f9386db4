"""What runs and trees of runs have spent, added up from their manifests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.values import a_manifest, an_invocation

from runner.model import Lineage, Usage
from runner.state.lineage import as_child
from runner.state.manifest import Attempt, Manifest
from runner.state.spent import costed, in_thread, larger, of_attempts, tokens, tree_tokens
from runner.state.store import RunDir, new_run_id


def a_run(repo: Path, spent: int | None = None, parent: RunDir | None = None) -> RunDir:
    """A run folder whose manifest says that it has spent so much."""
    run = RunDir(str(repo), "hello", new_run_id())
    usage = Usage() if spent is None else Usage(input_tokens=spent)
    above = None if parent is None else Lineage(parent.task_id, parent.run_id, "x")
    manifest = a_manifest(run, usage=usage, parent=above)
    if parent is None:
        _make(run, manifest)
        return run
    with as_child(run, an_invocation(str(repo), "hello", parent.run_id)):
        _make(run, manifest)
    return run


def _make(run: RunDir, manifest: Manifest) -> None:
    os.close(run.create())
    run.write_manifest(manifest)


@pytest.mark.parametrize(
    ("usage", "count"),
    [
        (None, 0),
        (Usage(), 0),
        (Usage(120, 80, 9, 2), 129),
        (Usage(output_tokens=7), 7),
        (Usage(-5, None, 3), 3),
    ],
)
def test_input_and_output_count_and_their_parts_do_not_count_again(usage: Usage | None, count: int) -> None:
    assert tokens(usage) == count


def test_the_larger_of_two_counts_is_the_later_one() -> None:
    small, large = Usage(1), Usage(2)
    assert larger(small, large) == larger(large, small) == large
    assert larger(None, small) == larger(small, None) == small
    assert larger(None, None) is None


@pytest.mark.parametrize(
    ("attempts", "count"),
    [
        ((Attempt(1),), None),
        ((Attempt(1, thread_id="a", usage=Usage(30)), Attempt(2, thread_id="a")), 30),
        ((Attempt(1, thread_id="a", usage=Usage(30)), Attempt(2, thread_id="a", usage=Usage(32))), 32),
        ((Attempt(1, thread_id="a", usage=Usage(30)), Attempt(2, thread_id="b", usage=Usage(2))), 32),
        ((Attempt(1, usage=Usage(30)), Attempt(2, usage=Usage(2))), 32),
        ((Attempt(1, thread_id="a", usage=Usage(30), usage_before=Usage(20)),), 10),
        (
            (
                Attempt(1, thread_id="a", usage=Usage(30), usage_before=Usage(20)),
                Attempt(2, thread_id="a", usage=Usage(32)),
                Attempt(3, thread_id="b", usage=Usage(5)),
            ),
            17,
        ),
    ],
)
def test_each_thread_counts_once_and_without_what_was_spent_in_it_before(
    attempts: tuple[Attempt, ...], count: int | None
) -> None:
    spent = of_attempts(attempts)
    assert (None if spent is None else tokens(spent)) == count


@pytest.mark.parametrize(
    ("former", "count"),
    [
        ((), 137),
        ((Attempt(1, thread_id="a", usage=Usage(137)),), 274),
        ((Attempt(1, thread_id="a", usage=Usage(137)), Attempt(2, thread_id="a", usage=Usage(274))), 411),
        ((Attempt(1, thread_id="b", usage=Usage(137)), Attempt(2, usage=Usage(10))), 137),
        ((Attempt(1, thread_id="a"),), 137),
    ],
)
def test_what_a_program_counts_for_itself_is_added_to_its_thread(
    former: tuple[Attempt, ...], count: int
) -> None:
    assert in_thread(Usage(100, None, 37), former, "a").total == count


@pytest.mark.parametrize(
    ("before", "costs", "counted"),
    [
        (0.9, (0.5, None, 0.2), (0.5, 0.4, 0.2)),
        (0.9, (0.5, None, None, 0.2), (0.5, 0.0, 0.4, 0.2)),
        (0.5, (0.5, None, 0.2), (0.5, None, 0.2)),
        (0.1, (0.5, None, 0.2), (0.5, None, 0.2)),
        (0.7, (0.5, 0.1, 0.2), (0.5, 0.1, 0.2)),
        (0.7, (0.2,), (0.2,)),
    ],
)
def test_what_an_attempt_cost_that_could_not_tell_is_known_from_the_next(
    before: float, costs: tuple[float | None, ...], counted: tuple[float | None, ...]
) -> None:
    other = Attempt(0, thread_id="b")
    made = tuple(Attempt(n, thread_id="a", cost=cost) for n, cost in enumerate(costs, 1))
    assert tuple(one.cost for one in costed((other, *made), before)) == (None, *counted)


def test_without_a_thread_nothing_is_added() -> None:
    assert in_thread(Usage(5), (Attempt(1, usage=Usage(137)),), None) == Usage(5)


def test_a_run_without_children_has_spent_what_it_has_spent(tmp_path: Path) -> None:
    assert tree_tokens(a_run(tmp_path, 5)) == 5


def test_a_tree_is_the_run_and_all_below_it(tmp_path: Path) -> None:
    top = a_run(tmp_path, 1)
    child = a_run(tmp_path, 10, top)
    a_run(tmp_path, 100, child)
    a_run(tmp_path, 1000, top)
    a_run(tmp_path, 5000)
    assert tree_tokens(top) == 1111
    assert tree_tokens(child) == 110


def test_the_owner_knows_its_own_count_better(tmp_path: Path) -> None:
    top = a_run(tmp_path, 1)
    a_run(tmp_path, 10, top)
    assert tree_tokens(top, 7) == 17


def test_a_run_that_tells_nothing_counts_nothing(tmp_path: Path) -> None:
    top = a_run(tmp_path, 1)
    a_run(tmp_path, None, top)
    gone = a_run(tmp_path, 10, top)
    shutil.rmtree(gone.path)
    assert tree_tokens(top) == 1


def test_so_many_runs_are_looked_at_and_no_more(tmp_path: Path) -> None:
    top = a_run(tmp_path, 1)
    for _ in range(4):
        a_run(tmp_path, 1, top)
    assert tree_tokens(top, at_most=3) == 3
    assert tree_tokens(top, at_most=5) == 5
