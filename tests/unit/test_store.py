"""The run folder: names, locks, atomic files, intents, and disks that refuse."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.disks import fill, read_only_disk, small_disk
from support.values import a_manifest, an_invocation
from support.waiting import wait_until
from support.work import Work

from runner.disk.files import replace_bytes, replace_json, unwritable
from runner.errors import (
    Conflict,
    DiskFull,
    ManifestBroken,
    ManifestNewer,
    RunnerError,
    RunNotFound,
    Unwritable,
)
from runner.model import Outcome, Reason, is_name
from runner.state.lifecycle import Event
from runner.state.manifest import advance
from runner.state.store import RunDir, is_run_id, lock_task, manifest_path_of, new_run_id


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(str(tmp_path), "hello", new_run_id())


def mode(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_nobody_can_open_the_lock_of_a_task_for_reading(run: RunDir) -> None:
    """So a sandboxed agent, for which `.runs` is read-only, cannot hold it."""
    for _ in range(2):
        with lock_task(run.repo, run.task_id):
            pass
        lock = f"{run.repo}/.runs/{run.task_id}/.lock"
        assert mode(lock) == 0o200
        os.chmod(lock, 0o644)


def test_who_waits_too_long_for_the_lock_of_a_task_is_told_to_try_again(run: RunDir) -> None:
    with lock_task(run.repo, run.task_id):
        with pytest.raises(RunnerError, match="others have the lock of task `hello`") as found:
            lock_task(run.repo, run.task_id, within_s=0)
        with lock_task(run.repo, run.task_id, "-other", within_s=0):
            pass
    error = found.value
    assert (error.code, error.retryable, error.exit_status) == ("task_busy", True, 9)
    with lock_task(run.repo, run.task_id, within_s=0):
        pass


# -- names -----------------------------------------------------------------------------------------


def test_run_ids_are_unique_sort_by_time_and_have_their_shape() -> None:
    ids = [new_run_id() for _ in range(500)]
    assert len(set(ids)) == 500
    assert all(map(is_run_id, ids))
    stamps = [run_id[:19] for run_id in ids]
    assert stamps == sorted(stamps)


def test_a_later_run_id_sorts_later() -> None:
    before = new_run_id()
    later = wait_until(lambda: (new := new_run_id())[:19] != before[:19] and new)
    assert before < later


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("20261120T101504438Z-50151d5c", True),
        ("20261120T101504438Z-50151D5C", False),
        ("20261120T101504438Z-50151d5", False),
        ("20261120T101504438Z-50151d5c0", False),
        ("20261120T101504438Z", False),
        ("20261120 101504438Z-50151d5c", False),
        ("20261120T10150443٣Z-50151d5c", False),
        ("20261120T101504438Z-50151d5c\n", False),
        ("20261120T101504438Z/50151d5c", False),
        ("", False),
    ],
)
def test_the_shape_of_a_run_id(text: str, good: bool) -> None:
    assert is_run_id(text) is good


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("a", True),
        ("fix-auth", True),
        ("A.b_c-9", True),
        ("9", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        (".", False),
        ("..", False),
        (".hidden", False),
        ("-dash", False),
        ("_under", False),
        ("a..b", False),
        ("a/b", False),
        ("a b", False),
        ("a\n", False),
        ("a\0", False),
        ("ä", False),
        ("a²", False),
        ("a@b", False),
    ],
)
def test_the_shape_of_a_task_id(text: str, good: bool) -> None:
    assert is_name(text) is good


@given(st.text(max_size=80))
def test_a_task_id_is_always_a_plain_name_of_a_folder(text: str) -> None:
    if is_name(text):
        assert os.path.basename(os.path.normpath(f"/x/{text}")) == text
        assert text.isascii() and len(text) <= 64 and text[0] not in ".-_"


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_everything_of_the_documented_shape_is_a_task_id_unless_it_has_two_dots(text: str) -> None:
    assert is_name(text) is (".." not in text)


def test_a_run_folder_is_found_again_by_its_path(run: RunDir) -> None:
    assert RunDir.from_path(run.path).manifest == run.manifest
    assert run.manifest == f"{run.repo}/{manifest_path_of(run.task_id, run.run_id)}"


def test_a_repository_inside_another_ones_runs_is_no_confusion(run: RunDir) -> None:
    inner = RunDir(f"{run.path}/clone", "other", run.run_id)
    found = RunDir.from_path(inner.path)
    assert (found.repo, found.task_id) == (inner.repo, "other")


@pytest.mark.parametrize(
    "path",
    ["/", "/r/.runs/t/cli", "/r/.runs/t/cli/x", "/.runs/t", "/r/.runs/t/x/20261120T101504438Z-50151d5c"],
)
def test_a_path_of_another_shape_is_no_run_folder(path: str) -> None:
    with pytest.raises(ValueError, match="not a run folder"):
        RunDir.from_path(path)


# -- making it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", "part/of it"])
def test_git_shows_nothing_of_runs_whoever_asks(tmp_path: Path, folder: str) -> None:
    """Also where nobody ran `init`; and what the agent or a person did to the file is theirs."""
    work = Work(tmp_path)
    repo = work.root / folder
    repo.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work.root / ".runs")
    os.close(RunDir(str(repo), "work", new_run_id()).create())
    for words in (("status", "--porcelain", "-uall"), ("clean", "-nd"), ("add", "-A", "-n")):
        assert work.says(*words) == "", words
    rules = repo / ".runs" / ".gitignore"
    rules.write_text("*.log\n")
    os.close(RunDir(str(repo), "work", new_run_id()).create())
    assert rules.read_text() == "*.log\n"
    rules.unlink()
    os.close(RunDir(str(repo), "work", new_run_id()).create())
    assert work.says("status", "--porcelain", "-uall") == ""


def test_a_new_run_is_private_and_locked(run: RunDir) -> None:
    lock_fd = run.create()
    assert [mode(path) for path in (run.path, run.control, run.questions)] == [0o700] * 3
    assert [mode(path) for path in (run.lock, run.reserve, run.wake_fifo)] == [0o600] * 3
    assert stat.S_ISFIFO(os.stat(run.wake_fifo).st_mode)
    assert run.is_locked()
    os.close(lock_fd)
    assert not run.is_locked()


def test_a_gitignore_that_is_there_is_left_alone(run: RunDir) -> None:
    Path(run.repo, ".runs").mkdir()
    Path(run.repo, ".runs", ".gitignore").write_text("mine")
    os.close(run.create())
    assert Path(run.repo, ".runs", ".gitignore").read_text() == "mine"


@pytest.mark.parametrize("part", [".runs", ".runs/hello", ".runs/hello/cli"])
def test_no_link_on_the_way_is_followed_and_nothing_is_written_through_it(
    part: str, run: RunDir, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    link = Path(run.repo, part)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(Conflict, match="symbolic link"):
        run.create()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("part", [".runs", ".runs/hello"])
def test_a_file_in_the_place_of_a_folder_is_unwritable(part: str, run: RunDir) -> None:
    path = Path(run.repo, part)
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(Unwritable, match=r"Not a directory|not a directory"):
        run.create()
    assert path.read_text() == "mine"


def test_a_second_run_of_the_same_id_does_not_harm_the_first(run: RunDir) -> None:
    lock_fd = run.create()
    run.write_manifest(a_manifest(run))
    with pytest.raises(Unwritable):
        RunDir(run.repo, run.task_id, run.run_id).create()
    assert run.read_manifest().run_id == run.run_id
    assert run.is_locked()
    os.close(lock_fd)


def test_a_discarded_run_leaves_nothing(run: RunDir) -> None:
    os.close(run.create())
    run.discard()
    assert os.listdir(f"{run.repo}/.runs") == [".gitignore"]


def test_a_discarded_run_leaves_what_others_have_in_the_folder_of_its_task(run: RunDir) -> None:
    other = RunDir(run.repo, run.task_id, new_run_id())
    for one in (run, other):
        os.close(one.create())
    run.discard()
    assert os.path.isdir(other.path)
    Path(run.repo, ".runs", run.task_id, "ledger.jsonl").touch()
    other.discard()
    assert os.listdir(f"{run.repo}/.runs/{run.task_id}") == ["ledger.jsonl"]


def test_runs_are_made_while_others_of_their_task_are_discarded(tmp_path: Path) -> None:
    failed: list[RunnerError] = []

    def make() -> None:
        for _ in range(100):
            run = RunDir(str(tmp_path), "hello", new_run_id())
            try:
                os.close(run.create())
                run.discard()
            except RunnerError as error:
                failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_twenty_creations_at_once_give_twenty_runs(tmp_path: Path) -> None:
    runs = [RunDir(str(tmp_path), "hello", new_run_id()) for _ in range(20)]
    fds: list[int] = []
    threads = [threading.Thread(target=lambda run=run: fds.append(run.create())) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(fds) == len(list(Path(tmp_path, ".runs/hello/cli").iterdir())) == 20
    for fd in fds:
        os.close(fd)


# -- the lock --------------------------------------------------------------------------------------


HOLD = """
import sys
from runner.state.store import RunDir
fd = RunDir.from_path(sys.argv[1]).try_lock()
print("held" if fd is not None else "refused", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["end", "kill"])
def test_the_lock_is_free_exactly_when_its_holder_is_gone(how: str, run: RunDir) -> None:
    os.close(run.create())
    words = [sys.executable, "-c", HOLD, run.path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert run.is_locked()
        assert run.try_lock() is None
        if how == "kill":
            holder.send_signal(signal.SIGKILL)
        else:
            assert holder.stdin is not None
            holder.stdin.close()
        wait_until(lambda: not run.is_locked(), within=10, what="a free lock")
        holder.wait(10)
    fd = run.try_lock()
    assert fd is not None
    os.close(fd)


def test_the_lock_outlives_the_opener_as_long_as_somebody_has_the_descriptor(run: RunDir) -> None:
    fd = run.create()
    other = os.dup(fd)
    os.close(fd)
    assert run.is_locked()
    os.close(other)
    assert not run.is_locked()


def test_a_run_that_is_gone_has_no_lock(run: RunDir) -> None:
    with pytest.raises(RunNotFound, match="is gone"):
        run.try_lock()


def test_a_link_in_the_place_of_the_lock_is_not_followed(run: RunDir) -> None:
    os.close(run.create())
    os.unlink(run.lock)
    os.symlink("/dev/null", run.lock)
    with pytest.raises(Conflict, match="symbolic link"):
        run.try_lock()


def test_a_fifo_in_the_place_of_the_lock_holds_nobody_up(run: RunDir) -> None:
    os.close(run.create())
    os.unlink(run.lock)
    os.mkfifo(run.lock)
    assert not run.is_locked()


# -- files -----------------------------------------------------------------------------------------


def test_a_reader_sees_the_old_file_or_the_new_one_and_never_a_part(run: RunDir) -> None:
    os.close(run.create())
    run.write_manifest(a_manifest(run, attempt=0))
    seen: list[int] = []
    wrong: list[BaseException] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            try:
                seen.append(run.read_manifest().attempt)
            except BaseException as error:
                wrong.append(error)
                return

    reader = threading.Thread(target=look)
    reader.start()
    wait_until(lambda: seen or wrong)
    for n in range(1, 150):
        run.write_manifest(a_manifest(run, attempt=n, last_message="x" * (n * 97 % 9000)))
    over.set()
    reader.join(30)
    assert wrong == []
    assert seen == sorted(seen) and len(set(seen)) > 1
    assert run.read_manifest().attempt == 149
    assert mode(run.manifest) == 0o600
    assert not list(Path(run.path).glob(".*.tmp"))


def test_a_manifest_comes_back_from_the_disk_with_any_characters(run: RunDir) -> None:
    os.close(run.create())
    manifest = a_manifest(run, title="Grüße \ud800 \u2028 \U0001f600", last_message="\0\x1b[31m")
    run.write_manifest(manifest)
    assert run.read_manifest() == manifest


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"schema_version": "x"}'],
    ids=repr,
)
def test_what_is_no_manifest_is_broken_and_is_left_as_it_is(content: bytes, run: RunDir) -> None:
    os.close(run.create())
    Path(run.manifest).write_bytes(content)
    with pytest.raises(ManifestBroken, match="is not a manifest"):
        run.read_manifest()
    assert Path(run.manifest).read_bytes() == content


