"""The delegation server on stdio: the table of tools behind the official MCP package. Edge: stdin, stdout.

A bad call is a tool result with our stable code, and the connection lives on. Nothing but the protocol is on
stdout. https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import functools
import json
import math
import os
import select
import sys
import threading

import anyio
import mcp_types as types
from anyio import to_thread
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from runner.delegation.caller import Caller
from runner.delegation.tool import Tool
from runner.delegation.tools import TOOLS
from runner.errors import RunnerError, UsageError
from runner.model import VERSION
from runner.runtimes import of_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from mcp.server.context import ServerRequestContext

    from runner.model import Json

LARGEST = 2 * 1024 * 1024
"""Characters of one call's arguments: a prompt of the longest kind fits."""
_HALF = "every \\ud800 to \\udfff has to be one of a pair; send the character itself"
_AT_ONCE = 256
"""Calls at a time: most of them only wait, and a waiting one must not keep others waiting."""
_AGAIN = ("delegate.pause", "delegate.cancel", "delegate.question.answer")
"""Tools that change something, and nothing more when they are called again."""


class UnknownTool(UsageError):
    code = "unknown_tool"
    default_hint = "tools/list has the tools of this server"


class BadArguments(UsageError):
    code = "bad_arguments"
    default_hint = "the tool's inputSchema says what it takes"


def serve(caller: Caller) -> NoReturn:
    """Serves until stdin ends or nobody reads stdout any more, and ends the process then: a call that still
    waits must not keep it alive.

    What a call has begun is whole without us: a file is there or not, a start is a process of its own.
    """
    threading.Thread(target=_end_without_reader, args=(os.dup(1),), daemon=True).start()
    try:
        anyio.run(_serve, caller)
    except* (BrokenPipeError, ConnectionResetError):
        pass  # the answer came to its end sooner than the thread above
    _end()


def _end_without_reader(stdout: int) -> None:
    """A client that died need not have closed our stdin: another process may hold it. Of a pipe or a socket
    whose other end is closed, poll(2) tells that whatever it is asked for.
    """
    poll = select.poll()
    poll.register(stdout, 0)
    poll.poll()
    _end()


def _end() -> NoReturn:
    sys.stderr.flush()
    os._exit(0)


async def _serve(caller: Caller) -> None:
    server: Server[Any] = Server(
        "delegation",
        title="runner delegation",
        version=VERSION,
        instructions="Look at, pause, cancel and start runs, and ask questions, by literal manifest paths; "
        "read and write the ledger of a task.",
        on_list_tools=functools.partial(_list_tools, caller),
        on_call_tool=functools.partial(_call_tool, caller),
    )
    to_thread.current_default_thread_limiter().total_tokens = _AT_ONCE
    async with stdio_server() as (reading, writing):
        messages = _readable(reading, writing)
        await server.run(messages, writing, server.create_initialization_options())


async def _readable(reading: Any, writing: Any) -> Any:
    """The incoming messages without those that the package drops unanswered, for which we answer: JSON with
    half a surrogate pair (a string cut by UTF-16 units), which its reader takes for no JSON at all.
    """
    async for item in reading:
        answer = _refusal(item) if isinstance(item, ValueError) else None
        if answer is None:
            yield item
        else:
            await writing.send(SessionMessage(answer))


def _refusal(error: ValueError) -> types.JSONRPCResponse | types.JSONRPCError | None:
    """The answer to a line that could not be read; None for one that no answer could be addressed to."""
    try:
        (record,) = error.errors()  # type: ignore[attr-defined] # pydantic's; its input is the line
        request = json.loads(record["input"])
        ident, method = request["id"], request["method"]
        why = BadArguments(f"the call is not valid JSON: {record['ctx']['error']}", hint=_HALF)
        if method == "tools/call":
            result = _failed(why).model_dump(mode="json", by_alias=True, exclude_none=True)
            return types.JSONRPCResponse(jsonrpc="2.0", id=ident, result=result)
        data = types.ErrorData(code=types.PARSE_ERROR, message=why.message)
        return types.JSONRPCError(jsonrpc="2.0", id=ident, error=data)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None


def offered(caller: Caller) -> dict[str, Tool]:
    """The tools of this server by name: its mode and its run's `tools` decide, here and at every call."""
    return {tool.name: tool.offered_to(caller) for tool in TOOLS if tool.name in caller.tools}


async def _list_tools(
    caller: Caller, _: ServerRequestContext[Any], __: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[_described(tool) for tool in offered(caller).values()])


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.schema,
        annotations=types.ToolAnnotations(
            read_only_hint=tool.read_only,
            destructive_hint=tool.name == "delegate.cancel",
            idempotent_hint=tool.read_only or tool.name in _AGAIN,
            open_world_hint=False,
        ),
    )


async def _call_tool(
    caller: Caller, _: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    try:
        arguments = params.arguments or {}
        tool = _checked(caller, params.name, arguments)
        if caller.run is None:
            caller = caller.replace(session=of_call(params.meta or {}))
        answer = await to_thread.run_sync(tool.run, caller, arguments, abandon_on_cancel=True)
        if tool.answered is not None:
            tool.answered(caller, arguments, answer)
    except RunnerError as error:
        return _failed(error)
    except Exception as error:  # the boundary of this front end: the connection must live on
        print(f"{params.name}: {type(error).__name__}: {error}", file=sys.stderr)
        return _failed(UsageError(f"{type(error).__name__}: {error}", hint="a bug of runner; please report"))
    return _result({"ok": True, **answer}, is_error=False)


def _checked(caller: Caller, name: str, arguments: Json) -> Tool:
    """The tool, if it is offered and the arguments are of its form."""
    import jsonschema

    tool = offered(caller).get(name)
    if tool is None:
        known = any(other.name == name for other in TOOLS)
        why = "is not offered by this server" if known else "does not exist"
        raise UnknownTool(f"tool `{name[:80]}` {why}")
    if sum(len(value) for value in arguments.values() if isinstance(value, str)) > LARGEST:
        raise BadArguments(f"more than {LARGEST:,} characters of arguments")
    if any(isinstance(value, float) and not math.isfinite(value) for value in arguments.values()):
        raise BadArguments("NaN and Infinity are no numbers of JSON")  # which a schema lets through
    errors = sorted(jsonschema.Draft202012Validator(tool.schema).iter_errors(arguments), key=str)
    if errors:
        places = (f"{'.'.join(map(str, error.path)) or 'arguments'}: {_brief(error)}" for error in errors)
        raise BadArguments("; ".join(list(places)[:5]))
    return tool


def _brief(error: Any) -> str:
    text = str(error.message)
    return text if len(text) <= 200 else f"{text[:120]} ... {text[-60:]}"


def _failed(error: RunnerError) -> types.CallToolResult:
    body = {"code": error.code, "message": error.message, "hint": error.hint, "retryable": error.retryable}
    problems = {"problems": list(error.problems)} if error.problems else {}
    return _result({"ok": False, "error": {**body, **problems}}, is_error=True)


def _result(value: Json, *, is_error: bool) -> types.CallToolResult:
    # Half a pair, as in an answer, has no UTF-8: the package would end over it.
    text = json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)],
        structured_content=json.loads(text),
        is_error=is_error,
    )
