"""The event stream of `claude -p --output-format stream-json`. Tolerant: no input makes it raise.

Measured on Claude Code 2.1.332. https://code.claude.com/docs/en/headless
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.model import Context, Level, Usage
from runner.runtimes.base import Activity, Kind, ObservedSettings
from runner.runtimes.codex_events import content_text
from runner.runtimes.jsonvalues import compact, count, number, table, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Line = Mapping[str, Any]

_MOST = 2**53
_CHANGES = {"Write": "file_path", "Edit": "file_path", "NotebookEdit": "notebook_path"}
_WRITERS = {"Bash", *_CHANGES}
_WHAT = ("command", "file_path", "notebook_path")
_RESULT = "StructuredOutput"
"""The tool with which a result is handed in: the last line has it as well."""
_EXIT = r"Exit code (\d{1,3})(?:\n|\Z)"
_CAUSES = {
    "authentication_failed": 401,
    "billing_error": 402,
    "rate_limit": 429,
    "overloaded": 529,
}
"""Names that `error` may have where no status is told."""


class ClaudeStream:
    """Reads one attempt: remembers what it was told of open calls, of tokens and of refusals."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[str, Line]] = {}
        self._usage: dict[str, Usage] = {}
        self._model = ""
        self._refused: set[str] = set()
        self._lacks = ""

    def read(self, record: object) -> tuple[Activity, ...]:
        """What one line tells."""
        if not isinstance(record, Mapping):
            return ()
        kind = record.get("type")
        if kind == "system":
            return self._system(record)
        if kind == "assistant":
            return self._assistant(record)
        if kind == "user":
            parts = table(record.get("message")).get("content")
            results = (table(part) for part in parts) if isinstance(parts, list) else ()
            kept = (part for part in results if part.get("type") == "tool_result")
            return tuple(told for part in kept for told in self._ended(part, record))
        return self._ending(record) if kind == "result" else ()

    def _system(self, line: Line) -> tuple[Activity, ...]:
        kind = line.get("subtype")
        if kind == "init":
            thread = Activity(Kind.THREAD, text(line.get("session_id")), observed=_observed(line))
            servers = line.get("mcp_servers")
            rows = map(table, servers) if isinstance(servers, list) else ()
            lost = [row for row in rows if row.get("status") not in ("connected", "pending")]
            named = (f"MCP server {text(row.get('name'))}: {text(row.get('status'))}" for row in lost)
            warnings = tuple(Activity(Kind.WARNING, one) for one in named)
            if any(row.get("name") == "delegation" for row in lost):
                # It works without its servers; Codex can be told that ours is required.
                self._lacks = "the required MCP server delegation did not start"
                warnings = (*warnings, Activity(Kind.ERROR, self._lacks, fatal=True))
            return (*((thread,) if thread.text else ()), Activity(Kind.TURN_STARTED), *warnings)
        if kind == "api_retry":
            status, cause = number(line.get("error_status")), text(line.get("error"))
            said = f"the model failed ({status or cause or 'no answer'}), attempt {line.get('attempt')}"
            status = _CAUSES.get(cause) if status is None else status
            return (Activity(Kind.WARNING, said, reconnects=True, status=status),)
        if kind == "permission_denied":
            item, message = text(line.get("tool_use_id")), text(line.get("message"))
            return self._refusal(item, text(line.get("tool_name")), None, message)
        return ()

    def _assistant(self, line: Line) -> tuple[Activity, ...]:
        message = table(line.get("message"))
        parts = message.get("content")
        blocks = [table(part) for part in parts] if isinstance(parts, list) else []
        if line.get("error") is not None or line.get("api_error") is not None:
            # Its own words for a failed call, in the place of an answer; the last line has the status.
            said = "\n".join(text(one.get("text")) for one in blocks)
            return (Activity(Kind.ERROR, said, status=_CAUSES.get(text(line.get("error")))),)
        shown = {text(table(one).get("id")): table(one) for one in _rows(line.get("tool_use_meta"))}
        told = [one for block in blocks for one in self._said(block, shown)]
        usage, key = usage_of(message.get("usage")), text(message.get("id"))
        if usage is not None and usage.total and key and usage != self._usage.get(key):
            self._usage[key] = usage  # each part of an answer comes with the same
            is_own = line.get("parent_tool_use_id") is None  # and no sub-agent's, which has its own window
            self._model = text(message.get("model")) if is_own else self._model
            used = Context(used=usage.input_tokens) if is_own else None
            told.append(Activity(Kind.USAGE, usage=_sum(self._usage.values()), context=used))
        return tuple(told)

    def _said(self, block: Line, shown: Mapping[str, Line]) -> tuple[Activity, ...]:
        kind = block.get("type")
        if kind == "text":
            return (Activity(Kind.MESSAGE, text(block.get("text"))),)
        if kind == "thinking":
            return (Activity(Kind.REASONING, text(block.get("thinking"))),)
        if kind != "tool_use":
            return ()
        name, item, asked = text(block.get("name")), text(block.get("id")), table(block.get("input"))
        if server := text(shown.get(item, {}).get("server_display_name")):
            name = f"{server}.{text(shown[item].get('tool_name'))}"
        elif name.startswith("mcp__"):
            name = name.removeprefix("mcp__").replace("__", ".", 1)
        self._calls[item] = (name, asked)
        if name in _CHANGES or name == _RESULT:
            return ()  # told when it is done, as only then it is known what came of it
        if name == "Bash":
            return (Activity(Kind.COMMAND_STARTED, text(asked.get("command")), item or None),)
        return (Activity(Kind.TOOL_STARTED, name, item or None, arguments=compact(asked)),)

    def _ended(self, part: Line, line: Line) -> tuple[Activity, ...]:
        item, failed = text(part.get("tool_use_id")), part.get("is_error") is True
        name, asked = self._calls.pop(item, ("", {}))
        output = text(part.get("content")) or content_text(part)
        if name == _RESULT:
            return ()
        if name == "Bash":
            code = re.match(_EXIT, output) if failed else None
            number_of = int(code[1]) if code else None if failed else 0
            command = text(asked.get("command"))
            return (Activity(Kind.COMMAND, command, item, number_of, output, failed=failed),)
        if name in _CHANGES:
            made = table(line.get("tool_use_result")).get("type") == "create"
            said = f"{'add' if made else 'update'} {text(asked.get(_CHANGES[name]))}"
            return (Activity(Kind.FILE_CHANGE, said, item, output=output if failed else "", failed=failed),)
        asked_for = compact(asked) if name else ""
        told = Activity(Kind.TOOL_CALL, name, item or None, output=output, failed=failed)
        return (told.replace(arguments=asked_for),)

    def _refusal(self, item: str, name: str, asked: Any, message: str) -> tuple[Activity, ...]:
        if item in self._refused:
            return ()
        self._refused.add(item)
        known, about = self._calls.get(item, (name, {}))
        about = {**table(asked), **about}
        what = next(filter(None, (text(about.get(key)) for key in _WHAT)), "")
        said = f"{known or name} {what}".rstrip() + (f": {message.split('. ', 1)[0]}" if message else "")
        return (Activity(Kind.REFUSED, said, item or None),)

    def _ending(self, line: Line) -> tuple[Activity, ...]:
        told: list[Activity] = []
        for row in map(table, _rows(line.get("permission_denials"))):
            asked = row.get("tool_input")
            told += self._refusal(text(row.get("tool_use_id")), text(row.get("tool_name")), asked, "")
        usage, cost = usage_of(line.get("usage")), _cost(line)
        whole = _cost({"total_cost_usd": line.get("total_cost_usd")})
        before = None if cost is None or whole is None else max(0.0, whole - cost)
        if usage is not None or cost is not None:
            told.append(
                Activity(Kind.USAGE, usage=usage, cost=cost, cost_before=before, context=self._window(line))
            )
        why = text(line.get("terminal_reason"))
        if line.get("is_error") is False and why == "completed":
            if line.get("structured_output") is not None:
                told.append(Activity(Kind.MESSAGE, compact(line["structured_output"])))
            ended = Activity(Kind.TURN_FAILED, self._lacks) if self._lacks else Activity(Kind.TURN_COMPLETED)
            return (*told, ended)
        errors = "\n".join(one for one in _rows(line.get("errors")) if isinstance(one, str))
        said = errors or text(line.get("result")) or text(line.get("subtype"))
        if why not in ("", "api_error", "completed"):
            said = f"{why}: {said}"
        status = number(line.get("api_error_status"))
        if status is None and re.match(r"Not logged in\b|Invalid API key\b", said):
            status = 401
        return (*told, Activity(Kind.TURN_FAILED, said, status=status))

    def _window(self, line: Line) -> Context | None:
        """That of the model which it has asked last, or of the only one."""
        rows = table(line.get("modelUsage"))
        row = rows.get(self._model, next(iter(rows.values())) if len(rows) == 1 else None)
        size = count(table(row).get("contextWindow"))
        return Context(size) if size else None


