"""Consent to delegate plans: who has given it, for what, and who cannot."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given as sampled
from hypothesis import strategies as st
from support.disks import read_only_disk, small_disk
from support.userdb import own_database

from runner.conduct.consent import Consent, covers, give, given, place, withdraw
from runner.errors import RunnerError, Unwritable
from runner.model import Level, Sandbox

READS = Sandbox("look", Level.READ_ONLY)
WRITES = Sandbox("build", Level.WORKSPACE_WRITE)
ONLINE = Sandbox("web", Level.WORKSPACE_WRITE, network=True)
DANGER = Sandbox("all", Level.DANGER)
SANDBOXES = st.builds(Sandbox, st.just("s"), st.sampled_from(tuple(Level)), st.booleans())


class Project:
    """A repository, and a home of somebody who may agree."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repo"
        self.root.mkdir()
        self.home = folder / "home"
        self.home.mkdir()
        self.env = {"HOME": str(self.home)}

    @property
    def file(self) -> Path:
        return Path(place(str(self.root), self.env))

    def give(self, sandbox: Sandbox = WRITES, runtime: str = "codex") -> Consent:
        return give(str(self.root), runtime, sandbox, self.env)

    def given(self) -> Consent | None:
        return given(str(self.root), self.env)

    def write(self, text: str | bytes) -> None:
        self.file.write_bytes(text.encode() if isinstance(text, str) else text)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


# -- giving and taking back ------------------------------------------------------------------------


def test_what_was_given_is_found_again_and_what_was_taken_back_is_not(project: Project) -> None:
    assert project.given() is None
    consent = project.give()
    assert project.given() == consent
    said = {"schema_version", "repo", "runtime", "level", "network", "hosts", "deny_read", "at", "also"}
    assert consent.to_json().keys() == said
    assert (consent.repo, consent.level, consent.network) == (str(project.root), "workspace-write", False)
    assert json.loads(project.file.read_bytes()) == consent.to_json()
    assert withdraw(str(project.root), project.env)
    assert project.given() is None
    assert not withdraw(str(project.root), project.env)


def test_it_stands_in_the_state_folder_for_nobody_else_to_read(project: Project) -> None:
    before = os.umask(0)
    try:
        project.give()
    finally:
        os.umask(before)
    folder = project.home / ".local/state/runner/consents"
    assert project.file.parent == folder
    assert stat.S_IMODE(project.file.stat().st_mode) == 0o600
    for path in [folder, *folder.parents][:4]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert list(folder.iterdir()) == [project.file]
    assert not list(project.root.iterdir())


def test_the_state_folder_is_that_of_the_environment_unless_it_is_relative(project: Project) -> None:
    project.env["XDG_STATE_HOME"] = str(project.home / "state")
    assert project.file.is_relative_to(project.home / "state/runner/consents")
    project.env["XDG_STATE_HOME"] = "state"
    assert project.file.is_relative_to(project.home / ".local/state")


def test_a_later_consent_takes_the_place_of_an_earlier_one(project: Project) -> None:
    project.give(READS)
    assert project.give(ONLINE) == project.given()
    assert len(list(project.file.parent.iterdir())) == 1


def test_a_consent_of_before_there_were_further_runtimes_counts(project: Project) -> None:
    consent = project.give()
    old = {key: value for key, value in consent.to_json().items() if key != "also"}
    project.file.write_text(json.dumps(old))
    assert project.given() == consent


def test_another_runtime_is_agreed_to_besides_where_the_sandbox_is_no_wider(project: Project) -> None:
    root, env = str(project.root), project.env
    give(root, "codex", WRITES, env)
    also = give(root, "gemini", WRITES, env)
    assert also.runtimes == ("gemini", "codex") and also == project.given()
    assert covers(also, "codex", WRITES) and not covers(also, "kay", READS)
    narrower = give(root, "claude", READS, env)
    assert covers(narrower, "gemini", READS) and not covers(narrower, "gemini", WRITES)
    wider = give(root, "kay", ONLINE, env)
    assert wider.runtimes == ("kay",), "nobody was asked whether the others may do this"


