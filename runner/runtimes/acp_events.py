"""The lines of our bridge to an ACP agent, and its end. Pure and tolerant: no line makes it raise.

A message comes in pieces, and nothing marks its last one. A call may be told at its end alone (Gemini CLI),
or first without what it does (OpenCode). https://agentclientprotocol.com/protocol/tool-calls
"""

from __future__ import annotations

from runner.model import Context, Outcome, Reason, Usage
from runner.runtimes import endings
from runner.runtimes.base import THREAD_GONE, Activity, End, Kind, ObservedSettings
from runner.runtimes.jsonvalues import answer_of, compact, count, number, table, tables, text
from runner.text.words import shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.model import Json

    Told = tuple[Activity, ...]

_AUTH_REQUIRED = -32000
_CHANGES = {"edit": "update", "delete": "delete", "move": "move"}
_STOPS = {
    "max_tokens": "context_full: the model has used up its tokens",
    "max_turn_requests": "cli_failure: the agent has made as many requests as it may in a turn",
    "refusal": "request_refused: the agent refuses to go on",
    "cancelled": "cli_failure: the turn was cancelled",
}
_REFUSED = "`runner report` shows what was refused"
_MOST_OPEN = 256


class AcpStream:
    """The lines of one bridge, in their order."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._calls: dict[str, dict[str, Any]] = {}

    def read(self, record: object) -> Told:
        """What one line tells."""
        line = table(record)
        update = table(line.get("update"))
        if update.get("sessionUpdate") == "agent_message_chunk":
            self._said.append(text(table(update.get("content")).get("text")))
            return ()
        read = {
            **{"session": _session, "ended": _ended, "failed": _failed, "refused": _refused},
            **{"decided": self._decided, "update": self._update},
        }.get(text(line.get("type")))
        if read is None:
            return ()  # also where our bridge waits, or passes over what the agent asks for
        said = "".join(self._said)
        self._said.clear()
        return (*((Activity(Kind.MESSAGE, said),) if said else ()), *read(line))

    def _update(self, line: Json) -> Told:
        update = table(line.get("update"))
        if update.get("sessionUpdate") == "usage_update":
            told = Context(*(count(update.get(name)) for name in ("size", "used")))
            return (Activity(Kind.USAGE, context=told),) if told != Context() else ()
        is_call = update.get("sessionUpdate") in ("tool_call", "tool_call_update")
        return self._call(update) if is_call else ()

    def _decided(self, line: Json) -> Told:
        call = table(line.get("call"))
        if line.get("allowed") is True:
            return self._call({**call, "status": "in_progress"})
        said = text(call.get("title")) or "a call"
        return (Activity(Kind.REFUSED, f"{said}: {text(line.get('why'))}"),)

    def _call(self, told: Json) -> Told:
        """An update has only what is new."""
        item, status = text(told.get("toolCallId")), told.get("status")
        before = self._calls.pop(item, {})
        call = {**before, **{name: value for name, value in told.items() if value not in (None, [], {})}}
        if status in ("completed", "failed"):
            return (_end(call, status == "failed"),)
        if len(self._calls) < _MOST_OPEN:
            self._calls[item] = call
        if status != "in_progress" or before.get("status") == status:
            return ()
        shown = _shown(call)
        kind = Kind.COMMAND_STARTED if shown.kind is Kind.COMMAND else Kind.TOOL_STARTED
        return (shown.replace(kind=kind),)


def _shown(call: Json) -> Activity:
    """What the call does, as the activity that its end is."""
    kind, title, given = text(call.get("kind")), text(call.get("title")) or "tool", call.get("rawInput")
    item, usual = text(call.get("toolCallId")), _CHANGES.get(kind)
    if kind == "execute":
        return Activity(Kind.COMMAND, text(table(given).get("command")) or title, item)
    paths = {text(one.get("path")): usual for one in tables(call.get("locations"))}
    for part in tables(call.get("content")):
        if part.get("type") == "diff":
            paths[text(part.get("path"))] = usual if part.get("oldText") else "add"
    if usual and paths:
        return Activity(Kind.FILE_CHANGE, "\n".join(f"{how} {path}" for path, how in paths.items()), item)
    return Activity(Kind.TOOL_CALL, title, item, arguments=compact(given) if given else "")


def _end(call: Json, failed: bool) -> Activity:
    raw, shown = table(call.get("rawOutput")), _shown(call)
    said = (text(table(part.get("content")).get("text")) for part in tables(call.get("content")))
    output = "\n".join(filter(None, said)) or text(raw.get("output"))
    code = number(table(raw.get("metadata")).get("exit")) if shown.kind is Kind.COMMAND else None
    return shown.replace(output=output, exit_code=code, failed=failed or bool(code))


def _session(line: Json) -> Told:
    seen = ObservedSettings(text(line.get("model")) or None, approval=text(line.get("mode")) or None)
    return Activity(Kind.THREAD, text(line.get("id"))), Activity(Kind.TURN_STARTED, observed=seen)


def _failed(line: Json) -> Told:
    return (Activity(Kind.TURN_FAILED, f"{text(line.get('code'))}: {text(line.get('message'))}"),)


def _ended(line: Json) -> Told:
    answer = table(line.get("answer"))
    why, usage = text(answer.get("stopReason")), _usage(answer)
    if why == "end_turn":
        return (Activity(Kind.TURN_COMPLETED, usage=usage),)
    said = _STOPS.get(why, f"cli_failure: the turn ended with the stop reason `{shortened(why, 100)}`")
    return (Activity(Kind.TURN_FAILED, said, usage=usage),)


def _usage(answer: Json) -> Usage | None:
    """Its input has no tokens of a cache: the total has. Gemini CLI tells tokens in a place of its own."""
    told, meta = table(answer.get("usage")), table(answer.get("_meta"))
    own = table(table(meta.get("quota")).get("token_count"))
    if not told:
        return Usage(count(own.get("input_tokens")), None, count(own.get("output_tokens"))) if own else None
    names = ("input", "output", "total", "cachedRead")
    given, said, total, cached = (count(told.get(f"{name}Tokens")) for name in names)
    if total is not None and said is not None:
        given = max(total - said, given or 0)
    return Usage(given, cached, said)


def _refused(line: Json) -> Told:
    """An answer that is an error. A status of the model's service is where an agent happens to put it."""
    error, method = table(line.get("error")), text(line.get("method"))
    data, code, told = (
        table(error.get("data")),
        number(error.get("code")),
        answer_of(text(error.get("message"))),
    )
    said = text(told.get("message")) or text(error.get("message")) or "no reason is given"
    details = text(data.get("details"))
    said = f"{said}: {details}" if details else said
    places = map(number, (data.get("status"), data.get("statusCode"), told.get("code"), code))
    status = next((one for one in places if one is not None and 400 <= one < 600), None)
    if status is None:
        kind = {"session/prompt": "cli_failure", "session/load": "gone", "session/resume": "gone"}
        what = "auth_or_quota" if code == _AUTH_REQUIRED else kind.get(method, "misconfigured")
        said = f"{what}: the agent refused `{method}`: {said}"
    return (Activity(Kind.TURN_FAILED, said, status=status),)


def conclude(end: End, login: str) -> tuple[Outcome, Reason]:
    """Outcome and reason; success only where the agent ended its turn by itself and the bridge says so."""
    if end.turn is Kind.TURN_COMPLETED and end.exit_code == 0 and not end.last_message:
        # OpenCode ends its turn so where a call is refused.
        return endings.failed("result_missing", "the agent ended its turn without a word", _REFUSED, end)
    if ending := endings.plain(end, "the bridge ended without a word of the turn", "start it again"):
        return ending
    if ending := endings.answered(end, "acp", login):
        return ending
    if end.turn is not Kind.TURN_FAILED:
        return endings.failed("cli_failure", "the bridge to the agent failed", "see the end of stderr", end)
    code, _, said = endings.told(end).partition(": ")
    hint: str | None = "see [runtimes.acp], and what stderr tells"
    if code == "cli_failure":
        if ending := endings.auth_or_quota(said, end, "acp", login):
            return ending
        code, hint = endings.unchanged_by_waiting(said) or (code, hint)
    elif code == "gone":
        code, hint = "cli_failure", THREAD_GONE
    elif code == "auth_or_quota":
        hint = login
    return endings.failed(code, endings.first_line(said), hint, end)
