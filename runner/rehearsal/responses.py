"""OpenAI's Responses API, as Codex speaks it: requests to `/v1/responses`, and answers as events. Pure.

Codex offers its tools in three ways, by the model's name: as functions and namespaces in `tools`; the same
without MCP tools until a `tool_search` finds them; or as one freeform tool `exec` that runs JavaScript ("code
mode"), announced in an `additional_tools` item of the input. Here they become one list of offers, and a call
of the script is said in the way that fits: a script works with every model name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from runner.rehearsal import code_mode
from runner.rehearsal.calls import CallId, NotOffered, plain
from runner.rehearsal.request import Json, ModelRequest, Offer, Output, an_object, objects, texts
from runner.rehearsal.stream import HOLE, deltas, event, filled
from runner.rehearsal.turns import Call, Failure, PatchCall, ShellCall, ToolCall, Turn, TurnUsage
from runner.rehearsal.wire import Answer

YIELD_MS = 30_000
"""How long Codex waits for a new command before it answers with what there is: the maximum."""
POLL_MS = 300_000
"""The same for a command that runs already."""

MISTAKE = 422
_SHELL_NAMES = ("exec_command", "shell_command", "shell", "container.exec")
_HEADER_WORDS = (
    "Chunk ID|Wall time|Process exited|Process running|Original token count|Exit code"
    "|Script completed|Script failed|Script running"
)
_HEADER = re.compile(rf"\A(?:(?:{_HEADER_WORDS})[^\n]*\n)+Output:(?:\n|\Z)")
_RUNNING = re.compile(r"^(?:Process|Script) running with (session|cell) ID (\S+)$", re.M)


def read(body: Json, path: str = "") -> ModelRequest:
    """The request in this body. What is missing or of an unknown shape is left out."""
    items = objects(body.get("input"))
    tools = objects(body.get("tools"))
    for item in items:
        # A search's results stay callable for the rest of the thread.
        if item.get("type") in ("additional_tools", "tool_search_output"):
            tools += objects(item.get("tools"))
    offers = tuple(offer for tool in tools for offer in _offers(tool, None))
    outputs = [(n, _output(item, offers)) for n, item in enumerate(items) if _is_output(item)]
    spoken = max((n for n, item in enumerate(items) if _is_said(item)), default=-1)
    return ModelRequest(
        model=str(body.get("model") or ""),
        effort=an_object(body.get("reasoning")).get("effort"),
        kind=_request_kind(body),
        offers=offers,
        prompts=tuple(texts(item.get("content")) for item in items if item.get("role") == "user"),
        outputs=tuple(output for _, output in outputs),
        fresh=tuple(output for n, output in outputs if n > spoken),
        input_items=len(items),
    )


def _request_kind(body: Json) -> str:
    """`turn`, or what else Codex wants for itself, e.g. `compaction`; older versions do not say."""
    try:
        metadata = json.loads(an_object(body.get("client_metadata"))["x-codex-turn-metadata"])
        return str(an_object(metadata).get("request_kind") or "turn")
    except (KeyError, TypeError, ValueError):
        return "turn"


def _offers(tool: Json, namespace: str | None) -> list[Offer]:
    kind, name = str(tool.get("type") or ""), str(tool.get("name") or tool.get("type") or "")
    if kind == "namespace":
        return [offer for inner in objects(tool.get("tools")) for offer in _offers(inner, name)]
    return [Offer(kind, name, namespace, an_object(tool.get("parameters")))]


def _is_said(item: Json) -> bool:
    return item.get("type", "message") == "message" and item.get("role") in ("user", "assistant")


def _is_output(item: Json) -> bool:
    return str(item.get("type", "")).endswith("_output")


def _output(item: Json, offers: tuple[Offer, ...]) -> Output:
    call_id, content = str(item.get("call_id", "")), item.get("output")
    if isinstance(content, str):
        text, running = _without_headers(content)
    else:
        # Several parts: the first is a header alone, or the header and the beginning.
        parts = [str(part["text"]) for part in objects(content) if "text" in part]
        first, running = _without_headers("".join(parts[:1]))
        text = "\n".join(([first] if first else []) + parts[1:])
    rest = _poll(*running, call_id, offers) if running else None
    return Output(call_id, text, rest, is_search=item.get("type") == "tool_search_output")


def _without_headers(text: str) -> tuple[str, tuple[str, str] | None]:
    """The text itself, and the kind and id of what runs on: a `session` of the shell, or a `cell` of code
    mode. There are two headers when the shell passed a patch to apply_patch.
    """
    running: tuple[str, str] | None = None
    while header := _HEADER.match(text):
        if mark := _RUNNING.search(header[0]):
            running = mark[1], mark[2]
        text = text[header.end() :]
    return text, running


def _poll(kind: str, number: str, call: str, offers: tuple[Offer, ...]) -> Json | None:
    """The item that waits on for a command which had not ended."""
    call_id = CallId.parse(call)
    if call_id is None:
        return None
    if kind == "cell":
        name, arguments = "wait", {"cell_id": number, "yield_time_ms": POLL_MS}
    else:
        name, arguments = "write_stdin", {"session_id": int(number), "yield_time_ms": POLL_MS}
    found = (offer for offer in offers if (offer.kind, offer.name) == ("function", name))
    offer = next(found, Offer("function", name))
    return _function(offer, arguments, call_id._replace(step=call_id.step + 1))


def said(call: Call, request: ModelRequest, call_id: CallId) -> tuple[Json, ...]:
    """The output item that makes this call."""
    if isinstance(call, ShellCall):
        return (_shell(call, request, call_id),)
    if isinstance(call, ToolCall):
        return (_tool(call, request, call_id),)
    return (_patch(call, request, call_id),)


def search(call: Call, request: ModelRequest, call_id: CallId) -> Json | None:
    """Codex keeps MCP tools back where it has a `tool_search`."""
    if not isinstance(call, ToolCall) or request.find("tool_search", "tool_search") is None:
        return None
    if _find_mcp(request, call) is not None:
        return None
    words = re.sub(r"[^A-Za-z0-9]+", " ", call.name)
    return {
        "type": "tool_search_call",
        "call_id": str(call_id),
        "execution": "client",
        "status": "completed",
        "arguments": {"query": f"{call.server} {call.name} {words}", "limit": 100},
    }


def _shell(call: ShellCall, request: ModelRequest, call_id: CallId) -> Json:
    for name in _SHELL_NAMES:
        if offer := request.find("function", name):
            return _function(offer, _shell_arguments(offer, call.command), call_id)
    if code := request.find("custom", "exec"):
        return _freeform(code, code_mode.shell(call.command, YIELD_MS, POLL_MS), call_id)
    raise NotOffered(call, request.names)


def _shell_arguments(offer: Offer, command: str) -> Json:
    """Only what the tool's own schema names: it differs between versions of Codex."""
    known = offer.parameters.get("properties", {})
    key = "cmd" if "cmd" in known else "command"
    takes_list = known.get(key, {}).get("type") == "array"
    arguments: Json = {key: ["bash", "-lc", command] if takes_list else command}
    if "yield_time_ms" in known:
        arguments["yield_time_ms"] = YIELD_MS
    return arguments