def test_a_repository_is_the_same_through_a_link_and_from_everywhere(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    consent = project.give()
    link = project.root.parent / "link"
    link.symlink_to(project.root)
    assert given(str(link), project.env) == consent
    monkeypatch.chdir(project.root.parent)
    assert given("repo", project.env) == consent


def test_a_name_that_is_no_utf8_is_no_hindrance(tmp_path: Path) -> None:
    root = os.fsdecode(os.fsencode(tmp_path) + b"/r\xff\n")
    os.mkdir(root)
    env = {"HOME": str(tmp_path / "home")}
    assert given(root, env) is None
    assert give(root, "codex", READS, env) == given(root, env)


# -- what it covers --------------------------------------------------------------------------------


@sampled(SANDBOXES, SANDBOXES, st.sampled_from(["codex", "kay"]))
def test_a_consent_covers_what_is_no_wider_and_the_same_runtime(
    agreed: Sandbox, wanted: Sandbox, runtime: str
) -> None:
    net = agreed.network or agreed.level is Level.DANGER
    consent = Consent(1, "/repo", "codex", agreed.level, net, "2026-01-01T00:00:00.000Z")
    wants_net = wanted.network or wanted.level is Level.DANGER
    narrower = [*Level].index(wanted.level) <= [*Level].index(agreed.level) and (net or not wants_net)
    assert covers(consent, runtime, wanted) == (narrower and runtime == "codex")


def test_without_a_sandbox_there_is_network_and_the_consent_says_so(project: Project) -> None:
    consent = project.give(DANGER)
    assert consent.network
    assert covers(consent, "codex", ONLINE) and covers(consent, "codex", DANGER)


# -- who cannot give it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "null",
        "[]",
        '"text"',
        "{",
        "{}",
        b"\xff\xfe",
        "[" * 60_000,
        " " * 100_000,
        {"schema_version": 2},
        {"schema_version": "1"},
        {"level": "everything"},
        {"level": []},
        {"network": "no"},
        {"network": 0},
        {"network": None},
        {"repo": None},
        {"runtime": ...},
    ],
    ids=lambda broken: str(broken)[:20],
)
def test_a_broken_or_newer_file_is_none_and_can_be_replaced(
    broken: str | bytes | dict[str, object], project: Project
) -> None:
    whole = project.give().to_json()
    if isinstance(broken, dict):
        kept = {**whole, **broken}
        broken = json.dumps({name: value for name, value in kept.items() if value is not ...})
    project.write(broken)
    assert project.given() is None
    assert project.give() == project.given()
    project.write(broken)
    assert withdraw(str(project.root), project.env)


def test_a_consent_of_another_path_counts_for_nothing(project: Project) -> None:
    project.give()
    content = project.file.read_bytes()
    moved = project.root.rename(project.root.parent / "moved")
    assert given(str(moved), project.env) is None
    copy = Path(place(str(moved), project.env))
    copy.write_bytes(content)
    assert given(str(moved), project.env) is None
    assert give(str(moved), "codex", READS, project.env) == given(str(moved), project.env)


def test_a_link_in_the_place_of_the_file_counts_for_nothing_and_is_not_written_through(
    project: Project,
) -> None:
    project.give()
    elsewhere = project.root / "committed.json"
    shutil.copy(project.file, elsewhere)
    elsewhere.chmod(0o600)
    before = elsewhere.read_bytes()
    project.file.unlink()
    project.file.symlink_to(elsewhere)
    assert project.given() is None
    assert project.give(READS) == project.given()
    assert not project.file.is_symlink() and elsewhere.read_bytes() == before
    project.file.unlink()
    project.file.symlink_to(elsewhere)
    assert withdraw(str(project.root), project.env)
    assert elsewhere.exists()


def test_a_fifo_or_a_folder_in_the_place_of_the_file_holds_nobody_up(project: Project) -> None:
    project.give()
    project.file.unlink()
    os.mkfifo(project.file)
    assert project.given() is None
    project.file.unlink()
    project.file.mkdir()
    assert project.given() is None
    with pytest.raises(Unwritable):
        project.give()
    with pytest.raises(Unwritable):
        withdraw(str(project.root), project.env)
    assert [path.name for path in project.file.parent.iterdir()] == [project.file.name]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o702])
@pytest.mark.parametrize("which", [0, 1])
def test_a_folder_that_others_may_write_counts_for_nothing_until_it_is_given_again(
    which: int, mode: int, project: Project
) -> None:
    project.give()
    folder = [project.file.parent, project.file.parent.parent][which]
    folder.chmod(mode)
    assert project.given() is None
    assert project.give() == project.given()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_that_others_may_write_counts_for_nothing(project: Project) -> None:
    project.give()
    project.file.chmod(0o620)
    assert project.given() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("what", ["file", "folder", "above"])
