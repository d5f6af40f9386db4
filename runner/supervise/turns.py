"""The turns of a run: what is told when one has ended, and with which messages the next one begins. Edge:
disk.

A turn is one process of the agent. What only asks for the result is none.
"""

from __future__ import annotations

from runner.conformance import Agreement
from runner.disk.files import make_durable, make_plain_folder, read_text, replace_json, withdraw
from runner.model import MAX_PROMPT_CHARS, SCHEMA_VERSION, Outcome, Phase, Reason
from runner.processes.proc import boottime, is_here
from runner.runtimes import PLAN
from runner.state.events import complain
from runner.state.lifecycle import Event
from runner.state.manifest import CLOSING, INTERRUPTED, advance
from runner.supervise import attempts, news
from runner.supervise.judging import last_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.supervise.attempts import NextAttempt
    from runner.supervise.owner import Owner

_BEYOND_WORDS = ("flag_refused", "misconfigured")
"""Ends of a turn after which no message is of use."""
SUPERVISOR = "supervisor"
"""Who closes the queue of a run that nobody has ended."""


def tell(owner: Owner, end: tuple[Outcome, Reason], wish: Reason | None) -> None:
    """Tells that the agent has ended a turn, which ended with `end` or by our `wish`: in `turns/`, in the
    signal file and, where somebody listens, in the feed.
    """
    manifest, invocation = owner.manifest, owner.invocation
    last, number = manifest.attempts[-1], manifest.turns_begun
    if last.how == CLOSING or invocation.runtime == PLAN or manifest.turns >= number:
        return
    status, reason = _status(owner, end, wish)
    record = {
        "schema_version": SCHEMA_VERSION,
        "run_id": manifest.run_id,
        "task_id": manifest.task_id,
        "manifest_path": manifest.manifest_path,
        "turn": number,
        "attempt": last.n,
        "status": status,
        "reason": None if reason is None else {"code": reason.code, "message": reason.message},
        "message": _said(owner),
        "thread_id": manifest.thread_id,
        "usage": manifest.usage.to_json(),
        "messages": list(last.messages),
        "started_at": last.started_at,
        "ended_at": last.ended_at,
    }
    record = owner.cleaner().record(record)
    try:
        make_plain_folder(owner.run.turns)
        replace_json(owner.run.turn(number), record, durable=False)
        replace_json(owner.run.turn_complete, record, durable=False)
    except OSError as error:
        complain(f"turn {number} is told to nobody: {error}")
    owner.manifest = manifest.replace(turns=number)
    if is_conversation(owner):
        why = {} if reason is None else {"message": reason.message}
        owner.log.note("turn_ended", turn=number, attempt=last.n, status=status, **why)
    if is_conversation(owner) or (invocation.notify.on_turn and manifest.parent is None):
        said = record["message"] if reason is None else record["reason"]["message"]
        news.turn(owner.run, owner.manifest, (number, status, said or ""), owner.notify)


def is_conversation(owner: Owner) -> bool:
    """Whether it has, or may get, more turns than that of its task."""
    is_open = owner.invocation.open_timeout_s is not None
    return is_open or any(one.actor != SUPERVISOR for one in owner.queue.look())


def following(owner: Owner) -> NextAttempt | None:
    """The next turn, where a message waits for it: the first one, or all that are not to wait. A text that
    was not answered goes with them: it may not be in the session, which nothing tells (seen with Codex 0.171
    and Claude Code 2.1.332, interrupted at once), and twice it does no harm.
    """
    pending = owner.queue.pending(owner.manifest.messages_given)
    if not pending:
        return None
    chosen = [one for one in pending if one.now] or pending[:1]
    last, is_new = owner.manifest.attempts[-1], owner.manifest.thread_id is None
    texts, ids = [one.text for one in chosen], [one.id for one in chosen]
    if not owner.progress.is_answered and last.how != CLOSING and fits(owner, texts[0]):
        begins_one = last.how == "fresh" or (last.how == "first" and owner.invocation.fresh_argv is None)
        is_new = is_new or begins_one
        texts = [_asked(owner), *texts]
        ids = [*last.messages, *ids]
    while len("\n\n".join(texts)) > MAX_PROMPT_CHARS:
        texts.pop()
        ids.pop()  # it is heard later
    return attempts.next_turn(
        owner.invocation,
        owner.manifest,
        "\n\n".join(texts),
        tuple(ids),
        code=last.reason or _code(owner),
        actor=chosen[0].actor,
        is_new=is_new,
    )