@pytest.mark.parametrize("other", [{"run_id": "20261120T101504438Z-50151d5c"}, {"task_id": "other"}], ids=str)
def test_a_manifest_that_names_another_run_says_nothing_of_this_one(
    other: dict[str, str], run: RunDir
) -> None:
    os.close(run.create())
    replace_json(run.manifest, a_manifest(run).to_json() | other)
    with pytest.raises(ManifestBroken, match="is of another run"):
        run.read_manifest()


def test_a_manifest_of_a_newer_runner_is_refused_and_not_called_broken(run: RunDir) -> None:
    os.close(run.create())
    replace_json(run.manifest, a_manifest(run).to_json() | {"schema_version": 99})
    with pytest.raises(ManifestNewer, match="99"):
        run.read_manifest()


def test_a_manifest_behind_a_link_is_not_read(run: RunDir) -> None:
    os.close(run.create())
    other = Path(run.path, "other.json")
    other.write_text(json.dumps(a_manifest(run).to_json()))
    os.symlink(other, run.manifest)
    with pytest.raises(ManifestBroken, match="cannot read"):
        run.read_manifest()


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_whatever_stands_in_place_of_the_manifest_is_set_aside_and_written_over(
    run: RunDir, put: Callable[[str], None]
) -> None:
    os.close(run.create())
    put(run.manifest)
    with pytest.raises(ManifestBroken, match="cannot read"):
        run.read_manifest()
    kind = stat.S_IFMT(os.lstat(run.manifest).st_mode)
    assert stat.S_IFMT(os.lstat(run.set_aside_manifest()).st_mode) == kind
    manifest = a_manifest(run)
    run.write_manifest(manifest)
    assert run.read_manifest() == manifest


