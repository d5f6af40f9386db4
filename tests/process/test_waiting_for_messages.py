"""A run that waits for a message keeps its tree and waits for a person: every command says so."""

from __future__ import annotations

import pytest
from support.doubles import FINISHED, THREAD, said
from support.repo import Repo
from support.terminal import Terminal
from support.waiting import wait_until

NEED_THE_END = ("accept", "discard", "retry", "verify", "pause", "resume")


def test_every_command_says_that_the_run_waits_and_what_ends_it(repo: Repo) -> None:
    repo.quick_codex("Shall I?")
    begun = repo.task("open = true").cli("start", "work", "--sandbox", "workspace-write")
    (run,), short = repo.runs(), repo.runs()[0].id[20:24]
    ways = [f"await    runner await {short}", f"send     runner send {short} TEXT"]
    assert begun.stdout.splitlines()[-3:] == [*ways, f"end      runner end {short}"]
    heard = repo.cli("await", run.id)
    nexts = f"next     runner send {short} TEXT\n         runner end {short}\n"
    assert (heard.status, heard.stdout, heard.stderr) == (0, "Shall I?\n", nexts)
    wait_until(lambda: run.on_disk()["phase"] == "waiting")

    busy = repo.cli("start", "work", "--sandbox", "workspace-write", "--format", "json")
    assert (busy.status, busy.error["code"]) == (9, "workspace_busy")
    assert run.id in busy.error["message"] and f"(`runner end {run.id}`)" in busy.error["hint"]
    for verb in NEED_THE_END:
        refused, hint = run.ask(verb), f"it waits for a message: `runner end {run.id}` ends it"
        assert (refused.status, refused.error["hint"]) == (9, hint), verb
    (item,) = repo.json("inbox")["items"]
    assert (item["kind"], item["commands"][0]) == ("turn", f"runner send {run.id} TEXT")
    assert item["text"] == "waits for a message; turn 1 completed: Shall I?" and item["since"] is not None
    assert repo.json("status", "@waiting")["run_id"] == run.id
    waited = repo.cli("wait", run.id, "--timeout", "100ms")
    assert waited.status == 75 and f"ends after `runner end {short}`" in waited.stderr
    assert repo.json("clean", "--older-than", "0") == []

    assert run.told("send", "Yes.")["turn"] == 2
    run.ask("await")
    ended = repo.cli("end", run.id)
    assert ", 2 turns" in ended.stdout and repo.json("inbox")["items"] == []


@pytest.mark.parametrize("is_open", [True, False])
def test_what_was_sent_is_shown_until_the_agent_gets_it_and_if_it_never_does(
    repo: Repo, is_open: bool
) -> None:
    repo.waiting_codex()
    run = repo.task(f"open = {str(is_open).lower()}").start()
    repo.begun()
    run.told("send", "And the docs.\x1b[31m")
    shown = repo.cli("status", run.id).stdout
    assert "turn      1 goes on\n" in shown and "\n          And the docs.\n" in shown
    run.ask("cancel")
    assert "unheard    And the docs.\n" in repo.cli("status", run.id).stdout
    assert "its agent was not given m-0001" in repo.cli("logs", run.id).stdout


def test_a_turn_that_failed_is_told_with_its_reason_wherever_the_run_is(repo: Repo) -> None:
    repo.codex(f"cat > /dev/null\n{THREAD}exit 3")
    run = repo.task("open = true").start()
    assert repo.cli("await", run.id).status == 1
    (item,) = wait_until(lambda: repo.json("inbox")["items"])
    assert item["text"].startswith("waits for a message; turn 1 failed: ") and "3" in item["text"]
    assert "turn      1 failed: " in repo.cli("status", run.id).stdout
    assert "  turn 1   failed: " in repo.cli("logs", run.id).stdout
    run.ask("end")


def test_the_name_of_a_run_that_goes_on_with_another_is_shown(repo: Repo) -> None:
    repo.codex(f"cat > /dev/null\n{THREAD}{said('done')}{FINISHED}")
    run = repo.task().start()
    run.wait()
    follow_up = repo.cli("send", run.id, "And now the tests.", "--wait")
    assert (follow_up.status, follow_up.stdout) == (0, "done\n")
    last = repo.runs()[-1]
    assert f"continues {run.id[20:24]}\n" in repo.cli("status", last.id).stdout
    told = repo.cli("logs", last.id).stdout
    assert f"turn 1   goes on in the session of run {run.id}:" in told and "And now the tests." in told


def test_watch_asks_for_the_message_to_a_run_that_waits_for_one(repo: Repo) -> None:
    repo.quick_codex("Shall I?")
    run = repo.task("open = true").start()
    run.told("await")
    wait_until(lambda: run.on_disk()["phase"] == "waiting")
    terminal = Terminal(repo, "watch", columns=80)
    try:
        terminal.shows("to send or end")
        terminal.press(b"a", shows="message (an empty line sends none): ")
        assert "\n  turn 1 completed: Shall I?" in terminal.text
        terminal.press(b"\n", shows="not answered")
        terminal.press(b"a", shows="message (an empty line sends none): ")
        terminal.press(b"Go on.\n", shows="m-0001: turn 2 has begun")
        terminal.shows("to send or end")
        terminal.press(b"p", shows="it waits for a message")
        for typed, told in ((b"a\x16\0b", "NUL"), (b" /quit ", "ends: ")):
            terminal.press(b"a", shows="message (an empty line sends none): ")
            terminal.press(typed + b"\n", shows=told)
    finally:
        terminal.close()
    ended = run.wait()
    assert (ended["status"], ended["turns"]) == ("succeeded", 2)
    assert run.told("await", "--turn", "2")["messages"] == ["m-0001"]
