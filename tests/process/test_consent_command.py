"""`runner consent`: what is said, who is asked, and what is stored."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.repo import RUNNER, Repo
from support.terminal import Terminal

from runner.conduct.consent import place

SETTINGS = """
[sandboxes.build]
level = "workspace-write"
writable = ["/var/cache/shop"]
[sandboxes.web]
level = "workspace-write"
network = true
[models.deep]
model = "m"
provider = "corp"
[tasks.look]
prompt = "x"
sandbox = "read-only"
[tasks.build]
prompt = "x"
sandbox = "build"
model = "deep"
"""


@pytest.fixture
def project(repo: Repo) -> Repo:
    return repo.config(SETTINGS)


def test_the_runtime_of_a_model_is_agreed_to_besides_that_of_the_task(repo: Repo) -> None:
    repo.config(f'{SETTINGS}[models.quick]\nmodel = "m"\nruntime = "gemini"\n')
    words = ("consent", "--task", "build", "--yes")
    assert repo.cli(*words).status == 0
    done = repo.cli(*words, "--model", "quick")
    assert done.status == 0 and "agreed: gemini, codex, workspace-write" in done.stdout
    assert "Gemini CLI has no sandbox: nothing enforces that" in done.stderr
    again = repo.cli(*words, "--format", "json")
    assert again.json()["also"] == ["codex"] and not again.stderr, "nothing is to be agreed to anew"


def stored(repo: Repo) -> dict[str, Any] | None:
    """What lies in the file of this repository's consent."""
    path = Path(place(str(repo.root), repo.env))
    found: dict[str, Any] | None = json.loads(path.read_bytes()) if path.exists() else None
    return found


@pytest.fixture
def terminal(project: Repo) -> Iterator[Terminal]:
    seen = Terminal(project, "consent")
    yield seen
    seen.close()


# -- on a terminal ---------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [b"y\n", b"Yes\n", b" YES \n"])
def test_a_person_who_says_yes_has_agreed(keys: bytes, project: Repo, terminal: Terminal) -> None:
    terminal.asks()
    assert stored(project) is None
    assert terminal.type(keys) == 0
    found = stored(project)
    assert found is not None
    assert (found["runtime"], found["level"], found["network"]) == ("codex", "workspace-write", False)
    assert "agreed: codex, workspace-write, without network" in terminal.text


@pytest.mark.parametrize("keys", [b"n\n", b"\n", b"yesterday\n", b"\x04", b"\xff\xfe\n", b"y\x04\x04"])
def test_any_other_answer_and_the_end_of_the_input_is_a_no(
    keys: bytes, project: Repo, terminal: Terminal
) -> None:
    terminal.asks()
    assert terminal.type(keys) == 1
    assert stored(project) is None
    assert terminal.text.endswith("\nnothing was stored\n")


def test_ctrl_c_at_the_question_stores_nothing(project: Repo, terminal: Terminal) -> None:
    terminal.asks()
    assert terminal.type(b"\x03") == 130
    assert stored(project) is None
    assert terminal.text.endswith("\ninterrupted\n") and "Traceback" not in terminal.text


def test_a_terminal_that_goes_away_is_no_answer(project: Repo) -> None:
    seen = Terminal(project, "consent")
    seen.asks()
    os.close(seen._fd)
    assert seen.process.wait(20) != 0
    assert stored(project) is None


def test_a_person_sees_what_it_means_before_the_question(terminal: Terminal, project: Repo) -> None:
    terminal.asks()
    text, file = terminal.text, place(str(project.root), project.env)
    for wanted in (
        f"Delegating plans of {project.root} to ",
        "model provider `corp`: the prompts",
        "build, workspace-write, without network:",
        "change files in the repository, temporary folders, /var/cache/shop\n",
        file,
        "runner consent --withdraw",
    ):
        assert wanted in text, text
    terminal.type(b"n\n")


# -- where nobody can be asked ---------------------------------------------------------------------