def test_what_belongs_to_somebody_else_counts_for_nothing(what: str, project: Project) -> None:
    project.give()
    path = {"file": project.file, "folder": project.file.parent, "above": project.file.parent.parent}[what]
    os.chown(path, 65534, 65534)
    assert project.given() is None
    if what != "file":
        with pytest.raises(Unwritable, match="belongs to another user"):
            project.give()


@pytest.mark.parametrize("inside", ["", ".state"])
def test_a_state_folder_in_the_repository_has_no_consent_and_gets_none(inside: str, project: Project) -> None:
    project.give()
    committed = project.root / inside / "runner"
    shutil.copytree(project.home / ".local/state/runner", committed)  # right in every other respect
    project.env["XDG_STATE_HOME"] = str(committed.parent)
    assert project.given() is None
    with pytest.raises(Unwritable, match="could be replaced by an agent") as refused:
        project.give()
    assert "XDG_STATE_HOME" in (refused.value.hint or "")
    assert not withdraw(str(project.root), project.env)


def test_a_state_folder_that_is_a_link_into_the_repository_has_no_consent(project: Project) -> None:
    (project.root / "state").mkdir(mode=0o700)
    (project.home / ".local").mkdir()
    (project.home / ".local/state").symlink_to(project.root / "state")
    with pytest.raises(Unwritable):
        project.give()
    assert project.given() is None


def test_a_home_that_is_itself_the_repository_has_no_place_for_a_consent(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    with pytest.raises(Unwritable):
        give(str(tmp_path), "codex", READS, env)
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_that_may_write_the_place_gets_no_consent(project: Project) -> None:
    wide = WRITES.replace(writable=(str(project.home / ".local"),))
    with pytest.raises(Unwritable, match=r"\.local"):
        project.give(wide)
    beside = WRITES.replace(writable=(str(project.home / ".local/sta"), str(project.home / ".cache")))
    assert project.give(beside) == project.given()


# -- disks -----------------------------------------------------------------------------------------


_HOMELESS = """
import sys
from runner.conduct.consent import give, given, withdraw
from runner.errors import Unwritable
from runner.model import Level, Sandbox
for env in ({}, {"HOME": ""}, {"HOME": "here"}, {"XDG_STATE_HOME": "state"}):
    assert given(sys.argv[1], env) is None
    assert not withdraw(sys.argv[1], env)
    try:
        give(sys.argv[1], "codex", Sandbox("s", Level.READ_ONLY), env)
    except Unwritable as error:
        print(error.hint)
"""


def test_a_user_without_any_home_has_no_consent_and_can_give_none(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    words = [*own_database(tmp_path, None), sys.executable, "-c", _HOMELESS, str(root)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines() == ["set HOME or XDG_STATE_HOME to an absolute path"] * 4
    assert list(root.iterdir()) == []


def test_a_state_folder_that_is_a_file_is_named(project: Project) -> None:
    (project.home / ".local").write_text("")
    assert project.given() is None
    assert not withdraw(str(project.root), project.env)
    with pytest.raises(Unwritable, match=r"/\.local"):
        project.give()


def test_a_disk_that_cannot_be_written_keeps_what_was_agreed(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    with small_disk(tmp_path / "state", 64) as state:
        env = {"XDG_STATE_HOME": str(state)}
        with read_only_disk(state), pytest.raises(Unwritable) as refused:
            give(str(root), "codex", READS, env)
        assert int(refused.value.exit_status) == 9
        first = give(str(root), "codex", READS, env)
        with read_only_disk(state):
            with pytest.raises(Unwritable):
                give(str(root), "codex", ONLINE, env)
            with pytest.raises(RunnerError):
                withdraw(str(root), env)
            assert given(str(root), env) == first


_WRITER = """
import sys
from runner.conduct.consent import give
from runner.model import Level, Sandbox
root, home, runtime = sys.argv[1:]
for _ in range(40):
    give(root, runtime, Sandbox("s", Level.READ_ONLY), {"HOME": home})
"""


def test_two_who_agree_at_once_leave_one_whole_consent(project: Project) -> None:
    project.give(READS)
    words = [sys.executable, "-c", _WRITER, str(project.root), str(project.home)]
    writers = [subprocess.Popen([*words, runtime]) for runtime in ("codex", "kay")]
    try:
        while any(writer.poll() is None for writer in writers):
            seen = project.given()
            assert seen is not None and seen.runtime in ("codex", "kay")
    finally:
        assert [writer.wait(30) for writer in writers] == [0, 0]
    assert list(project.file.parent.iterdir()) == [project.file]
