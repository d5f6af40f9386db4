"""Which file a name means as a program, and with which PATH a child starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runner.disk import programs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, in which an agent has left a `tool`."""
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "sub"):
        folder.mkdir(exist_ok=True)
        (folder / "tool").write_text("#!/bin/sh\necho the agent's\n")
        (folder / "tool").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    "path", ["", ".", ":", ".:", ":/usr/bin", "/usr/bin:", "sub", "./sub", "../here", "~"]
)
def test_no_entry_of_path_means_the_folder_one_is_in(here: Path, path: str) -> None:
    assert programs.on_path("tool", {"PATH": path}) is None
    child = programs.with_search_path({"PATH": path})
    assert subprocess.run(["/bin/sh", "-c", "tool"], env=child, capture_output=True).returncode == 127


def test_the_first_executable_on_path_is_taken_by_its_absolute_path(here: Path) -> None:
    good = here / "good"
    good.mkdir()
    (good / "tool").touch(0o755)
    (here / "plain").mkdir()
    (here / "plain" / "tool").touch(0o644)
    assert programs.on_path("tool", {"PATH": f"{here}/plain:.:{good}:{here}"}) == f"{good}/tool"


@pytest.mark.parametrize("name", ["", "./tool", "sub/tool", "../tool", "/bin/sh"])
def test_what_is_no_name_is_not_looked_for(here: Path, name: str) -> None:
    assert programs.on_path(name, {"PATH": str(here)}) is None


def test_what_is_absolute_on_path_stays_as_it_was_and_additions_come_last() -> None:
    assert programs.search_path({"PATH": ".:/b:x:/a:"}, ["/c"]) == "/b:/a:/c"


@pytest.mark.parametrize("env", [{}, {"PATH": ""}, {"PATH": "."}], ids=str)
def test_a_child_always_gets_a_path(env: dict[str, str]) -> None:
    """A shell without one has its own, and an empty one means the present folder."""
    assert programs.with_search_path(env) == {"PATH": os.defpath}


def test_folders_in_work_trees_come_last(tmp_path: Path) -> None:
    """An agent may write there; a virtual environment in the repository is often the first on PATH."""
    first, second, third = (tmp_path / name for name in ("repo/.venv/bin", "linked/bin", "usual/bin"))
    for place in (first, second, third):
        place.mkdir(parents=True)
        (place / "tool").touch(0o755)
    (tmp_path / "repo" / ".git").mkdir()
    (tmp_path / "repo" / ".git" / "HEAD").touch()
    (tmp_path / "linked" / ".git").write_text("gitdir: elsewhere\n")
    (tmp_path / "alias").symlink_to(first)
    path = f"{first}:.:{tmp_path}/alias:{second}:{third}:/gone"
    last = programs.work_trees_last({"PATH": path})
    assert last == f"{third}:/gone:{first}:{tmp_path}/alias:{second}"
    assert programs.on_path("tool", {"PATH": last}) == f"{third}/tool"


def test_a_clone_that_keeps_programs_is_no_work_tree_of_runs(tmp_path: Path) -> None:
    """nvm and Homebrew are clones. Where runs are started, or in the present folder, an agent may write."""
    for name in ("nvm", "ours", "here"):
        (tmp_path / name / ".git").mkdir(parents=True)
        (tmp_path / name / ".git" / "HEAD").touch()
        (tmp_path / name / "tool").touch(0o755)
    (tmp_path / "ours" / "delegate.toml").touch()
    here = str(tmp_path / "here")
    found = {name: {"PATH": str(tmp_path / name)} for name in ("nvm", "ours", "here")}
    assert programs.outside_work_trees("tool", found["nvm"], here) == f"{tmp_path}/nvm/tool"
    for name in ("ours", "here"):
        assert programs.outside_work_trees("tool", found[name], here) is None
    assert programs.outside_work_trees("tool", found["nvm"]) is None
    path = f"{tmp_path}/here:{tmp_path}/nvm"
    assert programs.work_trees_last({"PATH": path}, here) == f"{tmp_path}/nvm:{tmp_path}/here"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("sh -c x", None),
        ("pyhton -m pytest", "pyhton"),
        ("cd web", "cd"),
        ("env A=1 B=2 pyhton x", "pyhton"),
        ("env A=1 sh x", None),
        ("/usr/bin/env A=1 pyhton", "pyhton"),
        ("env -u A pyhton", None),
        ("env", None),
        ("./made-by-the-run.sh", None),
        ("{root}/made-by-the-run.sh", None),
        ("../outside.sh", "../outside.sh"),
        ("sub/../../outside.sh", "sub/../../outside.sh"),
        ("/nowhere/tool", "/nowhere/tool"),
        ("/bin/sh", None),
    ],
)
def test_a_program_that_cannot_be_run_is_told_unless_a_run_may_make_it(
    command: str, expected: str | None, tmp_path: Path
) -> None:
    argv = command.format(root=tmp_path).split()
    assert programs.absent(argv, {"PATH": "/usr/bin:/bin"}, str(tmp_path)) == expected
