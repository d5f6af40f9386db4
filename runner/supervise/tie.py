"""What ends a run from outside: the end of the process that it is tied to, and SIGTERM to its supervisor.

Both become a request to cancel, which is obeyed wherever any other is. The supervisor of a run that is tied
to nothing dies of SIGTERM as before, with an event; the next command gives the run another one.
"""

from __future__ import annotations

import os

from runner.errors import RunnerError
from runner.model import Reason
from runner.processes.proc import find_process, is_alive, open_pidfd
from runner.state.events import complain
from runner.state.manifest import cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Identity
    from runner.state.events import EventLog
    from runner.state.store import RunDir

_TERM = 15


class Tie:
    """Of one supervisor."""

    def __init__(self, run: RunDir, log: EventLog, to: Identity | None) -> None:
        self._run, self._log, self._to = run, log, to
        self._got_term = self._is_over = False

    def listen(self) -> None:
        """From now on SIGTERM is heeded; a second one, where nobody comes to heed it, ends us at once."""
        import _signal  # type: ignore[import-not-found]  # built into Python; typeshed has no stub

        def note(number: int, _: object) -> None:
            if self._got_term:
                _die()
            self._got_term = True
            self._run.wake()  # else it would be heeded at the next tick

        _signal.signal(_TERM, note)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_TERM,))

    def open_pidfd(self) -> int | None:
        """Of the process that the run is tied to, where there is one that lives."""
        found = None if self._to is None else find_process(self._to)
        return None if found is None else open_pidfd(found)

    def heed(self) -> None:
        """To be called where a request to cancel is looked for."""
        if self._is_over:
            return
        if self._got_term:
            self._is_over = True
            self._log.note("signalled", signal="SIGTERM")
            if self._to is None:
                _die()
            self._cancel("its supervisor got SIGTERM")
        elif self._to is not None and not is_alive(self._to):
            self._is_over = True
            self._cancel(f"process {self._to.pid}, which it is tied to, has ended")

    def _cancel(self, why: str) -> None:
        try:
            self._run.leave_intent("cancel", "supervisor", reason=why)
        except RunnerError as error:
            complain(f"not cancelled: {error.message}")
            self._is_over = False


def asked(run: RunDir, when: str) -> Reason:
    """Who has cancelled it, and why, as the request that nobody else takes by now says it. Not redacted."""
    for _, intent in run.intents():
        if intent.kind == "cancel":
            return cancelled(f"{intent.actor} {when}", intent.reason or "")
    return Reason("cancelled", f"cancelled {when}")


def _die() -> None:
    import _signal

    _signal.signal(_TERM, _signal.SIG_DFL)
    os.kill(os.getpid(), _TERM)
