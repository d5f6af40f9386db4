"""What a batch changed comes into the work tree, and where that is wanted into a commit. Edges: git, disk.

Nothing here goes by what a run says of itself: it is called for runs that were verified, and takes the paths
that were seen to change.
"""

from __future__ import annotations

import contextlib

from runner import decide
from runner.errors import Conflict, RunnerError
from runner.state.events import read as read_events
from runner.value import Value
from runner.verify import globs
from runner.workspace import commit, repository
from runner.workspace.undecided import standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runner.model import Config
    from runner.plan.units import Unit
    from runner.state.manifest import Manifest
    from runner.state.store import RunDir


class Base(Value):
    """What the work of the next batch stands on. `branch` is where commits go, `at` the commit that it names:
    None for a branch that is still to be made.
    """

    tip: str
    branch: str | None
    at: str | None


def base(config: Config, changed: Iterable[str]) -> Base:
    """Now, with what batches have `changed` and nobody has committed. Conflict where commits are wanted and
    cannot follow: somebody else's are there, or no commit at all.
    """
    root = repository_root(config)
    head = commit.tip(root, None)[1]
    if head is None:
        raise Conflict("the repository has no commit yet", hint="make a first commit")
    named = config.delegate.commit
    paths = sorted({*changed})
    if not isinstance(named, str):
        tip = commit.make(root, head, paths, "the work of a plan so far", _NO_TIME)
        if named and tip != head:
            names = ", ".join(commit.differing(root, head, paths)[:5])
            raise Conflict(
                f"batches that are done were not committed: {names}", hint="commit them, then go on"
            )
        return Base(tip, None, head)
    at = commit.tip(root, named)[1]
    tip = commit.make(root, at or head, paths, "the work of a plan so far", _NO_TIME)
    if at is not None and tip != at:
        raise Conflict(
            f"branch `{named}` does not have the work of the batches that are done",
            hint="bring it there, or name another branch with `commit` in [delegate]",
        )
    if at is not None and not paths and at != head:
        raise Conflict(
            f"branch `{named}` exists and is not what is checked out",
            hint="name a new branch with `commit` in [delegate], or check it out",
        )
    return Base(tip, named, at)


def advance(
    config: Config, on: Base, paths: Sequence[str], text: str, at: str | None, is_wanted: bool
) -> Base:
    """The base with the present content of `paths`; where a commit `is_wanted`, its branch names it.
    Conflict, with nothing moved, where the branch has moved or is in use elsewhere.
    """
    root = repository_root(config)
    made = commit.make(root, on.tip, paths, text, at or _NO_TIME)
    if not is_wanted:
        return on.replace(tip=made)
    if made != on.tip or on.at is None:
        commit.advance(root, on.branch, made, on.at, paths)
    return on.replace(tip=made, at=made)


_NO_TIME = "1970-01-01T00:00:00.000Z"


def repository_root(config: Config) -> str:
    """The root of the git repository around the project. Conflict where there is none, or where a merge, a
    rebase or the like is under way in it: whoever is at it would find commits of ours in between.
    """
    found = repository.find(config.root)
    if found is None:
        raise Conflict(f"{config.root} is in no git repository", hint="`git init` and a first commit")
    if (under_way := found.position().in_progress) is not None:
        raise Conflict(f"{under_way} is under way in {found.root}", hint="finish or abort it first")
    return found.root


def is_clean(config: Config) -> bool | None:
    """Whether nothing is uncommitted or untracked; None outside git."""
    found = repository.find(config.root)
    return None if found is None else not any(found.uncommitted())


def uncommitted(config: Config) -> list[str]:
    """The tracked files that differ from the commit that is checked out, staged or not."""
    found = repository.find(config.root)
    return [] if found is None else sorted(found.uncommitted()[0])


def take_over(run: RunDir, env: Mapping[str, str]) -> None:
    """The change of a run's own work tree comes into the user's. Once is enough: again is no error.

    Conflict, with nothing changed, where it does not apply cleanly; WorkspaceBusy.
    """
    if decided(run) != "accepted" or standing(run.path) is not None:
        decide.accept(run, env, actor="runner")


def put_away(run: RunDir, env: Mapping[str, str]) -> None:
    """A work tree that nobody needs any more; its patch stays. One that cannot be removed stays."""
    if standing(run.path) is not None:
        with contextlib.suppress(RunnerError):
            decide.discard(run, env, actor="runner")


def decided(run: RunDir) -> str | None:
    """`accepted` or `discarded`, whoever decided so."""
    told = [event["type"] for event in read_events(run.events) if event.get("type") in _DECISIONS]
    return str(told[-1]) if told else None


_DECISIONS = ("accepted", "discarded")


def left_by(run: RunDir) -> tuple[str, ...]:
    """The files that are other than when a run in place began, of whose end nobody has a record."""
    from runner.workspace import snapshot
    from runner.workspace.changes import changed

    if decide.own_tree(run) is not None:
        return ()
    try:
        taken = snapshot.load(run.path)
        return () if taken is None else changed(taken).names
    except (RunnerError, OSError, ValueError, KeyError, TypeError):
        return ()


def outside(units: Sequence[Unit], changed: Sequence[str]) -> tuple[str, ...]:
    """What of it no unit names as written; () where a unit names no files, as then all may be its own."""
    named = [path for unit in units for path in (*unit.files.create, *unit.files.modify)]
    if not all(unit.files.create or unit.files.modify for unit in units):
        return ()
    return tuple(path for path in changed if not globs.covers(named, path))


def message(
    config: Config, title: str | None, n: int, batches: int, units: Sequence[Unit], manifest: Manifest
) -> str:
    """Of a batch's commit: the configured line, the goals, and who did it."""
    names = ", ".join(unit.id for unit in units)
    said = {
        "title": title or manifest.task_id,
        "n": n,
        "batches": batches,
        "units": names,
        "task": manifest.task_id,
        "run_id": manifest.run_id,
    }
    goals = "\n".join(f"- {unit.id}: {' '.join(unit.goal.split())}" for unit in units)
    model = f", {manifest.model}" if manifest.model else ""
    trailers = (
        f"Runner-Task: {manifest.task_id}",
        f"Runner-Run: {manifest.run_id}",
        f"Runner-Units: {names}",
        f"Delegated-To: {manifest.runtime.name} {manifest.runtime.version}{model}",
    )
    subject = " ".join(config.delegate.commit_message.format(**said).split())
    return f"{subject}\n\n{goals}\n\n" + "\n".join(trailers) + "\n"
