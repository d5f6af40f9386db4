"""How a run of Codex ended, from its exit status, its stream and its stderr. Pure.

Measured on codex-cli 0.163.0 and 0.171.0: 0 the model finished its turn, 1 nearly everything else,
2 the command line, 101 a panic. Killed, it prints no closing event.
"""

from __future__ import annotations

import re

from runner.model import Outcome, Reason
from runner.runtimes import endings
from runner.runtimes.base import THREAD_GONE, End, Kind, Refusal
from runner.runtimes.jsonvalues import table, text
from runner.value import json_value


def conclude(end: End, login_hint: str) -> tuple[Outcome, Reason]:
    """See `base.Runtime.conclude`."""
    untold = "codex ended with status 0, but without `turn.completed` in its stream"
    if end.turn is Kind.TURN_COMPLETED and end.exit_code == 0 and not end.is_answered:
        # So it is where a hook refuses the prompt, of which neither stream nor stderr has a word.
        return endings.failed("misconfigured", "the turn ended without an answer of the model", _HOOKED, end)
    if ending := endings.plain(end, untold, "`runner logs RUN --stream stdout` shows where the stream ends"):
        return ending
    if end.exit_code == 2 and not end.any_event:
        return _refused(end)
    return _failure(end, login_hint)


_HOOKED = (
    "a hook of yours may have refused the prompt: type `/hooks` in codex, or set `isolated = true` in "
    "[runtimes.codex]"
)
_REFUSED = r"(?:(\S{19,27}Z)\s+)?ERROR codex_core::tools::router: error=(.*)"
_REJECTED = r'.*Rejected\(\\"(.*)\\"\)" \}'


def refusal(line: str) -> Refusal | None:
    """See `base.Runtime.refusal`. A command that its rules forbid, a patch outside of the project: Codex
    answers the model and logs a line; its stream has nothing of it.
    """
    found = re.match(_REFUSED, line)
    if found is None:
        return None
    at, text = found[1], found[2]
    if rejected := re.fullmatch(_REJECTED, text):
        text = re.sub(r"\\+([\\\"'n])", lambda one: " " if one[1] == "n" else one[1], rejected[1])
    return Refusal(None if at is None else f"{at[:19]}.{at[20:-1]:0<3.3}Z", text)


def _refused(end: End) -> tuple[Outcome, Reason]:
    line = _first_error(endings.essence(end.stderr_tail))
    return endings.failed(
        "flag_refused",
        f"codex refused its command line: {line}" if line else "codex refused its command line",
        "the installed version does not know an option or a value: "
        "`runner doctor --runtime codex` says which",
        end,
    )


_SETTINGS = (
    (
        r"invalid transport\s+in `mcp_servers",
        'an MCP server is enabled that no config defines: use server = "inline" in [delegation]',
    ),
    (
        r"Model provider `[^`]*` not found",
        "define it as [runtimes.codex.config.model_providers.NAME], or correct `model_provider`",
    ),
    (
        r"No such file or directory.*CODEX_HOME|finding codex home",
        "CODEX_HOME names a folder that does not exist: create it or unset the variable",
    ),
    (
        r"Error loading config|config\.toml|unknown configuration field|unknown variant",
        "correct that key in [runtimes.codex.config], or in $CODEX_HOME/config.toml",
    ),
    (
        r"in-process app-server client: Read-only file system",
        "a codex in a codex sandbox cannot write its home: start child runs through delegation",
    ),
    (
        r"bwrap|bubblewrap|[Ll]andlock|seccomp|linux-sandbox|user namespace",
        "the sandbox does not work on this machine: `codex sandbox -- true` shows why",
    ),
    (
        r"trusted directory|not inside a git",
        "codex wants a git repository here: run `git init`, or start it in one",
    ),
    (
        r"maximum length of \d+",
        "shorten the prompt: name files for the agent to read instead of pasting them",
    ),
)
"""What somebody has to change first: the settings, the machine or the prompt."""
_HINTS = (
    (
        r"required MCP servers? failed",
        "a required MCP server did not start: run its command by hand; `codex mcp list` has it",
    ),
    (r"[Nn]o rollout found", THREAD_GONE),
    (r"already has an active writer", "another process uses this thread: wait until it has ended"),
    (
        r"Read-only file system|Permission denied|No space left",
        "codex writes to $CODEX_HOME and to the run's folder: check owner and free space of both",
    ),
    (r"Broken pipe", "the reader of its output is gone: check the free space of the run's folder"),
    (
        r"Connection failed|stream disconnected|for network|lookup address|error sending request",
        "the provider could not be reached: check network and proxy, then start it again",
    ),
    (
        r"high demand|at capacity|capacity unavailable|status:? (?:408|409|425|5\d\d)",
        "the provider failed: start it again later",
    ),
)


def _failure(end: End, login_hint: str) -> tuple[Outcome, Reason]:
    """FAILED, from the text of the failed turn or else from stderr."""
    stderr = endings.essence(end.stderr_tail)
    text = endings.told(end) or stderr
    # The log of a run that went well may speak of limits and retries: then it is not the reason.
    told = end.exit_code != 101 and (end.failure is not None or not end.any_event)
    if told and (ending := _unchanged(text, end, login_hint)):
        return ending
    hint = _hint(_SETTINGS, text) or _hint(_HINTS, text)
    if end.exit_code == 101:
        message = f"codex crashed: {_first_error(text) or 'it panicked'}"
    elif end.failure:
        message = endings.first_line(end.failure)
    elif end.turn is Kind.TURN_FAILED:
        message = "the turn failed without a reason from codex"
    elif end.any_event and end.turn is None:
        message = f"codex ended with status {end.exit_code} in the middle of its turn"
    else:
        message = _first_error(text) or f"codex ended with status {end.exit_code} and said nothing"
    return endings.failed(
        "cli_failure", message, hint or "`runner logs RUN --stream stderr` shows what codex said", end
    )


def _unchanged(told: str, end: End, login_hint: str) -> tuple[Outcome, Reason] | None:
    """The ending if it is one that the same request would have again."""
    lasting = endings.unchanged_by_waiting(told)
    body = end.failure if end.failure and end.failure.startswith("{") else None
    message = endings.first_line(_said(body) or end.failure or _first_error(told))
    if lasting is None or lasting[0] != "context_full":
        if ending := endings.auth_or_quota(told, end, "codex", login_hint):
            return ending
        if hint := _hint(_SETTINGS, told):
            lasting = "misconfigured", hint
    if lasting is None and body is not None:  # all that codex shows of a status 400
        lasting = "request_refused", endings.REFUSED_HINT
    return None if lasting is None else endings.failed(lasting[0], message, lasting[1], end)


def _said(body: str | None) -> str | None:
    """The message in the JSON body of an error; None where it has none."""
    try:
        data = table(json_value(body or ""))
    except ValueError:
        return None
    return text(table(data.get("error")).get("message")) or text(data.get("detail")) or None


def _hint(hints: tuple[tuple[str, str], ...], told: str) -> str | None:
    return next((hint for pattern, hint in hints if re.search(pattern, told)), None)


def _first_error(text: str) -> str:
    """The line that says what is wrong: one that begins with `Error`, that has one, or any."""
    lines = text.splitlines()
    for pattern in (r"error\b", r".*(?:error|panicked|failed|not )", r""):
        for line in lines:
            if re.match(pattern, line, re.IGNORECASE):
                # A wrong key is named on a line of its own: "invalid transport", "in `mcp_servers.d`".
                place = next((below for below in lines if below.startswith("in `")), "")
                return endings.first_line(line) + (f" {place}" if place and place != line else "")
    return ""
