"""A service that carries out the steps of an `action.yml` as GitHub's runner does, as far as ours needs it.

What it does not know it refuses: an expression, a key of a step, an action. The facts stand on
https://docs.github.com/actions/reference/, "expressions" (status functions), "workflow-commands" (files by
which steps talk, masks, commands) and "workflow-cancellation" (the signals).
"""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Job", "Played", "Service", "Step", "Unknown", "collaborators", "evaluate"]

SHOWN = 10
"""Annotations of one kind, of one step."""
INTERRUPT_S, TERMINATE_S = 7.5, 2.5
BOUND_S = 240.0
_TOKEN = re.compile(
    r"\s*(?:('(?:[^']|'')*')|(&&|\|\||==|!=|!|\(|\))|([A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*)|(\S))"
)
_INSERTED = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_COMMAND = re.compile(r"^\s*::([A-Za-z-]+)(?: ([^:]*(?:[^:]|:(?!:))*?))?::(.*)$", re.DOTALL)
_OLD_COMMAND = re.compile(r"##\[([A-Za-z-]+)(?: ([^\]]*))?\](.*)")
_KEYS = {"name", "id", "if", "shell", "env", "run", "uses", "with", "continue-on-error", "working-directory"}
_ISSUES = ("error", "warning", "notice")


class Unknown(AssertionError):
    """Something that GitHub may know, and this program does not."""


# -- expressions ------------------------------------------------------------------------------------------


def evaluate(text: str, contexts: Mapping[str, Any], status: Mapping[str, bool]) -> Any:
    """The value of an expression, in which only strings, contexts, status functions and operators stand."""
    tokens = []
    for match in _TOKEN.finditer(text.strip()):
        if match[4]:
            raise Unknown(f"{match[4]!r} in {text!r}")
        tokens.append(match[0].strip())
    reader = _Reader(tokens, contexts, status)
    value = reader.either()
    if reader.at != len(tokens):
        raise Unknown(f"{tokens[reader.at]!r} in {text!r}")
    return value


@dataclass
class _Reader:
    tokens: Sequence[str]
    contexts: Mapping[str, Any]
    status: Mapping[str, bool]
    at: int = 0

    def next(self, *wanted: str) -> str | None:
        if self.at < len(self.tokens) and (not wanted or self.tokens[self.at] in wanted):
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def either(self) -> Any:
        value = self.both()
        while self.next("||"):
            other = self.both()
            value = value or other
        return value

    def both(self) -> Any:
        value = self.same()
        while self.next("&&"):
            other = self.same()
            value = value and other
        return value

    def same(self) -> Any:
        value = self.single()
        while operator := self.next("==", "!="):
            other = self.single()
            if not (isinstance(value, str) and isinstance(other, str)):
                raise Unknown(f"{value!r} {operator} {other!r}: only strings are compared here")
            value = (value.casefold() == other.casefold()) is (operator == "==")
        return value

    def single(self) -> Any:
        if self.next("!"):
            return not self.single()
        if self.next("("):
            value = self.either()
            assert self.next(")"), self.tokens
            return value
        token = self.next()
        if token is None:
            raise Unknown(f"an expression that ends early: {self.tokens}")
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if self.next("("):
            if not self.next(")") or token not in self.status:
                raise Unknown(f"the function {token}")
            return self.status[token]
        return self.look_up(token)

    def look_up(self, name: str) -> Any:
        value: Any = self.contexts
        parts = name.split(".")
        for n, part in enumerate(parts):
            if not isinstance(value, Mapping):
                raise Unknown(name)
            if part not in value:
                if parts[0] == "steps" and n == 3 and parts[2] == "outputs":
                    return ""  # of a step that has not said it
                raise Unknown(f"{name}: no {part}")
            value = value[part]
        return value


# -- what was seen ----------------------------------------------------------------------------------------


@dataclass
class Step:
    """One step that was carried out, or not: `conclusion` is success, failure, cancelled or skipped."""

    id: str
    name: str
    conclusion: str = "skipped"
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    seconds: float = 0.0
    annotations: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    hidden: int = 0
    """Annotations that are too many of their kind to be shown."""


