"""The feed of a repository: every event once, numbered without gaps, whoever writes and whatever happens."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.disks import fill, small_disk
from support.ended import an_ended_run
from support.waiting import ends_within

from runner.errors import Unwritable, UsageError
from runner.model import Lineage, Outcome, Phase
from runner.state import feed, index
from runner.state.fingerprints import Known
from runner.state.manifest import Workspace, timestamp
from runner.state.questions import ask
from runner.state.store import RunDir, manifest_path_of, new_run_id
from runner.supervise import news
from runner.supervise.sealing import Cleaner
from runner.usecases import events
from runner.usecases.clean import clean

DAY = 86400.0


def a_run(root: Path, task: str = "work") -> RunDir:
    """Of which there is no more than the name; its `.runs` is there."""
    (root / ".runs").mkdir(mode=0o700, exist_ok=True)
    return RunDir(str(root), task, new_run_id())


def tell(root: Path, event: str = "started", at: str | None = None) -> RunDir:
    run = a_run(root)
    feed.tell(run, event, at=at, sessions=[])
    return run


def seqs(root: Path) -> list[int]:
    return [event["seq"] for event in feed.FeedReader(str(root)).new()]


def the_file(root: Path) -> Path:
    return root / ".runs" / ".feed.jsonl"


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
    """As by a writer that was stopped."""
    with (root / ".runs" / ".feed.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_events_of_all_runs_are_numbered_and_lie_in_a_private_file(tmp_path: Path) -> None:
    for _ in range(3):
        tell(tmp_path)
    assert seqs(tmp_path) == [1, 2, 3]
    assert the_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert index.unreadable(str(tmp_path)) == [], "no task can have the name of the feed or of its lock"


def test_the_same_is_told_once_and_each_question_apart(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    for event, question in [
        ("ended", None),
        ("asked", "q-0001"),
        ("asked", "q-0002"),
        ("settled", "q-0001"),
    ] * 2:
        feed.tell(run, event, question)
    found = [
        (event["seq"], event["event"], event["question"]) for event in feed.FeedReader(str(tmp_path)).new()
    ]
    assert found == [
        (1, "ended", None),
        (2, "asked", "q-0001"),
        (3, "asked", "q-0002"),
        (4, "settled", "q-0001"),
    ]


def test_writers_at_the_same_time_leave_no_gap_and_no_half(tmp_path: Path) -> None:
    a_run(tmp_path)
    (tmp_path / ".runs" / ".feed.lock" / "x").mkdir(parents=True)  # which one of them moves away
    code = (
        "import sys; from runner.state import feed; from runner.state.store import RunDir, new_run_id\n"
        "for _ in range(25):\n"
        "    run = RunDir(sys.argv[1], 'work', new_run_id())\n"
        "    while True:\n"
        "        try:\n"
        "            feed.tell(run, 'started')\n"
        "            break\n"
        "        except BlockingIOError:\n"
        "            continue\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(4)]
    assert [writer.wait(timeout=60) for writer in writers] == [0] * 4
    assert seqs(tmp_path) == list(range(1, 101))


@given(cut=st.integers(0, 2000))
def test_a_torn_line_is_no_event_and_the_next_writer_cuts_it_off(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("torn")
    for _ in range(3):
        tell(root)
    path = the_file(root)
    os.truncate(path, min(cut, path.stat().st_size))
    reader = feed.FeedReader(str(root))
    whole = [event["seq"] for event in reader.new()]
    tell(root)
    assert [event["seq"] for event in reader.new()] == [len(whole) + 1]
    assert seqs(root) == list(range(1, len(whole) + 2))
    assert path.read_bytes().count(b"\n") == len(whole) + 1


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b'{"seq": 9, "event": "ended"}\n',
        b'{"mac":"' + b"0" * 64 + b'","seq":9,"event":"ended","run_id":"x"}\n',
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
        b'{"mac":"',
    ],
    ids=lambda line: repr(line[:12]),
)
def test_what_is_not_signed_is_neither_shown_nor_counted(line: bytes, tmp_path: Path) -> None:
    run = tell(tmp_path)
    with the_file(tmp_path).open("ab") as file:
        file.write(line.replace(b"run_id", run.run_id.encode()))
    feed.tell(run, "ended")
    assert seqs(tmp_path) == [1, 2]


def test_a_feed_of_another_place_is_not_believed_and_another_one_begins(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    for _ in range(3):
        tell(here)
    here.rename(there)
    assert seqs(there) == []
    tell(there)
    assert seqs(there) == [1]


def test_what_others_could_write_and_links_are_not_written(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    the_file(tmp_path).symlink_to(victim)
    feed.tell(run, "started")
    assert victim.read_text() == "mine" and seqs(tmp_path) == [1]
    (tmp_path / ".runs").chmod(0o777)
    with pytest.raises(PermissionError):
        feed.tell(run, "ended")
    assert seqs(tmp_path) == [1]


@pytest.mark.parametrize("kind", ["fifo", "hole", "folder"])
def test_what_is_no_feed_holds_nobody_up(kind: str, tmp_path: Path) -> None:
    run = a_run(tmp_path)
    path = the_file(tmp_path)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "x").mkdir(parents=True)
    else:
        path.touch()
        os.truncate(path, 1 << 40)
    with ends_within(20):
        assert seqs(tmp_path) == []
        feed.tell(run, "started")
        assert seqs(tmp_path) == [1]


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "link to nothing", "hard link", "socket"])
@pytest.mark.parametrize("name", [".feed.lock", ".feed.jsonl"])
def test_what_a_repository_brought_silences_and_redirects_nothing(
    kind: str, name: str, tmp_path: Path
) -> None:
    run = a_run(tmp_path)
    path, victim = tmp_path / ".runs" / name, tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o644)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "x").mkdir(parents=True)
    elif kind == "hard link":
        os.link(victim, path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path.symlink_to(victim if kind == "link" else tmp_path / "nothing")
    with ends_within(20):
        for event in ("started", "ended"):
            feed.tell(run, event)
        clean(str(tmp_path), older_than_s=DAY, dry_run=False)
    assert seqs(tmp_path) == [1, 2]
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("mine", 0o644)
    assert not (tmp_path / "nothing").exists()
    assert index.unreadable(str(tmp_path)) == [], "what was moved away counts as no task"


def test_a_feed_that_came_with_a_repository_is_no_more_open_to_others_than_ours(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    the_file(tmp_path).write_text("{}\n")
    the_file(tmp_path).chmod(0o644)
    feed.tell(run, "started")
    assert (seqs(tmp_path), the_file(tmp_path).stat().st_mode & 0o777) == ([1], 0o600)


@pytest.mark.parametrize("garbage", [b"x" * 99 + b"\n", b"x" * 100], ids=["lines", "no line"])
def test_what_is_not_signed_takes_the_place_of_no_event(garbage: bytes, tmp_path: Path) -> None:
    reader = feed.FeedReader(str(tmp_path))
    for _ in range(2):
        tell(tmp_path)
        with the_file(tmp_path).open("ab") as file:
            file.write(garbage * 200_000)
    tell(tmp_path)
    assert [event["seq"] for event in reader.new()] == seqs(tmp_path) == [1, 2, 3]
    assert the_file(tmp_path).stat().st_size < 10_000


def test_a_lock_that_somebody_holds_is_waited_for_a_moment(tmp_path: Path) -> None:
    run = tell(tmp_path)
    with held(tmp_path), ends_within(5), pytest.raises(BlockingIOError):
        feed.tell(run, "ended")
    feed.tell(run, "ended")
    assert seqs(tmp_path) == [1, 2]


def test_on_a_full_disk_nothing_is_lost_but_the_moment(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        run = tell(disk)
        ballast = fill(disk)
        told = 1
        with pytest.raises(OSError, match="space"):
            for _ in range(1000):
                tell(disk)
                told += 1
        assert seqs(disk) == list(range(1, told + 1))
        ballast.unlink()
        feed.tell(run, "ended")
        assert seqs(disk) == list(range(1, told + 2))


def test_clean_takes_out_what_is_old_and_the_numbers_go_on(tmp_path: Path) -> None:
    for age in (9, 8, 1, 0):
        tell(tmp_path, at=timestamp(timestamp_s() - age * DAY))
    reader, late = feed.FeedReader(str(tmp_path)), feed.FeedReader(str(tmp_path), 1)
    assert [event["seq"] for event in reader.new()] == [1, 2, 3, 4]
    clean(str(tmp_path), older_than_s=7 * DAY, dry_run=False)
    assert seqs(tmp_path) == [3, 4]
    assert [event["seq"] for event in late.new()] == [3, 4] and late.missed == 1
    clean(str(tmp_path), older_than_s=0.0, dry_run=False)
    assert seqs(tmp_path) == [4]
    tell(tmp_path)
    assert [event["seq"] for event in reader.new()] == [5], "a reader over a clean misses and repeats nothing"


def timestamp_s() -> float:
    import time

    return time.time()


def test_a_feed_that_grows_without_end_loses_its_older_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_LARGEST", 100_000)
    run = tell(tmp_path)
    for n in range(30):
        feed.tell(run, "asked", f"q-{n:04d}", prompt="x" * 5000)
    found = seqs(tmp_path)
    assert found == list(range(found[0], 32)) and found[0] > 10
    assert the_file(tmp_path).stat().st_size < 110_000


@pytest.mark.parametrize("events_anew", [1, 3, 5])
@pytest.mark.parametrize("way", ["another inode", "same inode", "empty for a moment"])
def test_a_feed_that_begins_anew_is_followed_from_its_beginning(
    tmp_path: Path, way: str, events_anew: int
) -> None:
    for _ in range(3):
        tell(tmp_path)
    reader = feed.FeedReader(str(tmp_path), 1)
    assert [event["seq"] for event in reader.new()] == [2, 3]
    kept = tmp_path / "kept"
    os.rename(the_file(tmp_path), kept)
    assert [*reader.new()] == []
    if way == "empty for a moment":
        the_file(tmp_path).touch(mode=0o600)
        assert [*reader.new()] == []
    for _ in range(events_anew):
        tell(tmp_path)
    if way == "same inode":  # as file systems give it to the next file
        kept.write_bytes(the_file(tmp_path).read_bytes())
        os.rename(kept, the_file(tmp_path))
    assert [event["seq"] for event in reader.new()] == [*range(1, events_anew + 1)]
    tell(tmp_path)
    assert ([event["seq"] for event in reader.new()], reader.missed) == ([events_anew + 1], 0)


def test_a_feed_that_was_trimmed_is_followed_from_where_it_was(tmp_path: Path) -> None:
    for _ in range(3):
        tell(tmp_path, at="2025-11-20T10:15:04.438Z")
    reader = feed.FeedReader(str(tmp_path))
    assert len([*reader.new()]) == 3
    feed.trim(str(tmp_path), DAY)
    assert [*reader.new()] == []
    tell(tmp_path)
    assert ([event["seq"] for event in reader.new()], reader.missed) == ([4], 0)


def test_a_lock_that_a_repository_brought_can_be_read_by_nobody(tmp_path: Path) -> None:
    a_run(tmp_path)
    lock = tmp_path / ".runs" / ".feed.lock"
    lock.touch(mode=0o644)
    tell(tmp_path)
    assert lock.stat().st_mode & 0o777 == 0o200


def test_a_number_that_is_still_to_come_is_an_error(tmp_path: Path) -> None:
    tell(tmp_path)
    assert events.read(str(tmp_path), 1) == ([], 0)
    with pytest.raises(UsageError, match="there is no event 7 yet: the latest is 1"):
        events.read(str(tmp_path), 7)


def test_a_repository_without_a_feed_has_no_events(tmp_path: Path) -> None:
    assert events.read(str(tmp_path), None) == ([], 0)


# -- what an owner tells ---------------------------------------------------------------------------------


def told(root: Path) -> list[tuple[str, str]]:
    return [(event["event"], event["status"]) for event in feed.FeedReader(str(root)).new()]


def test_a_start_that_could_not_be_told_is_told_later_and_no_other_one(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    os.makedirs(run.control, exist_ok=True)
    manifest = run.read_manifest()
    assert news.started(run, manifest), "the feed may have told of it and been cut since"
    assert told(tmp_path) == []
    with held(tmp_path):
        assert not news.started(run, manifest, is_new=True)
        assert not news.started(run, manifest) and not news.ended(run, manifest)
    assert news.ended(run, manifest) and news.started(run, manifest)
    assert [event for event, _ in told(tmp_path)] == ["started", "ended"]
    the_file(tmp_path).unlink()
    assert news.started(run, manifest) and told(tmp_path) == []


def test_an_end_is_told_with_its_reason_and_its_sessions(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path, outcome=Outcome.REJECTED, code="verify_failed", sessions=("abc",))
    manifest = run.read_manifest().replace(sessions=("abc",))
    assert news.ended(run, manifest) and news.ended(run, manifest)
    (event,) = feed.FeedReader(str(tmp_path)).new()
    assert event["reason"] == {"code": "verify_failed", "message": "so it was"}
    assert (event["status"], event["sessions"], event["at"]) == ("rejected", ["abc"], manifest.ended_at)


def test_a_tree_that_stands_waits_for_a_person_unless_its_plan_takes_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    place = Workspace("worktree", str(tree), "0" * 40)
    run = an_ended_run(tmp_path, workspace=place)
    news.ended(run, run.read_manifest())
    assert told(tmp_path) == [("ended", "succeeded"), ("undecided", "succeeded")]
    plan = an_ended_run(tmp_path, task="plan")
    above = Lineage("plan", plan.run_id, manifest_path_of("plan", plan.run_id))
    whole = plan.read_manifest()
    plan.write_manifest(whole.replace(runtime=whole.runtime.replace(name="plan")))
    batch = an_ended_run(tmp_path, workspace=place, parent=above)
    news.ended(batch, batch.read_manifest().replace(parent=above))
    assert told(tmp_path)[2:] == [("ended", "succeeded")]


@pytest.mark.parametrize(
    ("name", "changes", "to"),
    [
        ("codex", {"phase": Phase.RUNNING, "outcome": None}, "parent"),
        ("plan", {"phase": Phase.RUNNING, "outcome": None}, "owner"),
        ("codex", {}, "owner"),
    ],
    ids=["a run that lives", "a plan", "a run that is done"],
)
def test_a_question_to_who_answers_nothing_is_one_to_a_person(
    name: str, changes: dict[str, Any], to: str, tmp_path: Path
) -> None:
    parent, run = an_ended_run(tmp_path, task="above"), an_ended_run(tmp_path)
    above = parent.read_manifest()
    parent.write_manifest(above.replace(runtime=above.runtime.replace(name=name), **changes))
    one = ask(run, asked=parent.run_id, prompt="x\x1b[2J" * 1000, expires_in_s=None, on_expiry="continue")
    manifest = run.read_manifest().replace(
        parent=Lineage("above", parent.run_id, manifest_path_of("above", parent.run_id))
    )
    called: list[Any] = []
    for _ in range(2):
        assert news.question(run, manifest, Cleaner(Known((), ())), one, called.append)
    (event,) = feed.FeedReader(str(tmp_path)).new()
    assert event["to"] == (parent.run_id if to == "parent" else "owner")
    assert called == [event], "once, however often it is told"
    assert len(event["prompt"]) == 500 and "\x1b" not in event["prompt"]


def test_each_turn_of_each_attempt_is_told_once_and_to_who_wants_it(tmp_path: Path) -> None:
    run, called = an_ended_run(tmp_path), list[Any]()
    first = run.read_manifest()
    second = first.replace(attempt=first.attempt + 1)
    for manifest in (first, first, second):
        for one in [(1, "completed", "x" * 1000), (2, "failed", "")]:
            assert news.turn(run, manifest, one, called.append)
    found = list(feed.FeedReader(str(tmp_path)).new())
    assert called == found
    n = first.attempt
    seen = [(event["attempt"], event["turn"], event["status"]) for event in found]
    assert seen == [(n, 1, "completed"), (n, 2, "failed"), (n + 1, 1, "completed"), (n + 1, 2, "failed")]
    assert len(found[0]["message"]) == 500
    assert found[1]["message"] == ""


def test_of_each_command_that_tells_the_user_a_failure_is_told_once(tmp_path: Path) -> None:
    run = an_ended_run(tmp_path)
    for hook in ("on_turn", "on_turn", "on_end"):
        news.not_noticed(run, {"question": None}, hook, "exited with 3")
    found = [event["reason"]["message"] for event in feed.FeedReader(str(tmp_path)).new()]
    assert found == ["on_turn: exited with 3", "on_end: exited with 3"]


@pytest.mark.parametrize(
    ("breaker", "reason"),
    [
        ({"open": True, "failures": 3, "parked": None}, "breaker_open"),
        (
            {"open": False, "failures": 0, "parked": {"code": "workspace_busy", "message": "x"}},
            "workspace_busy",
        ),
        ({"open": False, "failures": 1, "parked": None}, "batches_left"),
    ],
    ids=["breaker", "parked", "left"],
)
def test_a_plan_that_goes_no_further_is_told(breaker: dict[str, object], reason: str, tmp_path: Path) -> None:
    plan = {"breaker": breaker, "left": ["U1"]}
    run = an_ended_run(tmp_path, outcome=Outcome.FAILED, code="batches_left", plan=plan)
    news.ended(run, run.read_manifest())
    first, second = feed.FeedReader(str(tmp_path)).new()
    assert (first["event"], second["event"], second["reason"]["code"]) == ("ended", "parked", reason)


def test_without_a_key_nothing_is_told_and_nothing_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = an_ended_run(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert news.ended(run, run.read_manifest())
    assert not the_file(tmp_path).exists()


def test_trimming_takes_out_nothing_that_another_key_or_another_user_has_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        tell(tmp_path, at="2025-11-20T10:15:04.438Z")
    before = the_file(tmp_path).read_bytes()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        feed.trim(str(tmp_path), DAY)
        assert the_file(tmp_path).read_bytes() == before
        tell(tmp_path)
        assert seqs(tmp_path) == [1]
    assert seqs(tmp_path) == [1, 2, 3]
    os.chmod(tmp_path / ".runs", 0o777)  # as good as that of another user
    feed.trim(str(tmp_path), DAY)
    assert seqs(tmp_path) == [1, 2, 3]
    os.chmod(tmp_path / ".runs", 0o700)
    feed.trim(str(tmp_path), DAY)
    assert seqs(tmp_path) == [3]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
@pytest.mark.parametrize("name", [".runs", ".runs/.feed.jsonl"])
def test_a_feed_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path, name: str) -> None:
    tell(tmp_path)
    reader = feed.FeedReader(str(tmp_path))
    os.chmod(tmp_path / name, 0)
    try:
        with pytest.raises(Unwritable, match="cannot read"):
            [*reader.new()]
    finally:
        os.chmod(tmp_path / name, 0o700)
    assert len([*reader.new()]) == 1
