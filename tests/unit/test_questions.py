"""Questions on disk: closed once, whoever is fastest; whatever else lies there harms nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.family import a_run
from support.imports import ROOT
from support.waiting import wait_until

from runner.errors import Conflict, RunNotFound, UsageError
from runner.state import questions
from runner.state.events import EventLog
from runner.state.manifest import parse_timestamp, timestamp
from runner.state.questions import MAX_TEXT, Question, QuestionClosed, QuestionNotFound
from runner.state.store import RunDir, new_run_id

RACERS = """
import os, sys
from runner.state import questions
from runner.state.store import RunDir

run, count = RunDir.from_path(sys.argv[1]), int(sys.argv[2])
gate, opened = os.pipe()
pids = []
for n in range(count):
    if (pid := os.fork()) == 0:
        os.close(opened)
        os.read(gate, 1)  # until everybody is there
        try:
            if n % 2:
                questions.expire(run, "q-0001")
            else:
                questions.answer(run, "q-0001", f"answer {n}", by=f"racer {n}")
        except questions.QuestionClosed:
            os._exit(9)
        os._exit(0)
    pids.append(pid)
os.close(opened)
print(sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return a_run(tmp_path)


def ask(run: RunDir, prompt: str = "May I?", **how: Any) -> Question:
    given = {"asked": "owner", "expires_in_s": None, "on_expiry": "continue"} | how
    return questions.ask(run, prompt=prompt, **given)


def put(run: RunDir, name: str, data: object) -> Path:
    path = Path(run.questions, name)
    path.write_text(json.dumps(data))
    return path


def due(run: RunDir, **how: Any) -> Question:
    """A question whose time has just passed."""
    question = ask(run, expires_in_s=0.001, **how)
    wait_until(lambda: questions.read(run, question.id).is_due)
    return questions.read(run, question.id)


# -- asking ----------------------------------------------------------------------------------------


def test_a_question_is_open_until_it_is_answered(run: RunDir) -> None:
    asked = ask(run, asked="20261120T101504438Z-50151d5c")
    assert (asked.id, asked.status, asked.answer, asked.run_id) == ("q-0001", "open", None, run.run_id)
    assert asked.is_open and not asked.is_due and asked.expires_at is None
    closed = questions.answer(run, asked.id, "Yes.", by="user")
    assert (closed.status, closed.answer, closed.answered_by) == ("answered", "Yes.", "user")
    assert closed.closed_at is not None and parse_timestamp(closed.closed_at) >= parse_timestamp(
        closed.asked_at
    )
    assert questions.read(run, asked.id) == closed and questions.of_run(run) == [closed]


def test_time_in_which_the_machine_slept_brings_no_question_to_its_end(run: RunDir) -> None:
    """Whether its run was paused or not; the part of a gap before it was asked does not count."""
    now = time.time()
    question = due(run, on_expiry="fail")
    path = Path(run.questions, f"{question.id}.json")
    record = json.loads(path.read_text())
    path.write_text(
        json.dumps({**record, "asked_at": timestamp(now - 100), "expires_at": timestamp(now - 90)})
    )

    def slept(at: float, seconds: object, **more: object) -> Question:
        EventLog(run.events).append("suspended", at=timestamp(at), seconds=seconds, **more)
        return questions.read(run, question.id)

    assert questions.read(run, question.id).is_due
    assert slept(now - 200, 1000.0).is_due, "all before it was asked"
    assert slept(now - 60, 30.0).is_due and slept(now - 50, "x").is_due
    last = slept(now - 20, 30.0, paused=True)
    assert last.is_due and last.expires_at == timestamp(now - 90 + 60)
    assert not slept(now - 60, 1000.0).is_due, "40 seconds of it"
    assert slept(now - 1, 500.0).expires_at == timestamp(now - 90 + 60 + 40 + 99)
    assert questions.answer(run, question.id, "Yes.", by="user").expires_at == timestamp(now - 90)


def test_ids_count_and_questions_come_oldest_first(run: RunDir) -> None:
    prompts = [f"number {n}?" for n in range(12)]
    assert [ask(run, prompt).id for prompt in prompts] == [f"q-{n:04d}" for n in range(1, 13)]
    assert [question.prompt for question in questions.of_run(run)] == prompts


def test_many_askers_at_once_get_an_id_each(run: RunDir) -> None:
    asked: list[str] = []
    threads = [threading.Thread(target=lambda: asked.append(ask(run).id)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(asked) == [f"q-{n:04d}" for n in range(1, 21)]


def test_after_the_last_id_no_more_can_be_asked(run: RunDir) -> None:
    for n in range(1, 10_000):
        Path(run.questions, f"q-{n:04d}.json").touch()
    with pytest.raises(Conflict, match="9999"):
        ask(run)


@pytest.mark.parametrize("prompt", ["", "  \n", "x" * (MAX_TEXT + 1)], ids=["empty", "blank", "long"])
def test_what_is_no_question_is_not_asked(prompt: str, run: RunDir) -> None:
    with pytest.raises(UsageError):
        ask(run, prompt)
    assert os.listdir(run.questions) == []


@pytest.mark.parametrize(
    "how",
    [
        {"on_expiry": "explode"},
        {"expires_in_s": 0},
        {"expires_in_s": -1},
        {"expires_in_s": 31 * 86400},
        {"expires_in_s": float("nan")},
        {"expires_in_s": float("inf")},
    ],
    ids=str,
)
def test_a_wrong_expiry_is_a_usage_error_and_leaves_nothing(how: dict[str, Any], run: RunDir) -> None:
    with pytest.raises(UsageError):
        ask(run, **how)
    assert os.listdir(run.questions) == []


@pytest.mark.parametrize(
    "text", ["x" * MAX_TEXT, "\U0001f600" * MAX_TEXT, "\x01" * MAX_TEXT, "\ud800", "a\0b", '\u2028"\\']
)
def test_a_text_comes_back_as_it_was(text: str, run: RunDir) -> None:
    asked = ask(run, text)
    assert asked.prompt == text
    assert questions.answer(run, asked.id, text, by="user").answer == text


def test_a_run_that_is_gone_asks_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match="is gone"):
        ask(RunDir(str(tmp_path), "hello", new_run_id()))


def test_the_files_are_private_and_nothing_else_is_left(run: RunDir) -> None:
    questions.answer(run, ask(run).id, "Yes.", by="user")
    assert sorted(os.listdir(run.questions)) == ["q-0001.closed.json", "q-0001.json"]
    modes = {os.stat(f"{run.questions}/{name}").st_mode & 0o777 for name in os.listdir(run.questions)}
    assert modes == {0o600}


# -- closing ---------------------------------------------------------------------------------------


def test_nothing_is_answered_twice(run: RunDir) -> None:
    asked = ask(run)
    questions.answer(run, asked.id, "first", by="user")
    for act in (
        lambda: questions.answer(run, asked.id, "second", by="user"),
        lambda: questions.expire(run, asked.id),
    ):
        with pytest.raises(QuestionClosed, match="already answered"):
            act()
    assert questions.read(run, asked.id).answer == "first"


@pytest.mark.parametrize("text", ["", " ", "x" * (MAX_TEXT + 1)], ids=["empty", "blank", "long"])
def test_what_is_no_answer_leaves_the_question_open(text: str, run: RunDir) -> None:
    asked = ask(run)
    with pytest.raises(UsageError):
        questions.answer(run, asked.id, text, by="user")
    assert questions.read(run, asked.id).is_open


def test_of_threads_that_answer_and_expire_at_once_one_wins(run: RunDir) -> None:
    for _ in range(10):
        asked, wins, barrier = ask(run), [], threading.Barrier(8)

        def race(n: int, asked: Question = asked, wins: list = wins, barrier: Any = barrier) -> None:
            barrier.wait(10)
            try:
                act = questions.expire if n % 2 else questions.answer
                wins.append(
                    act(run, asked.id, *(() if n % 2 else (str(n),)), **({} if n % 2 else {"by": "x"}))
                )
            except QuestionClosed:
                pass

        threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert wins == [questions.read(run, asked.id)]


def test_of_processes_that_answer_and_expire_at_once_one_wins(run: RunDir) -> None:
    ask(run)
    done = subprocess.run(
        [sys.executable, "-c", RACERS, run.path, "24"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stderr, done.stdout.strip()) == ("", str([0] + [9] * 23))
    closed = questions.read(run, "q-0001")
    assert (closed.status, closed.answer is None) in (("answered", False), ("expired", True))


# -- time ------------------------------------------------------------------------------------------


def test_a_question_is_due_when_its_time_is_over_and_then_takes_no_answer(run: RunDir) -> None:
    asked = due(run, on_expiry="pause")
    assert asked.is_open and asked.on_expiry == "pause"
    with pytest.raises(QuestionClosed, match="has expired"):
        questions.answer(run, asked.id, "too late", by="user")
    expired = questions.expire(run, asked.id)
    assert (expired.status, expired.answer, expired.is_due) == ("expired", None, False)


def test_the_time_of_expiry_is_counted_from_the_question(run: RunDir) -> None:
    asked = ask(run, expires_in_s=3600)
    assert asked.expires_at is not None and not asked.is_due
    assert parse_timestamp(asked.expires_at) - parse_timestamp(asked.asked_at) == pytest.approx(
        3600, abs=0.01
    )


def test_a_question_without_an_expiry_is_never_due(run: RunDir) -> None:
    assert not ask(run).is_due


# -- what else may lie there -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["q-0002", "q-1", "q-00001", "", "..", "../x", "q-0001\0", "q-\u0661\u0661\u0661\u0661", "x" * 5000],
)
def test_an_id_that_is_none_is_not_found(name: str, run: RunDir) -> None:
    ask(run)
    for act in (questions.read, questions.expire):
        if act is questions.read or name.startswith("x"):
            with pytest.raises(QuestionNotFound):
                questions.read(run, name)
    with pytest.raises(QuestionNotFound):
        questions.answer(run, name, "Yes.", by="user")
    assert sorted(os.listdir(run.questions)) == ["q-0001.json"]


def test_a_link_is_no_question(run: RunDir, tmp_path: Path) -> None:
    asked = ask(run)
    elsewhere = tmp_path / "elsewhere.json"
    os.rename(f"{run.questions}/{asked.id}.json", elsewhere)
    Path(run.questions, f"{asked.id}.json").symlink_to(elsewhere)
    with pytest.raises(QuestionNotFound):
        questions.read(run, asked.id)
    assert questions.of_run(run) == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        None,
        {"asked": "owner"},
        {"asked": 1, "prompt": 2, "asked_at": 3, "on_expiry": "continue", "expires_at": None},
        {"asked": "o", "prompt": "p", "asked_at": "x", "on_expiry": "boom", "expires_at": None},
        {"asked": "o", "prompt": "p", "asked_at": "x", "on_expiry": [], "expires_at": None},
        {"asked": "o", "prompt": "p", "asked_at": "x", "on_expiry": "fail", "expires_at": "soon"},
        {"asked": "o", "prompt": "p", "asked_at": "x", "on_expiry": "fail", "expires_at": 5},
    ],
    ids=str,
)
def test_a_file_that_is_no_question_is_passed_over_and_its_id_is_not_used_again(
    data: object, run: RunDir
) -> None:
    put(run, "q-0001.json", data)
    assert questions.of_run(run) == []
    assert [question.id for question in (ask(run), *questions.of_run(run))] == ["q-0002", "q-0002"]


