"""The rehearsal server as an HTTP client sees it: every kind of turn, the log, and what is not there."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

from runner.rehearsal import script
from runner.rehearsal.actor import Actor
from runner.rehearsal.server import Log, Server

SHELL = {"type": "function", "name": "exec_command", "parameters": {"properties": {"cmd": {}}}}


class Client:
    """One server with one script, and plain requests to it."""

    def __init__(self, server: Server) -> None:
        self.port: int = server.socket.getsockname()[1]
        self.sockets: list[http.client.HTTPConnection] = []

    def send(self, method: str, path: str, body: object = None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        self.sockets.append(connection)
        connection.request(method, path, None if body is None else json.dumps(body).encode())
        return connection

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        answer = self.send(method, path, body).getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def ask(self, prompt: str = "hello", **more: object) -> list[dict[str, Any]]:
        """The events of one model request."""
        answer = self.send("POST", "/v1/responses", body(prompt, **more)).getresponse()
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
        return events(answer.read())


def body(prompt: str, **more: object) -> dict[str, object]:
    said = {"role": "user", "content": [{"type": "input_text", "text": prompt}]}
    return {"model": "m", "tools": [SHELL], "input": [{"type": "message"} | said]} | more


def events(stream: bytes) -> list[dict[str, Any]]:
    found = []
    for block in stream.decode().split("\n\n"):
        if block:
            name, data = block.split("\n")
            found.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {found[-1]['type']}"
    return found


def text_of(found: list[dict[str, Any]]) -> str:
    (done,) = (event for event in found if event["type"] == "response.output_item.done")
    return str(done["item"]["content"][0]["text"])


Serve = Callable[..., Client]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server for a script text, in a thread of this process."""
    running: list[tuple[Server, threading.Thread, Client]] = []

    def start(turns: str, log: Log | None = None) -> Client:
        path = tmp_path / "script.toml"
        path.write_text(f"schema_version = 1\n{turns}", encoding="utf-8")
        listener = socket.create_server(("127.0.0.1", 0))
        play = script.load(path)
        actor = Actor(play, "hello", lambda: script.begin(play, str(tmp_path)))
        server = Server(listener, actor, log or Log(None))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((server, thread, Client(server)))
        return running[-1][2]

    yield start
    for server, thread, client in running:
        for connection in client.sockets:
            connection.close()
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_a_message_is_streamed_and_completed_with_its_usage(serve: Serve) -> None:
    found = serve(
        "[[turns]]\nmessage = 'Hello {task}'\nusage = { input_tokens = 100, "
        "cached_input_tokens = 40, output_tokens = 20, reasoning_output_tokens = 5 }"
    ).ask()
    assert [event["type"].removeprefix("response.") for event in found] == [
        "created",
        "output_item.added",
        "output_text.delta",
        "output_item.done",
        "completed",
    ]
    assert found[2]["delta"] == text_of(found) == "Hello hello"
    assert found[-1]["response"]["usage"] == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 40},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    }


def test_a_message_without_usage_costs_nothing(serve: Serve) -> None:
    found = serve("[[turns]]\nmessage = 'x'").ask()
    assert found[-1]["response"]["usage"]["total_tokens"] == 0


def test_a_repeated_message_comes_whole_and_in_many_pieces(serve: Serve) -> None:
    unit = 'é"\\\n😀\0'
    quoted = json.dumps(unit, ensure_ascii=False)
    found = serve(f"[[turns]]\nmessage = {quoted}\nrepeat = 100000").ask()
    deltas = [e["delta"] for e in found if e["type"] == "response.output_text.delta"]
    assert text_of(found) == "".join(deltas) == unit * 100_000
    assert len(deltas) > 10


def test_shell_calls_go_out_with_what_is_said_before_them(serve: Serve) -> None:
    found = serve("[[turns]]\nmessage = 'I look'\nshell = ['echo {task}', 'pwd']").ask()
    done = [e["item"] for e in found if e["type"] == "response.output_item.done"]
    assert [item["type"] for item in done] == ["message", "function_call", "function_call"]
    assert [json.loads(item["arguments"])["cmd"] for item in done[1:]] == ["echo hello", "pwd"]
    assert found[-1]["type"] == "response.completed"


def test_an_http_error_has_its_status_message_and_code(serve: Serve) -> None:
    client = serve(
        "[[turns]]\nerror = { status = 429, message = 'slow', code = 'usage_limit_reached', "
        "resets_at = 2000000000 }"
    )
    error = {"type": "usage_limit_reached", "code": "usage_limit_reached", "message": "slow"}
    assert client.call("POST", "/v1/responses", body("x")) == (
        429,
        {"error": error | {"resets_at": 2000000000}},
    )


