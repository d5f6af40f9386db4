"""Where people work: in folders with any name, with any umask, in any locale; from `init` to `clean`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.repo import Repo

SETTINGS = """
[tasks.look]
prompt = "Look."
sandbox = "read-only"
[tasks.work]
prompt = "Do it."
sandbox = "workspace-write"
grace = "300ms"
[tasks.apart]
prompt = "Do it there."
sandbox = "workspace-write"
workspace = "worktree"
grace = "300ms"
"""
PLAIN = "repo"
ANY_NAME = "für é-🎈 \udce9\udcff"  # the last two are no UTF-8
LETTERS = "für é"
PLACES: dict[str, tuple[str, dict[str, str | None], int]] = {
    "any name": (ANY_NAME, {}, 0o022),
    "no locale": (LETTERS, {"LANG": None}, 0o022),
    "Latin letters": (LETTERS, {"LANG": "C", "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}, 0o022),
    "ASCII": (
        LETTERS,
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        0o022,
    ),
    "others may write": (PLAIN, {}, 0o000),
    "nobody else may read": (PLAIN, {}, 0o077),
}


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(("name", "env", "mask"), PLACES.values(), ids=PLACES)
def test_everything_that_is_usually_done_works_there(
    tmp_path: Path, name: str, env: dict[str, str | None], mask: int
) -> None:
    repo = Repo(tmp_path, name)
    message = "dôné \u2705"  # no Latin letter either
    repo.quick_codex(message)
    git = ("git", "-C", str(repo.root), "-c", "user.name=a", "-c", "user.email=a@b")

    def says(verb: str, *words: str, formats: tuple[str, ...] = ("text", "json")) -> Any:
        for wanted in formats:
            done = repo.cli(verb, *words, "--format", wanted, env=env)
            assert done.status == 0, (verb, words, wanted, done)
        return done.json()

    with umask(mask):
        says("init", formats=("json",))
        repo.config(SETTINGS)
        says("trust", "--yes")  # a folder that others may write is trusted with nothing to come
        for words in (("add", "-A"), ("commit", "-qm", "first")):
            subprocess.run([*git, *words], check=True)
        says("check")
        assert {check["verdict"] for check in says("doctor")["checks"]} <= {"ok", "note", "skip", "warn"}
        argv = says("resolve", "--task", "apart")["argv"]
        assert os.fsencode(argv[0]) == os.fsencode(repo.bin / "codex")
        for verb in ("--wait", "--follow"):
            done = repo.cli("start", "--task", "look", verb, env=env)
            assert (done.status, "\nsucceeded  " in done.stderr) == (0, True), done
        for task in ("look", "work", "apart"):
            manifest = says("start", "--task", task, "--wait", formats=("json",))
            assert (manifest["status"], manifest["last_message"]) == ("succeeded", message)
            assert os.fsencode(manifest["repo"]) == os.fsencode(repo.root)
        for verb in ("status", "logs", "report", "diff", "cancel"):
            says(verb, "@latest")
        says("accept", "@latest", formats=("json",))
        assert {row["run_id"] for row in says("list", "--all")} == {run.id for run in repo.runs()}
        seen = subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True).stdout
        assert seen == b""
        assert not [path for path in ours(repo) if path.stat().st_mode & 0o077]
        says("clean", "--older-than", "0", formats=("json",))
        assert repo.no_runs()
    assert not list(repo.home.rglob("crash-*"))


def ours(repo: Repo) -> list[Path]:
    """The folders that have what we keep: whoever may write in one could put something in its place."""
    found = [repo.runs_folder, repo.home / ".cache/runner", repo.home / ".local/state/runner"]
    return [path for top in found for path in (top, *top.iterdir()) if path.is_dir()]


PART = """schema_version = 1
[tasks.work]
prompt = "Do it."
sandbox = "workspace-write"
grace = "300ms"
scope = ["packages/one/**"]
verify = [["test", "-f", "packages/one/new"]]
"""


@pytest.mark.parametrize("workspace", ["in-place", "worktree"])
def test_the_settings_of_a_part_of_a_repository_speak_of_the_whole(tmp_path: Path, workspace: str) -> None:
    """As `check` says: agents, checks and paths begin at the root of the repository."""
    repo = Repo(tmp_path)
    part = repo.root / "packages" / "one"
    part.mkdir(parents=True)
    (part / "delegate.toml").write_text(f'{PART}workspace = "{workspace}"\n')
    repo.commit()
    repo.quick_codex(before='\npwd > "$HOME/where"; touch packages/one/new')
    checked = repo.cli("check", cwd=part)
    assert f"packages/one/delegate.toml: agents and checks run in {repo.root}" in checked.stderr
    done = repo.cli("start", "--task", "work", "--wait", cwd=part)
    assert done.status == 0, done.stderr
    (run,) = repo.runs()
    place = run.on_disk()["workspace"]["path"]
    assert (repo.home / "where").read_text() == f"{place}\n"
    assert (place == str(repo.root)) is (workspace == "in-place")
    if workspace == "in-place":
        (part / "new").unlink()
    repo.quick_codex(before="\ntouch new packages/one/new")
    done = repo.cli("start", "--task", "work", "--wait", cwd=part)
    assert "new" in done.stderr and done.status == 6, "what is outside of the part"
