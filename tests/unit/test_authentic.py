"""Whose records are acted on: those that this user made here, in this place, and nobody else could write."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.ended import an_ended_run

from runner.errors import Conflict, ForeignRun, InvocationBroken, Unwritable
from runner.state import authentic
from runner.state.authentic import (
    Why,
    mac,
    refuse_foreign,
    refuse_forged,
    refuse_place,
    why_foreign,
    write_record,
)
from runner.state.store import RunDir, new_run_id

_ASK = (
    "import sys; sys.path.insert(0, {root!r}); from runner.state.authentic import mac; print(mac('a', b'b'))"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A git repository, reached by no link."""
    root = Path(os.path.realpath(tmp_path)) / "repo"
    root.mkdir()
    git(root, "init", "-q")
    return root


@pytest.fixture
def run(root: Path) -> RunDir:
    return an_ended_run(root)


def git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgSign=false")
    subprocess.run(["git", *who, *words], cwd=root, check=True)


def key(home: Path) -> Path:
    return home / ".local/state/runner/key"


def why(run: RunDir) -> Why | None:
    """Why it is foreign; then nothing may be done with it."""
    found = why_foreign(run)
    if found is None:
        refuse_foreign(run)
        return None
    with pytest.raises((ForeignRun, InvocationBroken)):
        refuse_foreign(run)
    assert found.message and found.hint
    return found.why


# -- the key -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 10_000], ids=len)
def test_a_mac_is_the_standard_one_of_label_and_data(own_home: Path, data: bytes) -> None:
    made = mac("label", data)
    assert made == hmac.new(key(own_home).read_bytes(), b"label\0" + data, hashlib.sha256).hexdigest()
    assert made != mac("labe", b"l" + data) and made != mac("label ", data)


def test_the_key_is_its_users_alone_under_any_umask(own_home: Path) -> None:
    before = os.umask(0)
    try:
        mac("label", b"")
    finally:
        os.umask(before)
    assert key(own_home).stat().st_mode & 0o777 == 0o600 and len(key(own_home).read_bytes()) == 32
    assert key(own_home).parent.stat().st_mode & 0o777 == 0o700


def test_those_who_ask_first_at_the_same_time_get_the_same_key() -> None:
    text = _ASK.format(root=str(Path(authentic.__file__).parents[2]))
    asking = [subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) for _ in range(6)]
    answers = {one.communicate(timeout=60)[0] for one in asking}
    assert len(answers) == 1 and len(answers.pop()) == 65


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602])
def test_a_key_that_others_may_read_or_write_is_not_used(own_home: Path, mode: int) -> None:
    _put_key(own_home, os.urandom(32), mode)
    with pytest.raises(Unwritable, match="the key"):
        mac("label", b"")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_not_used(own_home: Path, size: int) -> None:
    _put_key(own_home, b"k" * size, 0o600)
    with pytest.raises(Unwritable, match="the key"):
        mac("label", b"")


def test_a_link_or_a_fifo_is_no_key(own_home: Path) -> None:
    _put_key(own_home, os.urandom(32), 0o600)
    key(own_home).rename(own_home / "other")
    key(own_home).symlink_to(own_home / "other")
    with pytest.raises(Unwritable, match="the key"):
        mac("label", b"")
    key(own_home).unlink()
    os.mkfifo(key(own_home), 0o600)
    with pytest.raises(Unwritable, match="the key"):
        mac("label", b"")


def _put_key(home: Path, data: bytes, mode: int) -> None:
    key(home).parent.mkdir(parents=True)
    key(home).write_bytes(data)
    key(home).chmod(mode)


# -- a record ------------------------------------------------------------------------------------------


def test_a_record_is_believed_where_it_was_written_and_nowhere_else(tmp_path: Path) -> None:
    path, other = f"{tmp_path}/a.json", f"{tmp_path}/b.json"
    write_record(path, {"x": ["größer", 1]})
    data = Path(path).read_bytes()
    refuse_forged(path, data)
    assert json.loads(data)["x"] == ["größer", 1]
    with pytest.raises(ForeignRun):
        refuse_forged(other, data)


