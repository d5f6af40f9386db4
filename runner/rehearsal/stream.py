"""An answer as server-sent events of the Responses API, piece by piece. Pure.

A message may be a short text repeated very often, so its JSON is made from pieces of bounded size and is
never in memory as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from runner.rehearsal.actor import Answer
from runner.rehearsal.request import Json
from runner.rehearsal.turns import Failure, Turn, TurnUsage

_PIECE_CHARS = 32_768
_HOLE = "\0"


def events(answer: Answer, response_id: str, model: str) -> Iterator[bytes]:
    """All events up to the answer's ending; a stream that is to break off just ends early."""
    turn = answer.what
    response: Json = {"id": response_id, "object": "response", "model": model}
    yield _event({"type": "response.created", "response": response | {"status": "in_progress"}})
    if turn.message is not None:
        yield from _message(turn, f"msg_{response_id}")
    if turn.ending != "complete":
        return
    for index, item in enumerate(answer.items, start=turn.message is not None):
        added = {"type": "response.output_item.added", "output_index": index, "item": item}
        yield _event(added)
        yield _event(added | {"type": "response.output_item.done"})
    if turn.failure is not None:
        failed = response | {"status": "failed"} | error_body(turn.failure)
        yield _event({"type": "response.failed", "response": failed})
    else:
        completed = response | {"status": "completed", "usage": _usage(turn.usage)}
        yield _event({"type": "response.completed", "response": completed})


def error_body(failure: Failure) -> Json:
    """The JSON body of an error, as the API writes it."""
    code = failure.code or "rehearsal_error"
    error: Json = {"type": code, "code": code, "message": failure.message}
    if failure.resets_at is not None:
        error["resets_at"] = failure.resets_at
    return {"error": error}


def summary(answer: Answer) -> list[str]:
    """The kinds of what the answer has, for the log."""
    turn = answer.what
    if turn.failure is not None:
        return [f"error {turn.failure.status or turn.failure.code}"]
    said = [] if turn.message is None else ["message"]
    made = [str(item.get("name") or item["type"]) for item in answer.items]
    return said + made + ([] if turn.ending == "complete" else [turn.ending])


def _event(data: Json) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def _message(turn: Turn, item_id: str) -> Iterator[bytes]:
    item: Json = {"id": item_id, "type": "message", "role": "assistant", "content": []}
    added: Json = {"type": "response.output_item.added", "output_index": 0}
    yield _event(added | {"item": item | {"status": "in_progress"}})
    delta = {"type": "response.output_text.delta", "item_id": item_id, "output_index": 0}
    for piece in _pieces(turn):
        yield from _event_with(delta | {"content_index": 0, "delta": _HOLE}, [piece])
    if turn.ending == "complete":
        content = [{"type": "output_text", "annotations": [], "text": _HOLE}]
        done = added | {"type": "response.output_item.done"}
        whole = done | {"item": item | {"status": "completed", "content": content}}
        yield from _event_with(whole, _pieces(turn))


def _pieces(turn: Turn) -> Iterator[str]:
    """The message as JSON without its quotes: escaping is the same for each repetition."""
    escaped = json.dumps(turn.message)[1:-1]
    at_once = max(1, _PIECE_CHARS // max(1, len(escaped)))
    for done in range(0, turn.repeat, at_once):
        yield escaped * min(at_once, turn.repeat - done)


def _event_with(data: Json, pieces: Iterable[str]) -> Iterator[bytes]:
    """The event with the pieces in the place of the hole."""
    before, after = _event(data).split(json.dumps(_HOLE).encode())
    yield before + b'"'
    for piece in pieces:
        yield piece.encode()
    yield b'"' + after


def _usage(usage: TurnUsage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_output_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
