"""One script, three ways in which Codex offers its tools: each call is said in the fitting shape.

The requests have the shapes that codex-cli 0.163.0 sends; `tests/codex` plays the same with the real one.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from runner.rehearsal import responses
from runner.rehearsal.actor import Actor, Answer
from runner.rehearsal.responses import read
from runner.rehearsal.turns import Call, Capture, PatchCall, Script, ShellCall, ToolCall, Turn

Json = dict[str, Any]

EXEC = {
    "type": "function",
    "name": "exec_command",
    "parameters": {"properties": {"cmd": {"type": "string"}, "yield_time_ms": {}}},
}
STDIN = {"type": "function", "name": "write_stdin"}
APPLY_PATCH = {"type": "custom", "name": "apply_patch"}
MCP = {
    "type": "namespace",
    "name": "mcp__delegation",
    "tools": [{"type": "function", "name": "delegate_status"}],
}
FUNCTIONS = {
    "type": "namespace",
    "name": "functions",
    "tools": [{"type": "custom", "name": "exec"}, {"type": "function", "name": "wait"}],
}
PROMPT = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "manifest_path=m.json"}],
}
DIRECT: Json = {"tools": [EXEC, STDIN, MCP], "input": [PROMPT]}
SEARCH: Json = {
    "tools": [EXEC, STDIN, APPLY_PATCH, {"type": "tool_search", "execution": "client"}],
    "input": [PROMPT],
}
CODE: Json = {"input": [{"type": "additional_tools", "role": "developer", "tools": [FUNCTIONS]}, PROMPT]}
STATUS = ToolCall("delegation", "delegate.status", {"manifest_path": "{manifest}"})
PATCH = "*** Begin Patch\n*** Add File: a.txt\n+x\n*** End Patch\n"


def actor(*turns: Turn) -> Actor:
    return Actor(Script(turns, (Capture("manifest", re.compile(r"manifest_path=(\S+)")),)), "hello")


def calling(*calls: Call) -> Turn:
    return Turn(calls=calls)


def grown(request: Json, answer: Answer, *outputs: object) -> Json:
    """The next request of the thread: the calls of the answer and what came back from each."""
    items = [*request["input"], *answer.items]
    for item, output in zip(answer.items, outputs, strict=True):
        kind = item["type"].removesuffix("_call") + "_output"
        kind = {"function_output": "function_call_output"}.get(kind, kind)
        kind = {"custom_tool_output": "custom_tool_call_output"}.get(kind, kind)
        back: Json = {"type": kind, "call_id": item["call_id"]}
        key = "tools" if kind == "tool_search_output" else "output"
        items.append(back | {key: output})
    return request | {"input": items}


def header(text: str, *lines: str) -> str:
    return "\n".join(("Chunk ID: 1", "Wall time: 0.1 seconds", *lines, "Output:", text))


def in_code(text: str) -> list[Json]:
    first = "Script completed\nWall time 0.2 seconds\nOutput:\n"
    return [{"type": "input_text", "text": part} for part in (first, text)]


def test_tools_in_the_request_are_called_as_functions_of_their_namespace() -> None:
    answer = actor(calling(ShellCall("ls"), STATUS)).answer(read(DIRECT), responses)
    shell, tool = answer.items
    assert (shell["type"], shell["name"]) == ("function_call", "exec_command")
    assert json.loads(shell["arguments"]) == {"cmd": "ls", "yield_time_ms": 30000}
    assert (tool["namespace"], tool["name"]) == ("mcp__delegation", "delegate_status")
    assert json.loads(tool["arguments"]) == {"manifest_path": "m.json"}
    assert shell["call_id"] != tool["call_id"]


def test_a_tool_that_is_kept_back_is_searched_for_within_the_same_turn() -> None:
    play = actor(Turn(message="Now", calls=(STATUS,)), Turn(message="end"))
    first = play.answer(read(SEARCH), responses)
    (search,) = first.items
    assert search["type"] == "tool_search_call"
    assert "delegation delegate.status" in search["arguments"]["query"]
    assert first.what.message is None
    found = grown(SEARCH, first, [MCP])
    second = play.answer(read(found), responses)
    assert (second.turn, second.what.message) == (1, "Now")
    assert second.items[0]["name"] == "delegate_status"
    third = play.answer(read(grown(found, second, "Wall time: 0.1 seconds\nOutput:\n{}")), responses)
    assert (third.turn, third.what.message) == (2, "end")


def test_a_tool_that_a_search_brought_is_called_later_without_another() -> None:
    play = actor(calling(STATUS), calling(STATUS))
    first = play.answer(read(SEARCH), responses)
    found = grown(SEARCH, first, [MCP])
    second = play.answer(read(found), responses)
    third = play.answer(read(grown(found, second, "{}")), responses)
    assert (third.turn, third.items[0]["name"]) == (2, "delegate_status")


def test_a_delay_is_waited_once_though_a_search_comes_first() -> None:
    play = actor(Turn(calls=(STATUS,), delay_s=5))
    first = play.answer(read(SEARCH), responses)
    second = play.answer(read(grown(SEARCH, first, [MCP])), responses)
    assert (first.what.delay_s, second.what.delay_s) == (5, 0)


def test_in_code_mode_each_call_is_a_script_for_the_exec_tool() -> None:
    answer = actor(calling(ShellCall("echo 'a\"b'"), STATUS, PatchCall(PATCH))).answer(read(CODE), responses)
    assert [item["name"] for item in answer.items] == ["exec"] * 3
    assert {item["namespace"] for item in answer.items} == {"functions"}
    assert {item["type"] for item in answer.items} == {"custom_tool_call"}
    shell, tool, patch = (item["input"] for item in answer.items)
    assert 'tools.exec_command({cmd: "echo \'a\\"b\'"' in shell
    assert '"mcp__delegation__delegate_status"' in tool
    assert '({"manifest_path": "m.json"})' in tool
    assert f"tools.apply_patch({json.dumps(PATCH)})" in patch


def test_a_patch_goes_to_its_tool_or_as_a_command_where_there_is_none() -> None:
    (own,) = actor(calling(PatchCall(PATCH))).answer(read(SEARCH), responses).items
    assert (own["type"], own["name"], own["input"]) == ("custom_tool_call", "apply_patch", PATCH)
    (command,) = actor(calling(PatchCall(PATCH))).answer(read(DIRECT), responses).items
    assert json.loads(command["arguments"])["cmd"] == (f"apply_patch <<'END_OF_PATCH'\n{PATCH}END_OF_PATCH")


@pytest.mark.parametrize(
    ("name", "parameters", "arguments"),
    [
        ("shell_command", {"command": {"type": "string"}}, {"command": "ls"}),
        ("shell", {"command": {"type": "array"}}, {"command": ["bash", "-lc", "ls"]}),
    ],
)
def test_other_shell_tools_get_the_arguments_that_their_schema_names(
    name: str, parameters: Json, arguments: Json
) -> None:
    offer = {"type": "function", "name": name, "parameters": {"properties": parameters}}
    (item,) = actor(calling(ShellCall("ls"))).answer(read({"tools": [offer]}), responses).items
    assert (item["name"], json.loads(item["arguments"])) == (name, arguments)


def test_a_command_that_still_runs_is_waited_for_within_its_turn() -> None:
    play = actor(calling(ShellCall("a"), ShellCall("b")), Turn(message="{last_output}"))
    first = play.answer(read(DIRECT), responses)
    running = header("begin\n", "Process running with session ID 77")
    request = grown(DIRECT, first, header("done\n", "Process exited with code 0"), running)
    second = play.answer(read(request), responses)
    (poll,) = second.items
    assert (second.turn, poll["name"]) == (1, "write_stdin")
    assert json.loads(poll["arguments"]) == {"session_id": 77, "yield_time_ms": 300000}
    third = play.answer(
        read(grown(request, second, header("end\n", "Process exited with code 0"))), responses
    )
    assert (third.turn, third.what.message) == (2, "begin\nend")


def test_a_script_that_still_runs_is_waited_for_within_its_turn() -> None:
    play = actor(calling(ShellCall("a")), Turn(message="{last_output}"))
    first = play.answer(read(CODE), responses)
    request = grown(CODE, first, "Script running with cell ID 3\nWall time 1.0 seconds\nOutput:\n")
    second = play.answer(read(request), responses)
    (poll,) = second.items
    assert (poll["namespace"], poll["name"]) == ("functions", "wait")
    assert json.loads(poll["arguments"]) == {"cell_id": "3", "yield_time_ms": 300000}
    third = play.answer(read(grown(request, second, in_code("begin\nend\n"))), responses)
    assert (third.turn, third.what.message) == (2, "begin\nend")


def test_what_a_command_prints_is_never_taken_for_the_lines_of_codex() -> None:
    play = actor(calling(ShellCall("a")), Turn(message="{last_output}"))
    first = play.answer(read(DIRECT), responses)
    printed = "x\nProcess running with session ID 5\nOutput:\ny"
    second = play.answer(read(grown(DIRECT, first, header(printed, "Process exited with code 0"))), responses)
    assert second.what.message == printed


def test_the_output_of_another_server_is_no_unfinished_business() -> None:
    earlier = actor(calling(ShellCall("a"))).answer(read(DIRECT), responses)
    request = grown(DIRECT, earlier, header("", "Process running with session ID 77"))
    assert actor(Turn(message="new")).answer(read(request), responses).what.message == "new"


def test_a_new_prompt_ends_the_wait_for_an_interrupted_command() -> None:
    play = actor(calling(ShellCall("a")), Turn(message="new"))
    first = play.answer(read(DIRECT), responses)
    request = grown(DIRECT, first, header("", "Process running with session ID 7"))
    resumed = request | {"input": [*request["input"], PROMPT]}
    assert play.answer(read(resumed), responses).what.message == "new"


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ('Wall time: 0.0034 seconds\nOutput:\n{"ok":true}\n', '{"ok":true}'),
        ([{"type": "input_text", "text": "Wall time: 0.1 seconds\nOutput:"}], ""),
        (
            [
                {"type": "input_text", "text": "Wall time: 0.1 seconds\nOutput:"},
                {"type": "input_text", "text": "a"},
                {"type": "input_text", "text": "b"},
            ],
            "a\nb",
        ),
        ("Wall time: 0 seconds\nOutput:\nExit code: 0\nWall time: 0.1 seconds\nOutput:\nOK\n", "OK"),
        ("aborted by user after 1.2s", "aborted by user after 1.2s"),
    ],
)
def test_the_last_output_is_what_the_tool_itself_said(output: object, text: str) -> None:
    play = actor(calling(STATUS), Turn(message="{last_output}"))
    answer = play.answer(read(DIRECT), responses)
    assert play.answer(read(grown(DIRECT, answer, output)), responses).what.message == text


def test_without_a_call_there_is_no_last_output() -> None:
    assert actor(Turn(message="<{last_output}>")).answer(read(DIRECT), responses).what.message == "<>"


def test_captures_look_into_the_newest_prompt_first_and_then_into_outputs() -> None:
    play = actor(calling(STATUS), Turn(message="{manifest}"), Turn(message="{manifest}"))
    again = {"type": "message", "role": "user", "content": "manifest_path=new.json"}
    answer = play.answer(read(DIRECT | {"input": [PROMPT, again]}), responses)
    assert json.loads(answer.items[0]["arguments"]) == {"manifest_path": "new.json"}
    without = grown({**DIRECT, "input": []}, answer, "Output:\nmanifest_path=out.json")
    assert play.answer(read(without), responses).what.message == "out.json"


def test_braces_around_other_words_stay_as_they_are() -> None:
    text = "awk '{print $1}' ${HOME} {manifest} {task}"
    (item,) = actor(calling(ShellCall(text))).answer(read(DIRECT), responses).items
    assert json.loads(item["arguments"])["cmd"] == "awk '{print $1}' ${HOME} m.json hello"


def test_texts_are_filled_inside_nested_arguments() -> None:
    tool = ToolCall("delegation", "delegate.status", {"a": [{"b": "{task}"}, 1], "c": True})
    (item,) = actor(calling(tool)).answer(read(DIRECT), responses).items
    assert json.loads(item["arguments"]) == {"a": [{"b": "hello"}, 1], "c": True}


@pytest.mark.parametrize(
    ("request_body", "outputs"),
    [
        (DIRECT, []),
        (SEARCH, [[MCP]]),
        (CODE, [in_code("rehearsal: not offered; offered: exec_command mcp__delegation__add")]),
    ],
)
def test_a_tool_that_is_not_offered_fails_the_run_with_its_name(
    request_body: Json, outputs: list[object]
) -> None:
    play = actor(calling(ToolCall("delegation", "delegate.nothing", {})))
    answer = play.answer(read(request_body), responses)
    for output in outputs:
        request_body = grown(request_body, answer, output)
        answer = play.answer(read(request_body), responses)
    assert answer.what.failure is not None
    assert answer.what.failure.status == 422
    assert answer.what.failure.message.startswith(
        "rehearsal script: it calls the tool `delegate.nothing` of the MCP server `delegation`, "
        "which the agent does not offer; such tools: mcp__delegation"
    )


def test_without_a_shell_a_command_fails_the_run() -> None:
    answer = actor(calling(ShellCall("ls"))).answer(read({"tools": [MCP]}), responses)
    assert answer.what.failure is not None
    assert "it calls a shell command" in answer.what.failure.message


@pytest.mark.parametrize("body", [{}, {"input": 3, "tools": {}}, {"input": [1, {"type": 2}]}])
def test_a_request_of_unknown_shape_is_answered_too(body: Json) -> None:
    assert actor(Turn(message="x")).answer(read(body), responses).what.message == "x"
