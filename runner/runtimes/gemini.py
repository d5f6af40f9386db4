"""Gemini CLI: `gemini -o stream-json`. Pure; facts measured on 0.61.0, on Linux.

https://geminicli.com/docs/cli/headless, https://geminicli.com/docs/reference/configuration
"""

from __future__ import annotations

from _collections_abc import Mapping  # loaded with `os`; `collections` is not

from runner.errors import ConfigInvalid
from runner.model import Level, McpServer, Model, Outcome, Reason, RuntimeSettings
from runner.runtimes.arguments import Arguments, as_text, refuse_impossible, refuse_owned, thread_word
from runner.runtimes.base import CommandRequest, End, Runtime
from runner.runtimes.jsonvalues import table
from runner.value import json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.runtimes.base import Reader

_VERSION = r"\s*(\d+\.\d+\.\d+[0-9A-Za-z.+-]*)\s*"
_MODES = {Level.READ_ONLY: "plan", Level.WORKSPACE_WRITE: "auto_edit", Level.DANGER: "yolo"}
_KEY = "gemini-api-key"
_POLICY = ".gemini/policies/runner.toml"
_SHELL = "run_shell_command"
_READS = ("list_directory", "read_file", "grep_search", "glob", "invoke_agent", "UpdateTopicTool")
"""The tools that a reader has at all, whatever rules of the machine allow: those come before ours. The last
one is known by its class.
"""
_LEAVES_PLAN = ("exit_plan_mode", "replace", "write_file")
"""Mode `plan` has them, for plans; and where nobody is there to be asked, each may leave that mode."""
_WEB = ("web_fetch", "google_web_search")
_LONGEST_S = 2_000_000
"""Its timers take 32 bits of milliseconds: with more, a command is ended at once."""
_THINKS = {
    "minimal": ("LOW", 1024),
    "low": ("LOW", 1024),
    "medium": ("MEDIUM", 8192),
    "high": ("HIGH", 24576),
    "xhigh": ("HIGH", 24576),
}
"""Effort -> level of the models 3, tokens of the models 2.5, as the API takes these words.
https://ai.google.dev/gemini-api/docs/openai#thinking
"""
_CHOOSES = ("auto", "auto-gemini-3", "auto-gemini-2.5", "pro", "flash", "flash-lite")
"""Names for which it takes a model by itself."""
_NO_FILE = "/dev/null/none"
_LEVEL = "the sandbox of a task is set with `sandbox` and [sandboxes.NAME]"
_MODEL = "the model of a task is set with `model` and [models.NAME]"
_EFFORT = 'take it out of [models.NAME]; in a plan, give its units effort = "default"'
_NAMES = (
    *("aliases", "customAliases", "modelDefinitions", "modelIdResolutions", "classifierIdResolutions"),
    "modelChains",
)
"""What of `modelConfigs` may put another model in the place of the one that `-m` names."""
_OURS = "each run has a home of its own, which nobody has to trust"


