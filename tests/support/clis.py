"""Claude Code and Gemini CLI from npm, each with a home, a folder and a rehearsal server of its own.

Nothing of the environment reaches them but PATH; they talk to no address but that of the server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "AGENTS",
    "ANYHOW",
    "CHILD",
    "CLIS",
    "TICKS",
    "Json",
    "Played",
    "Stage",
    "add",
    "claude_variables",
    "patch",
    "says",
    "shell",
    "turns",
]

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
CLIS = ROOT / ".clis" / "node_modules" / ".bin"
AGENTS = ("claude", "gemini")
BOUND_S = 60.0
ANYHOW = {"CLAUDE_CODE_MAX_RETRIES": "5"}
"""With these variables Claude asks again after a failure."""

MCP_SERVER = """
import json, sys
schema = {"type": "object", "properties": {"manifest_path": {"type": "string"}}}
tool = {"name": "delegate.status", "description": "The state of a run", "inputSchema": schema}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    method, given = asked["method"], asked.get("params", {})
    answer = {"id": asked["id"], "jsonrpc": "2.0"}
    if method == "initialize":
        about = {"name": "delegation", "version": "1"}
        version = given["protocolVersion"]
        answer["result"] = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
    elif method == "tools/list":
        answer["result"] = {"tools": [tool]}
    elif method == "tools/call":
        text = "status of " + given["arguments"]["manifest_path"]
        answer["result"] = {"content": [{"type": "text", "text": text}]}
    else:
        answer["error"] = {"code": -32601, "message": "unknown"}
    print(json.dumps(answer), flush=True)
"""

CHILD = '[captures]\nchild = \'"manifest_path": ?"([^"]+)"\'\n'
"""Of a script whose agent spawns a run: where that is."""

TICKS = "trap : HUP TERM; for n in $(seq 600); do date +%s.%N >> ticks; sleep 0.1; done"


def claude_variables(port: int, temporary: str) -> dict[str, str]:
    """With these Claude talks to that port alone, and gives up at once."""
    return {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CODE_TMPDIR": temporary,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
        "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    }


def turns(*of: str) -> str:
    return "".join(f"[[turns]]\n{one}\n" for one in of)


def shell(*commands: str) -> str:
    return f"shell = {json.dumps([*commands])}"


def says(text: str) -> str:
    return f"message = {json.dumps(text)}"


def add(path: str, line: str = "bad") -> str:
    return f"*** Begin Patch\n*** Add File: {path}\n+{line}\n*** End Patch\n"


def patch(*of: str) -> str:
    return f"patch = {json.dumps([*of])}"


class Played(NamedTuple):
    """What one process of an agent printed and how it ended."""

    status: int
    events: list[Json]
    stderr: str

    @property
    def result(self) -> Json:
        last = self.events[-1]
        assert last["type"] == "result", self.stderr
        return last

    @property
    def said(self) -> list[str]:
        """The texts of the model, those that came in pieces put together."""
        texts: list[str] = []
        goes_on = False
        for event in self.events:
            if event["type"] == "assistant":
                texts += [part["text"] for part in event["message"]["content"] if part["type"] == "text"]
            is_piece = event["type"] == "message" and event["role"] == "assistant"
            if is_piece and goes_on:
                texts[-1] += event["content"]
            elif is_piece:
                texts.append(event["content"])
            goes_on = is_piece
        return texts


class Stage:
    """An agent that plays one script, in as many processes as a test starts."""

    def __init__(self, agent: str, folder: Path, script: str) -> None:
        self.agent, self.folder, self.work = agent, folder, folder / "work"
        self.home, self.log_file = folder / "home", folder / "requests.jsonl"
        for made in (self.work, self.home / ".gemini", folder / "tmp"):
            made.mkdir(parents=True)
        subprocess.run(["git", "init", "--quiet", self.work], check=True)
        (folder / "mcp_server.py").write_text(MCP_SERVER)
        (folder / "script.toml").write_text(f"schema_version = 1\n{script}")
        command = [sys.executable, "-m", "runner.rehearsal", "--task", "hello"]
        command += ["--script", str(folder / "script.toml"), "--log", str(self.log_file)]
        self._server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        self.port = int(json.loads(self._server.stdout.readline())["port"])

    def close(self) -> None:
        self._server.terminate()
        self._server.communicate(timeout=BOUND_S)

    def requests(self) -> list[Json]:
        """What the model was asked."""
        lines = map(json.loads, self.log_file.read_text().splitlines())
        return [line for line in lines if line["path"] not in ("/", "/api/hello")]

    def start(
        self, prompt: str = "go", *options: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        argv, env = getattr(self, f"_{self.agent}")()
        env |= {"PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.folder / "tmp")}
        (self.folder / "prompt.md").write_text(prompt)
        # A file, as a run has one: at its end Gemini CLI loses what a pipe has not taken yet.
        with (
            (self.folder / "prompt.md").open() as stdin,
            (self.folder / "stdout.jsonl").open("w") as stdout,
            (self.folder / "stderr.log").open("w") as stderr,
        ):
            return subprocess.Popen(
                [CLIS / self.agent, *argv, *options],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=env | {"SHELL": "/bin/bash"} | dict(variables or {}),
                cwd=self.work,
            )

    def play(self, prompt: str = "go", *options: str, variables: Mapping[str, str] | None = None) -> Played:
        """One process from start to end."""
        process = self.start(prompt, *options, variables=variables)
        try:
            status = process.wait(BOUND_S)
        finally:
            process.kill()
        return Played(status, self.events(), (self.folder / "stderr.log").read_text())

    def events(self) -> list[Json]:
        """What the newest process has printed."""
        return [json.loads(line) for line in (self.folder / "stdout.jsonl").read_text().splitlines()]

    def _servers(self) -> Json:
        return {"delegation": {"command": sys.executable, "args": [str(self.folder / "mcp_server.py")]}}

    def _claude(self) -> tuple[list[str], dict[str, str]]:
        argv = ["-p", "--verbose", "--output-format", "stream-json", "--permission-mode", "dontAsk"]
        argv += ["--allowedTools=Bash,Edit,Read,Write,mcp__delegation", "--setting-sources="]
        argv += ["--strict-mcp-config", "--mcp-config", json.dumps({"mcpServers": self._servers()})]
        return argv, claude_variables(self.port, str(self.folder / "tmp"))

    def _gemini(self) -> tuple[list[str], dict[str, str]]:
        settings = {
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            "general": {"maxAttempts": 1, "enableAutoUpdate": False, "enableAutoUpdateNotification": False},
            "privacy": {"usageStatisticsEnabled": False},
            "model": {"skipNextSpeakerCheck": False, "disableLoopDetection": True},
            "mcpServers": self._servers(),
        }
        (self.home / ".gemini" / "settings.json").write_text(json.dumps(settings))
        argv = ["--output-format", "stream-json", "--model", "gemini-2.5-pro", "--approval-mode", "yolo"]
        env = {
            "GOOGLE_GEMINI_BASE_URL": f"http://127.0.0.1:{self.port}",
            "GEMINI_API_KEY": "none",
            # Without the launcher, which takes a second and passes no signal on.
            "GEMINI_CLI_NO_RELAUNCH": "true",
        }
        return [*argv, "--skip-trust"], env
