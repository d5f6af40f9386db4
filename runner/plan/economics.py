"""Whether delegating pays: the tokens of the one who delegates, and time. Pure.

Every number is an estimate from one project and one generation of models; `Economics` says how it was made.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Economics

WORTH_FROM = 5
"""Fewer units are not worth it."""
BREAK_EVEN_TO = 7
"""More units are."""
NOISE = 0.1
"""The part of the whole below which a difference says nothing."""
SLOWER = (1.7, 2.2)
"""How many times as long a delegated plan took, measured."""
_STANDARD_TOKENS = (36_600, 3_700)
_STANDARD_SECONDS = (117, 19)
_DELEGATED_SECONDS = (241, 37)


def net_tokens(units: int, batches: int, given: Economics) -> int:
    """What delegating costs more than not delegating; below 0 it saves."""
    return given.fixed + given.batch * batches - given.unit * units if units else 0


def batch_tokens(units: int, given: Economics) -> int:
    """The part of one batch in that; with `fixed` they add up to it."""
    return given.batch - given.unit * units


def within_noise(units: int, net: int) -> bool:
    """Whether the difference is less than a tenth of what the units cost without delegation."""
    base, each = _STANDARD_TOKENS
    return abs(net) < NOISE * (base + each * units)


def delegated_seconds(units: int) -> int:
    """How long the batches take one after the other."""
    return _DELEGATED_SECONDS[0] + _DELEGATED_SECONDS[1] * units if units else 0


def batch_seconds(number: int, units: int, batches: int) -> int:
    """The part of batch `number` in that; they add up to it."""
    share, rest = divmod(_DELEGATED_SECONDS[0], batches)
    return share + (number <= rest) + _DELEGATED_SECONDS[1] * units


def standard_seconds(units: int) -> int:
    """The time that the units take without delegating."""
    return _STANDARD_SECONDS[0] + _STANDARD_SECONDS[1] * units if units else 0


def verdict(units: int, net: int) -> str:
    """`not_worth`, `break_even` or `delegate`: by the number of units, and by the tokens where small batches
    make even a large plan dear.
    """
    if units < WORTH_FROM or (net > 0 and not within_noise(units, net)):
        return "not_worth"
    return "break_even" if units <= BREAK_EVEN_TO else "delegate"
