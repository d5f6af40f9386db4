"""Compares a run's work tree or rolls it back, in a separate process: the supervisor stays small.

`python -I .../workspace/__main__.py WHAT RUN_FOLDER ANSWER [MORE]`; the answer is JSON. WHAT is look, git,
settle, withdraw, put-back, roll-back, set-aside, to-base or to-run. MORE is the number of an attempt, a file
with a JSON list of paths, a JSON list of globs of ignored files that count, or that a rollback follows.
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.workspace.changes import Changes
    from runner.workspace.snapshot import Snapshot

_DIFF_BYTES = 256 * 1024
_LARGEST = 1 << 30
_IGNORED = 100
"""Names of ignored files that are told; the installation of a package changes thousands."""

_HIDDEN = "cannot be read: "
"""How the names begin of which not even that is known, whether they changed."""


def main(argv: list[str]) -> int:
    """0 with the answer written; 1 where no snapshot can be read, or git or the disk does not say."""
    from runner.disk.files import replace_json
    from runner.errors import RunnerError
    from runner.workspace.snapshot import load

    what, folder, answer, *more = argv
    try:
        if what == "withdraw":
            from runner.workspace.worktree import withdraw

            withdraw(folder)
            replace_json(answer, {}, indent=None)
            return 0
        snapshot = load(folder)
        if snapshot is None:
            print("no snapshot was taken", file=sys.stderr)
            return 1
        if what == "set-aside":
            from runner.workspace.rollback import set_aside

            set_aside(folder, int(more[0]))
            replace_json(answer, {}, indent=None)
        elif what in ("to-base", "to-run"):
            replace_json(answer, {"left": _swapped(snapshot, *more)}, indent=None)
        elif what == "put-back":
            from runner.workspace.git_back import put_back

            replace_json(answer, put_back(snapshot, plans=bool(more)).to_json(), indent=None)
        elif what == "git":
            from runner.workspace.git_state import held

            replace_json(answer, held(snapshot.repository), indent=None)
        elif what == "settle":
            replace_json(answer, {"changed": _settled(snapshot, json.loads(more[0]))}, indent=None)
        else:
            found = _look(snapshot, *more) if what == "look" else _roll_back(snapshot)
            replace_json(answer, found, indent=None)
    except (RunnerError, OSError) as error:  # the last line is what the report of the run says
        print(error.message if isinstance(error, RunnerError) else error, file=sys.stderr)
        return 1
    return 0


def _look(snapshot: Snapshot, own: str = "[]") -> dict[str, Any]:
    from runner.workspace import changes as seen
    from runner.workspace.earlier import first_of, standing
    from runner.workspace.git_state import compared

    now = seen.changed(snapshot)
    ignored = seen.changed_ignored(snapshot, now, json.loads(own))
    still = standing(snapshot)
    names = sorted(still.instead((*now.names, *now.unrecorded), still.changed))
    added = [change.path for change in now.paths if change.kind is seen.ChangeKind.ADDED]
    patch = seen.beginning(snapshot, now.tree, _DIFF_BYTES)
    lines = seen.lines_of(patch) if len(patch) < _DIFF_BYTES else None
    each = {one.path: sum(seen.counted([one])) for one in lines or () if one.path not in still.paths}
    return {
        "tree": now.tree,
        "changed": names,
        "gone": [name for name in names if not os.path.lexists(f"{snapshot.root}/{name}")],
        "added": sorted(still.instead(added, still.added)),
        "folders": seen.made_at(json.loads(own), snapshot, now, first_of(snapshot)[0]),
        "too_large": list(now.large),
        "ignored": ignored[:_IGNORED],
        "ignored_count": len(ignored),
        "head_moved": now.head_moved or now.branch_moved,
        "moved_refs": [ref.name for ref in now.refs],
        "git": None if (git := compared(snapshot, now)) is None else [change.to_json() for change in git],
        "dirty_before": sorted(still.instead((*snapshot.dirty, *snapshot.untracked), still.dirty)),
        "unknown": list(now.problems),
        "hidden": sorted({one for one in now.problems if one.startswith(_HIDDEN)} - {*snapshot.problems}),
        "was_clean": snapshot.was_clean,
        "is_touched": bool(
            now.names
            or now.unrecorded
            or now.staged
            or now.folders_added
            or now.folders_deleted
            or now.folder_modes
        ),
        "root": snapshot.root,
        "diff": patch.decode(errors="replace"),
        "lines": None if lines is None or still.paths else seen.counted(lines),
        "lines_each": [each.get(name, 0) for name in names],
    }


def _settled(snapshot: Snapshot, protect: list[str]) -> list[str]:
    """What was changed that git does not ignore; without it the rest counts as there before the run. So does
    another form of what is committed, as `git lfs pull` makes it.
    """
    from runner.workspace import git_state
    from runner.workspace.changes import changed
    from runner.workspace.snapshot import settle

    log = f"{snapshot.folder}/workspace.log"
    os.utime(log)
    since_ns = os.stat(log).st_ctime_ns  # by the clock of the file system
    now = changed(snapshot)
    found = sorted((*_other_than_committed(snapshot, now), *now.unrecorded))
    if now.head_moved or now.branch_moved:
        found.append("HEAD, which moved")
    if not found:
        settle(snapshot.renewed() if now.names else snapshot, now.position, now.ignored, protect, since_ns)
        git_state.settle(snapshot)
    return found


def _other_than_committed(snapshot: Snapshot, now: Changes) -> set[str]:
    """Of what changed, what git calls changed, too. What was uncommitted before is the user's in any form."""
    from runner.workspace.commit import differing

    head, names = now.position.head, {*now.names}
    return (
        names
        if head is None or not names
        else names & {*snapshot.dirty, *differing(snapshot.root, head, now.names)}
    )


def _swapped(snapshot: Snapshot, paths: str | None = None) -> tuple[str, ...]:
    from runner.disk.files import read
    from runner.workspace.base_files import to_base, to_run
    from runner.workspace.earlier import first_of

    first, names = first_of(snapshot)  # files of earlier tries become what they were before the first one
    if paths is None:  # whose journal is there has the way back to go: this run's own goes last
        return (*(() if first is None else to_run(first)), *to_run(snapshot))
    wanted = {*json.loads(read(paths, _LARGEST))}
    if first is None:
        return to_base(snapshot, wanted)
    return (*to_base(snapshot, wanted - names), *to_base(first, wanted & names))


def _roll_back(snapshot: Snapshot) -> dict[str, Any]:
    from runner.errors import RollbackRefused
    from runner.workspace.rollback import roll_back

    try:
        rolled = roll_back(snapshot)
    except RollbackRefused as error:
        return {"refused": error.message, "hint": error.hint}
    return rolled.to_json()


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.exit(main(sys.argv[1:]))
