"""Which commands and options each generation of Kay has. Pure data.

Source of the facts: the documented contract of Kay 0.9.17 and 0.9.46. Neither has a short form of
`--output-last-message`, whatever the manual says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ALIASES", "GENERATIONS", "Command", "Generation", "Option", "commands_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What differs between two versions of Kay that the stand-in can play."""

    version: str
    approval_option: bool
    enforces_status: bool
    writes_blocked_on_time_out: bool
    full_auto_opens_network: bool
    env_key_wins: bool


GENERATIONS: Mapping[str, Generation] = {
    "0.9.17": Generation(
        version="0.9.17",
        approval_option=False,
        enforces_status=False,
        writes_blocked_on_time_out=False,
        full_auto_opens_network=False,
        env_key_wins=False,
    ),
    "0.9.46": Generation(
        version="0.9.46",
        approval_option=True,
        enforces_status=True,
        writes_blocked_on_time_out=True,
        full_auto_opens_network=True,
        env_key_wins=True,
    ),
}

ALIASES: Mapping[str, str] = {"e": "exec", "acp": "mcp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. Without `value` it is a switch; `at_least` makes its value a whole number."""

    long: str
    short: str = ""
    value: str = ""
    text: str = ""
    alias: str = ""
    choices: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    many: bool = False
    comma_list: bool = False
    at_least: int | None = None

    @property
    def shown(self) -> str:
        return f"--{self.long} <{self.value}>" if self.value else f"--{self.long}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command: its path, its options, its arguments and its subcommands."""

    path: str
    text: str
    options: tuple[Option, ...] = ()
    arguments: tuple[str, ...] = ()
    open_ended: bool = False
    subcommands: Mapping[str, str] = field(default_factory=dict)
    has_version: bool = False

    @property
    def usage(self) -> str:
        words = [f"Usage: {self.path} [OPTIONS]", *(f"[{name}]" for name in self.arguments)]
        if self.subcommands:
            words.append("[COMMAND]")
        return " ".join(words)


_GLOBAL = (
    Option(
        long="config",
        short="c",
        value="key=value",
        many=True,
        text="Override a configuration value. The value is parsed as TOML, else it is a string.",
    ),
    Option(long="auto", text="Run Auto Drive when executing non-interactive sessions."),
    Option(long="demo", value="TEXT", text="Developer-role message to prepend to every turn."),
)
_SANDBOX = Option(
    long="sandbox",
    short="s",
    value="SANDBOX_MODE",
    choices=("read-only", "workspace-write", "danger-full-access"),
    text="Select the sandbox policy to use when executing model-generated shell commands.",
)
_APPROVAL = Option(
    long="ask-for-approval",
    short="a",
    value="APPROVAL_POLICY",
    choices=("untrusted", "on-failure", "on-request", "never"),
    text="Configure when Kay should ask for command approval.",
)
_BYPASS = "dangerously-bypass-approvals-and-sandbox"
_SHARED = (
    Option(
        long="image",
        short="i",
        value="FILE",
        many=True,
        comma_list=True,
        text="Optional image(s) to attach to the initial prompt.",
    ),
    Option(long="model", short="m", value="MODEL", text="Model the agent should use."),
    Option(long="oss", text="Use the local open-source model provider."),
    _SANDBOX,
    Option(
        long="profile",
        short="p",
        value="CONFIG_PROFILE",
        text="Configuration profile from config.toml to specify default options.",
    ),
    Option(long="full-auto", text="Low-friction sandboxed automatic execution."),
    Option(
        long=_BYPASS,
        alias="yolo",
        conflicts=("full-auto",),
        text="Skip all confirmation prompts and execute commands without sandboxing.",
    ),
    Option(long="cd", short="C", value="DIR", text="Use the directory as the working root."),
    Option(long="debug", short="d", text="Log all LLM requests and responses to files."),
)
_EXEC_ONLY = (
    Option(long="auto-review", text="Use Auto Review models and limits for /review runs."),
    Option(long="skip-git-repo-check", text="Allow running outside a Git repository."),
    Option(
        long="output-schema",
        value="FILE",
        text="JSON Schema file describing the model's final response shape.",
    ),
    Option(
        long="color",
        value="COLOR",
        choices=("always", "never", "auto"),
        text="Specifies color settings for use in the output.",
    ),
    Option(long="json", text="Print events to stdout as JSONL."),
    Option(
        long="max-seconds",
        value="SECONDS",
        at_least=1,
        text="Maximum wall-clock time budget (seconds) before aborting the run.",
    ),
    Option(
        long="turn-cap",
        value="TURNS",
        at_least=0,
        text="Maximum number of Auto Drive turns before stopping (0 = unlimited).",
    ),
    Option(long="include-plan-tool", text="Include the plan tool in the conversation."),
    Option(
        long="output-last-message",
        value="LAST_MESSAGE_FILE",
        text="File where the last message from the agent should be written.",
    ),
    Option(
        long="review-output-json",
        value="FILE",
        text="When running /review, write the structured review output to this file.",
    ),
)
_RESUME = Command(
    path="kay exec resume",
    text="Resume a previous session by id or pick the most recent with --last.",
    options=(
        *_GLOBAL,
        Option(
            long="last",
            conflicts=("[SESSION_ID]",),
            text="Resume the most recent recorded session (newest) without specifying an id.",
        ),
    ),
    arguments=("SESSION_ID", "PROMPT"),
)
_LOGIN = Command(
    path="kay login",
    text="Manage login.",
    options=(
        *_GLOBAL,
        Option(long="with-api-key", text="Read the API key from stdin."),
        Option(long="provider", value="PROVIDER", text="Provider id to save the key for."),
        Option(
            long="api-key",
            value="API_KEY",
            conflicts=("with-api-key",),
            text="Pass the API key directly on the command line.",
        ),
    ),
    subcommands={"status": "Show login status."},
)
_MCP_JSON = (*_GLOBAL, Option(long="json", text="Output the configured servers as JSON."))
_MCP = (
    Command(
        path="kay mcp",
        text="Manage MCP servers.",
        options=_GLOBAL,
        subcommands={
            "list": "List configured MCP servers.",
            "get": "Show one MCP server.",
            "add": "Add an MCP server.",
            "remove": "Remove an MCP server.",
        },
    ),
    Command(path="kay mcp list", text="List configured MCP servers.", options=_MCP_JSON),
    Command(path="kay mcp get", text="Show one server.", options=_MCP_JSON, arguments=("NAME",)),
    Command(
        path="kay mcp add",
        text="Add an MCP server.",
        options=(
            *_GLOBAL,
            Option(long="env", value="KEY=VALUE", many=True, text="Environment of the server."),
            Option(long="url", value="URL", text="URL of a streamable HTTP server."),
        ),
        arguments=("NAME", "COMMAND..."),
        open_ended=True,
    ),
    Command(path="kay mcp remove", text="Remove a server.", options=_GLOBAL, arguments=("NAME",)),
)
_ROOT_SUBCOMMANDS = {
    "exec": "Run Kay non-interactively. [aliases: e]",
    "auto": "Run Auto Drive in headless mode (alias for `exec --auto --full-auto`).",
    "login": "Manage login.",
    "logout": "Remove stored authentication credentials.",
    "mcp": "Manage MCP servers. [aliases: acp]",
    "doctor": "Diagnose PATH, binary collisions, and versions.",
}


def commands_of(generation: Generation) -> dict[str, Command]:
    """Every command of this generation, by its path."""
    approval = (_APPROVAL,) if generation.approval_option else ()
    exec_options = (*_GLOBAL, *_SHARED, *approval, *_EXEC_ONLY)
    resume = {"resume": _RESUME.text}
    commands = [
        # The interactive program takes -a in both generations; `exec` ignores these options.
        Command(
            path="kay",
            text="Kay CLI\n\nIf no subcommand is specified, options go to the interactive CLI.",
            options=(*_GLOBAL, *_SHARED, _APPROVAL),
            arguments=("PROMPT",),
            subcommands=_ROOT_SUBCOMMANDS,
            has_version=True,
        ),
        *(
            Command(
                path=f"kay {name}",
                text=text,
                options=exec_options,
                arguments=("PROMPT",),
                subcommands=resume,
                has_version=True,
            )
            for name, text in (
                ("exec", "Run Kay non-interactively."),
                ("auto", "Run Auto Drive in headless mode."),
            )
        ),
        _RESUME,
        _LOGIN,
        Command(path="kay login status", text="Show login status.", options=_GLOBAL),
        Command(path="kay logout", text="Remove stored credentials.", options=_GLOBAL),
        Command(path="kay doctor", text="Diagnose PATH and versions.", options=_GLOBAL),
        *_MCP,
    ]
    return {command.path: command for command in commands}
