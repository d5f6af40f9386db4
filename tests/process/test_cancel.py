"""Cancel: in every phase, against every kind of child; afterwards nothing of the run is alive."""

from __future__ import annotations

import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest
from support.doubles import FINISHED, THREAD, said
from support.processes import held, look
from support.repo import RUNNER, Repo, Run
from support.waiting import wait_until

DEAF = "trap '' INT TERM\n"
DAEMON = """
( setsid bash -c '
    trap "" INT TERM HUP
    ( trap "" INT TERM HUP; echo $BASHPID > "$HOME/daemon"; while :; do sleep 0.2; done ) &
' & ) < /dev/null > /dev/null 2>&1
until [ -s "$HOME/daemon" ]; do sleep 0.02; done
"""


def assert_cancelled(run: Run, manifest: dict) -> None:
    """What the manifest says, and that our own look at /proc says the same."""
    assert manifest["status"] == "cancelled"
    assert manifest["phase"] == "done"
    assert manifest["reason"]["code"] == "cancelled"
    assert manifest["survivors"] == []
    assert run.tree() == []
    assert manifest["ended_at"] is not None


def test_a_running_run_is_cancelled_and_nothing_of_it_is_left(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    manifest = run.told("cancel", "--reason", "not needed")
    assert_cancelled(run, manifest)
    assert "not needed" in manifest["reason"]["message"]
    assert manifest["thread_id"] == "01a1f828-a6fe-7db1-be08-71550d19d0b3"


def test_a_child_that_ends_well_on_sigint_is_cancelled_and_its_true_exit_is_recorded(repo: Repo) -> None:
    repo.codex(
        f"""cat > /dev/null
{THREAD}
finish() {{
{said("done")}{FINISHED}
exit 0
}}
trap finish INT
touch "$HOME/begun"
while :; do sleep 0.05; done
"""
    )
    run = repo.task().start()
    repo.begun()
    manifest = run.told("cancel")
    assert_cancelled(run, manifest)
    assert manifest["exit_code"] == 0
    assert manifest["last_message"] == "done"


def test_a_child_that_ignores_int_and_term_is_killed(repo: Repo) -> None:
    repo.waiting_codex(before=DEAF)
    run = repo.task('grace = "300ms"').start()
    repo.begun()
    manifest = run.told("cancel")
    assert_cancelled(run, manifest)
    assert manifest["signal"] == 9


def test_grace_zero_kills_at_once(repo: Repo) -> None:
    repo.waiting_codex(before=DEAF)
    run = repo.task('grace = "1m"').start()
    repo.begun()
    before = monotonic()
    manifest = run.told("cancel", "--grace", "0")
    assert_cancelled(run, manifest)
    assert monotonic() - before < 5


def test_a_second_cancel_ends_the_patience_of_the_first(repo: Repo) -> None:
    repo.waiting_codex(before=DEAF)
    run = repo.task('grace = "1m"').start()
    repo.begun()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(run.told, "cancel")
        wait_until(lambda: run.on_disk()["phase"] == "stopping", what="the first cancel's stop")
        second = pool.submit(run.told, "cancel", "--grace", "0")
        assert_cancelled(run, second.result(timeout=20))
        assert_cancelled(run, first.result(timeout=20))


def test_a_cancel_without_patience_ends_the_patience_of_a_limit(repo: Repo) -> None:
    """The stop is under way because of a limit: somebody who says `--grace 0` is heard all the same."""
    repo.waiting_codex(before=DEAF)
    run = repo.task('grace = "1m"', 'timeout = "300ms"').start()
    wait_until(lambda: run.on_disk()["phase"] == "stopping", what="the limit's stop")
    before = monotonic()
    manifest = run.told("cancel", "--grace", "0")
    assert monotonic() - before < 10
    assert manifest["phase"] == "done"
    assert run.tree() == []


@pytest.mark.parametrize("how", ["taken away", "replaced"])
def test_a_run_whose_lock_file_was_tampered_with_keeps_its_owner(repo: Repo, how: str) -> None:
    """The lock says that a run has an owner, and so does the owner: it is not gone, and gets no second."""
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    owner = run.supervisor()
    (run.folder / "run.lock").unlink()
    if how == "replaced":
        (run.folder / "run.lock").touch()
    assert run.status()["status"] == "running"
    assert [row["run_id"] for row in repo.json("list")] == [run.id]
    assert run.told("pause")["status"] == "paused"
    assert run.told("resume")["status"] == "running"
    assert run.supervisor().pid == owner.pid
    assert run.events("adopted") == []
    assert_cancelled(run, run.told("cancel"))


def test_a_cancel_that_gives_up_on_a_supervisor_in_a_debugger_says_that_the_request_stays(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    with held(run.supervisor()):
        gave_up = run.ask("cancel", "--grace", "0", within=60)
    assert gave_up.status == 75
    assert "the request stays" in gave_up.error["hint"]
    assert_cancelled(run, run.wait())


def test_five_cancels_at_once_have_one_answer(repo: Repo) -> None:
    repo.waiting_codex()
    run = repo.task().start()
    repo.begun()
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: run.told("cancel"), range(5)))
    for manifest in answers:
        assert_cancelled(run, manifest)
    assert len(run.events("ended")) == 1