class Gemini(Runtime):
    """See `base.Runtime`."""

    name = "gemini"
    title = "Gemini CLI"
    candidates = ("gemini",)
    install_hint = (
        "`npm install -g @google/gemini-cli` puts one on PATH; or set `command` in [runtimes.gemini]"
    )
    about = "How Gemini CLI is run."
    config_is = "Settings of Gemini CLI, as its settings.json has them."
    owned = {
        "model.name": _MODEL,
        "general.defaultApprovalMode": _LEVEL,
        **dict.fromkeys(("policyPaths", "adminPolicyPaths", "tools.allowed", "tools.sandbox"), _LEVEL),
        "security.folderTrust": _OURS,
        "advanced.ignoreLocalEnv": _OURS,
        "mcpServers.delegation": "set [delegation]",
        "context.includeDirectories": "set `writable` of a sandbox",
        **dict.fromkeys((f"modelConfigs.{name}" for name in _NAMES), _MODEL),
    }
    login_hint = "set GEMINI_API_KEY and name it in `env` of [runtimes.gemini]"
    key_env = ("GEMINI_API_KEY",)
    rehearses = True
    has_sandbox = False  # `--sandbox` needs docker, podman or a Mac
    agent_signs = ("GEMINI_CLI",)
    help_says = "Gemini CLI"
    own_home = ("GEMINI_CLI_HOME",)
    home_kept = (".gemini/tmp", ".gemini/projects.json")  # its sessions, and which folder has which
    # Without it, a launcher starts a second process and passes no signal on to it.
    variables = {"GEMINI_CLI_NO_RELAUNCH": "true"}
    efforts = tuple(_THINKS)
    resumes = True  # within a run: its sessions lie in its home
    # No `login_check`: it has none, and a login with Google lies in the home of the user.

    def defaults(self) -> RuntimeSettings:
        return RuntimeSettings(self.name, self.candidates[0], ">=0.61")

    def identify(self, version_output: str) -> str | None:
        import re  # once until the program changes

        match = re.fullmatch(_VERSION, version_output)
        return match[1] if match else None

    def prepare_prompt(self, prompt: str) -> str:
        return as_text(prompt)  # `/init` and commands of the user's own are read from stdin, too

    def command(self, request: CommandRequest) -> tuple[str, ...]:
        sandbox, model = request.sandbox, request.model
        refuse_owned(self, request.settings.config)
        _refuse_overrides(request)
        refuse_impossible(sandbox, self.title)
        if request.settings.isolated:
            raise ConfigInvalid(
                "a run of Gemini CLI always has a home of its own", hint="take `isolated` away"
            )
        if request.mcp is not None and request.mcp.registered:
            raise ConfigInvalid(
                "a run of Gemini CLI has no MCP server that is registered with it",
                hint='set server = "inline" in [delegation]',
            )
        args = Arguments(request.program, self.title)
        args.option("-o", "--output-format", "stream-json")
        args.option("--approval-mode", _MODES[sandbox.level])
        args.option("--skip-trust", flag=True)
        if request.resume_thread is not None:
            args.option("-r", "--resume", thread_word(request.resume_thread))
        if model is not None and model.model is not None:
            args.option("-m", "--model", model.model)
        for folder in ("/",) if sandbox.level is Level.DANGER else sandbox.writable:
            args.option("--include-directories", folder)
        return args.done()

    def provider(self, settings: RuntimeSettings, model: Model | None) -> str | None:
        return "google" if self.secret_env(settings, model) else None

    def secret_env(self, settings: RuntimeSettings, model: Model | None) -> tuple[str, ...]:
        wanted = table(table(settings.config.get("security")).get("auth")).get("selectedType", _KEY)
        return self.key_env if wanted == _KEY else ()

    def home(self, request: CommandRequest) -> dict[str, str]:
        own: dict[str, Any] = {
            "security": {"auth": {"selectedType": _KEY}},
            "privacy": {"usageStatisticsEnabled": False},
            "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
            "tools": {"shell": {"inactivityTimeout": _LONGEST_S}},  # `idle_timeout` is ours
            "skills": {"enabled": request.skills},
        }
        own = _merged(_merged(own, request.settings.config), {"advanced": {"ignoreLocalEnv": True}})
        if thinking := _thinking(request.model):
            configs = table(own.get("modelConfigs"))
            own["modelConfigs"] = {
                **configs,
                "customOverrides": [*configs.get("customOverrides", ()), *thinking],
            }
        if request.sandbox.level is Level.READ_ONLY:
            given = table(own.get("tools")).get("core")
            core = [name for name in _READS if not isinstance(given, list | tuple) or name in given]
            core += ["mcp_delegation_*"] if request.mcp is not None else []
            own = _merged(own, {"tools": {"core": core}})
        if request.mcp is not None:
            own = _merged(own, {"mcpServers": {"delegation": _delegation(request.mcp)}})
        for text in request.overrides:
            own = _merged(own, table(json_value(text)))
        return {".gemini/settings.json": json_bytes(own).decode(), _POLICY: _policy(request)}

    def obeyed(self, folder: str, env: Mapping[str, str]) -> tuple[str, ...]:
        found = [f"{folder}/.gemini"]
        while folder.strip("/"):
            folder = folder.rpartition("/")[0]
            found.append(f"{folder}/.gemini/.env")
        return tuple(found)

    def register(self, server: tuple[str, ...]) -> tuple[str, ...] | None:
        # By default it writes into the folder, where no run may be then: see `obeyed`.
        program, *words = server
        return ("mcp", "add", "--scope", "user", "delegation", program, "--", *words)

    def rehearsal(
        self, port: int, retries: int, env: Mapping[str, str]
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        from runner.runtimes import loopback  # for a rehearsal alone

        # A text that is repeated is no loop here, and nobody is asked who speaks next. Where no model is
        # named, it would ask which one to take, and repeat failures whatever `maxAttempts` says. Settings of
        # the machine come before these, and may choose Vertex AI: a rehearsal has none of them.
        settings = {
            "security": {"auth": {"selectedType": _KEY}},
            "general": {"maxAttempts": retries + 1, "retryFetchErrors": False},
            "telemetry": {"enabled": False},  # it has the prompts
            "model": {"name": "gemini-2.5-pro", "disableLoopDetection": True, "skipNextSpeakerCheck": True},
        }
        return (json_bytes(settings, compact=True).decode(),), {
            **loopback.environment(env),
            "GOOGLE_GEMINI_BASE_URL": f"http://127.0.0.1:{port}",
            "GEMINI_API_KEY": "a-rehearsal-needs-no-key",  # a word of no message: it is redacted
            "GEMINI_TELEMETRY_ENABLED": "false",
            "GEMINI_CLI_SYSTEM_SETTINGS_PATH": _NO_FILE,
            "GEMINI_CLI_SYSTEM_DEFAULTS_PATH": _NO_FILE,
        }

    def reader(self) -> Reader:
        from runner.runtimes import gemini_events  # a start reads no events, and no ending

        return gemini_events.GeminiStream().read

    def conclude(self, end: End) -> tuple[Outcome, Reason]:
        from runner.runtimes import gemini_endings

        return gemini_endings.conclude(end, self.login_hint)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, where the second one counts."""
    merged = dict(below)
    for key, value in above.items():
        is_both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if is_both else value
    return merged


def _thinking(model: Model | None) -> list[dict[str, Any]]:
    """The settings for its effort: there is no option. What is set for `chat-base-*` counts for each model of
    that family that it knows. https://geminicli.com/docs/cli/generation-settings
    """
    if model is None or model.reasoning_effort is None:
        return []
    effort, name = model.reasoning_effort, model.model
    if effort not in _THINKS:
        raise ConfigInvalid(
            f"Gemini CLI knows no reasoning_effort `{effort}`", hint=f"one of {', '.join(_THINKS)}"
        )
    level, tokens = _THINKS[effort]
    newer, older = {"thinkingLevel": level}, {"thinkingBudget": tokens}
    # https://discuss.ai.google.dev/t/112648: it refuses MEDIUM
    first = {"thinkingLevel": "HIGH" if level == "MEDIUM" else level}
    found = {"chat-base-2.5": older, "chat-base-3": newer, "gemini-3-pro-preview": first}
    if name is not None and name.startswith(("gemini-2.5", "gemini-3")):
        found.setdefault(name, older if name.startswith("gemini-2.5") else newer)
    elif name is not None and name not in _CHOOSES:
        raise ConfigInvalid(
            f"of the model `{name}` it is not known how reasoning_effort is set",
            hint=_EFFORT,
        )
    return [
        {"match": {"model": one}, "modelConfig": {"generateContentConfig": {"thinkingConfig": thinks}}}
        for one, thinks in found.items()
    ]


def _refuse_overrides(request: CommandRequest) -> None:
    """What its first line tells stays the model of `-m`, whichever one is asked; and of two settings for how
    much a model thinks, parts of both would be asked for.
    """
    configs = table(request.settings.config.get("modelConfigs"))
    ours = [one["match"]["model"] for one in _thinking(request.model)]
    for key in ("overrides", "customOverrides"):
        given, where = configs.get(key, ()), f"[runtimes.gemini.config] modelConfigs.{key}"
        if not isinstance(given, list | tuple):
            raise ConfigInvalid(f"{where} must be an array")
        for one in map(table, given):
            config, matched = table(one.get("modelConfig")), table(one.get("match")).get("model")
            if "model" in config:
                raise ConfigInvalid(f"{where} must name no model", hint=_MODEL)
            thinks = "thinkingConfig" in table(config.get("generateContentConfig"))
            if thinks and ours and (matched is None or matched in ours):
                raise ConfigInvalid(f"{where} sets `thinkingConfig`, as reasoning_effort does", hint=_EFFORT)


def _policy(request: CommandRequest) -> str:
    """Its rules, which come before those of a mode. What no rule allows is refused, as nobody is asked.
    https://geminicli.com/docs/reference/policy-engine
    """
    level, has_web = request.sandbox.level, request.sandbox.network
    rules: list[tuple[tuple[str, ...], str]] = []
    if level is Level.READ_ONLY:
        rules.append((_LEAVES_PLAN, "deny"))
    if level is Level.WORKSPACE_WRITE:
        rules.append(((_SHELL, *(_WEB if has_web else ())), "allow"))
    if level is not Level.DANGER and not has_web:
        rules.append((_WEB, "deny"))
    text = "".join(
        f"[[rule]]\ntoolName = {json_bytes(names, compact=True).decode()}\n"
        f'decision = "{decision}"\npriority = 900\n\n'
        for names, decision in rules
    )
    if request.mcp is not None:
        text += '[[rule]]\ntoolName = "*"\nmcpName = "delegation"\ndecision = "allow"\npriority = 900\n'
    return text


def _delegation(server: McpServer) -> dict[str, Any]:
    """The delegation server in its settings. It passes few of its own variables on to a server."""
    named = {name: f"${{{name}}}" for name in server.env_names}
    return {"command": server.command, "args": list(server.args), "env": {**named, **server.env}}


RUNTIME: Runtime = Gemini()
