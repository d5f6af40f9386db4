"""Endings that mean the same for every program: signals, quota, messages on stderr. Pure."""

from __future__ import annotations

import re

from runner.model import Outcome, Reason
from runner.runtimes.base import End, Kind
from runner.text.words import ending, shortened

# Texts and not compiled: `re` compiles them at their first use, and a start needs none of them.
_NOISE = (
    r"\s*(?:\d+: (?:<unknown>|[\w:<>{}]+)|[Ss]tack backtrace:"
    r"|Reading (?:additional input|prompt) from stdin\.\.\."
    r"|warning: Untrusted project-local configuration is disabled\..*"
    r"|WARNING: proceeding, even though .*|note: run with `RUST_BACKTRACE.*|at .+:\d+:\d+\)?|)"
)
_DETAIL_CHARS = 2000

_MISSING_KEY = r"[Mm]issing environment variable:? `?([A-Za-z_][A-Za-z0-9_]*)"
_AUTH = (
    r"(?i)\bstatus:? (?:401|403)\b|\b(?:401 Unauthorized|403 Forbidden)\b|not logged in|unauthorized"
    r"|(?:invalid|incorrect|missing|no) (?:api|provider) key|refresh token"
)
_QUOTA = (
    r"(?i)\bstatus:? (?:402|429)\b|too many requests|usage limit|insufficient_quota|quota exceeded"
    r"|exceeded your current quota|rate limit|upgrade to (?:plus|pro)\b"
)
_FULL = r"(?i)\bcontext[ _](?:window|length)|maximum context|\b(?:prompt|input) is too long"
_REFUSED = (
    r"(?i)\bstatus:? 4(?!08|09|25|29)\d\d\b|\b400 Bad Request|invalid[ _](?:prompt|request)"
    r"|\bmodels?\b[^\n]{0,200}\b(?:not supported|does not exist|not found)"
    r"|\bflagged\b|usage polic|policy violation|safety reasons"
)
_WAIT = "wait until the provider accepts requests again, or use another model or account"
REFUSED_HINT = "the provider refused the request: check the model id and the base_url of the provider"


def essence(stderr: str) -> str:
    """The end of stderr without blank lines, backtraces, repetitions and what every run prints."""
    kept = dict.fromkeys(line.rstrip() for line in stderr.splitlines() if not re.fullmatch(_NOISE, line))
    return ending("\n".join(kept), _DETAIL_CHARS)


def told(end: End) -> str:
    """The text of the failed turn, cut: a provider may put a whole page into it."""
    return shortened(end.failure or "", _DETAIL_CHARS)


def first_line(text: str, limit: int = 300) -> str:
    """What fits into a message."""
    return shortened(text.strip().split("\n", 1)[0].strip(), limit)


def killed(end: End) -> tuple[Outcome, Reason] | None:
    """The ending if a signal ended the process, also where a launcher says so with 128 + number."""
    from signal import Signals  # only when a run ends; the hot path does not need it

    code, number = end.exit_code, end.signal
    if number is None and code is not None and code < 0:
        number = -code
    if number is None and code is not None and 128 < code <= 128 + 64:
        number = code - 128
    if not number:
        return None
    try:
        name = Signals(number).name
    except ValueError:
        return None if end.signal is None else _killed(end, f"signal {number}")
    return _killed(end, name)


def _killed(end: End, name: str) -> tuple[Outcome, Reason]:
    hint = "start it again; the events show whether runner sent this signal"
    if name == "SIGKILL":
        hint = "often by the kernel, out of memory: see `dmesg` and the limits of the container"
    return Outcome.FAILED, Reason("killed", f"the program was ended by {name}", hint, evidence(end))


def lost() -> tuple[Outcome, Reason]:
    """The ending when the process was not seen to end and its stream does not show it either."""
    return Outcome.LOST, Reason(
        "lost",
        "the end of the program was not seen, and its events do not show it",
        "`runner logs RUN` shows how far it got; start it again",
    )


def auth_or_quota(text: str, end: End, program: str, login: str) -> tuple[Outcome, Reason] | None:
    """The ending if `text` is about a missing login, a refused key or a spent quota."""
    if match := re.search(_MISSING_KEY, text):
        name = match[1]
        hint = f"set {name}, and name it in `env` of [runtimes.{program}] so that it is passed on"
    elif re.search(_QUOTA, text):
        hint = _WAIT
    elif re.search(_AUTH, text):
        hint = f"{login}; `runner doctor --runtime {program}` checks it"
    else:
        return None
    line = next((line for line in text.splitlines() if is_about_access(line)), text)
    return Outcome.FAILED, Reason("auth_or_quota", first_line(line), hint, evidence(end))


def unchanged_by_waiting(text: str) -> tuple[str, str] | None:
    """Code and hint of an answer of the model's service that will be the same later; None for any other."""
    if re.search(_FULL, text):
        return "context_full", "the session is full: split the task, or use a model with a larger context"
    if re.search(_REFUSED, text):
        return "request_refused", REFUSED_HINT
    return None


def answered(end: End, program: str, login: str) -> tuple[Outcome, Reason] | None:
    """The ending by the status of the model's service; None where the program told none, or no error."""
    status = end.status
    if status is None or status < 400:
        return None
    text = end.failure or ""
    if status in (401, 403):
        code, hint = "auth_or_quota", f"{login}; `runner doctor --runtime {program}` checks it"
    elif status in (402, 429):
        code, hint = "auth_or_quota", _WAIT
    elif status in (408, 409, 425) or status >= 500:
        code, hint = "cli_failure", "the provider failed: start it again later"
    else:
        code, hint = unchanged_by_waiting(text) or ("request_refused", REFUSED_HINT)
    said = first_line(text) or "the model's service gave no reason"
    return failed(code, said if str(status) in said else f"{said} (status {status})", hint, end)


def is_about_access(text: str, status: int | None = None) -> bool:
    """Whether it speaks of a missing login, a refused key or a spent quota; a status says so before it."""
    if status is not None:
        return status in (401, 402, 403, 429)
    return any(re.search(pattern, text) for pattern in (_MISSING_KEY, _QUOTA, _AUTH))


def failed(code: str, message: str, hint: str | None, end: End) -> tuple[Outcome, Reason]:
    return Outcome.FAILED, Reason(code, message, hint, evidence(end))


def evidence(end: End) -> str | None:
    return essence(end.stderr_tail) or None


def plain(end: End, untold: str, hint: str) -> tuple[Outcome, Reason] | None:
    """The ending that needs no look at words: killed, completed, unseen, or 0 with no word of a turn
    (`untold`). None for any other.
    """
    if ending := killed(end):
        return ending
    if end.turn is Kind.TURN_COMPLETED and end.exit_code in (0, None):
        return Outcome.SUCCEEDED, Reason("completed", "the agent finished its turn")
    if end.turn is None and end.exit_code is None:
        return lost()
    return failed("result_missing", untold, hint, end) if end.turn is None and end.exit_code == 0 else None
