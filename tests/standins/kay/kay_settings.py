"""Effective settings of one Kay run: home folder, config layers, provider, sandbox, credentials.

Reads files below the home folder and nothing else. Source of the facts: the documented contract of
Kay 0.9.17 and 0.9.46 (flag over profile over config.toml over built-in; `-c` is a layer on
config.toml; the last `-c` of a key wins).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kay_command_line import Parsed
from kay_options import Generation

__all__ = [
    "ConfigError",
    "Provider",
    "Settings",
    "Table",
    "auth_file",
    "find_api_key",
    "find_home",
    "load_config",
    "read_auth",
    "resolve",
    "table",
]

Table = dict[str, object]

DEFAULT_MODEL = "gpt-5.1-codex"
LOCAL_MODEL = "gpt-oss:20b"
BUILT_IN_PROVIDERS: Mapping[str, str] = {
    "openai": "OPENAI_API_KEY",
    "minimax": "MINIMAX_API_KEY",
    "xiaomi": "XIAOMI_API_KEY",
    "opencode-go": "OPENCODE_GO_API_KEY",
    "oss": "",
}
_SANDBOXES = ("read-only", "workspace-write", "danger-full-access")


class ConfigError(Exception):
    """A setting that Kay cannot use: one line on stderr, exit 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where the model is served; an empty `env_key` means that no key is needed."""

    id: str
    env_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The resolved settings of one run."""

    home: Path
    workdir: Path
    model: str
    provider: Provider
    approval: str
    sandbox: str
    network: bool
    writable_roots: tuple[str, ...]
    effort: str
    reasoning_summary: str

    @property
    def sandbox_summary(self) -> str:
        if self.sandbox != "workspace-write":
            return self.sandbox
        roots = ", ".join(("workdir", "/tmp", "$TMPDIR", *self.writable_roots))
        network = " (network access enabled)" if self.network else ""
        return f"{self.sandbox} [{roots}]{network}"

    def summary(self) -> dict[str, str]:
        """The pairs that both output modes print before anything else."""
        pairs = {
            "workdir": str(self.workdir),
            "model": self.model,
            "provider": self.provider.id,
            "approval": self.approval,
            "sandbox": self.sandbox_summary,
        }
        if self.provider.id == "openai":
            pairs["reasoning effort"] = self.effort
            pairs["reasoning summaries"] = self.reasoning_summary
        return pairs


def find_home(env: Mapping[str, str]) -> Path:
    """$KAY_HOME, which must exist, else ~/.kay. Raises ConfigError."""
    given = env.get("KAY_HOME", "")
    if not given:
        return Path(env.get("HOME") or Path.home()) / ".kay"
    try:
        return Path(given).resolve(strict=True)
    except OSError as error:
        raise ConfigError(f"KAY_HOME points to {given!r}: {error.strerror}") from error


def load_config(home: Path, overrides: Sequence[str]) -> Table:
    """config.toml with the `-c` overrides applied in order. Raises ConfigError."""
    parsed = [_parse_override(raw) for raw in overrides]
    config: Table = {}
    path = home / "config.toml"
    if path.is_file():
        try:
            config = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
    for key, value in parsed:
        _set(config, key, value)
    return config


def resolve(given: Parsed, config: Table, *, home: Path, cwd: Path, generation: Generation) -> Settings:
    """The settings of one `exec`. Raises ConfigError."""
    profile = _profile(given, config)
    local = given.has("oss")
    sandbox, approval = _policies(given, profile, config)
    workspace = table(config, "sandbox_workspace_write")
    network = workspace.get("network_access") is True
    if given.has("full-auto") and generation.full_auto_opens_network:
        network = True
    roots = workspace.get("writable_roots")
    return Settings(
        home=home,
        workdir=(cwd / (given.last("cd") or ".")).resolve(),
        model=given.last("model")
        or (LOCAL_MODEL if local else _text("model", profile, config) or DEFAULT_MODEL),
        provider=_provider("oss" if local else _text("model_provider", profile, config), config),
        approval=approval,
        sandbox=sandbox,
        network=network and sandbox == "workspace-write",
        writable_roots=tuple(map(str, roots)) if isinstance(roots, list) else (),
        effort=_text("model_reasoning_effort", profile, config) or "medium",
        reasoning_summary=_text("model_reasoning_summary", profile, config) or "auto",
    )


