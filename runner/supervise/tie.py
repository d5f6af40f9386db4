"""What ends a run from outside: the end of the process that it is tied to, and SIGTERM to its supervisor.

Both become a request to cancel, which is obeyed wherever any other is. The supervisor of a run that is tied
to nothing dies of SIGTERM as before, with an event; the next command gives the run another one.

In the job of an engine SIGTERM is how that ends all of the job, agent included, and its first process (see
`placed`) leaves the request, as it knows why. So a supervisor that gets it waits for that request.
"""

from __future__ import annotations

import os
import time

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
_REASON_S = 2.0
_MOMENT_S = 0.5
"""In which one signal reaches all processes of a job."""
_LOOK_S = 0.02


class Tie:
    """Of one supervisor."""

    def __init__(self, run: RunDir, log: EventLog, to: Identity | None, *, is_placed: bool = False) -> None:
        self._run, self._log, self._to, self._is_placed = run, log, to, is_placed
        self._got_term = self._is_over = False
        self._reason_until: float | None = None

    def listen(self) -> None:
        """From now on SIGTERM is heeded; a second one, where nobody comes to heed it, ends us at once."""
        import _signal  # type: ignore[import-not-found]  # built into Python; typeshed has no stub

        def note(number: int, _: object) -> None:
            if self._got_term and not self._is_placed:
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
        if self._got_term and self._is_placed:
            self._heed_engine()
        elif self._got_term:
            self._is_over = True
            self._log.note("signalled", signal="SIGTERM")
            if self._to is None:
                _die()
            self._cancel("its supervisor got SIGTERM")
        elif self._to is not None and not is_alive(self._to):
            self._is_over = True
            self._cancel(f"process {self._to.pid}, which it is tied to, has ended")

    def settled(self) -> None:
        """The request for which SIGTERM came is being obeyed."""
        self._is_over = True

    def linger(self) -> None:
        """To be called when something of the run has ended badly: the engine may have ended that and us at
        once. Returns when it is known whether it has, and why.
        """
        if not self._is_placed:
            return
        deadline = time.monotonic() + _MOMENT_S
        while not self._is_over and (self._got_term or time.monotonic() < deadline):
            if self._run.is_told("cancel"):
                return
            self.heed()
            time.sleep(_LOOK_S)

    def _heed_engine(self) -> None:
        if self._reason_until is None:
            self._log.note("signalled", signal="SIGTERM")
            self._reason_until = time.monotonic() + _REASON_S
        if self._run.is_told("cancel"):
            self._is_over = True
        elif time.monotonic() > self._reason_until:
            self._is_over = True
            self._cancel("its job got SIGTERM", code="engine_cancelled")

    def _cancel(self, why: str, code: str | None = None) -> None:
        try:
            self._run.leave_intent("cancel", "supervisor", reason=why, code=code)
        except RunnerError as error:
            complain(f"not cancelled: {error.message}")
            self._is_over = False


def asked(run: RunDir, when: str) -> Reason:
    """Who has cancelled it, and why, as the request that nobody else takes by now says it. Not redacted."""
    for _, intent in run.intents():
        if intent.kind == "cancel" and intent.code is not None:
            return Reason(intent.code, intent.reason or "")
        if intent.kind == "cancel":
            return cancelled(f"{intent.actor} {when}", intent.reason or "")
    return Reason("cancelled", f"cancelled {when}")


def _die() -> None:
    import _signal

    _signal.signal(_TERM, _signal.SIG_DFL)
    os.kill(os.getpid(), _TERM)
