"""Puts back what a run changed of git and must not: where git's own log names it, and as far as it is still
what the look after the run saw. Edge: git, disk.

    <folder>/git-back.json  empty before the first step, then the result

What a ref had last stays reachable under `refs/runner/rejected/<run>/`.
"""

from __future__ import annotations

import os
from glob import glob

from runner.errors import Conflict, RunnerError
from runner.git_change import OWN_REFS, PutBack
from runner.workspace import git_state, locked, rollback
from runner.workspace.files import read_bytes, read_record, write_json
from runner.workspace.inner import would_wait
from runner.workspace.places import unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.git_change import GitChange
    from runner.workspace.git import Git
    from runner.workspace.git_state import GitAfter
    from runner.workspace.snapshot import Snapshot

_JOURNAL = "git-back.json"
_IN_USE = ("rebase-merge/head-name", "rebase-apply/head-name", "rebase-merge/update-refs", "BISECT_START")
_LONGEST = 300
_WHO = {"GIT_COMMITTER_NAME": "runner", "GIT_COMMITTER_EMAIL": "put-back@runner.invalid"}
_UNKNOWN = "nothing shows who did it"
_STAGED = "nothing shows who staged it, so only a rollback of the files puts it back"


def put_back(
    snapshot: Snapshot, *, plans: bool = False, watch: Callable[[str], object] = unwatched
) -> PutBack:
    """A call that was killed is continued by the next one; once there is a result, that is the answer.
    Conflict if another process is at it. `plans` the rollback first, which can begin only afterwards.
    """
    journal = f"{snapshot.folder}/{_JOURNAL}"
    with rollback.alone(snapshot):
        noted = read_record(journal, PutBack)
        if noted is not None and noted != PutBack():
            return noted
        if plans and not os.path.exists(f"{snapshot.folder}/{rollback.JOURNAL}"):
            rollback.plan(snapshot, watch)
        write_json(journal, PutBack().to_json())
        result = _done(snapshot, watch)
        watch("result")
        write_json(journal, result.to_json())
        return result


def _done(snapshot: Snapshot, watch: Callable[[str], object]) -> PutBack:
    """The steps, of which any may be the last: what is as before already is left alone."""
    if (after := git_state.seen(snapshot.folder)) is None:
        raise Conflict("nothing says what was seen of git after the run")
    git = snapshot.repository.git.but(**_WHO)
    # HEAD first, which may be on a new branch; a new name may be in the way of an old one.
    own = [one for one in after.changes if one.by_run]
    own.sort(key=lambda one: (one.what != "HEAD", one.before is not None))
    was, state = snapshot.position.in_progress, snapshot.repository.position().in_progress
    over = f"a {state} is under way since" if state else f"the {was} of before is over"
    kept: list[str] = []
    told: dict[str, str | None] = {}
    for one in own:
        try:  # it may be a person's, on what the run has left there
            why = over if state != was else _step(snapshot, after, git, one, kept, watch)
        except (RunnerError, OSError) as error:
            why = str(error)[:_LONGEST]
        told[one.what] = why and _unless_before(snapshot, git, one, why)
    for one in after.changes:
        if not one.by_run:
            told |= {"index": _STAGED} if one.what.startswith("index") else {one.what: _UNKNOWN}
    left = tuple(f"{what}: {why}" for what, why in told.items() if why is not None)
    return PutBack(tuple(what for what, why in told.items() if why is None), left, tuple(kept))


def _step(
    snapshot: Snapshot,
    after: GitAfter,
    git: Git,
    one: GitChange,
    kept: list[str],
    watch: Callable[[str], object],
) -> str | None:
    """Why it was not done."""
    if one.what == "refs/stash":  # its log is its list, and a file that it took may have been a person's
        return "`git stash list` would not be as before"
    if (name := _keep(snapshot, git, one, watch)) is None:
        return "what it has now could not be kept"
    kept += [name] if name else []
    return _head(snapshot, after, one, watch) if one.what == "HEAD" else _ref(snapshot, git, one, watch)


