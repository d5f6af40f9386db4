"""Where a user's folders lie, whatever the environment says."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from support.userdb import own_database

from runner.disk import home
from runner.errors import Unwritable

FOLDERS = {
    "XDG_STATE_HOME": (home.state, ".local/state/runner"),
    "XDG_CACHE_HOME": (home.cache, ".cache/runner"),
    "XDG_CONFIG_HOME": (home.config, ".config/runner"),
}
NO_HOME: tuple[dict[str, str], ...] = ({}, {"HOME": ""}, {"HOME": "here"}, {"HOME": "./here"}, {"HOME": "~"})


def of_the_database() -> str:
    return pwd.getpwuid(os.geteuid()).pw_dir


@pytest.mark.parametrize("name", FOLDERS)
def test_an_absolute_folder_of_the_environment_is_taken(name: str) -> None:
    folder, _ = FOLDERS[name]
    assert (
        folder({name: "/some/where", "HOME": "/h"}) == folder({name: "/some/where"}) == "/some/where/runner"
    )


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("value", [None, "", "here", "./here", "../here", "~/here", "~"])
def test_a_missing_or_relative_folder_is_below_the_home_folder(name: str, value: str | None) -> None:
    folder, below = FOLDERS[name]
    env = {"HOME": "/h"} if value is None else {"HOME": "/h", name: value}
    assert folder(env) == f"/h/{below}"


@pytest.mark.parametrize("env", NO_HOME, ids=str)
def test_without_an_absolute_home_it_is_that_of_the_password_database(env: dict[str, str]) -> None:
    assert home.find(env) == of_the_database()
    for folder, below in FOLDERS.values():
        assert folder(env) == f"{of_the_database()}/{below}"


@pytest.mark.parametrize("entry", [None, "", "here"])
def test_where_the_database_knows_no_home_either_there_is_no_folder(
    entry: str | None, tmp_path: Path
) -> None:
    code = """
from runner.disk import home
from runner.errors import Unwritable
for folder in (home.state, home.config):
    try:
        print(folder({"HOME": "here"}))
    except Unwritable as error:
        print(error.code, int(error.exit_status), error.hint)
print(home.cache({}), home.find({}), home.of_program({}, "CODEX_HOME", ".codex"))
print(home.cache({"XDG_CACHE_HOME": "/c"}), home.of_program({"CODEX_HOME": "/d"}, "CODEX_HOME", ".codex"))
"""
    done = subprocess.run(
        [*own_database(tmp_path, entry), sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.splitlines() == [
        "unwritable 9 set HOME or XDG_STATE_HOME to an absolute path",
        "unwritable 9 set HOME or XDG_CONFIG_HOME to an absolute path",
        "None None None",
        "/c/runner /d",
    ]


def test_the_folder_of_a_program_is_where_its_variable_says_or_below_the_home_folder() -> None:
    assert home.of_program({"CODEX_HOME": "/d", "HOME": "/h"}, "CODEX_HOME", ".codex") == "/d"
    assert home.of_program({"CODEX_HOME": "", "HOME": "/h"}, "CODEX_HOME", ".codex") == "/h/.codex"
    assert home.of_program({}, "KAY_HOME", ".kay") == f"{of_the_database()}/.kay"


@pytest.mark.parametrize("inside", ["repo", "repo/state", "repo/../repo/a/b", "link", "link/deeper"])
def test_a_place_in_a_folder_is_refused_also_through_links(inside: str, tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "link").symlink_to("repo/elsewhere")
    with pytest.raises(Unwritable, match="a thing kept in") as refused:
        home.refuse_inside(f"{tmp_path}/{inside}", f"{tmp_path}/repo", "a thing")
    assert str(tmp_path / "repo") in (refused.value.hint or "")


@pytest.mark.parametrize("beside", ["repo2", "rep", "", "repo/../other", "out"])
def test_a_place_beside_or_above_a_folder_is_not_in_it(beside: str, tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "out").symlink_to("elsewhere")
    home.refuse_inside(f"{tmp_path}/{beside}", f"{tmp_path}/repo", "a thing")
