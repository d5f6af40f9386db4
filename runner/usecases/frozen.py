"""The settings that a run was started with: the runs below it are resolved from them. Edge: disk.

They are kept beside it. An agent may write in the repository, so what `delegate.toml` says by now may be its
words. A policy is out of its reach, so of what it allowed then and allows now the narrower counts.
"""

from __future__ import annotations

import os

from runner.config import narrowed_now
from runner.config.snapshot import config_from_json, config_to_json
from runner.disk.files import read
from runner.errors import Conflict, ProgramChanged, RunnerError
from runner.state.authentic import own_invocation, refuse_forged, write_record
from runner.state.store import RunDir
from runner.state.watched import rewritten
from runner.usecases.find import by_manifest_path
from runner.usecases.watched import program_of
from runner.usecases.watched import started as started_by
from runner.value import json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runner.model import Config, RuntimeSettings

_LARGEST = 64 * 1024 * 1024


def freeze(run: RunDir, config: Config, prompts: Mapping[str, str] = {}) -> None:
    """Keeps them. `prompts` are the texts of tasks whose prompt is in a file. OSError, or Unwritable."""
    data = config_to_json(config)
    tasks = {
        name: {**task, "prompt": prompts[name], "prompt_file": None} if name in prompts else task
        for name, task in data["tasks"].items()
    }
    root, runtimes = config.root, config.runtimes.values()
    started = [found for known in runtimes for found in (program_of(known, root), started_by(known, root))]
    kept = {name: digest for found in started for name, digest in found.items()}
    more = {"tasks": tasks, "started": kept, "head": _head(root) if any(kept.values()) else None}
    write_record(run.settings, {**data, **more}, indent=None, durable=False)


def thawed(run: RunDir, env: Mapping[str, str]) -> Config:
    """What was kept, and no more than what a policy allows today. Conflict where it cannot be read,
    ForeignRun where somebody else has written it.
    """
    try:
        config = config_from_json(_kept(run))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Conflict(
            f"the settings that run `{run.run_id}` was started with cannot be read: {error}",
            hint="nothing is started below it; start anew what is left",
        ) from error
    return config.replace(policy=narrowed_now(config.policy, config.root, env))


def of_parent(root: str, manifest_path: str, env: Mapping[str, str]) -> Config | None:
    """The settings for a child of that run. None for one that starts no runs by itself: there, a person does,
    and the settings are those of now.
    """
    parent = by_manifest_path(root, manifest_path)
    if not own_invocation(parent).delegation.enabled:
        return None
    return thawed(parent, env)


def refuse_rewritten(parent: RunDir, settings: RuntimeSettings, root: str, folder: str) -> None:
    """ProgramChanged where a run below `parent`, which would work in `folder`, would start what an agent may
    have written since that began. A tree of its own has what is committed, which may differ from what the
    user had not committed then.
    """
    try:
        kept = _kept(parent)
    except FileNotFoundError:  # it starts no runs by itself
        return
    known, head = kept.get("started", {}), kept.get("head")
    named = {*started_by(settings, root), *(program_of(settings, root) if folder == root else ())}
    found = rewritten(folder, {name: known[name] for name in sorted(named & known.keys())})
    if found and (folder == root or not _is_committed(found, folder, head)):
        raise ProgramChanged(f"{found[0]} is not what it was when run `{parent.run_id}` began")


def _head(root: str) -> str | None:
    """The commit that is checked out, where there is one."""
    from runner.workspace.git import Git

    try:
        return Git(root).line("rev-parse", "--verify", "-q", "HEAD^{commit}")
    except RunnerError:
        return None


def _is_committed(names: Sequence[str], folder: str, head: str | None) -> bool:
    """Whether the commit that this new work tree was made of has these files as `head` has them. No link
    leads to one: of another file that would say nothing.
    """
    from runner.workspace.git import Git

    top, paths = os.path.realpath(folder), [os.path.normpath(name) for name in names]
    if head is None or any(os.path.realpath(path) != path for path in (os.path.join(top, p) for p in paths)):
        return False
    git = Git(top, {"GIT_LITERAL_PATHSPECS": "1"})
    return git.ask("diff-tree", "--quiet", head, "HEAD", "--", *paths)[0] == 0


def _kept(run: RunDir) -> Any:
    data = read(run.settings, _LARGEST)
    refuse_forged(run.settings, data)
    return json_value(data)
