"""Lists the runs without opening ten thousand files. Edge: disk.

`.runs/.index.json` is a disposable cache with a row for every finished run: a terminal state never changes,
so a row can be old but not wrong. It is kept by columns, where what all rows have stands once. The folders
are always listed, so a removed run is never shown, and a run without a row is always read. So is a run that
is foreign: what makes it so may be mended.
"""

from __future__ import annotations

import errno
import os

from runner.disk.files import Draft, is_ours_alone, read
from runner.errors import RunnerError, Unwritable
from runner.lightjson import loads
from runner.model import is_name
from runner.state.authentic import FOREIGN, OLDER, folders_in, made, tasks_of, why_foreign
from runner.state.manifest import between
from runner.state.store import RUNS, RunDir, is_run_id, listed
from runner.value import Value, json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from typing import Any

    from runner.state.manifest import Manifest

_VERSION = 7
_NAME = ".index.json"
_LARGEST = 64 << 20
_REMOVED = ".removed"
_LONGEST_MESSAGE = 160
SHORTEST = 4
"""Characters of a run id's random part that name a run where no other has the same."""


class RunRow(Value):
    """A run as `list` shows it. `status` is `unknown` where the state cannot be determined."""

    run_id: str
    task_id: str
    status: str
    reason: str | None
    runtime: str | None
    model: str | None
    created_at: str | None
    ended_at: str | None
    questions_open: int = 0
    duration_s: float | None = None
    """From its start to its end, or so far."""
    message: str | None = None
    """Of a run that is done why it ended, of another what it did last, in short."""
    tokens: int | None = None
    """Input and output, as a budget counts them."""
    parent: str | None = None
    """The id of the run that started this one."""
    plan: bool = False
    """Whether it carries out a plan."""
    rehearsal: bool = False
    undecided: bool = False
    """Whether its own work tree waits for a decision; in the cache it is never said."""
    title: str | None = None
    batches: int | None = None
    """Of a plan how many there are, of which so many are done."""
    batches_done: int | None = None
    executor: str | None = None
    """Where it lives, as far as job and node are known; None: on the machine that started it."""
    job_id: str | None = None
    node: str | None = None

    @property
    def place(self) -> str | None:
        """In a few words."""
        on = " on " + self.node if self.node else ""
        return self.executor and f"{self.executor}{' job ' + self.job_id if self.job_id else ''}{on}"

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)  # nothing is nested in it, and of ten thousand this takes a tenth


_OF_A_COLUMN: dict[str, set[type]] = {
    "int": {int},
    "int | None": {int, type(None)},
    "str": {str},
    "str | None": {str, type(None)},
    "float | None": {float, type(None)},
    "bool": {bool},
}
_KINDS = [_OF_A_COLUMN[annotation] for annotation in RunRow.__annotations__.values()]
"""What the columns of the cache hold: ten thousand rows are checked column by column."""


def row_of(manifest: Manifest) -> RunRow:
    """The row of a manifest."""
    return RunRow(
        manifest.run_id,
        manifest.task_id,
        manifest.status,
        None if manifest.reason is None else manifest.reason.code,
        manifest.runtime.name,
        manifest.model,
        manifest.created_at,
        manifest.ended_at,
        manifest.questions_open,
        _duration_s(manifest),
        _message(manifest),
        manifest.usage.total,
        None if manifest.parent is None else manifest.parent.run_id,
        manifest.plan is not None,
        manifest.rehearsal,
        False,
        manifest.title and manifest.title[:_LONGEST_MESSAGE],
        *_batches(manifest),
        *_place(manifest),
    )


def _place(manifest: Manifest) -> tuple[str | None, ...]:
    engine = manifest.engine
    return (None, None, None) if engine is None else (engine.executor, engine.job_id, engine.node)


def _batches(manifest: Manifest) -> tuple[int | None, int | None]:
    """Of `manifest.plan`, which an agent without a sandbox could have written."""
    try:
        plan = manifest.plan or {}
        states = [one["status"] for one in plan.get("stages") or plan["batches"]]
    except (LookupError, TypeError):
        return None, None
    return len(states), sum(state in ("succeeded", "done", "passed", "skipped") for state in states)


