"""Which texts a turn begins with, where the one before has ended without an answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from support.conversation import Conversation, converse
from support.doubles import FINISHED, THREAD, said
from support.repo import Repo, Run
from support.waiting import wait_until

FAILS = 'echo \'{"type":"turn.failed","error":{"message":"busy"}}\'\nexit 1\n'
HEARS = 'n=$(ls "$HOME" | grep -c ^heard); cat > "$HOME/heard-$n"\n'
UNTIL_GATE = 'until [ -e "$HOME/gate" ]; do sleep 0.05; done\n'
AFTER_THE_SECOND = f"[ $n -lt 2 ] || {{ {UNTIL_GATE} }}\n"
BOTH_FIT, TOO_LONG = 1000, 600_000


def heard(repo: Repo, number: int) -> str:
    return repo.note(f"heard-{number}").read_text()


def opened(repo: Repo, body: str, length: int) -> Conversation:
    """A run that has begun its first turn, with a prompt of that length."""
    repo.codex(f'{HEARS}{THREAD}touch "$HOME/begun"\n{body}')
    done = repo.task("open = true").cli("start", "--task", "work", "--prompt", "-", stdin="x" * length)
    assert done.status == 0, done.stderr
    repo.begun()
    return Conversation(repo, repo.runs()[0])


@pytest.mark.parametrize("length", [BOTH_FIT, TOO_LONG])
def test_a_text_without_an_answer_goes_with_the_next_where_both_fit(repo: Repo, length: int) -> None:
    talk = opened(repo, f"[ $n = 0 ] && {{ {FAILS} }}\n{said('done')}{FINISHED}", length)
    assert talk.turn()["status"] == "failed"
    talk.waits()
    talk.sent("-", stdin="y" * length)
    assert talk.turn()["message"] == "done"
    both = f"{'x' * length}\n\n{'y' * length}"
    assert heard(repo, 1) == (both if length == BOTH_FIT else "y" * length)
    assert [len(one["messages"]) for one in talk.end()["attempts"]] == [0, 1]


def test_no_message_interrupts_a_text_without_an_answer_that_would_not_fit_with_it(repo: Repo) -> None:
    """Neither could be left out, and the two would interrupt each other without end."""
    talk = opened(repo, f"{UNTIL_GATE}{said('done')}{FINISHED}", TOO_LONG)
    with repo.process("send", talk.run.id, "-", "--now", "--format", "json") as sending:
        assert sending.stdin is not None
        sending.stdin.write(b"y" * TOO_LONG)
        sending.stdin.close()
        wait_until(lambda: talk.run.on_disk()["messages_queued"] or talk.run.on_disk()["turns"])
        repo.open_gate()
        assert sending.wait(60) == 0
    talk.turn(2)
    assert not talk.run.events("interrupted")
    assert heard(repo, 1) == "y" * TOO_LONG
    assert len(talk.end()["attempts"]) == 2


def test_of_texts_to_two_runs_of_one_session_one_begins_another_run(repo: Repo) -> None:
    repo.codex(f"{HEARS}{THREAD}{AFTER_THE_SECOND}{said('done')}{FINISHED}")
    first = repo.task().start()
    assert first.wait()["status"] == "succeeded"
    second = Run(repo, first.told("send", "a")["run_id"])
    assert second.wait()["status"] == "succeeded"
    with ThreadPoolExecutor(2) as pool:
        sent = [*pool.map(lambda run: run.ask("send", "b"), (first, second))]
    (begun,) = [one.json()["run_id"] for one in sent if one.status == 0]
    (refused,) = [one.error for one in sent if one.status != 0]
    assert (refused["code"], begun in refused["hint"]) == ("session_busy", True)
    fresh = second.told("retry", "--message", "c", "--fresh")["run_id"]
    repo.open_gate()
    for name in (begun, fresh):
        assert Run(repo, name).wait()["status"] == "succeeded"


def test_who_waits_for_an_answer_gets_it_although_another_text_interrupts_its_turn(repo: Repo) -> None:
    talk = converse(repo)
    talk.waits()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(talk.send, "SILENT first", "--wait", "--timeout", "30s")
        repo.begun()
        wait_until(lambda: talk.run.on_disk()["phase"] == "running")
        assert talk.sent("--now", "second")["turn"] == 3
        answer = first.result()
    told = answer.json()
    assert (answer.status, told["turn"], told["status"], told["message"]) == (
        0,
        3,
        "completed",
        "heard second",
    )
    assert told["messages"] == ["m-0001", "m-0002"]
    talk.end()


def test_who_waits_for_an_answer_gets_that_to_its_own_text(repo: Repo) -> None:
    """The number of its turn changes where another message does not wait."""
    talk = converse(repo, prompt="GATE Begin.")
    repo.begun()
    queued = talk.run.folder / "messages"
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(talk.send, "later", "--wait")
        wait_until((queued / "m-0001.json").exists)
        assert talk.sent("--now", "sooner")["turn"] == 2
        assert later.result().json()["message"] == "heard later"
        talk.sent("GATE more")
        never = pool.submit(talk.send, "never", "--wait")
        wait_until((queued / "m-0004.json").exists)
        assert talk.run.told("cancel")["status"] == "cancelled"
        assert (never.result().status, "send it again" in never.result().error["hint"]) == (9, True)
