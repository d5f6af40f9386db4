"""Kay, a fork in the Codex lineage: `kay exec --json`. Pure; facts from its source.

Versions 0.9.17 to 0.9.46. What differs from Codex and matters here: no `-o` and no `--add-dir`, its
own event stream, status 0 says nothing about success, and no useful default of provider and model.
https://github.com/alo-labs/kay/blob/main/kay-rs/exec/src/cli.rs
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.disk import home
from runner.errors import ConfigInvalid
from runner.model import Level, McpServer, Model, Outcome, Reason, RuntimeSettings
from runner.runtimes import kay_endings, kay_events
from runner.runtimes.arguments import as_text, refuse_impossible, refuse_owned
from runner.runtimes.base import CommandRequest, End, Runtime, StoredKey
from runner.runtimes.jsonvalues import table
from runner.runtimes.lineage import (
    CONFIG_IS,
    DECLARED,
    HELP,
    ExecArguments,
    declared_provider,
    inherited,
    server_table,
)
from runner.runtimes.overrides import assignment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.runtimes.base import Reader, TableIn

_VERSION = r"(?m)^kay (\d+\.\d+\.\d+[0-9A-Za-z.+-]*)\s*$"
_CODEX = r"(?m)^codex-cli (\S+)\s*$"
_VSCODE = r"(?m)^\d+\.\d+\.\d+\n[0-9a-f]{40}\n"

PROVIDER_KEYS: Mapping[str, str | None] = {
    "openai": "OPENAI_API_KEY",
    "minimax": "MINIMAX_API_KEY",
    "xiaomi": "XIAOMI_API_KEY",
    "opencode-go": "OPENCODE_GO_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "amazon-bedrock": None,
    "oss": None,
}
"""The providers that Kay has built in, and the variable that each reads its key from."""


class Kay(Runtime):
    """See `base.Runtime`."""

    name = "kay"
    title = "Kay"
    shell = "bare"
    about = "The Kay CLI."
    config_is = CONFIG_IS
    help_args = HELP
    providers = tuple(PROVIDER_KEYS)
    efforts = ("minimal", "low", "medium", "high", "xhigh")
    provider_aliases = {"ocg": "opencode-go"}
    owned = {
        **DECLARED,
        "model_provider": "set provider in [runtimes.kay] or [models.NAME]",
        "approval_policy": "`kay exec` always runs with approval `never` here",
    }
    candidates = ("kay", "code", "coder")
    install_hint = "install Kay and put it on PATH, or set `command` in [runtimes.kay]"
    login_hint = kay_endings.LOGIN_HINT
    # No `resumes`: `kay exec --json` never prints the id of its thread, by which its records are named, too.
    # Not `guards`, `confines`: nothing in its source says so, and it cannot be tried here. No `login_check`:
    # `kay login status` looks at the main login only, not at the key of a provider. No `mcp_check`: a
    # registered server cannot be switched on for one run, which is refused before.

    def identify(self, version_output: str) -> str | None:
        match = re.search(_VERSION, version_output)
        return match[1] if match and not re.search(_CODEX, version_output) else None

    def foreign(self, version_output: str) -> str | None:
        if match := re.search(_CODEX, version_output):
            return f"the OpenAI Codex CLI {match[1]}"
        return "Visual Studio Code" if re.search(_VSCODE, version_output) else None

    def prepare_prompt(self, prompt: str) -> str:
        # `kay exec` trims the prompt and reads a leading `/` as a slash command, on stdin too: an
        # unknown one ends the run with status 1, `/auto` starts another mode.
        # https://github.com/just-every/code/blob/main/code-rs/exec/src/slash.rs
        return as_text(prompt)

    def command(self, request: CommandRequest) -> tuple[str, ...]:
        sandbox, model, config = request.sandbox, request.model, request.settings.config
        refuse_owned(self, config)
        if request.settings.isolated:
            raise ConfigInvalid("Kay cannot run without its own settings", hint="take `isolated` away")
        refuse_impossible(sandbox, "Kay")
        provider = provider_of(request.settings, model)
        if model is None or not model.model:
            raise ConfigInvalid(
                "Kay needs a model: it has no default for a provider",
                hint="set `model` in the task, to an id or to the NAME of a [models.NAME]",
            )
        args = ExecArguments(request.program, "kay")
        args.option("--json", flag=True)
        args.option("--skip-git-repo-check", flag=True)
        args.option("-C", "--cd", request.cwd)
        args.option("-s", "--sandbox", sandbox.level.value)
        # New between 0.9.17 and 0.9.46; before, exec has no other policy. Never --full-auto: it
        # asks for approval on failure, which no one can give, and opens the network.
        if args.knows("-a") or args.knows("--ask-for-approval"):
            args.option("-a", "--ask-for-approval", "never")
        args.option("-m", "--model", model.model)
        args.overrides(config)
        args.override(assignment("model_provider", provider))
        if model.reasoning_effort is not None:
            args.override(assignment("model_reasoning_effort", model.reasoning_effort))
        if sandbox.level is Level.WORKSPACE_WRITE:
            # Always said, also when empty: a config.toml of the user may have opened more.
            prefix = "sandbox_workspace_write"
            args.override(assignment(f"{prefix}.network_access", sandbox.network))
            folders = (*sandbox.writable, *request.fence.writable)
            args.override(assignment(f"{prefix}.writable_roots", folders))
            if request.fence.temp is not None:
                args.own_temp(prefix)
        if request.mcp is not None:
            args.overrides_of(_delegation(request.mcp))
        for text in request.overrides:
            args.override(text)
        if request.output_schema is not None:
            args.option("--output-schema", request.output_schema)
        args.option("--output-last-message", request.last_message_path)
        return args.ended(request.resume_thread)

    def provider(self, settings: RuntimeSettings, model: Model | None) -> str | None:
        return provider_of(settings, model)

    def secret_env(self, settings: RuntimeSettings, model: Model | None) -> tuple[str, ...]:
        provider = provider_of(settings, model)
        custom = table(settings.config.get("model_providers")).get(provider)
        name = custom.get("env_key") if isinstance(custom, Mapping) else PROVIDER_KEYS[provider]
        return (name,) if isinstance(name, str) and name else ()

    def stored_key(
        self, settings: RuntimeSettings, model: Model | None, env: Mapping[str, str]
    ) -> StoredKey | None:
        folder = home.of_program(env, "KAY_HOME", ".kay")
        provider = provider_of(settings, model)
        ways: tuple[tuple[str, ...], ...] = (("provider_credentials", provider, "api_key"),)
        if provider == "openai":  # the main login: a key, or the tokens of ChatGPT
            ways += (("OPENAI_API_KEY",), ("tokens",))
        return StoredKey(f"{folder}/auth.json", ways) if folder else None

    def reader(self) -> Reader:
        return kay_events.parse

    def approval(self, level: Level) -> str | None:
        return "never"

    def conclude(self, end: End) -> tuple[Outcome, Reason]:
        return kay_endings.conclude(end)

    def own_config(self, env: Mapping[str, str]) -> str | None:
        folder = home.of_program(env, "KAY_HOME", ".kay")
        return folder and f"{folder}/config.toml"

    def inherited(self, env: Mapping[str, str], table_in: TableIn) -> Mapping[str, tuple[str, ...]]:
        return inherited(home.of_program(env, "KAY_HOME", ".kay"), table_in)


def provider_of(settings: RuntimeSettings, model: Model | None) -> str:
    """The id of the provider; ConfigInvalid if none is declared or it is unknown: no default."""
    declared = declared_provider(settings, model)
    known = {**PROVIDER_KEYS, **table(settings.config.get("model_providers"))}
    if not declared:
        raise ConfigInvalid(
            "Kay needs a provider, and none is declared",
            hint=f"set provider in [runtimes.kay] or [models.NAME]; one of: {', '.join(known)}",
        )
    provider = Kay.provider_aliases.get(declared, declared)
    if provider not in known:
        raise ConfigInvalid(
            f"unknown provider `{declared}` for Kay",
            hint=f"one of: {', '.join(known)}; or define [runtimes.kay.config.model_providers.{declared}]",
        )
    return provider


def _delegation(server: McpServer) -> dict[str, Any]:
    """The delegation server in Kay's settings; ConfigInvalid for a registered one."""
    if server.registered:
        raise ConfigInvalid(
            "Kay cannot switch a registered MCP server on for one run",
            hint='set server = "inline" in [delegation]',
        )
    return {"mcp_servers.delegation": server_table(server)}


RUNTIME: Runtime = Kay()
