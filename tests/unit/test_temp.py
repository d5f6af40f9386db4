"""The folder for temporary files of a run, in which a program may have its home."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.state import temp

HOME = {".agent/settings.json": "{}", ".agent/rules/ours.toml": "deny", "agent.toml": "ours"}
KEPT = (".agent/sessions", ".agent/index.json")


def tree(folder: Path) -> dict[str, str]:
    return {str(one.relative_to(folder)): one.read_text() for one in folder.rglob("*") if one.is_file()}


def rewritten(own: Path, _: Path) -> None:
    (own / "settings.json").write_text("forged")
    (own / "rules/ours.toml").unlink()
    (own / "rules/ours.toml").mkdir()
    (own / "memory.md").write_text("believe me")


def put_elsewhere(own: Path, user: Path) -> None:
    for name in ("settings.json", "rules"):
        (own / name).rename(own / f"{name}-")
        (own / name).symlink_to(user)


def with_a_link_for_what_is_kept(own: Path, user: Path) -> None:
    (own / "sessions").rename(own / "before")
    (own / "sessions").symlink_to(user)


def a_link(own: Path, user: Path) -> None:
    own.rename(own.with_name("moved"))
    own.symlink_to(user)


def a_file(own: Path, _: Path) -> None:
    own.rename(own.with_name("moved"))
    own.write_text("x")


def a_pipe(own: Path, _: Path) -> None:
    own.rename(own.with_name("moved"))
    os.mkfifo(own)


def gone(own: Path, _: Path) -> None:
    own.rename(own.with_name("moved"))


@pytest.mark.parametrize(
    ("left", "is_kept"),
    [
        (rewritten, True),
        (put_elsewhere, True),
        *((how, False) for how in (with_a_link_for_what_is_kept, a_link, a_file, a_pipe, gone)),
    ],
)
def test_another_attempt_finds_the_home_as_it_was_but_what_is_kept(
    tmp_path: Path, left: Callable[[Path, Path], None], is_kept: bool
) -> None:
    path, user = tmp_path / "temp", tmp_path / "user"
    (user / "sessions").mkdir(parents=True)
    (user / "sessions/mine").write_text("mine")
    temp.renew(str(path), HOME, KEPT)
    own = path / ".agent"
    (own / "sessions").mkdir()
    (own / "sessions/1").write_text("said")
    (path / "scratch").write_text("stays")
    left(own, user)
    (path / "agent.toml").write_text("forged")
    (path / ".env").write_text("SERVER=elsewhere")
    (path / ".agents/skills").mkdir(parents=True)
    (path / ".settings").symlink_to(user)
    temp.renew(str(path), HOME, KEPT)
    assert not own.is_symlink() and tree(own) == HOME_IN | ({"sessions/1": "said"} if is_kept else {})
    assert (path / "agent.toml").read_text() == "ours"
    assert [name for name in os.listdir(path) if name.startswith(".")] == [".agent"]
    assert (path / "scratch").read_text() == "stays" and tree(user) == {"sessions/mine": "mine"}


HOME_IN = {name.removeprefix(".agent/"): text for name, text in HOME.items() if "/" in name}


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "user/.agent").mkdir(parents=True)
    (tmp_path / "temp").symlink_to(tmp_path / "user")
    with pytest.raises(OSError):
        temp.renew(str(tmp_path / "temp"), HOME, KEPT)
    assert tree(tmp_path / "user") == {}
