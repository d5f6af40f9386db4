"""The OpenAI Codex CLI: `codex exec --json`. Pure; facts measured on codex-cli 0.163.0 and 0.171.0.

https://github.com/openai/codex/blob/main/codex-rs/exec/src/cli.rs
"""

from __future__ import annotations

from _collections_abc import Mapping  # loaded with `os`; `collections` is not

from runner.disk import home
from runner.errors import ConfigInvalid
from runner.model import Level, McpServer, Model, Outcome, Program, Reason, RuntimeSettings, Sandbox
from runner.runtimes import codex_profile
from runner.runtimes.arguments import refuse_impossible, refuse_owned
from runner.runtimes.base import CommandRequest, End, Fence, Refusal, Runtime, SessionNote, UsageScope
from runner.runtimes.jsonvalues import table
from runner.runtimes.lineage import (
    CONFIG_IS,
    DECLARED,
    HELP,
    SANDBOX_HINT,
    TEMPS,
    ExecArguments,
    declared_provider,
    inherited,
    server_table,
)
from runner.runtimes.overrides import assignment, flatten, mentions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.model import Json
    from runner.runtimes.base import Reader, TableIn

_VERSION = r"(?m)^codex-cli (\d+\.\d+\.\d+[0-9A-Za-z.+-]*)\s*$"
_KAY = r"(?mi)^kay (\S+)\s*$"

_NEVER_ASKS = "`codex exec` never asks: it always runs with approval `never`"


