"""The recipe of docs/settings.md with which a run wakes the session of the real Codex that has started it."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.codex import codex_path
from support.judged import says
from support.repo import Repo
from support.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs/settings.md"


@pytest.fixture(autouse=True)
def end_all(repo: Repo) -> Iterator[None]:
    yield
    repo.end_all()


def queued(repo: Repo) -> list[tuple[str, str]]:
    """The thread and the text of each message that waits."""
    (path,) = (repo.home / ".codex").glob("queue_*.sqlite")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = database.execute("select thread_id, * from queued_items").fetchall()
    texts = [re.search(r'"text":("(?:[^"\\]|\\.)*")', " ".join(map(str, row))) for row in rows]
    return [(row[0], json.loads(text[1])) for row, text in zip(rows, texts, strict=True) if text]


def failures(repo: Repo) -> list[str]:
    found = repo.json("events")["events"]
    return [event["reason"]["message"] for event in found if event["event"] == "notice_failed"]


def test_the_end_of_a_run_is_queued_for_its_session_or_that_it_could_not_be_is_told(repo: Repo) -> None:
    found = re.search(r"wake_codex\.py\n(.*?)\$ cat", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    script = repo.home / "wake_codex.py"
    script.write_text(found[1])
    (repo.bin / "codex").symlink_to(codex_path())
    usage = subprocess.run([codex_path(), "queue", "--help"], env=repo.env, capture_output=True, check=True)
    repo.script(says("A word of the agent."))
    repo.config('[tasks.work]\nprompt = "x"\nrehearse = "play.toml"\n')
    first = repo.start().wait()
    repo.env["CODEX_THREAD_ID"] = first["thread_id"]
    notice = json.dumps(["python3", str(script)])
    run = repo.start("--set", f"notify.on_end={notice}")
    assert run.wait()["status"] == "succeeded"
    if b"--resume" in usage.stdout:
        (message,) = wait_until(lambda: queued(repo), 30, "a queued message")
        assert message == (first["thread_id"], f"The run {run.id} of task work has ended: succeeded.")
    else:
        (failure,) = wait_until(lambda: failures(repo), 30, "the event of a failed notice")
        assert "exited with 1" in failure
