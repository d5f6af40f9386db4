"""What is watched besides the life of the child: limits, budgets, repetitions, what is really in force.

A breach is a reason to stop the run; what is only near to one is a warning, told once in the events.
"""

from __future__ import annotations

import time

from runner.state.events import EventLog, read
from runner.state.manifest import Manifest, timestamp
from runner.state.spent import larger, tree_tokens
from runner.state.store import RunDir
from runner.supervise.attempts import spent_by, total
from runner.supervise.budget import RUN, TREE, Budget, Clock
from runner.supervise.conformance import compare, declared, drift
from runner.supervise.limits import exceeded
from runner.supervise.session import Session
from runner.supervise.signals import Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.invocation import Invocation
    from runner.model import Reason, Usage
    from runner.runtimes.base import Runtime
    from runner.supervise.conformance import Conformance
    from runner.supervise.progress import Progress

_TREE_S = 3.0
"""Between two looks at what the runs below have spent."""


class Oversight:
    """Of one run, over all its attempts."""

    def __init__(
        self, run: RunDir, invocation: Invocation, log: EventLog, runtime: Runtime, manifest: Manifest
    ) -> None:
        limits = invocation.limits
        self._run, self._invocation, self._log, self._runtime = run, invocation, log, runtime
        self.signals = Signals(limits.repeats, limits.reconnects)
        former = [one for one in manifest.attempts if one.thread_id == manifest.thread_id]
        self.session = Session(runtime, former[0].started_at if former else manifest.created_at)
        warned = _warned(run) if manifest.supervisor is not None else set()
        self._budget = Budget(RUN, limits.tokens, limits.warn_at, is_warned=RUN in warned)
        self._tree_budget = Budget(TREE, limits.tree_tokens, limits.warn_at, is_warned=TREE in warned)
        self._clock = Clock(limits.timeout_s, limits.warn_at, is_warned="timeout" in warned)
        self._next_tree_look = 0.0
        self._below = 0
        self._is_drift_told = "config_drift" in warned

    def begin_again(self, *, thread: bool) -> None:
        """Another attempt; in a new `thread`, whose record is another one."""
        limits = self._invocation.limits
        self.signals = Signals(limits.repeats, limits.reconnects)
        if thread:
            self.session = Session(self._runtime, timestamp())

    def usage(self, manifest: Manifest, progress: Progress) -> Usage | None:
        """Of the whole run: what its threads have spent, without what was spent in them before it."""
        newest = self.newest(progress)
        return total(manifest.attempts[:-1], progress.thread_id, newest, self.session.before)

    def newest(self, progress: Progress) -> Usage | None:
        """Of the present thread, as its latest source has it."""
        return larger(progress.usage, self.session.usage)

    def conformance(self) -> Conformance:
        """What was declared against what the program says of every turn so far."""
        return compare(declared(self._invocation), self.session.contexts)

    def breach(
        self, manifest: Manifest, progress: Progress, *, elapsed_s: float, begun_s: float, idle_s: float
    ) -> Reason | None:
        """The reason to stop the run now, or None. Tells warnings on the way."""
        used = spent_by(self.usage(manifest, progress))
        self._warn(used, elapsed_s)
        found = exceeded(
            self._invocation.limits,
            elapsed_s=elapsed_s,
            begun_s=begun_s,
            idle_s=idle_s,
            output_bytes=progress.size - progress.start,
        )
        return (
            found
            or self._budget.exceeded(used)
            or self._tree_budget.exceeded(self._tree(used))
            or self.signals.reason
            or self._drift()
        )

    def _warn(self, used: int, elapsed_s: float) -> None:
        found = (
            self._budget.warning(used),
            self._tree_budget.warning(self._tree(used)),
            self._clock.warning(elapsed_s),
        )
        for warned in found:
            if warned is not None:
                self._log.note("warning", **warned.to_json())

    def _tree(self, used: int) -> int:
        if self._invocation.limits.tree_tokens is None:
            return used
        if time.monotonic() > self._next_tree_look:
            self._next_tree_look = time.monotonic() + _TREE_S
            self._below = tree_tokens(self._run, used).tokens - used
        return used + self._below

    def _drift(self) -> Reason | None:
        if not self.session.contexts:
            return None
        reason = drift(self.conformance())
        if reason is not None and not self._is_drift_told:
            self._is_drift_told = True
            self._log.note("warning", code=reason.code, message=reason.message)
        return reason if self._invocation.terms.conformance == "enforce" else None


def _warned(run: RunDir) -> set[str]:
    """What an owner before us has warned of already."""
    return {str(event.get("code")) for event in read(run.events) if event.get("type") == "warning"}
