"""Which pipeline of new settings stands for one that is gone from them. Pure."""

from __future__ import annotations

import itertools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from runner.text.positions import Path


def renamed(before: Collection[Path], after: Collection[Path]) -> dict[Path, Path]:
    """New stage -> the one of its name, for which it stands, in a pipeline that is gone: each such pipeline
    has one successor at most, the new one that has most of its stages.
    """
    gone: dict[Path, set[Path]] = {}
    come: dict[Path, set[Path]] = {}
    for found, side, other in ((gone, before, after), (come, after, before)):
        for one in side:
            if len(one) == 3 and one[:2] not in other:
                found.setdefault(one[:2], set()).add(one[2:])
    pairs = sorted(itertools.product(gone, come), key=lambda pair: -len(gone[pair[0]] & come[pair[1]]))
    successors: dict[Path, Path] = {}
    for was, now in pairs:
        if was not in successors and now not in successors.values():
            successors[was] = now
    return {
        (*now, *stage): (*was, *stage) for was, now in successors.items() for stage in gone[was] & come[now]
    }
