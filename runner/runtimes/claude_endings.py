"""How a run of Claude Code ended: from `is_error`, `terminal_reason` and the status of the last line. Pure.

Measured on Claude Code 2.1.332: a failed call of the model has `subtype: "success"` and exit status 1, and
SIGINT ends it with 0 and without a last line.
"""

from __future__ import annotations

import re

from runner.model import Outcome, Reason
from runner.runtimes import endings
from runner.runtimes.base import THREAD_GONE, End

_HELP = "`runner logs RUN --stream stderr` shows what Claude Code said"
_CAUSES = (
    (
        r"(?i)sandbox required but unavailable",
        "misconfigured",
        "a run that may write needs a sandbox: install bubblewrap and socat; "
        "`runner doctor --runtime claude` tries them",
    ),
    (
        r"cannot be used with root/sudo",
        "misconfigured",
        "Claude Code runs without a sandbox only for a plain user; in a container that is thrown away, "
        'set IS_SANDBOX = "1" in [runtimes.claude.config.env]',
    ),
    (r"^the required MCP server", "cli_failure", "run its command by hand: the argv of the run has it"),
    (r"No conversation found with session ID", "cli_failure", THREAD_GONE),
    (r"^structured_output_retry_exhausted", "result_invalid", "its last message did not fit the schema"),
    (
        r"^budget_exhausted|error_max_budget_usd",
        "budget_exceeded",
        "raise `price` in the limits of the task, or split the task",
    ),
    (
        r"(?i)^prompt_too_long|prompt is too long",
        "context_full",
        "the session is full: split the task, or use a model with a larger context",
    ),
    (r"--json-schema is not a valid", "misconfigured", "this version does not take the schema of a result"),
    (
        r"unknown option|option '.*' argument|Invalid (?:session ID|value)",
        "flag_refused",
        "the installed version does not know an option or a value: `runner doctor --runtime claude` says "
        "which",
    ),
)


def conclude(end: End, login_hint: str) -> tuple[Outcome, Reason]:
    """See `base.Runtime.conclude`."""
    untold = "claude ended with status 0, but without the `result` line of its stream"
    hint = (
        "an interrupted claude does so, and a message of more than 8 MB makes a line that is not read; "
        "`runner logs RUN --stream stdout` shows where the stream ends"
    )
    return endings.plain(end, untold, hint) or _failure(end, login_hint)


def _failure(end: End, login_hint: str) -> tuple[Outcome, Reason]:
    if ending := endings.answered(end, "claude", login_hint):
        return ending
    text = "\n".join(part for part in (endings.told(end), endings.essence(end.stderr_tail)) if part)
    for pattern, code, hint in _CAUSES:
        if re.search(pattern, text):
            return endings.failed(code, endings.first_line(text), hint, end)
    if end.status is None and re.search(r"^API Error: ", text):
        # A connection that was lost has no status, and may be there again.
        return endings.failed(
            "cli_failure",
            f"connection failed: {endings.first_line(text)}",
            "check network and proxy, then start it again",
            end,
        )
    message = endings.first_line(text) or f"claude ended with status {end.exit_code} and said nothing"
    return endings.failed("cli_failure", message, _HELP, end)
