"""The hook of a host: one event in, one answer or none out. Edge: the disk, its streams.

It runs before every call of a tool, so it imports next to nothing. It never says that a call is allowed, as
that would skip the host's own questions. While a mode is on, whatever it does not understand is denied: it
ends with 1, which the guard before it (`hosts/guard.py`) turns into a denial. The prompt of a person goes on.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # built in; `signal` costs a tenth of an interpreter
import os
import stat

from runner.disk.files import read_up_to
from runner.disk.home import of_program
from runner.hosts import told
from runner.hosts.allowed import BARE, is_listed, refusal
from runner.hosts.calls import PATCH_HEAD, Edits, OtherTool, ShellText, Unreadable, read_call
from runner.hosts.mode import HOSTS, Broken, end, is_session, read
from runner.text.globs import covers
from runner.value import json_bytes, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runner.hosts.mode import Mode

_LIMIT_S = 3
"""Less than a host waits: Codex goes on with a call whose hook did not answer in time."""
_LARGEST = 8 << 20
_EVENTS = ("PreToolUse", "UserPromptSubmit", "UserPromptExpansion", "SessionStart", "SessionEnd")
_NEVER = frozenset(
    {".git", "HEAD", ".runs", ".claude", ".codex", ".agents", "delegate.toml", "delegate.local.toml"}
)
"""What decides what is done and who may: nobody edits these past a run, whatever `may_edit` says. With a file
`HEAD` any folder can be one of git, whose settings name commands.
"""


def run(words: list[str]) -> int:
    """The program: the host is its only word, the event is on stdin."""
    _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)  # whoever started the host may ignore it
    _signal.alarm(_LIMIT_S)
    name = ""
    try:
        (host,) = words
        if host not in HOSTS:
            raise ValueError("it is no host")
        event = json_value(read_up_to(_LARGEST, 0, 0))
        name = event["hook_event_name"]
        os.chdir("/")  # so that `/proc/self/cwd` in a path is nobody's folder
        if name.startswith("UserPrompt"):
            _signal.alarm(0)
        if (said := answer(host, event, os.environ)) is not None:
            _write(1, json_bytes(said))
    except Exception as error:  # whatever it is, it must not be taken for a yes
        _write(
            2,
            f"runner: the hook failed: {type(error).__name__}: {str(error)[:200]}\n".encode(errors="replace"),
        )
        return 0 if name.startswith("UserPrompt") else 1
    return 0


def answer(host: str, event: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any] | None:
    """What the host is told; None for nothing, as always where its session has no mode."""
    name, session = event["hook_event_name"], event["session_id"]
    if name not in _EVENTS or not is_session(session):
        raise ValueError("nobody knows whose event it is, or which one")
    if name == "PreToolUse":
        why = denial(host, session, event, env)
        denied = {"hookEventName": name, "permissionDecision": "deny", "permissionDecisionReason": why}
        return None if why is None else {"hookSpecificOutput": denied}
    if name.startswith("UserPrompt"):
        from runner.hosts import typed

        return typed.answer(host, session, event, env)
    if host == "claude" and name in ("SessionStart", "SessionEnd") and event.get("source") != "compact":
        mode = read(host, session, env)
        if mode is not None and end(host, session, env) and name == "SessionStart":
            target = f"to {told.shown(mode.target)} " if not isinstance(mode, Broken) else ""
            back = "it is off now; /runner:delegate turns it on"
            return {"systemMessage": f"Delegation {target}was on before this session was resumed: {back}."}
    return None


def denial(host: str, session: str, event: Mapping[str, Any], env: Mapping[str, str]) -> str | None:
    """Why this call must not be made; None where the session may make it."""
    mode = read(host, session, env)
    if mode is None:
        return None
    call = read_call(event["tool_name"], event["tool_input"], event["cwd"])
    if isinstance(mode, Broken):
        if isinstance(call, OtherTool) and is_listed(call.name):
            return None
        return f"The delegation mode of this session is broken ({mode.why}): `runner mode off` ends it."
    why = _why(call, mode, env, at_root=os.path.realpath(event["cwd"]) == os.path.realpath(mode.repo))
    return None if why is None else f"{why}{' ' if why else ''}{told.reason(mode)}"


def _why(
    call: Edits | ShellText | OtherTool | Unreadable, mode: Mode, env: Mapping[str, str], *, at_root: bool
) -> str | None:
    """What is wrong with the call, perhaps nothing but the mode itself (empty); None for nothing at all."""
    if isinstance(call, Unreadable):
        return f"Denied, as {call.why}."
    if isinstance(call, Edits):
        return None if all(_is_free(path, mode, env) for path in call.paths) else ""
    if isinstance(call, ShellText) and PATCH_HEAD in call.text:
        return "A patch in a command cannot be checked: use the tool apply_patch for what you may edit."
    if mode.level == "guide":
        return None
    is_named = isinstance(call, ShellText) and call.text.lstrip().startswith(BARE)
    return refusal(call, mode, at_root=at_root, is_first=is_named and _is_first(mode, env))


def _is_first(mode: Mode, env: Mapping[str, str]) -> bool:
    """Whether a shell that is told `runner` starts the program of the mode."""
    for folder in env.get("PATH", "").split(os.pathsep):
        path = f"{folder}/{BARE}"
        if not os.path.isabs(folder):  # the present folder, whichever that is
            return False
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return len(mode.program) == 1 and os.path.samefile(path, mode.program[0])
    return False


def _is_free(path: str, mode: Mode, env: Mapping[str, str]) -> bool:
    """Whether the host may edit what the path leads to: a file of one name, or none yet."""
    path.encode()  # a host could take half a character for another one: UnicodeError
    real, repo = os.path.realpath(path), os.path.realpath(mode.repo)
    if os.path.realpath(os.path.normpath(path)) != real:  # Codex takes `link/..` for nothing at all
        return False
    try:
        found = os.lstat(real)
    except FileNotFoundError:
        found = None
    if found is not None and not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
        return False
    own = of_program(env, "CLAUDE_CONFIG_DIR", ".claude") if mode.host == "claude" else None
    if own is not None and real.startswith(f"{os.path.realpath(own)}/plans/"):
        return True
    inner = real.removeprefix(os.path.join(repo, ""))
    return inner != real and _NEVER.isdisjoint(inner.split("/")) and covers(mode.may_edit, inner)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
