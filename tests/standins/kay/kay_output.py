"""What `kay exec` prints on stdout: text for people, or its own JSON lines.

Source of the facts: the documented contract of Kay 0.9.17 and 0.9.46. The JSON lines are not those
of Codex. Errors, deltas, the end of the task and the end of the program are never printed in them,
so no line is a terminator; skipped events still use up their `event_seq`.
"""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime

from kay_sessions import Session
from kay_settings import Settings, Table

__all__ = ["Printer"]

TURN_ID = "1"
NOT_PRINTED = frozenset(
    {
        "error",
        "agent_message_delta",
        "agent_reasoning_delta",
        "task_complete",
        "shutdown_complete",
    }
)
_RECORDED = frozenset({"agent_message", "agent_reasoning", "error", "token_count"})
_SHELL_LINES_SHOWN = 20


class Printer:
    """Prints and records the events of one turn, and remembers whether one was fatal."""

    def __init__(self, session: Session, *, as_json: bool, version: str) -> None:
        self._session = session
        self._as_json = as_json
        self._version = version
        self._next_seq = 0
        self.fatal_error = False

    def summary(self, settings: Settings, prompt: str) -> None:
        """The settings and the whole prompt: both modes echo it."""
        if self._as_json:
            self._line(_compact(dict(settings.summary())))
            self._line(_compact({"prompt": prompt}))
            return
        self._stamped(f"Kay v{self._version} (research preview)")
        self._stamped(f"binary: {sys.argv[0]}")
        pairs = [f"{key}: {value}" for key, value in settings.summary().items()]
        self._line("\n".join(["--------", *pairs, "--------"]))
        self._stamped(f"User instructions:\n{prompt}")

    def event(self, kind: str, /, **payload: object) -> None:
        self.message({"type": kind, **payload})

    def message(self, msg: Table) -> None:
        """One event with this payload."""
        kind = str(msg.get("type"))
        event = self._numbered(msg)
        if kind == "agent_message":
            event["order"] = {"request_ordinal": 1, "output_index": 0}
        if kind == "error" and not _is_retry(str(msg.get("message"))):
            self.fatal_error = True
        if kind in _RECORDED:
            self._session.record("event", {**event, "order": None})
        if not self._as_json:
            self._readable(kind, msg)
        elif kind not in NOT_PRINTED:
            self._line(_compact(event))

    def record_abort(self) -> None:
        """The turn was cut off. Kay has stopped printing by then."""
        event = self._numbered({"type": "turn_aborted", "reason": "interrupted"})
        self._session.record("event", {**event, "order": None})

    def raw(self, data: bytes) -> None:
        """Bytes as they are, in both modes."""
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def _numbered(self, msg: Table) -> Table:
        self._next_seq += 1
        return {"id": TURN_ID, "event_seq": self._next_seq - 1, "msg": msg}

    def _readable(self, kind: str, msg: Table) -> None:
        match kind:
            case "agent_message":
                self._stamped(f"kay\n{msg.get('message')}")
            case "agent_reasoning":
                self._stamped(f"thinking\n{msg.get('text')}")
            case "error":
                self._stamped(f"ERROR: {msg.get('message')}")
            case "warning" | "background_event":
                self._stamped(str(msg.get("message")))
            case "exec_command_begin":
                self._stamped(f"exec {_shown_command(msg)} in {msg.get('cwd')}")
            case "exec_command_end":
                self._shell_end(msg)
            case "token_count":
                self._stamped(f"tokens used: {_tokens_used(msg):,}")
            case _:
                pass

    def _shell_end(self, msg: Table) -> None:
        code = msg.get("exit_code")
        self._stamped("exec succeeded:" if code == 0 else f"exec exited {code}:")
        shown = str(msg.get("stdout") if code == 0 else msg.get("stderr"))
        for line in shown.splitlines()[:_SHELL_LINES_SHOWN]:
            self._line(line)

    def _stamped(self, text: str) -> None:
        self._line(f"[{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}] {text}")

    def _line(self, text: str) -> None:
        self.raw(text.encode() + b"\n")


def _compact(value: Table) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_retry(message: str) -> bool:
    lower = message.lower()
    return lower.startswith("stream error:") and "retrying" in lower


def _shown_command(msg: Table) -> str:
    command = msg.get("command")
    return shlex.join(map(str, command)) if isinstance(command, list) else str(command)


def _tokens_used(msg: Table) -> int:
    info = msg.get("info")
    usage = info.get("total_token_usage") if isinstance(info, dict) else None
    if not isinstance(usage, dict):
        return 0
    fresh = int(usage.get("input_tokens", 0)) - int(usage.get("cached_input_tokens", 0))
    return fresh + int(usage.get("output_tokens", 0))
