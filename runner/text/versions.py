"""Version constraints of `[runtimes.X] version`, e.g. ">=0.150,<2". Pure, imports nothing.

`packaging` would be a dependency of every start; agent CLIs use semver, which this follows:
https://semver.org/#spec-item-11 (a pre-release comes before its release).
"""

from __future__ import annotations

OPERATORS = (">=", "<=", "==", "!=", ">", "<")
WANTED = 'a list such as ">=0.150" or ">=0.150,<2" (operators >=, >, <=, <, ==, !=)'

TYPE_CHECKING = False
if TYPE_CHECKING:
    Constraint = tuple[str, tuple[int, ...]]


def parse_constraint(text: str) -> tuple[Constraint, ...]:
    """`(operator, numbers)` per part; ValueError says what would be right."""
    return tuple(_part(part.strip()) for part in text.split(","))


def satisfies(version: str, constraint: str) -> bool:
    """Whether `version` (as the program prints it) is within `constraint`."""
    numbers, release = _version(version)
    return all(_holds(operator, numbers, release, bound) for operator, bound in parse_constraint(constraint))


def _part(part: str) -> Constraint:
    operator = next((op for op in OPERATORS if part.startswith(op)), None)
    if operator is None:
        raise ValueError(f"expected {WANTED}")
    numbers = _numbers(part[len(operator) :].strip())
    if numbers is None:
        raise ValueError(f"expected {WANTED}")
    return operator, numbers


def _numbers(text: str) -> tuple[int, ...] | None:
    parts = text.split(".")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        return None
    return tuple(int(part) for part in parts)


def _version(text: str) -> tuple[tuple[int, ...], bool]:
    """The numbers, and whether this is a release (False: "1.2.0-alpha.3")."""
    core = text.strip().removeprefix("v").partition("+")[0]
    core, dash, _ = core.partition("-")
    numbers = _numbers(core)
    if numbers is None:
        raise ValueError(f"not a version: {text!r}")
    return numbers, not dash


def _holds(operator: str, numbers: tuple[int, ...], release: bool, bound: tuple[int, ...]) -> bool:
    size = max(len(numbers), len(bound))
    left = (*numbers, *[0] * (size - len(numbers)), int(release))
    right = (*bound, *[0] * (size - len(bound)), 1)
    return {
        ">=": left >= right,
        "<=": left <= right,
        "==": left == right,
        "!=": left != right,
        ">": left > right,
        "<": left < right,
    }[operator]
