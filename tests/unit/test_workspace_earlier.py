"""A further try in the same work tree is judged by what stands against the state before the first one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.work import Work

from runner.invocation import Earlier
from runner.workspace import earlier, snapshot
from runner.workspace.__main__ import main


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write("a", "a\n")
    made.write("dirty", "committed\n")
    made.commit()
    made.write("dirty", "the user's\n")
    made.take()
    return made


def again(work: Work, *paths: str, base: Path | None = None) -> Path:
    """The folder of a further try, which begins now; earlier ones have changed these paths."""
    folder = work.folder.with_name("again")
    folder.mkdir()
    assert snapshot.take(str(work.root), str(folder)) is not None
    earlier.keep(str(folder), Earlier(str(base or work.folder), paths))
    return folder


def seen(folder: Path) -> dict[str, Any]:
    answer = folder / "answer.json"
    assert main(["look", str(folder), str(answer)]) == 0
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def test_what_an_earlier_try_left_counts_as_if_this_one_had_made_it(work: Work) -> None:
    work.write("new", "first\n")
    work.write("a", "first\n")
    work.write("dirty", "first\n")
    work.write("by-the-user", "between the tries\n")
    found = seen(again(work, "new", "a", "dirty"))
    assert (found["changed"], found["added"], found["is_touched"]) == (["a", "dirty", "new"], ["new"], False)
    assert found["dirty_before"] == ["by-the-user", "dirty"]


def test_what_it_adds_counts_and_what_it_takes_back_does_not(work: Work) -> None:
    work.write("outside", "first\n")
    work.write("a", "first\n")
    folder = again(work, "outside", "a", "rolled-back")
    work.remove("outside")
    work.remove("a")
    work.write("more", "again\n")
    found = seen(folder)
    assert (found["changed"], found["added"], found["is_touched"]) == (["a", "more"], ["more"], True)
    assert found["gone"] == ["a"]


def test_without_the_first_record_it_is_what_was_not_committed(work: Work, tmp_path: Path) -> None:
    work.write("new", "first\n")
    folder = again(work, "new", "a", base=tmp_path / "cleaned")
    assert seen(folder)["changed"] == ["new"]


def test_a_first_try_in_another_tree_has_left_nothing_here(work: Work, tmp_path: Path) -> None:
    other = Work(tmp_path / "other")
    other.write("a", "other\n")
    other.commit()
    other.take()
    other.write("a", "left there\n")
    assert seen(again(work, "a", "dirty", base=other.folder))["changed"] == []


def test_checks_that_run_as_before_have_their_files_as_before_the_first_try(work: Work) -> None:
    """Otherwise a test that the first try has rewritten would judge the second one."""
    work.write("a", "rewritten\n")
    work.write("new", "first\n")
    folder = again(work, "a", "new")
    work.write("dirty", "again\n")
    asked, answer = folder / "asked", folder / "answer.json"
    asked.write_text(json.dumps(["a", "new", "dirty"]))
    assert main(["to-base", str(folder), str(answer), str(asked)]) == 0
    assert (work.read("a"), work.read("dirty")) == (b"a\n", b"the user's\n")
    assert not (work.root / "new").exists()
    for _ in range(2):  # the second time there is nothing to do
        assert main(["to-run", str(folder), str(answer)]) == 0
        assert [work.read(name) for name in ("a", "new", "dirty")] == [b"rewritten\n", b"first\n", b"again\n"]
