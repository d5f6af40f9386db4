"""USE CASES of a conversation with the agent of a run: send, await a turn, end. Standard library only."""

from __future__ import annotations

import time

from runner.disk.files import read
from runner.errors import Conflict, GaveUpWaiting, PromptInvalid, RunnerError, TurnNotFound, UsageError
from runner.model import Outcome, Phase
from runner.processes.proc import boottime
from runner.state import messages
from runner.state.authentic import own_invocation, refuse_foreign
from runner.state.manifest import timestamp
from runner.state.store import RunDir
from runner.text.words import count
from runner.usecases import control
from runner.usecases.look import look, wake
from runner.value import Value, json_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runner.model import Json
    from runner.state.manifest import Attempt, Manifest
    from runner.state.messages import Message

QUIT = "/quit"
"""The text that is an end and no message."""
BEGUN, QUEUED, INTERRUPTED, FOLLOW_UP = "begun", "queued", "interrupted", "follow_up"
_BEGINS_WITHIN_S = 10.0
_LARGEST = 64 * 1024 * 1024
_MARK = "[redacted]"


class Sent(Value):
    """What became of a message so far. `turn` is the number of its turn, as far as it can be foreseen."""

    message: str | None
    """Its id; None where it began a follow-up run and has no key."""
    state: str
    turn: int | None
    is_repeated: bool = False
    """It had been sent before, with the same key."""

    def told(self, run: RunDir, continues: Json | None = None) -> dict[str, Any]:
        """As an answer has it."""
        path = run.manifest.removeprefix(f"{run.repo}/")
        known = {"run_id": run.run_id, "task_id": run.task_id, "manifest_path": path}
        return {**known, **self.to_json(), "continues": continues}


class EndedTurn(Value):
    """A turn that has ended: its record, and the run."""

    record: Json
    manifest: Manifest


def checked(text: str) -> str:
    """UsageError or PromptInvalid for what cannot be a message."""
    from runner.resolve.prompt import checked as prompt

    if not text.strip():
        raise UsageError("the message is empty", hint="`runner end RUN` ends the run")
    try:
        return prompt(text)
    except PromptInvalid as error:
        what = error.message.replace("the prompt", "the message")
        raise PromptInvalid(what, hint="a message is a text, as long as a prompt may be") from None


def send(
    run: RunDir, text: str, *, actor: str, now: bool = False, key: str | None = None, within_s: float = 1e6
) -> Sent:
    """Sends a text to the agent of an unfinished run. Returns when the turn that it begins was seen to begin
    (or after `within_s`), or at once where it waits for the end of another one.

    Conflict for a run that can hear nothing more, or not `now`; ForeignRun.
    """
    manifest = look(run)
    invocation = own_invocation(run)
    if _is_of_plan(manifest):
        raise Conflict(f"run `{run.run_id}` is of a plan, and its agent gets no messages")
    if invocation.resume_argv is None:
        raise Conflict(
            f"the agent of run `{run.run_id}` hears one text only: {invocation.runtime} resumes no session",
            hint="wait for its end, then `runner retry RUN --message TEXT`",
        )
    if not _is_heard(run):
        raise Conflict(
            f"run `{run.run_id}` was started by an older runner, whose supervisor hears no messages",
            hint="when it has ended (`runner wait RUN`), a message begins a follow-up run",
        )
    if now and manifest.phase is Phase.PAUSED:
        raise Conflict(f"run `{run.run_id}` is paused", hint="`runner resume RUN` first, or leave --now out")
    if (begun := _began_by(run, manifest, key)) is not None:
        return Sent(begun, FOLLOW_UP, 1, is_repeated=True)
    queue = messages.Queue(run)
    before = {one.id for one in queue.look()}
    message = queue.add(text, actor=actor, now=now, key=key)
    wake(run)
    is_repeated = message.id in before
    refuse_other(message, text)
    if message.follow_up is not None or (message.now or manifest.phase is Phase.WAITING) is False:
        return sent(run, message, QUEUED, is_repeated=is_repeated)
    state = INTERRUPTED if manifest.phase is not Phase.WAITING else BEGUN
    most_s = min(_BEGINS_WITHIN_S + 3 * invocation.limits.grace_s, within_s)

    def is_settled(seen: Manifest) -> bool:
        is_behind = not now and seen.phase is Phase.RUNNING  # a turn has begun with another one
        return message.id in seen.messages_given or is_behind or seen.is_done

    try:
        control.wait([run], until=is_settled, timeout_s=most_s)
    except GaveUpWaiting:
        pass
    return sent(run, message, state, is_repeated=is_repeated)


