"""`kay login`, `kay logout` and `kay mcp`: the commands that change the home folder.

Source of the facts: the documented contract of Kay 0.9.17 and 0.9.46. Login talks on stderr only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from kay_command_line import Parsed, UsageError
from kay_settings import Table, auth_file, load_config, read_auth, table

__all__ = ["login", "login_status", "logout", "mcp"]

_KEY_SHOWN_FROM = 14  # characters; a shorter key is hidden whole


def login(given: Parsed, home: Path) -> int:
    """Saves a key for a provider. The name of the provider is not checked."""
    provider = (given.last("provider") or "openai").strip().lower()
    key = given.last("api-key")
    if key is None and not given.has("with-api-key"):
        return _say("Error logging in: no browser is available", 1)
    if key is None:
        if sys.stdin.isatty():
            return _say("--with-api-key expects the API key on stdin. Try piping it.", 1)
        _say("Reading API key from stdin...", 0)
        key = sys.stdin.read()
        if not key.strip():
            return _say("No API key provided via stdin.", 1)
    key = key.strip()
    if not key:
        return _say("API key must not be empty.", 1)
    auth = read_auth(home)
    if provider == "openai":
        auth |= {"auth_mode": "apikey", "OPENAI_API_KEY": key}
    stored = table(auth, "provider_credentials")
    auth["provider_credentials"] = {**stored, provider: {"api_key": key}}
    _write_private(auth_file(home), json.dumps(auth, indent=2))
    return _say(f"Successfully saved API key for provider `{provider}`", 0)


def login_status(home: Path, env: Mapping[str, str]) -> int:
    """Looks at the main record only: a provider key does not count."""
    found = env.get("OPENAI_API_KEY") or read_auth(home).get("OPENAI_API_KEY")
    if not isinstance(found, str) or not found:
        return _say("Not logged in", 1)
    shown = "***" if len(found) < _KEY_SHOWN_FROM else f"{found[:8]}***{found[-5:]}"
    return _say(f"Logged in using an API key - {shown}", 0)


def logout(home: Path) -> int:
    try:
        auth_file(home).unlink()
    except FileNotFoundError:
        return _say("Not logged in", 0)
    return _say("Successfully logged out", 0)


def mcp(verb: str, given: Parsed, home: Path, overrides: tuple[str, ...]) -> int:
    """`list`, `get`, `add` and `remove` on the servers of config.toml."""
    name = given.arguments[0] if given.arguments else ""
    servers = _servers(load_config(home, overrides))
    if verb == "list":
        return _show(list(servers.values()), given)
    if not name:
        raise UsageError("the following required arguments were not provided:\n  <NAME>")
    if verb == "get":
        if name not in servers:
            return _say(f"Error: No MCP server named '{name}' found.", 1)
        return _show(servers[name], given)
    config = home / "config.toml"
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    without = _without_server(text, name)
    if verb == "remove":
        config.write_text(without, encoding="utf-8")
        known = name in servers
        print(f"Removed global MCP server '{name}'." if known else f"No MCP server named '{name}'.")
        return 0
    url, command = given.last("url"), given.arguments[1:]
    if bool(url) == bool(command):
        raise UsageError("give either a command or --url")
    config.write_text(without + _server_text(name, command, url, given), encoding="utf-8")
    print(f"Added global MCP server '{name}'.")
    return 0


def _servers(config: Table) -> dict[str, Table]:
    found: dict[str, Table] = {}
    for section, enabled in (("mcp_servers", True), ("mcp_servers_disabled", False)):
        for name in sorted(table(config, section)):
            server = table(table(config, section), name)
            found[name] = {
                "name": name,
                "enabled": enabled and server.get("enabled") is not False,
                "transport": _transport(server),
                "startup_timeout_sec": server.get("startup_timeout_sec"),
                "tool_timeout_sec": server.get("tool_timeout_sec"),
            }
    return found


def _transport(server: Table) -> Table:
    if "url" in server:
        return {"type": "streamable_http", "url": server["url"]}
    return {
        "type": "stdio",
        "command": server.get("command"),
        "args": server.get("args", []),
        "env": server.get("env"),
    }


def _show(found: Table | list[Table], given: Parsed) -> int:
    if given.has("json"):
        print(json.dumps(found, indent=2))
        return 0
    shown = [found] if isinstance(found, dict) else found
    for server in shown:
        transport = table(server, "transport")
        print(f"{server['name']}  {transport.get('command') or transport.get('url')}")
    if not shown:
        print("No MCP servers configured yet. Try `kay mcp add my-tool -- my-command`.")
    return 0


def _server_text(name: str, command: list[str], url: str | None, given: Parsed) -> str:
    lines = [f"[mcp_servers.{json.dumps(name)}]"]
    if url:
        lines.append(f"url = {json.dumps(url)}")
    else:
        lines += [f"command = {json.dumps(command[0])}", f"args = {json.dumps(command[1:])}"]
    pairs = [pair.partition("=") for pair in given.every("env")]
    if pairs:
        shown = ", ".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, _, value in pairs)
        lines.append(f"env = {{ {shown} }}")
    return "\n" + "\n".join(lines) + "\n"


def _without_server(text: str, name: str) -> str:
    """The file without the tables of this server."""
    paths = [f"mcp_servers.{shown}" for shown in (name, json.dumps(name))]
    kept: list[str] = []
    dropping = False
    for line in text.splitlines():
        header = line.strip()
        if header.startswith("["):
            path = header.strip("[] ")
            dropping = any(path == one or path.startswith(f"{one}.") for one in paths)
        if not dropping:
            kept.append(line)
    return "\n".join(kept).rstrip("\n") + "\n" if kept else ""


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code
