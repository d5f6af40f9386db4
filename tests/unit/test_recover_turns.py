"""Of any life with turns, the events say what the manifest has said."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.values import an_identity, an_invocation

from runner.model import Outcome, Phase, Reason
from runner.state.events import EventLog
from runner.state.lifecycle import FINAL_EVENTS, TRANSITIONS, Event
from runner.state.manifest import (
    INTERRUPTED,
    Manifest,
    advance,
    cancelled,
    continued,
    exited,
    first,
    retried,
    started,
)
from runner.state.store import RunDir, new_run_id
from runner.supervise.recover import rebuild

SAME = ("phase", "outcome", "reason", "attempt", "turns", "process", "exit_code", "signal", "waiting_seconds")
ENDS = (Event.ENDED, Event.LOST)


class Life:
    """Does what a supervisor does: the manifest first, or the event first, as that does."""

    def __init__(self, run: RunDir, draw: Any) -> None:
        self.invocation = an_invocation(run.repo, run.task_id, run.run_id, open_timeout_s=60.0)
        self.log, self.draw, self.sent = EventLog(run.events), draw, 0
        self.manifest: Manifest = first(self.invocation, run.artifacts)
        self.log.append("created", actor="user", task_id="hello", run_id=run.run_id)
        self.manifest = advance(self.manifest, Event.LAUNCHED, attempt=1)
        self.starts("first", ())

    def starts(self, how: str, messages: tuple[str, ...]) -> None:
        process = an_identity(100 + self.manifest.attempt)
        begins = {"how": how, "prompt": f"prompt-{self.manifest.attempt}.md", "messages": messages}
        self.manifest = started(self.manifest, process, **begins)
        self.log.note(Event.STARTED, process=process.to_json(), attempt=self.manifest.attempt, **begins)

    def happens(self, event: Event) -> None:
        manifest, n = self.manifest, self.manifest.attempt + 1
        if event in (Event.PAUSED, Event.RESUMED):
            self.manifest = advance(manifest, event)
            self.log.note(event, actor="user")
        elif event is Event.STOP_REQUESTED:
            self.manifest = advance(manifest, event, reason=cancelled("user", "x"))
            self.log.note("cancel_requested", actor="user", reason="x")
        elif event is Event.INTERRUPTED:
            self.manifest = advance(manifest, event).with_last_attempt(reason=INTERRUPTED)
            self.log.note(event, actor="user", attempt=manifest.attempt, message="m-0001")
        elif event is Event.EXITED:
            code = self.draw(st.sampled_from([0, 1, None]))
            self.manifest = exited(manifest, code, None).replace(turns=manifest.turns_begun)
            self.log.note(event, exit_code=code, signal=None)
            self.log.note(
                "turn_ended", turn=manifest.turns_begun, attempt=manifest.attempt, status="completed"
            )
        elif event is Event.KEPT_OPEN:
            self.manifest = advance(manifest, event, waiting_uptime=5.0)
            self.log.note(event, uptime=5.0)
        elif event in (Event.CLOSED, Event.CONTINUED):
            waited_s = self.draw(st.integers(0, 5000)) / 1000 if manifest.phase is Phase.WAITING else 0.0
            manifest = manifest.replace(waiting_seconds=round(manifest.waiting_seconds + waited_s, 3))
            if event is Event.CLOSED:
                self.manifest = advance(manifest, event, waiting_uptime=None)
                self.log.note(event, actor="user", message="x", waited_s=waited_s)
            else:
                self.sent += 1
                self.manifest, ids = continued(manifest, n), (f"m-{self.sent:04d}",)
                self.log.note(event, attempt=n, waited_s=waited_s, messages=[*ids], actor="user", turn=n)
                self.starts(self.draw(st.sampled_from(["resume", "fresh"])), ids)
        elif event is Event.RETRIED:
            counts = self.draw(st.booleans())
            failed = manifest.with_last_attempt(reason="api", counts=counts)
            self.manifest = retried(failed, n)
            self.log.note(event, attempt=n, how="resume", code="api", counts=counts, waited_s=0.0)
            self.starts(self.draw(st.sampled_from(["resume", "fresh"])), ())
        else:
            assert event in FINAL_EVENTS
            outcome = Outcome.LOST if event is Event.LOST else self.draw(st.sampled_from(tuple(Outcome)))
            self.manifest = advance(manifest, event, outcome=outcome, reason=Reason("x", "y"))
            told = {"outcome": outcome, "reason": Reason("x", "y").to_json()}
            self.log.note(Event.ENDED, at=self.manifest.ended_at, **told, lines_unread=0)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_the_events_of_any_life_say_what_its_manifest_said(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        run = RunDir(folder, "hello", new_run_id())
        Path(run.path).mkdir(parents=True)
        life = Life(run, data.draw)
        for left in reversed(range(data.draw(st.integers(0, 30)))):
            now = life.manifest
            possible = [event for phase, event in TRANSITIONS if phase is now.phase]
            if now.reason is not None:  # who is to end begins nothing more
                possible = [event for event in possible if event in (*ENDS, Event.EXITED)]
            elif left > 3:
                possible = [event for event in possible if event not in (*FINAL_EVENTS, Event.STOP_REQUESTED)]
            if not possible:
                break
            life.happens(data.draw(st.sampled_from(possible)))
        made, said = rebuild(run, life.invocation), life.manifest
        assert {name: getattr(made, name) for name in SAME} == {name: getattr(said, name) for name in SAME}
        assert [_known(one) for one in made.attempts] == [_known(one) for one in said.attempts]
        assert made.messages_given == said.messages_given
        assert (made.waiting_uptime, made.open) == (said.waiting_uptime, True)


def _known(attempt: Any) -> tuple[Any, ...]:
    """What the events tell of it: not why it ended where a message, and no failure, began the next."""
    reason = attempt.reason if attempt.reason in ("api", INTERRUPTED) else None
    one = attempt
    return (one.n, one.process, one.how, one.prompt, one.messages, one.exit_code, reason, one.counts)