def refuse_other(message: Message, text: str) -> None:
    """Where its key was used for another text before. Of one that was redacted nobody can say that."""
    if message.text != text and message.follow_up is None and _MARK not in message.text:
        raise Conflict(
            f"key `{message.key}` is that of message {message.id} with another text, and nothing was sent",
            hint="a key stands for one text: choose another one",
        )


def _is_heard(run: RunDir) -> bool:
    """Whether who has written its manifest knows turns: the supervisor of before an upgrade does not."""
    try:
        return "turns" in json_value(read(run.manifest, _LARGEST))
    except (OSError, ValueError, TypeError):
        return True  # a look has read it just now


def _is_of_plan(manifest: Manifest) -> bool:
    """Whether it carries a plan out, or a batch of one."""
    if manifest.parent is None:
        return manifest.runtime.name == "plan"
    from runner.state.lineage import plan_of  # nearly every run that gets messages has no run above it

    return plan_of(manifest) is not None


def _began_by(run: RunDir, manifest: Manifest, key: str | None) -> str | None:
    """The message with that key, where it is what the run began with."""
    if key is None or (above := manifest.continues) is None:
        return None
    earlier = messages.Queue(RunDir.of(run.repo, above)).look()
    found = (one for one in earlier if one.key == key and one.follow_up is not None)
    return next((one.id for one in found if one.follow_up and one.follow_up.run_id == run.run_id), None)


def sent(run: RunDir, message: Message, state: str, *, is_repeated: bool) -> Sent:
    """What became of it by now. Conflict where the run has ended without it."""
    manifest = look(run)
    turn = _turn_of(manifest, message.id)
    if turn is not None:
        # The turn before may have ended of itself, in the instant in which the message came.
        is_cut = state == INTERRUPTED and _turns(manifest)[turn - 2].reason == INTERRUPTED
        return Sent(message.id, INTERRUPTED if is_cut else BEGUN, turn, is_repeated)
    if manifest.is_done:
        raise _unheard(manifest, message.id)
    groups = _groups(messages.Queue(run).pending(manifest.messages_given))
    at = next((n for n, group in enumerate(groups, 1) if message.id in group), None)
    return Sent(message.id, QUEUED, None if at is None else manifest.turns_begun + at, is_repeated)


def _unheard(manifest: Manifest, message: str) -> Conflict:
    if manifest.outcome is Outcome.LOST:  # perhaps with the process that had just got it
        return Conflict(
            f"run `{manifest.run_id}` is lost, and whether its agent got message {message} is not known",
            hint="`runner logs RUN` shows what it did; another message begins a follow-up run",
        )
    return Conflict(
        f"run `{manifest.run_id}` ended before its agent got message {message}",
        hint="send it again, with another key if it had one: it begins a follow-up run",
    )


def end(run: RunDir, *, actor: str) -> Manifest:
    """Closes an unfinished run: it is judged when all that was sent before has been heard."""
    manifest = look(run)
    if manifest.is_done:
        refuse_foreign(run)
        return manifest
    own_invocation(run)
    if _is_of_plan(manifest):
        raise Conflict(
            f"run `{run.run_id}` is of a plan, which ends it", hint="`runner cancel RUN` ends it now"
        )
    messages.Queue(run).add("", actor=actor, kind=messages.END)
    wake(run)
    return look(run)


def await_turn(
    run: RunDir,
    number: int | None = None,
    *,
    timeout_s: float | None = None,
    tick: Callable[[RunDir, Manifest], None] | None = None,
) -> EndedTurn:
    """Returns the moment that the turn has ended; without a `number`, the last one that was asked for by now.
    At once where it has ended before.

    TurnNotFound where the run is done without it; ForeignRun; GaveUpWaiting.
    """
    manifest = look(run)
    refuse_foreign(run)
    target = max(1, _asked_for(run, manifest)) if number is None else number

    def is_over(seen: Manifest) -> bool:
        return seen.turns >= target or seen.is_done or (number is None and _rests(run, seen))

    manifest = control.wait([run], until=is_over, timeout_s=timeout_s, tick=tick, hint=_again(run))[0]
    reached = min(target, manifest.turns) if number is None else target
    if number is not None and number > manifest.turns:
        raise TurnNotFound(
            f"run `{run.run_id}` ended ({manifest.status}) after {count(manifest.turns, 'turn')}"
        )
    return EndedTurn(record(run, manifest, reached), manifest)


