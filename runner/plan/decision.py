"""The answer of `runner plan`: the decision, the batches and the warnings. Pure."""

from __future__ import annotations

from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANYWAY = "--force-delegate delegates anyway, for price, preference or quota"
"""How the reason of a decision against a plan ends."""


class Batch(Value):
    """Units that are done by one run, in the order in which they depend on each other.

    `files` may be written. `effort` None means the runtime's own default. `est_tokens` is what this batch
    adds to the tokens of the one who delegates (below 0: saves). `after` has the numbers of the batches that
    it waits for; it is not part of the JSON.
    """

    n: int
    units: tuple[str, ...]
    files: tuple[str, ...]
    effort: str | None
    verify: tuple[tuple[str, ...], ...]
    chained: bool
    wave: int
    est_tokens: int
    est_seconds: int
    after: tuple[int, ...] = ()
    model: str | None = None
    """As the units name it; None is that of the task."""

    def to_json(self) -> dict[str, Any]:
        shown = super().to_json()
        del shown["after"]
        return shown


class Local(Value):
    """A unit that is not delegated. `reason`: `done`, `trivial`, `outside_repo` or `tied_to_local`."""

    unit: str
    reason: str


class Warn(Value):
    """Worth a look, and no reason to stop. Codes are stable."""

    code: str
    message: str
    units: tuple[str, ...] = ()


class Estimate(Value):
    """`units` and `batches` are delegated. `net_tokens` > 0: delegating costs so many more than not."""

    units: int
    batches: int
    net_tokens: int
    within_noise: bool
    seconds: int


class Decision(Value):
    """`decision`: `delegate`, `skip`, `not_worth` or `break_even`. The batches are there for all but `skip`,
    as a person may still choose to delegate.
    """

    decision: str
    reason: str
    verdict: Estimate
    batches: tuple[Batch, ...]
    local: tuple[Local, ...]
    warnings: tuple[Warn, ...]
    glue_files: tuple[str, ...]
