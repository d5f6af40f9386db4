"""A process is another run's only if that run says so: no word of the agent takes one out of its own run."""

from __future__ import annotations

import json
import shutil

import pytest
from support.repo import Repo, Run
from support.waiting import wait_until

TICKS = 'while :; do echo x >> "$HOME/ticks"; sleep 0.02; done'


def hidden(mark: str) -> str:
    """A daemon under the marks of another run."""
    daemon = f"(env {mark} setsid bash -c '{TICKS}' > /dev/null 2>&1 &)"
    return f'{daemon}; until [ -s "$HOME/ticks" ]; do sleep 0.02; done'


def marks(run_id: str, manifest: object) -> str:
    return f'RUNNER_RUN_ID={run_id} "RUNNER_MANIFEST={manifest}"'


def is_still(repo: Repo) -> bool:
    """Whether nothing was written while another process was seen to work."""
    ticks = repo.note("ticks")
    before = ticks.stat().st_size
    for _ in range(3):
        assert repo.cli("list").status == 0
    return ticks.stat().st_size == before


def made_up(repo: Repo) -> str:
    """A run that only the agent knows: a whole folder of its own, locked, with the right names in it."""
    run_id = "20260101T000000000Z-deadbeef"
    folder = repo.root / "mine" / ".runs" / "t" / "cli" / run_id
    manifest = "$HOME/manifest-of-nobody.json"
    lock = f'(flock -n 9 && exec sleep 300) 9> "{folder}/run.lock" &'
    make = f'mkdir -p "{folder}"; cp "{manifest}" "{folder}/manifest.json"; {lock} sleep 0.1; '
    return make + hidden(marks(run_id, f"{folder}/manifest.json"))


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
    return hidden(marks(other.id, other.folder / "manifest.json"))


WAYS = {"nowhere": nowhere, "a folder": plain_folder, "made up": made_up, "a run beside": beside}


@pytest.mark.parametrize("way", WAYS)
def test_a_process_under_the_marks_of_another_run_is_paused_and_ended_with_its_own(
    repo: Repo, way: str
) -> None:
    more = "[tasks.other]\nprompt = 'x'\nsandbox = 'read-only'\ngrace = '300ms'\n"
    repo.task(more=more)
    repo.waiting_codex()
    forged = repo.start()
    repo.begun()
    manifest = forged.on_disk()
    forged.told("cancel")
    (repo.home / "manifest-of-nobody.json").write_text(json.dumps(manifest))
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
    repo.waiting_codex()
    parent = repo.start()
    repo.begun()
    repo.note("begun").unlink()
    manifest = parent.folder / "manifest.json"
    repo.waiting_codex(before=hidden(marks(parent.id, manifest)))
    below = repo.start("--parent", str(manifest.relative_to(repo.root)), task="child")
    repo.begun()
    assert below.told("pause")["status"] == "paused"
    assert is_still(repo)
    assert below.told("cancel")["survivors"] == []
    wait_until(lambda: is_still(repo))
    repo.end_all()
