"""The plugin of runner as the files of a folder from which a host installs it. Edge: disk.

What is the same for everybody is data (`plugins/runner` in the repository). The files with a command are made
here: an installed plugin names this very runner by its absolute path, the one in the repository whichever is
on PATH. The same runner makes the same bytes, and a file that has them already is not touched: Codex's trust
is in the folder as a whole.
"""

from __future__ import annotations

import json
import os
import shlex

from runner.disk import files, home
from runner.disk.upwards import is_opened, opened_to_others
from runner.errors import Unwritable
from runner.hosts import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

BELOW = "plugins/runner/"
MARKETS = (".claude-plugin/marketplace.json", ".agents/plugins/marketplace.json")
WAKERS = ("delegate", "codex-delegate", "kay-delegate", "start")
"""The skills after which Claude Code listens for the ends of runs."""
VARIABLES = (
    *("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"),
    *("CODEX_HOME", "CODEX_CA_CERTIFICATE", "KAY_HOME", "CLAUDE_CONFIG_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
    *("CODEX_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    *("GEMINI_API_KEY", "OPENAI_API_KEY", "MINIMAX_API_KEY", "XIAOMI_API_KEY"),
    *("OPENCODE_GO_API_KEY", "OPENROUTER_API_KEY"),
)
"""What Codex has to hand on to the server, and does not of itself: where modes, settings and logins are, and
what runs may be given.
"""


def commands(program: Sequence[str], hook: Sequence[str]) -> dict[str, Any]:
    """The files that name a command: of `runner`, and of its hook."""
    serve = {"command": program[0], "args": [*program[1:], "delegate-server", "--mode", "full"]}
    serve |= {"default_tools_approval_mode": "approve", "env_vars": VARIABLES}
    return {
        "hooks/claude.json": {"hooks": _claude_hooks(hook)},
        "hooks/codex.json": {"hooks": _codex_hooks(hook)},
        "monitors/monitors.json": [_monitor(program, skill) for skill in WAKERS],
        "mcp/codex.json": {"mcpServers": {"runner": serve}},
    }


def _claude_hooks(hook: Sequence[str]) -> dict[str, Any]:
    def guarded(text: str = guard.CLAUDE, **more: Any) -> dict[str, Any]:
        name = hook[-1] if os.path.isabs(hook[-1]) else hook[0]
        args = ["-c", text, name, *hook, "claude"]
        return {"type": "command", "command": "/bin/sh", "args": args, **more}

    typed = guarded(guard.CLAUDE_TYPED, timeout=60)
    return {
        "PreToolUse": [{"matcher": "*", "hooks": [guarded(timeout=5, onFailure="block")]}],
        "SessionStart": [{"matcher": "startup|resume|clear", "hooks": [guarded(timeout=5)]}],
        "SessionEnd": [{"hooks": [guarded(timeout=3)]}],
        "UserPromptExpansion": [{"matcher": "runner:.*", "hooks": [typed]}],
    }


def _codex_hooks(hook: Sequence[str]) -> dict[str, Any]:
    """Two, as each has to be trusted. Codex gives the line to the user's shell, whichever that is."""
    plain = shlex.join((*hook, "codex"))
    guarded, typed = (f"/bin/sh -c '{text}' sh {plain}" for text in (guard.CODEX, guard.CODEX_TYPED))
    # The hook itself denies after three seconds; a host under load that went on without it would edit.
    return {
        "PreToolUse": [{"hooks": [{"type": "command", "command": guarded, "timeout": 60}]}],
        "UserPromptSubmit": [{"hooks": [{"type": "command", "command": typed, "timeout": 60}]}],
    }


def _monitor(program: Sequence[str], skill: str) -> dict[str, str]:
    follow = f'{shlex.join(program)} events --follow --surface --session "$CLAUDE_CODE_SESSION_ID"'
    named = {"name": f"runs-{skill}", "description": "runs of runner"}
    return {**named, "command": f"exec {follow}", "when": f"on-skill-invoke:runner:{skill}"}


def made(data: str, markets: Sequence[str], program: Sequence[str], hook: Sequence[str]) -> dict[str, bytes]:
    """Every file by its place in the folder. `data` is the folder of `plugins/runner`."""
    found = {name: files.read(path) for name, path in zip(MARKETS, markets, strict=True)}
    for folder, _, names in os.walk(data):
        for path in (f"{folder}/{name}" for name in names):
            found[BELOW + os.path.relpath(path, data)] = files.read(path)
    for name, told in commands(program, hook).items():
        found[BELOW + name] = as_json(told)
    return dict(sorted(found.items()))


def as_json(told: Any) -> bytes:
    return json.dumps(told, indent=2).encode() + b"\n"


def commit(data: str) -> None:
    """Writes the files of the repository, which name the `runner` on PATH."""
    for name, told in commands(("runner",), ("runner", "__hook")).items():
        files.replace_bytes(f"{data}/{name}", as_json(told))


def place(host: str, env: Mapping[str, str]) -> str:
    """Where the plugin of a host lies: in the state folder, which no sandbox of an agent reaches."""
    return f"{home.state(env)}/plugin/{host}"


def differing(folder: str, wanted: Mapping[str, bytes]) -> list[str]:
    """The files below `folder` that are missing, other than `wanted`, or not wanted at all, and the folders
    and files that others may write.
    """
    walked = [*os.walk(folder)]
    there = (f"{above}/{name}" for above, _, names in walked for name in names)
    more = {os.path.relpath(path, folder) for path in there} - wanted.keys()
    inner = (f"{above}/{name}" for above, folders, names in walked for name in (*folders, *names))
    more |= {os.path.relpath(path, folder) for path in inner if _is_theirs(path)}
    return sorted(more | {name for name, data in wanted.items() if not _has(f"{folder}/{name}", data)})


def write(host: str, wanted: Mapping[str, bytes], env: Mapping[str, str]) -> str:
    """The folder, with exactly these files. Unwritable where others could replace them or it is a link."""
    folder, state = place(host, env), home.state(env)
    if opened := opened_to_others(state):
        raise Unwritable(
            f"the plugin kept in {folder} could be replaced by others, who may write in {opened}"
        )
    try:
        files.private_folder(state, "plugin", host)
        for name in differing(folder, wanted):
            path = f"{folder}/{name}"
            if name in wanted:
                files.private_folder(folder, *name.split("/")[:-1])
                if os.path.isdir(path) and not os.path.islink(path):
                    files.remove_tree(path)
                files.replace_bytes(path, wanted[name])
            elif os.path.isdir(path) and not os.path.islink(path):
                files.private_folder(folder, *name.split("/"))
            else:
                os.unlink(path)
    except OSError as error:
        raise files.unwritable(error) from error
    return folder


def remove(host: str, env: Mapping[str, str]) -> bool:
    """Whether there was one. As `write`, it refuses a link, and what is another user's."""
    folder = place(host, env)
    if not os.path.lexists(folder):
        return False
    try:
        files.private_folder(home.state(env), "plugin", host)
    except OSError as error:
        raise files.unwritable(error) from error
    files.remove_tree(folder)
    return True


def _has(path: str, data: bytes) -> bool:
    try:
        return files.read(path, len(data) + 1) == data
    except OSError:
        return False


def _is_theirs(path: str) -> bool:
    """Whether others may write it. A link counts, too: whoever made it says what is read."""
    found = os.lstat(path)
    return found.st_uid not in (os.geteuid(), 0) or is_opened(found)
