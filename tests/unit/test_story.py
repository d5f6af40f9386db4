"""`logs` for people: what a run did, told and wrapped."""

from __future__ import annotations

import io
import itertools
import json
import re
import resource
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ended import adopt, an_ended_run
from support.hostile import HOSTILE, harm
from support.imports import ROOT

from runner.cli import pen
from runner.cli.pen import columns
from runner.cli.story import Transcript
from runner.model import Phase, Terms
from runner.state.lineage import lineage_of
from runner.state.manifest import RuntimeFound, timestamp
from runner.state.messages import Queue
from runner.state.store import RunDir
from runner.text.cells import cells
from runner.usecases import logs
from runner.usecases.story import Story, StoryLine, relative, summary, typed

DATA = Path(__file__).parent.parent / "data" / "logs"
T0 = 1_795_840_180.0  # 2026-11-28 04:29:40 UTC
CLAIM = {
    "status": "completed",
    "files_modified": ["src/a.py"],
    "issues": ["Assumption: 日本語 stays"],
    "summary": "The filter keeps the hints.",
    "verification_summary": "pytest: 200 passed",
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    monkeypatch.delenv("COLUMNS", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(seconds: float) -> str:
    return timestamp(T0 + seconds)


def write(
    run: RunDir, agent: list[tuple[float, dict[str, Any]]], ours: list[tuple[float, dict[str, Any]]]
) -> None:
    """The stream of the agent with its timeline, and our events."""
    lines, marks, size = [], [], 0
    for after, record in agent:
        line = json.dumps(record, ensure_ascii=False)
        size += len(line.encode()) + 1
        lines.append(f"{line}\n")
        marks.append(f"{round((T0 + after) * 1000)}\t{size}\n")
    Path(run.stdout).write_text("".join(lines), encoding="utf-8")
    Path(run.timeline).write_text("".join(marks))
    events = [{"at": at(after), "actor": "supervisor", **event} for after, event in ours]
    Path(run.events).write_text("".join(f"{json.dumps(event)}\n" for event in events))


def item(kind: str, n: int, *, started: bool = False, **fields: Any) -> dict[str, Any]:
    return {
        "type": f"item.{'started' if started else 'completed'}",
        "item": {"id": f"item_{n}", "type": kind, **fields},
    }


def command(n: int, line: str, code: int | None = 0, output: str = "") -> dict[str, Any]:
    return item(
        "command_execution", n, started=code is None, command=line, exit_code=code, aggregated_output=output
    )


def says(text: str) -> dict[str, Any]:
    return item("agent_message", 9, text=text)


def check(code: int, took: float, tail: str = "", *argv: str) -> dict[str, Any]:
    return {
        "type": "checked",
        "argv": argv or ["pytest", "-q"],
        "exit_code": code,
        "timed_out": False,
        "duration_s": took,
        "tail": tail,
    }


def a_run(root: Path, **changes: Any) -> RunDir:
    declared = {"terms": Terms(output_contract="final"), "secret_names": (), **changes}
    return an_ended_run(root, task="fix", verify=(("pytest", "-q"), ("ruff", "check", "src")), **declared)


def a_child(root: Path, parent: RunDir, n: int, task: str = "work", **changes: Any) -> RunDir:
    child = an_ended_run(root, task=task, run_id=f"20261127T010000000Z-{n:08d}", secret_names=())
    child.write_manifest(child.read_manifest().replace(parent=lineage_of(parent), **changes))
    return adopt(parent, child)


def a_whole_run(root: Path) -> RunDir:
    """One of everything that a day brings: a failure, a retry, a night between, wide text."""
    run = a_run(root)
    usage = {"input_tokens": 32000, "cached_input_tokens": 20000, "output_tokens": 1000}
    agent = [
        (2, {"type": "thread.started", "thread_id": "t"}),
        (
            3,
            says(
                "I look at the filter, which 日本語のテキスト goes through, and at its tests "
                "👩\u200d👩\u200d👧 before I change it."
            ),
        ),
        (4, command(1, f"/bin/bash -lc 'sed -n 1,40p {root}/src/a.py; ls {root}'", None)),
        (4.25, command(1, f"/bin/bash -lc 'sed -n 1,40p {root}/src/a.py; ls {root}'", 0, "import re\nsrc\n")),
        (6, command(2, "bash -lc \"printf 'a\\nb'\nexit 3\"", 3, "".join(f"line {n}\n" for n in range(9)))),
        (
            7,
            item(
                "file_change",
                3,
                changes=[
                    {"kind": "update", "path": f"{root}/src/a.py"},
                    {"kind": "add", "path": f"{root}/src/b.py"},
                ],
            ),
        ),
        (8, command(4, "/bin/sh -c 'sleep 1000'", None)),
        (9, {"type": "error", "message": "Reconnecting... 1/5"}),
        (4470, says(json.dumps(CLAIM, ensure_ascii=False))),
        (4471, {"type": "turn.completed", "usage": usage}),
    ]
    ours = [
        (0, {"type": "created", "actor": "user", "task_id": "fix", "run_id": run.run_id}),
        (1, {"type": "started", "attempt": 1, "process": {"pid": 1}}),
        (10, {"type": "exited", "exit_code": 1, "signal": None}),
        (12, check(1, 3.2, "F\n1 failed, 199 passed\n")),
        (
            13,
            {
                "type": "retried",
                "attempt": 2,
                "how": "resume",
                "code": "verify_failed",
                "counts": True,
                "waited_s": 0.0,
            },
        ),
        (13, {"type": "started", "attempt": 2, "how": "resume", "process": {"pid": 2}}),
        (4472, {"type": "exited", "exit_code": 0, "signal": None}),
        (4475, check(0, 3.2)),
        (4476, check(0, 0.4, "", "ruff", "check", "src")),
        (4477, {"type": "rolled_back", "restored": 2, "removed": 1, "kept": ["src/c.py"]}),
        (
            4478,
            {
                "type": "ended",
                "outcome": "succeeded",
                "reason": {"code": "completed", "message": "2 checks passed"},
            },
        ),
        (4479, {"type": "sealed", "redactions": 0}),
    ]
    write(run, agent, ours)
    return run


def told(run: RunDir, width: int | None = None, **how: Any) -> str:
    story = Story(run, run.read_manifest(), **how)
    transcript = Transcript(lambda: width)
    return "".join(
        pen.cleaned(transcript.text(line)) + "\n"
        for line in logs.read(story, "events", final=True, tail=None)
    )


@pytest.mark.parametrize("width", [60, 80, 120, None], ids=str)
def test_a_run_is_told_at_every_width(width: int | None, tmp_path: Path) -> None:
    """The text as it stands in tests/data/logs."""
    expected = (DATA / f"{width or 'pipe'}.txt").read_text(encoding="utf-8")
    assert told(a_whole_run(tmp_path), width).replace(str(tmp_path), "/repo") == expected


def a_conversation(root: Path) -> RunDir:
    """Four turns: one that was steered, one that failed; and a message that nobody heard."""
    run = a_run(root, terms=Terms(), open_timeout_s=1800.0)
    queue = Queue(run)
    secret = f"sk-proj-{'a' * 40}"
    queue.add(f"Mend it, and leave\nthe sessions (\x1b[31mred\x1b[0m, {secret}).", actor="user")
    queue.add("Stop: leave the public API as it is.", actor="user", now=True)
    queue.add("And the docs.", actor="20261127T010000000Z-00000001")
    queue.add("Thank you.", actor="user")
    agent: list[tuple[float, dict[str, Any]]] = [
        (2, says("`auth.py` takes expired tokens. Shall I mend it?")),
        (62, command(9, "/bin/sh -c 'sleep 1000'", None)),
        (70, says("The public API is as it was.")),
    ]
    begins = [*itertools.accumulate(len(json.dumps(record)) + 1 for _, record in agent)]
    ours: list[tuple[float, dict[str, Any]]] = [
        (0, {"type": "created", "actor": "user", "task_id": "fix", "run_id": run.run_id}),
        (1, {"type": "started", "attempt": 1, "process": {"pid": 1}}),
        (3, {"type": "exited", "exit_code": 0, "signal": None}),
        (3, {"type": "turn_ended", "turn": 1, "attempt": 1, "status": "completed"}),
        (3, {"type": "kept_open", "uptime": 9.5}),
        (61, {"type": "continued", "turn": 2, "attempt": 2, "messages": ["m-0001"], "actor": "user"}),
        (61, {"type": "started", "attempt": 2, "stdout_from": begins[0], "process": {"pid": 2}}),
        (65, {"type": "interrupted", "attempt": 2, "message": "m-0002", "actor": "user"}),
        (66, {"type": "exited", "exit_code": 1, "signal": None}),
        (
            *(66,),
            {"type": "turn_ended", "turn": 2, "status": "interrupted", "message": "it was"},
        ),
        (67, {"type": "continued", "turn": 3, "messages": ["m-0001", "m-0002"], "actor": "user"}),
        (67, {"type": "started", "attempt": 3, "stdout_from": begins[1], "process": {"pid": 3}}),
        (71, {"type": "exited", "exit_code": 0, "signal": None}),
        (71, {"type": "turn_ended", "turn": 3, "status": "completed"}),
        (
            *(72,),
            {"type": "continued", "turn": 4, "messages": ["m-0003"], "actor": "20261127T010000000Z-00000001"},
        ),
        (74, {"type": "turn_ended", "turn": 4, "status": "failed", "message": "no login"}),
        (74, {"type": "kept_open", "uptime": 80.5}),
        (1874, {"type": "closed", "message": "no message came within 1800 s"}),
        (1875, {"type": "undelivered", "messages": ["m-0004"]}),
    ]
    write(run, agent, ours)
    return run


@pytest.mark.parametrize("width", [60, 80, 120, None], ids=str)
def test_a_conversation_is_told_turn_by_turn_with_what_was_sent(width: int | None, tmp_path: Path) -> None:
    expected = (DATA / f"turns-{width or 'pipe'}.txt").read_text(encoding="utf-8")
    assert told(a_conversation(tmp_path), width) == expected


def test_tries_are_counted_from_the_last_message_on_and_a_closing_turn_is_none(tmp_path: Path) -> None:
    run = a_conversation(tmp_path)
    again = {"code": "verify_failed", "counts": True, "waited_s": 0.0}
    failed = {"seconds": 9.0, "code": "cli_failure", "attempt": 4}
    more: list[tuple[float, dict[str, Any]]] = [
        (1880, {"type": "retried", "attempt": 3, "how": "closing", **again, "code": "completed"}),
        (1881, {"type": "backing_off", **failed}),
        (1882, {"type": "retried", "attempt": 4, "how": "resume", **again}),
        (1883, {"type": "turn_ended", "turn": 5, "status": "completed"}),
        (1884, {"type": "retried", "attempt": 5, "how": "fresh", **again}),
    ]
    write(run, [], [(n, {"type": "turn_ended", "turn": n, "status": "completed"}) for n in (3, 4)] + more)
    told_lines = [line[10:] for line in told(run).splitlines()]
    assert told_lines[-5:] == [
        "run      its agent is asked for the result",
        "run      waits 9.0 s before attempt 2: its program had failed",
        "turn 5   second attempt: the checks failed",
        "turn 5   completed",
        "turn 6   third attempt: the checks failed",
    ]


def test_what_a_turn_has_done_is_told_behind_its_beginning_where_its_time_is_not_known(
    tmp_path: Path,
) -> None:
    run = a_conversation(tmp_path)
    Path(run.timeline).unlink()
    lines = told(run).splitlines()
    begins = [n for n, line in enumerate(lines) if "  turn 3" in line]
    (says_it,) = (n for n, line in enumerate(lines) if "The public API is as" in line)
    assert begins[0] < says_it < begins[1]


@pytest.mark.parametrize("width", [20, 33, 49, 50, 79, 400])
def test_no_row_is_wider_than_the_terminal_and_none_but_an_entry_begins_at_the_margin(
    width: int, tmp_path: Path
) -> None:
    for row in told(a_whole_run(tmp_path), width).splitlines():
        assert cells(row) <= width
        assert re.match(r"\d\d:\d\d:\d\d  \w|20\d\d-\d\d-\d\d UTC|  ", row), row


def test_a_day_is_named_when_it_changes_and_when_the_clock_is_set(tmp_path: Path) -> None:
    days = [row for row in told(a_whole_run(tmp_path)).splitlines() if row.startswith("20")]
    assert days == ["2026-11-27 UTC-05:00", "2026-11-28 UTC-05:00"]
    transcript = Transcript(lambda: None)
    texts = [
        transcript.text(StoryLine(moment, "says", "hi"))
        for moment in ("2026-11-01T05:59:59.000Z", None, "2026-11-01T06:00:00.000Z", "99999-01-01T00:00:00Z")
    ]
    assert texts == [
        "2026-11-01 UTC-04:00\n01:59:59  says     hi",
        "          says     hi",
        "2026-11-01 UTC-05:00\n01:00:00  says     hi",
        "          says     hi",
    ]


@pytest.mark.parametrize(
    ("zone", "mark"), [("UTC", "UTC"), ("", "UTC"), ("NST3:30", "UTC-03:30"), ("IST-5:30", "UTC+05:30")]
)
def test_the_time_is_that_of_the_reader(zone: str, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    said = Transcript(lambda: None).text(StoryLine("2026-06-01T12:00:00.000Z", "says", "hi"))
    assert said.splitlines()[0] == f"2026-06-01 {mark}"


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        ("/bin/bash -lc 'pytest -q'", "pytest -q"),
        ("bash -c pytest", "pytest"),
        ("/usr/bin/zsh -lc \"echo 'a b'\"", "echo 'a b'"),
        ('["bash", "-lc", "cat /repo/a"]', "cat a"),
        ("/bin/sh -c 'a\n  b\n'", "a\n  b"),
        ("sh -c 'cd /repo && ls /repo/src'", "cd . && ls src"),
        ("bash -lc 'echo \"$1\"' x /repo/a", "bash -lc 'echo \"$1\"' x a"),
        ("bash script.sh", "bash script.sh"),
        ("bash -x -c 'a'", "bash -x -c 'a'"),
        ("bash -lc 'unclosed", "bash -lc 'unclosed"),
        ('["bash", "-lc", {}]', '["bash", "-lc", {}]'),
        ("git -C '/repo' status", "git -C '.' status"),
        ("cat /repo-old/a /x/repo/a ~/repo/a --file=/repo/a", "cat /repo-old/a /x/repo/a ~/repo/a --file=a"),
        ("cp /tree/of/it/a /repo/b", "cp a b"),
        ("cat '/repo/a b' /repo", "cat 'a b' ."),
        ("", ""),
    ],
)
def test_a_command_is_shown_as_it_could_be_typed(recorded: str, shown: str) -> None:
    assert typed(recorded, ("/tree/of/it", "/repo")) == shown


def test_a_folder_with_a_name_like_an_expression_is_one() -> None:
    assert relative("cat /a+b(c)/x /ab/y", ("/a+b(c)",)) == "cat x /ab/y"
    assert relative("cat '/my #1 repo/a'", ("/my #1 repo",)) == "cat 'a'"
    assert relative("ls / /etc", ("/",)) == "ls / /etc"


def test_a_result_is_told_by_its_summary_and_other_json_is_left(tmp_path: Path) -> None:
    assert summary(json.dumps(CLAIM)).splitlines()[0] == "completed: The filter keeps the hints."
    assert summary(f"```json\n{json.dumps(CLAIM)}\n```").startswith("completed: ")
    for text in ('{"a": 1}', "{", "plain", json.dumps({**CLAIM, "more": 1}), ""):
        assert summary(text) == text
    run = a_run(tmp_path, terms=Terms())
    write(run, [(1, says(json.dumps(CLAIM)))], [])
    assert '{"status": "completed"' in told(run), "nobody asked for a result"


def test_every_event_of_a_run_is_told_in_words(tmp_path: Path) -> None:
    rows = (
        (ROOT / "docs" / "runs.md")
        .read_text(encoding="utf-8")
        .partition("\n## Events")[2]
        .partition("\n## ")[0]
    )
    named = re.findall(
        r"`(\w+)`", "".join(row.split("|")[1] for row in rows.splitlines() if row.startswith("| `"))
    )
    assert {"created", "checked", "rewritten"} <= {*named}
    fields = {
        "message": "m",
        "argv": ["x"],
        "exit_code": 1,
        "timed_out": False,
        "duration_s": 1.0,
        "redactions": 2,
    }
    run = a_run(tmp_path)
    write(
        run,
        [],
        [(n, {"type": kind, **fields, "attempt": 1}) for n, kind in enumerate(named) if kind != "refused"],
    )
    texts = [row[19:] for row in told(run, alone=True).splitlines()[1:]]
    assert not [text for text in texts if re.match(r"\w+: (actor|message|argv)|.*=", text)], texts
    assert (
        len([row for row in told(run, alone=True).splitlines() if re.match(r"\d\d:", row)]) == len(named) - 3
    ), "but for `refused`, which is the agent's, and what is seen of git around checks, which `report` has"


def test_what_an_agent_said_in_a_run_too_short_for_a_timeline_stands_behind_its_start(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    ours = [(0.0, {"type": "created"}), (0.1, {"type": "started", "attempt": 1}), (0.2, {"type": "ended"})]
    write(run, [(0.1, says("hi")), (0.1, says("ho"))], ours)
    Path(run.timeline).unlink()
    labels = [row[10:19].strip() for row in told(run).splitlines()[1:]]
    assert labels == ["run", "run", "says", "says", "ended"]
    lines = logs.Reader(run, run.read_manifest(), withhold=False).lines("events", final=True)
    assert [line.kind for line in lines] == ["run", "run", "message", "message", "run"]


@pytest.mark.parametrize("number, words", [(1, "1 file"), (2, "2 files"), (0, "0 files")])
def test_one_thing_is_told_as_one(number: int, words: str, tmp_path: Path) -> None:
    run = a_run(tmp_path)
    kinds = {"rolled_back": "restored", "accepted": "files", "sealed": "redactions", "escalated": "attempts"}
    write(run, [], [(0.0, {"type": kind, key: number}) for kind, key in kinds.items()])
    text = told(run)
    for noun in ("file restored", "file changed", "place", "attempt")[: 4 if number else 2]:
        first, _, rest = noun.partition(" ")
        assert f"{words.replace('file', first)} {rest}".strip() in text
    output = "a\n" * (5 + number)
    before = [line for line in logs.last_lines(output).splitlines() if line != "a"]
    assert before == [f"[{words.replace('file', 'line')} before]"] * (number > 0)


@pytest.mark.parametrize("reason, behind", [(None, ""), ("", ""), ("enough", ": enough")])
def test_a_cancel_without_a_reason_has_no_question_mark(
    reason: str | None, behind: str, tmp_path: Path
) -> None:
    run = a_run(tmp_path)
    write(run, [], [(0, {"type": "cancel_requested", "actor": "user", "reason": reason})])
    assert told(run).splitlines()[1][19:] == f"to be cancelled, says user{behind}"


def test_an_event_of_a_newer_runner_is_told_by_its_fields(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    write(run, [], [(0, {"type": "moon_phase", "seq": 1, "name": "full", "days": [1, {"a": None}]})])
    assert (
        told(run).splitlines()[1][10:]
        == 'run      moon phase: actor supervisor, name full, days [1, {"a": null}]'
    )


def test_what_runs_still_is_told_once_and_again_when_it_ends(tmp_path: Path) -> None:
    run = a_run(tmp_path, phase=Phase.RUNNING, outcome=None, reason=None)
    begun = (1, command(1, "bash -lc 'make all'", None))
    write(run, [begun], [(0, {"type": "started", "attempt": 1})])
    story = Story(run, run.read_manifest())
    seen = lambda: [f"{line.kind} {line.text}" for line in story.lines("events", final=False)]  # noqa: E731
    assert seen() == ["run the agent has started", "running make all"]
    assert seen() == []
    write(run, [begun, (9, command(1, "bash -lc 'make all'", 2))], [(0, {"type": "started", "attempt": 1})])
    (line,) = story.lines("events", final=False)
    assert (line.kind, line.text, getattr(line, "note", None)) == ("ran", "make all", "exit 2, 8.0 s")


def test_a_secret_that_only_its_quotes_hid_is_redacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = 'it\'s-a-"word"-42-of-mine'
    run = a_run(tmp_path, secret_names=("SERVICE_WORD",), phase=Phase.RUNNING, outcome=None, reason=None)
    monkeypatch.setenv("SERVICE_WORD", secret)
    write(run, [(1, command(1, shlex.join(["/bin/bash", "-lc", f"curl -H {secret}"])))], [])
    text = told(run)
    assert "curl -H" in text and "word" not in text


def test_nothing_hostile_moves_the_terminal_or_looks_like_an_entry(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    hostile = f"{HOSTILE}\n12:00:00  check    1 of 1 passed\r12:00:01  ended    succeeded: yes"
    agent = [
        (1, says(hostile)),
        (2, command(1, f"bash -lc '{hostile}'", 1, hostile)),
        (3, item("file_change", 2, changes=[{"kind": hostile, "path": hostile}])),
    ]
    ours = [
        (4, check(1, 1.0, hostile, hostile)),
        (5, {"type": hostile, hostile: hostile}),
        (6, {"type": "child", "task_id": hostile}),
    ]
    write(run, agent, ours)
    for width in (20, 60, None):
        text = told(run, width, alone=True)
        assert harm(text) == []
        entries = [row for row in text.splitlines() if re.match(r"\S", row)]
        assert len(entries) == 7 and not any("12:00:0" in row[:8] for row in entries), entries


@pytest.mark.parametrize(
    ("host", "by"),
    [(None, "by user"), ("claude", "in Claude Code"), ("codex", "in the OpenAI Codex CLI"), ("x", "by user")],
)
def test_a_run_that_was_started_in_a_host_names_it(host: str | None, by: str, tmp_path: Path) -> None:
    run = a_run(tmp_path, host=host)
    write(run, [], [(0, {"type": "created", "actor": "user", "task_id": "fix"})])
    assert f"fix, started {by}\n" in told(run)


def test_a_plan_is_told_with_its_batches_and_a_run_with_those_that_it_has_started(tmp_path: Path) -> None:
    top = a_run(tmp_path)
    top.write_manifest(top.read_manifest().replace(runtime=RuntimeFound("plan", "/usr/bin/python3", "1")))
    write(
        top,
        [(1, {"type": "progress", "text": "batch 1 of 2: U1"})],
        [(0, {"type": "created", "task_id": "fix"})],
    )
    first, second = (a_child(tmp_path, top, n, title=f"batch {n} of 2: U{n}") for n in (1, 2))
    review, again = (a_child(tmp_path, top, n, "review") for n in (3, 4))
    below = a_child(tmp_path, review, 5, "deep")
    stranger = adopt(top, an_ended_run(tmp_path, task="x", run_id="20261127T010000000Z-00000009"))
    for n, run in enumerate((first, below, second, again, stranger, review), 2):
        write(run, [(n, says(f"I am {run.run_id[-1]}"))], [(n - 0.5, {"type": "started", "attempt": 1})])
    assert [row[19:] for row in told(top).splitlines() if "says" in row] == [
        "[batch 1] I am 1",
        "[review/deep] I am 5",
        "[batch 2] I am 2",
        "[review-0004] I am 4",
        "[review] I am 3",
    ]
    assert "batch 1 of 2: U1" in told(top, alone=True) and "I am" not in told(top, alone=True)


def test_runs_that_call_each_other_children_are_told_once(tmp_path: Path) -> None:
    top = a_run(tmp_path)
    write(top, [(1, says("I am above"))], [])
    child = a_child(tmp_path, top, 1)
    write(child, [(2, says("I am below"))], [])
    top.write_manifest(top.read_manifest().replace(parent=lineage_of(child)))
    adopt(child, top)
    adopt(child, child)
    assert [row[19:] for row in told(top).splitlines()[1:]] == ["I am above", "[work] I am below"]


def test_more_runs_than_files_can_be_open_are_all_told(tmp_path: Path) -> None:
    top = a_run(tmp_path)
    write(top, [], [])
    for n in range(1, 81):
        write(a_child(tmp_path, top, n), [(n, says(f"I am {n}"))], [(n, {"type": "started", "attempt": 1})])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, hard))
    try:
        rows = [row.rpartition("I am ")[2] for row in told(top).splitlines() if "says" in row]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert rows == [str(n) for n in range(1, 81)]


def test_following_a_plan_follows_its_batches_as_they_begin(tmp_path: Path) -> None:
    top = a_run(tmp_path)
    top.write_manifest(top.read_manifest().replace(runtime=RuntimeFound("plan", "/usr/bin/python3", "1")))
    write(top, [], [])
    alive = {"phase": Phase.RUNNING, "outcome": None, "reason": None}
    first = a_child(tmp_path, top, 1, title="batch 1 of 2: U1", **alive)
    write(first, [(1, says("a"))], [])
    story = Story(top, top.read_manifest())

    def seen(final: bool = False) -> list[str]:
        return [f"{vars(line)['whose']} {line.text}" for line in story.lines("events", final=final)]

    assert seen() == ["batch 1 a"]
    story.is_live = True
    write(first, [(1, says("a")), (2, says("b"))], [(3, {"type": "ended", "outcome": "succeeded"})])
    second = a_child(tmp_path, top, 2, title="batch 2 of 2: U2", **alive)
    write(second, [(4, says("c"))], [])
    assert seen() == ["batch 1 b", "batch 1 succeeded", "batch 2 c"]
    write(second, [(4, says("c")), (5, says("d"))], [])
    assert seen(final=True) == ["batch 2 d"]


def test_what_failed_is_red_on_a_terminal_and_no_wrap_splits_a_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout", Terminal())
    run = a_whole_run(tmp_path)
    for width in (20, 60, 200):
        text = told(run, width)
        assert "\x1b[31mran\x1b[0m" in text and "\x1b[31m(exit 3)\x1b[0m" in text
        assert "\x1b[31mcheck\x1b[0m" in text and "\x1b[32mcheck\x1b[0m" in text
        assert all(row.count("\x1b[") == 2 * row.count("\x1b[0m") for row in text.splitlines())
        assert max(cells(re.sub(r"\x1b\[\d+m", "", row)) for row in text.splitlines()) <= width


def test_the_room_is_what_columns_says_else_the_terminal_and_none_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert columns() is None
    for text, width in (
        ("60", 60),
        ("0", None),
        ("-5", None),
        ("wide", None),
        ("²", None),
        ("9" * 5000, None),
        ("", None),
    ):
        monkeypatch.setenv("COLUMNS", text)
        assert columns() == width