def test_a_folder_in_place_of_the_manifest_does_not_keep_an_owner_from_writing_it(run: RunDir) -> None:
    os.close(run.create())
    os.makedirs(f"{run.manifest}/full")
    manifest = a_manifest(run)
    run.write_manifest(manifest)
    assert run.read_manifest() == manifest
    assert [path.name for path in Path(run.path).glob("manifest.json.broken-*/*")] == ["full"]


def test_a_wish_is_left_although_the_agent_has_removed_the_folder_of_wishes(run: RunDir) -> None:
    os.close(run.create())
    shutil.rmtree(run.control)
    run.leave_intent("cancel", "user")
    assert [intent.kind for _, intent in run.intents()] == ["cancel"]
    assert mode(run.control) == 0o700


def test_a_link_in_place_of_the_folder_of_wishes_is_not_followed(run: RunDir, tmp_path: Path) -> None:
    os.close(run.create())
    shutil.rmtree(run.control)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "intent-1.json").write_text("of somebody else")
    os.symlink(tmp_path / "elsewhere", run.control)
    with pytest.raises(Conflict, match="symbolic link"):
        run.leave_intent("cancel", "user")
    assert list(run.intents()) == [] and run.open_wake() is None
    assert [path.read_text() for path in (tmp_path / "elsewhere").iterdir()] == ["of somebody else"]


