"""The real Claude Code and Gemini CLI play rehearsal scripts: no login, no token, no model."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.clis import AGENTS, ANYHOW, Json, Played, Stage
from support.waiting import wait_until

Stages = Callable[[str, str], Stage]
BOTH = pytest.mark.parametrize("agent", AGENTS)

EVERYTHING = """
[captures]
manifest = 'manifest_path=(\\S+)'

[[turns]]
message = "I look first."
shell = ["echo made > made.txt", "cat made.txt; echo err >&2; exit 3"]
usage = { input_tokens = 100, cached_input_tokens = 40, output_tokens = 20, reasoning_output_tokens = 5 }

[[turns]]
tool = { server = "delegation", name = "delegate.status", arguments = { manifest_path = "{manifest}" } }

[[turns]]
message = "The server says: {last_output}"
patch = '''
*** Begin Patch
*** Add File: new.txt
+written by {task}
*** Update File: old.txt
@@
 one
-two
+zwei
*** Update File: gone.txt
*** Move to: moved.txt
*** End Patch
'''

[[turns]]
message = "Done with {task}."
usage = { input_tokens = 200, output_tokens = 30 }
"""


def error_of(stage: Stage, played: Played) -> str:
    """What the agent says of its failure, with the signs that a runtime goes by."""
    result = played.result
    if stage.agent == "claude":
        assert (played.status, result["is_error"], result["terminal_reason"]) == (1, True, "api_error")
        return str(result["result"])
    assert result["status"] == "error"
    return str(result["error"]["message"])


def sleeping(stage: Stage) -> bool:
    """Whether a `sleep` of this test runs."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "comm").read_text() == "sleep\n" and (entry / "cwd").readlink() == stage.work:
                return True
    return False


@BOTH
def test_one_script_is_played_to_its_end_whatever_the_agent(stage: Stages, agent: str) -> None:
    scene = stage(agent, EVERYTHING)
    (scene.work / "old.txt").write_text("one\ntwo\nthree\n")
    (scene.work / "gone.txt").write_text("kept\n")
    played = scene.play("manifest_path=m.json")
    assert played.status == 0, played.stderr
    assert played.said == ["I look first.", "The server says: status of m.json", "Done with hello."]
    files = {path.name: path.read_text() for path in scene.work.iterdir() if path.is_file()}
    assert files == {
        "made.txt": "made\n",
        "new.txt": "written by hello\n",
        "old.txt": "one\nzwei\nthree\n",
        "moved.txt": "kept\n",
    }
    assert [line["turn"] for line in scene.requests() if line["turn"]] == [1, 2, 3, 4]
    if agent == "claude":
        usage = played.result["usage"]
        keys = ("input_tokens", "cache_read_input_tokens", "output_tokens")
        assert [usage[key] for key in keys] == [260, 40, 50]
        assert usage["output_tokens_details"] == {"thinking_tokens": 5}
    else:
        stats = played.result["stats"]
        assert [stats[key] for key in ("input_tokens", "cached", "total_tokens")] == [300, 40, 350]


@BOTH
def test_the_next_turn_gets_what_the_command_printed(stage: Stages, agent: str) -> None:
    script = "[[turns]]\nshell = 'echo out; echo err >&2'\n[[turns]]\nmessage = '<{last_output}>'\n"
    assert stage(agent, script).play().said == ["<out\nerr>"]


@BOTH
@pytest.mark.parametrize("status", [400, 401, 429, 529])
def test_an_http_error_ends_the_run_with_its_status_and_message(
    stage: Stages, agent: str, status: int
) -> None:
    turn = f"[[turns]]\nerror = {{ status = {status}, message = 'told by the script' }}\n"
    scene = stage(agent, f"{turn}[[turns]]\nmessage = 'never said'\n")
    played = scene.play()
    assert "told by the script" in error_of(scene, played)
    if agent == "claude":
        assert played.result["api_error_status"] == status
    else:
        assert played.status == status % 256
    assert [line["turn"] for line in scene.requests()] == [1]


@BOTH
def test_a_stream_that_is_cut_ends_the_run_with_an_error(stage: Stages, agent: str) -> None:
    played = stage(agent, "[[turns]]\nmessage = 'half of'\ncut = true\n").play()
    if agent == "claude":
        assert (played.status, played.result["is_error"]) == (1, True)
        assert "Connection to the API was lost" in played.result["result"]
    else:  # exit status 0, so only the events tell
        assert (played.status, played.result["status"]) == (0, "error")
        assert played.events[-2]["message"] == "Model stream ended without a finish reason."


@BOTH
def test_a_failure_inside_the_stream_ends_the_run_with_its_message(stage: Stages, agent: str) -> None:
    scene = stage(agent, "[[turns]]\nerror = { code = 'overloaded_error', message = 'told' }\n")
    assert "told" in error_of(scene, scene.play())


