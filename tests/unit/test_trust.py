"""Trust in the settings of a repository: what is kept, for which place, and what takes it away."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.cli.trust import explanation
from runner.errors import Unwritable
from runner.state import trust
from runner.state.watched import digest_of
from runner.usecases.trust import Demands

FILE = "delegate.toml"
ITEMS = (("run", "tasks.a.verify", "make test"),)


class Project:
    """A repository, and a home of somebody who may trust it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repo"
        self.root.mkdir()
        self.env = {"HOME": str(folder / "home")}

    def give(self, digest: str | None = "d1", file: str = FILE) -> trust.Trusted:
        return trust.give(str(self.root), self.env, file, digest, ITEMS, self.changes())

    def given(self, file: str = FILE) -> trust.Trusted | None:
        return trust.given(str(self.root), self.env, file)

    def changes(self) -> tuple[trust.Changed, ...]:
        return trust.changes(str(self.root), self.env)

    def change(self, run_id: str = "r1", *paths: str) -> bool:
        return trust.changed_by_run(str(self.root), self.env, run_id, paths)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_what_was_trusted_is_found_again_with_its_words(project: Project) -> None:
    assert project.given() is None
    project.give()
    found = project.given()
    assert found is not None
    assert (found.digest, found.items, found.file) == ("d1", ITEMS, FILE)


def test_trust_in_a_file_is_none_in_another_one_or_in_the_folder(project: Project) -> None:
    project.give()
    assert project.given("other.toml") is None
    assert project.given("") is None
    project.give(None, "")
    assert project.given("other.toml") is None  # whoever asks looks at both


def test_a_repository_that_was_moved_or_copied_is_not_trusted_there(project: Project) -> None:
    project.give()
    copy = project.root.with_name("copy")
    shutil.copytree(project.root, copy)
    assert trust.given(str(copy), project.env, FILE) is None
    project.root.rename(project.root.with_name("moved"))
    assert trust.given(str(project.root.with_name("moved")), project.env, FILE) is None


def test_what_is_taken_back_is_gone(project: Project) -> None:
    project.give()
    project.give(None, "")
    assert trust.withdraw(str(project.root), project.env, (FILE, ""))
    assert project.given() is None and project.given("") is None
    assert not trust.withdraw(str(project.root), project.env, (FILE, ""))


def test_a_change_of_a_run_stands_until_a_person_has_agreed(project: Project) -> None:
    assert project.change("r1", "delegate.toml") and project.change("r2", "prompts/a.md")
    assert [(one.run_id, one.paths) for one in project.changes()] == [
        ("r1", ("delegate.toml",)),
        ("r2", ("prompts/a.md",)),
    ]
    project.give()
    assert project.changes() == ()


def test_a_change_that_the_person_was_not_shown_is_asked_about_again(project: Project) -> None:
    project.change("r1", "delegate.toml")
    shown = project.changes()
    project.change("r2", "delegate.toml")
    trust.give(str(project.root), project.env, FILE, "d1", ITEMS, shown)
    assert [one.run_id for one in project.changes()] == ["r2"]


def test_a_change_in_one_repository_is_none_in_another(project: Project, tmp_path: Path) -> None:
    project.change("r1", "delegate.toml")
    other = tmp_path / "other"
    other.mkdir()
    assert trust.changes(str(other), project.env) == ()


def test_writers_at_the_same_time_leave_what_one_of_them_wrote(project: Project) -> None:
    digests = [f"d{n}" for n in range(8)]
    writers = [threading.Thread(target=project.give, args=(digest,)) for digest in digests]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    found = project.given()
    assert found is not None and found.digest in digests


def test_a_state_folder_in_the_repository_keeps_no_trust_and_no_change(project: Project) -> None:
    project.env = {"HOME": str(project.root)}
    with pytest.raises(Unwritable, match="could be replaced by an agent"):
        project.give()
    assert project.given() is None
    assert not project.change("r1", "delegate.toml")


def test_a_home_that_does_not_exist_is_made(project: Project) -> None:
    project.env = {"HOME": str(project.root.with_name("new") / "home")}
    project.give()
    assert project.given() is not None