def fits(owner: Owner, text: str) -> bool:
    """Whether there is room for it behind what the agent was asked last, in one prompt."""
    return len(_asked(owner)) + len(text) + 2 <= MAX_PROMPT_CHARS


def _asked(owner: Owner) -> str:
    return read_text(f"{owner.run.path}/{owner.manifest.attempts[-1].prompt}") or ""


def stays_open(owner: Owner, reason: Reason) -> bool:
    """Whether it waits for a message when its agent has ended a turn for that `reason`."""
    is_open = owner.invocation.open_timeout_s is not None and owner.queue.end is None
    return is_open and reason.code not in _BEYOND_WORDS


def waits(owner: Owner) -> bool:
    """Has the run wait for a message; False where what a further turn needs is not there any more."""
    manifest = owner.manifest
    if manifest.phase is not Phase.WAITING:
        owner.limits.wait()
        since = round(boottime(), 3)
        owner.write(advance(manifest, Event.KEPT_OPEN, waiting_uptime=since), durable=False)
        owner.log.note(Event.KEPT_OPEN, uptime=since)
        make_durable(owner.run.manifest)  # who waits for the turn does not wait for the disk
    if manifest.process is not None and not is_here(manifest.process):
        close(owner, "the machine or its container was restarted")
    elif owner.shares_tree and not owner.take_lease():
        close(owner, "another run may now write in the work tree")
    return owner.manifest.phase is Phase.WAITING


def close(owner: Owner, why: str, actor: str = SUPERVISOR) -> None:
    """Nobody is waited for any more, unless a message is there by now, which is heard first."""
    if owner.queue.close(owner.manifest.messages_given, actor=actor):
        _closed(owner, why, actor)


def is_over(owner: Owner) -> None:
    """The run is judged now. If that was still to be told of its last turn, it is."""
    if owner.manifest.phase is Phase.WAITING:
        _closed(owner, "no further turn can begin", SUPERVISOR)
    elif owner.invocation.verify or owner.invocation.closing_argv or is_conversation(owner):
        # Checks may take long, and somebody may wait for the turn. The verdict has all of it again.
        owner.write(owner.manifest, durable=False)


def _closed(owner: Owner, why: str, actor: str) -> None:
    waited_s = owner.limits.go_on()
    owner.log.note(Event.CLOSED, actor=actor, message=why, waited_s=waited_s)
    waited = owner.manifest.replace(waiting_seconds=round(owner.limits.waited_s, 3), waiting_uptime=None)
    owner.write(advance(waited, Event.CLOSED))


def begins(owner: Owner) -> None:
    """What an ended turn has left for others is not of the turn that begins."""
    withdraw(owner.run.turn_complete)
    withdraw(owner.run.last_message)


def _status(owner: Owner, end: tuple[Outcome, Reason], wish: Reason | None) -> tuple[str, Reason | None]:
    thread, (outcome, reason) = owner.conformance().thread, end
    if wish is not None:
        return "failed", wish
    if thread is not None and thread.verdict is Agreement.DRIFT:
        text = f"its session {thread.declared} was not resumed: it began another one, {thread.observed}"
        return "failed", Reason("thread_changed", text)
    if outcome is Outcome.SUCCEEDED:
        return "completed", None
    if owner.manifest.attempts[-1].reason == INTERRUPTED:
        return INTERRUPTED, Reason(INTERRUPTED, "a message was to be heard at once")
    return "failed", reason


def _code(owner: Owner) -> str:
    return "completed" if owner.progress.turn == "turn_completed" else "failed"


def _said(owner: Owner) -> str | None:
    said = last_message(owner)
    return None if said is None else said[:MAX_PROMPT_CHARS]
