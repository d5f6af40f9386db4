"""Waiting for runs, detaching from them, listing and cleaning: what goes on is never touched."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from time import monotonic

from support import processes
from support.processes import Seen, kill
from support.repo import RUNNER, Repo, Run
from support.waiting import wait_until

PER_RUN = """
cat > /dev/null
echo '{"type":"thread.started","thread_id":"t"}'
touch "$HOME/begun-$RUNNER_RUN_ID"
until [ -e "$HOME/gate-$RUNNER_RUN_ID" ]; do sleep 0.05; done
[ -e "$HOME/fail-$RUNNER_RUN_ID" ] && exit 1
echo '{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"done"}}'
echo '{"type":"turn.completed","usage":{}}'
"""


def started(repo: Repo, count: int) -> list[Run]:
    repo.codex(PER_RUN)
    repo.task()
    runs = [repo.start() for _ in range(count)]
    for run in runs:
        wait_until(repo.note(f"begun-{run.id}").exists)
    return runs


def release(run: Run, *, fail: bool = False) -> None:
    if fail:
        run.repo.note(f"fail-{run.id}").touch()
    run.repo.note(f"gate-{run.id}").touch()


def ids(runs: list[Run]) -> list[str]:
    return [run.id for run in runs]


def test_waiting_for_several_answers_in_their_order_when_all_are_done(repo: Repo) -> None:
    runs = started(repo, 3)
    with repo.process("wait", *ids(runs), "--format", "json") as waiting:
        for run in reversed(runs):
            release(run, fail=run is runs[1])
        out, _ = waiting.communicate(timeout=20)
    assert waiting.returncode == 1, "one of them failed"
    assert [manifest["run_id"] for manifest in json.loads(out)] == ids(runs)
    assert [manifest["status"] for manifest in json.loads(out)] == ["succeeded", "failed", "succeeded"]


def test_waiting_for_any_returns_with_the_first(repo: Repo) -> None:
    runs = started(repo, 2)
    with repo.process("wait", "--any", *ids(runs), "--format", "json") as waiting:
        release(runs[1])
        out, _ = waiting.communicate(timeout=20)
    assert waiting.returncode == 0
    assert [manifest["phase"] for manifest in json.loads(out)] == ["running", "done"]
    release(runs[0])
    runs[0].wait()


def test_giving_up_leaves_the_run_alone(repo: Repo) -> None:
    (run,) = started(repo, 1)
    gave_up = run.ask("wait", "--timeout", "300ms")
    assert gave_up.status == 75
    assert gave_up.error["code"] == "gave_up_waiting"
    assert gave_up.error["retryable"] is True
    assert run.status()["status"] == "running"
    release(run)
    assert run.wait()["status"] == "succeeded"


def test_giving_up_on_two_of_which_one_is_done_is_giving_up(repo: Repo) -> None:
    runs = started(repo, 2)
    release(runs[0])
    runs[0].wait()
    gave_up = repo.cli("wait", *ids(runs), "--timeout", "400ms", "--format", "json", within=10)
    assert gave_up.status == 75
    assert runs[1].id in gave_up.error["message"]
    assert runs[0].id not in gave_up.error["message"]
    assert repo.cli("wait", "--any", *ids(runs), "--timeout", "400ms", within=10).status == 0
    release(runs[1])
    runs[1].wait()


def test_it_returns_soon_after_the_end(repo: Repo) -> None:
    (run,) = started(repo, 1)
    with repo.process("wait", run.id) as waiting:
        release(run)
        wait_until(lambda: run.on_disk()["phase"] == "done")
        before = monotonic()
        waiting.communicate(timeout=20)
    assert monotonic() - before < 1.0


def test_ctrl_c_while_waiting_detaches_and_the_run_goes_on(repo: Repo) -> None:
    repo.codex(PER_RUN)
    repo.task()
    start, as_json = ("start", "--task", "work"), ("--format", "json")
    for words in (
        (*start, "--wait"),
        (*start, "--follow"),
        (*start, "--wait", *as_json),
        (*start, "--follow", *as_json),
    ):
        known = set(ids(repo.runs()))
        with repo.process(*words) as process:
            run = wait_until(lambda known=known: next((r for r in repo.runs() if r.id not in known), None))
            wait_until(repo.note(f"begun-{run.id}").exists)
            wait_until(lambda run=run: run.on_disk()["phase"] == "running")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        assert process.returncode == 130, err
        assert run.status()["status"] == "running"
        assert b"Traceback" not in err
        # The run can be seen to run a moment before the command that has begun it knows that.
        ways = (f"runner logs {run.id[20:24]} -f", f"`runner cancel {run.id}` ends the run that was begun")
        if b"error" in out[:10]:  # nothing was printed before, so there is one document
            told = json.loads(out)["error"]
            assert told["code"] == "interrupted" and any(way in told["message"] for way in ways)
            assert "json" in words
        else:  # what was printed before stays all that there is on stdout
            assert any(way in err.decode() for way in ways), err
            assert "--wait" not in words or "json" not in words
            assert all("error" not in json.loads(line) for line in out.splitlines() if "json" in words)
        release(run)
        assert run.wait()["status"] == "succeeded"


def test_ctrl_c_of_the_whole_terminal_does_not_reach_the_run(repo: Repo) -> None:
    """A terminal signals the foreground group: neither child nor supervisor may be in it."""
    repo.codex(PER_RUN)
    repo.task()
    script = f'"{RUNNER}" start --task work --wait & wait'
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=repo.root,
        env=repo.env,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as shell:
        run = wait_until(lambda: next(iter(repo.runs()), None))
        wait_until(repo.note(f"begun-{run.id}").exists)
        run.status()
        shell_group = shell.pid
        assert run.child().group != shell_group
        assert run.supervisor().group != shell_group
        os.killpg(shell_group, signal.SIGTERM)
        shell.communicate(timeout=20)
    assert run.status()["status"] == "running"
    release(run)
    assert run.wait()["status"] == "succeeded"


def test_a_waiter_outlives_successors_that_are_killed_before_they_have_looked(repo: Repo) -> None:
    """Whoever hands a run over may find that its new owner was killed at once: it hands it over again."""
    (run,) = started(repo, 1)
    with repo.process("wait", run.id, "--format", "json") as waiting:
        for _ in range(2):
            owner = run.supervisor()
            killed = {owner.pid}
            kill(owner)
            successor = wait_until(
                lambda killed=killed: next(successors(run, killed), None), what="a successor"
            )
            kill(successor)
            killed.add(successor.pid)
            wait_until(lambda killed=killed: is_owned(run, killed), what="an owner that stays")
        release(run)
        waiting.communicate(timeout=20)
    assert waiting.returncode == 0


def successors(run: Run, known: set[int]) -> Iterator[Seen]:
    """Supervisors of the run as soon as they are there."""
    words = ("/supervise/__main__.py", str(run.folder))
    for process in processes.every_process():
        if process.pid not in known and all(any(word in one for one in process.words) for word in words):
            yield process


def is_owned(run: Run, known: set[int]) -> bool:
    supervisor = run.on_disk()["supervisor"]["pid"]
    return supervisor not in known and processes.look(supervisor) is not None


def test_a_waiter_outlives_the_supervisor(repo: Repo) -> None:
    (run,) = started(repo, 1)
    with repo.process("wait", run.id, "--format", "json") as waiting:
        for _ in range(2):
            owner = run.supervisor()
            kill(owner)
            wait_until(
                lambda owner=owner: run.on_disk()["supervisor"]["pid"] != owner.pid, what="a new owner"
            )
        release(run)
        out, _ = waiting.communicate(timeout=20)
    assert waiting.returncode == 0
    assert json.loads(out)["status"] == "succeeded"


def test_ten_waiters_get_one_answer(repo: Repo) -> None:
    (run,) = started(repo, 1)
    waiting = [
        subprocess.Popen(
            [str(RUNNER), "wait", run.id, "--format", "json"],
            cwd=repo.root,
            env=repo.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(10)
    ]
    run.kill_supervisor()
    release(run)
    answers = [process.communicate(timeout=30)[0] for process in waiting]
    assert {process.returncode for process in waiting} == {0}
    assert len(set(answers)) == 1
    assert len(run.events("ended")) == 1


def test_the_list_has_what_is_running_and_all_has_everything(repo: Repo) -> None:
    first, second = started(repo, 2)
    assert [row["run_id"] for row in repo.json("list")] == [second.id, first.id]
    release(first)
    first.wait()
    assert [row["run_id"] for row in repo.json("list")] == [second.id]
    assert [row["status"] for row in repo.json("list", "--all")] == ["running", "succeeded"]
    assert repo.json("list", "--all", "--task", "other") == []
    release(second)
    second.wait()
    assert repo.json("list") == []


def test_the_list_reconciles_what_nobody_owns(repo: Repo) -> None:
    (run,) = started(repo, 1)
    child = run.child()
    run.kill_supervisor()
    kill(child)
    wait_until(lambda: not child.is_still_there())
    assert repo.json("list") == []
    assert [row["status"] for row in repo.json("list", "--all")] == ["lost"]


def test_reaping_takes_over_or_ends_what_nobody_owns_and_leaves_the_rest(repo: Repo) -> None:
    owned, orphaned, dead = started(repo, 3)
    owner = owned.supervisor()
    child = dead.child()
    dead.kill_supervisor()
    orphaned.kill_supervisor()
    kill(child)
    wait_until(lambda: not child.is_still_there())
    rows = {row["run_id"]: row["status"] for row in repo.json("reap")}
    assert rows == {orphaned.id: "running", dead.id: "lost"}
    assert repo.json("reap") == []
    assert owned.supervisor().pid == owner.pid
    for run in (owned, orphaned):
        release(run)
        assert run.wait()["status"] == "succeeded"


def test_cleaning_never_removes_what_lives(repo: Repo) -> None:
    running, paused, orphaned, done = started(repo, 4)
    paused.told("pause")
    orphaned.kill_supervisor()
    release(done)
    done.wait()
    wait_until(lambda: done.events("sealed"))
    wait_until(lambda: not done.everything())
    assert [row["run_id"] for row in repo.json("clean", "--older-than", "0", "--dry-run")] == [done.id]
    assert done.folder.exists()
    assert repo.json("clean") == [], "not yet seven days old"
    assert [row["run_id"] for row in repo.json("clean", "--older-than", "0")] == [done.id]
    assert not done.folder.exists()
    for run in (running, paused, orphaned):
        assert run.folder.exists()
        assert run.told("cancel")["status"] == "cancelled"


def test_a_run_whose_owner_was_killed_over_its_end_is_sealed_and_told_of_before_it_is_removed(
    repo: Repo,
) -> None:
    (run,) = started(repo, 1)
    ledger = repo.runs_folder / "work" / "ledger.jsonl"
    wait_until(ledger.exists, what="what tells that it has begun")
    with open(ledger.parent / ".ledger.lock", "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        release(run)
        assert run.wait()["status"] == "succeeded"
        run.kill_supervisor()
    before = ledger.read_bytes()
    assert [row["run_id"] for row in repo.json("clean", "--older-than", "0", "--dry-run")] == [run.id]
    assert ledger.read_bytes() == before and (run.folder / "control" / "wake").exists()
    wait_until(lambda: repo.json("clean", "--older-than", "0"), what="its removal")
    assert not run.folder.exists()
    told = [json.loads(line)["type"] for line in ledger.read_text().splitlines()]
    assert told.count("run_ended") == 1


def test_cleaning_does_not_follow_links_out_of_the_folder(repo: Repo, tmp_path) -> None:
    (run,) = started(repo, 1)
    release(run)
    run.wait()
    wait_until(lambda: not run.everything())
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "gold").write_text("gold")
    (run.folder / "questions" / "link").symlink_to(treasure)
    repo.json("clean", "--older-than", "0")
    assert not run.folder.exists()
    assert (treasure / "gold").read_text() == "gold"


def test_an_unknown_run_is_answered_with_a_near_one_and_an_ambiguous_one_with_all(repo: Repo) -> None:
    runs = started(repo, 2)
    for run in runs:
        release(run)
        run.wait()
    assert repo.cli("status", "wrok").status == 4
    assert repo.cli("status", "20", "--format", "json").error["code"] == "conflict"
    assert repo.json("status", runs[0].id[:-1] if runs[0].id[:-1] != runs[1].id[:-1] else runs[0].id)
    assert repo.json("status", "@latest")["run_id"] == runs[1].id
    assert repo.json("status", "work")["run_id"] == runs[1].id
