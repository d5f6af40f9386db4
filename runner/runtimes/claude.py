"""Claude Code: `claude -p --output-format stream-json`. Pure; facts measured on 2.1.332, on Linux.

https://code.claude.com/docs/en/cli-reference, https://code.claude.com/docs/en/sandboxing
"""

from __future__ import annotations

from _collections_abc import Mapping  # loaded with `os`; `collections` is not

from runner.disk import home
from runner.errors import ConfigInvalid
from runner.model import Level, McpServer, Outcome, Program, Reason, RuntimeSettings, Sandbox
from runner.runtimes.arguments import Arguments, refuse_impossible, refuse_owned, thread_word
from runner.runtimes.base import CommandRequest, End, Runtime
from runner.runtimes.jsonvalues import table
from runner.value import json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.runtimes.base import Reader, TableIn

_VERSION = r"(?m)^(\d+\.\d+\.\d+[0-9A-Za-z.+-]*) \(Claude Code\)\s*$"
_READS = ("Read", "Grep", "Glob")
_WRITES = ("Bash", "Edit", "Write", "NotebookEdit")
_WEB = ("WebFetch", "WebSearch")
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_PATTERN = frozenset("*?[]{}()!\\\n\r")
"""What a rule of its permissions reads as something else than a character of a path."""
_ALIASES = ("fable", "haiku", "opus", "sonnet")
_ANY = ("best", "default", "opusplan")
"""With these it chooses a model by itself."""
_MODEL = "the model of a task is set with `model` and [models.NAME]"
_SANDBOX_HINT = "the sandbox of a task is set with `sandbox` and [sandboxes.NAME]"
_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_OTHER_KEYS = (
    *("ANTHROPIC_CUSTOM_HEADERS", "AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_AWS_API_KEY"),
    *("ANTHROPIC_FOUNDRY_API_KEY", "ANTHROPIC_FOUNDRY_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_REFRESH_TOKEN"),
)
"""With what it asks other services for the model."""
_OPENED = ("~/.npm/_logs", "/tmp/claude")
"""What its sandbox lets commands write in any case, unless it is told otherwise."""
_RUNS = (
    *("hooks", "apiKeyHelper", "awsAuthRefresh", "awsCredentialExport", "gcpAuthRefresh", "statusLine"),
    *("otelHeadersHelper", "proxyAuthHelper", "subagentStatusLine", "fileSuggestion", "enabledPlugins"),
)
"""Settings with a command that it runs again and again, outside of its sandbox: an agent that can write such
a script would leave the sandbox with it.
"""
_STARTS = ("PATH", "HOME", "ENV", "SHELL", "ZDOTDIR", "NODE_OPTIONS", "BUN_OPTIONS", "CLAUDE_CONFIG_DIR")
_STARTS_WITH = ("BASH_", "LD_", "GIT_", "CLAUDE_CODE_SHELL", "CLAUDE_ENV", "npm_config_", "NPM_CONFIG_")
"""Variables that do the same: it starts a login shell, git, npm, socat, bwrap and MCP servers with them."""


