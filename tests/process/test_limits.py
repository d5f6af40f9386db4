"""Limits: wall clock, silence, the first event. Exit status 3, and nothing alive afterwards."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest
from support.doubles import FINISHED, THREAD, said
from support.processes import signal_exactly
from support.repo import Repo
from support.waiting import wait_until

from runner.processes.proc import boottime


def test_a_run_that_takes_too_long_is_timed_out(repo: Repo) -> None:
    repo.waiting_codex(before="( trap '' INT TERM; while :; do echo noise; sleep 0.1; done ) &\n")
    done = repo.task('timeout = "700ms"').cli("start", "--task", "work", "--wait", "--format", "json")
    assert done.status == 3
    manifest = done.json()
    assert manifest["status"] == "timed_out"
    assert manifest["reason"]["code"] == "timeout"
    assert manifest["survivors"] == []
    assert repo.runs()[0].tree() == []


def test_the_limit_of_the_command_line_wins(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task('timeout = "1h"').start("--timeout", "500ms")
    waited = run.ask("wait")
    assert waited.status == 3
    assert "0.5" in waited.json()["reason"]["message"]


def test_a_child_that_falls_silent_is_stalled(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task('idle_timeout = "600ms"').start()
    waited = run.ask("wait")
    assert waited.status == 3
    assert waited.json()["status"] == "timed_out"
    assert waited.json()["reason"]["code"] == "stalled"


def test_any_output_is_a_sign_of_life(repo: Repo) -> None:
    """On stderr too, and what is no event too."""
    repo.codex(
        f"cat > /dev/null\n{THREAD}for n in 1 2 3 4 5; do sleep 0.4; echo . >&2; sleep 0.4; echo .; done\n"
        f"{said('slow')}{FINISHED}"
    )
    run = repo.task('idle_timeout = "1500ms"').start()
    ended = run.wait()
    assert ended["status"] == "succeeded"


def test_a_child_without_any_event_is_ended_at_its_deadline(repo: Repo) -> None:
    repo.codex('while :; do echo "still loading" >&2; sleep 0.1; done')
    run = repo.task('start_timeout = "600ms"').start()
    waited = run.ask("wait")
    assert waited.status == 3
    assert waited.json()["reason"]["code"] == "no_first_event"


def test_a_child_that_ends_well_when_it_is_stopped_has_timed_out_all_the_same(repo: Repo) -> None:
    repo.codex(
        f"""cat > /dev/null
{THREAD}
finish() {{
{said("finished after all")}{FINISHED}
exit 0
}}
trap finish INT
while :; do sleep 0.05; done
"""
    )
    ended = repo.task('timeout = "500ms"').start().wait()
    assert ended["status"] == "timed_out"
    assert ended["exit_code"] == 0
    assert ended["last_message"] == "finished after all"


def test_without_limits_nothing_ends_it(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task('timeout = "none"', 'idle_timeout = "none"', 'start_timeout = "none"').start()
    repo.begun()
    assert run.ask("wait", "--timeout", "1s").status == 75
    assert run.status()["status"] == "running"
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_limits_go_on_under_a_new_owner(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task('timeout = "1s"').start()
    repo.begun()
    run.kill_supervisor()
    run.status()
    ended = run.wait()
    assert ended["status"] == "timed_out"
    wait_until(lambda: not run.everything())


def waits_before_its_check(repo: Repo) -> Repo:
    repo.quick_codex()
    waits = 'touch "$HOME/begun"; until [ -e "$HOME/gate" ]; do sleep 0.05; done'
    return repo.task(f"verify = {json.dumps([['sh', '-c', waits]])}", 'verify_timeout = "6s"')


def waits_in_its_turn(repo: Repo) -> Repo:
    repo.waiting_codex()
    return repo.task('timeout = "6s"', 'idle_timeout = "6s"')


def waits_for_its_next_attempt(repo: Repo) -> Repo:
    failed = """{"type":"turn.failed","error":{"message":"unexpected status 503"}}"""
    repo.codex(
        f"""cat > /dev/null\n{THREAD}if [ ! -e "$HOME/begun" ]; then touch "$HOME/begun"\n"""
        f"""echo '{failed}'; exit 1; fi\n{said("done")}{FINISHED}"""
    )
    return repo.task('timeout = "6s"', "retries = 1", more='[recovery]\nbackoff = "2s"\n')


@pytest.mark.parametrize("prepare", [waits_in_its_turn, waits_before_its_check, waits_for_its_next_attempt])
def test_a_gap_in_the_life_of_its_supervisor_ends_no_run(repo: Repo, prepare: Callable[[Repo], Repo]) -> None:
    run = prepare(repo).start()
    repo.begun()
    if prepare is waits_for_its_next_attempt:
        wait_until(lambda: run.events("backing_off"), 30)
    supervisor, since = run.supervisor(), boottime()
    asked = run.asks("Which?", expires_in_s=6.0, on_expiry="fail")
    assert signal_exactly(supervisor, signal.SIGSTOP)
    wait_until(lambda: boottime() - since > 7.0, 30, "the limits to be over")
    assert signal_exactly(supervisor, signal.SIGCONT)
    wait_until(lambda: run.events("suspended"), 30, "the gap to be told")
    if prepare is waits_in_its_turn:
        assert repo.cli("answer", run.id, asked, "This one.").status == 0
    repo.open_gate()
    ended = run.wait()
    assert ended["status"] == "succeeded", ended["reason"]
    assert ended["suspended_seconds"] == run.events("suspended")[0]["seconds"] > 5.0


@pytest.mark.parametrize("why", ["timeout", "question", "tokens"])
def test_the_time_in_which_a_run_is_ended_is_no_gap(repo: Repo, why: str) -> None:
    """The one who ends it was at work, for as long as a deaf child lets it wait."""
    spent = FINISHED if why == "tokens" else ""
    repo.waiting_codex(before=f"trap '' INT TERM\n{spent}")
    limits = {"timeout": 'timeout = "1s"', "question": 'timeout = "1h"', "tokens": "limits = { tokens = 5 }"}
    run = repo.task(limits[why], 'grace = "1800ms"').start()
    if why == "question":
        run.asks("Which?", expires_in_s=0.5, on_expiry="fail")
    ended = run.wait()
    assert (ended["status"], ended["signal"]) == ("timed_out" if why == "timeout" else "failed", 9)
    assert (ended["suspended_seconds"], run.events("suspended")) == (0.0, [])


@pytest.mark.parametrize("since", [{}, {"paused_uptime": None}], ids=["since boot", "time of day"])
def test_a_clock_that_was_set_makes_no_pause_longer(repo: Repo, since: dict[str, None]) -> None:
    """The pause seems to be years old. An older manifest has the time of day alone."""
    repo.waiting_codex()
    run = repo.task('timeout = "4s"').start()
    repo.begun()
    run.told("pause")
    run.kill_supervisor()
    run.edit(paused_at="2025-01-01T00:00:00.000Z", **since)
    resumed = run.told("resume")
    assert resumed["paused_seconds"] < 60.0
    assert run.wait()["reason"]["code"] == "timeout"
