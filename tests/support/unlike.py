"""A runtime that is unlike Codex wherever `Runtime` lets it be: the smallest one that can do real work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runner.errors import ConfigInvalid
from runner.model import Level, Outcome, Reason, Usage
from runner.runtimes import endings
from runner.runtimes.arguments import Arguments, refuse_impossible, refuse_owned, thread_word
from runner.runtimes.base import Activity, CommandRequest, End, Kind, ObservedSettings, Runtime
from runner.runtimes.jsonvalues import number, text

if TYPE_CHECKING:
    from runner.model import Json
    from runner.runtimes.base import Reader


class Unlike(Runtime):
    """See `base.Runtime`."""

    name = "unlike"
    title = "Unlike"
    about = "The Unlike CLI."
    candidates = ("unlike",)
    install_hint = "it is part of the tests"
    resumes = True
    owned = {"permissions.mode": "the sandbox of a task is set with `sandbox`"}

    def identify(self, version_output: str) -> str | None:
        version, _, name = version_output.strip().partition(" ")
        return version if name == "(Unlike)" else None

    def command(self, request: CommandRequest) -> tuple[str, ...]:
        refuse_owned(self, request.settings.config)
        refuse_impossible(request.sandbox, self.title)
        if request.sandbox.level is Level.WORKSPACE_WRITE:
            raise ConfigInvalid("Unlike has no sandbox that may write", hint="use another level")
        wants_effort = request.model is not None and request.model.reasoning_effort is not None
        if request.mcp is not None or request.settings.isolated or wants_effort:
            raise ConfigInvalid("Unlike has no MCP servers, no `isolated` and no effort", hint="leave it out")
        args = Arguments(request.program, self.title)
        args.option("--permissionMode", "plan" if request.sandbox.level is Level.READ_ONLY else "all")
        if request.model is not None and request.model.model is not None:
            args.option("--model", request.model.model)
        if request.settings.config:
            args.option("--settings", json.dumps(request.settings.config, sort_keys=True))
        if request.resume_thread is not None:
            args.option("--resume", thread_word(request.resume_thread))
        return args.done()

    def reader(self) -> Reader:
        spent = 0

        def read(record: Json) -> tuple[Activity, ...]:
            nonlocal spent
            kind, item = text(record.get("type")), text(record.get("id")) or None
            if kind == "init":
                seen = ObservedSettings(
                    text(record.get("model")), "read-only", network=False, approval="plan"
                )
                return (Activity(Kind.THREAD, text(record.get("session")), observed=seen),)
            if kind == "use":
                asked = text(record.get("input"))
                return (Activity(Kind.TOOL_STARTED, text(record.get("tool")), item, arguments=asked),)
            if kind == "result":
                return (Activity(Kind.TOOL_CALL, item=item, output=text(record.get("output"))),)
            if kind == "denied":
                return (Activity(Kind.REFUSED, text(record.get("why"))),)
            if kind == "answer":
                spent += int(number(record.get("tokens")) or 0)
                return (Activity(Kind.MESSAGE, text(record.get("text")), usage=Usage(spent)),)
            if kind == "end":
                failed = text(record.get("error"))
                if not failed:
                    return (Activity(Kind.TURN_COMPLETED),)
                return (Activity(Kind.TURN_FAILED, failed, status=int(number(record.get("status")) or 0)),)
            return ()

        return read

    def approval(self, level: Level) -> str | None:
        return "plan" if level is Level.READ_ONLY else "all"

    def same_model(self, declared: str, observed: str) -> bool:
        return observed.startswith(f"unlike-{declared}-")

    def conclude(self, end: End) -> tuple[Outcome, Reason]:
        ending = endings.killed(end) or endings.answered(end, self.name, "log in")
        if ending is not None:
            return ending
        if end.exit_code == 0 and end.turn is Kind.TURN_COMPLETED:
            return Outcome.SUCCEEDED, Reason("completed", "the agent finished its turn")
        return endings.lost() if end.exit_code is None else endings.failed("cli_failure", "failed", None, end)


RUNTIME: Runtime = Unlike()