def _again(run: RunDir) -> str:
    return f"the run continues; `runner await {run.run_id}` waits again"


def waits(run: RunDir, manifest: Manifest) -> tuple[str, str]:
    """Since when it waits for a message, and until when."""
    since = time.time() - boottime() + (manifest.waiting_uptime or boottime())
    return timestamp(since), timestamp(since + (run.read_invocation().open_timeout_s or 0.0))


def await_answer(
    run: RunDir,
    message: str,
    *,
    timeout_s: float | None = None,
    tick: Callable[[RunDir, Manifest], None] | None = None,
) -> EndedTurn:
    """As `await_turn`, the turn in which its agent got that message, whichever it is: others may come first,
    and one that interrupts it has it given again. Conflict where the run is done without it.
    """

    def is_over(seen: Manifest) -> bool:
        number = _turn_of(seen, message)
        if seen.is_done or number is None or seen.turns < number:
            return seen.is_done
        goes_on = number == seen.turns_begun and seen.phase is not Phase.WAITING
        return not (goes_on and _turns(seen)[-1].reason == INTERRUPTED)

    manifest = control.wait([run], until=is_over, timeout_s=timeout_s, tick=tick, hint=_again(run))[0]
    number = _turn_of(manifest, message)
    if number is None:
        raise _unheard(manifest, message)
    return EndedTurn(record(run, manifest, number), manifest)


def changed_files(run: RunDir) -> list[str] | None:
    """What the run has changed so far; None where that is not known."""
    from runner.usecases import review

    try:
        return [one.path for one in review.diff(run).files]
    except (RunnerError, OSError):
        return None


def _rests(run: RunDir, manifest: Manifest) -> bool:
    """Whether it waits, and nothing is there to be heard: fewer turns were needed than was foreseen."""
    is_waiting = manifest.phase is Phase.WAITING and manifest.turns == manifest.turns_begun
    return is_waiting and not messages.Queue(run).pending(manifest.messages_given)


def _asked_for(run: RunDir, manifest: Manifest) -> int:
    """How many turns there will be as things are."""
    if manifest.is_done:
        return manifest.turns
    return manifest.turns_begun + len(_groups(messages.Queue(run).pending(manifest.messages_given)))


def _groups(pending: list[Message]) -> list[list[str]]:
    """The messages of each turn to come."""
    at_once = [one.id for one in pending if one.now]
    return [*([at_once] if at_once else []), *([one.id] for one in pending if not one.now)]


def _turn_of(manifest: Manifest, message: str) -> int | None:
    turns = [*enumerate(_turns(manifest), 1)]
    return next((n for n, one in reversed(turns) if message in one.messages), None)


def _turns(manifest: Manifest) -> list[Attempt]:
    return [one for one in manifest.attempts if one.how != "closing"]


def record(run: RunDir, manifest: Manifest, number: int) -> dict[str, Any]:
    """What was written of the turn; of one of which nothing can be read, no more than that."""
    try:
        found = json_value(read(run.turn(number), _LARGEST))
        reason = found.get("reason") or {}
        texts = (found.get("status"), found.get("message"), reason.get("message"))
        is_of_it = (found["run_id"], found["turn"]) == (run.run_id, number)
        if is_of_it and all(isinstance(text, str | None) for text in texts):
            return dict(found)
    except (OSError, ValueError, LookupError, AttributeError):  # an agent without a sandbox can write there
        pass
    unknown = dict.fromkeys(("reason", "message", "thread_id", "usage", "started_at", "ended_at"))
    about = {"run_id": run.run_id, "task_id": run.task_id, "manifest_path": manifest.manifest_path}
    return {"schema_version": 1, **about, "turn": number or None, "status": None, **unknown}
