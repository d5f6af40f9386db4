"""Claude Code and Codex as hosts: a person's own sessions, with a scripted model and hooks.

A host works in a `Repo`, with its home and nothing else of the environment but PATH. The model is that of a
rehearsal, in a thread of the test: it talks to every host in its own way, keeps what it was asked, and may
call the host's own tools and play other parts for subagents.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.rehearsal import named
from runner.rehearsal.actor import Actor
from runner.rehearsal.calls import CallId
from runner.rehearsal.request import Json, ModelRequest
from runner.rehearsal.server import Log, Server
from runner.rehearsal.turns import Call, Failure, PatchCall, Script, ShellCall, ToolCall, Turn
from runner.rehearsal.wire import Answer, Wire
from runner.runtimes.codex_rehearsal import overrides
from support import processes
from support.clis import CLIS, Played, claude_variables
from support.codex import asked
from support.repo import Repo
from support.waiting import wait_until

__all__ = ["Claude", "Codex", "Host", "Model", "Screen", "mcp", "own", "patch", "says", "shell"]

_WITHIN_S = 90.0
_READY = ("/effort", "? for shortcuts")


def says(text: str) -> Turn:
    return Turn(message=text)


def shell(*commands: str) -> Turn:
    return Turn(calls=tuple(map(ShellCall, commands)))


def patch(text: str) -> Turn:
    """Claude writes and edits, Codex applies it."""
    return Turn(calls=(PatchCall(text),))


def mcp(server: str, tool: str, **arguments: object) -> Turn:
    return Turn(calls=(ToolCall(server, tool, arguments),))


def own(tool: str, **arguments: object) -> Turn:
    """A call of a tool that the host itself offers, by its exact name."""
    return Turn(calls=(ToolCall("", tool, arguments),))


class _Own:
    """An API with which the host's own tools can be called, too: a `ToolCall` of no server."""

    def __init__(self, wire: Wire) -> None:
        self._wire, self.MISTAKE = wire, wire.MISTAKE

    def read(self, body: Json, path: str) -> ModelRequest:
        return self._wire.read(body, path)

    def said(self, call: Call, request: ModelRequest, call_id: CallId) -> tuple[Json, ...]:
        if not isinstance(call, ToolCall) or call.server:
            return self._wire.said(call, request, call_id)
        offer = next((one for one in request.offers if one.name == call.name), None)
        if offer is not None and offer.kind == named.KIND:
            return (named.tool_use(offer.name, dict(call.arguments), str(call_id)),)
        item = {"type": "function_call", "call_id": str(call_id), "name": call.name, "status": "completed"}
        item |= {"namespace": offer.namespace} if offer is not None and offer.namespace else {}
        return (item | {"arguments": json.dumps(dict(call.arguments))},)

    def search(self, call: Call, request: ModelRequest, call_id: CallId) -> Json | None:
        is_own = isinstance(call, ToolCall) and not call.server
        return None if is_own else self._wire.search(call, request, call_id)

    def body(self, answer: Answer, number: int, request: ModelRequest) -> Iterator[bytes]:
        return self._wire.body(answer, number, request)

    def error(self, failure: Failure) -> Json:
        return self._wire.error(failure)


class _Cast(Actor):
    """A script, and others for the threads whose prompts hold a mark, or whose model has that name."""

    def __init__(self, turns: Sequence[Turn], parts: Mapping[str, Sequence[Turn]]) -> None:
        super().__init__(Script(tuple(turns)), "host")
        self._parts = {mark: Actor(Script(tuple(part)), "host") for mark, part in parts.items()}

    def answer(self, request: ModelRequest, wire: Wire) -> Answer:
        for mark, actor in self._parts.items():
            is_its = request.model == mark or any(mark in prompt for prompt in request.prompts)
            if request.kind == "turn" and is_its:
                return actor.answer(request, _Own(wire))
        return super().answer(request, _Own(wire))


class _Kept(Log):
    """Every request with its body, in memory."""

    def __init__(self) -> None:
        super().__init__(None)
        self.entries: list[Json] = []

    def write(self, entry: Json, body: Json | None) -> None:
        self.entries.append(entry | {"body": body})


