"""One thing that settings say, and what a change of it lets runs do. Pure.

Where nobody can say which of two values lets a run do more, the change counts as if it did.
"""

from __future__ import annotations

from runner.text.durations import parse_duration
from runner.text.globs import around
from runner.text.memory import parse_memory
from runner.text.versions import parse_constraint
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from typing import Any

    from runner.model import Price
    from runner.text.positions import Path

    Compare = Callable[[Any, Any], str]

WIDENS, NARROWS, OTHER = "widens", "narrows", "other"


class Fact(Value):
    """`path` says it; `via` has chosen the table that does."""

    rule: str
    compare: Compare
    value: Any
    path: Path
    via: Path = ()
    is_time: bool = False


def ranked(*order: Any) -> Compare:
    """From narrow to wide; what has no place there widens."""

    def compare(before: Any, after: Any) -> str:
        is_known = before in order and after in order
        return NARROWS if is_known and order.index(after) < order.index(before) else WIDENS

    return compare


def usual(usual: Any) -> Compare:
    return lambda _, after: NARROWS if after == usual else WIDENS


def more(before: float | None, after: float | None) -> str:
    """None is no limit."""
    return WIDENS if before is not None and (after is None or after > before) else NARROWS


def grown(around: Callable[[str], Sequence[Hashable]]) -> Compare:
    """`around`: one of a list that grants, in its only form, then what else covers all of it. None is all."""

    def compare(before: Sequence[str] | None, after: Sequence[str] | None) -> str:
        if before is None or after is None:
            return WIDENS if after is None else NARROWS
        wide = {around(one)[0] for one in before}
        return NARROWS if all(not wide.isdisjoint(around(one)) for one in after) else WIDENS

    return compare


def lost(compare: Compare) -> Compare:
    return lambda kept, still_kept: compare(still_kept, kept)


def _above(host: str) -> tuple[str, ...]:
    parts = host.removeprefix("*.").split(".")
    return (host, *(f"*.{'.'.join(parts[n:])}" for n in range(1, len(parts))))


added, hosts, globs = grown(lambda name: (name,)), grown(_above), grown(around)
folders, kept = grown(lambda path: around(f"{path}/")), lost(added)


def pasted(before: Sequence[str], after: Sequence[str]) -> str:
    """`!` takes files out."""
    out, still_out = ([one for one in some if one[0] == "!"] for some in (before, after))
    is_less = globs(still_out, out) == NARROWS
    return globs(before, [one for one in after if one[0] != "!"]) if is_less else WIDENS


def versions(before: str | None, after: str | None) -> str:
    """Each bound of BASE has to stand at HEAD, or more than `>=` asked for."""
    was, come = ({*parse_constraint(text)} if text else set() for text in (before, after))
    least = [bound for sign, bound in come if sign in ("==", ">", ">=")]
    held = (op == ">=" and any(new >= old for new in least) for op, old in was - come)
    return NARROWS if all(held) else WIDENS


def neutral(before: Any, after: Any) -> str:
    return OTHER


def cheaper(before: Price | None, after: Price | None) -> str:
    """A limit in money lets more through."""
    was, now = (tuple(one.to_json().values()) if one else () for one in (before, after))
    return WIDENS if was and (not now or any(b < a for a, b in zip(was, now, strict=True))) else OTHER


def measured(read: Callable[[str], float]) -> Compare:
    """Of texts that are amounts for `read`; of one that is none nobody can say which it stands for."""

    def compare(before: str | None, after: str | None) -> str:
        try:
            return more(read(before or ""), read(after or ""))
        except ValueError:
            return WIDENS

    return compare


memory, time = measured(parse_memory), measured(parse_duration)
anything = ranked()
