"""How a run of Kay ended, from its exit status, its last message and its stderr. Pure.

Its exit status 0 does not mean success: a run with `STATUS: BLOCKED` and an interrupted one end with 0 too.
https://github.com/alo-labs/kay/blob/main/kay-rs/exec/src/lib.rs
"""

from __future__ import annotations

import re

from runner.model import Outcome, Reason
from runner.runtimes import endings
from runner.runtimes.base import End, Kind

# Only blanks of the same line: over a long run of empty lines anything else would take for ever.
_STATUS = r"(?m)^[ \t`*>#-]*STATUS:[ \t*`]*([A-Za-z_]+)"
_BLOCKER = r"(?m)^[ \t`*>#-]*BLOCKER:[ \t*`]*(\S.*)"

LOGIN_HINT = "store a key with `kay login --provider PROVIDER --with-api-key` (key on stdin)"


def conclude(end: End) -> tuple[Outcome, Reason]:
    """See `base.Runtime.conclude`."""
    if ending := endings.killed(end):
        return ending
    message = (end.last_message or "").strip()
    if end.exit_code is None:
        # Its stream has no closing event, so that only the exit status could tell.
        return endings.lost()
    if end.exit_code != 0:
        return _failure(end)
    if end.turn is Kind.TURN_FAILED:
        return endings.failed(
            "cli_failure",
            f"kay ended its turn early: {endings.first_line(end.failure or 'aborted')}",
            "an interrupted kay ends with status 0; start it again",
            end,
        )
    if not message:
        return endings.failed(
            "result_missing",
            "kay ended with status 0 without a last message",
            "`runner logs RUN` shows how far it got; start it again",
            end,
        )
    if last_status(message) == "BLOCKED":
        return endings.failed(
            "blocked",
            f"the agent reports that it is blocked: {_blocker(message)}",
            "its last message names what is missing: `runner logs RUN --stream last`",
            end,
        )
    return Outcome.SUCCEEDED, Reason("completed", "the agent ended with a last message")


def last_status(message: str) -> str | None:
    """The word of the last `STATUS:` line, in capitals: an earlier one may be a quoted template."""
    found = re.findall(_STATUS, message)
    return str(found[-1]).upper() if found else None


def _blocker(message: str) -> str:
    """The `BLOCKER:` line if there is one, else what follows the last status."""
    named: list[str] = re.findall(_BLOCKER, message)
    tail = message[message.rindex("STATUS:") + len("STATUS:") :].strip()
    return endings.first_line(named[-1] if named else tail)


_HINTS = (
    (r"slash command|not supported in exec mode", "begin the prompt with a word, not with `/`"),
    (r"git repo|trusted directory", "kay wants a git repository here: run `git init`"),
    (r"No prompt provided", "the prompt is empty"),
    (r"-c overrides|config\.toml|TOML", "correct [runtimes.kay.config] or $KAY_HOME/config.toml"),
    (r"KAY_HOME", "KAY_HOME names a folder that does not exist: create it or unset the variable"),
    (r"[Pp]rovider", "`runner config show` shows the provider; Kay must know it under that id"),
    (r"stream|connect|timed? ?out|lookup", "check network and proxy, then start it again"),
)

_NO_STATUS = r"(?i)\b(?:not|missing|requires?|must|without)\b.*STATUS:"
"""Kay 0.9.46 checks that a prompt which asks for a STATUS block gets one, and says so in one line.
"""


def _failure(end: End) -> tuple[Outcome, Reason]:
    """From stderr: Kay does not print its error events on stdout."""
    stderr = endings.essence(end.stderr_tail)
    text = "\n".join(part for part in (endings.told(end), stderr) if part)
    if re.search(r"Time budget exceeded \(--max-seconds", text):
        reason = Reason(
            "timeout",
            "kay spent its own time budget (--max-seconds)",
            "partial work may remain; give it more time or a smaller task",
            endings.evidence(end),
        )
        return Outcome.TIMED_OUT, reason
    if end.exit_code == 2 and not end.any_event:
        return endings.failed(
            "flag_refused",
            f"kay refused its command line: {endings.first_line(text)}",
            "the installed version does not know an option or a value: "
            "`runner doctor --runtime kay` says which",
            end,
        )
    if re.search(_NO_STATUS, text):
        return endings.failed(
            "result_invalid",
            "the prompt asks for a STATUS block and the last message has none",
            "the work may be done: check `runner logs RUN --stream last` and the changes",
            end,
        )
    if ending := endings.auth_or_quota(text, end, "kay", LOGIN_HINT):
        return ending
    if lasting := endings.unchanged_by_waiting(text):
        return endings.failed(lasting[0], endings.first_line(text), lasting[1], end)
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, text)), None)
    message = endings.first_line(text) or f"kay ended with status {end.exit_code} and said nothing"
    return endings.failed(
        "cli_failure", message, hint or "`runner logs RUN --stream stderr` shows what kay said", end
    )
