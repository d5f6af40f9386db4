"""What earlier tries of a run have left in the same work tree: how much of it still stands. Edge: disk, git.

A further try that finds all of it right has nothing left to change. So it is judged by what stands against
the state before the first try, of the files that any of the tries has changed.
"""

from __future__ import annotations

from runner.errors import RunnerError
from runner.invocation import Earlier
from runner.value import Value
from runner.workspace.changes import strayed
from runner.workspace.files import read_record, write_json
from runner.workspace.snapshot import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner.workspace.snapshot import Snapshot

_RECORD = "earlier.json"


class Leftover(Value):
    """`paths` are those of earlier tries; of these `changed` differ from the state before the first one,
    `added` were not there then, and `dirty` had uncommitted changes then.
    """

    paths: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    dirty: frozenset[str] = frozenset()

    def instead(self, names: Iterable[str], of_then: frozenset[str]) -> set[str]:
        """`names` of this run, but for the paths of earlier tries those `of_then`."""
        return {*names} - self.paths | of_then


def keep(folder: str, earlier: Earlier) -> None:
    """For the run of this folder."""
    write_json(f"{folder}/{_RECORD}", earlier.to_json())


def load_earlier(folder: str) -> Earlier | None:
    """What was kept there."""
    return read_record(f"{folder}/{_RECORD}", Earlier)


def first_of(snapshot: Snapshot) -> tuple[Snapshot | None, frozenset[str]]:
    """The snapshot of the first try in this tree, if it is known, and the paths that the tries changed."""
    earlier = load_earlier(snapshot.folder)
    if earlier is None:
        return None, frozenset()
    try:
        first = load(earlier.base)
    except RunnerError:
        first = None
    if first is not None and first.root != snapshot.root:
        return None, frozenset()
    return first, frozenset(earlier.paths)


def standing(snapshot: Snapshot) -> Leftover:
    """Of the run of this snapshot. Where nobody knows the state before the first try any more, it is what was
    not as committed when this run began.
    """
    first, paths = first_of(snapshot)
    if first is None:
        return Leftover(paths, changed=paths & {*snapshot.dirty, *snapshot.untracked})
    changed = frozenset(strayed(first, first.tree, first.root, sorted(paths)))
    added = changed - {*first.shadow.names_of(first.tree, changed)}
    return Leftover(paths, changed, added, changed & {*first.dirty, *first.untracked})
