"""Plans for tests: short to write, and a reading of their batches that shares nothing with the product."""

from __future__ import annotations

import tomllib
from typing import Any

from runner.plan.batch import decide
from runner.plan.decision import Decision
from runner.plan.units import Files, Plan, Rules, Unit

__all__ = ["a_plan", "a_unit", "batches", "decided", "disjoint", "tables", "toml"]


def a_unit(name: str, *files: str, after: tuple[str, ...] = (), **more: Any) -> Unit:
    """A unit that modifies these files and lacks nothing."""
    given = {"tests": ("it works",), "verify": (("true",),), "files": Files(modify=files)} | more
    return Unit(name, f"do {name}", depends_on=after, **given)


def a_plan(*units: Unit) -> Plan:
    return Plan(units)


def disjoint(count: int, **more: Any) -> Plan:
    """Units U1, U2 ... that have nothing to do with each other."""
    return Plan(tuple(a_unit(f"U{n}", f"src/m{n}.py", **more) for n in range(1, count + 1)))


def decided(plan: Plan, **rules: Any) -> Decision:
    return decide(plan, Rules(**rules))


def batches(plan: Plan, **rules: Any) -> list[str]:
    """The ids of each batch, joined by a space."""
    return [" ".join(batch.units) for batch in decided(plan, **rules).batches]


def toml(*units: str) -> str:
    """A plan file of units, each given by the lines of its table."""
    return "\n".join(["schema_version = 1", *(f"[[units]]\n{unit}" for unit in units)]) + "\n"


def tables(text: str) -> dict[str, Any]:
    return tomllib.loads(text)
