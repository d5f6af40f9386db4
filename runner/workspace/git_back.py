"""Puts back what a run changed of git and must not: where git's own log names it, and as far as it is still
what the look after the run saw. Edge: git, disk.

    <folder>/git-back.json  written before the first step, and again with the result

What it takes away stays reachable under `refs/runner/rejected/<run>/`.
"""

from __future__ import annotations

import os

from runner.errors import Conflict
from runner.git_change import GitChange, PutBack
from runner.value import Value
from runner.workspace import git_state, locked, rollback
from runner.workspace.changes import OWN_REFS
from runner.workspace.files import read_bytes, read_record, write_json
from runner.workspace.places import unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.workspace.snapshot import Snapshot

_JOURNAL = "git-back.json"
_WHO = {"GIT_COMMITTER_NAME": "runner", "GIT_COMMITTER_EMAIL": "put-back@runner.invalid"}


class PutBackJournal(Value):
    """None: it has begun."""

    result: PutBack | None


def put_back(
    snapshot: Snapshot, *, plans: bool = False, watch: Callable[[str], object] = unwatched
) -> PutBack:
    """A call that was killed is continued by the next one; once there is a result, that is the answer.
    Conflict if another process is at it. `plans` the rollback first, which can begin only afterwards.
    """
    journal = f"{snapshot.folder}/{_JOURNAL}"
    with rollback.alone(snapshot):
        noted = read_record(journal, PutBackJournal)
        if noted is not None and noted.result is not None:
            return noted.result
        after = git_state.seen(snapshot.folder)
        if after is None:
            raise Conflict("nothing says what was seen of git after the run")
        if plans and not os.path.exists(f"{snapshot.folder}/{rollback.JOURNAL}"):
            rollback.plan(snapshot, watch)
        write_json(journal, PutBackJournal(None).to_json())
        result = _Work(snapshot, after, watch).done()
        watch("result")
        write_json(journal, PutBackJournal(result).to_json())
        return result


class _Work:
    """The steps, of which any may be the last: what is as before already is left alone."""

    def __init__(self, snapshot: Snapshot, after: git_state.GitAfter, watch: Callable[[str], object]) -> None:
        self.snapshot, self.repository, self.after = snapshot, snapshot.repository, after
        self.git, self.watch = snapshot.repository.git.but(**_WHO), watch

    def done(self) -> PutBack:
        own = [one for one in self.after.changes if one.by_run]
        refs = [one for one in own if one.what.startswith("refs/")]
        heads = [one for one in own if one.what == "HEAD"]
        kept = tuple(filter(None, map(self._keep, (*refs, *heads))))
        refs.sort(key=lambda one: one.before is not None)  # a new name may be in the way of an old one
        told = [
            *((one.what, self._head(one)) for one in heads),
            *((one.what, self._ref(one)) for one in refs),
        ]
        others = [one.what for one in self.after.changes if not one.by_run]
        told += [(what, "nothing shows who did it") for what in others if not what.startswith("index")]
        if any(what.startswith("index") for what in others):
            told.append(
                ("index", "nothing shows who staged it, so only a rollback of the files puts it back")
            )
        left = tuple(f"{what}: {why}" for what, why in told if why is not None)
        return PutBack(tuple(what for what, why in told if why is None), left, kept)

    def _keep(self, one: GitChange) -> str | None:
        if one.after is None or one.after.startswith("refs/"):
            return None
        run_id = os.path.basename(self.snapshot.folder)
        name = f"{OWN_REFS}rejected/{run_id}/{one.what.removeprefix('refs/')}"
        self.watch(f"keep {one.what}")
        self.git.run("update-ref", name, one.after)
        return name

    def _ref(self, one: GitChange) -> str | None:
        """Why it was not done."""
        asked = ("for-each-ref", "--format=%(refname) %(objectname) %(symref)", one.what)
        lines = [line.split(" ") for line in os.fsdecode(self.git.run(*asked)).splitlines()]
        now = next((line[1:] for line in lines if line[0] == one.what), [None, ""])
        if now == [one.before, ""]:
            return None
        is_symbolic = one.after is not None and one.after.startswith("refs/")
        if now != ([now[0], one.after] if is_symbolic else [one.after, ""]):
            return f"it is {now[1]}" if now[1] else locked.CHANGED
        if one.what == "refs/stash" and one.before is not None:
            return "`git stash list` would not be as before"
        if one.before is None and one.what != self.snapshot.position.branch:
            trees = os.fsdecode(self.git.run("worktree", "list", "--porcelain"))
            if f"branch {one.what}" in trees.splitlines():
                return "it is checked out"
        values = [value for value in (one.before, now[0]) if value is not None]
        verb = "create" if one.after is None else "update" if one.before else "delete"
        steps = os.fsencode("\0".join((f"{verb} {one.what}", *values, "")))
        self.watch(f"put back {one.what}")
        options = ("--no-deref", "-m", "runner: put back", "-z", "--stdin")
        status, _, said = self.git.ask("update-ref", *options, stdin=steps)
        return None if status == 0 else said.partition("\n")[0] or locked.CHANGED

    def _head(self, one: GitChange) -> str | None:
        path = f"{self.repository.git_dir}/HEAD"
        wanted, seen = _head_of(one.before), _head_of(one.after)
        file = locked.GitFile(path, wanted, f"{self.repository.git_dir}/runner-head", b"", 0o644)
        is_link = os.path.islink(path)
        return locked.replace(
            file, self.watch, is_expected=lambda: not is_link and read_bytes(path) in (wanted, seen)
        )


def _head_of(value: str | None) -> bytes:
    value = value or ""
    return os.fsencode(f"ref: {value}\n" if value.startswith("refs/") else f"{value}\n")
