"""Reasons to stop a run early: limits, budgets, repetitions, settings that are not as declared.

Near a limit there is one warning event; at the limit, a reason to stop the run.
"""

from __future__ import annotations

import os
import time

from runner.model import Limits, Reason
from runner.processes.proc import age, boottime
from runner.state.events import EventLog, read_events
from runner.state.manifest import Manifest
from runner.state.spent import tree_tokens
from runner.state.store import RunDir
from runner.supervise.conformance import drift
from runner.supervise.signals import Signals
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.conformance import Conformance
    from runner.invocation import Invocation
    from runner.model import Identity

    Spent = tuple[int, float | None]
    """Tokens, and the price as far as it is known."""

RUN, TREE, PRICE = "tokens", "tree_tokens", "price"
_WHOSE = {RUN: "it", TREE: "it and the runs that it has started"}
_FULL_BYTES = 64 * 1024
_TREE_S = 3.0
"""Between two looks at what the runs below have spent."""


class LimitMonitor:
    """Of one run, over all its attempts. It also keeps the times that the limits are measured by: no pause
    counts in any of them, and nothing of the time that nobody had.
    """

    def __init__(self, run: RunDir, invocation: Invocation, log: EventLog, manifest: Manifest) -> None:
        limits = invocation.limits
        self._run, self._invocation, self._log = run, invocation, log
        self.signals = Signals(limits.repeats, limits.reconnects)
        warned = _warned(run) if manifest.supervisor is not None else set()
        self._budget = Budget(RUN, limits.tokens, limits.warn_at, is_warned=RUN in warned)
        self._tree_budget = Budget(TREE, limits.tree_tokens, limits.warn_at, is_warned=TREE in warned)
        self._price = Budget(PRICE, limits.price, limits.warn_at, is_warned=PRICE in warned)
        self._clock = Clock(limits.timeout_s, limits.warn_at, is_warned="timeout" in warned)
        self._next_tree_look = 0.0
        self._below = 0
        self._is_drift_told = "config_drift" in warned
        self._last_life = boottime()
        self._paused_since: float | None = None
        self.paused_s = manifest.paused_seconds
        """In all pauses that are over."""
        self.suspended_s = manifest.suspended_seconds
        self._waiting_since: float | None = None
        self.waited_s = manifest.waiting_seconds
        """For messages, as far as it is over."""
        self._off_before = 0.0
        """How much of all three was before the present attempt."""

    def begin_again(self) -> None:
        """Another attempt."""
        limits = self._invocation.limits
        self.signals = Signals(limits.repeats, limits.reconnects)
        self._off_before = self._off_s
        self.note_life()

    def note_life(self) -> None:
        """Something was seen of the run just now."""
        self._last_life = boottime()

    @property
    def quiet_s(self) -> float:
        """Since the last sign of life."""
        return boottime() - self._last_life

    @property
    def _off_s(self) -> float:
        return self.paused_s + self.suspended_s + self.waited_s

    def pause(self, for_s: float = 0.0) -> None:
        """A pause begins, or began so long ago."""
        self._paused_since = boottime() - for_s

    def resume(self) -> None:
        """It is over, if there was one."""
        if self._paused_since is not None:
            self.paused_s += boottime() - self._paused_since
            self._paused_since = None
            self.note_life()

    def wait(self, for_s: float = 0.0) -> None:
        """It waits for a message, or does so for that long."""
        self._waiting_since = boottime() - for_s

    def go_on(self) -> float:
        """That is over, if it was so; how long it was."""
        if self._waiting_since is None:
            return 0.0
        waited_s, self._waiting_since = boottime() - self._waiting_since, None
        self.waited_s += waited_s
        return round(waited_s, 3)

    @property
    def waits_s(self) -> float:
        """For how long it waits now."""
        return 0.0 if self._waiting_since is None else boottime() - self._waiting_since

    def suspend(self, for_s: float) -> bool:
        """Its supervisor did not run for so long; False where the run was paused, which has that time."""
        if self._paused_since is not None:
            return False
        self.suspended_s += for_s
        self._last_life += for_s
        return True

    def breach(
        self, manifest: Manifest, spent: Spent, output_bytes: int, conformance: Conformance | None
    ) -> Reason | None:
        """The reason to stop the run now, or None. Tells warnings on the way.

        `spent` is what the run itself has spent, `output_bytes` of its present attempt. `conformance` None:
        the program has not said yet what it works with.
        """
        # On another machine, where its engine has begun it anew, its time begins anew as well.
        here = [one.process for one in manifest.attempts if _is_beside(one.process, manifest.process)]
        elapsed_s = age(here[0] if here else None) - self._off_s
        self._warn(*self._warnings(spent), self._clock.warning(elapsed_s))
        found = exceeded(
            self._invocation.limits,
            elapsed_s=elapsed_s,
            begun_s=age(manifest.process) - (self._off_s - self._off_before),
            idle_s=self.quiet_s,
            output_bytes=output_bytes,
        )
        return found or self._exceeded(spent) or self.signals.reason or self._drift(conformance)

    def overspent(self, spent: Spent) -> Reason | None:
        """As `breach`, for the budgets alone: an attempt that has ended may have been quicker than a look."""
        self._next_tree_look = 0.0
        self._warn(*self._warnings(spent))
        return self._exceeded(spent)

    def _warnings(self, spent: Spent) -> tuple[Warned | None, ...]:
        used, cost = spent
        told = (self._budget.warning(used), self._tree_budget.warning(self._tree(used)))
        return (*told, self._price.warning(cost or 0.0))

    def _exceeded(self, spent: Spent) -> Reason | None:
        used, cost = spent
        found = self._budget.exceeded(used) or self._tree_budget.exceeded(self._tree(used))
        return found or self._price.exceeded(cost or 0.0)

    def _warn(self, *found: Warned | None) -> None:
        for warned in found:
            if warned is not None:
                self._log.note("warning", **warned.to_json())

    def _tree(self, used: int) -> int:
        if self._invocation.limits.tree_tokens is None:
            return used
        if time.monotonic() > self._next_tree_look:
            self._next_tree_look = time.monotonic() + _TREE_S
            self._below = max(self._below, tree_tokens(self._run, used) - used)
        return used + self._below

    def _drift(self, conformance: Conformance | None) -> Reason | None:
        reason = None if conformance is None else drift(conformance)
        if reason is not None and not self._is_drift_told:
            self._is_drift_told = True
            self._log.note("warning", code=reason.code, message=reason.message)
        return reason if self._invocation.terms.conformance == "enforce" else None


