"""`runner events`: what became of all runs, told once, whoever was killed, to a reader that may be gone."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from typing import IO, Any

from support.hostile import HOSTILE, harm
from support.processes import kill
from support.repo import Repo, Run
from support.waiting import wait_until

from runner.usecases import inbox


def told(repo: Repo, *words: str) -> list[tuple[int, str, str]]:
    """(seq, event, status) of each."""
    found = repo.json("events", *words)["events"]
    return [(event["seq"], event["event"], event["status"]) for event in found]


def next_of(stream: IO[bytes] | None) -> dict[str, Any]:
    assert stream is not None
    event: dict[str, Any] = json.loads(stream.readline())
    return event


def test_a_follower_is_told_of_starts_questions_and_ends_as_they_come(repo: Repo) -> None:
    repo.waiting_codex()
    repo.task()
    words = ("events", "--follow", "--since", "0", "--format", "json")
    with repo.process(*words) as all_of_them, repo.process(*words, "--session", "abc") as of_abc:
        run = repo.start(env={"CLAUDE_CODE_SESSION_ID": "abc", "CODEX_THREAD_ID": "def"})
        repo.begun()
        for follower in (all_of_them, of_abc):
            event = next_of(follower.stdout)
            assert (event["seq"], event["event"], event["run_id"]) == (1, "started", run.id)
            assert event["sessions"] == ["abc", "def"] == run.on_disk()["sessions"]
        name = run.asks(f"Which one? {HOSTILE}")
        asked = next_of(all_of_them.stdout)
        assert (asked["event"], asked["question"], asked["to"]) == ("asked", name, "owner")
        repo.cli("answer", run.id, name, "This one.")
        assert next_of(all_of_them.stdout)["status"] == "answered"
        repo.open_gate()
        ended = next_of(all_of_them.stdout)
        assert (ended["seq"], ended["event"], ended["status"]) == (4, "ended", "succeeded")
        other = repo.start()
        assert [next_of(all_of_them.stdout)["run_id"] for _ in range(2)] == [other.id] * 2
        assert [next_of(of_abc.stdout)["seq"] for _ in range(3)] == [2, 3, 4]
        all_of_them.send_signal(signal.SIGINT)
        assert all_of_them.wait(timeout=10) == 130
        assert of_abc.stdout is not None
        of_abc.stdout.close()
        assert of_abc.wait(timeout=10) == 0, "nobody reads it any more, and no event is needed to see that"
    assert told(repo, "--since", "4") == [(5, "started", "running"), (6, "ended", "succeeded")]
    text = repo.cli("events").stdout
    assert "Which one?" in text and harm(text) == [] and len(text.splitlines()) == 6
    assert repo.cli("events", "--since", "7").status == 2


def test_the_end_of_a_run_whose_supervisor_was_killed_is_told_to_who_follows(repo: Repo) -> None:
    repo.waiting_codex()
    repo.task()
    with repo.process("events", "-f", "--since", "0", "--format", "json") as follower:
        run = repo.start()
        repo.begun()
        child = run.child()
        run.kill_supervisor()
        kill(child)
        assert next_of(follower.stdout)["event"] == "started"
        assert next_of(follower.stdout)["status"] == "lost"


def test_what_a_killed_supervisor_left_is_soon_in_the_inbox_of_who_waits(repo: Repo) -> None:
    repo.waiting_codex()
    repo.task('workspace = "worktree"').commit()
    run = repo.start()
    repo.begun()
    child, polls = run.child(), 0

    def pause(_: float) -> None:
        nonlocal polls
        polls += 1
        if polls == 1:
            run.kill_supervisor()
            kill(child)
        if polls > 10:  # two seconds
            wait_until(lambda: run.on_disk()["phase"] == "done", what="the end, by another owner")

    assert [item.kind for item in inbox.wait(str(repo.root), pause)] == ["tree"]
    assert polls <= 20


def test_a_run_that_began_while_another_one_had_the_feed_is_told_and_so_is_its_end(repo: Repo) -> None:
    repo.waiting_codex()
    repo.task()
    (repo.root / ".runs").mkdir(mode=0o700)
    lock = os.open(repo.root / ".runs" / ".feed.lock", os.O_WRONLY | os.O_CREAT, 0o200)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with repo.process("events", "-f", "--since", "0", "--format", "json") as follower:
        run = repo.start()
        assert told(repo) == []
        os.close(lock)
        wait_until(lambda: told(repo), what="the line")
        assert next_of(follower.stdout)["event"] == "started"
        wait_until(lambda: not (run.folder / "control" / "untold").exists())
        child = run.child()
        run.kill_supervisor()
        kill(child)
        assert next_of(follower.stdout)["status"] == "lost"
    assert [event for _, event, _ in told(repo)] == ["started", "ended"]


def test_what_a_killed_owner_left_untold_is_told_once(repo: Repo) -> None:
    repo.quick_codex()
    run = repo.task().start()
    run.wait()
    wait_until(lambda: not (run.folder / "control" / "wake").exists())
    feed = repo.root / ".runs" / ".feed.jsonl"
    whole = feed.read_bytes()
    for torn in (0, 40):  # killed before the line, and in the middle of it
        begun, last = whole.splitlines(keepends=True)
        feed.write_bytes(begun + last[:torn])
        os.mkfifo(run.folder / "control" / "wake")
        wait_until(lambda: len(told(repo)) == 2)
        assert told(repo) == [(1, "started", "running"), (2, "ended", "succeeded")]
        wait_until(lambda: not (run.folder / "control" / "wake").exists())
    os.mkfifo(run.folder / "control" / "wake")  # killed after the line
    run.status()
    wait_until(lambda: not (run.folder / "control" / "wake").exists())
    assert len(told(repo)) == 2


def test_a_run_that_never_began_is_told_to_its_starter_alone(repo: Repo) -> None:
    repo.codex("exit 0")
    repo.task('verify = [["false"]]')
    refused = repo.cli("start", "--task", "work", "--baseline", "--format", "json")
    assert refused.error["code"] == "baseline_failed"
    assert told(repo) == []


def test_a_run_and_the_runs_below_it_are_of_one_session(repo: Repo) -> None:
    repo.waiting_codex()
    repo.task("delegation = true", more='[tasks.child]\nprompt = "x"\n')
    run = repo.start(env={"CODEX_THREAD_ID": "top"})
    below = repo.start(
        "--parent", str(run.folder / "manifest.json"), task="child", env={"CODEX_THREAD_ID": "x"}
    )
    assert Run(repo, below.id, "child").on_disk()["sessions"] == ["top"]
    run.told("cancel")


def test_the_inbox_has_what_waits_for_a_person_until_it_is_settled(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task('verify = [["true"]]').start()
    repo.begun()
    with repo.process("inbox", "--wait", "--format", "json") as waiting:
        name = run.asks(f"Which one? {HOSTILE}")
        out, _ = waiting.communicate(timeout=30)
        (item,) = json.loads(out)["items"]
        assert (item["kind"], item["run_id"], item["question"]) == ("question", run.id, name)
        assert item["commands"] == [f"runner answer {run.id} {name}"]
    text = repo.cli("inbox").stdout
    assert "Which one?" in text and harm(text) == []
    repo.cli("answer", run.id, name, "This one.")
    assert repo.json("inbox") == {"items": []}
    for words in (("--withdraw",), ("--yes",)):  # a folder is trusted whatever a person writes there
        assert repo.cli("trust", *words).status == 0
    repo.task('verify = [["false"]]')
    (item,) = repo.json("inbox")["items"]
    assert (item["kind"], item["commands"]) == ("trust", ["runner trust"])
    repo.open_gate()
    run.wait()
