"""The tools of the delegation server: one table, each row a schema, words for the model and a use case.

Every function takes the caller and the checked arguments and returns a JSON object; a failure is a
RunnerError, which the server turns into a tool result. No call takes longer than `LONGEST_S`.
"""

from __future__ import annotations

import time

from runner.delegation import ledger_tools
from runner.delegation.caller import Caller, RunOver
from runner.delegation.tool import LONGEST_S, TASK, WAIT, Tool
from runner.errors import Conflict, GaveUpWaiting, RunnerError
from runner.model import MAX_PROMPT_CHARS, Phase
from runner.state import messages, questions
from runner.state.lineage import ParentOver, children
from runner.state.store import RunDir
from runner.usecases import control, ledger_part, logs, look, spawning, talk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.model import Json
    from runner.state.manifest import Manifest
    from runner.state.questions import Question

_ANSWER_FIRST_S = 0.5
"""A run that pauses or cancels itself gets its answer; its supervisor acts this much later."""
_MOST_SAID, _MOST_FILES = 16 * 1024, 200
"""What an answer has of what an agent said and changed: of a very long one a host shows its model nothing."""


def status(caller: Caller, args: Json) -> dict[str, Any]:
    run = caller.own_or_below(args["manifest_path"])
    deadline = time.monotonic() + float(args.get("wait_s", 0))
    manifest = look.look(run)
    if not manifest.is_done and deadline > time.monotonic() and not caller.is_self(run):
        try:
            wait_s = deadline - time.monotonic()
            manifest = control.wait([run], until=lambda seen: _rests(run, seen), timeout_s=wait_s)[0]
        except GaveUpWaiting:
            manifest = look.look(run)
    whole = manifest.to_json()
    return {name: whole[name] for name in _SHOWN} | {
        "children": [_short(child) for child in children(run)],
        "questions": [_plain(question) for question in logs.asked(run, manifest)],
        "ledger": ledger_part.brief(run),
    }


def _rests(run: RunDir, manifest: Manifest) -> bool:
    """Whether nothing more happens by itself."""
    return manifest.is_done or (manifest.phase is Phase.WAITING and messages.Queue(run).end is None)


_SHOWN = (
    *("run_id", "task_id", "manifest_path", "status", "phase", "outcome", "reason", "rehearsal", "parent"),
    *("started_at", "ended_at", "exit_code", "survivors", "usage", "last_activity", "last_message"),
    *("open", "turns", "messages_queued"),
)


def pause(caller: Caller, args: Json) -> dict[str, Any]:
    run, wanted = caller.own_or_below(args["manifest_path"]), bool(args["paused"])
    if caller.is_self(run):
        if not wanted:
            return {"accepted": False, "status": look.look(run).status}
        return _later(caller, run, "pause", "you are paused right after this answer; your owner resumes you")
    act = control.pause if wanted else control.resume
    manifest = act(run, actor=caller.name, within_s=LONGEST_S - 5)
    return {"run_id": run.run_id, "status": manifest.status}


def cancel(caller: Caller, args: Json) -> dict[str, Any]:
    run, reason = caller.own_or_below(args["manifest_path"]), args.get("reason")
    if caller.is_self(run):
        return _later(caller, run, "cancel", "this run ends right after this answer", reason=reason)
    try:
        manifest = control.cancel(run, actor=caller.name, grace_s=None, reason=reason, within_s=LONGEST_S - 5)
    except GaveUpWaiting:
        manifest = look.look(run)
    left = manifest.survivors
    survivors = None if left is None else [survivor.to_json() for survivor in left]
    return {"run_id": run.run_id, "status": manifest.status, "survivors": survivors}


def spawn(caller: Caller, args: Json) -> dict[str, Any]:
    parent = caller.parent_for_spawn(args.get("parent_manifest_path"))
    words = caller.words_for_start(parent)
    if args.get("open"):
        words = (*words, "--open")
    prompt, session = args.get("prompt"), caller.session
    return spawning.spawn(caller.repo, args["task_id"], *words, prompt=prompt, session=session)


