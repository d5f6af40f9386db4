"""Acts on the requests in `control/`: pause, resume, cancel, rewrite. Edges: disk, processes."""

from __future__ import annotations

from runner.disk.files import withdraw
from runner.errors import ManifestBroken, RunNotFound
from runner.model import Phase, Reason
from runner.processes.proc import age, boottime, find_process
from runner.state.lifecycle import Event
from runner.state.manifest import CLOSING, INTERRUPTED, advance, cancelled
from runner.state.store import Intent
from runner.supervise import takeover, turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.state.questions import Question
    from runner.supervise.owner import Owner

_FREEZE_S = 10.0
_BEGINS_WITHIN_S = 3.0


class Intents:
    """Obeys them, one after the other."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._obeying: str | None = None
        self._noticed: dict[str, int] = {}
        """How many tool calls had ended when an intent was first seen."""

    def obey(self) -> None:
        """Acts on each that is due, and takes it away then: whoever left it waits for that."""
        obeyed = {"pause": self._pause, "resume": self._resume, "cancel": self._cancel}
        for path, intent in self._owner.run.intents():
            if not self._is_due(path, intent):
                continue
            self._obeying = path
            if intent.kind == "rewrite":
                self._rewrite()
            elif intent.kind in obeyed:
                obeyed[intent.kind](intent)
            self._obeying = None
            withdraw(path)

    def expired(self, question: Question) -> None:
        """A question's time is over: what its asker has said is to be done then."""
        why = f"question {question.id} was not answered in time"
        if question.on_expiry == "pause":
            self._pause(Intent("pause", why, only=True))
        elif question.on_expiry == "fail":
            self._owner.log.note("limit", code="question_expired", message=why)
            self.request_stop(Reason("question_expired", why))

    def interrupt(self) -> bool:
        """Ends the turn where a message is there that is not to wait for that. True: as soon as it can be."""
        owner = self._owner
        pending = owner.queue.pending(owner.manifest.messages_given)
        if owner.manifest.phase is not Phase.RUNNING or not pending or not pending[0].now:
            return False
        if owner.manifest.attempts[-1].how == CLOSING or owner.invocation.resume_argv is None:
            return False
        if not owner.progress.has_begun and age(owner.manifest.process) < _BEGINS_WITHIN_S:
            return True  # Codex ignores all SIGINT after one that came before its turn began (0.163, 0.171)
        if not owner.progress.is_answered and not turns.fits(owner, pending[0].text):
            return False  # both would be one prompt then
        told = {"attempt": owner.manifest.attempt, "message": pending[0].id}
        owner.log.note(Event.INTERRUPTED, actor=pending[0].actor, **told)
        owner.write(advance(owner.manifest, Event.INTERRUPTED).with_last_attempt(reason=INTERRUPTED))
        self.stop()
        return False

    def request_stop(
        self, reason: Reason, grace_s: float | None = None, intent: Intent | None = None
    ) -> None:
        """Writes the wish down and ends the run's processes; `intent`: the wish is also for its children."""
        owner = self._owner
        owner.limits.resume()
        if owner.manifest.phase is not Phase.STOPPING or owner.manifest.reason is None:
            shown = owner.redacted(reason)
            stopping = advance(owner.manifest, Event.STOP_REQUESTED, reason=shown)
            owner.write(stopping.replace(paused_seconds=round(owner.limits.paused_s, 3)))
        if intent is not None:
            self._hand_on("cancel", intent)
        self.stop(grace_s)

    def stop(self, grace_s: float | None = None) -> None:
        """Ends the run's processes, politely first, each step in `grace_s` or what the config says."""
        tree = self._owner.tree
        tree.spare(self._owner.is_companion)  # another attempt may ask the scripted model
        tree.stop(self._owner.invocation.limits.grace_s if grace_s is None else grace_s, self._is_hurried)

    def _pause(self, intent: Intent) -> None:
        owner = self._owner
        if owner.manifest.phase is not Phase.RUNNING:
            return
        running = owner.tree.freeze(_FREEZE_S)
        assert owner.manifest.process is not None
        root = find_process(owner.manifest.process)
        if root is None or not root.is_alive:
            owner.tree.thaw(_FREEZE_S)
            return  # it ended meanwhile; the watch sees that next
        if running:
            owner.tree.thaw(_FREEZE_S)
            names = [f"{process.command} ({process.pid})" for process in running]
            owner.log.note("pause_failed", actor=intent.actor, still_running=names)
            return
        owner.limits.pause()
        owner.children.stand_alone(intent.only)
        owner.write(advance(owner.manifest, Event.PAUSED, paused_uptime=round(boottime(), 3)))
        owner.log.note(Event.PAUSED, actor=intent.actor)
        self._hand_on("pause", intent)

    def _resume(self, intent: Intent) -> None:
        owner = self._owner
        if owner.manifest.phase is not Phase.PAUSED:
            return
        stopped = owner.tree.thaw(_FREEZE_S)
        owner.limits.resume()
        paused_s = round(owner.limits.paused_s, 3)
        owner.write(advance(owner.manifest, Event.RESUMED, paused_seconds=paused_s))
        names = [f"{process.command} ({process.pid})" for process in stopped]
        owner.log.note(Event.RESUMED, actor=intent.actor, still_stopped=names)
        self._hand_on("resume", intent)

    def _cancel(self, intent: Intent) -> None:
        why = intent.reason or ""
        if intent.code is None:
            wish = cancelled(intent.actor, why)
            self._owner.log.note("cancel_requested", actor=intent.actor, reason=why)
        else:
            wish = Reason(intent.code, why)
            self._owner.tie.settled()
            self._owner.log.note("limit", code=intent.code, message=why)
        self._owner.children.stand_alone(intent.only)
        self.request_stop(wish, intent.grace_s, intent)

    def _rewrite(self) -> None:
        """After a report that the manifest is broken: it is set aside, and what we know is written again."""
        owner = self._owner
        try:
            owner.run.read_manifest()
        except (ManifestBroken, RunNotFound) as error:
            aside = takeover.set_aside(owner.run, error)
            owner.write(owner.manifest)
            owner.log.note("rewritten", aside=aside, message=error.message)

    def _hand_on(self, kind: str, intent: Intent) -> None:
        """The same request for every child run, unless it is for this one only."""
        if not intent.only:
            owner = self._owner
            grace_s, why = intent.grace_s, intent.reason
            owner.children.tell(kind, owner.env, grace_s=grace_s, reason=why, code=intent.code)

    def _is_hurried(self) -> bool:
        """Whether a cancel came while a stop is under way: then there are no more graces."""
        others = ((path, wish) for path, wish in self._owner.run.intents() if path != self._obeying)
        return any(wish.kind == "cancel" and self._is_due(path, wish) for path, wish in others)

    def _is_due(self, path: str, intent: Intent) -> bool:
        ended = self._owner.progress.tool_calls
        return intent.is_due(is_answered=ended > self._noticed.setdefault(path, ended))