def test_a_stubborn_grandchild_in_its_own_session_that_holds_stdout_is_ended(repo: Repo) -> None:
    repo.waiting_codex(
        before="""setsid bash -c 'trap "" INT TERM; echo $BASHPID > "$HOME/grandchild"; """
        """while :; do sleep 0.2; done' &\n"""
    )
    run = repo.task('grace = "300ms"').start()
    grandchild = repo.pid_in("grandchild")
    repo.begun()
    assert_cancelled(run, run.told("cancel"))
    assert not grandchild.is_still_there()


def test_a_daemon_that_forked_twice_into_its_own_session_is_ended(repo: Repo) -> None:
    repo.waiting_codex(before=DAEMON)
    run = repo.task('grace = "300ms"').start()
    daemon = repo.pid_in("daemon")
    repo.begun()
    assert_cancelled(run, run.told("cancel"))
    assert not daemon.is_still_there()


def test_a_daemon_that_cleaned_its_environment_is_ended_too(repo: Repo) -> None:
    """No marker, no session, no parent: only the subreaper still knows it."""
    repo.waiting_codex(before=DAEMON.replace("setsid bash", "setsid env -i HOME=$HOME bash"))
    run = repo.task('grace = "300ms"').start()
    daemon = repo.pid_in("daemon")
    repo.begun()
    run.told("cancel")
    assert not daemon.is_still_there()


def test_a_child_that_forks_while_it_is_being_cancelled_does_not_escape(repo: Repo) -> None:
    repo.waiting_codex(
        before="""
breed() { trap '' INT TERM; while :; do ( trap '' INT TERM; sleep 1 ) & sleep 0.01; done; }
breed & breed &
"""
    )
    run = repo.task('grace = "300ms"').start()
    repo.begun()
    assert_cancelled(run, run.told("cancel"))


def test_a_paused_run_is_cancelled(repo: Repo) -> None:
    repo.waiting_codex(before=DAEMON)
    run = repo.task('grace = "300ms"').start()
    repo.begun()
    run.told("pause")
    manifest = run.told("cancel")
    assert_cancelled(run, manifest)
    assert manifest["paused_seconds"] > 0
    assert manifest["paused_at"] is None


def test_a_run_that_is_verified_is_cancelled_and_its_check_is_ended(repo: Repo) -> None:
    repo.quick_codex()
    check = 'trap "" INT TERM; echo $$ > "$HOME/check"; while :; do sleep 0.1; done'
    run = repo.task(f"verify = [['bash', '-c', '{check}']]").start()
    check = repo.pid_in("check")
    assert run.on_disk()["phase"] == "verifying"
    manifest = run.told("cancel", "--reason", "lunch")
    assert_cancelled(run, manifest)
    assert manifest["exit_code"] == 0
    assert manifest["reason"]["message"] == "cancelled by user while it was being verified: lunch"
    assert not check.is_still_there()


def test_who_cancels_between_attempts_is_named(repo: Repo) -> None:
    failed = """{"type":"turn.failed","error":{"message":"unexpected status 503"}}"""
    repo.codex(f"cat > /dev/null\n{THREAD}echo '{failed}'; exit 1")
    run = repo.task("retries = 1", more='[recovery]\nbackoff = "1h"\nbackoff_max = "1h"\n').start()
    wait_until(lambda: run.events("backing_off"))
    manifest = run.told("cancel", "--reason", "lunch")
    told = "cancelled by user while waiting for its next attempt: lunch"
    assert (manifest["outcome"], manifest["reason"]["message"]) == ("cancelled", told)


def test_a_run_that_is_done_is_returned_as_it_is(repo: Repo) -> None:
    repo.quick_codex()
    run = repo.task().start()
    ended = run.wait()
    assert ended["status"] == "succeeded"
    before = run.file("manifest.json")
    assert run.told("cancel")["status"] == "succeeded"
    assert run.file("manifest.json") == before