def test_a_record_is_the_same_one_behind_a_link_to_its_repository(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "other").symlink_to("link")
    for written in ("link", "real", "other"):
        write_record(f"{tmp_path}/{written}/a.json", {"x": written})
        for read in ("real", "link", "other"):
            data = (tmp_path / read / "a.json").read_bytes()
            refuse_forged(f"{tmp_path}/{read}/a.json", data)
            assert json.loads(data)["x"] == written


def test_no_byte_of_a_record_can_be_changed_added_or_left_out(tmp_path: Path) -> None:
    path = f"{tmp_path}/a.json"
    write_record(path, {"x": 1})
    data = Path(path).read_bytes()
    for at in range(len(data)):
        for changed in (data[:at], data[:at] + data[at + 1 :], data[:at] + b"!" + data[at + 1 :]):
            with pytest.raises(ForeignRun):
                refuse_forged(path, changed)
    with pytest.raises(ForeignRun):
        refuse_forged(path, data + b" ")


# -- a run ---------------------------------------------------------------------------------------------


def test_a_run_that_was_made_here_is_ours(run: RunDir) -> None:
    assert why(run) is None


def test_a_run_is_ours_by_every_way_to_its_repository(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run.repo)
    assert why(RunDir(f"{tmp_path}/link", run.task_id, run.run_id)) is None


@pytest.mark.parametrize("name", ["", "/work", "/work/cli", "/work/cli/{run}"])
@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_may_write_in_makes_a_run_foreign(run: RunDir, name: str, mode: int) -> None:
    os.chmod(f"{run.repo}/.runs{name.format(run=run.run_id)}", mode)
    assert why(run) is Why.WRITABLE


@pytest.mark.parametrize("name", ["manifest", "invocation", "control", "questions", "lock"])
def test_a_file_that_others_may_write_makes_a_run_foreign(run: RunDir, name: str) -> None:
    os.chmod(getattr(run, name), 0o777)
    assert why(run) is Why.WRITABLE


