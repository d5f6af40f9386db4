"""A conversation, and something else at the same instant: nothing that was sent is lost, the end is true."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.conversation import Conversation, converse
from support.disks import fill, small_disk
from support.leftovers import assert_nothing_left
from support.processes import kill
from support.repo import Completed, Repo, Run
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


@pytest.mark.parametrize("what", ["its program", "a secret"])
def test_where_no_further_turn_can_begin_the_run_is_judged(repo: Repo, what: str) -> None:
    env = {"SERVICE_WORD": "hunter2-correct-horse-battery"}
    more = '[runtimes.codex]\nenv = ["SERVICE_WORD"]\n' if what == "a secret" else ""
    talk = converse(repo, writes=True, more=more, env=env)
    talk.waits()
    if what == "its program":
        with (repo.bin / "codex").open("a") as file:
            file.write("# another\n")
    else:
        talk.run.kill_supervisor()
    sent = talk.send("two")
    ended = talk.run.wait()
    assert (sent.status, ended["status"], ended["turns"]) == (9, "succeeded", 1)
    assert len(talk.run.events("undelivered")) == len(talk.run.events("not_retried")) == 1
    assert len(talk.heard()) == 1


def test_a_turn_that_was_interrupted_for_one_that_cannot_begin_is_the_verdict(repo: Repo) -> None:
    talk = converse(repo, prompt="SILENT Begin.", writes=True)
    repo.begun()
    with (repo.bin / "codex").open("a") as file:
        file.write("# another\n")
    assert talk.send("two", "--now").status == 9
    ended = talk.run.wait()
    assert (ended["status"], ended["reason"]["code"]) == ("failed", "killed")
    assert "interrupted the turn" in ended["reason"]["message"], ended["reason"]
    assert talk.turn(1)["status"] == "interrupted"


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


AGAINST = {
    "the end of the turn": ((), False),
    "end": ((), True),
    "open_timeout": (('open_timeout = "150ms"',), True),
    "cancel": ((), True),
    "the closing turn": (('output_contract = "closing-turn"',), False),
}


@pytest.mark.parametrize("what", AGAINST)
def test_what_is_sent_at_the_last_instant_is_heard_or_refused(repo: Repo, what: str) -> None:
    """Each from a process of its own, some milliseconds apart."""
    lines, opens = AGAINST[what]
    for n in (0, 2, 4):
        for name in ("gate", "begun"):
            repo.note(name).unlink(missing_ok=True)
        talk = converse(repo, *lines, prompt="GATE Begin.", opens=opens)
        repo.begun()

        def later(at: int, talk: Conversation = talk) -> tuple[str, Completed]:
            threading.Event().wait(0.03 * at)
            text = f"text {talk.run.id[-4:]} {at}"
            return text, talk.send(text)

        with ThreadPoolExecutor(6) as pool:
            sending = [pool.submit(later, at) for at in range(5)]
            threading.Event().wait(0.02 * n)
            repo.open_gate()
            if what in ("end", "cancel"):
                threading.Event().wait(0.05 * n)
                pool.submit(talk.run.ask, what)
            answers = [one.result() for one in sending]
        ended = talk.run.wait()
        assert ended["status"] == "cancelled" or ended["status"] == "succeeded" or lines, ended["reason"]
        for run in repo.runs():
            if run.on_disk()["phase"] != "done":
                Conversation(repo, run).end()
        told = {name for event in talk.run.events("undelivered") for name in event["messages"]}
        heard = [line for prompt in talk.heard() for line in prompt.splitlines()]
        for text, done in answers:
            assert done.status in (0, 9), (done.stdout, done.stderr)
            if done.status == 0 and done.json()["message"] not in told:
                was_begun = what == "cancel" and text not in heard  # and ended before it had read a word
                assert was_begun or heard.count(text) == 1, (text, done.stdout, heard)
            else:
                assert text not in heard, (text, done.stdout, told)
        assert not told or what == "cancel"


def looked_at(talk: Conversation) -> str:
    """The phase, once a new owner has the run."""
    phase: str = talk.run.status()["phase"]
    return phase


def test_killed_while_it_waits_it_goes_on_waiting_until_that_can_lead_to_nothing(repo: Repo) -> None:
    talk = converse(repo, writes=True)
    for n in (1, 2):
        talk.waits()
        talk.run.kill_supervisor()
        if n == 2:
            (talk.run.folder / "manifest.json").write_text("{")
        assert looked_at(talk) == "waiting"
        assert talk.sent(f"text {n}")["state"] == "begun"
        assert talk.turn()["message"] == f"heard text {n}"
    talk.waits()
    talk.run.kill_supervisor()
    Queue(RunDir(str(repo.root), "work", talk.run.id)).add("of the boot before", actor="user")
    for name in ("process", "supervisor"):
        seen = talk.run.on_disk()[name]
        talk.run.edit(**{name: {**seen, "boot_id": "00000000-0000-0000-0000-000000000000"}})
    ended = talk.run.status()
    assert (ended["status"], ended["turns"]) == ("succeeded", 3)
    assert "restarted" in talk.run.events("not_retried")[0]["message"]
    assert talk.run.events("undelivered")


@pytest.mark.parametrize("text", [None, "nobody will hear it"])
def test_killed_while_it_waits_it_is_judged_where_another_run_has_the_tree(
    repo: Repo, text: str | None
) -> None:
    talk = converse(repo, writes=True)
    talk.waits()
    talk.run.kill_supervisor()
    other = repo.start("--sandbox", "workspace-write")
    if text is not None:
        Queue(RunDir(str(repo.root), "work", talk.run.id)).add(text, actor="user")
    ended = talk.run.wait()
    assert (ended["status"], ended["turns"]) == ("succeeded", 1)
    assert len(talk.run.events("undelivered")) == (text is not None)
    assert other.status()["phase"] in ("running", "waiting", "verifying")


def test_killed_while_it_interrupts_the_next_owner_finishes_that(repo: Repo) -> None:
    talk = converse(repo, 'grace = "1s"', prompt="DEAF GATE Begin.")
    repo.begun()
    wait_until(lambda: talk.run.on_disk()["last_message"], what="an answer")
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(talk.sent, "--now", "two")
        wait_until(lambda: talk.run.on_disk()["phase"] == "stopping")
        talk.run.kill_supervisor()
        assert sending.result()["state"] == "interrupted"
    turns = [talk.turn(n) for n in (1, 2)]
    assert [one["status"] for one in turns] == ["interrupted", "completed"]
    assert talk.end()["status"] == "succeeded"


def test_killed_while_a_turn_begins_its_message_is_heard_or_told(repo: Repo) -> None:
    for delay_ms in (0, 5, 10, 20, 40):
        talk = converse(repo)
        talk.waits()
        supervisor, text = talk.run.supervisor(), f"after {delay_ms}"
        Queue(RunDir(str(repo.root), "work", talk.run.id)).add(text, actor="user")
        RunDir(str(repo.root), "work", talk.run.id).wake()
        threading.Event().wait(delay_ms / 1000)
        kill(supervisor)
        wait_until(lambda supervisor=supervisor: not supervisor.is_still_there())
        if talk.run.status()["phase"] != "done":
            assert talk.turn(2)["message"] == f"heard {text}"
            assert talk.end()["turns"] == 2
        else:
            assert talk.run.status()["status"] == "lost", talk.run.status()["reason"]
            assert talk.run.events("undelivered")
        assert talk.run.tree() == []


def test_killed_as_a_turn_ends_it_is_told_once(repo: Repo) -> None:
    for delay_ms in (0, 5, 15, 30):
        for name in ("gate", "begun"):
            repo.note(name).unlink(missing_ok=True)
        talk = converse(repo, prompt="GATE Begin.")
        repo.begun()
        supervisor = talk.run.supervisor()
        repo.open_gate()
        threading.Event().wait(delay_ms / 1000)
        kill(supervisor)
        wait_until(lambda supervisor=supervisor: not supervisor.is_still_there())
        assert talk.turn(1)["status"] == "completed"
        wait_until(lambda talk=talk: looked_at(talk) == "waiting")
        assert talk.signal.exists()
        rows = [row for row in repo.json("events")["events"] if row["event"] == "turn"]
        assert len([row for row in rows if row["run_id"] == talk.run.id]) == 1, (delay_ms, rows)
        assert talk.end()["status"] == "succeeded"


def test_a_prompt_that_an_owner_before_has_written_is_not_said_for_another_message(repo: Repo) -> None:
    talk = converse(repo)
    talk.waits()
    talk.run.kill_supervisor()
    (talk.run.folder / "prompt-2.md").write_text("an older text")
    talk.sent("--now", "the text")
    assert talk.turn()["message"] == "heard the text"


def test_a_supervisor_that_is_told_to_end_leaves_its_run_waiting_or_cancels_it(repo: Repo) -> None:
    talk = converse(repo)
    talk.waits()
    supervisor = talk.run.supervisor()
    os.kill(supervisor.pid, signal.SIGTERM)
    wait_until(lambda: not supervisor.is_still_there())
    assert looked_at(talk) == "waiting"
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        tied = Conversation(repo, repo.start("--tie-pid", str(process.pid)))
        tied.waits()
        process.kill()
    ended = wait_until(lambda: (seen := tied.run.on_disk())["phase"] == "done" and seen, what="the end")
    assert (ended["status"], ended["turns"]) == ("cancelled", 1)
    assert talk.run.told("cancel")["status"] == "cancelled"
    assert talk.run.on_disk()["waiting_seconds"] > 0


def test_a_run_whose_folder_is_removed_while_it_waits_leaves_nothing(repo: Repo) -> None:
    talk = converse(repo, 'open_timeout = "1500ms"')
    talk.waits()
    supervisor = talk.run.supervisor()
    talk.run.folder.rename(repo.base / "gone")
    wait_until(lambda: not supervisor.is_still_there(), 20, "the end of its supervisor")
    assert Run(repo, talk.run.id).ask("send", "x").status == 4


@pytest.mark.parametrize("room", [0, 4096])
def test_a_disk_that_fills_up_while_it_waits_does_not_change_the_verdict(tmp_path: Path, room: int) -> None:
    """No room for the text of a turn, or not even for a message: then its time closes the run."""
    with small_disk(tmp_path / "disk", 4096) as disk:
        repo = Repo(disk)
        talk = converse(repo, 'open_timeout = "3s"')
        talk.waits()
        for name in ("events.jsonl", "supervisor.log", "timeline.tsv"):
            with (talk.run.folder / name).open("ab") as file:
                file.write(b"\n" * (-file.tell() % 4096))
        fill(disk, leave=room)
        sent = talk.send("two")
        ended = wait_until(lambda: (m := talk.run.on_disk())["phase"] == "done" and m, 20, "the end")
        assert (sent.status != 0, ended["status"], ended["turns"]) == (True, "succeeded", 1), ended["reason"]
        assert len(talk.heard()) == 1
        assert_nothing_left(disk)


def test_a_cancel_of_a_run_that_is_being_interrupted_needs_no_graces(repo: Repo) -> None:
    talk = converse(repo, 'grace = "20s"', prompt="DEAF GATE Begin.")
    repo.begun()
    wait_until(lambda: talk.run.on_disk()["last_message"], what="an answer")
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(talk.send, "--now", "two")
        wait_until(lambda: talk.run.on_disk()["phase"] == "stopping")
        ended = talk.run.told("cancel", within=15.0)
        assert sending.result().status == 9
    assert (ended["status"], ended["turns"], ended["survivors"]) == ("cancelled", 1, [])
    assert len(talk.heard()) == 1
    answer = talk.sent("three", "--wait")
    assert answer["message"] == "heard three"
    assert answer["run_id"] != talk.run.id


def test_killed_while_it_is_judged_it_is_judged_once_more_and_waits_for_nobody(repo: Repo) -> None:
    check = 'echo $$ > "$HOME/check"; until [ -e "$HOME/gate" ]; do sleep 0.05; done'
    talk = converse(repo, f"verify = [['bash', '-c', '{check}']]")
    talk.waits()
    with ThreadPoolExecutor() as pool:
        ending = pool.submit(talk.end)
        repo.pid_in("check")
        talk.run.kill_supervisor()
        wait_until(lambda: talk.run.events("adopted"), what="another owner")
        assert talk.send("too late").status == 9
        repo.open_gate()
        ended = ending.result()
    assert (ended["status"], ended["turns"]) == ("succeeded", 1)
    assert len(talk.run.events("ended")) == 1


def test_an_agent_and_its_owner_that_are_killed_leave_a_session_that_goes_on(repo: Repo) -> None:
    talk = converse(repo, prompt="GATE Begin.")
    repo.begun()
    wait_until(lambda: talk.run.on_disk()["thread_id"], what="its session")
    child = talk.run.child()
    talk.run.kill_supervisor()
    kill(child)
    wait_until(lambda: not child.is_still_there())
    state = talk.run.status()["phase"]
    answer = talk.sent("two")
    following = Conversation(repo, Run(repo, answer["run_id"]))
    assert following.turn()["message"] == "heard two", state
    assert following.end()["thread_id"] == talk.run.on_disk()["thread_id"]


def test_a_run_that_was_not_made_here_gets_no_message(repo: Repo) -> None:
    talk = converse(repo)
    talk.waits()
    talk.run.kill_supervisor()
    invocation = talk.run.folder / "invocation.json"
    invocation.write_bytes(invocation.read_bytes().replace(b"Begin", b"Began", 1) + b" ")
    for verb, words in (("send", ("two",)), ("end", ()), ("await", ())):
        refused = talk.run.ask(verb, *words)
        assert refused.error["code"] == "foreign_run", (verb, refused.stdout)
    assert [*talk.run.folder.glob("messages/*")] == []
