"""A process is another run's only if that run says so: no word of the agent takes one out of its own run."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.repo import Repo, Run
from support.waiting import wait_until

from runner.processes.proc import Process, process_at
from runner.state.store import RunDir
from runner.supervise.others import Others

TICKS = 'while :; do echo x >> "$HOME/ticks"; sleep 0.02; done'


def hidden(mark: str) -> str:
    """A daemon under the marks of another run."""
    daemon = f"(env {mark} setsid bash -c '{TICKS}' > /dev/null 2>&1 &)"
    return f'{daemon}; until [ -s "$HOME/ticks" ]; do sleep 0.02; done'


def marks(run_id: str, manifest: object) -> str:
    return f'RUNNER_RUN_ID={run_id} RUNNER_MANIFEST="{manifest}"'


def is_still(repo: Repo) -> bool:
    """Whether nothing was written while another process was seen to work."""
    ticks = repo.note("ticks")
    before = ticks.stat().st_size
    for _ in range(3):
        assert repo.cli("list").status == 0
    return ticks.stat().st_size == before


FORGE = """
import json, os, sys
run_id, folder, copied = sys.argv[1:]
manifest = json.load(open(copied + "/manifest.json"))
start_time = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
mine = {**manifest["process"], "pid": os.getpid(), "start_time": start_time}
manifest.update(run_id=run_id, status="running", phase="running", outcome=None, supervisor=mine, process=mine)
json.dump(manifest, open(folder + "/manifest.json", "w"))
os.execvpe("bash", ["bash", "-c", os.environ["TICKS"]], os.environ)
"""


def made_up(repo: Repo) -> str:
    """A run that only the agent knows, and that says all that a run says: it has a lock that is held, the
    records of a real one, and the very process as its supervisor and agent.
    """
    run_id = "20260101T000000000Z-deadbeef"
    folder = repo.root / "mine" / ".runs" / "t" / "cli" / run_id
    (real,) = repo.runs()
    script = repo.home / "forge.py"
    script.write_text(FORGE)
    made = f'mkdir -p "{folder}/control"; cp "{real.folder}"/*.json "{folder}"; touch "{folder}/run.lock"\n'
    chmod = f'chmod -R go-w "{repo.root}/mine"; (flock -n 9 && exec sleep 300) 9> "{folder}/run.lock" &\n'
    forge = f'"{sys.executable}" "{script}" {run_id} "{folder}" "{real.folder}"'
    named = f'RUNNER_RUN_ID={run_id} RUNNER_MANIFEST="{folder}/manifest.json" TICKS="$TICKS"'
    daemon = f"(env {named} setsid {forge} > /dev/null 2>&1 &)\n"
    return (
        f"export TICKS='{TICKS}'\n{made}{chmod}{daemon}" + 'until [ -s "$HOME/ticks" ]; do sleep 0.02; done'
    )


def plain_folder(repo: Repo) -> str:
    """A folder with the right name, somewhere."""
    folder = repo.base / "20260101T000000000Z-deadbeef"
    folder.mkdir()
    return hidden(marks(folder.name, folder / "manifest.json"))


def nowhere(repo: Repo) -> str:
    return hidden("RUNNER_RUN_ID=20260101T000000000Z-deadbeef")


def beside(repo: Repo) -> str:
    """A run that goes on at the same time, with an owner of its own."""
    other = Run(repo, repo.json("start", "--task", "other")["run_id"], "other")
    repo.begun()  # a script that is written anew while bash begins to read it is read anew
    repo.note("begun").unlink()
    return hidden(marks(other.id, other.folder / "manifest.json"))


WAYS = {"nowhere": nowhere, "a folder": plain_folder, "made up": made_up, "a run beside": beside}


@pytest.mark.parametrize("way", WAYS)
def test_a_process_under_the_marks_of_another_run_is_paused_and_ended_with_its_own(
    repo: Repo, way: str
) -> None:
    more = "[tasks.other]\nprompt = 'x'\nsandbox = 'read-only'\ngrace = '300ms'\n"
    repo.task(more=more)
    repo.waiting_codex()
    earlier = repo.start()
    repo.begun()
    earlier.told("cancel")
    repo.note("begun").unlink()
    body = WAYS[way](repo)
    repo.waiting_codex(before=body)
    run = repo.start()
    repo.begun()
    assert run.told("pause")["status"] == "paused"
    assert is_still(repo)
    assert run.told("resume")["status"] == "running"
    ended = run.told("cancel")
    assert (ended["status"], ended["survivors"]) == ("cancelled", [])
    assert is_still(repo)
    shutil.rmtree(repo.root / "mine", ignore_errors=True)
    repo.end_all()


def test_what_a_check_leaves_under_the_marks_of_another_run_is_ended_with_it(repo: Repo) -> None:
    repo.quick_codex()
    (repo.root / "check.sh").write_text(hidden("RUNNER_RUN_ID=20260101T000000000Z-deadbeef"))
    run = repo.task('verify = [["bash", "check.sh"]]').start()
    assert run.wait()["status"] == "succeeded"
    assert is_still(repo)


def test_a_child_cannot_hide_a_process_behind_its_parent(repo: Repo) -> None:
    """Its parent's supervisor stands above everything that the child starts."""
    child = "[tasks.child]\nprompt = 'x'\nsandbox = 'read-only'\ngrace = '300ms'\ndelegation = false\n"
    repo.task("delegation = true", more=f"[delegation]\nskills = true\n{child}")
    above = marks('$(cat "$HOME/parent")', '$(cat "$HOME/manifest")')
    repo.waiting_codex(before=f'if [[ "$RUNNER_MANIFEST" == */child/* ]]; then {hidden(above)}; fi')
    parent = repo.start()
    repo.begun()
    repo.note("begun").unlink()
    manifest = parent.folder / "manifest.json"
    repo.note("parent").write_text(parent.id)
    repo.note("manifest").write_text(str(manifest))
    below = repo.start("--parent", str(manifest.relative_to(repo.root)), task="child")
    repo.begun()
    assert below.told("pause")["status"] == "paused"
    assert is_still(repo)
    assert below.told("cancel")["survivors"] == []
    wait_until(lambda: is_still(repo))
    repo.end_all()


