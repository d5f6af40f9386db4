"""The conversation with an agent: from `initialize` to the end of one turn. Edge: the agent's pipes.

The package `acp` keeps requests and answers together. Its models are not used: what an agent writes goes on
as it is, a line for each update, and the runtime says what it means.
"""

from __future__ import annotations

import asyncio
import os

from acp.connection import Connection
from acp.exceptions import RequestError
from acp.meta import AGENT_METHODS, CLIENT_METHODS, PROTOCOL_VERSION

from runner.bridge.requests import Requests
from runner.model import Level
from runner.runtimes.jsonvalues import table, tables, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Iterator
    from typing import Any

    from runner.model import Json
    from runner.runtimes.base import CommandRequest

    Say = Callable[[dict[str, Any]], None]

_ANSWER_S, _LEAVES_S = 60.0, 3.0
"""The first for everything but the turn itself."""
_CAPABILITIES = {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False}
_HELLO = {"protocolVersion": PROTOCOL_VERSION, "clientCapabilities": _CAPABILITIES}
_READERS = ("read-only", "plan")
_OLDER = {
    "model": ("models", "availableModels", "modelId", "session/set_model", "modelId"),
    "mode": ("modes", "availableModes", "id", AGENT_METHODS["session_set_mode"], "modeId"),
}
"""What sessions had before options, and Gemini CLI still has."""


class Failed(Exception):
    """The talk has come to its end; its argument is the line that tells why."""


