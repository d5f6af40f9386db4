"""`runner open` prints a command that any shell takes for what it is, and executes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ended import an_ended_run

from runner.cli.app import main
from runner.errors import Conflict
from runner.state.store import RunDir
from runner.usecases.opening import opening, shell_word

THREAD = "01a1f90e-bf6d-7a72-b936-e24c4f2852bf"
HOSTILE = 'it\'s "a" $(touch harm) `x`\n\x1b[2J\u202e ##[error]\x9b é;&'


def a_run(root: Path, thread: str | None = THREAD, **declared: Any) -> RunDir:
    run: RunDir = an_ended_run(root, **declared)
    run.write_manifest(run.read_manifest().replace(thread_id=thread))
    return run


def a_program(path: Path) -> str:
    """It says where it is, what it was told, and where its home is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/sh\nprintf "%s\\0" "$PWD" "$@" "${CODEX_HOME-none}"\n')
    path.chmod(0o755)
    return str(path)


def in_a_shell(command: str, path: str | None = None) -> list[str]:
    env = {"PATH": path or os.environ["PATH"]}
    shell = str(shutil.which("bash"))
    done = subprocess.run([shell, "-c", command], cwd="/", env=env, capture_output=True, check=True)
    return os.fsdecode(done.stdout).split("\0")[:-1]


@given(word=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_word_is_one_word_for_a_shell_and_no_order_to_a_terminal(word: str) -> None:
    told = shell_word(word)
    assert told.isprintable() and "##" not in told
    if len(word) < 8:  # a shell costs a millisecond
        assert in_a_shell(f"printf '%s\\0' {told}") == [word]


def test_the_command_opens_the_session_where_the_run_was_and_whatever_its_folders_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / HOSTILE
    (root / ".git").mkdir(parents=True)
    program, own = a_program(root / "bin" / "codex"), root / "tree \udcff"
    own.mkdir()
    run = a_run(root, program=program, cwd=str(own), sessions_home=f"{root}/home")
    monkeypatch.chdir(root)
    monkeypatch.setenv("CODEX_HOME", "/mine")
    assert main(["open", run.run_id]) == 0
    command = capsys.readouterr().out
    assert command.endswith(f"resume {THREAD}\n") and command[:-1].isprintable()
    assert in_a_shell(command) == [str(own), "resume", THREAD, f"{root}/home"]
    assert not (root / "harm").exists() and not (own / "harm").exists()
    assert main(["open", run.run_id, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    argv = [program, "resume", THREAD]
    assert (told["run_id"], told["thread_id"], told["argv"]) == (run.run_id, THREAD, argv)
    assert (told["cwd"], told["env"], f"{told['command']}\n") == (
        str(own),
        {"CODEX_HOME": f"{root}/home"},
        command,
    )


def test_what_the_caller_has_as_well_is_left_out_and_a_folder_that_is_gone_too(tmp_path: Path) -> None:
    program, place = a_program(tmp_path / "bin" / "codex"), f"{tmp_path}/home/.codex"
    run = a_run(tmp_path, program=program, cwd=f"{tmp_path}/gone", sessions_home=place)
    env = {"PATH": f"{tmp_path}/bin", "HOME": f"{tmp_path}/home"}
    shown, _ = opening(run, env)
    assert shown.command == f"cd {tmp_path} && codex resume {THREAD}"
    assert in_a_shell(shown.command, f"{tmp_path}/bin:/bin") == [str(tmp_path), "resume", THREAD, "none"]
    other, _ = opening(run, {**env, "HOME": "/other"})
    assert other.command == f"cd {tmp_path} && CODEX_HOME={place} codex resume {THREAD}"
    unknown, _ = opening(a_run(tmp_path, program=program), {"PATH": "/nowhere", "CODEX_HOME": "/x"})
    assert unknown.command == f"cd {tmp_path} && {program} resume {THREAD}", "a run of an older runner"


@pytest.mark.parametrize("path", [".:{}", ":{}", "{}:", "bin:{}", "{}::/bin", "./x:{}"])
def test_no_program_of_the_folder_is_opened_in_the_place_of_the_agents(path: str, tmp_path: Path) -> None:
    """As a shell would that looks for programs where it is, which is where an agent has worked then."""
    program = a_program(tmp_path / "opt" / "codex")
    for folder in (".", "bin", "x"):
        (tmp_path / folder / "codex").parent.mkdir(exist_ok=True)
        (tmp_path / folder / "codex").write_text("#!/bin/sh\necho harm\n")
        (tmp_path / folder / "codex").chmod(0o755)
    search = path.format(f"{tmp_path}/opt")
    shown, _ = opening(a_run(tmp_path, program=program), {"PATH": search})
    assert shown.argv[0] == program
    assert in_a_shell(shown.command, f"{search}:/bin")[1:3] == ["resume", THREAD]


def test_claude_code_has_its_own_words(tmp_path: Path) -> None:
    run = a_run(tmp_path, runtime="claude", program="/opt/claude", sessions_home="/c")
    shown, _ = opening(run, {"PATH": "/nowhere", "CLAUDE_CONFIG_DIR": "/d"})
    assert shown.command == f"cd {tmp_path} && CLAUDE_CONFIG_DIR=/c /opt/claude --resume {THREAD}"


@pytest.mark.parametrize("runtime", ["gemini", "kay", "acp", "plan"])
def test_what_no_program_opens_is_refused(runtime: str, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="nothing is known that opens a session") as caught:
        opening(a_run(tmp_path, runtime=runtime), os.environ)
    assert "runner logs" in str(caught.value.hint)


@pytest.mark.parametrize("thread", [None, "", "-x", "a b", "$(x)", "é", "x" * 129])
def test_a_session_whose_id_is_none_is_not_opened(thread: str | None, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="has no session that is known"):
        opening(a_run(tmp_path, thread), os.environ)


def test_a_rehearsal_is_warned_of_and_a_foreign_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    run = a_run(tmp_path)
    assert main(["open", run.run_id]) == 0 and capsys.readouterr().err == ""
    run.write_manifest(run.read_manifest().replace(rehearsal=True))
    assert main(["open", run.run_id, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["thread_id"] == THREAD and "asks the real provider" in err
    Path(run.invocation).write_text(Path(run.invocation).read_text().replace("codex", "kodex"))
    assert main(["open", run.run_id, "--json"]) == 9
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "foreign_run"
