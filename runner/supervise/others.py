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

    def have(self, process: Process, run_id: str) -> bool:
        """Whether the run with that id, which the process names, has an owner and this process.

        It has its recorded supervisor and its recorded agent: a walk stops at these and meets nothing that is
        below them. While a child of this run is being started, it has recorded neither, so until then its
        word counts. All else is not another's, also where its supervisor has died.
        """
        folder = os.path.dirname(environment(process.pid).get(RUN_MANIFEST, ""))
        try:
            other = RunDir.from_path(folder)
            if other.run_id != run_id or why_foreign(other) is not None or not other.is_locked():
                return False
            manifest = other.read_manifest()
        except (ValueError, OSError, RunnerError):
            return False
        if manifest.supervisor is None:
            return any(child.path == other.path for child in lineage.children(self._run))
        return _is(process, manifest.supervisor) or _is(process, manifest.process)


def _is(process: Process, identity: Identity | None) -> bool:
    """Of this host and boot, as it was seen here and now."""
    return identity is not None and (process.pid, process.start_time) == (identity.pid, identity.start_time)
