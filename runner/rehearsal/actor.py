"""Plays a script: a request comes in, the answer goes out. Pure but for its position.

The position in the script is the only state. What belongs to one call (a search before it, the wait for a
long command after it) is read from the call ids that the agent returns.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from itertools import chain

from runner.rehearsal import code_mode
from runner.rehearsal.calls import CallId, NotOffered
from runner.rehearsal.request import Json, ModelRequest, Output, an_object
from runner.rehearsal.script import ScriptError
from runner.rehearsal.texts import NothingCaptured, Texts
from runner.rehearsal.turns import Failure, NumberedTurn, Script, Turn
from runner.rehearsal.wire import Answer, Wire

_ASIDE = "Rehearsal: nothing to sum up; no model was asked."
"""The answer to what the agent asks for itself, e.g. the summary for a compaction."""


class Actor:
    """One performance of a script, for all threads of the agent that talk to the server."""

    def __init__(self, script: Script, task: str, begin: Callable[[], None] = lambda: None) -> None:
        """`begin` raises ScriptError where the script cannot."""
        self._script, self._task, self._begin = script, task, begin
        self._instance = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._position = 0
        self._serial = 0

    def answer(self, request: ModelRequest, wire: Wire) -> Answer:
        """The answer to this request: the next turn, unless the turn before is not yet through."""
        if request.kind != "turn":
            said = json.dumps(_instance(request.schema)) if request.schema else _ASIDE
            return Answer(None, Turn(message=said))
        number: int | None = None
        try:
            pending = self._pending(request)
            if searches := [call_id for call_id, output in pending if output.is_search]:
                number = searches[-1].turn
                return self._after_search(searches[-1], request, wire)
            if unfinished := [(call_id.turn, output.rest) for call_id, output in pending if output.rest]:
                return Answer(unfinished[-1][0], Turn(), tuple(rest for _, rest in unfinished))
            self._refuse_not_offered(pending)
            number, turn = self._take()
            return self._acted(number, turn, request, wire)
        except (NotOffered, NothingCaptured, ScriptError) as error:
            return Answer(number, Turn(failure=Failure(f"rehearsal script: {error}", status=wire.MISTAKE)))

    def _take(self) -> NumberedTurn:
        with self._lock:
            if self._position == 0:
                self._begin()
            self._position += 1
            return self._script.at(self._position - 1)

    def _new_id(self, number: int) -> CallId:
        with self._lock:
            self._serial += 1
            return CallId(self._instance, self._serial, number, 0)

    def _acted(self, number: int, turn: Turn, request: ModelRequest, wire: Wire) -> Answer:
        """The turn with its calls made, or before that a search for a tool that it needs."""
        turn = Texts(self._task, self._script.captures, request, self._script.literal).turn(turn)
        call_id = self._new_id(number)
        for position, call in enumerate(turn.calls):
            if item := wire.search(call, request, call_id._replace(call=position)):
                return Answer(number, Turn(delay_s=turn.delay_s), (item,))
        items = [
            wire.said(call, request, call_id._replace(call=position))
            for position, call in enumerate(turn.calls)
        ]
        return Answer(number, turn, tuple(chain.from_iterable(items)))

    def _pending(self, request: ModelRequest) -> list[tuple[CallId, Output]]:
        """The newest output of each call that this server made in its newest answer."""
        mine = [(CallId.parse(output.call_id), output) for output in request.fresh]
        known = [(c, output) for c, output in mine if c and c.instance == self._instance]
        newest = max((call_id.serial for call_id, _ in known), default=0)
        last = {c.call: (c, output) for c, output in known if c.serial == newest}
        return list(last.values())

    def _after_search(self, searched: CallId, request: ModelRequest, wire: Wire) -> Answer:
        turn = self._script.turns[searched.turn - 1]
        if wire.search(turn.calls[searched.call], request, searched):
            raise NotOffered(turn.calls[searched.call], request.names)
        return self._acted(searched.turn, turn._replace(delay_s=0.0), request, wire)

    def _refuse_not_offered(self, pending: list[tuple[CallId, Output]]) -> None:
        """In code mode only the JavaScript of a call sees which tools there are."""
        for call_id, output in pending:
            if output.text.startswith(code_mode.NOT_OFFERED):
                call = self._script.turns[call_id.turn - 1].calls[call_id.call]
                raise NotOffered(call, output.text.removeprefix(code_mode.NOT_OFFERED).split())


def _instance(schema: Json) -> object:
    """Something of the form that this JSON Schema describes, as far as agents write such schemas."""
    if options := schema.get("enum"):
        return options[0]
    kind = str(schema.get("type", "object")).lower()
    if kind == "object":
        return {key: _instance(an_object(one)) for key, one in an_object(schema.get("properties")).items()}
    return {"array": [], "boolean": False, "integer": 0, "number": 0}.get(kind, _ASIDE)
