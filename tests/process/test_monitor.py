"""`runner events --surface`: what wakes the session of a host, and nothing else does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select

import pytest
from support.hostile import HOSTILE, harm
from support.repo import RUNNER, Repo
from support.trusting import trust_folder
from support.waiting import wait_until

from runner.runtimes import by_process

CLAUDE = {"CLAUDE_CODE_SESSION_ID": "abc", "CLAUDE_PID": str(os.getpid())}
OTHER_PID = str(os.getppid())


class Monitor:
    """It, with a pipe that gives each of its writes by itself: `pipe2(2)`, O_DIRECT."""

    def __init__(self, repo: Repo, *words: str, env: Mapping[str, str], cwd: Path | None) -> None:
        self._read, write = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
        argv = [str(RUNNER), "events", "--follow", "--surface", *words]
        self.process = subprocess.Popen(argv, cwd=cwd or repo.root, env={**repo.env, **env}, stdout=write)
        os.close(write)

    def told(self, within: float = 30) -> list[str]:
        """The lines of its next write."""
        assert select([self._read], [], [], within)[0], "it tells nothing"
        return os.read(self._read, 1 << 16).decode().splitlines()

    @property
    def is_silent(self) -> bool:
        return not select([self._read], [], [], 0)[0]

    def close(self) -> int:
        """Nobody reads it any more."""
        os.close(self._read)
        self._read = -1
        return self.process.wait(timeout=20)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._read >= 0:
            os.close(self._read)


@contextmanager
def monitor(
    repo: Repo, *words: str, env: Mapping[str, str] = CLAUDE, cwd: Path | None = None
) -> Iterator[Monitor]:
    made = Monitor(repo, *words, env=env, cwd=cwd)
    try:
        yield made
    finally:
        made.end()


def test_a_question_and_the_end_are_one_write_each_and_nothing_else_is_told(repo: Repo) -> None:
    repo.waiting_codex()
    repo.task()
    with monitor(repo, "--since", "0", "--session", "abc") as woken:
        repo.start(env={"CLAUDE_CODE_SESSION_ID": "other"})
        run = repo.start(env={"CLAUDE_CODE_SESSION_ID": "abc"})
        repo.begun()
        name = run.asks(f"Which\none? {HOSTILE}")
        asked = woken.told()
        assert asked[0].startswith("[CODEX] run ") and f" of task work asks you {name}; next: " in asked[0]
        assert asked[1].startswith("[CODEX] [UNTRUSTED] its question: Which one? ")
        assert len(asked) == 2 and harm("\n".join(asked)) == []
        repo.cli("answer", run.id, name, "This one.")
        repo.open_gate()
        ended = woken.told()
        assert ended[0].endswith(": succeeded (completed)") and len(ended) <= 12
        assert "[CODEX-SUMMARY] [UNTRUSTED] done" in ended
        assert ended[-1].startswith("[CODEX-SUMMARY] runner's verdict: accepted (completed)")
        assert woken.close() == 0, "nobody reads it any more, and no event is needed to see that"


def test_what_was_before_is_not_told_again_at_the_start(repo: Repo) -> None:
    repo.quick_codex()
    first = repo.task().start(env=CLAUDE)
    first.wait()
    short = repo.cli("report", first.id, "--surface").stdout.partition(" of task")[0].split()[-1]
    with monitor(repo, "--session", "abc") as woken:

        def is_told() -> bool:
            repo.start(env=CLAUDE).wait()
            return not woken.is_silent

        wait_until(is_told, within=60, what="the end of a later run")
        assert f"run {short} " not in woken.told()[0]


def test_after_clear_the_runs_of_the_same_claude_code_are_still_told(repo: Repo) -> None:
    repo.quick_codex()
    with monitor(repo, "--since", "0", "--session", "abc") as woken:
        repo.task().start(env={"CLAUDE_CODE_SESSION_ID": "later", "CLAUDE_PID": OTHER_PID}).wait()
        run = repo.start(env={**CLAUDE, "CLAUDE_CODE_SESSION_ID": "later"})
        run.wait()
        assert run.on_disk()["sessions"] == ["later", by_process(CLAUDE)]
        name = repo.cli("report", run.id, "--surface").stdout.partition(" of task")[0].split()[-1]
        assert woken.told()[0].startswith(f"[CODEX] run {name} ")


def test_of_two_in_one_claude_code_one_tells_and_the_other_takes_over(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    words = ("--since", "0", "--session", "abc")
    with monitor(repo, *words) as first:
        repo.start(env=CLAUDE).wait()
        ended = first.told()
        with monitor(repo, *words) as second, monitor(repo, *words) as third:
            repo.start(env=CLAUDE).wait()
            again = first.told()
            assert second.is_silent and third.is_silent
            assert third.close() == 0, "who waits ends too, when nobody reads it"
            first.process.send_signal(signal.SIGKILL)
            assert [second.told(), second.told()] == [ended, again]


def test_two_of_different_claude_codes_do_not_wait_for_each_other(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    other = {"CLAUDE_CODE_SESSION_ID": "def", "CLAUDE_PID": OTHER_PID}
    with (
        monitor(repo, "--since", "0", "--session", "abc") as first,
        monitor(repo, "--since", "0", "--session", "def", env=other) as second,
    ):
        repo.start(env=CLAUDE).wait()
        assert first.told()[0].endswith(": succeeded (completed)")
        repo.start(env=other).wait()
        assert second.told()[0].endswith(": succeeded (completed)")


def test_a_later_claude_code_with_the_number_of_an_earlier_one_is_told_nothing_of_its_runs(
    repo: Repo,
) -> None:
    repo.quick_codex()
    repo.task().start(env={"CLAUDE_CODE_SESSION_ID": f"claude-pid-{os.getpid()}-1"}).wait()
    with monitor(repo, "--since", "0", "--session", "new") as woken:
        late = repo.start(env={**CLAUDE, "CLAUDE_CODE_SESSION_ID": "new"})
        late.wait()
        name = repo.cli("report", late.id, "--surface").stdout.partition(" of task")[0].split()[-1]
        assert woken.told()[0].startswith(f"[CODEX] run {name} ")


def test_one_claude_code_is_told_of_two_repositories_at_once(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    other = repo.base / "other"
    shutil.copytree(repo.root, other)
    trust_folder(other, repo.env)
    words = ("--since", "0", "--session", "abc")
    with monitor(repo, *words) as here, monitor(repo, *words, cwd=other) as there:
        for folder, woken in ((repo.root, here), (other, there)):
            assert repo.cli("start", "--wait", "work", env=CLAUDE, cwd=folder).status == 0
            assert woken.told()[0].endswith(": succeeded (completed)")


def test_what_is_to_be_decided_stands_with_the_end_and_wakes_once(repo: Repo) -> None:
    repo.quick_codex()
    repo.task('workspace = "worktree"').commit()
    with monitor(repo, "--since", "0", "--session", "abc") as woken:
        repo.start(env=CLAUDE).wait()
        ended = woken.told()
        assert "runner inbox" in ended[-1]
        assert any("its changes: " in line and "runner accept" in line for line in ended)
        wait_until(lambda: any(e["event"] == "undecided" for e in repo.json("events")["events"]))
        repo.start(env=CLAUDE).wait()
        assert woken.told()[0].endswith(": succeeded (completed)")


def test_a_lock_that_cannot_be_made_deafens_nobody(repo: Repo) -> None:
    repo.quick_codex()
    folder = repo.home / ".local/state/runner"
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    (folder / "hosts").symlink_to("/nowhere")
    with monitor(repo, "--since", "0", "--session", "abc") as woken:
        repo.task().start(env=CLAUDE).wait()
        assert woken.told()[0].endswith(": succeeded (completed)")


def test_who_looks_once_gets_the_same_lines(repo: Repo) -> None:
    repo.quick_codex("STATUS: SUCCESS\\nNOTES: fine")
    run = repo.task().start(env=CLAUDE)
    run.wait()
    text = repo.cli("events", "--surface").stdout.splitlines()
    (event,) = repo.json("events", "--surface")["events"]
    assert (event["event"], event["run_id"]) == ("ended", run.id) and text[0].startswith("[CODEX] run ")
    assert event["lines"] == text and not {"prompt", "message", "reason"} & event.keys()
    found = repo.json("report", run.id, "--surface")
    assert found["run_id"] == run.id and found["lines"][-len(text) :] == text
    assert found["lines"][:2] == ["[CODEX] [UNTRUSTED] STATUS: SUCCESS", "[CODEX] [UNTRUSTED] NOTES: fine"]
    assert repo.cli("report", run.id, "--surface", "--format", "html").status == 2


@pytest.mark.parametrize("gone", [(), ("invocation.json",)], ids=["copied", "without its terms"])
def test_a_run_that_is_not_ours_says_nothing_in_the_voice_of_runner(
    repo: Repo, gone: tuple[str, ...]
) -> None:
    repo.quick_codex("STATUS: SUCCESS")
    run = repo.task('verify = [["true"]]').start()
    run.wait()
    theirs = repo.base / "theirs"
    repo.git("init", "-q", str(theirs))
    shutil.copytree(repo.root / ".runs", theirs / ".runs")
    folder = theirs / run.folder.relative_to(repo.root)
    manifest, result = json.loads((folder / "manifest.json").read_text()), folder / "result.json"
    manifest["runtime"]["name"] = "RUNNER_ACCEPTS"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    result.write_text(result.read_text().replace('"true"', '"runner trust --yes"'))
    for name in gone:
        (folder / name).unlink()
    told = repo.cli("report", run.id, "--surface", cwd=theirs).stdout.splitlines()
    (plain,) = [line for line in told if "[UNTRUSTED]" not in line]
    assert plain.startswith("[RUN] run ") and plain.endswith(" of task work: foreign, nothing of it is sure")
    assert told == ["[RUN] [UNTRUSTED] STATUS: SUCCESS", plain]


def test_locks_of_monitors_that_are_gone_are_removed_and_no_other(repo: Repo) -> None:
    from runner.usecases import surface

    repo.quick_codex()
    repo.task()
    folder = repo.home / ".local/state/runner/hosts"
    with monitor(repo, "--since", "0", "--session", "abc") as woken:
        repo.start(env=CLAUDE).wait()
        woken.told()
        (held,) = folder.glob("*.lock")
        (folder / "claude-pid-1.lock").touch(0o200)
        surface.tidy(repo.env)
        assert [*folder.glob("*.lock")] == [held]
    surface.tidy(repo.env)
    assert [*folder.iterdir()] == []
