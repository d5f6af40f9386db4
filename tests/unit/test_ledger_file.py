"""The file of a ledger: whatever becomes of it, of its head and of its lock, nothing wrong is believed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.disks import fill, small_disk
from support.waiting import ends_within

from runner.disk.locks import Lock
from runner.errors import RunnerError
from runner.ledger.chain import written
from runner.ledger.entry import EntryType, LedgerEntry, NewEntry
from runner.ledger.file import Ledger
from runner.ledger.lanes import State, advance
from runner.state.authentic import macs
from runner.text.terminal import clean_terminal

T = EntryType
HEAD, LOCK = ".ledger.head", ".ledger.lock"


def same(text: str) -> str:
    return text


def note(text: str = "a note", key: str | None = None) -> NewEntry:
    return NewEntry(T.NOTE, "human", {"text": text}, key=key)


def a_ledger(root: Path, *texts: str, task: str = "work") -> Ledger:
    root.mkdir(exist_ok=True)
    ledger = Ledger(str(root), task)
    for text in texts:
        ledger.append(note(text), same)
    return ledger


def beside(ledger: Ledger, name: str) -> Path:
    return Path(ledger.path).parent / name


def lines(ledger: Ledger) -> list[bytes]:
    return Path(ledger.path).read_bytes().splitlines(keepends=True)


def texts(ledger: Ledger) -> list[str]:
    return [entry.text("text") for entry in ledger.entries()]


def refused(ledger: Ledger) -> str | None:
    try:
        ledger.append(note("more"), same)
    except RunnerError as error:
        return error.code
    return None


def from_its_entries(ledger: Ledger) -> State:
    state = State()
    for entry in ledger.entries():
        state = advance(state, entry)
    return state


# -- bytes that are not what was written --------------------------------------------------------------------


def test_a_torn_line_of_any_length_counts_as_nothing_and_is_cut_off(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two")
    head = beside(ledger, HEAD).read_bytes()
    before = Path(ledger.path).stat().st_size
    ledger.append(note("three"), same)
    whole = Path(ledger.path).read_bytes()
    for end in range(before + 1, len(whole)):
        Path(ledger.path).write_bytes(whole[:end])
        beside(ledger, HEAD).write_bytes(head)
        found = ledger.look(all_of_it=True)
        assert (found.is_whole, found.state.seq, found.torn) == (True, 2, end - before)
        assert texts(ledger) == ["one", "two"]
        if end % 40 == 0:
            assert ledger.append(note("again"), same).seq == 3
            assert texts(ledger) == ["one", "two", "again"]


def test_a_changed_byte_is_found_wherever_it_is_and_its_entry_named(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two", "three")
    whole = Path(ledger.path).read_bytes()
    for at in range(len(whole)):
        Path(ledger.path).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found, broken = ledger.look(all_of_it=True), 1 + whole[:at].count(b"\n")
        assert (found.is_whole, found.broken_at, found.state.seq) == (False, broken, broken - 1), at
    assert refused(ledger) == "ledger_broken"


def _other(tmp_path: Path, task: str = "work") -> list[bytes]:
    """The lines of another ledger of this account, of the same words."""
    return lines(a_ledger(tmp_path / "other", "one", "two", "three", "four", "five", task=task))


CHANGES: dict[str, tuple[Callable[[list[bytes], list[bytes]], list[bytes]], int]] = {
    "swapped": (lambda own, _: [own[0], own[2], own[1], *own[3:]], 2),
    "removed": (lambda own, _: [own[0], *own[2:]], 2),
    "doubled": (lambda own, _: [*own[:2], *own[1:]], 3),
    "the first removed": (lambda own, _: own[1:], 1),
    "cut": (lambda own, _: own[:3], 4),
    "all cut": (lambda own, _: [], 1),
    "the first of another one put in": (lambda own, other: [*own[:2], other[0], *own[2:]], 3),
    "one of another one put in its place": (lambda own, other: [*own[:2], other[2], *own[3:]], 3),
    "gone on with by another one": (lambda own, other: [*own[:3], *other[3:]], 4),
    "an empty line put in": (lambda own, _: [own[0], b"\n", *own[1:]], 2),
}


@pytest.mark.parametrize("task", ["work", "elsewhere"])
@pytest.mark.parametrize("name", CHANGES)
def test_lines_that_were_moved_are_found_and_the_first_wrong_one_named(
    name: str, task: str, tmp_path: Path
) -> None:
    ledger = a_ledger(tmp_path / "own", "one", "two", "three", "four", "five")
    change, seq = CHANGES[name]
    Path(ledger.path).write_bytes(b"".join(change(lines(ledger), _other(tmp_path, task))))
    found = ledger.look(all_of_it=True)
    assert (found.is_whole, found.broken_at, found.state.seq) == (False, seq, seq - 1)
    assert refused(ledger) == "ledger_broken"
    with pytest.raises(RunnerError):
        ledger.state()


def test_without_a_head_nothing_tells_whether_entries_are_missing(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two", "three")
    assert ledger.look(all_of_it=True).is_complete is True
    for kept in (3, 2, 1):
        Path(ledger.path).write_bytes(b"".join(lines(ledger)[:kept]))
        beside(ledger, HEAD).unlink(missing_ok=True)
        found = ledger.look(all_of_it=True)
        assert (found.is_whole, found.is_complete, found.state.seq) == (True, None, kept)


def test_a_ledger_that_is_gone_while_its_head_is_there_was_removed(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two")
    os.unlink(ledger.path)
    assert (ledger.look().is_whole, ledger.look().broken_at) == (False, 1)
    assert refused(ledger) == "ledger_broken"
    assert refused(ledger) == "ledger_broken", "nor does it begin anew when somebody tries again"


# -- the head -----------------------------------------------------------------------------------------------


def _victim(ledger: Ledger) -> Path:
    victim = Path(ledger.repo) / "victim"
    victim.write_text("precious")
    victim.chmod(0o600)
    return victim


HEADS: dict[str, Callable[[Path, Path], object]] = {
    "removed": lambda path, _: path.unlink(),
    "garbage": lambda path, _: path.write_bytes(os.urandom(5000)),
    "empty": lambda path, _: path.write_bytes(b""),
    "cut": lambda path, _: os.truncate(path, 80),
    "a link": lambda path, victim: (path.unlink(), path.symlink_to(victim)),
    "a hard link": lambda path, victim: (path.unlink(), path.hardlink_to(victim)),
    "a fifo": lambda path, _: (path.unlink(), os.mkfifo(path, 0o600)),
    "a folder": lambda path, _: (path.unlink(), path.mkdir()),
    "of others": lambda path, _: path.chmod(0o666),
    "large": lambda path, _: os.truncate(path, 1 << 30),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_of_any_kind_changes_nothing_of_what_is_read_or_written(name: str, tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two")
    victim = _victim(ledger)
    HEADS[name](beside(ledger, HEAD), victim)
    assert texts(ledger) == ["one", "two"]
    assert ledger.append(note("three"), same).seq == 3
    assert ledger.state() == from_its_entries(ledger)
    assert ledger.look(all_of_it=True).is_whole
    assert victim.read_text() == "precious"


def test_an_older_head_or_that_of_another_ledger_is_no_more_than_slow(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path / "own", "one")
    older = beside(ledger, HEAD).read_bytes()
    for text in ("two", "three"):
        ledger.append(note(text), same)
    other = a_ledger(tmp_path / "other", *"abcdefg")
    for head in (older, beside(other, HEAD).read_bytes()):
        beside(ledger, HEAD).write_bytes(head)
        assert ledger.state() == from_its_entries(ledger)
        assert ledger.append(note("more"), same).seq == len(ledger.entries())
        assert ledger.look(all_of_it=True).is_whole


def test_who_had_to_read_everything_says_so_in_the_head(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two")
    head, before = beside(ledger, HEAD), beside(ledger, HEAD).read_bytes()
    os.chmod(ledger.path, 0o600)  # as a copy or a restore: another ctime
    with Lock(str(beside(ledger, LOCK)), 1.0):
        assert Ledger(ledger.repo, "work").look().is_whole
    assert head.read_bytes() == before, "nobody waits to write it"
    found = Ledger(ledger.repo, "work").look()
    assert head.read_bytes() != before
    again = Ledger(ledger.repo, "work").look()
    assert (again.state, again.stamp, again.is_complete) == (found.state, ledger.stamp(), None)
    assert again.is_complete is None, "an older copy may have come back with its head"
    ledger.append(note("on"), same)
    assert Ledger(ledger.repo, "work").look().is_complete is True


def _copied(ledger: Ledger, root: Path) -> list[Path]:
    root.mkdir()
    return [Path(shutil.copy2(path, root)) for path in (ledger.path, beside(ledger, HEAD))]


@pytest.mark.parametrize("is_in_place", [True, False])
def test_an_older_copy_with_its_head_is_not_taken_for_complete(is_in_place: bool, tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one")
    older = _copied(ledger, tmp_path / "older")
    ledger.append(note("two"), same)
    for path in older:
        if is_in_place:
            shutil.copyfile(path, beside(ledger, path.name))
        else:
            os.replace(path, beside(ledger, path.name))
    for all_of_it in (True, False, True, False):
        found = Ledger(ledger.repo, "work").look(all_of_it=all_of_it)
        assert (found.is_whole, found.state.seq, found.is_complete) == (True, 1, None)


def test_a_ledger_that_was_set_aside_and_put_back_is_not_taken_for_complete(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two", "three")
    Path(ledger.path).chmod(0o666)
    former = beside(ledger, ledger.set_aside("human"))
    former.chmod(0o600)
    os.replace(former, ledger.path)
    for _ in "12":
        assert Ledger(ledger.repo, "work").look(all_of_it=True).is_complete is None


@pytest.mark.parametrize("name", ["a hard link", "writable by others"])
def test_what_cannot_be_written_on_is_believed_by_nobody(name: str, tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two")
    STRANGE[name](Path(ledger.path), _victim(ledger))
    assert not ledger.look(all_of_it=True).is_whole and not Ledger(ledger.repo, "work").look().is_whole
    assert refused(ledger) == "foreign_ledger"
    for read in (ledger.state, ledger.entries, ledger.believed):
        with pytest.raises(RunnerError):
            read()


@pytest.mark.parametrize("lane", ["", "\u200b", "\u200b\u2060"])
def test_a_lane_without_a_name_is_no_way_around_whose_turn_it_is(lane: str, tmp_path: Path) -> None:
    ledger, payload = a_ledger(tmp_path), {"reason": "r", "ask": "a"}
    ledger.append(NewEntry(T.HANDOFF, "human", payload, "review"), same)
    mine = NewEntry(T.HANDOFF, "build", {**payload, "lane": lane}, "third", run_id="r1")
    with pytest.raises(RunnerError) as found:
        ledger.append(mine, clean_terminal)
    assert found.value.code == "not_your_turn"


def test_a_reader_makes_no_head_where_none_tells_what_was_cut(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two")
    beside(ledger, HEAD).unlink()
    for _ in range(2):
        assert Ledger(ledger.repo, "work").look().is_complete is None
    assert not beside(ledger, HEAD).exists()


def test_a_reader_that_may_not_write_reads_all_the_same(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two")
    before = beside(ledger, HEAD).read_bytes()
    os.chmod(ledger.path, 0o600)
    beside(ledger, HEAD).chmod(0o400)
    beside(ledger, LOCK).unlink()
    folder = Path(ledger.path).parent
    folder.chmod(0o500)
    try:
        assert texts(Ledger(ledger.repo, "work")) == ["one", "two"]
    finally:
        folder.chmod(0o700)
    if os.geteuid() != 0:
        assert beside(ledger, HEAD).read_bytes() == before


def test_the_state_through_the_head_is_that_of_all_entries(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path)
    handoff = {"reason": "r", "ask": "a"}
    said = [
        NewEntry(T.HANDOFF, "human", handoff, "build"),
        NewEntry(T.RUN_STARTED, "runner", {"task": "build", "runtime": "codex", "sandbox": "s"}, run_id="r1"),
        NewEntry(T.HANDOFF_TAKEN, "build", {}, handles=("e-0001",), run_id="r1"),
        NewEntry(T.HANDOFF, "build", {**handoff, "lane": "other"}, "codex", run_id="r1"),
        NewEntry(T.FINALITY_PROPOSED, "build", {"summary": "s", "evidence": "e"}, run_id="r1"),
        NewEntry(T.RUN_ENDED, "runner", {"status": "done"}, run_id="r1"),
        NewEntry(T.COORDINATOR_CHANGED, "human", {"owner": "build"}),
        NewEntry(T.FINALITY_SIGNED, "human", {"signer": "ada", "proposal": "e-0005"}),
    ]
    for one in said:
        ledger.append(one, same)
        assert ledger.look() == ledger.look(all_of_it=True).replace(stamp=ledger.stamp())
        assert ledger.state() == from_its_entries(ledger)


# -- the file itself ----------------------------------------------------------------------------------------

STRANGE: dict[str, Callable[[Path, Path], object]] = {
    "a link": lambda path, victim: (path.unlink(), path.symlink_to(victim)),
    "a hard link": lambda path, victim: path.with_name("second").hardlink_to(path),
    "a fifo": lambda path, _: (path.unlink(), os.mkfifo(path, 0o600)),
    "a folder": lambda path, _: (path.unlink(), path.mkdir(mode=0o700)),
    "writable by others": lambda path, _: path.chmod(0o666),
    "a hole": lambda path, _: (path.write_bytes(b""), os.truncate(path, 1 << 40)),
    "longer than it can be": lambda path, _: os.truncate(path, 257 << 20),
    "zeros": lambda path, _: path.write_bytes(b"\0" * (5 << 20)),
    "a line without end": lambda path, _: path.write_bytes(b"{" * (5 << 20)),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_ledger_is_refused_at_once_and_by_name(name: str, tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two")
    victim = _victim(ledger)
    STRANGE[name](Path(ledger.path), victim)
    with ends_within(20):
        assert refused(ledger) is not None
        assert ledger.tell([note("told", key="k")], same) in (True, False)
        with contextlib.suppress(RunnerError):
            ledger.look(all_of_it=True)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", STRANGE)
def test_a_person_begins_anew_where_it_is_no_ledger(name: str, tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two")
    STRANGE[name](Path(ledger.path), _victim(ledger))
    former = ledger.set_aside("human")
    assert os.path.lexists(beside(ledger, former))
    assert [entry.type for entry in ledger.entries()] == [T.RESTARTED]
    assert ledger.append(note("on"), same).seq == 2


@pytest.mark.parametrize("folder", [".runs", ".runs/work"])
def test_a_folder_that_others_can_write_makes_it_foreign(folder: str, tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one")
    (tmp_path / folder).chmod(0o777)
    assert refused(ledger) == "foreign_ledger"
    for read in (ledger.state, ledger.entries, ledger.believed):
        with pytest.raises(RunnerError, match="can be written by others"):
            read()


def test_a_repository_that_was_moved_has_a_foreign_ledger_until_it_is_back(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path / "here", "one")
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = Ledger(str(tmp_path / "there"), "work")
    assert refused(moved) == "foreign_ledger"
    assert [entry.text("text") for entry in moved.unproven()] == ["one"]
    shutil.move(tmp_path / "there", tmp_path / "here")
    assert refused(ledger) is None


def test_it_is_the_same_ledger_behind_a_link_to_its_repository(tmp_path: Path) -> None:
    a_ledger(tmp_path / "here", "one")
    (tmp_path / "link").symlink_to(tmp_path / "here")
    assert a_ledger(tmp_path / "link").append(note(), same).seq == 2
    assert a_ledger(tmp_path / "here").append(note(), same).seq == 3


def of_a_newer_runner(ledger: Ledger, kind: str, payload: dict[str, object]) -> None:
    """Appends what this one does not know, with the key of this account."""
    sign = macs(f"ledger {os.path.realpath(os.path.dirname(ledger.path))}")
    state, new = ledger.state(), note().replace(type=kind, payload=payload)
    place = (state.seq + 1, state.hash)
    line = written(new, *place, at="2040-01-01T00:00:00.000Z", task_id="work", sign=sign)[0]
    with open(ledger.path, "ab") as file:
        file.write(line)


def test_what_a_newer_runner_has_written_is_read_and_moves_nothing(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one")
    of_a_newer_runner(ledger, "note", {"text": "two", "mood": 7})
    of_a_newer_runner(ledger, "poll", {"question": ["a", {"b": None}]})
    assert [entry.type for entry in ledger.entries()] == ["note", "note", "poll"]
    assert ledger.state().counts == {"note": 2, "poll": 1}
    assert ledger.append(note("four"), same).seq == 4
    assert ledger.state() == from_its_entries(ledger), "through the head as well"
    assert Ledger(str(tmp_path), "work").look() == ledger.look()
    assert ledger.look(all_of_it=True).is_whole


@pytest.mark.parametrize(
    "new",
    [
        note(""),
        NewEntry(T.HANDOFF, "human", {"reason": "r"}, "build"),
        NewEntry(T.NOTE, "human", {"text": "x"}, handles=("e-0001",)),
        NewEntry(T.FINALITY_SIGNED, "human", {"signer": "ada"}),
    ],
)
def test_what_is_refused_begins_no_ledger(new: NewEntry, tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path)
    with pytest.raises(RunnerError):
        ledger.append(new, same)
    assert not ledger.exists


# -- the lock -----------------------------------------------------------------------------------------------

LOCKS: dict[str, Callable[[Path, Path], object]] = {
    "a link": lambda path, victim: (path.unlink(), path.symlink_to(victim)),
    "a hard link": lambda path, victim: (path.unlink(), path.hardlink_to(victim)),
    "a fifo": lambda path, _: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path, _: (path.unlink(), (path / "x").mkdir(parents=True)),
    "readable": lambda path, _: path.chmod(0o644),
}


@pytest.mark.parametrize("name", LOCKS)
def test_whatever_stands_in_place_of_the_lock_is_moved_away_and_not_touched(
    name: str, tmp_path: Path
) -> None:
    ledger = a_ledger(tmp_path, "one")
    victim = _victim(ledger)
    LOCKS[name](beside(ledger, LOCK), victim)
    assert ledger.append(note("two"), same).seq == 2
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("precious", 0o600)
    assert beside(ledger, LOCK).stat().st_mode & 0o777 == 0o200


def test_a_lock_that_somebody_keeps_holds_no_supervisor_up(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one")
    with beside(ledger, LOCK).open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        begun = time.monotonic()
        assert ledger.tell([note("told", key="k")], same) is False
        assert time.monotonic() - begun < 5
        assert texts(ledger) == ["one"], "readers need no lock"
    assert ledger.tell([note("told", key="k")], same)
    assert texts(ledger) == ["one", "told"]


# -- what is told once --------------------------------------------------------------------------------------


def test_a_key_is_found_wherever_it_stands_in_the_file(tmp_path: Path) -> None:
    for pad in range(0, 120, 3):
        ledger = a_ledger(tmp_path / str(pad), "x" * 64_000)
        left = 65_536 - Path(ledger.path).stat().st_size - 400
        ledger.append(note("y" * (left - 400 + pad)), same)
        told = [note("told", key="20261120T101504438Z-50151d5c:started"), note("told", key="other")]
        for _ in range(2):
            assert ledger.tell(told, same)
        assert len(ledger.entries()) == 4


def test_a_key_in_a_text_is_no_key(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, '"key":"k"}\n', '","key":"k"}')
    assert ledger.tell([note("told", key="k")], same)
    assert len(ledger.entries()) == 3


# -- reading a part -----------------------------------------------------------------------------------------


SIZES = (1, 65_000, 10, 60_000, 3, 64_998, 65_100, 40_000, 25_000, 5, 65_300, 1)
"""Of texts, so that lines are shorter than a piece that is read, as long, and longer."""


def test_a_part_of_the_entries_is_the_same_part_of_all(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path)
    for number, size in enumerate(SIZES):
        text = ("ä" * (size // 2)) + "x" if number % 2 else '"\\\n' * (size // 6) + "x"
        handoff = NewEntry(T.HANDOFF, "human", {"reason": "r", "ask": text}, "build")
        ledger.append(note(text) if number % 3 else handoff, same)
    every = ledger.entries()
    assert [entry.seq for entry in every] == list(range(1, len(SIZES) + 1))
    for kinds in ((), (T.NOTE,), (T.HANDOFF,), (T.NOTE, T.HANDOFF), (T.REPLY,)):
        for since in range(len(SIZES) + 2):
            wanted = [entry for entry in every if entry.seq > since and (not kinds or entry.type in kinds)]
            assert ledger.entries(since, None, kinds) == wanted
            for limit in range(len(SIZES) + 2):
                assert ledger.entries(since, limit, kinds) == wanted[max(0, len(wanted) - limit) :]
    assert [ledger.entry(entry.id) for entry in every] == every


@pytest.mark.parametrize(
    "name",
    ["", "e-", "e-0", "e-0000", "e-9999", "e-1", "e-00001", "e-" + "9" * 6000, "e-\u0661", "x"],
    ids=repr,
)
def test_an_entry_that_is_not_there_is_not_found(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="no entry"):
        a_ledger(tmp_path, "one").entry(name)


# -- disks and crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", [0, 4096, 8192, 12288])
@pytest.mark.parametrize("is_first", [True, False])
def test_on_a_full_disk_an_entry_is_whole_or_not_there(is_first: bool, leave: int, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1024) as disk:
        ledger = a_ledger(disk, *([] if is_first else ["one", "two"]))
        if is_first:
            os.makedirs(disk / ".runs" / "work", mode=0o700)
        before = ledger.look(all_of_it=True).state.seq
        ballast = fill(disk, leave=leave)
        code = refused(ledger)
        large = None
        with contextlib.suppress(RunnerError):
            large = ledger.append(note("x" * 30_000), same)
        assert code in (None, "disk_full")
        assert large is None, "it has no room"
        found = ledger.look(all_of_it=True)
        assert found.is_whole
        assert (found.state.seq, found.torn) == (before + (code is None), 0)
        ballast.unlink()
        assert ledger.append(note("after"), same).seq == found.state.seq + 1
        assert ledger.state() == from_its_entries(ledger)


@pytest.mark.parametrize("leave", [0, 4096, 8192])
def test_on_a_full_disk_a_ledger_is_set_aside_whole_or_stays_as_it_was(leave: int, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1024) as disk:
        ledger = a_ledger(disk, "one", "two")
        path = Path(ledger.path)
        path.write_bytes(path.read_bytes().replace(b"one", b"on3"))
        before = path.read_bytes()
        ballast = fill(disk, leave=leave)
        code = None
        try:
            ledger.set_aside("human")
        except RunnerError as error:
            code = error.code
        if code is None:
            assert [entry.type for entry in ledger.entries()] == [T.RESTARTED]
        else:
            assert code == "disk_full" and path.read_bytes() == before
            ballast.unlink()
            ledger.set_aside("human")
        assert sorted(one.suffix for one in path.parent.glob("ledger.jsonl*"))[0].startswith(".broken-")


def test_who_is_killed_over_setting_aside_leaves_what_tells_of_the_loss(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two", "three")
    path = Path(ledger.path)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    ledger.set_aside("human")
    (former,) = path.parent.glob(".ledger.head.broken-*")
    former.rename(path.with_name(".ledger.head"))  # the last step
    again = Ledger(ledger.repo, "work")
    assert again.look().broken_at == 2
    again.set_aside("human")
    assert [entry.type for entry in again.entries()] == [T.RESTARTED]


@pytest.mark.parametrize("name", ["a link", "a hard link", "a fifo", "a folder"])
def test_what_is_no_head_makes_room_for_one(name: str, tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one", "two")
    head = Path(ledger.path).with_name(".ledger.head")
    STRANGE[name](head, _victim(ledger))
    assert ledger.append(note("three"), same).seq == 3
    assert stat.S_ISREG(head.lstat().st_mode) and head.stat().st_nlink == 1
    assert ledger.look().is_complete


KILLED = """
import os, signal, sys
from runner.ledger.entry import EntryType, NewEntry
from runner.ledger.file import Ledger
ledger, left = Ledger(sys.argv[1], "work"), int(sys.argv[2])
ledger.state()
def count(frame, event, argument):
    global left
    if event in ("c_call", "c_return") and getattr(argument, "__module__", "") in ("posix", "fcntl"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(count)
ledger.append(NewEntry(EntryType.NOTE, "human", {"text": "killed"}), lambda text: text)
sys.setprofile(None)
"""


@pytest.mark.parametrize("is_first", [True, False])
def test_a_writer_that_is_killed_at_any_step_leaves_a_whole_ledger(is_first: bool, tmp_path: Path) -> None:
    said = [] if is_first else ["one", "two"]
    a_ledger(tmp_path / "first", "makes the key")
    for step in range(1, 200):
        ledger = a_ledger(tmp_path / str(step), *said)
        done = subprocess.run([sys.executable, "-c", KILLED, ledger.repo, str(step)], check=False)
        found = ledger.look(all_of_it=True)
        assert (found.is_whole, found.torn) == (True, 0)
        assert texts(ledger) in (said, [*said, "killed"])
        assert ledger.append(note("after"), same).seq == found.state.seq + 1
        assert ledger.state() == from_its_entries(ledger)
        assert ledger.look(all_of_it=True).is_whole
        if done.returncode == 0:
            assert step > 20, "it was killed nowhere"
            return
    raise AssertionError("it never came to an end")


def test_a_clock_that_goes_back_breaks_nothing(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "one")
    state, made = ledger.state(), list[LedgerEntry]()
    sign = macs(f"ledger {os.path.realpath(os.path.dirname(ledger.path))}")
    with open(ledger.path, "ab") as file:
        for year in (2040, 1999):
            at = f"{year}-01-01T00:00:00.000Z"
            line, entry = written(
                note(str(year)), state.seq + 1, state.hash, at=at, task_id="work", sign=sign
            )
            file.write(line)
            state = advance(state, entry)
            made.append(entry)
    assert ledger.entries()[1:] == made
    assert ledger.append(note("now"), same).seq == 4
    assert ledger.look(all_of_it=True).is_whole


# -- at the same time ---------------------------------------------------------------------------------------

WRITER = """
import sys
from runner.ledger.entry import EntryType, NewEntry
from runner.ledger.file import Ledger
for number in range(int(sys.argv[2])):
    Ledger(sys.argv[1], "work").append(
        NewEntry(EntryType.NOTE, "human", {"text": f"{sys.argv[3]} {number} " + "x" * (number * 997 % 9000)}),
        lambda text: text,
    )
"""
TEARER = """
import fcntl, os, sys
for number in range(int(sys.argv[2])):
    lock = os.open(f"{sys.argv[1]}/.runs/work/.ledger.lock", os.O_WRONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    fd = os.open(f"{sys.argv[1]}/.runs/work/ledger.jsonl", os.O_RDWR | os.O_APPEND)
    if os.pread(fd, 1, os.fstat(fd).st_size - 1) == b"\\n":
        os.write(fd, b"torn" * (number * 37 % 3000 + 1))
    os.close(fd)
    os.close(lock)
"""


@contextlib.contextmanager
def writing(*programs: tuple[str, ...]) -> Iterator[Callable[[], bool]]:
    """While these write; whether one of them still does."""
    begun = [subprocess.Popen([sys.executable, "-c", *words]) for words in programs]
    yield lambda: any(one.poll() is None for one in begun)
    assert [one.wait(timeout=60) for one in begun] == [0] * len(begun)


def test_a_reader_beside_writers_never_sees_a_broken_ledger(tmp_path: Path) -> None:
    ledger = a_ledger(tmp_path, "first")
    writers = [(WRITER, str(tmp_path), "40", str(number)) for number in range(3)]
    seen = 0
    with writing(*writers, (TEARER, str(tmp_path), "300")) as goes_on:
        while goes_on():
            for look in (ledger.look(), ledger.look(all_of_it=True)):
                assert look.problem is None
                assert look.state.seq >= seen
                seen = look.state.seq
                assert len(ledger.entries(look=look)) == seen
    every = texts(ledger)[1:]
    for number in range(3):
        own = [int(text.split()[1]) for text in every if text.startswith(f"{number} ")]
        assert own == list(range(40))
    assert ledger.look(all_of_it=True).is_whole


@settings(max_examples=15)
@given(kinds=st.lists(st.integers(0, 3), max_size=6))
def test_whatever_the_order_of_losses_the_ledger_goes_on(
    kinds: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    ledger = a_ledger(tmp_path_factory.mktemp("losses"), "one")
    for kind in kinds:
        if kind == 0:
            beside(ledger, HEAD).unlink(missing_ok=True)
        elif kind == 1:
            with open(ledger.path, "ab") as file:
                file.write(b'{"mac":"')
        elif kind == 2:
            beside(ledger, LOCK).unlink(missing_ok=True)
        assert ledger.append(note(), same).seq == len(ledger.entries())
        assert ledger.state() == from_its_entries(ledger)
    assert ledger.look(all_of_it=True).is_whole