class Warned(Value):
    """A warning, for the events: `code` says of which limit."""

    code: str
    message: str
    used: float
    limit: float


class Budget:
    """Tokens or a price against a limit. `limit` None: none. `name` is the key of the config.

    `is_warned`: an owner before us has warned already.
    """

    def __init__(self, name: str, limit: float | None, warn_at: float, *, is_warned: bool = False) -> None:
        self._name = name
        self._limit = limit
        self._warning = _Once(limit, warn_at, is_warned)

    def warning(self, used: float) -> Warned | None:
        """Once, when `used` has reached the part `warn_at` of the limit."""
        if self._limit is None or not self._warning.is_due(used):
            return None
        text = f"{_spent(self._name, used)}, {used / self._limit:.0%} of the limit of {self._limit}"
        return Warned(self._name, text, used, self._limit)

    def exceeded(self, used: float) -> Reason | None:
        """The reason to stop a run, or None. A budget is spent when nothing of it is left."""
        if self._limit is None or used < self._limit:
            return None
        policy = " or `max_tokens` of the policy" if self._name == TREE else ""
        return Reason(
            "budget_exceeded",
            f"{_spent(self._name, used)}, the limit is {self._limit}",
            f"raise `{self._name}` in the limits of the task{policy}, or split the task",
        )


class Clock:
    """The wall clock against `timeout_s`: a warning once, before the kill. The kill is `limits.exceeded`."""

    def __init__(self, timeout_s: float | None, warn_at: float, *, is_warned: bool = False) -> None:
        self._timeout_s = timeout_s
        self._warning = _Once(timeout_s, warn_at, is_warned)

    def warning(self, elapsed_s: float) -> Warned | None:
        """Once; None also where the limit itself is reached, which is more than a warning."""
        limit = self._timeout_s
        if limit is None or elapsed_s > limit or not self._warning.is_due(elapsed_s):
            return None
        left = limit - elapsed_s
        text = f"ran for {elapsed_s:.0f} s of at most {limit:g} s, {left:.0f} s are left"
        return Warned("timeout", text, round(elapsed_s, 3), limit)


class _Once:
    """True once, at the first value that has reached its part of the limit."""

    def __init__(self, limit: float | None, warn_at: float, is_done: bool) -> None:
        self._from = None if limit is None else limit * warn_at
        self._is_done = is_done

    def is_due(self, value: float) -> bool:
        if self._is_done or self._from is None or value < self._from:
            return False
        self._is_done = True
        return True


def _is_beside(one: Identity | None, other: Identity | None) -> bool:
    """Whether both are of one boot: only then their times can be compared."""
    return one is not None and other is not None and one.boot_id == other.boot_id


def exceeded(
    limits: Limits, *, elapsed_s: float, begun_s: float, idle_s: float, output_bytes: int
) -> Reason | None:
    """The reason to stop a run, or None. None of the times counts what was paused.

    `elapsed_s` is that of the run, `begun_s` and `output_bytes` those of its present attempt.
    """
    if limits.timeout_s is not None and elapsed_s > limits.timeout_s:
        return Reason("timeout", f"ran longer than its limit of {limits.timeout_s:g} s")
    if limits.start_timeout_s is not None and begun_s > limits.start_timeout_s and output_bytes == 0:
        return Reason("no_first_event", f"no event within {limits.start_timeout_s:g} s")
    if limits.idle_timeout_s is not None and idle_s > limits.idle_timeout_s:
        return Reason("stalled", f"no sign of life for {limits.idle_timeout_s:g} s")
    return None


def is_full(path: str) -> bool:
    """Whether the disk of that folder has next to no room left."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize < _FULL_BYTES


def _spent(name: str, used: float) -> str:
    return f"its price is {used:.4f}" if name == PRICE else f"{_WHOSE[name]} spent {used} tokens"


def _warned(run: RunDir) -> set[str]:
    """What an owner before us has warned of already."""
    return {str(event.get("code")) for event in read_events(run.events) if event.get("type") == "warning"}
