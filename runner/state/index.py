"""Which runs there are, without opening ten thousand files. Edge: disk.

Two caches, both disposable. `.runs/.active/` has a marker for every run that is not done, so that the default
`list` looks at those alone. `.runs/.index.json` keeps a row for every run that *is* done: a terminal state
never changes, so a row can be old but not wrong. The folders are always listed, so a removed run is never
shown and an unknown one is always read; `rm` of both files loses nothing.
"""

from __future__ import annotations

import json
import os

from runner.errors import RunnerError
from runner.state.store import ACTIVE, RUNS, RunDir, is_run_id, is_task_id, replace_bytes
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runner.state.manifest import Manifest

_VERSION = 1
_NAME = ".index.json"


class Row(Value):
    """A run as `list` shows it. `status` is `unreadable` where the manifest is."""

    run_id: str
    task_id: str
    status: str
    reason: str | None
    runtime: str | None
    model: str | None
    created_at: str | None
    ended_at: str | None
    questions_open: int = 0


def row_of(manifest: Manifest) -> Row:
    """The row of a manifest."""
    return Row(
        manifest.run_id,
        manifest.task_id,
        manifest.status,
        None if manifest.reason is None else manifest.reason.code,
        manifest.runtime.name,
        manifest.model,
        manifest.created_at,
        manifest.ended_at,
        manifest.questions_open,
    )


def folders(repo: str) -> Iterator[tuple[str, str]]:
    """(task id, run id) of every run folder; links and foreign names are passed over."""
    for task in _names(f"{repo}/{RUNS}"):
        if is_task_id(task):
            for run in _names(f"{repo}/{RUNS}/{task}/cli"):
                if is_run_id(run):
                    yield task, run


def active(repo: str) -> Iterator[RunDir]:
    """The runs that are not known to be done, oldest first."""
    try:
        names = os.listdir(f"{repo}/{RUNS}/{ACTIVE}")
    except OSError:
        return
    for name in sorted(names, key=lambda name: name.rpartition("@")[2]):
        task, _, run = name.rpartition("@")
        if is_task_id(task) and is_run_id(run):
            yield RunDir(repo, task, run)


def finished(repo: str, known: set[str]) -> list[Row]:
    """A row for every run that is not in `known`, newest first; the cache is brought up to date.

    A run that turns out not to be done is not in the answer: its marker is set, so `active` has it.
    """
    cached = _read(repo)
    rows, fresh = [], False
    for task, run in folders(repo):
        if run in known:
            continue
        fields = cached.get(run)
        if fields is not None and fields[1] == task:
            rows.append(fields)
            continue
        row = _look(RunDir(repo, task, run))
        if row is not None:
            fields = list(row.to_json().values())
            fresh = True
            rows.append(fields)
    rows.sort(key=lambda fields: str(fields[0]), reverse=True)
    if fresh:
        _write(repo, [fields for fields in rows if fields[2] != "unreadable"])
    return [Row(*fields) for fields in rows]


def _look(run: RunDir) -> Row | None:
    try:
        manifest = run.read_manifest()
    except RunnerError:
        if not run.is_described():
            return None  # being made right now, or whoever made it was killed over it
        return Row(run.run_id, run.task_id, "unreadable", None, None, None, None, None)
    if manifest.is_done:
        return row_of(manifest)
    remember_active(run)
    return None


def remember_active(run: RunDir) -> None:
    """Sets the marker of a run that is not done, where somebody has taken it away."""
    try:
        os.makedirs(os.path.dirname(run.active_marker), 0o700, exist_ok=True)
        os.close(os.open(run.active_marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError:
        pass


def _read(repo: str) -> dict[str, list[Any]]:
    try:
        with open(f"{repo}/{RUNS}/{_NAME}", "rb") as file:
            data = json.loads(file.read())
        if data["version"] != _VERSION:
            return {}
        width = len(Row._fields)
        return {row[0]: row for row in data["rows"] if len(row) == width}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _write(repo: str, rows: list[list[Any]]) -> None:
    data = json.dumps({"version": _VERSION, "rows": rows}, separators=(",", ":"))
    try:
        replace_bytes(f"{repo}/{RUNS}/{_NAME}", data.encode())
    except OSError:
        pass


def _names(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
