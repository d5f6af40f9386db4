"""The commits of a plan: the base of the next batch, and the commit of a finished one. Edge: git.

A commit has the files that were seen to change in a successful run, never those that an agent claims.
"""

from __future__ import annotations

from runner.errors import Conflict, RunnerError
from runner.state.store import RunDir
from runner.text.terminal import clean_terminal
from runner.text.words import few, one_line
from runner.usecases.accept import decided
from runner.usecases.review import left_by
from runner.value import Value
from runner.verify.record import load
from runner.workspace import commit, repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runner.model import Config
    from runner.plan.units import Unit
    from runner.state.manifest import Manifest
    from runner.state.plan_ledger import PlanLedger

_NO_TIME = "1970-01-01T00:00:00.000Z"
_RUN = "Runner-Run"
_SO_FAR = "work of the plan so far"


class Base(Value):
    """What the work of the next batch stands on. `branch` is where commits go (None: to what is checked out,
    whose whole name is `ref`), `at` the commit that it names: None for a branch that is still to be made.
    """

    tip: str
    branch: str | None
    at: str | None
    ref: str | None = None


def base(config: Config, changed: Iterable[str], since: str | None = None) -> Base:
    """The base now, with what batches have `changed` and no commit has. Conflict where commits are wanted and
    cannot follow: there are foreign ones, or none at all. `since` is the commit that the plan began with,
    None before that.
    """
    root = repository_root(config)
    ref, head = commit.tip(root, None)
    if head is None:
        raise Conflict("the repository has no commit yet", hint="make a first commit")
    named = config.delegate.commit
    paths = sorted({*changed})
    at = commit.tip(root, named)[1] if isinstance(named, str) else head
    on = at or head
    tip = _so_far(root, on, paths)
    if named and tip != on:  # never uncommitted work under the name of a plan
        held = {*commit.differing(root, on, paths)} - {*commit.differing(root, tip, paths)}
        where = f" to branch `{named}`" if isinstance(named, str) else ""
        raise Conflict(
            f"changes to files of finished steps were not committed{where}: {few(sorted(held))}",
            hint="commit them, then continue",
        )
    if not isinstance(named, str):
        return Base(tip, None, head, ref)
    if at is not None and at != head and not (since and _is_below(config, since, at)):
        raise Conflict(
            f"branch `{named}` exists and is not checked out",
            hint="name a new branch with `commit` in [delegate], or check it out",
        )
    return Base(tip, named, at)


def followed(config: Config, on: Base, changed: Iterable[str], since: str | None) -> Base:
    """The base once people have put commits on top of it. Conflict where its branch went elsewhere, or is not
    checked out any more, if it is to be committed to.
    """
    root = repository_root(config)
    ref, now = commit.tip(root, on.branch)
    is_here = on.branch is not None or ref == on.ref
    if is_here and now == on.at:
        return on
    if is_here and now is not None and (on.at is None or _is_below(config, on.at, now)):
        return base(config, changed, since)
    if config.delegate.commit is False:
        return on
    where = on.branch or on.ref or "HEAD"
    text = f"{where} is no more where the next commit belongs: on top of {(on.at or on.tip)[:12]}"
    raise Conflict(text, hint="check it out there, or commit by hand what is finished")


def _is_below(config: Config, since: str, at: str) -> bool:
    """Whether a commit stands on top of another one."""
    found = repository.find(config.root)
    return found is not None and found.git.ask("merge-base", "--is-ancestor", since, at)[0] == 0


def _so_far(root: str, on: str, paths: Sequence[str]) -> str:
    """A commit of a plan's work that no branch names. It lacks what git cannot store, such as a nested
    repository.
    """
    try:
        return commit.make(root, on, paths, _SO_FAR, _NO_TIME)
    except commit.NotHeld as error:
        held = [path for path in paths if path not in error.names]
        if len(held) == len(paths):
            raise
        return commit.make(root, on, held, _SO_FAR, _NO_TIME)


def make(config: Config, on: str, paths: Sequence[str], text: str, at: str | None) -> str:
    """A commit of the present content of `paths` on top of `on`, which no branch names yet; `on` itself where
    nothing differs.
    """
    return commit.make(repository_root(config), on, paths, text, at or _NO_TIME)


def move(config: Config, on: Base, made: str, paths: Sequence[str], *, is_wanted: bool) -> Base:
    """The base with what was `made`; where commits are wanted, its branch names it. Conflict, with nothing
    moved, where the branch has moved or is in use elsewhere.
    """
    if not is_wanted:
        return on.replace(tip=made)
    root = repository_root(config)
    if on.branch is None and (now := commit.tip(root, None)[0]) != on.ref:
        raise Conflict(
            f"{now or 'no branch'} is checked out now, but the plan began on {on.ref or 'no branch'}",
            hint="check out the branch that it began on",
        )
    if made != on.tip or on.at is None:
        commit.advance(root, on.branch, made, on.at, paths)
    return on.replace(tip=made, at=made)


