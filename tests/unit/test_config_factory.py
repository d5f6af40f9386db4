"""`init --pipeline factory`: what it writes, and what it leaves as it is."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from runner.cli.app import main
from runner.config.commands import init, sample
from runner.errors import ConfigInvalid, Conflict

MINE = """# mine
schema_version = 1

[tasks.hello]   # stays
prompt = "x"
"""


def made(repo, name: str = "factory"):
    return init(str(repo.root), repo.env, pipeline=name)


def programs(repo, *names: str) -> None:
    """Makes PATH a folder with these."""
    folder = repo.root.parent / "programs"
    folder.mkdir()
    for name in names:
        (folder / name).touch(0o755)
    repo.env["PATH"] = str(folder)


def everything(repo) -> dict[str, bytes]:
    paths = [path for path in repo.root.rglob("*") if ".git" not in path.parts and path.is_file()]
    return {str(path): path.read_bytes() for path in paths}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_stands_in_the_file_is_kept_to_the_last_comment(repo, mark):
    repo.write(mark + MINE)

    made(repo)

    text = repo.file.read_text().removeprefix(mark)
    assert repo.file.read_text().startswith(mark + MINE) and "\ufeff" not in text
    assert {"hello", "build", "fix", "audit-claude"} <= tomllib.loads(text)["tasks"].keys()


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"pyproject.toml": "[tool.mypy]\n[tool.pytest.ini_options]\n"},
        {"package.json": '{"scripts": {"test": "node --test"}}', "tsconfig.json": "{}"},
        {"delegate.toml": MINE},
        {"delegate.toml": f"\ufeff{MINE}"},
    ],
)
def test_what_is_written_checks(repo, files):
    for name, text in files.items():
        (repo.root / name).write_text(text)

    made(repo)

    assert repo.check().problems == () and repo.check().breaches == ()
    assert list(repo.load().pipelines) == ["factory"]


def test_every_prompt_that_a_task_names_is_written_and_no_other(repo):
    report = made(repo)

    tasks = tomllib.loads(repo.file.read_text())["tasks"].values()
    named = {task["prompt_file"] for task in tasks}
    written = {os.path.relpath(path, repo.root) for path in report.written}
    assert written == {*named, "delegate.toml", ".gitignore"}
    assert all((repo.root / path).read_text().strip() for path in named)


@pytest.mark.parametrize(
    ("files", "built", "tested"),
    [
        ({}, None, None),
        ({"Makefile": "test:\n\ttrue\n"}, [["make", "test"]], [["make", "test"]]),
        (
            {"Makefile": "typecheck:\n\ttrue\ntest:\n\ttrue\n"},
            [["make", "typecheck"], ["make", "test"]],
            [["make", "test"]],
        ),
        ({"tsconfig.json": "{}"}, [["npx", "--no-install", "tsc", "--noEmit"]], None),
        ({"mypy.ini": "[mypy]\n"}, [["mypy"]], None),
    ],
)
def test_gates_are_the_commands_that_the_repository_has(repo, files, built, tested):
    programs(repo, "make", "npx", "mypy")
    for name, text in files.items():
        (repo.root / name).write_text(text)

    made(repo)

    stages = tomllib.loads(repo.file.read_text())["pipelines"]["factory"]["stages"]
    gates = {stage["name"]: stage.get("gate") for stage in stages}
    assert gates["implement"] == built and gates["testing"] == tested


@pytest.mark.parametrize(("is_here", "built"), [(["make"], [["make", "test"]]), ([], None)])
def test_a_gate_whose_program_is_not_here_is_none_and_a_comment_says_so(repo, is_here, built):
    programs(repo, *is_here)
    (repo.root / "Makefile").write_text("test:\n\ttrue\n")
    (repo.root / "mypy.ini").write_text("[mypy]\n")

    made(repo)

    stages = tomllib.loads(repo.file.read_text())["pipelines"]["factory"]["stages"]
    assert {stage["name"]: stage.get("gate") for stage in stages}["implement"] == built
    assert "# not found here: mypy" in repo.file.read_text()
    assert not [note for note in repo.check().notes if "was not found" in str(note)]


@pytest.mark.parametrize(
    "line",
    ["[tasks.fix]\nprompt = 'x'\n", "[pipelines.factory]\n", "tasks.build.prompt = 'x'\n"],
)
def test_a_name_that_is_taken_is_refused_and_nothing_is_changed(repo, line):
    repo.write(f"schema_version = 1\n{line}")
    before = everything(repo)

    with pytest.raises(Conflict, match=r"already"):
        made(repo)

    assert everything(repo) == before and not (repo.root / "prompts").exists()


@pytest.mark.parametrize("text", ["tasks = { hello = { prompt = 'x' } }\n", "tasks = 3\n", "[", "\x00"])
def test_a_file_that_takes_no_more_tables_is_refused_and_nothing_is_changed(repo, text):
    repo.write(text)
    before = everything(repo)

    with pytest.raises(ConfigInvalid, match="cannot be extended"):
        made(repo)

    assert everything(repo) == before and not (repo.root / "prompts").exists()


def test_a_prompt_of_somebody_else_is_never_replaced(repo):
    theirs = repo.root / "prompts" / "factory" / "build.md"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")

    with pytest.raises(Conflict, match="prompts/factory exists"):
        made(repo)

    assert everything(repo) == {str(theirs): b"mine"}


@pytest.mark.parametrize("place", ["prompts", "delegate.toml", ".gitignore"])
def test_no_link_is_followed(repo, place):
    outside = repo.root.parent / "outside"
    outside.mkdir()
    (repo.root / place).parent.mkdir(exist_ok=True)
    (repo.root / place).symlink_to(outside)

    with pytest.raises(Conflict, match="is a symbolic link"):
        made(repo)

    assert not list(outside.iterdir()) and not everything(repo)


def test_what_is_printed_is_what_would_be_written(repo):
    text, _ = sample(str(repo.root), repo.env, full=False, pipeline="factory")
    assert not everything(repo)

    made(repo)

    assert (
        repo.file.read_text() in f"schema_version = 1\n\n\n{text.removeprefix('==> delegate.toml' + chr(10))}"
    )
    for path in (repo.root / "prompts" / "factory").iterdir():
        assert f"==> {path.relative_to(repo.root)}\n{path.read_text()}" in text


def test_the_prompts_are_short_to_read() -> None:
    for path in (Path(__file__).parents[2] / "pipelines" / "factory").iterdir():
        assert all(len(line) <= 110 for line in path.read_text().splitlines()), path


@pytest.mark.parametrize("there", [(), ("claude",)])
def test_which_programs_of_its_runtimes_are_not_here_is_noted(
    repo, there: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(repo, *there)
    monkeypatch.chdir(repo.root)
    monkeypatch.setenv("PATH", repo.env["PATH"])
    assert main(["init", "--pipeline", "factory"]) == 0
    assert ("note: no `claude` on PATH" in capsys.readouterr().err) == (not there)