def _unless_before(snapshot: Snapshot, git: Git, one: GitChange, why: str) -> str | None:
    """None where it is as before all the same."""
    try:
        if one.what == "HEAD":
            is_before = read_bytes(f"{snapshot.git_dir}/HEAD") == _head_of(one.before)
        else:
            is_before = _at(git, one.what)[:2] == [one.before or "", ""]
    except (RunnerError, OSError):
        return f"{why}; whether it is as before is not known"
    return None if is_before else why


def _keep(snapshot: Snapshot, git: Git, one: GitChange, watch: Callable[[str], object]) -> str | None:
    """The ref under which the commit that it takes away is now, "" if there is none; None where that ref is
    not so, as an agent has made another in its place.
    """
    if not one.after or one.after.startswith("refs/"):
        return ""
    name = f"{OWN_REFS}rejected/{os.path.basename(snapshot.folder)}/{one.what.removeprefix('refs/')}"
    if would_wait(f"{snapshot.common_dir}/logs/{name}"):
        return None
    watch(f"keep {name}")
    git.ask("update-ref", "--no-deref", name, one.after)
    return name if _at(git, name)[:2] == [one.after, ""] else None


def _at(git: Git, name: str) -> list[str]:
    """What a ref holds, which other one it names, and where it is checked out."""
    asked = ("for-each-ref", "--format=%(refname) %(objectname) %(symref) %(worktreepath)", name)
    name_of, *told = os.fsdecode(git.run(*asked)).split("\n")[0].split(" ", 3)
    return told if name_of == name else ["", "", ""]


def _ref(snapshot: Snapshot, git: Git, one: GitChange, watch: Callable[[str], object]) -> str | None:
    oid, other, place = _at(git, one.what)
    if one.after != (other or oid):
        return f"it is {other}" if other else locked.CHANGED
    if place and one.before is None and one.what != snapshot.position.branch:
        return "it is checked out"
    if _is_in_use(snapshot, one):
        return "it is being rebased or bisected in another work tree"
    logs = (f"{snapshot.common_dir}/logs/{one.what}", f"{snapshot.git_dir}/logs/HEAD")
    if any(map(would_wait, logs[: 2 if place else 1])):
        return "its log is not a regular file, and git would wait for it"
    step = f"update {one.what}\0{one.before or '0' * len(oid)}\0{oid}\0"
    watch(f"put back {one.what}")
    options = ("--no-deref", "-m", "runner: put back", "-z", "--stdin")
    status, _, said = git.ask("update-ref", *options, stdin=os.fsencode(step))
    return None if status == 0 else said.partition("\n")[0] or locked.CHANGED


def _is_in_use(snapshot: Snapshot, one: GitChange) -> bool:
    """A rebase moves its branch only at its end, and until then it is not checked out."""
    common, short = snapshot.common_dir, one.what.removeprefix("refs/heads/")
    folders = {common, *(f"{common}/{name}" for name in glob("worktrees/*", root_dir=common))}
    files = [f"{folder}/{name}" for folder in folders - {snapshot.git_dir} for name in _IN_USE]
    names = {os.fsencode(one.what), os.fsencode(short)}
    return any(names.intersection((read_bytes(path) or b"").split(b"\n")) for path in files)


def _head(snapshot: Snapshot, after: GitAfter, one: GitChange, watch: Callable[[str], object]) -> str | None:
    """Left too where the branch on which it is now has moved since: whoever did that works there."""
    path, seen, branch = f"{snapshot.git_dir}/HEAD", _head_of(one.after), one.after or ""
    tips = dict(snapshot.position.refs) | {moved.what: moved.after for moved in after.changes}
    if os.path.islink(path):
        return "it is a symbolic link"
    if one.before in dict(snapshot.position.symbolic or ()).values():
        return f"it may have named another ref that names {one.before}"

    def is_there() -> bool:
        return read_bytes(path) == seen

    def is_expected() -> bool:
        is_detached = not branch.startswith("refs/")
        return is_there() and (
            is_detached or _at(snapshot.repository.git, branch)[0] == (tips.get(branch) or "")
        )

    why = locked.replace(path, _head_of(one.before), watch, is_expected=is_expected)
    return f"{branch} was changed again" if why == locked.CHANGED and is_there() else why


def _head_of(value: str | None) -> bytes:
    value = value or ""
    return os.fsencode(f"ref: {value}\n" if value.startswith("refs/") else f"{value}\n")