def test_an_error_without_a_status_comes_inside_the_stream(serve: Serve) -> None:
    found = serve("[[turns]]\nerror = { code = 'insufficient_quota', message = 'pay' }").ask()
    assert [event["type"] for event in found] == ["response.created", "response.failed"]
    assert found[-1]["response"]["error"]["code"] == "insufficient_quota"


def test_a_cut_stream_ends_without_completion_after_its_text(serve: Serve) -> None:
    found = serve("[[turns]]\ncut = true\nmessage = 'half'").ask()
    assert [event["type"].removeprefix("response.") for event in found] == [
        "created",
        "output_item.added",
        "output_text.delta",
    ]


def test_a_delayed_answer_comes_after_its_delay(serve: Serve) -> None:
    client = serve("[[turns]]\ndelay = '300ms'\nmessage = 'late'")
    begin = time.monotonic()
    assert text_of(client.ask()) == "late"
    assert 0.3 <= time.monotonic() - begin < 5


def test_a_hanging_turn_never_answers_and_the_server_goes_on(serve: Serve) -> None:
    client = serve("[[turns]]\nhang = true\n[[turns]]\nmessage = 'next'")
    silent = client.send("POST", "/v1/responses", body("x"))
    assert silent.sock is not None
    silent.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        silent.sock.recv(1)
    assert text_of(client.ask()) == "next"


def test_a_turn_may_say_something_and_then_hang(serve: Serve) -> None:
    client = serve("[[turns]]\nhang = true\nmessage = 'well,'")
    silent = client.send("POST", "/v1/responses", body("x")).getresponse()
    got = b""
    while b"well," not in got:
        got += silent.read1()
    assert b"response.completed" not in got


@pytest.mark.parametrize("turn", ["hang = true", "delay = '1h'\nmessage = 'x'"])
def test_a_client_that_hangs_up_frees_its_thread_and_is_not_reported(
    serve: Serve, capfd: pytest.CaptureFixture[str], turn: str
) -> None:
    client = serve(f"[[turns]]\n{turn}\n[[turns]]\nmessage = 'next'")
    before = threading.active_count()
    waiting = client.send("POST", "/v1/responses", body("x"))
    wait_until(lambda: threading.active_count() == before + 1)
    waiting.close()
    wait_until(lambda: threading.active_count() == before)
    assert capfd.readouterr() == ("", "")