class Model:
    """A scripted model at a port of its own, until `close`."""

    def __init__(self, turns: Sequence[Turn], parts: Mapping[str, Sequence[Turn]] | None = None) -> None:
        self._log = _Kept()
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(listener.getsockname()[1])
        self._server = Server(listener, _Cast(turns, parts or {}), self._log)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def requests(self) -> list[Json]:
        """What it was asked, each with `body`, `turn` and `answer`."""
        return [entry for entry in self._log.entries if entry["model"]]  # else it is nothing for a model

    def outputs(self) -> str:
        """All that it was told, as text: the results of its calls, too."""
        bodies = [entry["body"] or {} for entry in self.requests()]
        return json.dumps([body.get("messages") or body.get("input") for body in bodies], ensure_ascii=False)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Screen:
    """A host in a terminal of tmux: what is typed and what is shown."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="runner-tm-", dir="/tmp"))  # a socket's path is short
        words = ["env", "-i", *(f"{name}={value}" for name, value in env.items()), *argv]
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "150", "-y", "50", "-c", str(folder), *words)

    def _tmux(self, *words: str) -> str:
        argv = ["tmux", "-S", str(self._folder / "s"), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def text(self, lines: int = 500) -> str:
        """What is shown, and so much above it."""
        return self._tmux("capture-pane", "-p", "-J", "-S", f"-{lines}")

    def shows(self, words: str, within: float = _WITHIN_S) -> str:
        """Until that is shown; the text then."""
        try:
            wait_until(lambda: words in self.text(), within, repr(words))
        except AssertionError as error:
            raise AssertionError(f"{error}; shown:\n{self.text()}") from None
        return self.text()

    def ready(self) -> None:
        """Until a host takes what is typed."""
        wait_until(lambda: any(sign in self.text() for sign in _READY), _WITHIN_S, "a host that is ready")

    def type(self, text: str) -> None:
        """Types this, waits until it is shown, and presses Enter, which would be pasted before. What a host
        has put back into its line, as Claude Code does with a blocked prompt, is taken away.
        """
        self.press("C-u")
        end, before = text[-40:], self.text().count(text[-40:])
        self._tmux("send-keys", "-l", text)
        wait_until(lambda: self.text().count(end) > before, _WITHIN_S, f"{text} at the prompt")
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Keys by their names in tmux: `Enter`, `Escape`, `C-c`."""
        self._tmux("send-keys", *keys)

    def close(self) -> None:
        subprocess.run(["tmux", "-S", str(self._folder / "s"), "kill-server"], capture_output=True)
        shutil.rmtree(self._folder, ignore_errors=True)


