"""The reasoning effort for a batch. Pure.

A unit's own `effort` counts; where it has none, its risk, its paths and its size give one. A batch gets the
highest of its units, and at least the floor.
"""

from __future__ import annotations

import re

from runner.plan.units import EFFORTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner.plan.units import Unit

_WIDE = 8
"""So many files to write are a wide surface."""
_WORDS = ("auth", "login", "passw", "secret", "payment", "billing", "migration", "webhook")
_RISKY = re.compile(
    r"(?<![a-z])(?:auth|oauth|authn|authz|authentication|authorization|login|passwords?|secrets?|payments?"
    r"|billing|migrations?|webhooks?)(?![a-z])",
    re.IGNORECASE,
)
_CROSS = re.compile(r"architectur|cross-?cutting", re.IGNORECASE)
_DOCS = (".md", ".rst", ".txt", ".adoc")


def of_batch(units: Iterable[Unit], floor: str | None) -> str | None:
    """The effort of a run that does these units; None is the runtime's own default."""
    whole = tuple(units)
    # Once for all of them, as most batches have nothing of it.
    alarming = _may_be_risky([path for unit in whole for path in (*unit.files.create, *unit.files.modify)])
    picked = max((of_unit(unit, alarming) for unit in whole), key=EFFORTS.index)
    if floor is not None:
        picked = max("medium" if picked == "default" else picked, floor, key=EFFORTS.index)
    return None if picked == "default" else picked


def of_unit(unit: Unit, alarming: bool = True) -> str:
    """One of `EFFORTS`. Not `alarming`: its paths are known to have no word of risk."""
    if unit.effort is not None:
        return unit.effort
    if unit.risk and (len(unit.risk) > 1 or _CROSS.search(unit.risk[0])):
        return "xhigh"
    written = (*unit.files.create, *unit.files.modify)
    if unit.risk or len(written) >= _WIDE or (alarming and _RISKY.search("\n".join(written))):
        return "high"
    if unit.trivial or (written and written[0].endswith(_DOCS) and all(p.endswith(_DOCS) for p in written)):
        return "default"
    return "medium"


def _may_be_risky(paths: Iterable[str]) -> bool:
    lower = "\n".join(paths).lower()
    return any(word in lower for word in _WORDS)
