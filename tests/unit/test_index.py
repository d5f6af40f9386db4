"""The cache over all runs: whatever happens to it, the answer is what the folders say."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import time
from pathlib import Path

import pytest
from support.ended import an_ended_run
from support.values import a_manifest

from runner.errors import Conflict, TooManyFiles, Unwritable
from runner.model import Outcome, Phase, Reason
from runner.state import authentic, index
from runner.state.index import RunRow, row_of
from runner.state.manifest import Manifest
from runner.state.store import RunDir, is_run_id, new_run_id
from runner.usecases.find import find


def add(repo: Path, task: str = "hello", *, done: bool = True) -> Manifest:
    """A run folder with only a manifest in it."""
    run = RunDir(str(repo), task, new_run_id())
    os.makedirs(run.path)
    manifest = a_manifest(run)
    if done:
        ended = manifest.created_at
        reason = Reason("completed", "ok")
        manifest = manifest.replace(
            phase=Phase.DONE, outcome=Outcome.SUCCEEDED, reason=reason, ended_at=ended
        )
    Path(run.manifest).write_text(json.dumps(manifest.to_json()))
    return manifest


def cache(repo: Path) -> Path:
    return repo / ".runs" / ".index.json"


def truth(repo: Path) -> list[RunRow]:
    """Every run that is done, by opening each manifest."""
    manifests = [RunDir.from_path(str(path)).read_manifest() for path in repo.glob(".runs/*/cli/*")]
    rows = [row_of(manifest) for manifest in manifests if manifest.is_done]
    return sorted(rows, key=lambda row: row.run_id, reverse=True)


def finished(repo: Path) -> list[RunRow]:
    return index.scan(str(repo))[0]


def others(repo: Path) -> list[str]:
    return [run.run_id for run in index.scan(str(repo))[1]]


@pytest.mark.parametrize("seed", range(5))
def test_the_cache_equals_the_truth_after_anything_was_added_or_removed(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    for _ in range(25):
        for _ in range(chance.randrange(4)):
            add(tmp_path, chance.choice(["a", "b", "c"]), done=chance.random() < 0.8)
        runs = sorted(tmp_path.glob(".runs/*/cli/*"))
        if runs and chance.random() < 0.4:
            shutil.rmtree(chance.choice(runs))
        if chance.random() < 0.1:
            cache(tmp_path).unlink(missing_ok=True)
        if chance.random() < 0.1:
            cache(tmp_path).parent.mkdir(exist_ok=True)
            cache(tmp_path).write_bytes(chance.randbytes(50))
        for _ in range(2):
            assert finished(tmp_path) == truth(tmp_path)
            everybody = {path.name for path in tmp_path.glob(".runs/*/cli/*")}
            assert set(others(tmp_path)) == everybody - {row.run_id for row in truth(tmp_path)}


def test_a_run_that_is_not_done_is_told_whatever_the_cache_says(tmp_path: Path) -> None:
    done, running = add(tmp_path), add(tmp_path, done=False)
    for _ in range(2):
        assert finished(tmp_path) == [row_of(done)]
        assert others(tmp_path) == [running.run_id]


def test_a_row_of_the_cache_counts_only_for_a_run_of_its_own_task(tmp_path: Path) -> None:
    done = add(tmp_path)
    assert finished(tmp_path) == [row_of(done)]
    moved = RunDir(str(tmp_path), "elsewhere", done.run_id)
    os.makedirs(os.path.dirname(moved.path))
    os.rename(RunDir(str(tmp_path), "hello", done.run_id).path, moved.path)
    Path(moved.manifest).unlink()
    assert (finished(tmp_path), others(tmp_path)) == ([], [done.run_id])


def test_two_runs_of_one_id_in_two_tasks_are_both_listed(tmp_path: Path) -> None:
    add(tmp_path)
    done = add(tmp_path)
    shutil.copytree(RunDir(str(tmp_path), "hello", done.run_id).path, tmp_path / f".runs/b/cli/{done.run_id}")
    manifest = tmp_path / f".runs/b/cli/{done.run_id}/manifest.json"
    manifest.write_text(manifest.read_text().replace('"task_id": "hello"', '"task_id": "b"'))
    for _ in range(3):
        assert sorted(row.task_id for row in finished(tmp_path)) == ["b", "hello", "hello"]


def test_a_cache_whose_columns_are_not_of_one_length_is_made_again(tmp_path: Path) -> None:
    for _ in range(3):
        add(tmp_path)
    assert finished(tmp_path) == truth(tmp_path)
    whole = json.loads(cache(tmp_path).read_bytes())
    for n, column in enumerate(whole["columns"]):
        wrong = [*whole["columns"][:n], (column * 3)[:2], *whole["columns"][n + 1 :]]
        cache(tmp_path).write_text(json.dumps({**whole, "columns": wrong}))
        assert finished(tmp_path) == truth(tmp_path)


@pytest.mark.parametrize("seconds", [float("inf"), float("-inf"), float("nan")])
def test_a_cache_with_a_time_that_is_no_number_is_made_again(seconds: float, tmp_path: Path) -> None:
    add(tmp_path)
    assert finished(tmp_path) == truth(tmp_path)
    whole = json.loads(cache(tmp_path).read_bytes())
    whole["columns"][RunRow._fields.index("duration_s")] = [seconds]
    cache(tmp_path).write_text(json.dumps(whole))
    assert finished(tmp_path) == truth(tmp_path)


def test_without_runs_there_are_none(tmp_path: Path) -> None:
    assert index.scan(str(tmp_path)) == ([], [])
    assert list(index.folders(str(tmp_path))) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"version": 1}',
        b'{"version": 2, "rows": [["x"]]}',
        b'{"version": 1, "rows": 5}',
        b'{"version": 1, "rows": [5, null, [], ["short"], {"a": 1}]}',
        b'{"version": 1, "rows": [[[],1,2,3,4,5,6,7,8]]}',
        b'{"version": 6, "columns": []}',
        b'{"version": 6, "columns": [5, {}]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:30]),
)
def test_a_damaged_cache_is_made_again(content: bytes, tmp_path: Path) -> None:
    manifest = add(tmp_path)
    cache(tmp_path).write_bytes(content)
    assert finished(tmp_path) == [row_of(manifest)]
    assert manifest.run_id.encode() in cache(tmp_path).read_bytes()


def test_the_cache_may_stand_in_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    manifest = add(tmp_path)
    cache(tmp_path).mkdir()
    assert finished(tmp_path) == [row_of(manifest)]


def test_an_unreadable_run_is_told_and_never_kept_in_the_cache(tmp_path: Path) -> None:
    manifest = add(tmp_path)
    run = RunDir(str(tmp_path), manifest.task_id, manifest.run_id)
    whole = Path(run.manifest).read_bytes()
    Path(run.manifest).write_bytes(b"{")
    assert (finished(tmp_path), others(tmp_path)) == ([], [run.run_id])
    Path(run.manifest).write_bytes(whole)
    assert finished(tmp_path) == [row_of(manifest)]


def test_what_may_hide_the_runs_of_a_task_is_named_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path)
    runs = tmp_path / ".runs"
    (runs / "being-made").mkdir()
    (runs / ".hidden").write_text("")
    (runs / "closed" / "cli").mkdir(parents=True)
    (runs / "closed").chmod(0)
    (runs / "file").write_text("")
    (runs / "inner").mkdir()
    (runs / "inner" / "cli").write_text("")
    (runs / "link").symlink_to("/nowhere")
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the folders above are nobody else's
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may read everything
    try:
        found = {os.path.basename(path): why for path, why in index.unreadable(".")}
    finally:
        os.seteuid(user)
        (runs / "closed").chmod(0o700)
    assert list(found) == ["closed", "file", "inner", "link"]
    assert (found["closed"], found["file"]) == ("Permission denied", "Not a directory")
    assert "symbolic link" in found["link"]


def test_runs_that_no_more_files_can_be_opened_for_are_not_called_none(tmp_path: Path) -> None:
    add(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(TooManyFiles):
            index.scan(str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_folder_of_runs_that_may_not_be_read_is_not_called_empty(tmp_path: Path) -> None:
    add(tmp_path)
    (tmp_path / ".runs").chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may read everything
    try:
        with pytest.raises(Unwritable, match=r"cannot read .*Permission denied"):
            index.scan(str(tmp_path))
    finally:
        os.seteuid(user)
        (tmp_path / ".runs").chmod(0o700)


def test_foreign_names_and_links_are_passed_over(tmp_path: Path) -> None:
    manifest = add(tmp_path)
    runs = tmp_path / ".runs"
    (runs / "..x").mkdir()
    (runs / "hello" / "cli" / "notes").mkdir()
    cli = runs / "hello" / "cli"
    file, link = new_run_id(), new_run_id()
    (cli / file).write_text("a file")
    (cli / link).symlink_to(cli / manifest.run_id)
    (runs / "link").symlink_to(runs / "hello")
    assert list(index.folders(str(tmp_path))) == [("hello", manifest.run_id)]
    assert (finished(tmp_path), others(tmp_path)) == ([row_of(manifest)], [])
    found = {name: index.folder_of(str(tmp_path), name) for name in (manifest.run_id, file, link)}
    assert {name: run and run.path for name, run in found.items()} == {
        manifest.run_id: str(cli / manifest.run_id),
        file: None,
        link: None,
    }


def test_runs_that_go_on_come_oldest_first_whatever_their_task(tmp_path: Path) -> None:
    runs = [add(tmp_path, task, done=False) for task in ("z", "a", "m")]
    assert others(tmp_path) == sorted(manifest.run_id for manifest in runs)


def test_two_thousand_runs_are_listed_from_one_file(tmp_path: Path) -> None:
    sample = add(tmp_path)
    for _ in range(1999):
        run = RunDir(str(tmp_path), "many", new_run_id())
        os.makedirs(run.path)
        data = sample.to_json() | {"run_id": run.run_id, "task_id": "many", "manifest_path": run.manifest}
        Path(run.manifest).write_text(json.dumps(data))
    rows = finished(tmp_path)
    assert len(rows) == 2000
    assert rows == truth(tmp_path)
    for path in tmp_path.glob(".runs/many/cli/*/manifest.json"):
        path.unlink()  # a terminal state never changes, so nobody opens them again
    assert finished(tmp_path) == rows


def test_a_row_has_what_the_manifest_says(tmp_path: Path) -> None:
    manifest = add(tmp_path)
    row = row_of(manifest)
    assert (row.status, row.reason, row.runtime, row.model) == ("succeeded", "completed", "codex", "gpt-5")


# -- the id of a new run -------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["work", "other"])
def test_a_new_run_sorts_after_those_of_before_the_clock_went_back(tmp_path: Path, task: str) -> None:
    """The newest run is found by its id."""
    ahead = f"{time.gmtime().tm_year + 1}1231T235959990Z-ffffffff"
    assert authentic.next_run_id(str(tmp_path)) < ahead
    an_ended_run(tmp_path, task=task, run_id=ahead)
    ids = [ahead]
    for _ in range(12):
        ids.append(authentic.next_run_id(str(tmp_path)))
        an_ended_run(tmp_path, run_id=ids[-1])
    assert ids == sorted({*ids}) and all(map(is_run_id, ids))
    assert ids[-1].startswith(f"{time.gmtime().tm_year + 2}0101T0000000"), "also over the end of a year"
    assert find(str(tmp_path), "@latest").run_id == ids[-1]


def test_a_run_that_is_not_ours_moves_no_new_one_into_the_future(tmp_path: Path) -> None:
    year = time.gmtime().tm_year
    ahead = [f"{year + n}1231T235959000Z-00000000" for n in (1, 2, 3)]
    moved = an_ended_run(tmp_path)
    os.rename(moved.path, RunDir(moved.repo, "work", ahead[0]).path)
    unsigned = an_ended_run(tmp_path, run_id=ahead[1])
    invocation = json.loads(Path(unsigned.invocation).read_bytes())
    Path(unsigned.invocation).write_text(json.dumps({**invocation, "mac": "0" * 64}))
    os.mkdir(RunDir(moved.repo, "work", ahead[2]).path)
    assert authentic.next_run_id(str(tmp_path)) < ahead[0]


def test_short_names_are_listed_again_for_a_run_that_is_new(tmp_path: Path) -> None:
    first = an_ended_run(tmp_path, run_id="20251120T101504438Z-5c16aaaa")
    names = index.ShortNames(str(tmp_path))
    assert names[first.run_id] == "5c16"
    new = an_ended_run(tmp_path, run_id="20251120T101504439Z-5c16bbbb")
    assert (names[new.run_id], names[first.run_id]) == ("5c16b", "5c16a")
    assert names["20251120T101504440Z-5c16cccc"] == "20251120T101504440Z-5c16cccc"


def test_a_task_does_not_take_the_short_name_of_a_run_over(tmp_path: Path) -> None:
    stamp = new_run_id()[:20]
    run = an_ended_run(tmp_path, run_id=f"{stamp}feed1234")
    assert find(str(tmp_path), index.short_name(str(tmp_path), run.run_id)).path == run.path
    other = an_ended_run(tmp_path, task="feed", run_id=f"{stamp}00000000")
    with pytest.raises(Conflict, match=f"`feed` is a task, and the short name of {run.run_id}"):
        find(str(tmp_path), "feed")
    for known in (run, other):
        assert find(str(tmp_path), index.short_name(str(tmp_path), known.run_id)).path == known.path
    newest = an_ended_run(tmp_path, task="2026", run_id=f"{stamp}feed5678")
    assert find(str(tmp_path), "2026").path == newest.path, "a day is no short name"
    shutil.rmtree(run.path)
    shutil.rmtree(newest.path)
    assert find(str(tmp_path), "feed").path == other.path
