"""Conversations with the real Claude Code and Gemini CLI: several turns on one session, judged once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.clis import AGENTS, CLIS, says, shell, turns
from support.conversation import Conversation, requests, sleeping
from support.repo import Repo, Run
from support.waiting import wait_until

USAGE = "usage = { input_tokens = 100, output_tokens = 10 }"
EFFORTS = {"claude": "high", "gemini": "24576"}
MODELS = {"claude": "claude-opus-5-5", "gemini": "gemini-2.5-pro"}


def prepared(repo: Repo, agent: str, script: str, *keys: str) -> Repo:
    repo.script(script)
    program = f'[runtimes.{agent}]\ncommand = "{CLIS / agent}"\n'
    deep = f'[models.deep]\nruntime = "{agent}"\nmodel = "{MODELS[agent]}"\nreasoning_effort = "high"\n'
    own = ('rehearse = "play.toml"', 'grace = "20s"', "open = true", 'model = "deep"')
    where = ('sandbox = "workspace-write"', 'workspace = "worktree"')
    task = "\n".join((f'[tasks.work]\nruntime = "{agent}"\nprompt = "Text one."', *own, *where, *keys))
    repo.config(f"{program}{deep}{task}\n")
    repo.git("add", "delegate.toml", "play.toml")
    repo.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "settings")
    return repo


def told(repo: Repo, run: Run) -> list[str]:
    """What the user has said in the session of Claude, by its own record."""
    (file,) = (repo.home / ".claude/projects").rglob(f"{run.on_disk()['thread_id']}.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    said = [line["message"]["content"] for line in lines if line["type"] == "user"]
    texts = [one if isinstance(one, str) else one[0].get("text", "") for one in said]
    return [text.partition("\n")[0] for text in texts if text.startswith("Text")]


@pytest.mark.parametrize("agent", AGENTS)
def test_turns_of_which_one_is_steered_are_one_session_and_one_verdict(repo: Repo, agent: str) -> None:
    script = turns(
        f"{says('One.')}\n{USAGE}",
        f"{says('Two.')}\ndelay = '500ms'\n{USAGE}",
        f"{says('Three.')}\n{USAGE}",
        f"{shell('echo four >> made.txt; sleep 312')}\n{USAGE}",
        f"{shell('echo five >> made.txt')}\n{USAGE}",
        f"{says('Five.')}\n{USAGE}",
    )
    talk = Conversation(repo, prepared(repo, agent, script, 'verify = ["grep -qx five made.txt"]').start())
    assert talk.turn()["message"] == "One."
    talk.waits()
    assert talk.sent("Text two.")["state"] == "begun"
    assert talk.sent("Text three.")["state"] == "queued"
    assert (heard := talk.turn())["message"] == "Three." and heard["turn"] == 3
    talk.sent("Text four.")
    wait_until(lambda: sleeping(repo, 312), what="the command of the fourth turn")
    assert talk.sent("Text five.", "--now")["state"] == "interrupted"
    assert talk.turn()["message"].startswith("Five.")
    assert not sleeping(repo, 312)
    ends = [(1, "completed"), (2, "completed"), (3, "completed"), (4, "interrupted"), (5, "completed")]
    assert [(one["turn"], one["status"]) for one in map(talk.turn, range(1, 6))] == ends
    if agent == "claude":
        assert told(repo, talk.run) == [f"Text {n}." for n in ("one", "two", "three", "four", "five")]
    temp = Path(json.loads(talk.run.file("invocation.json"))["temp"])
    end = talk.end()
    assert (end["status"], end["turns"]) == ("succeeded", 5)
    assert len({one["thread_id"] for one in end["attempts"]}) == 1
    assert {(one["model"], one["effort"]) for one in requests(talk.run)} == {(MODELS[agent], EFFORTS[agent])}
    lengths = [one["input_items"] for one in requests(talk.run)]
    assert lengths == sorted(lengths) and lengths[-1] >= 9, "each request has all before it"
    assert end["conformance"]["model"]["verdict"] == "ok"
    wait_until(lambda: not temp.exists(), what="the end of its home")


def test_what_an_interrupted_turn_of_claude_has_cost_counts(repo: Repo) -> None:
    """It could not tell that itself: it was interrupted while it waited for the model."""
    dear = "usage = { input_tokens = 60000, output_tokens = 20000 }"  # 0.80 US dollars
    script = turns(
        f"{says('One.')}\n{dear}", f"{shell('true')}\n{dear}", "hang = true", f"{says('Three.')}\n{dear}"
    )
    prepared(repo, "claude", script, "limits.price = 3.0")
    talk = Conversation(repo, repo.start())
    talk.turn()
    talk.sent("Text two.")
    wait_until(lambda: len(requests(talk.run)) == 3, what="a model that does not answer")
    talk.sent("Text three.", "--now")
    assert talk.turn()["message"] == "Three."
    costs = [one["cost"] for one in talk.waits()["attempts"]]
    assert costs[0] > 0 and costs == pytest.approx([costs[0]] * 3)
    talk.end()
