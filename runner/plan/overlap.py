"""Which units write the same files, so that they have to stay together. Pure.

Paths and globs follow the grammar of a scope (`runner.verify.globs`). Plain paths are compared through their
folders, in linear time. A glob is compared with what lies below its plain beginning, as long as that stays
within a few comparisons per entry of the plan; beyond it a glob counts as the whole folder, which keeps more
together than necessary. A plain path may be a file or a folder; where a glob is compared with it, a name with
an extension counts as a file, or `**/*.py` would keep every unit together.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from runner.plan.graph import Sets
from runner.value import Value
from runner.verify import globs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.plan.units import Unit

_WILD = re.compile(r"[*?\[\\]")
_LITERAL_ENDS = re.compile(r"^([^*?\[\\]*).*?([^*?\]\\]*)$", re.DOTALL)
_HUBS = frozenset(
    (
        *("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"),
        *("deno.lock", "Cargo.lock", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "go.sum"),
        *("Gemfile.lock", "composer.lock", "mix.lock", "pubspec.lock", "Podfile.lock", "flake.lock"),
        *("CHANGELOG", "CHANGELOG.md", "CHANGELOG.rst", "CHANGELOG.txt", "CHANGES.md", "CHANGES.rst"),
    )
)
"""Files that nearly every change touches in a place of its own, or that a tool writes."""
_TESTS_PER_ENTRY = 4
_TESTS_AT_LEAST = 10_000


class Shared(Value):
    """`root` is, for each unit, the lowest unit that it has to stay with. `owners` are the units of each path
    that keeps units together, `hubs` those of each that does not.
    """

    root: list[int]
    owners: dict[str, list[int]]
    hubs: dict[str, list[int]]
    coarse: tuple[str, ...]


def shared(units: Sequence[Unit], left_out: Mapping[int, object], hubs: tuple[str, ...]) -> Shared:
    """The groups of `units`; those of `left_out` have one each."""
    owners: dict[str, list[int]] = {}
    for number, unit in enumerate(units):
        if number not in left_out:
            for path in (*unit.files.create, *unit.files.modify):
                owners.setdefault(path, []).append(number)
    exempt = {
        path: owners.pop(path)
        for path in [*owners]
        if path[path.rfind("/") + 1 :] in _HUBS or (hubs and globs.covers(hubs, path))
    }
    sets = Sets(len(units))
    coarse = join(sets, owners)
    return Shared([sets.find(number) for number in range(len(units))], owners, exempt, coarse)


def join(sets: Sets, owners: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """Unites the owners of paths that overlap; the globs that had to count as a whole folder."""
    for who in owners.values():
        for other in who[1:]:
            sets.union(who[0], other)
    wild = [path for path in owners if "*" in path or "?" in path or "[" in path or "\\" in path]
    plain = {path: who[0] for path, who in owners.items()}
    for path in wild:
        del plain[path]
    exact, coarse = _affordable(sorted(wild), sorted(plain), len(owners))
    for path in coarse:
        folder, first = _base(path), owners[path][0]
        if not folder:
            for who in owners.values():
                sets.union(first, who[0])
        sets.union(plain.setdefault(folder, first), first)
    _join_folders(sets, plain)
    _join_globs(sets, owners, exact, plain)
    return tuple(coarse)


def meet(one: str, other: str) -> bool:
    """Whether a path may be covered by both. True where both names
    of a segment have wildcards between equal ends.
    """
    a, b = _segments(one), _segments(other)
    row = [True] + [False] * len(b)
    for j, segment in enumerate(b):
        row[j + 1] = row[j] and segment == "**"
    for first in a:
        above, row = row, [row[0] and first == "**"]
        for j, second in enumerate(b):
            # A `**` is no segment, or takes one of the other side and stays where it is.
            either = first == "**" or second == "**"
            reached = above[j + 1] or row[j] if either else above[j] and _alike(first, second)
            row.append(reached)
    return row[-1]


def _affordable(wild: list[str], plain: list[str], entries: int) -> tuple[list[str], list[str]]:
    left = max(_TESTS_AT_LEAST, _TESTS_PER_ENTRY * entries)
    exact: list[str] = []
    coarse: list[str] = []
    for path in wild:
        low, high = _below(plain, _base(path))
        cost = high - low + len(exact)
        (exact if cost <= left else coarse).append(path)
        left -= cost if cost <= left else 0
    return exact, coarse


def _join_folders(sets: Sets, plain: Mapping[str, int]) -> None:
    """Unites each path with the nearest folder above it that is itself an entry."""
    known: dict[str, int | None] = {}
    for path, owner in plain.items():
        folder = path[: max(path.rfind("/"), 0)]
        around = known[folder] if folder in known else _around(folder, plain, known)
        if around is not None:
            sets.union(around, owner)


def _around(folder: str, plain: Mapping[str, int], known: dict[str, int | None]) -> int | None:
    way = [folder]
    while folder and folder not in known and folder not in plain:
        way.append(folder)
        folder = folder.rpartition("/")[0]
    found = plain.get(folder, known.get(folder)) if folder else None
    for passed in way:
        known[passed] = found
    return found


def _join_globs(
    sets: Sets, owners: Mapping[str, Sequence[int]], exact: list[str], plain: Mapping[str, int]
) -> None:
    paths = sorted(plain) if exact else []
    known: dict[str, int | None] = {}
    for number, pattern in enumerate(exact):
        owner, folder = owners[pattern][0], _base(pattern)
        around = _around(folder, plain, known)
        if around is not None:
            sets.union(around, owner)
        low, high = _below(paths, folder)
        candidates = [(path, plain[path]) for path in paths[low:high]]
        candidates += [(other, owners[other][0]) for other in exact[:number]]
        for path, other in candidates:
            if sets.find(other) != sets.find(owner) and meet(pattern, path):
                sets.union(other, owner)


def _below(paths: list[str], folder: str) -> tuple[int, int]:
    """The slice of the sorted paths that lie below the folder; `0` is the character after `/`."""
    return (bisect_left(paths, folder + "/"), bisect_left(paths, folder + "0")) if folder else (0, len(paths))


def _base(pattern: str) -> str:
    """The folders before the first segment with a wildcard."""
    plain: list[str] = []
    for segment in pattern.split("/"):
        if _WILD.search(segment):
            break
        plain.append(segment)
    return "/".join(plain)


def _segments(pattern: str) -> list[str]:
    segments = pattern.split("/")
    is_file = "." in segments[-1][1:]
    return segments if is_file or _WILD.search(segments[-1]) else [*segments, "**"]


def _alike(one: str, other: str) -> bool:
    """Whether two segments may be the same name."""
    wild, plain = (one, other) if _WILD.search(one) else (other, one)
    if not _WILD.search(wild):
        return one == other
    if not _WILD.search(plain):
        return globs.matches(wild, plain)
    ends = [_LITERAL_ENDS.match(segment) for segment in (one, other)]
    (head, tail), (head2, tail2) = [(end[1], end[2]) if end else ("", "") for end in ends]
    heads = head.startswith(head2) or head2.startswith(head)
    return heads and (tail.endswith(tail2) or tail2.endswith(tail))
