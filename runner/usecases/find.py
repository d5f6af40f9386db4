"""Which run a person means: a run id or a prefix, a manifest path, a task id, `@latest`. Edge: disk, reading.

A path is checked before anything is read through it: the right shape, and no symbolic link on the way.
"""

from __future__ import annotations

import os

from runner.disk.upwards import git_root, is_planted, upwards
from runner.errors import Conflict, RunNotFound
from runner.model import is_name
from runner.state import index
from runner.state.store import RUNS, RunDir, is_run_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """The run that `name` means: a run id, a unique prefix or the 8 characters at its end, a manifest path, a
    task id, `@latest`.

    RunNotFound with the nearest names; Conflict for a prefix that fits several.
    """
    if "/" in name or name.endswith(".json"):
        return _by_path(root, name)
    if is_run_id(name) and (known := index.folder_of(root, name)) is not None:
        return known
    runs = list(index.folders(root))
    if name == "@latest":
        fitting = runs
    elif is_name(name) and any(task == name for task, _ in runs):
        fitting = [(task, run) for task, run in runs if task == name]
    else:
        fitting = [(task, run) for task, run in runs if name and (run.startswith(name) or run[20:] == name)]
        if len(fitting) > 1:
            from runner.text.words import few  # only what goes wrong takes words

            shown = few(sorted(run for _, run in fitting), 3)
            raise Conflict(f"`{name}` fits {len(fitting)} runs: {shown}", hint="give more of the run id")
    if not fitting:
        names = [run for _, run in runs] + [task for task, _ in runs]
        raise RunNotFound(f"no run `{name[:80]}`", hint=_nearest(name, names))
    task, run = max(fitting, key=lambda pair: pair[1])
    return RunDir(root, task, run)


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