def test_neither_a_fifo_nor_a_folder_holds_anybody_up(run: RunDir) -> None:
    os.mkfifo(f"{run.questions}/q-0001.json")
    os.mkdir(f"{run.questions}/q-0002.json")
    asked = ask(run)
    os.mkfifo(f"{run.questions}/{asked.id}.closed.json")
    assert [(question.id, question.status) for question in questions.of_run(run)] == [("q-0003", "expired")]


@pytest.mark.parametrize("data", [None, {}, {"status": "maybe"}, {"status": ["answered"]}], ids=str)
def test_what_nobody_can_read_as_an_answer_is_none(data: object, run: RunDir) -> None:
    asked = ask(run)
    put(run, f"{asked.id}.closed.json", data)
    assert (questions.read(run, asked.id).status, questions.read(run, asked.id).answer) == ("expired", None)
    with pytest.raises(QuestionClosed):
        questions.answer(run, asked.id, "Yes.", by="user")


def test_a_time_of_another_clock_is_read_as_it_stands(run: RunDir) -> None:
    data = {"asked": "owner", "prompt": "?", "asked_at": timestamp(0), "on_expiry": "fail"}
    put(run, "q-0001.json", data | {"expires_at": timestamp(0), "run_id": "forged", "id": "q-7777"})
    (question,) = questions.of_run(run)
    assert question.is_due and (question.id, question.run_id) == ("q-0001", run.run_id)
