"""Asking git: what comes back when it refuses, is killed or is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.workspace.git import Git, GitFailed


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def git_that_does(programs: Path, body: str) -> None:
    (programs / "git").write_text(f"#!/bin/sh\n{body}\n")
    (programs / "git").chmod(0o755)


def test_what_git_refuses_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match=r"`git rev-parse` failed in .*: fatal: not a git repository"):
        Git(str(tmp_path)).run("rev-parse", "HEAD")


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match="cannot change to"):
        Git(f"{tmp_path}/gone").run("status")


def test_git_that_is_killed_has_failed(tmp_path: Path, programs: Path) -> None:
    git_that_does(programs, "kill -9 $$")
    with pytest.raises(GitFailed, match="`git status` did not end by itself: -9"):
        Git(str(tmp_path)).ask("status")


def test_a_machine_without_git_is_told_so(tmp_path: Path, programs: Path) -> None:
    with pytest.raises(GitFailed, match="there is no git on PATH"):
        Git(str(tmp_path)).run("status")
    (programs / "git").write_text("no program")
    with pytest.raises(GitFailed, match="there is no git on PATH"):
        Git(str(tmp_path)).run("status")


def test_git_gets_and_gives_any_bytes_however_many(tmp_path: Path, programs: Path) -> None:
    git_that_does(programs, '/bin/cat; printf %s "$4"')
    data = bytes(range(256)) * 4096
    name = os.fsdecode(b"\xff\n")
    assert Git(str(tmp_path)).ask("x", name, stdin=data) == (0, data + b"\xff\n", "")


def test_git_dies_of_a_closed_pipe_as_in_a_shell(tmp_path: Path, programs: Path) -> None:
    """Python ignores SIGPIPE, and what is ignored is inherited."""
    git_that_does(programs, "/bin/sh -c 'kill -13 $$'; echo $?")
    assert Git(str(tmp_path)).run("x") == b"141\n"


def test_an_output_file_is_private_and_replaces_nothing(tmp_path: Path, programs: Path) -> None:
    git_that_does(programs, "echo said")
    path = tmp_path / "out"
    Git(str(tmp_path)).into(str(path), "x")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"said\n", 0o600)
    with pytest.raises(FileExistsError):
        Git(str(tmp_path)).into(str(path), "x")


@pytest.mark.parametrize("path", [".:{}", ":{}", "{}:", "sub:{}"])
def test_no_git_of_the_present_folder_is_started(
    path: str, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_that_does(programs, "echo ours $PATH")
    agent = tmp_path / "agent"
    for folder in (agent, agent / "sub"):
        folder.mkdir()
        (folder / "git").write_text("#!/bin/sh\necho the agent\n")
        (folder / "git").chmod(0o755)
    monkeypatch.chdir(agent)
    monkeypatch.setenv("PATH", path.format(programs))
    assert Git(str(agent)).run("status") == b"ours %s\n" % os.fsencode(programs)


def test_git_stays_the_one_that_was_found_first(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = tmp_path / "early"
    early.mkdir()
    git_that_does(programs, "echo first")
    monkeypatch.setenv("PATH", f"{early}:{programs}")
    assert Git(str(tmp_path)).run("x") == b"first\n"
    git_that_does(early, "echo second")
    assert Git(str(tmp_path)).run("x") == b"first\n"
