"""The messages of a run on disk: each has its place, nobody is passed over, nothing comes behind the end."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.family import a_run
from support.waiting import ends_within

from runner.errors import Conflict, RunNotFound, Unwritable, UsageError
from runner.model import MAX_PROMPT_CHARS
from runner.state.lineage import lineage_of
from runner.state.messages import END, TEXT, Message, Queue, QueueClosed, checked_key
from runner.state.store import RunDir, new_run_id


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return a_run(tmp_path)


def names(run: RunDir) -> list[str]:
    return sorted(os.listdir(run.messages)) if os.path.isdir(run.messages) else []


class Senders(RuleBasedStateMachine):
    """Some who send and one owner, each with what it has read so far, in any order."""

    keys = st.sampled_from([None, "a", "b"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.run = RunDir(self.folder.name, "hello", new_run_id())
        os.makedirs(self.run.path)
        self.senders = [Queue(self.run) for _ in range(3)]
        self.owner = Queue(self.run)
        self.taken: dict[str, str] = {}
        self.by_key: dict[str, str] = {}
        self.given: list[str] = []
        self.is_closed = False

    @rule(who=st.integers(0, 2), key=keys, now=st.booleans(), is_new=st.booleans())
    def send(self, who: int, key: str | None, now: bool, is_new: bool) -> None:
        if is_new:
            self.senders[who] = Queue(self.run)
        text = f"text {len(self.taken)}"
        try:
            message = self.senders[who].add(text, actor="user", key=key, now=now)
        except QueueClosed:
            assert self.is_closed
            return
        if key is not None and key in self.by_key:
            assert message.id == self.by_key[key]
            return
        assert not self.is_closed
        assert message.text == text
        self.taken[message.id] = text
        if key is not None:
            self.by_key[key] = message.id

    @rule(who=st.integers(0, 2))
    def end(self, who: int) -> None:
        self.senders[who].add("", actor="user", kind=END)
        self.is_closed = True

    @rule()
    def give(self) -> None:
        if pending := self.owner.pending(self.given):
            assert pending[0].now or not any(one.now for one in pending)
            self.given.append(pending[0].id)

    @rule(leaves=st.booleans())
    def close(self, leaves: bool) -> None:
        is_heard = {*self.given} == {*self.taken}
        was_closed = self.is_closed
        assert self.owner.close(self.given, actor="supervisor", leaves=leaves) == (leaves or is_heard)
        self.is_closed = was_closed or leaves or is_heard

    @rule()
    def reopen(self) -> None:
        end = self.owner.end
        self.owner.reopen("supervisor")
        if end is not None and end.actor == "supervisor":
            self.is_closed = False
            self.senders = [Queue(self.run) for _ in range(3)]  # a command reads anew

    @invariant()
    def all_that_was_taken_is_there_in_order_and_once(self) -> None:
        found = names(self.run)
        assert found == [f"m-{n:04d}.json" for n in range(1, len(found) + 1)]
        assert len(found) == len(self.taken) + self.is_closed
        seen = Queue(self.run).look()
        assert {one.id: one.text for one in seen if one.kind == TEXT} == self.taken
        assert (
            [one.kind for one in seen].count(END)
            == self.is_closed
            == (seen[-1:] != [] and seen[-1].kind == END)
        )
        assert {one.id for one in self.owner.pending(self.given)} == {*self.taken} - {*self.given}

    def teardown(self) -> None:
        self.folder.cleanup()


Senders.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
test_whoever_sends_in_whatever_order_nothing_is_lost = Senders.TestCase


def test_of_many_at_once_each_is_heard_or_refused(run: RunDir) -> None:
    begins = threading.Barrier(9)

    def send(who: int) -> list[str]:
        taken = []
        begins.wait()
        for n in range(20):
            try:
                taken.append(Queue(run).add(f"{who}-{n}", actor="user", key=f"{who % 4}-{n}").id)
            except QueueClosed:
                break
        return taken

    with ThreadPoolExecutor(8) as pool:
        sending = [pool.submit(send, who) for who in range(8)]
        owner, given = Queue(run), set[str]()
        begins.wait()
        while len(given) < 40 or not owner.close(given, actor="supervisor"):
            given.update(one.id for one in owner.pending(given)[:1])
        taken = {name for one in sending for name in one.result()}
    assert taken == given
    found = Queue(run).look()
    assert [one.id for one in found] == [f"m-{n:04d}" for n in range(1, len(found) + 1)]
    keys = [one.key for one in found if one.kind == TEXT]
    assert len(keys) == len(set(keys))
    assert found[-1].kind == END


def test_a_run_that_takes_no_more_messages_can_be_ended(run: RunDir) -> None:
    os.makedirs(run.messages)
    for number in range(1, 10_000):
        Path(run.messages, f"m-{number:04d}.json").touch()
    with pytest.raises(Conflict, match="too many messages"):
        Queue(run).add("one more", actor="user")
    end = Queue(run).add("", actor="user", kind=END)
    assert Queue(run).end == end == Queue(run).add("", actor="user", kind=END)
    with pytest.raises(QueueClosed):
        Queue(run).add("behind it", actor="user")


def broken(run: RunDir) -> dict[str, Callable[[str], object]]:
    def wrote(data: bytes) -> Callable[[str], object]:
        return lambda path: Path(path).write_bytes(data)

    def forged(**changes: Any) -> Callable[[str], object]:
        made = Message("m-0002", TEXT, "forged", "user", "2026-01-01T00:00:00.000Z").to_json()
        return wrote(json.dumps({**made, **changes}).encode())

    def hole(path: str) -> None:
        Path(path).touch()
        os.truncate(path, 1 << 34)

    return {
        "nothing": wrote(b""),
        "half": wrote(b'{"id": "m-0002", "kind"'),
        "list": wrote(b"[" * 100_000),
        "bytes": wrote(b"\xff\xfe"),
        "kind": forged(kind="order"),
        "number": forged(text=5),
        "another's id": forged(id="m-0001"),
        "a run elsewhere": forged(follow_up={"task_id": "t", "run_id": "../x", "manifest_path": "x"}),
        "nul": forged(text="a\0b"),
        "half a character": forged(text="\ud800"),
        "long": forged(text="x" * (MAX_PROMPT_CHARS + 1)),
        "folder": os.mkdir,
        "link": lambda path: os.symlink(f"{run.messages}/m-0001.json", path),
        "fifo": os.mkfifo,
        "hole": hole,
    }


@pytest.mark.parametrize("what", broken(RunDir("/", "hello", new_run_id())))
def test_what_is_no_message_keeps_its_number_and_says_nothing(run: RunDir, what: str) -> None:
    first = Queue(run).add("one", actor="user")
    broken(run)[what](f"{run.messages}/m-0002.json")
    owner = Queue(run)
    with ends_within(20):
        assert [one.text for one in owner.look()] == ["one"]
        third = Queue(run).add("three", actor="user")
    assert (first.id, third.id) == ("m-0001", "m-0003")
    assert [one.id for one in owner.pending({first.id})] == ["m-0003"]
    assert owner.close({first.id, third.id}, actor="supervisor")


@pytest.mark.parametrize("what", ["a file", "a link", "gone"])
def test_where_nothing_can_be_written_a_sender_hears_why_and_the_owner_can_end(
    run: RunDir, what: str, tmp_path: Path
) -> None:
    if what == "a file":
        Path(run.messages).touch()
    elif what == "a link":
        os.symlink(tmp_path, run.messages)
    else:
        os.rename(run.path, f"{run.path}-elsewhere")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises({"gone": RunNotFound, "a link": Conflict, "a file": Unwritable}[what]):
        Queue(run).add("text", actor="user")
    owner = Queue(run)
    assert owner.close((), actor="supervisor")
    assert owner.end is not None
    assert sorted(os.listdir(tmp_path)) == before


def test_an_end_that_is_taken_back_while_somebody_looks_leaves_no_gap(run: RunDir) -> None:
    """Who has seen its name and finds no file any more must not take the number behind it."""
    owner = Queue(run)
    owner.close((), actor="supervisor")
    looked = threading.Event()

    def toggle() -> None:
        while not looked.is_set():
            owner.reopen("supervisor")
            owner.close((), actor="supervisor")
        owner.reopen("supervisor")

    with ThreadPoolExecutor(1) as pool:
        toggling = pool.submit(toggle)
        senders = []
        for _ in range(300):
            senders.append(Queue(run))
            senders[-1].look()
        looked.set()
        toggling.result()
    for sender in senders:
        if not sender.look():
            assert sender.add("text", actor="user").id == "m-0001"
            os.unlink(f"{run.messages}/m-0001.json")


def test_a_follow_up_is_noted_behind_the_end_and_given_to_nobody(run: RunDir) -> None:
    queue, above = Queue(run), RunDir(run.repo, "hello", new_run_id())
    queue.close((), actor="supervisor")
    lineage = lineage_of(above)
    noted = queue.add("text", actor="user", key="k", follow_up=lineage)
    assert (noted.id, queue.pending(())) == ("m-0002", [])
    assert Queue(run).add("other", actor="user", key="k", follow_up=None).follow_up == lineage


def test_the_messages_of_a_run_have_an_end_in_memory(run: RunDir) -> None:
    """Who may send could fill that of the supervisor, and of each command that looks at the run."""
    queue, text = Queue(run), "\N{GRINNING FACE}" * MAX_PROMPT_CHARS
    with pytest.raises(Conflict, match="too many messages"):
        for _ in range(100):
            queue.add(text, actor="user")
    size = sum(one.stat().st_size for one in Path(run.messages).iterdir())
    assert 32 * 1024 * 1024 < size < 128 * 1024 * 1024
    assert all(one.text == text for one in queue.look()), "each that was taken is heard"
    last = queue.add("stop", actor="user", key="\N{GRINNING FACE}" * 200)
    for number in range(20):
        write_bytes = Path(run.messages, f"m-{len(queue.look()) + number + 1:04d}.json").write_bytes
        write_bytes(b'{"id": "' + b"x" * MAX_PROMPT_CHARS)
    end = queue.add("", actor="user", kind=END)
    seen = Queue(run).look()
    assert (seen[-2].id, seen[-1].id) == (last.id, end.id)


@pytest.mark.parametrize("key", ["", " a", "a\n", "\x1b[1m", "k" * 201])
def test_a_key_is_one_printable_word(key: str) -> None:
    with pytest.raises(UsageError):
        checked_key(key)
    assert checked_key("a key") == "a key"
