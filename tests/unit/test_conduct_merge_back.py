"""What a batch changed comes into the work tree, and what of it nobody named: with real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.values import a_config
from support.work import Work

from runner.conduct import merge_back
from runner.model import Config, Delegate
from runner.plan.units import Files, Unit
from runner.state.store import RunDir
from runner.usecases.review import left_by

RUN = "20261120T101504438Z-50151d5c"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    made = Work(tmp_path)
    made.write("a", "a\n")
    made.write("b", "b\n")
    made.commit()
    return made


def config(work: Work, commit: str | bool = False) -> Config:
    return a_config(root=str(work.root), delegate=Delegate(commit=commit))


def test_a_tree_is_clean_where_only_runs_are_in_it(work: Work, tmp_path: Path) -> None:
    assert merge_back.is_clean(config(work)) is True and merge_back.uncommitted(config(work)) == []
    (work.root / ".runs" / ".gitignore").unlink()
    work.write(".runs/t/cli/r/manifest.json")
    assert merge_back.is_clean(config(work)) is True
    work.write("new")
    assert merge_back.is_clean(config(work)) is False and merge_back.uncommitted(config(work)) == []
    (tmp_path / "plain").mkdir()
    plain = a_config(root=str(tmp_path / "plain"))
    assert merge_back.is_clean(plain) is None and merge_back.uncommitted(plain) == []


def test_staged_changed_and_removed_files_are_uncommitted_whatever_they_are_called(work: Work) -> None:
    work.write("line\nbreak")
    work.write(b"half \xff")
    work.commit()
    work.write("a", "staged\n")
    work.git("add", "a")
    work.remove("line\nbreak")
    work.write(b"half \xff", "changed\n")
    work.write("untracked")
    assert merge_back.uncommitted(config(work)) == ["a", "half \udcff", "line\nbreak"]
    assert merge_back.is_clean(config(work)) is False


def test_what_a_run_in_place_left_is_told_from_the_record_of_its_start(work: Work) -> None:
    run = RunDir(str(work.root), "t", "r")
    assert left_by(run) == ()  # nothing was recorded
    work.take()
    assert left_by(run) == ()
    work.write("a", "left\n")
    work.write("new/file", "left\n")
    work.remove("b")
    assert left_by(run) == ("a", "b", "new/file")


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b'{"path": 7}', b'{"repo": "/", "base": "", "path": "/", "folder": "/"}']
)
def test_a_record_of_a_run_that_cannot_be_believed_says_nothing(work: Work, data: bytes) -> None:
    run = RunDir(str(work.root), "t", "r")
    work.take()
    work.write("a", "left\n")
    for name in ("worktree.json", "workspace.json"):
        path = work.folder / name
        kept = path.read_bytes() if path.exists() else None
        path.write_bytes(data)
        assert left_by(run) == ()
        path.unlink() if kept is None else path.write_bytes(kept)
    assert left_by(run) == ("a",)


@pytest.mark.parametrize(
    ("units", "changed", "found"),
    [
        ([Files(("new.py",), ("src",))], ("new.py", "src/a.py", "lib.py"), ("lib.py",)),
        ([Files(modify=("*.py",))], ("a.py", "lib/a.py"), ("lib/a.py",)),
        ([Files(modify=("a",)), Files(create=("b",))], ("a", "b", "c"), ("c",)),
        ([Files(modify=("a",)), Files()], ("a", "b"), ()),
        ([Files(modify=("a",)), Files(read=("b",))], ("b",), ()),
        ([Files(modify=("a",), read=("b",))], ("b",), ("b",)),
        ([Files(modify=("a",))], (), ()),
        ([], ("a",), ("a",)),
    ],
    ids=range(8),
)
def test_a_change_that_no_unit_names_is_found_unless_one_names_nothing(
    units: list[Files], changed: tuple[str, ...], found: tuple[str, ...]
) -> None:
    named = [Unit(f"U{n}", "goal", files) for n, files in enumerate(units)]
    assert merge_back.outside(named, changed) == found