@pytest.mark.parametrize("name", ["", "/work", "/work/cli", "/work/cli/{run}"])
def test_a_folder_that_is_a_link_makes_a_run_foreign(run: RunDir, name: str, tmp_path: Path) -> None:
    path = f"{run.repo}/.runs{name.format(run=run.run_id)}"
    os.rename(path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    assert why(run) is Why.LINK


@pytest.mark.parametrize("name", ["control", "questions", "lock"])
def test_a_link_inside_of_a_run_leaves_it_ours(run: RunDir, name: str, tmp_path: Path) -> None:
    path = getattr(run, name)
    os.rename(path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    assert why(run) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(
    "name", ["", "/work", "/work/cli", "/work/cli/{run}", "/work/cli/{run}/manifest.json"]
)
def test_what_belongs_to_another_user_is_foreign_to_root_too(run: RunDir, name: str) -> None:
    os.chown(f"{run.repo}/.runs{name.format(run=run.run_id)}", 12345, -1)
    assert why(run) is Why.OWNER


def test_a_run_of_another_user_is_foreign_however_it_came_here(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert why(run) is Why.OWNER


def test_a_copy_and_a_moved_repository_are_foreign_with_the_old_place(run: RunDir, tmp_path: Path) -> None:
    shutil.copytree(run.repo, tmp_path / "copy")
    found = why_foreign(RunDir(f"{tmp_path}/copy", run.task_id, run.run_id))
    assert found is not None and found.why is Why.MOVED and run.repo in found.message
    os.rename(run.repo, tmp_path / "moved")
    assert why(RunDir(f"{tmp_path}/moved", run.task_id, run.run_id)) is Why.MOVED
    os.rename(tmp_path / "moved", run.repo)
    assert why(run) is None


def test_a_run_under_another_name_is_foreign(run: RunDir) -> None:
    other = RunDir(run.repo, "other", run.run_id)
    os.makedirs(os.path.dirname(other.path), mode=0o700)
    shutil.copytree(run.path, other.path)
    assert why(other) is Why.FORGED


def test_a_run_of_an_older_runner_and_one_without_a_mac_are_foreign(run: RunDir) -> None:
    told = json.loads(Path(run.invocation).read_bytes())
    del told["mac"]
    Path(run.invocation).write_text(json.dumps(told), encoding="utf-8")
    assert why(run) is Why.UNSIGNED
    found = why_foreign(run)  # its tree is neither accepted nor removed, so somebody has to
    assert found is not None and "git worktree remove" in found.hint


def test_a_changed_invocation_is_foreign(run: RunDir) -> None:
    path = Path(run.invocation)
    path.write_bytes(path.read_bytes().replace(b'"true"', b'"evil"'))
    assert why(run) is Why.FORGED


def test_a_run_made_with_another_key_is_foreign(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert why(run) is Why.FORGED, "no key at all"
    mac("label", b"")
    assert why(run) is Why.FORGED


def test_a_run_of_which_nothing_says_what_it_is_is_not_acted_on(run: RunDir) -> None:
    os.unlink(run.invocation)
    assert why(run) is Why.UNKNOWN
    os.mkfifo(run.invocation, 0o600)
    assert why(run) is Why.UNKNOWN


# -- git -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [(), ("index.version=4",), ("core.splitIndex=true",), ("index.version=3",)],
    ids=["2", "4", "split", "3"],
)
@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_a_run_that_git_tracks_is_foreign_in_every_form_of_the_index(
    tmp_path: Path, settings: tuple[str, ...], hash_name: str
) -> None:
    root = tmp_path / "repo"
    git(tmp_path, "init", "-q", f"--object-format={hash_name}", "repo")
    for one in settings:
        git(root, "config", *one.split("="))
    for name in (".gitignore", ".runner", "a.txt", "x.runs", "z/.runs"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x\n", encoding="utf-8")
    run, other = an_ended_run(root), an_ended_run(root)
    git(root, "add", "-A")
    git(root, "add", "-f", ".runs/.gitignore")
    git(root, "update-index", "--force-remove", "x")
    assert why(run) is None
    git(root, "add", "-f", run.manifest)
    assert why(run) is Why.TRACKED
    assert why(other) is None, "that one is not"
    git(root, "rm", "-rq", "--cached", ".runs")
    assert why(run) is None or settings == ("core.splitIndex=true",)


def test_a_run_in_a_folder_of_the_repository_is_foreign_when_tracked(root: Path) -> None:
    (root / "part").mkdir()
    run = an_ended_run(root / "part")
    assert why(run) is None
    git(root, "add", "-f", "part/.runs")
    assert why(run) is Why.TRACKED


def test_a_run_in_a_linked_work_tree_is_foreign_when_tracked_there(root: Path, tmp_path: Path) -> None:
    (root / "a").touch()
    git(root, "add", "a")
    git(root, "commit", "-qm", "x")
    git(root, "worktree", "add", "-q", str(tmp_path / "linked"))
    run = an_ended_run(tmp_path / "linked")
    assert why(run) is None
    git(tmp_path / "linked", "add", "-f", ".runs")
    assert why(run) is Why.TRACKED


@pytest.mark.parametrize("place", [".runs", ".runs/work", ".runs/work/cli"])
def test_runs_that_are_a_repository_of_their_own_are_foreign(run: RunDir, place: str) -> None:
    git(Path(run.repo, place), "init", "-q")
    assert why(run) is Why.TRACKED


def test_an_index_that_is_broken_is_no_obstacle(run: RunDir) -> None:
    index = Path(run.repo, ".git/index")
    for data in (b"", b"DIRC", b"DIRC\0\0\0\4\0\0\0\xff" + b"x" * 100, b"DIRC\0\0\0\4\xff\xff\xff\xff"):
        index.write_bytes(data)
        assert why(run) is None


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("how", ["link", "writable", "owner"])
def test_where_no_run_can_be_made_its_place_is_named_and_not_a_run_that_never_was(
    root: Path, how: str, level: int
) -> None:
    made = RunDir(str(root), "work", new_run_id())
    refuse_place(made)
    folders = [root / ".runs", root / ".runs/work", root / ".runs/work/cli"]
    wrong = folders[level - 1]
    for folder in folders[:level]:
        folder.mkdir()
    if how == "link":
        wrong.rmdir()
        wrong.symlink_to(root)
    elif how == "writable":
        wrong.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(wrong, 1, 1)
    else:
        pytest.skip("only root can give a folder away")
    with pytest.raises(Conflict, match=f"no run can be started here: {wrong} ") as refused:
        refuse_place(made)
    assert made.run_id not in str(refused.value) and str(root / ".runs") in str(refused.value.hint)
