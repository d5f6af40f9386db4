"""A disk that fills up while a run is under way: the run ends, and its end is written."""

from __future__ import annotations

import os
from pathlib import Path

from support.disks import fill, small_disk
from support.leftovers import assert_nothing_left
from support.repo import Repo, Run
from support.waiting import wait_until


def leave_no_room(run: Run) -> None:
    """Fills the disk, and the last page of what the supervisor appends to: not one byte more fits.

    Not before it has written down what the child has said: that would take the room that a test leaves.
    """
    wait_until(
        lambda: run.on_disk()["thread_id"] and (run.folder / "timeline.tsv").exists(), 10.0, "the first look"
    )
    for name in ("events.jsonl", "supervisor.log", "timeline.tsv"):
        with (run.folder / name).open("ab") as file:
            file.write(b"\n" * (-file.tell() % 4096))
    fill(run.repo.base)


def test_a_limit_is_kept_and_the_end_is_written_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk:
        repo = Repo(disk)
        repo.waiting_codex()
        repo.task('timeout = "3s"')
        run = repo.start()
        repo.begun()
        leave_no_room(run)
        ended = wait_until(lambda: (m := run.on_disk())["phase"] == "done" and m, within=20, what="the end")
        assert (ended["status"], ended["reason"]["code"], ended["survivors"]) == ("timed_out", "timeout", [])
        assert repo.cli("status", run.id).status == 0
        assert_nothing_left(disk)


def test_a_cancel_ends_the_run_when_only_its_intent_still_fits(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk:
        repo = Repo(disk)
        repo.waiting_codex()
        repo.task()
        run = repo.start()
        repo.begun()
        leave_no_room(run)
        os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - 4096)
        done = repo.cli("cancel", run.id)
        assert done.status == 0, done.stderr
        assert run.on_disk()["status"] == "cancelled"
        assert_nothing_left(disk)
