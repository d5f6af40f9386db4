"""Fits the economics to batches that were run, by least squares over the tokens of each. Pure.

A run's tokens are those of the agent. That they stand for the tokens of the one who delegates is an
assumption: a unit saves what it costs the agent, a batch costs what every batch costs, however few units it
has.
"""

from __future__ import annotations

from runner.errors import Conflict
from runner.plan.decision import Warn
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.model import Economics

LEAST_RUNS = 3
LEAST_SIZES = 2
"""So many different numbers of units: a line needs two points."""
MOST = 10**9
"""The largest number that `[economics]` takes."""
_HINT = "only successful batches with known tokens count, and no rehearsals"


class Sample(Value):
    """A batch that was run: its units, the tokens it used without what was cached, and how long it took."""

    units: int
    tokens: int
    seconds: float | None


class Line(Value):
    """`batch + unit * n`; `residual` is by how much the measured values are off at most, and `held` names
    what would have been below 0.
    """

    batch: float
    unit: float
    residual: float
    held: tuple[str, ...] = ()


class Calibration(Value):
    """`economics` has the fitted numbers, and as `fixed` what it was before. `seconds` is None where too few
    runs tell their time.
    """

    economics: Economics
    before: Economics
    runs: int
    sizes: tuple[int, int]
    """Units of the smallest and of the largest batch."""
    residual_tokens: int
    seconds: Line | None
    warnings: tuple[Warn, ...]


def fit(samples: Sequence[Sample], before: Economics) -> Calibration:
    """Conflict where there are too few runs, or all are of the same size."""
    sizes = sorted({sample.units for sample in samples})
    if len(samples) < LEAST_RUNS or len(sizes) < LEAST_SIZES:
        raise Conflict(
            f"runs of batches: {len(samples)}, and at least {LEAST_RUNS} are needed; "
            f"different numbers of units in them: {len(sizes)}, and at least {LEAST_SIZES} are needed",
            hint=_HINT,
        )
    found = line([(sample.units, sample.tokens) for sample in samples])
    timed = [(sample.units, sample.seconds) for sample in samples if sample.seconds is not None]
    is_timed = len(timed) >= LEAST_RUNS and len({units for units, _ in timed}) >= LEAST_SIZES
    batch, unit = (min(round(value), MOST) for value in (found.batch, found.unit))
    return Calibration(
        economics=before.replace(batch=batch, unit=unit),
        before=before,
        runs=len(samples),
        sizes=(sizes[0], sizes[-1]),
        residual_tokens=round(found.residual),
        seconds=line(timed) if is_timed else None,
        warnings=tuple(_warnings(found)),
    )


def line(points: Sequence[tuple[int, float]]) -> Line:
    """The line that fits best among those that fall nowhere below 0 on the right; at least two different
    places, all to the right of 0. Whole numbers that lie on a line give exactly this line.
    """
    count, x, y = len(points), sum(at for at, _ in points), sum(value for _, value in points)
    xx, xy = sum(at * at for at, _ in points), sum(at * value for at, value in points)
    spread = count * xx - x * x
    batch, unit = (y * xx - x * xy) / spread, (count * xy - x * y) / spread
    held: tuple[str, ...] = ()
    if unit < 0:  # the best that is level: the mean
        batch, unit, held = y / count, 0.0, ("unit",)
    elif batch < 0:  # the best that begins at 0
        batch, unit, held = 0.0, xy / xx, ("batch",)
    residual = max(abs(value - batch - unit * at) for at, value in points)
    return Line(batch, unit, residual, held)


def _warnings(found: Line) -> Iterator[Warn]:
    if "unit" in found.held:
        why = "larger batches used fewer tokens"
        yield Warn("clamped", f"`unit` came out below 0, as {why}; it is set to 0, and `batch` to the mean")
    if "batch" in found.held:
        yield Warn("clamped", "`batch` came out below 0; it is set to 0, and `unit` is fitted with that")
    for name, value in (("batch", found.batch), ("unit", found.unit)):
        if round(value) > MOST:
            yield Warn(
                "clamped", f"`{name}` came out above {MOST:,}, the most that it can be; it is set to that"
            )
