"""USE CASE: the runs that live, looked at again and again. Edge: disk and /proc, reading.

A whole look at a run costs a millisecond, and a hundred runs are looked at each second. So a manifest is read
when its file has changed, and the run is looked at as a whole when that says something new of its owner or
its end, or when its owner is not seen any more. Folders are listed when one was made or removed.
"""

from __future__ import annotations

import contextlib
import os
import time

from runner.errors import RunnerError, RunNotFound
from runner.processes.proc import process_at
from runner.state import index
from runner.state.authentic import FOREIGN
from runner.state.index import RunRow, row_of
from runner.state.manifest import parse_timestamp
from runner.state.store import RunDir
from runner.usecases import look
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Identity
    from runner.state.manifest import Manifest

STAYS_S = 60.0
"""For so long a run stays that has ended."""
_AGAIN_S = 2.0
"""Between two looks at a run whose owner is not seen."""
_REFUSED_S = 10.0
_SETTLED_NS = 1_000_000_000


class Living(Value):
    """A run as it was when something last changed; unknown is None."""

    run: RunDir
    row: RunRow
    began: float | None = None
    """In seconds since the epoch, as `wrote`."""
    wrote: float | None = None
    """When its program last wrote something."""
    usual_s: float | None = None
    """How long the runs of its task take that succeed: their median."""
    limit: int | None = None
    """The tokens that it may spend."""
    is_over: bool = False


class _Watched:
    """What is remembered of a run from one look to the next."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.living: Living | None = None
        self.stamp: tuple[int, int, int] | None = None
        self.owner: Identity | None = None
        self.looked_at = 0.0
        self.over_since: float | None = None

    def has_owner(self) -> bool:
        """Whether the owner that the last look found is seen, awake."""
        process = None if self.owner is None else process_at(self.owner.pid)
        return (
            self.owner is not None
            and process is not None
            and process.start_time == self.owner.start_time
            and process.is_alive
            and not process.is_stopped
        )


class Alive:
    """All runs of a repository that live, and those that ended while it is there."""

    def __init__(self, root: str) -> None:
        self.names: dict[str, str] = {}
        """The short names of all runs."""
        self._root = root
        self._times: dict[tuple[str, bool, bool], list[float]] = {}
        self._medians: dict[tuple[str, bool, bool], float] = {}
        self._runs: dict[str, _Watched] = {}
        self._listed_ns = 0
        self._changes: dict[str, int] = {}
        done, _ = index.scan(root)
        self._known = {row.run_id for row in done}
        for row in done:
            self._learn(row)

    def look(self) -> list[Living]:
        """The runs as they are now, newest first."""
        self._find()
        now = time.monotonic()
        for run_id, one in [*self._runs.items()]:
            is_gone = one.over_since is not None and now - one.over_since > STAYS_S
            if is_gone or not os.path.isdir(one.run.path):
                del self._runs[run_id]
            elif one.over_since is None:
                self._see(one, now)
        found = (one.living for _, one in sorted(self._runs.items(), reverse=True))
        return [living for living in found if living is not None]

    def _find(self) -> None:
        """Brings the folders up to date. A change may share the time of one just before it."""
        at = time.time_ns()
        changes = index.changes(self._root)
        if changes == self._changes and max(changes.values(), default=0) < self._listed_ns - _SETTLED_NS:
            return
        self._changes, self._listed_ns = changes, at
        folders = [*index.folders(self._root, self._known)]
        if folders or self.names:
            self.names = index.short_names(folders)
        for task, run_id in folders:
            if run_id not in self._known:
                self._known.add(run_id)
                self._runs[run_id] = _Watched(RunDir(self._root, task, run_id))

    def _see(self, one: _Watched, now: float) -> None:
        """Brings what is known of it up to date."""
        stamp = _stamp(one.run.manifest)
        is_due = now - one.looked_at > _AGAIN_S and not one.has_owner()
        if stamp != one.stamp or is_due:
            one.stamp = stamp
            self._read(one, now, is_due=is_due)
        if one.living is not None and not one.living.is_over:
            written = _stamp(one.run.stdout)
            wrote = written[0] / 1e9 if written is not None and written[1] else None
            if wrote != one.living.wrote:
                one.living = one.living.replace(wrote=wrote)

    def _read(self, one: _Watched, now: float, *, is_due: bool) -> None:
        run, manifest, is_foreign = one.run, None, False
        with contextlib.suppress(RunnerError):
            manifest = run.read_manifest()
        try:
            if (
                manifest is None and run.is_locked()
            ):  # its owner writes it, now or again: no look waits for that
                is_new = one.living is None and one.stamp is None
                one.owner, one.living = None, None if is_new else Living(run, look.unknown(run))
                return
            is_new = manifest is None or manifest.is_done or manifest.supervisor != one.owner
            if is_new or is_due or manifest is None or manifest.engine is not None:
                one.looked_at = now
                shown = look.show(run)
                manifest, is_foreign = shown.manifest, shown.status == FOREIGN
        except RunNotFound:
            return  # being made right now, or just removed
        except RunnerError:
            one.owner, one.living = None, Living(run, look.unknown(run))
            one.looked_at = (
                time.monotonic() + _REFUSED_S
            )  # a look at an owner that does nothing takes seconds
            return
        one.owner = None if is_foreign else manifest.supervisor
        one.living = self._living(run, manifest, one.living)
        if is_foreign:
            one.living = one.living.replace(row=look.foreign(run))
        if manifest.is_done:
            one.over_since = now
            self._learn(one.living.row)

    def _living(self, run: RunDir, manifest: Manifest, before: Living | None) -> Living:
        row = row_of(manifest)
        limit = None if before is None else before.limit
        if before is None:
            with contextlib.suppress(RunnerError):
                limit = run.read_invocation().limits.tokens
        return Living(
            run,
            row,
            None if manifest.started_at is None else parse_timestamp(manifest.started_at),
            None if before is None else before.wrote,
            self._usual_s(row),
            limit,
            manifest.is_done,
        )

    def _learn(self, row: RunRow) -> None:
        if row.status == "succeeded" and row.duration_s is not None:
            self._times.setdefault(_kind(row), []).append(row.duration_s)
            self._medians.pop(_kind(row), None)

    def _usual_s(self, row: RunRow) -> float | None:
        kind = _kind(row)
        if kind not in self._medians and kind in self._times:
            times = sorted(self._times[kind])
            self._medians[kind] = times[len(times) // 2]
        return self._medians.get(kind)


def _kind(row: RunRow) -> tuple[str, bool, bool]:
    """A plan takes as long as its batches together, and a rehearsal hardly any time."""
    return row.task_id, row.plan, row.rehearsal


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
