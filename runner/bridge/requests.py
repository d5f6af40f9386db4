"""What becomes of an agent's requests for permission. Edge: questions of the run.

Nothing in a request is obeyed. Its kind can only narrow what is allowed, its words are shown to who answers,
and of its options only those that are meant for one call are ever chosen.
"""

from __future__ import annotations

import asyncio
import os

from runner.errors import RunnerError
from runner.model import Level
from runner.runtimes.jsonvalues import compact, table, tables, text
from runner.state import questions
from runner.state.store import RunDir
from runner.text.words import one_line, shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runner.model import Json
    from runner.runtimes.base import CommandRequest

_READS = ("read", "search", "think")
_LOOK_S = 0.5
_LONGEST = 4000


class Requests:
    """Of one session. `say` prints a line of the stream."""

    def __init__(self, request: CommandRequest, say: Callable[[dict[str, Any]], None]) -> None:
        self._settings, self._sandbox, self._say = request.settings, request.sandbox, say
        usual = "allow" if request.sandbox.level is Level.DANGER else "ask"
        self._policy = request.settings.permissions or usual
        self._run = RunDir.from_path(os.path.dirname(request.last_message_path))
        self.agent = "without a name"
        self.cancelled = False

    async def outcome(self, request: Json) -> dict[str, Any]:
        """The answer to one request."""
        call = table(request.get("toolCall"))
        allowed, why = await self._decided(call, text(call.get("kind")) or "other")
        wanted = "allow_once" if allowed else "reject_once"
        options = [(text(one.get("optionId")), one.get("kind")) for one in tables(request.get("options"))]
        ids = [option for option, _ in options]
        # An id that stands for two options may be taken for either.
        option = next((one for one, kind in options if kind == wanted and ids.count(one) == 1), "")
        if allowed and not option:
            allowed, why = False, "the agent offers no option for this call alone"
        self._say({"type": "decided", "allowed": allowed, "why": why, "call": dict(call)})
        if self.cancelled or not option:
            return {"outcome": {"outcome": "cancelled"}}
        return {"outcome": {"outcome": "selected", "optionId": option}}

    async def _decided(self, call: Json, kind: str) -> tuple[bool, str]:
        level, has_network = self._sandbox.level, self._sandbox.network
        if self.cancelled:
            return False, "the turn is over"
        if level is Level.READ_ONLY and kind not in _READS:
            return False, f"the level is read-only, and the kind is `{one_line(kind, 40)}`"
        known = kind.strip().casefold()  # however an agent writes it, it is refused
        is_wide = known == "switch_mode" or (known == "fetch" and not has_network)
        if level is Level.WORKSPACE_WRITE and is_wide:
            return False, f"the sandbox allows no `{known}`"
        if self._policy != "ask":
            return self._policy == "allow", f'permissions = "{self._policy}"'
        try:
            return await self._answered(self._asked(call, kind))
        except RunnerError as error:
            return False, error.message

    def _asked(self, call: Json, kind: str) -> questions.Question:
        run, parent = self._run, self._run.read_manifest().parent
        given = call.get("rawInput") or call.get("content")
        says = one_line(text(call.get("title")), 500) or "nothing"
        details = f"\nWith: {shortened(compact(given), _LONGEST)}" if given else ""
        name = one_line(self.agent.replace("`", ""), 80)
        prompt = (
            f"The agent `{name}` asks for permission for one call. Its kind: {one_line(kind, 40)}. "
            f"It says: {says}{details}\nThe answer `allow` allows this call; any other, or none, refuses it."
        )
        whom, seconds = "owner" if parent is None else parent.run_id, self._settings.permission_timeout_s
        asked = questions.ask(run, asked=whom, prompt=prompt, expires_in_s=seconds, on_expiry="continue")
        run.wake()
        return asked

    async def _answered(self, question: questions.Question) -> tuple[bool, str]:
        while question.is_open and not question.is_due:
            if self.cancelled:
                return False, "the turn was cancelled"
            # Who waits for a person is no stalled run.
            self._say({"type": "waiting", "question": question.id})
            await asyncio.sleep(_LOOK_S)
            question = questions.read(self._run, question.id)
        if question.status != "answered":  # one that is due can have no answer any more
            return False, f"{question.id} was not answered in time"
        return (question.answer or "").strip().casefold() == "allow", f"the answer to {question.id}"