def test_a_wish_makes_no_folder_of_a_run_that_is_gone(run: RunDir) -> None:
    os.close(run.create())
    shutil.rmtree(run.path)
    with pytest.raises(RunNotFound, match="is gone"):
        run.leave_intent("cancel", "user")
    assert not os.path.exists(run.path)


def test_a_broken_manifest_is_kept_aside_and_there_is_one_at_every_moment(run: RunDir) -> None:
    os.close(run.create())
    Path(run.manifest).write_bytes(b"broken")
    first, second = run.set_aside_manifest(), run.set_aside_manifest()
    assert first != second
    assert Path(run.manifest).read_bytes() == Path(first).read_bytes() == b"broken"
    run.write_manifest(a_manifest(run))
    assert Path(first).read_bytes() == b"broken"


# -- intents ---------------------------------------------------------------------------------------


def test_intents_come_in_the_order_in_which_they_were_left(run: RunDir) -> None:
    os.close(run.create())
    for n in range(30):
        run.leave_intent("cancel", f"user-{n}", reason=str(n))
    assert [intent.reason for _, intent in run.intents()] == [*map(str, range(30))]
    assert {intent.kind for _, intent in run.intents()} == {"cancel"}


def test_an_intent_is_private_and_stays_until_it_is_taken(run: RunDir) -> None:
    os.close(run.create())
    path = run.leave_intent("pause", "user")
    assert mode(path) == 0o600
    assert [found for found, _ in run.intents()] == [path]
    os.unlink(path)
    assert list(run.intents()) == []


