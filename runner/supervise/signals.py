"""Signs in the event stream that a run is stuck: it repeats itself, or has lost its model. Pure.

Counts decide: the same event so many times in a row, so many lost connections in a row.
"""

from __future__ import annotations

from runner.model import Reason
from runner.runtimes.base import ANSWERS, Activity, Kind
from runner.runtimes.endings import first_line, is_about_access

_SHOWN = 200
_WAITS = "delegation."
"""Tools of our own server: waiting for a child or an answer repeats the same call with the same result."""

_NAMES = {
    Kind.COMMAND: "command",
    Kind.TOOL_CALL: "tool call",
    Kind.FILE_CHANGE: "refused change",
    Kind.MESSAGE: "message",
    Kind.ERROR: "error",
}


class Signals:
    """Fed with every activity in its order. `repeats` and `reconnects` are the limits; None is none."""

    def __init__(self, repeats: int | None, reconnects: int | None) -> None:
        self._most_repeats = repeats
        self._most_reconnects = reconnects
        self._acts = _Row()
        self._messages = _Row()
        self._errors = _Row()
        self.reconnects = 0
        """In a row: an answer of the model ends them."""
        self.reason: Reason | None = None
        """Why the run ought to be stopped; the first reason stays."""

    def note(self, activity: Activity) -> None:
        """Takes in what the stream tells next."""
        if activity.fatal:
            hint = "`runner logs RUN` has more; run by hand what did not start"
            self.reason = self.reason or Reason("cli_failure", _shown(activity.text), hint)
        if activity.reconnects:
            self.reconnects += 1
            self._judge_reconnects(activity)
            return
        if activity.kind in ANSWERS:
            self.reconnects, self._errors = 0, _Row()
        content = _content(activity)
        row = self._row(activity, content)
        if row is not None:
            self._judge_repeats(activity, row.take(content))

    def _row(self, activity: Activity, content: int) -> _Row | None:
        """Where it is counted; None: nowhere.

        What the agent says between two acts does not make them different, and acts that differ make what it
        says between them no repetition. A change that was made is always something new, and of what has no
        name nobody knows whether it is the same.
        """
        kind = activity.kind
        if kind is Kind.MESSAGE:
            return self._messages
        if kind is Kind.ERROR:
            return self._errors
        if kind is Kind.TOOL_CALL and activity.text.startswith(_WAITS):
            return None
        if kind is Kind.FILE_CHANGE and not activity.failed:
            self._acts, self._messages = _Row(), _Row()
            return None
        if kind not in (Kind.COMMAND, Kind.TOOL_CALL, Kind.FILE_CHANGE) or not activity.text:
            return None
        if not self._acts.is_last(content):
            self._messages = _Row()
        return self._acts

    def _judge_repeats(self, activity: Activity, times: int) -> None:
        most = self._most_repeats
        if most is None or times < most or self.reason is not None:
            return
        self.reason = Reason(
            "stalled",
            f"the same {_NAMES[activity.kind]} came {times} times in a row: {_shown(activity.text)}",
            "`runner logs RUN` shows where it was stuck; `repeats` in the limits of the task sets the number",
            _shown(activity.output) or None,
        )

    def _judge_reconnects(self, activity: Activity) -> None:
        """No fault of the task's: the codes are those of a program that gives up its model by itself."""
        most = self._most_reconnects
        if most is None or self.reconnects <= most or self.reason is not None:
            return
        code = "auth_or_quota" if is_about_access(activity.text, activity.status) else "cli_failure"
        self.reason = Reason(
            code,
            f"lost its model {self.reconnects} times in a row: {_shown(activity.text)}",
            "check network, proxy and provider, then start it again; "
            "`reconnects` in the limits of the task sets the number",
        )


class _Row:
    """How often the last content came in a row. Keeps a number, not the content, which may be a megabyte."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._times = 0

    def is_last(self, content: int) -> bool:
        return content == self._last

    def take(self, content: int) -> int:
        self._times = self._times + 1 if self.is_last(content) else 1
        self._last = content
        return self._times


def _content(activity: Activity) -> int:
    told = (activity.text, activity.arguments, activity.output, activity.exit_code, activity.failed)
    return hash((activity.kind, *told))


def _shown(text: str) -> str:
    return first_line(text, _SHOWN)
