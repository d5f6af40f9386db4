"""One script over Anthropic's and Google's wire: requests as Claude Code 2.1.332 and Gemini CLI 0.61.0
send them, cut to what counts, and the bytes of the answers. `tests/clis` plays the same with the real ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.rehearsal import gemini, messages, responses
from runner.rehearsal.actor import Actor, Answer
from runner.rehearsal.turns import (
    Call,
    Capture,
    Failure,
    PatchCall,
    Script,
    ShellCall,
    ToolCall,
    Turn,
    TurnUsage,
)
from runner.rehearsal.wire import Wire

Json = dict[str, Any]

MODEL_PATH = "/v1beta/models/gemini-2.5-pro:streamGenerateContent"
STATUS = ToolCall("delegation", "delegate.status", {"manifest_path": "{manifest}"})
PATCH = PatchCall(
    "*** Begin Patch\n*** Add File: a.txt\n+x\n*** Update File: b.txt\n@@\n one\n-two\n+2\n*** End Patch\n"
)
USAGE = TurnUsage(input_tokens=100, cached_input_tokens=40, output_tokens=20, reasoning_output_tokens=5)


def claude_tool(name: str, *properties: str) -> Json:
    return {"name": name, "input_schema": {"type": "object", "properties": {key: {} for key in properties}}}


def gemini_tool(name: str, *properties: str) -> Json:
    parameters = {"type": "object", "properties": {key: {} for key in properties}}
    return {"name": name, "parametersJsonSchema": parameters}


CLAUDE: Json = {
    "model": "claude-opus-5-5",
    "stream": True,
    "output_config": {"effort": "medium"},
    "tools": [
        claude_tool("Bash", "command", "timeout", "description", "run_in_background"),
        claude_tool("Edit", "file_path", "old_string", "new_string", "replace_all"),
        claude_tool("Read", "file_path", "offset"),
        claude_tool("Write", "file_path", "content"),
        claude_tool("mcp__delegation__delegate_status", "manifest_path"),
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>\nmanifest_path=wrong\n</system-reminder>"},
                {"type": "text", "text": "manifest_path=m.json"},
            ],
        },
        {"role": "system", "content": [{"type": "text", "text": "# Environment"}]},
    ],
}
GEMINI: Json = {
    "generationConfig": {"thinkingConfig": {"thinkingBudget": 8192}},
    "tools": [
        {
            "functionDeclarations": [
                gemini_tool("run_shell_command", "command", "description", "is_background"),
                gemini_tool("replace", "file_path", "instruction", "old_string", "new_string"),
                gemini_tool("write_file", "file_path", "content"),
                gemini_tool("mcp_delegation_delegate.status", "manifest_path"),
            ]
        }
    ],
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "<session_context>\nmanifest_path=wrong\n</session_context>"},
                {"text": "manifest_path=m.json"},
            ],
        }
    ],
}


class Stage(NamedTuple):
    """A wire with a request of its agent, and how that agent hands back what its tools said."""

    wire: Wire
    asked: Json

    def play(self, play: Actor, asked: Json | None = None, path: str = MODEL_PATH) -> Answer:
        return play.answer(self.wire.read(self.asked if asked is None else asked, path), self.wire)

    def grown(self, asked: Json, answer: Answer, outputs: Sequence[str]) -> Json:
        if self.wire is messages:
            results = [
                {"type": "tool_result", "tool_use_id": item["id"], "content": text}
                for item, text in zip(answer.items, outputs, strict=True)
            ]
            new = [{"role": "assistant", "content": [*answer.items]}, {"role": "user", "content": results}]
            return asked | {"messages": asked["messages"] + new}
        calls = [{"functionCall": {"id": item["id"], "name": item["name"]}} for item in answer.items]
        responses = [
            {"functionResponse": {"id": item["id"], "name": item["name"], "response": {"output": text}}}
            for item, text in zip(answer.items, outputs, strict=True)
        ]
        new = [{"role": "model", "parts": calls}, {"role": "user", "parts": responses}]
        return asked | {"contents": asked["contents"] + new}

    def body(self, answer: Answer, asked: Json | None = None, path: str = MODEL_PATH) -> bytes:
        return b"".join(self.wire.body(answer, 7, self.wire.read(asked or self.asked, path)))


BOTH = pytest.mark.parametrize(
    "stage",
    [pytest.param(Stage(messages, CLAUDE), id="claude"), pytest.param(Stage(gemini, GEMINI), id="gemini")],
)


def actor(*turns: Turn) -> Actor:
    return Actor(Script(turns, (Capture("manifest", re.compile(r"manifest_path=(\S+)")),)), "hello")


def calling(*calls: Call) -> Turn:
    return Turn(calls=calls)


def events(stream: bytes) -> list[Json]:
    """The data of each event; a name, where there is one, is that of its type."""
    found = []
    for block in stream.decode().removesuffix("\n\n").split("\n\n"):
        name, _, data = block.rpartition("data: ")
        found.append(json.loads(data))
        assert name in ("", f"event: {found[-1].get('type')}\n")
    return found


def made(stage: Stage, *calls: Call) -> list[tuple[str, Json]]:
    answer = stage.play(actor(calling(*calls)))
    return [(item["name"], item["input"]) for item in answer.items]


# -- what is asked ---------------------------------------------------------------------------------


@BOTH
def test_a_request_is_read_without_what_the_agent_adds_to_the_prompt(stage: Stage) -> None:
    asked = stage.wire.read(stage.asked, MODEL_PATH)
    assert asked.prompts == ("manifest_path=m.json",)
    assert (asked.kind, asked.is_streamed, asked.outputs) == ("turn", True, ())
    assert asked.names[-1].startswith("mcp_")


def test_model_and_effort_are_read_from_where_each_wire_has_them() -> None:
    claude = messages.read(CLAUDE, "/v1/messages")
    thinking = {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}}
    other = gemini.read(GEMINI | thinking, MODEL_PATH)
    assert [(one.model, one.effort) for one in (claude, other)] == [
        ("claude-opus-5-5", "medium"),
        ("gemini-2.5-pro", "HIGH"),
    ]


@BOTH
@pytest.mark.parametrize("body", [{}, {"tools": 1, "messages": 2, "contents": [3, {"parts": 4}]}])
def test_a_request_of_unknown_shape_is_answered_all_the_same(stage: Stage, body: Json) -> None:
    assert stage.play(actor(Turn(message="x")), body).turn is None


# -- whose turn it is ------------------------------------------------------------------------------


@BOTH
def test_a_request_without_tools_is_not_the_agents_turn(stage: Stage) -> None:
    play = actor(Turn(message="a"), Turn(message="b"))
    assert stage.play(play).what.message == "a"
    aside = stage.play(play, {key: value for key, value in stage.asked.items() if key != "tools"})
    assert aside.turn is None
    assert stage.play(play).what.message == "b"


def test_a_compaction_of_claude_takes_no_turn_though_it_offers_tools() -> None:
    stage, play = Stage(messages, CLAUDE), actor(Turn(message="a"), Turn(message="b"))
    said = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\n- Do NOT use Read, Bash"
    asked = CLAUDE | {"messages": [*CLAUDE["messages"], {"role": "user", "content": said}]}
    assert stage.play(play, asked).turn is None
    result = {"type": "tool_result", "tool_use_id": "x", "content": "hi"}
    behind = {"role": "user", "content": [result, {"type": "text", "text": said}]}
    assert stage.play(play, CLAUDE | {"messages": [*CLAUDE["messages"], behind]}).turn is None
    prompt = {"role": "user", "content": [{"type": "text", "text": said}]}
    assert stage.play(play, CLAUDE | {"messages": [prompt]}).what.message == "a"


def test_who_speaks_next_is_answered_in_the_form_that_gemini_wants() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "reasoning": {"type": "STRING"},
            "next_speaker": {"type": "STRING", "enum": ["user", "model"]},
        },
    }
    asked = {"contents": GEMINI["contents"], "generationConfig": {"responseJsonSchema": schema}}
    path = "/v1beta/models/gemini-2.5-flash:generateContent"
    answer = Stage(gemini, asked).play(actor(Turn(message="a")), path=path)
    assert json.loads(answer.what.message or "")["next_speaker"] == "user"
    whole = json.loads(Stage(gemini, asked).body(answer, path=path))
    assert whole["candidates"][0]["content"]["parts"] == [{"text": answer.what.message}]


# -- calls -----------------------------------------------------------------------------------------


def test_calls_go_to_the_tools_of_claude() -> None:
    assert made(Stage(messages, CLAUDE), ShellCall("ls"), STATUS, PATCH) == [
        ("Bash", {"command": "ls", "timeout": 600000, "description": "A step of the rehearsal script"}),
        ("mcp__delegation__delegate_status", {"manifest_path": "m.json"}),
        ("Write", {"file_path": "a.txt", "content": "x\n"}),
        ("Read", {"file_path": "b.txt"}),
        ("Edit", {"file_path": "b.txt", "old_string": "one\ntwo", "new_string": "one\n2"}),
    ]


def test_claude_is_not_told_to_wait_and_nothing_else() -> None:
    for command, said in (("sleep 60", ":; sleep 60"), ("sleepless", "sleepless")):
        ((_, arguments),) = made(Stage(messages, CLAUDE), ShellCall(command))
        assert arguments["command"] == said


def test_each_command_of_claude_begins_where_the_run_does() -> None:
    for command in ("cd sub", "make && pushd sub", "cat <<'E'\ncd\nE"):
        ((_, arguments),) = made(Stage(messages, CLAUDE), ShellCall(command))
        assert arguments["command"] == f"(\n{command}\n)"


def test_calls_go_to_the_tools_of_gemini() -> None:
    why = "A step of the rehearsal script"
    edit = {"file_path": "b.txt", "old_string": "one\ntwo", "new_string": "one\n2", "instruction": why}
    assert made(Stage(gemini, GEMINI), ShellCall("ls"), STATUS, PATCH) == [
        ("run_shell_command", {"command": "ls", "description": why}),
        ("mcp_delegation_delegate.status", {"manifest_path": "m.json"}),
        ("write_file", {"file_path": "a.txt", "content": "x\n"}),
        ("replace", edit),
    ]


@pytest.mark.parametrize(
    ("patch", "steps"),
    [
        ("*** Delete File: a b\n", [("Bash", "rm -- 'a b'")]),
        ("*** Update File: a\n*** Move to: b\n@@\n-x\n+y\n", [("Edit", "x", "y"), ("Bash", "mv -- a b")]),
        ("*** Update File: a\n*** Move to: b\n", [("Bash", "mv -- a b")]),
        ("*** Update File: a\n@@ def f():\n+    pass\n", [("Edit", "def f():", "def f():\n    pass")]),
        ("*** Update File: a\n@@\n+last\n", [("Bash", "printf %s 'last\n' >> a")]),
        ("*** Update File: a\n- x\n\n- y\n@@\n-z\n", [("Edit", " x\n\n y", ""), ("Edit", "z\n", "")]),
        ("*** Update File: a\n-x\n+y\n*** End of File\n", [("Edit", "x", "y")]),
        ("*** Add File: a\n*** Add File: b\n+\n+ x\n", [("Write", ""), ("Write", "\n x\n")]),
    ],
)
def test_each_step_of_a_patch_is_a_call(patch: str, steps: list[tuple[str, ...]]) -> None:
    calls = made(Stage(messages, CLAUDE), PatchCall(f"*** Begin Patch\n{patch}*** End Patch\n"))
    keys = {"Bash": ["command"], "Write": ["content"], "Edit": ["old_string", "new_string"]}
    found = [(name, *(a[key] for key in keys[name])) for name, a in calls if name != "Read"]
    assert found == steps


def test_claude_searches_for_a_tool_that_it_keeps_back() -> None:
    stage = Stage(messages, CLAUDE)
    searching = CLAUDE | {"tools": [*CLAUDE["tools"][:-1], claude_tool("ToolSearch", "query")]}
    play = actor(calling(STATUS), Turn(message="<{last_output}>"))
    first = stage.play(play, searching)
    assert [(item["name"], item["input"]) for item in first.items] == [
        ("ToolSearch", {"query": "select:mcp__delegation__delegate_status"})
    ]
    found = stage.grown(searching, first, [""]) | {"tools": searching["tools"] + CLAUDE["tools"][-1:]}
    second = stage.play(play, found)
    assert (second.turn, second.items[0]["name"]) == (1, "mcp__delegation__delegate_status")
    assert stage.play(play, stage.grown(found, second, ["running"])).what.message == "<running>"
    without = actor(calling(STATUS))
    first = stage.play(without, searching)
    failure = stage.play(without, stage.grown(searching, first, ["No matching tools"])).what.failure
    assert failure is not None
    assert failure.status == 410


@BOTH
@pytest.mark.parametrize("call", [ShellCall("ls"), PATCH, ToolCall("other", "tool", {})])
def test_what_is_not_offered_fails_the_run_with_a_status_that_is_not_asked_again(
    stage: Stage, call: Call
) -> None:
    tool = stage.asked["tools"][-1]
    other = {"functionDeclarations": tool["functionDeclarations"][-1:]} if stage.wire is gemini else tool
    failure = stage.play(actor(calling(call)), stage.asked | {"tools": [other]}).what.failure
    assert failure is not None
    assert failure.message.startswith("rehearsal script: it calls ")
    assert "such tools: mcp_" in failure.message
    assert failure.status == stage.wire.MISTAKE


@BOTH
def test_what_a_call_printed_is_the_last_output(stage: Stage) -> None:
    play = actor(calling(ShellCall("a"), ShellCall("b")), Turn(message="<{last_output}>"))
    answer = stage.play(play)
    assert (
        stage.play(play, stage.grown(stage.asked, answer, ["first", "second\n"])).what.message == "<second>"
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("<untrusted_context>\nOutput: hi\nerr\nProcess Group PGID: 1\n</untrusted_context>", "hi\nerr"),
        (
            "<untrusted_context>\nOutput: (empty)\nExit Code: 3\nProcess Group PGID: 1\n</untrusted_context>",
            "",
        ),
        ("Output: Exit Code: 1\nmore\nSignal: 9", "Exit Code: 1\nmore"),
        ("<untrusted_context>\nof a tool\n</untrusted_context>", "of a tool"),
    ],
)
def test_what_gemini_puts_around_an_output_is_taken_off(given: str, text: str) -> None:
    stage, play = Stage(gemini, GEMINI), actor(calling(ShellCall("a")), Turn(message="{last_output}"))
    assert stage.play(play, stage.grown(GEMINI, stage.play(play), [given])).what.message == text


# -- answers ---------------------------------------------------------------------------------------


def test_the_events_of_an_answer_to_claude() -> None:
    item = {"type": "tool_use", "id": "rh-1", "name": "Bash", "input": {"command": "ls"}}
    stream = Stage(messages, CLAUDE).body(Answer(1, Turn(message='I "look"', usage=USAGE), (item,)))
    message = {
        "id": "msg_rehearsal_7",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "stop_reason": None,
        "stop_sequence": None,
    }
    usage = {
        "input_tokens": 60,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 40,
        "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 5},
    }
    block = "content_block_start", "content_block_delta", "content_block_stop"
    assert events(stream) == [
        {
            "type": "message_start",
            "message": message | {"content": [], "usage": usage | {"output_tokens": 0}},
        },
        {"type": block[0], "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": block[1], "index": 0, "delta": {"type": "text_delta", "text": 'I "look"'}},
        {"type": block[2], "index": 0},
        {"type": block[0], "index": 1, "content_block": item | {"input": {}}},
        {
            "type": block[1],
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"command": "ls"}'},
        },
        {"type": block[2], "index": 1},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": usage,
        },
        {"type": "message_stop"},
    ]


def test_the_events_of_an_answer_to_gemini() -> None:
    item = {"type": "tool_use", "id": "rh-1", "name": "run_shell_command", "input": {"command": "ls"}}
    stream = Stage(gemini, GEMINI).body(Answer(1, Turn(message='I "look"', usage=USAGE), (item,)))
    call = {"functionCall": {"id": "rh-1", "name": "run_shell_command", "args": {"command": "ls"}}}
    head = {"modelVersion": "gemini-2.5-pro", "responseId": "rehearsal-7"}
    assert stream.startswith(
        b'data: {"candidates": [{"content": {"role": "model", "parts": [{"text": "I \\"look'
    )
    assert events(stream) == [
        {
            "candidates": [{"content": {"role": "model", "parts": [{"text": 'I "look"'}]}, "index": 0}],
            **head,
        },
        {
            "candidates": [
                {"content": {"role": "model", "parts": [call]}, "index": 0, "finishReason": "STOP"}
            ],
            "usageMetadata": {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 40,
                "candidatesTokenCount": 15,
                "thoughtsTokenCount": 5,
                "totalTokenCount": 120,
            },
            **head,
        },
    ]


@BOTH
def test_a_long_message_comes_whole_in_many_pieces(stage: Stage) -> None:
    unit = 'é"\\\n😀\0'
    found = events(stage.body(Answer(1, Turn(message=unit, repeat=100_000))))
    if stage.wire is messages:
        texts = [one["delta"]["text"] for one in found if one["type"] == "content_block_delta"]
    else:
        parts = [one["candidates"][0]["content"]["parts"] for one in found]
        texts = [part["text"] for some in parts for part in some]
    assert "".join(texts) == unit * 100_000
    assert len(texts) > 10


def test_an_answer_that_is_not_streamed_is_one_message() -> None:
    item = {"type": "tool_use", "id": "rh-1", "name": "t", "input": {"a": 1}}
    answer = Answer(1, Turn(message="ab", repeat=2, usage=USAGE), (item,))
    whole = json.loads(Stage(messages, CLAUDE).body(answer, CLAUDE | {"stream": False}))
    assert whole["content"] == [{"type": "text", "text": "abab"}, item]
    assert (whole["stop_reason"], whole["usage"]["output_tokens"]) == ("tool_use", 20)
    path = "/v1beta/models/m:generateContent"
    one = json.loads(Stage(gemini, GEMINI).body(answer, path=path))
    call = {"functionCall": {"id": "rh-1", "name": "t", "args": {"a": 1}}}
    assert one["candidates"][0]["content"]["parts"] == [{"text": "abab"}, call]
    assert one["usageMetadata"]["totalTokenCount"] == 120


@BOTH
@pytest.mark.parametrize("message", [None, "half"])
@pytest.mark.parametrize("ending", ["cut", "hang"])
def test_a_stream_that_breaks_off_says_no_end(stage: Stage, message: str | None, ending: Any) -> None:
    stream = stage.body(Answer(1, Turn(message=message, ending=ending)))
    assert not any(sign in stream for sign in (b"message_stop", b"message_delta", b"finishReason", b"_stop"))
    assert (b"half" in stream) is (message is not None)


@BOTH
def test_an_answer_without_stream_breaks_off_with_nothing(stage: Stage) -> None:
    asked, path = stage.asked | {"stream": False}, "/v1beta/models/m:generateContent"
    assert stage.body(Answer(1, Turn(message="half", ending="cut")), asked, path) == b""


def test_a_json_object_is_the_structured_result_where_claude_wants_one() -> None:
    asked = CLAUDE | {"tools": [*CLAUDE["tools"], claude_tool("StructuredOutput", "status")]}
    stage = Stage(messages, asked)
    found = events(stage.body(Answer(1, Turn(message='{"status": "completed"}'))))
    assert found[1]["content_block"]["name"] == "StructuredOutput"
    assert json.loads(found[2]["delta"]["partial_json"]) == {"status": "completed"}
    assert found[-2]["delta"]["stop_reason"] == "tool_use"
    for text in ("no object", "[1]"):
        assert events(stage.body(Answer(1, Turn(message=text))))[2]["delta"]["text"] == text
    assert events(Stage(messages, CLAUDE).body(Answer(1, Turn(message="{}"))))[2]["delta"]["text"] == "{}"


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "claude", "google"),
    [
        (400, "invalid_request_error", "INVALID_ARGUMENT"),
        (401, "authentication_error", "UNAUTHENTICATED"),
        (429, "rate_limit_error", "RESOURCE_EXHAUSTED"),
        (500, "api_error", "INTERNAL"),
        (529, "overloaded_error", "UNKNOWN"),
        (418, "invalid_request_error", "UNKNOWN"),
        (599, "api_error", "UNKNOWN"),
    ],
)
def test_an_http_error_has_the_form_of_its_wire_whatever_code_the_script_gives(
    status: int, claude: str, google: str
) -> None:
    failure = Failure("told", status, "usage_limit_reached", 2_000_000_000)
    assert messages.error(failure) == {"type": "error", "error": {"type": claude, "message": "told"}}
    assert gemini.error(failure) == {"error": {"code": status, "message": "told", "status": google}}


@BOTH
def test_an_error_without_a_status_comes_inside_the_stream(stage: Stage) -> None:
    stream = stage.body(Answer(1, Turn(failure=Failure("told", None, "overloaded_error"))))
    if stage.wire is messages:
        told = {"type": "error", "error": {"type": "overloaded_error", "message": "told"}}
        assert events(stream)[1:] == [told]
    else:
        error = {"code": 500, "message": "told", "status": "overloaded_error"}
        assert json.loads(stream) == {"error": error}


# -- whatever comes --------------------------------------------------------------------------------

KEYS = (
    *("messages", "role", "content", "type", "text", "tools", "name", "id", "tool_use_id", "input_schema"),
    *("contents", "parts", "functionDeclarations", "functionResponse", "response", "output", "properties"),
    *(
        "generationConfig",
        "thinkingConfig",
        "responseJsonSchema",
        "output_config",
        "format",
        "schema",
        "enum",
    ),
    *("input", "call_id", "client_metadata", "reasoning", "stream", "parameters"),
)
LEAVES = st.none() | st.integers() | st.sampled_from(["user", "model", "tool_result", "Bash", "object", ""])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
)


@pytest.mark.parametrize("wire", [messages, gemini, responses], ids=lambda wire: wire.__name__)
@given(body=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_no_request_of_a_stranger_is_too_much(wire: Wire, body: Json) -> None:
    asked = wire.read(body, MODEL_PATH)
    answer = actor(Turn(message="<{last_output}>", calls=(ShellCall("ls"), STATUS))).answer(asked, wire)
    assert b"".join(wire.body(answer, 1, asked))
