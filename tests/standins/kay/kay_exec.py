"""`kay exec`: the checks before a run, the run under its time budget and signals, and its end.

Source of the facts: the documented contract of Kay 0.9.17 and 0.9.46.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kay_behaviour import (
    Behaviour,
    load_behaviour,
    requires_status,
    salvage_status,
    satisfies_status,
)
from kay_command_line import Parsed
from kay_options import Generation
from kay_output import Printer
from kay_prompt import Prompt, Refused, check_schema, expand_slash, read_prompt
from kay_sessions import Session, find_git_root, open_session
from kay_settings import ConfigError, Settings, find_api_key, find_home, load_config, resolve
from kay_signals import Interrupted, Listener, Terminated, TimeBudgetSpent, die_of
from kay_turn import Turn, TurnFailed

__all__ = ["ExecRequest", "run_exec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """One `kay exec` as it was typed."""

    options: Parsed
    resume: Parsed | None
    overrides: tuple[str, ...]
    auto: bool
    generation: Generation
    env: Mapping[str, str]
    started: float

    @property
    def last_message_file(self) -> Path | None:
        given = self.options.last("output-last-message")
        return None if given is None else Path(given)

    @property
    def max_seconds(self) -> int | None:
        given = self.options.last("max-seconds")
        return None if given is None else int(given)


def run_exec(request: ExecRequest) -> int:
    """Runs the prompt; the exit status. SIGTERM ends the process by that signal."""
    try:
        prompt = read_prompt(request.options, request.resume, auto=request.auto)
        check_schema(request.options.last("output-schema"))
        home = find_home(request.env)
        settings = resolve(
            request.options,
            load_config(home, request.overrides),
            home=home,
            cwd=Path.cwd(),
            generation=request.generation,
        )
        prompt = expand_slash(prompt)
        if not request.options.has("skip-git-repo-check") and not find_git_root(settings.workdir):
            raise Refused("Not inside a trusted directory and --skip-git-repo-check was not specified.")
    except (Refused, ConfigError) as error:
        print(error if isinstance(error, Refused) else f"Error: {error}", file=sys.stderr)
        return 1
    behaviour = load_behaviour(home)
    session = _open(request, settings)
    return _Run(request, prompt, settings, behaviour, session).run()


def _open(request: ExecRequest, settings: Settings) -> Session:
    resume = request.resume
    session_id = resume.arguments[0] if resume and resume.arguments else None
    return open_session(
        settings,
        request.generation,
        resume_id=session_id,
        resume_last=resume is not None and resume.has("last"),
    )


class _Run:
    def __init__(
        self,
        request: ExecRequest,
        prompt: Prompt,
        settings: Settings,
        behaviour: Behaviour,
        session: Session,
    ) -> None:
        self.request = request
        self.prompt = prompt
        self.settings = settings
        self.behaviour = behaviour
        self.session = session
        self.printer = Printer(
            session,
            as_json=request.options.has("json"),
            version=request.generation.version,
        )
        deaf = {signal.SIGINT: behaviour.ignore_sigint, signal.SIGTERM: behaviour.ignore_sigterm}
        self.listener = Listener(deaf_to=frozenset(number for number, on in deaf.items() if on))
        self.failed = False

    def run(self) -> int:
        self.printer.summary(self.settings, self.prompt.shown)
        self.session.record_message("user", self.prompt.sent)
        message = self._turn()
        self.session.save()
        return self._end(message)

    def _turn(self) -> str | None:
        turn = Turn(self.printer, self.settings, self.behaviour, self.request.env, self.listener)
        try:
            self.listener.listen(self._seconds_left())
            message = self._ask(turn)
            self.listener.forget()
            if message is not None:
                self.session.record_message("assistant", message)
            return message
        except TimeBudgetSpent:
            self._stop(turn)
            return self._out_of_time()
        except Interrupted:
            self._stop(turn)
        except Terminated:
            self._stop(turn)
            self.session.save()
            die_of(signal.SIGTERM)
        return None

    def _seconds_left(self) -> float | None:
        limit = self.request.max_seconds
        return None if limit is None else limit - (time.monotonic() - self.request.started)

    def _ask(self, turn: Turn) -> str | None:
        key = find_api_key(
            self.settings.provider,
            home=self.settings.home,
            env=self.request.env,
            generation=self.request.generation,
        )
        try:
            earlier = self.session.earlier_messages
            return turn.play(self.prompt, api_key=key, earlier_messages=earlier)
        except TurnFailed as error:
            print(f"ERROR: {error}", file=sys.stderr)
            self.failed = True
            return None

    def _stop(self, turn: Turn) -> None:
        self.listener.forget()
        turn.stop()
        self.printer.record_abort()

    def _out_of_time(self) -> str | None:
        limit = self.request.max_seconds
        print(f"Time budget exceeded (--max-seconds={limit})", file=sys.stderr)
        self.failed = True
        if not self.request.generation.writes_blocked_on_time_out:
            return None
        return (
            f"STATUS: BLOCKED kay exec time budget exceeded (--max-seconds={limit}); "
            "partial work may remain on disk for host verification."
        )

    def _end(self, message: str | None) -> int:
        contract = self.request.generation.enforces_status and requires_status(self.prompt.sent)
        if contract and message and not satisfies_status(self.prompt.sent, message):
            message = salvage_status(message) or message
        self._write_last_message(message)
        if contract and not satisfies_status(self.prompt.sent, message):
            print(
                "Final status contract was required by the prompt, but the last agent message "
                "did not start with `STATUS:`.",
                file=sys.stderr,
            )
            self.failed = True
        code = self.behaviour.exit_code
        if code is not None and code < 0:
            die_of(-code)
        if code is not None:
            return code
        return 1 if self.failed or self.printer.fatal_error else 0

    def _write_last_message(self, message: str | None) -> None:
        path = self.request.last_message_file
        if path is None:
            return
        try:
            path.write_bytes((message or "").encode())
        except OSError as error:
            print(f"Failed to write last message file {path}: {error}", file=sys.stderr)
        if message is None:
            print(f"Warning: no last agent message; wrote empty content to {path}", file=sys.stderr)