def table(values: Table, key: str) -> Table:
    """The table under `key`, empty if there is none."""
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def auth_file(home: Path) -> Path:
    return home / "auth.json"


def read_auth(home: Path) -> Table:
    """The stored credentials, empty if there are none. Raises ConfigError."""
    try:
        found: object = json.loads(auth_file(home).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigError(f"cannot read {auth_file(home)}: {error}") from error
    return found if isinstance(found, dict) else {}


def find_api_key(
    provider: Provider, *, home: Path, env: Mapping[str, str], generation: Generation
) -> str | None:
    """The key of this provider from the environment or auth.json; `` when none is needed."""
    if not provider.env_key:
        return ""
    names = [provider.env_key, *(["CODEX_API_KEY"] if provider.id == "openai" else [])]
    known = {**_home_env(home), **env}
    from_env = next((known[name] for name in names if known.get(name)), None)
    auth = read_auth(home)
    stored = table(table(auth, "provider_credentials"), provider.id).get("api_key")
    if provider.id == "openai" and not stored:
        stored = auth.get("OPENAI_API_KEY")
    from_file = stored if isinstance(stored, str) and stored else None
    ordered = (from_env, from_file) if generation.env_key_wins else (from_file, from_env)
    return next((key for key in ordered if key), None)


def _home_env(home: Path) -> dict[str, str]:
    try:
        lines = (home / ".env").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.removeprefix("export ").partition("=") for line in map(str.strip, lines))
    return {name.strip(): value.strip().strip("\"'") for name, equals, value in pairs if equals}


def _parse_override(raw: str) -> tuple[str, object]:
    key, equals, text = raw.partition("=")
    if not equals:
        raise ConfigError(f"Error parsing -c overrides: Invalid override (missing '='): {raw}")
    if not key.strip():
        raise ConfigError(f"Error parsing -c overrides: Empty key in override: {raw}")
    try:
        value: object = tomllib.loads(f"_x_ = {text.strip()}")["_x_"]
    except tomllib.TOMLDecodeError:
        value = text.strip().strip("\"'")
    return key.strip(), value


def _set(config: Table, dotted: str, value: object) -> None:
    *parents, last = dotted.split(".")
    here = config
    for name in parents:
        below = here.get(name)
        if not isinstance(below, dict):
            below = here[name] = {}
        here = below
    here[last] = value


def _profile(given: Parsed, config: Table) -> Table:
    name = given.last("profile") or _text("profile", config)
    if not name:
        return {}
    profiles = table(config, "profiles")
    if name not in profiles:
        raise ConfigError(f"config profile `{name}` not found")
    return table(profiles, name)


def _text(key: str, *layers: Table) -> str:
    for layer in layers:
        value = layer.get(key)
        if value is None:
            continue
        if not isinstance(value, str):
            raise ConfigError(f"invalid type for `{key}`: expected a string, found {value!r}")
        return value
    return ""


def _policies(given: Parsed, profile: Table, config: Table) -> tuple[str, str]:
    """Sandbox and approval. `exec` never asks unless told to, whatever the config says."""
    sandbox = _text("sandbox_mode", profile, config) or "read-only"
    if sandbox not in _SANDBOXES:
        raise ConfigError(f"unknown variant `{sandbox}` for `sandbox_mode`")
    if given.has("dangerously-bypass-approvals-and-sandbox"):
        return "danger-full-access", "never"
    full_auto = given.has("full-auto")
    sandbox = given.last("sandbox") or ("workspace-write" if full_auto else sandbox)
    return sandbox, given.last("ask-for-approval") or ("on-failure" if full_auto else "never")


def _provider(name: str, config: Table) -> Provider:
    name = name or "openai"
    configured = table(config, "model_providers")
    if name in configured:
        env_key = table(configured, name).get("env_key")
        default = BUILT_IN_PROVIDERS.get(name, "")
        return Provider(id=name, env_key=env_key if isinstance(env_key, str) else default)
    if name not in BUILT_IN_PROVIDERS:
        raise ConfigError(f"Model provider `{name}` not found")
    return Provider(id=name, env_key=BUILT_IN_PROVIDERS[name])
