"""A program that hands off as a front end does: the entry first, then whatever it starts. It prints both.

    handing.py REPO TASK TO [--as MANIFEST] [--lane NAME] [--killed | --killed-over-message]

`--as` is the run that speaks; a person does without. With `--killed` it dies between the two, with
`--killed-over-message` when it is to write one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from runner.ledger.entry import EntryType
from runner.ledger.file import Ledger
from runner.usecases import ledger as entries
from runner.usecases import receivers
from runner.usecases.find import by_manifest_path

__all__ = ["hand_off", "ledger_of"]


def main(repo: str, task: str, to: str, rest: list[str]) -> None:
    ledger, author = Ledger(repo, task), entries.Author("human")
    if "--as" in rest:
        author = entries.of_run(by_manifest_path(repo, rest[rest.index("--as") + 1]))
    payload: dict[str, Any] = {
        "reason": "It is built.",
        "ask": "Look at it.",
        "context_refs": ["delegate.toml"],
    }
    if "--lane" in rest:
        payload["lane"] = rest[rest.index("--lane") + 1]
    handoff = entries.append(ledger, author, EntryType.HANDOFF, payload, to=to)
    if "--killed" in rest:
        os.kill(os.getpid(), signal.SIGKILL)
    if "--killed-over-message" in rest:
        sys.addaudithook(_die)
    found = receivers.deliver(ledger, handoff, author, os.environ)
    print(json.dumps({"id": handoff.id, **found.to_json()}))


def _die(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and "/messages/" in str(args[0]):
        os.kill(os.getpid(), signal.SIGKILL)


def hand_off(repo: Any, to: str, *words: str, task: str = "make") -> dict[str, Any]:
    """What became of a handoff in the ledger of that task; nothing is known where it was killed."""
    argv = [sys.executable, __file__, str(repo.root), task, to, *words]
    done = subprocess.run(argv, env=repo.env, cwd=repo.root, capture_output=True, text=True, timeout=120)
    is_killed = done.returncode == -signal.SIGKILL
    assert is_killed or done.returncode == 0, done.stderr
    return {} if is_killed else json.loads(done.stdout)


def ledger_of(repo: Any, task: str = "make") -> list[dict[str, Any]]:
    """Its entries as they stand in the file."""
    path = Path(repo.runs_folder) / task / "ledger.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])