class Talk:
    """One session of an agent that was just started."""

    def __init__(self, request: CommandRequest, process: Process, say: Say) -> None:
        self._request, self._process, self._say = request, process, say
        self._requests = Requests(request, say)
        self._connection = Connection(self._told, process.stdin, process.stdout, listening=False)  # type: ignore[arg-type] # pipes
        self._reading = asyncio.ensure_future(self._connection.main_loop())
        self._session: dict[str, Any] = {}
        self._is_asked = False

    async def begin(self, thread: str) -> None:
        """Makes the session as it was asked for, or resumes it. Failed."""
        agent = await self._call("initialize", {**_HELLO, "clientInfo": {"name": "runner", "version": "1"}})
        info, version = table(agent.get("agentInfo")), agent.get("protocolVersion")
        self._say({"type": "agent", "info": dict(info), "protocol": version})
        if version != PROTOCOL_VERSION:
            said = str(version)[:20]
            raise _wrong(f"the agent speaks version {said} of the protocol, and runner {PROTOCOL_VERSION}")
        self._requests.agent = text(info.get("title")) or text(info.get("name")) or self._requests.agent
        place = {"cwd": os.getcwd(), "mcpServers": self._servers()}
        if not thread:
            self._session = {**await self._call(AGENT_METHODS["session_new"], place)}
        elif table(agent.get("agentCapabilities")).get("loadSession") is True:
            loaded = await self._call(AGENT_METHODS["session_load"], {**place, "sessionId": thread})
            self._session = {**loaded, "sessionId": thread}
        else:
            raise Failed({"type": "refused", "method": "session/load", "error": {}})
        if not text(self._session.get("sessionId")):
            raise _wrong("the agent gave its session no id")
        await self._choose_all()
        now = {name: self._now(name) for name in _OLDER}
        self._say({"type": "session", "id": self._session["sessionId"], **now})

    async def turn(self, prompt: str) -> bool:
        """Whether the agent ended its turn by itself. Failed."""
        self._is_asked = True
        asked = {"sessionId": self._session["sessionId"], "prompt": [{"type": "text", "text": prompt}]}
        answer = await self._call(AGENT_METHODS["session_prompt"], asked, None)
        self._is_asked, self._requests.cancelled = False, True  # nothing that comes now is of this turn
        self._say({"type": "ended", "answer": dict(answer)})
        return answer.get("stopReason") == "end_turn"

    async def cancel(self) -> bool:
        """Tells the agent to end its turn; False where it has none."""
        self._requests.cancelled = True
        if self._is_asked:
            told = {"sessionId": self._session["sessionId"]}
            await self._connection.send_notification(AGENT_METHODS["session_cancel"], told)
        return self._is_asked

    async def leave(self) -> None:
        """Lets the agent end, for a moment."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _LEAVES_S)
        except TimeoutError:
            self._process.kill()

    async def _told(self, method: str, params: Any, is_notification: bool) -> Any:
        if method == CLIENT_METHODS["session_request_permission"]:
            return await self._requests.outcome(table(params))
        if method != CLIENT_METHODS["session_update"]:
            self._say({"type": "unknown", "method": str(method)[:100]})
            raise RequestError.method_not_found(method)
        if self._is_asked:  # before that it repeats what was in a session that is resumed
            told = table(params)
            is_ours = told.get("sessionId") == self._session.get("sessionId")
            self._say({"type": "update", "update": told.get("update")} if is_ours else {"type": "foreign"})
        return None

    async def _call(self, method: str, params: Json, seconds: float | None = _ANSWER_S) -> Json:
        try:
            return table(await asyncio.wait_for(self._answer(method, params), seconds))
        except TimeoutError:
            raise _wrong(f"the agent did not answer `{method}` within {seconds:g} s") from None
        except RequestError as error:
            said = {"code": error.code, "message": str(error), "data": error.data}
            raise Failed({"type": "refused", "method": method, "error": said}) from None
        except ConnectionError:
            how = "wrote what is no message, or closed its output,"
            try:
                code = await asyncio.wait_for(self._process.wait(), 2.0)
                how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
            except TimeoutError:
                pass
            message = f"the agent {how} before it answered `{method}`"
            raise Failed({"type": "failed", "code": "cli_failure", "message": message}) from None

    async def _answer(self, method: str, params: Json) -> Any:
        """ConnectionError too where nobody reads any more: an answer that is no message ends the reading."""
        asked = asyncio.ensure_future(self._connection.send_request(method, params))
        try:
            await asyncio.wait((asked, self._reading), return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise ConnectionError
            return await asked
        finally:
            asked.cancel()

    async def _choose_all(self) -> None:
        model, modes = self._request.model, self._offered("mode")
        is_reader = self._request.sandbox.level is Level.READ_ONLY
        chosen = {
            "model": None if model is None else model.model,
            "thought_level": None if model is None else model.reasoning_effort,
            **self._request.settings.config,
            "mode": next((one for one in _READERS if one in modes and is_reader), None),
        }
        for name, wanted in chosen.items():
            if wanted is not None:
                await self._choose(name, wanted)

    async def _choose(self, name: str, wanted: Any) -> None:
        offered = self._offered(name)
        if wanted not in offered:
            some = ", ".join(offered[:20]) or "none"
            raise _wrong(f"the agent offers no {name} `{wanted}`; it offers: {some}")
        session, option = {"sessionId": self._session["sessionId"]}, self._option(name)
        if option:
            asked = {**session, "configId": option.get("id"), "value": wanted}
            self._session |= await self._call(AGENT_METHODS["session_set_config_option"], asked)
        else:
            state, _, _, method, key = _OLDER[name]
            await self._call(method, {**session, key: wanted})
            self._session[state] = {f"current{name.title()}Id": wanted}  # as it has accepted it

    def _option(self, name: str) -> Json:
        options = tables(self._session.get("configOptions"))
        return next((one for one in options if name in (one.get("category"), one.get("id"))), {})

    def _offered(self, name: str) -> list[str]:
        if option := self._option(name):
            return [*_values(option.get("options"), "value")]
        state, listed, key, *_ = _OLDER.get(name, ("", "", ""))
        return [*_values(table(self._session.get(state)).get(listed), key)]

    def _now(self, name: str) -> str | None:
        older = table(self._session.get(_OLDER[name][0])).get(f"current{name.title()}Id")
        return text(self._option(name).get("currentValue")) or text(older) or None

    def _servers(self) -> list[Json]:
        server = self._request.mcp
        if server is None:
            return []
        passed = {name: os.environ[name] for name in server.env_names if name in os.environ}
        env = [{"name": name, "value": value} for name, value in {**passed, **server.env}.items()]
        return [{"name": "delegation", "command": server.command, "args": [*server.args], "env": env}]


def _wrong(message: str) -> Failed:
    return Failed({"type": "failed", "code": "misconfigured", "message": message})


def _values(listed: Any, key: str) -> Iterator[str]:
    """Of options, which may be in groups."""
    for one in tables(listed):
        if value := text(one.get(key)):
            yield value
        yield from _values(one.get("options"), key)