@dataclass
class Played:
    """A whole use of the action."""

    conclusion: str
    outputs: dict[str, str]
    steps: dict[str, Step]
    masks: list[str]
    artifacts: dict[str, Path]
    obeyed: list[str]
    """Commands other than masks and annotations."""
    env: dict[str, str]
    """What steps have set for those after them."""

    @property
    def log(self) -> str:
        return "".join(step.log for step in self.steps.values())

    @property
    def summary(self) -> str:
        return "".join(step.summary for step in self.steps.values())

    @property
    def annotations(self) -> list[tuple[str, dict[str, str], str]]:
        return [one for step in self.steps.values() for one in step.annotations]


@dataclass
class Job:
    """Where and for whom an action is used: the variables of the job, and what the service knows."""

    workspace: Path
    temp: Path
    env: dict[str, str]
    token: str = "job-token"
    given: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Steps that something else has carried out, with their outputs."""
    cancel: Callable[[], bool] = lambda: False
    """Asked again and again while steps run: whether somebody cancels the job now."""
    is_cancelled: bool = False
    spares_later_steps: bool = True
    """False, as GitHub does: of an action whose job is cancelled each later step is ended at once."""


# -- the service ------------------------------------------------------------------------------------------


class Service:
    def __init__(self, action: Path) -> None:
        self.folder = action
        self.document = yaml.safe_load((action / "action.yml").read_text(encoding="utf-8"))
        if self.document["runs"]["using"] != "composite":
            raise Unknown(self.document["runs"]["using"])

    def use(self, job: Job, **inputs: str) -> Played:
        """The action with these inputs; a `_` in a name is a `-`."""
        named = {name.replace("_", "-"): value for name, value in inputs.items()}
        declared = self.document["inputs"]
        if unknown := set(named) - set(declared):
            raise Unknown(f"no such inputs: {unknown}")
        values = {name: str(about.get("default", "")) for name, about in declared.items()} | named
        play = _Play(self.folder, job, values)
        for about in self.document["runs"]["steps"]:
            play.step(about)
        seen = play.seen
        outputs = {name: play.text(about["value"]) for name, about in self.document["outputs"].items()}
        failed = [step for step in seen.values() if step.conclusion == "failure"]
        conclusion = "cancelled" if job.is_cancelled else "failure" if failed else "success"
        return Played(conclusion, outputs, seen, play.masks, play.artifacts, play.obeyed, play.env)


@dataclass
class _Play:
    action: Path
    job: Job
    inputs: Mapping[str, str]
    seen: dict[str, Step] = field(default_factory=dict)
    masks: list[str] = field(default_factory=list)
    artifacts: dict[str, Path] = field(default_factory=dict)
    obeyed: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    failed: bool = False

    def contexts(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "github": {"token": self.job.token, "action_path": str(self.action)},
            "runner": {"os": "Linux", "temp": str(self.job.temp)},
            "steps": {
                name: {"outputs": step.outputs, "conclusion": step.conclusion}
                for name, step in self.seen.items()
            },
        }

    def status(self) -> dict[str, bool]:
        ok, cancelled = not self.failed, self.job.is_cancelled
        return {
            "always": True,
            "success": ok and not cancelled,
            "failure": self.failed and not cancelled,
            "cancelled": cancelled,
        }

    def text(self, text: object) -> str:
        """With the value of each expression put in."""

        def put(match: re.Match[str]) -> str:
            value = evaluate(match[1], self.contexts(), self.status())
            return str(value).lower() if isinstance(value, bool) else str(value)

        return _INSERTED.sub(put, str(text))

    def step(self, about: Mapping[str, Any]) -> None:
        if unknown := set(about) - _KEYS:
            raise Unknown(f"keys of a step: {unknown}")
        name = str(about.get("id", about.get("name", len(self.seen))))
        step = self.seen[name] = Step(name, str(about.get("name", "")))
        condition = str(about.get("if", "success()")).strip()
        condition = condition.removeprefix("${{").removesuffix("}}")
        if not re.search(r"\b(always|success|failure|cancelled)\(\)", condition):
            condition = f"success() && ({condition})"
        if not evaluate(condition, self.contexts(), self.status()):
            return
        if name in self.job.given:
            step.outputs, step.conclusion = dict(self.job.given[name]), "success"
            return
        begin = time.monotonic()
        if "uses" in about and self.job.is_cancelled and not self.job.spares_later_steps:
            step.conclusion = "cancelled"
        elif "uses" in about:
            self.upload(step, about)
        else:
            self.run(step, about)
        step.seconds = time.monotonic() - begin
        if step.conclusion == "failure" and about.get("continue-on-error") is not True:
            self.failed = True

    # -- a script -----------------------------------------------------------------------------------------

    def run(self, step: Step, about: Mapping[str, Any]) -> None:
        if about["shell"] != "bash":
            raise Unknown(f"shell {about['shell']}")
        folder = self.job.temp / "_runner_file_commands"
        folder.mkdir(exist_ok=True)
        files = {
            name: folder / f"{name.lower()}_{step.id}" for name in ("OUTPUT", "ENV", "PATH", "STEP_SUMMARY")
        }
        for file in files.values():
            file.write_bytes(b"")
        script = self.job.temp / f"{step.id}.sh"
        script.write_text(self.text(about["run"]), encoding="utf-8")
        env = {
            **self.job.env,
            **self.env,
            **{f"GITHUB_{name}": str(file) for name, file in files.items()},
            "GITHUB_ACTION_PATH": str(self.action),
            "RUNNER_TEMP": str(self.job.temp),
            "GITHUB_WORKSPACE": str(self.job.workspace),
            **{name: self.text(value) for name, value in (about.get("env") or {}).items()},
        }
        if self.path:
            env["PATH"] = ":".join((*self.path, env["PATH"]))
        with subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
            cwd=self.job.workspace / self.text(about.get("working-directory", ".")),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            reading = _Reading(process)
            status = self.watch(process)
            lines = reading.lines()
        self.read(step, lines)
        step.outputs |= _pairs(files["OUTPUT"])
        self.env |= _pairs(files["ENV"])
        self.path = [*files["PATH"].read_text().splitlines()[::-1], *self.path]
        step.summary = files["STEP_SUMMARY"].read_text(encoding="utf-8")
        assert len(step.summary.encode()) <= 1 << 20, "GitHub refuses such a summary as a whole"
        step.conclusion = (
            "cancelled" if self.job.is_cancelled and status else "failure" if status else "success"
        )

    def watch(self, process: subprocess.Popen[bytes]) -> int:
        """Its exit status; of a cancelled job, SIGINT comes first and SIGKILL last, to this process alone."""
        end, never = time.monotonic() + BOUND_S, threading.Event()
        due: list[tuple[float, signal.Signals]] = []
        if self.job.is_cancelled and not self.job.spares_later_steps:
            due = self.signals(time.monotonic())
        while process.poll() is None:
            now = time.monotonic()
            assert now < end, "a step has no end"
            if not self.job.is_cancelled and self.job.cancel():
                self.job.is_cancelled = True
                due = self.signals(now)
            if due and due[0][0] <= now:
                process.send_signal(due.pop(0)[1])
            never.wait(0.02)
        return process.returncode

    def signals(self, now: float) -> list[tuple[float, signal.Signals]]:
        return [
            (now, signal.SIGINT),
            (now + INTERRUPT_S, signal.SIGTERM),
            (now + INTERRUPT_S + TERMINATE_S, signal.SIGKILL),
        ]

    def read(self, step: Step, lines: Sequence[str]) -> None:
        """Obeys a log as the service does, and keeps what it would show."""
        stopped: str | None = None
        for line in lines:
            match = _COMMAND.match(line)
            if stopped is not None:
                stopped = None if line.strip() == f"::{stopped}::" else stopped
            elif match and match[1] in _ISSUES:
                self.annotate(step, match[1], match[2] or "", match[3])
            elif match and match[1] == "add-mask":
                self.masks.append(_unescaped(match[3]))
                continue
            elif match and match[1] == "stop-commands":
                stopped = match[3]
            elif match:
                self.obeyed.append(line)
            elif old := _OLD_COMMAND.search(line):
                self.obeyed.append(old[0])
            for secret in self.masks:
                for part in filter(str.strip, (secret, *secret.splitlines())):
                    line = line.replace(part, "***")
            step.log += f"{line}\n"

    def annotate(self, step: Step, kind: str, properties: str, text: str) -> None:
        pairs = (pair.partition("=") for pair in properties.split(",") if pair)
        about = {key: _unescaped(value, is_property=True) for key, _, value in pairs}
        if sum(one[0] == kind for one in step.annotations) < SHOWN:
            step.annotations.append((kind, about, _unescaped(text)))
        else:
            step.hidden += 1

    # -- actions of others --------------------------------------------------------------------------------

    def upload(self, step: Step, about: Mapping[str, Any]) -> None:
        action, _, commit = str(about["uses"]).partition("@")
        if action != "actions/upload-artifact" or not re.fullmatch(r"[0-9a-f]{40}", commit):
            raise Unknown(str(about["uses"]))
        told = {name: self.text(value) for name, value in about["with"].items()}
        if unknown := set(told) - {"name", "path", "include-hidden-files", "if-no-files-found"}:
            raise Unknown(f"inputs of {action}: {unknown}")
        name = told["name"]
        assert name and not set(name) & set('":<>|*?\r\n\\/'), f"no name for an artifact: {name!r}"
        target = self.job.temp.parent / "artifacts" / name
        hidden = told.get("include-hidden-files", "").casefold() == "true"
        found = _chosen(told["path"].splitlines(), self.job.workspace, hidden)
        for path, inside in found:
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / inside)
        self.artifacts[name] = target
        step.conclusion = "success"


class _Reading:
    """Reads to the end beside the program, so that it never waits for its reader."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.stream, self.data = process.stdout, bytearray()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        while piece := self.stream.read1(1 << 16):
            self.data += piece

    def lines(self) -> list[str]:
        self.thread.join(BOUND_S)
        assert not self.thread.is_alive(), "something holds the output of the step"
        return re.split(r"\r\n|\r|\n", self.data.decode(errors="replace").removesuffix("\n"))