class Host:
    """A host with a model of its own. `ask` is one process without a terminal, `screen` one in tmux."""

    name: str
    program: str

    def __init__(self, repo: Repo, *turns: Turn, parts: Mapping[str, Sequence[Turn]] | None = None) -> None:
        self.repo, self.model = repo, Model(turns, parts)
        temporary = repo.base / "tmp"
        temporary.mkdir(exist_ok=True)
        path = f"{repo.env['PATH']}:{os.environ['PATH']}"
        self.env = repo.env | {"PATH": path, "SHELL": "/bin/bash", "TMPDIR": str(temporary)}
        self._screens: list[Screen] = []
        self._prepare()

    def _prepare(self) -> None:
        raise NotImplementedError

    def argv(self, *words: str) -> list[str]:
        return [self.program, *words]

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command of the host, e.g. `plugin list`."""
        return subprocess.run(
            [self.program, *words],
            cwd=self.repo.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
        )

    def ask(self, prompt: str = "go", *words: str, variables: Mapping[str, str] | None = None) -> Played:
        """One process from start to end."""
        done = subprocess.run(
            self.argv(*words),
            cwd=self.repo.root,
            env=self.env | dict(variables or {}),
            input=prompt,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
        )
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return Played(done.returncode, events, done.stderr)

    def install(self) -> None:
        """The plugin of runner, as a person installs it."""
        self.put_on_path()
        self.repo.env["PATH"] = self.env["PATH"]  # npm's Codex needs Node
        done = self.repo.cli("plugin", "install", "--host", self.name, "--yes")
        assert done.status == 0, done.stderr

    def put_on_path(self) -> None:
        """By a script: the host itself may lie in a work tree, where runner takes none from."""
        script = self.repo.bin / self.name
        script.write_text(f'#!/bin/sh\nexec "{self.program}" "$@"\n')
        script.chmod(0o755)

    def screen(self, *words: str) -> Screen:
        """The host as a person sees it; it ends with `close`."""
        env = self.env | {"TERM": "xterm-256color"}
        self._screens.append(Screen([self.program, *words], env, self.repo.root))
        return self._screens[-1]

    def close(self) -> None:
        for screen in self._screens:
            screen.close()
        self.model.close()


class Claude(Host):
    name, program = "claude", str(CLIS / "claude")
    tools = "Bash,Edit,Read,Write,Agent,Task,NotebookEdit,mcp__runner"

    def _prepare(self) -> None:
        self.env |= claude_variables(self.model.port, self.env["TMPDIR"])
        self.env["DISABLE_AUTOUPDATER"] = "1"
        project = {"hasTrustDialogAccepted": True, "allowedTools": []}
        known = {
            "hasCompletedOnboarding": True,
            "hasSeenAutoDefaultNotice": True,
            "customApiKeyResponses": {"approved": ["none"], "rejected": []},
            "projects": {str(self.repo.root): project},
        }
        (self.repo.home / ".claude.json").write_text(json.dumps(known))

    def argv(self, *words: str) -> list[str]:
        """`-p`, with every tool that a test uses allowed."""
        fixed = ["-p", "--verbose", "--output-format", "stream-json", "--permission-mode", "dontAsk"]
        return [self.program, *fixed, f"--allowedTools={self.tools}", *words]

    def hooks(self, table: Mapping[str, object]) -> None:
        """Hooks of the user's own settings."""
        folder = self.repo.home / ".claude"
        folder.mkdir(exist_ok=True)
        (folder / "settings.json").write_text(json.dumps({"hooks": table}))


class Codex(Host):
    name, program = "codex", str(CLIS / "codex")

    def _prepare(self) -> None:
        pairs = [one for one in overrides(self.model.port) if one != "features.plugins=false"]
        trusted = f'[projects.{json.dumps(str(self.repo.root))}]\ntrust_level = "trusted"\n'
        self.settings.write_text("\n".join((*pairs, trusted)))

    @property
    def settings(self) -> Path:
        return self.repo.home / ".codex" / "config.toml"

    def argv(self, *words: str) -> list[str]:
        """`exec`, with a sandbox that may write."""
        return [self.program, "exec", "--json", "--skip-git-repo-check", "-s", "workspace-write", *words, "-"]

    def hooks(self, table: Mapping[str, object]) -> None:
        """Hooks of the user's own, trusted."""
        (self.repo.home / ".codex" / "hooks.json").write_text(json.dumps({"hooks": table}))
        self.trust_hooks()

    def hooks_list(self) -> list[dict[str, Any]]:
        """What Codex says of all hooks that it has found."""
        found = asked(
            self.env, self.repo.root, "hooks/list", program=self.program, cwds=[str(self.repo.root)]
        )
        return list(found["data"][0]["hooks"])

    def trust_hooks(self, event: str = "") -> None:
        """As a person does with `/hooks`: all, or those of one event."""
        with self.settings.open("a") as file:
            for hook in self.hooks_list():
                if hook["trustStatus"] == "trusted" or event not in hook["key"]:
                    continue
                own_hash, _, content = hook["currentHash"].partition("/")
                lines = [f"[hooks.state.{json.dumps(hook['key'])}]", f"trusted_hash = {json.dumps(own_hash)}"]
                lines += [f"trusted_content_hash = {json.dumps(content)}"] if content else []
                file.write("\n".join(("", *lines, "")))

    def install(self) -> None:
        super().install()
        self.trust_hooks()

    def close(self) -> None:
        """With the daemon that the terminal of this version leaves in its home."""
        super().close()
        for process in processes.of_folder(self.repo.home):
            if "app-server" in " ".join(process.words):
                processes.kill(process)
