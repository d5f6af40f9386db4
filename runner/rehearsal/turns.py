"""The vocabulary of a rehearsal: what a scripted model does, request by request. Pure values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

Ending: TypeAlias = Literal["complete", "cut", "hang"]


class TurnUsage(NamedTuple):
    """The tokens that an answer claims to have cost: none, unless the script says otherwise."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_output_tokens: int = 0


class ShellCall(NamedTuple):
    command: str


class ToolCall(NamedTuple):
    """A call of an MCP tool, by the names that the configuration and the server use."""

    server: str
    name: str
    arguments: Mapping[str, object]


class PatchCall(NamedTuple):
    text: str


Call: TypeAlias = ShellCall | ToolCall | PatchCall


class Failure(NamedTuple):
    """An error answer. Without a status it comes inside the stream, as `response.failed`."""

    message: str
    status: int | None = None
    code: str | None = None
    resets_at: int | None = None


class Turn(NamedTuple):
    """What the model does with one request."""

    message: str | None = None
    repeat: int = 1
    calls: tuple[Call, ...] = ()
    failure: Failure | None = None
    ending: Ending = "complete"
    delay_s: float = 0.0
    times: int = 1
    usage: TurnUsage = TurnUsage()

    @property
    def is_final_message(self) -> bool:
        """Whether this turn ends the model's work with something said."""
        return self.message is not None and not self.calls and self.ending == "complete"


class Capture(NamedTuple):
    """A name for what a pattern finds; `{name}` in a text stands for it."""

    name: str
    pattern: re.Pattern[str]


class NumberedTurn(NamedTuple):
    number: int
    turn: Turn


class Script(NamedTuple):
    """All turns in their order. `retries` is how often the agent repeats a request that failed; the texts of
    a `literal` one stand for nothing but themselves. `begins_with` has what files it is for: the SHA-256 of
    each, of a link that of its target; nothing where there is none.
    """

    turns: tuple[Turn, ...]
    captures: tuple[Capture, ...] = ()
    retries: int = 0
    literal: bool = False
    begins_with: tuple[tuple[str, str], ...] = ()

    def at(self, position: int) -> NumberedTurn:
        """The turn of the request at `position` (from 0), with its number in the file (from 1)."""
        numbered = tuple(NumberedTurn(n, turn) for n, turn in enumerate(self.turns, start=1))
        for entry in numbered:
            if position < entry.turn.times:
                return entry
            position -= entry.turn.times
        for entry in reversed(numbered):
            if entry.turn.is_final_message:
                return entry
        return NumberedTurn(len(numbered) + 1, Turn(message="Rehearsal: the script is over."))