def see_to_index(config: Config, on: Base, paths: Sequence[str]) -> None:
    """After a commit that was made by one who was killed over it."""
    if on.at is not None:
        commit.advance(repository_root(config), on.branch, on.at, on.at, paths)


def committed(config: Config, on: Base, run_id: str, since: str | None) -> str | None:
    """The commit of a run's work that stands on the branch already."""
    found = repository.find(config.root)
    if found is None or on.at is None:
        return None
    words = ("-n", "1", "--fixed-strings", f"--grep={_RUN}: {run_id}", on.at)
    return found.git.line("rev-list", *words, *((f"^{since}",) if since else ())) or None


def settled(ledger: PlanLedger) -> set[str]:
    """The files changed by finished batches that must be in a commit now: all in a commit of ours, and those
    that units name in work that a person had to commit.
    """
    found: set[str] = set()
    for step in ledger.steps:
        if step.status == "succeeded" and step.n not in ledger.together:
            found.update(step.changed if step.commit else {*step.changed} - {*step.outside})
    return found


def left_behind(config: Config, ledger: PlanLedger) -> tuple[int, ...]:
    """The batches whose commit is not in what is checked out, and whose files are otherwise there: another
    branch was checked out since. None where commits go to a named branch, or where that is not known.
    """
    if config.delegate.commit is not True:
        return ()
    try:
        root = repository_root(config)
        return tuple(
            step.n
            for step in ledger.steps
            if step.commit
            and not _is_below(config, step.commit, "HEAD")
            and commit.differing(root, step.commit, step.changed)
        )
    except RunnerError:  # git may have removed that commit
        return ()


def unsettled(repo: str, ledger: PlanLedger) -> set[str]:
    """The files in which tries left work that no commit of the plan has yet: of batches that did not succeed,
    are not known to have succeeded, or were not seen to pass together.
    """
    found = {path for step in ledger.steps for path in step.kept}
    for step in ledger.steps:
        if step.n in ledger.together:
            found.update(step.changed)
        if step.run is None or step.status in ("succeeded", "done"):
            continue
        run = RunDir.of(repo, step.run)
        if step.status == "running" or decided(run) == "accepted":
            record = load(run.result)
            seen = None if record is None else record.observed
            found |= {*(left_by(run) if seen is None else seen.changed)}
    return found


def repository_root(config: Config) -> str:
    """The root of the git repository around the project. Conflict where there is none, or where a merge, a
    rebase or the like is under way in it, which would find our commits in between.
    """
    found = repository.find(config.root)
    if found is None:
        raise Conflict(f"{config.root} is in no git repository", hint="`git init` and a first commit")
    if (under_way := found.position().in_progress) is not None:
        raise Conflict(f"{under_way} is under way in {found.root}", hint="finish or abort it first")
    return found.root


def edited(config: Config, tip: str, paths: Sequence[str] | None) -> tuple[str, ...]:
    """Which of `paths` (None: of all files that git does not ignore) differ between the work tree and `tip`,
    which has all work of the plan: these have foreign changes.
    """
    found = repository.find(config.root)
    if found is None:
        return ()
    if paths is not None:
        return commit.differing(found.root, tip, paths)
    untracked = sorted(name.rstrip("/") for name in found.uncommitted()[1])  # a repository inside has one
    return tuple(
        sorted({*commit.differing(found.root, tip, None), *commit.differing(found.root, tip, untracked)})
    )


def message(
    config: Config, title: str | None, n: int, batches: int, units: Sequence[Unit], manifest: Manifest
) -> str:
    """Of a batch's commit: the configured line, the goals, and who did it."""
    names = ", ".join(unit.id for unit in units)
    said = {
        "title": clean_terminal(title or "").strip() or manifest.task_id,
        "n": n,
        "batches": batches,
        "units": names,
        "task": manifest.task_id,
        "run_id": manifest.run_id,
    }
    goals = "".join(f"- {unit.id}: {one_line(unit.goal)}\n" for unit in units)
    model = f", {manifest.model}" if manifest.model else ""
    trailers = (
        f"Runner-Task: {manifest.task_id}",
        f"{_RUN}: {manifest.run_id}",
        *([f"Runner-Units: {names}"] if names else []),
        f"Delegated-To: {manifest.runtime.name} {manifest.runtime.version}{model}",
    )
    subject = one_line(config.delegate.commit_message.format(**said))
    return "\n".join((subject, "", *([goals] if goals else []), *trailers, ""))