@BOTH
def test_a_late_and_long_answer_comes_whole(stage: Stages, agent: str) -> None:
    played = stage(agent, "[[turns]]\ndelay = '1s'\nmessage = '0123456789'\nrepeat = 200000\n").play()
    assert played.said == ["0123456789" * 200_000]
    took = played.result["duration_ms"] if agent == "claude" else played.result["stats"]["duration_ms"]
    assert took >= 1000


@BOTH
def test_an_answer_that_never_comes_is_waited_for(stage: Stages, agent: str) -> None:
    scene = stage(agent, "[[turns]]\nhang = true\n")
    process = scene.start()
    try:
        wait_until(scene.requests, what="a request")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
    finally:
        process.terminate()
        process.wait(30)
    assert "result" not in [event["type"] for event in scene.events()]


def test_claude_waits_when_a_script_says_so(stage: Stages) -> None:
    scene = stage("claude", "[[turns]]\nshell = 'sleep 30'\n")
    process = scene.start()
    try:
        wait_until(lambda: sleeping(scene), what="a command that sleeps")
    finally:
        process.terminate()
        process.wait(30)


@BOTH
def test_a_resumed_session_goes_on_in_the_same_script(stage: Stages, agent: str) -> None:
    capture = "[captures]\nword = 'word=(\\S+)'\n"
    scene = stage(agent, f"{capture}[[turns]]\nmessage = 'first'\n[[turns]]\nmessage = 'again {{word}}'\n")
    session = "11111111-2222-4333-8444-555555555555"
    assert scene.play("word=alpha", "--session-id", session).said == ["first"]
    assert scene.play("go on", "--resume", session).said == ["again alpha"]


@BOTH
def test_a_call_of_what_the_agent_does_not_offer_fails_the_run_and_names_it(
    stage: Stages, agent: str
) -> None:
    turn = '[[turns]]\ntool = { server = "other", name = "unknown" }\n'
    scene = stage(agent, f"{turn}[[turns]]\nmessage = 'never said'\n")
    said = error_of(scene, scene.play())
    assert "the tool `unknown` of the MCP server `other`, which the agent does not offer" in said
    assert [line["turn"] for line in scene.requests()] == [1]


def test_claude_asks_again_where_it_may_and_says_so(stage: Stages) -> None:
    script = "[[turns]]\nerror = { status = 529, message = 'busy' }\n[[turns]]\nmessage = 'after all'\n"
    played = stage("claude", script).play(variables=ANYHOW)
    assert (played.status, played.said) == (0, ["after all"])
    (again,) = (event for event in played.events if event.get("subtype") == "api_retry")
    assert (again["error_status"], again["error"]) == (529, "overloaded")


def test_a_tool_that_claude_keeps_back_is_searched_for(stage: Stages) -> None:
    scene = stage("claude", EVERYTHING)
    (scene.work / "old.txt").write_text("one\ntwo\n")
    (scene.work / "gone.txt").write_text("kept\n")
    played = scene.play("manifest_path=m.json", variables={"CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": ""})
    assert played.said[1:] == ["The server says: status of m.json", "Done with hello."]
    assert ["ToolSearch"] in [line["answer"] for line in scene.requests()]


def test_a_json_object_is_the_structured_result_of_claude(stage: Stages) -> None:
    result: Json = {"status": "completed", "count": 3}
    scene = stage("claude", f"[[turns]]\nmessage = '{json.dumps(result)}'\n")
    schema = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}
    played = scene.play("go", "--json-schema", json.dumps(schema))
    assert (played.status, played.result["structured_output"]) == (0, result)
    assert len(scene.requests()) == 1


@pytest.mark.parametrize("call", ["", "shell = 'echo hi'\n"], ids=["between turns", "in a turn"])
def test_a_compaction_of_claude_takes_no_turn(stage: Stages, call: str) -> None:
    script = f"[[turns]]\nmessage = 'first'\n{call}usage = {{ input_tokens = 990000, output_tokens = 10 }}\n"
    scene = stage("claude", f"{script}[[turns]]\nmessage = 'second'\n")
    session = "11111111-2222-4333-8444-555555555555"
    played = scene.play("hello", "--session-id", session)
    assert played.said[0] == "first"
    if not call:
        played = scene.play("go on", "--resume", session)
    assert played.said[-1] == "second"
    assert "compact_boundary" in [event.get("subtype") for event in played.events]
    assert [line["turn"] for line in scene.requests() if line["turn"]] == [1, 2]


def test_who_speaks_next_is_asked_by_gemini_and_takes_no_turn(stage: Stages) -> None:
    scene = stage("gemini", "[[turns]]\nmessage = 'first'\n[[turns]]\nmessage = 'never said'\n")
    assert scene.play().said == ["first"]
    assert [line["turn"] for line in scene.requests()] == [1, None]
