"""The open set of agent CLIs: a new one is a module and a line here."""

from __future__ import annotations

import sys

from runner.errors import ConfigInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import cast

    from runner.runtimes.base import Runtime
else:

    def cast(_: object, value: object) -> object:
        return value


NAMES: Mapping[str, tuple[str, ...]] = {
    "codex": ("CODEX_HOME", "CODEX_CA_CERTIFICATE"),
    "kay": ("KAY_HOME",),
    "claude": ("CLAUDE_CONFIG_DIR",),
    "gemini": (),
    "acp": (),
}
"""Each runtime, and the variables that its program needs besides the usual ones, such as its home. Every
child gets all of them: it may start a run of another runtime.
"""
_SESSION_IDS = ("CLAUDE_CODE_SESSION_ID", "CODEX_SESSION_ID", "CODEX_THREAD_ID")
"""Where agent CLIs pass the id of a session on to its commands. Here, as a start imports one runtime alone.
The last: https://github.com/openai/codex/pull/10096. A subagent of Codex has a thread of its own.
"""
_LONGEST_ID, _LONGEST_PID = 128, 10
PLAN = "plan"
"""Our own conductor, the program of a plan's run. No task can name it."""


def get(name: str) -> Runtime:
    """The runtime of that name, importing only its module; ConfigInvalid for an unknown one."""
    if name not in (*NAMES, PLAN):
        raise ConfigInvalid(f"unknown runtime `{name}`", hint=f"one of: {', '.join(NAMES)}")
    module = f"runner.runtimes.{name}"
    __import__(module)  # `importlib` would bring `warnings` along
    return cast("Runtime", sys.modules[module].RUNTIME)


def sessions_of(env: Mapping[str, str]) -> tuple[str, ...]:
    """The ids of the sessions in which something is started. Of one inside of another both are there, and
    nothing tells which is the inner one. Claude Code stands there by its process too: `/clear` gives it
    another session, in which the runs of the earlier one are still its own.
    """
    names = dict.fromkeys((*(env.get(name, "") for name in _SESSION_IDS), by_process(env) or ""))
    return tuple(one for one in names if one.isprintable() and 0 < len(one) <= _LONGEST_ID)


def host_of(env: Mapping[str, str]) -> str | None:
    """The agent CLI in whose session something is started; None where none is named, or more than one."""
    named = {
        name.partition("_")[0].lower() for name in _SESSION_IDS if sessions_of({name: env.get(name, "")})
    }
    return named.pop() if len(named) == 1 else None


def of_call(told: Mapping[str, object]) -> dict[str, str]:
    """The session in which an MCP tool is called, as the variables that its commands have: Codex says it in
    `_meta` of each call.
    """
    named = {"CODEX_SESSION_ID": told.get("sessionId"), "CODEX_THREAD_ID": told.get("threadId")}
    return {name: one for name, one in named.items() if isinstance(one, str) and sessions_of({name: one})}


def by_process(env: Mapping[str, str]) -> str | None:
    """A name for the Claude Code in which this is, whatever its session, that no later process has; None
    outside of all, or where its process is not seen.
    """
    pid = env.get("CLAUDE_PID", "")
    if not (pid.isascii() and pid.isdecimal() and len(pid) <= _LONGEST_PID):
        return None
    from runner.processes.proc import identify  # most commands are in no Claude Code

    found = identify(int(pid))
    return None if found is None else f"claude-pid-{found.pid}-{found.start_time}"
