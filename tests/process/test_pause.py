"""Pause and resume: every process of the run, seen stopped; paused time counts in no limit."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.doubles import THREAD
from support.processes import held, kill, signal_exactly
from support.repo import Repo
from support.waiting import wait_until

SCATTERED = """
tick() { while :; do echo x >> "$HOME/$1"; sleep 0.05; done; }
tick plain &
setsid bash -c 'while :; do echo x >> "$HOME/session"; sleep 0.05; done' &
( setsid bash -c '(while :; do echo x >> "$HOME/daemon"; sleep 0.05; done) &' & )
until [ -s "$HOME/plain" ] && [ -s "$HOME/session" ] && [ -s "$HOME/daemon" ]; do sleep 0.02; done
"""


def sizes(repo: Repo) -> list[int]:
    return [repo.note(name).stat().st_size for name in ("plain", "session", "daemon")]


def test_the_whole_tree_is_seen_stopped_and_goes_on(repo: Repo) -> None:
    repo.waiting_codex(before=SCATTERED)
    run = repo.task().start()
    repo.begun()
    paused = run.told("pause")
    assert paused["status"] == "paused"
    assert paused["paused_at"] is not None
    tree = run.tree()
    assert len(tree) >= 4
    assert all(process.is_stopped for process in tree), tree
    assert not run.supervisor().is_stopped
    before = sizes(repo)
    assert run.status()["status"] == "paused"
    assert sizes(repo) == before, "nothing moves while it is paused"
    resumed = run.told("resume")
    assert resumed["status"] == "running"
    assert resumed["paused_seconds"] > 0
    assert not any(process.is_stopped for process in run.tree())
    wait_until(lambda: all(now > then for now, then in zip(sizes(repo), before, strict=True)))
    repo.open_gate()
    ended = run.wait()
    assert ended["status"] == "succeeded"
    assert ended["survivors"] == []
    assert run.tree() == [], "the daemons that it left behind are ended with it"


def test_a_child_that_forks_fast_is_stopped_as_a_whole(repo: Repo) -> None:
    repo.waiting_codex(
        before="""
