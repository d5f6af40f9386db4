"""Which run a person means: a run id or a part of one, a manifest path, a task id, `@latest` and its like, or
nothing at all. Edge: disk, reading.

A path is checked before anything is read through it: the right shape, and no symbolic link on the way.
"""

from __future__ import annotations

import os

from runner.disk.upwards import git_root, is_planted, upwards
from runner.errors import Conflict, RunnerError, RunNotFound
from runner.model import Phase, is_name
from runner.state import index
from runner.state.authentic import Why, why_foreign
from runner.state.store import RUNS, RunDir, is_run_id, new_run_id
from runner.workspace.undecided import standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_SETTINGS = "delegate.toml"
_LONGEST_PATH = 4096
_PATH_HINT = "a manifest path is .runs/<task>/cli/<run>/manifest.json"


def find_root(folder: str) -> str:
    """Where the runs are that are meant in this folder: the repository's, and outside of git those of the
    nearest folder upwards that has some, or settings of its own. Never those of another project or user.
    """
    top = git_root(folder)
    if top is not None and _has_runs(top):
        return top
    for place in upwards(folder):
        if _has_runs(place) or place == top:
            return place
        if top is None and os.path.lexists(f"{place}/{_SETTINGS}") and not is_planted(place, _SETTINGS):
            return place
    return folder


def _has_runs(folder: str) -> bool:
    """A link is looked at no further, which is said where the runs are read."""
    path = f"{folder}/{RUNS}"
    return (os.path.isdir(path) or os.path.islink(path)) and not is_planted(folder, RUNS)


def find(root: str, name: str) -> RunDir:
    """The run that `name` means: a run id, a unique part of one, a manifest path, a task id, or a word of
    `NEWEST` such as `@latest`. Of a task and of a kind, a run that is not ours counts where none is.

    RunNotFound with the nearest names; Conflict for a part that fits several.
    """
    if "/" in name or name.endswith(".json"):
        return _by_path(root, name)
    if is_run_id(name) and (known := index.folder_of(root, name)) is not None:
        return known
    if name in NEWEST:
        return newest(root, name)
    runs = list(index.folders(root))
    if is_name(name) and any(task == name for task, _ in runs):
        of_task = _newest(root, [(task, run) for task, run in runs if task == name], None)
        called = [run for task, run in runs if task != name and _is_called(run, name)]
        if of_task is not None and called:  # by this name, before the task had runs
            hint = "give the whole id of the run that you mean"
            raise Conflict(f"`{name}` is a task, and the short name of {called[0]}", hint=hint)
        if of_task is not None:
            return of_task
    fitting = [(task, run) for task, run in runs if name and _begins(run, name)]
    if not fitting and not _is_short(name):
        fitting = [(task, run) for task, run in runs if name.lower() in run.lower()]
    if len(fitting) > 1:
        from runner.text.words import few  # only what goes wrong takes words

        shown = few(sorted(run for _, run in fitting), 3)
        raise Conflict(f"`{name}` fits {len(fitting)} runs: {shown}", hint="give more of the run id")
    if not fitting:
        names = [run for _, run in runs] + [task for task, _ in runs] + [*NEWEST]
        raise RunNotFound(f"no run `{name[:80]}`", hint=_nearest(name, names))
    return RunDir(root, *fitting[0])


def _begins(run_id: str, part: str) -> bool:
    """Whether a run is called so in short: by the beginning of its id, or of the random part of that."""
    return run_id.startswith(part) or _is_called(run_id, part.lower())


def _is_called(run_id: str, part: str) -> bool:
    return len(part) >= index.SHORTEST and run_id.startswith(part, 20)


def _is_short(name: str) -> bool:
    """Whether it may be the short name of a run that is gone. Such a one is not to mean another run, in whose
    time or in the middle of whose id it stands.
    """
    return len(name) < index.SHORTEST or (len(name) <= 8 and not name.lower().strip("0123456789abcdef"))


def newest(root: str, word: str) -> RunDir:
    """The newest run of a kind that `NEWEST` names. RunNotFound where there is none."""
    fits, what = NEWEST[word]
    found = _newest(root, index.folders(root), fits)
    if found is None:
        raise RunNotFound(f"no run {what}", hint="`runner list --all` shows the runs that there are")
    return found


def _newest(
    root: str, runs: Iterable[tuple[str, str]], fits: Callable[[RunDir], bool] | None
) -> RunDir | None:
    """The newest of these (task id, run id) that fits: of ours, else of others or of an older runner. Whoever
    brings a run along, with an id of next year, is not to say what a person means.
    """
    theirs = None
    for task, run_id in sorted(runs, key=lambda pair: pair[1], reverse=True):
        run = RunDir(root, task, run_id)
        try:
            if fits is not None and not fits(run):
                continue
        except RunnerError:
            continue  # it is being made or removed right now, or cannot be read
        foreign = why_foreign(run)
        if foreign is None or (foreign.why is Why.UNKNOWN and _may_be_ours(run)):
            return run
        theirs = theirs or run
    return theirs