def test_where_nobody_can_be_asked_it_needs_yes(project: Repo) -> None:
    for stdin in (None, "y\n"):
        refused = project.cli("consent", stdin=stdin)
        assert (refused.status, refused.stdout) == (2, "")
        assert "no terminal to ask at" in refused.stderr and "`--yes`" in refused.stderr
    error = project.cli("consent", "--format", "json", stdin="y\n").error
    assert (error["code"], stored(project)) == ("usage", None)
    done = project.cli("consent", "--yes", "--format", "json")
    assert (done.status, done.json()) == (0, stored(project))
    assert "Delegating plans of" in done.stderr


def test_a_terminal_to_read_from_is_not_enough_when_the_question_is_not_seen(project: Repo) -> None:
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"y\n")
        command = [str(RUNNER), "consent"]
        done = subprocess.run(
            command,
            cwd=project.root,
            env=project.env,
            stdin=theirs,
            capture_output=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, stored(project)) == (2, None)


def test_what_is_agreed_already_is_shown_and_not_asked_again(project: Repo) -> None:
    first = project.json("consent", "--yes")
    again = project.cli("consent", "--task", "look")
    assert (again.status, again.stderr) == (0, "")
    assert again.stdout == f"agreed: codex, workspace-write, without network ({first['at']})\n"
    assert project.json("consent") == first


def test_a_task_narrows_what_is_agreed_and_more_is_asked_for_again(project: Repo) -> None:
    assert project.json("consent", "--task", "look", "--yes")["level"] == "read-only"
    assert project.cli("consent", "--task", "build").status == 2
    assert project.json("consent", "--task", "build", "--yes")["level"] == "workspace-write"


def test_it_can_be_taken_back_also_with_wrong_settings(project: Repo) -> None:
    project.json("consent", "--yes")
    project.config("wrong = 1\n")
    assert project.cli("consent", "--yes").status == 2
    assert project.json("consent", "--withdraw") is None
    assert stored(project) is None
    done = project.cli("consent", "--withdraw")
    assert (done.status, done.stdout) == (0, "there was none\n")


@pytest.mark.parametrize("words", [(), ("--yes",), ("--withdraw",)])
@pytest.mark.parametrize("name", ["CODEX_SANDBOX", "RUNNER_RUN_ID"])
def test_an_agent_can_neither_agree_nor_take_it_back(
    name: str, words: tuple[str, ...], project: Repo
) -> None:
    before = project.json("consent", "--yes", "--task", "look")
    refused = project.cli("consent", *words, "--format", "json", env={name: "x"})
    assert (refused.status, refused.error["code"]) == (5, "nested")
    assert stored(project) == before


def test_a_run_cannot_agree_whatever_it_unsets(project: Repo) -> None:
    project.task()
    project.codex(
        "cat > /dev/null\n"
        f'env -u RUNNER_RUN_ID -u RUNNER_MANIFEST "{RUNNER}" consent --yes > "$HOME/said" 2>&1\n'
        'echo $? >> "$HOME/said"'
    )
    run = project.start()
    run.wait()
    said = project.note("said").read_text()
    assert said.endswith("\n5\n") and "inside a run" in said
    assert stored(project) is None


def test_what_stands_against_it_is_told_before_anybody_is_asked(project: Repo) -> None:
    inside = {"XDG_STATE_HOME": str(project.root / "state")}
    refused = project.cli("consent", "--yes", "--format", "json", env=inside)
    assert (refused.status, refused.error["code"]) == (9, "unwritable")
    assert project.cli("consent", "--task", "nothing", "--yes").status == 4
    nowhere = project.cli("consent", "--yes", env={"HOME": "/proc/none"})
    assert nowhere.status == 9 and "/proc/none" in nowhere.stderr
    assert not (project.root / "state").exists()


def test_control_sequences_of_a_path_reach_no_terminal(tmp_path: Path) -> None:
    weird = Repo(tmp_path, name="re\x1b[2J\npo").config(SETTINGS)
    done = weird.cli("consent", "--yes")
    assert done.status == 0 and "\x1b" not in done.stderr
    assert re.search(r"plans of \S+/re po to ", done.stderr)
    assert stored(weird) is not None
