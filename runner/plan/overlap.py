"""Which units write the same files and so have to stay together. Pure.

Paths and globs follow the grammar of a scope (`runner.text.globs`). Plain paths are compared through their
folders, in linear time. A glob is compared with what lies below its plain beginning, as long as that stays
within a few comparisons per entry of the plan; beyond it a glob counts as the whole folder, which keeps more
together than necessary. A plain path may be a file or a folder; where a glob is compared with it, a name with
an extension counts as a file, or `**/*.py` would keep every unit together.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from runner.plan.graph import Sets
from runner.text import globs
from runner.value import Value

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
    """`root` is, for each unit, the lowest unit that it has to stay with. `first` is the first unit that
    writes a path, `several` are all of them where there are more; `hubs` are those of paths that keep nothing
    together.
    """

    root: list[int]
    first: dict[str, int]
    several: dict[str, list[int]]
    hubs: dict[str, list[int]]
    coarse: tuple[str, ...]


def shared(units: Sequence[Unit], left_out: Mapping[int, object], hubs: tuple[str, ...]) -> Shared:
    """The groups of `units`; those of `left_out` have one each."""
    first: dict[str, int] = {}
    several: dict[str, list[int]] = {}
    for number, unit in enumerate(units):
        if number not in left_out:
            files = unit.files
            for path in (*files.create, *files.modify):
                owner = first.setdefault(path, number)
                if owner != number:
                    who = several.setdefault(path, [owner])
                    if who[-1] != number:  # it may create and modify the same
                        who.append(number)
    exempt = {}
    for path in [path for path in first if path[path.rfind("/") + 1 :] in _HUBS]:
        exempt[path] = several.pop(path, [first.pop(path)])
    for path in [path for path in first if globs.covers(hubs, path)] if hubs else ():
        exempt[path] = several.pop(path, [first.pop(path)])
    sets = Sets(len(units))
    coarse = join(sets, first, several)
    shared_hubs = {path: who for path, who in exempt.items() if len(who) > 1}
    return Shared(list(map(sets.find, range(len(units)))), first, several, shared_hubs, coarse)


def join(sets: Sets, first: Mapping[str, int], several: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """Unites the owners of paths that overlap; the globs that had to count as a whole folder."""
    for who in several.values():
        for other in who[1:]:
            sets.union(who[0], other)
    wild = [path for path in first if "*" in path or "?" in path or "[" in path or "\\" in path]
    plain = dict(first)
    for path in wild:
        del plain[path]
    exact, coarse = _affordable(sorted(wild), sorted(plain) if wild else [], len(first))
    for path in coarse:
        folder, owner = _base(path), first[path]
        sets.union(plain.setdefault(folder, owner), owner)
    root = plain.pop("", None)
    for owner in () if root is None else first.values():
        sets.union(root or 0, owner)
    _join_folders(sets, plain)
    _join_globs(sets, first, exact, plain)
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
    above = {path[: path.rfind("/")] for path in plain if "/" in path}
    while above and plain.keys().isdisjoint(above):
        above = {folder[: folder.rfind("/")] for folder in above if "/" in folder}
    if not above:  # as in most plans, which name files only
        return
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


def _join_globs(sets: Sets, first: Mapping[str, int], exact: list[str], plain: Mapping[str, int]) -> None:
    paths = sorted(plain) if exact else []
    known: dict[str, int | None] = {}
    for number, pattern in enumerate(exact):
        owner, folder = first[pattern], _base(pattern)
        around = _around(folder, plain, known)
        if around is not None:
            sets.union(around, owner)
        low, high = _below(paths, folder)
        candidates = [(path, plain[path]) for path in paths[low:high]]
        candidates += [(other, first[other]) for other in exact[:number]]
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
