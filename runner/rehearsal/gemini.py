"""The Gemini API, as Gemini CLI speaks it: requests to `/v1beta/models/M:...`, and their answers. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from runner.rehearsal import named
from runner.rehearsal.calls import CallId
from runner.rehearsal.named import KIND, Names
from runner.rehearsal.request import Json, ModelRequest, Offer, Output, an_object, objects, texts
from runner.rehearsal.stream import HOLE, deltas, event, filled
from runner.rehearsal.turns import Call, Failure, TurnUsage
from runner.rehearsal.wire import Answer

MISTAKE = 422
_NAMES = Names("run_shell_command", "write_file", "replace", "mcp_{}_{}")
_PRINTED = re.compile(
    r"Output: (.*?)(?:\n(?:Error|Exit Code|Signal|Background PIDs|Process Group PGID): [^\n]*)*", re.S
)
"""What the shell tool puts around the output of a command."""
_CONTEXT = "<session_context>"
_ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""https://ai.google.dev/gemini-api/docs/troubleshooting"""


def read(body: Json, path: str) -> ModelRequest:
    """The request in this body. What asks without any tool is not the agent at work: who speaks next, a
    summary.
    """
    model, _, method = path.rpartition("/")[2].partition(":")
    contents = objects(body.get("contents"))
    parts = [(at, part) for at, one in enumerate(contents) for part in objects(one.get("parts"))]
    outputs = [(at, _output(part["functionResponse"])) for at, part in parts if "functionResponse" in part]
    spoken = max((at for at, one in enumerate(contents) if one.get("role") == "model"), default=-1)
    tools = [tool for one in objects(body.get("tools")) for tool in objects(one.get("functionDeclarations"))]
    config = an_object(body.get("generationConfig"))
    return ModelRequest(
        model=model,
        effort=_effort(an_object(config.get("thinkingConfig"))),
        kind="turn" if tools else "aside",
        offers=tuple(_offer(tool) for tool in tools),
        prompts=tuple(filter(None, map(_prompt, contents))),
        outputs=tuple(output for _, output in outputs),
        fresh=tuple(output for at, output in outputs if at > spoken),
        input_items=len(contents),
        is_streamed=method == "streamGenerateContent",
        schema=an_object(config.get("responseJsonSchema") or config.get("responseSchema")),
    )


def _effort(thinking: Json) -> str | None:
    """A level, or as many tokens."""
    said = thinking.get("thinkingLevel", thinking.get("thinkingBudget"))
    return None if said is None else str(said)


def _offer(tool: Json) -> Offer:
    parameters = tool.get("parametersJsonSchema") or tool.get("parameters")
    return Offer(KIND, str(tool.get("name") or ""), None, an_object(parameters))


def _prompt(content: Json) -> str:
    """What the user said, without what Gemini CLI adds."""
    if content.get("role") != "user":
        return ""
    parts = objects(content.get("parts"))
    return texts([part for part in parts if not str(part.get("text", "")).startswith(_CONTEXT)])


def _output(response: object) -> Output:
    answer = an_object(response)
    result = an_object(answer.get("response"))
    text = str(result.get("output") or result.get("error") or "")
    text = text.removeprefix("<untrusted_context>\n").removesuffix("\n</untrusted_context>")
    if printed := _PRINTED.fullmatch(text):
        text = printed[1].removeprefix("(empty)")
    return Output(str(answer.get("id") or ""), text)


def said(call: Call, request: ModelRequest, call_id: CallId) -> tuple[Json, ...]:
    return named.said(_NAMES, call, request, call_id)


def search(call: Call, request: ModelRequest, call_id: CallId) -> Json | None:
    return None


def body(answer: Answer, number: int, request: ModelRequest) -> Iterator[bytes]:
    turn = answer.what
    head = {"modelVersion": request.model, "responseId": f"rehearsal-{number}"}
    calls = [
        {"functionCall": {"id": item["id"], "name": item["name"], "args": item["input"]}}
        for item in answer.items
    ]
    text = [] if turn.message is None else [{"text": HOLE}]
    end = {"usageMetadata": _usage(turn.usage)} | head
    if not request.is_streamed:
        if turn.ending == "complete":
            yield from filled(json.dumps(_candidate([*text, *calls], "STOP") | end).encode(), turn)
        return
    if text:
        yield from deltas(event(_candidate(text) | head), turn)
    if turn.failure is not None:
        # Without the frame of an event, as the API itself breaks a stream off.
        yield json.dumps(error(turn.failure)).encode()
    elif turn.ending == "complete":
        yield event(_candidate(calls, "STOP") | end)


def _candidate(parts: list[Json], reason: str | None = None) -> Json:
    end = {"finishReason": reason} if reason else {}
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0} | end]}


def error(failure: Failure) -> Json:
    status = failure.status or 500
    kind = _ERRORS.get(status, "UNKNOWN") if failure.status else (failure.code or "UNKNOWN")
    return {"error": {"code": status, "message": failure.message, "status": kind}}


def _usage(usage: TurnUsage) -> Json:
    """Gemini counts what was thought beside the answer, a script within it."""
    return {
        "promptTokenCount": usage.input_tokens,
        "cachedContentTokenCount": usage.cached_input_tokens,
        "candidatesTokenCount": max(0, usage.output_tokens - usage.reasoning_output_tokens),
        "thoughtsTokenCount": usage.reasoning_output_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
