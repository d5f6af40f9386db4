"""What people see of a run that has turns: that it waits for a message, what is queued, what to do next."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ended import an_ended_run
from support.values import a_manifest

from runner.cli.app import main
from runner.cli.end import end_text
from runner.cli.frame import frame
from runner.cli.render import going, manifest_text
from runner.cli.rows import rows_text
from runner.cli.turns import turns_text
from runner.errors import Conflict, TurnNotFound
from runner.model import Outcome, Phase, Usage
from runner.processes.proc import boottime
from runner.state.index import row_of
from runner.state.manifest import Attempt, Manifest
from runner.state.messages import Queue
from runner.state.store import RunDir
from runner.usecases import inbox, review, talk
from runner.usecases.alive import Living
from runner.usecases.look import to_end
from runner.verify.report_text import as_text

SCREENS = Path(__file__).parents[1] / "data" / "screens"
RUN_ID = "20251120T101504438Z-5c16aaaa"
T0 = 1_795_840_180.5  # 2026-11-28 04:29:40 UTC
ATTEMPTS = (Attempt(1), Attempt(2, how="resume", messages=("m-0001",)))
HEARD_BOTH = Attempt(2, how="resume", messages=("m-0001", "m-0002"))


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def a_run(root: Path, **changes: Any) -> tuple[RunDir, Manifest]:
    """An open run with two turns, which waits for a message; one was queued."""
    run = an_ended_run(root, task="fix-auth", run_id=RUN_ID, open_timeout_s=1200.0, secret_names=())
    queue = Queue(run)
    queue.add("Yes, mend it.", actor="user")
    queue.add(f"And then, in \x1b[2Jone line:\n{'say what you have done, and ' * 20}why.", actor="user")
    second = Path(run.messages, "m-0002.json")
    second.write_text(json.dumps({**json.loads(second.read_text()), "at": "2026-11-28T04:29:50.000Z"}))
    uptime = T0 - time.time() + boottime()
    waits = {"phase": Phase.WAITING, "outcome": None, "reason": None, "ended_at": None, "open": True}
    waits |= {"turns": 2, "attempts": ATTEMPTS, "waiting_uptime": uptime, "last_message": "Shall I?"}
    given = {"created_at": "2026-11-28T04:00:00.000Z", "started_at": "2026-11-28T04:00:01.000Z"}
    os.makedirs(run.turns)
    record = {"run_id": RUN_ID, "turn": 2, "status": "failed", "message": None}
    record["reason"] = {"code": "x", "message": "no login"}
    Path(run.turn(2)).write_text(json.dumps(record))
    return run, a_manifest(run, **{**waits, **given, **changes})


def screen(run: RunDir, m: Manifest) -> str:
    going_on = m.replace(phase=Phase.RUNNING, turns=1, waiting_uptime=None)
    shown = [manifest_text(m), turns_text(run, m, "5c16"), "", turns_text(run, going_on, "5c16")]
    return "\n".join(shown) + "\n"


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_this_is_what_a_person_sees_of_a_run_that_waits_for_a_message(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert screen(*a_run(tmp_path)) == (SCREENS / f"turns-{columns}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "row", "words"),
    [
        ({}, "turn", "2 failed: no login"),
        ({"turns": 1, "phase": Phase.RUNNING}, "turn", "2 goes on"),
        (
            {"turns": 1, "phase": Phase.RUNNING, "attempts": (Attempt(1), HEARD_BOTH)},
            "turn",
            "2 goes on; then it waits for a message",
        ),
        (
            {"turns": 1, "phase": Phase.RUNNING, "open": False, "attempts": (Attempt(1), HEARD_BOTH)},
            "turn",
            "2 goes on; then it is judged",
        ),
        ({"turns": 1, "phase": Phase.RUNNING, "open": False}, "next", "runner await 5c16"),
        ({"turns": 1, "phase": Phase.PAUSED}, "turn", "2 is paused"),
    ],
)
def test_the_turn_that_goes_on_is_told(changes: dict[str, Any], row: str, words: str, tmp_path: Path) -> None:
    run, m = a_run(tmp_path, **changes)
    rows = [line for line in turns_text(run, m, "5c16").split("\n") if line.startswith(row)]
    assert [line[10:] for line in rows] == [words]


def test_a_run_that_is_being_ended_waits_for_no_message(tmp_path: Path) -> None:
    run, m = a_run(tmp_path, turns=1, phase=Phase.RUNNING, attempts=(Attempt(1), HEARD_BOTH))
    Queue(run).add("", actor="user", kind="end")
    assert turns_text(run, m, "5c16").split("\n")[0] == "turn      2 goes on; then it is judged"
    assert turns_text(run, m, "5c16").split("\n")[-1] == "next      runner wait 5c16"
    waiting = m.replace(turns=2, phase=Phase.WAITING, waiting_uptime=1.0)
    assert turns_text(run, waiting, "5c16").split("\n")[-1] == "next      runner wait 5c16"


def test_the_last_turn_is_told_by_why_it_failed_and_not_by_an_older_answer(tmp_path: Path) -> None:
    run, m = a_run(tmp_path)
    assert inbox.last_turn(run, m) == "turn 2 failed: no login"


@pytest.mark.parametrize(
    "changes",
    [{"reason": ["x"]}, {"reason": {"message": 1}}, {"message": {}}, {"status": 2}, {"turn": 1}],
    ids=str,
)
def test_what_an_agent_has_written_in_the_place_of_a_turn_is_not_believed(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    run, m = a_run(tmp_path)
    told = json.loads(Path(run.turn(2)).read_text())
    for forged in (told | changes, [], {}, "x"):
        Path(run.turn(2)).write_text(json.dumps(forged))
        assert turns_text(run, m, "5c16").split("\n")[0] == "turn      2 has ended"


def test_who_waits_for_the_end_of_such_a_run_is_told_what_it_needs(tmp_path: Path) -> None:
    _, m = a_run(tmp_path, last_activity="message: Shall I?")
    assert going(m)[2] == "for a message (`runner send`) or its end (`runner end`)"
    assert going(m.replace(phase=Phase.RUNNING))[2] == "message: Shall I?"


def test_list_and_watch_say_what_a_person_can_do_with_it(tmp_path: Path) -> None:
    _, m = a_run(tmp_path, last_activity="message: Shall I?")
    line = rows_text([row_of(m)], {RUN_ID: "5c16"}).split("\n")[1]
    assert line.endswith("to send or end; message: Shall I?")
    one = Living(RunDir("/repo", "fix-auth", RUN_ID), row_of(m))
    shown = frame([(one, "")], {RUN_ID: "5c16"}, (100, 8), 0.0)
    assert "to send or end; message: Shall I?" in shown[1]


def test_the_last_lines_count_turns_and_say_how_long_it_waited_and_what_was_not_heard(
    tmp_path: Path,
) -> None:
    took = {"started_at": "2026-11-28T04:00:01.000Z", "ended_at": "2026-11-28T04:10:01.000Z"}
    ended = {"phase": Phase.DONE, "outcome": Outcome.CANCELLED, "waiting_seconds": 300.0, "usage": Usage()}
    run, m = a_run(tmp_path, **ended, **took)
    lines = end_text(run, m).split("\n")
    assert "took       10m00s (5m00s waiting), 2 turns" in lines
    (unheard,) = (line for line in lines if line.startswith("unheard"))
    assert unheard.startswith("unheard    And then, in one line: say what you have done,")
    assert ", 2 attempts" in end_text(run, m.replace(open=False, attempts=(Attempt(1), Attempt(2))))


@pytest.mark.parametrize(
    ("attempts", "told"),
    [
        ((*ATTEMPTS, Attempt(3, how="closing")), ["turns", "  2"]),
        ((Attempt(1), Attempt(2, how="resume")), ["attempts", "  2"]),
    ],
)
def test_a_report_counts_turns_where_they_are_some(
    attempts: tuple[Attempt, ...], told: list[str], tmp_path: Path
) -> None:
    run, m = a_run(tmp_path, attempts=attempts, phase=Phase.DONE, outcome=Outcome.SUCCEEDED)
    run.write_manifest(m)
    lines = as_text(review.report(run).report).split("\n")
    at = lines.index(told[0])
    assert lines[at : at + 2] == told


def test_a_run_that_waits_is_ended_and_not_waited_for(tmp_path: Path) -> None:
    _, m = a_run(tmp_path)
    assert to_end(m) == f"it waits for a message: `runner end {RUN_ID}` ends it"
    assert "runner wait" in to_end(m.replace(phase=Phase.RUNNING))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["send", "look"], "required: TEXT"),
        (["send", "look", "-x"], "required: TEXT"),
        (["send", "look", "--option", "x"], "unrecognized arguments: --option"),
        (["answer", "look", "q-0001", "-x"], "unrecognized arguments: -x"),
    ],
)
def test_who_writes_a_text_that_looks_like_an_option_is_told_how(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert why in said and "one that begins with `-` goes behind `--`" in said


@pytest.mark.parametrize("verb", [["send", "look", "hi"], ["await", "look"], ["status", "look"]], ids=str)
def test_a_task_that_was_never_started_is_no_unknown_run(
    verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "delegate.toml").write_text('schema_version = 1\n[tasks.look]\nprompt = "p"\n')
    monkeypatch.chdir(tmp_path)
    assert main(verb) == 4
    assert "task `look` has no run yet" in (said := capsys.readouterr().err) and "runner start look" in said
    assert main([verb[0], "loko", *verb[2:]]) == 4
    assert "no run `loko`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "before", "state"),
    [
        ("interrupted", "interrupted", "interrupted"),
        ("interrupted", "completed", "begun"),
        ("interrupted", "failed", "begun"),
        ("queued", "completed", "begun"),
        ("begun", "interrupted", "begun"),
    ],
)
def test_a_turn_that_ended_of_itself_was_not_interrupted(
    asked: str, before: str, state: str, tmp_path: Path
) -> None:
    attempts = (Attempt(1, reason=before), Attempt(2, how="closing"), HEARD_BOTH)
    run = an_ended_run(tmp_path, attempts=attempts)
    message = Queue(run).add("two", actor="user", now=True)
    told = talk.sent(run, message, asked, is_repeated=False)
    assert (told.state, told.turn) == (state, 2)


@pytest.mark.parametrize(
    ("outcome", "why"), [(Outcome.LOST, "is not known"), (Outcome.CANCELLED, "ended before its agent got")]
)
def test_who_sent_what_nobody_answers_is_told_what_is_known_of_it(
    outcome: Outcome, why: str, tmp_path: Path
) -> None:
    run = an_ended_run(tmp_path, outcome=outcome, attempts=(Attempt(1),))
    message = Queue(run).add("two", actor="user")
    with pytest.raises(Conflict, match=why):
        talk.sent(run, message, "begun", is_repeated=False)
    with pytest.raises(Conflict, match=why):
        talk.await_answer(run, message.id)
    run.write_manifest(run.read_manifest().replace(turns=1))
    with pytest.raises(TurnNotFound, match=r"after 1 turn$"):
        talk.await_turn(run, 2)


@pytest.mark.parametrize(
    ("outcome", "status"), [(Outcome.SUCCEEDED, 0), (Outcome.TIMED_OUT, 3), (Outcome.FAILED, 1)]
)
def test_to_await_a_run_that_ended_without_a_turn_exits_as_the_run(
    outcome: Outcome, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "delegate.toml").write_text('schema_version = 1\n[tasks.work]\nprompt = "p"\n')
    monkeypatch.chdir(tmp_path)
    run = an_ended_run(tmp_path, outcome=outcome, attempts=(Attempt(1),))
    assert main(["await", run.run_id]) == status
    run.write_manifest(run.read_manifest().replace(turns=1))
    assert main(["await", run.run_id]) == 1, "nothing can be read of its turn"
