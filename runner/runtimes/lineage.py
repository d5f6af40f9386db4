"""What `codex exec` and its forks share: how they begin and end a command, and `-c` overrides. Pure."""

from __future__ import annotations

from runner.runtimes.arguments import Arguments, thread_word
from runner.runtimes.jsonvalues import table
from runner.runtimes.overrides import assignment, flatten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.model import McpServer, Model, Program, RuntimeSettings
    from runner.runtimes.base import TableIn

HELP = ("exec", "--help")
CONFIG_IS = "Passed to the agent CLI as -c key=value, with their types."
SANDBOX_HINT = "the sandbox of a task is set with `sandbox` and [sandboxes.NAME]"
_PROFILE = "a profile can change model and sandbox; put its settings into delegate.toml"
DECLARED = {
    "model": "the model of a task is set with `model` and [models.NAME]",
    "model_reasoning_effort": "set reasoning_effort in [models.NAME]",
    "sandbox_mode": SANDBOX_HINT,
    "sandbox_workspace_write": "set network and writable in [sandboxes.NAME]",
    "permissions": SANDBOX_HINT,
    "default_permissions": SANDBOX_HINT,
    "profile": _PROFILE,
    "profiles": _PROFILE,
}
"""Keys that `[runtimes.X.config]` must not set, and where the value belongs."""
TEMPS = ("exclude_slash_tmp", "exclude_tmpdir_env_var")
"""Keys of a sandbox that keep it out of the folders where everybody has temporary files."""


def declared_provider(settings: RuntimeSettings, model: Model | None) -> str | None:
    return (model.provider if model is not None else None) or settings.provider


def server_table(server: McpServer) -> dict[str, Any]:
    """The delegation server in `mcp_servers`."""
    return {
        "command": server.command,
        "args": server.args,
        "env": server.env,
        "startup_timeout_sec": 30,
        "tool_timeout_sec": 60,
    }


def inherited(folder: str | None, table_in: TableIn) -> dict[str, tuple[str, ...]]:
    """See `Runtime.inherited`; `folder` is the home of the program."""
    if folder is None:
        return {}
    own = table_in(f"{folder}/config.toml")
    return {
        "mcp_servers": _enabled(own.get("mcp_servers")),
        "hooks": _hooks(own, table_in(f"{folder}/hooks.json")),
        "plugins": _enabled(own.get("plugins")),
    }


def _enabled(tables: object) -> tuple[str, ...]:
    return tuple(
        sorted(name for name, one in table(tables).items() if table(one).get("enabled") is not False)
    )


def _hooks(*settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The events with hooks: a list that is not empty, which `hooks.state` is not."""
    named = ((name, value) for one in settings for name, value in table(one.get("hooks")).items())
    return tuple(sorted({name for name, value in named if isinstance(value, list) and value}))


class ExecArguments(Arguments):
    """`PROGRAM exec [options] [resume ID] -`."""

    def __init__(self, program: Program, title: str) -> None:
        super().__init__(program, title, "exec")

    def override(self, text: str) -> None:
        self.option("-c", "--config", text)

    def overrides(self, values: Mapping[str, Any]) -> None:
        """A nested mapping as sorted `-c` arguments."""
        self.overrides_of(dict(flatten(values)))

    def overrides_of(self, assignments: Mapping[str, Any]) -> None:
        """Dotted keys with their values, in their order."""
        for key, value in assignments.items():
            self.override(assignment(key, value))

    def own_temp(self, table: str) -> None:
        """Keeps it out of the folders where everybody has temporary files."""
        self.overrides_of({f"{table}.{key}": True for key in TEMPS})

    def ended(self, resume_thread: str | None) -> tuple[str, ...]:
        """Options stand before `resume`: behind it the CLI refuses most of them with exit status 2."""
        return self.done(*(() if resume_thread is None else ("resume", thread_word(resume_thread))), "-")
