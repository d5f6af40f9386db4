"""Codex's permission profile of a sandbox that keeps hosts or files from the agent. Pure.

Measured on 0.163.0 and 0.171.0, on Linux. An explicit `-s` drops a profile without a word, so it is one or
the other. Folders of `--add-dir` can be written in a profile, and what a sandbox keeps in them is kept in it.
What is denied cannot be read by commands nor by patches. With hosts, commands are in a network of their own,
where nobody can be reached but a proxy that knows the list: a socket that goes past it is refused.
https://developers.openai.com/codex/permissions
"""

from __future__ import annotations

from runner.errors import ConfigInvalid, RuntimeWrong
from runner.model import Level
from runner.runtimes.overrides import assignment
from runner.text.versions import satisfies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.model import Program, Sandbox
    from runner.runtimes.base import Fence

NAME = "delegate-runner"
PROXY = "network_proxy"
"""An option has to turn this feature on: one that it does not know is an error of Codex. A setting would be
ignored, and without the feature every host is open.
"""
_SINCE = ">=0.163"
_PATTERN = frozenset("*?[]{}\t\n\r")
"""What Codex does not read as a character of a path: a name with one of the last three is not kept at all."""


def is_needed(sandbox: Sandbox) -> bool:
    return bool(sandbox.hosts or sandbox.deny_read)


def refuse_impossible(sandbox: Sandbox, fence: Fence, program: Program) -> None:
    if not satisfies(program.version, _SINCE):
        raise RuntimeWrong(
            f"codex-cli {program.version} cannot keep what sandbox `{sandbox.name}` keeps from the agent",
            hint=f"install a version {_SINCE}, or take `deny_read` and the list of hosts out of the sandbox",
        )
    for path in filter(_PATTERN.intersection, _denied(sandbox, fence)):
        raise ConfigInvalid(
            f"Codex would not keep {path!r} of `deny_read` as it is written", hint="name a folder above it"
        )


def assignments(sandbox: Sandbox, fence: Fence, writable: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The settings that make it, each a word behind `-c`."""
    files = dict.fromkeys(writable, "write")
    if fence.temp is not None:
        files |= {":slash_tmp": "read", ":tmpdir": "read"}
    files |= dict.fromkeys(_denied(sandbox, fence), "deny")
    profile = {
        "extends": ":read-only" if sandbox.level is Level.READ_ONLY else ":workspace",
        "filesystem": files,
        "network": {"enabled": sandbox.network, "domains": dict.fromkeys(sandbox.hosts, "allow")},
    }
    return (assignment("default_permissions", NAME), ascii_only(assignment(f"permissions.{NAME}", profile)))


def _denied(sandbox: Sandbox, fence: Fence) -> tuple[str, ...]:
    return sandbox.deny_read if fence.unread is None else fence.unread


def trial(sandbox: Sandbox, words: Sequence[str]) -> tuple[str, ...]:
    """The options and the command of `codex sandbox`; `words` are the settings."""
    options = [word for text in words for word in ("-c", text)]
    if not sandbox.hosts:
        return ("-P", NAME, *options, "--", "/bin/sh", "-c", "exit 0")
    tried = 'test "$CODEX_NETWORK_PROXY_ACTIVE" = 1'
    return ("-P", NAME, "--enable", PROXY, *options, "--", "/bin/sh", "-c", tried)


def ascii_only(text: str) -> str:
    """The words of a command line are in the encoding of the locale, which need not have these characters."""
    return "".join(char if char.isascii() else f"\\U{ord(char):08x}" for char in text)
