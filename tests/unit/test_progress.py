"""Following the program's output: any pieces, any length, any garbage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.telling import Telling

from runner import runtimes
from runner.runtimes.base import Kind
from runner.supervise.progress import Progress, Timeline, tail

LINES = [
    {"type": "thread.started", "thread_id": "t-1"},
    {"type": "turn.started"},
    {"type": "item.completed", "item": {"id": "item_0", "type": "agent_message", "text": "one ä"}},
    {"type": "item.completed", "item": {"id": "item_1", "type": "agent_message", "text": "two"}},
    {
        "type": "turn.completed",
        "usage": {
            "input_tokens": 5,
            "cached_input_tokens": 1,
            "output_tokens": 2,
            "reasoning_output_tokens": 0,
        },
    },
]
STREAM = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in LINES)


def a_progress(path: Path) -> Progress:
    return Progress(str(path), runtimes.get("codex"))


def told(progress: Progress) -> tuple[object, ...]:
    return (progress.thread_id, progress.last_message, progress.usage, progress.turn, progress.lines_unread)


@given(counts=st.lists(st.integers(0, 9), min_size=1))
def test_tokens_never_fall_whatever_a_later_turn_says(
    counts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("out") / "stdout.jsonl"
    turns = ({"type": "turn.completed", "usage": {"input_tokens": n, "output_tokens": 1}} for n in counts)
    path.write_text("".join(f"{json.dumps(turn)}\n" for turn in turns))
    progress = a_progress(path)
    progress.read()
    assert progress.usage is not None and progress.usage.input_tokens == max(counts)


@given(cuts=st.lists(st.integers(1, len(STREAM)), max_size=12))
def test_it_does_not_matter_in_which_pieces_the_output_comes(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("out") / "stdout.jsonl"
    progress = a_progress(path)
    with path.open("wb", buffering=0) as file:
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(STREAM)], strict=True):
            file.write(STREAM[begin:end])
            progress.read()
    progress.finish()
    assert progress.any_event and progress.usage is not None
    assert told(progress) == ("t-1", "two", progress.usage, Kind.TURN_COMPLETED, 0)
    assert (progress.usage.input_tokens, progress.usage.output_tokens) == (5, 2)


@pytest.mark.parametrize(
    ("kind", "is_answered"),
    [
        ("agent_message", True),
        ("todo_list", True),
        ("of_a_later_version", True),
        ("error", False),
        ("", False),
    ],
)
def test_a_turn_is_without_an_answer_only_where_nothing_may_be_one(
    kind: str, is_answered: bool, tmp_path: Path
) -> None:
    path = tmp_path / "stdout.jsonl"
    items = [{"type": "item.completed", "item": {"id": "i", "type": kind}}] if kind else []
    lines = ({"type": "turn.started"}, *items, {"type": "turn.completed", "usage": {"input_tokens": 0}})
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    progress = a_progress(path)
    progress.read()
    assert progress.is_answered is is_answered


def test_a_last_line_without_its_newline_counts_at_the_end_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "stdout.jsonl"
    path.write_bytes(STREAM.rstrip(b"\n"))
    progress = a_progress(path)
    progress.read()
    assert (progress.last_message, progress.turn) == ("two", None)
    progress.finish()
    assert progress.turn is Kind.TURN_COMPLETED


def test_garbage_is_counted_and_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "stdout.jsonl"
    lines = STREAM.splitlines(keepends=True)
    garbage = [
        b"warning: x\n",
        b"\xff\xfe\n",
        b"[1]\n",
        b"\n",
        b"[" * 100_000 + b"\n",
        b"{}\n",
        b'{"type": 5}\n',
    ]
    path.write_bytes(
        b"".join(line + junk for line, junk in zip(lines, garbage, strict=False)) + b"".join(garbage[5:])
    )
    progress = a_progress(path)
    progress.finish()
    assert told(progress)[:2] == ("t-1", "two")
    assert progress.turn is Kind.TURN_COMPLETED
    assert progress.lines_unread == 4


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "cut short"])
def test_a_line_that_is_too_long_is_counted_and_passed_over(closed: bool, tmp_path: Path) -> None:
    path = tmp_path / "stdout.jsonl"
    with path.open("wb") as file:
        file.write(STREAM)
        for _ in range(20):
            file.write(b"x" * 1024 * 1024)
        if closed:
            file.write(b"\n" + STREAM)
    progress = a_progress(path)
    progress.read()
    progress.finish()
    assert progress.lines_unread == 1
    assert progress.turn is Kind.TURN_COMPLETED


def test_a_line_of_20_megabytes_costs_little_memory(tmp_path: Path) -> None:
    """The peak of a process of its own, which is what a supervisor is."""
    path = tmp_path / "stdout.jsonl"
    with path.open("wb") as file:
        for _ in range(20):
            file.write(b"x" * 1024 * 1024)
        file.write(b"\n" + STREAM)
    code = """