def _duration_s(manifest: Manifest) -> float | None:
    if manifest.started_at is None:
        return None
    took = between(manifest.started_at, manifest.ended_at)
    return None if took is None else round(took, 3)


def _message(manifest: Manifest) -> str | None:
    if not manifest.is_done:
        told = None if manifest.engine is None else manifest.engine.told
        text = told or manifest.last_activity
    elif manifest.reason is None or manifest.outcome == "succeeded":
        text = None
    else:
        text = manifest.reason.message
    return None if text is None else text[:_LONGEST_MESSAGE]


def folders(repo: str, known: Container[str] = ()) -> Iterator[tuple[str, str]]:
    """(task id, run id) of every run folder; links and foreign names are passed over.

    `known` are run ids whose shape need not be looked at again.
    """
    for task in tasks_of(repo):
        for run in folders_in(f"{repo}/{RUNS}/{task}/cli"):
            if run in known or is_run_id(run):
                yield task, run


def changes(repo: str) -> dict[str, int]:
    """When a run of each task was last made or removed, in nanoseconds since the epoch."""
    found = {}
    for task in tasks_of(repo):
        try:
            found[task] = os.stat(f"{repo}/{RUNS}/{task}/cli").st_mtime_ns
        except OSError:
            continue
    return found


def short_names(runs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Run id -> the shortest name that means this run alone: at least `SHORTEST` characters of its random
    part, or the whole id. `runs` are (task id, run id) of all that there are.
    """
    pairs = list(runs)
    taken = {task for task, _ in pairs}
    taken.update(day[:size] for day in {run[:8] for _, run in pairs} for size in range(SHORTEST, 9))
    names: dict[str, str] = {}
    left = [run for _, run in pairs]
    for size in range(SHORTEST, 9):
        parts = [run[20 : 20 + size] for run in left]
        last = dict(zip(parts, left, strict=True))
        shared = {part for run, part in zip(left, parts, strict=True) if last[part] is not run} | taken
        names.update((run, part) for part, run in last.items() if part not in shared)
        left = [run for run, part in zip(left, parts, strict=True) if part in shared]
    return names | {run: run for run in left}


def short_name(repo: str, run_id: str) -> str:
    """That of one run, which costs less than those of all."""
    tasks = tasks_of(repo)
    names = [name for task in tasks for name in listed(f"{repo}/{RUNS}/{task}/cli") if name != run_id]
    for size in range(SHORTEST, 9):
        part = run_id[20 : 20 + size]
        if part not in tasks and not any(n.startswith(part) or n.startswith(part, 20) for n in names):
            return part
    return run_id


class ShortNames(dict[str, str]):
    """The short names of a repository's runs, listed as one is asked for; of a run that is gone, its id."""

    def __init__(self, repo: str) -> None:
        super().__init__()
        self._repo = repo

    def __missing__(self, run_id: str) -> str:
        self.update({run_id: run_id, **short_names(folders(self._repo))})
        return self[run_id]


def half_of(run: RunDir) -> RunDir:
    """Where the folder of a run is while it is being removed: under this name it is none."""
    return RunDir(run.repo, run.task_id, f".{run.run_id}{_REMOVED}")


def halves(repo: str) -> Iterator[RunDir]:
    """What is left of runs whose removal was killed."""
    for task in tasks_of(repo):
        for name in folders_in(f"{repo}/{RUNS}/{task}/cli"):
            if name.endswith(_REMOVED) and is_run_id(name[1 : -len(_REMOVED)]):
                yield RunDir(repo, task, name)


def folder_of(repo: str, run_id: str) -> RunDir | None:
    """The folder of a run whose whole id is known: no others are listed for it."""
    for task in tasks_of(repo):
        run = RunDir(repo, task, run_id)
        if os.path.isdir(run.path) and not os.path.islink(run.path):
            return run
    return None


def unreadable(repo: str) -> list[tuple[str, str]]:
    """(path, why) of every task folder that may hide runs: it cannot be read, or it is a link or not a
    folder.
    """
    found = []
    for path in _task_places(repo):
        try:
            if os.path.islink(path):
                raise OSError(errno.ELOOP, "a symbolic link, and runner follows none there")
            os.scandir(f"{path}/cli").close()
        except FileNotFoundError:
            continue  # being made right now, or just removed
        except OSError as error:
            found.append((path, error.strerror or str(error)))
    return found


def _task_places(repo: str) -> list[str]:
    try:
        return [f"{repo}/{RUNS}/{name}" for name in sorted(os.listdir(f"{repo}/{RUNS}")) if is_name(name)]
    except OSError:
        return []  # that was said before, or there is none


def scan(repo: str) -> tuple[list[RunRow], list[RunDir]]:
    """(a row per finished run, newest first; every other run, oldest first). Brings the cache up to date."""
    cached = _read(repo)
    places = list(folders(repo, cached))
    there = {run_id: task for task, run_id in places}
    rows = [fields for run_id, fields in cached.items() if there.get(run_id) == fields[1]]
    known = {(fields[1], fields[0]) for fields in rows} if len(rows) < len(places) else places
    foreign: list[tuple[Any, ...]] = []
    others, fresh, is_named = [], False, None
    for task, run_id in places if known is not places else ():
        if (task, run_id) in known:
            continue
        run = RunDir(repo, task, run_id)
        fields = _finished(run)
        if fields is None:
            others.append(run)
            continue
        if is_named is None:
            from runner.state.committed import is_committed  # most lists have a row for each run

            is_named = is_committed(repo, f"{repo}/{RUNS}")
        if _is_foreign(run, is_named=is_named):
            foreign.append((*fields[:2], FOREIGN, None, *fields[4:]))
            continue
        fresh = True
        rows.append(fields)
    rows.sort(key=lambda fields: fields[0], reverse=True)  # at no cost for those of the cache, which are
    if fresh:
        _write(repo, rows)
    if foreign:
        rows = sorted(rows + foreign, key=lambda fields: fields[0], reverse=True)
    return _rows(rows), sorted(others, key=lambda run: run.run_id)


def _rows(rows: list[tuple[Any, ...]]) -> list[RunRow]:
    """As `RunRow.of` each, in half of its time: how many fields each has was checked for all at once."""
    new, names, made = object.__new__, RunRow._fields, []
    for fields in rows:
        row = new(RunRow)
        row.__dict__.update(zip(names, fields))  # noqa: B905
        made.append(row)
    return made


def _finished(run: RunDir) -> tuple[Any, ...] | None:
    try:
        manifest = run.read_manifest()
    except RunnerError:
        return None
    return tuple(row_of(manifest).to_json().values()) if manifest.is_done else None


def _is_foreign(run: RunDir, *, is_named: bool) -> bool:
    """Whether a run that is done is shown as foreign. An older runner's is not: it has no MAC."""
    found = why_foreign(run, is_named=is_named)
    return found is not None and found.why not in OLDER


def _read(repo: str) -> dict[str, tuple[Any, ...]]:
    path = f"{repo}/{RUNS}/{_NAME}"
    try:
        data = loads(read(path, _LARGEST, is_private=True))
        columns = data["columns"]
        count = len(columns[0])
        is_ours = (data["version"], data["made"]) == (_VERSION, made(path, os.lstat(path))) and all(
            kinds.issuperset(map(type, column))
            and (float not in kinds or all(one is None or one - one == 0 for one in column))
            for kinds, column in zip(_KINDS, columns, strict=True)
        )
        rows = zip(*(one * count if len(one) == 1 else one for one in columns), strict=True)
        return {row[0]: row for row in rows} if is_ours else {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError, Unwritable):
        return {}


def _write(repo: str, rows: list[tuple[Any, ...]]) -> None:
    path = f"{repo}/{RUNS}/{_NAME}"
    try:
        if not is_ours_alone(os.lstat(os.path.dirname(path))):
            return
        draft = Draft(path)
    except OSError:
        return
    try:
        columns = [one[:1] if len(set(one)) == 1 else one for one in zip(*rows, strict=True)]
        data = {"version": _VERSION, "made": made(path, os.fstat(draft.fd)), "columns": columns}
        draft.write(json_bytes(data, compact=True))
        draft.put(durable=False)
    except (OSError, Unwritable):
        pass
    finally:
        draft.close()
