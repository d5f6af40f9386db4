"""events.jsonl: `seq` without gaps, whoever writes and whatever the disk does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.disks import fill, small_disk

from runner.state.events import EventLog, read_events


def seqs(path: Path) -> list[int]:
    return [event["seq"] for event in read_events(str(path))]


def assert_no_gaps(path: Path) -> None:
    assert seqs(path) == list(range(1, len(seqs(path)) + 1))


def test_seq_has_no_gaps_over_several_writers(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for writer in range(3):
        log = EventLog(str(path))
        for n in range(writer + 1):
            log.append("swept", n=n)
    assert seqs(path) == [1, 2, 3, 4, 5, 6]


def test_an_event_has_its_envelope_first_and_lies_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventLog(str(path)).append("paused", actor="user", note="ä")
    line = path.read_text(encoding="utf-8")
    assert list(json.loads(line)) == ["schema_version", "seq", "at", "type", "actor", "note"]
    assert "ä" in line
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_no_events(tmp_path: Path) -> None:
    assert list(read_events(str(tmp_path / "none"))) == []


@given(cut=st.integers(0, 400))
def test_a_torn_last_line_is_closed_by_the_next_writer(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("torn") / "events.jsonl"
    log = EventLog(str(path))
    for _ in range(3):
        log.append("swept", processes=["sh (1)"])
    os.truncate(path, min(cut, path.stat().st_size))
    whole = seqs(path)
    again = EventLog(str(path))
    again.append("adopted", former=None)
    again.append("paused")
    assert seqs(path) == [*whole, len(whole) + 1, len(whole) + 2]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"[1]\n",
        b"\xff\xfe\n",
        b'{"seq": "many"}\n',
        b"{}\n",
        b"[" * 100_000 + b"\n",
        b"null\n",
        b'{"seq',
    ],
    ids=lambda line: repr(line[:12]),
)
def test_foreign_lines_are_passed_over(garbage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventLog(str(path)).append("paused")
    with path.open("ab") as file:
        file.write(garbage)
    EventLog(str(path)).append("resumed")
    assert [event["seq"] for event in read_events(str(path)) if event.get("type")] == [1, 2]


def test_half_characters_are_written_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventLog(str(path)).append("swept", processes=["\udce9"])
    path.read_bytes().decode("utf-8")
    assert next(iter(read_events(str(path))))["processes"] == ["\udce9"]


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "events.jsonl").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        EventLog(str(tmp_path / "events.jsonl")).append("paused")
    assert victim.read_text() == "mine"


def test_on_a_full_disk_the_event_is_refused_and_its_seq_is_used_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        path = disk / "events.jsonl"
        log = EventLog(str(path))
        log.append("paused")
        ballast = fill(disk)
        written = 1
        with pytest.raises(OSError, match=r"space|cut short"):
            for _ in range(200):  # to the end of the page that the file has already
                log.append("swept", processes=["x" * 40])
                written += 1
        assert seqs(path) == list(range(1, written + 1))
        log.note("swept", processes=["as well"])
        ballast.unlink()
        log.append("resumed")
        EventLog(str(path)).append("paused")
        assert seqs(path) == list(range(1, written + 3))


@pytest.mark.parametrize("limit", range(100, 330, 7))
def test_a_write_that_was_cut_anywhere_leaves_no_gap(limit: int, tmp_path: Path) -> None:
    """RLIMIT_FSIZE cuts a write exactly at the limit; the limit is then lifted and another writer goes on."""
    code = """
import resource, signal, sys
from runner.state.events import EventLog
path, limit = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
log = EventLog(path)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
for n in range(4):
    try:
        log.append("swept")
    except OSError:
        pass
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
log.append("paused")
EventLog(path).append("resumed")
"""
    path = tmp_path / "events.jsonl"
    subprocess.run([sys.executable, "-c", code, path, str(limit)], check=True, timeout=30)
    assert_no_gaps(path)
    assert [event["type"] for event in read_events(str(path))][-2:] == ["paused", "resumed"]


def test_a_note_that_cannot_even_be_complained_about_is_no_error(tmp_path: Path) -> None:
    """A supervisor's stderr is a file on the disk that is full."""
    code = """
from runner.state.events import EventLog
log = EventLog("/no/such/folder/events.jsonl")
log.note("paused")
log.note("resumed")
print("goes on", flush=True)
"""
    with open("/dev/full", "wb") as full:
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=full, check=False, timeout=30)
    assert done.stdout == b"goes on\n"
