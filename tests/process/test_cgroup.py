"""A run's control group: nothing leaves it, a pause freezes it, a stop kills it, and its end removes it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from support.doubles import FINISHED, THREAD, said
from support.processes import kill, look, signal_exactly
from support.repo import RUNNER, Repo, Run
from support.waiting import wait_until

from runner.processes import cgroup

PROBE = cgroup.make("probe")
if PROBE is not None:
    PROBE.remove()
needs_cgroup = pytest.mark.skipif(PROBE is None, reason="no control group can be made here")

LOST = """
(setsid env -i PATH="$PATH" bash -c 'echo $$ > "$1"; while :; do sleep 0.05; done' x "$HOME/lost" &)
until [ -s "$HOME/lost" ]; do sleep 0.02; done
"""


def group_of(run: Run) -> Path:
    return Path(run.on_disk()["cgroup"])


def pids(run: Run) -> set[int]:
    return set(map(int, (group_of(run) / "cgroup.procs").read_text().split()))


@needs_cgroup
def test_all_of_a_run_but_its_supervisor_is_in_its_group_until_it_ends(repo: Repo) -> None:
    repo.waiting_codex(before=LOST)
    run = repo.task().start()
    repo.begun()
    assert {repo.pid_in("lost").pid, run.child().pid} <= pids(run)
    assert run.supervisor().pid not in pids(run)
    group = group_of(run)
    repo.open_gate()
    ended = run.wait()
    assert (ended["status"], ended["survivors"], ended["proof"]) == ("succeeded", [], "proved")
    wait_until(lambda: not group.exists())


@needs_cgroup
def test_a_paused_run_stands_still_although_somebody_continues_it(repo: Repo) -> None:
    repo.waiting_codex(before=LOST)
    run = repo.task().start()
    repo.begun()
    lost = repo.pid_in("lost")
    run.told("pause")
    assert "frozen 1" in (group_of(run) / "cgroup.events").read_text()
    signal_exactly(lost, signal.SIGCONT)
    assert "frozen 1" in (group_of(run) / "cgroup.events").read_text()
    assert run.told("resume")["status"] == "running"
    assert "frozen 0" in (group_of(run) / "cgroup.events").read_text()
    assert run.told("cancel")["survivors"] == []


@needs_cgroup
@pytest.mark.parametrize("when", ["running", "paused"])
def test_the_next_owner_finds_the_group(repo: Repo, when: str) -> None:
    """Its orphan has neither parent nor session nor environment of the run."""
    repo.waiting_codex(before=LOST)
    run = repo.task().start()
    repo.begun()
    lost, group = repo.pid_in("lost"), group_of(run)
    if when == "paused":
        run.told("pause")
    run.kill_supervisor()
    ended = run.told("cancel")
    assert (ended["status"], ended["survivors"], ended["proof"]) == ("cancelled", [], "proved")
    assert not lost.is_still_there()
    wait_until(lambda: not group.exists())


@needs_cgroup
def test_an_orphan_that_only_the_group_knows_ends_with_a_run_whose_agent_ended_unseen(repo: Repo) -> None:
    repo.waiting_codex(before=LOST)
    run = repo.task().start()
    repo.begun()
    lost, root = repo.pid_in("lost"), run.child()
    run.kill_supervisor()
    kill(root)
    wait_until(lambda: not root.is_still_there())
    assert run.wait()["survivors"] == []
    assert not lost.is_still_there()


@needs_cgroup
def test_a_child_run_is_not_in_the_group_of_its_parent(repo: Repo) -> None:
    child = "[tasks.child]\nprompt = 'x'\nsandbox = 'read-only'\ngrace = '300ms'\ndelegation = false\n"
    repo.task("delegation = true", more=child)
    start = f'"{RUNNER}" start --task child --parent "$RUNNER_MANIFEST" > "$HOME/started" 2>&1'
    repo.waiting_codex(before=f'[[ "$RUNNER_MANIFEST" == */work/* ]] && {start}')
    parent = repo.start()
    repo.begun()
    below = wait_until(lambda: next((run for run in repo.runs() if run.task == "child"), None))
    wait_until(lambda: (below.folder / "manifest.json").exists() and below.on_disk()["phase"] == "running")
    supervisor = below.supervisor()
    assert group_of(below).parent == group_of(parent).parent
    assert not pids(parent) & {supervisor.pid, below.child().pid}
    parent.told("pause", "--only")
    assert below.told("pause")["status"] == "paused"
    assert parent.told("cancel", "--only")["survivors"] == []
    assert supervisor.is_still_there()
    below.told("cancel")


@needs_cgroup
def test_what_a_check_leaves_in_a_group_below_is_ended_with_it(repo: Repo) -> None:
    """A check is in no sandbox: as root it can make a group of its own inside that of the run."""
    repo.quick_codex()
    (repo.root / "check.sh").write_text(
        """
