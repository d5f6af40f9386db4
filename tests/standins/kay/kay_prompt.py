"""The prompt of `kay exec`: where it comes from, and what a leading slash does to it.

Source of the facts: the documented contract of Kay 0.9.17 and 0.9.46.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from kay_command_line import Parsed

__all__ = ["Prompt", "Refused", "check_schema", "expand_slash", "read_prompt"]

MAX_SCHEMA_BYTES = 8 * 1024
_EXPANDED = frozenset({"plan", "solve", "kay", "code"})


class Refused(Exception):
    """A run that does not start: one line on stderr, exit 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is echoed, what the model gets, and whether it starts another mode."""

    shown: str
    sent: str
    auto: bool = False
    review: bool = False


def read_prompt(options: Parsed, resume: Parsed | None, *, auto: bool) -> Prompt:
    """From the argument, else stdin. Raises Refused."""
    given = options.arguments[0] if options.arguments else None
    if resume is not None and len(resume.arguments) > 1:
        given = resume.arguments[1]
    text = given if given is not None and given != "-" else _from_stdin(forced=given == "-")
    stripped = text.strip()
    if not auto and not stripped.startswith("/auto"):
        return Prompt(shown=text, sent=text)
    goal = stripped.removeprefix("/auto").strip() or (stripped if auto else "")
    if not goal:
        raise Refused("Auto Drive requires a goal. Provide one after /auto or --auto.")
    return Prompt(shown=f"/auto {goal}", sent=goal, auto=True)


def expand_slash(prompt: Prompt) -> Prompt:
    """The prompt after slash commands. Raises Refused for an unknown one."""
    stripped = prompt.sent.strip()
    if prompt.auto or not stripped.startswith("/"):
        return prompt
    words = stripped.lstrip("/").split(maxsplit=1)
    if not words:
        return prompt
    name, task = words[0].lower(), words[1].strip() if len(words) > 1 else ""
    shown = f"/{name} {' '.join(task.split())}".rstrip()
    if name == "review":
        return replace(prompt, shown=shown, sent=task or "Review the changes.", review=True)
    if name not in _EXPANDED:
        raise Refused(f"Command '/{name}' is not supported in exec mode.")
    if not task:
        raise Refused(f"Error: /{name} requires a task description. Usage: /{name} <task>")
    return replace(prompt, shown=shown, sent=f"Task for /{name}:\n{task}")


def check_schema(given: str | None) -> None:
    """Refuses an output schema that cannot be read, is too large or is not JSON."""
    if given is None:
        return
    try:
        data = Path(given).read_bytes()
    except OSError as error:
        raise Refused(f"Failed to read output schema file {given}: {error.strerror}") from error
    if len(data) > MAX_SCHEMA_BYTES:
        raise Refused(f"Output schema file {given} is larger than {MAX_SCHEMA_BYTES} bytes.")
    try:
        json.loads(data)
    except ValueError as error:
        raise Refused(f"Output schema file {given} is not valid JSON: {error}") from error


def _from_stdin(*, forced: bool) -> str:
    if sys.stdin.isatty() and not forced:
        raise Refused("No prompt provided. Either specify one as an argument or pipe the prompt into stdin.")
    if not forced:
        print("Reading prompt from stdin...", file=sys.stderr, flush=True)
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise Refused("Failed to read prompt from stdin: stream did not contain valid UTF-8") from error
    if not text.strip():
        raise Refused("No prompt provided via stdin.")
    return text
