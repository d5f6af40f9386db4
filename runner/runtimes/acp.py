"""Any agent that speaks the Agent Client Protocol on stdio. Pure; facts measured on Gemini CLI 0.61.0 and
OpenCode 1.18.33. Our bridge (`runner.bridge`) starts the agent, and its lines are the event stream.

https://agentclientprotocol.com/protocol/overview
"""

from __future__ import annotations

import os

from runner.disk import interpreter
from runner.errors import ConfigInvalid
from runner.model import Outcome, Reason, RuntimeSettings
from runner.runtimes.arguments import as_text, refuse_impossible, refuse_owned, thread_word
from runner.runtimes.base import CommandRequest, End, Runtime
from runner.value import json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.runtimes.base import Reader

_BRIDGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bridge", "__main__.py")


class Acp(Runtime):
    """See `base.Runtime`."""

    name = "acp"
    title = "the ACP agent"
    candidates = ("gemini",)
    modules = {"acp": "pip install 'delegate-runner[acp]'"}
    install_hint = "set `command` and `args` in [runtimes.acp] to an agent that speaks ACP on stdio"
    about = "An agent that speaks the Agent Client Protocol on stdio, and how it is run."
    config_is = "Options of the session, by the ids that the agent gives them."
    owned = {
        "model": "the model of a task is set with `model` and [models.NAME]",
        "mode": "the sandbox of a task is set with `sandbox` and [sandboxes.NAME]",
    }
    login_hint = "log in with the agent's own program, or name the variable of its key in `env`"
    is_generic = True
    help_args = ()
    resumes = True  # where the agent says that it can; another one ends with `THREAD_GONE`
    has_sandbox = False

    def defaults(self) -> RuntimeSettings:
        plain = RuntimeSettings(self.name, self.candidates[0])
        return plain.replace(args=("--acp",), permission_timeout_s=600.0)

    def identify(self, version_output: str) -> str | None:
        """What it says: a bridge asks it who it is, and only the answer (`agentInfo`) counts."""
        words = version_output.split()
        return next((word for word in words if word[:1].isdigit() and "." in word), "unknown")

    def prepare_prompt(self, prompt: str) -> str:
        return as_text(prompt)

    def command(self, request: CommandRequest) -> tuple[str, ...]:
        refuse_owned(self, request.settings.config)
        refuse_impossible(request.sandbox, self.title)
        if request.settings.isolated:
            raise ConfigInvalid("nothing isolates an ACP agent", hint="take `isolated` away")
        if request.mcp is not None and request.mcp.registered:
            raise ConfigInvalid(
                "a run of an ACP agent is told its MCP server",
                hint='set server = "inline" in [delegation]',
            )
        program, thread = request.program, request.resume_thread
        # Who runs the agent has to know no more of it.
        told = CommandRequest(
            program.replace(flags=frozenset()),
            *(request.settings, request.model, request.sandbox),
            *(request.cwd, request.last_message_path, request.skills),
            mcp=request.mcp,
        )
        words = (
            json_bytes(told.to_json(), compact=True).decode(),
            "" if thread is None else thread_word(thread),
        )
        return interpreter.command(_BRIDGE, *words, program.path, *(request.settings.args or ()))

    def reader(self) -> Reader:
        from runner.runtimes import acp_events  # a start reads no events, and no ending

        return acp_events.AcpStream().read

    def conclude(self, end: End) -> tuple[Outcome, Reason]:
        from runner.runtimes import acp_events

        return acp_events.conclude(end, self.login_hint)


RUNTIME: Runtime = Acp()
