"""`[notify]`: commands of the user that nobody waits for, whatever they do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from support import processes
from support.repo import RUNNER, Repo, Run
from support.terminal import Terminal
from support.waiting import wait_until


def failures(repo: Repo) -> list[str]:
    found = repo.json("events")["events"]
    return [event["reason"]["message"] for event in found if event["event"] == "notice_failed"]


def told(repo: Repo, name: str) -> dict[str, Any]:
    path = repo.home / name
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    event: dict[str, Any] = json.loads(path.read_text())
    return event


def notify(repo: Repo, **commands: str) -> dict[str, str | None]:
    """As variables: a command is a script of sh."""
    return {
        f"RUNNER_NOTIFY__{name.upper()}": json.dumps(["sh", "-c", text]) for name, text in commands.items()
    }


def test_the_end_is_told_with_the_event_in_a_clean_environment_and_of_roots_alone(repo: Repo) -> None:
    repo.waiting_codex()
    repo.task("delegation = true", more='[tasks.child]\nprompt = "x"\n')
    command = 'cat > "$HOME/event-$$"; env > "$HOME/env"; pwd > "$HOME/pwd"'
    env = {**notify(repo, on_end=command), "CODEX_API_KEY": "hunter2-correct", "DISPLAY": ":7"}
    run = repo.start(env=env)
    child = repo.start("--parent", str(run.folder / "manifest.json"), task="child", env=env)
    repo.open_gate()
    child.wait()
    run.wait()
    wait_until(lambda: (repo.home / "pwd").exists() and (repo.home / "pwd").read_text())
    (path,) = repo.home.glob("event-*")
    event = json.loads(path.read_text())
    assert (event["event"], event["run_id"], event["status"]) == ("ended", run.id, "succeeded")
    assert event.pop("repo") == str(repo.root)
    assert event in repo.json("events")["events"]
    assert (repo.home / "pwd").read_text() == "/\n"
    names = {line.partition("=")[0] for line in (repo.home / "env").read_text().splitlines()}
    assert {"HOME", "PATH", "DISPLAY"} <= names
    assert not {name for name in names if name.startswith(("RUNNER_", "CODEX_"))}
    assert failures(repo) == []


def test_what_waits_is_told_while_the_run_goes_on_and_is_no_part_of_it(repo: Repo) -> None:
    repo.waiting_codex()
    leave = """setsid sh -c 'echo $$ > "$HOME/left"; exec sleep 300' & """
    command = 'cat > "$HOME/asked"; echo $$ > "$HOME/pid"; until [ -e "$HOME/enough" ]; do sleep 0.1; done'
    run = repo.task().start(env=notify(repo, on_attention=leave + command))
    repo.begun()
    name = run.asks("Which one?")
    event = told(repo, "asked")
    assert (event["event"], event["question"], event["prompt"]) == ("asked", name, "Which one?")
    telling, left = repo.pid_in("pid"), repo.pid_in("left")
    assert run.told("pause")["status"] == "paused"
    assert not any(processes.look(one.pid).is_stopped for one in (telling, left))
    run.told("resume")
    ended = run.told("cancel")
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])
    assert telling.is_still_there() and left.is_still_there(), "they are not the run's"
    assert run.events("swept") == []
    (repo.home / "enough").touch()
    wait_until(lambda: not telling.is_still_there())
    assert failures(repo) == []
    assert left.is_still_there(), "it ended in time, so what it has left goes on"
    processes.kill(left)
    wait_until(lambda: not processes.of_folder(repo.root))


def test_of_many_questions_few_are_told_at_once_and_none_is_lost(repo: Repo) -> None:
    repo.waiting_codex()
    command = 'cat > "$HOME/asked-$$"; until [ -e "$HOME/enough" ]; do sleep 0.1; done'
    first = 'mkdir "$HOME/left" && { setsid sleep 300 & echo $! > "$HOME/pid"; }; '
    run = repo.task().start(env=notify(repo, on_attention=first + command))
    repo.begun()
    names = [run.asks(f"Question {n}?") for n in range(20)]
    wait_until(lambda: len([*repo.home.glob("asked-*")]) == 8, within=60)
    for verb in ("pause", "resume", "pause", "resume"):  # its owner has looked each time
        run.told(verb)
    assert len([*repo.home.glob("asked-*")]) == 8
    run.told("cancel")
    left = repo.pid_in("pid")
    (repo.home / "enough").touch()
    wait_until(lambda: len([*repo.home.glob("asked-*")]) == 20, within=60)
    (helper,) = wait_until(lambda: one if len(one := processes.of_folder(repo.root)) == 1 else [], within=60)
    told = [json.loads(path.read_text())["question"] for path in repo.home.glob("asked-*")]
    assert (sorted(told), failures(repo)) == (names, [])
    assert (os.readlink(f"/proc/{helper.pid}/cwd"), left.is_still_there()) == ("/", True)
    open_files = [os.readlink(path) for path in Path(f"/proc/{helper.pid}/fd").iterdir()]
    assert not [path for path in open_files if path.startswith(str(repo.root))], "its disk can be unmounted"
    processes.kill(left)
    wait_until(lambda: not processes.of_folder(repo.root))


@pytest.mark.parametrize("phase", ["verifying", "backing off"])
def test_a_notice_that_waits_for_others_begins_also_while_no_agent_runs(repo: Repo, phase: str) -> None:
    failed = """{"type":"turn.failed","error":{"message":"unexpected status 503"}}"""
    repo.waiting_codex(after="" if phase == "verifying" else f"echo '{failed}'; exit 1")
    check = json.dumps(["sh", "-c", 'until [ -e "$HOME/checked" ]; do sleep 0.1; done'])
    more = '[recovery]\nbackoff = "1h"\nbackoff_max = "1h"\n'
    repo.task("retries = 1", f"verify = [{check}]", more=more)
    command = 'cat > "$HOME/asked-$$"; until [ -e "$HOME/enough" ]; do sleep 0.1; done'
    run = repo.start(env=notify(repo, on_attention=command))
    repo.begun()
    for n in range(9):
        run.asks(f"Question {n}?")
    wait_until(lambda: len([*repo.home.glob("asked-*")]) == 8, within=60)
    repo.open_gate()
    at_work = "verifying" if phase == "verifying" else "backing_off"
    wait_until(lambda: run.on_disk()["phase"] == at_work or run.events(at_work), within=60)
    assert len([*repo.home.glob("asked-*")]) == 8
    (repo.home / "enough").touch()
    wait_until(lambda: len([*repo.home.glob("asked-*")]) == 9, within=60)
    assert not run.on_disk()["outcome"]
    run.told("cancel")
    wait_until(lambda: not processes.of_folder(repo.root))


def test_what_a_command_has_left_behind_is_not_taken_for_the_agents(repo: Repo) -> None:
    repo.quick_codex("one")
    command = """[ -e "$HOME/left" ] || setsid sh -c 'echo $$ > "$HOME/left"; exec sleep 300' &"""
    run = repo.task("open = true").start(env=notify(repo, on_turn=command))
    left = repo.pid_in("left")
    ended = run.told("end")
    assert (ended["status"], ended["survivors"], run.events("swept")) == ("succeeded", [], [])
    assert left.is_still_there()
    processes.kill(left)
    wait_until(lambda: not processes.of_folder(repo.root))


def test_a_command_that_fails_is_told_in_the_feed_and_changes_nothing(repo: Repo) -> None:
    repo.quick_codex()
    run = repo.task().start(env=notify(repo, on_end="exit 3"))
    assert run.wait()["status"] == "succeeded"
    (message,) = wait_until(lambda: failures(repo))
    assert message in [f"on_end: `{folder}/sh` exited with 3" for folder in ("/usr/bin", "/bin")]
    wait_until(lambda: not processes.of_folder(repo.root))


def test_a_command_that_hangs_is_ended_with_all_but_the_runs_that_it_has_started(repo: Repo) -> None:
    repo.quick_codex("one")
    command = f"""[ -e "$HOME/pid" ] && exit; cd '{repo.root}'; '{RUNNER}' start other; echo $$ > "$HOME/pid"
        setsid sh -c 'echo $$ > "$HOME/left"; exec sleep 300' & trap "" TERM; sleep 300"""
    more = '[tasks.other]\nprompt = "x"\nopen = true\n'
    run = repo.task("open = true", more=more).start(env=notify(repo, on_turn=command))
    hangs, left = repo.pid_in("pid"), repo.pid_in("left")
    (message,) = wait_until(lambda: failures(repo), within=40)
    assert message in [f"on_turn: `{folder}/sh` did not end within 10 s" for folder in ("/usr/bin", "/bin")]
    wait_until(lambda: not hangs.is_still_there() and not left.is_still_there())
    (other,) = [one for one in repo.runs() if one.id != run.id]
    wait_until(lambda: other.status()["status"] == "waiting")
    for one in (run, other):
        assert (one.told("end")["status"], one.events("swept")) == ("succeeded", [])
    wait_until(lambda: not processes.of_folder(repo.root))


def test_who_follows_a_killed_owner_tells_the_end_by_the_command_of_the_start(repo: Repo) -> None:
    repo.waiting_codex()
    command = 'cat > "$HOME/event"'
    run = repo.task().start(env=notify(repo, on_end=command))
    repo.begun()
    child = run.child()
    run.kill_supervisor()
    processes.kill(child)
    other = notify(repo, on_end='touch "$HOME/other"')
    assert repo.cli("status", run.id, env=other).status == 0
    event = told(repo, "event")
    assert (event["run_id"], event["status"]) == (run.id, "lost")
    run.status()
    wait_until(lambda: not processes.of_folder(repo.root))
    assert not (repo.home / "other").exists()


def test_a_turn_of_a_root_is_told_once_while_the_run_goes_on_whoever_owns_it(repo: Repo) -> None:
    repo.quick_codex("one")
    repo.task("delegation = true", "open = true", more='[tasks.child]\nprompt = "x"\n')
    command = 'cat > "$HOME/turn-$$"; until [ -e "$HOME/enough" ]; do sleep 0.1; done; exit 3'
    env = notify(repo, on_turn=command)
    run = repo.start(env=env)
    wait_until(lambda: [*repo.home.glob("turn-*")])
    child = repo.start("--parent", str(run.folder / "manifest.json"), task="child", env=env)
    run.kill_supervisor()
    assert run.status()["status"] == "waiting", "which gives it another owner"
    child.wait()
    run.told("send", "Go on.")
    wait_until(lambda: len([*repo.home.glob("turn-*")]) == 2)
    assert run.told("end")["status"] == "succeeded", "who hangs holds nobody up"
    (repo.home / "enough").touch()
    assert wait_until(lambda: failures(repo))[0].startswith("on_turn: ")
    wait_until(lambda: not processes.of_folder(repo.root))
    turns = [event for event in repo.json("events")["events"] if event["event"] == "turn"]
    found = [event for event in turns if event["run_id"] == run.id]
    told = [json.loads(path.read_text()) for path in repo.home.glob("turn-*")]
    assert {event.pop("repo") for event in told} == {str(repo.root)}
    assert sorted(told, key=lambda event: event["seq"]) == found
    assert [(event["run_id"], event["turn"], event["status"], event["message"]) for event in found] == [
        (run.id, 1, "completed", "one"),
        (run.id, 2, "completed", "one"),
    ]
    assert len(failures(repo)) == 1


def test_each_attempt_has_turns_of_its_own_but_not_that_which_asks_for_the_result(repo: Repo) -> None:
    path = repo.quick_codex()
    path.write_text(path.read_text().replace("  -h,", "  --output-schema <FILE>\n          text\n  -h,"))
    work = ("retries = 1", 'verify = [["false"]]', 'output_contract = "closing-turn"')
    run = repo.task(*work).start(env=notify(repo, on_turn="true"))
    how = [one["how"] for one in run.wait()["attempts"]]
    found = [event for event in repo.json("events")["events"] if event["event"] == "turn"]
    assert how == ["first", "closing", "resume", "closing"], "one more, as retries says"
    turns = [n for n, one in enumerate(how, 1) if one != "closing"]
    assert [(event["attempt"], event["turn"]) for event in found] == [(n, m) for m, n in enumerate(turns, 1)]


def test_a_turn_is_no_event_for_who_has_no_command_for_it(repo: Repo) -> None:
    repo.quick_codex()
    repo.task().start(env=notify(repo, on_end='touch "$HOME/ended"')).wait()
    wait_until((repo.home / "ended").exists)
    assert "turn" not in [event["event"] for event in repo.json("events")["events"]]


@pytest.mark.parametrize("rings", [True, False])
def test_the_bell_rings_where_that_is_wanted_and_a_terminal_is(rings: bool, repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    words = ("start", "--task", "work", "--wait", "--set", f"notify.bell={str(rings).lower()}")
    done = repo.cli(*words)
    assert "\a" not in done.stderr + done.stdout
    terminal = Terminal(repo, *words, columns=80)
    assert terminal.type(b"") == 0
    assert ("\a" in terminal.text) is rings and "succeeded" in terminal.text
    terminal.close()


def test_who_waits_on_a_terminal_leaves_it_its_cursor_and_hears_of_the_end_of_what_is_removed(
    repo: Repo,
) -> None:
    repo.waiting_codex()
    repo.task()
    words = ("start", "--task", "work", "--wait", "--set", "notify.bell=true")
    ended, told = (Terminal(repo, *words, columns=80) for _ in range(2))
    for terminal in (ended, told):
        terminal.shows("running")
        terminal.shows("\x1b[?25h")
    ended.process.terminate()
    assert ended.type(b"") == -signal.SIGTERM
    assert ended.text.rfind("\x1b[?25l") < ended.text.rfind("\x1b[?25h")
    ended.close()
    for run in repo.runs():
        run.told("pause")
        run.told("resume")  # its owner has read all that it needs
        (run.folder / "invocation.json").unlink()
    repo.open_gate()
    assert told.type(b"") == 0
    assert "succeeded" in told.text and "\a" in told.text
    told.close()
    wait_until(lambda: {run.on_disk()["phase"] for run in repo.runs()} == {"done"})


def test_output_without_end_and_an_unread_event_are_no_matter(repo: Repo) -> None:
    repo.quick_codex()
    command = 'head -c 50000000 /dev/zero; head -c 50000000 /dev/zero >&2; touch "$HOME/done"'
    run = repo.task().start(env=notify(repo, on_end=command))
    run.wait()
    wait_until(lambda: (repo.home / "done").exists())
    assert sum(path.stat().st_size for path in run.folder.iterdir() if path.is_file()) < 1_000_000
    wait_until(lambda: not processes.of_folder(repo.root))
    assert failures(repo) == []


def test_a_program_that_was_not_there_at_the_start_is_told_and_not_looked_for_later(repo: Repo) -> None:
    repo.waiting_codex()
    env = {"RUNNER_NOTIFY__ON_END": '["tell-me"]'}
    run = repo.task().start(env=env)
    repo.begun()
    late = repo.bin / "tell-me"
    late.write_text('#!/bin/sh\ntouch "$HOME/ran"\n')
    late.chmod(0o755)
    repo.open_gate()
    run.wait()
    assert wait_until(lambda: failures(repo)) == ["on_end: `tell-me` was not found at the start"]
    assert not (repo.home / "ran").exists()


def test_what_an_agent_wrote_into_the_repository_is_not_executed_as_a_notice(repo: Repo) -> None:
    evil = 'open(__import__("os").environ["HOME"] + "/evil", "w").close()\n'
    for name in ("json.py", "tell.py"):
        (repo.root / name).write_text(evil)
    (repo.root / "Makefile").write_text('note:\n\ttouch "$$HOME/evil"\n')
    (repo.root / "n.sh").write_text('touch "$HOME/evil"\n')
    repo.quick_codex()
    repo.task()
    python = shutil.which("python3") or sys.executable
    ways = (
        [python, "-c", "import json, os; open(os.environ['HOME'] + '/said', 'w').close()"],
        [python, "-m", "tell"],
        ["make", "-s", "note"],
    )
    for argv in ways:
        run = repo.start(env={"RUNNER_NOTIFY__ON_END": json.dumps(argv)})
        run.wait()
        if argv[1] == "-c":
            wait_until((repo.home / "said").exists)
        else:
            wait_until(
                lambda run=run: [one for one in repo.json("events")["events"] if is_failure_of(one, run)]
            )
        assert not (repo.home / "evil").exists(), argv


def is_failure_of(event: dict[str, Any], run: Run) -> bool:
    return event["event"] == "notice_failed" and event["run_id"] == run.id
