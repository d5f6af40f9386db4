"""Run folders that a test makes: of runs that are done, without a process ever having been there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from runner.invocation import Invocation
from runner.model import Outcome, Phase, Reason
from runner.state.authentic import write_record
from runner.state.manifest import timestamp
from runner.state.store import RunDir, new_run_id
from runner.workspace import worktree as worktrees
from runner.workspace.worktree import Worktree
from support.values import a_manifest, an_invocation

__all__ = ["a_result", "a_worktree", "adopt", "an_ended_run", "commit", "write_result"]


def an_ended_run(
    root: Path,
    *,
    outcome: Outcome = Outcome.SUCCEEDED,
    code: str = "completed",
    task: str = "work",
    run_id: str | None = None,
    **changes: Any,
) -> RunDir:
    """A run folder as a supervisor leaves it; `changes` are of the invocation or of the manifest."""
    run = RunDir(str(root), task, run_id or new_run_id())
    os.close(run.create())
    os.unlink(run.wake_fifo)
    declared = {name: changes.pop(name) for name in tuple(changes) if name in Invocation._fields}
    invocation = an_invocation(str(root), run.task_id, run.run_id, **declared)
    write_record(run.invocation, invocation.to_json())
    ended = {"phase": Phase.DONE, "outcome": outcome, "reason": Reason(code, "so it was"), "attempt": 1}
    ended |= {
        "started_at": timestamp(),
        "ended_at": timestamp(),
        "rehearsal": invocation.rehearsal is not None,
    }
    manifest = a_manifest(run, **{**ended, **changes})
    run.write_manifest(manifest)
    return run


def a_result(**changes: Any) -> dict[str, Any]:
    """A `result.json` of an attempt that was refused."""
    return {
        "schema_version": 1,
        "attempt": 1,
        "row": "refuted",
        "class": "verify_failed",
        "claim": {
            "status": "completed",
            "files_modified": ["a.txt"],
            "issues": ["Assumption: port 80"],
            "summary": "Did it.",
            "verification_summary": "pytest: all pass",
            "assumed": [],
        },
        "problem": None,
        "observed": {
            "changed": ["a.txt", "b.txt"],
            "absent": [],
            "gone": [],
            "head_moved": False,
            "moved_refs": [],
            "git": None,
            "dirty_before": [],
            "unknown": [],
            "hidden": [],
            "ignored": [],
            "ignored_count": 0,
            "too_large": [],
            "added": [],
            "folders": {},
            "tree": None,
            "lines": None,
            "lines_each": None,
        },
        "checks": [
            {"argv": ["pytest"], "exit_code": 1, "timed_out": False, "duration_s": 1.5, "tail": "1 failed\n"}
        ],
        "declared_checks": 1,
        "findings": [
            {"code": "claim_contradicted", "severity": "error", "message": "it lies", "evidence": ["pytest"]}
        ],
        "failure_codes": ["WRONG_LOGIC"],
        "conformance": {"model": {"declared": "gpt-5", "observed": "gpt-4", "verdict": "drift"}},
        "rolled_back": None,
    } | changes


def write_result(run: RunDir, value: object) -> None:
    Path(run.result).write_text(json.dumps(value), encoding="utf-8")


def a_worktree(run: RunDir, head: str) -> Worktree:
    """A work tree of the run's own, where the product puts it."""
    path = worktrees.place(run.repo, run.run_id, os.environ)
    return worktrees.create(run.repo, head, path, run.path)


def adopt(parent: RunDir, child: RunDir) -> RunDir:
    """The marker that the starter of a child leaves."""
    folder = Path(parent.control, "children")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{child.task_id}@{child.run_id}").touch()
    return child


def commit(root: Path, **files: str) -> str:
    """Commits files (`a_txt` is `a.txt`) in a repository; the commit."""
    import subprocess

    for name, text in files.items():
        (root / name.replace("_", ".")).write_text(text, encoding="utf-8")
    who = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgSign=false")
    subprocess.run([*who, "add", "-A"], cwd=root, check=True)
    subprocess.run([*who, "commit", "-qm", "x"], cwd=root, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True)
    return head.stdout.strip()