import resource, sys
from runner import runtimes
from runner.supervise.progress import Progress
progress = Progress(sys.argv[1], runtimes.get("codex"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
progress.finish()
assert progress.lines_unread == 1 and progress.last_message == "two"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) < 16 * 1024  # kilobytes; the line alone has 20


def test_growth_is_told_once_and_no_file_is_no_growth(tmp_path: Path) -> None:
    path = tmp_path / "stdout.jsonl"
    progress = a_progress(path)
    assert not progress.grown()
    progress.read()
    progress.finish()
    path.write_bytes(b"x")
    assert (progress.grown(), progress.grown(), progress.size) == (True, False, 1)


def test_a_new_turn_forgets_how_the_last_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "stdout.jsonl"
    failed = {"type": "turn.failed", "error": {"message": "no quota"}}
    path.write_text(f"{json.dumps(failed)}\n")
    progress = a_progress(path)
    progress.read()
    assert progress.turn is Kind.TURN_FAILED
    assert progress.failure is not None and "no quota" in progress.failure
    with path.open("a") as file:
        file.write('{"type":"turn.started"}\n')
    progress.read()
    assert (progress.turn, progress.failure) == (None, None)


def test_the_timeline_notes_time_and_size_privately(tmp_path: Path) -> None:
    path = tmp_path / "timeline.tsv"
    timeline = Timeline(str(path))
    timeline.note(10)
    timeline.note(25)
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert [size for _, size in rows] == ["10", "25"]
    assert all(int(at) > 1_700_000_000_000 for at, _ in rows)
    assert path.stat().st_mode & 0o777 == 0o600
    Timeline(str(tmp_path / "no" / "folder")).note(1)


def test_the_tail_of_a_file_is_its_end(tmp_path: Path) -> None:
    path = tmp_path / "stderr.log"
    assert tail(str(path)) == ""
    path.write_bytes(b"a" * 5000 + "é".encode() + b"\xff")
    assert tail(str(path), 4) == "aé�"
    assert len(tail(str(path))) == 4095


def test_of_what_the_stream_says_was_refused_the_first_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "stdout.jsonl"
    path.write_text("".join(json.dumps({"kind": "refused", "text": f"no {n}"}) + "\n" for n in range(99)))
    progress = Progress(str(path), Telling())
    progress.read()
    assert progress.refused == [f"no {n}" for n in range(50)]


def test_a_status_lasts_until_the_model_answers(tmp_path: Path) -> None:
    path = tmp_path / "stdout.jsonl"
    retry = {"kind": "warning", "reconnects": True}
    path.write_text("".join(json.dumps({**retry, "status": status}) + "\n" for status in (529, 503)))
    progress = Progress(str(path), Telling())
    progress.read()
    assert progress.status == 503
    with path.open("a") as file:
        file.write('{"kind": "message", "text": "here I am"}\n')
    progress.read()
    assert progress.status is None


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/bin/bash -lc 'pytest -q'", "pytest -q"),
        ('bash -lc "pytest -q"', "pytest -q"),
        ("/bin/bash -lc ls", "ls"),
        (r"/bin/bash -lc 'a'\''b'", r"'a'\''b'"),
        ("/bin/bash -lc 'a' 'b'", "'a' 'b'"),
        ("bash run.sh", "bash run.sh"),
        ("/bin/bash -lc '", "'"),
    ],
)
def test_what_it_did_last_is_a_command_as_somebody_would_type_it(
    command: str, shown: str, tmp_path: Path
) -> None:
    path = tmp_path / "stdout.jsonl"
    item = {"id": "item_0", "type": "command_execution", "command": command, "status": "in_progress"}
    path.write_text(json.dumps({"type": "item.started", "item": item}) + "\n")
    progress = a_progress(path)
    progress.read()
    assert progress.last_activity == f"command started: {shown}"