def test_a_cancel_at_any_moment_of_the_start_ends_it(repo: Repo) -> None:
    """As early as the folder can be seen: the run may be queued, starting or running."""
    repo.waiting_codex()
    repo.task()
    with repo.process("start", "--task", "work", "--format", "json") as starting:
        run = wait_until(lambda: next(iter(repo.runs()), None), what="the folder")
        wait_until(lambda: (run.folder / "manifest.json").exists(), what="the manifest")
        manifest = run.told("cancel")
        assert_cancelled(run, manifest)
        starting.communicate(timeout=20)


def test_a_wish_that_nobody_was_there_to_hear_is_kept(repo: Repo) -> None:
    """The supervisor is dead when the cancel comes: another one takes over and ends the run."""
    repo.waiting_codex(before=DAEMON)
    run = repo.task('grace = "300ms"').start()
    repo.begun()
    run.kill_supervisor()
    manifest = run.told("cancel")
    assert_cancelled(run, manifest)
    assert manifest["exit_code"] is None, "nobody was its parent"


def test_the_child_of_another_run_is_not_ended_with_the_run_that_started_it(repo: Repo) -> None:
    """A run that is started from inside another has its own owner: only its manifest reaches it."""
    other = '[tasks.inner]\nprompt = "x"\nsandbox = "read-only"\ngrace = "1s"\n'
    repo.codex(
        f"""
prompt=$(cat)
{THREAD}
if [ "$prompt" = x ]; then touch "$HOME/inner"
else "{RUNNER}" start --task inner > /dev/null; touch "$HOME/begun"; fi
while :; do sleep 0.1; done
"""
    )
    outer = repo.task(more=other).start()
    repo.begun()
    wait_until((repo.home / "inner").exists, what="the inner run")
    inner = next(run for run in repo.runs() if run.task == "inner")
    assert_cancelled(outer, outer.told("cancel"))
    assert inner.status()["status"] == "running"
    assert inner.child().is_still_there()
    assert inner.supervisor().is_still_there()
    assert_cancelled(inner, inner.told("cancel"))


@pytest.mark.parametrize("moment", ["before the prompt was read", "after the first event"])
def test_a_child_that_is_silent_from_the_beginning_is_cancelled(repo: Repo, moment: str) -> None:
    first = THREAD if moment == "after the first event" else ""
    repo.codex(f'{first}touch "$HOME/begun"\nexec sleep 300')
    run = repo.task().start()
    repo.begun()
    child = run.child()
    assert_cancelled(run, run.told("cancel"))
    assert not child.is_still_there()


def test_a_child_that_writes_without_end_is_cancelled_in_time(repo: Repo) -> None:
    """The supervisor reads behind the child; it must not be so busy reading that it cannot listen."""
    repo.codex(f'cat > /dev/null\n{THREAD}touch "$HOME/begun"\nexec yes "not a line of JSON"')
    run = repo.task().start()
    repo.begun()
    wait_until(lambda: (run.folder / "stdout.jsonl").stat().st_size > 100_000_000, 60, "100 MB")
    before = monotonic()
    manifest = run.told("cancel", "--grace", "1s")
    assert_cancelled(run, manifest)
    assert monotonic() - before < 40


HALF_DEAD = """
import ctypes, os, signal, threading
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
def go_on():
    with open(os.environ["HOME"] + "/half", "w") as file:
        file.write(str(os.getpid()))
    threading.Event().wait()
threading.Thread(target=go_on).start()
ctypes.CDLL(None).syscall(60, 0)  # exit(2): this thread alone (x86-64)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of a system call")
@pytest.mark.parametrize("who", ["the child itself", "what it started"])
def test_a_process_whose_first_thread_has_ended_is_alive_and_is_ended(repo: Repo, who: str) -> None:
    """/proc calls it a zombie; its other threads go on."""
    program = repo.base / "half.py"
    program.write_text(HALF_DEAD)
    command = f'"{sys.executable}" -I "{program}"'
    if who == "the child itself":
        repo.codex(f"exec {command}")
    else:
        repo.waiting_codex(before=f"{command} &\n")
    run = repo.task('grace = "200ms"').start()
    half = repo.pid_in("half")
    wait_until(lambda: (seen := look(half.pid)) is not None and seen.state == "Z")
    ended = run.told("cancel")
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])
    assert look(half.pid) is None


def test_a_chain_of_short_lives_is_ended(repo: Repo) -> None:
    """Each link forks the next one and exits: whoever walks slowly never meets one."""
    repo.waiting_codex(before="comet() { sleep 0.005; comet & }\ncomet & comet & comet &\n")
    run = repo.task('grace = "200ms"').start()
    repo.begun()
    assert_cancelled(run, run.told("cancel"))