class Codex(Runtime):
    """See `base.Runtime`."""

    name = "codex"
    title = "the OpenAI Codex CLI"
    shell = "quoted"
    about = "The Codex CLI."
    config_is = CONFIG_IS
    help_args = HELP
    asked_besides = (("exec", "resume", "--help"), ("sandbox", "--help"))
    # 50 ms on 0.163.0. What `exec --json` prints has no schema of its own; its items are these.
    schema = ("ServerNotification.json", "ThreadItem", "app-server", "generate-json-schema", "--out")
    usage_scope = UsageScope.THREAD
    owned = {
        **DECLARED,
        "sandbox_permissions": SANDBOX_HINT,
        "approval_policy": _NEVER_ASKS,
        "approvals_reviewer": _NEVER_ASKS,
        "skills.include_instructions": "set skills in [delegation]",
    }
    candidates = ("codex",)
    bundled = "codex_cli_bin/bin/codex"
    install_hint = (
        "`pip install 'delegate-runner[codex]'` brings a binary along, `npm install -g @openai/codex` puts "
        "one on PATH; or set `command` in [runtimes.codex]"
    )
    login_hint = "log in with `codex login`, or set CODEX_API_KEY and name it in `env` of [runtimes.codex]"
    key_env = ("CODEX_API_KEY",)  # measured on 0.163.0: OPENAI_API_KEY is not read by exec
    # Both versions list models with `low` to `ultra`; the service has more words, and it takes any.
    efforts = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")
    resumes = True
    sessions_home = ("CODEX_HOME", ".codex")
    opens_with = ("resume",)
    guards = True  # measured on 0.163.0: https://github.com/openai/codex/pull/17036
    made_folders = (".agents", ".aws", ".codex")
    confines = True
    lists_hosts = True
    denies_read = True
    rehearses = True
    # Seen on 0.163.0; CODEX_SANDBOX on macOS only. The last is "1" in its sandbox without network.
    agent_signs = ("CODEX_SANDBOX", "CODEX_SESSION_ID", "CODEX_THREAD_ID", "CODEX_SANDBOX_NETWORK_DISABLED")
    shell_key = "allow_login_shell"
    provider_key = "model_provider"
    login_keys = ("cli_auth_credentials_store",)
    machine_config = "/etc/codex/config.toml"
    finds_tools = (
        "If its tools are not listed, search for `delegate`; in code they are functions such as "
        "`tools.mcp__delegation__delegate_status({...})`."
    )
    # No `prepare_prompt`: `codex exec -` takes any text, a leading `/` or `-` has no meaning on stdin. No
    # `stored_key`: a provider's key is in the environment only; `codex login status` answers for the login.

    def defaults(self) -> RuntimeSettings:
        config = {"features": {"unbounded_connection_retries": False}}
        return RuntimeSettings(self.name, "codex", ">=0.150", config=config)

    def identify(self, version_output: str) -> str | None:
        import re  # once until the program changes

        match = re.search(_VERSION, version_output)
        return match[1] if match and not re.search(_KAY, version_output) else None

    def foreign(self, version_output: str) -> str | None:
        import re

        match = re.search(_KAY, version_output)
        return f"Kay {match[1]}" if match else None

    def command(self, request: CommandRequest) -> tuple[str, ...]:
        sandbox, model, config = request.sandbox, request.model, request.settings.config
        refuse_owned(self, config)
        refuse_impossible(sandbox, "Codex")
        args = ExecArguments(request.program, "codex-cli")
        args.option("--json", flag=True)
        args.option("--skip-git-repo-check", flag=True)
        if request.settings.isolated:
            _isolate(args, request.mcp)
        args.option("-C", "--cd", request.cwd)
        if model is not None and model.model is not None:
            args.option("-m", "--model", model.model)
        _level(args, request)
        args.overrides(config)
        if not mentions(config, "projects"):
            args.override(_without_its_config(request.cwd))
        if request.plain_shell:
            args.override(assignment("allow_login_shell", False))
        if provider := declared_provider(request.settings, model):
            args.override(assignment("model_provider", provider))
        if model is not None and model.reasoning_effort is not None:
            args.override(assignment("model_reasoning_effort", model.reasoning_effort))
        _sandbox(args, request)
        if not request.skills:
            # `features.skills` does not exist; this is what hides them.
            args.override(assignment("skills.include_instructions", False))
        if request.mcp is not None:
            args.overrides_of(_delegation(request.mcp))
        for text in request.overrides:
            args.override(text)
        if request.output_schema is not None:
            args.option("--output-schema", request.output_schema)
        # No `-o`: the last message is whole in the stream. Codex writes that file outside its sandbox, and
        # the folder lies in the workspace, where a child could put a link to any file of the user in its
        # place.
        return args.ended(request.resume_thread)

    def provider(self, settings: RuntimeSettings, model: Model | None) -> str | None:
        declared = declared_provider(settings, model) or settings.config.get("model_provider")
        return str(declared) if declared and declared != "openai" else None

    def secret_env(self, settings: RuntimeSettings, model: Model | None) -> tuple[str, ...]:
        provider = self.provider(settings, model)
        declared = table(table(settings.config.get("model_providers")).get(str(provider)))
        headers = table(declared.get("env_http_headers"))
        names = [declared.get("env_key"), *(headers[key] for key in sorted(headers))]
        return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name))

    def rehearsal(
        self, port: int, retries: int, env: Mapping[str, str]
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        from runner.runtimes import codex_rehearsal, loopback  # for a rehearsal alone

        return codex_rehearsal.overrides(port, retries=retries), loopback.environment(env)

    def reader(self) -> Reader:
        from runner.runtimes import codex_events  # a start reads no events, and no ending

        return codex_events.parse

    def approval(self, level: Level) -> str | None:
        return "never"

    def refusal(self, line: str) -> Refusal | None:
        from runner.runtimes import codex_endings

        return codex_endings.refusal(line)

    def session_folders(self, env: Mapping[str, str], thread_id: str) -> tuple[str, ...]:
        from runner.runtimes import codex_rollout

        folder = home.of_program(env, *self.sessions_home)
        return codex_rollout.folders(folder, thread_id) if folder else ()

    def session_record(self, record: Json) -> SessionNote | None:
        from runner.runtimes import codex_rollout

        return codex_rollout.note(record)

    def conclude(self, end: End) -> tuple[Outcome, Reason]:
        from runner.runtimes import codex_endings

        return codex_endings.conclude(end, self.login_hint)

    def login_check(self, program: Program) -> tuple[str, ...] | None:
        return (program.path, "login", "status")

    def login_file(self, env: Mapping[str, str]) -> str | None:
        folder = home.of_program(env, *self.sessions_home)
        return folder and f"{folder}/auth.json"

    def mcp_check(self, program: Program) -> tuple[str, ...] | None:
        return (program.path, "mcp", "get", "delegation", "--json")

    def register(self, server: tuple[str, ...]) -> tuple[str, ...] | None:
        return ("mcp", "add", "delegation", "--", *server)

    def own_config(self, env: Mapping[str, str]) -> str | None:
        folder = home.of_program(env, *self.sessions_home)
        return folder and f"{folder}/config.toml"

    def inherited(self, env: Mapping[str, str], table_in: TableIn) -> Mapping[str, tuple[str, ...]]:
        return inherited(home.of_program(env, *self.sessions_home), table_in)

    def sandbox_check(self, program: Program, level: Level) -> tuple[str, ...] | None:
        if level is Level.DANGER:
            return None
        # Only read-only can be shown to refuse a write in any folder.
        probe = "if touch runner-probe 2>/dev/null; then rm -f runner-probe; exit 3; fi"
        mode = assignment("sandbox_mode", Level.READ_ONLY.value)
        return (program.path, "sandbox", "-c", mode, "--", "/bin/sh", "-c", probe)

    def sandbox_trial(
        self, program: Program, settings: RuntimeSettings, sandbox: Sandbox, fence: Fence
    ) -> tuple[str, ...] | None:
        # Measured on 0.163.0: with a link for `.git`, `.agents`, `.codex` or `.aws` in a folder that may be
        # written, or nothing in the place of one, the sandbox cannot be made, and the event stream of a run
        # has no word of it.
        if sandbox.level is Level.DANGER:
            return None
        words = [assignment(key, value) for key, value in flatten(settings.config)]
        if codex_profile.is_needed(sandbox):
            words += codex_profile.assignments(sandbox, fence, (*sandbox.writable, *fence.held))
            return (program.path, "sandbox", *codex_profile.trial(sandbox, words))
        words.append(assignment("sandbox_mode", sandbox.level.value))
        if sandbox.level is Level.WORKSPACE_WRITE:  # always said, as in `command`
            given, prefix = (*sandbox.writable, *fence.held), "sandbox_workspace_write"
            words.append(assignment(f"{prefix}.network_access", sandbox.network))
            words.append(assignment(f"{prefix}.writable_roots", given))
        if fence.temp is not None:
            words += [assignment(f"sandbox_workspace_write.{key}", True) for key in TEMPS]
        options = (word for text in words for word in ("-c", text))
        return (program.path, "sandbox", *options, "--", "/bin/sh", "-c", "exit 0")


def _level(args: ExecArguments, request: CommandRequest) -> None:
    sandbox = request.sandbox
    if not codex_profile.is_needed(sandbox):
        args.option("-s", "--sandbox", sandbox.level.value)
    else:
        codex_profile.refuse_impossible(sandbox, request.fence, request.program)
        if sandbox.hosts:
            args.option("--enable", codex_profile.PROXY)
    if sandbox.level is Level.WORKSPACE_WRITE:
        for folder in (*sandbox.writable, *request.fence.writable):
            args.option("--add-dir", folder)


def _sandbox(args: ExecArguments, request: CommandRequest) -> None:
    sandbox, prefix = request.sandbox, "sandbox_workspace_write"
    if codex_profile.is_needed(sandbox):
        for text in codex_profile.assignments(sandbox, request.fence):
            args.override(text)
    elif sandbox.level is Level.WORKSPACE_WRITE:
        # Always said: a config.toml of the user may have opened more, and folders add up.
        args.override(assignment(f"{prefix}.network_access", sandbox.network))
        args.override(assignment(f"{prefix}.writable_roots", ()))
        if request.fence.temp is not None:
            args.own_temp(prefix)


def _without_its_config(folder: str) -> str:
    """Has Codex leave out the `.codex/config.toml` of the repository, whose servers it would start outside of
    the sandbox: nobody was asked for that. Measured on 0.163.0: `exec -s` with a level that may write trusts
    an unknown project by itself, and stores that in the user's settings; this entry comes before any other.
    """
    name = folder.encode(errors="surrogateescape").decode(errors="replace")  # TOML is UTF-8
    return codex_profile.ascii_only(assignment("projects", {name: {"trust_level": "untrusted"}}))


def _isolate(args: ExecArguments, server: McpServer | None) -> None:
    """Leaves out the user's own settings, and the hooks that stand beside them or in plugins. Measured on
    0.163.0: the login stays.
    """
    if server is not None and server.registered:
        raise ConfigInvalid(
            "an isolated run has no MCP server that is registered with Codex",
            hint='set server = "inline" in [delegation], or take `isolated` away',
        )
    args.option("--ignore-user-config", flag=True)
    args.override(assignment("features.hooks", False))
    args.override(assignment("features.plugins", False))


def _delegation(server: McpServer) -> dict[str, Any]:
    """The delegation server in Codex's settings; measured on 0.163.0.

    `required`: Codex does not wait for an optional server, which may silently be absent. The approval:
    without it every call that is not read-only is refused, and the run ends well all the same. `env_vars`: a
    server gets a short environment, and a child run needs what its parent got.
    """
    common = {"required": True, "default_tools_approval_mode": "approve"}
    if server.registered:
        who = (*_WHO, *server.env_names)
        fields = {"enabled": True, **common, "env_vars": tuple(dict.fromkeys(who))}
        return {f"mcp_servers.delegation.{key}": value for key, value in fields.items()}
    return {"mcp_servers.delegation": {**server_table(server), "env_vars": server.env_names, **common}}


_WHO = ("RUNNER_RUN_ID", "RUNNER_MANIFEST")
"""Tells a registered server for which run it was started: it has no arguments of this run."""


RUNTIME: Runtime = Codex()
