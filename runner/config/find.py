"""Finds the settings of a folder: the repository root and every file that can hold some. Edge: the disk (stat
only, but for what is shipped).

Standard library only and light: this runs at every start.
"""

from __future__ import annotations

import os

from runner.disk import home
from runner.disk.upwards import git_root, is_planted, upwards
from runner.errors import ConfigInvalid, UsageError
from runner.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "delegate.toml"
LOCAL_NAME = "delegate.local.toml"
EXAMPLE_NAME = "delegate.toml.example"
SYSTEM_POLICY = "/etc/runner/policy.toml"
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLES = (
    *("DEFAULTS", "RUNTIMES", "MODELS", "SANDBOXES", "DELEGATION", "RECOVERY", "DELEGATE", "ECONOMICS"),
    *("NOTIFY", "HOST", "BLOCKS", "TASKS", "EXECUTORS"),
)


class ConfigFiles(Value):
    """Absolute paths; a file named here need not exist (only `project` was seen, where it is `required`)."""

    root: str
    project: str
    local: str
    user: str
    user_policy: str
    system_policy: str
    home: str | None
    required: bool = True

    def files(self) -> tuple[str, ...]:
        """Every input file, present or not."""
        return (self.user, self.project, self.local, self.user_policy, self.system_policy)

    def shown(self, path: str) -> str:
        """`path` as people read it: relative to the root when it is inside."""
        inside = path.startswith(self.root.rstrip("/") + "/")
        return path[len(self.root.rstrip("/")) + 1 :] if inside else path


def find(
    start_dir: str,
    config_file: str | None,
    env: Mapping[str, str],
    system_policy: str,
    *,
    required: bool = True,
) -> ConfigFiles:
    """The places for a command given in `start_dir`; ConfigInvalid when there is no delegate.toml and one is
    `required`, Unwritable where nothing says where the user's settings and policy would be.
    """
    start = os.path.realpath(start_dir)
    if config_file is not None:
        project = os.path.normpath(os.path.join(start, config_file))
        if not os.path.lexists(project):
            raise UsageError(f"--config {config_file}: no such file", hint=None)
        folder = os.path.realpath(os.path.dirname(project))
        root = git_root(folder) or folder
    else:
        root = git_root(start) or start
        nearest = _nearest(start, root)
        if nearest is None and required:
            raise _missing(start, root)
        required = nearest is not None
        folder = nearest or root
        project = os.path.join(folder, FILE_NAME)
    user = home.config(env)
    return ConfigFiles(
        root=root,
        project=project,
        local=os.path.join(folder, LOCAL_NAME),
        user=os.path.join(user, "config.toml"),
        user_policy=os.path.join(user, "policy.toml"),
        system_policy=system_policy,
        home=home.find(env),
        required=required,
    )


def committed_local(places: ConfigFiles) -> str | None:
    """What is wrong with a `delegate.local.toml` that git tracks: what came with a clone would go past what a
    person sees in `delegate.toml`. It is asked at each start, as no file tells when `git add` took one up.
    """
    if not os.path.lexists(places.local):
        return None
    from runner.state.committed import is_committed

    if not is_committed(places.root, places.local):
        return None
    shown = places.shown(places.local)
    return f"is tracked by git, and {LOCAL_NAME} is for what is only yours: `git rm --cached {shown}`"


def refuse_committed(places: ConfigFiles) -> None:
    """ConfigInvalid where git tracks `delegate.local.toml`."""
    wrong = committed_local(places)
    if wrong is not None:
        raise ConfigInvalid(f"{places.shown(places.local)} {wrong}")


def setting_names(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that are settings, or look like one misspelt.

    A setting has `__` between its levels. Others with our prefix are our markers (RUNNER_RUN_ID)
    or those of GitHub's runner, which has the same one (RUNNER_OS, RUNNER_TEMP):
    docs.github.com/actions/reference/variables-reference
    """
    return {
        name: value
        for name, value in env.items()
        if name.startswith("RUNNER_") and ("__" in name or name[7:].partition("_")[0].upper() in TABLES)
    }


def _nearest(start: str, root: str) -> str | None:
    for folder in upwards(start):
        if os.path.lexists(os.path.join(folder, FILE_NAME)) and not is_planted(folder, FILE_NAME):
            return folder
        if folder == root:
            break
    return None


def _missing(start: str, root: str) -> ConfigInvalid:
    between = f"{start} or above it, up to {root}" if start != root else start
    hint = "`runner init` writes one; `--config FILE` names another"
    if (passed := _passed_over(start)) is not None:
        hint = f"{passed} was put there by another user; {hint}"
    return ConfigInvalid(f"no {FILE_NAME} in {between}", hint=hint)


def _passed_over(start: str) -> str | None:
    """What a walk without regard of owners finds, where it is not ours."""
    folder, ours = start, {*upwards(start)}
    while folder not in ours or not is_planted(folder, FILE_NAME):
        path = os.path.join(folder, FILE_NAME)
        if folder not in ours and os.path.lexists(path):
            return path
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return None
    return os.path.join(folder, FILE_NAME)


def shipped(name: str) -> str:
    """A file that the wheel has inside the package and a checkout beside it (pyproject.toml,
    force-include).
    """
    inside = os.path.join(_PACKAGE, name)
    return inside if os.path.exists(inside) else os.path.join(os.path.dirname(_PACKAGE), name)


def wording(name: str) -> str:
    """A text of the folder `wordings`, for prompts. A line `{{NAME}}` of one stands for another."""
    with open(os.path.join(shipped("wordings"), f"{name}.md"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    return "\n".join(wording(line.strip("{}")) if line.startswith("{{") else line for line in lines)