def _unescaped(text: str, *, is_property: bool = False) -> str:
    pairs = [
        ("%0D", "\r"),
        ("%0A", "\n"),
        *([("%3A", ":"), ("%2C", ",")] if is_property else []),
        ("%25", "%"),
    ]
    for escaped, plain in pairs:
        text = text.replace(escaped, plain)
    return text


def _pairs(file: Path) -> dict[str, str]:
    """NAME=VALUE, or NAME<<MARK, lines, MARK; empty lines count for nothing, and later values win."""
    found: dict[str, str] = {}
    lines = iter(file.read_text(encoding="utf-8").split("\n"))
    for line in filter(None, lines):
        match = re.fullmatch(r"([^=<]+)(=|<<)(.*)", line)
        assert match is not None, f"the service refuses the line {line!r}"
        name, kind, rest = match.groups()
        if kind == "=":
            found[name] = rest
            continue
        value = list(itertools.takewhile(lambda inner, mark=rest: inner != mark, lines))
        found[name] = "\n".join(value)
    return found


def _chosen(patterns: Sequence[str], root: Path, with_hidden: bool) -> Iterator[tuple[Path, Path]]:
    """Files of one folder, or of patterns below the workspace; links are followed, as the action does."""
    wanted = [pattern.split("#")[0].strip() for pattern in patterns]
    without = [str(root / pattern[1:]) for pattern in wanted if pattern.startswith("!")]
    bases = [root / pattern for pattern in wanted if pattern and not pattern.startswith("!")]
    for base in bases:
        for place, _, names in os.walk(base, followlinks=True):
            for name in names:
                path = Path(place) / name
                inside = path.relative_to(base)
                is_hidden = any(part.startswith(".") for part in inside.parts)
                if (with_hidden or not is_hidden) and not any(
                    fnmatch.fnmatch(str(path), one) for one in without
                ):
                    yield path, inside


@contextlib.contextmanager
def collaborators(permissions: Mapping[str, str | int]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """The API of the service on loopback: its address, and what it was asked. A number is a status."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    asked: list[tuple[str, str | None]] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            found = permissions.get(self.path.split("/")[-2], 404)
            self.send_response(found if isinstance(found, int) else 200)
            if isinstance(found, int) and 300 <= found < 400:
                self.send_header("Location", "/elsewhere/write/permission")
            self.end_headers()
            self.wfile.write(json.dumps({"permission": found}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
