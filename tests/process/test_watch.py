"""`runner watch` on a terminal: it follows the runs, its keys do what they say, and it leaves it clean."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from support.repo import Repo
from support.terminal import Terminal
from support.waiting import wait_until

BEGIN, END = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


@pytest.fixture
def work(repo: Repo) -> Repo:
    repo.waiting_codex()
    return repo.task()


@pytest.fixture
def terminal(work: Repo) -> Iterator[Terminal]:
    seen = Terminal(work, "watch", columns=100)
    yield seen
    seen.close()


def is_left(terminal: Terminal) -> bool:
    return terminal.modes == terminal.before and terminal.text.rindex(END) > terminal.text.rindex(BEGIN)


def test_it_follows_a_run_and_its_keys_do_what_they_say(work: Repo, terminal: Terminal) -> None:
    terminal.shows("no run lives")
    run = work.start()
    terminal.shows("running")
    terminal.press(b"p", shows="pause ")
    terminal.press(b"n", shows="q quit")
    terminal.press(b"cy", shows="cancel ")  # what was typed before the question is no answer
    terminal.press(b"n", shows="q quit")
    assert run.on_disk()["phase"] == "running"
    terminal.press(b"p", shows="pause ")
    terminal.press(b"y", shows="paused ")
    assert run.on_disk()["phase"] == "paused"
    terminal.press(b"p", shows="resume ")
    terminal.press(b"y", shows="running ")
    terminal.press(b"\r", shows="q goes back")
    terminal.press(b"q", shows=BEGIN)
    terminal.press(b"\r", shows="q goes back")
    terminal.press(b"\x03", shows=BEGIN)
    terminal.press(b"a", shows="it has no open question")
    name = run.asks("Both?")
    terminal.press(b"a", shows="leaves it open): ")
    terminal.press(b"\n", shows="not answered")
    terminal.press(b"a", shows="leaves it open): ")
    terminal.press(b"\xff\n", shows="not valid UTF-8")
    terminal.press(b"a sentence\n", shows="leaves it open): ")
    assert "Both?" in terminal.text
    terminal.press(b"Yes.\n", shows=f"{name} answered")
    assert run.question(f"{name}.closed")["answer"] == "Yes."
    run.kill_supervisor()
    wait_until(lambda: run.events("adopted"), what="another supervisor")
    terminal.press(b"c", shows="cancel ")
    terminal.press(b"q", shows="q quit")
    terminal.press(b"c", shows="cancel ")
    terminal.press(b"y", shows="cancelled ")
    assert run.on_disk()["outcome"] == "cancelled"
    assert terminal.type(b"q") == 0
    assert is_left(terminal)


@pytest.mark.parametrize(
    ("how", "status"), [("\x03", 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)]
)
def test_however_it_ends_the_terminal_is_as_it_was(
    work: Repo, terminal: Terminal, how: str | int, status: int
) -> None:
    terminal.shows("no run lives")
    wait_until(lambda: terminal.modes != terminal.before)
    if isinstance(how, str):
        assert terminal.type(how.encode()) == status
    else:
        os.kill(terminal.process.pid, how)
        assert terminal.type(b"") == status
    assert is_left(terminal)
    assert "Traceback" not in terminal.text


def test_it_is_drawn_anew_after_a_pause_and_in_another_size(terminal: Terminal) -> None:
    terminal.shows("no run lives")
    terminal.resize(30, 10)
    terminal.shows("\x1b[9;1Hno run lives")
    terminal.send(signal.SIGSTOP, shows="")
    terminal.send(signal.SIGCONT, shows=BEGIN)
    terminal.send(signal.SIGTSTP, shows=END + BEGIN)  # no shell could continue it, so it does not stop
    assert terminal.type(b"q") == 0
    assert is_left(terminal)


def test_a_terminal_that_goes_away_ends_it(work: Repo) -> None:
    seen = Terminal(work, "watch")
    seen.shows("no run lives")
    os.close(seen._fd)
    assert wait_until(lambda: seen.process.poll() is not None, within=20, what="the end")


def test_without_a_terminal_it_names_what_works_there(work: Repo) -> None:
    refused = work.cli("watch")
    assert (refused.status, refused.stdout) == (2, "")
    assert "`runner list`" in refused.stderr and "`runner events -f`" in refused.stderr
    assert work.cli("watch", "--json").error["code"] == "usage"
    for words, term in (((), "dumb"), ((), ""), (("--json",), "xterm")):
        seen = Terminal(work, "watch", *words, term=term)
        assert seen.type(b"") == 2
        assert "\x1b" not in seen.text and "runner list" in seen.text
        seen.close()


def test_what_is_pasted_behind_an_answer_answers_no_other_question(work: Repo, terminal: Terminal) -> None:
    run = work.start()
    first, second = run.asks("What?"), run.asks("Delete the database?")
    terminal.shows("2 questions")
    terminal.press(b"a", shows="leaves it open): ")
    terminal.press(b"do this\nall of it, yes\n", shows=f"{first} answered")
    assert run.question(f"{first}.closed")["answer"] == "do this"
    assert not (run.folder / "questions" / f"{second}.closed.json").exists()
    assert terminal.type(b"q") == 0
    run.told("cancel")


def test_what_is_typed_behind_an_answer_neither_holds_it_up_nor_counts(
    work: Repo, terminal: Terminal
) -> None:
    run = work.start()
    first, second = run.asks("What?"), run.asks("Delete the database?")
    terminal.shows("2 questions")
    for line, told in ((b"\xff\n", "not valid UTF-8"), (b"x" * 5000 + b"\n", "has cut that line")):
        terminal.press(b"a", shows="leaves it open): ")
        terminal.press(line + b"a\nyes\n", shows=told)
    terminal.press(b"a", shows="leaves it open): ")
    terminal.press(b"do this\n", shows="do this")

    def is_answered() -> bool:
        terminal.press(b"j", shows="")
        return (run.folder / "questions" / f"{first}.closed.json").exists()

    wait_until(is_answered, within=10, what="the answer, while keys come")
    terminal.shows(f"{first} answered")
    assert run.question(f"{first}.closed")["answer"] == "do this"
    assert not (run.folder / "questions" / f"{second}.closed.json").exists()
    assert terminal.type(b"q") == 0
    run.told("cancel")
