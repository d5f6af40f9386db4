"""`runner tasks`, and what `start` says of them to who names none."""

from __future__ import annotations

import pytest
from support.repo import Repo
from support.terminal import Terminal

SETTINGS = """\
[tasks.look]
prompt = "p"
title = "Look at\\u001b[2J all of it, and say\\nwhat there is to see; nothing of this fits into the line"
[tasks."a.b"]
prompt = "p"
model = "deep"
sandbox = "build"
verify = [["pytest", "-q", "a b"], "ruff check"]
[tasks.wide]
prompt = "p"
title = "tail"
verify = [["\u691c\u8a3c"]]
[models.deep]
runtime = "codex"
model = "m"
[sandboxes.build]
level = "workspace-write"
"""


def test_each_task_has_a_line_with_what_it_may_do_and_what_it_is_checked_by(repo: Repo) -> None:
    repo.config(SETTINGS)
    head, *lines = repo.cli("tasks").stdout.splitlines()
    assert head.split() == ["TASK", "SANDBOX", "MODEL", "VERIFY", "TITLE"]
    assert lines[0].split(None, 4)[:4] == ["look", "read-only", "-", "-"]
    assert lines[0].endswith(
        "Look at all of it, and say what there is to see; nothing of this fits into the line"
    )
    assert lines[1] == "a.b   build      deep   pytest -q 'a b'; ruff check"
    assert lines[2].startswith("wide  read-only  -      ") and lines[2].endswith("tail")
    assert lines[2].index("tail") == lines[0].index("Look") - 2, "two characters of four columns"
    look, other, _ = repo.json("tasks")
    assert (look["id"], look["verify"], look["model"], look["level"]) == ("look", [], None, "read-only")
    assert (other["sandbox"], other["level"]) == ("build", "workspace-write")
    assert other["verify"] == [["pytest", "-q", "a b"], ["ruff", "check"]]


@pytest.mark.parametrize("columns", [20, 60, 200])
def test_no_line_is_longer_than_the_terminal_is_wide(repo: Repo, columns: int) -> None:
    repo.config(SETTINGS)
    seen = Terminal(repo, "tasks", columns=columns)
    try:
        assert seen.type(b"") == 0
        lines = seen.text.splitlines()
        assert len(lines) == 4
        assert max(map(len, lines)) <= columns and lines[1].startswith("look")
        assert lines[1].endswith("...") is (columns < 200)
    finally:
        seen.close()


def test_an_error_ends_its_lines_between_words_on_a_terminal_and_nowhere_else(repo: Repo) -> None:
    piped = repo.cli("check", "--config", "none/of/those/" + "long" * 20).stderr
    assert len(piped.splitlines()) == 3 and max(map(len, piped.splitlines())) > 80
    seen = Terminal(repo, "check", "--config", "none/of/those/" + "long" * 20, columns=50)
    try:
        assert seen.type(b"") == 2
        lines = seen.text.splitlines()
        assert [line.split(" ") for line in lines if len(line) > 50] == [
            [line] for line in lines if len(line) > 50
        ]
        assert len(lines) > 4 and seen.text.split() == piped.split()
    finally:
        seen.close()


def test_a_start_without_a_task_names_the_tasks(repo: Repo) -> None:
    repo.config(SETTINGS)
    for verb in ("start", "resolve"):
        done = repo.cli(verb, "--format", "json")
        assert done.status == 2
        assert "of look, a.b, wide" in done.error["hint"]
    repo.config("")
    assert "of none" in repo.cli("start").stderr
    assert len(repo.cli("tasks").stdout.splitlines()) == 1
