"""The child runs of a supervisor's run, and the run's questions. Edge: disk.

A child run has its own supervisor, so nothing here signals a process: requests go through the child's own
`control/`, and a child without an owner gets one that acts on them.
"""

from __future__ import annotations

import os

from runner.disk.files import withdraw, write_new
from runner.errors import RunnerError, RunNotFound
from runner.invocation import Invocation
from runner.model import Lineage, Phase, Reason
from runner.state import lineage, questions
from runner.state.authentic import own_invocation, refuse_another
from runner.state.events import EventLog, read_events
from runner.state.manifest import stops_all
from runner.state.store import RunDir
from runner.supervise.begin import adopt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.state.questions import Question


class Children:
    """The children and the questions of one run, as its supervisor sees them."""

    def __init__(
        self, run: RunDir, invocation: Invocation, log: EventLog, clean: Callable[[str], str]
    ) -> None:
        self._run = run
        self._invocation = invocation
        self._log, self._clean = log, clean
        self._known: tuple[Lineage, ...] = ()
        self._asked: dict[str, str] = {}
        self._over: set[str] = set()

    def begin(self, *, is_new: bool) -> None:
        """At the start of its supervision, or after a takeover."""
        if is_new:
            self._follow_parent()
        else:
            self._recall()

    def _recall(self) -> None:
        """What an earlier owner has reported is no news."""
        for event in read_events(self._run.events):
            if event.get("type") == "question":
                self._asked[str(event.get("id"))] = str(event.get("status"))
            elif event.get("type") == "child":
                ids = str(event.get("task_id")), str(event.get("run_id"))
                self._known += (lineage.lineage_of(RunDir(self._run.repo, *ids)),)

    def _follow_parent(self) -> None:
        """Passes on to this run what was requested of its parent while this one was starting.

        The parent's owner passes a request on to every child with a manifest, and records it in its own
        manifest first. So a run that starts at that instant gets the request from it, or sees it here.
        """
        above = self._invocation.parent
        if above is None:
            return
        parent = RunDir.of(self._run.repo, above)
        actor = f"run {above.run_id}"
        try:
            manifest = parent.read_manifest()
            if os.path.lexists(parent.alone):
                return
            if manifest.phase is Phase.PAUSED:
                self._run.leave_intent("pause", actor)
            elif self._run.is_told("cancel"):
                return  # by its owner, in the same instant: a second one would end the patience of the first
            elif lineage.is_ending(parent, manifest):
                is_cancelled = stops_all(manifest.reason)
                own = self._invocation.has_handoff
                ends = parent.read_invocation().delegation.on_parent_end == "cancel" and not own
                if is_cancelled or ends:
                    self._run.leave_intent("cancel", actor, reason="its parent run has ended")
        except RunnerError as error:
            self._log.note("parent_unreachable", run_id=above.run_id, message=error.message)

    def stand_alone(self, alone: bool) -> None:
        """Whether what is obeyed now is for this run only; survives us."""
        try:
            if not alone:
                withdraw(self._run.alone)
            elif not os.path.lexists(self._run.alone):
                write_new(self._run.alone, b"")
        except RunnerError as error:
            self._log.note("child_unreachable", run_id=self._run.run_id, message=error.message)

    def found(self) -> tuple[Lineage, ...]:
        """Everybody that this run has started; a new one is an event."""
        known = {child.run_id for child in self._known}
        found = tuple(lineage.lineage_of(child) for child in lineage.children(self._run, known))
        for child in found:
            if child not in self._known:
                self._log.note("child", task_id=child.task_id, run_id=child.run_id)
        self._known = found
        return found

    def tell(
        self,
        kind: str,
        env: Mapping[str, str],
        *,
        once: bool = False,
        spares_handed: bool = False,
        **fields: object,
    ) -> None:
        """Passes a request on to every unfinished child; its own supervisor passes it further on.

        With `once`, not to those that act on it already: a second cancel would cut the graces of the first.
        With `spares_handed`, not to those to which work was handed over.
        """
        for child in lineage.children(self._run):
            try:
                if spares_handed and own_invocation(child).has_handoff:
                    continue
                manifest = child.read_manifest()
                if manifest.is_done or (once and (manifest.phase is Phase.STOPPING or child.is_told(kind))):
                    continue
                refuse_another(child)
                child.leave_intent(kind, f"run {self._run.run_id}", **fields)
                child.wake()
                lock_fd = child.try_lock()
                if lock_fd is not None:
                    adopt(child, lock_fd, env)
            except RunNotFound:
                continue  # removed, or just being started: then it follows its parent of itself
            except RunnerError as error:
                self._log.note("child_unreachable", run_id=child.run_id, message=error.message)

    def end(self, env: Mapping[str, str], wish: Reason | None) -> None:
        """What happens to living children when their parent ends: as the request behind the end says, else as
        the settings say. One that has begun for a handoff has work that is its parent's no more.
        """
        is_cancelled = stops_all(wish)
        if is_cancelled and os.path.lexists(self._run.alone):
            return
        if is_cancelled or self._invocation.delegation.on_parent_end == "cancel":
            code, why = None, "its parent run has ended"
            if wish is not None and wish.code.startswith("engine_"):  # the job is theirs, too
                code, why = wish.code, wish.message
            self.tell("cancel", env, once=True, spares_handed=not is_cancelled, reason=why, code=code)

    def close_questions(self, told: Callable[[Question], bool]) -> None:
        """After the end of a run: no answer is awaited any more."""
        for question in questions.of_run(self._run):
            if question.is_open:
                self._expire(question.id)
        self.questions(lambda _: None, told)

    def questions(self, expired: Callable[[Question], None], told: Callable[[Question], bool]) -> int:
        """How many are open; `expired` is called for each whose time is just over. Changes are events, once
        `told` has told of them.
        """
        open_now = 0
        for question in questions.of_run(self._run):
            if question.is_due and self._expire(question.id):
                question = questions.read(self._run, question.id)
            open_now += question.is_open
            known = self._asked.get(question.id)
            if known != question.status and told(question):
                self._asked[question.id] = question.status
                told_of = {"status": question.status, "prompt": self._clean(question.prompt)[:200]}
                if question.answer is not None:
                    told_of["answer"] = self._clean(question.answer)[:200]
                self._log.note("question", id=question.id, **told_of)
            # Also where an owner before us was killed over it, and whether or not it could be told.
            if question.status == "expired" != known and question.id not in self._over:
                self._over.add(question.id)
                expired(question)
        return open_now

    def _expire(self, question_id: str) -> bool:
        try:
            questions.expire(self._run, question_id)
        except RunnerError:
            return False  # answered at the last moment, or a disk that refuses: the next look tries again
        return True
