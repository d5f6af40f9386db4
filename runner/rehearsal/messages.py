"""Anthropic's Messages API, as Claude Code speaks it: requests to `/v1/messages`, and their answers. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from runner.rehearsal import named
from runner.rehearsal.calls import CallId
from runner.rehearsal.named import KIND, Names
from runner.rehearsal.request import Json, ModelRequest, Offer, Output, an_object, objects, texts
from runner.rehearsal.stream import HOLE, deltas, event, filled
from runner.rehearsal.turns import Call, Failure, ShellCall, ToolCall, TurnUsage
from runner.rehearsal.wire import Answer

MISTAKE = 410
"""After 400, 404 and 422 Claude asks again with fewer features, as it does for no other status."""
_NAMES = Names("Bash", "Write", "Edit", "mcp__{}__{}", read="Read")
_MOVES = re.compile(r"\b(?:cd|pushd|popd)\b")
_SEARCH = "ToolSearch"
_RESULT = "StructuredOutput"
"""With a schema for the result, Claude takes it as a call of this tool and not as text."""
_REMINDER = "<system-reminder>"
_COMPACTION = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools."
"""How Claude asks for a summary of what was said. It offers all tools as ever, so that its cache holds."""
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""https://docs.anthropic.com/en/api/errors"""


def read(body: Json, path: str) -> ModelRequest:
    """The request in this body. What asks without any tool is not the agent at work: a title, a quota. Nor is
    a compaction.
    """
    messages = objects(body.get("messages"))
    blocks = [(at, block) for at, one in enumerate(messages) for block in objects(one.get("content"))]
    searches = {str(block.get("id")) for _, block in blocks if block.get("name") == _SEARCH}
    outputs = [(at, _output(block, searches)) for at, block in blocks if block.get("type") == "tool_result"]
    spoken = max((at for at, one in enumerate(messages) if one.get("role") == "assistant"), default=-1)
    tools, config = objects(body.get("tools")), an_object(body.get("output_config"))
    return ModelRequest(
        model=str(body.get("model") or ""),
        effort=config.get("effort"),
        kind="turn" if tools and not _is_compaction(messages) else "aside",
        offers=tuple(_offer(tool) for tool in tools),
        prompts=tuple(filter(None, map(_prompt, messages))),
        outputs=tuple(output for _, output in outputs),
        fresh=tuple(output for at, output in outputs if at > spoken),
        input_items=len(messages),
        is_streamed=body.get("stream") is True,
        schema=an_object(an_object(config.get("format")).get("schema")),
    )


def _is_compaction(messages: list[Json]) -> bool:
    """What Claude says by itself is a text, or comes behind outputs; what a user says has parts alone."""
    said = messages[-1].get("content") if messages else None
    parts = objects(said)
    if parts and parts[0].get("type") == "tool_result":
        said = parts[-1].get("text")
    return isinstance(said, str) and said.startswith(_COMPACTION)


def _offer(tool: Json) -> Offer:
    return Offer(KIND, str(tool.get("name") or ""), None, an_object(tool.get("input_schema")))


def _prompt(message: Json) -> str:
    """What the user said, without what Claude adds."""
    if message.get("role") != "user":
        return ""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = [part for part in objects(content) if not str(part.get("text", "")).startswith(_REMINDER)]
    return texts(parts)


def _output(block: Json, searches: set[str]) -> Output:
    call_id = str(block.get("tool_use_id"))
    return Output(call_id, texts(block.get("content")), is_search=call_id in searches)


def said(call: Call, request: ModelRequest, call_id: CallId) -> tuple[Json, ...]:
    if isinstance(call, ShellCall) and call.command.startswith("sleep "):
        # Claude refuses to do nothing but wait, and asks for a better way.
        call = ShellCall(f":; {call.command}")
    if isinstance(call, ShellCall) and _MOVES.search(call.command):  # the next one is to begin at the top
        call = ShellCall(f"(\n{call.command}\n)")
    return named.said(_NAMES, call, request, call_id)


def search(call: Call, request: ModelRequest, call_id: CallId) -> Json | None:
    """Claude keeps MCP tools back where it has a search for tools."""
    if not isinstance(call, ToolCall) or request.find(KIND, _SEARCH) is None:
        return None
    if named.mcp_offer(_NAMES, call, request) is not None:
        return None
    query = f"select:{named.mcp_name(_NAMES, call)}"
    return named.tool_use(_SEARCH, {"query": query}, str(call_id))


def body(answer: Answer, number: int, request: ModelRequest) -> Iterator[bytes]:
    turn = answer.what
    text = [] if turn.message is None else [{"type": "text", "text": HOLE}]
    content = _result(answer, number, request) or [*text, *answer.items]
    message = {
        "id": f"msg_rehearsal_{number}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "stop_reason": "end_turn" if content == text else "tool_use",
        "stop_sequence": None,
    }
    usage = _usage(turn.usage)
    if request.is_streamed:
        yield from _events(answer, message, content, usage)
    elif turn.ending == "complete":
        yield from filled(json.dumps(message | {"content": content, "usage": usage}).encode(), turn)


def _result(answer: Answer, number: int, request: ModelRequest) -> list[Json]:
    """The last message as a structured result, if one is wanted and it is one."""
    wanted = request.find(KIND, _RESULT) and answer.what.is_final_message
    try:
        value = json.loads(answer.what.message or "") if wanted else None
    except ValueError:
        return []
    return [named.tool_use(_RESULT, value, f"result-{number}")] if isinstance(value, dict) else []


def _events(answer: Answer, message: Json, content: list[Json], usage: Json) -> Iterator[bytes]:
    """All events up to the answer's ending; a stream that is to break off just ends early."""
    turn = answer.what
    begun = message | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 0}}
    yield event({"type": "message_start", "message": begun})
    if turn.failure is not None:
        yield event(error(turn.failure))
        return
    for index, block in enumerate(content):
        at: Json = {"index": index}
        is_text = block["type"] == "text"
        begin: Json = {"text": ""} if is_text else {"input": {}}
        yield event({"type": "content_block_start", "content_block": block | begin} | at)
        delta: Json = {"type": "text_delta", "text": HOLE}
        if not is_text:
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield from deltas(event({"type": "content_block_delta", "delta": delta} | at), turn)
        if turn.ending != "complete":
            return
        yield event({"type": "content_block_stop"} | at)
    if turn.ending != "complete":
        return
    ended = {key: message[key] for key in ("stop_reason", "stop_sequence")}
    yield event({"type": "message_delta", "delta": ended, "usage": usage})
    yield event({"type": "message_stop"})


def error(failure: Failure) -> Json:
    """With a status the type is that of the API; a code is OpenAI's, unless it comes alone."""
    kind = failure.code or "api_error"
    if failure.status is not None:
        kind = _ERRORS.get(failure.status, "api_error" if failure.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": failure.message}}


def _usage(usage: TurnUsage) -> Json:
    """Anthropic does not count what was cached as input, OpenAI does, and so does a script."""
    return {
        "input_tokens": max(0, usage.input_tokens - usage.cached_input_tokens),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_output_tokens},
    }