def send(caller: Caller, args: Json) -> dict[str, Any]:
    """A run that has ended gets no follow-up run here: that would be a start, which `spawn` alone makes."""
    run, text, key = caller.below(args["manifest_path"]), args["text"], messages.checked_key(args.get("key"))
    if text.strip() == talk.QUIT:
        return {"run_id": run.run_id, "status": talk.end(run, actor=caller.name).status}
    talk.checked(text)
    if (manifest := look.look(run)).is_done:
        raise RunOver(f"run `{run.run_id}` has ended ({manifest.status})")
    now = bool(args.get("now"))
    return talk.send(run, text, actor=caller.name, now=now, key=key, within_s=LONGEST_S - 5).told(run)


def await_turn(caller: Caller, args: Json) -> dict[str, Any]:
    run = caller.below(args["manifest_path"])
    try:
        turn = talk.await_turn(run, args.get("turn"), timeout_s=float(args.get("wait_s", 0)))
    except GaveUpWaiting:
        manifest = look.look(run)
        return {"is_over": False, "turns_ended": manifest.turns, "run_status": manifest.status}
    said, files = turn.record.get("message"), talk.changed_files(run)
    cut = {"message": f"{said[:_MOST_SAID]} [...]"} if said and len(said) > _MOST_SAID else {}
    shown = {**cut, "files": files and files[:_MOST_FILES], "run_status": turn.manifest.status}
    return {"is_over": True, **turn.record, **shown}


def enqueue(caller: Caller, args: Json) -> dict[str, Any]:
    run, parent = caller.asked(args["parent_manifest_path"])
    _refuse_if_over(parent)
    if look.is_done(run) or run.is_told("cancel"):  # who closes questions may have done so
        raise Conflict(f"run `{run.run_id}` is over and asks no more")
    question = questions.ask(
        run,
        asked="owner" if parent is None else parent.run_id,
        prompt=args["prompt"],
        expires_in_s=args.get("expires_in_s"),
        on_expiry=args.get("on_expiry", "continue"),
    )
    run.wake()
    return {"question_id": question.id, "status": question.status, "expires_at": question.expires_at}


def poll(caller: Caller, args: Json) -> dict[str, Any]:
    run, parent = caller.asked(args["parent_manifest_path"])
    look.look(run)  # without an owner its expiry would go unnoticed
    deadline = time.monotonic() + float(args.get("wait_s", 0))
    while True:
        question = questions.read(run, args["question_id"])
        if not question.is_open:
            break
        _refuse_if_over(parent)
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return {"question_id": question.id, "status": question.status, "answer": question.answer}


def _refuse_if_over(parent: RunDir | None) -> None:
    """ParentOver when no one is left to answer, even if the manifest does not say so yet."""
    if parent is not None and look.is_done(parent):
        raise ParentOver(f"the parent run `{parent.run_id}` is over and will not answer")


def answer(caller: Caller, args: Json) -> dict[str, Any]:
    run = caller.below(args["manifest_path"])
    question = control.answer(run, args["question_id"], args["answer"], actor=caller.name)
    return {"question_id": question.id, "status": question.status}


def _later(caller: Caller, run: RunDir, kind: str, note: str, **fields: Any) -> dict[str, Any]:
    """Leaves a request on which the run's supervisor acts only after this answer has been sent."""
    manifest = look.look(run)
    if manifest.is_done:
        return {"run_id": run.run_id, "status": manifest.status, "accepted": False}
    run.leave_intent(kind, caller.name, not_before=time.time() + _ANSWER_FIRST_S, **fields)
    run.wake()  # so that its owner can tell what came before and after the request
    return {"run_id": run.run_id, "status": manifest.status, "accepted": True, "note": note}


def _short(run: RunDir) -> dict[str, Any]:
    try:
        word = look.look(run).status
    except RunnerError as error:
        word = error.code
    path = run.manifest.removeprefix(f"{run.repo}/")
    return {"run_id": run.run_id, "task_id": run.task_id, "status": word, "manifest_path": path}


def _plain(question: Question) -> dict[str, Any]:
    """An open question as a whole; of one that is closed the beginnings, its asker has it."""
    names = ("id", "status", "prompt", "answer", "asked_at", "expires_at", "on_expiry")
    shown = {name: getattr(question, name) for name in names}
    if not question.is_open:
        shown |= {name: shown[name] and shown[name][:200] for name in ("prompt", "answer")}
    return shown


