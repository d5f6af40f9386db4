"""How a process of Gemini CLI ended, by its last line first. Pure; measured on 0.61.0.

Its exit status is the HTTP status of the model's service modulo 256, so 145 is a refused key and no signal.
It is 0 after SIGINT, SIGTERM, a cut stream and a loop.
"""

from __future__ import annotations

from runner.model import Outcome, Reason
from runner.runtimes.base import THREAD_GONE, End, Kind
from runner.runtimes.endings import answered, essence, failed, first_line, killed, lost, unchanged_by_waiting
from runner.runtimes.gemini_events import API_ERROR

_NO_SESSION = "Error resuming session"
"""It keeps a session once the model has answered, or the program was ended before that."""
_FATAL = {
    42: ("flag_refused", "Gemini CLI refused its command line", "see the end of stderr"),
    52: ("misconfigured", "Gemini CLI refused its settings", "see `config` of [runtimes.gemini]"),
    55: ("misconfigured", "Gemini CLI does not trust the folder", "install a version with `--skip-trust`"),
}
"""https://geminicli.com/docs/cli/headless, and what its program names besides."""


def conclude(end: End, login: str) -> tuple[Outcome, Reason]:
    """Outcome and reason; success only where its last line and its exit status both say so."""
    if end.signal is not None:
        return killed(end) or lost()
    if end.turn is Kind.TURN_FAILED:
        said, with_status = first_line(end.failure or ""), end.replace(status=end.status or _status(end))
        if (by_status := answered(with_status, "gemini", login)) is not None:
            return by_status
        # Of an answer that only thinks, the program guesses that the context may be full.
        guess = None if said.startswith("The model returned") else unchanged_by_waiting(said)
        code, hint = guess or ("cli_failure", None)
        return failed(code, said or "the turn failed", hint, end)
    if end.turn is Kind.TURN_COMPLETED and end.exit_code in (0, None):
        return Outcome.SUCCEEDED, Reason("completed", "the agent finished its turn")
    if end.exit_code is None:
        return lost()
    if end.exit_code == 41:
        hint = f"{login}; `runner doctor --runtime gemini` checks it"
        return failed("auth_or_quota", "Gemini CLI has no login", hint, end)
    if end.exit_code == 42 and _NO_SESSION in end.stderr_tail:
        return failed("cli_failure", "it has kept nothing of the session", THREAD_GONE, end)
    if (known := _FATAL.get(end.exit_code)) is not None:
        code, message, hint = known
        return failed(code, message, hint, end)
    if (by_signal := killed(end)) is not None:
        return by_signal
    if end.exit_code == 0:
        said = "Gemini CLI ended without a result, as it does when somebody interrupts or terminates it"
        return failed("cli_failure", said, "start it again", end)
    return failed("cli_failure", _said(end) or f"exit status {end.exit_code}", None, end)


def _status(end: End) -> int | None:
    """The HTTP status that the exit status is made of, where an error of the service is what failed. Of a
    model that is unknown (404) the exit status is 1.
    """
    status = (end.exit_code or 0) + 256
    return status if status >= 400 and (end.failure or "").startswith(API_ERROR) else None


def _said(end: End) -> str:
    return first_line(essence(end.stderr_tail).rpartition("\n")[2])
