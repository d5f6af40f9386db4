"""The event stream of `gemini -o stream-json`. Pure and tolerant: no input makes it raise.

A message comes in pieces, and nothing marks its last one: it is whole when something else follows. A call
that ends has its id alone. Measured on 0.61.0.
"""

from __future__ import annotations

from collections.abc import Mapping

from runner.model import Usage
from runner.runtimes.base import Activity, Kind, ObservedSettings
from runner.runtimes.jsonvalues import answer_of, compact, count, number, table, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SERVER = "mcp_delegation_"
_FILES = {"write_file": "write", "replace": "update"}
_EXITED = "Command exited with code: "
API_ERROR = "[API Error"
_STOPS = ("Loop detected", "Agent execution ")
_MOST_OPEN = 256


class GeminiStream:
    """The lines of one process, in their order."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._open: dict[str, Activity] = {}
        self._stopped: str | None = None
        """Why it stopped, until the model answers again: its last line calls even that a success."""

    def read(self, record: object) -> tuple[Activity, ...]:
        """What one line tells."""
        if not isinstance(record, Mapping):
            return ()
        kind = text(record.get("type"))
        if kind == "message" and record.get("role") == "assistant":
            return self._piece(record)
        whole = self._message()
        read = {
            **{"init": _begun, "tool_use": self._call, "tool_result": self._answered},
            **{"error": self._error, "result": self._ended},
        }.get(kind)
        return whole if read is None else (*whole, *read(record))

    def _piece(self, record: Mapping[str, Any]) -> tuple[Activity, ...]:
        self._stopped = None
        whole = () if record.get("delta") is True else self._message()
        self._said.append(text(record.get("content")))
        return whole

    def _message(self) -> tuple[Activity, ...]:
        said = "".join(self._said)
        self._said.clear()
        return (Activity(Kind.MESSAGE, said),) if said else ()

    def _call(self, record: Mapping[str, Any]) -> tuple[Activity, ...]:
        self._stopped = None
        name, item = text(record.get("tool_name")) or "tool", text(record.get("tool_id")) or None
        given = table(record.get("parameters"))
        if name == "run_shell_command":
            begun = Activity(Kind.COMMAND_STARTED, text(given.get("command")), item)
        else:
            called = f"delegation.{name.removeprefix(_SERVER)}" if name.startswith(_SERVER) else name
            begun = Activity(Kind.TOOL_STARTED, called, item, arguments=compact(given))
        if item is not None:
            path = text(given.get("file_path"))
            is_file = name in _FILES and path
            self._open[item] = (
                begun.replace(text=f"{_FILES[name]} {path}", arguments="") if is_file else begun
            )
            if len(self._open) > _MOST_OPEN:
                del self._open[next(iter(self._open))]
        return (begun,)

    def _answered(self, record: Mapping[str, Any]) -> tuple[Activity, ...]:
        item, output = text(record.get("tool_id")) or None, text(record.get("output"))
        begun = self._open.pop(item or "", None) or Activity(Kind.TOOL_STARTED, "tool")
        failed = record.get("status") != "success"
        ended = begun.replace(kind=Kind.TOOL_CALL, item=item, output=output, failed=failed)
        if begun.kind is Kind.COMMAND_STARTED:
            code = _exit_code(output)
            ended = ended.replace(kind=Kind.COMMAND, exit_code=code, failed=failed or bool(code))
        elif begun.text.partition(" ")[0] in _FILES.values():
            ended = ended.replace(kind=Kind.FILE_CHANGE)
        error = table(record.get("error"))
        if error.get("type") == "policy_violation":
            return ended, Activity(Kind.REFUSED, f"{begun.text}: {text(error.get('message'))}")
        return (ended,)

    def _error(self, record: Mapping[str, Any]) -> tuple[Activity, ...]:
        said = text(record.get("message"))
        if record.get("severity") == "error" or said.startswith(_STOPS):
            self._stopped = said
            return (Activity(Kind.ERROR, said),)
        return (Activity(Kind.WARNING, said),)

    def _ended(self, record: Mapping[str, Any]) -> tuple[Activity, ...]:
        usage, told = _usage(table(record.get("stats"))), text(table(record.get("error")).get("message"))
        if record.get("status") == "success" and self._stopped is None:
            return (Activity(Kind.TURN_COMPLETED, usage=usage),)
        status, said = _answer(told or self._stopped or "the turn failed without a message")
        return (Activity(Kind.TURN_FAILED, said, usage=usage, status=status),)


def _begun(record: Mapping[str, Any]) -> tuple[Activity, ...]:
    session, model = text(record.get("session_id")), text(record.get("model")) or None
    thread = (Activity(Kind.THREAD, session),) if session else ()
    return (*thread, Activity(Kind.TURN_STARTED, observed=ObservedSettings(model)))


def _exit_code(output: str) -> int | None:
    """It tells the status of a command that printed nothing, and no other one."""
    code = output.removeprefix(_EXITED)
    return int(code) if code != output and code.isascii() and code.isdecimal() and len(code) < 4 else None


def _answer(said: str) -> tuple[int | None, str]:
    """The status and the message of the service, where this has its answer: `[API Error: {"error":{...}}]`.
    Of another error of the service the beginning stays, as a sign of what it is.
    """
    if said.startswith(API_ERROR):
        answer = answer_of(said)
        return number(answer.get("code")), text(answer.get("message")) or said
    return None, said


def _usage(stats: Mapping[str, Any]) -> Usage | None:
    """Its total counts thoughts and what tools cost, which `output_tokens` does not have."""
    given, total, said = (
        count(stats.get(name)) for name in ("input_tokens", "total_tokens", "output_tokens")
    )
    if given is None:
        return None
    output = said if total is None else max(total - given, said or 0)
    return Usage(given, count(stats.get("cached")), output)