_PATH = {"type": "string", "maxLength": 4096}
_MANIFEST = {
    "manifest_path": {
        **_PATH,
        "description": "Literal path of the run's manifest: .runs/<task>/cli/<run>/manifest.json",
    }
}
_PARENT = {
    "parent_manifest_path": {
        **_PATH,
        "description": "Literal path of the manifest of the run that is asked, from your prompt.",
    }
}
_ID = {"question_id": {"type": "string", "pattern": "^q-[0-9]{4}$", "description": "From enqueue."}}

TOOLS: tuple[Tool, ...] = (
    Tool(
        "delegate.status",
        "What a run is doing or how it ended, checked now: status, reason, last message, tokens, its child "
        "runs and its questions. For a child run, wait_s returns early when it is done or waits for text.",
        {**_MANIFEST, "wait_s": {**WAIT, "description": "Wait up to this long for that."}},
        ("manifest_path",),
        True,
        status,
    ),
    Tool(
        "delegate.pause",
        "Pause (paused=true) or resume (paused=false) a run that you started, with all its processes and "
        "child runs. Pausing your own run takes effect right after the answer; only others can resume it.",
        {**_MANIFEST, "paused": {"type": "boolean"}},
        ("manifest_path", "paused"),
        False,
        pause,
    ),
    Tool(
        "delegate.cancel",
        "End a run that you started, or your own, with all its processes and child runs. It is final.",
        {**_MANIFEST, "reason": {"type": "string", "maxLength": 2000}},
        ("manifest_path",),
        False,
        cancel,
    ),
    Tool(
        "delegate.spawn",
        "Start a task of delegate.toml as a new background run and return at once with its run_id and "
        "manifest_path. Watch it with delegate.status; with open=true, talk with it: delegate.await, then "
        "delegate.send.",
        {
            "task_id": {"type": "string", "pattern": TASK, "description": "A task of delegate.toml."},
            "prompt": {"type": "string", "description": "Instead of the task's own prompt."},
            "parent_manifest_path": {**_PATH, "description": "Your own manifest_path; may be left out."},
            "open": {"type": "boolean", "description": "After each turn it waits for delegate.send."},
        },
        ("task_id",),
        False,
        spawn,
    ),
    Tool(
        "delegate.send",
        "Send text to the agent of a run that you started: it begins the next turn in the same session. "
        "While a turn goes on it waits for its end, or interrupts it (now=true). The text /quit ends the "
        "run, which is judged then.",
        {
            **_MANIFEST,
            "text": {"type": "string", "maxLength": MAX_PROMPT_CHARS},
            "now": {"type": "boolean", "description": "Interrupt the turn that goes on."},
            "key": {"type": "string", "description": "Sent twice with one key, it is one message."},
        },
        ("manifest_path", "text"),
        False,
        send,
    ),
    Tool(
        "delegate.await",
        "What the agent of a run that you started has said in its last turn. While that goes on, wait_s "
        "waits for its end; is_over=false: call again.",
        {
            **_MANIFEST,
            "turn": {"type": "integer", "minimum": 1, "description": "Another turn than the last one."},
            "wait_s": {**WAIT, "description": "Wait up to this long for the end of the turn."},
        },
        ("manifest_path",),
        True,
        await_turn,
    ),
    Tool(
        "delegate.question.enqueue",
        "Ask the run that started you (or your owner) a question and return at once with its id; then poll. "
        "expires_in_s with on_expiry says what happens without an answer: continue, pause or fail.",
        {
            **_PARENT,
            "prompt": {"type": "string", "maxLength": questions.MAX_TEXT},
            "expires_in_s": {"type": "number", "exclusiveMinimum": 0},
            "on_expiry": {"enum": list(questions.ON_EXPIRY), "default": "continue"},
        },
        ("parent_manifest_path", "prompt"),
        False,
        enqueue,
    ),
    Tool(
        "delegate.question.poll",
        "The answer to a question that you asked, if there is one; wait_s waits for it.",
        {**_PARENT, **_ID, "wait_s": {**WAIT, "description": "Wait up to this long for the answer."}},
        ("parent_manifest_path", "question_id"),
        True,
        poll,
    ),
    Tool(
        "delegate.question.answer",
        "Answer an open question of a run that you started; delegate.status of that run shows it.",
        {**_MANIFEST, **_ID, "answer": {"type": "string", "maxLength": questions.MAX_TEXT}},
        ("manifest_path", "question_id", "answer"),
        False,
        answer,
    ),
    *ledger_tools.TOOLS,
)
"""A new tool is a row here and a word in `runner.resolve.delegation.TOOLS`."""