group=$(awk '$3 == "cgroup2"' /proc/self/mounts | cut -d' ' -f2)$(grep ^0:: /proc/self/cgroup | cut -c4-)
mkdir "$group/inner"
move='echo 0 > "$1/inner/cgroup.procs"; echo $$ > "$2"; exec sleep 300'
(setsid env -i bash -c "$move" x "$group" "$HOME/lost" &)
until [ -s "$HOME/lost" ]; do sleep 0.02; done
"""
    )
    run = repo.task('verify = [["bash", "check.sh"]]').start()
    ended = run.wait()
    assert (ended["status"], ended["survivors"]) == ("succeeded", [])
    assert look(int(repo.note("lost").read_text())) is None
    wait_until(lambda: not Path(ended["cgroup"]).exists())


@needs_cgroup
def test_what_had_to_be_killed_takes_neither_checks_nor_further_attempts_with_it(repo: Repo) -> None:
    deaf = """(setsid bash -c 'trap "" TERM; echo $$ > "$HOME/deaf"; while :; do sleep 0.05; done' &)
until [ -s "$HOME/deaf" ]; do sleep 0.02; done
echo >> "$HOME/tries"
"""
    repo.codex(f"cat > /dev/null\n{THREAD}{deaf}{said('done')}{FINISHED}")
    repo.task('verify = [["sh", "-c", "test $(wc -l < $HOME/tries) = 2"]]', "retries = 1", 'grace = "100ms"')
    ended = repo.start("--sandbox", "workspace-write").wait()
    assert (ended["status"], len(ended["attempts"]), ended["survivors"]) == ("succeeded", 2, [])


@needs_cgroup
def test_a_further_attempt_is_in_the_group_although_somebody_removed_it(repo: Repo) -> None:
    repo.codex(
        'cat > /dev/null\necho x >> "$HOME/tries"\n[ $(wc -l < "$HOME/tries") -gt 1 ] || exit 1\n'
        f'cat /proc/self/cgroup > "$HOME/where"\n{THREAD}{said("done")}{FINISHED}'
    )
    run = repo.task("retries = 1", more='[recovery]\nbackoff = "3s"').start()
    wait_until(lambda: run.events("backing_off"))
    cgroup.tidy()
    ended = run.wait()
    assert (ended["status"], ended["attempt"], ended["proof"]) == ("succeeded", 2, "proved")
    assert f"runner-run-{run.id}" in repo.note("where").read_text()


@needs_cgroup
@pytest.mark.parametrize("verb", ["reap", "clean"])
def test_reap_and_clean_remove_the_groups_that_nobody_removed(repo: Repo, verb: str) -> None:
    left = cgroup.make(f"20260101T000000000Z-{os.getpid():08x}")
    assert left is not None
    repo.quick_codex()
    run = repo.task().start()
    run.wait()
    assert repo.cli(verb).status == 0
    assert not os.path.exists(left.path)


@needs_cgroup
def test_a_start_that_fails_leaves_no_group(repo: Repo) -> None:
    program = repo.waiting_codex()
    repo.task()
    assert repo.cli("resolve", "--task", "work").status == 0  # what it says of its version is known now
    body = program.read_text().split("\n", 1)[1]
    before = program.stat()
    program.write_text("#!/nowhere/at/all\n" + body)
    os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert repo.cli("start", "--task", "work").status != 0
    for run in repo.runs():
        assert not list(Path(cgroup._above() or "/nowhere").glob(f"*{run.id}"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_who_may_make_no_group_does_without_one() -> None:
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(65534)
            cgroup.leave()
            cgroup.tidy()
            os._exit(0 if cgroup.make("x") is None else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_manifest_cannot_name_another_group(tmp_path: Path) -> None:
    run_id = "20260101T000000000Z-00000000"
    for path in ("/", "/sys/fs/cgroup", str(tmp_path / f"runner-run-{run_id}"), "/sys/fs/cgroup/init.scope"):
        Path(tmp_path / f"runner-run-{run_id}").mkdir(exist_ok=True)
        found = cgroup.find(run_id, path)
        assert found is None, path


def test_a_group_that_is_gone_has_nobody_in_it() -> None:
    gone = cgroup.Cgroup("/nowhere/runner-run-x")
    begun = time.monotonic()
    assert (gone.pids(), gone.is_empty(), gone.freeze(5.0)) == ([], True, False)
    assert time.monotonic() - begun < 5
    gone.thaw()
    gone.kill()
    gone.remove()
