"""What has become of a run and of its change, for people. Edge: disk, reading. Standard library only.

After its end nothing else says whether a change is still in the tree, or waits for a decision.
"""

from __future__ import annotations

import contextlib
import os

from runner.disk.files import read
from runner.errors import RunnerError
from runner.state.index import ShortNames
from runner.state.manifest import parse_timestamp
from runner.text.words import count
from runner.value import Value, json_value
from runner.workspace.undecided import standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Json
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir

_LARGEST = 64 << 20


class Place(Value):
    """Where the change of a run is, and the commands that show or settle it."""

    where: str
    tells_files: bool = False
    """Whether `where` says how many files."""
    verbs: tuple[str, ...] = ("diff",)


_DECIDED = {
    "accepted": Place("accepted, and so merged into your tree"),
    "discarded": Place("discarded; a patch is kept"),
}


class Summary(Value):
    """What is known of a run that is done. None is not known, or nothing."""

    place: Place | None = None
    checks: int = 0
    """How many were declared, of which so many `ran` and `passed`."""
    ran: int = 0
    passed: int = 0
    files: int | None = None
    lines: tuple[int, int] | None = None
    """Added and removed."""
    says: str | None = None
    """The agent's own words: of its claim, else its last message."""


def of_change(run: RunDir, manifest: Manifest, name: str | None = None) -> str | None:
    """Where the change is, with the commands, which call the run so. None for a run that is not done, has
    changed nothing, was not recorded, or never had an agent.
    """
    place = summary(run, manifest).place if manifest.is_done else None
    if place is None:
        return None
    return f"{place.where}: {', '.join(f'runner {verb} {name or run.run_id}' for verb in place.verbs)}"


def summary(run: RunDir, manifest: Manifest) -> Summary:
    """Of a run that is done, from its result where that can be read."""
    try:
        found = json_value(read(run.result, _LARGEST))
        known = _known(found, manifest)
        place = _in_your_tree(found, manifest)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        known, place = Summary(), Place("what it changed was left in your tree")
    never_began = manifest.started_at is None and manifest.outcome != "lost"
    if manifest.workspace is None or never_began:
        place = None
    elif manifest.workspace.kind == "worktree":
        from runner.usecases.accept import decided  # most runs work in place

        place = None if known.files == 0 else _DECIDED.get(decided(run) or "")
    if (tree := standing(run.path)) is not None:
        where = f"in a work tree that waits for your decision ({tree})"
        place = Place(where, verbs=("diff", "accept", "discard"))
    return known.replace(place=place, says=known.says or manifest.last_message)


def _known(found: Json, manifest: Manifest) -> Summary:
    if found["attempt"] != manifest.attempt:
        return Summary()
    seen, claim = found["observed"], found["claim"]
    lines = None if seen is None else seen.get("lines")
    return Summary(
        ran=len(found["checks"]),
        passed=sum(check["exit_code"] == 0 for check in found["checks"]),
        checks=int(found["declared_checks"]),
        files=None if seen is None else len(seen["changed"]),
        lines=None if lines is None else (int(lines[0]), int(lines[1])),
        says=None if claim is None else str(claim["summary"]),
    )


def in_words(run: RunDir, manifest: Manifest, name: str) -> str | None:
    """As `of_change`, with short names; that of the run is `name`. A plan has no change of its own: a line
    for each batch that did not succeed and whose change was not nothing.
    """
    if manifest.plan is None:
        return of_change(run, manifest, name)
    from runner.state.store import RunDir, is_run_id
    from runner.usecases.look import show

    lines, names = [], ShortNames(run.repo)
    with contextlib.suppress(
        LookupError, TypeError, AttributeError, ValueError
    ):  # an agent may have written it
        for one in manifest.plan["batches"]:
            if one["status"] in ("succeeded", "done", "replaced") or not is_run_id(one["run_id"] or ""):
                continue
            batch = RunDir(run.repo, str(one.get("task_id") or run.task_id), one["run_id"])
            try:
                shown = show(batch)
            except RunnerError:
                continue
            change = of_change(batch, shown.manifest, names[batch.run_id])
            if shown.foreign is None and change is not None:
                name = f"{one['stage']}: {one['title']}" if one.get("stage") else f"batch {int(one['n'])}"
                lines.append(f"{name}: {change}")
    return "\n".join(lines) or None


def _in_your_tree(found: Json, manifest: Manifest) -> Place | None:
    rolled, seen = found["rolled_back"], found["observed"]
    if rolled is not None and rolled.get("refused") is None:
        files = count(len(rolled["restored"]) + len(rolled["removed"]), "file")
        all_of_it = "rolled back" if not (rolled["left"] or rolled["unequal"]) else "not all rolled back"
        return Place(f"{all_of_it} ({files})", True)
    if found["attempt"] != manifest.attempt or seen is None:
        return Place("not known; what is in your tree")
    if not seen["changed"]:
        return None
    files, touched = count(len(seen["changed"]), "file"), _touched(seen, manifest)
    since = f" when it ended; {touched} of them changed since" if touched else ""
    if manifest.outcome == "succeeded":
        return Place(f"{files} in your tree{since}", True)
    why = "its rollback was refused" if rolled is not None else "it had uncommitted changes before"
    why = why if rolled is not None or found.get("was_clean") is False else ""
    return Place(f"{files} kept in your tree{f' ({why})' if why else ''}{since}", True)


def _touched(seen: Json, manifest: Manifest) -> int:
    """How many of the files that it changed were changed or removed after it had ended."""
    end, gone = parse_timestamp(manifest.ended_at or ""), seen.get("gone")
    left = {*seen.get("added", ())} if gone is None else {*seen["changed"]} - {*gone}
    times = (_changed_at(f"{manifest.repo}/{path}", path in left) for path in seen["changed"])
    return sum(at > end for at in times)


def _changed_at(path: str, was_left: bool) -> float:
    """Of one that it had left there and is gone, that of its folder: its name may have been cleaned for the
    record.
    """
    while path:
        try:
            return os.lstat(path).st_ctime
        except OSError:
            path = os.path.dirname(path) if was_left else ""
    return 0.0