def _tool(call: ToolCall, request: ModelRequest, call_id: CallId) -> Json:
    if offer := _find_mcp(request, call):
        return _function(offer, dict(call.arguments), call_id)
    if code := request.find("custom", "exec"):
        return _freeform(code, code_mode.tool(call, YIELD_MS), call_id)
    raise NotOffered(call, request.names)


def _patch(call: PatchCall, request: ModelRequest, call_id: CallId) -> Json:
    if offer := request.find("custom", "apply_patch"):
        return _freeform(offer, call.text, call_id)
    if offer := request.find("function", "apply_patch"):
        return _function(offer, {"input": call.text}, call_id)
    if code := request.find("custom", "exec"):
        return _freeform(code, code_mode.patch(call.text, YIELD_MS), call_id)
    # Codex takes this command for a patch and never runs it.
    here_document = f"apply_patch <<'END_OF_PATCH'\n{call.text}END_OF_PATCH"
    return _shell(ShellCall(here_document), request, call_id)


def _find_mcp(request: ModelRequest, tool: ToolCall) -> Offer | None:
    """Codex writes `delegate.status` of `delegation` as `mcp__delegation` and `delegate_status`."""
    wanted = plain(f"mcp__{tool.server}__{tool.name}")
    for offer in request.offers:
        if offer.namespace and plain(f"{offer.namespace}__{offer.name}") == wanted:
            return offer
    return None


def _function(offer: Offer, arguments: Json, call_id: CallId) -> Json:
    item = {"type": "function_call", "call_id": str(call_id), "name": offer.name}
    item |= {"namespace": offer.namespace} if offer.namespace else {}
    return item | {"arguments": json.dumps(arguments), "status": "completed"}


def _freeform(offer: Offer, text: str, call_id: CallId) -> Json:
    item = {"type": "custom_tool_call", "call_id": str(call_id), "name": offer.name}
    item |= {"namespace": offer.namespace} if offer.namespace else {}
    return item | {"input": text, "status": "completed"}


def body(answer: Answer, number: int, request: ModelRequest) -> Iterator[bytes]:
    """All events up to the answer's ending; a stream that is to break off just ends early."""
    turn, response_id = answer.what, f"resp_rehearsal_{number}"
    response: Json = {"id": response_id, "object": "response", "model": request.model}
    yield event({"type": "response.created", "response": response | {"status": "in_progress"}})
    if turn.message is not None:
        yield from _message(turn, f"msg_{response_id}")
    if turn.ending != "complete":
        return
    for index, item in enumerate(answer.items, start=turn.message is not None):
        added = {"type": "response.output_item.added", "output_index": index, "item": item}
        yield event(added)
        yield event(added | {"type": "response.output_item.done"})
    if turn.failure is not None:
        failed = response | {"status": "failed"} | error(turn.failure)
        yield event({"type": "response.failed", "response": failed})
    else:
        completed = response | {"status": "completed", "usage": _usage(turn.usage)}
        yield event({"type": "response.completed", "response": completed})


def error(failure: Failure) -> Json:
    """The JSON body of an error, as the API writes it."""
    code = failure.code or "rehearsal_error"
    told: Json = {"type": code, "code": code, "message": failure.message}
    if failure.resets_at is not None:
        told["resets_at"] = failure.resets_at
    return {"error": told}


def _message(turn: Turn, item_id: str) -> Iterator[bytes]:
    item: Json = {"id": item_id, "type": "message", "role": "assistant", "content": []}
    added: Json = {"type": "response.output_item.added", "output_index": 0}
    yield event(added | {"item": item | {"status": "in_progress"}})
    delta = {"type": "response.output_text.delta", "item_id": item_id, "output_index": 0}
    yield from deltas(event(delta | {"content_index": 0, "delta": HOLE}), turn)
    if turn.ending == "complete":
        content = [{"type": "output_text", "annotations": [], "text": HOLE}]
        done = added | {"type": "response.output_item.done"}
        whole = done | {"item": item | {"status": "completed", "content": content}}
        yield from filled(event(whole), turn)


def _usage(usage: TurnUsage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_output_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