def test_a_home_that_cannot_be_one_has_no_trust(project: Project, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    project.env = {"HOME": str(tmp_path / "file")}
    assert project.given() is None
    with pytest.raises(Unwritable):
        project.give()
    assert not project.change("r1", "delegate.toml")


@pytest.mark.parametrize("what", ["trust", "."])
def test_trust_that_others_could_have_written_counts_for_nothing(what: str, project: Project) -> None:
    project.give()
    folder = Path(project.env["HOME"], ".local/state/runner", what)
    os.chmod(folder, 0o777)
    assert project.given() is None
    project.give()
    assert project.given() is not None


def test_a_file_of_trust_put_in_the_place_of_another_counts_for_nothing(project: Project) -> None:
    project.give(None, "")
    folder = Path(project.env["HOME"], ".local/state/runner/trust")
    (whole,) = folder.iterdir()
    project.give()
    (one,) = {*folder.iterdir()} - {whole}
    shutil.copy(whole, one)
    assert project.given() is None


@pytest.mark.parametrize("was_there", [True, False])
def test_nobody_is_asked_about_a_change_while_everything_is_as_it_was(
    project: Project, was_there: bool
) -> None:
    path = project.root / FILE
    if was_there:
        path.write_text("as it was", encoding="utf-8")
    before = {FILE: digest_of(str(path.parent), path.name), "other.md": "0"}
    path.write_text("of the run", encoding="utf-8")
    assert trust.changed_by_run(str(project.root), project.env, "r1", (FILE,), before)
    assert [one.run_id for one in project.changes()] == ["r1"]
    trust.forget_undone(str(project.root), project.env)
    path.write_text("as it was", encoding="utf-8") if was_there else path.unlink()
    assert project.changes() == ()
    path.write_text("of the run", encoding="utf-8")
    assert [one.run_id for one in project.changes()] == ["r1"]  # it was only looked at
    path.write_text("as it was", encoding="utf-8") if was_there else path.unlink()
    trust.forget_undone(str(project.root), project.env)
    path.write_text("of a person, later", encoding="utf-8")
    assert project.changes() == ()


def test_a_change_in_a_tree_of_its_own_is_asked_about_when_it_comes_and_never_once_discarded(
    project: Project,
) -> None:
    path = project.root / FILE
    path.write_text("as it was", encoding="utf-8")
    before = {FILE: digest_of(str(path.parent), path.name)}
    for run_id in ("r1", "r2"):
        trust.changed_by_run(str(project.root), project.env, run_id, (FILE,), before, apart=True)
    assert project.changes() == ()
    trust.forget_undone(str(project.root), project.env)
    trust.forget_undone(str(project.root), project.env, "r1")
    path.write_text("accepted", encoding="utf-8")
    assert [one.run_id for one in project.changes()] == ["r2"]


def test_a_change_of_what_could_not_be_read_before_is_never_undone(project: Project) -> None:
    (project.root / FILE).mkdir()
    before = {FILE: digest_of(str(project.root), FILE)}
    trust.changed_by_run(str(project.root), project.env, "r1", (FILE,), before)
    trust.changed_by_run(str(project.root), project.env, "r2", (FILE, "unknown.md"), before)
    assert [one.run_id for one in project.changes()] == ["r1", "r2"]


def test_no_trust_is_kept_where_others_could_put_another_folder_in_its_place(project: Project) -> None:
    project.give()
    home = Path(project.env["HOME"])
    (home / ".local").chmod(0o777)
    assert project.given() is None
    with pytest.raises(Unwritable, match="could be replaced by others") as refused:
        project.give()
    assert f"chmod go-w {home}/.local" in str(refused.value.hint)
    (home / ".local").chmod(0o1777)  # as in /tmp, only an owner may rename
    assert project.given() is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to a group")
@pytest.mark.parametrize(
    ("gid", "is_shared"),
    [(0, False), (next(g.gr_gid for g in grp.getgrall() if g.gr_gid), True), (987654, False)],
)
def test_a_group_that_may_write_above_counts_unless_nobody_else_is_in_it(
    project: Project, gid: int, is_shared: bool
) -> None:
    project.give()
    folder = project.env["HOME"]
    os.chown(folder, -1, gid)
    os.chmod(folder, 0o775)
    assert (project.given() is None) is is_shared


_AS_DAEMON = """
import grp, os, pwd, sys
from runner.disk.upwards import is_opened
os.setgroups([]); os.setgid(1); os.setuid(1)
print([is_opened(os.stat_result((int(mode, 8), 0, 0, 0, 1, int(gid), 0, 0, 0, 0))) for mode, gid in
    (one.split() for one in sys.argv[1:])])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_group_with_the_name_of_its_user_and_no_other_member_is_nobody_else() -> None:
    entry = grp.getgrgid(1)
    if (entry.gr_name, pwd.getpwuid(1).pw_name, [*entry.gr_mem]) != ("daemon", "daemon", []):
        pytest.skip("this machine has no such group")
    shared = next(one.gr_gid for one in grp.getgrall() if one.gr_gid > 1)
    asked = ["40775 1", "40755 1", "40777 1", f"40775 {shared}", f"40755 {shared}", "40775 0"]
    done = subprocess.run(
        [sys.executable, "-c", _AS_DAEMON, *asked], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[False, False, True, True, False, False]"


def test_what_a_stage_does_is_listed_by_its_name() -> None:
    items = (
        ("runs", "pipelines.p.stages[1].gate.commands", "make test"),
        ("other", "pipelines.p.stages[1]", '{"tasks": ["a"], "name": "review"}'),
    )
    text = explanation(Demands("/repo", items=items))
    assert "pipelines.p.review.gate.commands  make test" in text and "stages[" not in text