class Claude(Runtime):
    """See `base.Runtime`."""

    name = "claude"
    title = "Claude Code"
    shell = "kept"
    candidates = ("claude",)
    install_hint = (
        "`npm install -g @anthropic-ai/claude-code` puts one on PATH; or set `command` in [runtimes.claude]"
    )
    about = "How Claude Code is run."
    config_is = "Passed to Claude Code with --settings, as its settings.json has them."
    owned = {
        "permissions": _SANDBOX_HINT,
        "sandbox": _SANDBOX_HINT,
        **dict.fromkeys(("model", "modelOverrides", "fallbackModel"), _MODEL),
        "effortLevel": "set reasoning_effort in [models.NAME]",
        **dict.fromkeys(("autoMemoryDirectory", "plansDirectory"), "set `writable` of a sandbox"),
        **dict.fromkeys(_RUNS, "it would be run outside of the sandbox, as its agent may have left it"),
    }
    login_hint = (
        "log in with `claude auth login`, or set ANTHROPIC_API_KEY and name it in `env` of [runtimes.claude]"
    )
    key_env = _KEYS
    efforts = _EFFORTS
    resumes = True
    sessions_home = ("CLAUDE_CONFIG_DIR", ".claude")
    opens_with = ("--resume",)
    names_threads = True
    counts_cost = True
    guards = True
    told_read_only = True
    confines = True
    lists_hosts = True
    denies_read = True
    rehearses = True
    agent_signs = ("CLAUDECODE",)
    helpers = ("bwrap", "socat")
    finds_tools = "If its tools are not listed, search for `delegation`."
    schema_is_text = True
    login_keys = ("apiKeyHelper",)
    machine_config = "/etc/claude-code/managed-settings.json"

    def defaults(self) -> RuntimeSettings:
        # What an older version does not know of its settings it leaves out, or leaves all of them out.
        return RuntimeSettings(self.name, self.candidates[0], version=">=2.1.332", isolated=True)

    def identify(self, version_output: str) -> str | None:
        import re  # once until the program changes

        match = re.search(_VERSION, version_output)
        return match[1] if match else None

    def prepare_prompt(self, prompt: str) -> str:
        # On stdin too: `/cost` ends well without a word to the model, and `/init` is another prompt.
        return f"TASK:\n{prompt}" if prompt.lstrip().startswith("/") else prompt

    def command(self, request: CommandRequest) -> tuple[str, ...]:
        sandbox, model, settings = request.sandbox, request.model, request.settings
        refuse_owned(self, settings.config)
        _refuse_starts(settings)
        refuse_impossible(sandbox, "Claude Code")
        if not settings.isolated and sandbox.level is not Level.DANGER:
            # Its lists add up: what the user's own settings allow would be allowed to the run as well.
            raise ConfigInvalid(
                "Claude Code would add the permissions of your own settings to those of the sandbox",
                hint="take `isolated = false` out of [runtimes.claude], or use a sandbox of level "
                "danger-full-access",
            )
        args = Arguments(request.program, "Claude Code")
        args.option("-p", "--print", flag=True)
        args.option("--output-format", "stream-json")
        args.option("--verbose", flag=True)  # without it, that format is refused
        args.option("--setting-sources", "" if settings.isolated else "user")
        args.option("--strict-mcp-config", flag=True)
        args.option("--permission-mode", _mode(sandbox.level))
        tools = (*_READS, *(_WRITES if sandbox.level is not Level.READ_ONLY else ()))
        args.option("--tools", ",".join((*tools, *_web(sandbox))))
        if model is not None and model.model is not None:
            args.option("--model", model.model)
        if model is not None and model.reasoning_effort is not None:
            args.option("--effort", _effort(model.reasoning_effort))
        if not request.skills:
            args.option("--disable-slash-commands", flag=True)
        args.option("--settings", _json(_settings(request)))
        if request.mcp is not None:
            args.option("--mcp-config", _json({"mcpServers": {"delegation": _delegation(request.mcp)}}))
        if request.output_schema_text is not None:
            args.option("--json-schema", _schema(request.output_schema_text))
        if request.price is not None:
            args.option("--max-budget-usd", request.price)  # of this process, also where it resumes
        if request.resume_thread is not None:
            args.option("-r", "--resume", thread_word(request.resume_thread))
        elif request.new_thread is not None:
            args.option("--session-id", thread_word(request.new_thread))
        return args.done()

    def reader(self) -> Reader:
        from runner.runtimes import claude_events  # a start reads no events, and no ending

        return claude_events.ClaudeStream().read

    def approval(self, level: Level) -> str | None:
        return _mode(level)

    def same_model(self, declared: str, observed: str) -> bool:
        plain, wanted = observed.split("[", 1)[0], declared.split("[", 1)[0]
        if wanted in _ALIASES:
            return wanted in plain.split("-")
        if wanted in _ANY:
            return True
        return plain == wanted or plain.startswith(f"{wanted}-")

    def conclude(self, end: End) -> tuple[Outcome, Reason]:
        from runner.runtimes import claude_endings

        return claude_endings.conclude(end, self.login_hint)

    def login_check(self, program: Program) -> tuple[str, ...] | None:
        return (program.path, "auth", "status")

    def login_file(self, env: Mapping[str, str]) -> str | None:
        folder = home.of_program(env, *self.sessions_home)
        return folder and f"{folder}/.credentials.json"

    def own_config(self, env: Mapping[str, str]) -> str | None:
        folder = home.of_program(env, *self.sessions_home)
        return folder and f"{folder}/settings.json"

    def inherited(self, env: Mapping[str, str], table_in: TableIn) -> Mapping[str, tuple[str, ...]]:
        # None of its own servers: `--strict-mcp-config`.
        own = table_in(self.own_config(env) or "")
        kinds = {"hooks": own.get("hooks"), "plugins": own.get("enabledPlugins")}
        return {kind: tuple(sorted(k for k, on in table(v).items() if on)) for kind, v in kinds.items()}

    def register(self, server: tuple[str, ...]) -> tuple[str, ...] | None:
        return ("mcp", "add", "--transport", "stdio", "delegation", "--", *server)

    def rehearsal(
        self, port: int, retries: int, env: Mapping[str, str]
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        from runner.runtimes import loopback  # for a rehearsal alone

        # A variable with a value comes before any login, and an empty one is none. Without the betas it asks
        # once: it repeats a refused request with fewer of them. The last keeps it from asking anybody else.
        # Settings of the machine come before ours; where a host manages the provider, they name no server.
        none = ("ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_CUSTOM_HEADERS")
        used = (
            "BEDROCK",
            "VERTEX",
            "FOUNDRY",
            "MANTLE",
            "GATEWAY",
            "ANTHROPIC_AWS",
            "ANTHROPIC_GOOGLE_CLOUD",
        )
        other = ("ANTHROPIC_UNIX_SOCKET", *(f"CLAUDE_CODE_USE_{name}" for name in used))
        told = {
            **loopback.environment(env),
            **dict.fromkeys((*none, *other), ""),
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
            "ANTHROPIC_API_KEY": "rehearsal",
            "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",
            "CLAUDE_CODE_MAX_RETRIES": str(retries),
            "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
            "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_ENABLE_TELEMETRY": "0",  # it has what is done, and the prompts
        }
        return (_json(told),), told  # in its settings as well: `env` of settings comes before a variable


def _web(sandbox: Sandbox) -> tuple[str, ...]:
    """Its tools for the web ask outside of its sandbox, which alone knows hosts."""
    return _WEB if sandbox.network and not sandbox.hosts else ()


def _mode(level: Level) -> str:
    """`dontAsk`: what no rule allows is refused."""
    return "bypassPermissions" if level is Level.DANGER else "dontAsk"


def _effort(wanted: str) -> str:
    """It only warns of another word, and takes its default."""
    if wanted not in _EFFORTS:
        raise ConfigInvalid(
            f"Claude Code knows no reasoning_effort `{wanted}`", hint=f"one of: {', '.join(_EFFORTS)}"
        )
    return wanted


def _settings(request: CommandRequest) -> dict[str, Any]:
    """Its `settings.json` for this run.

    Its sandbox holds commands, and rules of its permissions hold the tools that change files. So each path is
    in both. No command goes on in the background: a living one could put a link in the place of a folder
    while a tool writes there.
    """
    sandbox, fence, level = request.sandbox, request.fence, request.sandbox.level
    env = {**table(request.settings.config.get("env")), "DISABLE_AUTOUPDATER": "1"}
    if request.settings.isolated:
        env["CLAUDE_CODE_DISABLE_AUTO_MEMORY"] = "1"  # what the user's own sessions have noted
    for text in request.overrides:  # of a rehearsal
        env |= table(json_value(text))
    whole: dict[str, Any] = {**request.settings.config, "env": env}
    if level is Level.DANGER:
        return whole
    allow = [*_READS, *_web(sandbox), *(("mcp__delegation",) if request.mcp else ())]
    unread = [_plain(path) for path in sandbox.deny_read]
    denied = _rules("Read", unread)
    if level is Level.READ_ONLY:
        return {**whole, "permissions": {"allow": allow, "deny": denied}}
    env["CLAUDE_CODE_DISABLE_BACKGROUND_TASKS"] = "1"
    if fence.temp is not None:
        # Of its commands, which have /tmp/claude-UID all the same where this name is too long for it. Its own
        # sockets are in TMPDIR, and the name of a socket has 108 bytes at most.
        env |= {"CLAUDE_CODE_TMPDIR": fence.temp, "TMPDIR": "/tmp"}
    given = [*sandbox.writable, *((fence.temp,) if fence.temp is not None else ())]
    roots = [_plain(path) for path in (request.cwd, *given)]
    # It protects only parts of a repository by itself, and opens that of a linked work tree.
    kept = [_plain(path) for path in dict.fromkeys((*(f"{root}/.git" for root in roots), *fence.read_only))]
    return {
        **whole,
        "sandbox": _box(sandbox, given, kept, unread),
        "permissions": {
            "allow": [*allow, "Bash", *(f"Edit(/{root}/**)" for root in roots)],
            "deny": [*_rules("Edit", kept), *denied],
        },
    }


def _box(sandbox: Sandbox, given: list[str], kept: list[str], unread: list[str]) -> dict[str, Any]:
    """Its sandbox, with what may be written, what in there must not be, and what must not be read."""
    return {
        "enabled": True,
        "failIfUnavailable": True,
        "allowUnsandboxedCommands": False,
        "excludedCommands": [],
        "autoAllowBashIfSandboxed": True,
        "network": {
            "allowedDomains": [*sandbox.hosts] or (["*"] if sandbox.network else []),
            "strictAllowlist": True,
        },
        "filesystem": {"allowWrite": given, "denyWrite": [*kept, *_OPENED], "denyRead": unread},
        "credentials": {"envVars": [{"name": name, "mode": "deny"} for name in (*_KEYS, *_OTHER_KEYS)]},
    }


def _rules(tool: str, paths: list[str]) -> list[str]:
    return [rule for path in paths for rule in (f"{tool}(/{path})", f"{tool}(/{path}/**)")]


def _refuse_starts(settings: RuntimeSettings) -> None:
    given = table(settings.config.get("env"))
    if "CLAUDE_CODE_EXTRA_BODY" in (*given, *settings.env):
        raise ConfigInvalid(
            "[runtimes.claude] must not set `CLAUDE_CODE_EXTRA_BODY`: it may ask another model",
            hint=_MODEL,
        )
    for name in given:
        if name in _STARTS or name.startswith(_STARTS_WITH):
            raise ConfigInvalid(
                f"[runtimes.claude.config.env] must not set `{name}`: Claude Code starts programs with it "
                "outside of the sandbox",
                hint="what the agent needs can be set in its commands, or with `prepare`",
            )


def _plain(path: str) -> str:
    """A path that a rule reads as nothing else. ConfigInvalid for any other: it would not be held."""
    try:
        path.encode()
    except UnicodeEncodeError:
        is_plain = False
    else:
        is_plain = not _PATTERN.intersection(path) and path == path.strip()
    if not is_plain:
        raise ConfigInvalid(
            f"a rule of Claude Code cannot name the path {path!r}",
            hint="move that to a path without * ? [ ] { } ( ) ! \\ and without a blank at an end",
        )
    return path


def _delegation(server: McpServer) -> dict[str, Any]:
    """The delegation server, which gets all variables of Claude Code. ConfigInvalid for a registered one."""
    if server.registered:
        raise ConfigInvalid(
            "a run of Claude Code has no MCP server that is registered with it",
            hint='set server = "inline" in [delegation]',
        )
    return {"type": "stdio", "command": server.command, "args": list(server.args), "env": dict(server.env)}


def _schema(text: str) -> str:
    """Without the name of its dialect: "no schema with key or ref" is the answer to 2020-12."""
    return _json({key: value for key, value in table(json_value(text)).items() if key != "$schema"})


def _json(value: object) -> str:
    return json_bytes(value, compact=True).decode()


RUNTIME: Runtime = Claude()
