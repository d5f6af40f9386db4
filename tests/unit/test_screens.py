"""What a person sees of a run that is over, in a terminal of 60, 80 and 120 columns."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ended import a_result, an_ended_run, write_result
from support.plans import toml
from support.work import Work

from runner.cli.app import main
from runner.cli.render import questions_text
from runner.cli.setup import print_checks
from runner.disk import home
from runner.model import Outcome, Price, Reason, Usage
from runner.runtimes.exam import Examined
from runner.state.questions import Question
from runner.supervise import news
from runner.text.cells import cells

SCREENS = Path(__file__).parents[1] / "data" / "screens"
VERBS = (["status"], ["report"], ["inbox"], ["stats"], ["events"], ["tasks"], ["plan", "plan.toml"])
SETTINGS = """\
[tasks.fix-auth]
prompt = "p"
title = "Refuse expired tokens in src/auth, and say how long ago"
sandbox = "workspace-write"
verify = [["python", "-m", "pytest", "-q", "tests/auth", "tests/session"], ["ruff", "check", "."]]
[tasks.look]
prompt = "p"
title = "Say what there is to see"
"""
PLAN = toml(
    *(
        f'id = "U{n}"\ngoal = "Do it"\nfiles.modify = ["src/area/file-{n % 4}.py"]\ntests = ["works"]\n'
        f'verify = [["true"]]\ndepends_on = {["U1"] if n > 4 else []}\n'
        for n in range(1, 9)
    )
)
RUN_ID = "20251120T101504438Z-5c16aaaa"


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A repository with one run, which was rejected and has a tree."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    work = Work(tmp_path)
    work.write("a.txt", "a\n")
    work.commit()
    monkeypatch.chdir(tmp_path)
    reason = Reason(
        "verify_failed",
        "`python -m pytest -q tests/auth` exited with 1",
        "the whole output is in the run's folder (verify-N.log), and every line of it counts",
    )
    run = an_ended_run(
        tmp_path,
        task="fix-auth",
        run_id=RUN_ID,
        outcome=Outcome.REJECTED,
        reason=reason,
        usage=Usage(61_000, 48_000, 900, 0),
        created_at="2025-11-20T10:15:04.438Z",
        started_at="2025-11-20T10:15:05.000Z",
        ended_at="2025-11-20T10:16:17.400Z",
    )
    title = "Refuse expired tokens in src/auth, and say in the answer how long ago they expired"
    run.write_manifest(run.read_manifest().replace(title=title, price=Price(1.25, 0.125, 10.0)))
    write_result(run, a_result(was_clean=False))
    assert news.started(run, run.read_manifest(), is_new=True) and news.ended(run, run.read_manifest())
    (tmp_path / "delegate.toml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "plan.toml").write_text(PLAN, encoding="utf-8")
    os.makedirs(f"{home.state(os.environ)}/worktrees/x/{run.run_id}")
    yield
    monkeypatch.undo()
    time.tzset()


def screens(capsys: pytest.CaptureFixture[str]) -> str:
    shown = ""
    for words in VERBS:
        assert main(words) == 0
        shown += f"$ runner {' '.join(words)}\n{capsys.readouterr().out}\n"
    return shown


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_this_is_what_a_person_sees(
    columns: int, there: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    seen = screens(capsys)
    assert seen == (SCREENS / f"{columns}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [40, 60, 97])
def test_a_line_is_wider_than_the_terminal_only_for_a_word_that_is_to_be_copied(
    columns: int, there: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    words = re.compile("`[^`]*`|\\S+")  # a command between backticks is one
    wide = [words.findall(line) for line in screens(capsys).split("\n") if cells(line) > columns]
    assert all(len(max(words, key=len)) > columns - 20 or len(words) < 3 for words in wide), wide


def test_what_doctor_found_is_wrapped_behind_the_name_of_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_checks(
        [Examined("codex.login", "fail", "not logged in on this machine now", "log in with `codex login`")]
    )
    assert capsys.readouterr().out.splitlines() == [
        "fail    codex.login           not logged in on this machine",
        "                              now",
        "                              repair: log in with",
        "                                      `codex login`",
    ]


def test_a_question_is_shown_with_the_command_that_answers_it() -> None:
    asked = Question(
        "q-0001", RUN_ID, "owner", "Which one?\nBoth?", "open", "", None, "continue", None, None, None
    )
    text = questions_text([asked], "5c16").split("\n")
    assert text[1:] == ["          Which one?", "          Both?", "          runner answer 5c16 q-0001"]


@pytest.mark.parametrize("columns", [60, 80])
def test_what_settings_can_do_is_wrapped(
    columns: int, there: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["trust", "--show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    wide = [line.split() for line in lines if cells(line) > columns]
    assert all(len(max(words, key=len)) > columns - 10 for words in wide), wide
    assert len(lines) > 6
