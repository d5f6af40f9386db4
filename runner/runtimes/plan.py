"""The conductor as a program like any other: what its lines mean and how it ended. Pure.

Only `start --plan` starts it (`runner.conduct.start_plan`); it is not searched for and has no settings.
"""

from __future__ import annotations

from collections.abc import Mapping

from runner.errors import ConfigInvalid
from runner.model import Outcome, Reason
from runner.runtimes import endings
from runner.runtimes.base import Activity, End, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runner.model import Json, Level, Model, Program, RuntimeSettings, Sandbox
    from runner.runtimes.base import CommandRequest, Refusal, Runtime, SessionNote, StoredKey

PROGRESS, ENDED = "progress", "ended"
"""The kinds of its lines: `{"type", "text"}`, and at the end `{"type", "code", "message", "hint", "text"}`.
The message is one line.
"""
_RESUME = "`runner start --plan FILE --task T --resume` continues it"

BREAKER_OPEN = "breaker_open"
BATCHES_LEFT = "batches_left"


class ConductorRuntime:
    """See `base.Runtime`."""

    name = "plan"
    title = "the conductor"
    candidates: tuple[str, ...] = ()
    bundled: str | None = None
    install_hint = "it is part of runner"
    login_hint = ""
    key_env: tuple[str, ...] = ()
    resumes = False  # another run resumes a plan
    guards = False  # it has no sandbox
    confines = False  # it runs the checks of batches itself
    shell_key: str | None = None
    env_names: tuple[str, ...] = ()

    def identify(self, version_output: str) -> str | None:
        return None

    def foreign(self, version_output: str) -> str | None:
        return None

    def prepare_prompt(self, prompt: str) -> str:
        return prompt

    def command(self, request: CommandRequest) -> tuple[str, ...]:
        raise ConfigInvalid("no task can be run by the conductor", hint="`runner start --plan FILE --task T`")

    def provider(self, settings: RuntimeSettings, model: Model | None) -> str | None:
        return None

    def secret_env(self, settings: RuntimeSettings, model: Model | None) -> tuple[str, ...]:
        return ()

    def stored_key(
        self, settings: RuntimeSettings, model: Model | None, env: Mapping[str, str]
    ) -> StoredKey | None:
        return None

    def parse(self, record: Json) -> tuple[Activity, ...]:
        text = record.get("text")
        shown = text if isinstance(text, str) else ""
        if record.get("type") == PROGRESS:
            return (Activity(Kind.PROGRESS, shown),)
        if record.get("type") != ENDED:
            return ()
        if record.get("code") == "completed":
            return (Activity(Kind.MESSAGE, shown), Activity(Kind.TURN_COMPLETED))
        why = f"{record.get('code')}: {record.get('message')}\n{record.get('hint') or ''}"
        return (Activity(Kind.MESSAGE, shown), Activity(Kind.TURN_FAILED, why))

    def refusal(self, line: str) -> Refusal | None:
        return None

    def session_folders(self, env: Mapping[str, str], thread_id: str) -> tuple[str, ...]:
        return ()

    def session_record(self, record: Json) -> SessionNote | None:
        return None

    def conclude(self, end: End) -> tuple[Outcome, Reason]:
        if ending := endings.killed(end):
            return ending
        if end.turn is Kind.TURN_COMPLETED and end.exit_code in (0, None):
            return Outcome.SUCCEEDED, Reason("completed", "every batch of the plan is done")
        if end.turn is Kind.TURN_FAILED and end.failure:
            said, _, hint = end.failure.partition("\n")
            code, _, message = said.partition(": ")
            return Outcome.FAILED, Reason(code, message, hint or None)
        if end.exit_code is None:
            return endings.lost()
        return endings.failed("cli_failure", f"the conductor ended with status {end.exit_code}", _RESUME, end)

    def login_check(self, program: Program) -> tuple[str, ...] | None:
        return None

    def own_config(self, env: Mapping[str, str]) -> str | None:
        return None

    def login_file(self, env: Mapping[str, str]) -> str | None:
        return None

    def mcp_check(self, program: Program) -> tuple[str, ...] | None:
        return None

    def sandbox_check(self, program: Program, level: Level) -> tuple[str, ...] | None:
        return None

    def sandbox_trial(self, program: Program, sandbox: Sandbox) -> tuple[str, ...] | None:
        return None


RUNTIME: Runtime = ConductorRuntime()
