"""How far a plan is: its batches, the runs that they became, and the breaker. Pure.

Written by the conductor before and after everything it does, read by its supervisor, by `status` and by
whoever goes on with the plan. An agent without a sandbox can reach the file, so `parse` believes no shape.
"""

from __future__ import annotations

from enum import StrEnum

from runner.model import Lineage
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any


class Status(StrEnum):
    """Of a batch."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PARKED = "parked"
    """Stopped by what is no fault of the batch: it is tried again when the plan goes on."""
    DONE = "done"
    """A person says that all of it is done."""


_OVER = (Status.SUCCEEDED, Status.DONE)
_STOPPED = (Status.FAILED, Status.PARKED)


class Why(Value):
    """Why a batch did not succeed, or a plan is parked; the codes are those of runs."""

    code: str
    message: str


class Step(Value):
    """One batch and what became of it."""

    n: int
    units: tuple[str, ...]
    after: tuple[int, ...] = ()
    """The batches that it waits for."""
    local: tuple[str, ...] = ()
    """The units that it waits for and that are not delegated."""
    wave: int = 1
    status: Status = Status.WAITING
    run: Lineage | None = None
    """The latest try."""
    tries: int = 0
    why: Why | None = None
    """Of the latest try, where it did not succeed."""
    commit: str | None = None
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """What tries that did not succeed have left in the work tree."""
    outside: tuple[str, ...] = ()
    """What it changed although its units do not name it."""


class Breaker(Value):
    """Stops a plan whose batches fail in a row, until a person says that it may go on."""

    limit: int
    failures: int = 0
    """In a row, over all runs of the plan."""
    is_open: bool = False
    parked: Why | None = None
    """What stopped the plan without being a failure of a batch."""

    @property
    def lets_through(self) -> bool:
        return not self.is_open and self.parked is None


class Ledger(Value):
    """The whole; every change is a new one."""

    file: str
    title: str | None
    steps: tuple[Step, ...]
    breaker: Breaker
    local: tuple[str, ...] = ()
    """Units that are not delegated."""
    done: tuple[str, ...] = ()
    """Units that a person says are done."""
    base: str | None = None
    """The commit that the plan began with."""
    tip: str | None = None
    """The base with the work of all batches so far; a commit that no ref may name."""
    resumed_from: Lineage | None = None
    together: tuple[int, ...] = ()
    """Batches whose changes are in one work tree by now and were not seen to pass there."""

    # -- questions -----------------------------------------------------------------------------------

    def step(self, n: int) -> Step:
        return self.steps[n - 1]

    @property
    def is_complete(self) -> bool:
        """Whether every batch is done and nothing is left to be verified; units that are not delegated do not
        count.
        """
        return not self.together and all(step.status in _OVER for step in self.steps)

    def runnable(self) -> tuple[Step, ...]:
        """The batches that may begin now, in their order; none once the breaker has stopped the plan."""
        if not self.breaker.lets_through:
            return ()
        over = {step.n for step in self.steps if step.status in _OVER}
        return tuple(
            step
            for step in self.steps
            if step.status is Status.WAITING and over.issuperset(step.after) and not self.missing(step)
        )

    def missing(self, step: Step) -> tuple[str, ...]:
        """The units not delegated that it waits for, and that nobody has done yet."""
        return tuple(unit for unit in step.local if unit not in self.done)

    def blocking(self, step: Step) -> tuple[int, ...]:
        """The batches that stand in its way: they stopped, or wait for one that did."""
        stopped: set[int] = set()
        for other in self.steps:
            if other.status in _STOPPED or (
                other.status is Status.WAITING and (stopped.intersection(other.after) or self.missing(other))
            ):
                stopped.add(other.n)
        return tuple(n for n in step.after if n in stopped)

    @property
    def left(self) -> tuple[str, ...]:
        """The units that are to be delegated and are not done."""
        return tuple(
            unit
            for step in self.steps
            if step.status not in _OVER
            for unit in step.units
            if unit not in self.done
        )

    # -- changes -------------------------------------------------------------------------------------

    def began(self, n: int, run: Lineage) -> Ledger:
        """The batch is about to become this run."""
        step = self.step(n)
        return self._with(step.replace(status=Status.RUNNING, run=run, tries=step.tries + 1, why=None))

    def succeeded(
        self, n: int, *, changed: Iterable[str], outside: Iterable[str] = (), commit: str | None = None
    ) -> Ledger:
        step = self.step(n).replace(
            status=Status.SUCCEEDED,
            why=None,
            changed=tuple(sorted({*changed})),
            kept=(),
            outside=tuple(outside),
            commit=commit,
        )
        return self._with(step).replace(breaker=self.breaker.replace(failures=0))

    def failed(self, n: int, why: Why, *, kept: Iterable[str] = ()) -> Ledger:
        """Counts; the last of so many in a row opens the breaker."""
        failures = self.breaker.failures + 1
        breaker = self.breaker.replace(
            failures=failures, is_open=self.breaker.is_open or failures >= self.breaker.limit
        )
        return self._with(self._stopped(n, Status.FAILED, why, kept)).replace(breaker=breaker)

    def parked(self, n: int, why: Why, *, kept: Iterable[str] = ()) -> Ledger:
        """Counts for nothing, and stops the plan."""
        breaker = self.breaker.replace(parked=self.breaker.parked or why)
        return self._with(self._stopped(n, Status.PARKED, why, kept)).replace(breaker=breaker)

    def refused(self, n: int, why: Why) -> Ledger:
        """It never became a run, which stops the plan."""
        step = self.step(n)
        ledger = self._with(step.replace(run=None, tries=step.tries - 1))
        return ledger.parked(n, why)

    def stops(self, why: Why) -> Ledger:
        """Nothing more begins; no batch is to blame, and what is done stays done."""
        return self.replace(breaker=self.breaker.replace(parked=self.breaker.parked or why))

    def waits(self, n: int, *, kept: Iterable[str] = ()) -> Ledger:
        """Its run came to nothing that counts, so it is to be tried again, unless a person did all of it."""
        is_done = all(unit in self.done for unit in self.step(n).units)
        return self._with(self._stopped(n, Status.DONE if is_done else Status.WAITING, None, kept))

    def again(
        self,
        resumed_from: Lineage,
        *,
        done: Collection[str] = (),
        reset: bool = False,
        limit: int | None = None,
    ) -> Ledger:
        """As another run goes on with it. What did not succeed may be tried again; an open breaker stays open
        unless a person resets it.
        """
        known = (*self.done, *(unit for unit in done if unit not in self.done))
        steps = tuple(_again(step, known) for step in self.steps)
        breaker = self.breaker.replace(parked=None, limit=limit or self.breaker.limit)
        if reset:
            breaker = breaker.replace(failures=0, is_open=False)
        return self.replace(steps=steps, breaker=breaker, done=known, resumed_from=resumed_from)

    def _stopped(self, n: int, status: Status, why: Why | None, kept: Iterable[str]) -> Step:
        step = self.step(n)
        return step.replace(status=status, why=why, kept=tuple(sorted({*step.kept, *kept})))

    def _with(self, step: Step) -> Ledger:
        steps = (*self.steps[: step.n - 1], step, *self.steps[step.n :])
        return self.replace(steps=steps)

    # -- what a manifest shows -----------------------------------------------------------------------

    def shown(self, *, is_over: bool = False) -> dict[str, Any]:
        """For `manifest.plan`. Where the conductor `is_over`, nobody looks after what still was running."""
        return {
            "file": self.file,
            "title": self.title,
            "batches": [self._shown(step, is_over) for step in self.steps],
            "breaker": {
                "limit": self.breaker.limit,
                "failures": self.breaker.failures,
                "open": self.breaker.is_open,
                "parked": None if self.breaker.parked is None else self.breaker.parked.to_json(),
            },
            "left": list(self.left),
            "local": [unit for unit in self.local if unit not in self.done],
            "resumed_from": None if self.resumed_from is None else self.resumed_from.manifest_path,
        }

    def _shown(self, step: Step, is_over: bool) -> dict[str, Any]:
        status: str = step.status
        if step.status is Status.RUNNING and is_over:
            status = "interrupted"
        elif step.status is Status.WAITING and (self.blocking(step) or self.missing(step)):
            status = "blocked"
        return {
            "n": step.n,
            "units": list(step.units),
            "status": status,
            "waits_for": [*self.blocking(step), *self.missing(step)] if status == "blocked" else [],
            "run_id": None if step.run is None else step.run.run_id,
            "manifest_path": None if step.run is None else step.run.manifest_path,
            "tries": step.tries,
            "reason": None if step.why is None else step.why.to_json(),
            "commit": step.commit,
            "outside": list(step.outside),
        }


def _again(step: Step, done: Collection[str]) -> Step:
    if step.status in _OVER or step.status is Status.RUNNING:  # of what ran, its run is asked first
        return step
    if all(unit in done for unit in step.units):
        return step.replace(status=Status.DONE, why=None)
    return step.replace(status=Status.WAITING)


def parse(data: Any) -> Ledger:
    """The inverse of `to_json`; ValueError where it is none."""
    try:
        steps = tuple(_step(one, n) for n, one in enumerate(data["steps"], 1))
        breaker = data["breaker"]
        return Ledger(
            file=_text(data["file"]),
            title=_text_or_none(data["title"]),
            steps=steps,
            breaker=Breaker(
                _count(breaker["limit"]),
                _count(breaker["failures"]),
                breaker["is_open"] is not False,
                _why(breaker["parked"]),
            ),
            local=_texts(data["local"]),
            done=_texts(data["done"]),
            base=_text_or_none(data["base"]),
            tip=_text_or_none(data["tip"]),
            resumed_from=_lineage(data["resumed_from"]),
            together=tuple(_number_of(n, steps) for n in data["together"]),
        )
    except KeyError as error:
        raise ValueError(f"`{error.args[0]}` is missing") from None
    except (TypeError, AttributeError):
        raise ValueError("something in it is of another kind than it must be") from None


def _step(data: Any, n: int) -> Step:
    if _count(data["n"]) != n:
        raise ValueError("the batches are not in their order")
    after = tuple(map(_count, data["after"]))
    if not all(0 < other < n for other in after):
        raise ValueError(f"batch {n} waits for one that is not before it")
    return Step(
        n=n,
        units=_texts(data["units"]),
        after=after,
        local=_texts(data["local"]),
        wave=_count(data["wave"]),
        status=Status(data["status"]),
        run=_lineage(data["run"]),
        tries=_count(data["tries"]),
        why=_why(data["why"]),
        commit=_text_or_none(data["commit"]),
        changed=_texts(data["changed"]),
        kept=_texts(data["kept"]),
        outside=_texts(data["outside"]),
    )


def _number_of(n: Any, steps: tuple[Step, ...]) -> int:
    if not 0 < _count(n) <= len(steps):
        raise ValueError(f"there is no batch {n}")
    return int(n)


def _why(data: Any) -> Why | None:
    return None if data is None else Why(_text(data["code"]), _text(data["message"]))


def _lineage(data: Any) -> Lineage | None:
    if data is None:
        return None
    return Lineage(_text(data["task_id"]), _text(data["run_id"]), _text(data["manifest_path"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return tuple(map(_text, value))


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError("no count")
    return value
