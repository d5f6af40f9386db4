"""A scripted call as calls of named tools with JSON arguments, as Claude and Gemini offer them. Pure."""

from __future__ import annotations

from typing import NamedTuple

from runner.rehearsal import patches
from runner.rehearsal.calls import CallId, NotOffered, plain
from runner.rehearsal.patches import Replace, Step, Write
from runner.rehearsal.request import Json, ModelRequest, Offer, an_object
from runner.rehearsal.turns import Call, PatchCall, ShellCall, ToolCall

KIND = "tool"
"""The kind of all offers here."""
_TIMEOUT_MS = 600_000
"""How long Claude waits for a command at most."""
_WHY = "A step of the rehearsal script"
"""Where a tool wants to be told what a call is for."""


class Names(NamedTuple):
    """What an agent calls the tools that a script needs."""

    shell: str
    write: str
    replace: str
    mcp: str
    """How the names of a server and its tool become one."""
    read: str | None = None
    """What has to be called for a file before anything in it may be replaced."""


def said(names: Names, call: Call, request: ModelRequest, call_id: CallId) -> tuple[Json, ...]:
    """The calls of tools that make this call."""
    if isinstance(call, ToolCall):
        offer = mcp_offer(names, call, request)
        if offer is None:
            raise NotOffered(call, request.names)
        return (tool_use(offer.name, dict(call.arguments), str(call_id)),)
    steps = patches.steps(call) if isinstance(call, PatchCall) else [call]
    made: list[Json] = []
    for number, step in enumerate(steps):
        name, arguments = _use(names, step)
        if (offer := request.find(KIND, name)) is None:
            raise NotOffered(call, request.names)
        known = an_object(offer.parameters.get("properties"))
        part = str(call_id._replace(step=number))
        if names.read and isinstance(step, Replace):
            # Its id is not one of ours, so what it prints is no output of the script's call.
            made.append(tool_use(names.read, {"file_path": step.path}, f"before-{part}"))
        made.append(tool_use(name, {key: arguments[key] for key in arguments if key in known}, part))
    return tuple(made)


def mcp_offer(names: Names, call: ToolCall, request: ModelRequest) -> Offer | None:
    wanted = mcp_name(names, call)
    return next((offer for offer in request.offers if plain(offer.name) == wanted), None)


def mcp_name(names: Names, call: ToolCall) -> str:
    return plain(names.mcp.format(call.server, call.name))


def tool_use(name: str, arguments: Json, call_id: str) -> Json:
    """A call as Claude writes it, and as the log shows it."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def _use(names: Names, step: Step) -> tuple[str, Json]:
    """The tool and all arguments that one of its kind may want; its schema says which it does."""
    if isinstance(step, ShellCall):
        return names.shell, {"command": step.command, "timeout": _TIMEOUT_MS, "description": _WHY}
    if isinstance(step, Write):
        return names.write, {"file_path": step.path, "content": step.text}
    edit = {"file_path": step.path, "old_string": step.old, "new_string": step.new, "instruction": _WHY}
    return names.replace, edit
