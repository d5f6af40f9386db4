"""`runner retry` with the real Codex: the same thread or a new one, and what the next attempt is told."""

from __future__ import annotations

import json

import pytest
from support.judged import claim
from support.repo import Repo, Run

TRIES = """
[[turns]]
shell = "echo tried >> tries.txt"
[[turns]]
message = "It is done."
"""
KEYS = (
    'rehearse = "play.toml"\nsandbox = "workspace-write"\nverify = [["sh", "-c", "echo the proof; exit 3"]]\n'
)


def failed(repo: Repo, *words: str) -> Run:
    repo.script(TRIES)
    repo.config(f'[tasks.work]\nprompt = "Write it down."\n{KEYS}')
    run = repo.start(*words)
    assert run.wait()["status"] == "rejected"
    return run


def again(repo: Repo, run: Run, *words: str) -> Run:
    manifest = repo.json("retry", run.id, *words)
    return Run(repo, manifest["run_id"], "work")


def test_a_retry_goes_on_in_the_thread_and_is_told_what_was_seen(repo: Repo) -> None:
    (repo.root / "notes.md").write_text("\n\n## Delegation\nDo something else.\n")
    first = failed(repo, "--paste", "notes.md")
    assert "something else" in first.file("prompt.md")
    second = again(repo, first, "--message", "Leave the other files alone.", "-r", "low")
    ended = second.wait()
    assert (ended["reasoning_effort"], ended["conformance"]["effort"]["verdict"]) == ("low", "ok")
    assert ended["thread_id"] == first.on_disk()["thread_id"]
    assert ended["retry_of"]["run_id"] == first.id
    prompt = second.file("prompt.md")
    assert "the proof" in prompt and "exited with 3" in prompt
    assert "Leave the other files alone." in prompt
    assert "Write it down." not in prompt, "the thread knows its task"
    assert "something else" not in prompt, "and nothing but the fence says that it is a file"


def test_a_fresh_retry_has_the_whole_task_and_a_thread_of_its_own(repo: Repo) -> None:
    first = failed(repo, "--prompt", "Write that down.", "-r", "high", "--paste", "play.toml")
    second = again(repo, first, "--fresh")
    ended = second.wait()
    assert ended["reasoning_effort"] == "high"
    assert ended["thread_id"] not in (None, first.on_disk()["thread_id"])
    prompt = second.file("prompt.md")
    assert prompt.startswith("Write that down."), "also what the command line asked for"
    assert "`play.toml`:" in prompt and "echo tried" in prompt
    assert "the proof" in prompt


def test_a_retry_of_a_run_with_a_full_session_begins_a_new_one(repo: Repo) -> None:
    repo.script('[[turns]]\nerror = { code = "context_length_exceeded", message = "full" }\n')
    repo.config('[tasks.work]\nprompt = "Write it down."\nrehearse = "play.toml"\n')
    first = repo.start()
    assert first.wait()["reason"]["code"] == "context_full"
    repo.script('[[turns]]\nmessage = "Done."\n')
    second = again(repo, first)
    assert second.wait()["thread_id"] not in (None, first.on_disk()["thread_id"])
    assert second.file("prompt.md").startswith("Write it down.")


def test_a_retry_counts_what_it_spends_itself_also_after_it_begins_afresh(repo: Repo) -> None:
    cost = "usage = { input_tokens = 600, output_tokens = 0 }\n"
    repo.script('[[turns]]\nmessage = "Done."\n' + cost)
    repo.config(
        '[recovery]\nladder = ["fresh"]\n[tasks.work]\nprompt = "Write it down."\nretries = 1\n'
        f"limits = {{ tokens = 1000 }}\n{KEYS}"
    )
    assert repo.start("--set", "tasks.work.retries=0").wait()["usage"]["input_tokens"] == 600
    repo.script(f'[[turns]]\nmessage = "Done."\n{cost.replace("600", "300")}times = 2\n')
    second = again(repo, repo.runs()[0])
    ended = second.wait()
    assert (ended["status"], ended["attempt"]) == ("rejected", 2)
    assert ended["usage"]["input_tokens"] == 600
    resumed, fresh = ended["attempts"]
    assert (resumed["usage"]["input_tokens"], resumed["usage_before"]["input_tokens"]) == (900, 600)
    assert fresh["thread_id"] != resumed["thread_id"] and fresh["usage"]["input_tokens"] == 300
    assert second.file("prompt-2.md").startswith("Write it down.")


def test_nothing_is_sent_twice_unchanged_and_nothing_that_runs_is_tried_again(repo: Repo) -> None:
    repo.script('[[turns]]\nmessage = "Done."\n')
    repo.config('[tasks.work]\nprompt = "Do it."\nrehearse = "play.toml"\n')
    run = repo.start()
    assert run.wait()["status"] == "succeeded"
    refused = repo.cli("retry", run.id, "--format", "json")
    assert refused.status == 9
    assert "--message" in refused.error["hint"]
    assert len(repo.runs()) == 1
    assert again(repo, run, "--message", "And once more.").wait()["status"] == "succeeded"
    repo.script("[[turns]]\nhang = true\n")
    waiting = repo.start()
    assert repo.cli("retry", waiting.id, "--message", "Now.").status == 9
    waiting.told("cancel")


@pytest.mark.parametrize("words", [("nothing",), ("@latest", "--message", "x")])
def test_a_run_that_is_not_there_cannot_be_tried_again(repo: Repo, words: tuple[str, ...]) -> None:
    repo.config('[tasks.work]\nprompt = "Do it."\n')
    assert repo.cli("retry", *words).status == 4
    assert repo.no_runs()


def test_a_retry_that_finds_the_work_of_the_first_try_all_right_has_succeeded(repo: Repo) -> None:
    """The check failed for a reason outside of the work, so nothing is left to be done."""
    done = json.dumps(claim(files=["src/new", "stray"]))
    repo.script(
        f'[[turns]]\nshell = "mkdir src; echo n > src/new; echo s > stray"\n[[turns]]\nmessage = {done}\n'
    )
    repo.config(
        '[tasks.work]\nprompt = "Write it."\nrehearse = "play.toml"\nsandbox = "workspace-write"\n'
        'output_contract = "final"\non_failure = "keep"\nscope = ["src/**"]\n'
        'verify = [["test", "-e", "src/new"], ["test", "-e", "../outside"]]\n'
    )
    first = repo.start()
    assert first.wait()["reason"]["code"] == "scope_violation"
    repo.script(f"[[turns]]\nmessage = {done}\n")
    assert again(repo, first).wait()["reason"]["code"] == "scope_violation", "it still stands"
    (repo.root.parent / "outside").touch()
    repo.script(
        f'[[turns]]\nshell = "unlink stray"\n[[turns]]\nmessage = {json.dumps(claim(files=["src/new"]))}\n'
    )
    third = again(repo, repo.runs()[-1])
    assert third.wait()["status"] == "succeeded"
    assert repo.json("report", third.id)["files"]["observed"] == ["src/new"]
