"""What is spent of a limit: a warning once when most of it is, and the end when all of it is. Pure."""

from __future__ import annotations

from runner.model import Reason
from runner.value import Value

RUN, TREE = "tokens", "tree_tokens"
_WHOSE = {RUN: "it", TREE: "it and the runs that it has started"}


class Warned(Value):
    """A warning, for the events: `code` says of which limit."""

    code: str
    message: str
    used: float
    limit: float


class Budget:
    """Tokens against a limit. `limit` None: none. `name` is the key of the config, RUN or TREE.

    `is_warned`: an owner before us has warned already.
    """

    def __init__(self, name: str, limit: int | None, warn_at: float, *, is_warned: bool = False) -> None:
        self._name = name
        self._limit = limit
        self._warning = _Once(limit, warn_at, is_warned)

    def warning(self, used: int) -> Warned | None:
        """Once, when `used` has reached the part `warn_at` of the limit."""
        if self._limit is None or not self._warning.is_due(used):
            return None
        text = f"{_spent(self._name, used)}, {used / self._limit:.0%} of the limit of {self._limit}"
        return Warned(self._name, text, used, self._limit)

    def exceeded(self, used: int) -> Reason | None:
        """The reason to stop a run, or None. A budget is spent when nothing of it is left."""
        if self._limit is None or used < self._limit:
            return None
        return Reason(
            "budget_exceeded",
            f"{_spent(self._name, used)}, and the limit is {self._limit}",
            f"raise `{self._name}` in the limits of the task, or divide the task",
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


def _spent(name: str, used: int) -> str:
    return f"{_WHOSE[name]} spent {used} tokens"
