"""What a supervisor does for the runs that its run has started, and with its run's questions. Edge: disk.

A child run has a supervisor of its own, so nothing here signals a process: wishes go through the children's
own `control/`, and an ownerless child gets an owner that obeys them.
"""

from __future__ import annotations

from runner.errors import RunnerError
from runner.model import Invocation, Lineage
from runner.state import lineage, questions
from runner.state.events import EventLog
from runner.state.store import RunDir
from runner.supervise import adopt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.state.questions import Question


class Family:
    """The children and the questions of one run, as its supervisor sees them."""

    def __init__(self, run: RunDir, invocation: Invocation, log: EventLog) -> None:
        self._run = run
        self._invocation = invocation
        self._log = log
        self._known: tuple[Lineage, ...] = ()
        self._asked: dict[str, str] = {}

    def children(self) -> tuple[Lineage, ...]:
        """Everybody that this run has started; a new one is an event."""
        found = tuple(lineage.lineage_of(child) for child in lineage.children(self._run))
        for child in found:
            if child not in self._known:
                self._log.note("child", task_id=child.task_id, run_id=child.run_id)
        self._known = found
        return found

    def tell(self, kind: str, env: Mapping[str, str], **fields: object) -> None:
        """Hands a wish on to every child that is not done; its own supervisor hands it further on."""
        for child in lineage.children(self._run):
            try:
                if child.read_manifest().is_done:
                    continue
                child.leave_intent(kind, f"run {self._run.run_id}", **fields)
                child.wake()
                lock_fd = child.try_lock()
                if lock_fd is not None:
                    adopt(child, lock_fd, env)
            except RunnerError as error:
                self._log.note("child_unreachable", run_id=child.run_id, message=error.message)

    def end(self, env: Mapping[str, str]) -> None:
        """What the config says of children that live when their parent ends."""
        if self._invocation.delegation.on_parent_end == "cancel":
            self.tell("cancel", env, reason="its parent run has ended")

    def questions(self, expired: Callable[[Question], None]) -> int:
        """How many are open; `expired` is called for each whose time is just over. Changes are events."""
        open_now = 0
        for question in questions.of_run(self._run):
            is_over = question.is_due and self._expire(question.id)
            if is_over:
                question = questions.read(self._run, question.id)
            open_now += question.is_open
            if self._asked.get(question.id) != question.status:
                self._asked[question.id] = question.status
                shown = question.prompt[:200]
                self._log.note("question", id=question.id, status=question.status, prompt=shown)
            if is_over:
                expired(question)
        return open_now

    def _expire(self, question_id: str) -> bool:
        try:
            questions.expire(self._run, question_id)
        except RunnerError:
            return False  # answered at the last moment, or a disk that refuses: the next look tries again
        return True