def _may_be_ours(run: RunDir) -> bool:
    """Whether a run without records can be one that is made right now, or has lost them: one of the future is
    made by whoever holds its lock, after the clock went back.
    """
    try:
        return run.run_id <= new_run_id() or run.is_locked()
    except RunnerError:
        return False


def _is_begun_by_hand(run: RunDir) -> bool:
    """Whether no other run has started it: whoever starts a plan does not mean its last batch."""
    try:
        return run.read_manifest().parent is None
    except RunnerError:
        return True  # it is the newest all the same


def _is_done_by_hand(run: RunDir) -> bool:
    manifest = run.read_manifest()
    return manifest.is_done and manifest.parent is None


def _has_changes(run: RunDir) -> bool:
    """Whether it has worked in a tree that was recorded; the batches of a plan have, and the plan has not."""
    manifest = run.read_manifest()
    return manifest.workspace is not None and manifest.plan is None


def _is_plan(run: RunDir) -> bool:
    return run.read_manifest().plan is not None


def _is_undecided(run: RunDir) -> bool:
    return standing(run.path) is not None and run.read_manifest().is_done


def _is_waiting(run: RunDir) -> bool:
    """Whether it needs a person: for an answer, a message, a decision, or to go on with its plan."""
    manifest = run.read_manifest()
    is_asked = bool(manifest.questions_open) or (manifest.phase is Phase.WAITING and manifest.parent is None)
    return is_asked or manifest.has_open_breaker or _is_undecided(run)


NEWEST: dict[str, tuple[Callable[[RunDir], bool] | None, str]] = {
    "@latest": (_is_begun_by_hand, "yet"),
    "@done": (_is_done_by_hand, "that is done"),
    "@changes": (_has_changes, "with changes that were recorded"),
    "@plan": (_is_plan, "of a plan"),
    "@undecided": (_is_undecided, "with a work tree to accept or discard"),
    "@waiting": (_is_waiting, "that waits for a person"),
}
"""A word for the newest run of a kind, what makes a run one, and what none of them is called."""


def _nearest(name: str, known: Sequence[str]) -> str | None:
    from runner.text.words import nearest

    near = nearest(name, known, 3)
    return f"perhaps you meant {' or '.join(f'`{word}`' for word in near)}" if near else None


def by_manifest_path(root: str, path: str) -> RunDir:
    """The run of a manifest path that a model or a program gave: inside this repository's `.runs`, of the
    right shape, no `..`, no symbolic link on the way. RunNotFound otherwise; nothing is read before.
    """
    if "\0" in path or len(path) > _LONGEST_PATH or ".." in path.split("/"):
        raise RunNotFound(f"not a manifest path: {path[:80]!r}", hint=_PATH_HINT)
    full = os.path.normpath(os.path.join(root, path))
    if os.path.basename(full) != "manifest.json" or not full.startswith(f"{root}/{RUNS}/"):
        raise RunNotFound(f"not a manifest path of this repository: {path[:200]}", hint=_PATH_HINT)
    if f"/{RUNS}/" in full.removeprefix(f"{root}/{RUNS}"):  # a repository in a run's folder is not this one
        raise RunNotFound(f"not a manifest path of this repository: {path[:200]}", hint=_PATH_HINT)
    return _checked(full, path)


def _by_path(root: str, name: str) -> RunDir:
    if "\0" in name or len(name) > _LONGEST_PATH:
        raise RunNotFound(f"not a manifest path: {name[:80]!r}", hint=_PATH_HINT)
    path = os.path.abspath(name)
    if not os.path.lexists(path):
        path = os.path.normpath(os.path.join(root, name))
    return _checked(path, name)


def _checked(path: str, name: str) -> RunDir:
    """The run of an absolute path to a manifest or a run folder; only the path itself is looked at."""
    folder = path if os.path.basename(path) != "manifest.json" else os.path.dirname(path)
    try:
        run = RunDir.from_path(folder)
    except ValueError:
        raise RunNotFound(f"not a manifest path: {name[:200]}", hint=_PATH_HINT) from None
    runs = f"{run.repo}/{RUNS}"
    task = f"{runs}/{run.task_id}"
    for part in (runs, task, f"{task}/cli", run.path, run.manifest):
        if os.path.islink(part):
            raise RunNotFound(f"{part} is a symbolic link", hint="runner follows no links there")
    if not os.path.isdir(run.path):
        raise RunNotFound(f"no run at {run.path}")
    return run
