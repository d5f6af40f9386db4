"""The one way to write and to read a file: whole or not at all, never through a link, for nobody else."""

from __future__ import annotations

import os
import resource
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.disks import fill, small_disk

from runner.disk import files
from runner.errors import Conflict, DiskFull, TooManyFiles, Unwritable


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# -- writing ----------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_for_nobody_else(umask: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"old", b"new" * 100_000, b""):
        files.replace_bytes(str(path), content)
        assert path.read_bytes() == content and mode(path) == 0o600
    files.replace_bytes(str(path), b"kept in a cache", durable=False)
    assert path.read_bytes() == b"kept in a cache" and mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_added_is_there_whole_or_not_at_all(umask: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.append(str(path), b"one\n")
    assert mode(path) == 0o644
    path.chmod(0o600)
    files.append(str(path), b"two\n")
    files.append(str(path), b"")
    assert path.read_bytes() == b"one\n\ntwo\n" and mode(path) == 0o600
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        for name in ("file", "new"):
            with pytest.raises(OSError, match="too large"):
                files.append(str(tmp_path / name), b"x" * 6000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"one\n\ntwo\n" and (tmp_path / "new").read_bytes() == b""
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        files.append(str(tmp_path / "link"), b"x")


def test_a_file_is_replaced_in_the_folder_where_the_process_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files.replace_bytes("file", b"here")
    assert (tmp_path / "file").read_bytes() == b"here"


def test_a_name_may_be_as_long_as_a_name_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("\U0001f600" * 63)
    files.replace_bytes(str(path), b"x")
    assert path.read_bytes() == b"x"


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "file"
    victim.write_text("mine")
    link.symlink_to(victim)
    files.replace_bytes(str(link), b"new")
    assert link.read_bytes() == b"new" and not link.is_symlink()
    assert victim.read_text() == "mine"


def test_nothing_is_left_where_a_file_cannot_take_its_place(tmp_path: Path) -> None:
    (tmp_path / "file" / "full").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        files.replace_bytes(str(tmp_path / "file"), b"x")
    with pytest.raises(FileNotFoundError):
        files.replace_bytes(str(tmp_path / "none" / "file"), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_keeps_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        path = disk / "file"
        files.replace_bytes(str(path), b"old")
        fill(disk)
        with pytest.raises(OSError, match="No space"):
            files.replace_bytes(str(path), b"x" * 9000)
        assert path.read_bytes() == b"old"
        assert {entry.name for entry in disk.iterdir()} == {"file", "ballast"}


def test_writers_at_the_same_time_leave_the_file_of_one_of_them(tmp_path: Path) -> None:
    path = tmp_path / "file"
    wrong: list[BaseException] = []

    def write(letter: bytes) -> None:
        try:
            for size in range(1, 60):
                files.replace_bytes(str(path), letter * size * 99, durable=False)
        except BaseException as error:
            wrong.append(error)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert wrong == [] and path.read_bytes() in {letter * 59 * 99 for letter in (b"a", b"b", b"c")}
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_that_is_not_put_in_its_place_leaves_nothing(tmp_path: Path) -> None:
    draft = files.Draft(str(tmp_path / "file"))
    draft.write(b"x")
    assert len(list(tmp_path.iterdir())) == 1
    draft.close()
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_is_never_written_over_an_old_one(umask: int, tmp_path: Path) -> None:
    path = tmp_path / "prompt.md"
    files.write_new(str(path), b"one")
    with pytest.raises(Unwritable, match="File exists"):
        files.write_new(str(path), b"two")
    assert path.read_bytes() == b"one" and mode(path) == 0o600


def test_a_new_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        files.create(str(tmp_path / "link"), b"x")
    assert not (tmp_path / "victim").exists()


# -- reading ----------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.integers(0, 400))
def test_the_beginning_of_a_file_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, limit: int
) -> None:
    path = tmp_path_factory.mktemp("read") / "file"
    path.write_bytes(data)
    assert files.read(str(path), limit) == data[:limit]
    assert files.read(str(path)) == data


@pytest.mark.parametrize("known", [0, 1, 99_999, 100_000, 100_001, 3_000_000])
def test_a_file_that_has_grown_or_was_cut_meanwhile_is_read_to_its_end(known: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(250)) * 400)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert files.read_up_to(files.LARGEST, fd, known) == path.read_bytes()
        os.lseek(fd, 0, os.SEEK_SET)
        assert files.read_up_to(70_000, fd, known) == path.read_bytes()[:70_000]
    finally:
        os.close(fd)


def put_link(path: Path) -> None:
    path.symlink_to(path.parent / "target")


def put_dangling(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("put", [put_link, put_dangling, os.mkfifo, Path.mkdir, lambda path: None])
@pytest.mark.parametrize("is_private", [False, True])
def test_what_is_no_plain_file_is_not_read_and_holds_nobody_up(
    put: Callable[[Path], None], is_private: bool, tmp_path: Path
) -> None:
    (tmp_path / "target").write_text("secret")
    path = tmp_path / "file"
    put(path)
    with pytest.raises(OSError) as refused:
        files.read(str(path), is_private=is_private)
    assert refused.value.filename == str(path)
    assert files.read_text(str(path)) is None


@pytest.mark.parametrize(("put", "why"), [(os.mkfifo, "is not a regular file"), (Path.mkdir, "is a folder")])
def test_who_named_a_file_is_told_what_stands_there(
    put: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    put(tmp_path / "file")
    with pytest.raises(files.NoFile, match=why):
        files.read(str(tmp_path / "file"), follows_links=True)
    with pytest.raises(files.NoFile, match=why):
        files.follow(str(tmp_path / "file"))


def test_a_link_that_a_user_has_named_is_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("text")
    put_link(tmp_path / "link")
    assert files.read(str(tmp_path / "link"), follows_links=True) == b"text"


def test_text_is_read_whatever_its_bytes_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\xffb")
    assert files.read_text(str(tmp_path / "file")) == "a\ufffdb"


@pytest.mark.parametrize("bits", [0o020, 0o002, 0o022, 0o066])
def test_a_file_that_others_can_write_is_not_private(bits: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    path.chmod(0o600 | bits)
    assert files.read(str(path)) == b"x"
    with pytest.raises(PermissionError, match="others could have written it"):
        files.read(str(path), is_private=True)
    path.chmod(0o644)
    assert files.read(str(path), is_private=True) == b"x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_not_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    os.chown(path, 65534, 65534)
    with pytest.raises(PermissionError):
        files.read(str(path), is_private=True)


# -- folders ----------------------------------------------------------------------------------------


def test_every_folder_that_is_made_is_for_nobody_else(umask: int, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    top = tmp_path / "home" / ".local" / "state" / "runner"
    assert files.private_folder(str(top), "a", "b") == str(top / "a" / "b")
    made = [
        top / "a" / "b",
        top / "a",
        *(path for path in (top, *top.parents) if path.is_relative_to(tmp_path)),
    ]
    assert [mode(path) for path in made] == [0o700] * 6 + [0o755]
    assert files.private_folder(str(top), "a", "b") == str(top / "a" / "b")
    files.make_folders(str(tmp_path / "x" / "y"))
    assert mode(tmp_path / "x") == mode(tmp_path / "x" / "y") == 0o700


def test_folders_of_the_user_above_ours_may_be_links_and_keep_their_modes(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real").chmod(0o775)
    (tmp_path / "state").symlink_to("real")
    files.private_folder(str(tmp_path / "state" / "runner"), "a")
    assert mode(tmp_path / "real") == 0o775
    assert mode(tmp_path / "real" / "runner") == 0o700


@pytest.mark.parametrize("level", ["runner", "runner/a", "runner/a/b"])
@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_in_the_place_of_a_folder_of_ours_is_refused(level: str, target: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / level).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / level).symlink_to(tmp_path / target)
    with pytest.raises(OSError) as refused:
        files.private_folder(str(tmp_path / "runner"), "a", "b")
    assert isinstance(files.unwritable(refused.value), Conflict)
    assert list((tmp_path / "elsewhere").iterdir()) == [] and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("level", ["above", "above/runner", "above/runner/a"])
def test_a_file_in_the_place_of_a_folder_is_refused_and_named(level: str, tmp_path: Path) -> None:
    (tmp_path / level).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / level).write_text("x")
    with pytest.raises(OSError) as refused:
        files.private_folder(str(tmp_path / "above" / "runner"), "a", "b")
    assert str(tmp_path / level) in files.unwritable(refused.value).message


@pytest.mark.parametrize("bits", [0o722, 0o770, 0o1777, 0o702])
def test_a_folder_of_ours_is_closed_again_to_others(bits: int, tmp_path: Path) -> None:
    top = tmp_path / "runner"
    files.private_folder(str(top), "a")
    for path in (top, top / "a"):
        path.chmod(bits)
    files.private_folder(str(top), "a")
    assert [mode(path) for path in (top, top / "a")] == [0o700] * 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("level", ["runner", "runner/a"])
def test_a_folder_of_another_user_is_not_ours(level: str, tmp_path: Path) -> None:
    files.private_folder(str(tmp_path / "runner"), "a")
    os.chown(tmp_path / level, 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to another user"):
        files.private_folder(str(tmp_path / "runner"), "a")


# -- reasons ----------------------------------------------------------------------------------------


def test_an_error_of_the_disk_has_a_name() -> None:
    kinds = {28: DiskFull, 122: DiskFull, 24: TooManyFiles, 23: TooManyFiles, 40: Conflict, 13: Unwritable}
    for number, kind in kinds.items():
        assert type(files.unwritable(OSError(number, "why", "/path"))) is kind


def test_a_tree_is_removed_however_deep_it_is_and_no_link_is_followed(tmp_path: Path) -> None:
    """Deeper than Python calls itself, and than a path is long."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.symlink(tmp_path / "mine", "link", dir_fd=here)
        os.mkdir("long" * 10, dir_fd=here)
        inner = os.open("long" * 10, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    files.remove_tree(str(top))
    assert not top.exists() and (tmp_path / "mine" / "file").exists()


def test_the_real_place_of_a_folder_is_that_behind_links(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    for path in (tmp_path / "there", tmp_path / "link", tmp_path / "missing"):
        assert files.real_folder(str(path)) == os.path.realpath(path)
