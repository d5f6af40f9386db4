"""The agent's shell has what was declared: what a login shell makes of PATH is seen before it is used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.runtimes import codex
from runner.runtimes.loginshell import Comparison, compare, is_decided

VERIFY = (("checker", "-q"),)


class Desk:
    """A home with a profile of its own, and folders that may be on PATH."""

    def __init__(self, base: Path, home: Path) -> None:
        self.base, self.home, self.folder = base, home, base / "tools"
        self.env = {"HOME": str(home), "PATH": f"{self.folder}:/usr/bin:/bin"}
        self.program(self.folder / "checker")

    def program(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)

    def profile(self, *lines: str, path: str = "/usr/bin:/bin", name: str = ".profile") -> None:
        """Counts its executions, and sets PATH."""
        text = "\n".join((f"echo x >> {self.base}/executed", *lines, f"PATH={path}"))
        (self.home / name).write_text(text + "\n")

    @property
    def executed(self) -> int:
        note = self.base / "executed"
        return len(note.read_text().split()) if note.exists() else 0

    def compare(self, verify: tuple[tuple[str, ...], ...] = VERIFY, *written: object) -> Comparison:
        return compare(self.env, verify, [str(folder) for folder in written])


@pytest.fixture
def desk(tmp_path: Path, own_home: Path) -> Desk:
    return Desk(tmp_path, own_home)


@pytest.mark.parametrize(
    ("verify", "lost"),
    [
        ((("checker", "-q"),), ("checker",)),
        ((("env", "A=1", "checker", "-q"),), ("checker",)),
        ((("sh", "-c", "true"), ("/bin/true",), ("nowhere",)), ()),
    ],
)
def test_a_program_of_verify_that_a_login_shell_does_not_find_is_lost(
    desk: Desk, verify: tuple[tuple[str, ...], ...], lost: tuple[str, ...]
) -> None:
    desk.profile()
    assert desk.compare(verify) == Comparison(lost)


def test_another_program_of_that_name_is_not_what_was_declared(desk: Desk) -> None:
    desk.program(desk.base / "other" / "checker")
    desk.profile(path=f"{desk.base}/other:{desk.folder}")
    assert desk.compare().lost == ("checker",)


def test_a_profile_that_only_adds_loses_nothing(desk: Desk) -> None:
    desk.profile("echo a word of the day", path=f"/opt/more:{desk.folder}:/usr/bin:/bin")
    assert desk.compare() == Comparison()


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta"])
def test_an_environment_is_lost_also_where_another_python_comes_first(desk: Desk, mark: str) -> None:
    place = desk.base / "venv" / "bin"
    desk.program(place / "python")
    (desk.base / "venv" / mark).touch()
    desk.env["PATH"] = f"{place}:/usr/bin:/bin"
    desk.profile()
    assert desk.compare(()).lost == (str(place), "python")
    desk.program(desk.base / "first" / "python")
    desk.profile(path=f"{desk.base}/first:{place}")
    assert desk.compare(()).lost == ("python",)
    desk.profile(path=f"{place}:/usr/bin:/bin:/usr/local/bin")
    assert desk.compare(()).lost == ()


def test_the_shell_is_asked_once_until_a_profile_changes(desk: Desk) -> None:
    desk.profile()
    assert desk.compare().lost == desk.compare().lost == ("checker",)
    assert desk.executed == 1
    desk.profile("# another text", path=f"{desk.folder}:/bin")
    assert desk.compare().lost == ()
    assert desk.executed == 2


def test_where_there_is_nothing_to_lose_no_shell_is_asked(desk: Desk) -> None:
    desk.profile()
    assert desk.compare(()) == Comparison()
    assert desk.executed == 0


@pytest.mark.parametrize("body", ["exec sleep 60", "exit 3", "exec >/dev/null"])
def test_a_profile_that_hangs_or_ends_is_unknown_and_not_asked_at_each_start(desk: Desk, body: str) -> None:
    desk.profile(body)
    found = [desk.compare(), desk.compare()]
    assert [(one.lost, bool(one.unknown)) for one in found] == [((), True)] * 2
    assert desk.executed == 1


def test_a_home_in_the_repository_is_not_executed(desk: Desk) -> None:
    desk.profile()
    found = desk.compare(VERIFY, desk.home.parent)
    assert found.lost == () and str(desk.home) in (found.unknown or "")
    assert desk.compare(VERIFY, desk.home).unknown
    assert desk.executed == 0


def test_a_profile_that_is_a_link_into_the_repository_is_not_executed(desk: Desk) -> None:
    (desk.base / "repo").mkdir()
    (desk.base / "repo" / "bashrc").write_text(f"echo x >> {desk.base}/executed\n")
    os.symlink(desk.base / "repo" / "bashrc", desk.home / ".bash_profile")
    found = desk.compare(VERIFY, desk.base / "repo")
    assert ".bash_profile" in (found.unknown or "")
    assert desk.executed == 0
    assert desk.compare(VERIFY, desk.base / "elsewhere").unknown is None
    assert desk.executed == 1


def test_a_profile_gets_no_key(desk: Desk) -> None:
    desk.env["CODEX_API_KEY"] = "a-key-of-somebody"
    desk.profile(f'echo "${{CODEX_API_KEY-none}}" > {desk.base}/key')
    desk.compare()
    assert (desk.base / "key").read_text() == "none\n"


def test_what_the_user_says_in_the_settings_of_codex_decides(desk: Desk) -> None:
    env = {**desk.env, "CODEX_HOME": str(desk.base)}
    assert not is_decided(codex.RUNTIME, env)
    (desk.base / "config.toml").write_text("allow_login_shell = true\n")
    assert is_decided(codex.RUNTIME, env)
