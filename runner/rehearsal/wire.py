"""What a wire of a model's API has to do for a script, and the answer that it carries. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from runner.rehearsal.calls import CallId
from runner.rehearsal.request import Json, ModelRequest
from runner.rehearsal.turns import Call, Failure, Turn


class Answer(NamedTuple):
    """What goes back. `turn` is the number in the script, None for an aside. The items are calls, as the wire
    of the request writes them.
    """

    turn: int | None
    what: Turn
    items: tuple[Json, ...] = ()

    def summary(self) -> list[str]:
        """The kinds of what it has, for the log."""
        turn = self.what
        if turn.failure is not None:
            return [f"error {turn.failure.status or turn.failure.code}"]
        said = [] if turn.message is None else ["message"]
        made = [str(item.get("name") or item["type"]) for item in self.items]
        return said + made + ([] if turn.ending == "complete" else [turn.ending])


class Wire(Protocol):
    """A module for each API. Everything but this is the same for all of them."""

    MISTAKE: int
    """The status for a mistake of the script: one that the agent does not retry, and whose message it shows
    as it is.
    """

    def read(self, body: Json, path: str) -> ModelRequest:
        """The request in this body. What is missing or of an unknown shape is left out."""

    def said(self, call: Call, request: ModelRequest, call_id: CallId) -> tuple[Json, ...]:
        """The items that make this call; NotOffered where the request has no tool for it."""

    def search(self, call: Call, request: ModelRequest, call_id: CallId) -> Json | None:
        """The item that asks for the tool of this call, if it is kept back until then."""

    def body(self, answer: Answer, number: int, request: ModelRequest) -> Iterator[bytes]:
        """The answer piece by piece, as a stream or whole; one that is to break off just ends early."""

    def error(self, failure: Failure) -> Json:
        """The JSON body of an error, as the API writes it."""
