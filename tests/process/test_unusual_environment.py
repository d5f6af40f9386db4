"""Environments that are unusual but legal: no HOME, relative folders, a foreign umask.

A user without HOME has the home folder of a password database of the test's own.
"""

from __future__ import annotations

import os
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.doubles import FINISHED, THREAD, said
from support.repo import Completed, Repo
from support.trusting import trusting
from support.userdb import own_database

from runner.cli.app import COMMANDS

XDG = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
NO_HOME: dict[str, dict[str, str | None]] = {
    "nothing at all": {"HOME": None, "CODEX_HOME": None, "KAY_HOME": None},
    "empty": {"HOME": "", "CODEX_HOME": "", "KAY_HOME": "", **dict.fromkeys(XDG, "")},
    "relative": {"HOME": "here", **dict.fromkeys(XDG, "relative")},
}
WRITES = 'sandbox = "workspace-write"\nprompt = "Do it."\ngrace = "300ms"\n'
SETTINGS = f"""
[tasks.work]
{WRITES}
[tasks.apart]
workspace = "worktree"
{WRITES}
[tasks.look]
sandbox = "read-only"
prompt = "Look."
"""


class Place:
    """A repository with settings, a commit and a quick codex, and a user whose home only the database has."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo
        self.home = repo.base / "entry"
        self.home.mkdir()
        repo.config(SETTINGS)
        repo.codex(f'cat > /dev/null\necho "${{HOME-unset}}" >&2\n{THREAD}{said("done")}{FINISHED}')
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        for words in (("add", "-A"), (*author, "commit", "-qm", "first")):
            subprocess.run(["git", "-C", str(repo.root), *words], check=True)

    def cli(
        self, *words: str, env: dict[str, str | None], home: str | None = "", umask: int = 0o022
    ) -> Completed:
        """`runner WORDS` of that user, or of one with another `home` in the database, or with none."""
        prefix = own_database(self.repo.base, str(self.home) if home == "" else home)
        prefix += ("sh", "-c", f'umask {umask:o} && exec "$0" "$@"')
        trusted = trusting(self.repo.root)  # not all of these homes can keep it
        with self.repo.process(*words, env=trusted | env, prefix=prefix) as process:
            out, err = process.communicate(timeout=60)
        return Completed(process.returncode, out.decode(), err.decode())

    def json(self, *words: str, **options: Any) -> Any:
        done = self.cli(*words, "--format", "json", **options)
        assert done.status == 0, done
        return done.json()

    def names(self) -> set[str]:
        """What lies in the repository."""
        return {path.name for path in self.repo.root.iterdir()}

    @property
    def state(self) -> Path:
        return self.home / ".local/state/runner"


@pytest.fixture
def place(repo: Repo) -> Place:
    return Place(repo)


@pytest.fixture(params=NO_HOME)
def env(request: pytest.FixtureRequest) -> dict[str, str | None]:
    return NO_HOME[request.param]


def options(argv: list[str], name: str) -> list[str]:
    return [value for option, value in pairwise(argv) if option == name]


# -- no HOME, and folders that are relative ----------------------------------------------------------


def test_what_would_run_has_its_guard_its_tree_and_its_temporary_files_in_the_home_of_the_database(
    place: Place, env: dict[str, str | None]
) -> None:
    argv = place.json("resolve", "--task", "apart", env=env)["argv"]
    (temp,), (tree,) = options(argv, "--add-dir"), options(argv, "-C")
    assert Path(temp).is_relative_to(place.state / "temp"), "the repository lies below /tmp"
    (guard, _) = options(place.json("resolve", "--task", "work", env=env)["argv"], "--add-dir")
    assert Path(guard).is_relative_to(place.state / "guards")
    assert Path(tree).is_relative_to(place.state / "worktrees")
    assert not place.state.exists()


def test_a_relative_folder_is_ignored_where_home_is_absolute(place: Place) -> None:
    env: dict[str, str | None] = dict.fromkeys(XDG, "relative")
    argv = place.json("resolve", "--task", "apart", env=env)["argv"]
    state = place.repo.home / ".local/state/runner"
    assert [
        Path(path).is_relative_to(state) for path in options(argv, "--add-dir") + options(argv, "-C")
    ] == [
        True,
        True,
    ]
    assert (place.repo.home / ".cache/runner/config").is_dir()
    assert "relative" not in place.names()


@pytest.mark.parametrize("task", ["work", "apart"])
def test_a_run_that_may_write_is_guarded_and_its_child_gets_the_environment_as_it_is(
    task: str, place: Place, env: dict[str, str | None]
) -> None:
    before = place.names()
    ended = place.json("start", "--task", task, "--wait", env=env)
    assert ended["status"] == "succeeded"
    guards = [guard.read_text() for guard in place.state.glob("guards/*/.git")]
    assert guards == ([f"gitdir: {place.repo.root}/.runs\n"] if task == "work" else [])
    home = env["HOME"]
    assert place.repo.runs()[0].file("stderr.log") == f"{'unset' if home is None else home}\n"
    assert place.names() == before | {".runs"}
    assert not list(place.state.glob("crash-*"))


@pytest.mark.parametrize("named", ["nothing at all", "relative"])
def test_every_verb_works_as_ever(named: str, place: Place) -> None:
    env = NO_HOME[named]
    before = place.names()
    assert place.json("start", "--task", "apart", "--wait", env=env)["status"] == "succeeded"
    run = place.repo.runs()[0].id
    words: dict[str, tuple[str, ...]] = {
        "check": (),
        "trust": ("--yes",),
        "doctor": (),
        "tasks": (),
        "lock": (),
        "config": ("show",),
        "resolve": ("--task", "work"),
        "consent": ("--yes",),
        "start": ("--task", "look", "--wait"),
        "list": ("--all",),
        "status": (run,),
        "wait": (run,),
        "logs": (run,),
        "events": (),
        "inbox": (),
        "ledger": ("show", run),
        "mode": ("on", "work", "--held", "--host", "claude", "--session", "s1"),
        "audit": ("show",),
        "ci": ("report", run),
        "stats": (),
        "report": (run,),
        "diff": (run,),
        "accept": (run,),
        "cancel": (run,),
        "open": (run,),
        "await": (run,),
        "end": (run,),
        "reap": (),
        "clean": ("--dry-run",),
        "delegate-server": (),
        "schema": ("delegate",),
        "completion": ("bash",),
        "plugin": ("print", "--snippet"),
        "pipeline": ("list",),
        "policy": ("diff", "HEAD"),
    }
    refused: dict[str, tuple[int, tuple[str, ...]]] = {
        "init": (9, ()),  # there is a delegate.toml
        "plan": (2, ("plan.toml",)),  # there is none
        "verify": (2, ("work",)),  # no task has checks
        "retry": (9, (run,)),  # it has succeeded
        "discard": (9, (run,)),  # it was accepted
        "record": (9, (run, "-o", "delegate.toml")),  # it is there already
        "send": (9, (run, "x")),  # it had a tree of its own
        "diff-runs": (4, (run,)),  # none before it has succeeded
        "pause": (9, (run,)),
        "resume": (9, (run,)),
        "watch": (2, ()),  # there is no terminal
        "approve": (2, (run,)),  # it is no pipeline
        "answer": (4, (run, "q-0001", "x")),  # it has asked nothing
    }
    assert words.keys() | refused.keys() == COMMANDS.keys()
    for verb in words:
        done = place.cli(verb, *words[verb], env=env)
        assert done.status == 0, (verb, done)
    for verb, (status, rest) in refused.items():
        done = place.cli(verb, *rest, env=env)
        assert done.status == status, (verb, done)
    assert len(list((place.state / "consents").iterdir())) == 1
    assert [path.name for path in (place.state / "hosts/claude").iterdir()] == ["s1.json"]
    assert place.names() == before | {".runs", "delegate.lock"}
    assert not list(place.state.glob("crash-*"))


# -- nobody knows a home ----------------------------------------------------------------------------


def test_a_user_without_any_home_is_told_so_and_nothing_is_started(place: Place) -> None:
    env = NO_HOME["nothing at all"]
    for words in (
        ("start", "--task", "look"),
        ("resolve", "--task", "look"),
        ("consent", "--yes"),
        ("doctor",),
    ):
        done = place.cli(*words, "--format", "json", env=env, home=None)
        assert (done.status, done.error["code"]) == (9, "unwritable"), (words, done)
        assert "no home folder" in done.error["message"] and "set HOME" in done.error["hint"]
    assert place.cli("list", "--all", env=env, home=None).status == 0
    assert place.repo.no_runs()


def test_a_user_without_any_home_names_the_folders_instead(place: Place) -> None:
    env = {name: str(place.repo.base / name.lower()) for name in XDG} | NO_HOME["nothing at all"]
    for task in ("work", "apart"):
        ended = place.json("start", "--task", task, "--wait", env=env, home=None)
        assert ended["status"] == "succeeded"
        seen = place.json("report", ended["run_id"], env=env, home=None)
        assert seen["files"]["observed"] == [], "a helper of the supervisor believes what was recorded"
    run = ended["run_id"]
    assert place.json("accept", run, env=env, home=None)["run_id"] == run
    assert place.json("doctor", env=env, home=None)["checks"]


# -- a home that is no good -------------------------------------------------------------------------


@pytest.mark.parametrize("home", ["/proc/none", "/dev/null", "file"])
def test_where_the_home_cannot_be_written_a_run_that_only_reads_starts_and_no_other(
    home: str, place: Place
) -> None:
    (place.repo.base / "file").write_text("")
    env: dict[str, str | None] = {"HOME": os.path.join(str(place.repo.base), home)}
    for task in ("work", "apart"):
        assert place.json("resolve", "--task", task, env=env)["argv"]
        done = place.cli("start", "--task", task, "--format", "json", env=env)
        assert (done.status, done.error["code"]) == (9, "unwritable"), done
        assert home in done.error["message"]
        assert place.repo.no_runs()
    consent = place.cli("consent", "--yes", "--format", "json", env=env)
    assert (consent.status, consent.error["code"]) == (9, "unwritable")
    assert place.json("start", "--task", "look", "--wait", env=env)["status"] == "succeeded"


@pytest.mark.parametrize("how", ["inside", "through a link", "home"])
def test_what_guards_the_records_is_never_kept_in_the_repository(how: str, place: Place) -> None:
    repo = place.repo.root
    (place.repo.base / "link").symlink_to(repo / "state")
    env: dict[str, str | None] = {
        "inside": {"XDG_STATE_HOME": str(repo / "state")},
        "through a link": {"XDG_STATE_HOME": str(place.repo.base / "link")},
        "home": {"HOME": str(repo), "XDG_CACHE_HOME": str(place.repo.base / "cache")},
    }[how]
    before = place.names()
    for words in (
        *(("resolve", "--task", "work"), ("resolve", "--task", "apart")),
        *(("start", "--task", "work"), ("start", "--task", "apart"), ("consent", "--yes")),
    ):
        done = place.cli(*words, "--format", "json", env=env)
        assert (done.status, done.error["code"]) == (9, "unwritable"), (words, done)
        assert done.error["hint"] == f"set XDG_STATE_HOME to a folder outside of {repo}"
    assert place.names() == before
    for _ in range(6):  # whoever waits looks at once, and the run may be at its beginning or at its end
        assert place.json("start", "--task", "look", "--wait", env=env)["status"] == "succeeded"
    own = {"home": {".local"}, "inside": {"state"}, "through a link": set()}[how]
    assert place.names() == before | {".runs"} | own
    for folder in own:
        assert [path.name for path in (repo / folder).rglob("*") if path.is_file()] == ["key"], "to sign"


# -- a foreign umask --------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
def test_whatever_the_umask_nothing_that_is_kept_is_open_to_others(umask: int, place: Place) -> None:
    env = NO_HOME["nothing at all"]
    for words in (("start", "--task", "work", "--wait"), ("start", "--task", "apart", "--wait")):
        assert place.json(*words, env=env, umask=umask)["status"] == "succeeded"
    assert place.cli("consent", "--yes", env=env, umask=umask).status == 0
    runs = place.repo.root / ".runs"
    ours = [runs, *runs.rglob("*"), *place.home.rglob("*")]
    open_to_others = [
        str(path)
        for path in ours
        if not path.is_symlink() and path.lstat().st_mode & 0o077 and "worktrees" not in path.parent.parts
    ]
    assert open_to_others == []
