"""What the ledgers say of every run, whether that is whole, and the four columns of `conversations.idx`."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ended import an_ended_run
from support.values import a_manifest

from runner.errors import Conflict, RunnerError, RunNotFound
from runner.ledger.entry import HUMAN
from runner.ledger.file import Ledger
from runner.model import Outcome, Phase, Usage
from runner.state.authentic import write_record
from runner.state.fingerprints import Known
from runner.state.store import RunDir
from runner.supervise.sealing import Cleaner
from runner.supervise.witness import Witness
from runner.usecases import audit

THREAD = "01a21f69-e464-7bb3-b1f9-0847dab3da09"


def a_told_run(root: Path, thread: str | None = None, request: str = "Do it.", **changes: Any) -> RunDir:
    """A run that is over, with its begin and its end in the ledger of its task."""
    run = an_ended_run(root, **{"exit_code": 0, "usage": Usage(10, 5, 2, None), **changes})
    run.write_manifest(run.read_manifest().replace(thread_id=thread))
    Path(run.prompt).write_text(request)
    witness = Witness(run, run.read_invocation(), lambda: Cleaner(Known((), ())))
    assert witness.end(run.read_manifest())
    return run


def told(root: Path) -> list[dict[str, Any]]:
    return audit.rows(str(root))[0]


def whole(root: Path) -> bool:
    return bool(audit.verify(str(root))["is_whole"])


def ledger(root: Path, task: str = "work") -> Path:
    return Path(Ledger(str(root), task).path)


# -- show ------------------------------------------------------------------------------------------------


def test_every_run_has_a_row_with_its_begin_and_its_end_also_when_its_folder_is_gone(tmp_path: Path) -> None:
    first = a_told_run(
        tmp_path, THREAD, host="claude", sessions=("s1",), run_id="20261127T203000000Z-0a0a0a0a"
    )
    second = a_told_run(tmp_path, task="other", outcome=Outcome.REJECTED, code="verify_failed")
    shutil.rmtree(first.path)
    one, other = told(tmp_path)
    assert (one["run_id"], one["task_id"], other["run_id"]) == (first.run_id, "work", second.run_id)
    assert (one["host"], one["session"], one["hint"], one["thread"]) == ("claude", "s1", "Do it.", THREAD)
    assert (one["runtime"], one["sandbox"], one["model_declared"], one["model"]) == (
        "codex",
        "build",
        "gpt-5",
        None,
    )
    assert (one["status"], one["exit_code"], one["tokens"]) == (
        "succeeded",
        0,
        {"input": 10, "cached": 5, "output": 2},
    )
    assert (other["outcome"], other["code"], other["host"]) == ("rejected", "verify_failed", None)
    assert len(one["entries"]) == len(one["hashes"]) == 2
    assert whole(tmp_path)


def test_what_an_agent_writes_is_no_begin_and_no_end(tmp_path: Path) -> None:
    run = a_told_run(tmp_path)
    lines = ledger(tmp_path).read_text()
    assert lines.count('"type":"run_ended"') == 1
    forged = lines.splitlines()[-1].replace(run.run_id, "20261127T203000000Z-0b0b0b0b")
    ledger(tmp_path).write_text(f"{lines}{forged}\n")
    rows, problems, heads = audit.rows(str(tmp_path))
    assert (rows, heads) == ([], {}) and "ledger.jsonl" in problems[0], "nothing of it is shown as true"


# -- verify ----------------------------------------------------------------------------------------------


def changed(path: Path) -> None:
    path.write_text(path.read_text().replace("Do it.", "Do it!", 1))


def cut(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def cut_with_its_head(path: Path) -> None:
    (path.parent / ".ledger.head").unlink()
    cut(path)


def reordered(path: Path) -> None:
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join((second, first, *rest)))


def of_another_account(path: Path) -> None:
    path.write_text(
        path.read_text().replace('{"mac":"', '{"mac":"' + "0" * 64 + '"', 1)[: len(path.read_text())]
    )


def shared_with_others(path: Path) -> None:
    path.chmod(0o666)


def with_a_second_name(path: Path) -> None:
    os.link(path, path.with_name("second"))


def gone(path: Path) -> None:
    path.unlink()


def gone_with_its_head(path: Path) -> None:
    gone(path)
    (path.parent / ".ledger.head").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        *(changed, cut, cut_with_its_head, reordered, of_another_account, shared_with_others),
        *(with_a_second_name, gone, gone_with_its_head),
    ],
)
def test_each_damage_of_a_ledger_is_found(damage: Callable[[Path], None], tmp_path: Path) -> None:
    a_told_run(tmp_path)
    a_told_run(tmp_path, task="other")
    assert whole(tmp_path)
    damage(ledger(tmp_path))
    found = audit.verify(str(tmp_path))
    bad = [one["task_id"] for one in found["ledgers"] if not one["is_whole"]]
    assert not found["is_whole"]
    assert bad == ["work"] or {one["task_id"] for one in found["missing"]} == {"work"}
    assert {row["task_id"] for row in told(tmp_path)} <= {"work", "other"}


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "folder of all"])
def test_a_ledger_that_is_no_plain_file_is_told_of_and_hides_no_other(kind: str, tmp_path: Path) -> None:
    run = a_told_run(tmp_path)
    odd = ledger(tmp_path, "odd")
    odd.parent.mkdir()
    makes: dict[str, Callable[[], object]] = {
        "fifo": lambda: os.mkfifo(odd),
        "link": lambda: odd.symlink_to(ledger(tmp_path)),
        "folder": odd.mkdir,
        "folder of all": lambda: (odd.touch(), odd.parent.chmod(0o777)),
    }
    makes[kind]()
    rows, problems, heads = audit.rows(str(tmp_path))
    assert ([row["run_id"] for row in rows], [*heads]) == ([run.run_id], ["work"])
    assert len(problems) == 1 and problems[0].startswith(".runs/odd/ledger.jsonl: ")
    found = audit.verify(str(tmp_path))
    assert [(one["task_id"], one["is_whole"]) for one in found["ledgers"]] == [("odd", False), ("work", True)]
    assert not found["is_whole"] and found["ledgers"][0]["problem"]


def test_a_ledger_that_was_written_anew_lacks_the_runs_of_before(tmp_path: Path) -> None:
    before = a_told_run(tmp_path)
    gone_with_its_head(ledger(tmp_path))
    a_told_run(tmp_path)
    missing = audit.verify(str(tmp_path))["missing"]
    assert [(one["run_id"], one["what"]) for one in missing] == [
        (before.run_id, "started"),
        (before.run_id, "ended"),
    ]


def test_of_runs_before_a_person_set_the_ledger_aside_nobody_can_say(tmp_path: Path) -> None:
    a_told_run(tmp_path)
    changed(ledger(tmp_path))
    Ledger(str(tmp_path), "work").set_aside(HUMAN)
    a_told_run(tmp_path)
    found = audit.verify(str(tmp_path))
    assert (found["is_whole"], found["missing"], found["unwitnessed"]) == (True, [], 1)


def test_a_run_of_a_runner_without_ledgers_or_of_others_is_not_missed(tmp_path: Path) -> None:
    old = an_ended_run(tmp_path)
    declared = old.read_invocation().to_json()
    del declared["ledger"]
    write_record(old.invocation, declared)
    found = audit.verify(str(tmp_path))
    assert (found["is_whole"], found["missing"], found["unwitnessed"]) == (None, [], 1)
    a_told_run(tmp_path, task="other")
    found = audit.verify(str(tmp_path))
    assert (found["is_whole"], found["missing"], found["unwitnessed"]) == (True, [], 1)


def with_another_word(run: RunDir) -> None:
    path = Path(run.invocation)
    path.write_text(path.read_text().replace('"ledger"', '"Ledger"'))


def with_a_link(run: RunDir) -> None:
    os.rename(run.path, f"{run.path}x")
    os.symlink(f"{run.path}x", run.path)


def open_to_others(run: RunDir) -> None:
    Path(run.control).chmod(0o777)


def without_its_terms(run: RunDir) -> None:
    os.unlink(run.invocation)


@pytest.mark.parametrize("change", [with_another_word, with_a_link, open_to_others, without_its_terms])
@pytest.mark.parametrize("is_alone", [True, False])
def test_a_run_whose_record_was_changed_here_is_told_of_and_the_audit_not_whole(
    change: Callable[[RunDir], None], is_alone: bool, tmp_path: Path
) -> None:
    run = a_told_run(tmp_path)
    if not is_alone:
        a_told_run(tmp_path, task="other")
    gone_with_its_head(ledger(tmp_path))
    change(run)
    found = audit.verify(str(tmp_path))
    assert (found["is_whole"], found["unwitnessed"], found["missing"]) == (False, 0, [])
    (row,) = found["changed"]
    assert (row["run_id"], row["task_id"]) == (run.run_id, "work") and row["problem"]


def test_the_runs_of_a_repository_that_was_moved_were_changed_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    run = a_told_run(tmp_path / "before")
    gone_with_its_head(ledger(tmp_path / "before"))
    (tmp_path / "before").rename(tmp_path / "after")
    a_told_run(tmp_path / "after", task="other")
    found = audit.verify(str(tmp_path / "after"))
    assert (found["is_whole"], found["unwitnessed"], found["changed"]) == (True, 1, []), run.run_id


def a_begun_run(root: Path) -> RunDir:
    """One whose begin is told, and whose owner was killed before its end."""
    run = an_ended_run(root)
    Witness(run, run.read_invocation(), lambda: Cleaner(Known((), ()))).look(run.read_manifest())
    run.write_manifest(a_manifest(run, started_at=run.read_manifest().started_at, phase=Phase.RUNNING))
    return run


@pytest.mark.parametrize("what", ["as it was left", "manifest", "folder"])
def test_a_run_without_an_end_and_without_an_owner_is_missed_and_nothing_is_made(
    what: str, tmp_path: Path
) -> None:
    run = a_begun_run(tmp_path)
    (tmp_path / ".runs/work/.ledger.head").unlink()
    if what == "manifest":
        os.unlink(run.manifest)
    elif what == "folder":
        shutil.rmtree(run.path)
    before = sorted(tmp_path.rglob("*"))
    for _ in range(2):
        found = audit.verify(str(tmp_path))
        assert found["missing"] == [{"run_id": run.run_id, "task_id": "work", "what": "ended"}]
        assert not found["is_whole"] and found["ledgers"][0]["is_complete"] is None
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_has_an_owner_is_not_missed(tmp_path: Path) -> None:
    run = a_begun_run(tmp_path)
    lock = run.try_lock()
    assert lock is not None
    try:
        assert whole(tmp_path)
    finally:
        os.close(lock)
    assert not whole(tmp_path)
    os.unlink(run.lock)
    os.symlink("elsewhere", run.lock)
    assert not whole(tmp_path), "a link is held by nobody"


def test_a_run_whose_end_nobody_told_is_missed(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    Witness(run, run.read_invocation(), lambda: Cleaner(Known((), ()))).look(run.read_manifest())
    found = audit.verify(str(tmp_path))
    assert [one["what"] for one in found["missing"]] == ["ended"]


def test_where_nothing_was_run_nothing_is_called_whole(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=str(tmp_path)):
        audit.verify(str(tmp_path))
    assert audit.rows(str(tmp_path)) == ([], [], {})


# -- four columns ----------------------------------------------------------------------------------------


def test_a_row_of_the_index_has_the_four_columns_of_the_original(tmp_path: Path) -> None:
    a_told_run(tmp_path, THREAD, "Say\thello\nto \x1b[31mall")
    (line,) = audit.columns(told(tmp_path))[".codex/conversations.idx"]
    at, number, name, hint = line.split("\t")
    assert (len(at), at[10], at[-1], number, hint) == (20, "T", "Z", THREAD, "Say hello to all")
    assert name.startswith("codex-1") and name.endswith("-0847dab3") and name.count("-") == 2


@pytest.mark.parametrize("thread", [None, "x", THREAD.upper(), f"{THREAD}\nX", "$(id)-1-1-1-1", THREAD[:-1]])
def test_what_is_no_uuid_in_lower_case_is_not_taken_for_one(thread: str | None, tmp_path: Path) -> None:
    a_told_run(tmp_path, None if thread and "\n" in thread else thread, request=" ")
    (line,) = audit.columns(told(tmp_path))[".codex/conversations.idx"]
    number = line.split("\t")[1]
    assert [len(part) for part in number.split("-")] == [8, 4, 4, 4, 12] and number == number.lower()
    assert number != thread and line.endswith("\t(task hint unavailable)")


@given(thread=st.text(max_size=60), hint=st.text(max_size=200))
def test_whatever_a_ledger_says_a_row_is_one_line_of_four_columns(thread: str, hint: str) -> None:
    row = dict.fromkeys((*audit._BEGUN, *audit._ENDED))
    row |= {"run_id": "r", "started_at": "2026-11-27T20:30:00.000Z", "ended_at": "x", "runtime": "kay"}
    lines = audit.columns([{**row, "thread": thread, "hint": hint}])
    assert [*lines] == [".kay/conversations.idx"]
    (line,) = lines[".kay/conversations.idx"]
    assert line.count("\t") == 3 and len(line.splitlines()) == 1 and len(line.split("\t")[3]) <= 80


def test_a_run_that_goes_on_or_has_another_runtime_has_no_row(tmp_path: Path) -> None:
    a_told_run(tmp_path, runtime="claude")
    run = an_ended_run(tmp_path)
    Witness(run, run.read_invocation(), lambda: Cleaner(Known((), ()))).look(run.read_manifest())
    assert audit.columns(told(tmp_path)) == {}


def test_rows_are_added_once_and_a_torn_line_is_ended_first(tmp_path: Path) -> None:
    a_told_run(tmp_path, THREAD)
    lines = audit.columns(told(tmp_path))
    index = tmp_path / ".codex" / "conversations.idx"
    assert audit.write(str(tmp_path), lines) == 1
    assert audit.write(str(tmp_path), lines) == 0
    index.write_text(f"{index.read_text()}2026-11-27T20:3")
    a_told_run(tmp_path, task="other", runtime="kay")
    a_told_run(tmp_path)
    assert audit.write(str(tmp_path), audit.columns(told(tmp_path))) == 2
    first, torn, second = index.read_text().splitlines()
    assert first == lines[".codex/conversations.idx"][0] and torn == "2026-11-27T20:3"
    assert second.count("\t") == 3
    assert (tmp_path / ".kay" / "conversations.idx").read_text().count("\n") == 1


def test_a_conversation_that_goes_on_in_another_run_has_one_row(tmp_path: Path) -> None:
    a_told_run(tmp_path, THREAD)
    a_told_run(tmp_path, THREAD, task="other")
    assert len(audit.columns(told(tmp_path))[".codex/conversations.idx"]) == 1


@pytest.mark.parametrize(
    "what", ["link", "second name", "fifo", "folder", "linked folder", "file for a folder"]
)
def test_what_is_no_plain_file_of_ours_is_not_written(what: str, tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    a_told_run(root, THREAD)
    a_told_run(root, task="other", runtime="kay")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (target := elsewhere / "conversations.idx").write_text("theirs\n")
    folder, index = root / ".codex", root / ".codex" / "conversations.idx"
    if what == "linked folder":
        folder.symlink_to(elsewhere)
    elif what == "file for a folder":
        folder.touch()
    else:
        folder.mkdir()
        makes: dict[str, Callable[[], object]] = {
            "link": lambda: index.symlink_to(target),
            "second name": lambda: os.link(target, index),
            "fifo": lambda: os.mkfifo(index),
            "folder": index.mkdir,
        }
        makes[what]()
    with pytest.raises(RunnerError) as refused:
        audit.write(str(root), audit.columns(told(root)))
    assert refused.value.exit_status == 9
    assert (" is a link" in refused.value.message) == ("link" in what)
    assert target.read_text() == "theirs\n" and not (root / ".kay" / "conversations.idx").exists()


def test_a_file_that_is_too_large_is_not_written_and_none_is_cut(tmp_path: Path) -> None:
    a_told_run(tmp_path, THREAD)
    a_told_run(tmp_path, task="other", runtime="kay")
    (index := tmp_path / ".kay" / "conversations.idx").parent.mkdir()
    index.touch()
    os.truncate(index, size := (64 << 20) + 1)
    with pytest.raises(Conflict, match="larger than 64 MiB"):
        audit.write(str(tmp_path), audit.columns(told(tmp_path)))
    assert index.stat().st_size == size and not (tmp_path / ".codex" / "conversations.idx").exists()


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o400])
def test_a_file_to_which_rows_are_added_keeps_its_mode(mode: int, tmp_path: Path) -> None:
    a_told_run(tmp_path, THREAD)
    (index := tmp_path / ".codex" / "conversations.idx").parent.mkdir()
    index.write_text("theirs\n")
    index.chmod(mode)
    assert audit.write(str(tmp_path), audit.columns(told(tmp_path))) == 1
    assert stat.S_IMODE(index.stat().st_mode) == mode and index.read_text().startswith("theirs\n")


def test_where_there_is_no_row_nothing_is_made(tmp_path: Path) -> None:
    assert audit.write(str(tmp_path), {}) == 0
    assert [*tmp_path.iterdir()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_or_folder_of_another_user_is_not_written(tmp_path: Path) -> None:
    a_told_run(tmp_path, THREAD)
    lines = audit.columns(told(tmp_path))
    (folder := tmp_path / ".codex").mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(Conflict):
        audit.write(str(tmp_path), lines)
    os.chown(folder, 0, 0)
    (folder / "conversations.idx").touch()
    os.chown(folder / "conversations.idx", 12345, 12345)
    with pytest.raises(Conflict):
        audit.write(str(tmp_path), lines)


def test_two_writers_at_once_write_each_row_once(tmp_path: Path) -> None:
    for n in range(8):
        a_told_run(tmp_path, f"{n:08d}{THREAD[8:]}")
    lines = audit.columns(told(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        counts = [*pool.map(lambda _: audit.write(str(tmp_path), lines), range(8))]
    assert sorted(counts) == [0] * 7 + [8]
    assert (tmp_path / ".codex" / "conversations.idx").read_text().splitlines() == lines[
        ".codex/conversations.idx"
    ]
