"""What holds of Claude Code and of Gemini CLI alike, with the real programs and the scripted model."""

from __future__ import annotations

import os
import signal

import pytest
from support import processes
from support.clis import AGENTS, CLIS, says, shell, turns
from support.repo import Repo
from support.waiting import wait_until

BOTH = pytest.mark.parametrize("agent", AGENTS)


def prepared(repo: Repo, agent: str, script: str, *keys: str) -> Repo:
    """A task that may write, in a work tree of its own."""
    repo.script(script)
    own = ('rehearse = "play.toml"', 'grace = "3s"', 'sandbox = "workspace-write"', 'workspace = "worktree"')
    task = "\n".join((f'[tasks.work]\nruntime = "{agent}"\nprompt = "Do it."', *own, *keys))
    repo.config(f'[runtimes.{agent}]\ncommand = "{CLIS / agent}"\n{task}\n')
    repo.git("add", "delegate.toml", "play.toml")
    repo.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "settings")
    return repo


def sleeping(repo: Repo) -> list[processes.Seen]:
    return [seen for seen in processes.of_folder(repo.base) if "sleep" in seen.words]


REPEATED = f"{turns(shell('echo same'))}times = 12\n{turns(says('never said'))}"


@BOTH
@pytest.mark.parametrize(
    ("script", "key", "said"),
    [
        (REPEATED, "limits = { repeats = 4 }", "echo same"),
        (turns("message = 'half of'\nhang = true"), 'idle_timeout = "4s"', "4 s"),
    ],
    ids=["the same command over and over", "silence"],
)
def test_a_stall_ends_it(repo: Repo, agent: str, script: str, key: str, said: str) -> None:
    end = prepared(repo, agent, script, key).start().wait()
    assert (end["status"], end["reason"]["code"], end["survivors"]) == ("timed_out", "stalled", [])
    assert said in end["reason"]["message"]


@BOTH
@pytest.mark.parametrize("moment", ["before its first event", "while the model thinks", "in an answer"])
def test_a_cancel_leaves_nothing(repo: Repo, agent: str, moment: str) -> None:
    is_first, half = moment == "before its first event", "message = 'half of'\n" * (moment == "in an answer")
    run = prepared(repo, agent, turns(f"{half}hang = true")).start()
    run.child()
    if not is_first:
        log = "rehearsal.jsonl"
        wait_until(lambda: (run.folder / log).exists() and '"hang"' in run.file(log), 30, "the answer")
    end = run.told("cancel")
    assert (end["status"], end["survivors"]) == ("cancelled", [])
    assert is_first or '"init"' in run.file("stdout.jsonl")
    wait_until(lambda: not run.everything(), what="the end of supervisor and rehearsal")


@BOTH
def test_an_interrupt_from_outside_is_no_success_and_a_command_that_it_leaves_is_ended(
    repo: Repo, agent: str
) -> None:
    run = prepared(repo, agent, turns(shell("setsid sleep 300 & sleep 301"), says("never said"))).start()
    wait_until(lambda: len(sleeping(repo)) >= 2, 30, "a command that sleeps")
    os.kill(run.child().pid, signal.SIGINT)
    end = run.wait()
    assert (end["status"], end["survivors"]) == ("failed", []), end["reason"]
    assert sleeping(repo) == []


@BOTH
def test_two_runs_at_once_each_have_their_session_and_their_answer(repo: Repo, agent: str) -> None:
    prepared(repo, agent, turns("delay = '3s'\nmessage = 'Done.'"), "expects_change = false")
    runs = [repo.start(), repo.start()]
    ends = [run.wait() for run in runs]
    assert [end["status"] for end in ends] == ["succeeded", "succeeded"]
    assert ends[1]["started_at"] < ends[0]["ended_at"], "one was there beside the other"
    assert len({end["thread_id"] for end in ends}) == 2
    assert {run.file("last-message.md").strip() for run in runs} == {"Done."}
