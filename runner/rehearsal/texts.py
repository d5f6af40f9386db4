"""The names in braces that a script's texts may use: task, last output, captures. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from runner.rehearsal.calls import CallId
from runner.rehearsal.request import ModelRequest
from runner.rehearsal.turns import Call, Capture, PatchCall, ShellCall, ToolCall, Turn


class NothingCaptured(Exception):
    """A text uses a capture whose pattern is nowhere in the request."""


class Texts(NamedTuple):
    """Fills texts for one request. Other braces stay as they are: shell commands have many."""

    task: str
    captures: tuple[Capture, ...]
    request: ModelRequest
    literal: bool = False

    def turn(self, turn: Turn) -> Turn:
        """The turn with all its texts filled."""
        if self.literal:
            return turn
        failure = turn.failure
        return turn._replace(
            message=None if turn.message is None else self.fill(turn.message),
            calls=tuple(self._call(call) for call in turn.calls),
            failure=failure and failure._replace(message=self.fill(failure.message)),
        )

    def fill(self, text: str) -> str:
        names = ["task", "last_output", *(capture.name for capture in self.captures)]
        return re.sub(rf"\{{({'|'.join(names)})\}}", lambda match: self._value(match[1]), text)

    def _call(self, call: Call) -> Call:
        if isinstance(call, ShellCall):
            return ShellCall(self.fill(call.command))
        if isinstance(call, PatchCall):
            return PatchCall(self.fill(call.text))
        filled = {key: self._filled(value) for key, value in call.arguments.items()}
        return ToolCall(call.server, call.name, filled)

    def _filled(self, value: object) -> object:
        if isinstance(value, str):
            return self.fill(value)
        if isinstance(value, dict):
            return {key: self._filled(item) for key, item in value.items()}
        return [self._filled(item) for item in value] if isinstance(value, list) else value

    def _value(self, name: str) -> str:
        if name == "task":
            return self.task
        if name == "last_output":
            return last_output(self.request)
        pattern = next(capture.pattern for capture in self.captures if capture.name == name)
        outputs = (output.text for output in reversed(self.request.outputs))
        for text in (*reversed(self.request.prompts), *outputs):
            if match := pattern.search(text):
                return match[1] or ""
        raise NothingCaptured(
            f"capture `{name}`: `{pattern.pattern}` is neither in the prompt nor in a tool's output"
        )


def last_output(request: ModelRequest) -> str:
    """What the last call printed, its parts together if it came in parts; empty without one."""
    outputs = [(CallId.parse(output.call_id), output) for output in request.outputs]
    outputs = [(call_id, output) for call_id, output in outputs if not output.is_search]
    if not outputs:
        return ""
    last, output = outputs[-1]
    if last is None:
        return output.text.rstrip("\n")
    # The outputs of one turn may come in any order; the last call of the script is the last.
    answers = [(c, o) for c, o in outputs if c and (c.instance, c.serial) == last[:2]]
    call = max(call_id.call for call_id, _ in answers)
    parts = sorted((c.step, o.text) for c, o in answers if c.call == call)
    return "".join(text for _, text in parts).rstrip("\n")