@contextlib.contextmanager
def sleeping(named: dict[str, str]) -> Iterator[Process]:
    """A process of nobody under these marks."""
    with subprocess.Popen(["sleep", "300"], env={**os.environ, **named}) as child:
        try:
            process = process_at(child.pid)
            assert process is not None
            yield process
        finally:
            child.kill()


def belongs(repo: Repo, asking: Run, pid: int, run_id: str) -> bool:
    process = process_at(pid)
    assert process is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(repo.home))
        patch.delenv("XDG_STATE_HOME", raising=False)
        return Others(RunDir(str(repo.root), asking.task, asking.id)).have(process, run_id)


def test_a_run_says_of_its_supervisor_and_its_agent_that_they_are_its_own_and_of_nothing_else(
    repo: Repo,
) -> None:
    repo.waiting_codex()
    asking, other = repo.task().start(), repo.start()
    wait_until(lambda: all(run.on_disk()["phase"] == "running" for run in (asking, other)))
    supervisor, agent = other.supervisor(), other.child()
    named = {"RUNNER_RUN_ID": other.id, "RUNNER_MANIFEST": str(other.folder / "manifest.json")}
    with sleeping(named) as hidden:
        wait_until(lambda: belongs(repo, asking, supervisor.pid, other.id), what="its exec")
        assert belongs(repo, asking, agent.pid, other.id)
        assert not belongs(repo, asking, hidden.pid, other.id)
        assert not belongs(repo, asking, agent.pid, asking.id)
    copied = repo.root / "mine" / ".runs" / other.task / "cli" / other.id
    shutil.copytree(other.folder, copied, ignore=shutil.ignore_patterns("wake"))
    told = json.loads((copied / "manifest.json").read_text())
    with (
        open(copied / "run.lock") as lock,
        sleeping({**named, "RUNNER_MANIFEST": str(copied / "manifest.json")}) as forged,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        mine = {**told["process"], "pid": forged.pid, "start_time": forged.start_time}
        (copied / "manifest.json").write_text(json.dumps({**told, "supervisor": mine, "process": mine}))
        assert not belongs(repo, asking, forged.pid, other.id), "its records were made in another place"
    other.kill_supervisor()
    assert not belongs(repo, asking, agent.pid, other.id), "it has no owner"
    repo.end_all()
