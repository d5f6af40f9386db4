"""The content of a request to `/v1/responses`: offered tools, prompts, tool outputs. Pure.

Codex offers its tools in three ways, by the model's name: as functions and namespaces in `tools`; the same
without MCP tools until a `tool_search` finds them; or as one freeform tool `exec` that runs JavaScript ("code
mode"), announced in an `additional_tools` item of the input. Here they become one list of offers.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, TypeAlias

Json: TypeAlias = dict[str, Any]

_HEADER_WORDS = (
    "Chunk ID|Wall time|Process exited|Process running|Original token count|Exit code"
    "|Script completed|Script failed|Script running"
)
_HEADER = re.compile(rf"\A(?:(?:{_HEADER_WORDS})[^\n]*\n)+Output:(?:\n|\Z)")
_RUNNING = re.compile(r"^(?:Process|Script) running with (session|cell) ID (\S+)$", re.M)


class Offer(NamedTuple):
    """A tool that the model may call in its answer."""

    kind: str
    name: str
    namespace: str | None = None
    parameters: Json = {}

    @property
    def full_name(self) -> str:
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


class Running(NamedTuple):
    """A command that had not ended when Codex answered: a `session` of the shell, or a `cell` of
    code mode, with the id to ask for the rest by."""

    kind: str
    id: str


class Output(NamedTuple):
    """What came back from a call, without the lines that Codex puts before it."""

    call_id: str
    text: str
    running: Running | None = None
    is_search: bool = False


class ModelRequest(NamedTuple):
    """One request, as far as a scripted model cares. Lists go from oldest to newest."""

    model: str
    effort: str | None
    kind: str
    offers: tuple[Offer, ...]
    prompts: tuple[str, ...]
    outputs: tuple[Output, ...]
    fresh: tuple[Output, ...]
    """The outputs since the last message of user or model."""
    input_items: int


def read(body: Json) -> ModelRequest:
    """The request in this body. What is missing or of an unknown shape is left out."""
    items = _objects(body.get("input"))
    tools = _objects(body.get("tools"))
    for item in items:
        # A search's results stay callable for the rest of the thread.
        if item.get("type") in ("additional_tools", "tool_search_output"):
            tools += _objects(item.get("tools"))
    outputs = [_output(item) for item in items if _is_output(item)]
    spoken = [n for n, item in enumerate(items) if _is_said(item)]
    fresh = [_output(item) for item in items[max(spoken, default=-1) + 1 :] if _is_output(item)]
    return ModelRequest(
        model=str(body.get("model") or ""),
        effort=_object(body.get("reasoning")).get("effort"),
        kind=_request_kind(body),
        offers=tuple(offer for tool in tools for offer in _offers(tool, None)),
        prompts=tuple(_texts(item.get("content")) for item in items if item.get("role") == "user"),
        outputs=tuple(outputs),
        fresh=tuple(fresh),
        input_items=len(items),
    )


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _request_kind(body: Json) -> str:
    """`turn`, or what else Codex wants for itself, e.g. `compaction`; older versions do not say."""
    try:
        metadata = json.loads(_object(body.get("client_metadata"))["x-codex-turn-metadata"])
        return str(_object(metadata).get("request_kind") or "turn")
    except (KeyError, TypeError, ValueError):
        return "turn"


def _offers(tool: Json, namespace: str | None) -> list[Offer]:
    kind, name = str(tool.get("type") or ""), str(tool.get("name") or tool.get("type") or "")
    if kind == "namespace":
        return [offer for inner in _objects(tool.get("tools")) for offer in _offers(inner, name)]
    return [Offer(kind, name, namespace, _object(tool.get("parameters")))]


def _is_said(item: Json) -> bool:
    return item.get("type", "message") == "message" and item.get("role") in ("user", "assistant")


def _is_output(item: Json) -> bool:
    return str(item.get("type", "")).endswith("_output")


def _texts(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in _objects(content) if "text" in part)


def _output(item: Json) -> Output:
    call_id, content = str(item.get("call_id", "")), item.get("output")
    if isinstance(content, str):
        text, running = _without_headers(content)
    else:
        # Several parts: the first is a header alone, or the header and the beginning.
        parts = [str(part["text"]) for part in _objects(content) if "text" in part]
        first, running = _without_headers("".join(parts[:1]))
        text = "\n".join(([first] if first else []) + parts[1:])
    return Output(call_id, text, running, is_search=item.get("type") == "tool_search_output")


def _without_headers(text: str) -> tuple[str, Running | None]:
    """The text itself; there are two headers when the shell passed a patch to apply_patch."""
    running: Running | None = None
    while header := _HEADER.match(text):
        if mark := _RUNNING.search(header[0]):
            running = Running(mark[1], mark[2])
        text = text[header.end() :]
    return text, running