breed() { while :; do ( sleep 0.3; echo x >> "$HOME/bred" ) & sleep 0.005; done; }
breed & breed & breed &
until [ -s "$HOME/bred" ]; do sleep 0.02; done
"""
    )
    run = repo.task().start()
    repo.begun()
    assert run.told("pause")["status"] == "paused"
    assert all(process.is_stopped for process in run.tree())
    size = repo.note("bred").stat().st_size
    alive = {process.pid for process in run.tree()}
    assert run.status()["status"] == "paused"
    assert {process.pid for process in run.tree()} == alive
    assert repo.note("bred").stat().st_size == size
    assert run.told("resume")["status"] == "running"
    assert run.told("cancel")["survivors"] == []


@pytest.mark.parametrize("verb", ["pause", "cancel", "status"])
def test_an_owner_that_was_stopped_goes_on_when_somebody_looks(repo: Repo, verb: str) -> None:
    """An agent may signal it: nobody would watch the agent, and its end would not be seen."""
    repo.waiting_codex()
    run = repo.task('grace = "300ms"').start()
    repo.begun()
    owner = run.supervisor()
    signal_exactly(owner, signal.SIGSTOP)
    wait_until(lambda: run.supervisor().state == "T")
    told = run.told(verb)
    assert told["status"] == {"pause": "paused", "cancel": "cancelled", "status": "running"}[verb]
    if verb != "cancel":
        wait_until(lambda: run.supervisor().state != "T")
        run.told("cancel")


def test_the_first_look_sees_the_end_of_an_agent_whose_supervisor_was_stopped(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task('grace = "300ms"').start()
    repo.begun()
    signal_exactly(run.supervisor(), signal.SIGSTOP)
    wait_until(lambda: run.supervisor().state == "T")
    kill(run.child())
    assert run.status()["phase"] in ("verifying", "done")
    assert run.wait()["signal"] == 9


@pytest.mark.parametrize("is_locked", [True, False])
def test_a_supervisor_that_stays_stopped_is_told_and_its_run_is_not_called_running(
    repo: Repo, is_locked: bool
) -> None:
    """A debugger holds it, as an agent may that is in no sandbox; the file of the lock may be gone, too."""
    repo.waiting_codex()
    run = repo.task('grace = "300ms"').start()
    repo.begun()
    owner = run.supervisor()
    if not is_locked:
        (run.folder / "run.lock").unlink()
    with held(owner):
        for verb in ("status", "pause", "wait"):
            told = run.ask(verb)
            assert (told.status, told.error["code"]) == (9, "owner_stopped"), verb
            assert str(owner.pid) in told.error["message"]
        (row,) = repo.json("list")
        assert row["status"] == "unknown"
    assert run.status()["status"] == "running"
    run.told("cancel")


def test_a_start_returns_although_the_agent_stops_its_supervisor_at_once(repo: Repo) -> None:
    repo.waiting_codex(before="kill -STOP $PPID")
    repo.task('grace = "300ms"')
    for _ in range(4):  # it may be later than the report of the supervisor
        assert repo.start().told("cancel")["status"] == "cancelled"


def test_paused_time_counts_in_no_limit(repo: Repo) -> None:
    """Longer paused than any of the limits allows; then the limits go on where they were."""
    repo.codex(f'touch "$HOME/begun"\nuntil [ -e "$HOME/gate" ]; do sleep 0.05; done\n{THREAD}exec sleep 300')
    run = repo.task('timeout = "2s"', 'idle_timeout = "1500ms"', 'start_timeout = "1500ms"').start()
    repo.begun()
    run.told("pause")
    gave_up = run.ask("wait", "--timeout", "2500ms")
    assert gave_up.status == 75
    assert run.status()["status"] == "paused"
    repo.open_gate()
    resumed = run.told("resume")
    assert resumed["status"] == "running"
    assert resumed["paused_seconds"] >= 2.5
    ended = run.wait()
    assert ended["status"] == "timed_out"
    assert ended["reason"]["code"] in ("timeout", "stalled"), "the first event came"


def test_two_pauses_and_two_resumes_at_once_have_one_effect(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    with ThreadPoolExecutor() as pool:
        for verb, state in (("pause", "paused"), ("resume", "running")):
            answers = list(pool.map(lambda _, verb=verb: run.told(verb), range(3)))
            assert [answer["status"] for answer in answers] == [state] * 3
    assert len(run.events("paused")) == 1
    assert len(run.events("resumed")) == 1
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_pausing_what_is_paused_says_that_it_is(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    first = run.told("pause")
    assert run.told("pause")["paused_at"] == first["paused_at"]
    assert run.told("resume")["status"] == "running"
    assert run.told("resume")["status"] == "running"
    run.told("cancel")


def test_a_run_that_is_done_can_be_neither_paused_nor_resumed(repo: Repo) -> None:
    repo.quick_codex()
    run = repo.task().start()
    run.wait()
    for verb in ("pause", "resume"):
        refused = run.ask(verb)
        assert refused.status == 9
        assert refused.error["code"] == "conflict"
        assert "succeeded" in refused.error["message"]


def test_a_run_that_is_verified_cannot_be_paused(repo: Repo) -> None:
    repo.quick_codex()
    check = 'echo $$ > "$HOME/check"; until [ -e "$HOME/gate" ]; do sleep 0.05; done'
    run = repo.task(f"verify = [['bash', '-c', '{check}']]").start()
    repo.pid_in("check")
    assert run.ask("pause").status == 9
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_ten_pauses_and_resumes_in_a_row_lose_nothing(repo: Repo) -> None:
    tick = 'echo "{\\"type\\":\\"tick\\",\\"n\\":$n}"; sleep 0.005'
    count = f"n=0; while [ $n -lt 400 ]; do n=$((n+1)); {tick}; done"
    repo.waiting_codex(before=f'touch "$HOME/counting"\n{count}')
    run = repo.task().start()
    wait_until(repo.note("counting").exists)
    for _ in range(5):
        run.told("pause")
        run.told("resume")
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"
    ticks = [line for line in run.file("stdout.jsonl").splitlines() if '"tick"' in line]
    assert [int(line.rsplit(":", 1)[1].rstrip("}")) for line in ticks] == list(range(1, 401))


def test_a_child_that_was_killed_while_paused_ends_the_run(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    run.told("pause")
    kill(run.child())
    ended = run.wait()
    assert ended["status"] == "failed"
    assert ended["signal"] == 9
    assert ended["paused_at"] is None