def test_a_client_that_hangs_up_in_a_long_answer_is_not_reported(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    client = serve("[[turns]]\nmessage = 'long'\nrepeat = 100000000")
    before = threading.active_count()
    connection = client.send("POST", "/v1/responses", body("x"))
    answer = connection.getresponse()
    assert answer.read(10)
    answer.close()
    connection.close()
    wait_until(lambda: threading.active_count() == before)
    assert capfd.readouterr() == ("", "")


def test_each_request_takes_the_next_turn_and_the_last_message_stays(serve: Serve) -> None:
    client = serve("[[turns]]\nmessage = 'a'\ntimes = 2\n[[turns]]\nmessage = 'b'")
    assert [text_of(client.ask()) for _ in range(4)] == ["a", "a", "b", "b"]


def test_what_codex_asks_for_itself_takes_no_turn(serve: Serve) -> None:
    client = serve("[[turns]]\nmessage = 'a'\n[[turns]]\nmessage = 'b'")
    about = {"x-codex-turn-metadata": json.dumps({"request_kind": "compaction"})}
    assert text_of(client.ask()) == "a"
    assert text_of(client.ask(client_metadata=about)).startswith("Rehearsal: nothing to sum up")
    assert text_of(client.ask()) == "b"


def test_a_capture_that_finds_nothing_fails_the_run_with_its_name(serve: Serve) -> None:
    client = serve("[captures]\nid = 'id=(\\d+)'\n[[turns]]\nmessage = '{id}'")
    status, error = client.call("POST", "/v1/responses", body("no number"))
    assert status == 422
    assert error["error"]["message"] == (
        "rehearsal script: capture `id`: `id=(\\d+)` is neither in the prompt nor in a tool's output"
    )


def test_a_script_for_other_files_fails_the_run_until_they_are_those_it_begins_with(
    serve: Serve, tmp_path: Path
) -> None:
    client = serve("begins_with = { 'a b.txt' = '' }\n[[turns]]\nmessage = 'x'\n[[turns]]\nmessage = 'y'")
    (tmp_path / "a b.txt").touch()
    for _ in range(2):
        status, error = client.call("POST", "/v1/responses", body("go on"))
        assert status == 422
        assert error["error"]["message"] == "rehearsal script: a b.txt is not the file that it begins with"
    (tmp_path / "a b.txt").unlink()
    assert text_of(client.ask()) == "x"
    (tmp_path / "a b.txt").touch()
    assert text_of(client.ask()) == "y"


def test_the_list_of_models_is_there_and_empty(serve: Serve) -> None:
    client = serve("[[turns]]\nmessage = 'x'")
    nothing = {"object": "list", "data": [], "models": []}
    assert client.call("GET", "/v1/models?client_version=1") == (200, nothing)


@pytest.mark.parametrize("path", ["/", "/api/hello", "/v1/responses"])
def test_a_client_finds_out_that_the_server_is_there(serve: Serve, path: str) -> None:
    assert serve("[[turns]]\nmessage = 'x'").call("HEAD", path) == (200, None)


CLAUDE, GEMINI = "/v1/messages?beta=true", "/v1beta/models/m:streamGenerateContent?alt=sse"
TOOLS = {"tools": [{"name": "Bash", "functionDeclarations": [{"name": "Bash"}]}], "stream": True}


@pytest.mark.parametrize(
    ("path", "other"),
    [(CLAUDE, "/v1/messages/count_tokens?beta=true"), (GEMINI, "/v1beta/models/m:countTokens")],
)
def test_one_script_is_played_over_every_wire_and_a_count_of_tokens_takes_no_turn(
    serve: Serve, path: str, other: str
) -> None:
    client = serve("[[turns]]\nmessage = 'first'\n[[turns]]\nmessage = 'second'")
    for said in (b"first", b"second"):
        status, counted = client.call("POST", other, TOOLS)
        assert (status, [*counted.values()]) == (200, [len(json.dumps(TOOLS)) // 4])
        answer = client.send("POST", path, TOOLS).getresponse()
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
        assert said in answer.read()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (CLAUDE, {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}),
        (GEMINI, {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}),
    ],
)
def test_an_http_error_has_the_form_of_the_wire_it_goes_over(
    serve: Serve, path: str, error: dict[str, Any]
) -> None:
    client = serve("[[turns]]\nerror = { status = 429, message = 'slow' }")
    assert client.call("POST", path, TOOLS) == (429, error)


@pytest.mark.parametrize("path", [CLAUDE, "/v1beta/models/m:generateContent"])
def test_an_answer_without_a_stream_is_json(serve: Serve, path: str) -> None:
    answer = serve("[[turns]]\nmessage = 'x'").send("POST", path, TOOLS | {"stream": False}).getresponse()
    assert answer.headers["Content-Type"] == "application/json"
    assert isinstance(json.loads(answer.read()), dict)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", "/v1/other"),
        ("DELETE", "/v1/models/x"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1beta/models/m:embedContent"),
    ],
)
def test_anything_else_is_not_found(serve: Serve, method: str, path: str) -> None:
    status, error = serve("[[turns]]\nmessage = 'x'").call(method, path, {})
    assert (status, error["error"]["code"]) == (404, "not_found")


def test_a_body_that_is_no_json_object_is_refused_and_takes_no_turn(serve: Serve) -> None:
    client = serve("[[turns]]\nmessage = 'a'\n[[turns]]\nmessage = 'b'")
    assert client.call("POST", "/v1/responses", ["x"])[0] == 400
    assert text_of(client.ask()) == "a"


@pytest.mark.parametrize("with_bodies", [False, True])
def test_the_log_has_a_line_per_request_without_headers(
    serve: Serve, tmp_path: Path, with_bodies: bool
) -> None:
    path = tmp_path / "requests.jsonl"
    client = serve("[[turns]]\nshell = 'pwd'\n[[turns]]\nmessage = 'b'", Log(path, with_bodies=with_bodies))
    asked = body("hello", reasoning={"effort": "high"})
    client.call("GET", "/v1/models")
    client.send("POST", "/v1/responses", asked).getresponse().read()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[1] == {
        "n": 2,
        "turn": 1,
        "path": "/v1/responses",
        "model": "m",
        "tools": ["exec_command"],
        "effort": "high",
        "prompt_chars": 5,
        "input_items": 1,
        "answer": ["exec_command"],
    } | ({"body": asked} if with_bodies else {})
    assert (lines[0]["path"], lines[0]["turn"], lines[0]["answer"]) == ("/v1/models", None, [])
    assert path.stat().st_mode & 0o777 == 0o600
