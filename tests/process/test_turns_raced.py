"""A conversation, and something else at the same instant: nothing that was sent is lost, the end is true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.conversation import converse
from support.disks import fill, small_disk
from support.leftovers import assert_nothing_left
from support.repo import Repo
from support.waiting import wait_until

from runner.state.messages import Queue
from runner.state.store import RunDir


@pytest.fixture(autouse=True)
def no_run_goes_on(nothing_left: None, repo: Repo) -> Iterator[None]:
    """Also where a test has failed, which is not to wait for that."""
    yield
    repo.end_all()


def test_a_message_and_a_cancel_at_once_cancel_it(repo: Repo) -> None:
    talk = converse(repo)
    talk.waits()
    talk.run.kill_supervisor()
    folder = RunDir(str(repo.root), "work", talk.run.id)
    Queue(folder).add("too late", actor="user")
    folder.leave_intent("cancel", "user")
    ended = talk.run.wait()
    assert ended["status"] == "cancelled", ended["reason"]
    assert ended["waiting_seconds"] > 0
    assert len(talk.heard()) == 1
    assert [event["messages"] for event in talk.run.events("undelivered")] == [["m-0001"]]


def test_a_program_that_has_changed_while_it_waits_gets_no_message(repo: Repo) -> None:
    talk = converse(repo, writes=True)
    talk.waits()
    with (repo.bin / "codex").open("a") as file:
        file.write("# another\n")
    sent = talk.send("two")
    ended = talk.run.wait()
    assert sent.status == 9
    assert ended["status"] == "succeeded"
    assert len(talk.run.events("undelivered")) == 1


def test_a_full_disk_does_not_change_the_verdict(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk:
        repo = Repo(disk)
        talk = converse(repo, prompt="GATE Begin.", opens=False)
        repo.begun()
        wait_until(lambda: talk.run.on_disk()["thread_id"] and (talk.run.folder / "timeline.tsv").exists())
        for name in ("events.jsonl", "supervisor.log", "timeline.tsv"):
            with (talk.run.folder / name).open("ab") as file:
                file.write(b"\n" * (-file.tell() % 4096))
        fill(disk, leave=4096)
        repo.open_gate()
        ended = wait_until(lambda: (m := talk.run.on_disk())["phase"] == "done" and m, 20, "the end")
        assert ended["status"] == "succeeded", ended["reason"]
        assert_nothing_left(disk)