def usage_of(value: Any) -> Usage | None:
    """Token counts of an answer or of a process, as `model.Usage` has them: cached input is input as well."""
    data = table(value)
    details = table(data.get("output_tokens_details"))
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    parts = [count(data.get(name)) for name in names]
    output, cached = count(data.get("output_tokens")), parts[2]
    if parts[0] is None and output is None:
        return None
    return Usage(sum(part or 0 for part in parts), cached, output, count(details.get("thinking_tokens")))


def _cost(line: Line) -> float | None:
    """Of this process; `total_cost_usd` goes on from the processes before it in the session."""
    models = table(line.get("model_usage_since_last_result")).values()
    told = [table(one).get("costUSD") for one in models] or [line.get("total_cost_usd")]
    known = [one for one in told if isinstance(one, int | float) and 0 <= one < _MOST]
    return float(sum(known)) if len(known) == len(told) else None


def _sum(all_of_them: Any) -> Usage:
    rows = list(all_of_them)
    return Usage(**{name: sum(getattr(one, name) or 0 for one in rows) for name in Usage._fields})


def _observed(line: Line) -> ObservedSettings:
    """What `init` says. It has no word of the network, nor of the effort."""
    mode, tools = text(line.get("permissionMode")), line.get("tools")
    boxed, names = line.get("sandbox_enabled"), set(filter(None, map(text, _rows(tools))))
    level = f"{mode} with sandbox {'on' if boxed is True else 'off'}"
    network: bool | None = None
    if mode == "bypassPermissions" and boxed is not True:
        level, network = Level.DANGER.value, True
    elif mode == "dontAsk" and isinstance(tools, list) and not names & _WRITERS:
        level, network = Level.READ_ONLY.value, bool(names & {"WebFetch", "WebSearch"})
    elif mode == "dontAsk" and boxed is True:
        level = Level.WORKSPACE_WRITE.value
    return ObservedSettings(text(line.get("model")) or None, level, network, mode or None)


def _rows(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
