"""The event stream of `codex exec --json`. Pure and tolerant: no input makes it raise.

Measured on codex-cli 0.163.0 and 0.169.0; older versions say `item_type` and `assistant_message`.
https://github.com/openai/codex/blob/main/codex-rs/exec/src/exec_events.rs
"""

from __future__ import annotations

from collections.abc import Mapping

from runner.model import Context, Usage
from runner.runtimes.base import Activity, Kind
from runner.runtimes.jsonvalues import compact, count, number, table, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse(record: object) -> tuple[Activity, ...]:
    """What one line tells."""
    if not isinstance(record, Mapping):
        return ()
    kind = text(record.get("type"))
    if kind.startswith("item."):
        return _item(kind, table(record.get("item")))
    if kind == "thread.started":
        thread = text(record.get("thread_id"))
        return (Activity(Kind.THREAD, thread),) if thread else ()
    if kind == "turn.started":
        return (Activity(Kind.TURN_STARTED),)
    if kind == "turn.completed":
        usage = usage_of(record.get("usage"))
        turn = Activity(Kind.TURN_COMPLETED)
        return (Activity(Kind.USAGE, usage=usage), turn) if usage else (turn,)
    if kind == "turn.failed":
        return (Activity(Kind.TURN_FAILED, _message(record.get("error"))),)
    if kind == "error":
        # Runs that reconnect end with status 0: this is no failure, `turn.failed` is.
        message = _message(record.get("message"))
        transient = message.startswith("Reconnecting...")
        return (Activity(Kind.WARNING if transient else Kind.ERROR, message, reconnects=transient),)
    return ()


def usage_of(value: Any) -> Usage | None:
    """Token counts, None for what is not there, and for what no program can have spent."""
    data = table(value)
    told = {name: count(data.get(name)) for name in Usage._fields}
    return Usage(**told) if any(one is not None for one in told.values()) else None


def context_of(info: Any) -> Context | None:
    """Of the `info` of a `token_count`. A request without input is none: a compaction counts like that."""
    data = table(info)
    window, last = count(data.get("model_context_window")), table(data.get("last_token_usage"))
    given = count(last.get("input_tokens"))
    return Context(window or None, given or None) if window or given else None


def _item(event: str, item: Mapping[str, Any]) -> tuple[Activity, ...]:
    kind = text(item.get("type")) or text(item.get("item_type"))
    started, completed = event == "item.started", event == "item.completed"
    if kind == "command_execution":
        return (_command(item, started),) if started or completed else ()
    if kind in ("mcp_tool_call", "collab_tool_call", "web_search"):
        return (_tool(kind, item, started),) if started or completed else ()
    if kind == "todo_list":
        return (Activity(Kind.OTHER, _todo(item), _id(item)),)
    if not completed:
        return ()
    if kind in ("agent_message", "assistant_message"):
        return (Activity(Kind.MESSAGE, text(item.get("text")), _id(item)),)
    if kind == "reasoning":
        return (Activity(Kind.REASONING, text(item.get("text")), _id(item)),)
    if kind == "file_change":
        return (Activity(Kind.FILE_CHANGE, _changes(item), _id(item), failed=_failed(item)),)
    if kind == "error":
        # Warnings about the config and the model arrive like this, in runs that succeed.
        return (Activity(Kind.WARNING, _message(item.get("message")), _id(item)),)
    return (Activity(Kind.OTHER, kind, _id(item)),) if kind else ()


def _command(item: Mapping[str, Any], started: bool) -> Activity:
    command = text(item.get("command")) or compact(item.get("command"))
    if started:
        return Activity(Kind.COMMAND_STARTED, command, _id(item))
    return Activity(
        Kind.COMMAND,
        command,
        _id(item),
        number(item.get("exit_code")),
        text(item.get("aggregated_output")),
        failed=_failed(item),
    )


def _tool(kind: str, item: Mapping[str, Any], started: bool) -> Activity:
    if kind == "web_search":
        name = f"web_search {text(item.get('query'))}".rstrip()
    else:
        name = ".".join(filter(None, (text(item.get("server")), text(item.get("tool")) or kind)))
    if started:
        return Activity(Kind.TOOL_STARTED, name, _id(item))
    output = _message(item.get("error")) or content_text(item.get("result"))
    arguments = "" if item.get("arguments") is None else compact(item["arguments"])
    return Activity(Kind.TOOL_CALL, name, _id(item), output=output, failed=_failed(item), arguments=arguments)


def content_text(result: Any) -> str:
    """The text of an MCP tool result; other content as JSON."""
    content = table(result).get("content")
    if not isinstance(content, list):
        return "" if result is None else text(result) or compact(result)
    return "\n".join(text(table(part).get("text")) or compact(part) for part in content)


def _changes(item: Mapping[str, Any]) -> str:
    changes = item.get("changes")
    if not isinstance(changes, list):
        return ""
    rows = (table(change) for change in changes)
    return "\n".join(f"{text(row.get('kind')) or 'change'} {text(row.get('path'))}" for row in rows)


def _todo(item: Mapping[str, Any]) -> str:
    entries = item.get("items")
    if not isinstance(entries, list):
        return "todo list"
    rows = (table(entry) for entry in entries)
    return "\n".join(
        f"[{'x' if row.get('completed') is True else ' '}] {text(row.get('text'))}" for row in rows
    )


def _failed(item: Mapping[str, Any]) -> bool:
    return item.get("status") in ("failed", "declined") or item.get("error") is not None


def _id(item: Mapping[str, Any]) -> str | None:
    return text(item.get("id")) or None


def _message(value: Any) -> str:
    """The text of an error, which is an object with a `message` or a plain string."""
    if isinstance(value, Mapping):
        return text(value.get("message")) or compact(value)
    return "" if value is None else text(value) or compact(value)
