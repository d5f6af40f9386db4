"""The supervisor is killed: no byte is lost, the next look takes over or writes the end, nobody guesses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import processes
from support.doubles import FINISHED, THREAD, said
from support.processes import Seen, kill
from support.repo import RUNNER, Repo, Run
from support.waiting import wait_until

SECRET = "hunter2-correct-horse-battery"


def test_the_next_look_takes_over_and_the_run_ends_as_it_would_have(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    child, first = run.child(), run.supervisor()
    run.kill_supervisor()
    assert child.is_still_there()
    manifest = run.status()
    assert manifest["status"] == "running"
    assert run.supervisor().pid != first.pid
    assert run.supervisor().is_still_there()
    repo.open_gate()
    ended = run.wait()
    assert ended["status"] == "succeeded", "its stream says that the turn was completed"
    assert ended["exit_code"] is None, "nobody was its parent, so nobody saw the status"
    assert ended["last_message"] == "done"
    assert [event["seq"] for event in run.events()] == list(range(1, len(run.events()) + 1))


def test_a_child_that_ended_meanwhile_is_judged_by_its_stream(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    child = run.child()
    run.kill_supervisor()
    repo.open_gate()
    wait_until(lambda: not child.is_still_there())
    ended = run.status()
    assert ended["status"] == "succeeded"
    assert ended["exit_code"] is None
    assert ended["signal"] is None
    assert ended["usage"]["input_tokens"] == 10


def test_a_stream_that_does_not_tell_is_lost_and_not_guessed(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    child = run.child()
    run.kill_supervisor()
    kill(child)
    wait_until(lambda: not child.is_still_there())
    ended = run.status()
    assert ended["status"] == "lost"
    assert ended["reason"]["code"] == "lost"
    assert ended["exit_code"] is None


def test_its_orphans_are_ended_although_their_parent_and_owner_are_gone(repo: Repo) -> None:
    repo.waiting_codex(
        before="""setsid bash -c 'echo $$ > "$HOME/orphan"; while :; do sleep 0.1; done' &\n"""
    )
    run = repo.task().start()
    orphan = repo.pid_in("orphan")
    repo.begun()
    child = run.child()
    run.kill_supervisor()
    kill(child)
    wait_until(lambda: not child.is_still_there())
    assert orphan.is_still_there()
    assert run.status()["phase"] == "done"
    assert not orphan.is_still_there()


def test_pause_resume_and_cancel_work_under_the_new_owner(repo: Repo) -> None:
    repo.waiting_codex(before="( while :; do sleep 0.1; done ) &\n")
    run = repo.task().start()
    repo.begun()
    run.kill_supervisor()
    assert run.told("pause")["status"] == "paused"
    assert all(process.is_stopped for process in run.tree())
    run.kill_supervisor()
    assert run.status()["status"] == "paused"
    assert run.told("resume")["status"] == "running"
    run.kill_supervisor()
    ended = run.told("cancel")
    assert ended["status"] == "cancelled"
    assert ended["survivors"] == []
    assert run.tree() == []


def test_time_paused_under_a_former_owner_counts_in_no_limit(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task('timeout = "1500ms"').start()
    repo.begun()
    run.told("pause")
    run.kill_supervisor()
    assert run.ask("wait", "--timeout", "2s").status == 75
    assert run.told("resume")["status"] == "running"
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_a_pause_is_carried_out_although_its_owner_dies_over_it(repo: Repo) -> None:
    """The pause says either that it is true or that it is not, and stays with what it said."""
    repo.waiting_codex(before="for n in $(seq 30); do sleep 60 & done\n")
    run = repo.task().start()
    repo.begun()
    for delay_s in (0.0, 0.005, 0.01, 0.02, 0.04):
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(run.ask, "pause")
            wait_until(lambda asked=asked: asked.done() or list((run.folder / "control").glob("intent-*")))
            threading.Event().wait(delay_s)
            run.kill_supervisor()
            answer = asked.result(timeout=30)
        assert answer.status == 0, answer.stdout
        assert run.status()["status"] == "paused"
        assert all(process.is_stopped for process in run.tree())
        assert run.told("resume")["status"] == "running"
    run.told("cancel")


def test_a_stop_that_was_under_way_is_finished(repo: Repo) -> None:
    repo.waiting_codex(before="trap '' INT TERM\n")
    run = repo.task('grace = "2s"').start()
    repo.begun()
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(run.ask, "cancel")
        wait_until(lambda: run.on_disk()["phase"] == "stopping")
        run.kill_supervisor()
        answer = asked.result(timeout=30)
    assert answer.status == 0
    assert answer.json()["status"] == "cancelled"
    assert run.tree() == []


def test_killed_before_the_child_has_written_anything(repo: Repo) -> None:
    repo.codex(
        f'touch "$HOME/begun"; until [ -e "$HOME/gate" ]; do sleep 0.02; done\n{THREAD}{said("x")}{FINISHED}'
    )
    run = repo.task().start()
    repo.begun()
    run.kill_supervisor()
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def test_killed_during_the_checks_they_are_run_again_and_nothing_is_left_of_the_first(repo: Repo) -> None:
    repo.quick_codex()
    check = (
        'echo $$ >> "$HOME/checks"; echo $$ > "$HOME/check"; until [ -e "$HOME/gate" ]; do sleep 0.05; done'
    )
    run = repo.task(f"verify = [['bash', '-c', '{check}']]").start()
    first = repo.pid_in("check")
    run.kill_supervisor()
    assert first.is_still_there()
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(run.wait)
        wait_until(lambda: len(repo.note("checks").read_text().split()) == 2, what="the second check")
        assert not first.is_still_there(), "never two of them at once"
        repo.open_gate()
        ended = asked.result(timeout=30)
    assert ended["status"] == "succeeded"
    assert ended["exit_code"] == 0, "that was seen before the first owner died"


def test_the_checks_of_a_new_owner_get_the_environment_of_the_run(repo: Repo) -> None:
    """Not that of whoever happened to look."""
    repo.waiting_codex()
    run = repo.task("""verify = [["bash", "-c", "env > $HOME/environment"]]""").start()
    repo.begun()
    run.kill_supervisor()
    repo.json("status", run.id, env={"CANARY": "must not pass", "LANG": "de_DE.UTF-8"})
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"
    environment = repo.note("environment").read_text()
    assert "CANARY" not in environment
    assert "LANG=C.UTF-8" in environment


def keyed(repo: Repo, *lines: str) -> Repo:
    return repo.task(*lines, more='[runtimes.codex]\nenv = ["SERVICE_WORD"]\n')


def test_a_secret_is_sealed_by_an_owner_that_never_got_it(repo: Repo) -> None:
    """Whoever looks does not have it in the environment; the living child has."""
    repo.waiting_codex(before='echo "{\\"type\\":\\"error\\",\\"message\\":\\"word is $SERVICE_WORD\\"}"\n')
    run = keyed(repo).start(env={"SERVICE_WORD": SECRET})
    repo.begun()
    run.kill_supervisor()
    run.status()
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"
    wait_until(lambda: run.events("sealed"))
    for path in run.folder.rglob("*"):
        if path.is_file():
            assert SECRET not in path.read_text(errors="replace"), path


def test_killed_while_it_seals_another_one_finishes_it(repo: Repo) -> None:
    big = "head -c 60000000 /dev/zero | tr '\\0' x | fold -w 1000\n"
    repo.waiting_codex(before=f'echo "word is $SERVICE_WORD" >&2\n{big}')
    run = keyed(repo).start(env={"SERVICE_WORD": SECRET})
    repo.begun(30)
    supervisor = run.supervisor()
    repo.open_gate()
    wait_until(lambda: run.on_disk()["phase"] == "done", 30)
    kill(supervisor)
    wait_until(lambda: not supervisor.is_still_there())
    if run.events("sealed"):
        pytest.skip("it was faster than we are")
    run.repo.json("status", run.id, env={"SERVICE_WORD": SECRET})
    wait_until(lambda: run.events("sealed"), 30)
    assert SECRET not in run.file("stderr.log")
    assert not (run.folder / "control" / "wake").exists()


def test_at_any_moment_around_the_end_there_is_one_truth(repo: Repo) -> None:
    """Killed 0 to 60 ms after the child was told to end; each run ends well and says so once."""
    repo.waiting_codex(before='rm -f "$HOME/gate"')
    repo.task()
    for delay_ms in (0, 5, 10, 20, 30, 45, 60):
        repo.note("begun").unlink(missing_ok=True)
        run = repo.start()
        repo.begun()
        supervisor = run.supervisor()
        repo.open_gate()
        threading.Event().wait(delay_ms / 1000)
        kill(supervisor)
        ended = run.wait()
        assert ended["status"] == "succeeded", (delay_ms, ended)
        assert ended["exit_code"] in (0, None)
        assert ended["last_message"] == "done"
        assert len(run.events("ended")) == 1, (delay_ms, run.events())
        repo.note("gate").unlink()


def test_ten_looks_at_once_after_its_death_give_one_owner(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    run.kill_supervisor()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: run.status(), range(10)))
    assert {answer["status"] for answer in answers} == {"running"}
    owners = {(answer["supervisor"]["pid"], answer["supervisor"]["start_time"]) for answer in answers}
    assert len(owners) == 1, owners
    alive = [p for p in processes.every_process() if str(run.folder) in p.words]
    assert len(alive) == 1
    assert len(run.events("adopted")) == 1
    run.told("cancel")


def test_output_written_while_nobody_owned_it_is_all_there(repo: Repo) -> None:
    lines = 'for n in $(seq 2000); do echo "{\\"type\\":\\"tick\\",\\"n\\":$n}"; done'
    repo.codex(
        f'cat > /dev/null\n{THREAD}touch "$HOME/begun"\nuntil [ -e "$HOME/gate" ]; do sleep 0.02; done\n'
        f"{lines}\n{said('all there')}{FINISHED}"
    )
    run = repo.task().start()
    repo.begun()
    child = run.child()
    run.kill_supervisor()
    repo.open_gate()
    wait_until(lambda: not child.is_still_there())
    ended = run.wait()
    assert ended["last_message"] == "all there"
    ticks = [json.loads(line)["n"] for line in run.file("stdout.jsonl").splitlines() if '"tick"' in line]
    assert ticks == list(range(1, 2001))


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"boot_id": "00000000-0000-0000-0000-000000000000"},
        {"host": "container-a", "namespace": 1},
        {"host": "container-a", "namespace": None},
    ],
    ids=["boot", "container", "older"],
)
def test_what_cannot_be_seen_from_here_is_lost_and_nobody_is_signalled(
    repo: Repo, elsewhere: dict[str, object]
) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    child = run.child()
    run.kill_supervisor()
    for name in ("process", "supervisor"):
        run.edit(**{name: {**run.on_disk()[name], **elsewhere}})
    ended = run.status()
    assert ended["status"] == "lost"
    assert "restarted" in ended["reason"]["message"]
    assert child.is_still_there(), "a process of this boot is not the one of another"
    repo.open_gate()
    wait_until(lambda: not child.is_still_there())


def test_a_machine_that_got_another_name_still_has_its_runs(repo: Repo) -> None:
    """A record of before has the name of before: one run is paused and ended, the other taken over."""
    repo.waiting_codex()
    run, other = repo.task().start(), repo.start()
    repo.begun()
    for one in (run, other):
        for name in ("process", "supervisor"):
            one.edit(**{name: {**one.on_disk()[name], "host": "a-name-of-before"}})
    child = other.child()
    run.kill_supervisor()
    other.kill_supervisor()
    kill(child)
    wait_until(lambda: not child.is_still_there())
    assert run.status()["status"] == "running"
    assert run.told("pause")["status"] == "paused"
    run.told("resume")
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"
    assert "restarted" not in other.status()["reason"]["message"]
    assert other.status()["status"] == "lost"


def test_a_number_that_was_reused_is_never_signalled(repo: Repo) -> None:
    """The recorded pid belongs to somebody else now, who leads a session with the same number."""
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    child = run.child()
    run.kill_supervisor()
    kill(child)
    wait_until(lambda: not run.tree() or all(p.words[:1] == ("sleep",) for p in run.tree()))
    with subprocess.Popen(
        ["bash", "-c", "sleep 300 & sleep 300 & wait"],
        env={"PATH": os.environ["PATH"]},
        start_new_session=True,
    ) as stranger:
        family = wait_until(lambda: [p for p in processes.below(stranger.pid) if p.words[:1] == ("sleep",)])
        seen = processes.look(stranger.pid)
        assert seen is not None
        try:
            reused = {**run.on_disk()["process"], "pid": seen.pid, "start_time": seen.start_time - 100}
            run.edit(process=reused)
            assert run.status()["status"] == "lost"
            assert run.told("cancel")["status"] == "lost"
            assert stranger.poll() is None
            assert all(process.is_still_there() for process in family)
        finally:
            os.killpg(stranger.pid, signal.SIGKILL)


def test_a_manifest_that_was_never_written_is_made_from_the_invocation(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    (run.folder / "manifest.json").unlink()
    assert run.status()["status"] == "running", "its owner writes it again"
    run.kill_supervisor()
    (run.folder / "manifest.json").unlink()
    assert run.status()["status"] == "running", "and so does the next one"
    repo.open_gate()
    assert run.wait()["status"] == "succeeded"


def kill_the_start(repo: Repo, delay_s: float) -> None:
    with repo.process("start", "--task", "work") as process:
        threading.Event().wait(delay_s)
        process.kill()
        process.wait()


def settled(run: Run) -> bool:
    """Also where it was killed before the manifest was there: whoever looks has it made."""
    return bool(run.status()["phase"] == "done")


def test_a_start_that_is_killed_at_any_moment_gives_no_run_or_a_whole_one(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    assert repo.start().wait()["status"] == "succeeded"
    for n in range(16):
        kill_the_start(repo, 0.01 + n * 0.01)
    for run in repo.runs():
        if (run.folder / "invocation.json").exists():
            wait_until(lambda run=run: settled(run))
            assert run.status()["status"] in ("succeeded", "failed")
            if run.status()["status"] == "failed":
                assert run.status()["reason"]["code"] == "never_started"
    assert repo.json("list") == []
    rows = repo.json("list", "--all")
    assert {row["status"] for row in rows} <= {"succeeded", "failed"}
    for run in repo.runs():
        os.utime(run.folder, (0, 0))
    repo.json("clean", "--older-than", "0")
    assert repo.no_runs(), "and what never became a run does not stay for ever"


def test_an_end_that_was_told_to_the_events_is_the_end(repo: Repo) -> None:
    """Killed between the last event and the last manifest: the next owner does not judge again."""
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    child = run.child()
    run.kill_supervisor()
    repo.open_gate()
    wait_until(lambda: not child.is_still_there())
    reason = {"code": "verify_failed", "message": "the check failed"}
    told = {"seq": len(run.events()) + 1, "type": "ended", "outcome": "rejected", "reason": reason}
    with (run.folder / "events.jsonl").open("a") as file:
        file.write(
            json.dumps({"schema_version": 1, "at": "2026-01-01T00:00:00.000Z", "actor": "supervisor", **told})
            + "\n"
        )
    waited = run.ask("wait")
    assert waited.status == 6
    assert waited.json()["reason"]["message"] == "the check failed"
    assert len(run.events("ended")) == 1


def catch_the_owner(repo: Repo, starting: subprocess.Popen[bytes]) -> Seen | None:
    """The process that `runner start` forks, before it becomes the supervisor by exec a few ms later.

    Of this repository: other tests start runs with the same words at the same time.
    """
    words = ("start", "--task", "work", "--format", "json")
    while starting.poll() is None:
        for process in processes.of_folder(repo.base):
            if process.pid != starting.pid and process.words[-5:] == words:
                return process
    return None


def test_an_owner_that_is_killed_before_it_is_one_leaves_no_riddle(repo: Repo) -> None:
    """Between the fork and the exec it makes the files, starts the child and writes down who that is."""
    waits = 'until [ -e "$HOME/go" ]; do sleep 0.01; done'
    repo.quick_codex(before=f'echo "$RUNNER_RUN_ID" >> "$HOME/ran"; {waits}')
    repo.task()
    repo.note("go").touch()
    repo.start().wait()
    for delay_ms in (0, 0.5, 1, 1.5, 2, 3, 4, 6):
        known = {run.id for run in repo.runs()}
        repo.note("go").unlink()
        with repo.process("start", "--task", "work", "--format", "json") as starting:
            owner = catch_the_owner(repo, starting)
            threading.Event().wait(delay_ms / 1000)
            if owner is not None:
                kill(owner)
            repo.note("go").touch()
            starting.communicate(timeout=20)
        for run in repo.runs():
            if run.id not in known:
                ended = run.wait()
                has_run = run.id in repo.note("ran").read_text()
                assert ended["status"] in ("succeeded", "lost", "failed"), (delay_ms, ended)
                assert has_run or ended["status"] != "succeeded"
                assert not has_run or ended["status"] != "failed", (delay_ms, ended["reason"])
                wait_until(lambda run=run: not run.everything(), what="nothing of it alive")
    assert repo.json("list") == []


def test_ctrl_c_at_any_moment_of_a_start_gives_no_run_or_a_whole_one(repo: Repo) -> None:
    repo.quick_codex()
    repo.task()
    repo.start().wait()
    for delay_ms in range(10, 170, 10):
        with subprocess.Popen(
            [str(RUNNER), "start", "--task", "work"],
            cwd=repo.root,
            env=repo.env,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as starting:
            threading.Event().wait(delay_ms / 1000)
            os.killpg(starting.pid, signal.SIGINT)
            _, err = starting.communicate(timeout=20)
        if b"Fatal Python error" not in err:  # the interpreter itself was not yet there
            assert starting.returncode in (0, 130, -signal.SIGINT), (delay_ms, err)
    for run in repo.runs():
        if (run.folder / "invocation.json").exists():
            assert run.wait()["status"] in ("succeeded", "failed")
    assert repo.json("list") == []
