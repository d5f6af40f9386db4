"""The HTTP edge of a rehearsal: the APIs of the models on a loopback socket, and its log file."""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import socket
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

from runner.rehearsal import gemini, messages, responses
from runner.rehearsal.actor import Actor
from runner.rehearsal.request import Json, ModelRequest
from runner.rehearsal.turns import Failure
from runner.rehearsal.wire import Answer, Wire

_MODELS: Json = {"object": "list", "data": [], "models": []}
"""No model of ours: Codex then keeps to the list that it brings itself."""
_ALIVE = ("/", "/api/hello")
"""What Claude asks for before anything else, to have a connection."""
_GEMINI = re.compile(r"/v1(?:alpha|beta)?/models/[^/]+:(generateContent|streamGenerateContent|countTokens)")
_COUNTS = {"count_tokens": "input_tokens", "countTokens": "totalTokens"}
"""What only wants to know how many tokens a request has, and the name of the answer."""
_CHARS_PER_TOKEN = 4
_READ_TIMEOUT_S = 30.0


class Log:
    """One JSON line per request, never a header. Without a path nothing is kept."""

    def __init__(self, path: Path | None, *, with_bodies: bool = False) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = None if path is None else os.open(path, flags, 0o600)
        self._with_bodies = with_bodies

    def write(self, entry: Json, body: Json | None) -> None:
        if self._file is not None:
            if self._with_bodies:
                entry = entry | {"body": body}
            # One write, so that lines of two requests never mix.
            os.write(self._file, json.dumps(entry).encode() + b"\n")


class Server(ThreadingTCPServer):
    """Answers from an `Actor`, each request in a thread that does not outlive the process."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, actor: Actor, log: Log) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.actor, self.log = actor, log
        self.numbers = itertools.count(1)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to report; everything else is a mistake of ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One request per connection, so that the end of the connection is the end of the stream."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _READ_TIMEOUT_S
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the log file has what matters."""

    def do_POST(self) -> None:
        number, path = next(self.server.numbers), self._path()
        length = self.headers.get("Content-Length", "")
        raw = self.rfile.read(int(length) if length.isdecimal() else 0)
        wire = _wire(path)
        if wire is None:
            self._log(number, path)
            self._json(404, _not_found(self.command, path))
            return
        body = _json_object(raw)
        if body is None:
            self._log(number, path)
            self._json(400, wire.error(Failure("the request is not a JSON object", 400)))
            return
        asked = wire.read(body, path)
        if count := _COUNTS.get(path.rpartition("/")[2].rpartition(":")[2]):
            self._log(number, path, asked, body=body)
            self._json(200, {count: len(raw) // _CHARS_PER_TOKEN})
            return
        answer = self.server.actor.answer(asked, wire)
        self._log(number, path, asked, answer, body)
        self._give(answer, number, asked, wire)

    def do_GET(self) -> None:
        number, path = next(self.server.numbers), self._path()
        self._log(number, path)
        alive = self.command == "HEAD" and path in (*_ALIVE, "/v1/responses")
        found = path == "/v1/models" or alive
        self._json(200 if found else 404, _MODELS if found else _not_found(self.command, path))

    do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _give(self, answer: Answer, number: int, asked: ModelRequest, wire: Wire) -> None:
        turn = answer.what
        # From here on a client may be as slow as it likes: a paused run must find its answer.
        self.connection.settimeout(None)
        if turn.delay_s and self._client_gone_within(turn.delay_s):
            return
        if turn.failure is not None and turn.failure.status is not None:
            self._json(turn.failure.status, wire.error(turn.failure))
            return
        if turn.ending != "hang" or turn.message is not None:
            self._head(200, "text/event-stream" if asked.is_streamed else "application/json")
            for piece in wire.body(answer, number, asked):
                self.wfile.write(piece)
        if turn.ending == "hang":
            self._client_gone_within(None)
        self.close_connection = True

    def _client_gone_within(self, seconds: float | None) -> bool:
        """Waits without work; true as soon as the client has hung up."""
        hangup = select.poll()
        hangup.register(self.connection, select.POLLRDHUP)
        return bool(hangup.poll(None if seconds is None else seconds * 1000))

    def _head(self, status: int, content_type: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()

    def _json(self, status: int, body: Json) -> None:
        data = json.dumps(body).encode()
        self._head(status, "application/json", len(data))
        if self.command != "HEAD":
            self.wfile.write(data)

    def _log(
        self,
        number: int,
        path: str,
        asked: ModelRequest | None = None,
        answer: Answer | None = None,
        body: Json | None = None,
    ) -> None:
        asked = asked or responses.read({})
        entry = {
            "n": number,
            "turn": answer and answer.turn,
            "path": path,
            "model": asked.model,
            "tools": asked.names,
            "effort": asked.effort,
            "prompt_chars": len(asked.prompts[-1]) if asked.prompts else 0,
            "input_items": asked.input_items,
            "answer": answer.summary() if answer else [],
        }
        self.server.log.write(entry, body)


def _json_object(raw: bytes) -> Json | None:
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _wire(path: str) -> Wire | None:
    """The API that has this path for what a model is asked."""
    if path == "/v1/responses":
        return responses
    if path in ("/v1/messages", "/v1/messages/count_tokens"):
        return messages
    return gemini if _GEMINI.fullmatch(path) else None


def _not_found(method: str, path: str) -> Json:
    return responses.error(Failure(f"a rehearsal does not know {method} {path}", code="not_found"))