def test_an_incomplete_intent_is_not_seen(run: RunDir) -> None:
    os.close(run.create())
    Path(run.control, ".00000000000000000001-abcdef").write_bytes(b'{"kind": "can')
    assert list(run.intents()) == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000], ids=["empty", "cut", "list", "bytes", "deep"]
)
def test_an_intent_that_nobody_can_read_is_taken_away(content: bytes, run: RunDir) -> None:
    os.close(run.create())
    bad = Path(run.control, "intent-00000000000000000001-abcdef.json")
    bad.write_bytes(content)
    run.leave_intent("cancel", "user")
    assert [intent.kind for _, intent in run.intents()] == ["cancel"]
    assert not bad.exists()


def test_a_folder_or_a_link_in_the_place_of_an_intent_stops_nobody(run: RunDir) -> None:
    os.close(run.create())
    Path(run.control, "intent-0-folder.json").mkdir()
    Path(run.control, "intent-0-link.json").symlink_to("/dev/zero")
    run.leave_intent("cancel", "user")
    assert [intent.kind for _, intent in run.intents()] == ["cancel"]


def test_an_intent_for_a_run_that_is_gone_is_an_error(run: RunDir) -> None:
    assert list(run.intents()) == []
    with pytest.raises(RunNotFound, match="is gone"):
        run.leave_intent("cancel", "user")


def test_waking_needs_nobody_there(run: RunDir) -> None:
    run.wake()
    os.close(run.create())
    run.wake()
    fifo = os.open(run.wake_fifo, os.O_RDWR | os.O_NONBLOCK)
    run.wake()
    assert os.read(fifo, 10) == b"!"
    for _ in range(70_000):  # more than a pipe holds: never an error, never a wait
        run.wake()
    os.close(fifo)


@pytest.mark.parametrize("put", [Path.touch, os.unlink, lambda path: os.symlink("/dev/zero", path)])
def test_what_stands_in_the_place_of_the_fifo_is_replaced(run: RunDir, put: Callable[[Path], None]) -> None:
    """A plain file is always ready for poll(2), so its owner would never sleep."""
    os.close(run.create())
    os.unlink(run.wake_fifo)
    if put is not os.unlink:
        put(Path(run.wake_fifo))
    fd = run.open_wake()
    assert fd is not None and stat.S_ISFIFO(os.fstat(fd).st_mode)
    run.wake()
    assert os.read(fd, 10) == b"!"
    os.close(fd)


