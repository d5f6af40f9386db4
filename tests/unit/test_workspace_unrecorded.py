"""What a work tree may hold and git cannot: files without an end in sight, FIFOs, sockets, devices."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.waiting import ends_within
from support.work import Work

from runner.errors import Conflict
from runner.workspace.changes import changed
from runner.workspace.commit import differing, make
from runner.workspace.files import LARGEST_FILE, entry_at, too_large
from runner.workspace.rollback import roll_back

GIB = 1 << 30


@pytest.fixture(autouse=True)
def is_not_read_to_its_end() -> Iterator[None]:
    with ends_within(60, "a read of what has no end"):
        yield


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Work(tmp_path)
    made.write("a", "a\n")
    made.write("d/b", "b\n")
    made.write(".gitignore", "*.sock\nbuild/\n")
    made.commit()
    made.write("old/file")
    return made


def sparse(work: Work, name: str, size: int = 1 << 40) -> None:
    os.makedirs(os.path.dirname(work.path(name)), exist_ok=True)
    with open(work.path(name), "wb") as file:
        file.truncate(size)


def fifo(work: Work, name: str) -> None:
    os.makedirs(os.path.dirname(work.path(name)), exist_ok=True)
    os.mkfifo(work.path(name))


def listener(work: Work, name: str) -> None:
    os.makedirs(os.path.dirname(work.path(name)), exist_ok=True)
    folder = os.open(os.path.dirname(work.path(name)), os.O_PATH)
    with socket.socket(socket.AF_UNIX) as made:  # a whole path may be longer than an address
        made.bind(f"/proc/self/fd/{folder}/{os.path.basename(name)}")
    os.close(folder)


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "dropped"),
    [
        ({}, set()),
        ({"a": LARGEST_FILE}, set()),
        ({"a": LARGEST_FILE + 1, "b": 1}, {"a"}),
        ({str(n): GIB for n in range(8)}, set()),
        ({str(n): GIB for n in range(10)}, {"8", "9"}),
        ({**{str(n): GIB for n in range(8)}, "x": 1}, {"7"}),
        ({"a": 1 << 40, "b": 1 << 41, "c": 7}, {"a", "b"}),
    ],
)
def test_a_file_is_too_large_and_so_are_the_largest_of_too_many(
    sizes: dict[str, int], dropped: set[str]
) -> None:
    assert (
        too_large({name: (size, 0, number) for number, (name, size) in enumerate(sizes.items())}) == dropped
    )


def test_what_is_really_on_the_disk_is_read_however_much_it_is() -> None:
    tree = {str(number): (GIB, GIB, number) for number in range(100)}
    assert too_large(tree) == frozenset()
    one_inode = {str(number): (GIB, GIB, 7) for number in range(100)}
    assert len(too_large(one_inode)) == 100 - 8 - 4, "a hundred hard links"


def test_the_size_of_a_file_is_looked_at_before_its_content(work: Work) -> None:
    sparse(work, "huge")
    here = entry_at(os.fsdecode(work.path("huge")), None, "sha1")
    assert here is not None and here.oid == "" and not here.has_content_of(here)


@pytest.mark.parametrize("name", ["new", "d/new", "new/folder/file", "old/new", "old/file", "a", "d/b"])
def test_a_file_without_an_end_in_sight_is_told_and_rolled_back(work: Work, name: str) -> None:
    taken, before = work.take(), work.state()
    sparse(work, name)
    now = changed(taken)
    assert now.large == (name,) and f"too large to be recorded: {name}" in now.problems
    assert name in {*now.names, *now.unrecorded}
    rolled = roll_back(taken)
    assert rolled.is_complete and work.state() == before
    assert [os.path.basename(path) for path in rolled.kept] == [os.path.basename(name)], "nothing is lost"


def test_one_that_was_there_before_is_known_not_to_be_known_and_stays(work: Work) -> None:
    sparse(work, "d/b")
    sparse(work, "mine")
    taken = work.take()
    assert {*taken.large} == {"d/b", "mine"} and len(taken.problems) == 2
    work.write("a", "edited\n")
    os.chmod(work.path("d/b"), 0o755)
    now = changed(taken)
    assert (now.names, now.large, now.unrecorded) == (("a",), (), ())
    assert roll_back(taken).is_complete and work.read("a") == b"a\n"
    assert os.path.getsize(work.path("mine")) == os.path.getsize(work.path("d/b")) == 1 << 40


def test_one_that_is_small_again_is_a_change(work: Work) -> None:
    sparse(work, "mine")
    taken = work.take()
    work.write("mine", "small\n")
    assert changed(taken).names == ("mine",)


def test_no_commit_is_made_of_one(work: Work) -> None:
    sparse(work, "a")
    with pytest.raises(Conflict) as caught:
        make(str(work.root), work.head(), ["a"], "subject", "2026-01-02T03:04:05.678Z")
    assert caught.value.problems == ("too large to be recorded: a",)


@pytest.mark.parametrize(
    "name",
    [".gitignore", "d/.gitignore", "old/.gitignore", ".gitattributes", ".git/index"],
)
def test_rules_and_an_index_without_an_end_are_refused_and_not_read(work: Work, name: str) -> None:
    sparse(work, name, 3 * GIB)
    with pytest.raises(Conflict, match="is too large"):
        work.take()


# -- special files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [fifo, listener])
@pytest.mark.parametrize("name", ["pipe", "d/pipe", "new/folder/pipe", "old/pipe"])
def test_a_special_file_is_a_change_and_is_rolled_back(
    work: Work, make: Callable[[Work, str], None], name: str
) -> None:
    taken, before = work.take(), work.state()
    make(work, name)
    now = changed(taken)
    assert (now.names, now.special, now.unrecorded) == ((), (name,), (name,))
    assert f"neither a file nor a link, so git cannot store it: {name}" in now.problems
    rolled = roll_back(taken)
    assert rolled.is_complete and rolled.removed == (name,) and rolled.kept == ()
    assert work.state() == before


@pytest.mark.parametrize("make", [fifo, listener])
@pytest.mark.parametrize("name", ["a", "d/b", "d", "old/file", "old"])
def test_a_special_file_in_the_place_of_something_gives_it_back(
    work: Work, make: Callable[[Work, str], None], name: str
) -> None:
    taken, before = work.take(), work.state()
    work.remove(name)
    make(work, name)
    assert {*changed(taken).names} and any(name in problem for problem in changed(taken).problems)
    assert roll_back(taken).is_complete and work.state() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_a_special_file(work: Work) -> None:
    taken = work.take()
    os.mknod(work.path("null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    assert changed(taken).special == ("null",)
    assert roll_back(taken).is_complete and not os.path.lexists(work.path("null"))


def test_those_that_were_there_are_neither_told_nor_removed(work: Work) -> None:
    for name in ("pipe", "d/pipe", "old/pipe"):
        fifo(work, name)
    taken = work.take()
    assert {*taken.special} == {"pipe", "d/pipe", "old/pipe"} and taken.problems == ()
    work.write("a", "edited\n")
    now = changed(taken)
    assert (now.names, now.special, now.problems) == (("a",), (), ())
    roll_back(taken)
    assert all(stat.S_ISFIFO(os.lstat(work.path(name)).st_mode) for name in taken.special)


def test_ignored_ones_are_left_alone_by_the_rules_of_before(work: Work) -> None:
    taken = work.take()
    work.write(".gitignore", "*.sock\nbuild/\npipe\nd/\n")
    work.write("d/.gitignore", "*\n")
    for name in ("x.sock", "d/x.sock", "build/pipe", "old/x.sock", "pipe", "d/pipe"):
        fifo(work, name)
    assert changed(taken).special == ("d/pipe", "pipe"), "a run hides nothing by a rule of its own"


@pytest.mark.parametrize("name", [".gitignore", "d/.gitattributes", "new/.gitignore", ".gitmodules"])
def test_git_is_not_asked_where_it_would_wait_for_a_fifo(work: Work, name: str) -> None:
    taken = work.take()
    if os.path.lexists(work.path(name)):
        work.remove(name)
    fifo(work, name)
    with pytest.raises(Conflict, match=f"{name} is not a regular file"):
        changed(taken)
    with pytest.raises(Conflict, match=f"{name} is not a regular file"):
        work.take()


@pytest.mark.parametrize("name", [".gitattributes", "d/.gitattributes"])
@pytest.mark.parametrize("put", [fifo, sparse])
def test_nor_for_a_commit(work: Work, put: Callable[[Work, str], None], name: str) -> None:
    work.write("d/b", "edited\n")
    put(work, name)
    with pytest.raises(Conflict, match=f"{name} is "):
        make(str(work.root), work.head(), ["d/b"], "subject", "2026-01-02T03:04:05.678Z")
    with pytest.raises(Conflict, match=f"{name} is "):
        differing(str(work.root), work.head(), None)


@pytest.mark.parametrize("name", ["HEAD", "config", "refs/heads/main", "packed-refs"])
def test_nor_is_it_in_a_repository_whose_files_are_none(work: Work, name: str) -> None:
    taken = work.take()
    work.git("init", "-q", "-b", "main", "inner/repository")
    inner = f"inner/repository/.git/{name}"
    if os.path.lexists(work.path(inner)):
        work.remove(inner)
    fifo(work, inner)
    with pytest.raises(Conflict, match="is not a regular file"):
        changed(taken)
    with pytest.raises(Conflict, match="is not a regular file"):
        work.take()
