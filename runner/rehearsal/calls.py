"""A scripted call in the form that Codex expects, given the tools that the request offers; its id. Pure.

A script names a command, an MCP tool or a patch. Codex offers tools in one of three ways (`request.py`),
which shows in the request alone: a script works with every model name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from runner.rehearsal import code_mode
from runner.rehearsal.request import Json, ModelRequest, Offer, Running
from runner.rehearsal.turns import Call, PatchCall, ShellCall, ToolCall

YIELD_MS = 30_000
"""How long Codex waits for a new command before it answers with what there is: the maximum."""
POLL_MS = 300_000
"""The same for a command that runs already."""

_FORM = re.compile(r"rh-([0-9a-f]+)-(\d+)-(\d+)-(\d+)-(\d+)")
_SHELL_NAMES = ("exec_command", "shell_command", "shell", "container.exec")


class CallId(NamedTuple):
    """Which server made the call, for which of its requests and turns, and its index there. Codex hands the
    id back, so no state is kept.

    `step` counts the times that the rest of a long output was asked for.
    """

    instance: str
    serial: int
    turn: int
    call: int
    step: int = 0

    def __str__(self) -> str:
        return f"rh-{self.instance}-{self.serial}-{self.turn}-{self.call}-{self.step}"

    @classmethod
    def parse(cls, text: str) -> CallId | None:
        """The call id in this text, if it is one of ours, of this server or an earlier one."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        serial, turn, call, step = (int(part) for part in match.groups()[1:])
        return cls(match[1], serial, turn, call, step)


class NotOffered(Exception):
    """The script calls something that Codex does not offer in this run."""

    def __init__(self, call: Call, offered: Iterable[str]) -> None:
        what = "a shell command" if isinstance(call, ShellCall) else "a patch"
        if isinstance(call, ToolCall):
            what = f"the tool `{call.name}` of the MCP server `{call.server}`"
            offered = (name for name in offered if name.startswith("mcp__"))
        names = ", ".join(offered) or "none"
        super().__init__(f"it calls {what}, which Codex does not offer; such tools: {names}")


def said(call: Call, request: ModelRequest, call_id: CallId) -> Json:
    """The output item that makes this call."""
    if isinstance(call, ShellCall):
        return _shell(call, request, call_id)
    if isinstance(call, ToolCall):
        return _tool(call, request, call_id)
    return _patch(call, request, call_id)


def hidden(calls: tuple[Call, ...], request: ModelRequest) -> tuple[int, ...]:
    """The positions of the MCP tools that `tool_search` has to bring before they can be called."""
    if _find(request, "tool_search", "tool_search") is None:
        return ()
    tools = ((n, call) for n, call in enumerate(calls) if isinstance(call, ToolCall))
    return tuple(n for n, tool in tools if _find_mcp(request, tool) is None)


def search(call: Call, call_id: CallId) -> Json:
    """The item that asks for a tool which is kept back."""
    assert isinstance(call, ToolCall)
    words = re.sub(r"[^A-Za-z0-9]+", " ", call.name)
    return {
        "type": "tool_search_call",
        "call_id": str(call_id),
        "execution": "client",
        "status": "completed",
        "arguments": {"query": f"{call.server} {call.name} {words}", "limit": 100},
    }


def poll(running: Running, request: ModelRequest, call_id: CallId) -> Json:
    """The item that waits on for a command which had not ended."""
    if running.kind == "cell":
        name, arguments = "wait", {"cell_id": running.id, "yield_time_ms": POLL_MS}
    else:
        name, arguments = "write_stdin", {"session_id": int(running.id), "yield_time_ms": POLL_MS}
    offer = _find(request, "function", name) or Offer("function", name)
    return _function(offer, arguments, call_id)


def not_offered(call: Call, request: ModelRequest) -> NotOffered:
    return NotOffered(call, [offer.full_name for offer in request.offers])


def _shell(call: ShellCall, request: ModelRequest, call_id: CallId) -> Json:
    for name in _SHELL_NAMES:
        if offer := _find(request, "function", name):
            return _function(offer, _shell_arguments(offer, call.command), call_id)
    if code := _find(request, "custom", "exec"):
        return _freeform(code, code_mode.shell(call.command, YIELD_MS, POLL_MS), call_id)
    raise not_offered(call, request)


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
    if code := _find(request, "custom", "exec"):
        return _freeform(code, code_mode.tool(call, YIELD_MS), call_id)
    raise not_offered(call, request)


def _patch(call: PatchCall, request: ModelRequest, call_id: CallId) -> Json:
    if offer := _find(request, "custom", "apply_patch"):
        return _freeform(offer, call.text, call_id)
    if offer := _find(request, "function", "apply_patch"):
        return _function(offer, {"input": call.text}, call_id)
    if code := _find(request, "custom", "exec"):
        return _freeform(code, code_mode.patch(call.text, YIELD_MS), call_id)
    # Codex takes this command for a patch and never runs it.
    here_document = f"apply_patch <<'END_OF_PATCH'\n{call.text}END_OF_PATCH"
    return _shell(ShellCall(here_document), request, call_id)


def _find(request: ModelRequest, kind: str, name: str) -> Offer | None:
    offers = (offer for offer in request.offers if (offer.kind, offer.name) == (kind, name))
    return next(offers, None)


def _find_mcp(request: ModelRequest, tool: ToolCall) -> Offer | None:
    """Codex writes `delegate.status` of `delegation` as `mcp__delegation` and `delegate_status`."""
    wanted = code_mode.plain(f"mcp__{tool.server}__{tool.name}")
    for offer in request.offers:
        if offer.namespace and code_mode.plain(f"{offer.namespace}__{offer.name}") == wanted:
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
