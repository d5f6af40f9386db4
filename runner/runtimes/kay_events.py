"""The event stream of `kay exec --json`. Pure and tolerant: no input makes it raise.

Not Codex's JSONL, whatever its documentation says: an object of settings, `{"prompt": ...}`, then
`{"id", "msg": {"type": ...}}`. There is no closing event, no session id and no error event. Lines
in Codex's shape are understood too, since Kay has an unused printer for them.
https://github.com/just-every/code/blob/main/code-rs/exec/src/event_processor_with_json_output.rs
"""

from __future__ import annotations

from collections.abc import Mapping

from runner.model import Usage
from runner.runtimes import codex_events
from runner.runtimes.base import Activity, Kind
from runner.runtimes.jsonvalues import compact, number, table, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Message = Mapping[str, Any]


def parse(record: object) -> tuple[Activity, ...]:
    """What one line tells."""
    if not isinstance(record, Mapping):
        return ()
    if "msg" not in record:
        return codex_events.parse(record)
    message = table(record.get("msg"))
    kind = text(message.get("type"))
    if read := _READERS.get(kind):
        return read(message)
    return ()


def _said(kind: Kind, *names: str) -> Callable[[Message], tuple[Activity, ...]]:
    def read(message: Message) -> tuple[Activity, ...]:
        return (Activity(kind, next((text(message[n]) for n in names if text(message.get(n))), "")),)

    return read


def _usage(message: Message) -> tuple[Activity, ...]:
    # Newer versions nest the totals in `info`, which is null before the first answer.
    info = table(message.get("info"))
    usage: Usage | None = codex_events.usage_of(info.get("total_token_usage") or message)
    context = codex_events.context_of(info)
    return (Activity(Kind.USAGE, usage=usage, context=context),) if usage or context else ()


def _error(message: Message) -> tuple[Activity, ...]:
    said = text(message.get("message"))
    lowered = said.lower()
    retrying = lowered.startswith("stream error:") and "retrying" in lowered
    return (Activity(Kind.WARNING if retrying else Kind.ERROR, said, reconnects=retrying),)


def _command(message: Message) -> str:
    argv = message.get("command")
    if isinstance(argv, list):
        return " ".join(word if isinstance(word, str) else compact(word) for word in argv)
    return text(argv)


def _command_begin(message: Message) -> tuple[Activity, ...]:
    return (Activity(Kind.COMMAND_STARTED, _command(message), _call(message)),)


def _command_end(message: Message) -> tuple[Activity, ...]:
    code = number(message.get("exit_code"))
    both = text(message.get("stdout")) + text(message.get("stderr"))
    output = text(message.get("aggregated_output")) or both
    duration = _seconds(message.get("duration"))
    failed = code is not None and code != 0
    return (Activity(Kind.COMMAND, _command(message), _call(message), code, output, duration, None, failed),)


def _tool(message: Message) -> str:
    call = table(message.get("invocation"))
    return ".".join(filter(None, (text(call.get("server")), text(call.get("tool"))))) or "tool"


def _tool_begin(message: Message) -> tuple[Activity, ...]:
    return (Activity(Kind.TOOL_STARTED, _tool(message), _call(message)),)


def _tool_end(message: Message) -> tuple[Activity, ...]:
    # A Rust `Result`: {"Ok": ...} or {"Err": ...}.
    result = message.get("result")
    data = table(result)
    failed = "Err" in data or table(data.get("Ok")).get("isError") is True
    value = data.get("Err") if "Err" in data else data.get("Ok", result)
    output, seconds = codex_events.content_text(value), _seconds(message.get("duration"))
    asked = table(message.get("invocation")).get("arguments")
    arguments = "" if asked is None else compact(asked)
    told = (Kind.TOOL_CALL, _tool(message), _call(message), None, output, seconds, None, failed, arguments)
    return (Activity(*told),)


def _patch_begin(message: Message) -> tuple[Activity, ...]:
    changes = table(message.get("changes"))
    rows = (f"{next(iter(table(change)), 'change')} {path}" for path, change in changes.items())
    return (Activity(Kind.FILE_CHANGE, "\n".join(rows), _call(message)),)


def _patch_end(message: Message) -> tuple[Activity, ...]:
    # Only a refusal is news: the beginning named the files.
    if message.get("success") is not False:
        return ()
    said = text(message.get("stderr")) or text(message.get("stdout"))
    return (Activity(Kind.FILE_CHANGE, "", _call(message), output=said, failed=True),)


def _seconds(value: Any) -> float | None:
    """`{"secs": 1, "nanos": 500000000}`, the form of Rust's Duration."""
    parts = table(value)
    secs, nanos = number(parts.get("secs")), number(parts.get("nanos"))
    if secs is None or not 0 <= secs < 2**53 or not 0 <= (nanos or 0) < 10**9:
        return None
    return secs + (nanos or 0) / 1e9


def _call(message: Message) -> str | None:
    return text(message.get("call_id")) or None


_READERS: Mapping[str, Callable[[Message], tuple[Activity, ...]]] = {
    "task_started": lambda _: (Activity(Kind.TURN_STARTED),),
    "agent_message": _said(Kind.MESSAGE, "message"),
    "agent_reasoning": _said(Kind.REASONING, "text"),
    "token_count": _usage,
    "exec_command_begin": _command_begin,
    "exec_command_end": _command_end,
    "mcp_tool_call_begin": _tool_begin,
    "mcp_tool_call_end": _tool_end,
    "web_search_begin": _said(Kind.TOOL_STARTED, "query"),
    "web_search_end": _said(Kind.TOOL_CALL, "query"),
    "web_search_complete": _said(Kind.TOOL_CALL, "query"),
    "patch_apply_begin": _patch_begin,
    "patch_apply_end": _patch_end,
    "turn_aborted": _said(Kind.TURN_FAILED, "reason"),
    "warning": _said(Kind.WARNING, "message"),
    "stream_error": lambda message: (Activity(Kind.WARNING, text(message.get("message")), reconnects=True),),
    "background_event": _said(Kind.OTHER, "message"),
    "plan_update": _said(Kind.OTHER, "explanation"),
    "error": _error,
    # Not printed by the versions read, but they are the closing events of this lineage.
    "task_complete": lambda _: (Activity(Kind.TURN_COMPLETED),),
}