def test_a_folder_in_the_place_of_the_fifo_is_left_and_not_slept_on(run: RunDir) -> None:
    os.close(run.create())
    os.unlink(run.wake_fifo)
    os.mkdir(run.wake_fifo)
    assert run.open_wake() is None and os.path.isdir(run.wake_fifo)


# -- disks that refuse -----------------------------------------------------------------------------


def test_a_full_disk_is_named_and_leaves_no_run(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256) as disk:
        ballast = fill(disk, leave=48 * 1024)
        run = RunDir(str(disk), "hello", new_run_id())
        with pytest.raises(DiskFull, match="No space left"):
            run.create()
        assert not os.path.exists(run.path)
        ballast.unlink()
        os.close(run.create())


def test_the_reserve_makes_the_end_writable_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 512) as disk:
        run = RunDir(str(disk), "hello", new_run_id())
        os.close(run.create())
        manifest = a_manifest(run)
        run.write_manifest(manifest)
        fill(disk)
        with pytest.raises(OSError, match="No space"):
            replace_bytes(f"{run.path}/other", b"x" * 4096)
        ended = advance(
            manifest, Event.START_FAILED, outcome=Outcome.FAILED, reason=Reason("disk_full", "full")
        )
        run.write_manifest(ended)
        assert run.read_manifest() == ended
        assert not os.path.exists(run.reserve)
        assert not list(Path(run.path).glob(".*.tmp"))


def test_without_the_reserve_the_old_manifest_stays_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 512) as disk:
        run = RunDir(str(disk), "hello", new_run_id())
        os.close(run.create())
        run.write_manifest(a_manifest(run))
        os.unlink(run.reserve)
        fill(disk)
        with pytest.raises(OSError, match="No space"):
            run.write_manifest(a_manifest(run, last_message="x" * 9000))
        assert run.read_manifest().last_message is None
        assert not list(Path(run.path).glob(".*.tmp"))
        with pytest.raises(DiskFull):
            run.leave_intent("cancel", "user", reason="x" * 5000)
        assert list(run.intents()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 512) as disk:
        run = RunDir(str(disk), "hello", new_run_id())
        os.close(run.create())
        run.write_manifest(a_manifest(run))
        with read_only_disk(disk):
            assert run.read_manifest().run_id == run.run_id
            assert not run.is_locked()
            for act in (
                RunDir(str(disk), "hello", new_run_id()).create,
                lambda: run.leave_intent("cancel", "user"),
            ):
                with pytest.raises(Unwritable, match="Read-only"):
                    act()
            run.wake()


@pytest.mark.parametrize(
    ("number", "code"),
    [(28, "disk_full"), (122, "disk_full"), (40, "conflict"), (13, "unwritable"), (30, "unwritable")],
)
def test_every_refusal_of_the_disk_has_its_name(number: int, code: str) -> None:
    error = unwritable(OSError(number, os.strerror(number), "/some/file"))
    assert error.code == code
    assert "/some/file" in error.message


def test_artifacts_are_relative_names(run: RunDir) -> None:
    assert run.artifacts == {
        "invocation": "invocation.json",
        "prompt": "prompt.md",
        "events": "events.jsonl",
        "stdout": "stdout.jsonl",
        "stderr": "stderr.log",
        "last_message": "last-message.md",
    }


def test_an_invocation_survives_the_disk(run: RunDir) -> None:
    os.close(run.create())
    invocation = an_invocation(run.repo, run.task_id, run.run_id, argv=("codex", "\udcff"))
    replace_json(run.invocation, invocation.to_json())
    data = json.loads(Path(run.invocation).read_bytes())
    assert type(invocation).from_json(data, invocation.prompt) == invocation


def test_the_clock_of_a_run_id_is_utc() -> None:
    assert new_run_id()[:11] in {time.strftime("%Y%m%dT%H", time.gmtime(time.time() - d)) for d in (0, 2)}
