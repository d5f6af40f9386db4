"""Whether a process belongs to another run. Edges: disk, processes.

What it says of itself is a hint where to look and no proof: an agent can set any variable for what it starts,
also that of a run which exists. The other run itself has to say that it is this very process.
"""

from __future__ import annotations

import os

from runner.errors import RunnerError
from runner.processes.proc import RUN_MANIFEST, environment
from runner.state import lineage
from runner.state.authentic import why_foreign
from runner.state.store import RunDir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Identity
    from runner.processes.proc import Process


class Others:
    """Every run but this one, as its supervisor meets them below itself."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._known: set[str] = set()

    def have(self, process: Process, run_id: str | None) -> bool:
        """Whether the run with that id, which the process names, has an owner and this process. None: it
        names none, as the owner of a child does not, a fork of who starts it, until its agent has begun.

        It has its recorded supervisor and its recorded agent: a walk stops at these and meets nothing that is
        below them. While a child of this run is being started, it has recorded neither, so until then its
        word counts. All else is not another's, also where its supervisor has died.
        """
        if run_id is None:
            found = lineage.children(self._run, self._known)
            self._known.update(child.run_id for child in found)
            return any(self._has(child, process, by_word=False) for child in found)
        try:
            other = RunDir.from_path(os.path.dirname(environment(process.pid).get(RUN_MANIFEST, "")))
        except (ValueError, OSError, RunnerError):
            return False
        return other.run_id == run_id and self._has(other, process)

    def _has(self, other: RunDir, process: Process, *, by_word: bool = True) -> bool:
        try:
            if not other.is_locked() or why_foreign(other) is not None:
                return False
            manifest = other.read_manifest()
        except (ValueError, OSError, RunnerError):
            return False
        if manifest.supervisor is None:
            return by_word and any(child.path == other.path for child in lineage.children(self._run))
        return _is(process, manifest.supervisor) or _is(process, manifest.process)


def _is(process: Process, identity: Identity | None) -> bool:
    """Of this host and boot, as it was seen here and now."""
    return identity is not None and (process.pid, process.start_time) == (identity.pid, identity.start_time)
