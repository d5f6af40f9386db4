"""Builds an argv from settings, for the installed version. Pure; shared by the runtimes.

Options differ between versions (`codex exec` lost `--full-auto` between 0.140 and 0.150), so an option is
passed only if `exec --help` of the program lists it.
"""

from __future__ import annotations

from runner.errors import ConfigInvalid, RuntimeWrong
from runner.model import Level, Program, Sandbox
from runner.runtimes.base import is_thread_id
from runner.runtimes.overrides import assignment, flatten, mentions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SANDBOX_HINT = "the sandbox of a task is set with `sandbox` and [sandboxes.NAME]"
_PROFILE = "a profile can change model and sandbox; put its settings into delegate.toml"
DECLARED = {
    "model": "the model of a task is set with `model` and [models.NAME]",
    "model_reasoning_effort": "set reasoning_effort in [models.NAME]",
    "sandbox_mode": SANDBOX_HINT,
    "sandbox_workspace_write.network_access": "set network in [sandboxes.NAME]",
    "sandbox_workspace_write.writable_roots": "set writable in [sandboxes.NAME]",
    "profile": _PROFILE,
    "profiles": _PROFILE,
}
"""Keys of programs of this lineage that `[runtimes.X.config]` must not set, and where the value belongs."""
TEMPS = ("exclude_slash_tmp", "exclude_tmpdir_env_var")
"""Keys of a sandbox that keep it out of the folders where everybody has temporary files."""


class Arguments:
    """Collects arguments; `done` refuses all that the version does not know at once."""

    def __init__(self, program: Program, title: str) -> None:
        self._program = program
        self._title = title
        self._argv = [program.path, "exec"]
        self._absent: list[str] = []

    def option(self, *spellings_and_value: str, flag: bool = False) -> None:
        """Adds the first spelling that is listed: `option("-C", "--cd", folder)`.

        The last argument is the value, except for a `flag`, which has none.
        """
        spellings = spellings_and_value if flag else spellings_and_value[:-1]
        known = next(filter(self._program.knows, spellings), None)
        if known is None:
            self._absent.append(spellings[-1])
            return
        self._argv.append(known)
        if not flag:
            self._argv.append(spellings_and_value[-1])

    def override(self, text: str) -> None:
        self.option("-c", "--config", text)

    def overrides(self, values: Mapping[str, Any]) -> None:
        """A nested mapping as sorted `-c` arguments."""
        for key, value in flatten(values):
            self.override(assignment(key, value))

    def overrides_of(self, assignments: Mapping[str, Any]) -> None:
        """Dotted keys with their values, in their order."""
        for key, value in assignments.items():
            self.override(assignment(key, value))

    def own_temp(self, table: str) -> None:
        """Keeps it out of the folders where everybody has temporary files."""
        for key in TEMPS:
            self.override(assignment(f"{table}.{key}", True))

    def knows(self, name: str) -> bool:
        return self._program.knows(name)

    def done(self, resume_thread: str | None) -> tuple[str, ...]:
        """The argv, prompt on stdin; RuntimeWrong if needed options are not there.

        Options stand before `resume`: behind it the CLI refuses most of them with exit status 2.
        """
        if self._absent:
            raise RuntimeWrong(
                f"{self._title} {self._program.version} ({self._program.path}) does not know "
                + ", ".join(f"`{name}`" for name in self._absent),
                hint="install a newer version, or remove the setting in delegate.toml",
            )
        if resume_thread is not None:
            if not is_thread_id(resume_thread):
                raise RuntimeWrong(f"{resume_thread!r} is not the id of a session")
            self._argv += ["resume", resume_thread]
        return (*self._argv, "-")


def refuse_owned(runtime: str, config: Mapping[str, Any], owned: Mapping[str, str]) -> None:
    """ConfigInvalid if the config sets what is declared elsewhere.

    What runs would then not be what is declared. `owned` maps dotted keys to where they belong.
    """
    found = [key for key in owned if mentions(config, key)]
    if found:
        problems = [f"[runtimes.{runtime}.config] {key}: {owned[key]}" for key in found]
        raise ConfigInvalid(
            f"[runtimes.{runtime}.config] must not set " + ", ".join(f"`{key}`" for key in found),
            hint=owned[found[0]],
            problems=problems,
        )


def refuse_impossible(sandbox: Sandbox, title: str) -> None:
    """ConfigInvalid for a sandbox that would silently be narrower than it is declared."""
    if sandbox.level is not Level.READ_ONLY or not (sandbox.network or sandbox.writable):
        return
    what = "network" if sandbox.network else "writable folders"
    raise ConfigInvalid(
        f"sandbox `{sandbox.name}`: {title} allows no {what} at level read-only",
        hint=f'set level = "workspace-write" in [sandboxes.{sandbox.name}], or leave it out',
    )
