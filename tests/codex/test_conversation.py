"""A conversation with the real Codex: several turns on one thread, some of them steered, judged once."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest
from support.conversation import Conversation, requests, sleeping
from support.repo import Repo, Run
from support.waiting import wait_until

USAGE = "usage = { input_tokens = 100, output_tokens = 10 }"
FIVE = f"""
[[turns]]
message = "One."
{USAGE}
[[turns]]
message = "Two."
delay = "500ms"
{USAGE}
[[turns]]
message = "Three."
{USAGE}
[[turns]]
message = "I begin four."
shell = "echo four >> made.txt; sleep 311"
{USAGE}
[[turns]]
shell = "echo five >> made.txt; cat made.txt"
{USAGE}
[[turns]]
message = "Five: {{last_output}}"
{USAGE}
"""
DEEP = '[models.deep]\nmodel = "gpt-5.5"\nreasoning_effort = "high"\n'
HANGS = "[[turns]]\nhang = true\ntimes = 9\n"


def prepared(repo: Repo, level: str, *keys: str) -> Repo:
    own = ("open = true", 'rehearse = "play.toml"', 'model = "deep"', f'sandbox = "{level}"', 'grace = "20s"')
    repo.script(FIVE)
    repo.script(HANGS, "hangs.toml")
    task = "\n".join(('[tasks.work]\nprompt = "Text one."', *own, *keys))
    other = '[tasks.other]\nprompt = "Other."\nopen = true\nrehearse = "hangs.toml"\n'
    return repo.config(f"{DEEP}{task}\n{other}")


def rollout(repo: Repo, run: Run) -> list[dict[str, Any]]:
    """What Codex itself has written down of the thread."""
    (file,) = (repo.home / ".codex/sessions").rglob(f"rollout-*{run.on_disk()['thread_id']}.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def told(repo: Repo, run: Run) -> list[str]:
    """What the user has said in the thread, as the model is shown it."""
    items = [line["payload"] for line in rollout(repo, run) if line["type"] == "response_item"]
    texts = [part["text"] for one in items if one.get("role") == "user" for part in one["content"]]
    return [text for text in texts if not text.startswith(("<", "#"))]


@pytest.mark.parametrize("level", ["read-only", "workspace-write"])
def test_five_turns_of_which_one_is_steered_are_one_thread_and_one_verdict(repo: Repo, level: str) -> None:
    check = "grep -qx five made.txt" if level == "workspace-write" else "test ! -e made.txt"
    prepared(repo, level, f'verify = ["{check}"]')
    talk, other = Conversation(repo, repo.start()), Conversation(repo, repo.start(task="other"))
    assert talk.turn()["message"] == "One."
    talk.waits()
    wait_until(lambda: not talk.run.tree(), what="the end of all that the turn has started")
    assert json.loads(talk.signal.read_bytes())["turn"] == 1
    opened = talk.run.ask("open")
    assert opened.status == 0 and "warning: the run is waiting: " in opened.stderr
    assert opened.json()["argv"][-2:] == ["resume", talk.run.on_disk()["thread_id"]]
    assert opened.json()["env"] == {}, "they share a home"

    begun = talk.sent("Text two.")
    assert (begun["turn"], begun["state"]) == (2, "begun")
    queued = talk.sent("Text three.", "--key", "k")
    assert (queued["turn"], queued["state"]) == (3, "queued")
    assert talk.sent("Text three.", "--key", "k")["message"] == queued["message"]
    assert talk.turn(2)["message"] == "Two."
    assert talk.turn()["message"] == "Three."

    talk.sent("Text four.")
    wait_until(lambda: sleeping(repo, 311), what="the command of the fourth turn")
    assert not talk.signal.exists()
    assert other.run.told("cancel")["status"] == "cancelled"
    assert talk.sent("Text five.", "--now")["state"] == "interrupted"
    heard = talk.turn()
    assert heard["message"].startswith("Five: ") and heard["turn"] == 5
    assert ("four\nfive" in heard["message"]) is (level == "workspace-write")
    assert not sleeping(repo, 311)

    ends = [(1, "completed"), (2, "completed"), (3, "completed"), (4, "interrupted"), (5, "completed")]
    assert [(one["turn"], one["status"]) for one in map(talk.turn, range(1, 6))] == ends
    began = [text.partition("\n")[0] for text in told(repo, talk.run)]
    assert began == [f"Text {n}." for n in ("one", "two", "three", "four", "five")]
    end = talk.end()
    assert (end["status"], end["turns"], end["messages_queued"]) == ("succeeded", 5, 0)
    assert [one["exit_code"] for one in json.loads(talk.run.file("result.json"))["checks"]] == [0]
    assert len({one["thread_id"] for one in end["attempts"]}) == 1
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (600, 60)
    assert end["context"]["used"] < 600 and end["context"]["window"] > 100_000

    # What the run was started with is passed again each time, and is at work.
    assert {(one["model"], one["effort"]) for one in requests(talk.run)} == {("gpt-5.5", "high")}
    turns = [line["payload"] for line in rollout(repo, talk.run) if line["type"] == "turn_context"]
    seen = [(one["model"], one["effort"], one["sandbox_policy"]["type"]) for one in turns]
    assert seen == [("gpt-5.5", "high", level)] * 5
    assert all(one["verdict"] == "ok" for one in end["conformance"].values() if one)


def test_a_message_that_comes_before_the_model_was_asked_takes_nothing_away(repo: Repo) -> None:
    """Codex takes no signal while it begins a turn, and forgets the text of one that is ended then."""
    repo.script("[[turns]]\nhang = true\n" + HANGS + '[[turns]]\nmessage = "Never."\n')
    repo.config('[tasks.work]\nprompt = "Text one."\nopen = true\nrehearse = "play.toml"\ngrace = "20s"\n')
    talk = Conversation(repo, repo.start())
    talk.sent("Text two.", "--now")
    talk.sent("Text three.", "--now")
    wait_until(lambda: talk.run.on_disk()["turns"] == 2, 15, "the end of two turns")
    texts = {"Text one.", "Text two.", "Text three."}
    wait_until(lambda: not texts.difference("\n\n".join(told(repo, talk.run)).split("\n\n")), 15, "all texts")
    assert talk.run.told("cancel")["status"] == "cancelled"
    assert not talk.run.tree()


def test_three_agents_at_once_are_each_awaited_and_the_closing_turn_is_none(repo: Repo) -> None:
    claim = {"status": "completed", "files_modified": [], "issues": [], "summary": "{task}"}
    closing = json.dumps({**claim, "verification_summary": "none"})
    names = ("a", "b", "c")
    says = '[[turns]]\nmessage = "{task} says one."\n[[turns]]\nmessage = "{task} says two."\n'
    repo.script(f"{says}[[turns]]\nmessage = '''{closing}'''\n")
    keys = 'prompt = "Say it."\nopen = true\noutput_contract = "closing-turn"\nrehearse = "play.toml"\n'
    repo.config("".join(f"[tasks.{name}]\n{keys}" for name in names))
    talks = {name: Conversation(repo, repo.start(task=name)) for name in names}
    assert {name: talk.turn()["message"] for name, talk in talks.items()} == {
        name: f"{name} says one." for name in names
    }
    for talk in talks.values():
        talk.waits()
        talk.sent("Go on.")
    for name in reversed(names):
        assert talks[name].turn()["message"] == f"{name} says two."
    ends = {name: talk.end() for name, talk in talks.items()}
    assert len({end["thread_id"] for end in ends.values()}) == 3
    for name, end in ends.items():
        assert (end["status"], end["turns"]) == ("succeeded", 2)
        assert [one["how"] for one in end["attempts"]][-1] == "closing"
        assert json.loads(talks[name].run.file("result.json"))["claim"]["summary"] == name
        assert talks[name].turn(2)["message"] == f"{name} says two."


def test_a_turn_on_a_thread_that_another_process_writes_fails_and_its_text_is_said_again(repo: Repo) -> None:
    repo.script('[[turns]]\nmessage = "Heard."\ntimes = 9\n')
    repo.script(HANGS, "hangs.toml")
    keys = 'prompt = "Text one."\nopen = true\nrehearse = '
    repo.config(f'[tasks.work]\n{keys}"play.toml"\n[tasks.other]\n{keys}"hangs.toml"\n')
    talk, other = Conversation(repo, repo.start()), repo.start(task="other")
    thread = str(talk.turn()["thread_id"])
    talk.waits()
    # The command of the other run asks a model that does not answer; with this thread it is a second writer.
    words = json.loads(other.file("invocation.json"))["resume_argv"]
    argv = [thread if word == "THREAD-ID" else word for word in words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=repo.env) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        writer.stdin.write(b"Text of another.")
        writer.stdin.close()
        assert b"thread.started" in writer.stdout.readline()
        talk.sent("Text two.")
        failed = talk.turn()
        writer.send_signal(signal.SIGINT)  # its launcher passes that on
    assert (failed["status"], failed["run_status"]) == ("failed", "waiting")
    assert "already has an active writer" in failed["reason"]["message"]
    assert other.told("cancel")["status"] == "cancelled"
    talk.sent("Text three.")
    assert (talk.turn()["message"], talk.turn()["thread_id"]) == ("Heard.", thread)
    assert told(repo, talk.run)[-1] == "Text two.\n\nText three."
    assert talk.end()["status"] == "succeeded"


def test_a_conversation_outlives_its_supervisors(repo: Repo) -> None:
    repo.script('[[turns]]\nmessage = "Heard."\ndelay = "400ms"\ntimes = 9\n')
    repo.config('[tasks.work]\nprompt = "Text one."\nopen = true\nrehearse = "play.toml"\ngrace = "20s"\n')
    talk = Conversation(repo, repo.start())
    talk.turn()
    talk.waits()
    talk.run.kill_supervisor()
    assert talk.sent("Text two.")["state"] == "begun"
    talk.run.kill_supervisor()
    assert talk.turn(2)["status"] == "completed"
    talk.waits()
    talk.sent("Text three.")
    with repo.process("send", talk.run.id, "Text four.", "--now") as sending:
        wait_until((talk.run.folder / "messages/m-0003.json").exists)
        talk.run.kill_supervisor()
        assert sending.wait(60) == 0
    assert talk.turn()["message"] == "Heard."
    end = talk.end()
    assert (end["status"], end["turns"], end["survivors"]) == ("succeeded", 4, [])
    texts = "\n\n".join(told(repo, talk.run)).split("\n\n")
    assert {*texts} == {f"Text {n}." for n in ("one", "two", "three", "four")}
