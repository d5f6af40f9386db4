"""The real Codex CLI plays rehearsal scripts: no token, no login, no address but the rehearsal's own."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.codex import codex_path

from runner.rehearsal import script
from runner.runtimes.codex_rehearsal import overrides
from runner.runtimes.loopback import environment

Json = dict[str, Any]

ROOT = Path(script.__file__).parents[2]
BOUND_S = 60.0
MODELS = ("rehearsal", "gpt-5.5", "gpt-6.1-sol")
"""One for each way in which Codex offers tools: all at once, by `tool_search`, in code mode."""

MCP_SERVER = """
try:
    from mcp.server.mcpserver import MCPServer as Server
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server

server = Server("delegation")

@server.tool(name="delegate.status", description="the status of a run", structured_output=False)
def status(manifest_path: str) -> str:
    return "status of " + manifest_path

@server.tool(name="add-up", description="adds numbers")
def add(a: int, b: int) -> int:
    return a + b

@server.tool(name="fail", description="always fails", structured_output=False)
def fail() -> str:
    raise ValueError("no")

server.run("stdio")
"""


class Run(NamedTuple):
    """What one `codex exec` printed and how it ended."""

    status: int
    events: list[Json]
    stderr: str

    def items(self, kind: str) -> list[Json]:
        done = (event["item"] for event in self.events if event["type"] == "item.completed")
        return [item for item in done if item["type"] == kind]

    @property
    def messages(self) -> list[str]:
        return [item["text"] for item in self.items("agent_message")]

    @property
    def failure(self) -> str:
        assert (self.status, self.events[-1]["type"]) == (1, "turn.failed"), self.stderr
        return str(self.events[-1]["error"]["message"])


class Stage:
    """A home and a folder for Codex, and one rehearsal server."""

    def __init__(self, folder: Path) -> None:
        self.home, self.work = folder / "codex", folder / "work"
        self.log_file = folder / "requests.jsonl"
        self.mcp_server = folder / "mcp_server.py"
        self.home.mkdir()
        self.work.mkdir()
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CODEX_HOME": str(self.home),
            "LANG": "C.UTF-8",
        }
        self.server: subprocess.Popen[str] | None = None
        self.overrides: tuple[str, ...] = ()

    def play(self, turns: str) -> None:
        """Starts the server with this script."""
        path = self.work.parent / "script.toml"
        path.write_text(f"schema_version = 1\n{turns}", encoding="utf-8")
        options = ["--script", path, "--task", "hello", "--log", self.log_file, "--log-bodies"]
        self.server = subprocess.Popen(
            [sys.executable, "-m", "runner.rehearsal", *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.server.stdout is not None
        port = json.loads(self.server.stdout.readline())["port"]
        self.overrides = overrides(port, retries=script.load(path).retries)

    def codex(
        self,
        prompt: str = "hello",
        *,
        model: str = "rehearsal",
        sandbox: str = "read-only",
        resume: str | None = None,
        config: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> Run:
        """One real `codex exec`, with every setting checked by Codex itself."""
        argv = [*prefix, str(codex_path()), "exec", "--json", "--strict-config"]
        argv += ["--skip-git-repo-check", "-C", str(self.work), "-m", model, "-s", sandbox]
        for setting in (*config, *self.overrides):
            argv += ["-c", setting]
        argv += (["resume", resume] if resume else []) + ["--", prompt]
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.env | dict(env or {}),
            timeout=BOUND_S,
        )
        events = [json.loads(line) for line in done.stdout.splitlines()]
        return Run(done.returncode, events, done.stderr)

    def mcp(self) -> tuple[str, ...]:
        """The settings of an MCP server with a few tools."""
        pytest.importorskip("mcp")
        self.mcp_server.write_text(MCP_SERVER)
        python, path = json.dumps(sys.executable), json.dumps(str(self.mcp_server))
        more = 'required=true,default_tools_approval_mode="approve"'
        return (f"mcp_servers.delegation={{command={python},args=[{path}],{more}}}",)

    @property
    def log(self) -> list[Json]:
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def end(self) -> None:
        if self.server is not None:
            self.server.terminate()
            rest = self.server.communicate(timeout=BOUND_S)
            assert (self.server.returncode, *rest) == (0, "", "")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.end()


@pytest.mark.parametrize("model", MODELS)
def test_a_message_ends_the_turn_without_a_word_about_the_settings(stage: Stage, model: str) -> None:
    usage = "{ input_tokens = 100, cached_input_tokens = 40, output_tokens = 20 }"
    stage.play(f"[[turns]]\nmessage = 'Hello {{task}}'\nusage = {usage}")
    run = stage.codex(model=model)
    assert (run.status, run.messages) == (0, ["Hello hello"])
    assert run.events[-1]["type"] == "turn.completed"
    assert run.events[-1]["usage"]["cached_input_tokens"] == 40
    warnings = [item["message"] for item in run.items("error")]
    assert [text for text in warnings if "Model metadata" not in text] == []


@pytest.mark.parametrize("model", MODELS)
def test_a_shell_call_runs_in_the_sandbox_of_the_run(stage: Stage, model: str) -> None:
    # A command that the sandbox made fail is not among the events of 0.163.0: this one succeeds.
    stage.play(
        "[[turns]]\nmessage = 'I try'\nshell = 'echo hi; exit 3'\n"
        "[[turns]]\nshell = 'touch x || echo refused'\n[[turns]]\nmessage = '{last_output}'"
    )
    run = stage.codex(model=model)
    failed, refused = run.items("command_execution")
    assert (failed["aggregated_output"], failed["exit_code"], failed["status"]) == ("hi\n", 3, "failed")
    assert "Read-only file system" in refused["aggregated_output"]
    assert run.messages[0] == "I try"
    assert "refused" in run.messages[1]
    assert not (stage.work / "x").exists()


@pytest.mark.parametrize("model", MODELS)
def test_several_calls_of_one_turn_are_all_made_and_the_last_one_is_the_last_output(
    stage: Stage, model: str
) -> None:
    stage.play("[[turns]]\nshell = ['sleep 0.5; echo a', 'echo b']\n[[turns]]\nmessage = '{last_output}'")
    run = stage.codex(model=model)
    assert sorted(item["aggregated_output"] for item in run.items("command_execution")) == ["a\n", "b\n"]
    assert run.messages == ["b"]


@pytest.mark.parametrize("model", MODELS)
def test_an_mcp_tool_is_called_by_its_own_name_in_every_way_of_offering(stage: Stage, model: str) -> None:
    stage.play(
        r"""
        [captures]
        manifest = 'manifest_path=(\S+)'
        [[turns]]
        message = "I ask"
        tool = [
          { server = "delegation", name = "add-up", arguments = { a = 1, b = 2 } },
          { server = "delegation", name = "delegate.status", arguments = { manifest_path = "{manifest}" } },
        ]
        [[turns]]
        message = "The tool said: {last_output}"
        """
    )
    run = stage.codex("Look at manifest_path=.runs/x/manifest.json", model=model, config=stage.mcp())
    calls = {item["tool"]: item for item in run.items("mcp_tool_call")}
    assert calls["add-up"]["status"] == "completed"
    status = calls["delegate.status"]
    assert (status["server"], status["status"]) == ("delegation", "completed")
    assert status["arguments"] == {"manifest_path": ".runs/x/manifest.json"}
    assert run.messages == ["I ask", "The tool said: status of .runs/x/manifest.json"]


@pytest.mark.parametrize("model", MODELS)
def test_a_script_may_repeat_what_a_structured_or_failing_tool_said(stage: Stage, model: str) -> None:
    stage.play(
        """
        [[turns]]
        tool = { server = "delegation", name = "add-up", arguments = { a = 1, b = 2 } }
        [[turns]]
        message = "{last_output}"
        tool = { server = "delegation", name = "fail" }
        [[turns]]
        message = "{last_output}"
        """
    )
    run = stage.codex(model=model, config=stage.mcp())
    assert run.messages == ['{"result":3}', "Error executing tool fail"]
    assert [item["status"] for item in run.items("mcp_tool_call")] == ["completed", "failed"]


@pytest.mark.parametrize("model", MODELS)
def test_a_tool_that_codex_does_not_have_fails_the_run_and_says_which_there_are(
    stage: Stage, model: str
) -> None:
    stage.play("[[turns]]\ntool = { server = 'delegation', name = 'nothing' }")
    failure = stage.codex(model=model, config=stage.mcp()).failure
    assert "it calls the tool `nothing` of the MCP server `delegation`" in failure
    assert "delegate_status" in failure


@pytest.mark.parametrize("model", MODELS)
def test_a_patch_changes_files_and_is_reported_as_such(stage: Stage, model: str) -> None:
    stage.play(
        "[[turns]]\npatch = '''\n*** Begin Patch\n*** Add File: new.txt\n+it's {task}\n*** End Patch\n'''\n"
        "[[turns]]\nmessage = 'done'"
    )
    run = stage.codex(model=model, sandbox="workspace-write")
    (change,) = run.items("file_change")
    assert change["changes"] == [{"path": str(stage.work / "new.txt"), "kind": "add"}]
    assert (stage.work / "new.txt").read_text() == "it's hello\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("status = 401, message = 'who are you'", "unexpected status 401 Unauthorized: who are you"),
        ("status = 400, message = 'bad thing'", "bad thing"),
        ("status = 500", "high demand"),
        ("status = 429", "exceeded retry limit, last status: 429"),
        ("status = 429, code = 'usage_limit_reached', resets_at = 2000000000", "your usage limit"),
        ("code = 'context_length_exceeded'", "ran out of room in the model's context window"),
        ("code = 'insufficient_quota'", "Quota exceeded"),
    ],
)
def test_an_error_fails_the_turn_after_one_request(stage: Stage, error: str, message: str) -> None:
    stage.play(f"[[turns]]\nerror = {{ {error} }}")
    assert message in stage.codex().failure
    assert len(stage.log) == 1


@pytest.mark.parametrize("text", ["", "message = 'half'\n"])
def test_a_cut_stream_fails_the_turn(stage: Stage, text: str) -> None:
    stage.play(f"[[turns]]\n{text}cut = true")
    run = stage.codex()
    assert "stream closed before response.completed" in run.failure
    assert run.messages == []


def test_with_retries_codex_goes_on_with_the_next_turn(stage: Stage) -> None:
    stage.play(
        "retries = 1\n[[turns]]\nerror = { status = 500 }\n"
        "[[turns]]\ncut = true\n[[turns]]\nmessage = 'at last'"
    )
    run = stage.codex()
    assert (run.status, run.messages) == (0, ["at last"])
    assert [line["turn"] for line in stage.log] == [1, 2, 3]


def test_silence_within_a_stream_is_ended_by_codex(stage: Stage) -> None:
    stage.play("[[turns]]\nhang = true\nmessage = 'well,'")
    # One table: its other keys are those of the overrides.
    stage.overrides = tuple(
        text[:-1] + ",stream_idle_timeout_ms=500}" if text.startswith("model_providers") else text
        for text in stage.overrides
    )
    assert "idle timeout waiting for SSE" in stage.codex().failure


def test_a_delayed_answer_is_waited_for(stage: Stage) -> None:
    stage.play("[[turns]]\ndelay = '1s'\nmessage = 'late'")
    assert stage.codex().messages == ["late"]


def test_a_long_answer_arrives_whole(stage: Stage) -> None:
    stage.play("[[turns]]\nmessage = '0123456789'\nrepeat = 300000")
    (text,) = stage.codex().messages
    assert text == "0123456789" * 300_000


def test_a_resumed_thread_goes_on_in_the_same_script(stage: Stage) -> None:
    stage.play(
        "[captures]\nword = 'say (\\w+)'\n[[turns]]\nshell = 'echo one'\n"
        "[[turns]]\nmessage = '{word}'\n[[turns]]\nmessage = '{word} after {last_output}'"
    )
    first = stage.codex("say yes")
    thread = first.events[0]["thread_id"]
    second = stage.codex("say no", resume=thread)
    assert second.events[0]["thread_id"] == thread
    assert (first.messages, second.messages) == (["yes"], ["no after one"])


def test_a_compaction_takes_no_turn(stage: Stage) -> None:
    stage.play("[[turns]]\nshell = 'echo hi'\nusage = { input_tokens = 270000 }\n[[turns]]\nmessage = 'end'")
    run = stage.codex(model="gpt-5.5")
    assert run.messages[-1] == "end"
    assert [line["turn"] for line in stage.log] == [1, None, 2]


def test_the_log_says_what_was_asked(stage: Stage) -> None:
    stage.play("[[turns]]\nmessage = 'x'")
    stage.codex("hello", model="gpt-5.5", config=("model_reasoning_effort=xhigh",))
    (line,) = stage.log
    assert (line["model"], line["effort"], line["prompt_chars"]) == ("gpt-5.5", "xhigh", 5)
    assert {"exec_command", "apply_patch", "tool_search"} <= set(line["tools"])
    assert line["body"]["stream"] is True


def test_a_proxy_in_the_environment_does_not_get_in_the_way(stage: Stage) -> None:
    stage.play("[[turns]]\nmessage = 'x'")
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    assert stage.codex(env=proxy | environment(proxy)).messages == ["x"]


def log_in_with_chatgpt(home: Path, plan: str) -> None:
    """A login as `codex login` writes it, of an account that does not exist."""
    account = {"chatgpt_plan_type": plan, "chatgpt_account_id": "a", "chatgpt_user_id": "u"}
    claims = {"email": "a@example.com", "exp": 4102444800, "https://api.openai.com/auth": account}
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"x"))
    tokens = {"id_token": token, "access_token": token, "refresh_token": "r", "account_id": "a"}
    auth = {"auth_mode": "chatgpt", "tokens": tokens, "last_refresh": "2099-01-01T00:00:00Z"}
    (home / "auth.json").write_text(json.dumps(auth))


@pytest.mark.parametrize("plan", ["pro", "enterprise"])
def test_a_login_is_neither_used_nor_changed(stage: Stage, plan: str) -> None:
    log_in_with_chatgpt(stage.home, plan)
    before = (stage.home / "auth.json").read_bytes()
    stage.play("[[turns]]\nmessage = 'x'")
    assert stage.codex(model="gpt-5.5").messages == ["x"]
    assert [line["path"] for line in stage.log] == ["/v1/responses"]
    assert (stage.home / "auth.json").read_bytes() == before


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_address_but_that_of_the_rehearsal_is_contacted(stage: Stage, tmp_path: Path) -> None:
    log_in_with_chatgpt(stage.home, "pro")
    trace = tmp_path / "trace"
    stage.play("[[turns]]\nmessage = 'x'")
    run = stage.codex(prefix=("strace", "-f", "-o", str(trace), "-e", "trace=connect,sendto"))
    assert run.messages == ["x"]
    found = re.findall(r"sin6?_port=htons\((\d+)\).*?\"([^\"]+)\"", trace.read_text(errors="replace"))
    port = re.search(r"127\.0\.0\.1:(\d+)", " ".join(stage.overrides))
    assert port is not None
    assert set(found) == {(port[1], "127.0.0.1")}
